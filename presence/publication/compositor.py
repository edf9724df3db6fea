"""The event state compositor (RFC 3903): publications of each presentity, kept in order and composed."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from sys import intern

from presence._fastcore import Message
from presence.errors import (
    BadEvent,
    BadRequest,
    IntervalTooBrief,
    NotFound,
    StoreError,
    Unavailable,
    UnknownEntityTag,
    UnsupportedMediaType,
)
from presence.events.package import EventPackage, Heeding, sparing
from presence.events.registry import Registry
from presence.publication.composing import Composing, Composition, absorbed
from presence.publication.holding import Holding, Limits, Resource
from presence.publication.operation import TABLE, Operation
from presence.publication.ordinary import Ordinary
from presence.publication.quota import Quota
from presence.sip.endpoint import Endpoint, ServerTransaction
from presence.sip.headers import read_address
from presence.sip.lanes import Lanes
from presence.store.base import Store, Write
from presence.values import Aor, Publication

Changed = Callable[[str, Aor, float], None]
"""Told after the commit of a change: package, presentity, and when the request came in."""


class Compositor:
    """Holds committed publications only: memory changes after the database did (RFC 3903 section 6, step 5)."""

    def __init__(
        self,
        registry: Registry,
        store: Store,
        limits: Limits,
        quota: Quota,
        *,
        endpoint: Endpoint,
        domains: frozenset[str],
        home: str = "",
        now: float,
        changed: Changed,
        composition: Composition = "merge",
    ) -> None:
        self._registry = registry
        self._store = store
        self._limits = limits
        self._domains = domains
        self._home = home
        self._changed = changed
        self.lanes = Lanes()
        """One change at a time for each presentity and package."""
        self.holding = Holding(endpoint.transactions, limits, quota, now)
        self.tags = self.holding.tags
        self.composing = Composing(self.holding, composition)
        """What goes into the documents."""
        self._ordinary = Ordinary(registry, store, endpoint, self.holding, self.lanes, changed)
        self._missing: set[int] = set()
        self._heeding: dict[str, Heeding] = {}
        for name in registry.names:
            package = registry.get(name)
            if isinstance(package, Heeding):
                self._heeding[name] = package

    # ---- requests ----

    def handle_ordinary(self, requests: list[Message], now: float) -> list[Message]:
        """Serve the requests of a tick that refresh or modify a publication; return the others."""
        return self._ordinary.handle(requests, now)

    @property
    def waiting(self) -> int:
        """How many changes wait for a refresh of their publication."""
        return self._ordinary.waiting

    def handle_publish(self, transaction: ServerTransaction, now: float) -> None:
        """Serve a PUBLISH when the presentity's earlier ones are done (RFC 3903 section 6)."""
        request = transaction.request
        presentity = read_address(request, self._home)
        if self._domains and presentity.domain not in self._domains:
            raise NotFound
        package = self._registry.get(request.event)
        if package is None or not package.publishable:
            raise BadEvent(headers=(("Allow-Events", ", ".join(self._registry.allowed)),))
        resource = (package.name, presentity)
        if self.lanes.enter(resource):
            self._attempt(transaction, package, resource, now)
            return
        number = self.tags.find(request)
        self.lanes.wait(resource, partial(self._resume, number, transaction, package, resource, now))
        self.tags.defer(number, 1)

    def _resume(
        self, number: int, transaction: ServerTransaction, package: EventPackage, resource: Resource, now: float
    ) -> None:
        self.tags.defer(number, -1)
        self._attempt(transaction, package, resource, now)

    def _attempt(self, transaction: ServerTransaction, package: EventPackage, resource: Resource, now: float) -> None:
        try:
            self._publish(transaction, package, resource, now)
        except Exception as error:
            transaction.refuse(error)
            self.lanes.leave(resource)

    def _publish(self, transaction: ServerTransaction, package: EventPackage, resource: Resource, now: float) -> None:
        request = transaction.request
        held = self.holding.of(resource)
        old = self._precondition(request, resource, held)
        if old is not None and not self.tags.take(old.number):
            retry = partial(self._attempt, transaction, package, resource, now)
            self._ordinary.wait(old.number, retry)
            return
        try:
            self._apply(transaction, package, resource, held, old, now)
        except Exception:
            if old is not None:
                self.tags.give(old.number)
            raise

    def _apply(
        self,
        transaction: ServerTransaction,
        package: EventPackage,
        resource: Resource,
        held: Mapping[int, Publication],
        old: Publication | None,
        now: float,
    ) -> None:
        request = transaction.request
        expires_s = self._expires(request, package)
        body = request.body
        operation = TABLE.get((body != b"", old is not None, expires_s == 0))
        if operation is None:
            raise BadRequest("Missing Body")
        if old is None:
            self.holding.quota.check(request, len(held), len(self.tags))
            new = self._read(request, package, body, None, now)
            self._insert(transaction, resource, new, expires_s)
            return
        etag = self.tags.next_tag(old.number)
        until = now + expires_s
        if operation is Operation.REFRESH:
            write: Write = ("presentity_refresh", (old.row_id, etag, int(until)))
            done = partial(self._refreshed, transaction, resource, old, etag, until)
        elif operation is Operation.REMOVE:
            write = ("presentity_delete", (old.row_id,))
            done = partial(self._removed, transaction, resource, old, etag, now)
        else:
            new = self._read(request, package, body, old, now)
            values = (int(until), int(now), new.order, new.content_type, new.body)
            write = ("presentity_modify", (old.row_id, etag, *values))
            done = partial(self._modified, transaction, resource, old, new, etag, until)
        self._store.submit((write,), done)

    def _read(
        self, request: Message, package: EventPackage, body: bytes, old: Publication | None, now: float
    ) -> Publication:
        """Step 5: the event state a request carries."""
        content_type = self._content_type(request, package)
        body = absorbed(package, old, body)
        if old is not None and old.body == body and old.content_type == content_type:
            # Many clients send the whole body again only to refresh it.
            document = old.document
        else:
            document = package.read(content_type, body)
        spares = sparing(package)
        sender = "" if spares is None else spares.sender(request)
        return Publication(now, self.holding.next_order(), content_type, body, document, sender=sender)

    def _insert(self, transaction: ServerTransaction, resource: Resource, new: Publication, expires_s: int) -> None:
        if expires_s:
            new.row_id = self._store.new_id("presentity")
        new.number = self.tags.reserve()
        quota = self.holding.quota
        quota.enter(new.number, quota.source(transaction.request))
        etag = self.tags.next_tag(new.number)
        if expires_s == 0:
            # Nothing may be stored of it (step 5), so there is nothing to wait for.
            self.holding.release(new.number)
            self._accept(transaction, etag, 0)
            self._heed(resource, new.document)
            self.lanes.leave(resource)
            return
        package, (username, domain) = resource
        until = new.received_at + expires_s
        key = (new.row_id, username, domain, package, etag)
        sender = new.sender or quota.sender(transaction.request)
        values = (int(until), int(new.received_at), new.order, new.content_type, new.body, sender, None)
        done = partial(self._inserted, transaction, resource, new, etag, until)
        try:
            self._store.submit((("presentity_insert", (*key, *values)),), done)
        except StoreError:
            self.holding.release(new.number)
            raise

    def _precondition(
        self, request: Message, resource: Resource, held: Mapping[int, Publication]
    ) -> Publication | None:
        """Step 3: the publication SIP-If-Match names."""
        entity_tag = request.if_match
        if entity_tag is None:
            return None
        if not entity_tag:
            raise BadRequest("SIP-If-Match Must Have One Entity-Tag")
        found = held.get(self.tags.find(request) or self.holding.find_foreign(resource, entity_tag))
        if found is None:
            raise UnknownEntityTag
        return found

    def _expires(self, request: Message, package: EventPackage) -> int:
        """Step 4: the interval granted, in seconds."""
        asked = request.expires
        if asked is None:
            asked = package.default_expires_s
        if 0 < asked < self._limits.min_expires_s:
            raise IntervalTooBrief(headers=(("Min-Expires", str(self._limits.min_expires_s)),))
        return min(asked, self._limits.max_expires_s)

    def _content_type(self, request: Message, package: EventPackage) -> str:
        """Step 5: the body's type, which the package must take."""
        value = request.header("Content-Type")
        if value is None:
            raise BadRequest("Missing Content-Type")
        essence = value if value in package.publishable else value.partition(";")[0].strip().lower()
        if essence not in package.publishable:
            raise UnsupportedMediaType(headers=(("Accept", ", ".join(package.publishable)),))
        coding = request.header("Content-Encoding")
        if coding is not None and (coding or "identity").strip().lower() != "identity":
            raise UnsupportedMediaType(headers=(("Accept-Encoding", "identity"),))
        # One string for all publications.
        return intern(essence)

    def _refused(self, transaction: ServerTransaction, resource: Resource, old: Publication | None) -> None:
        if old is not None:
            self.tags.give(old.number)
        transaction.refuse(Unavailable())
        self.lanes.leave(resource)

    def _inserted(
        self,
        transaction: ServerTransaction,
        resource: Resource,
        new: Publication,
        etag: str,
        until: float,
        error: StoreError | None,
    ) -> None:
        if error is not None:
            self.holding.release(new.number)
            self._refused(transaction, resource, None)
            return
        self.holding.keep(resource, new, until)
        self._accept(transaction, etag, until - new.received_at)
        self._heed(resource, new.document)
        self._changed(*resource, new.received_at)
        self.lanes.leave(resource)

    def _modified(
        self,
        transaction: ServerTransaction,
        resource: Resource,
        old: Publication,
        new: Publication,
        etag: str,
        until: float,
        error: StoreError | None,
    ) -> None:
        if error is not None:
            self._refused(transaction, resource, old)
            return
        old.adopt(new)
        self.holding.renew(old, until)
        self._accept(transaction, etag, until - new.received_at)
        self._heed(resource, new.document)
        self._changed(*resource, new.received_at)
        self.lanes.leave(resource)

    def _refreshed(
        self,
        transaction: ServerTransaction,
        resource: Resource,
        old: Publication,
        etag: str,
        until: float,
        error: StoreError | None,
    ) -> None:
        """Answer a refresh after its commit. It is no news: the publication keeps its age, by which the newest wins."""
        if error is not None:
            self._refused(transaction, resource, old)
            return
        self.holding.renew(old, until)
        self._accept(transaction, etag, until - transaction.request.received_at)
        self.lanes.leave(resource)

    def _removed(
        self,
        transaction: ServerTransaction,
        resource: Resource,
        old: Publication,
        etag: str,
        now: float,
        error: StoreError | None,
    ) -> None:
        if error is not None:
            self._refused(transaction, resource, old)
            return
        self._forget(resource, old, now)
        self._accept(transaction, etag, 0)
        self.lanes.leave(resource)

    def _forget(self, resource: Resource, publication: Publication, now: float) -> None:
        """Hold a publication no more, after the commit, and let its watchers know."""
        self.composing.part(self._registry.get(resource[0]), resource, publication)
        self.holding.forget(resource, publication)
        self._changed(*resource, now)

    def _heed(self, resource: Resource, document: object) -> None:
        package = self._heeding.get(resource[0])
        if package is not None:
            with suppress(StoreError):  # what cannot be looked at now is looked at by and by
                package.heed(resource[1], document)

    def _accept(self, transaction: ServerTransaction, etag: str, expires_s: float) -> None:
        shown = max(0, round(expires_s) - self._limits.expires_offset_s)
        transaction.accept(f"Expires: {shown}\r\nSIP-ETag: {etag}\r\n")

    # ---- memory ----

    def missing(self, row_id: int) -> None:
        """Learn that an operator took a publication's row out of the database."""
        self._missing.add(row_id)

    def _drop_missing(self, now: float) -> None:
        # Memory holds nothing that the database does not: those publications are over.
        gone, self._missing = self._missing, set()
        for resource, publication in self.holding.with_rows(gone):
            self.lanes.run(resource, partial(self._vanish, resource, publication, now), bounded=False)

    def load(self, now: float) -> None:
        """Take over what the database holds; what expired meanwhile is removed and shown to nobody any more."""
        self.holding.load(self._registry, self._store, now)

    def document(self, package: EventPackage, presentity: Aor) -> bytes:
        """Return the composed document of a presentity, valid also when nothing is published."""
        return self.composing.document(package, presentity)

    def counts(self) -> dict[str, int]:
        """Return the number of publications by package."""
        return self.holding.counts()

    # ---- time ----

    def tick(self, now: float) -> None:
        """End publications whose time is over (RFC 3903 section 6: the state expires) and tell the watchers."""
        if self._missing:
            self._drop_missing(now)
        for number in self.tags.due(now):
            resource, publication = self.holding.numbered(number)
            self.lanes.run(resource, partial(self._expire, resource, publication, now), bounded=False)

    def _expire(self, resource: Resource, publication: Publication, now: float) -> None:
        # It may have been removed or refreshed while this waited for its turn, or a refresh be on its way.
        if self.holding.holds(publication) and self.tags.is_over(publication.number, now):
            self._end(resource, publication, now)
        else:
            self.lanes.leave(resource)

    def _vanish(self, resource: Resource, publication: Publication, now: float) -> None:
        if self.holding.holds(publication):
            self._end(resource, publication, now)
        else:
            self.lanes.leave(resource)

    def _end(self, resource: Resource, publication: Publication, now: float) -> None:
        if not self.tags.take(publication.number):
            # A batch is refreshing it: what is over comes up again, and its row is missed again.
            self.lanes.leave(resource)
            return
        write = ("presentity_delete", (publication.row_id,))
        self._store.submit((write,), partial(self._expired, resource, publication, now))

    def _expired(self, resource: Resource, publication: Publication, now: float, error: StoreError | None) -> None:
        if error is None:
            self._forget(resource, publication, now)
        else:
            # It comes up again.
            self.tags.give(publication.number)
        self.lanes.leave(resource)
