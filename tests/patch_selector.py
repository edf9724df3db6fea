"""Selectors of patch operations: the part of XPath that RFC 5261 section 4.1 allows, names resolved as its 4.2 says."""

import re
from typing import Final, NamedTuple

from patch_errors import PatchError

from presence.document.nodes import (
    Comment,
    Element,
    Instruction,
    Node,
    Scope,
    Tree,
    enter,
    local_of,
    namespace,
)

MAX_LENGTH: Final = 4096

_NAME = r"[^\W\d][\w.\-]*"
_QNAME = rf"(?:{_NAME}:)?{_NAME}"
_QUOTED = r"""(?:'[^']*'|"[^"]*")"""
_PREDICATE = re.compile(rf"\[(?:(?P<position>\d{{1,9}})|(?P<what>@?{_QNAME}|\.)=(?P<value>{_QUOTED}))\]")
_STEP = re.compile(
    rf"(?P<test>text\(\)|comment\(\)|processing-instruction\({_QUOTED}?\)|namespace::{_NAME}|@{_QNAME}|\*|{_QNAME})"
    rf"(?P<predicates>(?:\[(?:[^\]'\"]|{_QUOTED})*\])*)"
)


class Place(NamedTuple):
    """Where a node stands."""

    ancestors: tuple[Element, ...]
    siblings: list[Node]
    at: int

    @property
    def node(self) -> Node:
        """The node."""
        return self.siblings[self.at]

    @property
    def outer(self) -> Scope:
        """The namespaces in scope around it."""
        scope: Scope = {}
        for element in self.ancestors:
            scope = enter(scope, element)
        return scope


class Located(NamedTuple):
    """What a selector leads to: a node, or something of an element."""

    place: Place
    attribute: str = ""
    """The name of an attribute of the element, as it stands there."""
    prefix: str = ""
    """The prefix of a namespace the element declares."""


def locate(tree: Tree, selector: str, scope: Scope) -> Located:
    """Return the one thing a selector names, its prefixes bound by `scope`; raises PatchError."""
    if len(selector) > MAX_LENGTH:
        raise PatchError("invalid-attribute-value", "the selector is too long")
    if selector.lstrip("/").startswith("id("):
        raise PatchError("unsupported-id-function", "attributes of the type ID are not known")
    tests = _split(selector)
    top: list[Node] = [*tree.before, tree.root, *tree.behind]
    places = [Place((), top, -1)]
    for at, (test, predicates) in enumerate(tests):
        if test.startswith(("@", "namespace::")):
            if at + 1 < len(tests) or predicates:
                raise PatchError("invalid-attribute-value", "nothing can follow an attribute or a namespace")
            return _part(_single(places), test, scope)
        places = [found for place in places for found in _step(place, test, predicates, scope)]
    place = _single(places)
    if not place.ancestors:
        place = place._replace(siblings=top)
    return Located(place)


def _split(selector: str) -> list[tuple[str, str]]:
    text, at = selector.removeprefix("/"), 0
    tests: list[tuple[str, str]] = []
    while True:
        step = _STEP.match(text, at)
        if step is None:
            raise PatchError("invalid-attribute-value", "the selector cannot be read")
        tests.append((step["test"], step["predicates"]))
        at = step.end()
        if at == len(text):
            return tests
        if text[at] != "/":
            raise PatchError("invalid-attribute-value", "the selector cannot be read")
        at += 1


def _single(places: list[Place]) -> Place:
    if len(places) != 1 or places[0].at < 0:
        raise PatchError("unlocated-node", "not exactly one node could be located")
    return places[0]


def _resolve(name: str, scope: Scope, *, attribute: bool = False) -> tuple[str, str]:
    try:
        return namespace(name, scope, attribute=attribute), local_of(name)
    except KeyError:
        raise PatchError("invalid-namespace-prefix", f"the prefix of {name} is not declared") from None


def _step(place: Place, test: str, predicates: str, scope: Scope) -> list[Place]:
    """Return the children of a node that pass a node test and its predicates."""
    ancestors: tuple[Element, ...] = ()
    if place.at < 0:
        children = place.siblings
    elif isinstance(place.node, Element):
        ancestors, children = (*place.ancestors, place.node), place.node.children
    else:
        return []
    found = [Place(ancestors, children, index) for index in range(len(children))]
    found = [candidate for candidate in found if _passes(candidate, test, scope)]
    at = 0
    while at < len(predicates):
        predicate = _PREDICATE.match(predicates, at)
        if predicate is None:
            raise PatchError("invalid-attribute-value", "the selector cannot be read")
        at = predicate.end()
        if predicate["position"]:
            position = int(predicate["position"])
            found = found[position - 1 : position] if position else []
        else:
            what, value = predicate["what"], predicate["value"][1:-1]
            found = [candidate for candidate in found if _compares(candidate, what, value, scope)]
    return found


def _passes(place: Place, test: str, scope: Scope) -> bool:
    node = place.node
    if test == "text()":
        return isinstance(node, str)
    if test == "comment()":
        return isinstance(node, Comment)
    if test.startswith("processing-instruction("):
        target = test.partition("(")[2][1:-2]
        return isinstance(node, Instruction) and target in ("", node.target)
    if not isinstance(node, Element):
        return False
    return test == "*" or _resolve(test, scope) == _expand(node.name, enter(place.outer, node))


def _expand(name: str, scope: Scope, *, attribute: bool = False) -> tuple[str, str] | None:
    try:
        return namespace(name, scope, attribute=attribute), local_of(name)
    except KeyError:
        return None


def _compares(place: Place, what: str, value: str, scope: Scope) -> bool:
    node = place.node
    if not isinstance(node, Element):
        return what == "." and isinstance(node, str) and node == value
    if what == ".":
        return _string(node) == value
    inner = enter(place.outer, node)
    if what.startswith("@"):
        name = find_attribute(node, what[1:], scope, inner)
        return name is not None and node.attributes[name] == value
    wanted = _resolve(what, scope)
    children = [child for child in node.children if isinstance(child, Element)]
    return any(_expand(child.name, enter(inner, child)) == wanted and _string(child) == value for child in children)


def _string(node: Element) -> str:
    return "".join(
        child if isinstance(child, str) else _string(child)
        for child in node.children
        if isinstance(child, str | Element)
    )


def find_attribute(element: Element, name: str, scope: Scope, inner: Scope) -> str | None:
    """Return under which name an element has the attribute that `name` means in `scope`, None when it has not."""
    wanted = _resolve(name, scope, attribute=True)
    return next((own for own in element.attributes if _expand(own, inner, attribute=True) == wanted), None)


def _part(place: Place, test: str, scope: Scope) -> Located:
    node = place.node
    if not isinstance(node, Element):
        raise PatchError("unlocated-node", "only elements have attributes and namespaces")
    if test.startswith("namespace::"):
        prefix = test.removeprefix("namespace::")
        if prefix not in node.declared:
            raise PatchError("invalid-namespace-uri", f"the element does not declare the prefix {prefix}")
        return Located(place, prefix=prefix)
    name = find_attribute(node, test[1:], scope, enter(place.outer, node))
    if name is None:
        raise PatchError("unlocated-node", f"the element has no attribute {test[1:]}")
    return Located(place, attribute=name)
