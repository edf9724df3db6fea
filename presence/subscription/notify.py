"""What NOTIFYs say: one document per resource and view, or a body per watcher for watcher information."""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from sys import intern

from presence._fastcore import Fanout
from presence.events.package import EventPackage, Withholding
from presence.events.registry import Registry
from presence.events.winfo import Shows, WatcherList, everybody, nobody
from presence.policy.decision import OWN, POLITE, UNDECIDED, WHOLE
from presence.sip.headers import NameAddr, parse_name_addr, parse_uri, read_aor
from presence.tally import Tally
from presence.values import Aor, SubscriptionStatus, WatcherEvent, WatcherRecord

Documents = Callable[[EventPackage, Aor], bytes]
"""The composed document of a presentity: the one door everything a watcher sees comes through."""


class Resource:
    """A presentity in one package, as long as it has subscriptions."""

    __slots__ = ("gid", "package", "presentity", "stale", "told", "watchers")

    def __init__(self, package: EventPackage, presentity: Aor, gid: int) -> None:
        self.package = package
        self.presentity = presentity
        self.gid = gid
        self.stale = True
        """The table's body is older than the publications."""
        self.told: bool | None = None
        """Whether every watcher has been told the table's body, or is being told; None when nobody knows."""
        self.watchers = WatcherList(presentity.uri, package.watches) if package.watches else None


