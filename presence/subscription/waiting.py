"""Watchers whose subscription ended before anybody decided about it (state `waiting`, RFC 3857 section 4.7.1).

They are rows of table `watchers`, read when somebody asks: never all of them, and none is kept here for longer than
its change takes from the journal into the table. A watcher waits once for a presentity and package, whatever the
parameters of its subscriptions were: that is what the key of the table can tell apart.
"""

import hashlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

from presence._fastcore import Fanout
from presence.errors import Forbidden, StoreError
from presence.events.package import EventPackage
from presence.events.registry import Registry
from presence.policy.decision import CONFIRM, OPEN, Decision, Policy
from presence.store.base import Store, Value, Write, as_received
from presence.subscription.book import Book
from presence.subscription.machine import Input, decide_transition, input_of
from presence.subscription.notify import Notify, Resource
from presence.values import Aor, SubscriptionStatus, WatcherEvent, WatcherRecord

SHOWN = 1000
"""Waiting watchers in one document; the latest ones when there are more."""

PENDING, WAITING = int(SubscriptionStatus.PENDING), SubscriptionStatus.WAITING

Decide = Callable[[EventPackage, Aor, Aor], Decision]


class Asked(NamedTuple):
    """Who asked for whom, which names a row of `watchers`."""

    package: str
    presentity: Aor
    watcher: Aor

    @property
    def row(self) -> tuple[str, str, str, str]:
        """The columns that name it."""
        return (self.presentity.uri, self.watcher.username, self.watcher.domain, self.package)


class Row(NamedTuple):
    """What the table says of the subscription that waits."""

    status: int | None
    waiting_id: str | None
    shown_uri: str | None
    display_name: str | None
    since: float

    @classmethod
    def read(cls, values: tuple[Value, ...]) -> "Row":
        """Take the columns as queries return them behind the watcher; what a script got wrong counts as not there."""
        status, name, uri, display, since = map(as_received, values)
        return cls(
            status if isinstance(status, int) else None,
            None if name is None else str(name),
            None if uri is None else str(uri),
            None if display is None else str(display),
            since if isinstance(since, int | float) else 0,
        )


def wait(asked: Asked, record: WatcherRecord | None) -> Write:
    """Say which subscription waits, or that none does."""
    if record is None:
        return ("watchers_wait", (*asked.row, "", None, None, None))
    since = int(record.subscribed_at)
    return ("watchers_wait", (*asked.row, record.id, record.uri, record.display_name, since))


