"""baresip publishes, watches and reads its mailbox. It registers first, and does so with a 200 only."""

from collections.abc import Callable
from pathlib import Path

import pytest
from rawagent import BUSY, SUMMARY, RawAgent
from running import Server, needs
from softphone import OFFLINE, ONLINE, QUIT, Softphone, account_of
from traces import keep, messages
from ways import Way, ways

pytestmark = needs("baresip")

Phone = Callable[..., Softphone]
Run = Callable[[Softphone], Softphone]


@pytest.fixture
def phone(way: Way, server: Server, run: Run, dns_port: int, tmp_path: Path) -> Phone:
    """Start a baresip for a user; all are stopped at the end, and none may have asked a name server."""

    def start(user: str, *contacts: str, account: bool = True) -> Softphone:
        line = account_of(user, server.port_of(way.transport), way=way) if account else ""
        return run(Softphone(tmp_path / user, dns_port=dns_port, account=line, contacts=contacts, way=way))

    return start


def test_baresip_publishes_what_its_keys_say(phone: Phone, carol: RawAgent):
    carol.subscribe("alice")
    carol.wait_notify("<basic>closed</basic>")

    alice = phone("alice")

    alice.wait_for(r"alice@example\.com: .*200 OK .*\[1 binding\]")
    # Its person precedes its tuple, which pidf.xsd forbids, and its prefixes must be kept.
    shown = carol.wait_notify("<basic>open</basic>")
    assert 'entity="sip:alice@example.com"' in shown
    assert "<rpid:activities/>" in shown
    alice.type(OFFLINE)
    carol.wait_notify("<basic>closed</basic>")
    alice.type(ONLINE)
    carol.wait_notify("<basic>open</basic>")


def test_baresip_removes_its_publication_when_it_ends(phone: Phone):
    alice = phone("alice")
    etag = alice.wait_for(r"SIP-ETag: (\S+)")
    alice.type(OFFLINE)
    alice.wait_for(r"SIP-ETag: (\S+)", after=alice.wait_for(r"SIP-If-Match: (\S+)", after=etag.end()).end())

    alice.type(QUIT)

    alice.wait_exit()
    removal = next(request for request in alice.sent("PUBLISH") if "Expires: 0\n" in request)
    assert "SIP-If-Match: " in removal
    assert set(alice.answers("PUBLISH")) == {"200 OK"}
    assert set(alice.answers("REGISTER")) == {"200 OK"}


def test_baresip_shows_what_another_publishes(phone: Phone, carol: RawAgent):
    bob = phone("bob", "alice")
    bob.wait_status("alice", "Offline")

    for basic, person, status in (("open", "", "Online"), ("open", BUSY, "Busy"), ("closed", "", "Offline")):
        carol.publish("alice", basic, person)
        bob.wait_status("alice", status)


@pytest.mark.parametrize("way", ways("udp", "tcp", "tls", algorithms=("", "MD5")), indirect=True, ids=str)
def test_one_baresip_shows_what_another_publishes(way: Way, phone: Phone) -> None:
    bob = phone("bob", "alice")
    bob.wait_status("alice", "Offline")

    alice = phone("alice")
    bob.wait_status("alice", "Online")
    alice.type(OFFLINE)
    bob.wait_status("alice", "Offline")

    bob.type(QUIT)
    bob.wait_exit()
    trace = messages(bob.output)
    assert "Subscription-State: terminated;reason=timeout" in bob.output
    assert f"SIP/2.0/{way.transport.upper()} 127.0.0.1" in bob.sent("SUBSCRIBE")[0]
    assert {message.status for message in trace} == ({0, 200, 401} if way.challenged else {0, 200})
    keep("baresip", way, trace)


def test_baresip_reads_its_mailbox(phone: Phone, server: Server, carol: RawAgent):
    # An account from the start would not do: baresip 1.0.0 subscribes for ever in a loop of its own when the 200 to
    # its REGISTER is there before the first timer of its mwi module.
    alice = phone("alice", account=False)

    alice.type(f"/uanew {account_of('alice', server.port, mwi=True)}\n")

    alice.wait_for(r"----- MWI for sip:alice@example\.com -----\nMessages-Waiting: no\n")
    carol.publish_body("alice", "message-summary", "application/simple-message-summary", SUMMARY)
    alice.wait_for(r"Messages-Waiting: yes\n.*\nVoice-Message: 2/8 \(0/2\)")


@pytest.mark.parametrize("way", ways("udp", algorithms=("SHA-256", "SHA-256,MD5")), indirect=True, ids=str)
def test_baresip_gives_up_at_a_challenge_other_than_one_with_md5(way: Way, phone: Phone) -> None:
    """Why `auth.algorithms` is MD5 alone unless an operator knows better."""
    alice = phone("alice")
    alice.wait_for(r"reg: sip:alice@example\.com: Register: ")
    assert alice.answers("REGISTER") == ["401 Unauthorized"]
    assert not any(message.header("Authorization") for message in messages(alice.output))
