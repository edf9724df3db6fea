"""The database: changes are acknowledged from a journal of ours and folded into the tables of a SQLite file.

The tables are what everybody else sees; they cost a page of data and one of an index for each random row,
twice. So an acknowledgement waits for the journal alone (`journal`), a thread brings what is journalled into
the tables, several changes of a row at once (`fold`), and another moves SQLite's own log (`checkpoint`).
"""

import os
import secrets
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from typing import Literal

import apsw

from presence.errors import StoreError
from presence.store.base import Done, Missing, Value
from presence.store.checkpoint import Checkpointer
from presence.store.fold import FOLD_AFTER_S, FOLD_ROWS, Folder
from presence.store.journal import SEGMENT_BYTES, Journal, Recovery, segment_paths
from presence.store.lag import Lag
from presence.store.numbers import Numbers
from presence.store.opening import BUSY_TIMEOUT_MS, MEMORY, adopt, claim, connect, speaking_of
from presence.store.queries import OTHERS_DECIDE, load_queries
from presence.store.submission import Finished, Tick, decode, encode, refused, sift, storable
from presence.store.tables import BLOCK, OTHERS_WRITE, Direct, Tables
from presence.store.window import Gone, Window
from presence.store.writer import Writer

Durability = Literal["commit", "os", "periodic", "memory"]

QUEUE_LIMIT = 100_000
NUMBERED = ("presentity", "active_watchers", "shared_watchers")


