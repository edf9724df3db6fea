"""Many peers in one loop: UDP sockets, a TCP connection, and a listener for the connections the server opens."""

import selectors
import socket
from collections.abc import Callable
from time import monotonic

from wire import RECEIVE_BYTES, Heard, cut, hear

UDP_SOCKETS = 8
TURN_S = 0.02

Handler = Callable[[Heard, Callable[[bytes], None]], None]
"""Takes a message and a way to answer it."""


class Paths:
    """Every way between the peers and the server; `heard` is told of each message that comes."""

    def __init__(self, port: int, heard: Handler) -> None:
        self._server = ("127.0.0.1", port)
        self._heard = heard
        self._selector = selectors.DefaultSelector()
        self._held: dict[socket.socket, bytes] = {}
        self._silent = False
        self._udp = [self._open_udp() for _ in range(UDP_SOCKETS)]
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self._listener.setblocking(False)
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._connection: socket.socket | None = None

    def __len__(self) -> int:
        return UDP_SOCKETS + 1

    def port(self, path: int) -> int:
        """The port of a path's Via and Contact; the last path is TCP."""
        sock = self._listener if path == UDP_SOCKETS else self._udp[path]
        port: int = sock.getsockname()[1]
        return port

    def transport(self, path: int) -> str:
        return "TCP" if path == UDP_SOCKETS else "UDP"

    def connect(self) -> None:
        """Open the TCP connection, after each start of the server."""
        self._connection = socket.create_connection(self._server)
        self._connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._adopt(self._connection)

    def send(self, path: int, data: bytes) -> None:
        if path < UDP_SOCKETS:
            self._to_udp(self._udp[path], data)
        elif self._connection is not None:
            self._to_tcp(self._connection, data)

    def run(self, until: Callable[[], bool], *, every: Callable[[], None] = lambda: None) -> None:
        """Pass on what comes until `until` holds; `every` is called each turn."""
        while not until():
            self._turn(TURN_S)
            every()

    def exhaust(self) -> None:
        """Take what the server sent before it was killed, answering nothing; close its connections."""
        self._silent = True
        give_up_at = monotonic() + 5.0
        while (self._turn(0) or self._held) and monotonic() < give_up_at:
            pass
        assert not self._held, "connections outlived the server"
        self._silent = False
        self._connection = None

    def close(self) -> None:
        for sock in [*self._udp, self._listener, *self._held]:
            sock.close()
        self._selector.close()

    def _open_udp(self) -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        sock.bind(("127.0.0.1", 0))
        sock.setblocking(False)
        self._selector.register(sock, selectors.EVENT_READ)
        return sock

    def _adopt(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self._held[connection] = b""
        self._selector.register(connection, selectors.EVENT_READ)

    def _turn(self, wait_s: float) -> int:
        events = self._selector.select(wait_s)
        for key, _ in events:
            sock = key.fileobj
            assert isinstance(sock, socket.socket)
            if sock is self._listener:
                self._adopt(sock.accept()[0])
            elif sock in self._held:
                self._read_stream(sock)
            else:
                self._read_datagrams(sock)
        return len(events)

    def _read_datagrams(self, sock: socket.socket) -> None:
        try:
            for _ in range(64):
                self._heard(hear(sock.recv(RECEIVE_BYTES)), lambda data: self._to_udp(sock, data))
        except BlockingIOError:
            pass

    def _read_stream(self, sock: socket.socket) -> None:
        try:
            data = sock.recv(1 << 20)
        except ConnectionResetError:
            data = b""
        if not data:
            self._selector.unregister(sock)
            del self._held[sock]
            sock.close()
            return
        whole, self._held[sock] = cut(self._held[sock] + data)
        for message in whole:
            self._heard(message, lambda reply: self._to_tcp(sock, reply))

    def _to_udp(self, sock: socket.socket, data: bytes) -> None:
        if not self._silent:
            sock.sendto(data, self._server)

    def _to_tcp(self, sock: socket.socket, data: bytes) -> None:
        if self._silent or sock.fileno() < 0:
            return
        try:
            if sock.send(data) != len(data):
                raise AssertionError("the server does not read")
        except (ConnectionResetError, BrokenPipeError):
            pass
