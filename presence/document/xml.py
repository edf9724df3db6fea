"""Hardened reading of XML bodies, and the escaping that writing them needs (RFC 3863 section 4.1).

No document type is ever accepted, so there are no entities to resolve, no defaults and nothing to fetch.
"""

import re
from pyexpat import ExpatError, XMLParserType, errors
from typing import Final

from lxml import etree

from presence.errors import BadRequest

MAX_BODY_BYTES: Final = 128 * 1024
MAX_DEPTH: Final = 64

_REASON_LENGTH = 100

# Possessive, so that no prolog can make the search slow. Only white space, instructions and comments may
# stand before a document type declaration (XML 1.0 section 2.8).
_DOCTYPE = re.compile(rb"(?:\s++|<\?(?>.*?\?>)|<!--(?>.*?-->))*+<!DOCTYPE", re.DOTALL)
_ENCODING = re.compile(rb"""<\?xml\s[^>]{0,100}?encoding\s*=\s*["']([\w.-]{1,40})["']""")
_ALREADY_UTF8 = frozenset((b"utf-8", b"utf8", b"us-ascii", b"ascii"))
_UTF16_STARTS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16", b"<\0": "utf-16-le", b"\0<": "utf-16-be"}

_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_NEEDS_CARE = re.compile("[^\x20\x21\x23-\x25\x28-\x3b\x3d\x3f-\x7e]")
_ESCAPES = str.maketrans(
    {
        "&": "&amp;",
        "<": "&lt;",
        ">": "&gt;",
        '"': "&quot;",
        "'": "&apos;",
        "\t": "&#9;",
        "\n": "&#10;",
        "\r": "&#13;",
    }
)


def strict_parser() -> etree.XMLParser:
    """Return an lxml parser that resolves nothing and fetches nothing; one for each thread that reads."""
    return etree.XMLParser(
        encoding="utf-8",
        resolve_entities=False,
        load_dtd=False,
        no_network=True,
        huge_tree=False,
        collect_ids=False,
        remove_comments=True,
        remove_pis=True,
    )


_PARSER = strict_parser()
_TOO_DEEP = etree.XPath(f"boolean({'/*' * (MAX_DEPTH + 1)})")


def malformed(where: int, what: str) -> BadRequest:
    """The 400 for a body that is not well-formed, its reason phrase safe to put on a status line."""
    text = f"Malformed XML at Line {where}: {what}"
    return BadRequest("".join(c if " " <= c <= "~" else "?" for c in text[:_REASON_LENGTH]))


def prepare_xml(body: bytes, most: int = MAX_BODY_BYTES) -> bytes:
    """Return the body as UTF-8 without byte order mark, of `most` bytes at most and free of document types.

    Every reader gets UTF-8 whatever the XML declaration says, so no encoding can hide a document type.
    """
    if len(body) > most:
        raise BadRequest(f"XML Body Exceeds {most} Bytes")
    text = _transcode(body)
    if b"<!DOCTYPE" in text and _DOCTYPE.match(text):
        raise BadRequest("Document Type Declaration Not Allowed")
    return text


def run_expat(expat: XMLParserType, text: bytes) -> None:
    """Have a parser read a whole document; raises BadRequest that says what is wrong with it."""
    try:
        expat.Parse(text, True)
    except ExpatError as error:
        raise malformed(error.lineno, errors.messages[error.code]) from None
    except UnicodeError:
        raise BadRequest("XML Body Is Not Valid UTF-8") from None


def parse_xml(body: bytes) -> etree._Element:
    """Return the root element of a body, without comments and processing instructions.

    lxml keeps every name it meets for as long as the thread lives; what strangers may send at any rate is
    therefore read without it (`presence.document.pidf`).
    """
    try:
        root = etree.fromstring(prepare_xml(body), _PARSER)
    except etree.XMLSyntaxError as error:
        raise malformed(error.position[0], error.msg or "syntax error") from None
    # So few end tags cannot nest deeper, and spare the search.
    if body.count(b"</") >= MAX_DEPTH and _TOO_DEEP(root):
        raise BadRequest(f"XML Nested Deeper than {MAX_DEPTH} Elements")
    return root


def escape(text: str) -> str:
    """Escape text for a double-quoted attribute value or for content; what XML cannot carry is dropped."""
    if _NEEDS_CARE.search(text) is None:
        return text
    return _FORBIDDEN.sub("", text).translate(_ESCAPES)


def _transcode(body: bytes) -> bytes:
    utf16 = _UTF16_STARTS.get(body[:2])
    if utf16 is not None:
        try:
            return body.decode(utf16).encode()
        except UnicodeError:
            raise BadRequest("XML Body Is Not Valid UTF-16") from None
    text = body.removeprefix(b"\xef\xbb\xbf")
    declared = _ENCODING.match(text)
    if declared is None or declared[1].lower() in _ALREADY_UTF8:
        return text
    if declared[1].lower() == b"iso-8859-1":
        return text.decode("latin-1").encode()
    raise BadRequest("XML Character Encoding Is Not UTF-8 or UTF-16")
