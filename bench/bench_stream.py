"""One change to many watchers over a few TCP or TLS connections: from the PUBLISH until every NOTIFY is answered 200.

Run: python -m pytest bench/bench_stream.py --benchmark-only
The watchers are one process (`python bench/bench_stream.py KIND PORT CONNECTIONS WATCHERS`) that subscribes over its
connections, as a proxy does for the phones behind it, and answers all NOTIFYs of one read with one write. The
publisher speaks UDP. As in `presence bench` the server's processor time a NOTIFY, with its 200, is the figure.
"""

import json
import os
import re
import select
import shutil
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from conftest import Note
from pytest_benchmark.fixture import BenchmarkFixture

from presence.loadtool.peers import Presence, Running
from presence.loadtool.process import cpu_s
from presence.loadtool.traffic import DOCUMENT

CONNECTIONS = 10
SIZE = 1_000
ROUNDS = 30
READ_BYTES = 1 << 18
PATIENCE_S = 20.0


class Publisher:
    """Publishes another document for alice each time, over UDP."""

    def __init__(self, port: int) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.connect(("127.0.0.1", port))
        self._socket.settimeout(PATIENCE_S)
        self._number = 0
        self._condition = ""

    def publish(self) -> None:
        self._number += 1
        host, port = self._socket.getsockname()
        body = DOCUMENT.replace("{user}", "00000000").replace("{version}", f"{self._number:08}")
        self._socket.send(
            f"PUBLISH sip:alice@example.com SIP/2.0\r\nVia: SIP/2.0/UDP {host}:{port};rport;"
            f"branch=z9hG4bK{port}.{self._number}\r\n"
            "Max-Forwards: 70\r\nFrom: <sip:alice@example.com>;tag=a\r\nTo: <sip:alice@example.com>\r\n"
            f"Call-ID: {port}@example.com\r\nCSeq: {self._number} PUBLISH\r\n{self._condition}Event: presence\r\n"
            f"Expires: 3600\r\nContent-Type: application/pidf+xml\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
        )
        answer = self._socket.recv(65535).decode()
        found = re.search(r"\r\nSIP-ETag: (\S+)", answer)
        assert found is not None, answer
        self._condition = f"SIP-If-Match: {found[1]}\r\n"

    def close(self) -> None:
        self._socket.close()


