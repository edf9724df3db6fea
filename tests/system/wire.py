"""A simple SIP peer that blocks: literal messages over real sockets, and what came back taken apart."""

import itertools
import re
import socket
from collections import deque
from typing import NamedTuple

PATIENCE_S = 30.0
RECEIVE_BYTES = 65535
HEADER = re.compile(r"([^:\s]+)\s*:\s*(.*)")
_numbers = itertools.count(1)


class Heard(NamedTuple):
    """A message as it came."""

    start: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    @property
    def status(self) -> int:
        return int(self.start.split()[1]) if self.start.startswith("SIP/2.0 ") else 0

    @property
    def method(self) -> str:
        return "" if self.status else self.start.split()[0]

    def all(self, name: str) -> list[str]:
        return [value for known, value in self.headers if known.lower() == name.lower()]

    def __getitem__(self, name: str) -> str:  # type: ignore[override]
        return self.all(name)[0]

    @property
    def cseq(self) -> int:
        return int(self["CSeq"].split()[0])

    @property
    def branch(self) -> str:
        return parameter(self["Via"], "branch")


def hear(data: bytes) -> Heard:
    """Take a whole message apart."""
    head, _, body = data.partition(b"\r\n\r\n")
    start, *lines = head.decode("utf-8", "surrogateescape").split("\r\n")
    fields = [HEADER.fullmatch(line) for line in lines]
    return Heard(start, tuple((field[1], field[2]) for field in fields if field is not None), body)


def cut(data: bytes) -> tuple[list[Heard], bytes]:
    """Cut a stream into its whole messages and the rest."""
    whole = []
    while True:
        head, found, rest = data.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)\r\nContent-Length: *(\d+)", head)
        if not found or length is None or len(rest) < int(length[1]):
            return whole, data
        size = len(head) + 4 + int(length[1])
        whole.append(hear(data[:size]))
        data = data[size:]


def parameter(value: str, name: str) -> str:
    found = re.search(rf";{name}=([^;>\s]+)", value)
    return found[1] if found else ""


def unique(word: str) -> str:
    return f"{word}{next(_numbers)}"


def pidf(user: str, *tuples: tuple[str, str, str]) -> bytes:
    """A document with tuples of id, basic and note."""
    inside = "".join(
        f'<tuple id="{name}"><status><basic>{basic}</basic></status><note>{note}</note></tuple>'
        for name, basic, note in tuples
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?><presence xmlns="urn:ietf:params:xml:ns:pidf" '
        f'entity="sip:{user}@example.com">{inside}</presence>'
    ).encode()


def notes(document: bytes) -> dict[str, str]:
    """The note of every tuple, by id."""
    found = re.findall(
        rb'<tuple id="([^"]+)"><status><basic>\w+</basic></status><note>([^<]*)</note></tuple>', document
    )
    return {name.decode(): note.decode() for name, note in found}


