"""Limits on real sockets: two sources on loopback, and a victim that is a socket of its own."""

import contextlib
import socket
from pathlib import Path
from time import monotonic, sleep

import pytest
import sip
from process import ServerProcess, until
from secure import Lab, Listeners, StreamAgent, WebSocketAgent, tls_agent
from wire import RECEIVE_BYTES, Stream, TcpAgent, UdpAgent, Watcher, pidf

from presence._fastcore import parse

pytestmark = pytest.mark.system

OPTIONS = "sip:alice@example.com"


class From:
    """A socket that sends from an address of its own."""

    def __init__(self, host: str, server_port: int) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((host, 0))
        self.socket.settimeout(0.3)
        self.host, self.port = self.socket.getsockname()
        self._server = ("127.0.0.1", server_port)

    def __enter__(self) -> "From":
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def options(self, count: int) -> None:
        via = f"SIP/2.0/UDP {self.host}:{self.port};rport"
        for _ in range(count):
            self.socket.sendto(sip.request("OPTIONS", OPTIONS, via=via), self._server)

    def answers(self) -> list[int]:
        """Return the statuses that come until nothing does."""
        statuses = []
        while True:
            try:
                statuses.append(parse(self.socket.recv(RECEIVE_BYTES)).status)
            except TimeoutError:
                return statuses


def dropped(server: ServerProcess, reason: str) -> float:
    return server.metric(f'presence_drops_total{{reason="{reason}"}}')


def test_denied_addresses_are_not_read_and_their_connections_closed(tmp_path: Path) -> None:
    with (
        ServerProcess(tmp_path, "--set=limits.deny=127.0.0.2/32") as server,
        From("127.0.0.1", server.port) as good,
        From("127.0.0.2", server.port) as bad,
    ):
        bad.options(5)
        good.options(5)
        assert good.answers() == [200] * 5
        assert bad.answers() == []
        connection = socket.create_connection(("127.0.0.1", server.port), 10, source_address=("127.0.0.2", 0))
        with connection, pytest.raises(ConnectionError):
            Stream(connection).receive()
        assert dropped(server, "denied address") == 6
        with TcpAgent(server.port) as fine:
            assert fine.ask("OPTIONS", OPTIONS).status == 200
        server.assert_calm()


def test_a_source_above_its_rate_is_dropped_and_no_other(tmp_path: Path) -> None:
    options = ("--set=limits.source_rate=5", "--set=limits.source_burst=10", "--set=limits.trusted=127.0.0.3/32")
    with (
        ServerProcess(tmp_path, *options) as server,
        From("127.0.0.1", server.port) as modest,
        From("127.0.0.2", server.port) as greedy,
        From("127.0.0.3", server.port) as proxy,
    ):
        greedy.options(200)
        modest.options(8)
        proxy.options(60)
        got = greedy.answers()
        assert 10 <= len(got) < 30
        assert modest.answers() == [200] * 8
        assert proxy.answers() == [200] * 60
        assert dropped(server, "over rate") == 200 - len(got)
        sleep(0.5)
        greedy.options(1)
        assert greedy.answers() == [200]


def test_answers_to_notifies_are_not_counted(tmp_path: Path) -> None:
    with (
        ServerProcess(tmp_path, "--set=limits.source_rate=1000", "--set=limits.source_burst=5") as server,
        UdpAgent(server.port) as bob,
        TcpAgent(server.port) as alice,
    ):
        watch = Watcher(bob)
        assert watch.subscribe().status == 200
        bob.notify()
        for number in range(30):
            assert alice.publish("alice", pidf("alice", (f"t{number}", "open", "x"))).status == 200
            bob.notify()
        until("all answered", lambda: server.metric("presence_notifies_total") >= 31)
        assert server.metric('presence_notifies_total{result="retransmitted"}') == 0


