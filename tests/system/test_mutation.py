"""Thousands of broken messages: the server goes on, answers rightly, says nothing wrong and does not grow."""

import errno
import os
import socket
from pathlib import Path
from random import Random

import pytest
from mutants import correct_messages, mutate
from process import PATIENCE_S, ServerProcess, until
from wire import Heard, UdpAgent, Watcher, answer, hear, notes, pidf, request, unique

pytestmark = pytest.mark.system

MUTANTS = int(os.environ.get("PRESENCE_MUTANTS", "10000"))
WARM_UP = 4000
SEED = int(os.environ.get("PRESENCE_SEED", "20260101"))
GROWTH_BYTES = 10_000_000
UDP_BATCH = 20
TCP_BATCH = 5

# What is accepted ends soon, and so do NOTIFYs that nobody answers: the state of accepted mutants is not growth.
SHORT = (
    "--set=presence.max_expires_publish=2",
    "--set=presence.max_expires_subscribe=2",
    "--set=server.timer_t1_ms=10",
    "--set=server.timer_t2_ms=40",
)


class Attacker:
    """Sends mutants over UDP and TCP, and answers some of the NOTIFYs that follow from those accepted."""

    def __init__(self, server: ServerProcess, random: Random) -> None:
        self.server = server
        self.random = random
        self.statuses: set[int] = set()
        self.sent = 0
        self._udp = UdpAgent(server.port)
        # A port nobody listens on, for as long as this is held.
        self._deaf = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._deaf.bind(("127.0.0.1", 0))
        self._ports = (self._udp.port, self._deaf.getsockname()[1])
        self._uri = self._etag = ""
        self._notify: Heard | None = None
        self._in_dialog: list[bytes] = []

    def close(self) -> None:
        self._udp.close()
        self._deaf.close()

    def attack(self, count: int) -> None:
        """Send `count` mutants."""
        until_sent = self.sent + count
        while self.sent < until_sent:
            self._live()
            for _ in range(10):
                self._over_udp()
                for _ in range(UDP_BATCH // TCP_BATCH):
                    self._over_tcp()

    def _live(self) -> None:
        """Have a publication and a subscription, so that mutants hit something that is there."""
        user = unique("live")
        self._uri, body = f"sip:{user}@example.com", pidf(user, ("desk", "open", "here"))
        headers = "Event: presence\r\nExpires: 2\r\nContent-Type: application/pidf+xml\r\n"
        published = self._ask(request("PUBLISH", self._uri, via=self._udp.via, headers=headers, body=body))
        assert published.status == 200
        self._etag = published["SIP-ETag"]
        headers = f"Event: presence\r\nContact: {self._udp.contact}\r\nExpires: 2\r\n"
        call_id, tag = unique("live"), unique("from")
        common = {"via": self._udp.via, "tag": tag, "call_id": call_id, "headers": headers}
        subscribed = self._ask(request("SUBSCRIBE", self._uri, **common))  # type: ignore[arg-type]
        assert subscribed.status == 200
        uri, to_tag = subscribed["Contact"].strip("<>"), subscribed["To"].rpartition("tag=")[2]
        self._in_dialog = [
            request("SUBSCRIBE", uri, to_tag=to_tag, cseq=cseq, **common)  # type: ignore[arg-type]
            for cseq in range(2, 6)
        ]

    def _mutant(self, via: str) -> bytes:
        self.sent += 1
        body = pidf("alice", ("desk", "open", "here"), ("phone", "closed", "away"))
        messages = correct_messages(self.random, via, self._ports, body, self._uri, self._etag) + self._in_dialog
        if self._notify is not None:
            messages.append(answer(self._notify, self.random.choice(("200 OK", "481 Gone", "500 Oops"))))
        return mutate(self.random, self.random.choice(messages))

    def _over_udp(self) -> None:
        for _ in range(UDP_BATCH):
            self._udp.send(self._mutant(self._udp.via))
        assert self._ask(request("OPTIONS", "sip:example.com", via=self._udp.via)).status == 200

    def _ask(self, message: bytes) -> Heard:
        """Send a correct request; take what else came until its response."""
        call_id = hear(message)["Call-ID"]
        self._udp.send(message)
        while True:
            heard = self._udp.receive()
            if heard.status and heard.all("Call-ID") == [call_id]:
                return heard
            if heard.status:
                self.statuses.add(heard.status)
            if heard.method == "NOTIFY":
                self._notify = heard
                if self.random.random() < 0.5:
                    self._udp.send(answer(heard))

    def _over_tcp(self) -> None:
        with socket.create_connection(("127.0.0.1", self.server.port), PATIENCE_S) as connection:
            via = f"TCP 127.0.0.1:{connection.getsockname()[1]}"
            try:
                for _ in range(TCP_BATCH):
                    connection.sendall(self._mutant(via))
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(65536):
                    pass
            except OSError as failure:
                # The server gave the stream up with bytes of ours unread.
                if failure.errno not in (errno.ECONNRESET, errno.EPIPE, errno.ENOTCONN):
                    raise


def settle(server: ServerProcess) -> int:
    """Wait until nothing of what was accepted is left; return the memory held."""
    for name in ("publications", "subscriptions"):
        until(f"no {name}", lambda name=name: server.metric(f"presence_{name}") == 0)  # type: ignore[misc]
    return server.rss_bytes()


def test_mutants_harm_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    with ServerProcess(tmp_path, *SHORT) as server:
        attacker = Attacker(server, Random(SEED))
        attacker.attack(WARM_UP)
        warm = settle(server)
        attacker.attack(MUTANTS)
        grown = settle(server) - warm
        attacker.close()
        assert server.alive
        with UdpAgent(server.port) as agent:
            assert Watcher(agent, "dave").subscribe().status == 200
            assert b"<basic>closed</basic>" in agent.notify().body
            assert agent.publish("dave", pidf("dave", ("desk", "open", "here"))).status == 200
            assert notes(agent.notify().body) == {"desk": "here"}
        server.assert_calm()
    assert attacker.statuses >= {200, 400, 405, 412, 415, 420, 481, 489}
    with capsys.disabled():
        print(
            f"\n{MUTANTS} mutants after {WARM_UP}: grown by {grown / 1e6:.1f} MB, answers {sorted(attacker.statuses)}"
        )
    assert grown < GROWTH_BYTES
