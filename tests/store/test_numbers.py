"""Row numbers are given once, and never to two: not to us and a script, not before and after a crash."""

import apsw
import pytest

from presence.errors import StoreError
from presence.store import sqlite, tables
from presence.store.numbers import Numbers
from presence.store.sqlite import NUMBERED, SqliteStore

from .conftest import SMALL, CallerThread, ask_beside, wait_until


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "BLOCK", 10)
    monkeypatch.setattr(sqlite, "BLOCK", 10)


INSERT = (
    "INSERT INTO presentity (username, domain, event, etag, expires, received_time) "
    "VALUES ('alice', 'example.com', 'presence', hex(randomblob(8)), 1, 1)"
)


@pytest.mark.parametrize("table", NUMBERED)
def test_numbers_never_meet_those_of_scripts_or_of_earlier_starts(path: str, small_blocks: None, table: str) -> None:
    ours: set[int] = set()
    for _ in range(3):
        store = SqliteStore(path)
        for _ in range(35):
            number = store.new_id(table)
            assert number not in ours
            ours.add(number)
        if table == "presentity":
            ask_beside(path, INSERT)
        store.close()
    theirs = {row for (row,) in ask_beside(path, f"SELECT id FROM {table}")}
    assert not ours & theirs
    assert len(theirs) == (3 if table == "presentity" else 0)


def test_numbers_stay_above_rows_that_are_there(path: str) -> None:
    SqliteStore(path).close()
    ask_beside(path, INSERT.replace("(username", "(id, username").replace("('alice", "(5000000, 'alice"))
    store = SqliteStore(path)
    assert store.new_id("presentity") > 5_000_000
    store.close()


def test_the_next_block_is_reserved_in_the_background(path: str, caller: CallerThread, small_blocks: None) -> None:
    store = SqliteStore(path, call_soon=caller.call_soon, segment_bytes=SMALL)
    numbers: list[int] = []
    for _ in range(100):
        wait_until(lambda: store._numbers["presentity"]._ahead > 0)
        numbers.append(store.new_id("presentity"))
    assert len(set(numbers)) == 100
    store.close()


def test_a_locked_database_uses_up_the_block_ahead_before_anything_is_refused(
    path: str, caller: CallerThread, small_blocks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "BUSY_TIMEOUT_MS", 1)
    store = SqliteStore(path, call_soon=caller.call_soon, segment_bytes=SMALL)
    store.new_id("presentity")
    wait_until(lambda: store._numbers["presentity"]._ahead > 0)
    script = apsw.Connection(path)
    script.execute("BEGIN IMMEDIATE")
    for _ in range(19):
        store.new_id("presentity")
    with pytest.raises(StoreError, match="no numbers"):
        store.new_id("presentity")
    script.execute("ROLLBACK")
    script.close()
    store.close()


def test_a_block_is_used_to_its_end() -> None:
    asked: list[str] = []
    numbers = Numbers("presentity", 3, lambda which: asked.append(which.table))
    numbers.reserved(10)
    assert [numbers.take() for _ in range(3)] == [10, 11, 12]
    numbers.reserved(100)
    assert numbers.take() == 100
    assert asked == ["presentity"] * 2
