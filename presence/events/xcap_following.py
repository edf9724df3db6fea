"""One subscription to xcap-diff: what its watcher knows, and what it has to be told (RFC 5875 section 4.7)."""

import hashlib
import weakref
from collections import deque
from itertools import count
from typing import Final, NamedTuple

from presence.document.xcapdiff import AttributePart, DocumentPart, ElementPart, Part
from presence.document.xml import MAX_DEPTH
from presence.events.xcap_changes import Changes, Version
from presence.events.xcap_selection import Choice, Component, Mode, Selection
from presence.values import Aor
from presence.xcap.documents import Key
from presence.xcap.errors import XcapError
from presence.xcap.selector import select
from presence.xcap.tree import Bounds, Element, Malformed, read_tree

UNTOLD_MOST: Final = 64
"""Changes kept for one watcher; when there are more, it is told without patches what has become of each document."""

NOTICES_MOST: Final = 4
"""Published documents kept for one watcher."""

_BOUNDS: Final = Bounds(MAX_DEPTH, 20_000)

_numbers = count(1)


class Drawn(NamedTuple):
    """What a watcher is told next, and what it knows then."""

    parts: list[Part]
    known: dict[Key, tuple[str, str]]
    """Selector and entity-tag by document."""
    shown: dict[str, bytes]
    """Digests of the elements and attributes that exist, by selector."""


