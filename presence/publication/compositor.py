"""The event state compositor (RFC 3903): publications of each presentity, kept in order and composed."""

import secrets
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from presence._fastcore import Message, Wheel
from presence.errors import (
    BadEvent,
    BadRequest,
    IntervalTooBrief,
    NotFound,
    SipError,
    StoreError,
    Unavailable,
    UnknownEntityTag,
    UnsupportedMediaType,
)
from presence.events.package import EventPackage
from presence.events.registry import Registry
from presence.publication.operation import Operation, classify_publish
from presence.sip.endpoint import ServerTransaction
from presence.sip.headers import parse_uri
from presence.sip.lanes import Lanes
from presence.store.base import Store, Write
from presence.values import Aor, Publication


class Limits(NamedTuple):
    """How long a publication may last, in seconds, and how many a presentity may have of one package."""

    min_expires_s: int
    max_expires_s: int
    expires_offset_s: int
    max_publications: int = 64


Resource = tuple[str, Aor]
"""A package's name and a presentity."""

Changed = Callable[[str, Aor, float], None]
"""Told after the commit of a change: package, presentity, and when the request came in."""


class Compositor:
    """Holds committed publications only: memory changes after the database did (RFC 3903 section 6, step 5)."""

    def __init__(
        self,
        registry: Registry,
        store: Store,
        limits: Limits,
        *,
        domains: frozenset[str],
        now: float,
        changed: Changed,
    ) -> None:
        self._registry = registry
        self._store = store
        self._limits = limits
        self._domains = domains
        self._changed = changed
        self.lanes = Lanes()
        """One change at a time for each presentity and package."""
        self._resources: dict[Resource, dict[str, Publication]] = {}
        self._expiry = Wheel(1.0, now)
        self._numbered: dict[int, tuple[Resource, Publication]] = {}
        self._last_number = 0
        self._numbers: dict[int, int] = {}
        self._order = 0
        # An entity-tag is never given twice, not even after a restart (RFC 3903 section 6, step 6).
        self._tag_prefix = secrets.token_hex(6)

    # ---- requests ----

    def handle_publish(self, transaction: ServerTransaction, now: float) -> None:
        """Serve a PUBLISH when the presentity's earlier ones are done (RFC 3903 section 6)."""
        request = transaction.request
        presentity = parse_uri(request.uri).aor()
        if self._domains and presentity.domain not in self._domains:
            raise NotFound
        package = self._registry.get(request.event)
        if package is None or not package.publishable:
            raise BadEvent(headers=(("Allow-Events", ", ".join(self._registry.names)),))
        key = (package.name, presentity)
        self.lanes.run(key, partial(self._attempt, transaction, package, presentity, now))

    def _attempt(self, transaction: ServerTransaction, package: EventPackage, presentity: Aor, now: float) -> None:
        try:
            self._publish(transaction, package, presentity, now)
        except Exception as error:
            transaction.refuse(error)
            self.lanes.leave((package.name, presentity))

    def _publish(self, transaction: ServerTransaction, package: EventPackage, presentity: Aor, now: float) -> None:
        request = transaction.request
        resource = (package.name, presentity)
        held = self._resources.get(resource, {})
        old = self._precondition(request, held)
        expires_s = self._expires(request, package)
        body = request.body
        operation = classify_publish(body=bool(body), entity_tag=old is not None, expires_s=expires_s)
        if operation is None:
            raise BadRequest("Missing Body")
        content_type, document = "", None
        if operation in (Operation.INITIAL, Operation.MODIFY):
            content_type = self._content_type(request, package)
            if old is not None and (old.content_type, old.body) == (content_type, body):
                # Many clients send the whole body again only to refresh it.
                document = old.document
            else:
                document = package.read(content_type, body)
        if operation is Operation.INITIAL and len(held) >= self._limits.max_publications:
            raise Unavailable("Too Many Publications", (("Retry-After", "60"),))
        new = self._successor(operation, old, request, content_type, document, expires_s, now)
        writes = self._writes(operation, resource, new)
        if operation is Operation.INITIAL and expires_s == 0:
            # Nothing may be stored of it (step 5), so there is nothing to wait for.
            self._reply(transaction, new, 0)
            self.lanes.leave(resource)
            return
        self._store.submit(writes, partial(self._committed, transaction, operation, resource, old, new, expires_s, now))

    def _precondition(self, request: Message, held: dict[str, Publication]) -> Publication | None:
        """Step 3: the publication SIP-If-Match names."""
        tags = request.values("SIP-If-Match")
        if not tags and request.header("SIP-If-Match") is None:
            return None
        if len(tags) != 1 or not tags[0] or " " in tags[0]:
            raise BadRequest("SIP-If-Match Must Have One Entity-Tag")
        found = held.get(tags[0])
        if found is None:
            raise UnknownEntityTag
        return found

    def _expires(self, request: Message, package: EventPackage) -> int:
        """Step 4: the interval granted, in seconds."""
        asked = package.default_expires_s if request.expires is None else request.expires
        if 0 < asked < self._limits.min_expires_s:
            raise IntervalTooBrief(headers=(("Min-Expires", str(self._limits.min_expires_s)),))
        return min(asked, self._limits.max_expires_s)

    def _content_type(self, request: Message, package: EventPackage) -> str:
        """Step 5: the body's type, which the package must take."""
        value = request.header("Content-Type")
        if value is None:
            raise BadRequest("Missing Content-Type")
        content_type = value.partition(";")[0].strip().lower()
        coding = (request.header("Content-Encoding") or "identity").strip().lower()
        if content_type not in package.publishable:
            raise UnsupportedMediaType(headers=(("Accept", ", ".join(package.publishable)),))
        if coding != "identity":
            raise UnsupportedMediaType(headers=(("Accept-Encoding", "identity"),))
        return content_type

    def _successor(
        self,
        operation: Operation,
        old: Publication | None,
        request: Message,
        content_type: str,
        document: object,
        expires_s: int,
        now: float,
    ) -> Publication:
        """Return the publication as it will be, under its new entity-tag (step 6)."""
        self._order += 1
        etag = f"{self._tag_prefix}.{self._order:x}"
        if old is not None and operation in (Operation.REFRESH, Operation.REMOVE):
            # A refresh is no news: the publication keeps its age, by which the newest wins.
            return Publication(
                etag, now + expires_s, old.received_at, old.order, old.content_type, old.body, old.document, id=old.id
            )
        row = old.id if old is not None else self._store.new_id("presentity")
        return Publication(etag, now + expires_s, now, self._order, content_type, request.body, document, id=row)

    def _writes(self, operation: Operation, resource: Resource, new: Publication) -> list[Write]:
        package, (username, domain) = resource
        times = (int(new.expires_at), int(new.received_at), new.order)
        if operation is Operation.INITIAL:
            key = (new.id, username, domain, package, new.etag)
            return [Write("presentity_insert", (*key, *times, new.content_type, new.body, None, None))]
        if operation is Operation.REFRESH:
            return [Write("presentity_refresh", (new.id, new.etag, int(new.expires_at)))]
        if operation is Operation.MODIFY:
            return [Write("presentity_modify", (new.id, new.etag, *times, new.content_type, new.body))]
        return [Write("presentity_delete", (new.id,))]

    def _committed(
        self,
        transaction: ServerTransaction,
        operation: Operation,
        resource: Resource,
        old: Publication | None,
        new: Publication,
        expires_s: int,
        received_at: float,
        error: StoreError | None,
    ) -> None:
        if error is not None:
            transaction.refuse(Unavailable(headers=(("Retry-After", "5"),)))
            self.lanes.leave(resource)
            return
        if old is not None:
            self._forget(resource, old)
        if operation is not Operation.REMOVE:
            self._keep(resource, new)
        self._reply(transaction, new, expires_s)
        if operation is not Operation.REFRESH:
            self._changed(*resource, received_at)
        self.lanes.leave(resource)

    def _reply(self, transaction: ServerTransaction, new: Publication, expires_s: int) -> None:
        shown = max(0, expires_s - self._limits.expires_offset_s)
        transaction.reply(200, (("Expires", str(shown)), ("SIP-ETag", new.etag)))

    # ---- memory ----

    def _keep(self, resource: Resource, publication: Publication) -> None:
        self._resources.setdefault(resource, {})[publication.etag] = publication
        self._last_number = publication.number = (self._last_number + 1) & 0xFFFFFFFF
        self._numbered[publication.number] = (resource, publication)
        self._numbers[publication.id] = publication.number
        self._expiry.add(publication.number, publication.expires_at)

    def _forget(self, resource: Resource, publication: Publication) -> None:
        held = self._resources[resource]
        del held[publication.etag]
        del self._numbered[publication.number]
        del self._numbers[publication.id]
        if not held:
            del self._resources[resource]

    def missing(self, row_id: int, now: float) -> None:
        """Take note that an operator took a publication out of the database: it is over."""
        number = self._numbers.get(row_id, 0)
        resource, publication = self._numbered.get(number, (None, None))
        if resource is not None and publication is not None:
            self.lanes.run(resource, partial(self._vanish, resource, row_id, now), bounded=False)

    def _vanish(self, resource: Resource, row_id: int, now: float) -> None:
        number = self._numbers.get(row_id, 0)
        if number in self._numbered:
            self._forget(resource, self._numbered[number][1])
            self._changed(*resource, now)
        self.lanes.leave(resource)

    def load(self, now: float) -> None:
        """Take over what the database holds; what expired meanwhile is removed and shown to nobody any more."""
        for row in self._store.read("presentity_load"):
            row_id, username, domain, event, etag, expires, received, order, content_type, body = row[:10]
            package = self._registry.get(str(event))
            if package is None or not isinstance(body, bytes):
                continue
            kind = str(content_type or package.content_type)
            try:
                document = package.read(kind, body)
            except SipError:
                # Written by somebody else's tool; `presence db check` names such rows.
                continue
            publication = Publication(
                str(etag), float(expires or 0), float(received or 0), int(order or 0), kind, body, document
            )
            publication.id = int(row_id or 0)
            self._order = max(self._order, publication.order)
            if publication.expires_at <= now:
                self._store.submit([Write("presentity_delete", (row_id,))], lambda error: None)
                continue
            self._keep((package.name, Aor(str(username), str(domain))), publication)

    def document(self, package: EventPackage, presentity: Aor) -> bytes:
        """Return the composed document of a presentity, valid also when nothing is published."""
        held = self._resources.get((package.name, presentity))
        if not held:
            return package.compose(presentity, ())
        ordered = sorted(held.values(), key=lambda p: (int(p.received_at), p.order))
        return package.compose(presentity, ordered)

    def counts(self) -> dict[str, int]:
        """Return the number of publications by package."""
        counts: dict[str, int] = {}
        for (package, _), held in self._resources.items():
            counts[package] = counts.get(package, 0) + len(held)
        return counts

    # ---- time ----

    def tick(self, now: float) -> None:
        """End publications whose time is over (RFC 3903 section 6: the state expires) and tell the watchers."""
        for number in self._expiry.due(now):
            resource, publication = self._numbered.get(number, (None, None))
            if resource is None or publication is None:
                continue
            if publication.expires_at > now:
                self._expiry.add(number, publication.expires_at)
            else:
                self.lanes.run(resource, partial(self._expire, resource, publication, now), bounded=False)

    def _expire(self, resource: Resource, publication: Publication, now: float) -> None:
        if publication.number not in self._numbered:
            self.lanes.leave(resource)
            return
        write = Write("presentity_delete", (publication.id,))
        self._store.submit([write], partial(self._expired, resource, publication, now))

    def _expired(self, resource: Resource, publication: Publication, now: float, error: StoreError | None) -> None:
        if error is None:
            self._forget(resource, publication)
            self._changed(*resource, now)
        else:
            self._expiry.add(publication.number, now + 5.0)
        self.lanes.leave(resource)
