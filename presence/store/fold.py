"""The thread that brings what is journalled into the tables, and writes what somebody reads back at once.

A fold starts half a second after the first change it holds, so whoever asks the tables sees a change within a
second, and what changed several times until then is written once. It is committed in slices: between two of
them other users of the file, and direct changes of ours, have their turn.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator

from presence.errors import StoreError
from presence.store.journal import Journal
from presence.store.numbers import Numbers
from presence.store.tables import Direct, Tables
from presence.store.window import Batch, Change, Gone, Window

FOLD_AFTER_S = 0.5
FOLD_ROWS = 20_000  # sorting more of them at once would hold up the loop
STEP_ROWS = 500
SLICE_S = 0.05  # how long a script may have to wait for the lock; index pages are written once for each slice
PAUSE_S = 0.005  # SQLite asks for a lock again and again, not in a queue: a shorter pause is hardly ever met
RETRY_S = (0.05, 2.0)  # the first and the longest pause after a fold that failed
PATIENCE_S = 5.0  # how long the last fold tries when the server stops
UNFOLDED_ROWS = 1_000_000
UNFOLDED_BYTES = 512 << 20


class Folder:
    """Owns the writing connection; everything it finds out is told through callbacks, in its own thread."""

    def __init__(
        self,
        tables: Tables,
        window: Window,
        gate: threading.Lock,
        *,
        identity: int,
        journal: Journal | None,
        after_s: float,
        written: Callable[[list[Direct], list[StoreError | None], float], None],
        folded: Callable[[list[Gone]], None],
        troubled: Callable[[str], None],
    ) -> None:
        self._tables, self._window, self._gate = tables, window, gate
        self._identity, self._journal, self._after_s = identity, journal, after_s
        self._written, self._folded, self._troubled = written, folded, troubled
        self._pending: deque[tuple[int, list[Change], int]] = deque()
        self._direct: deque[list[Direct]] = deque()
        self._numbers: deque[Numbers] = deque()
        self._wake = threading.Event()
        self._stopping = self._sleeping = False
        # Each of these is written by one thread: what is added by the one that journals, the rest by this one.
        self._added_rows = self._added_bytes = 0
        self._done_rows = self._done_bytes = 0
        self._taken_rows = self._taken_bytes = self._mark = 0
        self._fold_at = 0.0
        self._retry_s = RETRY_S[0]
        self.folds = self.failures = 0
        self.full = False
        """Whether so much is unfolded that no more may be acknowledged."""
        self._thread = threading.Thread(target=self._run, name="presence-fold", daemon=True)
        self._thread.start()

    # ---- for other threads ----

    @property
    def unfolded(self) -> int:
        """How many acknowledged changes are not in the tables yet."""
        return self._added_rows - self._done_rows

    @property
    def progress(self) -> tuple[int, int]:
        """How many changes were acknowledged, and how many of them are in the tables."""
        return self._added_rows, self._done_rows

    def add(self, number: int, changes: list[Change], size: int) -> None:
        """Take what was acknowledged as record `number` of `size` bytes; called in that order."""
        self._added_rows += len(changes)
        self._added_bytes += size
        self.full = self.unfolded > UNFOLDED_ROWS or self._added_bytes - self._done_bytes > UNFOLDED_BYTES
        self._pending.append((number, changes, size))
        if self._sleeping:
            self._wake.set()

    def write(self, group: list[Direct]) -> None:
        """Commit changes as soon as may be."""
        self._direct.append(group)
        self._wake.set()

    def reserve(self, numbers: Numbers) -> None:
        """Reserve the next block."""
        self._numbers.append(numbers)
        self._wake.set()

    def stop(self) -> bool:
        """Write everything; return whether everything is in the tables."""
        self._stopping = True
        self._wake.set()
        self._thread.join()
        return not self.unfolded

    # ---- the thread ----

    def _run(self) -> None:
        while True:
            self._sleep()
            stopping = self._stopping
            self._serve()
            if not self._fold_at and self._pending:
                self._fold_at = time.monotonic() + self._after_s
            if self._fold_at and (stopping or time.monotonic() >= self._fold_at):
                self._fold(until=time.monotonic() + PATIENCE_S if stopping else 0.0)
            if self._journal is not None:
                self._journal.prepare()
            if stopping:
                return

    def _sleep(self) -> None:
        """Wait for the next fold, or for something to do."""
        self._sleeping = not self._fold_at
        if self._fold_at or not self._pending:  # asked after `_sleeping` is set: `add` does it the other way round
            self._wake.wait(max(0.0, self._fold_at - time.monotonic()) if self._fold_at else None)
        self._sleeping = False
        self._wake.clear()

    def _serve(self) -> None:
        """Do what somebody waits for."""
        while self._direct:
            group = self._direct.popleft()
            while self._direct:
                group += self._direct.popleft()
            started = time.perf_counter()
            with self._gate:
                errors = self._tables.commit(group)
            self._written(group, errors, time.perf_counter() - started)
        while self._numbers:
            numbers = self._numbers[0]
            try:
                with self._gate:
                    numbers.reserved(self._tables.reserve([numbers.table])[numbers.table])
            except StoreError as error:
                self._troubled(str(error))
                return  # again at the next occasion: there is a block left
            self._numbers.popleft()

    def _fold(self, until: float) -> None:
        """Fold what is pending; with `until` try until then and leave nothing."""
        while True:
            began_at = time.monotonic()
            self._absorb()
            crowded = bool(self._pending)
            try:
                self._commit()
            except Exception as error:
                self.failures += 1
                self._troubled(f"the tables cannot be written now, changes wait in the journal: {error}")
                if time.monotonic() < until:
                    time.sleep(self._retry_s)
                    continue
                self._fold_at = time.monotonic() + self._retry_s
                self._retry_s = min(2 * self._retry_s, RETRY_S[1])
                return
            self._retry_s = RETRY_S[0]
            self._fold_at = 0.0
            if not self._pending:
                return
            if not until:
                # What came in meanwhile has waited for as long as this fold took.
                self._fold_at = began_at if crowded else began_at + self._after_s
                return

    def _absorb(self) -> None:
        while self._pending and len(self._window) < FOLD_ROWS:
            self._mark, changes, size = self._pending.popleft()
            try:
                self._window.absorb(changes)
            except Exception as error:
                self._troubled(f"an acknowledged change cannot be stored: {error!r}")
            self._taken_rows += len(changes)
            self._taken_bytes += size

    def _commit(self) -> None:
        """Commit the window, slice by slice; the last one is short and carries the mark."""
        told: set[tuple[str, int]] = set()
        gone: list[Gone] = []
        last = False
        while not last:
            last = len(self._window) <= STEP_ROWS
            for query, number in self._commit_slice(last=last):
                row = (query.rpartition("_")[0], number)
                if row not in told:
                    told.add(row)
                    gone.append((query, number))
            if not last:
                self._serve()
                time.sleep(PAUSE_S)
        self.folds += 1
        self._done_rows, self._done_bytes = self._taken_rows, self._taken_bytes
        self.full = False
        if self._journal is not None:
            self._journal.release(self._mark)
        for text in self._tables.lost:
            self._troubled(f"an acknowledged change cannot be stored: {text}")
        self._tables.lost.clear()
        if gone:
            self._folded(gone)

    def _commit_slice(self, *, last: bool) -> list[Gone]:
        taken: list[Batch] = []

        def steps() -> Iterator[list[Batch]]:
            until = time.monotonic() + SLICE_S
            while True:
                batches = self._window.take(STEP_ROWS)
                taken.extend(batches)
                yield batches
                if last or len(self._window) <= STEP_ROWS or self._direct or time.monotonic() > until:
                    return

        try:
            with self._gate:
                return self._tables.fold(steps(), (self._identity, self._mark) if last else None, last=last)
        except BaseException:
            self._window.put_back(taken)
            raise
