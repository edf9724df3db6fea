"""The rim of the user agents: one socket to one server, the clock, and the agent that decides."""

import asyncio
import contextlib
import os
import ssl
from collections.abc import AsyncIterator, Callable
from typing import Generic, Protocol, TypeVar, cast

from presence._fastcore import Framer
from presence.clock import SystemClock
from presence.errors import PresenceError
from presence.sip.build import SentBy

Event = TypeVar("Event")

Trace = Callable[[str, bytes], None]
"""Gets "sent" or "received" and the message."""

_KEEP_ALIVES_ANSWERED = 16


class Unreachable(PresenceError):
    """No connection to the server, or none any more."""


class Untrusted(Unreachable):
    """The server is there, and its certificate is not one we trust."""


class Agent(Protocol[Event]):
    """A user agent without I/O, such as `Publisher` and `Watcher`."""

    def receive(self, data: bytes, now: float) -> None:
        """Take one message from the network."""

    def handle_timer(self, now: float) -> None:
        """Let time pass."""

    def handle_transport_error(self, now: float) -> None:
        """Learn that nothing reaches the server."""

    def next_deadline(self) -> float | None:
        """Return when `handle_timer` wants to be called."""

    def take_outgoing(self) -> list[bytes]:
        """Return the messages to be sent now."""

    def take_events(self) -> list[Event]:
        """Return what has happened since last asked."""


class Flow:
    """A socket connected to the server: only what comes from there is heard, and nothing goes elsewhere."""

    def __init__(self, trace: Trace | None = None) -> None:
        self.failure = ""
        """Why the last message could not be sent."""
        self.local = SentBy("UDP", "", 0)
        self.received: Callable[[bytes], None] = lambda data: None
        self.failed: Callable[[], None] = lambda: None
        self.is_lost = False
        self._trace = trace
        self._transport: asyncio.BaseTransport | None = None
        self._write: Callable[[bytes], None] = lambda data: None

    def opened(self, name: str, transport: asyncio.BaseTransport, write: Callable[[bytes], None]) -> None:
        """Take up the connected socket."""
        host, port = transport.get_extra_info("sockname")[:2]
        self.local = SentBy(name, host, port)
        self._transport, self._write = transport, write

    def take(self, data: bytes) -> None:
        """Hand one message that came to the agent."""
        if self._trace:
            self._trace("received", data)
        self.received(data)

    def send(self, data: bytes) -> None:
        """Send one message."""
        if self.is_lost:
            return
        if self._trace:
            self._trace("sent", data)
        self._write(data)

    def pong(self) -> None:
        """Answer a keep-alive (RFC 5626 section 4.4.1)."""
        if not self.is_lost:
            self._write(b"\r\n")

    def fail(self, reason: str, *, lost: bool = False) -> None:
        """Learn that the server is not reached, for now or for good."""
        self.failure = reason
        self.is_lost = self.is_lost or lost
        self.failed()

    def close(self) -> None:
        """Send what is queued, then close the socket."""
        if self._transport is not None:
            self._transport.close()


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, flow: Flow) -> None:
        self._flow = flow

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._flow.opened("UDP", transport, cast(asyncio.DatagramTransport, transport).sendto)

    def datagram_received(self, data: bytes, address: object) -> None:
        # CRLF alone is a keep-alive, no message (RFC 5626 section 3.5.2).
        if data.strip(b"\r\n\0"):
            self._flow.take(data)

    def error_received(self, error: Exception) -> None:
        # Also called from within `sendto`: the agent must not be entered twice.
        reason = getattr(error, "strerror", None) or str(error)
        asyncio.get_running_loop().call_soon(self._flow.fail, reason)


