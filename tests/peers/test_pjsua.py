"""pjsua (PyPI's pjsua2-python) registers, publishes, watches and reads its mailbox through the server."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from pjsua import Pjsua
from rawagent import BUSY, RawAgent
from running import Server, needs, running_server
from traces import keep, messages
from ways import Way

pytestmark = needs(module="pjsua2")


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
def test_pjsua_does_all_of_presence(transport: str, server: Server, carol: RawAgent, stack: ExitStack, tmp_path: Path):
    carol.subscribe("alice")
    carol.wait_notify("<basic>closed</basic>")
    alice = Pjsua("alice", tmp_path, Way(transport), server.port, buddies=("bob",), mailbox=True)
    stack.callback(alice.stop)

    alice.wait_for(r"\+ registration 200 OK for 60")
    alice.wait_for(r"\+ mailbox Messages-Waiting: no")
    seen = alice.wait_status("bob", "offline")
    alice.order("busy On holiday")
    carol.wait_notify("<rpid:busy />")
    alice.order("online Back")
    carol.wait_notify(r"<note>Back</note>")
    carol.publish("bob", "open", BUSY)
    seen = alice.wait_status("bob", "online busy", after=seen)
    summary = "Messages-Waiting: yes\r\nMessage-Account: sip:alice@example.com\r\nVoice-Message: 2/8 (0/2)\r\n"
    carol.publish_body("alice", "message-summary", "application/simple-message-summary", summary)
    alice.wait_for(r"\+ mailbox Messages-Waiting: yes .* Voice-Message: 2/8 \(0/2\)")
    alice.order("forget bob")
    alice.wait_for(r"Subscription-State: terminated;reason=timeout", after=seen)
    alice.order("quit")

    assert alice.wait_exit() == 0
    carol.wait_notify("<basic>closed</basic>")
    trace = messages(alice.output)
    assert {message.status for message in trace} == {0, 200}
    keep(f"pjsua-{transport}", f"pjsua over {transport.upper()}", alice.output)
