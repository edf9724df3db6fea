"""Processor microseconds a row: acknowledged from the journal, brought into the tables, and without a journal.

Run: python -m pytest bench/bench_store.py --benchmark-columns=min,median,max,rounds
Each round is one group: submit, flush, and wait until the last row is acknowledged. Nothing is folded meanwhile;
what that costs is measured when the store is closed, and divided by changes and by the rows they were for.
`tables` is the store without a journal: each group is one synchronous commit of SQLite.
"""

import queue
import random
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest
from conftest import Note
from pytest_benchmark.fixture import BenchmarkFixture

from presence.errors import StoreError
from presence.store.base import Write
from presence.store.sqlite import Durability, SqliteStore

PRESENTITIES = 50_000
HOT = 1_000  # rows that change again and again
BODY = bytes(range(256)) * 3 + bytes(132)  # 900 bytes, the size of a rich PIDF
NEVER_S = 1e9

Waiting = queue.SimpleQueue[Callable[[], None]]
numbers = count(1)


class Rows:
    """Changes of a database that is filled: presentities in an order that has nothing to do with their names."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.chance = random.Random(1)
        store = SqliteStore(path)
        self.ids = [store.new_id("presentity") for _ in range(PRESENTITIES)]
        for row in self.ids:
            key = (row, f"user{self.chance.getrandbits(40)}", "example.com", "presence", f"first.{row:x}")
            write = ("presentity_insert", (*key, 3600, 0, 0, "application/pidf+xml", BODY, None, None))
            store.submit([write], lambda error: None)
        store.close()

    def modify(self, store: SqliteStore) -> Write:
        number = next(numbers)
        times = (3600, number, number)
        return (
            "presentity_modify",
            (self.chance.choice(self.ids), f"1f0e2d3c4b5a.{number:x}", *times, "application/pidf+xml", BODY),
        )

    def modify_hot(self, store: SqliteStore) -> Write:
        name, params = self.modify(store)
        return (name, (self.chance.choice(self.ids[:HOT]), *params[1:]))

    def refresh(self, store: SqliteStore) -> Write:
        return ("presentity_refresh", (self.chance.choice(self.ids), f"1f0e2d3c4b5a.{next(numbers):x}", 3600))

    def subscribe(self, store: SqliteStore) -> Write:
        row = store.new_id("active_watchers")
        uri = f"sip:user{self.chance.randrange(PRESENTITIES)}@example.com"
        who = (uri, "bob", "example.com", "alice", "example.com", "presence", "", f"00{row:08x}5f3a9c21", "9f2b7c")
        dialog = (
            f"{self.chance.getrandbits(64):x}@192.0.2.1",
            256,
            1,
            "<sip:bob@192.0.2.1:5070>",
            None,
            3600,
            1,
            "",
            0,
        )
        ours = ("udp:192.0.2.9:5060", "sip:~00.presence@192.0.2.9", "<sip:bob@example.com>", f"<{uri}>", 1, "udp", 1)
        return ("active_watchers_insert", (row, *who, *dialog, *ours))


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rows]:
    return Rows(str(Path(tmp_path_factory.mktemp("store")) / "presence.db"))


def write_group(store: SqliteStore, waiting: Waiting, writes: list[Write]) -> None:
    acknowledged: list[StoreError | None] = []
    for write in writes:
        store.submit([write], acknowledged.append)
    store.flush()
    while len(acknowledged) < len(writes):
        waiting.get()()
    assert not any(acknowledged)


def measure(benchmark: BenchmarkFixture, note: Note, rows: Rows, change: str, size: int, **options: object) -> None:
    waiting: Waiting = queue.SimpleQueue()
    arguments: dict[str, object] = {"call_soon": waiting.put, "fold_after_s": NEVER_S, **options}
    store = SqliteStore(rows.path, **arguments)  # type: ignore[arg-type]
    make = getattr(rows, change)
    changed: set[object] = set()
    changes = 0
    cpu_s = wall_s = 0.0

    def one_group(writes: list[Write]) -> None:
        nonlocal changes, cpu_s, wall_s
        wall, cpu = time.perf_counter(), time.process_time()
        write_group(store, waiting, writes)
        wall_s += time.perf_counter() - wall
        cpu_s += time.process_time() - cpu
        changes += len(writes)
        changed.update(write[1][0] for write in writes)

    def prepare() -> tuple[tuple[list[Write]], dict[str, object]]:
        return ([make(store) for _ in range(size)],), {}

    benchmark.pedantic(one_group, setup=prepare, rounds=20_000 // (size + 20), warmup_rounds=2)
    cpu = time.process_time()
    store.close()
    fold_s = time.process_time() - cpu
    note(
        rows_per_second=round(changes / wall_s),
        us_per_change=round(cpu_s / changes * 1e6, 2),
        fold_us_per_change=round(fold_s / changes * 1e6, 2),
        fold_us_per_row=round(fold_s / len(changed) * 1e6, 2),
    )


@pytest.mark.parametrize("size", [1, 100, 400])
@pytest.mark.parametrize("change", ["modify", "refresh", "subscribe", "modify_hot"])
def bench_acknowledge(benchmark: BenchmarkFixture, note: Note, rows: Rows, change: str, size: int) -> None:
    measure(benchmark, note, rows, change, size)


@pytest.mark.parametrize("size", [1, 100])
@pytest.mark.parametrize("durability", ["os", "periodic", "memory"])
def bench_durability(benchmark: BenchmarkFixture, note: Note, rows: Rows, durability: Durability, size: int) -> None:
    measure(benchmark, note, rows, "modify", size, durability=durability)


@pytest.mark.parametrize("size", [1, 100, 400])
@pytest.mark.parametrize("change", ["modify", "refresh", "subscribe"])
def bench_tables(benchmark: BenchmarkFixture, note: Note, rows: Rows, change: str, size: int) -> None:
    measure(benchmark, note, rows, change, size, call_soon=None)
