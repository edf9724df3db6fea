"""Documents as trees of their own names: prefixes, declarations, comments and text stay what they were.

Patches (RFC 5261) are about just these, and lxml settles prefixes by itself. Read with expat, which forgets the names
it has met; canonical XML with comments (RFC 5261 section 3) says when two are the same.
"""

from collections.abc import Iterator, Mapping
from pyexpat import ParserCreate
from typing import Final, NamedTuple

from presence.document.xml import MAX_DEPTH, escape, prepare_xml, run_expat
from presence.errors import BadRequest

XML: Final = "http://www.w3.org/XML/1998/namespace"

_TEXT = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "\r": "&#13;"})


class Comment(NamedTuple):
    """A comment."""

    text: str


class Instruction(NamedTuple):
    """A processing instruction."""

    target: str
    data: str


class Element:
    """An element; two texts never stand next to each other among its children."""

    __slots__ = ("attributes", "children", "declared", "name")

    def __init__(self, name: str, attributes: dict[str, str], declared: dict[str, str]) -> None:
        self.name = name
        """As it stands, with its prefix."""
        self.attributes = attributes
        """By name as it stands."""
        self.declared = declared
        """Namespaces by prefix, '' for the default; those declared here alone."""
        self.children: list[Node] = []


Node = Element | Comment | Instruction | str

Scope = Mapping[str, str]
"""Namespaces by prefix."""


class Tree(NamedTuple):
    """A document: comments and instructions before and behind the root element."""

    before: list[Node]
    root: Element
    behind: list[Node]


def parse_tree(body: bytes) -> Tree:
    """Read a document; raises BadRequest."""
    builder = _Builder()
    expat = ParserCreate("utf-8")
    expat.buffer_text = True
    expat.ordered_attributes = True
    expat.StartElementHandler = builder.start
    expat.EndElementHandler = builder.end
    expat.CharacterDataHandler = builder.text
    expat.CommentHandler = lambda text: builder.add(Comment(text))
    expat.ProcessingInstructionHandler = lambda target, data: builder.add(Instruction(target, data))
    run_expat(expat, prepare_xml(body))
    place = next(at for at, node in enumerate(builder.top) if isinstance(node, Element))
    root = builder.top[place]
    assert isinstance(root, Element)
    return Tree(builder.top[:place], root, builder.top[place + 1 :])


class _Builder:
    def __init__(self) -> None:
        self.top: list[Node] = []
        self._open: list[Element] = []

    def start(self, name: str, attributes: list[str]) -> None:
        if len(self._open) >= MAX_DEPTH:
            raise BadRequest(f"XML Nested Deeper than {MAX_DEPTH} Elements")
        own, declared = dict[str, str](), dict[str, str]()
        for key, value in zip(attributes[::2], attributes[1::2], strict=True):
            if key == "xmlns":
                declared[""] = value
            elif key.startswith("xmlns:"):
                declared[key[6:]] = value
            else:
                own[key] = value
        element = Element(name, own, declared)
        self.add(element)
        self._open.append(element)

    def end(self, name: str) -> None:
        self._open.pop()

    def add(self, node: Node) -> None:
        (self._open[-1].children if self._open else self.top).append(node)

    def text(self, text: str) -> None:
        append_text(self._open[-1].children, text)


def append_text(children: list[Node], text: str) -> None:
    """Put text at the end, one with a text that is there."""
    if children and isinstance(last := children[-1], str):
        children[-1] = last + text
    elif text:
        children.append(text)


def prefix_of(name: str) -> str:
    """Return what stands before the colon."""
    return name.partition(":")[0] if ":" in name else ""


def local_of(name: str) -> str:
    """Return what stands behind the colon, the whole name without one."""
    return name.rpartition(":")[2]


def enter(scope: Scope, element: Element) -> Scope:
    """Return the namespaces in scope inside an element."""
    return {**scope, **element.declared} if element.declared else scope


def namespace(name: str, scope: Scope, *, attribute: bool = False) -> str:
    """Return the namespace name of an element or attribute, '' for none; raises KeyError for an unbound prefix."""
    prefix = prefix_of(name)
    if prefix == "xml":
        return XML
    if not prefix:
        return "" if attribute else scope.get("", "")
    return scope[prefix]


def free_prefixes(node: Node, *, inside: bool = False) -> frozenset[str]:
    """Return the prefixes a node uses and does not bind, with `inside` all it uses; '' is unprefixed elements'."""
    if not isinstance(node, Element):
        return frozenset()
    used = {prefix_of(node.name)}
    used.update(prefix for prefix in map(prefix_of, node.attributes) if prefix)
    for child in node.children:
        if isinstance(child, Element):
            used |= free_prefixes(child)
    if not inside:
        used.difference_update(node.declared)
    used.discard("xml")
    return frozenset(used)


def write_node(node: Node) -> str:
    """Write a node as XML."""
    return "".join(_pieces(node))


def write_tree(tree: Tree) -> bytes:
    """Write a document."""
    pieces = ['<?xml version="1.0" encoding="UTF-8"?>\n']
    pieces += [f"{write_node(node)}\n" for node in tree.before]
    pieces += [write_node(tree.root)]
    pieces += [f"\n{write_node(node)}" for node in tree.behind]
    return "".join(pieces).encode()


def escape_text(text: str) -> str:
    """Escape text for content, line ends as they are."""
    return text.translate(_TEXT)


def write_declarations(declared: Scope) -> str:
    """Write namespace declarations, a blank before each."""
    return "".join(f' xmlns{prefix and f":{prefix}"}="{escape(uri)}"' for prefix, uri in declared.items())


def _pieces(node: Node) -> Iterator[str]:
    if isinstance(node, str):
        yield escape_text(node)
    elif isinstance(node, Comment):
        yield f"<!--{node.text}-->"
    elif isinstance(node, Instruction):
        yield f"<?{node.target} {node.data}?>" if node.data else f"<?{node.target}?>"
    else:
        yield f"<{node.name}{write_declarations(node.declared)}"
        yield from (f' {name}="{escape(value)}"' for name, value in node.attributes.items())
        if node.children:
            yield ">"
            for child in node.children:
                yield from _pieces(child)
            yield f"</{node.name}>"
        else:
            yield "/>"
