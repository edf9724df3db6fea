"""Reading a small XML document into a tree, bounded and without lxml, which keeps every name it meets."""

import re
from pyexpat import ParserCreate, XMLParserType
from typing import Final

from presence.document.xml import MAX_DEPTH, prepare_xml, run_expat
from presence.errors import BadRequest

MAX_NAME: Final = 1024
"""Characters of a namespace and a local name together."""

# A form feed cannot occur in XML, so it parts namespace and name without doubt.
_PART: Final = "\f"
_BLANKS = re.compile("[ \t\r\n]+")


class Element:
    """An element: its expanded name, its attributes without those of foreign namespaces, what it holds."""

    __slots__ = ("attributes", "children", "name", "namespace", "pieces")

    def __init__(self, namespace: str, name: str, attributes: dict[str, str]) -> None:
        self.namespace, self.name, self.attributes = namespace, name, attributes
        self.children: list[Element] = []
        self.pieces: list[str] = []
        """Its own character data, parted by its children."""

    def value(self) -> str:
        """Return its character data as a token (XML Schema part 2 section 4.3.6: collapsed)."""
        return collapse("".join(self.pieces))


def collapse(text: str) -> str:
    """Collapse white space as XML Schema does for a token."""
    return _BLANKS.sub(" ", text).strip(" ")


def read_tree(body: bytes, most_bytes: int, most_elements: int) -> Element:
    """Return the root element of a body; raises BadRequest when it is malformed or beyond a bound."""
    text = prepare_xml(body, most_bytes)
    builder = _Builder(most_elements)
    expat = ParserCreate("utf-8", _PART)
    builder.listen(expat)
    try:
        run_expat(expat, text)
    finally:
        # The handlers hold the parser's builder, and the parser the handlers: untie the knot.
        expat.StartElementHandler = expat.EndElementHandler = expat.CharacterDataHandler = None
    return builder.root.children[0]


class _Builder:
    """Puts together what expat tells."""

    def __init__(self, most_elements: int) -> None:
        self.root = Element("", "", {})
        self._open = [self.root]
        self._left = most_elements
        self._names: dict[str, tuple[str, str]] = {}
        """Namespace and name by what expat says; a document has few."""

    def listen(self, expat: XMLParserType) -> None:
        expat.buffer_text = True
        expat.StartElementHandler = self._start
        expat.EndElementHandler = self._end
        expat.CharacterDataHandler = self._data

    def _start(self, qualified: str, attributes: dict[str, str]) -> None:
        self._left -= 1
        if self._left < 0:
            raise BadRequest("Too Many Elements in XML Body")
        if len(self._open) > MAX_DEPTH:
            raise BadRequest(f"XML Nested Deeper than {MAX_DEPTH} Elements")
        name = self._names.get(qualified) or self._part(qualified)
        for key in attributes:
            if _PART in key:
                attributes = {key: value for key, value in attributes.items() if _PART not in key}
                break
        element = Element(*name, attributes)
        self._open[-1].children.append(element)
        self._open.append(element)

    def _part(self, qualified: str) -> tuple[str, str]:
        if len(qualified) > MAX_NAME:
            raise BadRequest("Name Too Long in XML Body")
        namespace, _, name = qualified.rpartition(_PART)
        self._names[qualified] = namespace, name
        return namespace, name

    def _end(self, _: str) -> None:
        self._open.pop()

    def _data(self, text: str) -> None:
        self._open[-1].pieces.append(text)
