"""linphonec (Debian's linphone-cli) registers, publishes and watches through the server. It reads no mailbox."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from linphone import Linphone
from rawagent import BUSY, RawAgent
from running import Server, needs, running_server
from traces import keep, messages
from ways import Way

pytestmark = needs("linphonec")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with running_server(tmp_path) as server:
        yield server


@pytest.fixture
def carol(server: Server) -> Iterator[RawAgent]:
    agent = RawAgent(server.port)
    yield agent
    agent.close()


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_linphone_does_presence(transport: str, server: Server, carol: RawAgent, stack: ExitStack, tmp_path: Path):
    carol.subscribe("alice")
    carol.wait_notify("<basic>closed</basic>")
    alice = Linphone("alice", tmp_path, Way(transport), server.port)
    stack.callback(alice.stop)

    alice.wait_registered()
    carol.wait_notify("<pidfonline:online/>")
    alice.watch("bob")
    seen = alice.wait_status("bob", "Offline")
    carol.publish("bob")
    seen = alice.wait_status("bob", "Online", after=seen)
    carol.publish("bob", "open", BUSY)
    seen = alice.wait_status("bob", "Busy", after=seen)
    carol.publish("bob", "closed")
    alice.wait_status("bob", "Offline", after=seen)
    alice.type("quit\n")

    assert alice.wait_exit() == 0
    carol.wait_notify("<basic>closed</basic>")
    trace = messages(alice.output)
    # It forgets its dialogs when it ends, and answers the last NOTIFY with 481.
    assert {message.status for message in trace} <= {0, 200, 481}
    keep(f"linphone-{transport}", f"linphonec over {transport.upper()}", alice.output)
