"""A document as its elements with their places in the bytes, so that it can be edited without being rebuilt.

Expat reads it, which unlike lxml forgets the names it has met. No document type is ever accepted, so there are no
entities, no attributes but those written, and nothing to fetch.
"""

import re
from collections.abc import Iterator
from pyexpat import ExpatError, ParserCreate, XMLParserType, errors
from typing import Final, NamedTuple

from presence.xcap.errors import ConstraintFailure

# A form feed cannot occur in XML, so it parts namespace and name without doubt.
_PART = "\f"
_ATTRIBUTE = rb"""\s++([^\s=>/]++)\s*+=\s*+("[^"]*+"|'[^']*+')"""
_START_TAG = re.compile(rb"<([^\s/>]++)(?:%b)*+\s*+/?>" % _ATTRIBUTE)
_ATTRIBUTES = re.compile(_ATTRIBUTE)
_XML: Final = "http://www.w3.org/XML/1998/namespace"


class Bounds(NamedTuple):
    """How much of a document is taken."""

    depth: int
    elements: int


class Malformed(Exception):
    """Not well-formed, or not in its namespaces; the text says where and why."""


class Element:
    """One element; all places are offsets in the bytes of its document."""

    __slots__ = ("attributes", "children", "declared", "end", "name", "parent", "start", "tag_end")

    def __init__(self, name: str, start: int, parent: "Element | None") -> None:
        self.name = name
        """Expanded, as `expand` writes it."""
        self.start, self.tag_end, self.end = start, 0, 0
        self.parent = parent
        self.children: list[Element] = []
        self.attributes: dict[str, str] = {}
        """Normalised values by expanded name; namespace declarations are none (RFC 4825 section 6.3)."""
        self.declared: dict[str, str] = {}
        """Prefix, '' for the default, to namespace name ('' when it is taken back)."""

    def scope(self) -> dict[str, str]:
        """Return the namespaces in scope by prefix, without `xml`."""
        chain = []
        element: Element | None = self
        while element is not None:
            if element.declared:
                chain.append(element.declared)
            element = element.parent
        return {prefix: uri for found in reversed(chain) for prefix, uri in found.items()}


class Written(NamedTuple):
    """An attribute in its start tag: the place of all of it with the white space before, and its quoted value."""

    name: bytes
    start: int
    end: int
    value: bytes


def expand(namespace: str, local: str) -> str:
    """Return an expanded name as one text."""
    return f"{namespace}{_PART}{local}" if namespace else local


def expand_written(name: bytes, scope: dict[str, str], *, default: bool) -> str | None:
    """Expand a name as it is written; None for a prefix nothing declares. Attributes have no `default` namespace."""
    prefix, _, local = name.decode().rpartition(":")
    if prefix == "xml":
        return expand(_XML, local)
    if prefix:
        return expand(scope[prefix], local) if scope.get(prefix) else None
    return expand(scope.get("", "") if default else "", local)


def open_parser(namespaces: bool) -> XMLParserType:
    """Return expat for UTF-8 that refuses document types."""
    expat = ParserCreate("utf-8", _PART) if namespaces else ParserCreate("utf-8")
    expat.StartDoctypeDeclHandler = _refuse_doctype
    return expat


def run_parser(expat: XMLParserType, text: bytes) -> None:
    """Read a text to its end; raises `Malformed`."""
    try:
        expat.Parse(text, True)
    except ExpatError as error:
        raise Malformed(f"{errors.messages[error.code]}: line {error.lineno}, column {error.offset}") from None
    except UnicodeError:
        raise Malformed("not UTF-8") from None
    finally:
        # The handlers hold the parser, which holds the handlers: untie the knot.
        expat.StartElementHandler = expat.EndElementHandler = expat.StartNamespaceDeclHandler = None
        expat.StartDoctypeDeclHandler = None


def read_tree(text: bytes, bounds: Bounds) -> Element:
    """Return the root element; raises `Malformed`, and `ConstraintFailure` for more than is taken."""
    reader = _Reader(text, bounds)
    return reader.read()


def written_attributes(text: bytes, element: Element) -> Iterator[Written]:
    """Yield the attributes of a start tag, declarations among them, in their order."""
    found = _START_TAG.match(text, element.start)
    assert found is not None
    for entry in _ATTRIBUTES.finditer(text, found.end(1), element.tag_end):
        yield Written(entry[1], entry.start(), entry.end(), entry[2])


def qualified_name(text: bytes, element: Element) -> bytes:
    """Return the name of an element as it is written."""
    found = _START_TAG.match(text, element.start)
    assert found is not None
    return found[1]


def is_empty_tag(text: bytes, element: Element) -> bool:
    """Whether it has no end tag: <a/>."""
    return element.tag_end == element.end


class _Reader:
    def __init__(self, text: bytes, bounds: Bounds) -> None:
        self._text, self._bounds = text, bounds
        self._open: list[Element] = []
        self._declared: dict[str, str] = {}
        self._count = 0
        self._root: Element | None = None

    def read(self) -> Element:
        self._expat = expat = open_parser(namespaces=True)
        expat.StartNamespaceDeclHandler = self._declare
        expat.StartElementHandler = self._start
        expat.EndElementHandler = self._end
        try:
            run_parser(expat, self._text)
        finally:
            del self._expat
        assert self._root is not None
        return self._root

    def _declare(self, prefix: str | None, uri: str | None) -> None:
        self._declared[prefix or ""] = uri or ""

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        parent = self._open[-1] if self._open else None
        element = Element(name, self._expat.CurrentByteIndex, parent)
        element.attributes = attributes
        if self._declared:
            element.declared, self._declared = self._declared, {}
        if parent is None:
            self._root = element
        else:
            parent.children.append(element)
        self._open.append(element)
        self._count += 1
        if len(self._open) > self._bounds.depth:
            raise ConstraintFailure(f"Nest elements no deeper than {self._bounds.depth}")
        if self._count > self._bounds.elements:
            raise ConstraintFailure(f"Keep the document to {self._bounds.elements} elements")

    def _end(self, _name: str) -> None:
        element = self._open.pop()
        found = _START_TAG.match(self._text, element.start)
        assert found is not None
        element.tag_end = found.end()
        if self._text[element.tag_end - 2] == ord("/"):
            element.end = element.tag_end
        else:
            element.end = self._text.index(b">", self._expat.CurrentByteIndex) + 1


def _refuse_doctype(*_: object) -> None:
    raise ConstraintFailure("Leave out the document type declaration: none is accepted")
