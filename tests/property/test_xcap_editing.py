"""Editing keeps every byte it was not asked to touch, and comes to what a naive reference on lxml's tree comes to.

The reference finds elements by XPath and places by trying every gap between siblings, as section 8.2.3 of RFC 4825
words it: "inserted such that as many sibling nodes appear after it as possible".
"""

import os
from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from presence.xcap.editing import NodeEditor
from presence.xcap.errors import CannotDelete, CannotInsert, NoResource, SchemaValidationError
from presence.xcap.selector import read_selector
from presence.xcap.tree import Bounds

EXAMPLES = int(os.environ.get("PRESENCE_EXAMPLES", "200"))

DEFAULT, OTHER = "urn:t", "urn:x"
BOUNDS = Bounds(64, 10_000)
BINDINGS = {"q": OTHER, "xml": "http://www.w3.org/XML/1998/namespace"}

# ---- documents ----

blanks = st.sampled_from(["", " ", "\n  ", "\t", "\r\n"])
between = st.sampled_from([" ", "\n", "  ", "\t "])
texts = st.sampled_from(["", "text", " \n ", "&#x20;&amp;", "]]&gt;", ">", "/>", "\xe9\u20ac", "\r\n", '"', "'"])
others = st.sampled_from(
    [
        "<!-- c -->",
        "<!-- <a i='0'/> -->",
        "<?pi?>",
        "<?pi a='<b>'?>",
        "<![CDATA[<b i='1'>]]>",
        "<![CDATA[]]>",
        "<!---->",
    ]
)
names = st.sampled_from(["a", "b", "x:a", "x:b", "d:a"])
values = st.sampled_from(["1", "2", "&lt;", " ", "/>", "x&#10;y", "\xe4", "a=b"])
declarations = st.sampled_from(
    ["", "", "", ' xmlns:x="urn:x"', " xmlns = 'urn:t'", ' xmlns="urn:x"', " xmlns:y='urn:y'"]
)


class Maker:
    """Writes documents whose elements carry a number each, in odd but well-formed ways."""

    def __init__(self, data: st.DataObject) -> None:
        self._draw = data.draw
        self._count = 0

    def element(self, depth: int, name: str = "", declared: str | None = None) -> str:
        draw = self._draw
        number, self._count = self._count, self._count + 1
        name = name or draw(names)
        declared = draw(declarations) if declared is None else declared
        quoted = draw(st.sampled_from([f"'{number}'", f'"{number}"']))
        attributes = [f"i{draw(blanks)}={draw(blanks)}{quoted}"]
        for attribute in draw(st.lists(st.sampled_from(["n", "x:n", "m"]), unique=True, max_size=2)):
            quote = draw(st.sampled_from("\"'"))
            attributes.append(f"{attribute}={quote}{draw(values)}{quote}")
        start = f"<{name}{declared}" + "".join(f"{draw(between)}{attribute}" for attribute in attributes)
        content = self.content(depth) if depth else ""
        if not content and draw(st.booleans()):
            return f"{start}{draw(blanks)}/>"
        return f"{start}{draw(blanks)}>{content}</{name}{draw(blanks)}>"

    def content(self, depth: int) -> str:
        draw = self._draw
        kinds = draw(st.lists(st.sampled_from(["element", "element", "text", "other"]), max_size=5))
        make = {"element": lambda: self.element(depth - 1), "text": lambda: draw(texts), "other": lambda: draw(others)}
        return "".join(make[kind]() for kind in kinds)

    def document(self) -> bytes:
        draw = self._draw
        prolog = draw(st.sampled_from(["", "<?xml version='1.0'?>", "<?xml version='1.0' encoding='UTF-8' ?>\r\n"]))
        before, after = (
            draw(st.sampled_from(["", "<!-- b -->\n", "<?pi?>"])),
            draw(st.sampled_from(["", "\n<!-- a -->"])),
        )
        spaces = ' xmlns="urn:t" xmlns:x="urn:x" xmlns:d="urn:t"'
        return f"{prolog}{before}{self.element(3, 'root', spaces)}{after}".encode()


# ---- the reference ----


