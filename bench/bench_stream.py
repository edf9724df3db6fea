"""One change to many watchers over a few TCP connections: from the PUBLISH until every NOTIFY is answered 200.

Run: python -m pytest bench/bench_stream.py --benchmark-only
The watchers are one process (`python bench/bench_stream.py PORT CONNECTIONS WATCHERS`) that subscribes over its
connections, as a proxy does for the phones behind it, and answers all NOTIFYs of one read with one write. The
publisher speaks UDP. As in bench_fanout.py the server's processor time a NOTIFY, with its 200, is the figure.
"""

import os
import select
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import NamedTuple

import load
import pytest
from conftest import Note
from pytest_benchmark.fixture import BenchmarkFixture

CONNECTIONS = 10
SIZE = 1_000
ROUNDS = 30
READ_BYTES = 1 << 18


class Audience(NamedTuple):
    """A server, and the watchers of alice."""

    server: load.Server
    watchers: load.Watchers
    window: load.Window


class StreamWatchers(load.Watchers):
    """A process that watches alice over TCP connections and answers every NOTIFY with 200."""

    def __init__(self, port: int, connections: int, size: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__, str(port), str(connections), str(size)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(load.ROOT)},
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._commands, self._reports = self._process.stdin, self._process.stdout
        self.answered = 0


@pytest.fixture(scope="module")
def audience(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Audience]:
    with load.serving(tmp_path_factory.mktemp("stream"), "--listen", "tcp:127.0.0.1:0") as server:
        watchers = StreamWatchers(server.address[1], CONNECTIONS, SIZE)
        watchers.expect(SIZE)
        watchers.wait()
        window = load.Window(server.address)
        yield Audience(server, watchers, window)
        window.close()
        watchers.stop()


def bench_change(benchmark: BenchmarkFixture, audience: Audience, note: Note) -> None:
    server, watchers, window = audience
    publisher = [load.Publisher(0, window.local, "alice")]
    notify_bytes = 0

    def change() -> None:
        nonlocal notify_bytes
        watchers.expect(SIZE)
        window.run(publisher, 1)
        notify_bytes = watchers.wait()

    change()
    before, server_cpu, watchers_cpu = server.notifies(), server.cpu(), watchers.cpu()
    benchmark.pedantic(change, rounds=ROUNDS)
    server_cpu, watchers_cpu = server.cpu() - server_cpu, watchers.cpu() - watchers_cpu
    note(
        server_us_per_notify=round(server_cpu.total_s / (ROUNDS * SIZE) * 1e6, 2),
        system_share=server_cpu.system_share,
        watchers_us_per_notify=round(watchers_cpu.total_s / (ROUNDS * SIZE) * 1e6, 2),
        notify_bytes=notify_bytes,
        failed=server.notifies()["failed"] - before["failed"],
    )


# ---- the watchers ----


def subscribe(port: int, local: str, number: int) -> bytes:
    return (
        f"SUBSCRIBE sip:alice@example.com SIP/2.0\r\nVia: SIP/2.0/TCP {local};rport;branch=z9hG4bK{port}-{number}\r\n"
        f'Max-Forwards: 70\r\nFrom: "Bob" <sip:bob@example.com>;tag={number}\r\nTo: <sip:alice@example.com>\r\n'
        f"Call-ID: {number}-{local}\r\nCSeq: 1 SUBSCRIBE\r\nContact: <sip:bob@{local};transport=tcp>\r\n"
        f"Event: presence\r\nAccept: application/pidf+xml\r\nExpires: 3600\r\nContent-Length: 0\r\n\r\n"
    ).encode()


def watch(port: int, connections: int, size: int) -> None:
    """Subscribe, then answer until standard input ends; each number read there is a count of NOTIFYs to report."""
    from presence._fastcore import Framer, build_response

    poll = select.poll()
    poll.register(0, select.POLLIN)
    streams = {}
    for _ in range(connections):
        stream = socket.create_connection(("127.0.0.1", port))
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        streams[stream.fileno()] = (stream, Framer())
        poll.register(stream, select.POLLIN)
    for number in range(size):
        stream, _ = list(streams.values())[number % connections]
        stream.sendall(subscribe(port, "{}:{}".format(*stream.getsockname()), number))
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
            notifies = [message for message in framer.feed(stream.recv(READ_BYTES)) if message.is_request]
            if notifies:
                stream.sendall(b"".join(build_response(notify, 200, b"OK") for notify in notifies))
                answered += len(notifies)
                notify_bytes = len(notifies[-1].raw)
        if expected and answered >= expected:
            print(answered, notify_bytes, flush=True)
            expected = 0


if __name__ == "__main__":
    watch(*map(int, sys.argv[1:]))