class Watchers:
    """A process that watches alice over connections and answers every NOTIFY with 200."""

    def __init__(self, kind: str, port: int) -> None:
        command = [sys.executable, __file__, kind, str(port), str(CONNECTIONS), str(SIZE)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._commands, self._reports = self._process.stdin, self._process.stdout
        self.pid = self._process.pid
        self._expected = 0

    def expect(self) -> None:
        """Say that everybody is to hear once more; called before what makes them."""
        self._expected += SIZE
        self._commands.write(b"%d\n" % self._expected)
        self._commands.flush()

    def wait(self) -> int:
        """Return when everybody has answered; return how many bytes the last NOTIFY had."""
        if not select.select([self._reports], [], [], PATIENCE_S)[0]:
            raise RuntimeError(f"{self._expected} NOTIFYs were expected and have not come")
        answered, size = map(int, self._reports.readline().split())
        assert answered == self._expected
        return size

    def stop(self) -> None:
        self._commands.close()
        self._reports.close()
        self._process.wait(PATIENCE_S)


class Audience(NamedTuple):
    """A server, and the watchers of alice."""

    server: Running
    watchers: Watchers
    publisher: Publisher


def make_certificate(folder: Path) -> Path:
    """Return a file with a key and a certificate that nobody vouches for."""
    made = folder / "server.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    command += ["-subj", "/CN=bench", "-keyout", str(folder / "server.key"), "-out", str(made)]
    subprocess.run(command, check=True, capture_output=True)
    made.write_bytes(made.read_bytes() + (folder / "server.key").read_bytes())
    return made


@pytest.fixture(scope="module", params=["tcp", "tls"])
def audience(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Audience]:
    folder, kind = tmp_path_factory.mktemp("stream"), request.param
    arguments = ["--listen", f"{kind}:127.0.0.1:0"]
    if kind == "tls":
        if shutil.which("openssl") is None:
            pytest.skip("openssl is not installed")
        arguments += ["--set", f"tls.certificate={make_certificate(folder)}"]
    server = Presence("commit", arguments=arguments).start(folder)
    listeners = json.loads((folder / "ready.json").read_text())["sip"]
    port = next(int(entry.rpartition(":")[2]) for entry in listeners if entry.startswith(kind))
    try:
        watchers, publisher = Watchers(kind, port), Publisher(server.port)
        watchers.expect()
        watchers.wait()
        yield Audience(server, watchers, publisher)
        publisher.close()
        watchers.stop()
    finally:
        server.stop()


def bench_change(benchmark: BenchmarkFixture, audience: Audience, note: Note) -> None:
    server, watchers, publisher = audience
    notify_bytes = 0

    def change() -> None:
        nonlocal notify_bytes
        watchers.expect()
        publisher.publish()
        notify_bytes = watchers.wait()

    change()
    server_s, watchers_s = server.cpu_s(), cpu_s(watchers.pid)
    benchmark.pedantic(change, rounds=ROUNDS)
    server_s, watchers_s = server.cpu_s() - server_s, cpu_s(watchers.pid) - watchers_s
    note(
        server_us_per_notify=round(server_s / (ROUNDS * SIZE) * 1e6, 2),
        watchers_us_per_notify=round(watchers_s / (ROUNDS * SIZE) * 1e6, 2),
        notify_bytes=notify_bytes,
    )


# ---- the watchers ----


def subscribe(kind: str, local: str, number: int) -> bytes:
    return (
        "SUBSCRIBE sip:alice@example.com SIP/2.0\r\n"
        f"Via: SIP/2.0/{kind.upper()} {local};rport;branch=z9hG4bK{local}-{number}\r\n"
        f'Max-Forwards: 70\r\nFrom: "Bob" <sip:bob@example.com>;tag={number}\r\nTo: <sip:alice@example.com>\r\n'
        f"Call-ID: {number}-{local}\r\nCSeq: 1 SUBSCRIBE\r\nContact: <sip:bob@{local};transport={kind}>\r\n"
        f"Event: presence\r\nAccept: application/pidf+xml\r\nExpires: 3600\r\nContent-Length: 0\r\n\r\n"
    ).encode()


def connect(kind: str, port: int) -> socket.socket:
    stream = socket.create_connection(("127.0.0.1", port))
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if kind == "tcp":
        return stream
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context.wrap_socket(stream)


def receive(stream: socket.socket) -> bytes:
    """Return what has come, whole records where it is TLS."""
    data = stream.recv(READ_BYTES)
    while isinstance(stream, ssl.SSLSocket) and stream.pending():
        data += stream.recv(READ_BYTES)
    return data


def watch(kind: str, port: int, connections: int, size: int) -> None:
    """Subscribe, then answer until standard input ends; each number read there is a count of NOTIFYs to report."""
    from presence._fastcore import Framer, build_response

    poll = select.poll()
    poll.register(0, select.POLLIN)
    streams = {}
    for _ in range(connections):
        stream = connect(kind, port)
        streams[stream.fileno()] = (stream, Framer())
        poll.register(stream, select.POLLIN)
    for number in range(size):
        stream, _ = list(streams.values())[number % connections]
        stream.sendall(subscribe(kind, "{}:{}".format(*stream.getsockname()), number))
    answered, expected, notify_bytes = 0, 0, 0
    while True:
        for fd, _ in poll.poll():
            if fd == 0:
                commands = os.read(0, 4096)
                if not commands:
                    return
                expected = int(commands.split()[-1])
                continue
            stream, framer = streams[fd]
            notifies = [message for message in framer.feed(receive(stream)) if message.is_request]
            if notifies:
                stream.sendall(b"".join(build_response(notify, 200, b"OK") for notify in notifies))
                answered += len(notifies)
                notify_bytes = len(notifies[-1].raw)
        if expected and answered >= expected:
            print(answered, notify_bytes, flush=True)
            expected = 0


if __name__ == "__main__":
    watch(sys.argv[1], *map(int, sys.argv[2:]))
