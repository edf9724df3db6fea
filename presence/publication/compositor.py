"""The event state compositor (RFC 3903): publications of each presentity, kept in order and composed."""

import secrets
from collections.abc import Callable, Mapping
from functools import partial
from sys import intern
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
from presence.publication.operation import TABLE, Operation
from presence.sip.endpoint import ServerTransaction
from presence.sip.headers import read_address
from presence.sip.lanes import Lanes
from presence.store.base import Store
from presence.values import Aor, Publication


class Limits(NamedTuple):
    """How long a publication may last, in seconds, and how many a presentity may have of one package."""

    min_expires_s: int
    max_expires_s: int
    expires_offset_s: int
    max_publications: int = 64


Resource = tuple[str, Aor]
"""A package's name and a presentity."""

_NOTHING: Mapping[str, Publication] = {}

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
        self._missing: set[int] = set()
        self._order = 0
        # An entity-tag is never given twice, not even after a restart (RFC 3903 section 6, step 6).
        self._tag_prefix = secrets.token_hex(6)

    # ---- requests ----

    def handle_publish(self, transaction: ServerTransaction, now: float) -> None:
        """Serve a PUBLISH when the presentity's earlier ones are done (RFC 3903 section 6)."""
        request = transaction.request
        presentity = read_address(request)
        if self._domains and presentity.domain not in self._domains:
            raise NotFound
        package = self._registry.get(request.event)
        if package is None or not package.publishable:
            raise BadEvent(headers=(("Allow-Events", ", ".join(self._registry.names)),))
        resource = (package.name, presentity)
        if self.lanes.enter(resource):
            self._attempt(transaction, package, resource, now)
        else:
            self.lanes.wait(resource, partial(self._attempt, transaction, package, resource, now))

    def _attempt(self, transaction: ServerTransaction, package: EventPackage, resource: Resource, now: float) -> None:
        try:
            self._publish(transaction, package, resource, now)
        except Exception as error:
            transaction.refuse(error)
            self.lanes.leave(resource)

    def _publish(self, transaction: ServerTransaction, package: EventPackage, resource: Resource, now: float) -> None:
        request = transaction.request
        held = self._resources.get(resource, _NOTHING)
        old = self._precondition(request.if_match, held)
        expires_s = self._expires(request, package)
        body = request.body
        operation = TABLE.get((body != b"", old is not None, expires_s == 0))
        # What is given to a publication in place of another is never given again, not even after a restart (step 6).
        self._order += 1
        etag = f"{self._tag_prefix}.{self._order:x}"
        if operation is Operation.REFRESH:
            assert old is not None
            self._store.submit(
                (("presentity_refresh", (old.row_id, etag, int(now + expires_s))),),
                partial(self._refreshed, transaction, resource, old, etag, expires_s, now),
            )
        elif operation is Operation.REMOVE:
            assert old is not None
            self._store.submit(
                (("presentity_delete", (old.row_id,)),), partial(self._removed, transaction, resource, old, etag, now)
            )
        elif operation is None:
            raise BadRequest("Missing Body")
        else:
            if old is None and len(held) >= self._limits.max_publications:
                raise Unavailable("Too Many Publications", (("Retry-After", "60"),))
            content_type = self._content_type(request, package)
            if old is not None and old.body == body and old.content_type == content_type:
                # Many clients send the whole body again only to refresh it.
                document = old.document
            else:
                document = package.read(content_type, body)
            new = Publication(etag, now + expires_s, now, self._order, content_type, body, document)
            self._put(transaction, resource, old, new, expires_s)

    def _put(
        self,
        transaction: ServerTransaction,
        resource: Resource,
        old: Publication | None,
        new: Publication,
        expires_s: int,
    ) -> None:
        times = (int(new.expires_at), int(new.received_at), new.order)
        if old is not None:
            new.row_id = old.row_id
            write = ("presentity_modify", (new.row_id, new.etag, *times, new.content_type, new.body))
        elif expires_s == 0:
            # Nothing may be stored of it (step 5), so there is nothing to wait for.
            self._accept(transaction, new.etag, 0)
            self.lanes.leave(resource)
            return
        else:
            package, (username, domain) = resource
            new.row_id = self._store.new_id("presentity")
            key = (new.row_id, username, domain, package, new.etag)
            write = ("presentity_insert", (*key, *times, new.content_type, new.body, None, None))
        self._store.submit((write,), partial(self._stored, transaction, resource, old, new, expires_s))

    def _precondition(self, entity_tag: str | None, held: Mapping[str, Publication]) -> Publication | None:
        """Step 3: the publication SIP-If-Match names."""
        if entity_tag is None:
            return None
        if not entity_tag:
            raise BadRequest("SIP-If-Match Must Have One Entity-Tag")
        found = held.get(entity_tag)
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
        content_type = value if value in package.publishable else value.partition(";")[0].strip().lower()
        if content_type not in package.publishable:
            raise UnsupportedMediaType(headers=(("Accept", ", ".join(package.publishable)),))
        coding = request.header("Content-Encoding")
        if coding is not None and (coding or "identity").strip().lower() != "identity":
            raise UnsupportedMediaType(headers=(("Accept-Encoding", "identity"),))
        return content_type

    def _refused(self, transaction: ServerTransaction, resource: Resource) -> None:
        transaction.refuse(Unavailable(headers=(("Retry-After", "5"),)))
        self.lanes.leave(resource)

    def _refreshed(
        self,
        transaction: ServerTransaction,
        resource: Resource,
        old: Publication,
        etag: str,
        expires_s: int,
        now: float,
        error: StoreError | None,
    ) -> None:
        """Answer a refresh after its commit. It is no news: the publication keeps its age, by which the newest wins."""
        if error is not None:
            self._refused(transaction, resource)
            return
        held = self._resources[resource]
        del held[old.etag]
        held[etag] = old
        old.etag, old.expires_at = etag, now + expires_s
        if old.expires_at < old.armed_at:
            self._arm(old)
        self._accept(transaction, etag, expires_s)
        self.lanes.leave(resource)

    def _stored(
        self,
        transaction: ServerTransaction,
        resource: Resource,
        old: Publication | None,
        new: Publication,
        expires_s: int,
        error: StoreError | None,
    ) -> None:
        """Answer an initial publication or a modification after its commit."""
        if error is not None:
            self._refused(transaction, resource)
            return
        if old is not None:
            self._supersede(self._resources[resource], old, new)
        else:
            self._keep(resource, new)
        self._accept(transaction, new.etag, expires_s)
        self._changed(*resource, new.received_at)
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
            self._refused(transaction, resource)
            return
        self._forget(resource, old)
        self._accept(transaction, etag, 0)
        self._changed(*resource, now)
        self.lanes.leave(resource)

    def _accept(self, transaction: ServerTransaction, etag: str, expires_s: int) -> None:
        shown = max(0, expires_s - self._limits.expires_offset_s)
        transaction.accept(f"Expires: {shown}\r\nSIP-ETag: {etag}\r\n")

    # ---- memory ----

    def _keep(self, resource: Resource, publication: Publication) -> None:
        self._resources.setdefault(resource, {})[publication.etag] = publication
        self._last_number = publication.number = (self._last_number + 1) & 0xFFFFFFFF
        self._numbered[publication.number] = (resource, publication)
        self._arm(publication)

    def _supersede(self, held: dict[str, Publication], old: Publication, new: Publication) -> None:
        """Let a publication have a new state under a new entity-tag."""
        del held[old.etag]
        held[new.etag] = old
        old.etag, old.expires_at, old.received_at, old.order = new.etag, new.expires_at, new.received_at, new.order
        old.content_type, old.body, old.document = new.content_type, new.body, new.document
        if old.expires_at < old.armed_at:
            self._arm(old)

    def _arm(self, publication: Publication) -> None:
        # One entry of the wheel for each publication: when it comes up too early it is put back.
        publication.armed_at = publication.expires_at
        self._expiry.add(publication.number, publication.expires_at)

    def _forget(self, resource: Resource, publication: Publication) -> None:
        held = self._resources[resource]
        del held[publication.etag]
        del self._numbered[publication.number]
        if not held:
            del self._resources[resource]

    def missing(self, row_id: int) -> None:
        """Learn that an operator took a publication's row out of the database."""
        self._missing.add(row_id)

    def _drop_missing(self, now: float) -> None:
        # Memory holds nothing that the database does not: those publications are over.
        gone, self._missing = self._missing, set()
        for resource, publication in [entry for entry in self._numbered.values() if entry[1].row_id in gone]:
            publication.expires_at = 0.0
            self.lanes.run(resource, partial(self._expire, resource, publication, now), bounded=False)

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
            publication.row_id = int(row_id or 0)
            self._order = max(self._order, publication.order)
            if publication.expires_at <= now:
                self._store.submit((("presentity_delete", (row_id,)),), lambda error: None)
                continue
            self._keep((package.name, Aor(str(username), intern(str(domain)))), publication)

    def document(self, package: EventPackage, presentity: Aor) -> bytes:
        """Return the composed document of a presentity, valid also when nothing is published."""
        held = self._resources.get((package.name, presentity))
        if not held:
            return package.compose(presentity, ())
        if len(held) == 1:
            return package.compose(presentity, tuple(held.values()))
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
        if self._missing:
            self._drop_missing(now)
        for number in self._expiry.due(now):
            resource, publication = self._numbered.get(number, (None, None))
            if resource is None or publication is None:
                continue
            if publication.expires_at > now:
                self._arm(publication)
            else:
                self.lanes.run(resource, partial(self._expire, resource, publication, now), bounded=False)

    def _expire(self, resource: Resource, publication: Publication, now: float) -> None:
        if publication.number not in self._numbered or publication.expires_at > now:
            # It was removed, or refreshed, while this waited for its turn.
            if publication.number in self._numbered:
                self._arm(publication)
            self.lanes.leave(resource)
            return
        self._store.submit(
            (("presentity_delete", (publication.row_id,)),), partial(self._expired, resource, publication, now)
        )

    def _expired(self, resource: Resource, publication: Publication, now: float, error: StoreError | None) -> None:
        if error is None:
            self._forget(resource, publication)
            self._changed(*resource, now)
        else:
            self._expiry.add(publication.number, now + 5.0)
        self.lanes.leave(resource)
