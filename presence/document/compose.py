"""Composing the publications of a presentity into one presence document (RFC 3863, RFC 4479 section 3.4).

The newest publication speaks first: watchers that read one tuple only read the first.
"""

from collections.abc import Sequence

from presence.document.pidf import PIDF, Fragment, Kind, PidfDocument
from presence.document.xml import escape

_IDENTIFIED = frozenset((Kind.TUPLE, Kind.PERSON, Kind.DEVICE))
_XML = b'<?xml version="1.0" encoding="UTF-8"?>\n<presence xmlns="' + PIDF.encode() + b'"'


def compose(entity_uri: str, documents: Sequence[PidfDocument]) -> bytes:
    """Return the document of a presentity; `documents` are oldest first.

    Children stand in the order of the schema: tuples, notes, then what is foreign (RFC 3863 section 4.4). Of
    tuples, persons and devices with the same id the newest one stands. Their ids are of one space (xs:ID) and
    not ours to change, so a newer element of another kind that took the id drops the older one as well.
    Those without an id are all kept, as they were sent. Equal notes, and equal foreign elements, stand once.
    """
    root: dict[str, bytes] = {}
    texts: tuple[list[bytes], ...] = ([], [], [], [], [])
    taken: set[str] = set()
    said: set[bytes] = set()
    for document in reversed(documents):
        conflicts = _hoist(document, root)
        for fragment in document.fragments:
            kind, identity = fragment.kind, fragment.id
            text = _requalified(fragment, conflicts) if conflicts else fragment.text
            if kind in _IDENTIFIED:
                if identity in taken:
                    continue
                if identity:
                    taken.add(identity)
            elif text in said:
                continue
            else:
                said.add(text)
            texts[kind].append(text)
    return b"".join(
        (
            _XML,
            *root.values(),
            b' entity="',
            escape(entity_uri).encode(),
            b'">',
            *(text for kind in texts for text in kind),
            b"</presence>",
        )
    )


def closed(entity_uri: str, tuple_id: str) -> bytes:
    """Return the document of a presentity that has published nothing: one tuple, closed."""
    return (
        _XML
        + (
            f' entity="{escape(entity_uri)}"><tuple id="{escape(tuple_id)}">'
            "<status><basic>closed</basic></status></tuple></presence>"
        ).encode()
    )


def _hoist(document: PidfDocument, root: dict[str, bytes]) -> set[str]:
    """Declare the document's prefixes on the root; return those that mean something else there already."""
    conflicts: set[str] = set()
    for prefix, declaration in document.declarations.items():
        if root.setdefault(prefix, declaration) != declaration:
            conflicts.add(prefix)
    return conflicts


def _requalified(fragment: Fragment, conflicts: set[str]) -> bytes:
    """Repeat on a fragment the declarations the root could not take."""
    repeated = b"".join(text for prefix, text in fragment.declarations.items() if prefix in conflicts)
    return fragment.head + repeated + fragment.text[len(fragment.head) :]