def test_a_stream_above_the_rate_is_slowed_down_and_loses_nothing(tmp_path: Path) -> None:
    with (
        ServerProcess(tmp_path, "--set=limits.source_rate=50", "--set=limits.source_burst=10") as server,
        TcpAgent(server.port) as alice,
    ):
        began = monotonic()
        for _ in range(3):
            # Read in one piece each, and the next not before its time.
            alice.send(b"".join(sip.request("OPTIONS", OPTIONS, via=f"SIP/2.0/{alice.via}") for _ in range(30)))
            assert [alice.response().status for _ in range(30)] == [200] * 30
        assert monotonic() - began > 0.8
        assert dropped(server, "held back") >= 2
        server.assert_calm()


def test_a_silent_victim_gets_one_datagram_of_each_of_ten_subscriptions(tmp_path: Path) -> None:
    timers = ("--set=server.timer_t1_ms=20", "--set=server.timer_t2_ms=100")
    with (
        ServerProcess(tmp_path, *timers) as server,
        From("127.0.0.2", server.port) as victim,
        UdpAgent(server.port) as mallory,
        TcpAgent(server.port) as alice,
    ):
        contact = f"<sip:x@{victim.host}:{victim.port}>"
        statuses = [Watcher(mallory).subscribe(contact=contact).status for _ in range(100)]
        assert statuses == [200] * 10 + [403] * 90
        assert alice.publish("alice", pidf("alice", ("a", "open", "news"))).status == 200
        # Until timer F has ended them all (64 * T1).
        until("all are over", lambda: server.metric("presence_subscriptions") == 0)
        assert len(victim.answers()) == 10
        assert server.metric('presence_notifies_total{result="retransmitted"}') == 0
        # One that speaks for itself is nobody's victim.
        assert Watcher(mallory).subscribe().status == 200
        mallory.notify()
        server.assert_calm()


# ---- every kind of connection ----


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return Lab(tmp_path_factory.mktemp("certificates"))


EVERY_KIND = ("udp:127.0.0.1:0", "tcp:127.0.0.1:0", "tls:127.0.0.1:0", "ws:127.0.0.1:0", "wss:127.0.0.1:0")


def connected(lab: Lab, server: Listeners, kind: str) -> StreamAgent | WebSocketAgent:
    address = server.at(kind)
    if kind == "tls":
        return tls_agent(address, lab.trusting())
    return WebSocketAgent(address, lab.trusting() if kind == "wss" else None)


@pytest.mark.parametrize("kind", ["tls", "ws", "wss"])
def test_secure_and_web_connections_above_the_rate_are_slowed_down_too(lab: Lab, tmp_path: Path, kind: str) -> None:
    # Longer held back than a message may take: it is late through the server alone.
    limits = ("limits.source_rate=20", "limits.source_burst=5", "server.message_timeout_s=1")
    options = (*lab.options(), *(f"--set={limit}" for limit in limits))
    with (
        Listeners(tmp_path, *EVERY_KIND, options=options) as server,
        contextlib.closing(connected(lab, server, kind)) as alice,
    ):
        began = monotonic()
        for _ in range(2):
            for _ in range(30):
                alice.send(sip.request("OPTIONS", OPTIONS, via=f"SIP/2.0/{alice.via}"))
            assert [alice.response().status for _ in range(30)] == [200] * 30
        assert monotonic() - began > 1.0
        assert dropped(server, "held back") >= 1
        assert dropped(server, "message timeout") == 0
        server.assert_calm()


def test_denied_addresses_get_no_connection_of_any_kind(lab: Lab, tmp_path: Path) -> None:
    options = (*lab.options(), "--set=limits.deny=127.0.0.2/32")
    with Listeners(tmp_path, *EVERY_KIND, options=options) as server:
        for kind in ("tcp", "tls", "ws", "wss"):
            connection = socket.create_connection(server.at(kind), 10, source_address=("127.0.0.2", 0))
            with connection, pytest.raises(ConnectionError):
                Stream(connection).receive()
        assert dropped(server, "denied address") == 4
        server.assert_calm()
