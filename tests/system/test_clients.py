"""`presence publish` and `presence watch` as people start them, against the server as people start it."""

import json
import signal
import subprocess
import sys

import pytest

pytestmark = pytest.mark.system

ALICE = "sip:alice@example.com"
PRESENCE = (sys.executable, "-m", "presence")
PATIENCE_S = 60


@pytest.fixture
def server(tmp_path):
    """Start a server; its addresses by transport."""
    argv = [
        *PRESENCE,
        "serve",
        *("--listen", "udp:127.0.0.1:0", "--listen", "tcp:127.0.0.1:0"),
        *("--http", "", "--database", str(tmp_path / "presence.db"), "--policy", "open"),
    ]
    with (
        (tmp_path / "log").open("w") as log,
        subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=log, text=True) as process,
    ):
        assert process.stdout is not None
        for line in process.stdout:
            said, _, addresses = line.strip().partition("presence listens on ")
            if not said and addresses:
                break
        yield {address.partition(":")[0]: address for address in addresses.split(", ")}
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0


def command(*argv: str, server: str) -> list[str]:
    return [*PRESENCE, *argv, "--server", server, "--timeout", "30"]


def say(*argv: str, server: str) -> str:
    return subprocess.run(
        command(*argv, server=server), capture_output=True, text=True, check=True, timeout=PATIENCE_S
    ).stdout


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_what_alice_publishes_bob_sees(server, transport):
    where = server[transport]
    argv = command("watch", ALICE, "--from", "sip:bob@example.com", "--json", server=where)
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as bob:
        assert bob.stdout is not None
        assert json.loads(bob.stdout.readline())["summary"]["status"] == "closed"
        published = json.loads(
            say("publish", ALICE, "--status", "open", "--note", "hello", "--activity", "busy", "--json", server=where)
        )
        seen = json.loads(bob.stdout.readline())["summary"]
        assert (seen["status"], seen["note"], seen["activities"]) == ("open", ["hello"], ["busy"])
        winfo = json.loads(say("watch", ALICE, "--event", "presence.winfo", "--once", "--json", server=where))
        assert winfo["summary"]["lists"][0]["watchers"][0]["uri"] == "sip:bob@example.com"
        assert "withdrawn" in say("publish", ALICE, "--remove", published["etag"], server=where)
        assert json.loads(bob.stdout.readline())["summary"]["status"] == "closed"
        bob.send_signal(signal.SIGINT)
        final = json.loads(bob.stdout.readline())
        assert (final["subscription_state"], final["reason"]) == ("terminated", "timeout")
        assert bob.wait(PATIENCE_S) == 0


def test_a_kept_publication_is_refreshed_and_withdrawn_at_the_end(server):
    argv = command("publish", ALICE, "--status", "open", "--keep", "--expires", "2", "--json", server=server["udp"])
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as alice:
        assert alice.stdout is not None
        etags = [json.loads(alice.stdout.readline())["etag"] for _ in range(3)]
        assert len(set(etags)) == 3
        shown = json.loads(say("watch", ALICE, "--once", "--json", server=server["udp"]))
        assert shown["summary"]["status"] == "open"
        alice.send_signal(signal.SIGINT)
        *_, last = alice.stdout.read().splitlines()
        assert json.loads(last)["event"] == "removed"
        assert alice.wait(PATIENCE_S) == 0
    assert "closed" in say("watch", ALICE, "--once", server=server["udp"])


def test_a_message_summary_from_a_file(server, tmp_path):
    body = tmp_path / "summary"
    body.write_bytes(b"Messages-Waiting: yes\r\nVoice-Message: 2/8\r\n")
    say("publish", ALICE, "--event", "message-summary", "--body", str(body), server=server["udp"])
    shown = say("watch", ALICE, "--event", "message-summary", "--count", "1", server=server["udp"])
    assert "messages waiting" in shown
    assert "voice-message: 2/8 (new/old)" in shown
