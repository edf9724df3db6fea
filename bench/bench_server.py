"""Requests a second through the whole server over UDP, each answered after its commit (synchronous=FULL).

Run: python -m pytest bench/bench_server.py --benchmark-only
256 requests are kept in flight from 256 presentities or dialogs; a round is ROUND requests. The clients share the
cores with the server, so read the server's processor time beside the rate.
"""

import time
from collections.abc import Callable, Iterator

import load
import loopback
import pytest
from conftest import Note
from pytest_benchmark.fixture import BenchmarkFixture

WINDOW = 256
ROUND = 4_000
ROUNDS = 5
PUBLISH_BYTES = 1250
SUBSCRIBE_BYTES = 420
RESPONSE_BYTES = 350


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[load.Server]:
    with load.serving(tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture
def window(server: load.Server) -> Iterator[load.Window]:
    opened = load.Window(server.address)
    yield opened
    opened.close()


@pytest.fixture
def watchers() -> Iterator[load.Watchers]:
    with load.watching() as running:
        yield running


def measure(benchmark: BenchmarkFixture, note: Note, server: load.Server, one_round: Callable[[], None]) -> None:
    """Benchmark rounds of ROUND requests and note the server's side."""
    one_round()
    cpu, client_s, wall_s = server.cpu(), time.process_time(), time.perf_counter()
    benchmark.pedantic(one_round, rounds=ROUNDS)
    cpu, client_s, wall_s = server.cpu() - cpu, time.process_time() - client_s, time.perf_counter() - wall_s
    requests = ROUND * ROUNDS
    note(
        requests_per_second=round(requests / wall_s),
        server_us_per_request=round(cpu.total_s / requests * 1e6, 1),
        system_share=cpu.system_share,
        client_us_per_request=round(client_s / requests * 1e6, 1),
    )


@pytest.mark.parametrize("watched", [False, True], ids=["unwatched", "one-watcher-each"])
def bench_publish(
    benchmark: BenchmarkFixture,
    note: Note,
    server: load.Server,
    window: load.Window,
    watchers: load.Watchers,
    watched: bool,
) -> None:
    """PUBLISH requests that modify a document of 900 bytes."""
    presentities = [f"user{place}" for place in range(WINDOW)]
    window.run([load.Publisher(i, window.local, name) for i, name in enumerate(presentities)], WINDOW)
    if watched:
        subscribers = [load.Subscriber(i, window.local, name, watchers.contacts) for i, name in enumerate(presentities)]
        watchers.expect(WINDOW)
        window.run(subscribers, WINDOW)
        watchers.wait()
    publishers = [load.Publisher(i, window.local, name) for i, name in enumerate(presentities)]
    window.run(publishers, WINDOW)
    measure(benchmark, note, server, lambda: window.run(publishers, ROUND))


def bench_subscribe(
    benchmark: BenchmarkFixture, note: Note, server: load.Server, window: load.Window, watchers: load.Watchers
) -> None:
    """Initial SUBSCRIBE requests, the NOTIFY of each and its 200 included."""
    subscribers = [load.Subscriber(i, window.local, f"user{i}", watchers.contacts) for i in range(WINDOW)]

    def one_round() -> None:
        watchers.expect(ROUND)
        window.run(subscribers, ROUND)
        watchers.wait()

    measure(benchmark, note, server, one_round)


def bench_refresh(
    benchmark: BenchmarkFixture, note: Note, server: load.Server, window: load.Window, watchers: load.Watchers
) -> None:
    """SUBSCRIBE requests that refresh, with an unchanged state to be notified."""
    subscribers = [load.Subscriber(i, window.local, f"user{i}", watchers.contacts) for i in range(WINDOW)]
    watchers.expect(WINDOW)
    window.run(subscribers, WINDOW)
    watchers.wait()
    refreshers = [
        load.Refresher(window.local, f"user{i}", subscriber.dialogs) for i, subscriber in enumerate(subscribers)
    ]
    measure(benchmark, note, server, lambda: window.run(refreshers, ROUND))


@pytest.mark.parametrize("request_bytes", [PUBLISH_BYTES, SUBSCRIBE_BYTES], ids=["publish-size", "subscribe-size"])
def bench_raw_exchange(benchmark: BenchmarkFixture, note: Note, request_bytes: int) -> None:
    """The same datagrams between two processes that only make the system calls; the answerer is the server."""
    with loopback.exchanging(request_bytes, RESPONSE_BYTES) as exchange:
        exchange.run(ROUND, WINDOW)
        cpu, wall_s = load.cpu_of(exchange.pid), time.perf_counter()
        benchmark.pedantic(exchange.run, (ROUND, WINDOW), rounds=ROUNDS)
        cpu, wall_s = load.cpu_of(exchange.pid) - cpu, time.perf_counter() - wall_s
    note(
        exchanges_per_second=round(ROUND * ROUNDS / wall_s),
        answerer_us_per_exchange=round(cpu.total_s / (ROUND * ROUNDS) * 1e6, 2),
    )
