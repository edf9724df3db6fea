"""The load peer: a server process under test, watchers that answer, and requests kept in flight.

Everything speaks over loopback. The server runs alone in a process of its own, so its processor time is its own;
the watchers run in another (`python bench/load.py SOCKETS`) and answer through the project's compiled core.
"""

import contextlib
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

ROOT = Path(__file__).resolve().parent.parent
PATIENCE_S = 20.0
"""How long any answer may take before a measurement is given up."""

_CALL_ID = re.compile(rb"\r\nCall-ID: (\d+)-")
_ENTITY_TAG = re.compile(rb"\r\nSIP-ETag: (\S+)")
_TO_TAG = re.compile(rb"\r\nTo: [^\r]*;tag=([^\r;]+)")
_CONTACT = re.compile(rb"\r\nContact: <([^>\r]+)>")
_METRIC = re.compile(r'^presence_notifies_total\{result="(\w+)"\} (\S+)$', re.MULTILINE)


# ---- the server under test ----


class Cpu(NamedTuple):
    """Processor time of a process: in all to the nanosecond, its two parts to the tick of 10 ms."""

    total_s: float
    user_s: float
    system_s: float

    def __sub__(self, before: "Cpu") -> "Cpu":
        return Cpu(*(now - then for now, then in zip(self, before, strict=True)))

    @property
    def system_share(self) -> float:
        """The part spent in the kernel, of 1; meaningful from half a second of work on."""
        return round(self.system_s / (self.user_s + self.system_s or 1.0), 2)


def cpu_of(pid: int) -> Cpu:
    """Read what a process has used in all its threads."""
    total_ns = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        # A thread may end between the listing and the reading.
        with contextlib.suppress(OSError):
            total_ns += int((task / "schedstat").read_text().split()[0])
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    tick_s = 1 / os.sysconf("SC_CLK_TCK")
    return Cpu(total_ns / 1e9, int(fields[11]) * tick_s, int(fields[12]) * tick_s)


class Server:
    """`presence serve` as a process, on UDP."""

    def __init__(self, folder: Path, *options: str) -> None:
        ready = folder / "ready.json"
        listen = ("--listen", "udp:127.0.0.1:0", "--http", "127.0.0.1:0")
        files = ("--database", str(folder / "presence.db"), "--ready-file", str(ready))
        self._log = (folder / "server.log").open("wb")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "presence", "serve", *listen, *files, "--policy", "open", *options],
            cwd=ROOT,
            stdout=self._log,
            stderr=self._log,
        )
        self.pid = self._process.pid
        until = time.monotonic() + PATIENCE_S
        while not ready.exists():
            if self._process.poll() is not None or time.monotonic() > until:
                self.stop()
                raise RuntimeError(f"the server did not start: {(folder / 'server.log').read_text()}")
            time.sleep(0.02)
        listening = json.loads(ready.read_text())
        host, _, port = listening["sip"][0].removeprefix("udp:").rpartition(":")
        self.address = (host, int(port))
        self._http = listening["http"][0]

    def cpu(self) -> Cpu:
        """Return the processor time used so far."""
        return cpu_of(self.pid)

    def notifies(self) -> dict[str, int]:
        """Return the server's count of NOTIFYs by result."""
        with urllib.request.urlopen(f"http://{self._http}/metrics", timeout=PATIENCE_S) as page:
            return {result: int(float(count)) for result, count in _METRIC.findall(page.read().decode())}

    def stop(self) -> None:
        """End the process."""
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()


@contextlib.contextmanager
def serving(folder: Path, *options: str) -> Iterator[Server]:
    """Run a server as long as the context lasts."""
    server = Server(folder, *options)
    try:
        yield server
    finally:
        server.stop()


# ---- requests ----


class Sender(Protocol):
    """One place in the window: its next request is sent when its last one was answered."""

    def request(self) -> bytes:
        """Return the next request; its Call-ID begins with the number of the place and a hyphen."""

    def answered(self, response: bytes) -> None:
        """Take the 200."""


class Window:
    """Keeps one request of each sender in flight; nothing is retransmitted, a failure ends the measurement."""

    def __init__(self, server: tuple[str, int]) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * 1024 * 1024)
        self._socket.connect(server)
        self._socket.settimeout(PATIENCE_S)
        self.local = "{}:{}".format(*self._socket.getsockname()).encode()

    def run(self, senders: Sequence[Sender], count: int) -> None:
        """Send `count` requests, each when its sender's last one was answered, and wait for the last answer."""
        send, receive = self._socket.send, self._socket.recv
        waiting = min(count, len(senders))
        for sender in senders[:waiting]:
            send(sender.request())
        left = count - waiting
        while waiting:
            response = receive(65535)
            if not response.startswith(b"SIP/2.0 200 "):
                raise RuntimeError(f"not a 200: {response[:200]!r}")
            found = _CALL_ID.search(response)
            assert found is not None
            sender = senders[int(found[1])]
            sender.answered(response)
            if left:
                left -= 1
                send(sender.request())
            else:
                waiting -= 1

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


