"""linphonec (Debian's linphone-cli) registers, publishes and watches through the server. It reads no mailbox."""

from collections.abc import Callable
from pathlib import Path

import pytest
from linphone import Linphone
from rawagent import BUSY, RawAgent
from running import Server, needs
from traces import keep, messages
from ways import Way, ways

pytestmark = needs("linphonec")

WAYS = [
    *ways("udp", "tcp", "tls", algorithms=("", "MD5", "SHA-256")),
    *ways("udp", algorithms=("SHA-256,MD5", "SHA-512-256,MD5")),
]


@pytest.mark.parametrize("way", WAYS, indirect=True, ids=str)
def test_linphone_does_presence(
    way: Way, server: Server, carol: RawAgent, run: Callable[[Linphone], Linphone], tmp_path: Path
) -> None:
    carol.subscribe("alice")
    carol.wait_notify("<basic>closed</basic>")
    alice = run(Linphone("alice", tmp_path, way, server.port_of(way.transport)))

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
    assert {message.status for message in trace} - {481} == ({0, 200, 401} if way.challenged else {0, 200})
    assert f"SIP/2.0/{way.transport.upper()} " in trace[0].header("Via")
    keep("linphonec", way, trace)


@pytest.mark.parametrize("way", ways("udp", algorithms=("SHA-512-256",)), indirect=True, ids=str)
def test_linphone_has_no_sha_512_256(
    way: Way, server: Server, run: Callable[[Linphone], Linphone], tmp_path: Path
) -> None:
    alice = run(Linphone("alice", tmp_path, way, server.port))
    alice.wait_for(r"Register refresher \[401\]")
    assert not any(message.header("Authorization") for message in messages(alice.output))
