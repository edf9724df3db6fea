"""Presence documents: both readers see the same, composition gives one well-formed document of bounded size.

Documents of one presentity are parted by two zero bytes.
"""

from collections.abc import Iterable
from pathlib import Path
from pyexpat import ParserCreate

import sip
from cut import fragments

from presence.document.compose import compose
from presence.document.pidf import VOCABULARY, PidfDocument, parse_odd_pidf, parse_pidf
from presence.document.xml import MAX_BODY_BYTES
from presence.errors import BadRequest

ENTITY = "sip:alice@example.com"
PART = b"\0\0"
USUAL = parse_pidf(sip.pidf("usual").encode())


def read(body: bytes) -> PidfDocument | None:
    """Read a body; what the compiled reader takes, expat must read to the same."""
    taken = VOCABULARY.cut(body)
    odd, refused = None, ""
    try:
        odd = parse_odd_pidf(body)
    except BadRequest as error:
        refused = error.reason
    if odd is None:
        assert taken is None, refused
        assert refused.isascii()
        assert refused.isprintable()
        return None
    if taken is None:
        return odd
    assert fragments(taken) == fragments(odd)
    assert compose(ENTITY, [taken]) == compose(ENTITY, [odd])
    return taken


def run(data: bytes) -> None:
    bodies = data.split(PART)[:4] if not data.startswith((b"\xfe\xff", b"\xff\xfe")) else [data]
    documents = [document for document in map(read, bodies) if document is not None]
    if not documents:
        return
    composed = compose(ENTITY, [USUAL, *documents])
    assert len(composed) < len(documents) * (2 * MAX_BODY_BYTES + 1000)
    ParserCreate("utf-8", "\f").Parse(composed, True)
    again = parse_odd_pidf(composed) if len(composed) <= MAX_BODY_BYTES else None
    assert again is None or compose(ENTITY, [again]) == composed


def seeds() -> Iterable[bytes]:
    yield sip.pidf("one", "two").encode()
    yield PART.join(sip.pidf(note, tuple_id=note).encode() for note in "abc")
    yield (
        b'<?xml version="1.0"?><p:presence xmlns:p="urn:ietf:params:xml:ns:pidf" xmlns="urn:x" '
        b'xmlns:dm="urn:ietf:params:xml:ns:pidf:data-model" xmlns:r="urn:r" entity="pres:alice@example.com"><!-- c -->'
        b'<p:tuple id=" a "><p:status><r:x r:y="&#x41;&lt;"/></p:status></p:tuple><dm:person id="p"/><y/>'
        b'<p:note xml:lang="en">]] &amp; \xc3\xa9</p:note><dm:device id="d"><![CDATA[x]]></dm:device></p:presence>'
    )
    yield b"<?xml version='1.0' encoding='ISO-8859-1'?><presence xmlns='urn:ietf:params:xml:ns:pidf'>\xe9</presence>"
    yield sip.pidf("wide").replace("UTF-8", "UTF-16").encode("utf-16")
    yield b"<!DOCTYPE a [<!ENTITY b 'c'>]>" + sip.pidf("&b;").encode()
    for path in sorted((Path(__file__).parents[2] / "documents").glob("*.xml")):
        yield path.read_bytes()
