"""Reading and changing one node of a document in its bytes (RFC 4825 sections 8.2 to 8.4).

What a request does not name stays byte for byte. After each change the new document is read again and the selector is
evaluated on it: that is the property GET(PUT(x)) == x, whatever the rules of insertion have come to.
"""

import re
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from presence.document.xml import escape
from presence.xcap.errors import (
    CannotDelete,
    CannotInsert,
    ConstraintFailure,
    NoParent,
    NoResource,
    NotUtf8,
    NotXmlAttributeValue,
    NotXmlFragment,
    SchemaValidationError,
)
from presence.xcap.selector import Selector, Step, descend, filter_children, select
from presence.xcap.tree import (
    Bounds,
    Element,
    Malformed,
    Written,
    expand_written,
    is_empty_tag,
    open_parser,
    qualified_name,
    read_tree,
    run_parser,
    written_attributes,
)

ELEMENT_TYPE: Final = "application/xcap-el+xml"
ATTRIBUTE_TYPE: Final = "application/xcap-att+xml"
BINDINGS_TYPE: Final = "application/xcap-ns+xml"

_BLANK: Final = b" \t\r\n"
_BOM: Final = b"\xef\xbb\xbf"
_ATT_VALUE = re.compile(rb"""(?:"[^"<]*+"|'[^'<]*+')""")
_IDLE_AMPERSAND = re.compile(r"&(?!#[0-9]+;|#x[0-9A-Fa-f]+;|(?:amp|lt|gt|quot|apos);)")


class Edited(NamedTuple):
    """What a PUT has made of a document."""

    text: bytes
    created: bool
    """The node was not there before."""


class Fragment(NamedTuple):
    """The one element of a body, without the white space around it."""

    text: bytes
    name: bytes
    """As written."""
    declared: dict[str, str]
    """The namespaces its start tag declares."""


class Missing(NoParent):
    """The parent of a node is not there; the caller turns `depth` into the URI of the closest ancestor."""

    def __init__(self, phrase: str, depth: int) -> None:
        super().__init__(phrase)
        self.depth = depth
        """How many steps of the selector lead to elements that are there."""