class Step(NamedTuple):
    namespace: str | None
    """None: the wildcard."""
    local: str
    position: int | None
    number: str | None
    """The value of the attribute i."""

    @property
    def selector(self) -> str:
        name = "*" if self.namespace is None else ("q:" if self.namespace == OTHER else "") + self.local
        position = "" if self.position is None else f"[{self.position}]"
        return name + position + ("" if self.number is None else f'[@i="{self.number}"]')

    @property
    def xpath(self) -> str:
        name = "*"
        if self.namespace is not None:
            name += f"[local-name()='{self.local}' and namespace-uri()='{self.namespace}']"
        position = "" if self.position is None else f"[{self.position}]"
        return name + position + ("" if self.number is None else f"[@i='{self.number}']")


def parse(text: bytes) -> etree._Element:
    return etree.fromstring(text)


def find(root: etree._Element, steps: list[Step]) -> etree._Element | None:
    """Each step must select one element; XPath alone would join sets."""
    context, start = root, "/"
    for step in steps:
        found = context.xpath(start + step.xpath)
        if len(found) != 1:
            return None
        context, start = found[0], ""
    return context


def nodes(element: etree._Element) -> list[tuple[str, ...]]:
    """Return what is between the tags: elements by name and number, and all else by content."""
    found: list[tuple[str, ...]] = [("text", element.text)] if element.text else []
    for child in element:
        if child.tag is etree.Comment:
            found.append(("comment", child.text or ""))
        elif child.tag is etree.ProcessingInstruction:
            found.append(("instruction", child.target or "", child.text or ""))
        else:
            found.append(("element", child.tag, child.get("i")))
        if child.tail:
            found.append(("text", child.tail))
    return found


def place(siblings: list[tuple[str, ...]], step: Step, tag: str) -> int | None:
    """Return the gap for a new element by section 8.2.3, None where there is none."""

    def counted(some: list[tuple[str, ...]], wildcard: bool) -> int:
        return sum(node[0] == "element" and (wildcard or node[1] == tag) for node in some)

    gaps = range(len(siblings) + 1)
    if step.position is None:
        if not counted(siblings, False):
            return len(siblings)
        return min(gap for gap in gaps if not counted(siblings[gap:], False))
    wildcard = step.namespace is None
    if step.position == 1:
        if not counted(siblings, wildcard):
            return len(siblings)
        return max(gap for gap in gaps if not counted(siblings[:gap], wildcard))
    return next((gap for gap in gaps if counted(siblings[:gap], wildcard) == step.position - 1), None)


def canonical(text: bytes) -> bytes:
    return etree.tostring(parse(text).getroottree(), method="c14n", with_comments=True)


# ---- selectors ----


def step_to(data: st.DataObject, element: etree._Element) -> Step:
    """Return a step that may select this element among its siblings, and does so often."""
    name = etree.QName(element)
    parent = element.getparent()
    siblings = [element] if parent is None else [child for child in parent if isinstance(child.tag, str)]
    wildcard = data.draw(st.booleans())
    same = siblings if wildcard else [child for child in siblings if child.tag == element.tag]
    position = data.draw(st.sampled_from([None, same.index(element) + 1, same.index(element) + 1]))
    alone = len(same) == 1 or position is not None
    number = element.get("i") if not alone or data.draw(st.booleans()) else None
    return Step(None if wildcard else name.namespace or "", name.localname, position, number)


def path_to(data: st.DataObject, element: etree._Element) -> list[Step]:
    chain = [element, *element.iterancestors()]
    return [step_to(data, part) for part in reversed(chain)]


def editor(steps: list[Step], terminal: str = "") -> NodeEditor:
    text = "/".join(step.selector for step in steps) + terminal
    return NodeEditor(read_selector(text, BINDINGS), DEFAULT, BOUNDS)


def some_element(data: st.DataObject, root: etree._Element) -> etree._Element:
    return data.draw(st.sampled_from([element for element in root.iter() if isinstance(element.tag, str)]))


def nothing() -> None:
    """No condition."""


# ---- what holds ----


