"""A start: subscriptions and publications read from the database into memory.

Run: python -m pytest bench/bench_start.py --benchmark-only, or python bench/bench_start.py for a million
subscriptions and 200,000 publications. Nothing is sent and nothing listens: the node alone, on a real file.
"""

import sys
import tempfile
import time
from pathlib import Path

import pytest
from bench_memory import resident_bytes
from conftest import Note
from pytest_benchmark.fixture import BenchmarkFixture

from presence.assembly import Node
from presence.boot import count_start
from presence.clock import SystemClock
from presence.config import load
from presence.loadtool.traffic import DOCUMENT
from presence.store.base import Write
from presence.store.sqlite import SqliteStore
from presence.tally import Tally

QUICK = 100_000
FULL = 1_000_000
WATCHERS = 100
"""Subscriptions of one presentity."""

BATCH = 5000


def subscription(number: int, presentities: int, expires: int) -> Write:
    user = number * 7919 % presentities
    name = f"w{100_000 + number % 900_000}"
    return (
        "active_watchers_insert",
        (
            number + 1,
            *(f"sip:user{user}@example.com", name, "example.com", f"user{user}", "example.com", "presence", ""),
            *(f"00{number + 1:08x}{number * 2654435761 % 2**32:08x}", f"{number * 40503:010x}-from"),
            *(f"{number * 48271:020x}@watchers.example.com"[: 22 + number % 19], 256, 1),
            *(f"sip:{name}@127.0.0.1:5070", None, expires, 1, "", 0, "udp:127.0.0.1:5060"),
            *(f"sip:~00{number + 1:08x}.presence@127.0.0.1:5060", f"<sip:{name}@example.com>"),
            *(f"<sip:user{user}@example.com>", expires - 3600, f"udp:127.0.0.1:{5070 + number % 4}", 1),
        ),
    )


def document(number: int) -> bytes:
    """A published document of about 900 bytes."""
    return DOCUMENT.replace("{user}", f"{number:08}").replace("{version}", "00000001").encode()


def publication(number: int, expires: int) -> Write:
    name = f"user{number}"
    return (
        "presentity_insert",
        (
            number + 1,
            *(name, "example.com", "presence", f"e{number:x}", expires, expires - 3600, number),
            *("application/pidf+xml", document(number), f"sip:{name}@example.com", b""),
        ),
    )


def write(store: SqliteStore, writes: list[Write]) -> None:
    for at in range(0, len(writes), BATCH):
        for one in writes[at : at + BATCH]:
            store.submit([one], lambda error: None if error is None else sys.exit(str(error)))
        store.flush()


def fill(path: Path, subscriptions: int, publications: int) -> None:
    expires = int(time.time()) + 7200
    store = SqliteStore(str(path), durability="os")
    presentities = max(1, subscriptions // WATCHERS)
    for at in range(0, subscriptions, BATCH):
        write(
            store, [subscription(number, presentities, expires) for number in range(at, min(at + BATCH, subscriptions))]
        )
    for at in range(0, publications, BATCH):
        write(store, [publication(number, expires) for number in range(at, min(at + BATCH, publications))])
    store.close()


def start(path: Path) -> dict[str, float]:
    """Start a node on the database; return what it took."""
    store = SqliteStore(str(path), durability="os")
    before = resident_bytes()
    node = Node(load(assignments=("server.policy=open",)), store, SystemClock(), Tally(), boot=count_start(store))
    link = node.table.add_link(-1, reliable=False, via=b"UDP 127.0.0.1:5060", contact=b"127.0.0.1:5060")
    node.ways.add("udp:127.0.0.1:5060", link)
    publications_s = 0.0
    load_publications = node.compositor.load

    def timed(now: float) -> None:
        nonlocal publications_s
        load_publications(now)
        publications_s = time.thread_time() - began_cpu

    node.compositor.load = timed  # type: ignore[method-assign]
    began, began_cpu = time.perf_counter(), time.thread_time()
    taken, refused = node.load()
    took, cpu = time.perf_counter() - began, time.thread_time() - began_cpu
    assert refused == 0
    grown = resident_bytes() - before
    store.close()
    return {
        "rows": taken,
        "seconds": round(took, 2),
        "seconds_of_cpu": round(cpu, 2),
        "seconds_of_cpu_for_publications": round(publications_s, 2),
        "us_of_cpu_per_subscription": round((cpu - publications_s) / taken * 1e6, 2),
        "resident_bytes_per_subscription": round(grown / taken),
    }


@pytest.mark.parametrize("publications", [0, QUICK // 5])
def bench_start(benchmark: BenchmarkFixture, note: Note, tmp_path: Path, publications: int) -> None:
    fill(tmp_path / "presence.db", QUICK, publications)
    note(**benchmark.pedantic(start, (tmp_path / "presence.db",), rounds=1))


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else FULL
    with tempfile.TemporaryDirectory() as folder:
        database = Path(folder) / "presence.db"
        fill(database, count, int(sys.argv[2]) if len(sys.argv) > 2 else count // 5)
        print(start(database))
