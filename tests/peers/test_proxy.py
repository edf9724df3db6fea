"""Kamailio as a proxy in front: it stays on the path of dialogs, and what it asserts is who sent a request."""

import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from time import monotonic

import pytest
import sip
from rawagent import RawAgent, header
from running import PATIENCE_S, Program, Server, needs, running_server
from test_sipp import free_port

pytestmark = needs("kamailio")

CONFIGURATION = Path(__file__).parent / "scenarios" / "proxy.cfg"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    options = "--set=auth.required=true", "--set=auth.trusted=127.0.0.0/8"
    with running_server(tmp_path, *options) as server:
        yield server


@pytest.fixture
def behind(server: Server, run: Callable[[Program], Program], tmp_path: Path) -> Iterator[RawAgent]:
    """An agent that knows the proxy only. Nobody has a password at the server."""
    port = free_port()
    text = CONFIGURATION.read_text().replace("PROXY_PORT", str(port)).replace("SERVER_PORT", str(server.port))
    (tmp_path / "proxy.cfg").write_text(text)
    run(Program(["kamailio", "-DD", "-f", str(tmp_path / "proxy.cfg"), "-Y", str(tmp_path)], tmp_path))
    wait_answer(port)
    agent = RawAgent(port)
    yield agent
    agent.close()


def wait_answer(port: int) -> None:
    """Return once the proxy passes requests on; it takes its time to start."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.connect(("127.0.0.1", port))
        asking.settimeout(0.1)
        give_up_at = monotonic() + PATIENCE_S
        while monotonic() < give_up_at:
            with suppress(OSError):
                asking.send(sip.request("OPTIONS", "sip:example.com", via=f"SIP/2.0/UDP 127.0.0.1:{port + 1};rport"))
                if asking.recv(65535).startswith(b"SIP/2.0 200 "):
                    return
        raise AssertionError("the proxy does not answer")


def test_rfc3325_watchers_and_publishers_are_who_the_proxy_says(behind: RawAgent) -> None:
    response = behind.subscribe("alice")
    assert "Record-Route: <sip:127.0.0.1:" in response
    # The NOTIFY comes by the route, with a Via of each.
    first = behind.wait_notify("<basic>closed</basic>")
    assert first.count("Via: SIP/2.0/UDP 127.0.0.1:") == 2
    assert header(first, "To").startswith("<sip:carol@example.com>")

    behind.publish("alice")
    behind.wait_notify("<basic>open</basic>")

    assert behind.watchers(behind.fetch("alice", "presence.winfo")) == ["sip:dave@example.com"]


def test_rfc3325_what_nobody_asserts_is_challenged(server: Server) -> None:
    agent = RawAgent(server.port)
    try:
        with pytest.raises(AssertionError, match=r"SIP/2\.0 401 "):
            agent.publish("alice")
    finally:
        agent.close()
