"""The patch that makes one version of a document of another (RFC 5261), when that is worth its cost.

Selectors are positional ("*/*[3]/text()[1]"), which RFC 5261 section 7 calls the shortest; versions are named by their
entity-tags, so positions are certain. Every operation declares the prefixes its content uses as the patched document
does, so that those are what content ends up with (section 4.2.3, first rule).
"""

from collections.abc import Iterable, Sequence
from typing import Final

from presence.document.alignment import Budget, TooCostly, align
from presence.document.nodes import (
    Comment,
    Element,
    Instruction,
    Node,
    Scope,
    Tree,
    enter,
    escape_text,
    free_prefixes,
    parse_tree,
    prefix_of,
    write_declarations,
    write_node,
)
from presence.errors import BadRequest

MAX_BYTES: Final = 64 * 1024
"""A version that is larger is not compared."""

FETCH_BYTES: Final = 600
"""What a client that gets no patch spends on fetching the document, beside the document."""

STEPS: Final = 60_000
"""What a comparison may cost: some 20 ms."""

PREFIX: Final = "d"
"""What the operations are qualified with, unless a document uses it itself."""

_SPACE = " \t\r\n"

_NOTHING: Scope = {}


class _Unpatchable(Exception):
    """The element has to be replaced as a whole."""


def compute_patch(before: bytes, after: bytes, namespace: str) -> str | None:
    """Return the operations that make `after` of `before`, '' when both are equivalent.

    They are elements of `namespace`, with the prefix `d` as it is declared around them or another of their own; no
    default namespace may be declared around them. None when there is no patch, or none that is found in time or worth
    it: comments outside the root element, its name or its default namespace are another, for instance.
    """
    if max(len(before), len(after)) > MAX_BYTES:
        return None
    try:
        old, new = parse_tree(before), parse_tree(after)
        if (old.before, old.behind) != (new.before, new.behind):
            return None
        operations = _Comparison(old, new, namespace).operations()
    except (BadRequest, TooCostly, _Unpatchable, KeyError):
        # KeyError: a prefix nobody declares, in a document that somebody else wrote.
        return None
    patch = "".join(operations)
    return patch if len(patch.encode()) <= len(after) + FETCH_BYTES else None


def _kind(node: Node) -> str:
    if isinstance(node, Element):
        return "*"
    if isinstance(node, str):
        return "text()"
    return "comment()" if isinstance(node, Comment) else "processing-instruction()"


def _likeness(node: Node) -> object:
    """What two nodes share of which one is made of the other rather than put in its place."""
    if isinstance(node, Element):
        return node.name
    return (_kind(node), node.target) if isinstance(node, Instruction) else _kind(node)


def _declared_prefixes(node: Node) -> set[str]:
    if not isinstance(node, Element):
        return set()
    return set(node.declared).union(*map(_declared_prefixes, node.children))


def _is_space(node: Node) -> bool:
    return isinstance(node, str) and not node.strip(_SPACE)


class _Places:
    """Counts the children that are as they shall be, by kind."""

    def __init__(self) -> None:
        self._counts = dict.fromkeys(("*", "text()", "comment()", "processing-instruction()"), 0)
        self.last = ""
        """Selects the last of them; '' before the first."""

    def pass_over(self, nodes: Iterable[Node]) -> None:
        """Count nodes in."""
        for node in nodes:
            kind = _kind(node)
            self._counts[kind] += 1
            self.last = f"{kind}[{self._counts[kind]}]"

    def next(self, node: Node) -> str:
        """Select the first node of its kind behind those counted."""
        kind = _kind(node)
        return f"{kind}[{self._counts[kind] + 1}]"


