"""Presence that a presentity keeps by XCAP (RFC 4827): hard state, which nobody has to refresh.

It is composed as the oldest publication. The document is read when a presence document is composed, and again when
it changed, whoever changed it.
"""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from presence.errors import BadRequest, StoreError
from presence.events.package import EventPackage
from presence.values import Aor, Publication
from presence.xcap.documents import Change, Documents, Stored

AUID: Final = "pidf-manipulation"
NAME: Final = "index"

MOST_KEPT: Final = 10_000
"""Documents kept as they were read."""


class _Kept(NamedTuple):
    stored: Stored
    publications: tuple[Publication, ...]
    """One; none of a document that cannot be read."""


class HardState:
    """Adds what a presentity keeps to what its user agents publish."""

    def __init__(
        self,
        documents: Documents,
        package: EventPackage,
        changed: Callable[[Aor], None],
        reset: Callable[[], None],
        unreadable: Callable[[], None],
        *,
        alone: bool = False,
    ) -> None:
        """`changed` is told whose document is another, `reset` that everybody's may be.

        `alone` shows the document only where there is no publication.
        """
        self._documents = documents
        self._package = package
        self._changed = changed
        self._all_changed = reset
        self._unreadable = unreadable
        self._alone = alone
        self._kept: dict[Aor, _Kept] = {}
        # Most have none, and are not to cost a look into the database.
        self._owners = set(documents.owners(AUID))
        documents.listeners.append(self._hear)
        documents.resets.append(self._reset)

    def join(self, presentity: Aor, publications: Sequence[Publication]) -> Sequence[Publication]:
        """Return the publications behind the hard state."""
        if self._alone and publications:
            return publications
        # A document of a server elsewhere is fetched because somebody asks for it.
        if presentity not in self._owners and self._documents.missed is None:
            return publications
        return (*self._state(presentity), *publications)

    def _state(self, presentity: Aor) -> tuple[Publication, ...]:
        kept = self._kept.get(presentity)
        try:
            stored = self._stored(presentity)
        except StoreError:
            # What was known goes on; the change log tells when there is another.
            return kept.publications if kept is not None else ()
        if stored is None:
            return ()
        if kept is None or kept.stored != stored:
            if len(self._kept) >= MOST_KEPT:
                self._kept.clear()
            kept = self._kept[presentity] = _Kept(stored, self._read(stored))
        return kept.publications

    def _stored(self, presentity: Aor) -> Stored | None:
        """Return the document: "index" (section 9), or the one that a script gave another name."""
        documents = self._documents.of(presentity, AUID)
        return min(documents, key=lambda stored: (stored.key.name != NAME, stored.key.name), default=None)

    def _read(self, stored: Stored) -> tuple[Publication, ...]:
        kind = self._package.content_type
        try:
            document = self._package.read(kind, stored.body)
        except BadRequest:
            # Written past the XCAP server, which takes no such document.
            self._unreadable()
            return ()
        return (Publication(0.0, 0, kind, stored.body, document),)

    # ---- changes ----

    def _hear(self, change: Change) -> None:
        owner = change.key.owner
        if change.key.auid != AUID or owner is None:
            return
        if change.after is not None:
            self._owners.add(owner)
        else:
            self._kept.pop(owner, None)
            if not self._documents.of(owner, AUID):
                self._owners.discard(owner)
        self._changed(owner)

    def _reset(self) -> None:
        self._owners = set(self._documents.owners(AUID))
        self._kept.clear()
        self._all_changed()
