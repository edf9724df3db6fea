import queue
from collections.abc import Callable, Iterator
from pathlib import Path

import apsw
import pytest

from presence.errors import StoreError
from presence.store.base import Value, Write
from presence.store.sqlite import SqliteStore


class CallerThread:
    """Stands where the event loop stands: callbacks wait until the test runs them."""

    def __init__(self) -> None:
        self._waiting: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()

    def call_soon(self, callback: Callable[[], None]) -> None:
        self._waiting.put(callback)

    def run_until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self._waiting.get(timeout=10)()

    def run_waiting(self) -> None:
        while not self._waiting.empty():
            self._waiting.get()()


class Answers(list[StoreError | None]):
    """What the `done` callbacks were given, in order."""

    def done(self, error: StoreError | None) -> None:
        self.append(error)


def publish(etag: str, *, username: str = "alice", body: bytes = b"<presence/>") -> Write:
    return Write(
        "presentity_insert",
        (username, "example.com", "presence", etag, 2000, 1000, 0, "application/pidf+xml", body, None, None),
    )


def refresh(old: str, new: str) -> Write:
    return Write("presentity_refresh", ("alice", "example.com", "presence", old, new, 3000, 1100, 0))


def ask_beside(path: str, sql: str) -> list[tuple[Value, ...]]:
    """Ask on a connection that is not the store's, as an operator's script would."""
    connection = apsw.Connection(path)
    try:
        return list(connection.execute(sql))
    finally:
        connection.close()


def etags_beside(path: str) -> list[Value]:
    return [etag for (etag,) in ask_beside(path, "SELECT etag FROM presentity ORDER BY etag")]


def etags(store: SqliteStore) -> list[Value]:
    return [row[4] for row in store.read("presentity_load")]


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "presence.db")


@pytest.fixture
def caller() -> CallerThread:
    return CallerThread()


@pytest.fixture
def answers() -> Answers:
    return Answers()


@pytest.fixture
def store() -> Iterator[SqliteStore]:
    inline = SqliteStore(":memory:")
    yield inline
    inline.close()


@pytest.fixture
def writing(path: str, caller: CallerThread) -> Iterator[SqliteStore]:
    threaded = SqliteStore(path, call_soon=caller.call_soon)
    yield threaded
    threaded.close()
