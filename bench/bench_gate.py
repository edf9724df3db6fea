"""What asking who sends costs a datagram: the socket with an open gate, with rates, with a long deny list.

Read are 128 retransmitted requests at a time, which end in the core: all there is beside is recvmmsg, the scanner and
one look-up. The kinds take turns, and what counts is the median of each.
"""

import socket
from ipaddress import ip_network
from statistics import median
from time import perf_counter

import pytest
from bench_scan import SUBSCRIBE
from conftest import Note
from pytest_benchmark.fixture import BenchmarkFixture

from presence._fastcore import Fanout, Gate, ServerTransactions, UdpSocket

SECRET, NOW = bytes(range(16)), 1_700_000_000.0
BATCH, ROUNDS = 128, 300
MANY = tuple(ip_network((0x0A000000 + 512 * number, 24)) for number in range(1000))

GATES = {
    "open": Gate(SECRET, NOW),
    "rates": Gate(SECRET, NOW, source_rate=1_000_000, source_burst=1_000_000),
    "deny": Gate(SECRET, NOW, deny=MANY),
    "all": Gate(SECRET, NOW, deny=MANY, trusted=MANY, source_rate=1_000_000, source_burst=1_000_000),
}


class Rim:
    """A socket of the server's with a peer, and a gate before it."""

    link = flow = 0

    def __init__(self, gate: Gate) -> None:
        self.server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.server.bind(("127.0.0.1", 0))
        self.server.setblocking(False)
        self.peer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.peer.connect(self.server.getsockname())
        for end in (self.server, self.peer):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        table = Fanout(SECRET, NOW)
        table.add_link(self.server.fileno(), reliable=False, via=b"UDP 127.0.0.1", contact=b"127.0.0.1")
        self.core = UdpSocket(self.server.fileno(), table, ServerTransactions(SECRET, NOW), self)
        self.core.guard(gate)
        self.spend()

    def spend(self) -> float:
        """Return the seconds one batch takes."""
        for _ in range(BATCH):
            self.peer.send(SUBSCRIBE)
        began = perf_counter()
        self.core.receive(NOW)
        return perf_counter() - began

    def close(self) -> None:
        self.server.close()
        self.peer.close()


@pytest.mark.parametrize("kind", [kind for kind in GATES if kind != "open"])
def test_gate(benchmark: BenchmarkFixture, note: Note, kind: str) -> None:
    plain, gated = Rim(GATES["open"]), Rim(GATES[kind])
    times: dict[Rim, list[float]] = {plain: [], gated: []}
    for _ in range(ROUNDS):
        for rim, taken in times.items():
            taken.append(rim.spend())
    before, after = (1e9 * median(taken) / BATCH for taken in times.values())
    assert gated.core.counters()["retransmissions"] >= ROUNDS * BATCH
    note(datagram_ns=round(before), gate_ns=round(after - before), ratio=round(after / before, 3))
    benchmark.pedantic(gated.spend, rounds=20)
    plain.close()
    gated.close()
