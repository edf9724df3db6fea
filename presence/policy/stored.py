"""Decisions an operator's tools wrote into the table `watchers`, and those of the server that stand there for them."""

from presence.policy.decision import ALLOW, BLOCK, POLITE_BLOCK, Decision
from presence.store.base import Store, Write
from presence.values import Aor, SubscriptionStatus


class StoredDecisions:
    """The table as operators use it: the server reads what they decided, and writes what it decides itself."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def find(self, presentity: Aor, watcher: Aor, package: str) -> Decision | None:
        """Return what an operator decided, None when that is nothing; raises StoreError."""
        key = (presentity.uri, watcher.username, watcher.domain, package)
        for status, reason in self._store.read("watchers_get", key):
            if reason == "polite-block":
                return POLITE_BLOCK
            if status == SubscriptionStatus.ACTIVE:
                return ALLOW
            if status == SubscriptionStatus.TERMINATED:
                return BLOCK
        return None

    @staticmethod
    def record(presentity: Aor, watcher: Aor, package: str, decision: Decision, now: float, *, by_rules: bool) -> Write:
        """Return the row of a decision; one that no document asked for yields to an operator's."""
        status, reason = int(decision.status), decision.reason
        asked = (presentity.uri, watcher.username, watcher.domain, package)
        return ("watchers_judge", (*asked, status, reason, int(now), f"{status} {reason}", int(by_rules)))