class Following:
    """Follows the documents of a subscription, from its first NOTIFY to its end or refresh."""

    def __init__(
        self,
        slot: int,
        changes: Changes,
        concerned: "weakref.WeakSet[Following]",
        presentity: Aor,
        watcher: Aor,
        choice: Choice,
        selection: Selection,
    ) -> None:
        self.slot = slot
        """Names the subscription."""
        self._concerned = concerned
        self.presentity = presentity
        self.watcher = watcher
        self.choice = choice
        self._selection = selection
        self._changes = changes
        self._number = next(_numbers)
        self._known: dict[Key, tuple[str, str]] = {}
        self._shown: dict[str, bytes] = {}
        self._last: list[Part] = []
        self._untold: list[Version] = []
        self._drawn: Drawn | None = None
        self._places = selection.places
        self.behind = False
        """More has changed than was kept."""
        self.lost = False
        self.notices: deque[bytes] = deque(maxlen=NOTICES_MOST)
        """Documents published about resources that are elsewhere."""
        changes.follow(self._places, self._number, weakref.ref(self))

    def __del__(self) -> None:
        # It lives in what is known of its subscription, and ends with that.
        self._changes.leave(self._places, self._number)

    def changed(self, version: Version) -> None:
        """Hear of a change of a document it follows."""
        self._concerned.add(self)
        self._drawn = None
        if len(self._untold) >= UNTOLD_MOST:
            self.all_changed()
        if not self.behind:
            self._untold.append(version)

    def all_changed(self) -> None:
        """Hear that everything may have changed."""
        self._concerned.add(self)
        self._drawn = None
        self.behind = True
        self._untold.clear()

    def notice(self, body: bytes) -> None:
        """Hear of what was published about resources that are elsewhere, which the watcher may read."""
        self._concerned.add(self)
        self.notices.append(body)

    def lose(self) -> None:
        """Note that the watcher did not take its last document."""
        self._concerned.add(self)
        self.lost = True

    # ---- telling ----

    def has_news(self) -> bool:
        """Whether there is something to tell; raises StoreError."""
        if self.lost or self.notices:
            return True
        if not self._untold and not self.behind:
            return False
        if self._drawn is None:
            self._drawn = self._draw()
        if not self._drawn.parts:
            # What changed is nothing it asked for.
            self._take(self._drawn)
            return False
        return True

    def tell_news(self) -> list[Part]:
        """Return what has changed, and know it told; raises StoreError."""
        drawn = self._drawn or self._draw()
        self._take(drawn)
        return drawn.parts

    def tell_everything(self) -> list[Part]:
        """Return what there is, and, after a loss, what is no more; raises StoreError."""
        drawn = self._draw_everything()
        gone: list[Part] = []
        if self.lost:
            told: dict[str, Part] = {
                sel: DocumentPart(sel, etag, None) for key, (sel, etag) in self._known.items() if key not in drawn.known
            }
            told.update((sel, self._absent(sel)) for sel in self._shown if sel not in drawn.shown)
            there = {part.sel for part in drawn.parts}
            for part in self._last:
                if part.sel not in there and self._is_removal(part):
                    told.setdefault(part.sel, part)
            gone = list(told.values())
        self._take(Drawn(gone + drawn.parts, drawn.known, drawn.shown))
        return gone + drawn.parts

    def _take(self, drawn: Drawn) -> None:
        parts, self._known, self._shown = drawn
        self._last = [part for part in parts if self._is_removal(part)]
        self._untold.clear()
        self._drawn = None
        self.lost = self.behind = False

    @staticmethod
    def _is_removal(part: Part) -> bool:
        """Whether a part says that something is gone: it has to be said again when it was not heard."""
        if isinstance(part, DocumentPart):
            return part.new is None
        return (isinstance(part, ElementPart) and part.content is None) or (
            isinstance(part, AttributePart) and part.value is None
        )

    # ---- what there is ----

    def _draw_everything(self) -> Drawn:
        present = self._selection.present()
        for key in present:
            self._keep_version(key)
        parts: list[Part] = [DocumentPart(sel, None, stored.etag) for sel, stored in present.values()]
        known = {key: (sel, stored.etag) for key, (sel, stored) in present.items()}
        shown: dict[str, bytes] = {}
        for part in self._components(self._selection.components):
            digest = _digest(part)
            if digest:
                shown[part.sel] = digest
                parts.append(part)
        return Drawn(parts, known, shown)

    def _components(self, components: list[Component]) -> list[Part]:
        """Return elements and attributes as they are, those that do not exist among them."""
        trees: dict[Key, tuple[bytes, Element] | None] = {}
        parts: list[Part] = []
        for component in components:
            if component.key not in trees:
                trees[component.key] = self._read(component.key)
            tree = trees[component.key]
            parts.append(self._absent(component.sel) if tree is None else self._component(component, *tree))
        return parts

    def _read(self, key: Key) -> tuple[bytes, Element] | None:
        stored = self._selection.library.documents.get(key)
        if stored is None:
            return None
        try:
            return stored.body, read_tree(stored.body, _BOUNDS)
        except (Malformed, XcapError):
            # Written by somebody else: nothing can be selected in it.
            return None

    def _component(self, component: Component, body: bytes, root: Element) -> Part:
        sel, selector = component.sel, component.selector
        default = self._selection.library.namespace(component.key.auid)
        element = select(root, selector.steps, default)
        if selector.attribute is not None:
            value = None if element is None else element.attributes.get(selector.attribute)
            return AttributePart(sel, value)
        if element is None:
            return ElementPart(sel, None)
        content = body[element.start : element.end].decode()
        scope = element.scope()
        around = {prefix: uri for prefix, uri in scope.items() if prefix not in element.declared and (prefix or uri)}
        return ElementPart(sel, content, tuple(around.items()))

    def _absent(self, sel: str) -> Part:
        component = next(component for component in self._selection.components if component.sel == sel)
        return ElementPart(sel, None) if component.selector.attribute is None else AttributePart(sel, None)

    # ---- what has changed ----

    def _draw(self) -> Drawn:
        if self.behind:
            return self._draw_differences()
        known, shown = dict(self._known), dict(self._shown)
        placed: list[tuple[int, Part]] = []
        if self.choice.mode is Mode.XCAP_PATCHING:
            for at, version in enumerate(self._untold):
                part = self._document(known, version, version)
                if part is not None:
                    placed.append((at, part))
        else:
            first: dict[Key, Version] = {}
            last: dict[Key, int] = {}
            for at, version in enumerate(self._untold):
                first.setdefault(version.key, version)
                last[version.key] = at
            for key, at in last.items():
                part = self._document(known, first[key], self._untold[at])
                if part is not None:
                    placed.append((at, part))
        latest = {version.key: at for at, version in enumerate(self._untold)}
        touched = [component for component in self._selection.components if component.key in latest]
        for component, part in zip(touched, self._components(touched), strict=True):
            if _update(shown, part):
                placed.append((latest[component.key], part))
        # In the order of the changes; what is part of a document behind the document.
        placed.sort(key=lambda entry: entry[0])
        return Drawn([part for _, part in placed], known, shown)

    def _document(self, known: dict[Key, tuple[str, str]], first: Version, last: Version) -> Part | None:
        """Return what to tell of a document that went through one change or several, and note it as known."""
        key = last.key
        sel, previous = known.get(key, (self._selection.sel(key), None))
        if sel is None or previous == last.new:
            return None
        if last.new is None:
            del known[key]
            return DocumentPart(sel, previous, None)
        known[key] = sel, last.new
        patch = None
        if previous is not None and previous == first.previous and self.choice.mode is not Mode.NO_PATCHING:
            patch = last.patch_from(first)
            if patch is None:
                self._keep_version(key)
        return DocumentPart(sel, previous, last.new, patch)

    def _keep_version(self, key: Key) -> None:
        """Have the present version in memory when it changes, for the patch from it."""
        if self.choice.mode is not Mode.NO_PATCHING:
            self._selection.library.documents.get(key)

    def _draw_differences(self) -> Drawn:
        """Return what is different from what the watcher knows, whatever happened in between."""
        everything = self._draw_everything()
        shown = dict(self._shown)
        parts: list[Part] = [
            DocumentPart(sel, etag, None) for key, (sel, etag) in self._known.items() if key not in everything.known
        ]
        for key, (sel, etag) in everything.known.items():
            previous = self._known[key][1] if key in self._known else None
            if previous != etag:
                parts.append(DocumentPart(sel, previous, etag))
        parts += [part for part in self._components(self._selection.components) if _update(shown, part)]
        return Drawn(parts, everything.known, shown)


def _digest(part: Part) -> bytes:
    """Return what tells one content from another, b"" for none."""
    if isinstance(part, AttributePart) and part.value is not None:
        return hashlib.blake2b(part.value.encode(), digest_size=16).digest()
    if isinstance(part, ElementPart) and part.content is not None:
        return hashlib.blake2b(repr((part.content, part.scope)).encode(), digest_size=16).digest()
    return b""


def _update(shown: dict[str, bytes], part: Part) -> bool:
    """Note an element or attribute as shown; return whether it is another than before."""
    digest = _digest(part)
    if shown.get(part.sel, b"") == digest:
        return False
    if digest:
        shown[part.sel] = digest
    else:
        del shown[part.sel]
    return True
