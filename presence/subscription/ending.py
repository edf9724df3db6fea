"""How subscriptions end: the row goes first, and after that commit the watcher is told."""

from functools import partial
from math import inf

from presence._fastcore import Fanout
from presence.errors import StoreError
from presence.observer import Observer
from presence.policy.decision import Decision
from presence.store.base import Store, Write
from presence.subscription.book import Book
from presence.subscription.giveup import GiveUp
from presence.subscription.machine import Input, decide_transition
from presence.subscription.notify import Notify
from presence.subscription.rows import Key
from presence.subscription.waiting import Waiting
from presence.values import SubscriptionStatus

RETRY_S = 5.0
"""How long after a refused commit an end is tried again."""


class Ending:
    """Ends subscriptions from our side."""

    def __init__(self, table: Fanout, store: Store, notify: Notify, book: Book, give_up_s: float = inf) -> None:
        self._table = table
        self._store = store
        self._notify = notify
        self._book = book
        self._unfinished: list[tuple[float, int, Input]] = []
        self._missing: set[Key] = set()
        self.giveup = GiveUp(table, give_up_s)
        self.observer: Observer | None = None
        self.waiting: Waiting | None = None
        """None where nothing can be pending."""
        self.lost_rule = Input.REJECTED
        """What happens to a subscription when none of the presentity's rules is about its watcher any more."""

    def end(self, slot: int, happened: Input, now: float) -> None:
        """End a running subscription when the changes of its dialog that came earlier are done."""
        owner = self._table.facts(slot).owner
        self._book.lanes.run(owner, partial(self._end, slot, owner, happened, now), bounded=False)

    def _end(self, slot: int, owner: int, happened: Input, now: float) -> None:
        if not self._still(slot, happened, now):
            self._book.lanes.leave(owner)
            return
        try:
            writes = self.removal(slot, happened)
        except StoreError as error:
            self._ended(slot, owner, happened, now, error)
            return
        self._store.submit(writes, partial(self._ended, slot, owner, happened, now))

    def removal(self, slot: int, happened: Input) -> list[Write]:
        """Return what removes a subscription from the database, and what lets it wait on; raises StoreError."""
        writes = self._book.removal(slot)
        if self.waiting is not None and self._table.facts(slot).pending:
            transition = decide_transition(SubscriptionStatus.PENDING, happened)
            waits = transition is not None and transition[0] is SubscriptionStatus.WAITING
            since = self.giveup.since(slot)
            writes += self.waiting.enter(slot, since) if waits else self.waiting.leave_out(slot)
        return writes

    def refusal(self, decision: Decision) -> Input:
        """Return what it is to a running subscription that the policy terminates it."""
        return Input.REJECTED if decision.matched else self.lost_rule

    def end_outside(self, domains: frozenset[str], now: float) -> None:
        """End what watches presentities of domains that are not served any more."""
        for slot in self._notify.running_outside(domains):
            self.end(slot, Input.RESOURCE_GONE, now)

    def missing(self, row_id: int, *, shared: bool) -> None:
        """Learn that an operator took a subscription out of the database: it ends at the next tick."""
        self._missing.add(Key(row_id, shared))

    def _end_missing(self) -> None:
        # All at once: finding them takes a look at every row.
        keys, self._missing = self._missing, set()
        for slot in self._book.find_rows(keys):
            owner = self._table.facts(slot).owner
            self._book.lanes.run(owner, partial(self._vanish, slot, owner, self._book.key(slot)), bounded=False)

    def _vanish(self, slot: int, owner: int, key: Key) -> None:
        # It may have ended while this waited for its turn, and its row in the table be another's.
        if self._table.state(slot) in ("active", "pending") and self._book.key(slot) == key:
            self.terminate(slot, Input.DEACTIVATED)
        self._book.lanes.leave(owner)

    def _still(self, slot: int, happened: Input, now: float) -> bool:
        """Whether the reason to end it holds: it may have been refreshed, or its row be another's by now."""
        if self._table.state(slot) not in ("active", "pending"):
            return False
        if happened is Input.EXPIRED:
            return bool(self._table.facts(slot).expires_at <= now)
        if happened is Input.GAVE_UP:
            return bool(self._table.facts(slot).pending)
        return happened is not Input.NOTIFY_FAILED or self._table.flight(slot) == "failed"

    def _ended(self, slot: int, owner: int, happened: Input, now: float, error: StoreError | None) -> None:
        if error is None:
            self.terminate(slot, happened)
        else:
            # Not ended for the database, so not ended.
            self._unfinished.append((now + RETRY_S, slot, happened))
        self._book.lanes.leave(owner)

    def terminate(self, slot: int, happened: Input) -> None:
        """Take a subscription whose row is gone out of the table; the watcher hears of it unless it is dead."""
        facts = self._table.facts(slot)
        state = SubscriptionStatus.PENDING if facts.pending else SubscriptionStatus.ACTIVE
        transition = decide_transition(state, happened)
        if transition is None:
            return
        status, event, reason = transition
        resource = self._notify.resource_of(slot)
        if self.observer is not None:
            call_id = self._table.dialog(slot)[5].decode("utf-8", "surrogateescape")
            self.observer.ended(resource.presentity.uri, resource.package.name, call_id, happened.value)
        waits = status is SubscriptionStatus.WAITING and self.waiting is not None and self.waiting.entered(slot)
        if not waits:
            self._notify.watcher_changed(resource, slot, SubscriptionStatus.TERMINATED, event)
        shown = happened is Input.UNSUBSCRIBED and facts.view > 0
        if reason:
            self._notify.finish(slot, resource, reason, body=shown)
        else:
            self._table.release(slot)
            self._notify.individual.forget(slot)
        self.giveup.forget(slot)
        self._book.forget(slot, facts.owner)
        self._notify.release_unused(resource)

    def tick(self, now: float) -> None:
        """End what is missing in the database, and try again what that refused."""
        if self._missing:
            self._end_missing()
        if self._unfinished and self._unfinished[0][0] <= now:
            due, self._unfinished = self._unfinished, []
            for at, slot, happened in due:
                if at > now:
                    self._unfinished.append((at, slot, happened))
                elif self._table.state(slot) in ("active", "pending"):
                    self.end(slot, happened, now)
