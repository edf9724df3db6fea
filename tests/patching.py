"""Applying patch operations to a document (RFC 5261 section 4), as a subscriber does: the server only makes them."""

from collections.abc import Callable, Sequence

from patch_errors import PatchError
from patch_selector import Located, Place, find_attribute, locate

from presence.document.nodes import (
    Element,
    Node,
    Scope,
    Tree,
    append_text,
    enter,
    free_prefixes,
    local_of,
    namespace,
    parse_tree,
    prefix_of,
    write_tree,
)
from presence.errors import BadRequest

_SPACE = " \t\r\n"


def patch_document(document: bytes, diff: bytes) -> bytes:
    """Apply the operations that are the children of a document's root element; raises PatchError and BadRequest."""
    try:
        container = parse_tree(diff).root
    except BadRequest as error:
        raise PatchError("invalid-diff-format", error.reason) from None
    return write_tree(apply_operations(parse_tree(document), container, {}))


def apply_operations(tree: Tree, container: Element, outer: Scope) -> Tree:
    """Apply the operations in an element, which `outer` is around, one after the other; the tree itself changes.

    They are the children of the element's own namespace; others are ignored (RFC 5874 section 3). Raises PatchError.
    """
    scope = enter(outer, container)
    own = namespace(container.name, scope)
    for node in container.children:
        if not isinstance(node, Element):
            continue
        inner = enter(scope, node)
        if namespace(node.name, inner) != own:
            continue
        try:
            directive = _DIRECTIVES.get(local_of(node.name))
            if directive is None:
                raise PatchError("invalid-patch-directive", f"there is no operation {node.name}")
            tree = directive(tree, node, inner)
        except PatchError as error:
            error.operation = node, scope
            raise
    return tree


def _locate(tree: Tree, operation: Element, scope: Scope) -> Located:
    selector = operation.attributes.get("sel")
    if selector is None:
        raise PatchError("invalid-attribute-value", "there is no selector")
    return locate(tree, selector, scope)


def _text(operation: Element) -> str:
    """Return the content of an operation that must be text."""
    if any(not isinstance(node, str) for node in operation.children):
        raise PatchError("invalid-node-types", "the value is not a text")
    return "".join(str(node) for node in operation.children)


def _splice(tree: Tree, place: Place, start: int, end: int, nodes: Sequence[Node]) -> Tree:
    """Put nodes in the place of siblings; texts that meet become one."""
    siblings = [*place.siblings[:start], *nodes, *place.siblings[end:]]
    if not place.ancestors:
        return _rebuild(tree, siblings)
    merged: list[Node] = []
    for node in siblings:
        if isinstance(node, str):
            append_text(merged, node)
        else:
            merged.append(node)
    place.ancestors[-1].children[:] = merged
    return tree


def _rebuild(tree: Tree, top: list[Node]) -> Tree:
    if any(isinstance(node, str) and node.strip(_SPACE) for node in top):
        raise PatchError("invalid-xml-prolog-operation", "no text stands outside the root element")
    top = [node for node in top if not isinstance(node, str)]
    roots = [at for at, node in enumerate(top) if isinstance(node, Element)]
    if len(roots) != 1:
        raise PatchError("invalid-root-element-operation", "a document has one root element")
    root = top[roots[0]]
    assert isinstance(root, Element)
    return Tree(top[: roots[0]], root, top[roots[0] + 1 :])


# ---- the operations ----


def _add(tree: Tree, operation: Element, scope: Scope) -> Tree:
    """Section 4.3."""
    located = _locate(tree, operation, scope)
    place, kind, position = located.place, operation.attributes.get("type"), operation.attributes.get("pos")
    if located.attribute or located.prefix:
        raise PatchError("invalid-attribute-value", "nothing can be added to an attribute or a namespace")
    node = place.node
    if kind is not None:
        if not isinstance(node, Element) or position is not None:
            raise PatchError("invalid-attribute-value", "only elements have attributes and namespaces")
        _add_part(node, kind, _text(operation), scope, place.outer)
        return tree
    if position in ("before", "after"):
        nodes = _graft(operation.children, scope, place.outer, place.ancestors[-1] if place.ancestors else None)
        at = place.at + (position == "after")
        return _splice(tree, place, at, at, nodes)
    if position not in (None, "prepend"):
        raise PatchError("invalid-attribute-value", f"there is no position {position}")
    if not isinstance(node, Element):
        raise PatchError("invalid-patch-directive", "only elements have children")
    nodes = _graft(operation.children, scope, enter(place.outer, node), node)
    inside = Place((*place.ancestors, node), node.children, 0)
    at = 0 if position == "prepend" else len(node.children)
    return _splice(tree, inside, at, at, nodes)


