"""What comes back for NOTIFYs, into a live table: only the right answer ends a flight, and nothing harms a row.

The first byte says how (bit 0: by stream, bit 1: through a real socket, else scanned here), the rest is one or more
messages parted by two zero bytes. In them BRANCH0 to BRANCH3 and TAG0 to TAG3 become what the NOTIFYs of the four rows
have, since a table is used again and gives other ones each time.
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
        self.table = table = Fanout(SECRET, NOW, user_agent=b"fuzz", t1_ms=10, t2_ms=40)
        self.udp = table.add_link(-1, reliable=False, via=b"UDP 127.0.0.1:5060", contact=b"127.0.0.1:5060")
        self.tcp = table.add_link(-1, reliable=True, via=b"TCP 127.0.0.1:5060", contact=b"127.0.0.1:5060")
        self.dialogs: dict[int, tuple[bytes, ...]] = {}
        self.sent: list[bytes] = []
        self.group = 0
        self.socket: UdpSocket | None = None
        self.now = NOW

    def begin(self) -> None:
        """Fill the rows and let each send its NOTIFY."""
        table = self.table
        group = self.group = table.add_group(b"presence")
        for number in range(ROWS):
            slot = table.reserve()
            dialog = (
                b"sip:bob@127.0.0.1", b"", b"<sip:alice@example.com>", b"<sip:bob@example.com>", b"f%d" % number,
                b"call%d" % number, b"", b"", b"",
            )  # fmt: skip
            table.fill(slot, group, dialog, cseq_mark=CSEQ_STRIDE, expires_at=int(self.now) + 600)
            table.set_target(slot, self.tcp if number == 3 else self.udp, "127.0.0.1", 5070 + number, flow=number)
            self.dialogs[slot] = table.dialog(slot)
        table.set_body(group, 1, b"Content-Type: text/plain\r\nContent-Length: 2\r\n\r\nhi")
        table.notify_group(group)
        while table.pump(self.now):
            pass
        self.sent = [post[4] for post in table.outbox]
        table.outbox.clear()
        assert len(self.sent) == ROWS

    def words(self) -> dict[bytes, bytes]:
        """What stands in an input for what the NOTIFYs have."""
        messages = sorted(map(parse, self.sent), key=lambda message: message.call_id)
        names = {b"BRANCH%d" % n: message.branch.encode() for n, message in enumerate(messages)}
        return names | {b"TAG%d" % n: message.from_tag.encode() for n, message in enumerate(messages)}

    def end(self) -> None:
        """Whatever came, each flight has an end, and so has each row."""
        table = self.table
        for _ in range(8):
            self.now += 0.1
            table.tick(self.now)
            table.pump(self.now)
        self.check()
        assert table.counters()["in_flight"] == 0
        for slot in self.dialogs:
            table.release(slot)
        self.dialogs.clear()
        assert table.drop_group(self.group)
        table.outbox.clear()
        table.take_events()
        assert len(table) == 0

    def take(self, how: int, data: bytes) -> None:
        """Let a message come in, in one of the three ways."""
        table = self.table
        flying = table.counters()["in_flight"]
        if how & 1:
            framer = Framer()
            framer.feed(data[:how], table, self.now)
            framer.feed(data[how:], table, self.now)
        elif how & 2 and data:
            ours, theirs = sockets()
            theirs.send(data)
            if self.socket is None:
                self.socket = UdpSocket(ours.fileno(), table, ServerTransactions(SECRET, NOW), None)
            self.socket.receive(self.now)
        else:
            message = parse(data)
            final = message.status >= 200 and not message.error and table.match(message, self.now)
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


@cache
def live_table() -> Table:
    return Table()


def run(data: bytes) -> None:
    if not data:
        return
    live = live_table()
    live.begin()
    how, data = data[0], data[1:]
    for word, value in live.words().items():
        data = data.replace(word, value)
    for piece in data.split(PART)[:8]:
        live.take(how, piece)
        live.check()
        live.table.pump(live.now)
        for event in live.table.take_events():
            assert event[0] in live.dialogs
    live.end()


def seeds() -> Iterable[bytes]:
    one = Table()
    one.begin()
    words = one.words()
    answers = []
    for notify, (status, *extra) in zip(
        sorted(one.sent, key=lambda sent: parse(sent).call_id),
        ((200,), (481,), (503, "Retry-After: 7 (busy);duration=3"), (100,)),
        strict=True,
    ):
        answer = sip.answer(parse(notify), status, *extra)
        for word, value in words.items():
            answer = answer.replace(value, word)
        answers.append(answer)
    for answer in answers:
        yield b"\x00" + answer
        yield b"\x41" + answer
        yield b"\x02" + answer
    yield b"\x00" + PART.join(answers)
    yield b"\x63" + b"".join(answers)
    yield b"\x00" + answers[0].replace(b"call0", b"call1")
    yield b"\x00" + answers[0].replace(b"Via", b"v").replace(b"CSeq: ", b"CSeq:  0")
