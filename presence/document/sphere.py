"""The sphere a presentity is in (RFC 4480 section 3.11), as rules ask for it (RFC 5025 section 3.1.2)."""

from collections.abc import Iterable, Iterator
from typing import Final

from presence.document.markup import OUTERMOST, Part, Scope, read_text, read_whole
from presence.document.pidf import DATA_MODEL

RPID: Final = "urn:ietf:params:xml:ns:pidf:rpid"


def sphere_of(documents: Iterable[bytes]) -> str | None:
    """Return the sphere in the persons of published documents; None without one, or when two differ.

    Documents have been read by `parse_pidf`. Spheres are compared without regard to case, as rules compare them
    (RFC 4745 section 7.3); an empty one says nothing.
    """
    spheres = {sphere.casefold(): sphere for document in documents for sphere in _spheres(document) if sphere}
    return next(iter(spheres.values())) if len(spheres) == 1 else None


def _spheres(document: bytes) -> Iterator[str]:
    if b"sphere" not in document:
        return
    for text, person in _children(document, OUTERMOST):
        if (person.namespace, person.name) == (DATA_MODEL, "person"):
            for inner, child in _children(text, person.scope):
                if (child.namespace, child.name) == (RPID, "sphere"):
                    # <work/>, or as the schema does not have it but RFC 4480 section 4 does: text.
                    named = " ".join(one.name for _, one in _children(inner, child.scope))
                    yield named or read_text(inner)


def _children(text: bytes, outer: Scope) -> Iterator[tuple[bytes, Part]]:
    whole = read_whole(text, outer)
    for part in whole.parts if whole is not None else ():
        yield text[part.start : part.end], part
