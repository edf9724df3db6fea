"""One connection: bytes in, messages up, answers and NOTIFYs down (RFC 3261 section 18, RFC 5626 section 5.3).

With a `Session` it is a TLS connection: what arrives is deciphered before it is framed, and what one turn has to
send is enciphered and written at once.
"""

import asyncio
import socket
import ssl
from typing import TYPE_CHECKING, cast

from presence._fastcore import Framer, Gate, Message
from presence.transport.tls import Session

if TYPE_CHECKING:
    from presence.transport.stream import StreamListener

WRITE_LIMIT_BYTES = 4 * 1024 * 1024
"""What may wait for a slow reader before its connection is closed."""

FLUSH_BYTES = 256 * 1024
"""What is queued before the kernel is asked to take it: a large turn alone must not look like a slow reader."""

KEEP_ALIVES_ANSWERED = 16

HOLD_MOST_S = 30.0
"""How long a connection of a source above its rate is left unread at the most."""


class Connection(asyncio.Protocol):
    """One TCP or TLS connection; the `Origin` of what it carries."""

    needs_handshake = False
    """Whether something must be agreed on, TLS apart, before messages come."""

    def __init__(self, listener: "StreamListener", session: Session | None = None, *, outward: bool = False) -> None:
        self._listener = listener
        self._framer = Framer(listener.limits.max_message_bytes)
        self._stream: asyncio.Transport | None = None
        self._session = session
        self.outward = outward
        """Whether it was opened by us."""
        self.ready: asyncio.Future[None] | None = asyncio.get_running_loop().create_future() if outward else None
        """Of a connection opened by us: done when messages can be sent."""
        self.certified: tuple[str, ...] = ()
        self.flow = 0
        self.peer: tuple[str, int] = ("", 0)
        self.heard_at = 0.0
        self.carried: set[int] = set()
        """Slots whose NOTIFYs went out here."""
        self._owes = False
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
        """`proto:host:port`, as the column `socket_info` has it."""
        return self._listener.local

    @property
    def transport(self) -> str:
        """The token of Via."""
        return self._listener.transport

    @property
    def secure(self) -> bool:
        """Whether it is TLS."""
        return self._session is not None

    # ---- what comes in ----

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection up, unless there are too many."""
        self._stream = cast(asyncio.Transport, transport)
        # Above this uvloop tries to write at once, not at the end of the turn.
        self._stream.set_write_buffer_limits(high=FLUSH_BYTES)
        sock = transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.peer = (transport.get_extra_info("peername") or ("", 0))[:2]
        if not self._listener.opened(self):
            return
        if self._session is None:
            self.secured()
        elif self.outward:
            self._stream.write(self._session.begin())

    def secured(self) -> None:
        """Go on when TLS, or nothing, protects the connection."""
        if self._session is not None:
            self.certified = self._session.names()
        if not self.needs_handshake:
            self.established()

    def established(self) -> None:
        """Go on when messages may come and go."""
        self._owes = not self.outward
        self._listener.established(self)
        if self.ready is not None and not self.ready.done():
            self.ready.set_result(None)
        self.flush()

    def data_received(self, data: bytes) -> None:
        """Decipher what came, where it is TLS, and take it."""
        if self._session is not None:
            data = self._decipher(self._session, data)
        if data:
            self.take(data)
        if self._session is not None and self._session.ended and not self._ended and not self.eof_received():
            self.close()

    def _decipher(self, session: Session, data: bytes) -> bytes:
        stream = self._stream
        if stream is None or stream.is_closing():
            return b""
        was_open = session.is_open
        try:
            data = session.receive(data)
        except ssl.SSLError as error:
            # The alert says to the peer what was wrong.
            self._listener.refused_tls(self, error)
            stream.write(session.pending())
            stream.close()
            return b""
        if reply := session.pending():
            stream.write(reply)
        if session.is_open and not was_open:
            self.secured()
        return data

    def take(self, data: bytes) -> None:
        """Cut what came into messages; answer keep-alives (RFC 5626 section 4.4.1)."""
        now, table = self._listener.now(), self._listener.table
        messages = self._framer.feed(data, table, now)
        pings, answers = self._framer.pings, self._framer.answers
        for _ in range(min(pings, KEEP_ALIVES_ANSWERED)):
            self.write(b"\r\n")
        self.account(now, heard=bool(messages or answers or pings), incomplete=self._framer.buffered > 0)
        self.hand_up(messages, answers, now)
        if self._framer.broken:
            # The answer to what could be read of it goes out first; then nothing more can be framed.
            self._listener.tally.drops["unframeable stream"] += 1
            self.close()

    def account(self, now: float, *, heard: bool, incomplete: bool) -> None:
        """Note what the peer has said and what it has begun: bytes that make no message extend nothing."""
        if heard:
            self.heard_at = now
            if self._owes:
                self._owes = False
                self._listener.messages.end(self)
        if incomplete and not self._owes:
            self._owes = True
            self._listener.messages.begin(self, now)

    def hand_up(self, messages: list[Message], answers: int, now: float) -> None:
        """Give messages to whoever serves them."""
        for message in messages:
            message.origin = self
            message.set_source(*self.peer)
            message.received_at = now
            self._unanswered += message.is_request and message.answerable and message.method != "ACK"
        # Most of what comes in are answers to NOTIFYs, done by now: they are no reason for a turn.
        table = self._listener.table
        if messages or (answers and table is not None and table.has_work()):
            self._listener.received(messages)
        if self._listener.gate is not None:
            self._hold_back(self._listener.gate, sum(message.is_request for message in messages), now)

    def _hold_back(self, gate: Gate, requests: int, now: float) -> None:
        """Read nothing more while the source is above its rate: TCP lets the peer feel it, and nothing is lost."""
        wait_s, stream = gate.hold(self.peer[0], requests, now), self._stream
        if wait_s > 0.0 and stream is not None and not stream.is_closing() and stream.is_reading():
            stream.pause_reading()
            # What it has begun is late through us alone.
            self._listener.messages.end(self)
            asyncio.get_running_loop().call_later(min(wait_s, HOLD_MOST_S), self._read_on)

    def _read_on(self) -> None:
        if self._stream is not None and not self._stream.is_closing():
            if self._owes:
                self._listener.messages.begin(self, self._listener.now())
            self._stream.resume_reading()

    def eof_received(self) -> bool:
        """Keep the way back open for the answers to a peer that has said all it wanted to."""
        self._ended = True
        return self._unanswered > 0

    # ---- what goes out ----

    def respond(self, request: Message, response: bytes) -> None:
        """Send a response on the connection the request came in on (RFC 3261 section 18.2.2)."""
        self.send(response)
        self._unanswered -= 1
        if self._ended and not self._unanswered:
            self.close()

    def send(self, message: bytes) -> None:
        """Queue one message."""
        self.write(message)

    def send_joined(self, messages: bytes) -> None:
        """Queue NOTIFYs that stand one behind the other."""
        self.write(messages)

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
        session = self._session
        if session is not None and not session.is_open:
            return
        queued, self._queued, self._queued_bytes = self._queued, [], 0
        if queued and self._stream is not None and not self._stream.is_closing():
            data = queued[0] if len(queued) == 1 else b"".join(queued)
            self._stream.write(data if session is None else session.encipher(data))

    def close(self) -> None:
        """Send what is queued, then close; a second call does not wait for a peer that does not read."""
        self.flush()
        if self._stream is None:
            return
        if self._stream.is_closing():
            self._stream.abort()
            return
        if self._session is not None and (farewell := self._session.end()):
            self._stream.write(farewell)
        self._stream.close()

    def abort(self) -> None:
        """Close without a word."""
        if self._stream is not None:
            self._stream.abort()

    def connection_lost(self, error: Exception | None) -> None:
        """Forget the connection."""
        self._stream = None
        self._queued = []
        if self.ready is not None and not self.ready.done():
            self.ready.cancel()
        self._listener.lost(self)
