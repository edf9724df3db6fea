"""What a published presence document was cut into, as values to compare."""

from collections.abc import Mapping
from typing import NamedTuple

from presence.document.pidf import Kind, PidfDocument, parse_pidf


class Fragment(NamedTuple):
    """One child of <presence>, as published."""

    kind: Kind
    id: str
    declarations: Mapping[str, bytes]
    """Prefix to declaration (` xmlns:p="uri"`) inherited from the root, of those the text mentions."""
    head: bytes
    """`<` and the element's name: inherited declarations go right behind it."""
    text: bytes


def fragments(document: PidfDocument) -> tuple[Fragment, ...]:
    declared = [(p.decode(), b' xmlns:%b="%b"' % (p, uri)) for p, uri in document.inheritable()]
    return tuple(
        Fragment(
            Kind(kind),
            identity.decode(),
            {prefix: text for bit, (prefix, text) in enumerate(declared) if inherits >> bit & 1},
            text[:head],
            text,
        )
        for kind, identity, head, text, inherits, _ in map(document.piece, range(len(document)))
    )


def read(body: bytes) -> tuple[Fragment, ...]:
    return fragments(parse_pidf(body))