@given(st.data())
@settings(max_examples=EXAMPLES // 2)
def test_get_returns_the_bytes_of_the_element_selected(data: st.DataObject) -> None:
    text = Maker(data).document()
    root = parse(text)
    element = some_element(data, root)
    steps = path_to(data, element)
    assert find(root, steps) is element
    found, content_type = editor(steps).get(text)
    assert content_type == "application/xcap-el+xml"
    assert text.count(found) >= 1
    # Read where it stands, with its namespaces declared around it, it is that element.
    scope = "".join(f' xmlns{":" + prefix if prefix else ""}="{uri}"' for prefix, uri in element.nsmap.items())
    alone = parse(f"<wrap{scope}>".encode() + found + b"</wrap>")[0]
    element.tail = None
    assert etree.tostring(alone, method="c14n", exclusive=True) == etree.tostring(
        element, method="c14n", exclusive=True
    )


@given(st.data())
@settings(max_examples=EXAMPLES // 2)
def test_delete_takes_the_bytes_of_the_element_and_no_others(data: st.DataObject) -> None:
    text = Maker(data).document()
    root = parse(text)
    element = some_element(data, root)
    steps = path_to(data, element)
    gone, _ = editor(steps).get(text)
    try:
        left = editor(steps).delete(text, nothing)
    except SchemaValidationError:
        assert element is root
        return
    except CannotDelete:
        places = [at for at in range(len(text)) if text.startswith(gone, at)]
        assert any(find(parse(text[:at] + text[at + len(gone) :]), steps) is not None for at in places)
        return
    assert find(parse(left), steps) is None
    starts = (start for start in range(len(text)) if text.startswith(gone, start))
    assert any(text[:start] + text[start + len(gone) :] == left for start in starts)
    parent = element.getparent()
    before = nodes(parent)
    before.remove(("element", element.tag, element.get("i")))
    after = find(parse(left), path_by_number(parent))
    assert after is not None
    assert merged(nodes(after)) == merged(before)
    try:
        editor(steps).delete(left, nothing)
        raise AssertionError("deleted twice")
    except NoResource:
        pass


@given(st.data())
@settings(max_examples=EXAMPLES)
def test_put_places_a_new_element_as_the_reference_does(data: st.DataObject) -> None:
    text = Maker(data).document()
    root = parse(text)
    parent = some_element(data, root)
    wildcard, local = data.draw(st.booleans()), data.draw(st.sampled_from("abc"))
    namespace = data.draw(st.sampled_from([DEFAULT, OTHER]))
    position = data.draw(st.sampled_from([None, None, 0, 1, 2, 3, 4, 9]))
    number = data.draw(st.sampled_from([None, "new", "new", "new", "other"]))
    step = Step(None if wildcard else namespace, local, position, number)
    body = f'<{local} xmlns="{namespace}" i="new"><z/>t<!-- c --></{local}>'.encode()
    steps = [*path_to(data, parent), step]
    siblings = nodes(parent)
    tag = f"{{{namespace}}}{local}"
    existing = parent.xpath(step.xpath)
    if len(existing) == 1:
        return  # a replacement, which is tested below
    gap = place(siblings, step, tag) if not existing else None
    try:
        edited = editor(steps).put(text, body)
    except CannotInsert:
        if gap is not None:
            assert not selects(root, parent, step, gap, tag)
        return
    assert gap is not None
    assert edited.created
    after = find(parse(edited.text), steps[:-1])
    assert after is not None
    assert nodes(after) == [*siblings[:gap], ("element", tag, "new"), *siblings[gap:]]
    assert editor(steps).get(edited.text) == (body, "application/xcap-el+xml")
    assert is_insertion(text, edited.text, body)
    again = editor(steps).put(edited.text, body)
    assert (again.text, again.created) == (edited.text, False)
    try:
        undone = editor(steps).delete(edited.text, nothing)
    except CannotDelete:
        assert step.number is None
    else:
        assert canonical(undone) == canonical(text)


@given(st.data())
@settings(max_examples=EXAMPLES // 2)
def test_put_replaces_the_bytes_of_an_element_and_no_others(data: st.DataObject) -> None:
    text = Maker(data).document()
    root = parse(text)
    element = some_element(data, root)
    steps = path_to(data, element)
    old, _ = editor(steps).get(text)
    name = etree.QName(element)
    number = data.draw(st.sampled_from([element.get("i"), "new"]))
    body = f'<y:{name.localname} xmlns:y="{name.namespace or ""}" i="{number}"/>'.encode()
    if not name.namespace:
        return
    try:
        edited = editor(steps).put(text, body)
    except CannotInsert:
        assert number == "new"
        assert steps[-1].number is not None
        return
    assert not edited.created
    assert any(
        text[:at] + body + text[at + len(old) :] == edited.text for at in range(len(text)) if text.startswith(old, at)
    )
    assert editor(steps).get(edited.text)[0] == body
    assert editor(steps).put(edited.text, body).text == edited.text
    # And back again, byte for byte.
    if number != "new":
        assert editor(steps).put(edited.text, old).text == text


@given(st.data())
@settings(max_examples=EXAMPLES // 2)
def test_attributes_come_and_go_without_another_byte(data: st.DataObject) -> None:
    text = Maker(data).document()
    root = parse(text)
    element = some_element(data, root)
    steps = path_to(data, element)
    name, expanded = data.draw(st.sampled_from([("n", "n"), ("m", "m"), ("k", "k"), ("q:n", f"{{{OTHER}}}n")]))
    quote = data.draw(st.sampled_from("\"'"))
    value = f"{quote}{data.draw(values)}{quote}".encode()
    edit = editor(steps, f"/@{name}")
    before = element.get(expanded)
    edited = edit.put(text, value)
    assert edited.created is (before is None)
    after = find(parse(edited.text), steps)
    assert after is not None
    assert after.get(expanded) == etree.fromstring(b"<v v=%b/>" % value).get("v")
    assert {key: v for key, v in after.items() if key != expanded} == {
        key: v for key, v in element.items() if key != expanded
    }
    assert edit.get(edited.text) == (value, "application/xcap-att+xml")
    assert edit.put(edited.text, value).text == edited.text
    undone = edit.delete(edited.text, nothing)
    if before is None and "xmlns:q" not in edited.text.decode():
        assert undone == text
    else:
        assert find(parse(undone), steps).get(expanded) is None  # type: ignore[union-attr]


@given(st.data())
@settings(max_examples=EXAMPLES // 4)
def test_bindings_are_those_in_scope(data: st.DataObject) -> None:
    text = Maker(data).document()
    root = parse(text)
    element = some_element(data, root)
    found, content_type = editor(path_to(data, element), "/namespace::*").get(text)
    assert content_type == "application/xcap-ns+xml"
    alone = parse(found)
    assert alone.nsmap == {prefix: uri for prefix, uri in element.nsmap.items() if uri}
    assert (alone.tag, len(alone), alone.attrib, alone.prefix) == (element.tag, 0, {}, element.prefix)


def path_by_number(element: etree._Element) -> list[Step]:
    return [Step(None, "", None, part.get("i")) for part in reversed([element, *element.iterancestors()])]


def merged(found: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Join texts that have become neighbours."""
    joined: list[tuple[str, ...]] = []
    for node in found:
        if node[0] == "text" and joined and joined[-1][0] == "text":
            joined[-1] = ("text", joined[-1][1] + node[1])
        else:
            joined.append(node)
    return joined


def selects(root: etree._Element, parent: etree._Element, step: Step, gap: int, tag: str) -> bool:
    """Whether a step would select the new element at its place."""
    elements = sum(node[0] == "element" for node in nodes(parent)[:gap])
    new = etree.Element(tag, i="new")
    children = [child for child in parent if isinstance(child.tag, str)]
    if elements < len(children):
        children[elements].addprevious(new)
    else:
        parent.append(new)
    found = parent.xpath(step.xpath)
    parent.remove(new)
    return found == [new]


def is_insertion(old: bytes, new: bytes, body: bytes) -> bool:
    """Whether the body stands somewhere in the old document, of which at most one empty tag was opened."""
    at = new.index(body)
    before, after = new[:at], new[at + len(body) :]
    if before + after == old:
        return True
    head, opened = before[:-1], after.partition(b">")
    return before.endswith(b">") and opened[0].startswith(b"</") and head + b"/>" + opened[2] == old
