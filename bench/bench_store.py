"""Rows a second, and processor microseconds a row, of durable publications in groups of 1, 100 and 400.

Run: python -m pytest bench/bench_store.py --benchmark-columns=min,median,max,rounds
Each round is one group: submit, flush, and wait until the last row is acknowledged.
"""

import queue
import random
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from presence.errors import StoreError
from presence.store.base import Write
from presence.store.sqlite import SqliteStore

PRESENTITIES = 20_000
BODY = bytes(range(256)) * 3 + bytes(132)  # 900 bytes, the size of a rich PIDF


def publish(presentity: int, received_at: int) -> Write:
    key = (f"user{presentity}", "example.com", "presence", f"etag{presentity}")
    return Write(
        "presentity_insert",
        (*key, received_at + 3600, received_at, 0, "application/pidf+xml", BODY, None, None),
    )


@pytest.fixture(scope="module")
def waiting() -> "queue.SimpleQueue[Callable[[], None]]":
    return queue.SimpleQueue()


@pytest.fixture(scope="module")
def store(
    waiting: "queue.SimpleQueue[Callable[[], None]]", tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SqliteStore]:
    path: Path = tmp_path_factory.mktemp("store") / "presence.db"
    filled = SqliteStore(str(path), call_soon=waiting.put)
    write_group(filled, waiting, [publish(number, 0) for number in range(PRESENTITIES)])
    yield filled
    filled.close()


def write_group(store: SqliteStore, waiting: "queue.SimpleQueue[Callable[[], None]]", writes: list[Write]) -> None:
    acknowledged: list[StoreError | None] = []
    for write in writes:
        store.submit([write], acknowledged.append)
    store.flush()
    while len(acknowledged) < len(writes):
        waiting.get()()
    assert not any(acknowledged)


@pytest.mark.parametrize("size", [1, 100, 400])
def bench_durable_upserts(
    benchmark: BenchmarkFixture,
    store: SqliteStore,
    waiting: "queue.SimpleQueue[Callable[[], None]]",
    size: int,
) -> None:
    choice = random.Random(size)
    received_at = count(1)
    rows = 0
    cpu_s = wall_s = 0.0

    def one_group(writes: list[Write]) -> None:
        nonlocal rows, cpu_s, wall_s
        wall, cpu = time.perf_counter(), time.process_time()
        write_group(store, waiting, writes)
        wall_s += time.perf_counter() - wall
        cpu_s += time.process_time() - cpu
        rows += len(writes)

    def prepare() -> tuple[tuple[list[Write]], dict[str, object]]:
        return ([publish(choice.randrange(PRESENTITIES), next(received_at)) for _ in range(size)],), {}

    benchmark.pedantic(one_group, setup=prepare, rounds=20_000 // (size + 20), warmup_rounds=2)
    benchmark.extra_info["rows per second"] = round(rows / wall_s)
    benchmark.extra_info["processor us per row"] = round(cpu_s / rows * 1e6, 1)
    print(f"\ngroups of {size}: {rows / wall_s:,.0f} rows/s, {cpu_s / rows * 1e6:.1f} us of processor per row")
