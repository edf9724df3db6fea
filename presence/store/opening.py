"""How a database file is opened: claimed for one server, recognised as ours, brought to the present schema."""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress

import apsw

from presence.errors import StoreError
from presence.store.base import Value
from presence.store.queries import load_migrations

MEMORY = ":memory:"
APPLICATION_ID = 0x50524553  # "PRES"
BUSY_TIMEOUT_MS = 5000  # how long an operator's script may hold the write lock before changes are refused
CACHE_KIB = 65_536


class Claimed(StoreError):
    """Another server has the file."""


def claim(path: str) -> int:
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
        raise Claimed(f"{path}: the database is used by another presence server") from error
    except OSError as error:
        os.close(lock_fd)
        raise StoreError(f"cannot open {path}: {error.strerror}") from error
    return lock_fd


def connect(path: str, *, full: bool, one_thread: bool = False) -> apsw.Connection:
    """Open one more connection; with `full` its commits outlive a loss of power.

    `one_thread` promises that no two threads ever use it together: it goes without locks, which cost a third of
    what reading a row does.
    """
    flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE
    connection = apsw.Connection(path, flags=flags | (apsw.SQLITE_OPEN_NOMUTEX if one_thread else 0))
    connection.set_busy_timeout(BUSY_TIMEOUT_MS)
    connection.pragma("synchronous", "FULL" if full else "NORMAL")
    connection.pragma("cache_size", -CACHE_KIB)
    return connection


def adopt(path: str, *, full: bool) -> apsw.Connection:
    """Open the writer's connection: make sure that the file is ours, and bring its schema up to date."""
    connection = connect(path, full=full)
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
def speaking_of(path: str) -> Iterator[None]:
    """Turn what SQLite says about a file into words about it."""
    try:
        yield
    except apsw.NotADBError as error:
        raise StoreError(f"{path} is not a SQLite database") from error
    except apsw.Error as error:
        raise StoreError(f"cannot open {path}: {error}") from error


@contextmanager
def inspecting(path: str) -> Iterator[Callable[[str], list[tuple[Value, ...]]]]:
    """Open a database for looking only; MEMORY shows the schema this server would create."""
    with speaking_of(path), ExitStack() as opened:
        if path == MEMORY:
            connection = adopt(MEMORY, full=False)
        else:
            connection = apsw.Connection(path, flags=apsw.SQLITE_OPEN_READONLY)
        opened.callback(connection.close)
        connection.set_busy_timeout(BUSY_TIMEOUT_MS)
        yield lambda sql: list(connection.execute(sql))


@contextmanager
def beside(path: str) -> Iterator[apsw.Connection]:
    """Open a database for a small change while a server may be running on it; without one it is brought up to date.

    What is done inside is one transaction.
    """
    with speaking_of(path), ExitStack() as opened:
        try:
            opened.callback(os.close, claim(path))
            connection = adopt(path, full=True)
        except Claimed:
            connection = connect(path, full=True)
            if connection.pragma("user_version") != len(load_migrations()):
                connection.close()
                raise StoreError(f"{path}: the server that runs on it is of another version") from None
        opened.callback(connection.close)
        connection.execute("BEGIN IMMEDIATE")
        with connection:
            yield connection
        connection.execute("COMMIT")
