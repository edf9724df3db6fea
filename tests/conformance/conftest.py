from collections.abc import Iterator

import pytest
from net import Agent, Network


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
