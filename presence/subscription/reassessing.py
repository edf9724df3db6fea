"""Deciding again about running subscriptions when the rules say something else (RFC 5025 section 8, RFC 6665 4.2.2).

From the moment a change is seen nothing leaves for a watcher whom it may concern before that watcher is decided about
again. Those about whom nothing has changed go on at once; what has changed is stored first, like everything else, and
a subscription whose change the database refuses stays held back. So what is taken away is taken away at once, and what
is granted only when it is stored. Many watchers are decided about in slices.
"""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from typing import NamedTuple

from presence._fastcore import Fanout
from presence.errors import StoreError
from presence.events.registry import Registry
from presence.policy.decision import Decision
from presence.policy.rulebook import Rulebook
from presence.policy.watcherinfo import WatcherAccess
from presence.store.base import Store, Write
from presence.subscription.admission import decide
from presence.subscription.book import Book
from presence.subscription.ending import RETRY_S, Ending
from presence.subscription.notify import Notify, Resource
from presence.subscription.roster import Roster
from presence.subscription.triggers import Triggers
from presence.subscription.verdicts import Verdicts
from presence.values import Aor, SubscriptionStatus

SLICE = 250
"""Watchers decided about in one turn of the loop, which takes some milliseconds."""


class Case(NamedTuple):
    """A subscription that gets another decision, on its way through the commit."""

    slot: int
    owner: int
    decision: Decision
    changes: int
    """How many changes of rules it knows of."""
    stored: bool = False
    """Whether an earlier decision is stored already, which the subscription does not have."""


