import queue
from collections.abc import Callable, Iterator
from os import sched_yield
from pathlib import Path
from time import monotonic
from typing import NamedTuple
from zlib import crc32

import apsw
import pytest

from presence.errors import StoreError
from presence.store.base import Value
from presence.store.sqlite import SqliteStore


class Write(NamedTuple):
    """What `submit` takes, with names."""

    query: str
    params: tuple[Value, ...]


SMALL = 1 << 20
"""Bytes of a segment: large ones take their time to be made."""


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


def row_of(etag: str) -> int:
    """Number of the row of the publication that had this entity-tag first."""
    return crc32(str(etag).encode()) + 1


def publish(etag: str, *, username: str = "alice", body: bytes = b"<presence/>") -> Write:
    key = (row_of(etag), username, "example.com", "presence", etag)
    return Write("presentity_insert", (*key, 2000, 1000, 0, "application/pidf+xml", body, None, None))


def refresh(first: str, new: str) -> Write:
    return Write("presentity_refresh", (row_of(first), new, 3000))


def modify(first: str, new: str, body: bytes = b"<presence/>") -> Write:
    return Write("presentity_modify", (row_of(first), new, 3000, 1100, 0, "application/pidf+xml", body))


def remove(first: str) -> Write:
    return Write("presentity_delete", (row_of(first),))


def bind(contact: str | None) -> Write:
    """A direct change."""
    return Write("bindings_put", ("alice", "example.com", contact, "call", 1, None, 2000, None, None, None))


def subscribe(row: int, to_tag: str = "to", local_cseq: int = 256, *, table: str = "active_watchers") -> Write:
    who = (
        "sip:alice@example.com",
        "bob",
        "example.com",
        "alice",
        "example.com",
        "presence",
        "",
        to_tag,
        "from",
        "call",
    )
    rest = ("sip:bob@192.0.2.1", None, 2000, 1, "", 0, "udp:192.0.2.9:5060", "sip:x", None, None, 1000, None, 1)
    return Write(f"{table}_insert", (row, *who, local_cseq, 1, *rest))


def contacts_beside(path: str) -> list[Value]:
    return [contact for (contact,) in ask_beside(path, "SELECT contact FROM bindings ORDER BY contact")]


def wait_until(condition: Callable[[], bool]) -> None:
    """Let the store's threads work until something holds."""
    give_up_at = monotonic() + 20
    while not condition():
        assert monotonic() < give_up_at
        sched_yield()


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


def leave(store: SqliteStore) -> None:
    """End a store's threads as a crash does: nothing more is written."""
    folder, writer = store._folder, store._writer
    assert folder is not None
    assert writer is not None
    writer.stop()
    folder._pending.clear()
    folder.stop()
    store._stuck = True
    store._folder = store._writer = store._call_soon = None
    store.close()


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
    threaded = SqliteStore(path, call_soon=caller.call_soon, segment_bytes=SMALL)
    yield threaded
    threaded.close()
