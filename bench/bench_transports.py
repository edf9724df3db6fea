"""The same PUBLISH requests over UDP, TCP and TLS, to one server and in turns: what a transport costs.

Run: python bench/bench_transports.py [ROUNDS]      or  python -m pytest bench/bench_transports.py --benchmark-only
Each round modifies 200 publications, 50 under way at a time over four connections (over UDP: four sockets). The
figure is the server's processor time a request, journal and fold included; its inverse is what one core could serve.
"""

import json
import re
import shutil
import socket
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import pytest
from bench_stream import PATIENCE_S, connect, make_certificate, receive
from pytest_benchmark.fixture import BenchmarkFixture

from presence.loadtool.peers import Presence, Running
from presence.loadtool.traffic import DOCUMENT

KINDS = ("udp", "tcp", "tls")
SOCKETS = 4
IN_FLIGHT = 50
ROUNDS = 60
SETTLED_S = 1.3
"""Until what was answered is in the tables too."""


class Publishers:
    """Fifty publishers behind each of four sockets of one transport."""

    def __init__(self, kind: str, port: int) -> None:
        self.kind = kind
        self._streams = [self._connect(port) for _ in range(SOCKETS)]
        self._number = 0
        self._tags: dict[str, str] = {}

    def _connect(self, port: int) -> socket.socket:
        if self.kind != "udp":
            return connect(self.kind, port)
        datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        datagrams.connect(("127.0.0.1", port))
        datagrams.settimeout(PATIENCE_S)
        return datagrams

    def publish(self) -> int:
        """Change every publication once; return how many."""
        for which, stream in enumerate(self._streams):
            self._number += 1
            requests = [self._request(stream, f"u{which}-{user}") for user in range(IN_FLIGHT)]
            if self.kind == "udp":
                for request in requests:
                    stream.send(request)
            else:
                stream.sendall(b"".join(requests))
            self._read(stream)
        return SOCKETS * IN_FLIGHT

    def _request(self, stream: socket.socket, user: str) -> bytes:
        host, port = stream.getsockname()
        tag = self._tags.get(user)
        condition = f"SIP-If-Match: {tag}\r\n" if tag else ""
        body = DOCUMENT.replace("{user}", f"{user:>8}").replace("{version}", f"{self._number:08}")
        call = f"{self.kind}{user}"
        return (
            f"PUBLISH sip:{call}@example.com SIP/2.0\r\nVia: SIP/2.0/{self.kind.upper()} {host}:{port};rport;"
            f"branch=z9hG4bK{call}.{self._number}\r\n"
            f"Max-Forwards: 70\r\nFrom: <sip:{call}@example.com>;tag=a\r\nTo: <sip:{call}@example.com>\r\n"
            f"Call-ID: {user}\r\nCSeq: {self._number} PUBLISH\r\n{condition}Event: presence\r\n"
            f"Expires: 3600\r\nContent-Type: application/pidf+xml\r\nContent-Length: {len(body)}\r\n\r\n{body}"
        ).encode()

    def _read(self, stream: socket.socket) -> None:
        heard = b""
        while heard.count(b"\r\n\r\n") < IN_FLIGHT:
            heard += receive(stream)
        text = heard.decode()
        assert text.count("SIP/2.0 200 ") == IN_FLIGHT, text[:400]
        users = re.findall(r"^Call-ID: (\S+)\r$", text, re.MULTILINE)
        tags = re.findall(r"^SIP-ETag: (\S+)\r$", text, re.MULTILINE)
        self._tags.update(zip(users, tags, strict=True))

    def close(self) -> None:
        for stream in self._streams:
            stream.close()


def start(folder: Path) -> tuple[Running, list[Publishers]]:
    """Start a server on the three transports, and the publishers of each."""
    arguments = ["--listen", "tcp:127.0.0.1:0", "--listen", "tls:127.0.0.1:0"]
    server = Presence("commit", arguments=[*arguments, "--set", f"tls.certificate={make_certificate(folder)}"])
    running = server.start(folder)
    listeners = json.loads((folder / "ready.json").read_text())["sip"]
    ports = {entry.partition(":")[0]: int(entry.rpartition(":")[2]) for entry in listeners}
    return running, [Publishers(kind, ports[kind]) for kind in KINDS]


def measure(server: Running, publishers: Publishers, rounds: int) -> float:
    """Return the server's processor time a request in microseconds, for so many rounds and what they put off."""
    before = server.cpu_s()
    count = sum(publishers.publish() for _ in range(rounds))
    time.sleep(SETTLED_S)
    return (server.cpu_s() - before) / count * 1e6


def compare(rounds: int, times: int = 5) -> dict[str, list[float]]:
    """Measure the transports in turns, so many times; return the processor times by transport."""
    found: dict[str, list[float]] = {kind: [] for kind in KINDS}
    with tempfile.TemporaryDirectory() as folder:
        server, all_publishers = start(Path(folder))
        try:
            for publishers in all_publishers:
                measure(server, publishers, 2)
            for _ in range(times):
                for publishers in all_publishers:
                    found[publishers.kind].append(measure(server, publishers, rounds))
        finally:
            for publishers in all_publishers:
                publishers.close()
            server.stop()
    return found


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def bench_transports(benchmark: BenchmarkFixture) -> None:
    found = benchmark.pedantic(compare, args=(10, 3), rounds=1)
    for kind, values in found.items():
        benchmark.extra_info[f"{kind} us"] = round(median(values), 1)
    print(*describe(found), sep="\n")


def describe(found: dict[str, list[float]]) -> list[str]:
    """Write a line for each transport: median, least and most, and its throughput as a part of that of UDP."""
    udp = median(found["udp"])
    return [
        f"{kind}  {median(values):6.1f} us a PUBLISH [{min(values):.1f}..{max(values):.1f}]   "
        f"{udp / median(values):.2f} of the throughput over UDP"
        for kind, values in found.items()
    ]


if __name__ == "__main__":
    print(*describe(compare(int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS)), sep="\n")
