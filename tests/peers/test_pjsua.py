"""pjsua (PyPI's pjsua2-python) registers, publishes, watches and reads its mailbox through the server."""

from collections.abc import Callable
from pathlib import Path

import pytest
from pjsua import Pjsua
from rawagent import BUSY, SUMMARY, RawAgent
from running import Server, needs
from traces import keep, messages
from ways import Way, ways

pytestmark = needs(module="pjsua2")

WAYS = [
    *ways("udp", "tcp", "tls", algorithms=("", "MD5", "SHA-256")),
    *ways("udp", algorithms=("SHA-256,MD5", "SHA-512-256,MD5")),
]


@pytest.mark.parametrize("way", WAYS, indirect=True, ids=str)
def test_pjsua_does_all_of_presence(
    way: Way, server: Server, carol: RawAgent, run: Callable[[Pjsua], Pjsua], tmp_path: Path
) -> None:
    carol.subscribe("alice")
    carol.wait_notify("<basic>closed</basic>")
    port = server.port_of(way.transport)
    alice = run(Pjsua("alice", tmp_path, way, port, buddies=("bob",), mailbox=True))

    alice.wait_for(r"\+ registration 200 OK for 60")
    alice.wait_for(r"\+ mailbox Messages-Waiting: no")
    seen = alice.wait_status("bob", "offline")
    alice.order("busy On holiday")
    carol.wait_notify("<rpid:busy />")
    # The watcher may hear of it before the publisher has read its entity-tag, without which it could not go on.
    told = alice.wait_for(r"SIP-ETag: \S+").end()
    alice.order("online Back")
    carol.wait_notify(r"<note>Back</note>")
    alice.wait_for(r"SIP-ETag: \S+", after=told)
    carol.publish("bob", "open", BUSY)
    seen = alice.wait_status("bob", "online busy", after=seen)
    carol.publish_body("alice", "message-summary", "application/simple-message-summary", SUMMARY)
    alice.wait_for(r"\+ mailbox Messages-Waiting: yes .* Voice-Message: 2/8 \(0/2\)")
    alice.order("forget bob")
    alice.wait_for(r"Subscription-State: terminated;reason=timeout", after=seen)
    alice.order("quit")

    assert alice.wait_exit() == 0
    carol.wait_notify("<basic>closed</basic>")
    trace = messages(alice.output)
    assert {message.status for message in trace} == ({0, 200, 401} if way.challenged else {0, 200})
    assert f"SIP/2.0/{way.transport.upper()} " in trace[0].header("Via")
    keep("pjsua", way, trace)


@pytest.mark.parametrize("way", ways("udp", algorithms=("SHA-512-256",)), indirect=True, ids=str)
def test_pjsua_of_this_wheel_has_no_sha_512_256(
    way: Way, server: Server, run: Callable[[Pjsua], Pjsua], tmp_path: Path
) -> None:
    """Its OpenSSL is 1.0.2."""
    alice = run(Pjsua("alice", tmp_path, way, server.port))
    alice.wait_for(r"\+ registration 401 Unauthorized")
    assert "SHA-512-256) referenced by algorithm_type is not supported" in alice.output


@pytest.mark.parametrize("way", ways("udp", algorithms=("MD5", "SHA-256")), indirect=True, ids=str)
def test_pjsua_with_a_wrong_password_stays_outside(
    way: Way, server: Server, run: Callable[[Pjsua], Pjsua], tmp_path: Path
) -> None:
    alice = run(Pjsua("alice", tmp_path, way, server.port, buddies=("bob",), password="of somebody else"))
    alice.wait_for(r"\+ registration 401 Unauthorized")
    alice.wait_for(r"\+ buddy .* TERMINATED")
    assert {message.status for message in messages(alice.output)} == {0, 401}
