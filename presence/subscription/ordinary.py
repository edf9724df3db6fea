"""The SUBSCRIBE requests that most are, in batches and without the detours of the others.

An ordinary one comes over UDP, has plain addresses and no route, and asks for the one usage of its dialog; where rules
decide it is a refresh, for what was decided stands until they change. What it leads to is what `notifier` does with
all; a test compares the two.
"""

from functools import partial

from presence._fastcore import Arrivals, Fanout, Message, Subscribing
from presence.errors import StoreError
from presence.events.package import Addressing, Selecting
from presence.events.registry import Registry
from presence.policy.decision import OPEN, Policy
from presence.sip.endpoint import Endpoint, ServerTransaction
from presence.store.base import Store
from presence.subscription.book import Book
from presence.subscription.notify import Notify, Resource
from presence.subscription.quota import Quota
from presence.subscription.request import Limits
from presence.values import Aor


class Ordinary:
    """Begins and extends subscriptions, many at a time."""

    def __init__(
        self,
        registry: Registry,
        table: Fanout,
        store: Store,
        notify: Notify,
        book: Book,
        limits: Limits,
        endpoint: Endpoint,
        quota: Quota,
        policy: Policy,
    ) -> None:
        self._registry = registry
        self._store = store
        self._notify = notify
        self._lanes = book.lanes
        self._endpoint = endpoint
        self._begun_lines, self._refreshed_lines = (lines.encode() for lines in limits.acceptance[:2])
        self._subscribing = Subscribing(
            table,
            endpoint.transactions,
            limits.aiming.allowed,
            book.lanes.taken,
            limits.min_expires_s,
            limits.max_expires_s,
            limits.expires_offset_s,
            book.boot,
            limits.domains,
            book.asserted,
            book.shared,
            limits.aiming.nat,
            trusted=limits.trusted,
            unproven_per_target=limits.unproven_per_target,
            quota=quota if quota.limiting else None,
        )
        for name in registry.names:
            package = registry.get(name)
            if package is not None and not package.watches and not isinstance(package, Addressing):
                guarded, selecting = package.authorised and policy is not OPEN, isinstance(package, Selecting)
                kind, lasting = package.content_type, package.default_expires_s
                self._subscribing.serve(name, kind, lasting, guarded, selecting=selecting)

    def handle(self, requests: list[Message], now: float) -> list[Message]:
        """Serve the ordinary SUBSCRIBE requests of a tick, and return the other requests."""
        if not self._endpoint.hurried:
            return requests
        others, batch = self._subscribing.take(requests, now, self._store.new_id)
        if batch is not None:
            try:
                self._store.submit(batch.writes, partial(self._done, batch))
            except StoreError as error:
                self._done(batch, error)
        return others

    def _done(self, batch: Arrivals, error: StoreError | None) -> None:
        try:
            if error is None:
                self._committed(batch)
            else:
                self._subscribing.undo(batch)
                for request in [*batch.begun, *batch.extended]:
                    ServerTransaction(self._endpoint, request).refuse(error)
        finally:
            for slot in self._subscribing.extended_slots(batch):
                self._lanes.leave(slot)

    def _committed(self, batch: Arrivals) -> None:
        try:
            if batch.begun:
                self._begun(batch)
        finally:
            if batch.extended:
                self._extended(batch)

    def _begun(self, batch: Arrivals) -> None:
        notify, endpoint = self._notify, self._endpoint
        resources = [notify.find(key) or self._resource(*key) for key in batch.resources]
        gids = [resource.gid for resource in resources]
        lines = endpoint.server_line + self._begun_lines
        slots = self._subscribing.begun(batch, gids, lines, endpoint.now)
        if notify.has_templates:
            for resource, slot in zip(resources, slots, strict=True):
                notify.watcher_changed(resource, slot)
        self._tell(slots, set(resources))

    def _tell(self, slots: list[int], resources: set[Resource]) -> None:
        """Queue a NOTIFY for each slot; a resource whose document cannot be made keeps nobody else waiting."""
        broken: dict[Resource, Exception] = {}
        told_apart = False
        for resource in resources:
            try:
                if resource.narrator is None:
                    self._notify.freshen(resource)
                else:
                    told_apart = True
            except Exception as error:
                broken[resource] = error
        if broken:
            slots = [slot for slot in slots if self._notify.resource_of(slot) not in broken]
        if told_apart:
            for slot in slots:
                if self._notify.resource_of(slot).narrator is not None:
                    self._notify.individual.again(slot)
        self._subscribing.tell(slots)
        for failure in broken.values():
            raise failure

    def _resource(self, name: str, address: tuple[str, str]) -> Resource:
        package = self._registry.get(name)
        assert package is not None
        return self._notify.resource(package, Aor(*address))

    def _extended(self, batch: Arrivals) -> None:
        lines = self._endpoint.server_line + self._refreshed_lines
        slots, groups = self._subscribing.extended(batch, lines, self._endpoint.now)
        self._tell(slots, {self._notify.resource_by(gid) for gid in groups})
