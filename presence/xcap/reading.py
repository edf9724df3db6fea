"""Reading a document as it would be: well-formed, in UTF-8, and valid for its usage (RFC 4825 sections 8.2.2, 8.2.5).

It looks at nothing but the bytes, and runs in whatever thread. lxml keeps every name it meets for as long as its thread
lives, so that should be one that ends.
"""

from pyexpat import ExpatError, ParserCreate, errors
from typing import NamedTuple

from lxml import etree

from presence.document.xml import strict_parser
from presence.xcap.editing import Edited, check_utf8
from presence.xcap.errors import NotUtf8, NotWellFormed, TooLarge
from presence.xcap.tree import Bounds, Malformed, read_tree
from presence.xcap.usage import Usage

UTF8_NAMES = frozenset(("utf-8", "utf8", "us-ascii", "ascii"))
"""Encodings whose documents are UTF-8 as they stand."""

_PARSER = strict_parser()


class Result(NamedTuple):
    """What the reading has come to: a node that was asked for, or the document as it would be."""

    body: bytes
    content_type: str = ""
    created: bool = False
    tree: etree._Element | None = None


def read_document(body: bytes, bounds: Bounds) -> bytes:
    """Return a body that is a well-formed document in UTF-8; raises the conflicts of section 8.2.2."""
    _check_encoding(body)
    try:
        read_tree(body, bounds)
    except Malformed as fault:
        raise NotWellFormed(f"Send a well-formed document ({fault})") from None
    return body


def _check_encoding(body: bytes) -> None:
    """Raise NotUtf8 for a document that is well-formed in another encoding, or declares one we cannot judge."""
    declared: list[str | None] = []
    expat = ParserCreate()
    expat.XmlDeclHandler = lambda version, encoding, standalone: declared.append(encoding)
    try:
        expat.Parse(body, True)
    except ExpatError as error:
        check_utf8(body)
        raise NotWellFormed(
            f"Send a well-formed document ({errors.messages[error.code]}: line {error.lineno}, column {error.offset})"
        ) from None
    except (LookupError, ValueError):
        raise NotUtf8("Encode the document in UTF-8, and declare that") from None
    finally:
        expat.XmlDeclHandler = None
    encoding = declared[0] if declared else None
    if body.startswith((b"\xff\xfe", b"\xfe\xff")) or (encoding and encoding.lower() not in UTF8_NAMES):
        raise NotUtf8("Encode the document in UTF-8, and declare that")
    check_utf8(body)


def parse_document(usage: Usage, text: bytes, created: bool = False) -> Result:
    """Read a document that is well-formed for the checks of its usage; raises what its schema says."""
    try:
        tree = etree.fromstring(text, _PARSER)
    except etree.XMLSyntaxError as error:
        raise NotWellFormed(f"Send a well-formed document ({error.msg})") from None
    usage.validate(tree)
    return Result(text, "", created, tree)


def parse_edited(usage: Usage, edited: Edited, most: int) -> Result:
    """Read what editing has made of a document, unless it has become larger than `most` bytes."""
    if len(edited.text) > most:
        raise TooLarge(f"Keep documents to {most} bytes")
    return parse_document(usage, edited.text, edited.created)