def request(
    method: str,
    uri: str,
    *,
    via: str,
    to: str = "alice",
    to_tag: str = "",
    sender: str = "bob",
    tag: str = "",
    call_id: str = "",
    cseq: int = 1,
    headers: str = "",
    body: bytes = b"",
) -> bytes:
    """A correct request; `via` is `UDP 127.0.0.1:port` and `headers` are whole lines."""
    to_tag = f";tag={to_tag}" if to_tag else ""
    return (
        f"{method} {uri} SIP/2.0\r\n"
        f"Via: SIP/2.0/{via};rport;branch=z9hG4bK{unique('branch')}\r\n"
        f"Max-Forwards: 70\r\n"
        f"From: <sip:{sender}@example.com>;tag={tag or unique('from')}\r\n"
        f"To: <sip:{to}@example.com>{to_tag}\r\n"
        f"Call-ID: {call_id or unique('call')}@127.0.0.1\r\n"
        f"CSeq: {cseq} {method}\r\n"
        f"{headers}"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode("utf-8", "surrogateescape") + body


def answer(heard: Heard, status: str = "200 OK") -> bytes:
    """The response of a user agent to a request in a dialog."""
    echoed = "".join(
        f"{name}: {value}\r\n"
        for name, value in heard.headers
        if name.lower() in ("via", "from", "to", "call-id", "cseq")
    )
    return f"SIP/2.0 {status}\r\n{echoed}Content-Length: 0\r\n\r\n".encode("utf-8", "surrogateescape")


class Agent:
    """What UDP and TCP peers share: an inbox in which responses and NOTIFYs are told apart."""

    transport = ""

    def __init__(self) -> None:
        self.port = 0
        self._responses: deque[Heard] = deque()
        self._notifies: deque[Heard] = deque()
        self._seen: set[str] = set()

    def __enter__(self) -> "Agent":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def via(self) -> str:
        return f"{self.transport} 127.0.0.1:{self.port}"

    @property
    def contact(self) -> str:
        return f"<sip:bob@127.0.0.1:{self.port};transport={self.transport.lower()}>"

    def close(self) -> None:
        raise NotImplementedError

    def send(self, data: bytes) -> None:
        raise NotImplementedError

    def receive(self) -> Heard:
        raise NotImplementedError

    def response(self) -> Heard:
        """Wait for a response."""
        while not self._responses:
            self._sort(self.receive())
        return self._responses.popleft()

    def notify(self, status: str = "200 OK") -> Heard:
        """Wait for a NOTIFY not seen before, and answer it unless `status` is empty."""
        while not self._notifies:
            self._sort(self.receive())
        heard = self._notifies.popleft()
        if status:
            self.send(answer(heard, status))
        return heard

    def _sort(self, heard: Heard) -> None:
        if heard.status:
            self._responses.append(heard)
        elif heard.branch not in self._seen:
            self._seen.add(heard.branch)
            self._notifies.append(heard)

    def ask(self, *args: str, **options: object) -> Heard:
        """Send a request and wait for its response."""
        self.send(request(*args, via=self.via, **options))  # type: ignore[arg-type]
        return self.response()

    def publish(self, user: str, body: bytes = b"", *, etag: str = "", expires: int = 600) -> Heard:
        """Publish, modify, refresh or remove."""
        headers = f"Event: presence\r\nExpires: {expires}\r\n"
        headers += f"SIP-If-Match: {etag}\r\n" if etag else ""
        headers += "Content-Type: application/pidf+xml\r\n" if body else ""
        return self.ask("PUBLISH", f"sip:{user}@example.com", to=user, sender=user, headers=headers, body=body)


class UdpAgent(Agent):
    """A peer with a UDP socket of its own."""

    transport = "UDP"

    def __init__(self, server_port: int) -> None:
        super().__init__()
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.settimeout(PATIENCE_S)
        self.port = self.socket.getsockname()[1]
        self._server = ("127.0.0.1", server_port)

    def close(self) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendto(data, self._server)

    def receive(self) -> Heard:
        return hear(self.socket.recv(RECEIVE_BYTES))


class Stream:
    """A TCP connection that gives out whole messages."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.socket.settimeout(PATIENCE_S)
        self._whole: deque[Heard] = deque()
        self._held = b""

    def receive(self) -> Heard:
        while not self._whole:
            data = self.socket.recv(RECEIVE_BYTES)
            if not data:
                raise ConnectionError("closed by the server")
            whole, self._held = cut(self._held + data)
            self._whole.extend(whole)
        return self._whole.popleft()


class TcpAgent(Agent):
    """A peer that connects to the server, and listens at its Contact for connections the server opens."""

    transport = "TCP"

    def __init__(self, server_port: int) -> None:
        super().__init__()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(PATIENCE_S)
        self.port = self.listener.getsockname()[1]
        self.stream = Stream(socket.create_connection(("127.0.0.1", server_port), PATIENCE_S))

    def close(self) -> None:
        self.stream.socket.close()
        self.listener.close()

    def send(self, data: bytes) -> None:
        self.stream.socket.sendall(data)

    def receive(self) -> Heard:
        return self.stream.receive()

    def hang_up(self) -> None:
        """Close the connection and wait until the server has closed it as well."""
        self.stream.socket.shutdown(socket.SHUT_WR)
        while self.stream.socket.recv(RECEIVE_BYTES):
            pass
        self.stream.socket.close()

    def accept(self) -> None:
        """Go on with the connection the server opens to the Contact."""
        connection, _ = self.listener.accept()
        self.stream = Stream(connection)


class Watcher:
    """One subscription of an agent."""

    def __init__(
        self, agent: Agent, user: str = "alice", event: str = "presence", scheme: str = "sip", sender: str = "bob"
    ) -> None:
        self.agent = agent
        self._sender = sender
        self._user = user
        self._event = event
        self._call_id = unique("watch")
        self._tag = unique("watcher")
        self._uri = f"{scheme}:{user}@example.com"
        self._to_tag = ""
        self._cseq = 0

    def subscribe(
        self, expires: int = 600, *, contact: str = "", event: str = "", headers: str = "", body: bytes = b""
    ) -> Heard:
        """Subscribe, refresh or, with 0, end; return the response."""
        headers += f"Event: {event or self._event}\r\nContact: {contact or self.agent.contact}\r\n"
        self._cseq += 1
        heard = self.agent.ask(
            "SUBSCRIBE",
            self._uri,
            to=self._user,
            sender=self._sender,
            body=body,
            to_tag=self._to_tag,
            tag=self._tag,
            call_id=self._call_id,
            cseq=self._cseq,
            headers=f"{headers}Expires: {expires}\r\n",
        )
        if heard.status == 200:
            self._to_tag = parameter(heard["To"], "tag")
            self._uri = heard["Contact"].strip("<>")
        return heard
