"""What NOTIFYs say: one document per resource and view, or a body per watcher for watcher information."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from sys import intern
from typing import Any

from presence._fastcore import Fanout
from presence.events.package import EventPackage, Narrator, Pointing, Withholding, narrating, paced
from presence.events.registry import Registry
from presence.events.winfo import WatcherList
from presence.policy.decision import FILTERED, POLITE, UNDECIDED, WHOLE, Decision
from presence.policy.view import Shown
from presence.subscription.individual import Individual, whole_tail
from presence.subscription.views import Views, read
from presence.subscription.watching import Watching
from presence.tally import Tally
from presence.values import Aor, Publication, SubscriptionStatus, WatcherEvent, WatcherRecord

Documents = Callable[[EventPackage, Aor], bytes]
"""The composed document of a presentity: the one door everything a watcher sees comes through."""

Publications = Callable[[tuple[str, Aor]], Sequence[Publication]]
"""What is published for a package's name and a presentity, oldest first."""


class Resource:
    """A presentity in one package, as long as it has subscriptions."""

    __slots__ = ("gid", "narrator", "news", "package", "presentity", "stale", "told", "views", "withheld")

    def __init__(self, package: EventPackage, presentity: Aor, gid: int) -> None:
        self.package = package
        self.presentity = presentity
        self.gid = gid
        self.stale = True
        """The table's body is older than the publications."""
        self.told: bool | None = None
        """Whether every watcher has been told the table's body, or is being told; None when nobody knows."""
        self.narrator: Narrator | None = None
        """What its subscribers are told one by one; None when all of a view get the same document."""
        self.views: Views | None = None
        """Its filtered views, once there is one."""
        self.news = False
        """Whether one of them is another than its watchers were told."""
        self.withheld = 0
        """Which documents of those who may not see the composed one the table has: a bit for each view."""


