"""What a decision does to a running subscription that goes on."""

from presence._fastcore import Fanout
from presence.policy.decision import ALLOW, CONFIRM, POLITE, POLITE_BLOCK, Decision
from presence.subscription.giveup import GiveUp
from presence.subscription.machine import Input, decide_transition
from presence.subscription.notify import Notify
from presence.values import SubscriptionStatus


class Verdicts:
    """Lets running subscriptions have what the policy says, after that is stored."""

    def __init__(self, table: Fanout, notify: Notify, giveup: GiveUp) -> None:
        self._table = table
        self._notify = notify
        self._giveup = giveup

    def stands(self, slot: int, decision: Decision) -> bool:
        """Whether a subscription has already what a decision gives."""
        facts = self._table.facts(slot)
        if decision.status is SubscriptionStatus.TERMINATED or facts.pending != _is_pending(decision):
            return False
        resource = self._notify.resource_by(facts.group)
        return bool(facts.view == self._notify.number(resource, decision))

    def says_the_same(self, slot: int, decision: Decision) -> bool:
        """Whether the row of a running subscription has the status and the reason of a decision."""
        facts = self._table.facts(slot)
        has = CONFIRM if facts.pending else POLITE_BLOCK if facts.view == POLITE else ALLOW
        return (has.status, has.reason) == (decision.status, decision.reason)

    def apply(self, slot: int, decision: Decision) -> bool:
        """Let a subscription have it and tell the presentity; return whether that is news to the watcher."""
        table, notify = self._table, self._notify
        facts = table.facts(slot)
        resource = notify.resource_by(facts.group)
        pending = _is_pending(decision)
        view = notify.show(resource, decision)
        news = facts.pending != pending
        if resource.narrator is None:
            notify.freshen(resource)
            news = news or not table.shows_same(facts.group, facts.view, view)
        elif facts.view != view:
            # Changes alone would lack what was not shown before.
            notify.individual.again(slot)
            news = True
        table.admit(slot, pending=pending, view=view)
        before = SubscriptionStatus.PENDING if facts.pending else SubscriptionStatus.ACTIVE
        transition = decide_transition(before, Input.CONFIRM if pending else Input.ALLOWED)
        if transition is not None and facts.pending != pending:
            status, event, _ = transition
            notify.watcher_changed(resource, slot, status, event)
            if pending:
                self._giveup.begin(slot, self._giveup.now)
        self._giveup.watch(slot)
        return news


def _is_pending(decision: Decision) -> bool:
    return decision.status is SubscriptionStatus.PENDING
