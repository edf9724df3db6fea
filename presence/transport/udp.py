"""UDP listeners: batches of datagrams in, responses and NOTIFYs out of the same socket."""

import contextlib
import socket
import struct
from collections.abc import Callable

from presence._fastcore import Fanout, Gate, Message, ServerTransactions, UdpSocket

RECEIVE_BUFFER_BYTES = 16 * 1024 * 1024
"""Asked of the kernel: its default holds 92 datagrams, fewer than the answers to one large fan-out."""

_SO_RCVBUFFORCE = 33
_SO_MEMINFO = 55
_DROPS = 8
"""Place of the drop counter in what SO_MEMINFO gives (linux/sock_diag.h)."""


class UdpListener:
    """A bound UDP socket; the `Origin` of what it receives."""

    transport = "UDP"
    secure = False
    certified: tuple[str, ...] = ()
    flow = 0

    def __init__(self, host: str, port: int) -> None:
        """Bind; raises OSError."""
        self.socket = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
        try:
            if ":" in host:
                self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            self.socket.setblocking(False)
            self._widen()
            self.socket.bind((host, port))
        except OSError:
            self.socket.close()
            raise
        self.host, self.port = self.socket.getsockname()[:2]
        self.local = f"udp:{host_text(self.host)}:{self.port}"
        """`udp:host:port`, as the column `socket_info` has it."""
        self.link = 0
        self._core: UdpSocket | None = None

    def _widen(self) -> None:
        for option, size in (
            (socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES),
            (socket.SO_SNDBUF, RECEIVE_BUFFER_BYTES),
        ):
            self.socket.setsockopt(socket.SOL_SOCKET, option, size)
        # Passes the system's limit where we are allowed to.
        with contextlib.suppress(OSError):
            self.socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, RECEIVE_BUFFER_BYTES)

    def attach(self, table: Fanout, transactions: ServerTransactions, advertised_host: str = "") -> None:
        """Become a way out of the watcher table; Via and Contact name the advertised host, else the listener's."""
        address = f"{advertised_host or host_text(own_address(self.host))}:{self.port}".encode()
        self.link = table.add_link(self.socket.fileno(), reliable=False, via=b"UDP " + address, contact=address)
        self._core = UdpSocket(self.socket.fileno(), table, transactions, self)

    def guard(self, gate: Gate) -> None:
        """Take only datagrams that pass the gate."""
        assert self._core is not None
        self._core.guard(gate)

    def receive(self, now: float) -> tuple[list[Message], bool]:
        """Return the requests that have arrived, and whether more may be waiting."""
        assert self._core is not None
        return self._core.receive(now)

    def serve(
        self, clock: Callable[[], float], handle: Callable[[list[Message], float], None], wake: Callable[[], None]
    ) -> Callable[[], None]:
        """Return what to call when the socket is readable: requests go to `handle`, and `wake` tells of work."""
        assert self._core is not None
        self._core.serve(clock, handle, wake)
        return self._core.readable

    def respond(self, request: Message, response: bytes) -> None:
        """Queue a response."""
        assert self._core is not None
        self._core.respond(request, response)

    def flush(self) -> None:
        """Send the queued responses."""
        if self._core is not None:
            self._core.flush()

    def counters(self) -> dict[str, int]:
        """Return the socket's counts since start."""
        if self._core is None:
            return {}
        return {**self._core.counters(), "overflows": self._overflows()}

    def _overflows(self) -> int:
        """How many datagrams the kernel dropped because the receive buffer was full (what SO_RXQ_OVFL tells).

        Asked for when somebody looks, so that no datagram has to carry it.
        """
        try:
            memory = self.socket.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, 36)
        except OSError:
            return 0
        return int(struct.unpack("=9I", memory)[_DROPS]) if len(memory) == 36 else 0

    def close(self) -> None:
        """Close the socket."""
        self.socket.close()


def own_address(host: str) -> str:
    """Return the listener's host; for one on all addresses that which this machine would send from."""
    if host not in ("0.0.0.0", "::"):
        return host
    family, elsewhere = (socket.AF_INET6, "2001:db8::1") if ":" in host else (socket.AF_INET, "192.0.2.1")
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            # Connecting a UDP socket chooses a route and sends nothing.
            probe.connect((elsewhere, 9))
        except OSError:
            return "::1" if ":" in host else "127.0.0.1"
        return str(probe.getsockname()[0])


def host_text(host: str) -> str:
    """Write a host as SIP does: IPv6 in brackets."""
    return f"[{host}]" if ":" in host else host
