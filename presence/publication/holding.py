"""The publications that are held: by presentity and package, and by the number their entity-tag carries."""

import secrets
from collections.abc import Iterable, Mapping, Sequence
from sys import intern
from typing import NamedTuple

from presence._fastcore import Publications, ServerTransactions
from presence.errors import SipError
from presence.events.registry import Registry
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

_NOTHING: Mapping[int, Publication] = {}


class Holding:
    """What is committed, and nothing else."""

    def __init__(self, transactions: ServerTransactions, limits: Limits, now: float) -> None:
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
        self._resources: dict[Resource, dict[int, Publication]] = {}
        self._numbered: dict[int, tuple[Resource, Publication]] = {}
        self._foreign: dict[tuple[Resource, str], int] = {}
        """Entity-tags of earlier starts."""
        self._order = 0

    def of(self, resource: Resource) -> Mapping[int, Publication]:
        """Return the publications of a resource by number."""
        return self._resources.get(resource, _NOTHING)

    def numbered(self, number: int) -> tuple[Resource, Publication]:
        """Return a publication and whose it is."""
        return self._numbered[number]

    def holds(self, publication: Publication) -> bool:
        """Whether it is still held."""
        entry = self._numbered.get(publication.number)
        return entry is not None and entry[1] is publication

    def find_foreign(self, resource: Resource, entity_tag: str) -> int:
        """Return the number of a publication whose entity-tag is one of an earlier start, 0 when there is none."""
        return self._foreign.get((resource, entity_tag), 0) if self._foreign else 0

    def with_rows(self, row_ids: set[int]) -> list[tuple[Resource, Publication]]:
        """Return the publications whose rows these are."""
        return [entry for entry in self._numbered.values() if entry[1].row_id in row_ids]

    def publications(self, resource: Resource) -> Sequence[Publication]:
        """Return the publications of a resource, oldest first."""
        held: Iterable[Publication] = self._resources.get(resource, _NOTHING).values()
        ordered = tuple(held)
        return ordered if len(ordered) < 2 else sorted(ordered, key=lambda p: (int(p.received_at), p.order))

    def counts(self) -> dict[str, int]:
        """Return the number of publications by package."""
        counts: dict[str, int] = {}
        for (package, _), held in self._resources.items():
            counts[package] = counts.get(package, 0) + len(held)
        return counts

    def keep(self, resource: Resource, publication: Publication, until: float, *, foreign: bool = False) -> None:
        """Hold a publication, which has a number, until that epoch second."""
        package, (username, domain) = resource
        number = publication.number
        self.tags.hold(number, package, username, domain, publication.row_id, until, foreign=foreign)
        self._resources.setdefault(resource, {})[number] = publication
        self._numbered[number] = (resource, publication)

    def next_order(self) -> int:
        """Return the place of what is received now among all that was."""
        self._order += 1
        return self._order

    def load(self, registry: Registry, store: Store, now: float) -> None:
        """Hold what the database kept from earlier starts, remove what has expired."""
        for row in store.read("presentity_load"):
            row_id, username, domain, event, etag, expires, received, order, content_type, body = row[:10]
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
            publication.foreign = (resource, str(etag))
            self._foreign[publication.foreign] = publication.number
            self.keep(resource, publication, float(expires or 0), foreign=True)

    def renew(self, publication: Publication, until: float) -> None:
        """End a change of a publication under its next entity-tag."""
        self.tags.renew(publication.number, until)
        self._drop_foreign(publication)

    def forget(self, resource: Resource, publication: Publication) -> None:
        """Hold a publication no more."""
        self.tags.release(publication.number)
        held = self._resources[resource]
        del held[publication.number]
        del self._numbered[publication.number]
        self._drop_foreign(publication)
        if not held:
            del self._resources[resource]

    def _drop_foreign(self, publication: Publication) -> None:
        if publication.foreign is not None:
            del self._foreign[publication.foreign]
            publication.foreign = None
