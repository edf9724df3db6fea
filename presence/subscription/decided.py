"""What operators' tools change in the table `watchers` while the server runs, and rows that are given up.

Triggers log it; the log is looked at twice a second, and each watcher in it decided about anew.
"""

from collections.abc import Callable

from presence.errors import SipError, StoreError
from presence.sip.headers import parse_uri
from presence.store.base import Store, Value, as_received
from presence.subscription.waiting import PENDING, Asked, Row, Waiting
from presence.values import Aor

LOOK_EVERY_S = 0.5
AT_ONCE = 500
"""Changes taken notice of, and rows purged, in one go."""

PURGE_EVERY_S = 60.0


class Decided:
    """Reads the log, and gives up who waited for too long."""

    def __init__(self, store: Store, waiting: Waiting, *, give_up_s: float) -> None:
        self._store = store
        self._waiting = waiting
        self._give_up_s = give_up_s
        self._seen = 0
        self._look_at = self._purge_at = 0.0
        self.changed: list[Callable[[Aor, str], None]] = []
        """Told of each presentity and package about whose watchers somebody else decided."""

    def begin(self) -> None:
        """Leave out what was logged before now: a start decides about everybody anyway."""
        for (last,) in self._store.read("watchers_last_change"):
            self._seen = last if isinstance(last, int) else 0
        self._forget()

    def purge_soon(self) -> None:
        """Give up who has waited for too long at the next tick, not only from time to time."""
        self._purge_at = 0.0

    def tick(self, now: float) -> None:
        """Take notice of changes, and purge now and then."""
        self._waiting.tick(now)
        if now >= self._purge_at:
            self._purge_at = now + PURGE_EVERY_S
            self._store.submit([("watchers_purge_pending", (int(now - self._give_up_s), AT_ONCE))], _whatever)
        if now >= self._look_at:
            self._look_at = now + LOOK_EVERY_S
            try:
                self._read(now)
            except StoreError:
                # Nobody is let in by what can no longer be read; it is tried again.
                return

    def _read(self, now: float) -> None:
        before = last = self._seen
        watched: dict[tuple[Aor, str], None] = {}
        befores: dict[Asked, Row | None] = {}
        rows = list(self._store.read("watchers_changes", (before, AT_ONCE)))
        purged = 0
        for number, uri, event, username, domain, *values in rows:
            asked = _read_asked(uri, event, username, domain)
            row = Row.read(tuple(values))
            if asked is not None:
                befores[asked] = _later(befores.get(asked), row)
                watched[asked.presentity, asked.package] = None
            purged += row.status == PENDING
            last = int(str(number))
        for asked, row_before in befores.items():
            self._waiting.reconsider(asked, row_before)
        self._seen = last
        if self._seen != before:
            self._forget()
        if purged >= AT_ONCE:
            self._purge_at = now
        if len(rows) == AT_ONCE:
            self._look_at = now
        for presentity, package in watched:
            for tell in self.changed:
                tell(presentity, package)

    def _forget(self) -> None:
        if self._seen:
            self._store.submit([("watchers_changes_forget", (self._seen,))], _whatever)


def _later(known: Row | None, row: Row) -> Row | None:
    """Of what a row said before each of several changes, return what says last who waited."""
    if row.status is None or (known is not None and row.waiting_id is None):
        return known
    return row


def _read_asked(uri: Value, event: Value, username: Value, domain: Value) -> Asked | None:
    try:
        presentity = parse_uri(str(as_received(uri))).aor()
    except (SipError, ValueError):
        return None
    return Asked(str(event), presentity, Aor(str(as_received(username)), str(as_received(domain))))


def _whatever(error: StoreError | None) -> None:
    """Nothing hangs on it: it is tried again."""
