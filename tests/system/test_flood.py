"""A flood of malformed datagrams as fast as a process can send them: who asks properly is served all the while."""

import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from time import monotonic

import pytest
from process import ServerProcess, until
from wire import Heard, UdpAgent, Watcher, answer, hear, notes, pidf, request, unique

pytestmark = pytest.mark.system

REQUESTS = 60
RESEND_S = 0.5
PATIENCE_S = 20.0
GROWTH_BYTES = 30_000_000

FLOOD = """
import random, socket, sys
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.connect(("127.0.0.1", int(sys.argv[1])))
chance = random.Random(1)
good = b"PUBLISH sip:alice@example.com SIP/2.0\\r\\nVia: SIP/2.0/UDP 127.0.0.1:9;branch=z9hG4bK%d\\r\\n" \\
    b"From: <sip:x@y>;tag=1\\r\\nTo: <sip:x@y>\\r\\nCall-ID: %d\\r\\nCSeq: 1 PUBLISH\\r\\nContent-Length: 0\\r\\n\\r\\n"
pieces = []
for number in range(2000):
    text = bytearray(good % (number, number))
    for _ in range(chance.choice((1, 3, 20))):
        text[chance.randrange(len(text))] = chance.randrange(256)
    pieces.append(bytes(text[: chance.choice((len(text), chance.randrange(len(text))))]))
print("flooding", flush=True)
sent = 0
while True:
    for piece in pieces:
        try:
            sock.send(piece)
            sent += 1
        except OSError:
            pass
"""


class Patient(UdpAgent):
    """Answers again what comes again: its answers may be among what the kernel has no room for."""

    def _sort(self, heard: Heard) -> None:
        if heard.branch in self._seen:
            self.send(answer(heard))
        super()._sort(heard)


def ask(agent: UdpAgent, method: str, uri: str, **options: object) -> Heard:
    """Send a request until it is answered, as a client transaction does (RFC 3261 section 17.1.2.2)."""
    message = request(method, uri, via=agent.via, **options)  # type: ignore[arg-type]
    branch = hear(message).branch
    give_up_at = monotonic() + PATIENCE_S
    agent.socket.settimeout(RESEND_S)
    while True:
        assert monotonic() < give_up_at, f"{method} is not served"
        agent.send(message)
        with suppress(TimeoutError):
            while True:
                heard = agent.response()
                # A request sent twice is answered twice.
                if heard.branch == branch:
                    return heard


def test_a_flood_of_malformed_datagrams_does_not_keep_others_from_being_served(tmp_path: Path):
    with ServerProcess(tmp_path, "--log-level=warning") as server, UdpAgent(server.port) as alice:
        with Patient(server.port) as bob:
            assert Watcher(bob).subscribe().status == 200
            bob.notify()
            flood = subprocess.Popen([sys.executable, "-c", FLOOD, str(server.port)], stdout=subprocess.PIPE)
            try:
                assert flood.stdout is not None
                assert flood.stdout.readline() == b"flooding\n"
                dropped = server.metric("presence_drops_total") + server.metric("presence_responses_total")
                until("it floods", lambda: server.metric("presence_responses_total") > dropped + 1000)
                before = server.rss_bytes()
                etag = ""
                for number in range(REQUESTS):
                    headers = "Event: presence\r\nExpires: 600\r\nContent-Type: application/pidf+xml\r\n"
                    headers += f"SIP-If-Match: {etag}\r\n" if etag else ""
                    body = pidf("alice", ("desk", "open", str(number)))
                    call_id = unique("flooded")
                    heard = ask(alice, "PUBLISH", "sip:alice@example.com", headers=headers, body=body, call_id=call_id)
                    assert heard.status == 200, heard.start
                    etag = heard["SIP-ETag"]
                    # The server sends again what was not answered.
                    assert notes(bob.notify().body) == {"desk": str(number)}
                assert flood.poll() is None
                assert server.rss_bytes() - before < GROWTH_BYTES
            finally:
                flood.kill()
                flood.communicate()
            assert server.alive
        server.assert_calm()
