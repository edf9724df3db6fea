"""SIP.js, as a browser has it but in Node, registers, publishes and watches through the server over WebSocket."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from rawagent import RawAgent
from running import ROOT, Program, Server
from traces import keep, messages
from ways import Way, password_of, ways

MODULES = ROOT / ".make" / "node" / "node_modules"
MISSING = shutil.which("node") is None or not (MODULES / "sip.js").is_dir()

pytestmark = [
    pytest.mark.peer,
    pytest.mark.skipif(MISSING, reason="node with sip.js is not there: make test-peers installs sip.js by npm"),
]


class SipJs(Program):
    """One user agent of SIP.js on one WebSocket."""

    def __init__(self, user: str, folder: Path, way: Way, port: int, *, buddy: str) -> None:
        agent = Path(__file__).with_name("sipjs_agent.js")
        url = f"{way.transport}://127.0.0.1:{port}/"
        environment = {"NODE_PATH": str(MODULES)}
        if way.secure:
            environment["NODE_EXTRA_CA_CERTS"] = str(way.authority)
        super().__init__(["node", str(agent), user, url, password_of(user), buddy], folder, **environment)
        self.name = "SIP.js"

    def order(self, words: str) -> None:
        """Have it do something."""
        self.type(f"{words}\n")


@pytest.mark.parametrize("way", ways("ws", "wss", algorithms=("", "MD5")), indirect=True, ids=str)
def test_sipjs_does_presence_over_websocket(
    way: Way, server: Server, carol: RawAgent, run: Callable[[SipJs], SipJs], tmp_path: Path
) -> None:
    carol.subscribe("alice")
    carol.wait_notify("<basic>closed</basic>")
    alice = run(SipJs("alice", tmp_path, way, server.port_of(way.transport), buddy="bob"))

    alice.wait_for(r"\+ registration Registered")
    seen = alice.wait_for(r"\+ buddy bob closed active").end()
    # The watcher may hear of it before the publisher has read its entity-tag, without which it could not go on.
    alice.order("publish open at the browser")
    carol.wait_notify("<note>at the browser</note>")
    told = alice.wait_for(r"SIP-ETag: \S+").end()
    alice.order("publish open somewhere else")
    carol.wait_notify("<note>somewhere else</note>")
    alice.wait_for(r"SIP-ETag: \S+", after=told)
    carol.publish("bob")
    seen = alice.wait_for(r"\+ buddy bob open active", after=seen).end()
    alice.order("unpublish")
    carol.wait_notify("<basic>closed</basic>")
    alice.order("forget")
    alice.wait_for(r"Subscription-State: terminated;reason=timeout", after=seen)
    alice.wait_for(r"\+ subscription Terminated", after=seen)
    alice.order("unregister")
    alice.wait_for(r"\+ registration Unregistered")
    alice.order("quit")

    assert alice.wait_exit() == 0
    trace = messages(alice.output)
    assert {message.status for message in trace} == ({0, 200, 401} if way.challenged else {0, 200})
    assert f"SIP/2.0/{way.transport.upper()} " in trace[0].header("Via")
    keep("sipjs", way, trace)
