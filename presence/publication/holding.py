"""The publications that are held: by presentity and package, and by the number their entity-tag carries."""

import secrets
from collections.abc import Mapping, Sequence
from sys import intern
from typing import NamedTuple

from presence._fastcore import Publications, ServerTransactions
from presence.errors import SipError
from presence.events.registry import Registry
from presence.publication.quota import Quota
from presence.store.base import Store
from presence.values import Aor, Publication


class Limits(NamedTuple):
    """How long a publication may last, in seconds."""

    min_expires_s: int
    max_expires_s: int
    expires_offset_s: int


Resource = tuple[str, Aor]
"""A package's name and a presentity."""

_NOTHING: Mapping[int, Publication] = {}


class Holding:
    """What is committed, and nothing else."""

    def __init__(self, transactions: ServerTransactions, limits: Limits, quota: Quota, now: float) -> None:
        self.quota = quota
        self.tags = Publications(
            transactions,
            secrets.token_bytes(8),
            secrets.token_hex(6),
            now,
            min_expires_s=limits.min_expires_s,
            max_expires_s=limits.max_expires_s,
            expires_offset_s=limits.expires_offset_s,
        )
        """Entity-tags and times."""
        self._resources: dict[Resource, Publication | dict[int, Publication]] = {}
        """By number; most have one publication, and need no dictionary for it."""
        self._numbered: list[Publication | None] = [None]
        self._order = 0

    def of(self, resource: Resource) -> Mapping[int, Publication]:
        """Return the publications of a resource by number."""
        held = self._resources.get(resource, _NOTHING)
        return {held.number: held} if isinstance(held, Publication) else held

    def numbered(self, number: int) -> tuple[Resource, Publication]:
        """Return a publication and whose it is."""
        publication = self._numbered[number]
        if publication is None or publication.resource is None:
            raise KeyError(f"no publication {number}")
        return publication.resource, publication

    def holds(self, publication: Publication) -> bool:
        """Whether it is still held."""
        return publication.resource is not None

    def find_foreign(self, resource: Resource, entity_tag: str) -> int:
        """Return the number of a publication whose entity-tag is one of an earlier start, 0 when there is none."""
        for number, publication in self.of(resource).items():
            if publication.foreign == entity_tag:
                return number
        return 0

    def with_rows(self, row_ids: set[int]) -> list[tuple[Resource, Publication]]:
        """Return the publications whose rows these are."""
        held = (publication for publication in self._numbered if publication is not None)
        return [self.numbered(publication.number) for publication in held if publication.row_id in row_ids]

    def publications(self, resource: Resource) -> Sequence[Publication]:
        """Return the publications of a resource, oldest first."""
        held = self._resources.get(resource, _NOTHING)
        if isinstance(held, Publication):
            return (held,)
        return sorted(held.values(), key=lambda p: (int(p.received_at), p.order))

    def counts(self) -> dict[str, int]:
        """Return the number of publications by package."""
        counts: dict[str, int] = {}
        for (package, _), held in self._resources.items():
            counts[package] = counts.get(package, 0) + (1 if isinstance(held, Publication) else len(held))
        return counts

    def keep(self, resource: Resource, publication: Publication, until: float, *, foreign: bool = False) -> None:
        """Hold a publication, which has a number, until that epoch second."""
        package, (username, domain) = resource
        if not foreign:
            # One string for all presentities of a domain.
            resource = (package, Aor(username, intern(domain)))
        number = publication.number
        self.tags.hold(number, package, username, domain, publication.row_id, until, foreign=foreign)
        publication.resource = resource
        held = self._resources.setdefault(resource, publication)
        if isinstance(held, dict):
            held[number] = publication
        elif held is not publication:
            self._resources[resource] = {held.number: held, number: publication}
        while len(self._numbered) <= number:
            self._numbered.append(None)
        self._numbered[number] = publication

    def next_order(self) -> int:
        """Return the place of what is received now among all that was."""
        self._order += 1
        return self._order

    def load(self, registry: Registry, store: Store, now: float) -> None:
        """Hold what the database kept from earlier starts, remove what has expired."""
        for row in store.read("presentity_load"):
            row_id, username, domain, event, etag, expires, received, order, content_type, body, sender = row
            package = registry.get(str(event))
            if package is None or not isinstance(body, bytes):
                continue
            kind = intern(str(content_type or package.content_type))
            try:
                document = package.read(kind, body)
            except SipError:
                # Written by somebody else's tool; `presence db check` names such rows.
                continue
            publication = Publication(float(received or 0), int(order or 0), kind, body, document, int(row_id or 0))
            self._order = max(self._order, publication.order)
            if float(expires or 0) <= now:
                store.submit((("presentity_delete", (publication.row_id,)),), lambda error: None)
                continue
            resource = (package.name, Aor(str(username), intern(str(domain))))
            publication.number = self.tags.reserve()
            publication.foreign = str(etag)
            publication.sender = str(sender or "")
            self.quota.restore(publication.number, sender)
            self.keep(resource, publication, float(expires or 0), foreign=True)

    def renew(self, publication: Publication, until: float) -> None:
        """End a change of a publication under its next entity-tag."""
        self.tags.renew(publication.number, until)
        publication.foreign = None

    def release(self, number: int) -> None:
        """Give back a number, and its place in the quota."""
        self.quota.leave(number)
        self.tags.release(number)

    def forget(self, resource: Resource, publication: Publication) -> None:
        """Hold a publication no more."""
        self.release(publication.number)
        held = self._resources[resource]
        if isinstance(held, dict) and len(held) > 1:
            del held[publication.number]
        else:
            del self._resources[resource]
        numbered = self._numbered
        numbered[publication.number] = None
        while len(numbered) > 1 and numbered[-1] is None:
            numbered.pop()
        publication.resource = publication.foreign = None
