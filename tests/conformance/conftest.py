from collections.abc import Iterator

import pytest
from net import Agent, Network
from xcap import Site


@pytest.fixture
def net() -> Iterator[Network]:
    network = Network()
    yield network
    network.close()


@pytest.fixture
def alice(net: Network) -> Agent:
    return net.agent("alice")


@pytest.fixture
def bob(net: Network) -> Agent:
    return net.agent("bob")


@pytest.fixture
def site() -> Iterator[Site]:
    """An XCAP server without proof of identity: who may do what is tested apart."""
    with Site() as opened:
        yield opened
