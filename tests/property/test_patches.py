"""Patches of documents made at random, namespaces included: what is computed, applied, gives the new version.

The second reader of selectors is lxml: each positional selector has to find one node in the document as it is by then.
"""

import os
from dataclasses import dataclass
from typing import Any

from diffs import NS, SCHEMA, canonical
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree
from patching import apply_operations

from presence.document.nodes import (
    Comment,
    Element,
    Instruction,
    Node,
    Tree,
    append_text,
    enter,
    parse_tree,
    write_tree,
)
from presence.document.patch import compute_patch

EXAMPLES = int(os.environ.get("PRESENCE_EXAMPLES", "150"))

PREFIXES, URIS = ("", "p", "q", "d", "dd"), ("urn:a", "urn:b", "urn:c")
TEXTS = ("\n  ", " ", "text", "a & b <c> \"d\" 'e'", "\r\n", "ü€𝄞", "]]>")
VALUES = ("", "1", "two words", "<&>\"'", "\t\n\r", "ü")
PAD = "x" * 4000
"""So that no patch is larger than its document."""


@dataclass
class Maker:
    """Makes and changes documents; each choice is hypothesis' own, so that a failure shrinks."""

    draw: Any

    def one(self, *options: Any) -> Any:
        return self.draw(st.sampled_from(options))

    def often(self, most: int) -> int:
        return int(self.draw(st.integers(0, most)))

    def element(self, scope: dict[str, str], depth: int) -> Element:
        declared = {self.one(*PREFIXES): self.one(*URIS) for _ in range(self.one(0, 0, 0, 1, 2))}
        if scope.get("") and self.one(*range(8)) == 0:
            declared[""] = ""
        element = Element(self.name({**scope, **declared}), {}, declared)
        self.attributes(element, scope)
        for _ in range(self.often(4) if depth < 4 else 0):
            append(element.children, self.node({**scope, **declared}, depth + 1))
        return element

    def name(self, scope: dict[str, str], *, attribute: bool = False) -> str:
        prefixes = [prefix for prefix in scope if prefix] + [""]
        prefix = self.one(*prefixes)
        local = self.one(*"xyz") if attribute else self.one(*"efg")
        return f"{prefix}:{local}" if prefix else local

    def attributes(self, element: Element, scope: dict[str, str]) -> None:
        inner, seen = {**scope, **element.declared}, set()
        element.attributes.clear()
        for _ in range(self.often(3)):
            name = self.name(inner, attribute=True)
            prefix, _, local = name.rpartition(":")
            expanded = (inner[prefix] if prefix else "", local)
            if expanded not in seen:
                seen.add(expanded)
                element.attributes[name] = self.one(*VALUES)

    def node(self, scope: dict[str, str], depth: int) -> Node:
        kind = self.one("element", "element", "text", "text", "comment", "instruction")
        if kind == "element":
            return self.element(scope, depth)
        if kind == "text":
            return str(self.one(*TEXTS))
        return (
            Comment(self.one("c", " d ")) if kind == "comment" else Instruction(self.one("t", "u"), self.one("", "v"))
        )

    def document(self) -> Tree:
        return Tree([], self.element({}, 0), [])

    def changed(self, element: Element, scope: dict[str, str], depth: int = 0) -> Element:
        """Return a copy with a change here and there."""
        copy = Element(element.name, dict(element.attributes), dict(element.declared))
        change = self.one(*["keep"] * 12, "attributes", "declare", "undeclare", "rename")
        used = {name.partition(":")[0] for name in (copy.name, *copy.attributes) if ":" in name}
        if change == "declare":
            prefix = self.one("r", "s", "p")
            if prefix not in used:
                copy.declared[prefix] = self.one(*URIS)
        elif change == "undeclare" and depth:
            for prefix in [prefix for prefix in copy.declared if prefix and prefix not in used]:
                del copy.declared[prefix]
        inner = {**scope, **copy.declared}
        if change == "attributes":
            self.attributes(copy, scope)
        elif change == "rename" and depth:
            copy.name = self.name(inner)
        for child in element.children:
            what = self.one(*["keep"] * 8, "drop", "twice", "before", "replace")
            if what in ("before", "replace"):
                append(copy.children, self.node(inner, depth + 1))
            if what not in ("drop", "replace"):
                kept = self.changed(child, inner, depth + 1) if isinstance(child, Element) else child
                append(copy.children, kept)
                if what == "twice" and isinstance(kept, Element):
                    append(copy.children, self.changed(kept, inner, depth + 1))
        if self.one(*range(6)) == 0:
            append(copy.children, self.node(inner, depth + 1))
        return copy


def append(children: list[Node], node: Node) -> None:
    if isinstance(node, str):
        append_text(children, node)
    else:
        children.append(node)


@st.composite
def versions(draw: Any) -> tuple[bytes, bytes]:
    maker = Maker(draw)
    first = maker.document()
    second = maker.document() if draw(st.integers(0, 9)) == 0 else Tree([], maker.changed(first.root, {}), [])
    wrapped = [write_tree(tree).partition(b"?>\n")[2] for tree in (first, second)]
    one, other = (f"<r><pad>{PAD}</pad>".encode() + body + b"</r>" for body in wrapped)
    return one, other


def is_document(body: bytes) -> bool:
    try:
        etree.fromstring(body)
    except etree.XMLSyntaxError:
        return False
    return True


@settings(max_examples=4 * EXAMPLES)
@given(versions())
def test_a_patch_gives_the_new_version(pair: tuple[bytes, bytes]) -> None:
    before, after = pair
    if not is_document(before) or not is_document(after):
        # A change has taken away a prefix that something below it used.
        return
    patch = compute_patch(before, after, NS)
    assert patch is not None
    assert bool(patch) == (canonical(before) != canonical(after)) or not patch or _spelled_otherwise(before, after)
    diff = f'<d:xcap-diff xmlns:d="{NS}" xcap-root="x"><d:document sel="s">{patch}</d:document></d:xcap-diff>'.encode()
    SCHEMA.assertValid(etree.fromstring(diff))
    root = parse_tree(diff).root
    (container,) = (child for child in root.children if isinstance(child, Element))
    scope = enter({}, root)
    tree = parse_tree(before)
    for operation in list(container.children):
        assert isinstance(operation, Element)
        check_selector(write_tree(tree), operation, enter(scope, operation))
        single = Element(container.name, {}, {})
        single.children = [operation]
        tree = apply_operations(tree, single, scope)
    assert canonical(write_tree(tree)) == canonical(after)


def _spelled_otherwise(before: bytes, after: bytes) -> bool:
    """Whether declarations differ that the canonical form leaves out."""
    return before.count(b"xmlns") != after.count(b"xmlns")


def check_selector(document: bytes, operation: Element, scope: Any) -> None:
    selector = operation.attributes["sel"]
    if "namespace::" in selector:
        return
    bound = {prefix: uri for prefix, uri in scope.items() if prefix}
    found = etree.fromstring(document).getroottree().xpath(f"/{selector}", namespaces=bound)
    assert len(found) == 1, selector


@settings(max_examples=EXAMPLES)
@given(st.binary(max_size=60), st.binary(max_size=60))
def test_whatever_stands_in_the_database_makes_no_trouble(before: bytes, after: bytes) -> None:
    assert compute_patch(b"<a>" + before + b"</a>", b"<a>" + after + b"</a>", NS) is not NotImplemented
