"""Decisions an operator's tools wrote into the table `watchers`; who is not in it has to be confirmed."""

from presence.policy.decision import ALLOW, BLOCK, CONFIRM, POLITE, UNMATCHED, Decision
from presence.store.base import Store
from presence.values import Aor, SubscriptionStatus

_DECISIONS = {
    int(SubscriptionStatus.ACTIVE): ALLOW,
    int(SubscriptionStatus.PENDING): CONFIRM,
    int(SubscriptionStatus.TERMINATED): BLOCK,
}


class StoredPolicy:
    """The cache of decisions that OpenSIPS keeps in `watchers`, without rules documents behind it yet."""

    name = "rules"

    def __init__(self, store: Store) -> None:
        self._store = store

    def decide(self, presentity: Aor, watcher: Aor, package: str) -> Decision:
        """Return the stored decision, or that the presentity has to be asked (fail closed)."""
        if presentity == watcher:
            return ALLOW
        key = (presentity.uri, watcher.username, watcher.domain, package)
        for row in self._store.read("watchers_get", key):
            status, reason = row[0], row[1]
            # A polite-blocked watcher believes to be active and sees nothing (RFC 6665 section 6.2).
            if reason == "polite-block":
                return Decision(SubscriptionStatus.ACTIVE, "polite-block", view=POLITE)
            decision = _DECISIONS.get(int(status or 0), CONFIRM)
            return decision._replace(reason=UNMATCHED) if decision is BLOCK and reason == UNMATCHED else decision
        return CONFIRM