class Reassessing:
    """Holds back, decides, stores, applies."""

    def __init__(
        self,
        registry: Registry,
        table: Fanout,
        store: Store,
        notify: Notify,
        book: Book,
        ending: Ending,
        verdicts: Verdicts,
        rulebook: Rulebook,
        triggers: Triggers,
        roster: Roster,
        clock: Callable[[], float],
        access: WatcherAccess,
    ) -> None:
        self._registry = registry
        self._table = table
        self._store = store
        self._notify = notify
        self._book = book
        self._ending = ending
        self._verdicts = verdicts
        self._rulebook = rulebook
        self._triggers = triggers
        self._roster = roster
        self._clock = clock
        self._access = access
        self._work: dict[Resource, Iterator[int]] = {}
        """By resource the subscriptions that are still to be decided about."""
        self._changes = 0
        self._again: list[tuple[float, int, Resource]] = []
        """When to decide once more, about which subscription of what."""
        notify.on_resource = self._watch
        notify.on_admitted = self.check

    @property
    def busy(self) -> bool:
        """Whether there is more to do in the next turn."""
        return bool(self._work) or self._roster.busy

    # ---- what changes ----

    def rules_changed(self, presentity: Aor, package: str) -> None:
        """Decide again about the watchers of a presentity: its rules for a package are others."""
        self._rulebook.forget(presentity)
        if self._ending.waiting is not None:
            self._ending.waiting.reassess(presentity)
        self._roster.look(presentity, package)
        self.decide_again(presentity, package)

    def decide_again(self, presentity: Aor, package: str) -> None:
        """Decide again about the watchers of a presentity: something but its rules is another."""
        for resource in self._concerned(presentity, package):
            self._begin(resource)

    def _concerned(self, presentity: Aor, package: str) -> list[Resource]:
        names = (package, *(template.name for template in self._registry.templates_of(package)))
        found = (self._notify.find((name, presentity)) for name in names)
        return [resource for resource in found if resource is not None]

    def hold(self, auid: str, owner: Aor) -> None:
        """Let nothing leave by rules that are others by now; `document_changed` follows."""
        self._rulebook.forget(owner)
        for package in self._rulebook.packages_of(auid):
            for resource in self._concerned(owner, package):
                self._hold(resource)

    def document_changed(self, auid: str, owner: Aor | None, key: object) -> None:
        """Hear that a document was written, changed or deleted."""
        if owner is not None:
            for package in self._rulebook.packages_of(auid):
                self.rules_changed(owner, package)
        for resource in self._triggers.depending(key):
            self.decide_again(resource.presentity, resource.package.name)

    def everything_changed(self) -> None:
        """Hear that any document may be another."""
        self._rulebook.forget_all()
        for resource in list(self._notify.all()):
            if resource.package.authorised or resource.package.watches:
                self._begin(resource)

    def published(self, presentity: Aor) -> None:
        """Hear that the presence of a presentity is another, and perhaps its sphere."""
        if self._rulebook.moved(presentity):
            for resource in self._triggers.in_sphere(presentity):
                self.decide_again(presentity, resource.package.name)

    def check(self, slot: int) -> None:
        """Look whether what was decided about a subscription before its commit still holds."""
        resource = self._notify.resource_of(slot)
        try:
            holds = self._verdicts.stands(slot, self._decide(resource, self._table.facts(slot).owner))
        except StoreError:
            holds = False
        if not holds:
            self._table.hold(slot)
            self._again.append((0.0, slot, resource))

    def _watch(self, resource: Resource, there: bool) -> None:
        """Hear that a resource has its first subscription, or has lost its last one."""
        if not there:
            self._triggers.clear(resource)
            self._work.pop(resource, None)
            return
        package = resource.package
        if package.name in self._rulebook.packages:
            ruled = self._triggers.set(resource, self._clock())
            # Where an operator decides in the table, each refresh looks there.
            self._table.guard_group(resource.gid, not ruled)
        elif package.authorised or package.watches:
            self._table.guard_group(resource.gid, True)

    def _hold(self, resource: Resource) -> None:
        self._changes += 1
        self._table.hold_group(resource.gid)
        for slot, gid in self._notify.finals.items():
            if gid == resource.gid:
                self._table.withdraw(slot)

    def _begin(self, resource: Resource) -> None:
        self._hold(resource)
        self._watch(resource, True)
        self._work[resource] = iter(self._table.group_slots(resource.gid))

    # ---- deciding ----

    def tick(self, now: float) -> None:
        """Decide about a slice of those who wait for it."""
        for resource in self._triggers.take_due(now):
            self.decide_again(resource.presentity, resource.package.name)
        if self._again:
            self._take_again(now)
        left = SLICE
        while self._work and left:
            resource, slots = next(iter(self._work.items()))
            part = list(islice(slots, left))
            if len(part) < left:
                del self._work[resource]
                if resource.views is not None:
                    resource.views.sweep()
            left -= len(part)
            self._judge(resource, part, now)
        if left and self._roster.busy:
            self._roster.write_some(now)

    def _take_again(self, now: float) -> None:
        waiting, self._again = self._again, []
        due: dict[Resource, list[int]] = {}
        for entry in waiting:
            at, slot, resource = entry
            if at > now:
                self._again.append(entry)
            else:
                due.setdefault(resource, []).append(slot)
        for resource, slots in due.items():
            self._judge(resource, slots, now)

    def _judge(self, resource: Resource, slots: list[int], now: float) -> None:
        cases: list[Case] = []
        lanes = self._book.lanes
        for slot in slots:
            owner = self._owner(slot, resource)
            if not owner:
                continue
            if owner in lanes.taken:
                # A refresh is under way, or an earlier decision, perhaps by the old rules: that comes first.
                lanes.wait(owner, partial(self._judge_alone, slot, owner, resource), bounded=False)
                continue
            decision = self._reconsider(slot, owner, resource, now)
            if decision is not None:
                lanes.enter(owner)
                cases.append(Case(slot, owner, decision, self._changes))
        if cases:
            self._submit(resource, cases, now)

    def _judge_alone(self, slot: int, owner: int, resource: Resource) -> None:
        now = self._clock()
        decision = None
        if self._owner(slot, resource) == owner:
            decision = self._reconsider(slot, owner, resource, now)
        if decision is None:
            self._book.lanes.leave(owner)
        else:
            self._submit(resource, [Case(slot, owner, decision, self._changes)], now)

    def _owner(self, slot: int, resource: Resource) -> int:
        """Return the dialog's first slot when a slot is still that of a subscription which waits, else 0."""
        # The group may be another resource's by now.
        if self._notify.find((resource.package.name, resource.presentity)) is not resource:
            return 0
        owner: int = self._table.awaits(slot, resource.gid)
        return owner

    def _reconsider(self, slot: int, owner: int, resource: Resource, now: float) -> Decision | None:
        """Return what is decided about a subscription when that is something else than it has; else it goes on."""
        try:
            decision = self._decide(resource, owner)
        except StoreError:
            self._again.append((now + RETRY_S, slot, resource))
            return None
        if self._verdicts.stands(slot, decision):
            self._table.let_go(slot)
            return None
        return decision

    def _decide(self, resource: Resource, owner: int) -> Decision:
        watcher = self._book.watcher(owner)
        return decide(self._rulebook, resource.package, resource.presentity, watcher, self._access)

    # ---- storing ----

    def _submit(self, resource: Resource, cases: list[Case], now: float) -> None:
        writes: list[Write] = []
        for case in cases:
            writes += self._writes(resource, case, now)
        try:
            self._store.submit(writes, partial(self._judged, resource, cases))
        except StoreError as error:
            self._judged(resource, cases, error)

    def _writes(self, resource: Resource, case: Case, now: float) -> list[Write]:
        decision, package = case.decision, resource.package
        if decision.status is SubscriptionStatus.TERMINATED:
            writes = self._ending.removal(case.slot, self._ending.refusal(decision))
        elif package.authorised and not case.stored and self._verdicts.says_the_same(case.slot, decision):
            # Another view, which no column has.
            writes = []
        else:
            writes = [self._book.key(case.slot).judge(decision.status, decision.reason)]
        if package.authorised:
            watcher, since = self._book.watcher(case.owner), self._table.facts(case.slot).subscribed_at or now
            writes += self._rulebook.record(resource.presentity, watcher, package.name, decision, since)
        return writes

    def _judged(self, resource: Resource, cases: list[Case], error: StoreError | None) -> None:
        failure: Exception | None = None
        for case in cases:
            goes_on = False
            try:
                if error is not None:
                    # Not so for the database, so not granted; and what was taken away stays away.
                    self._again.append((self._clock() + RETRY_S, case.slot, resource))
                elif self._owner(case.slot, resource) == case.owner:
                    goes_on = self._settle(resource, case)
            except Exception as raised:
                # One whose document cannot be made keeps nobody else waiting.
                failure = failure or (None if isinstance(raised, StoreError) else raised)
                self._again.append((self._clock() + RETRY_S, case.slot, resource))
            finally:
                if not goes_on:
                    self._book.lanes.leave(case.owner)
        if failure is not None:
            raise failure

    def _settle(self, resource: Resource, case: Case) -> bool:
        """Apply what is stored; return True where the rules have changed once more and that is stored first."""
        slot = case.slot
        if case.decision.status is SubscriptionStatus.TERMINATED:
            # Its row is gone.
            self._table.withdraw(slot)
            self._ending.terminate(slot, self._ending.refusal(case.decision))
            return False
        decision = self._decide(resource, case.owner) if case.changes != self._changes else case.decision
        if decision != case.decision:
            case = case._replace(decision=decision, changes=self._changes, stored=True)
            self._submit(resource, [case], self._clock())
            return True
        if self._verdicts.apply(slot, decision):
            self._notify.tell(slot, resource)
        return False
