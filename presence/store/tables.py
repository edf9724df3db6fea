"""Changes of the tables: what a fold brings, what is written at once, and numbers reserved for rows to come."""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from itertools import chain
from typing import NamedTuple

import apsw

from presence.errors import StoreError
from presence.store.base import Done, Value
from presence.store.opening import BUSY_TIMEOUT_MS
from presence.store.queries import Query
from presence.store.submission import storable
from presence.store.window import Batch, Gone

BLOCK = 1_000_000
"""Row numbers reserved at once; what is left of them at a stop is never used."""

AT_ONCE = 50
"""Rows changed by one statement. Between two statements the thread has to wait for its turn with the interpreter,
for half a millisecond while the loop is busy: one row each time would be 2,000 a second."""

FOLD_TIMEOUT_MS = 200
"""How long a fold waits for a script's write lock before it lets others pass and tries again."""

_FAULTS_OF_ROWS = (
    *(apsw.ConstraintError, apsw.MismatchError, apsw.TooBigError, apsw.RangeError, apsw.BindingsError),
    *(TypeError, ValueError, OverflowError),
)
"""What is wrong with one change, whatever else is changed; UnicodeEncodeError is a ValueError."""

OTHERS_WRITE = "xcap_"
"""So begin the queries about what other servers write too."""

MARK = "journal"
"""Under this name the table `settings` says how far the journal is folded."""


class Direct(NamedTuple):
    """One atomic change that goes to the tables at once, and whom to tell."""

    writes: tuple[tuple[Query, tuple[Value, ...]], ...]
    done: Done

    @property
    def shared(self) -> bool:
        """Whether it is made in the file even when nothing else is kept there."""
        return any(query.name.startswith(OTHERS_WRITE) for query, _ in self.writes)


def parse_mark(rows: list[tuple[Value, ...]]) -> tuple[int, int]:
    """Read the mark as it was asked for: the journal's identity and a number, 0 when there is none."""
    for (value,) in rows:
        identity, _, number = value.partition(b" ") if isinstance(value, bytes) else (b"0", b"", b"0")
        return int(identity, 16), int(number)
    return 0, 0


