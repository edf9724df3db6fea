"""Peers that speak TLS and WebSocket, and a server that listens for them."""

import contextlib
import socket
import ssl
from pathlib import Path

from certificates import Authority
from process import ServerProcess
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol
from wire import PATIENCE_S, Agent, Heard, Stream, hear


class Listeners(ServerProcess):
    """A server with listeners of every kind given, each on a port of its own."""

    def __init__(self, folder: Path, *entries: str, options: tuple[str, ...] = ()) -> None:
        super().__init__(folder, *[f"--listen={entry}" for entry in entries], *options, transports=())

    def at(self, kind: str, host: str = "") -> tuple[str, int]:
        """Return host and port of the first listener of that kind."""
        for entry in self.ready["sip"]:
            found, _, address = entry.partition(":")
            where, _, port = address.rpartition(":")
            if found == kind and where.strip("[]").startswith(host):
                return where.strip("[]"), int(port)
        raise AssertionError(f"no {kind} listener on {host}")


class Lab:
    """Authority, server certificate and the options to use them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = Authority(folder, "authority")
        self.server = self.authority.issue("server.pem", dns="localhost", address="127.0.0.1 ::1")

    def options(self, **settings: object) -> tuple[str, ...]:
        given = {"certificate": self.server, "server_ca": self.authority.path, **settings}
        return tuple(f"--set=tls.{name}={value}" for name, value in given.items())

    def trusting(self, certificate: Path | None = None) -> ssl.SSLContext:
        """Return a client's context that trusts the authority, with a certificate of its own if given."""
        context = ssl.create_default_context(cafile=self.authority.path)
        if certificate is not None:
            context.load_cert_chain(certificate)
        return context


class StreamAgent(Agent):
    """A peer on a connection that stands already."""

    def __init__(self, transport: str, connection: socket.socket) -> None:
        super().__init__()
        self.transport = transport
        self.host, self.port = connection.getsockname()[:2]
        self.stream = Stream(connection)

    @property
    def via(self) -> str:
        return f"{self.transport} {_literal(self.host)}:{self.port}"

    @property
    def contact(self) -> str:
        return f"<sip:bob@{_literal(self.host)}:{self.port};transport={self.transport.lower()}>"

    def close(self) -> None:
        self.stream.socket.close()

    def send(self, data: bytes) -> None:
        self.stream.socket.sendall(data)

    def receive(self) -> Heard:
        return self.stream.receive()


def tls_agent(address: tuple[str, int], context: ssl.SSLContext) -> StreamAgent:
    """Return a peer that speaks TLS."""
    plain = socket.create_connection(address, PATIENCE_S)
    try:
        return StreamAgent("TLS", context.wrap_socket(plain, server_hostname=address[0]))
    except BaseException:
        plain.close()
        raise


class WebSocketAgent(Agent):
    """A peer as a browser is: it has no address to be reached at."""

    def __init__(
        self, address: tuple[str, int], context: ssl.SSLContext | None = None, *, binary: bool = False
    ) -> None:
        super().__init__()
        self.transport = "WSS" if context else "WS"
        self._opened = contextlib.ExitStack()
        self.socket = self._opened.enter_context(open_websocket(address, context))
        self._binary = binary
        self.kinds: list[type] = []

    @property
    def via(self) -> str:
        return f"{self.transport} df7jal23ls0d.invalid"

    @property
    def contact(self) -> str:
        return "<sip:bob@df7jal23ls0d.invalid;transport=ws>"

    def close(self) -> None:
        self._opened.close()

    def send(self, data: bytes) -> None:
        self.socket.send(data, text=not self._binary)

    def receive(self) -> Heard:
        message = self.socket.recv(timeout=PATIENCE_S)
        self.kinds.append(type(message))
        return hear(message if isinstance(message, bytes) else message.encode())


def open_websocket(
    address: tuple[str, int],
    context: ssl.SSLContext | None = None,
    *,
    protocols: tuple[str, ...] = ("sip",),
    **options: object,
) -> ClientConnection:
    """Connect as the `websockets` library does."""
    if context is not None:
        # The library reads in one thread and writes in another. Beside the tickets of TLS 1.3 that are read then its
        # first request is lost at times, which OpenSSL does not promise otherwise; TLS 1.3 is `test_tls`'s matter.
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    uri = f"{'wss' if context else 'ws'}://{_literal(address[0])}:{address[1]}/"
    offered = [Subprotocol(name) for name in protocols]
    return connect(uri, ssl=context, subprotocols=offered or None, compression=None, proxy=None, **options)  # type: ignore[arg-type]


def _literal(host: str) -> str:
    return f"[{host}]" if ":" in host else host