class NodeEditor:
    """Serves one node selector on the documents of one usage."""

    def __init__(self, selector: Selector, default: str, bounds: Bounds, *, openxcap: bool = False) -> None:
        """`default` is the default document namespace; `openxcap` serves as OpenXCAP does."""
        self._selector, self._default, self._bounds = selector, default, bounds
        self._openxcap = openxcap

    # ---- GET ----

    def get(self, text: bytes) -> tuple[bytes, str]:
        """Return the node and its MIME type; raises `NoResource` (section 8.3)."""
        selector = self._selector
        element = self._find(text)
        if selector.bindings:
            return _write_bindings(text, element), BINDINGS_TYPE
        if selector.attribute is None:
            return text[element.start : element.end], ELEMENT_TYPE
        written = self._find_attribute(text, element)
        if written is None:
            raise NoResource("The element has no such attribute")
        return written.value[1:-1] if self._openxcap else written.value, ATTRIBUTE_TYPE

    # ---- PUT ----

    def put(self, text: bytes, body: bytes) -> Edited:
        """Return the document with the body in its place; raises the conflicts of sections 8.2.1 to 8.2.4."""
        try:
            root = read_tree(text, self._bounds)
        except Malformed as fault:
            raise NoParent(f"The document there is not well-formed ({fault}): PUT all of it") from None
        if self._selector.attribute is None:
            return self._put_element(text, root, body)
        return self._put_attribute(text, root, body)

    def _put_element(self, text: bytes, root: Element, body: bytes) -> Edited:
        *above, last = self._selector.steps
        parent = self._descend(root, above)
        fragment = read_fragment(body)
        siblings = [root] if parent is None else parent.children
        found = filter_children(siblings, last, self._default)
        if len(found) > 1:
            raise CannotInsert("The URI selects several elements: add a position or an attribute to its last step")
        if found:
            start = found[0].start
            new = text[:start] + fragment.text + text[found[0].end :]
        elif parent is None:
            raise CannotInsert("A document has one root element, and it has another name: PUT the whole document")
        else:
            new, start = self._insert(text, parent, last, fragment)
        changed = self._reread(new)
        element = select(changed, self._selector.steps, self._default)
        if element is None or element.start != start or element.end != start + len(fragment.text):
            raise CannotInsert(
                "The URI would not select the element that is PUT: let name, position and attribute of its last step "
                "fit the body"
            )
        return Edited(new, not found)

    def _insert(self, text: bytes, parent: Element, step: Step, fragment: Fragment) -> tuple[bytes, int]:
        """Put a new child in its place (section 8.2.3); return the document and where the child begins."""
        if step.name is None:
            name = _expand_fragment(fragment, parent)
        else:
            name = step.name.expand(self._default)
        same = [child for child in parent.children if child.name == name]
        place: int | None = None
        if step.position is None:
            # The earliest last position: right behind those of its name.
            place = same[-1].end if same else None
        else:
            counted = parent.children if step.name is None else same
            if not 1 <= step.position <= len(counted) + 1:
                raise CannotInsert(f"There are {len(counted)} such elements: the next position is {len(counted) + 1}")
            # The earliest nth position: right behind the one before, or before all that are counted.
            if step.position > 1:
                place = counted[step.position - 2].end
            elif counted:
                place = counted[0].start
        if place is not None:
            return text[:place] + fragment.text + text[place:], place
        # Behind all siblings, and all text, comments and instructions behind them.
        if is_empty_tag(text, parent):
            head, end = text[: parent.end - 2] + b">", b"</%b>" % qualified_name(text, parent)
            return head + fragment.text + end + text[parent.end :], len(head)
        place = text.rindex(b"</", 0, parent.end)
        return text[:place] + fragment.text + text[place:], place

    def _reread(self, new: bytes) -> Element:
        try:
            return read_tree(new, self._bounds)
        except Malformed as fault:
            # Alone it was well-formed, so a prefix has no namespace, or two attributes have become the same.
            raise NotXmlFragment(f"Declare in the body each prefix that the document does not ({fault})") from None

    def _put_attribute(self, text: bytes, root: Element, body: bytes) -> Edited:
        element = self._descend(root, self._selector.steps)
        assert element is not None
        assert self._selector.attribute is not None
        written, value = read_attribute_value(body, bare=self._openxcap)
        found = self._find_attribute(text, element)
        if found is not None:
            at = found.end - len(found.value)
            new = text[:at] + written + text[found.end :]
        else:
            last = element.start + 1 + len(qualified_name(text, element))
            for attribute in written_attributes(text, element):
                last = attribute.end
            new = text[:last] + self._name_attribute(element) + b"=" + written + text[last:]
        try:
            changed = read_tree(new, self._bounds)
        except Malformed as fault:
            raise CannotInsert(f"An element cannot have this attribute ({fault})") from None
        selected = select(changed, self._selector.steps, self._default)
        if not self._may_unselect() and (
            selected is None
            or selected.start != element.start
            or selected.attributes.get(self._selector.attribute) != value
        ):
            raise CannotInsert(
                "The URI would not select the attribute that is PUT: select its element by position or by another "
                "attribute, or PUT the whole element"
            )
        return Edited(new, found is None)

    def _may_unselect(self) -> bool:
        """Whether a client of OpenXCAP gives another value to the attribute that its URI selects by."""
        test = self._selector.steps[-1].test
        return self._openxcap and test is not None and test[0] == self._selector.attribute

    def _name_attribute(self, element: Element) -> bytes:
        """Return the blank and the name of a new attribute, with a declaration where its prefix needs one."""
        namespace, _, local = (self._selector.attribute or "").rpartition("\f")
        if not namespace:
            return f" {local}".encode()
        prefix = self._selector.attribute_text.rpartition(":")[0]
        scope = element.scope()
        known = [own for own, uri in scope.items() if own and uri == namespace]
        if prefix == "xml" or prefix in known:
            return f" {prefix}:{local}".encode()
        if known:
            return f" {known[0]}:{local}".encode()
        fresh, number = prefix, 0
        while fresh in scope:
            number += 1
            fresh = f"{prefix}{number}"
        return f' xmlns:{fresh}="{escape(namespace)}" {fresh}:{local}'.encode()

    # ---- DELETE ----

    def delete(self, text: bytes, check: Callable[[], None]) -> bytes:
        """Return the document without the node; raises `NoResource` and the conflicts of section 8.4.

        `check` is called when the node has been found, and raises what else speaks against it.
        """
        element = self._find(text)
        start, end = element.start, element.end
        if self._selector.attribute is not None:
            written = self._find_attribute(text, element)
            if written is None:
                raise NoResource("The element has no such attribute")
            start, end = written.start, written.end
        check()
        if self._selector.attribute is None and len(self._selector.steps) == 1:
            raise SchemaValidationError("A document needs its root element: DELETE the document itself")
        new = text[:start] + text[end:]
        try:
            changed = read_tree(new, self._bounds)
        except Malformed as fault:
            raise ConstraintFailure(f"The rest would not be well-formed ({fault})") from None
        left = select(changed, self._selector.steps, self._default)
        if left is not None and (self._selector.attribute is None or self._selector.attribute in left.attributes):
            raise CannotDelete(
                "The URI would select another node after this DELETE: add an attribute that no sibling has"
            )
        return new

    # ---- finding ----

    def _find(self, text: bytes) -> Element:
        try:
            root = read_tree(text, self._bounds)
        except Malformed as fault:
            raise NoResource(f"The document there is not well-formed ({fault})") from None
        element = select(root, self._selector.steps, self._default)
        if element is None:
            raise NoResource("The node selector selects nothing, or more than one element")
        return element

    def _descend(self, root: Element, steps: Sequence[Step]) -> Element | None:
        """Return where the steps lead, None for no step at all; raises `Missing` (section 8.2.1)."""
        trail = descend(root, steps, self._default)
        if len(trail) < len(steps):
            raise Missing(
                "Make the parent first: no element, or more than one, is selected by what leads to it", len(trail)
            )
        return trail[-1] if trail else None

    def _find_attribute(self, text: bytes, element: Element) -> Written | None:
        if self._selector.attribute not in element.attributes:
            return None
        scope = element.scope()
        for written in written_attributes(text, element):
            is_declaration = written.name == b"xmlns" or written.name.startswith(b"xmlns:")
            expanded = expand_written(written.name, scope, default=False)
            if not is_declaration and expanded == self._selector.attribute:
                return written
        return None


