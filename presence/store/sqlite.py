"""The database on SQLite: one writer with group commit, checkpoints apart, readers of their own.

A change is acknowledged after the commit that holds it. All changes of one group share one commit and so
one fsync; when a group is refused it is halved until the change at fault stands alone, so that one bad
change does not refuse its neighbours.
"""

import fcntl
import os
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Literal

import apsw

from presence.errors import RowMissing, StoreError
from presence.store.base import Done, Value, Write
from presence.store.queries import load_migrations, load_queries
from presence.store.submission import Finished, Outcome, Submission, cut_groups, refuse, storable

Durability = Literal["commit", "os"]

MEMORY = ":memory:"
APPLICATION_ID = 0x50524553  # "PRES"
BUSY_TIMEOUT_MS = 5000  # how long an operator's script may hold the write lock before changes are refused
QUEUE_LIMIT = 100_000
CHECKPOINT_PAGES = 4000  # 16 MB of log: a page changed often is moved once; half of it costs 4 us a row more
TRUNCATE_PAGES = 8000  # cutting the log here holds commits up for 50 ms, at twice that for 100 ms
TRUNCATE_TIMEOUT_MS = 100  # a script's long read must not hold up the writer for longer
CACHE_KIB = 65_536


class SqliteStore:
    """A `Store` in one SQLite file.

    With `call_soon` (such as `loop.call_soon_threadsafe`) a thread writes, and `done` callbacks run in the
    caller's thread through it; without, `flush` writes and calls them before it returns. All methods belong
    to the caller's thread. `durability` "commit" survives a loss of power, "os" only the end of the process.
    `on_commit(seconds, rows)` is told about each group, in the caller's thread.
    """

    def __init__(
        self,
        path: str,
        *,
        durability: Durability = "commit",
        call_soon: Callable[[Callable[[], None]], object] | None = None,
        on_commit: Callable[[float, int], None] | None = None,
        queue_limit: int = QUEUE_LIMIT,
    ) -> None:
        if path == MEMORY and call_soon is not None:
            raise StoreError("a database in memory has one connection and cannot have a writer thread")
        self._queries = load_queries()
        self._call_soon, self._on_commit, self._queue_limit = call_soon, on_commit, queue_limit
        self._tick: list[Submission] = []
        self._overload: list[Submission] = []
        self._outstanding = 0
        self._finished: deque[Finished] = deque()
        self._due: deque[Outcome] = deque()
        self._closing = self._closed = False
        self._writer: _Writer | None = None
        self._checkpointer: _Checkpointer | None = None
        with ExitStack() as opened, _speaking_of(path):
            if path != MEMORY:
                opened.callback(os.close, _claim(path))
            self._connection = self._reader = _adopt(path, durability)
            opened.callback(self._connection.close)
            if call_soon is not None:
                self._checkpointer = _Checkpointer(_connect(path, durability), self._connection)
                opened.callback(self._checkpointer.stop)
            if path != MEMORY:
                self._reader = _connect(path, durability)
                opened.callback(self._reader.close)
                self._reader.pragma("query_only", True)
            if self._checkpointer is not None:
                self._writer = _Writer(self._write, self._checkpointer.gate)
            self._opened = opened.pop_all()

    def submit(self, writes: Sequence[Write], done: Done) -> None:
        """Queue one atomic change (see `Store.submit`).

        When more than `queue_limit` writes are outstanding `done` gets a `StoreError` at the next `flush`,
        ahead of what is queued: shedding load must not wait for the load.
        """
        if self._closed:
            raise StoreError("the database is closed")
        try:
            submission = Submission(tuple((self._queries[name], params) for name, params in writes), done)
        except KeyError as error:
            raise StoreError(f"there is no query named {error}") from None
        self._outstanding += len(writes)
        (self._overload if self._outstanding > self._queue_limit else self._tick).append(submission)

    def flush(self) -> None:
        """Hand what was submitted since the last call to the writer (the end of a tick)."""
        tick, self._tick = self._tick, []
        overload, self._overload = self._overload, []
        if self._writer is not None:
            if tick:
                self._writer.put(tick)
        else:
            for group in cut_groups(tick):
                self._write(group)
        if overload:
            outcomes = refuse(overload, StoreError("the database is overloaded"))
            self._finished.append(Finished(outcomes, 0, 0.0))
        if overload or self._writer is None:
            self._deliver()

    def read(self, query: str, params: tuple[Value, ...] = ()) -> Iterator[tuple[Value, ...]]:
        """Run a reading query of `sql/queries` on a connection of its own; sees committed changes only."""
        if query not in self._queries:
            raise StoreError(f"there is no query named '{query}'")
        try:
            yield from _execute(self._reader.cursor(), self._queries[query].sql, params)
        except apsw.Error as error:
            raise StoreError(f"cannot read {query}: {error}") from error

    def close(self) -> None:
        """Write what is queued, call every `done`, release the file; a second call does nothing.

        What those callbacks submit is written too; what is submitted by the callbacks of that is refused.
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
                self._writer = self._call_soon = None  # the rest is written here and now
            try:
                self._deliver()
            finally:
                self._closed = True
                self.flush()

    def _write(self, group: list[Submission]) -> None:
        """Commit a group; with a writer this runs in its thread."""
        started = time.perf_counter()
        outcomes = _apply(self._connection, group)
        rows = sum(len(outcome.submission.writes) for outcome in outcomes if outcome.error is None)
        self._finished.append(Finished(outcomes, rows, time.perf_counter() - started))
        if self._call_soon is not None:
            with suppress(RuntimeError):  # the loop is gone; `close` delivers
                self._call_soon(self._deliver)

    def _deliver(self) -> None:
        """Call the `done` of every finished group, in order; one that raises does not silence the others."""
        failure: Exception | None = None
        while self._due or self._finished:
            if not self._due:
                outcomes, rows, seconds = self._finished.popleft()
                if self._on_commit is not None and rows:
                    self._on_commit(seconds, rows)
                self._due.extend(outcomes)
                continue
            submission, error = self._due.popleft()  # one by one: a callback may come back here by `flush`
            self._outstanding -= len(submission.writes)
            try:
                submission.done(error)
            except Exception as raised:
                failure = failure or raised
        if failure is not None:
            raise failure


class _Writer:
    """The thread that commits: each turn takes everything that is queued."""

    def __init__(self, write: Callable[[list[Submission]], None], gate: threading.Lock) -> None:
        self._write, self._gate = write, gate
        self._ticks: queue.SimpleQueue[list[Submission] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="presence-writer", daemon=True)
        self._thread.start()

    def put(self, tick: list[Submission]) -> None:
        self._ticks.put(tick)

    def stop(self) -> None:
        """Return when everything that was put is written."""
        self._ticks.put(None)
        self._thread.join()

    def _run(self) -> None:
        going_on = True
        while going_on:
            ticks = [self._ticks.get()]
            while not self._ticks.empty():
                ticks.append(self._ticks.get())
            going_on = None not in ticks
            for group in cut_groups([submission for tick in ticks if tick for submission in tick]):
                with self._gate:
                    self._write(group)


class _Checkpointer:
    """The thread that moves the write-ahead log into the database, so that no commit waits for it."""

    def __init__(self, connection: apsw.Connection, writer: apsw.Connection) -> None:
        self.gate = threading.Lock()
        """Held by whoever writes; the log is cut short while nobody does."""
        self._connection = connection
        connection.set_busy_timeout(TRUNCATE_TIMEOUT_MS)
        self._pages = 0
        self._moved = 0
        self._truncate_at = TRUNCATE_PAGES
        self._stopping = False
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._run, name="presence-checkpoint", daemon=True)
        writer.set_wal_hook(self._on_commit)  # replaces the automatic checkpoint inside the commit
        self._thread.start()

    def stop(self) -> None:
        self._stopping = True
        self._wake.set()
        self._thread.join()
        with suppress(apsw.Error):  # an operator's script reads or writes: the next start takes it from there
            self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        self._connection.close()

    def _on_commit(self, _connection: apsw.Connection, _database: str, pages: int) -> int:
        if pages < self._moved:  # the log began anew
            self._moved = 0
        self._pages = pages
        if pages - self._moved >= CHECKPOINT_PAGES:
            self._wake.set()
        return apsw.SQLITE_OK

    def _run(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            if self._stopping:
                return
            with suppress(apsw.Error):  # tried again after the next commit
                self._checkpoint()

    def _checkpoint(self) -> None:
        _, self._moved = self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        if self._pages < self._truncate_at:
            return
        # Commits that never pause keep the log from beginning anew; most is moved by now, the rest is short.
        self._truncate_at = 2 * self._pages
        with self.gate:
            self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        self._moved, self._truncate_at = 0, TRUNCATE_PAGES


def _apply(connection: apsw.Connection, group: list[Submission]) -> list[Outcome]:
    """Commit a group, or of its halves what can be committed."""
    cursor = connection.cursor()
    try:
        cursor.execute("BEGIN IMMEDIATE")
    except apsw.Error as refused:  # locked, read-only: whose change it is makes no difference
        return refuse(group, StoreError(f"the database cannot be written: {refused}"))
    try:
        for submission in group:
            for query, params in submission.writes:
                _execute(cursor, query.sql, params)
                if query.must_change and not connection.changes():
                    raise RowMissing(f"{query.name} found no row")
        cursor.execute("COMMIT")
    except Exception as refused:
        if connection.in_transaction:
            with suppress(apsw.Error):
                cursor.execute("ROLLBACK")
        if len(group) > 1:
            middle = len(group) // 2
            return _apply(connection, group[:middle]) + _apply(connection, group[middle:])
        if isinstance(refused, RowMissing):
            return refuse(group, refused)
        return refuse(group, StoreError(f"the database refused the change: {refused}"))
    return [Outcome(submission, None) for submission in group]


def _execute(cursor: apsw.Cursor, sql: str, params: tuple[Value, ...]) -> apsw.Cursor:
    try:
        return cursor.execute(sql, params)
    except UnicodeEncodeError:
        return cursor.execute(sql, storable(params))


def _claim(path: str) -> int:
    """Keep other servers (not operators' scripts) away from the file; create it where it is missing."""
    real = os.path.realpath(path)
    try:
        os.makedirs(os.path.dirname(real), mode=0o700, exist_ok=True)
        lock_fd = os.open(f"{real}-lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise StoreError(f"cannot open {path}: {error.strerror}") from error
    try:
        fcntl.flock(lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with suppress(FileExistsError):
            os.close(os.open(real, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    except BlockingIOError as error:
        os.close(lock_fd)
        raise StoreError(f"{path}: the database is used by another presence server") from error
    except OSError as error:
        os.close(lock_fd)
        raise StoreError(f"cannot open {path}: {error.strerror}") from error
    return lock_fd


def _connect(path: str, durability: Durability) -> apsw.Connection:
    connection = apsw.Connection(path)
    connection.set_busy_timeout(BUSY_TIMEOUT_MS)
    connection.pragma("synchronous", "FULL" if durability == "commit" else "NORMAL")
    connection.pragma("cache_size", -CACHE_KIB)
    return connection


def _adopt(path: str, durability: Durability) -> apsw.Connection:
    """Open the writer's connection: make sure that the file is ours, and bring its schema up to date."""
    connection = _connect(path, durability)
    try:
        _identify(connection, path)
        if path != MEMORY and connection.pragma("journal_mode", "wal") != "wal":
            raise StoreError(f"{path}: the file system cannot hold a write-ahead log")
        _migrate(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _identify(connection: apsw.Connection, path: str) -> None:
    owner = connection.pragma("application_id")
    if owner not in (0, APPLICATION_ID):
        raise StoreError(f"{path} belongs to another application (application_id {owner})")
    version, known = connection.pragma("user_version"), len(load_migrations())
    if version > known:
        raise StoreError(f"{path} has schema version {version}; this server knows versions up to {known}")


def _migrate(connection: apsw.Connection, path: str) -> None:
    for migration in load_migrations()[connection.pragma("user_version") :]:
        try:
            with connection:
                connection.execute(migration.sql)
                connection.pragma("application_id", APPLICATION_ID)
                connection.pragma("user_version", migration.number)
        except apsw.Error as error:
            raise StoreError(f"{path}: migration {migration.name} failed: {error}") from error


@contextmanager
def _speaking_of(path: str) -> Iterator[None]:
    try:
        yield
    except apsw.NotADBError as error:
        raise StoreError(f"{path} is not a SQLite database") from error
    except apsw.Error as error:
        raise StoreError(f"cannot open {path}: {error}") from error


@contextmanager
def inspecting(path: str) -> Iterator[Callable[[str], list[tuple[Value, ...]]]]:
    """Open a database for looking only; MEMORY shows the schema this server would create."""
    with _speaking_of(path), ExitStack() as opened:
        if path == MEMORY:
            connection = _adopt(MEMORY, "os")
        else:
            connection = apsw.Connection(path, flags=apsw.SQLITE_OPEN_READONLY)
        opened.callback(connection.close)
        connection.set_busy_timeout(BUSY_TIMEOUT_MS)
        yield lambda sql: list(connection.execute(sql))
