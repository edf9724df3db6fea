"""What of a presentity's publications goes into its document, and what else does."""

from collections.abc import Iterable, Sequence
from typing import Literal, Protocol

from presence.events.package import EventPackage, absorbing, parting
from presence.publication.holding import Holding, Resource
from presence.values import Aor, Publication

Composition = Literal["merge", "newest"]
"""Whether all publications are composed, or the newest alone speaks."""


class Contribution(Protocol):
    """A source of state beside the publications of a package."""

    def join(self, presentity: Aor, publications: Sequence[Publication]) -> Sequence[Publication]:
        """Return the publications, oldest first, with what the source adds to them."""


class Composing:
    """The one door behind `Compositor.document`."""

    def __init__(self, holding: Holding, composition: Composition = "merge") -> None:
        self._holding = holding
        self._newest = composition == "newest"
        self._contributions: dict[str, list[Contribution]] = {}
        self._parting: dict[Resource, list[Publication]] = {}

    def contribute(self, package: str, contribution: Contribution) -> None:
        """Let a source add to the documents of a package from now on."""
        self._contributions.setdefault(package, []).append(contribution)

    def publications(self, resource: Resource) -> Sequence[Publication]:
        """Return the publications that count, oldest first."""
        publications = self._holding.publications(resource)
        return publications[-1:] if self._newest else publications

    def document(self, package: EventPackage, presentity: Aor) -> bytes:
        """Return the composed document of a presentity, valid also when nothing is published."""
        resource = (package.name, presentity)
        publications = self.publications(resource)
        if self._parting and resource in self._parting and not (self._newest and publications):
            # What is over speaks last: whatever else has its ids stands.
            publications = (*self._parting[resource], *publications)
        for contribution in self._contributions.get(package.name, ()):
            publications = contribution.join(presentity, publications)
        return package.compose(presentity, publications)

    def part(self, package: EventPackage | None, resource: Resource, publication: Publication) -> None:
        """Let the next document tell that a publication has ended, where the package wants that."""
        parts = None if package is None else parting(package)
        if parts is not None:
            document = parts.parting(resource[1], publication.document)
            if document is not None:
                farewell = Publication(publication.received_at, publication.order, "", b"", document)
                self._parting.setdefault(resource, []).append(farewell)

    def told(self) -> Iterable[Resource]:
        """Forget the ended publications, which have been told of; return whose they were."""
        if not self._parting:
            return ()
        told, self._parting = self._parting, {}
        return told


def absorbed(package: EventPackage | None, old: Publication | None, body: bytes) -> bytes:
    """Return the body that is held of a PUBLISH; raises BadRequest."""
    absorbs = absorbing(package)
    if absorbs is not None:
        return absorbs.absorb(None if old is None else old.document, body)
    return body
