"""The thread that moves SQLite's write-ahead log into the database, so that no commit waits for it."""

import threading
from contextlib import suppress

import apsw

CHECKPOINT_PAGES = 12_000  # 48 MB of log: a page changed often is moved once; a third of it costs 2 us a row more
RESTART_PAGES = 16_000  # a log that begins anew is written over, which is cheaper than to let it grow by a third
TRUNCATE_PAGES = 64_000  # what a script's long read has made of it is given back
GATE_TIMEOUT_MS = 100  # a script's long read must not hold up the writer for longer


class Checkpointer:
    """Looks after the log of `writer` on a connection of its own, which it closes."""

    def __init__(self, connection: apsw.Connection, writer: apsw.Connection) -> None:
        self.gate = threading.Lock()
        """Held by whoever writes; the log begins anew while nobody does."""
        self._connection = connection
        connection.set_busy_timeout(GATE_TIMEOUT_MS)
        self._pages = 0
        self._moved = 0
        self._restart_at = RESTART_PAGES
        self._stopping = False
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._run, name="presence-checkpoint", daemon=True)
        writer.set_wal_hook(self._on_commit)  # replaces the automatic checkpoint inside the commit
        self._thread.start()

    def stop(self) -> None:
        """End the thread and move what is left."""
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
        if self._pages < self._restart_at:
            return
        # Commits that never pause keep the log from beginning anew; most is moved by now, the rest is short.
        pages = self._pages
        mode = apsw.SQLITE_CHECKPOINT_TRUNCATE if pages >= TRUNCATE_PAGES else apsw.SQLITE_CHECKPOINT_RESTART
        self._restart_at = 2 * pages
        with self.gate:
            self._connection.wal_checkpoint(mode=mode)
        self._moved, self._restart_at = 0, RESTART_PAGES