class Notify:
    """Plans NOTIFYs; the watcher table sends them. Several changes in one tick make one NOTIFY."""

    def __init__(
        self,
        table: Fanout,
        registry: Registry,
        documents: Documents,
        publications: Publications,
        tally: Tally,
        *,
        interval_s: float = 0.0,
    ) -> None:
        self._table = table
        self._registry = registry
        self._documents = documents
        self._publications = publications
        self._tally = tally
        self._resources: dict[str, dict[Aor, Resource]] = {name: {} for name in registry.names}
        """By package and presentity."""
        self._by_gid: list[Resource | None] = []
        self._templates = 0
        self._changed: dict[Resource, float] = {}
        self.individual = Individual(table)
        self.watching = Watching(table)
        self.waiting: Callable[[str, Aor], Iterable[WatcherRecord]] = lambda package, presentity: ()
        """The watchers of a package's name and presentity that have no subscription and wait for a decision."""
        self._sending: list[float] = []
        self._interval_s = interval_s
        self._quiet_until: dict[Resource, float] = {}
        self._shown: tuple[Resource, Shown | None] | None = None
        self.finals: dict[int, int] = {}
        """Resources by the slots whose final NOTIFY, which may have a document, is not done."""
        self.on_resource: Callable[[Resource, bool], None] = lambda resource, there: None
        """Hears of each resource that gets its first subscription (True) and that has lost its last one."""
        self.on_admitted: Callable[[int], None] = lambda slot: None
        """Hears of each subscription whose decision has just come through its commit."""

    # ---- resources ----

    def resource(self, package: EventPackage, presentity: Aor) -> Resource:
        """Return the resource, made when it is new."""
        resources = self._resources[package.name]
        resource = resources.get(presentity)
        if resource is None:
            narrates = narrating(package)
            gid = self._table.add_group(package.name.encode(), individual=narrates is not None)
            self._templates += bool(package.watches)
            # One string for all presentities of a domain.
            presentity = Aor(presentity.username, intern(presentity.domain))
            resource = resources[presentity] = Resource(package, presentity, gid)
            if narrates is not None:
                resource.narrator = narrates.narrate(presentity, lambda: self._source(package, presentity))
            while len(self._by_gid) <= gid:
                self._by_gid.append(None)
            self._by_gid[gid] = resource
            self.on_resource(resource, True)
        return resource

    def serves(self, package: str) -> bool:
        """Return whether there is an event package of that name."""
        return package in self._resources

    def watched(self, presentity: Aor) -> bool:
        """Return whether somebody watches a presentity, in any event package."""
        return any(presentity in resources for resources in self._resources.values())

    def presentities(self) -> Iterator[Aor]:
        """Yield whom somebody watches, package by package, who is watched longest first."""
        for resources in self._resources.values():
            yield from resources

    def find(self, key: tuple[str, tuple[str, str]]) -> Resource | None:
        """Return the resource of a package's name and a presentity, None while nobody watches it."""
        package, presentity = key
        return self._resources[package].get(presentity)  # type: ignore[call-overload,no-any-return]

    @property
    def has_templates(self) -> bool:
        """Whether somebody watches watchers."""
        return self._templates > 0

    def freshen(self, resource: Resource) -> None:
        """Let the table have the present document of a resource."""
        self._refresh_body(resource)

    def resource_by(self, gid: int) -> Resource:
        """Return the resource whose watchers are that group."""
        resource = self._by_gid[gid]
        assert resource is not None
        return resource

    def resource_of(self, slot: int) -> Resource:
        """Return what the subscription watches."""
        return self.resource_by(self._table.facts(slot).group)

    def release_unused(self, resource: Resource) -> None:
        """Forget the resource when its last row is gone; final NOTIFYs that are still out keep it until `ended`."""
        if self._table.group_size(resource.gid) == 0 and self._table.drop_group(resource.gid):
            self._templates -= bool(resource.package.watches)
            self._by_gid[resource.gid] = None
            while self._by_gid and self._by_gid[-1] is None:
                self._by_gid.pop()
            del self._resources[resource.package.name][resource.presentity]
            self._changed.pop(resource, None)
            self._quiet_until.pop(resource, None)
            self.on_resource(resource, False)

    def ended(self, slot: int, gid: int) -> None:
        """Take note that a final NOTIFY of the resource is done."""
        self.finals.pop(slot, None)
        # The group may be another resource's by now, which is in use: then this does nothing.
        resource = self._by_gid[gid] if gid < len(self._by_gid) else None
        if resource is not None:
            self.release_unused(resource)

    def counts(self) -> dict[tuple[str, str], int]:
        """Return the number of running subscriptions by package and status."""
        counts: dict[tuple[str, str], int] = {}
        for resource in self.all():
            pending = self._table.group_pending(resource.gid)
            running = {"pending": pending, "active": self._table.group_size(resource.gid) - pending}
            for status, count in running.items():
                if not count:
                    continue
                key = (resource.package.name, status)
                counts[key] = counts.get(key, 0) + count
        return counts

    # ---- changes ----

    def changed(self, package: str, presentity: Aor, received_at: float) -> None:
        """Note that the presentity's document may be another one since a request received at `received_at`."""
        resource = self._resources[package].get(presentity)
        if resource is not None:
            resource.stale = True
            self._changed.setdefault(resource, received_at)

    def outdate(self, keys: Iterable[tuple[str, Aor]]) -> None:
        """Note that documents would be others by now, without telling anybody who has been told."""
        for key in keys:
            resource = self.find(key)
            if resource is not None:
                resource.stale = True

    def changed_all(self, now: float) -> None:
        """Tell every watcher the present state: after a start nobody knows what they were told last."""
        for resource in self.all():
            self._changed.setdefault(resource, now)
            resource.told = None

    def tell_again(self, package: str, presentity: Aor, now: float) -> None:
        """Tell every watcher of a presentity its present state, also what they know already."""
        resource = self._resources[package].get(presentity)
        if resource is not None:
            resource.stale, resource.told = True, None
            if resource.narrator is not None:
                for slot in self._table.group_slots(resource.gid):
                    self.individual.again(slot)
            self._changed.setdefault(resource, now)

    def all(self) -> Iterator[Resource]:
        """Return every resource that has subscriptions."""
        return (resource for resource in self._by_gid if resource is not None)

    def flush(self, now: float) -> None:
        """Queue the NOTIFYs of this tick's changes."""
        self._shown = None
        if not self._changed:
            return
        changed, self._changed = self._changed, {}
        for resource, received_at in changed.items():
            if resource.gid >= len(self._by_gid) or self._by_gid[resource.gid] is not resource:
                continue
            if self._quiet_until.get(resource, now) > now:
                self._changed.setdefault(resource, received_at)
                continue
            if resource.narrator is not None:
                self._narrate(resource, resource.narrator, now)
                continue
            known = resource.told is not None
            self._refresh_body(resource)
            queued = 0
            if not known or not resource.told:
                resource.told = True
                # Who may not see the document is not to see when it changes either.
                queued = self._table.notify_group(resource.gid, WHOLE if known else 0)
            if resource.news:
                # A change that a watcher may not see is no news to it (RFC 5025 section 8).
                resource.news = False
                queued += self._table.notify_fresh(resource.gid)
            if queued:
                self._sending.append(received_at)
                self._keep_quiet(resource, now)

    def _narrate(self, resource: Resource, narrator: Narrator, now: float) -> None:
        """Hand each subscriber of a resource what it lacks."""
        slots = narrator.concerned() if isinstance(narrator, Pointing) else None
        if slots is None:
            slots = self._table.group_slots(resource.gid)
        told = [self._offer(slot, resource, narrator, now) for slot in slots]
        if any(told):
            self._keep_quiet(resource, now)
        # Once for all of them: each looks at every other otherwise.
        narrator.forget(self.individual.reached(slots))

    def _keep_quiet(self, resource: Resource, now: float) -> None:
        """Tell the next change of a resource no sooner than the configured interval (RFC 3856 section 6.10)."""
        interval_s = self._interval_s
        pace = paced(resource.package)
        if pace is not None:
            interval_s = max(interval_s, pace.interval_s)
        if interval_s:
            self._quiet_until[resource] = now + interval_s

    def observe_sent(self, now: float) -> None:
        """Record how long the changes took whose NOTIFYs have just left."""
        for received_at in self._sending:
            self._tally.publish_to_notify.observe(max(0.0, now - received_at))
        self._sending.clear()

    def tell(self, slot: int, resource: Resource) -> None:
        """Queue the present state for one watcher (after a SUBSCRIBE)."""
        if resource.narrator is not None:
            self.individual.again(slot)
        else:
            self._refresh_body(resource)
        self._table.notify(slot)

    def show(self, resource: Resource, decision: Decision) -> int:
        """Return the number of the view that a decision gives, and let the table have what it shows."""
        view, package = decision.view, resource.package
        if resource.narrator is not None:
            return view
        if view == FILTERED and decision.permissions is not None:
            if resource.views is None:
                resource.views = Views(self._table, self._tally, resource.gid, package.content_type)
            self._refresh_body(resource)
            number = resource.views.find(decision.permissions)
            return number or resource.views.add(decision.permissions, self._whole(resource))
        if view in (POLITE, UNDECIDED) and not resource.withheld >> view & 1 and isinstance(package, Withholding):
            body = package.withhold(resource.presentity, pending=view == UNDECIDED)
            self._table.set_body(resource.gid, view, whole_tail(package.content_type, body))
            resource.withheld |= 1 << view
        return view

    def number(self, resource: Resource, decision: Decision) -> int:
        """Return the number that `show` would, 0 while nobody is shown the view."""
        if decision.view == FILTERED and decision.permissions is not None and resource.narrator is None:
            return 0 if resource.views is None else resource.views.find(decision.permissions)
        return decision.view

    def _whole(self, resource: Resource) -> Shown | None:
        if self._shown is None or self._shown[0] is not resource:
            self._shown = (resource, read(self._documents(resource.package, resource.presentity)))
        return self._shown[1]

    def running(self) -> list[int]:
        """Return the slots of all running subscriptions, those to watcher information first."""
        resources = sorted(self.all(), key=lambda resource: not resource.package.watches)
        return [slot for resource in resources for slot in self._table.group_slots(resource.gid)]

    def running_outside(self, domains: frozenset[str]) -> list[int]:
        """Return the slots of subscriptions to presentities of other domains than these."""
        strangers = [resource for resource in self.all() if resource.presentity.domain not in domains]
        return [slot for resource in strangers for slot in self._table.group_slots(resource.gid)]

    def finish(self, slot: int, resource: Resource, reason: str, *, body: bool) -> None:
        """End a subscription with a final NOTIFY."""
        if resource.narrator is None and body:
            self._refresh_body(resource)
            self.finals[slot] = resource.gid
        self._table.finish(slot, reason.encode(), body=body)

    def _refresh_body(self, resource: Resource) -> None:
        if not resource.stale:
            return
        document = self._documents(resource.package, resource.presentity)
        self._shown = None
        self._tally.bodies["composed"] += 1
        # The table has the one copy of what watchers were told, and says whether this is news.
        news = self._table.set_body(resource.gid, WHOLE, whole_tail(resource.package.content_type, document))
        resource.stale = False
        if resource.views and resource.views.render(document):
            resource.news = True
        if resource.told is not None:
            resource.told = resource.told and not news
        elif resource not in self._changed:
            # Who has just come is told anyway, and nobody else is there.
            resource.told = True

    # ---- watcher information ----

    def watcher_changed(
        self,
        resource: Resource,
        slot: int,
        status: SubscriptionStatus | None = None,
        event: WatcherEvent | None = None,
    ) -> None:
        """Tell the presentity's watcher information that a subscription changed state (RFC 3857 section 4.7)."""
        self.watching.entered(slot, event)
        if self._templates:
            for winfo, watchers in self._watched(resource.package.name, resource.presentity):
                record = self.watching.record(slot, status, event)
                watchers.changed(record)
                self._changed.setdefault(winfo, record.subscribed_at)

    def record_changed(self, package: str, presentity: Aor, record: WatcherRecord) -> None:
        """Tell the presentity's watcher information of a subscription that has no row in the watcher table."""
        for winfo, watchers in self._watched(package, presentity):
            watchers.changed(record)
            self._changed.setdefault(winfo, record.subscribed_at)

    def _watched(self, package: str, presentity: Aor) -> Iterator[tuple[Resource, WatcherList]]:
        """Return the resources whose state are the watchers of a presentity."""
        for template in self._registry.templates_of(package):
            winfo = self._resources[template.name].get(presentity)
            if winfo is not None and isinstance(winfo.narrator, WatcherList):
                yield winfo, winfo.narrator

    # ---- bodies of their own ----

    def lost(self, slot: int) -> None:
        """Note that a watcher did not take its last document."""
        self.individual.lost(slot, self.resource_of(slot).narrator)

    def offer_wanted(self, slot: int, now: float) -> None:
        """Hand a row the body it asked for."""
        if self._table.state(slot) != "free" and self._table.flight(slot) == "asked":
            resource = self.resource_of(slot)
            if resource.narrator is not None:
                self._offer(slot, resource, resource.narrator, now)

    def _offer(self, slot: int, resource: Resource, narrator: Narrator, now: float) -> bool:
        return self.individual.offer(slot, narrator, resource.package.content_type, now)

    def _source(self, package: EventPackage, presentity: Aor) -> Iterable[Any]:
        """Return what a narrator's state is made of."""
        if not package.watches:
            return self._publications((package.name, presentity))
        watched = self._resources.get(package.watches, {}).get(presentity)
        slots = [] if watched is None else self._table.group_slots(watched.gid)
        return [*map(self.watching.record, slots), *self.waiting(package.watches, presentity)]
