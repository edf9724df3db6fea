"""Listeners of stream transports: the connections they accepted, and those opened to deliver NOTIFYs."""

import asyncio
import socket
import ssl
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from presence import logbook
from presence._fastcore import Fanout, Gate, Message
from presence.tally import Tally
from presence.transport.bounds import Bounds, Patience
from presence.transport.connection import Connection
from presence.transport.tls import Security, explain
from presence.transport.udp import host_text, own_address

CONNECT_TIMEOUT_S = 10.0

SWITCH_TIMEOUT_S = 2.0
"""The same where UDP is the other way: a peer without TCP may well have a firewall that says nothing."""

SWITCHES_MOST = 256
"""Connections being opened, above which UDP is taken at once: one large document may have thousands of watchers."""

Received = Callable[[list[Message]], None]

Factory = Callable[["StreamListener"], Connection]
"""Makes what serves a connection that came in."""

_TOKENS = {"tcp": ("TCP", "tcp"), "tls": ("TLS", "tls"), "ws": ("WS", "ws"), "wss": ("WSS", "ws")}
"""The tokens of Via and of the URI parameter `transport` (RFC 3261 section 25.1, RFC 7118 sections 5.1 and 5.2)."""


class Limits(NamedTuple):
    """What is granted to each connection."""

    max_message_bytes: int = 65535
    handshake_timeout_s: float = 10.0
    message_timeout_s: float = 30.0


