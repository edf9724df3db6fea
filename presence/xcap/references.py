"""Lists of users that documents refer to: who is on them, following references (RFC 4826 sections 3.1 and 4.5).

Nothing is fetched: only documents here are looked at, of one user unless others are allowed. What cannot be resolved
is left out, which never shows anybody more: rules only grant (RFC 5025 section 10).
"""

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple, Protocol

from presence.errors import BadRequest
from presence.sip.headers import parse_uri
from presence.values import Aor
from presence.xcap.anchor import Anchor, read_anchor, read_reference
from presence.xcap.documents import Key, Stored
from presence.xcap.errors import ConstraintFailure
from presence.xcap.selector import select
from presence.xcap.tree import Bounds, Element, Malformed, expand, read_tree

NAMESPACE: Final = "urn:ietf:params:xml:ns:resource-lists"
AUID: Final = "resource-lists"

DOCUMENTS_MOST: Final = 32
"""Documents looked at for one list."""
ELEMENTS_MOST: Final = 50_000
"""Elements looked at for one list."""
KEPT_MOST: Final = 20_000
"""Lists that are remembered."""

_BOUNDS: Final = Bounds(depth=64, elements=ELEMENTS_MOST)
_TREES_KEPT: Final = 64
_ROOT, _LIST, _ENTRY, _ENTRY_REF, _EXTERNAL = (
    expand(NAMESPACE, name) for name in ("resource-lists", "list", "entry", "entry-ref", "external")
)
_SCHEMES: Final = frozenset(("sip", "sips", "pres", "im", "tel"))

Version = tuple[str, int]
"""What tells a document from an earlier one: its etag, and its content for writers that forget to change that."""


class Library(Protocol):
    """Where documents are."""

    def get(self, key: Key) -> Stored | None:
        """Return a document, None when there is none."""


class Flat(NamedTuple):
    """A list with all references resolved."""

    uris: tuple[str, ...]
    """As entries spell them, each once, in the order of the document."""
    broken: tuple[str, ...]
    """References that lead to no list or entry here (for a resource list server: 502, section 4.5)."""
    versions: Mapping[Key, Version | None]
    """The documents that were looked at; None for one that was not there."""
    members: frozenset[Aor]


class Lists:
    """Resolves references to lists, and remembers what came of it until a document it looked at is another."""

    def __init__(self, documents: Library, roots: Sequence[str], *, allow_others: bool = False) -> None:
        self._documents, self._roots, self._allow_others = documents, tuple(roots), allow_others
        self._kept: OrderedDict[tuple[str, Aor], Flat] = OrderedDict()
        self._trees: OrderedDict[Key, tuple[Version, Element | None]] = OrderedDict()

    def members(self, anchor: str, owner: Aor) -> frozenset[Aor]:
        """Return who is on a list that a document of `owner` refers to; nobody when it is not there."""
        return self.flat(anchor, owner).members

    def depends_on(self, anchor: str, owner: Aor | None = None) -> frozenset[Key]:
        """Return the documents on which the members depend, also those that are not there yet.

        Without `owner` the list is taken for its own user's.
        """
        if owner is None:
            found = read_anchor(anchor, self._roots)
            owner = found.key.owner if found else None
        return frozenset(self.flat(anchor, owner).versions) if owner else frozenset()

    def flat(self, anchor: str, owner: Aor) -> Flat:
        """Return a list that a document of `owner` refers to, with everything it refers to itself."""
        kept = self._kept.get((anchor, owner))
        if kept is not None and all(self._version(key) == version for key, version in kept.versions.items()):
            self._kept.move_to_end((anchor, owner))
            return kept
        flat = _Walk(self, owner, self._roots, self._allow_others).from_anchor(anchor)
        self._kept[anchor, owner] = flat
        self._kept.move_to_end((anchor, owner))
        if len(self._kept) > KEPT_MOST:
            self._kept.popitem(last=False)
        return flat

    def expand(self, element: Element, owner: Aor) -> Flat:
        """Return a list that stands in another document of `owner`, as in rls-services (section 4.1)."""
        return _Walk(self, owner, self._roots, self._allow_others).from_element(element)

    def read(self, key: Key) -> tuple[Version | None, Element | None]:
        """Return a document's version and its root element; None when it is not there or cannot be read."""
        stored = self._documents.get(key)
        if stored is None:
            return None, None
        version = stored.etag, hash(stored.body)
        kept = self._trees.get(key)
        if kept is None or kept[0] != version:
            self._trees[key] = kept = version, _parse(stored.body)
            if len(self._trees) > _TREES_KEPT:
                self._trees.popitem(last=False)
        return kept

    def _version(self, key: Key) -> Version | None:
        stored = self._documents.get(key)
        return None if stored is None else (stored.etag, hash(stored.body))