class _Stream(asyncio.Protocol):
    def __init__(self, flow: Flow, name: str) -> None:
        self._flow = flow
        self._name = name
        self._framer = Framer()
        self._transport: asyncio.BaseTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._flow.opened(self._name, transport, cast(asyncio.WriteTransport, transport).write)

    def data_received(self, data: bytes) -> None:
        for message in self._framer.feed(data):
            self._flow.take(message.raw)
        for _ in range(min(self._framer.pings, _KEEP_ALIVES_ANSWERED)):
            self._flow.pong()
        if self._framer.broken and self._transport is not None:
            self._transport.close()
            self._flow.fail("what came is not SIP", lost=True)

    def connection_lost(self, error: Exception | None) -> None:
        reason = getattr(error, "strerror", None) or "the server closed the connection"
        self._flow.fail(reason, lost=True)


@contextlib.asynccontextmanager
async def connect(
    transport: str,
    host: str,
    port: int,
    *,
    timeout_s: float,
    trace: Trace | None = None,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[Flow]:
    """Open a flow over "udp", "tcp" or "tls" to an IP address; raises Unreachable."""
    loop = asyncio.get_running_loop()
    flow = Flow(trace)
    try:
        async with asyncio.timeout(timeout_s):
            if transport == "udp":
                await loop.create_datagram_endpoint(lambda: _Datagrams(flow), remote_addr=(host, port))
            else:
                secured = tls if transport == "tls" else None
                await loop.create_connection(lambda: _Stream(flow, transport.upper()), host, port, ssl=secured)
    except ssl.SSLCertVerificationError as error:
        raise Untrusted(f"its certificate is not trusted: {error.verify_message} (see --ca)") from None
    except ssl.SSLError as error:
        raise Unreachable(f"no TLS: {error.reason or error}") from None
    except TimeoutError:
        raise Unreachable(f"no connection within {timeout_s:g} s") from None
    except OSError as error:
        # asyncio puts the address into the text where the system's word for it would do.
        raise Unreachable(_explain(error)) from None
    try:
        yield flow
    finally:
        flow.close()


def trusting(ca: str, *, insecure: bool = False) -> ssl.SSLContext:
    """Return whom to trust as a server: the file's authorities, else the system's, or everybody; raises OSError."""
    context = ssl.create_default_context(cafile=ca or None)
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _explain(error: OSError) -> str:
    return os.strerror(error.errno) if error.errno else str(error)


class Driver(Generic[Event]):
    """Lets an agent live on a flow."""

    def __init__(self, flow: Flow, agent: Agent[Event], now: Callable[[], float] | None = None) -> None:
        """`now` is the time of whoever has the agent, where it lives longer than this."""
        self._flow = flow
        self._agent = agent
        self._now = now or SystemClock().now
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._events: asyncio.Queue[Event | None] = asyncio.Queue()
        flow.received = self._receive
        flow.failed = self._fail

    def now(self) -> float:
        """Return the time agents live by."""
        return self._now()

    def settle(self) -> None:
        """Carry out what the agent decided; to be called after each call of one of its methods."""
        for data in self._agent.take_outgoing():
            self._flow.send(data)
        for event in self._agent.take_events():
            self._events.put_nowait(event)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        deadline = self._agent.next_deadline()
        if deadline is not None and not self._flow.is_lost:
            self._timer = self._loop.call_later(max(deadline - self.now(), 0.0), self._fire)

    async def next_event(self) -> Event:
        """Wait for what happens next; raises Unreachable when nothing can happen any more."""
        event = await self._events.get()
        if event is None:
            raise Unreachable(self._flow.failure)
        return event

    def stop(self) -> None:
        """Leave the agent alone: it goes on without this flow."""
        self._flow.received, self._flow.failed = lambda data: None, lambda: None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _receive(self, data: bytes) -> None:
        self._agent.receive(data, self.now())
        self.settle()

    def _fire(self) -> None:
        self._timer = None
        self._agent.handle_timer(self.now())
        self.settle()

    def _fail(self) -> None:
        self._agent.handle_transport_error(self.now())
        self.settle()
        if self._flow.is_lost:
            self._events.put_nowait(None)
