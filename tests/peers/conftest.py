"""The server as each client meets it: over one transport, asking who one is by one algorithm or not at all."""

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

# The certificates of the tests of TLS do for these too.
sys.path.append(str(Path(__file__).parents[1] / "system"))

from certificates import Authority
from rawagent import RawAgent
from running import Program, Server, provide_users, running_server
from softphone import silent_name_server
from ways import Way


@pytest.fixture
def way(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Way:
    """How the clients of a test reach the server: in the open and over UDP unless it says otherwise."""
    asked: Way = getattr(request, "param", Way())
    if not asked.secure:
        return asked
    folder = tmp_path_factory.mktemp("certificates")
    authority = Authority(folder, "authority")
    certificate = authority.issue("server.pem", dns="localhost 127.0.0.1", address="127.0.0.1", common="example.com")
    return replace(asked, authority=authority.path, certificate=certificate)


@pytest.fixture
def server(way: Way, tmp_path: Path) -> Iterator[Server]:
    """Run a server for the way of the test; it must have nothing to complain of."""
    options = []
    if way.transport not in ("udp", "tcp"):
        options.append(f"--listen={way.transport}:127.0.0.1:0")
    if way.secure:
        options.append(f"--set=tls.certificate={way.certificate}")
    if way.challenged:
        provide_users(tmp_path)
        options += ["--set=auth.required=true", f"--set=auth.algorithms={way.algorithms}"]
    with running_server(tmp_path, *options) as server:
        yield server


@pytest.fixture
def carol(server: Server) -> Iterator[RawAgent]:
    agent = RawAgent(server.port)
    yield agent
    agent.close()


@pytest.fixture
def dns_port() -> Iterator[int]:
    with silent_name_server() as port:
        yield port


@pytest.fixture
def run() -> Iterator[Callable[[Program], Program]]:
    """Have a client stopped at the end of the test."""
    with ExitStack() as stack:

        def keep(program: Program) -> Program:
            stack.callback(program.stop)
            return program

        yield keep