class Tables:
    """The one connection that writes; used by one thread at a time."""

    def __init__(self, connection: apsw.Connection, queries: Mapping[str, Query], *, full: bool) -> None:
        self.connection = connection
        self._queries = queries
        self._for_many = {query.name: query.for_many(AT_ONCE) for query in queries.values() if query.journalled}
        self._full = full
        self._is_full: bool | None = None
        self.lost: list[str] = []
        """What was acknowledged and cannot be stored, in words; a fault of ours."""

    # ---- folds ----

    def fold(
        self,
        steps: Iterable[list[Batch]],
        mark: tuple[int, int] | None,
        *,
        last: bool,
        timeout_ms: int = FOLD_TIMEOUT_MS,
    ) -> list[Gone]:
        """Commit one slice of a fold, with its `mark` (journal and number) when it is the last.

        Only that one has to reach the disk: the journal still holds what comes before it. Returns the rows that
        were not there. Raises apsw.Error and changes nothing when the tables cannot be written now.
        """
        gone: list[Gone] = []
        self._begin(full=self._full and last, timeout_ms=timeout_ms)
        try:
            for batches in steps:
                for batch in batches:
                    gone += self._change(batch)
            if mark is not None:
                self._write_mark(*mark)
            self.connection.execute("COMMIT")
        except BaseException:
            self._roll_back()
            raise
        return gone

    def _change(self, batch: Batch) -> list[Gone]:
        query, rows = batch
        whole = len(rows) - len(rows) % AT_ONCE
        gone: list[Gone] = []
        for at in range(0, whole, AT_ONCE):
            gone += self._change_many(query, rows[at : at + AT_ONCE])
        for params in rows[whole:]:
            gone += self._change_alone(query, params)
        return gone

    def _change_many(self, query: Query, rows: list[tuple[Value, ...]]) -> list[Gone]:
        fits = set(map(len, rows)) == {len(query.parameters)}
        try:
            if not fits:
                raise ValueError("one of them has not its parameters")
            self.connection.execute(self._for_many[query.name], list(chain.from_iterable(rows)))
        except _FAULTS_OF_ROWS:
            # To make a change again changes nothing.
            return [found for params in rows for found in self._change_alone(query, params)]
        if not query.needs_row or self.connection.changes() == len(rows):
            return []
        there = f"SELECT 1 FROM {query.table} WHERE id = ?"
        return [
            (query.name, params[0])
            for params in rows
            if isinstance(params[0], int) and not list(self.connection.execute(there, (params[0],)))
        ]

    def _change_alone(self, query: Query, params: tuple[Value, ...]) -> list[Gone]:
        try:
            try:
                self.connection.execute(query.sql, params)
            except UnicodeEncodeError:
                self.connection.execute(query.sql, storable(params))
        except _FAULTS_OF_ROWS as fault:
            self.lost.append(f"{query.name}: {fault}")
        else:
            if not query.needs_row or self.connection.changes():
                return []
        return [(query.name, params[0])] if isinstance(params[0], int) else []

    # ---- the mark ----

    def read_mark(self) -> tuple[int, int]:
        """Return the journal's identity and the number up to which it is in the tables; 0 when there is none."""
        sql = self._queries["settings_get"].sql
        return parse_mark(list(self.connection.execute(sql, (MARK,))))

    def _write_mark(self, identity: int, number: int) -> None:
        """Note in the transaction at hand how far the journal is folded."""
        sql = self._queries["settings_put"].sql
        self.connection.execute(sql, (MARK, b"%016x %d" % (identity, number)))

    # ---- at once ----

    def commit(self, group: list[Direct]) -> list[StoreError | None]:
        """Commit a group, or of its halves what can be committed; return what became of each."""
        try:
            self._begin(full=self._full, timeout_ms=BUSY_TIMEOUT_MS)
        except apsw.Error as refused:  # locked, read-only: whose change it is makes no difference
            error = StoreError(f"the database cannot be written: {refused}")
            return [error] * len(group)
        try:
            for writes, _ in group:
                for query, params in writes:
                    try:
                        self.connection.execute(query.sql, params)
                    except UnicodeEncodeError:
                        self.connection.execute(query.sql, storable(params))
            self.connection.execute("COMMIT")
        except Exception as refused:
            self._roll_back()
            if len(group) > 1:
                middle = len(group) // 2
                return self.commit(group[:middle]) + self.commit(group[middle:])
            return [StoreError(f"the database refused the change: {refused}")]
        return [None] * len(group)

    # ---- numbers ----

    def reserve(self, tables: Iterable[str]) -> dict[str, int]:
        """Reserve the next BLOCK numbers of each table and return the first of them; raises StoreError."""
        try:
            self._begin(full=self._full, timeout_ms=BUSY_TIMEOUT_MS)
            firsts = {table: self._reserve(table) for table in tables}
            self.connection.execute("COMMIT")
        except apsw.Error as refused:
            self._roll_back()
            raise StoreError(f"no row numbers can be reserved: {refused}") from refused
        return firsts

    def _reserve(self, table: str) -> int:
        self.connection.execute(
            "INSERT INTO sqlite_sequence (name, seq) SELECT ?1, 0 "
            "WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = ?1)",
            (table,),
        )
        highest = f"max(seq, (SELECT coalesce(max(id), 0) FROM {table}))"
        sql = f"UPDATE sqlite_sequence SET seq = {highest} + {BLOCK} WHERE name = ? RETURNING seq"
        ((last,),) = list(self.connection.execute(sql, (table,)))
        return int(str(last)) - BLOCK + 1

    # ---- inside ----

    def _begin(self, *, full: bool, timeout_ms: int) -> None:
        if full != self._is_full:
            self.connection.pragma("synchronous", "FULL" if full else "NORMAL")
            self._is_full = full
        self.connection.set_busy_timeout(timeout_ms)
        self.connection.execute("BEGIN IMMEDIATE")

    def _roll_back(self) -> None:
        if self.connection.in_transaction:
            with suppress(apsw.Error):
                self.connection.execute("ROLLBACK")
