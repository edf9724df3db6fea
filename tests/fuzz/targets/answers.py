"""What comes back for NOTIFYs, into a live table: only the right answer ends a flight, and nothing harms a row.

The first byte says how (bit 0: by stream, bit 1: through a real socket, else scanned here), the rest is one or more
messages parted by two zero bytes.
"""

import socket
from collections.abc import Iterable
from functools import cache

import sip

from presence._fastcore import CSEQ_STRIDE, Fanout, Framer, ServerTransactions, UdpSocket, parse

NOW = 1_700_000_000.0
SECRET = bytes(range(16))
PART = b"\0\0"
ROWS = 4


class Table:
    """Rows with a NOTIFY in flight each, and the NOTIFYs that were sent."""

    def __init__(self) -> None:
        self.table = table = Fanout(SECRET, NOW, user_agent=b"fuzz")
        self.udp = table.add_link(-1, reliable=False, via=b"UDP 127.0.0.1:5060", contact=b"127.0.0.1:5060")
        self.tcp = table.add_link(-1, reliable=True, via=b"TCP 127.0.0.1:5060", contact=b"127.0.0.1:5060")
        group = table.add_group(b"presence")
        self.dialogs: dict[int, tuple[bytes, ...]] = {}
        for number in range(ROWS):
            slot = table.reserve()
            dialog = (
                b"sip:bob@127.0.0.1", b"", b"<sip:alice@example.com>", b"<sip:bob@example.com>", b"f%d" % number,
                b"call%d" % number, b"", b"", b"",
            )  # fmt: skip
            table.fill(slot, group, dialog, cseq_mark=CSEQ_STRIDE, expires_at=int(NOW) + 600)
            table.set_target(slot, self.tcp if number == 3 else self.udp, "127.0.0.1", 5070 + number, flow=number)
            self.dialogs[slot] = table.dialog(slot)
        table.set_body(group, 1, b"Content-Type: text/plain\r\nContent-Length: 2\r\n\r\nhi")
        table.notify_group(group)
        while table.pump(NOW):
            pass
        self.sent = [post[4] for post in table.outbox]
        table.outbox.clear()

    def take(self, how: int, data: bytes) -> None:
        """Let a message come in, in one of the three ways."""
        table = self.table
        flying = table.counters()["in_flight"]
        if how & 1:
            framer = Framer()
            framer.feed(data[:how], table, NOW)
            framer.feed(data[how:], table, NOW)
        elif how & 2 and data:
            ours, theirs = sockets()
            theirs.send(data)
            UdpSocket(ours.fileno(), table, ServerTransactions(SECRET, NOW), None).receive(NOW)
        else:
            message = parse(data)
            final = message.status >= 200 and not message.error and table.match(message, NOW)
            assert final or table.counters()["in_flight"] == flying
            assert table.counters()["in_flight"] >= flying - 1

    def check(self) -> None:
        table = self.table
        assert len(table) == ROWS
        counters = table.counters()
        assert 0 <= counters["in_flight"] <= ROWS
        assert {slot: table.dialog(slot) for slot in self.dialogs} == self.dialogs


@cache
def sockets() -> tuple[socket.socket, socket.socket]:
    """Two UDP sockets on loopback that send to each other."""
    pair = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)]
    for one in pair:
        one.bind(("127.0.0.1", 0))
        one.setblocking(False)
    for one, other in zip(pair, reversed(pair), strict=True):
        one.connect(other.getsockname())
    return pair[0], pair[1]


def run(data: bytes) -> None:
    if not data:
        return
    live = Table()
    assert len(live.sent) == ROWS
    table = live.table
    for piece in data[1:].split(PART)[:8]:
        live.take(data[0], piece)
        live.check()
        table.pump(NOW)
        for event in table.take_events():
            assert event[0] in live.dialogs
    for later in (0.6, 5.0, 40.0, 70.0):
        table.tick(NOW + later)
        table.pump(NOW + later)
    live.check()
    # Whatever came, each flight has an end.
    assert table.counters()["in_flight"] == 0
    for slot in live.dialogs:
        table.release(slot)
    assert len(table) == 0


def seeds() -> Iterable[bytes]:
    sent = Table().sent
    answers = [
        sip.answer(parse(notify), status, *extra)
        for notify, (status, *extra) in zip(
            sent, ((200,), (481,), (503, "Retry-After: 7 (busy);duration=3"), (100,)), strict=True
        )
    ]
    for answer in answers:
        yield b"\x00" + answer
        yield b"\x41" + answer
        yield b"\x02" + answer
    yield b"\x00" + PART.join(answers)
    yield b"\x63" + b"".join(answers)
    yield b"\x00" + answers[0].replace(b"call0", b"call1")
    yield b"\x00" + answers[0].replace(b"Via", b"v").replace(b"CSeq: ", b"CSeq:  0")
