"""Composing the publications of a presentity into one presence document (RFC 3863, RFC 4479 section 3.4).

The newest publication speaks first: watchers that read one tuple only read the first.
"""

from collections.abc import Sequence

from presence._fastcore import merge_xml
from presence.document.pidf import PIDF, Kind, PidfDocument
from presence.document.xml import escape

_XML = b'<?xml version="1.0" encoding="UTF-8"?>\n<presence xmlns="' + PIDF.encode() + b'"'


def compose(entity_uri: str, documents: Sequence[PidfDocument], *, one_person: bool = False) -> bytes:
    """Return the document of a presentity; `documents` are oldest first.

    Children stand in the order of the schema: tuples, notes, then what is foreign (RFC 3863 section 4.4). Of
    tuples, persons and devices with the same id the newest one stands. Their ids are of one space (xs:ID) and
    not ours to change, so a newer element of another kind that took the id drops the older one as well.
    Those without an id are all kept, as they were sent. Equal notes, and equal foreign elements, stand once. With
    `one_person` the newest document that tells of a person is the only one that does (RFC 4479 section 3.2).
    """
    entity = b' entity="%b">' % escape(entity_uri).encode()
    return merge_xml(documents, _XML, entity, b"</presence>", single=Kind.PERSON if one_person else -1)


def closed(entity_uri: str, tuple_id: str, note: str = "") -> bytes:
    """Return the document of a presentity that has published nothing: one tuple, closed, and perhaps a note."""
    notes = f"<note>{escape(note)}</note>" if note else ""
    return (
        _XML
        + (
            f' entity="{escape(entity_uri)}"><tuple id="{escape(tuple_id)}">'
            f"<status><basic>closed</basic></status></tuple>{notes}</presence>"
        ).encode()
    )