def read_fragment(body: bytes) -> Fragment:
    """Return the one element a body must be (section 8.2.2); raises `NotXmlFragment` and `NotUtf8`."""
    text = check_utf8(body).strip(_BLANK)
    expat = open_parser(namespaces=False)
    # An end tag begins where the parser is when the last element ends, an empty-element tag has ended there.
    first, last, names = -1, 0, dict[str, str]()

    def begin(name: str, attributes: dict[str, str]) -> None:
        nonlocal first, last
        if first < 0:
            first = expat.CurrentByteIndex
            names.update(attributes)
        last = expat.CurrentByteIndex

    def end(_name: str) -> None:
        nonlocal last
        last = expat.CurrentByteIndex

    expat.StartElementHandler, expat.EndElementHandler = begin, end
    try:
        run_parser(expat, text)
    except Malformed as fault:
        raise NotXmlFragment(f"Send exactly one well-formed element ({fault})") from None
    except ConstraintFailure as fault:
        raise NotXmlFragment(fault.phrase) from None
    if text[last : last + 2] == b"</":
        last = text.index(b">", last) + 1
    if first or last != len(text):
        raise NotXmlFragment("Send the element alone, with no XML declaration, comment or instruction beside it")
    found = re.match(rb"<([^\s/>]+)", text)
    assert found is not None
    declared = {
        name.partition(":")[2]: uri for name, uri in names.items() if name == "xmlns" or name.startswith("xmlns:")
    }
    return Fragment(text, found[1], declared)


def read_attribute_value(body: bytes, *, bare: bool) -> tuple[bytes, str]:
    """Return the AttValue of a body as written and as it reads (section 8.2.2).

    A `bare` one may come without quotes. Raises `NotXmlAttributeValue` and `NotUtf8`.
    """
    text = check_utf8(body).strip(_BLANK)
    if bare and _ATT_VALUE.fullmatch(text) is None and b"<" not in text:
        text = _quote(text.decode())
    if _ATT_VALUE.fullmatch(text) is None:
        raise NotXmlAttributeValue("Send the value in quotes, with &lt; for each < in it and &quot; for each quote")
    values: list[str] = []
    expat = open_parser(namespaces=False)
    expat.StartElementHandler = lambda _, attributes: values.append(attributes["v"])
    try:
        run_parser(expat, b"<x v=%b/>" % text)
    except Malformed as fault:
        raise NotXmlAttributeValue(f"Write & as &amp; and use no other entity or character ({fault})") from None
    return text, values[0]


def check_utf8(body: bytes) -> bytes:
    """Return a body without byte order mark; raises `NotUtf8`."""
    try:
        body.decode()
    except UnicodeError:
        raise NotUtf8("Encode the body in UTF-8") from None
    if body.startswith((b"<\0", b"\0<")):
        raise NotUtf8("Encode the body in UTF-8, not in UTF-16")
    return body.removeprefix(_BOM)


def _quote(value: str) -> bytes:
    value = _IDLE_AMPERSAND.sub("&amp;", value).replace('"', "&quot;")
    return f'"{value}"'.encode()


def _expand_fragment(fragment: Fragment, parent: Element) -> str:
    """Return the expanded name that a fragment has below its parent."""
    name = expand_written(fragment.name, {**parent.scope(), **fragment.declared}, default=True)
    if name is None:
        raise NotXmlFragment("Declare in the body each prefix that the document does not")
    return name


def _write_bindings(text: bytes, element: Element) -> bytes:
    """Return the namespaces in scope as an element of the same name (section 10)."""
    declarations = "".join(
        f' xmlns{":" if prefix else ""}{prefix}="{escape(uri)}"' for prefix, uri in element.scope().items() if uri
    )
    return b"<%b%b/>" % (qualified_name(text, element), declarations.encode())
