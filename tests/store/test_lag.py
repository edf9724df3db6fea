"""A commit that takes too long: what comes meanwhile is refused at once, and what was taken is kept."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from presence.errors import StoreError
from presence.store.base import Done
from presence.store.lag import Lag
from presence.store.sqlite import SqliteStore


def test_the_first_change_of_those_on_their_way_is_timed() -> None:
    at = [100.0]
    lag, dones = Lag(2.0, lambda: at[0]), list[tuple[int, Done]]()
    lag.ride(dones)
    at[0] += 1.5
    lag.ride(dones)
    lag.look()
    assert (len(dones), lag.seconds, lag.over) == (1, 1.5, False)
    at[0] += 1.0
    lag.look()
    assert lag.over
    dones[0][1](StoreError("also an answer"))
    assert (lag.seconds, lag.over) == (0.0, False)
    lag.ride(dones)
    assert len(dones) == 2


def test_nothing_takes_too_long_without_a_limit() -> None:
    at = [0.0]
    lag = Lag(0.0, lambda: at[0])
    lag.ride([])
    at[0] = 1e6
    lag.look()
    assert not lag.over


class Disk:
    """Has the journal's writer wait until it is let go."""

    def __init__(self, store: SqliteStore) -> None:
        self.free = threading.Event()
        self.free.set()
        assert store._journal is not None
        append = store._journal.append

        def slow(payload: bytes) -> int:
            assert self.free.wait(30)
            return append(payload)

        store._journal.append = slow  # type: ignore[method-assign]


@pytest.fixture
def calls() -> list[Callable[[], None]]:
    return []


def test_a_slow_disk_refuses_and_recovers(tmp_path: Path, calls: list[Callable[[], None]]) -> None:
    arrived = threading.Semaphore(0)

    def call_soon(call: Callable[[], None]) -> None:
        calls.append(call)
        arrived.release()

    store = SqliteStore(str(tmp_path / "p.db"), durability="commit", call_soon=call_soon, overload_s=2.0)
    at = [0.0]
    store.lag = Lag(2.0, lambda: at[0])
    disk = Disk(store)
    outcomes: dict[str, StoreError | None] = {}

    def submit(name: str) -> None:
        values = (store.new_id("presentity"), name, "example.com", "presence", name, 9e9, 1, 1, "t", b"x", None, None)
        store.submit([("presentity_insert", values)], lambda error: outcomes.__setitem__(name, error))
        store.flush()

    def deliver() -> None:
        assert arrived.acquire(timeout=30)
        calls.pop(0)()

    try:
        disk.free.clear()
        submit("taken")
        at[0] = 1.0
        submit("taken too")
        at[0] = 2.5
        store.flush()
        submit("refused")
        # At once, while the others still wait.
        assert set(outcomes) == {"refused"}
        assert isinstance(outcomes["refused"], StoreError)
        disk.free.set()
        while len(outcomes) < 3:
            deliver()
        assert (outcomes["taken"], outcomes["taken too"]) == (None, None)
        submit("taken again")
        while len(outcomes) < 4:
            deliver()
        assert outcomes["taken again"] is None
    finally:
        disk.free.set()
        store.close()
    again = SqliteStore(str(tmp_path / "p.db"), durability="os")
    names = {str(row[1]) for row in again.read("presentity_load")}
    again.close()
    assert names == {"taken", "taken too", "taken again"}
