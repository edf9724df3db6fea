"""TCP connections over loopback: half-closed, broken, never read from, never speaking."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import sip

from presence._fastcore import CSEQ_STRIDE, Fanout, Framer, Message, ServerTransactions, build_response, parse
from presence.tally import Tally
from presence.transport.bounds import Bounds
from presence.transport.connection import WRITE_LIMIT_BYTES
from presence.transport.stream import ANSWERS_MOST, SWITCHES_MOST, Limits, StreamListener
from presence.transport.udp import UdpListener, own_address

NOW = 1_700_000_000.0
PATIENCE_S = 20.0
OPTIONS = sip.request("OPTIONS", "sip:example.com", via="SIP/2.0/TCP 127.0.0.1:5070;rport")


class Rim:
    """A listener with the watcher table behind it, and a clock by hand."""

    def __init__(self, max_connections: int = 10) -> None:
        self.at = NOW
        self.table = Fanout(bytes(range(16)), NOW, datagram_most=1300)
        self.tally = Tally()
        self.requests: list[Message] = []
        self.listener = StreamListener("tcp", "127.0.0.1", 0, Limits(), Bounds(max_connections, max_connections))
        self.listener.attach(self.table, self.tally, self._received, lambda: self.at)
        self.gid = self.table.add_group(b"presence")

    def _received(self, messages: list[Message]) -> None:
        for message in messages:
            if message.is_request:
                self.requests.append(message)
            else:
                self.table.match(message, self.at)

    def answer(self) -> None:
        request = self.requests.pop(0)
        request.origin.respond(request, build_response(request, 200, b"OK", b"tag"))

    def subscribe(self, port: int, flow: int = 0, number: int = 1) -> int:
        slot = self.table.reserve()
        texts = (b"sip:bob@127.0.0.1", b"", b"<sip:alice@example.com>", b"<sip:bob@example.com>", b"b", b"c%d" % number)
        until = int(NOW) + 600
        self.table.fill(slot, self.gid, (*texts, b"", b"", b""), cseq_mark=CSEQ_STRIDE, expires_at=until)
        self.table.set_target(slot, self.listener.link, "127.0.0.1", port, flow)
        return slot

    def pump(self) -> None:
        self.table.pump(self.at)
        for _, flow, host, port, data, slots in self.table.outbox:
            self.listener.deliver(flow, host, port, data, slots)
        self.table.outbox.clear()


@asynccontextmanager
async def started(max_connections: int = 10) -> AsyncIterator[Rim]:
    rim = Rim(max_connections)
    await rim.listener.start()
    try:
        yield rim
    finally:
        rim.listener.close()
        await until(lambda: len(rim.listener) == 0)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not holds():
            await asyncio.sleep(0)


async def turns(count: int = 20) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


class Peer:
    """A watcher's TCP port: what came in on each of its connections."""

    def __init__(self) -> None:
        self.port = 0
        self.streams: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    @asynccontextmanager
    async def listening(self) -> AsyncIterator["Peer"]:
        server = await asyncio.start_server(lambda *stream: self.streams.append(stream), "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        yield self
        for _, writer in self.streams:
            writer.close()
        server.close()

    async def notify(self, number: int) -> Message:
        await until(lambda: len(self.streams) > number)
        head = await asyncio.wait_for(self.streams[number][0].readuntil(b"\r\n\r\n"), PATIENCE_S)
        return parse(head)


def test_peer_that_has_said_all_still_gets_its_answer() -> None:
    async def scenario() -> None:
        async with started() as rim:
            reader, writer = await asyncio.open_connection("127.0.0.1", rim.listener.port)
            writer.write(OPTIONS)
            writer.write_eof()
            await until(lambda: len(rim.requests) == 1)
            await turns()
            rim.answer()
            assert (await asyncio.wait_for(reader.read(), PATIENCE_S)).startswith(b"SIP/2.0 200 OK\r\n")
            writer.close()
            await until(lambda: len(rim.listener) == 0)

    asyncio.run(scenario())


async def hang_up(rim: Rim, port: int, count: int = 1) -> None:
    """Send requests that say `port` in Via, and break the connection before they are answered."""
    _, writer = await asyncio.open_connection("127.0.0.1", rim.listener.port)
    for number in range(count):
        via = f"SIP/2.0/TCP 127.0.0.1:{port + number}"
        writer.write(sip.request("OPTIONS", "sip:example.com", via=via, call_id=f"lost{number}"))
    await until(lambda: len(rim.requests) == count)
    # A reset: after a FIN alone the connection would still stand for the answer.
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
    await until(lambda: len(rim.listener) == 0)


def test_rfc3261_18_2_2_an_answer_whose_connection_is_gone_takes_a_new_one_to_sent_by() -> None:
    async def scenario() -> None:
        async with Peer().listening() as peer, started() as rim:
            for _ in range(2):
                await hang_up(rim, peer.port)
                rim.answer()
                answer = await peer.notify(0)
                assert (answer.status, answer.call_id) == (200, "lost0")
                await turns()
                # The connection that stands by now is closed for the next round.
                peer.streams.pop()[1].close()
                await until(lambda: len(rim.listener) == 0)
            assert rim.tally.drops["lost response"] == 0

    asyncio.run(scenario())


def test_rfc3261_18_2_2_answers_to_one_address_share_the_new_connection() -> None:
    async def scenario() -> None:
        async with Peer().listening() as peer, started() as rim:
            await hang_up(rim, peer.port)
            rim.requests *= 2
            rim.answer()
            rim.answer()
            first, second = await peer.notify(0), await peer.notify(0)
            assert (first.status, second.status, len(peer.streams), len(rim.listener)) == (200, 200, 1, 1)

    asyncio.run(scenario())


def test_no_connection_for_an_answer_is_opened_to_where_we_may_not_send() -> None:
    async def scenario() -> None:
        async with Peer().listening() as peer, started() as rim:
            rim.listener.allows = lambda host: host != "127.0.0.1"
            await hang_up(rim, peer.port)
            rim.answer()
            await turns()
            assert (rim.tally.drops["lost response"], peer.streams) == (1, [])

    asyncio.run(scenario())


def test_connections_opened_for_answers_are_bounded() -> None:
    """Whoever sends and hangs up can make us call nobody but itself, and few times at once."""

    async def scenario() -> None:
        async with started(1000) as rim:
            await hang_up(rim, 20_000, ANSWERS_MOST + 5)
            for _ in range(ANSWERS_MOST + 5):
                rim.answer()
            assert len(rim.listener._opening) == ANSWERS_MOST
            assert rim.tally.drops["lost response"] == 5
            await until(lambda: not rim.listener._opening)

    asyncio.run(scenario())


def test_connection_that_was_ended_carries_no_notify() -> None:
    """The NOTIFY opens one of its own although an answer is still to go out on the old."""

    async def scenario() -> None:
        async with started() as rim, Peer().listening() as peer:
            _, writer = await asyncio.open_connection("127.0.0.1", rim.listener.port)
            writer.write(OPTIONS)
            await until(lambda: len(rim.requests) == 1)
            flow = rim.requests[0].origin.flow
            writer.write_eof()
            await until(lambda: not rim.requests[0].origin.standing)
            rim.table.notify(rim.subscribe(peer.port, flow))
            rim.pump()
            assert (await peer.notify(0)).method == "NOTIFY"
            writer.close()

    asyncio.run(scenario())


def test_peer_that_never_reads_is_gone_after_the_second_idle_check() -> None:
    async def scenario() -> None:
        async with started() as rim:
            _, writer = await asyncio.open_connection("127.0.0.1", rim.listener.port, limit=1)
            writer.transport.pause_reading()
            writer.write(OPTIONS)
            await until(lambda: len(rim.requests) == 1)
            rim.requests[0].origin.write(bytes(4_000_000))
            rim.requests[0].origin.flush()
            rim.listener.close_idle(NOW + 1)
            await turns()
            assert len(rim.listener) == 1, "what is queued is given its chance"
            rim.listener.close_idle(NOW + 1)
            await until(lambda: len(rim.listener) == 0)
            writer.transport.abort()

    asyncio.run(scenario())


def test_bytes_that_never_make_a_message_keep_no_connection_alive() -> None:
    async def scenario() -> None:
        async with started() as rim:
            _, writer = await asyncio.open_connection("127.0.0.1", rim.listener.port)
            writer.write(OPTIONS)
            await until(lambda: len(rim.requests) == 1)
            connection = rim.requests[0].origin
            rim.at += 100
            writer.write(b"OPTIONS sip:example.com SIP/2.0\r\nX: ")
            await until(lambda: connection._framer.buffered > 0)
            rim.listener.close_idle(NOW + 50)
            await until(lambda: len(rim.listener) == 0)
            writer.close()

    asyncio.run(scenario())


def test_rfc5626_4_4_1_keep_alives_are_answered_and_keep_the_connection() -> None:
    async def scenario() -> None:
        async with started() as rim:
            reader, writer = await asyncio.open_connection("127.0.0.1", rim.listener.port)
            await until(lambda: len(rim.listener) == 1)
            rim.at += 100
            writer.write(b"\r\n\r\n")
            assert await asyncio.wait_for(reader.readexactly(2), PATIENCE_S) == b"\r\n"
            rim.listener.close_idle(NOW + 50)
            assert rim.tally.drops["idle connection"] == 0
            writer.close()

    asyncio.run(scenario())


def test_rfc3261_17_1_4_notify_in_flight_on_a_lost_connection_goes_out_once_more() -> None:
    async def scenario() -> None:
        async with started() as rim, Peer().listening() as peer:
            slot = rim.subscribe(peer.port)
            rim.table.notify(slot)
            rim.pump()
            first = await peer.notify(0)
            peer.streams[0][1].transport.abort()
            await until(lambda: len(rim.listener) == 0)
            rim.pump()
            again = await peer.notify(1)
            assert (again.branch, again.cseq) == (first.branch, first.cseq)
            peer.streams[1][1].transport.abort()
            await until(lambda: len(rim.listener) == 0)
            assert rim.table.flight(slot) == "failed"
            assert rim.table.take_events() == [(slot, "failed", 503, 0)]
            assert not rim.listener._opened_to

    asyncio.run(scenario())


def test_answered_notify_is_not_repeated_when_its_connection_ends() -> None:
    async def scenario() -> None:
        async with started() as rim, Peer().listening() as peer:
            slot = rim.subscribe(peer.port)
            rim.table.notify(slot)
            rim.pump()
            peer_notify = await peer.notify(0)
            peer.streams[0][1].write(sip.answer(peer_notify, 200))
            await until(lambda: rim.table.flight(slot) == "idle")
            peer.streams[0][1].close()
            await until(lambda: len(rim.listener) == 0)
            assert rim.table.pump(rim.at) == 0
            assert rim.table.outbox == []

    asyncio.run(scenario())


def test_connection_that_opens_late_belongs_to_nobody_new() -> None:
    """A slot can be another dialog's by the time its connection is refused, or stands."""

    async def scenario() -> None:
        async with started() as rim, Peer().listening() as peer:
            probe = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
            refusing = probe.sockets[0].getsockname()[1]
            probe.close()
            slot = rim.subscribe(refusing)
            rim.table.notify(slot)
            rim.pump()
            rim.table.release(slot)
            assert rim.subscribe(peer.port, number=2) == slot
            rim.table.notify(slot)
            rim.pump()
            assert (await peer.notify(0)).call_id == "c2"
            await until(lambda: rim.tally.drops["connection refused"] == 1)
            await turns()
            assert rim.table.flight(slot) == "flying"

    asyncio.run(scenario())


def test_more_connections_than_allowed_are_closed_and_leave_nothing() -> None:
    async def scenario() -> None:
        async with started(max_connections=1) as rim, Peer().listening() as peer:
            _, writer = await asyncio.open_connection("127.0.0.1", rim.listener.port)
            await until(lambda: len(rim.listener) == 1)
            reader, refused = await asyncio.open_connection("127.0.0.1", rim.listener.port)
            assert await asyncio.wait_for(reader.read(), PATIENCE_S) == b""
            refused.close()
            slot = rim.subscribe(peer.port)
            rim.table.notify(slot)
            rim.pump()
            await until(lambda: rim.table.flight(slot) == "failed")
            assert (len(rim.listener), rim.listener._opened_to, rim.listener._opening) == (1, {}, {})
            writer.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("host", ["0.0.0.0", "127.0.0.1"])
def test_rfc3261_8_1_1_8_contact_names_an_address_also_for_a_wildcard(host: str) -> None:
    table = Fanout(bytes(range(16)), NOW)
    udp = UdpListener("127.0.0.1", 0)
    udp.host = host
    try:
        udp.attach(table, ServerTransactions(bytes(range(16)), NOW))
        contact = table.contact(table.reserve(), udp.link).decode()
    finally:
        udp.close()
    assert contact.endswith(f"@{own_address(host)}:{udp.port}")
    assert "0.0.0.0" not in contact


@pytest.mark.parametrize(("host", "same"), [("127.0.0.1", True), ("::1", True), ("0.0.0.0", False), ("::", False)])
def test_only_a_wildcard_is_called_by_another_name(host: str, same: bool) -> None:
    assert (own_address(host) == host) is same


class Counted:
    """A transport that counts its writes."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self.writes: list[bytes] = []

    def __getattr__(self, name: str) -> object:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        self.writes.append(data)
        self._transport.write(data)


async def connected(rim: Rim) -> tuple[Counted, asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", rim.listener.port)
    writer.write(OPTIONS)
    await until(lambda: len(rim.requests) == 1)
    connection = rim.requests[0].origin
    connection._stream = Counted(connection._stream)
    return connection._stream, reader, writer


def test_what_one_turn_sends_on_a_connection_leaves_in_one_write() -> None:
    """The answer first, then the NOTIFYs in the order of their changes."""

    async def scenario() -> None:
        async with started() as rim:
            stream, reader, writer = await connected(rim)
            connection = rim.requests[0].origin
            slots = [rim.subscribe(writer.get_extra_info("sockname")[1], connection.flow, n) for n in range(200)]
            rim.answer()
            for slot in reversed(slots):
                rim.table.notify(slot)
            rim.pump()
            await until(lambda: bool(stream.writes))
            assert len(stream.writes) == 1
            framer = Framer()
            found = [message for data in stream.writes for message in framer.feed(data)]
            assert [found[0].status, *(m.call_id for m in found[1:])] == [200, *(f"c{n}" for n in range(199, -1, -1))]
            assert connection.carried == set(slots)
            got = await asyncio.wait_for(reader.readexactly(len(stream.writes[0])), PATIENCE_S)
            assert got == stream.writes[0]
            writer.close()

    asyncio.run(scenario())


def test_answers_to_requests_of_one_read_leave_in_one_write() -> None:
    async def scenario() -> None:
        async with started() as rim:
            stream, _, writer = await connected(rim)
            rim.answer()
            await until(lambda: bool(stream.writes))
            writer.write(OPTIONS * 5)
            await until(lambda: len(rim.requests) == 5)
            for _ in range(5):
                rim.answer()
            await turns()
            assert [data.count(b"SIP/2.0 200 OK") for data in stream.writes] == [1, 5]
            writer.close()

    asyncio.run(scenario())


def test_peer_that_does_not_read_holds_no_more_than_the_limit() -> None:
    """What is queued within one turn counts, and what the kernel takes of it does not."""

    async def scenario() -> None:
        async with started() as rim:
            stream, _, writer = await connected(rim)
            writer.transport.pause_reading()
            connection = rim.requests[0].origin
            held = []
            for _ in range(1000):
                connection.write(bytes(65536))
                if rim.tally.drops["slow reader"]:
                    break
                held.append(connection._queued_bytes + stream.get_write_buffer_size())
            assert WRITE_LIMIT_BYTES - 65536 <= max(held) <= WRITE_LIMIT_BYTES
            assert len(held) * 65536 > WRITE_LIMIT_BYTES
            connection.write(b"x")
            assert rim.tally.drops["slow reader"] == 1
            await until(lambda: len(rim.listener) == 0)
            writer.close()

    asyncio.run(scenario())


def test_notifies_that_no_connection_takes_fail_one_by_one() -> None:
    async def scenario() -> None:
        async with started() as rim:
            probe = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
            refusing = probe.sockets[0].getsockname()[1]
            probe.close()
            slots = [rim.subscribe(refusing, number=number) for number in range(3)]
            for slot in slots:
                rim.table.notify(slot)
            rim.pump()
            rim.table.release(slots[1])
            await until(lambda: rim.table.flight(slots[2]) == "failed")
            assert rim.table.take_events() == [(slot, "failed", 503, 0) for slot in (slots[0], slots[2])]

    asyncio.run(scenario())


def test_answers_to_notifies_go_to_the_table_and_keep_the_connection() -> None:
    """Only a response that is nobody's, or a failure with consequences, is a reason for a turn."""

    async def scenario() -> None:
        async with started() as rim, Peer().listening() as peer:
            slots = [rim.subscribe(peer.port, number=number) for number in range(3)]
            for slot in slots:
                rim.table.notify(slot)
            rim.pump()
            notifies = [await peer.notify(0) for _ in slots]
            received: list[list[Message]] = []
            rim.listener.received = received.append
            rim.at += 100
            peer.streams[0][1].write(b"".join(sip.answer(notify, 200) for notify in notifies[:2]))
            await until(lambda: [rim.table.flight(slot) for slot in slots] == ["idle", "idle", "flying"])
            assert received == []
            rim.listener.close_idle(NOW + 50)
            assert rim.tally.drops["idle connection"] == 0
            stray = sip.answer(notifies[2], 200).replace(b"z9hG4bKpr", b"z9hG4bKxx")
            peer.streams[0][1].write(stray)
            await until(lambda: len(received) == 1)
            assert [message.status for message in received[0]] == [200]
            peer.streams[0][1].write(sip.answer(notifies[2], 481))
            await until(lambda: len(received) == 2)
            assert received[1] == []
            assert rim.table.take_events() == [(slots[2], "failed", 481, 0)]

    asyncio.run(scenario())


async def switch_many() -> None:
    async with started() as rim:
        udp = rim.table.add_link(-1, reliable=False, via=b"UDP 127.0.0.1:5060", contact=b"127.0.0.1:5060")
        rim.table.pair_links(udp, rim.listener.link)
        slots = [rim.subscribe(1, number=number) for number in range(SWITCHES_MOST + 50)]
        for number, slot in enumerate(slots):
            # Nobody answers there; no two are alike.
            rim.table.set_target(slot, udp, f"127.1.{number // 250}.{number % 250 + 1}", 1)
        rim.table.set_body(rim.gid, 1, b"Content-Type: text/plain\r\nContent-Length: 2000\r\n\r\n" + b"x" * 2000)
        rim.table.notify_group(rim.gid)
        while rim.table.pump(rim.at):
            pass
        for _, flow, host, port, data, delivered in list(rim.table.outbox):
            rim.listener.deliver(flow, host, port, data, delivered)
        rim.table.outbox.clear()
        assert rim.table.counters()["switched"] == len(slots)
        assert rim.table.counters()["fallen_back"] == 50
        await until(lambda: rim.table.counters()["fallen_back"] == len(slots))
        assert sum(rim.table.switched(slot) for slot in slots) == 0


def test_rfc3261_18_1_1_no_more_connections_are_tried_at_once_than_a_bound() -> None:
    asyncio.run(switch_many())
