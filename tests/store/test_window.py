"""However changes are coalesced, folded in slices and interrupted: the tables end as if each had its turn."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from presence.store import tables
from presence.store.base import Value
from presence.store.journal import Journal
from presence.store.opening import adopt
from presence.store.queries import load_migrations, load_queries
from presence.store.sqlite import SqliteStore
from presence.store.submission import decode, encode
from presence.store.tables import Tables
from presence.store.window import Window

from .conftest import SMALL, Write, ask_beside, modify, publish, refresh, remove, subscribe

QUERIES = load_queries()
IDENTITY = 5
TABLES = ("presentity", "active_watchers", "shared_watchers", "watchers")
ROWS = 6

Rows = dict[str, list[tuple[Value, ...]]]


class Model:
    """Each change made in its turn."""

    def __init__(self) -> None:
        self.connection = apsw.Connection(":memory:")
        for migration in load_migrations():
            self.connection.execute(migration.sql)

    def apply(self, write: Write) -> None:
        self.connection.execute(QUERIES[write.query].sql, write.params)

    def rows(self) -> Rows:
        return {table: list(self.connection.execute(select(table))) for table in TABLES}


def select(table: str) -> str:
    columns = "presentity_uri, watcher_username, status, reason, inserted_time" if table == "watchers" else "*"
    return f"SELECT {columns} FROM {table} ORDER BY 1, 2"


def rows_beside(path: str) -> Rows:
    return {table: ask_beside(path, select(table)) for table in TABLES}


class Life:
    """What a client of the store may do: a row is inserted once, then changed, then removed."""

    def __init__(self) -> None:
        self.number = 0
        self.living: dict[tuple[str, int], int] = {}

    def write(self, table: str, slot: int, kind: int) -> Write:
        self.number += 1
        if table == "watchers":
            asked = ("sip:alice@example.com", f"user{slot}", "example.com", "presence")
            return Write("watchers_judge", (*asked, kind, "", self.number, f"{kind} ", kind % 2))
        first = self.living.get((table, slot))
        if first is None:
            self.living[table, slot] = self.number
            tag = f"{slot}.{self.number}"
            return publish(tag) if table == "presentity" else subscribe(self.number, tag, table=table)
        if kind == 0:
            del self.living[table, slot]
        if table == "presentity":
            etag, new = f"{slot}.{first}", f"{slot}.{first}.{self.number}"
            return (remove(etag), modify(etag, new, b"%d" % self.number), refresh(etag, new))[min(kind, 2)]
        if kind == 0:
            return Write(f"{table}_delete", (first,))
        cseq = (self.number * 7919) % 1000
        if kind == 1:
            return Write(f"{table}_reserve", (first, cseq, 0, self.number))
        if kind == 3:
            return Write(f"{table}_judge", (first, self.number % 3, "polite-block"))
        if kind == 2 and table == "active_watchers":
            return Write("active_watchers_extend", (first, self.number, self.number, cseq, self.number))
        return Write(f"{table}_refresh", (first, self.number, self.number, cseq, "c", 1, "", 0, self.number, "t"))


CHANGES = st.tuples(st.sampled_from(TABLES), st.integers(0, ROWS), st.integers(0, 4))
STEPS = st.one_of(CHANGES, CHANGES, CHANGES, CHANGES, st.integers(1, 9), st.just("crash"))


class Server:
    """The parts of the store without its threads, so that a test says where they are interrupted."""

    def __init__(self, path: str) -> None:
        self.path = path
        SqliteStore(path).close()  # brings in what an earlier one left
        self.connection = adopt(path, full=False)
        self.tables = Tables(self.connection, QUERIES, full=False)
        self.tables.fold([], (IDENTITY, 0), last=True)
        self.journal = Journal(path, IDENTITY, sync=False, segment_bytes=1 << 13)
        self.window = Window(QUERIES)
        self.pending: list[bytes] = []
        self.number = 0

    def acknowledge(self, writes: list[Write]) -> None:
        entry = encode([(write.query, write.params) for write in writes])
        self.number = self.journal.append(entry)
        self.pending.append(entry)

    def fold(self, slices: int) -> None:
        """Fold for so many slices, three rows each: what is left waits, together with what comes later."""
        for entry in self.pending:
            self.window.absorb(decode(entry))
        self.pending.clear()
        for _ in range(slices):
            last = len(self.window) <= 3
            batches = self.window.take(3)
            self.tables.fold([batches], (IDENTITY, self.number) if last else None, last=last)
            if last:
                self.journal.release(self.number)
                return

    def crash(self) -> None:
        self.journal.close(remove=False)
        self.connection.close()


@settings(deadline=None, max_examples=80)
@given(st.lists(STEPS, max_size=80))
def test_the_tables_end_as_if_each_change_had_its_turn(steps: list[object]) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(tables, "AT_ONCE", 2)
        path = str(Path(folder) / "presence.db")
        model, life, server = Model(), Life(), Server(path)
        for step in steps:
            if step == "crash":
                server.crash()
                server = Server(path)
                assert rows_beside(path) == model.rows()
            elif isinstance(step, int):
                server.fold(step)
            else:
                assert isinstance(step, tuple)
                write = life.write(*step)
                model.apply(write)
                server.acknowledge([write])
        server.crash()
        SqliteStore(path).close()
        assert rows_beside(path) == model.rows()


@pytest.fixture
def window() -> Iterator[Window]:
    return Window(QUERIES)


def taken(window: Window) -> list[tuple[str, list[Value]]]:
    return [(batch.query.name, [params[0] for params in batch.rows]) for batch in window.take(1000)]


def test_only_the_last_of_what_is_superseded_is_done(window: Window) -> None:
    for number in range(50):
        window.absorb([modify("a", f"m{number}"), refresh("a", f"r{number}")])
    ((_, modified), (_, refreshed)) = window.take(9)
    assert (modified[0][1], refreshed[0][1]) == ("m49", "r49")
    window.absorb([refresh("a", "r50"), modify("a", "m50")])
    ((query, rows),) = window.take(9)
    assert (query.name, rows[0][1]) == ("presentity_modify", "m50")


def test_what_was_inserted_and_removed_is_only_removed(window: Window) -> None:
    window.absorb([publish("a"), modify("a", "b"), remove("a")])
    assert [name for name, _ in taken(window)] == ["presentity_delete"]


def test_what_was_reserved_is_never_taken_back(window: Window) -> None:
    window.absorb([Write("active_watchers_reserve", (7, 900, 0, 1)), Write("active_watchers_reserve", (7, 500, 0, 1))])
    window.absorb([Write("active_watchers_refresh", (7, 1, 1, 600, "c", 1, "", 0, 1, "t"))])
    ((query, rows),) = window.take(9)
    assert (query.name, rows[0][3]) == ("active_watchers_refresh", 900)


def test_near_rows_are_taken_together_and_removals_come_first(window: Window) -> None:
    window.absorb([subscribe(row, str(row)) for row in (9, 3, 7, 1)])
    window.absorb([Write("active_watchers_delete", (row,)) for row in (8, 2)])
    assert len(window) == 6
    assert [[(batch.query.name, [row[0] for row in batch.rows]) for batch in window.take(3)] for _ in range(3)] == [
        [("active_watchers_delete", [2, 8]), ("active_watchers_insert", [1])],
        [("active_watchers_insert", [3, 7, 9])],
        [],
    ]


def test_what_was_not_done_can_be_put_back(window: Window) -> None:
    window.absorb([subscribe(row, str(row)) for row in range(10)])
    first = window.take(4)
    window.put_back(first)
    assert taken(window) == [("active_watchers_insert", list(range(10)))]


def test_the_server_under_test_is_the_stores(path: str) -> None:
    server = Server(path)
    server.acknowledge([publish("a")])
    server.crash()
    store = SqliteStore(path, segment_bytes=SMALL)
    assert [row[4] for row in store.read("presentity_load")] == ["a"]
    store.close()
