"""One change to many watchers: from the PUBLISH until every NOTIFY is answered 200, over UDP on loopback.

Run: python -m pytest bench/bench_fanout.py --benchmark-only
The wall clock measures server, watchers and kernel together, on the cores they share; the server's processor
time a NOTIFY (its 200 included, and the PUBLISH) does not depend on how fast the watchers answer.
"""

import time
from collections.abc import Iterator
from typing import NamedTuple

import load
import loopback
import pytest
from conftest import Note
from pytest_benchmark.fixture import BenchmarkFixture

SIZES = {"alice": 1_000, "carol": 10_000}
"""Presentities and how many watch them."""

ROUNDS = 15
NOTIFY_BYTES = 1350
RESPONSE_BYTES = 350


class Audience(NamedTuple):
    """A server, and the watchers of its presentities."""

    server: load.Server
    watchers: load.Watchers
    window: load.Window


@pytest.fixture(scope="module")
def audience(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Audience]:
    with load.serving(tmp_path_factory.mktemp("fanout")) as server, load.watching() as watchers:
        window = load.Window(server.address)
        for presentity, size in SIZES.items():
            places = [load.Subscriber(i, window.local, presentity, watchers.contacts) for i in range(100)]
            watchers.expect(size)
            window.run(places, size)
            watchers.wait()
        yield Audience(server, watchers, window)
        window.close()


@pytest.mark.parametrize("presentity", SIZES, ids=[f"{size}-watchers" for size in SIZES.values()])
def bench_change(benchmark: BenchmarkFixture, audience: Audience, note: Note, presentity: str) -> None:
    server, watchers, window = audience
    size = SIZES[presentity]
    publisher = [load.Publisher(0, window.local, presentity)]
    notify_bytes = 0

    def change() -> None:
        nonlocal notify_bytes
        watchers.expect(size)
        window.run(publisher, 1)
        notify_bytes = watchers.wait()

    change()
    retransmitted = server.notifies()["retransmitted"]
    server_cpu, watchers_cpu = server.cpu(), watchers.cpu()
    benchmark.pedantic(change, rounds=ROUNDS)
    server_cpu, watchers_cpu = server.cpu() - server_cpu, watchers.cpu() - watchers_cpu
    note(
        server_us_per_notify=round(server_cpu.total_s / (ROUNDS * size) * 1e6, 2),
        system_share=server_cpu.system_share,
        watchers_us_per_notify=round(watchers_cpu.total_s / (ROUNDS * size) * 1e6, 2),
        notify_bytes=notify_bytes,
        retransmitted=server.notifies()["retransmitted"] - retransmitted,
    )


@pytest.mark.parametrize("size", SIZES.values())
def bench_raw_exchange(benchmark: BenchmarkFixture, note: Note, size: int) -> None:
    """The same datagrams between two processes that only make the system calls."""
    with loopback.exchanging(NOTIFY_BYTES, RESPONSE_BYTES) as exchange:
        exchange.run(size, window=256)
        far_cpu, near_s = load.cpu_of(exchange.pid), time.process_time()
        benchmark.pedantic(exchange.run, (size, 256), rounds=ROUNDS)
        far_cpu, near_s = load.cpu_of(exchange.pid) - far_cpu, time.process_time() - near_s
    note(
        sender_us_per_exchange=round(near_s / (ROUNDS * size) * 1e6, 2),
        answerer_us_per_exchange=round(far_cpu.total_s / (ROUNDS * size) * 1e6, 2),
    )