class StreamListener:
    """A bound socket of a stream transport: "tcp", "tls", "ws" or "wss"."""

    def __init__(self, kind: str, host: str, port: int, limits: Limits, bounds: Bounds) -> None:
        """Bind; raises OSError."""
        self.socket = _bound(host, port)
        self.host, self.port = self.socket.getsockname()[:2]
        self.kind = kind
        self.transport, self._param = _TOKENS[kind]
        self.limits = limits
        self.link = 0
        self.accept: Factory = Connection
        self.security: Security | None = None
        """With it connections to targets are opened over TLS."""
        self.names: dict[tuple[str, int], str] = {}
        """The name a target's certificate must be for, where that is not its address (RFC 5922 section 7.3)."""
        self.received: Received = lambda messages: None
        self.now: Callable[[], float] = lambda: 0.0
        self.tally = Tally()
        self.advertised_host = ""
        """What Via and Contact name in place of the listener's own host."""
        self.table: Fanout | None = None
        self.wake = self._wake
        """Asks for a `flush` soon."""
        self.gate: Gate | None = None
        """Whose connections are taken, and how much is read from them; None: everybody's, all."""
        self.handshakes: Patience[Connection] = Patience(limits.handshake_timeout_s)
        """Who has not agreed yet on TLS or WebSocket."""
        self.messages: Patience[Connection] = Patience(limits.message_timeout_s)
        """Who owes the rest of a message, or the first."""
        self.leaving: Patience[Connection] = Patience(limits.handshake_timeout_s)
        """Who owes the end of the stream."""
        self._log = logbook.open_log()
        self._bounds = bounds
        self._unflushed: list[Connection] = []
        self._connections: dict[int, Connection] = {}
        self._server: asyncio.Server | None = None
        self._opening: dict[tuple[str, int], deque[tuple[list[tuple[int, bytes]], int, bytes]]] = {}
        self._opened_to: dict[tuple[str, int], int] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def local(self) -> str:
        """`proto:host:port`, as the column `socket_info` has it."""
        return f"{self.kind}:{host_text(self.host)}:{self.port}"

    @property
    def opens(self) -> bool:
        """Whether connections can be opened to targets: a WebSocket client only calls (RFC 7118 section 5.4)."""
        return self.kind in ("tcp", "tls")

    def attach(self, table: Fanout, tally: Tally, received: Received, now: Callable[[], float]) -> None:
        """Become a way out of the watcher table, and hand what arrives to `received`."""
        address = f"{self.advertised_host or host_text(own_address(self.host))}:{self.port}"
        via, contact = f"{self.transport} {address}".encode(), f"{address};transport={self._param}".encode()
        self.link = table.add_link(-1, reliable=True, via=via, contact=contact)
        self.table, self.tally, self.received, self.now = table, tally, received, now

    async def start(self) -> None:
        """Accept connections."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: self.accept(self), sock=self.socket)

    # ---- connections ----

    def opened(self, connection: Connection) -> bool:
        """Number a new connection; return whether it is taken."""
        now, host = self.now(), connection.peer[0]
        if self.gate is not None and not self.gate.admits(host):
            connection.abort()
            return False
        refusal = self._bounds.refusal(host)
        if refusal:
            self.tally.drops[refusal] += 1
            connection.abort() if connection.secure else connection.close()
            return False
        connection.heard_at = now
        connection.flow = self._bounds.take(host)
        self._connections[connection.flow] = connection
        if connection.secure or connection.needs_handshake:
            self.handshakes.begin(connection, now)
        return True

    def established(self, connection: Connection) -> None:
        """Wait for the first message of who came in."""
        self.handshakes.end(connection)
        if not connection.outward:
            self.messages.begin(connection, self.now())

    def refused_tls(self, connection: Connection, error: ssl.SSLError) -> None:
        """Note a TLS connection that cannot go on."""
        self.tally.drops["TLS failure"] += 1
        self._log.debug("TLS failure", peer=connection.peer[0], reason=explain(error))

    def lost(self, connection: Connection) -> None:
        """Forget a connection; NOTIFYs of its subscriptions, also those in flight, open a new one."""
        if self._connections.get(connection.flow) is not connection:
            return
        del self._connections[connection.flow]
        self._bounds.drop(connection.peer[0])
        self.handshakes.end(connection)
        self.messages.end(connection)
        self.leaving.end(connection)
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
                table.fail_flight(slot, 503, carried=True)

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

    # ---- NOTIFYs ----

    def deliver(self, flow: int, host: str, port: int, data: bytes, slots: list[int]) -> None:
        """Send NOTIFYs on their flow, or open a connection to their target (RFC 3261 section 18.1.1)."""
        connection = self._standing(flow) or self._standing(self._opened_to.get((host, port), 0))
        if connection is not None:
            connection.carried.update(slots)
            connection.send_joined(data)
            return
        assert self.table is not None
        to_tag = self.table.to_tag
        marked = [(slot, to_tag(slot)) for slot in slots]
        if not port:
            # Only its flow led there (RFC 5626 section 5.3.1), or where else it could go has to be looked up first.
            for slot in slots:
                self.table.fail_flight(slot, 430)
            return
        if not self.opens:
            # Not at once: the table is sending just now.
            asyncio.get_running_loop().call_soon(self._fail, marked, flow, (host, port))
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
        waiting.append((marked, flow, data))

    def _standing(self, flow: int) -> Connection | None:
        connection = self._connections.get(flow)
        return connection if connection is not None and connection.standing else None

    async def _open(self, host: str, port: int, *, switched: bool = False) -> None:
        connection: Connection | None = None
        try:
            async with asyncio.timeout(SWITCH_TIMEOUT_S if switched else CONNECT_TIMEOUT_S):
                connection = await self._connect(host, port)
        except OSError:
            self.tally.drops["connection refused"] += 1
        if connection is not None:
            self._opened_to[host, port] = connection.flow
        for slots, flow, data in self._opening.pop((host, port)):
            if connection is not None:
                connection.carried.update(slot for slot, _ in slots)
                connection.send_joined(data)
            else:
                self._fail(slots, flow, (host, port))

    async def _connect(self, host: str, port: int) -> Connection | None:
        """Open a connection and return it when messages can be sent, None when it ended first; raises OSError."""
        name = self.names.get((host, port), host)
        session = self.security.connect(name) if self.security is not None else None
        connection = Connection(self, session, outward=True)
        assert connection.ready is not None
        try:
            await asyncio.get_running_loop().create_connection(lambda: connection, host, port)
            await asyncio.wait((connection.ready,))
        except (OSError, asyncio.CancelledError):
            connection.abort()
            raise
        return connection if connection.standing and not connection.ready.cancelled() else None

    def _fail(self, slots: list[tuple[int, bytes]], flow: int, target: tuple[str, int]) -> None:
        """Let an unreachable target count as 503 (RFC 3261 section 8.1.3.1)."""
        table = self.table
        assert table is not None
        for slot, to_tag in slots:
            # Otherwise the slot is another dialog's by now.
            if (
                table.state(slot) != "free"
                and table.to_tag(slot) == to_tag
                and table.target(slot) == target
                and table.facts(slot).flow == flow
            ):
                table.fail_flight(slot, 503)

    # ---- the end ----

    def close_late(self) -> None:
        """Close connections whose handshake or message takes too long: what trickles in buys no time."""
        now = self.now()
        for connection in self.handshakes.take_late(now):
            self.tally.drops["handshake timeout"] += 1
            connection.abort()
        for connection in self.messages.take_late(now):
            self.tally.drops["message timeout"] += 1
            connection.close()
        for connection in self.leaving.take_late(now):
            connection.abort()

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


def _bound(host: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        if ":" in host:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(1024)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener
