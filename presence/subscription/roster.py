"""What table `watchers` says of those who do not watch now, brought up to date when rules change.

It decides nothing (`policy/stored`): operators and clients look at it. Those who watch are `reassessing`'s part, and
those who wait for a decision are left alone here.
"""

from presence.errors import StoreError
from presence.policy.rulebook import Rulebook
from presence.store.base import Store, Write, as_received
from presence.values import Aor, SubscriptionStatus

SLICE = 500
"""Rows looked at in one turn."""


class Roster:
    """Rows of `watchers` whose presentity has other rules."""

    def __init__(self, store: Store, rulebook: Rulebook) -> None:
        self._store = store
        self._rulebook = rulebook
        self._work: dict[tuple[Aor, str], int] = {}
        """By presentity and package the row looked at last."""

    @property
    def busy(self) -> bool:
        """Whether there is more to do."""
        return bool(self._work)

    def look(self, presentity: Aor, package: str) -> None:
        """Look at the rows of a presentity from the first one on."""
        self._work[presentity, package] = 0

    def write_some(self, now: float) -> None:
        """Write those of a slice of rows that say something else than what holds."""
        (presentity, package), last = next(iter(self._work.items()))
        writes: list[Write] = []
        count = 0
        try:
            for row in self._store.read("watchers_decided", (presentity.uri, package, last, SLICE)):
                count += 1
                last = int(row[0] or 0)
                watcher = Aor(str(as_received(row[1])), str(as_received(row[2])))
                decision = self._rulebook.decide(presentity, watcher, package)
                if row[3] != SubscriptionStatus.PENDING and row[3:5] != (int(decision.status), decision.reason):
                    writes += self._rulebook.record(presentity, watcher, package, decision, now)
            if writes:
                self._store.submit(writes, lambda error: None)
        except StoreError:
            # It is nobody's permission: the next change looks again.
            count = 0
        if count < SLICE:
            del self._work[presentity, package]
        else:
            self._work[presentity, package] = last