class Notify:
    """Plans NOTIFYs; the watcher table sends them. Several changes in one tick make one NOTIFY."""

    def __init__(
        self, table: Fanout, registry: Registry, documents: Documents, tally: Tally, *, interval_s: float = 0.0
    ) -> None:
        self._table = table
        self._registry = registry
        self._documents = documents
        self._tally = tally
        self._resources: dict[str, dict[Aor, Resource]] = {name: {} for name in registry.names}
        """By package and presentity."""
        self._by_gid: list[Resource | None] = []
        self._templates = 0
        self._changed: dict[Resource, float] = {}
        self._sent: dict[int, tuple[int, int | None]] = {}
        self.shown: dict[int, Aor] = {}
        """By first slot of a dialog: whom watcher information names as its watcher in place of From."""
        self._sending: list[float] = []
        self._interval_s = interval_s
        self._quiet_until: dict[Resource, float] = {}

    # ---- resources ----

    def resource(self, package: EventPackage, presentity: Aor) -> Resource:
        """Return the resource, made when it is new."""
        resources = self._resources[package.name]
        resource = resources.get(presentity)
        if resource is None:
            gid = self._table.add_group(package.name.encode(), individual=bool(package.watches))
            self._templates += bool(package.watches)
            # One string for all presentities of a domain.
            presentity = Aor(presentity.username, intern(presentity.domain))
            resource = resources[presentity] = Resource(package, presentity, gid)
            while len(self._by_gid) <= gid:
                self._by_gid.append(None)
            self._by_gid[gid] = resource
        return resource

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
            self._templates -= resource.watchers is not None
            self._by_gid[resource.gid] = None
            while self._by_gid and self._by_gid[-1] is None:
                self._by_gid.pop()
            del self._resources[resource.package.name][resource.presentity]
            self._changed.pop(resource, None)
            self._quiet_until.pop(resource, None)

    def ended(self, gid: int) -> None:
        """Take note that a final NOTIFY of the resource is done."""
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

    def changed_all(self, now: float) -> None:
        """Tell every watcher the present state: after a start nobody knows what they were told last."""
        for resource in self.all():
            self._changed.setdefault(resource, now)
            resource.told = None

    def all(self) -> Iterator[Resource]:
        """Return every resource that has subscriptions."""
        return (resource for resource in self._by_gid if resource is not None)

    def flush(self, now: float) -> None:
        """Queue the NOTIFYs of this tick's changes."""
        if not self._changed:
            return
        changed, self._changed = self._changed, {}
        for resource, received_at in changed.items():
            if resource.gid >= len(self._by_gid) or self._by_gid[resource.gid] is not resource:
                continue
            if self._quiet_until.get(resource, now) > now:
                self._changed.setdefault(resource, received_at)
                continue
            if resource.watchers is not None:
                self._keep_quiet(resource, now)
                slots = self._table.group_slots(resource.gid)
                for slot in slots:
                    self._offer(slot, resource, now)
                # Once for all of them: each looks at every other otherwise.
                reached = (self._sent[slot][1] for slot in slots if slot in self._sent)
                listening = [sequence for sequence in reached if sequence is not None]
                resource.watchers.forget(min(listening, default=resource.watchers.sequence))
                continue
            known = resource.told is not None
            self._refresh_body(resource)
            if not known or not resource.told:
                resource.told = True
                # Who may not see the document is not to see when it changes either.
                if self._table.notify_group(resource.gid, WHOLE if known else 0):
                    self._sending.append(received_at)
                    self._keep_quiet(resource, now)

    def _keep_quiet(self, resource: Resource, now: float) -> None:
        """Tell the next change of a resource no sooner than the configured interval (RFC 3856 section 6.10)."""
        if self._interval_s:
            self._quiet_until[resource] = now + self._interval_s

    def observe_sent(self, now: float) -> None:
        """Record how long the changes took whose NOTIFYs have just left."""
        for received_at in self._sending:
            self._tally.publish_to_notify.observe(max(0.0, now - received_at))
        self._sending.clear()

    def tell(self, slot: int, resource: Resource) -> None:
        """Queue the present state for one watcher (after a SUBSCRIBE)."""
        if resource.watchers is not None:
            version, _ = self._sent.get(slot, (-1, None))
            self._sent[slot] = (version, None)
        else:
            self._refresh_body(resource)
        self._table.notify(slot)

    def show(self, resource: Resource, view: int) -> None:
        """Let the table have what watchers of a view are shown when it is not the composed document."""
        package = resource.package
        if view in (POLITE, UNDECIDED) and isinstance(package, Withholding):
            body = package.withhold(resource.presentity, pending=view == UNDECIDED)
            self._table.set_body(resource.gid, view, _tail(package.content_type, body))

    def running(self) -> list[int]:
        """Return the slots of all running subscriptions, those to watcher information first."""
        resources = sorted(self.all(), key=lambda resource: resource.watchers is None)
        return [slot for resource in resources for slot in self._table.group_slots(resource.gid)]

    def running_outside(self, domains: frozenset[str]) -> list[int]:
        """Return the slots of subscriptions to presentities of other domains than these."""
        strangers = [resource for resource in self.all() if resource.presentity.domain not in domains]
        return [slot for resource in strangers for slot in self._table.group_slots(resource.gid)]

    def finish(self, slot: int, resource: Resource, reason: str, *, body: bool) -> None:
        """End a subscription with a final NOTIFY."""
        if resource.watchers is None and body:
            self._refresh_body(resource)
        self._table.finish(slot, reason.encode(), body=body)

    def _refresh_body(self, resource: Resource) -> None:
        if not resource.stale:
            return
        document = self._documents(resource.package, resource.presentity)
        # The table has the one copy of what watchers were told, and says whether this is news.
        news = self._table.set_body(resource.gid, WHOLE, _tail(resource.package.content_type, document))
        resource.stale = False
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
        for template in self._registry.templates_of(resource.package.name):
            winfo = self._resources[template.name].get(resource.presentity)
            if winfo is not None and winfo.watchers is not None:
                record = self.record(slot, status, event)
                winfo.watchers.changed(record)
                self._changed.setdefault(winfo, record.subscribed_at)

    def record(
        self, slot: int, status: SubscriptionStatus | None = None, event: WatcherEvent | None = None
    ) -> WatcherRecord:
        """Describe a subscription as watcher information does (RFC 3858 section 4.2)."""
        facts = self._table.facts(slot)
        parts = self._table.dialog(slot)
        address = parse_name_addr(parts[3].decode("utf-8", "surrogateescape"))
        shown = self.shown.get(facts.owner)
        if shown is not None:
            address = NameAddr("", shown.uri, {})
        if status is None:
            status = SubscriptionStatus.PENDING if facts.pending else SubscriptionStatus.ACTIVE
        if event is None:
            event = WatcherEvent.SUBSCRIBE
        # Stable over a restart, and tells nobody the tags by which the dialog could be spoken into.
        name = hashlib.blake2b(b"\0".join((parts[5], parts[4], parts[7], parts[6])), digest_size=8).hexdigest()
        return WatcherRecord(name, address.uri, address.display, status, event, facts.subscribed_at, facts.expires_at)

    def offer_wanted(self, slot: int, now: float) -> None:
        """Hand a row the body it asked for."""
        if self._table.state(slot) != "free" and self._table.flight(slot) == "asked":
            self._offer(slot, self.resource_of(slot), now)

    def _offer(self, slot: int, resource: Resource, now: float) -> None:
        if not self._table.ready(slot) or resource.watchers is None:
            return
        version, since = self._sent.get(slot, (-1, None))
        final = self._table.state(slot) == "terminated"
        shows = self._shows(slot)
        if not final and (shows is nobody or (since is not None and not resource.watchers.has_news(since, shows))):
            self._table.settle(slot)
            return
        body, sequence = resource.watchers.body(since, version + 1, lambda: self._watchers(resource), now, shows)
        if final:
            self._sent.pop(slot, None)
            self._table.notify_row(slot, _tail(resource.package.content_type, body))
            return
        self._sent[slot] = (version + 1, sequence)
        self._table.notify_row(slot, _tail(resource.package.content_type, body))

    def _shows(self, slot: int) -> Shows:
        """Return which watchers a subscriber to watcher information may hear of (RFC 3857 section 4.6)."""
        view = self._table.facts(slot).view
        if view == WHOLE:
            return everybody
        if view != OWN:
            return nobody
        own = read_aor(self._table.dialog(slot)[3].decode("utf-8", "surrogateescape"))
        return lambda record: parse_uri(record.uri).aor() == own

    def _watchers(self, resource: Resource) -> Iterable[WatcherRecord]:
        watched = self._resources.get(resource.package.watches, {}).get(resource.presentity)
        if watched is None:
            return ()
        return [self.record(slot) for slot in self._table.group_slots(watched.gid)]

    def restore_version(self, slot: int, version: int) -> None:
        """Go on above every version sent before a restart, with full state."""
        self._sent[slot] = (version, None)

    def lost(self, slot: int) -> None:
        """Note that the watcher did not take its last document: partial state would lack what was in it."""
        if slot in self._sent:
            self._sent[slot] = (self._sent[slot][0], None)

    def forget(self, slot: int) -> None:
        """Drop what is known of a row that is free."""
        self._sent.pop(slot, None)


def _tail(content_type: str, body: bytes) -> bytes:
    return b"Content-Type: %s\r\nContent-Length: %d\r\n\r\n%s" % (content_type.encode(), len(body), body)