class SqliteStore:
    """A `Store` in one SQLite file and a journal beside it.

    With `call_soon` (such as `loop.call_soon_threadsafe`) threads write, and `done` callbacks run in the caller's
    thread through it; without, `flush` writes to the tables and calls them before it returns. All methods belong
    to the caller's thread. `on_commit(seconds, rows)` is told about each group, `on_missing` about rows a fold
    did not find, both in the caller's thread; `on_trouble(text)`, in any, about folds that have to wait.
    """

    def __init__(
        self,
        path: str,
        *,
        durability: Durability = "commit",
        call_soon: Callable[[Callable[[], None]], object] | None = None,
        on_commit: Callable[[float, int], None] | None = None,
        on_missing: Missing | None = None,
        on_trouble: Callable[[str], None] | None = None,
        queue_limit: int = QUEUE_LIMIT,
        fold_after_s: float = FOLD_AFTER_S,
        segment_bytes: int = SEGMENT_BYTES,
        overload_s: float = 0.0,
    ) -> None:
        if path == MEMORY and call_soon is not None and durability != "memory":
            raise StoreError("a database in memory has one connection and cannot have a writer thread")
        self._queries = load_queries()
        self._journalled = frozenset(name for name, query in self._queries.items() if query.journalled)
        self._durability = durability
        self._call_soon, self._on_commit, self._queue_limit = call_soon, on_commit, queue_limit
        self._on_missing, self._on_trouble = on_missing or _ignore, on_trouble
        self._fold_after_s, self._segment_bytes = fold_after_s, segment_bytes
        self._tick, self._direct = Tick([], []), list[Direct]()
        self.lag = Lag(overload_s, time.monotonic)
        self._overload: list[tuple[int, Done]] = []
        self._outstanding = 0
        self._finished: deque[Finished] = deque()
        self._delivering = self._closing = self._closed = self._stuck = False
        self._writer: Writer | None = None
        self._folder: Folder | None = None
        self._journal: Journal | None = None
        self._window = Window(self._queries)
        self._numbers = {table: Numbers(table, BLOCK, self._reserve) for table in NUMBERED}
        with ExitStack() as opened, speaking_of(path):
            self._open(path, opened)
            self._opened = opened.pop_all()

    # ---- for callers ----

    def new_id(self, table: str) -> int:
        """Return the number of a row to be inserted (see `Store.new_id`)."""
        return self._numbers[table].take()

    def submit(self, writes: Sequence[tuple[str, tuple[Value, ...]]], done: Done) -> None:
        """Queue one atomic change (see `Store.submit`).

        When more than `queue_limit` writes are outstanding, one has waited for `overload_s` (0: for ever), or too
        much is not in the tables yet, `done` gets a `StoreError` at the next `flush`, ahead of what is queued:
        shedding load must not wait for the load.
        """
        if self._closed:
            raise StoreError("the database is closed")
        count = len(writes)
        known = self._journalled
        # Plain pairs: the journal takes them as they are.
        journalled = [(name, params) for name, params in writes if name in known]
        direct = None if len(journalled) == count > 0 else self._read_direct(writes, done)
        self._outstanding += count
        full = self._folder is not None and self._folder.full
        if self._outstanding > self._queue_limit or full or self.lag.over:
            self._overload.append((count, done))
        elif direct is not None:
            self._direct.append(direct)
        else:
            tick_writes, dones = self._tick
            tick_writes += journalled
            dones.append((count, done))

    def flush(self) -> None:
        """Hand what was submitted since the last call to the writer (the end of a tick)."""
        at_once = False
        self.lag.look()
        if self._tick.dones:
            tick, self._tick = self._tick, Tick([], [])
            if self._writer is not None:
                self.lag.ride(tick.dones)
                self._writer.put(tick)
            else:
                self._finished.append(self._acknowledge(tick))
                at_once = True
        if self._direct:
            direct, self._direct = self._direct, []
            if self._folder is not None:
                self._folder.write(direct)
            else:
                self._write_direct(direct)
                at_once = True
        if self._overload:
            overload, self._overload = self._overload, []
            self._finished.append(refused(overload, StoreError("the database is overloaded")))
            at_once = True
        if at_once:
            self._deliver()

    def read(self, query: str, params: tuple[Value, ...] = ()) -> Iterator[tuple[Value, ...]]:
        """Run a reading query of `sql/queries`; sees what is in the tables."""
        if query not in self._queries:
            raise StoreError(f"there is no query named '{query}'")
        reader = self._others if query in OTHERS_DECIDE or query.startswith(OTHERS_WRITE) else self._reader
        sql = self._queries[query].sql
        try:
            try:
                yield from reader.cursor().execute(sql, params)
            except UnicodeEncodeError:
                yield from reader.cursor().execute(sql, storable(params))
        except apsw.Error as error:
            raise StoreError(f"cannot read {query}: {error}") from error

    @property
    def unfolded(self) -> int:
        """How many acknowledged changes are not in the tables yet."""
        return self._folder.unfolded if self._folder is not None else 0

    @property
    def progress(self) -> tuple[int, int]:
        """See `Store.progress`."""
        return self._folder.progress if self._folder is not None else (0, 0)

    def count_folds(self) -> dict[str, int]:
        """Return how many folds were `done` and how many `failed` and were tried again."""
        if self._folder is None:
            return {}
        return {"done": self._folder.folds, "failed": self._folder.failures}

    def close(self) -> None:
        """Write what is queued, fold it, call every `done`, release the file; a second call does nothing.

        What those callbacks submit is written too; what is submitted by the callbacks of that is refused. What
        cannot be folded, because a script holds the lock, stays in the journal for the next start.
        """
        if self._closing:
            return
        self._closing = True
        with self._opened:
            try:
                self.flush()
            finally:
                if self._writer is not None:
                    self._writer.stop()
                if self._folder is not None:
                    self._stuck = not self._folder.stop()
                    if self._stuck:
                        fate = "wait in the journal for the next start" if self._journal else "are lost"
                        self._trouble(f"the tables cannot be written: {self.unfolded} acknowledged changes {fate}")
                self._writer = self._folder = self._call_soon = None  # the rest is written here and now
            try:
                self._deliver()
            finally:
                self._closed = True
                self.flush()
                if self._journal is not None:
                    self._journal.close(remove=not self._stuck)

    # ---- opening ----

    def _open(self, path: str, opened: ExitStack) -> None:
        full = self._durability in ("commit", "periodic")
        if path != MEMORY:
            opened.callback(os.close, claim(path))
        writer = adopt(path, full=full)
        opened.callback(writer.close)
        if path != MEMORY:
            # Whatever this start promises, what an earlier one has promised is kept.
            self._tables = Tables(writer, self._queries, full=True)
            self._recover(path)
        self._tables = self._shared = Tables(writer, self._queries, full=full)
        self._connection = writer
        self._reader = self._others = writer
        if path != MEMORY:
            self._reader = self._others = connect(path, full=full, one_thread=True)
            opened.callback(self._reader.close)
            self._reader.pragma("query_only", True)
        if self._durability == "memory":
            self._reader = adopt(MEMORY, full=False)
            opened.callback(self._reader.close)
            self._tables = Tables(self._reader, self._queries, full=False)
        for table, first in self._tables.reserve(NUMBERED).items():
            self._numbers[table].reserved(first)
        if self._durability != "memory" and self._call_soon is not None:
            self._start(path, opened, full=full)

    def _recover(self, path: str) -> None:
        """Bring into the tables what an ended server left in its journal."""
        identity, mark = self._tables.read_mark()
        if not segment_paths(path):
            return
        recovery = Recovery(path, identity, mark)
        for record in recovery:
            try:
                self._window.absorb(decode(record))
            except (KeyError, ValueError) as error:
                raise StoreError(f"{path}: the journal holds what this version cannot read: {error}") from error
            if len(self._window) >= FOLD_ROWS:
                self._fold_here((identity, recovery.last))
        self._fold_here((identity, recovery.last))
        if recovery.lost:
            self._trouble(f"{path}: the journal has a gap before record {recovery.lost}; what follows is left out")
        # From here on the old segments are of no journal at all.
        self._tables.fold([], (0, 0), last=True, timeout_ms=BUSY_TIMEOUT_MS)
        for segment in segment_paths(path):
            with suppress(OSError):
                os.unlink(segment)

    def _start(self, path: str, opened: ExitStack, *, full: bool) -> None:
        """Start the threads, each with what it owns."""
        checkpointer = Checkpointer(connect(path, full=full), self._tables.connection)
        opened.callback(checkpointer.stop)
        identity = secrets.randbits(63)
        self._tables.fold([], (identity, 0), last=True, timeout_ms=BUSY_TIMEOUT_MS)
        if self._durability != "periodic":
            try:
                self._journal = Journal(path, identity, sync=full, segment_bytes=self._segment_bytes)
            except OSError as error:
                raise StoreError(f"cannot open the journal of {path}: {error.strerror}") from error
        self._folder = Folder(
            self._tables,
            self._window,
            checkpointer.gate,
            identity=identity,
            journal=self._journal,
            after_s=self._fold_after_s,
            written=self._written,
            folded=lambda gone: self._finish(Finished([], gone=tuple(gone))),
            troubled=self._trouble,
        )
        if self._durability == "commit":
            self._writer = Writer(lambda ticks: self._finish(self._append(ticks)))

    def _reserve(self, numbers: Numbers) -> None:
        if self._folder is not None:
            self._folder.reserve(numbers)
        else:
            with suppress(StoreError):  # there is a block left, and the next attempt tells
                numbers.reserved(self._tables.reserve([numbers.table])[numbers.table])

    # ---- writing ----

    def _read_direct(self, writes: Sequence[tuple[str, tuple[Value, ...]]], done: Done) -> Direct:
        if any(name in self._journalled for name, _ in writes):
            raise StoreError("a submission is either journalled or direct")
        try:
            return Direct(tuple((self._queries[name], params) for name, params in writes), done)
        except KeyError as error:
            raise StoreError(f"there is no query named {error}") from None

    def _acknowledge(self, tick: Tick) -> Finished:
        """Settle journalled changes in the caller's thread, as the durability has it."""
        if self._durability == "memory":
            return Finished(tick.dones, rows=len(tick.writes))
        if self._folder is None:
            return self._store(tick)
        if self._journal is not None:
            return self._append([tick])
        self._folder.add(0, tick.writes, 1000 * len(tick.writes))
        return Finished(tick.dones, rows=len(tick.writes))

    def _append(self, ticks: list[Tick]) -> Finished:
        """Write a group into the journal, in whichever thread."""
        assert self._journal is not None
        assert self._folder is not None
        started = time.perf_counter()
        writes, dones = ticks[0]
        if len(ticks) > 1:
            writes = [write for tick in ticks for write in tick.writes]
            dones = [done for tick in ticks for done in tick.dones]
        errors: list[StoreError | None] | None = None
        try:
            record = encode(writes)
        except ValueError:
            writes, errors = sift(Tick(writes, dones))
            record = encode(writes)
        try:
            number = self._journal.append(record) if writes else 0
        except OSError as error:
            return refused(dones, StoreError(f"the journal cannot be written: {error.strerror}"))
        if writes:
            self._folder.add(number, writes, len(record))
        return Finished(dones, errors, len(writes), time.perf_counter() - started)

    def _store(self, tick: Tick) -> Finished:
        """Bring journalled changes into the tables without a journal."""
        started = time.perf_counter()
        if self._stuck:
            return refused(tick.dones, StoreError("the database is locked and closing"))
        try:
            self._window.absorb(tick.writes)
            gone = self._fold_here(None)
        except apsw.Error as error:
            self._window = Window(self._queries)
            return refused(tick.dones, StoreError(f"the database cannot be written: {error}"))
        for text in self._tables.lost:
            self._trouble(f"an acknowledged change cannot be stored: {text}")
        self._tables.lost.clear()
        seconds = time.perf_counter() - started
        return Finished(tick.dones, rows=len(tick.writes), seconds=seconds, gone=tuple(gone))

    def _fold_here(self, mark: tuple[int, int] | None) -> list[Gone]:
        batches = self._window.take(1 << 62)
        found = self._tables.fold([batches], mark, last=True, timeout_ms=BUSY_TIMEOUT_MS)
        return list({(name.rpartition("_")[0], number): (name, number) for name, number in reversed(found)}.values())

    def _write_direct(self, group: list[Direct]) -> None:
        for tables, shared in ((self._tables, False), (self._shared, True)):
            started = time.perf_counter()
            if part := [direct for direct in group if direct.shared == shared]:
                self._written(part, tables.commit(part), time.perf_counter() - started)

    def _written(self, group: list[Direct], errors: list[StoreError | None], seconds: float) -> None:
        rows = sum(len(direct.writes) for direct, error in zip(group, errors, strict=True) if error is None)
        self._finish(Finished([(len(direct.writes), direct.done) for direct in group], errors, rows, seconds))

    def _trouble(self, text: str) -> None:
        if self._on_trouble is not None:
            # The thread that writes goes on whether its words are heard or not.
            with suppress(Exception):
                self._on_trouble(text)

    # ---- answers ----

    def _finish(self, finished: Finished) -> None:
        """Have a group's callbacks called in the caller's thread."""
        self._finished.append(finished)
        if self._call_soon is not None:
            with suppress(RuntimeError):  # the loop is gone; `close` delivers
                self._call_soon(self._deliver)

    def _deliver(self) -> None:
        """Call the `done` of every finished group, in order; one that raises does not silence the others."""
        if self._delivering:  # a callback came back here by `flush`: its turn comes
            return
        self._delivering = True
        failure: Exception | None = None
        while self._finished:
            dones, errors, rows, seconds, gone = self._finished.popleft()
            if self._on_commit is not None and rows:
                self._on_commit(seconds, rows)
            for index, (count, done) in enumerate(dones):
                self._outstanding -= count
                try:
                    done(None if errors is None else errors[index])
                except Exception as raised:
                    failure = failure or raised
            for query, number in gone if not self._closing else ():
                try:
                    self._on_missing(query, number)
                except Exception as raised:
                    failure = failure or raised
        self._delivering = False
        if failure is not None:
            raise failure


def _ignore(_query: str, _row: int) -> None:
    """Nobody wants to hear of missing rows."""
