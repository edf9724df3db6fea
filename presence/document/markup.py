"""Elements of a well-formed document by their places in its bytes, with what their prefixes stand for.

For documents that a reader has taken already: composed ones, and publications. Nothing is checked.
"""

import re
from pyexpat import ParserCreate
from typing import Final, NamedTuple

from presence._fastcore import outline
from presence.document.tree import collapse

Scope = dict[bytes, str]
"""Prefix (b'' for the default) to namespace name."""

OUTERMOST: Final[Scope] = {b"xml": "http://www.w3.org/XML/1998/namespace"}

_TAG_REST = re.compile(rb"""(?:\s++[^\s=/>]++\s*+=\s*+(?:"[^"]*+"|'[^']*+'))*+\s*+/?+>""")
_ATTRIBUTE = re.compile(rb"""\s++([^\s=/>]++)\s*+=\s*+("[^"]*+"|'[^']*+')""")
_NAME = re.compile(rb"[^\s/>]++")
_CARE = re.compile(rb"[&<\r]")


class Part(NamedTuple):
    """A child element."""

    namespace: str
    name: str
    start: int
    end: int
    """Its place in the text of its parent."""
    id: bytes
    """Its attribute `id` with the quotes, b'' without one."""
    scope: Scope
    """What prefixes stand for where it stands; it may declare more."""


class Whole(NamedTuple):
    """An element and its children."""

    text: bytes
    start: int
    name_end: int
    tag_end: int
    """Where it starts in the text, and where its name and its start tag end."""
    parts: list[Part]


def read_whole(text: bytes, outer: Scope) -> Whole | None:
    """Read an element with what stands around it, None when there is none."""
    _, elements = outline(text)
    if not elements:
        return None
    (whole_start, name_end, *_), *children = elements
    tag_end = _find_tag_end(text, name_end)
    scope = _declare(text[name_end:tag_end], outer)
    parts = []
    for start, child_name_end, id_start, id_end, end in children:
        prefix, _, local = text[start + 1 : child_name_end].rpartition(b":")
        tag = text[child_name_end : _find_tag_end(text, child_name_end)]
        namespace = _read_declarations(tag).get(prefix) if b"xmlns" in tag else None
        if namespace is None:
            namespace = scope.get(prefix, "")
        parts.append(Part(namespace, local.decode(), start, end, text[id_start:id_end], scope))
    return Whole(text, whole_start, name_end, tag_end, parts)


def _find_tag_end(text: bytes, name_end: int) -> int:
    match = _TAG_REST.match(text, name_end)
    return len(text) if match is None else match.end()


def _declare(tag: bytes, outer: Scope) -> Scope:
    return outer | _read_declarations(tag) if b"xmlns" in tag else outer


def _read_declarations(tag: bytes) -> Scope:
    return {
        name[6:]: read_value(quoted)
        for name, quoted in _ATTRIBUTE.findall(tag)
        if name == b"xmlns" or name.startswith(b"xmlns:")
    }


def read_value(quoted: bytes) -> str:
    """Return the value of an attribute from between its quotes."""
    if _CARE.search(quoted) is None:
        return quoted[1:-1].decode()
    values: list[str] = []
    expat = ParserCreate("utf-8")
    expat.StartElementHandler = lambda _, attributes: values.append(attributes["a"])
    expat.Parse(b"<x a=%b/>" % quoted, True)
    expat.StartElementHandler = None
    return values[0]


def read_text(element: bytes) -> str:
    """Return the character data of an element, of its children too, with white space collapsed."""
    name = _NAME.match(element, 1)
    tag_end = _find_tag_end(element, 1 if name is None else name.end())
    content = element[tag_end : max(tag_end, element.rfind(b"</"))]
    if _CARE.search(content) is None:
        return collapse(content.decode())
    pieces: list[str] = []
    expat = ParserCreate("utf-8")
    expat.CharacterDataHandler = pieces.append
    expat.Parse(element, True)
    expat.CharacterDataHandler = None
    return collapse("".join(pieces))


def keep_attributes(tag: bytes, name_end: int, kept: bytes) -> bytes:
    """Return a start tag with its declarations and of its other attributes at most the one named."""
    shown = [
        match[0]
        for match in _ATTRIBUTE.finditer(tag, name_end)
        if match[1] == kept or match[1] == b"xmlns" or match[1].startswith(b"xmlns:")
    ]
    close = tag[-2:] if tag.endswith(b"/>") else b">"
    return b"".join((tag[:name_end], *shown, close))
