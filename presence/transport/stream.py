"""TCP: connections that carry requests in and NOTIFYs out (RFC 3261 section 18.3, RFC 5626 section 5.3)."""

import asyncio
import socket
from collections import deque
from collections.abc import Callable
from typing import cast

from presence._fastcore import Fanout, Framer, Message
from presence.tally import Tally
from presence.transport.udp import host_text, own_address

WRITE_LIMIT_BYTES = 4 * 1024 * 1024
"""What may wait for a slow reader before its connection is closed."""

FLUSH_BYTES = 256 * 1024
"""What is queued before the kernel is asked to take it: a large turn alone must not look like a slow reader."""

CONNECT_TIMEOUT_S = 10.0

SWITCH_TIMEOUT_S = 2.0
"""The same where UDP is the other way: a peer without TCP may well have a firewall that says nothing."""

SWITCHES_MOST = 256
"""Connections being opened, above which UDP is taken at once: one large document may have thousands of watchers."""

Received = Callable[[list[Message]], None]


class Connection(asyncio.Protocol):
    """One TCP connection; the `Origin` of what it carries."""

    transport = "TCP"
    secure = False
    certified: tuple[str, ...] = ()

    def __init__(self, listener: "TcpListener") -> None:
        self._listener = listener
        self._framer = Framer(listener.max_message)
        self._stream: asyncio.Transport | None = None
        self.flow = 0
        self.peer: tuple[str, int] = ("", 0)
        self.heard_at = 0.0
        self.carried: set[int] = set()
        """Slots whose NOTIFYs went out here."""
        self._unanswered = 0
        self._ended = False
        self._queued: list[bytes] = []
        self._queued_bytes = 0

    @property
    def link(self) -> int:
        """Number of the way out in the watcher table."""
        return self._listener.link

    @property
    def local(self) -> str:
        """`tcp:host:port`, as the column `socket_info` has it."""
        return self._listener.local

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection up, unless there are too many."""
        self._stream = cast(asyncio.Transport, transport)
        # Above this uvloop tries to write at once, not at the end of the turn.
        self._stream.set_write_buffer_limits(high=FLUSH_BYTES)
        sock = transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.peer = (transport.get_extra_info("peername") or ("", 0))[:2]
        self._listener.opened(self)

    def data_received(self, data: bytes) -> None:
        """Cut what came into messages; answer keep-alives (RFC 5626 section 4.4.1)."""
        now, table = self._listener.now(), self._listener.table
        messages = self._framer.feed(data, table, now)
        pings, answers = self._framer.pings, self._framer.answers
        for _ in range(min(pings, 16)):
            self.write(b"\r\n")
        if messages or answers or pings:
            # Bytes that never make a message do not keep a connection alive.
            self.heard_at = now
        for message in messages:
            message.origin = self
            message.set_source(*self.peer)
            message.received_at = now
            self._unanswered += message.is_request and message.answerable and message.method != "ACK"
        # Most of what comes in are answers to NOTIFYs, done by now: they are no reason for a turn.
        if messages or (answers and table is not None and table.has_work()):
            self._listener.received(messages)
        if self._framer.broken:
            # The answer to what could be read of it goes out first; then nothing more can be framed.
            self._listener.tally.drops["unframeable stream"] += 1
            self.close()

    def respond(self, request: Message, response: bytes) -> None:
        """Send a response on the connection the request came in on (RFC 3261 section 18.2.2)."""
        self.write(response)
        self._unanswered -= 1
        if self._ended and not self._unanswered:
            self.close()

    def eof_received(self) -> bool:
        """Keep the way back open for the answers to a peer that has said all it wanted to."""
        self._ended = True
        return self._unanswered > 0

    @property
    def standing(self) -> bool:
        """Whether a request may still be sent on it."""
        return self._stream is not None and not self._ended and not self._stream.is_closing()

    def write(self, data: bytes) -> None:
        """Queue bytes for the next `flush`; a peer that does not read loses the connection."""
        if self._stream is None or self._stream.is_closing():
            return
        self._queued_bytes += len(data)
        if self._stream.get_write_buffer_size() + self._queued_bytes > WRITE_LIMIT_BYTES:
            self._listener.tally.drops["slow reader"] += 1
            self._stream.abort()
            return
        if not self._queued:
            self._listener.wait_for_flush(self)
        self._queued.append(data)
        if self._queued_bytes >= FLUSH_BYTES:
            self.flush()

    def flush(self) -> None:
        """Send what was queued in this turn, all in one write."""
        queued, self._queued, self._queued_bytes = self._queued, [], 0
        if queued and self._stream is not None and not self._stream.is_closing():
            self._stream.write(queued[0] if len(queued) == 1 else b"".join(queued))

    def close(self) -> None:
        """Send what is queued, then close; a second call does not wait for a peer that does not read."""
        self.flush()
        if self._stream is None:
            return
        if self._stream.is_closing():
            self._stream.abort()
        else:
            self._stream.close()

    def connection_lost(self, error: Exception | None) -> None:
        """Forget the connection."""
        self._stream = None
        self._queued = []
        self._listener.lost(self)


class TcpListener:
    """A TCP listener, the connections it accepted, and those opened to deliver NOTIFYs."""

    def __init__(self, host: str, port: int, *, max_message: int, max_connections: int) -> None:
        """Bind; raises OSError."""
        self.socket = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
        try:
            if ":" in host:
                self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.socket.bind((host, port))
            self.socket.listen(1024)
            self.socket.setblocking(False)
        except OSError:
            self.socket.close()
            raise
        self.host, self.port = self.socket.getsockname()[:2]
        self.max_message = max_message
        self.link = 0
        self.received: Received = lambda messages: None
        self.now: Callable[[], float] = lambda: 0.0
        self.tally = Tally()
        self.advertised_host = ""
        """What Via and Contact name in place of the listener's own host."""
        self.table: Fanout | None = None
        self.wake = self._wake
        """Asks for a `flush` soon."""
        self._unflushed: list[Connection] = []
        self._max_connections = max_connections
        self._connections: dict[int, Connection] = {}
        self._last_flow = 0
        self._server: asyncio.Server | None = None
        self._opening: dict[tuple[str, int], deque[tuple[list[tuple[int, bytes]], int, bytes]]] = {}
        self._opened_to: dict[tuple[str, int], int] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def local(self) -> str:
        """`tcp:host:port`, as the column `socket_info` has it."""
        return f"tcp:{host_text(self.host)}:{self.port}"

    def attach(self, table: Fanout, tally: Tally, received: Received, now: Callable[[], float]) -> None:
        """Become a way out of the watcher table, and hand what arrives to `received`."""
        address = f"{self.advertised_host or host_text(own_address(self.host))}:{self.port}".encode()
        self.link = table.add_link(-1, reliable=True, via=b"TCP " + address, contact=address + b";transport=tcp")
        self.table, self.tally, self.received, self.now = table, tally, received, now

    async def start(self) -> None:
        """Accept connections."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Connection(self), sock=self.socket)

    def opened(self, connection: Connection) -> None:
        """Number a new connection."""
        connection.heard_at = self.now()
        if len(self._connections) >= self._max_connections:
            self.tally.drops["too many connections"] += 1
            connection.close()
            return
        self._last_flow = connection.flow = self._last_flow % 0xFFFFFFFE + 1
        self._connections[connection.flow] = connection

    def lost(self, connection: Connection) -> None:
        """Forget a connection; NOTIFYs of its subscriptions, also those in flight, open a new one."""
        if self._connections.get(connection.flow) is not connection:
            return
        del self._connections[connection.flow]
        if self._opened_to.get(connection.peer) == connection.flow:
            del self._opened_to[connection.peer]
        table = self.table
        assert table is not None
        for slot in connection.carried:
            if table.state(slot) == "free":
                continue
            leads_here = table.facts(slot).flow == connection.flow or table.target(slot) == connection.peer
            if leads_here and not table.resend(slot):
                # RFC 3261 section 17.1.4: it was lost before, so the target counts as unreachable.
                table.fail_flight(slot, 503)

    def wait_for_flush(self, connection: Connection) -> None:
        """Remember a connection that has something to send."""
        if not self._unflushed:
            self.wake()
        self._unflushed.append(connection)

    def _wake(self) -> None:
        asyncio.get_running_loop().call_soon(self.flush)

    def flush(self) -> None:
        """Send what was queued on the connections, one write for each."""
        unflushed, self._unflushed = self._unflushed, []
        for connection in unflushed:
            connection.flush()

    def deliver(self, flow: int, host: str, port: int, data: bytes, slots: list[int]) -> None:
        """Send NOTIFYs on their flow, or open a connection to their target (RFC 3261 section 18.1.1)."""
        connection = self._standing(flow) or self._standing(self._opened_to.get((host, port), 0))
        if connection is not None:
            connection.carried.update(slots)
            connection.write(data)
            return
        assert self.table is not None
        if not port:
            # Only its flow led there (RFC 5626 section 5.3.1), or where else it could go has to be looked up first.
            for slot in slots:
                self.table.fail_flight(slot, 430)
            return
        waiting = self._opening.get((host, port))
        if waiting is None:
            if len(self._opening) >= SWITCHES_MOST and self.table.switched(slots[0]):
                for slot in slots:
                    self.table.fail_flight(slot, 503)
                return
            waiting = self._opening[host, port] = deque()
            task = asyncio.get_running_loop().create_task(
                self._open(host, port, switched=self.table.switched(slots[0]))
            )
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        to_tag = self.table.to_tag
        waiting.append(([(slot, to_tag(slot)) for slot in slots], flow, data))

    def _standing(self, flow: int) -> Connection | None:
        connection = self._connections.get(flow)
        return connection if connection is not None and connection.standing else None

    async def _open(self, host: str, port: int, *, switched: bool = False) -> None:
        loop = asyncio.get_running_loop()
        connection: Connection | None = None
        try:
            async with asyncio.timeout(SWITCH_TIMEOUT_S if switched else CONNECT_TIMEOUT_S):
                _, connection = await loop.create_connection(lambda: Connection(self), host, port)
        except OSError:
            self.tally.drops["connection refused"] += 1
        opened = connection is not None and connection.standing and connection.flow
        if opened:
            self._opened_to[host, port] = opened
        for slots, flow, data in self._opening.pop((host, port)):
            if opened and connection is not None:
                connection.carried.update(slot for slot, _ in slots)
                connection.write(data)
                continue
            for slot, to_tag in slots:
                self._fail(slot, to_tag, flow, (host, port))

    def _fail(self, slot: int, to_tag: bytes, flow: int, target: tuple[str, int]) -> None:
        """Let an unreachable target count as 503 (RFC 3261 section 8.1.3.1)."""
        table = self.table
        if table is None or table.state(slot) == "free" or table.to_tag(slot) != to_tag:
            # The slot is another dialog's by now.
            return
        if table.target(slot) == target and table.facts(slot).flow == flow:
            table.fail_flight(slot, 503)

    def close_idle(self, before: float) -> None:
        """Close connections on which nothing was heard since `before`."""
        for connection in list(self._connections.values()):
            if connection.heard_at < before:
                self.tally.drops["idle connection"] += 1
                connection.close()

    def stop_accepting(self) -> None:
        """Take no new connections."""
        if self._server is not None:
            self._server.close()

    def close(self) -> None:
        """Close everything."""
        self.stop_accepting()
        for task in self._tasks:
            task.cancel()
        for connection in list(self._connections.values()):
            connection.close()
        self.socket.close()

    def __len__(self) -> int:
        return len(self._connections)