class Waiting:
    """Moves subscriptions into waiting and out of it, each told to watcher information when it is stored."""

    def __init__(
        self,
        table: Fanout,
        store: Store,
        notify: Notify,
        book: Book,
        registry: Registry,
        decide: Decide,
        policy: Policy,
    ) -> None:
        self._table = table
        self._store = store
        self._notify = notify
        self._book = book
        self._registry = registry
        self._decide = decide
        self._policy = policy
        self._recent: dict[tuple[str, Aor], dict[Aor, tuple[WatcherRecord | None, int]]] = {}
        """What is acknowledged and perhaps not in the table yet, with the store's count of changes at that time."""
        self._entering: dict[int, tuple[Asked, WatcherRecord | None]] = {}
        """By slot: what ends when the change is stored that lets its subscription wait."""
        self._doubtful: dict[Asked, None] = {}

    def keeps(self, package: EventPackage) -> bool:
        """Whether subscriptions to a package can be pending at all."""
        return package.authorised and self._policy is not OPEN

    # ---- what waits ----

    def find(self, asked: Asked) -> WatcherRecord | None:
        """Return the watcher's subscription that waits; raises StoreError."""
        known = self._recent.get((asked.package, asked.presentity), {}).get(asked.watcher)
        if known is not None:
            return known[0]
        row = self._row(asked)
        return None if row is None else self._record(asked, row)

    def records(self, package: str, presentity: Aor) -> list[WatcherRecord]:
        """Return the watchers that wait for a presentity; raises StoreError."""
        served = self._registry.get(package)
        if served is None or not self.keeps(served):
            return []
        found: list[WatcherRecord] = []
        for asked, record in self._all(package, presentity):
            if self._decide(served, presentity, asked.watcher).status is SubscriptionStatus.PENDING:
                found.append(record)
            else:
                # Decided while nobody looked; it ends at the next tick.
                self._doubtful[asked] = None
        return found

    def _all(self, package: str, presentity: Aor) -> Iterator[tuple[Asked, WatcherRecord]]:
        recent = self._recent.get((package, presentity), {})
        for username, domain, *values in self._store.read("watchers_waiting", (presentity.uri, package, SHOWN)):
            asked = Asked(package, presentity, Aor(str(as_received(username)), str(as_received(domain))))
            if asked.watcher in recent:
                continue
            record = self._record(asked, Row.read(tuple(values)))
            if record is not None:
                yield asked, record
        for watcher, (known, _) in recent.items():
            if known is not None:
                yield Asked(package, presentity, watcher), known

    def _row(self, asked: Asked) -> Row | None:
        for row in self._store.read("watchers_row", asked.row):
            return Row.read(row[2:])
        return None

    def _record(self, asked: Asked, row: Row) -> WatcherRecord | None:
        """Return what waits by a row; one of others, which does not say, waits while nobody watches."""
        name = row.waiting_id
        if name is None and row.status == PENDING and not self._watches(asked):
            name = hashlib.blake2b("\0".join(asked.row).encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
        if not name:
            return None
        uri = row.shown_uri or asked.watcher.uri
        return WatcherRecord(name, uri, row.display_name or "", WAITING, WatcherEvent.TIMEOUT, row.since, 0.0)

    def _watches(self, asked: Asked) -> bool:
        resource = self._notify.find((asked.package, asked.presentity))
        slots = [] if resource is None else self._table.group_slots(resource.gid)
        return any(self._book.watcher(self._table.facts(slot).owner) == asked.watcher for slot in slots)

    def check(self, asked: Asked, most: int) -> None:
        """Raise Forbidden when one more presentity would have to decide about the watcher than may (section 4.7.1)."""
        if most and self._row(asked) is None:
            for (count,) in self._store.read("watchers_count_waiting", (asked.watcher.username, asked.watcher.domain)):
                if isinstance(count, int) and count >= most:
                    raise Forbidden("Too Many Subscriptions of One Watcher")

    # ---- into waiting ----

    def remember(self, asked: Asked, record: WatcherRecord, since: float) -> list[Write]:
        """Say which subscription waits, undecided `since` then, also when the watcher's row is gone."""
        known = self._policy.record(asked.presentity, asked.watcher, asked.package, CONFIRM, since)
        return [*known, wait(asked, record)]

    def enter(self, slot: int, since: float) -> list[Write]:
        """Return what lets a subscription wait that is pending since then, to be stored together with its removal."""
        resource = self._notify.resource_of(slot)
        if not self.keeps(resource.package):
            return []
        asked = self._asked(slot, resource)
        self._entering[slot] = (asked, self.find(asked))
        return self.remember(asked, self._notify.watching.record(slot, WAITING, WatcherEvent.TIMEOUT), since)

    def entered(self, slot: int) -> bool:
        """Note that `enter` is stored; False when the subscription ends otherwise."""
        asked, before = self._entering.pop(slot, (None, None))
        if asked is None:
            return False
        self.now_waits(asked, before, self._notify.watching.record(slot, WAITING, WatcherEvent.TIMEOUT))
        return True

    def leave_out(self, slot: int) -> list[Write]:
        """Return what has to be stored for a pending subscription that ends without waiting."""
        resource = self._notify.resource_of(slot)
        if not self.keeps(resource.package):
            return []
        asked = self._asked(slot, resource)
        row = self._row(asked)
        # Another server's row would say that it waits as soon as nobody watches.
        return [wait(asked, None)] if row is not None and row.waiting_id is None else []

    def now_waits(self, asked: Asked, before: WatcherRecord | None, record: WatcherRecord) -> None:
        """Tell that a subscription waits from now on, in place of the one `before`."""
        before = self._current(asked, before)
        if before is not None and before.id != record.id:
            self._tell_end(asked, before, Input.SUBSCRIBED_AGAIN)
        self._note(asked, record)
        self._notify.record_changed(asked.package, asked.presentity, record)

    def _asked(self, slot: int, resource: Resource) -> Asked:
        return Asked(resource.package.name, resource.presentity, self._book.watcher(self._table.facts(slot).owner))

    # ---- out of waiting ----

    def replacement(self, asked: Asked, decision: Decision) -> tuple[WatcherRecord | None, list[Write]]:
        """Return what waited until this new subscription of the watcher came, and what ends that."""
        found = self.find(asked)
        if found is None:
            return None, []
        return found, [wait(asked, None)]

    def replaced(self, asked: Asked, before: WatcherRecord | None, decision: Decision) -> None:
        """Tell that a new subscription took the place of the one that waited."""
        pending = decision.status is SubscriptionStatus.PENDING
        self._end(asked, before, Input.SUBSCRIBED_AGAIN if pending else input_of(decision.status))

    def refused(self, asked: Asked, decision: Decision) -> None:
        """Let the policy's refusal of a new subscription end the one that waited."""
        self._settle(asked, self.find(asked), decision)

    def reassess(self, presentity: Aor) -> None:
        """Decide anew about everybody who waits for a presentity, after its rules have changed."""
        for name in self._registry.names:
            package = self._registry.get(name)
            if package is not None and self.keeps(package):
                self._doubtful |= {asked: None for asked, _ in self._all(name, presentity)}

    def reconsider(self, asked: Asked, before: Row | None) -> None:
        """Decide anew after somebody changed the row, which said `before`; raises StoreError."""
        package = self._registry.get(asked.package)
        if package is None or not self.keeps(package):
            return
        row = self._row(asked)
        if asked.watcher in self._recent.get((asked.package, asked.presentity), {}):
            record = self.find(asked)
        elif row is not None and row.waiting_id is not None:
            record = self._record(asked, row)
        else:
            # Taken out, or written anew by a tool that knows nothing of who waits.
            record = (self._record(asked, before) if before else None) or (self._record(asked, row) if row else None)
        if record is None:
            return
        decision = self._decide(package, asked.presentity, asked.watcher)
        if decision.status is not SubscriptionStatus.PENDING:
            self._settle(asked, record, decision)
        elif row is None:
            self._end(asked, record, Input.GAVE_UP)
        elif row.waiting_id is None and before is not None and before.waiting_id:
            self._store.submit([wait(asked, record)], lambda error: None)

    def tick(self, now: float) -> None:
        """Decide about those who may wait no more, and forget what is in the table."""
        if self._doubtful:
            doubtful, self._doubtful = self._doubtful, {}
            for asked in doubtful:
                try:
                    self.reconsider(asked, None)
                except StoreError:
                    self._doubtful[asked] = None
        if self._recent:
            _, stored = self._store.progress
            for place, watchers in list(self._recent.items()):
                left = {watcher: known for watcher, known in watchers.items() if known[1] > stored}
                if left:
                    self._recent[place] = left
                else:
                    del self._recent[place]

    def _settle(self, asked: Asked, record: WatcherRecord | None, decision: Decision) -> None:
        if record is None:
            return

        def stored(error: StoreError | None) -> None:
            if error is None:
                self._end(asked, record, input_of(decision.status))
            else:
                self._doubtful[asked] = None

        known = self._policy.record(asked.presentity, asked.watcher, asked.package, decision, record.subscribed_at)
        self._store.submit([*known, wait(asked, None)], stored)

    def _end(self, asked: Asked, before: WatcherRecord | None, happened: Input) -> None:
        before = self._current(asked, before)
        if before is not None:
            self._tell_end(asked, before, happened)
            self._note(asked, None)

    def _current(self, asked: Asked, before: WatcherRecord | None) -> WatcherRecord | None:
        """Return what waits after all that was stored since `before` was found."""
        known = self._recent.get((asked.package, asked.presentity), {}).get(asked.watcher)
        return before if known is None else known[0]

    def _note(self, asked: Asked, record: WatcherRecord | None) -> None:
        acknowledged, _ = self._store.progress
        self._recent.setdefault((asked.package, asked.presentity), {})[asked.watcher] = (record, acknowledged)

    def _tell_end(self, asked: Asked, record: WatcherRecord, happened: Input) -> None:
        transition = decide_transition(WAITING, happened)
        if transition is not None:
            status, event, _ = transition
            self._notify.record_changed(asked.package, asked.presentity, record._replace(status=status, event=event))