class _Walk:
    """One traversal, depth first; a list that was passed already is not entered again, so that no circle is endless."""

    def __init__(self, lists: Lists, owner: Aor, roots: Sequence[str], allow_others: bool) -> None:
        self._lists, self._owner, self._roots, self._allow_others = lists, owner, roots, allow_others
        self._uris: dict[str, None] = {}
        self._broken: dict[str, None] = {}
        self._versions: dict[Key, Version | None] = {}
        self._trees: dict[Key, Element | None] = {}
        self._passed: set[int] = set()
        self._count = 0

    def from_anchor(self, anchor: str) -> Flat:
        return self._flatten(iter(self._follow(anchor)))

    def from_element(self, element: Element) -> Flat:
        return self._flatten(iter(element.children))

    def _flatten(self, start: Iterator[Element]) -> Flat:
        levels = [start]
        while levels:
            element = next(levels[-1], None)
            if element is None:
                levels.pop()
                continue
            self._count += 1
            if self._count > ELEMENTS_MOST:
                break
            levels.append(iter(self._enter(element)))
        members = frozenset(aor for uri in self._uris if (aor := _address(uri)) is not None)
        return Flat(tuple(self._uris), tuple(self._broken), self._versions, members)

    def _enter(self, element: Element) -> Sequence[Element]:
        """Take in an element and return those to go on with."""
        if element.name in (_LIST, _ROOT):
            if id(element) in self._passed:
                return ()
            self._passed.add(id(element))
            return element.children
        if element.name == _ENTRY:
            if uri := element.attributes.get("uri", "").strip():
                self._uris[uri] = None
        elif element.name == _EXTERNAL:
            return self._follow(element.attributes.get("anchor", "").strip())
        elif element.name == _ENTRY_REF:
            ref = element.attributes.get("ref", "").strip()
            found = self._find(read_reference(ref))
            if found is None or found.name != _ENTRY:
                self._broken[ref] = None
            else:
                return (found,)
        return ()

    def _follow(self, anchor: str) -> Sequence[Element]:
        found = self._find(read_anchor(anchor, self._roots))
        if found is None or found.name not in (_LIST, _ROOT, _ENTRY):
            self._broken[anchor] = None
            return ()
        return (found,)

    def _find(self, anchor: Anchor | None) -> Element | None:
        if anchor is None or anchor.key.auid != AUID:
            return None
        # A root alike in nothing but its path may be us by another name; then it is about the user's own lists.
        if anchor.key.owner != self._owner and not (self._allow_others and anchor.at_home):
            return None
        root = self._read(anchor.key)
        if root is None or anchor.selector is None:
            return root
        if anchor.selector.attribute is not None or anchor.selector.bindings:
            return None
        return select(root, anchor.selector.steps, NAMESPACE)

    def _read(self, key: Key) -> Element | None:
        if key not in self._trees:
            if len(self._trees) >= DOCUMENTS_MOST:
                return None
            self._versions[key], self._trees[key] = self._lists.read(key)
        return self._trees[key]


def _parse(body: bytes) -> Element | None:
    try:
        return read_tree(body, _BOUNDS)
    except (Malformed, ConstraintFailure):
        return None


def _address(uri: str) -> Aor | None:
    try:
        parsed = parse_uri(uri)
        return parsed.aor() if parsed.scheme in _SCHEMES else None
    except BadRequest:
        return None
