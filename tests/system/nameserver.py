"""A name server on loopback, over UDP and TCP on one port, that tells what a test put into it, or misbehaves."""

import socket
import socketserver
import struct
import threading
from collections import Counter

import dns.flags
import dns.message
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset

TTL_S = 60

PORT_TRIES = 20


class NameServer:
    """Records are texts by (name, type). Of names in `silent` nothing is heard; `raw` are octets sent as they are.

    What `truncated` names comes over TCP only; `failing` is answered SERVFAIL.
    """

    def __init__(self) -> None:
        self.records: dict[tuple[str, str], list[str]] = {}
        self.silent: set[str] = set()
        self.failing: set[str] = set()
        self.truncated: set[str] = set()
        self.raw: dict[str, bytes] = {}
        self.asked: Counter[tuple[str, str]] = Counter()
        """Questions over UDP, by name and type."""
        self.asked_over_tcp: Counter[tuple[str, str]] = Counter()
        self.ttl_s = TTL_S
        self._servers: list[socketserver.BaseServer] = []

    def __enter__(self) -> "NameServer":
        socketserver.ThreadingTCPServer.allow_reuse_address = True
        self._servers = self._bound()
        self.port = self._servers[0].server_address[1]
        for server in self._servers:
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def _bound(self) -> list[socketserver.BaseServer]:
        """Bind both kinds to one port, which somebody may have of one of them already."""
        for attempt in range(PORT_TRIES):
            udp = socketserver.UDPServer(("127.0.0.1", 0), self._datagram)
            try:
                tcp = socketserver.ThreadingTCPServer(udp.server_address, self._stream)
            except OSError:
                udp.server_close()
                if attempt == PORT_TRIES - 1:
                    raise
                continue
            tcp.daemon_threads = True
            return [udp, tcp]
        raise AssertionError

    def __exit__(self, *_: object) -> None:
        for server in self._servers:
            server.shutdown()
            server.server_close()

    @property
    def option(self) -> str:
        return f"--set=dns.servers=127.0.0.1:{self.port}"

    def put(self, name: str, kind: str, *texts: str) -> None:
        self.records[name, kind] = list(texts)

    def _datagram(self, request: tuple[bytes, socket.socket], client: object, server: object) -> None:
        data, sock = request
        answer = self._answer(data, over_tcp=False)
        if answer:
            sock.sendto(answer, client)  # type: ignore[arg-type]

    def _stream(self, request: socket.socket, client: object, server: object) -> None:
        with request:
            head = request.recv(2)
            if len(head) == 2:
                answer = self._answer(request.recv(struct.unpack("!H", head)[0]), over_tcp=True)
                request.sendall(struct.pack("!H", len(answer)) + answer)

    def _answer(self, data: bytes, *, over_tcp: bool) -> bytes:
        query = dns.message.from_wire(data)
        question = query.question[0]
        name, kind = question.name.to_text(omit_final_dot=True), dns.rdatatype.to_text(question.rdtype)
        (self.asked_over_tcp if over_tcp else self.asked)[name, kind] += 1
        if name in self.silent:
            return b""
        if name in self.raw:
            return data[:2] + self.raw[name]
        response = dns.message.make_response(query)
        if name in self.failing:
            response.set_rcode(dns.rcode.SERVFAIL)
        elif name in self.truncated and not over_tcp:
            response.flags |= dns.flags.TC
        else:
            self._fill(response, name, kind)
        return response.to_wire(max_size=65535)

    def _fill(self, response: dns.message.Message, name: str, kind: str) -> None:
        for _ in range(20):
            alias = self.records.get((name, "CNAME"))
            if alias is None:
                break
            response.answer.append(dns.rrset.from_text(f"{name}.", self.ttl_s, "IN", "CNAME", *alias))
            name = alias[0].rstrip(".")
        texts = self.records.get((name, kind))
        if texts:
            response.answer.append(dns.rrset.from_text(f"{name}.", self.ttl_s, "IN", kind, *texts))
        elif not any(known == name for known, _ in self.records):
            response.set_rcode(dns.rcode.NXDOMAIN)
