"""Reading a SUBSCRIBE: our scanner against those of sofia-sip and libosip2 (pytest bench/bench_scan.py).

A C driver for each (scan_peer.c) is built with gcc and pkg-config; one that is not installed is skipped. All three read
the same bytes into what a server needs to go on: start line, dialog identifiers, CSeq, Contact. They do not do the
same work: we keep offsets into the datagram, the others allocate a tree.
"""

import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import Note
from pytest_benchmark.fixture import BenchmarkFixture

from presence._fastcore import _scan_many, parse

DRIVER = Path(__file__).with_name("scan_peer.c")
TIMES, ROUNDS = 20_000, 15

SUBSCRIBE = b"\r\n".join(
    [
        b"SUBSCRIBE sip:alice@example.com SIP/2.0",
        b"Via: SIP/2.0/UDP 192.0.2.17:5060;branch=z9hG4bK776asdhds8f7a6sd5f;rport",
        b"Max-Forwards: 70",
        b"Route: <sip:edge.example.com;lr>",
        b'From: "Bob" <sip:bob@example.com>;tag=1928301774',
        b"To: <sip:alice@example.com>",
        b"Call-ID: a84b4c76e66710f2e0b1@192.0.2.17",
        b"CSeq: 314159 SUBSCRIBE",
        b"Contact: <sip:bob@192.0.2.17:5060;transport=udp>",
        b"Event: presence",
        b"Accept: application/pidf+xml, application/xpidf+xml",
        b"Allow: INVITE, ACK, CANCEL, BYE, NOTIFY, OPTIONS, MESSAGE",
        b"Supported: replaces, eventlist",
        b"User-Agent: Some Phone 4.2.1 (build 20240501)",
        b"Expires: 3600",
        b"Content-Length: 0",
        b"",
        b"",
    ]
)

PEERS = {"sofia-sip": ("-DSOFIA", "sofia-sip-ua"), "libosip2": ("-DOSIP", "libosip2")}
"""What the driver is built with: its switch, the name pkg-config knows."""


def build(peer: str, folder: Path) -> Path:
    """Build a driver; skip with the reason when something for it is not installed."""
    switch, package = PEERS[peer]
    for tool in ("gcc", "pkg-config"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    asked = subprocess.run(["pkg-config", "--cflags", "--libs", package], capture_output=True, text=True, check=False)
    if asked.returncode:
        pytest.skip(f"{peer} is not installed (its -dev package)")
    driver = folder / peer
    command = ["gcc", "-O2", switch, str(DRIVER), "-o", str(driver), *asked.stdout.split()]
    subprocess.run(command, check=True, capture_output=True)
    return driver


@pytest.mark.parametrize("peer", PEERS)
def bench_scan(benchmark: BenchmarkFixture, note: Note, tmp_path: Path, peer: str) -> None:
    assert not parse(SUBSCRIBE).error
    driver = build(peer, tmp_path)
    message = tmp_path / "subscribe"
    message.write_bytes(SUBSCRIBE)
    said = subprocess.run([driver, message, str(TIMES), str(ROUNDS)], capture_output=True, text=True, check=True)
    benchmark.pedantic(_scan_many, (SUBSCRIBE, TIMES), rounds=ROUNDS, warmup_rounds=1)
    peer_ns, own_ns = float(said.stdout), benchmark.stats.stats.min / TIMES * 1e9
    note(
        message_bytes=len(SUBSCRIBE),
        ours_ns=round(own_ns),
        peer_ns=round(peer_ns),
        times_faster=round(peer_ns / own_ns, 1),
    )