def document(presentity: str, number: int) -> bytes:
    """Return a PIDF of about 900 bytes, of one length for all numbers."""
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<presence xmlns="urn:ietf:params:xml:ns:pidf"
    xmlns:dm="urn:ietf:params:xml:ns:pidf:data-model"
    xmlns:rpid="urn:ietf:params:xml:ns:pidf:rpid" entity="sip:{presentity}@example.com">
  <tuple id="desk">
    <status><basic>open</basic></status>
    <rpid:class>desk</rpid:class>
    <dm:deviceID>urn:uuid:48662e19-5fbf-43fc-a2fd-d23002787599</dm:deviceID>
    <contact priority="0.8">sip:{presentity}@192.0.2.17:5060;transport=udp</contact>
    <note xml:lang="en">In meeting {number:08} until three, then back at the desk</note>
    <timestamp>2024-05-01T12:00:00Z</timestamp>
  </tuple>
  <dm:person id="person">
    <rpid:activities><rpid:meeting/></rpid:activities>
    <dm:note>Out</dm:note>
  </dm:person>
  <dm:device id="device">
    <dm:deviceID>urn:uuid:48662e19-5fbf-43fc-a2fd-d23002787599</dm:deviceID>
  </dm:device>
</presence>
""".encode()


class Publisher:
    """Publishes a new document each time: the first request is initial, the others modify (RFC 3903 section 4.4)."""

    def __init__(self, place: int, local: bytes, presentity: str) -> None:
        self._presentity = presentity
        self._number = 0
        self._entity_tag = b""
        uri, unique = b"sip:%s@example.com" % presentity.encode(), time.monotonic_ns()
        self._head = (
            b"PUBLISH %s SIP/2.0\r\nVia: SIP/2.0/UDP %s;rport;branch=z9hG4bK%d.%d.%%d\r\nMax-Forwards: 70\r\n"
            b"From: <%s>;tag=%d\r\nTo: <%s>\r\nCall-ID: %d-%d@example.com\r\nCSeq: %%d PUBLISH\r\n%%b"
            b"Event: presence\r\nExpires: 3600\r\nContent-Type: application/pidf+xml\r\nContent-Length: %%d\r\n\r\n%%b"
        ) % (uri, local, place, unique, uri, place, uri, place, unique)

    def request(self) -> bytes:
        self._number += 1
        body = document(self._presentity, self._number)
        condition = b"SIP-If-Match: %s\r\n" % self._entity_tag if self._entity_tag else b""
        return self._head % (self._number, self._number, condition, len(body), body)

    def answered(self, response: bytes) -> None:
        found = _ENTITY_TAG.search(response)
        assert found is not None
        self._entity_tag = found[1]


class Subscriber:
    """Subscribes anew each time, with NOTIFYs to `contacts` in turn; keeps its dialogs for a `Refresher`."""

    def __init__(self, place: int, local: bytes, presentity: str, contacts: Sequence[bytes]) -> None:
        self._number = 0
        self._contacts = contacts
        self.dialogs: list[tuple[bytes, ...]] = []
        """URI, From-tag, To-tag, Call-ID and Contact of each."""
        uri, unique = b"sip:%s@example.com" % presentity.encode(), time.monotonic_ns()
        self._tag = b"%d.%d.%%d" % (place, unique)
        self._call_id = b"%d-%d-%%d@example.com" % (place, unique)
        self._head = (
            b"SUBSCRIBE %s SIP/2.0\r\nVia: SIP/2.0/UDP %s;rport;branch=z9hG4bK%%b\r\nMax-Forwards: 70\r\n"
            b'From: "Bob" <sip:bob@example.com>;tag=%%b\r\nTo: <%s>\r\nCall-ID: %%b\r\nCSeq: 1 SUBSCRIBE\r\n'
            b"Contact: <%%b>\r\nEvent: presence\r\nAccept: application/pidf+xml\r\nExpires: 3600\r\n"
            b"Content-Length: 0\r\n\r\n"
        ) % (uri, local, uri)

    def request(self) -> bytes:
        contact = self._contacts[self._number % len(self._contacts)]
        self._number += 1
        tag, call_id = self._tag % self._number, self._call_id % self._number
        self._asked = (tag, call_id, contact)
        return self._head % (tag, tag, call_id, contact)

    def answered(self, response: bytes) -> None:
        to_tag, contact = _TO_TAG.search(response), _CONTACT.search(response)
        assert to_tag is not None
        assert contact is not None
        tag, call_id, own = self._asked
        self.dialogs.append((contact[1], tag, to_tag[1], call_id, own))


class Refresher:
    """Refreshes the dialogs of a subscriber in turn (RFC 6665 section 4.1.2.2)."""

    def __init__(self, local: bytes, presentity: str, dialogs: Sequence[tuple[bytes, ...]]) -> None:
        self._number = 0
        self._dialogs = dialogs
        self._to = b"<sip:%s@example.com>" % presentity.encode()
        self._local = local

    def request(self) -> bytes:
        number = self._number
        self._number += 1
        uri, tag, to_tag, call_id, contact = self._dialogs[number % len(self._dialogs)]
        return (
            b"SUBSCRIBE %b SIP/2.0\r\nVia: SIP/2.0/UDP %b;rport;branch=z9hG4bK%b.%d\r\nMax-Forwards: 70\r\n"
            b'From: "Bob" <sip:bob@example.com>;tag=%b\r\nTo: %b;tag=%b\r\nCall-ID: %b\r\nCSeq: %d SUBSCRIBE\r\n'
            b"Contact: <%b>\r\nEvent: presence\r\nAccept: application/pidf+xml\r\nExpires: 3600\r\n"
            b"Content-Length: 0\r\n\r\n"
        ) % (uri, self._local, tag, number, tag, self._to, to_tag, call_id, number + 2, contact)

    def answered(self, response: bytes) -> None:
        """A refresh changes nothing this side has to know."""


# ---- watchers ----


class Watchers:
    """A process that answers every NOTIFY with 200, on several sockets."""

    def __init__(self, sockets: int = 4) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__, str(sockets)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._commands, self._reports = self._process.stdin, self._process.stdout
        self.contacts = [b"sip:bob@127.0.0.1:%d" % port for port in json.loads(self._reports.readline())]
        self.answered = 0

    def expect(self, count: int) -> None:
        """Say how many more NOTIFYs `wait` waits for; called before what makes them."""
        self.answered += count
        self._commands.write(b"%d\n" % self.answered)
        self._commands.flush()

    def wait(self) -> int:
        """Return when the expected NOTIFYs are answered; return how many bytes the last of them had."""
        if not select.select([self._reports], [], [], PATIENCE_S)[0]:
            raise RuntimeError(f"{self.answered} NOTIFYs were expected and have not come")
        answered, size = map(int, self._reports.readline().split())
        if answered != self.answered:
            raise RuntimeError(f"{answered} NOTIFYs were answered, {self.answered} were expected")
        return size

    def cpu(self) -> Cpu:
        """Return the processor time used so far."""
        return cpu_of(self._process.pid)

    def stop(self) -> None:
        """End the process."""
        self._commands.close()
        self._reports.close()
        self._process.wait(PATIENCE_S)


@contextlib.contextmanager
def watching(sockets: int = 4) -> Iterator[Watchers]:
    """Run watchers as long as the context lasts."""
    watchers = Watchers(sockets)
    try:
        yield watchers
    finally:
        watchers.stop()


def answer_notifies(sockets: int) -> None:
    """Answer until standard input ends; each number read there is a count of NOTIFYs to report when it is reached."""
    from presence._fastcore import Fanout, ServerTransactions, build_response
    from presence.transport.udp import UdpListener

    now = time.time()
    table = Fanout(bytes(16), now)
    # They answer retransmissions by themselves: what `receive` returns is new.
    transactions = ServerTransactions(bytes(16), now, 4.0)
    listeners = [UdpListener("127.0.0.1", 0) for _ in range(sockets)]
    poll = select.poll()
    by_fd = {}
    for listener in listeners:
        listener.attach(table, transactions)
        by_fd[listener.socket.fileno()] = listener
        poll.register(listener.socket, select.POLLIN)
    poll.register(0, select.POLLIN)
    print(json.dumps([listener.port for listener in listeners]), flush=True)
    answered, expected, size = 0, 0, 0
    while True:
        readable = poll.poll()
        now = time.time()
        transactions.tick(now)
        for fd, _ in readable:
            if fd == 0:
                commands = os.read(0, 4096)
                if not commands:
                    return
                expected = int(commands.split()[-1])
                continue
            listener = by_fd[fd]
            requests, _ = listener.receive(now)
            for request in requests:
                response = build_response(request, 200, b"OK")
                transactions.complete(request.transaction, response, now)
                listener.respond(request, response)
            listener.flush()
            answered += len(requests)
            size = len(requests[-1].raw) if requests else size
        if expected and answered >= expected:
            print(answered, size, flush=True)
            expected = 0


if __name__ == "__main__":
    answer_notifies(int(sys.argv[1]))