def _add_part(element: Element, kind: str, value: str, scope: Scope, outer: Scope) -> None:
    inner = enter(outer, element)
    if kind.startswith("namespace::"):
        prefix = kind.removeprefix("namespace::")
        if not prefix or not value or prefix in element.declared:
            raise PatchError("invalid-namespace-uri", "the declaration is there already, or is none")
        if prefix in inner and prefix in free_prefixes(element, inside=True):
            raise PatchError("invalid-namespace-prefix", "names would come to mean something else")
        element.declared[prefix] = value
        return
    name = kind.removeprefix("@")
    if name == kind or not name:
        raise PatchError("invalid-attribute-value", f"there is no type {kind}")
    if find_attribute(element, name, scope, inner) is not None:
        raise PatchError("invalid-attribute-value", f"the attribute {name} is there already")
    prefix = prefix_of(name)
    if prefix and prefix != "xml":
        uri = scope[prefix]
        prefix, declare = _choose(prefix, uri, inner, element, attribute=True)
        if declare:
            element.declared[prefix] = uri
        name = f"{prefix}:{local_of(name)}"
    element.attributes[name] = value


def _replace(tree: Tree, operation: Element, scope: Scope) -> Tree:
    """Section 4.4."""
    place, attribute, prefix = _locate(tree, operation, scope)
    node = place.node
    if isinstance(node, Element) and attribute:
        node.attributes[attribute] = _text(operation)
        return tree
    if isinstance(node, Element) and prefix:
        node.declared[prefix] = _text(operation)
        if not node.declared[prefix]:
            raise PatchError("invalid-namespace-uri", "a prefix cannot be undeclared")
        return tree
    if isinstance(node, str):
        return _splice(tree, place, place.at, place.at + 1, [_text(operation)])
    if len(operation.children) != 1 or type(operation.children[0]) is not type(node):
        raise PatchError("invalid-node-types", "the content is not one node of the type of what it replaces")
    parent = place.ancestors[-1] if place.ancestors else None
    nodes = _graft(operation.children, scope, place.outer, parent)
    return _splice(tree, place, place.at, place.at + 1, nodes)


def _remove(tree: Tree, operation: Element, scope: Scope) -> Tree:
    """Section 4.5."""
    place, attribute, prefix = _locate(tree, operation, scope)
    node, space = place.node, operation.attributes.get("ws")
    if operation.children:
        raise PatchError("invalid-node-types", "what is removed has no content")
    if space not in (None, "before", "after", "both"):
        raise PatchError("invalid-attribute-value", f"there is no directive {space}")
    if space and (attribute or prefix or isinstance(node, str)):
        raise PatchError("invalid-whitespace-directive", "it goes with elements, comments and instructions only")
    if isinstance(node, Element) and attribute:
        del node.attributes[attribute]
        return tree
    if isinstance(node, Element) and prefix:
        if prefix in free_prefixes(node, inside=True):
            raise PatchError("invalid-namespace-prefix", f"the prefix {prefix} is in use")
        del node.declared[prefix]
        return tree
    if node is tree.root:
        raise PatchError("invalid-root-element-operation", "the root element cannot be removed")
    start, end = place.at, place.at + 1
    if space in ("before", "both"):
        start -= 1
    if space in ("after", "both"):
        end += 1
    for at in {start, end - 1} - {place.at}:
        beside = place.siblings[at] if 0 <= at < len(place.siblings) else None
        if not isinstance(beside, str) or beside.strip(_SPACE):
            raise PatchError("invalid-whitespace-directive", "there is no white space to remove")
    return _splice(tree, place, start, end, ())


_DIRECTIVES: dict[str, Callable[[Tree, Element, Scope], Tree]] = {"add": _add, "replace": _replace, "remove": _remove}


# ---- prefixes ----


def _graft(nodes: Sequence[Node], diff: Scope, target: Scope, context: Element | None) -> list[Node]:
    """Return content as it is in the patched document, inside of `context` (section 4.2.3)."""
    return [_adopt(node, diff, target, context, frozenset()) for node in nodes]


def _adopt(node: Node, diff: Scope, target: Scope, context: Element | None, bound: frozenset[str]) -> Node:
    if not isinstance(node, Element):
        return node
    bound = bound.union(node.declared)
    adopted = Element(node.name, {}, dict(node.declared))

    def rename(name: str, *, attribute: bool = False) -> str:
        prefix = prefix_of(name)
        if prefix in bound or prefix == "xml" or (attribute and not prefix):
            return name
        try:
            uri = namespace(name, diff)
        except KeyError:
            raise PatchError("invalid-namespace-prefix", f"the prefix of {name} is not declared") from None
        chosen, declare = _choose(prefix, uri, target, context, attribute=attribute)
        if declare or chosen in bound:
            adopted.declared[prefix] = uri
            return name
        return f"{chosen}:{local_of(name)}" if chosen else local_of(name)

    adopted.name = rename(node.name)
    adopted.attributes = {rename(name, attribute=True): value for name, value in node.attributes.items()}
    if adopted.declared.keys() != node.declared.keys():
        bound = bound.union(adopted.declared)
    adopted.children = [_adopt(child, diff, target, context, bound) for child in node.children]
    return adopted


def _choose(
    prefix: str, uri: str, target: Scope, context: Element | None, *, attribute: bool = False
) -> tuple[str, bool]:
    """Return the prefix of a namespace in the target, and whether it has to be declared first (section 4.2.3)."""
    if not uri:
        return "", bool(target.get(""))
    known = sorted(own for own, name in target.items() if name == uri and (own or not attribute))
    if not known:
        return prefix, True
    if prefix in known:
        return prefix, False
    if context is not None and prefix_of(context.name) in known:
        return prefix_of(context.name), False
    return next((own for own in reversed(known) if own < prefix), known[0]), False