class _Comparison:
    def __init__(self, old: Tree, new: Tree, namespace: str) -> None:
        self._old, self._new = old, new
        self._budget = Budget(STEPS)
        self._numbers: dict[object, int] = {}
        self._known: dict[int, int] = {}
        taken = _declared_prefixes(old.root) | _declared_prefixes(new.root)
        prefix = PREFIX
        while prefix in taken:
            prefix += PREFIX
        self._prefix = prefix
        self._own = "" if prefix == PREFIX else write_declarations({prefix: namespace})

    def operations(self) -> list[str]:
        old, new = self._old.root, self._new.root
        return [] if self._number(old) == self._number(new) else self._element(old, new, "*", {}, {})

    def _number(self, node: Node) -> int:
        """Return a number that equal nodes share, and only they."""
        number = self._known.get(id(node))
        if number is None:
            self._budget.spend(1)
            key: object = node
            if isinstance(node, Element):
                marks = frozenset(node.attributes.items()), frozenset(node.declared.items())
                key = (node.name, *marks, tuple(map(self._number, node.children)))
            elif not isinstance(node, str):
                key = (type(node), *node)
            number = self._known[id(node)] = self._numbers.setdefault(key, len(self._numbers))
        return number

    # ---- writing ----

    def _operation(
        self, name: str, sel: str, content: str = "", *, uses: Iterable[str] = (), scope: Scope = _NOTHING
    ) -> str:
        """Write an operation that uses prefixes of a scope; `sel` may have attributes behind it."""
        needed = {prefix: scope[prefix] for prefix in sorted(uses) if prefix != "xml" and (prefix or scope.get(""))}
        start = f'{self._prefix}:{name}{self._own}{write_declarations(needed)} sel="{sel}"'
        return f"<{start}>{content}</{self._prefix}:{name}>" if content else f"<{start}/>"

    # ---- elements ----

    def _element(self, old: Element, new: Element, path: str, was: Scope, outer: Scope) -> list[str]:
        """Return what makes one element another, with `was` and `outer` around them; raises _Unpatchable."""
        # Section 4.2.3: default namespaces come and go with their elements only.
        if old.name != new.name or old.declared.get("") != new.declared.get(""):
            raise _Unpatchable
        self._budget.spend(1)
        was, scope = enter(was, old), enter(outer, new)
        first, last = self._declarations(old, new, path)
        return [
            *first,
            *self._attributes(old, new, path, was, scope),
            *self._children(old, new, path, was, scope),
            *last,
        ]

    def _declarations(self, old: Element, new: Element, path: str) -> tuple[list[str], list[str]]:
        """Return what is to be done with namespace declarations before and after everything else."""
        first: list[str] = []
        last: list[str] = []
        if old.declared == new.declared:
            return first, last
        used_old, used_new = (free_prefixes(element, inside=True) for element in (old, new))
        for prefix in dict.fromkeys((*old.declared, *new.declared)):
            uri, before = new.declared.get(prefix), old.declared.get(prefix)
            if uri == before:
                continue
            # What a name means never changes under it (sections 4.4.3 and 4.5.3).
            if (uri is None or before is not None) and prefix in used_new:
                raise _Unpatchable
            if uri is not None and prefix in used_old:
                raise _Unpatchable
            if uri is None:
                last.append(self._operation("remove", f"{path}/namespace::{prefix}"))
            elif before is None:
                first.append(self._operation("add", f'{path}" type="namespace::{prefix}', escape_text(uri)))
            else:
                first.append(self._operation("replace", f"{path}/namespace::{prefix}", escape_text(uri)))
        return first, last

    def _attributes(self, old: Element, new: Element, path: str, was: Scope, scope: Scope) -> list[str]:
        removed = [name for name in old.attributes if name not in new.attributes]
        operations = [
            self._operation("remove", f"{path}/@{name}", uses=filter(None, [prefix_of(name)]), scope=was)
            for name in removed
        ]
        for name, value in new.attributes.items():
            before = old.attributes.get(name)
            if value == before:
                continue
            uses = filter(None, [prefix_of(name)])
            text = escape_text(value)
            if before is None:
                operations.append(self._operation("add", f'{path}" type="@{name}', text, uses=uses, scope=scope))
            else:
                operations.append(self._operation("replace", f"{path}/@{name}", text, uses=uses, scope=scope))
        return operations

    # ---- children ----

    def _children(self, old: Element, new: Element, path: str, was: Scope, scope: Scope) -> list[str]:
        """Return what makes the children of one element those of another, from the first to the last of them.

        No two texts ever meet on the way: old texts go first, and old elements when what is inserted is in.
        """
        operations: list[str] = []
        places = _Places()
        i = j = 0
        for at, there in [*self._pairs(old.children, new.children), (len(old.children), len(new.children))]:
            gone, come = old.children[i:at], new.children[j:there]
            if come:
                operations += self._exchange(path, gone, come, places, scope, ends=at == len(old.children))
            elif gone:
                operations += self._remove(path, gone, places)
            if at < len(old.children):
                node, other = old.children[at], new.children[there]
                if self._number(node) != self._number(other):
                    operations += self._modify(node, other, f"{path}/{places.next(other)}", was, scope)
                places.pass_over((other,))
            i, j = at + 1, there + 1
        return operations

    def _pairs(self, old: Sequence[Node], new: Sequence[Node]) -> list[tuple[int, int]]:
        """Return which child becomes which: the equal ones, and between them those that are alike."""
        pairs: list[tuple[int, int]] = []
        i = j = 0
        equal = align([*map(self._number, old)], [*map(self._number, new)], self._budget)
        for at, there in [*equal, (len(old), len(new))]:
            alike = align([*map(_likeness, old[i:at])], [*map(_likeness, new[j:there])], self._budget)
            pairs += [(i + k, j + m) for k, m in alike]
            if at < len(old):
                pairs.append((at, there))
            i, j = at + 1, there + 1
        return pairs

    def _modify(self, old: Node, new: Node, path: str, was: Scope, scope: Scope) -> list[str]:
        whole = [self._operation("replace", path, write_node(new), uses=free_prefixes(new), scope=scope)]
        if not isinstance(new, Element) or not isinstance(old, Element):
            return whole
        self._budget.spend(len(whole[0]) // 64)
        try:
            parts = self._element(old, new, path, was, scope)
        except _Unpatchable:
            return whole
        return parts if sum(map(len, parts)) < len(whole[0]) else whole

    def _exchange(
        self, path: str, gone: Sequence[Node], come: Sequence[Node], places: _Places, scope: Scope, *, ends: bool
    ) -> list[str]:
        """Put nodes in the place of others, which may be none."""
        operations = [
            self._operation("remove", f"{path}/{places.next(node)}") for node in gone if isinstance(node, str)
        ]
        old = [node for node in gone if not isinstance(node, str)]
        if ends and not old:
            where = path
        elif places.last:
            where = f'{path}/{places.last}" pos="after'
        else:
            where = f'{path}" pos="prepend'
        uses = frozenset[str]().union(*map(free_prefixes, come))
        operations.append(self._operation("add", where, "".join(map(write_node, come)), uses=uses, scope=scope))
        places.pass_over(come)
        operations += [self._operation("remove", f"{path}/{places.next(node)}") for node in old]
        return operations

    def _remove(self, path: str, gone: Sequence[Node], places: _Places) -> list[str]:
        """Take nodes out; white space goes with its neighbour (section 4.5)."""
        nodes = list(gone)
        operations: list[str] = []
        if not all(map(_is_space, (node for node in nodes if isinstance(node, str)))):
            texts = [node for node in nodes if isinstance(node, str)]
            operations = [self._operation("remove", f"{path}/{places.next(node)}") for node in texts]
            nodes = [node for node in nodes if not isinstance(node, str)]
        at = 0
        while at < len(nodes):
            node, before, after = nodes[at], False, False
            if isinstance(node, str) and at + 1 < len(nodes):
                before, at = True, at + 1
                node = nodes[at]
            if not isinstance(node, str) and at + 1 < len(nodes) and isinstance(nodes[at + 1], str):
                # Between two that go, white space is the later one's, unless the earlier has none.
                after = not before or at + 2 == len(nodes)
            space = "both" if before and after else "before" if before else "after" if after else ""
            where = f"{path}/{places.next(node)}"
            operations.append(self._operation("remove", f'{where}" ws="{space}' if space else where))
            at += 1 + after
        return operations
