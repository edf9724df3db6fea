"""What a subscription to xcap-diff is about: the resources its SUBSCRIBE named (RFC 5875 sections 4.1, 4.3 and 4.4)."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, NamedTuple, Protocol

from presence.document.uri_list import read_uri_list
from presence.errors import BadRequest, BodyTooLarge
from presence.values import Aor
from presence.xcap.doctypes import canonical_name
from presence.xcap.documents import Key, Stored
from presence.xcap.errors import XcapError
from presence.xcap.selector import Selector
from presence.xcap.uri import decode, escape_segment, read_target, read_xui
from presence.xcap.usage import Usage

MAX_URIS: Final = 200
MAX_BYTES: Final = 16 * 1024
"""What all URIs of a subscription may take."""

MAX_READ: Final = 20
"""Of how many documents elements and attributes may be followed: each has to be read when it changes."""

MAX_LISTED: Final = 1000
"""Most documents a subscription is told of."""

_ABSOLUTE = re.compile(r"(https?)://([^/?#]*)([^?#]*)(.*)", re.IGNORECASE)
_OUTSIDE = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:|//")
"""How a URI begins that is no path: `sip:` in a later segment does not count."""
_WRITABLE = re.compile(r"[!-~]+")


class Mode(Enum):
    """How changes of documents are told (section 4.3), from the simplest."""

    NO_PATCHING = "no-patching"
    XCAP_PATCHING = "xcap-patching"
    AGGREGATE = "aggregate"


class Readable(Protocol):
    """Where documents are read (`Documents`)."""

    def get(self, key: Key) -> Stored | None:
        """Return a document, None when there is none."""

    def of(self, owner: Aor | None, auid: str) -> list[Stored]:
        """Return all documents of one user (None: the global tree) and application usage."""

    def all_of(self, owner: Aor | None) -> list[Stored]:
        """Return all documents of one user, perhaps without their bodies."""

    def look_again(self, what: Iterable[Key]) -> None:
        """Look for changes of these documents at once."""


class NoDocuments:
    """A library without documents."""

    def get(self, key: Key) -> Stored | None:
        """There is none."""
        return None

    def of(self, owner: Aor | None, auid: str) -> list[Stored]:
        """There are none."""
        return []

    def all_of(self, owner: Aor | None) -> list[Stored]:
        """There are none."""
        return []

    def look_again(self, what: Iterable[Key]) -> None:
        """Nothing can have changed."""


@dataclass
class Library:
    """The documents there are, and who may read them."""

    documents: Readable
    usages: Mapping[str, Usage]
    roots: tuple[str, ...]
    """Our XCAP root URIs, absolute and without a slash at the end; the first is that of relative URIs."""
    any_host: bool = False
    """Every URI with the path of our first root is taken for one of ours."""
    administrators: frozenset[Aor] = field(default_factory=frozenset)
    domain: str = ""
    """Domain of users whose XUI names none."""
    switched_off: frozenset[str] = frozenset()
    """AUIDs that are not served: what is stored of them is not told either."""

    def may_read(self, who: Aor, key: Key) -> bool:
        """Whether a user may read a document (RFC 4825 section 5.7)."""
        if key.auid in self.switched_off:
            return False
        if key.owner in (None, who) or who in self.administrators:
            return True
        usage = self.usages.get(key.auid)
        return usage is not None and usage.readable_by_all

    def namespace(self, auid: str) -> str:
        """The default document namespace of an application usage."""
        usage = self.usages.get(auid)
        return "" if usage is None else usage.namespace

    def cut(self, uri: str) -> tuple[str, str] | None:
        """Return the XCAP root a URI is below, and what follows its slash; None for one that is elsewhere."""
        absolute = _ABSOLUTE.fullmatch(uri)
        if absolute is None:
            if uri.startswith("/"):
                path = _ABSOLUTE.fullmatch(self.roots[0])
                root = "" if path is None else path[3]
                return (self.roots[0], uri[len(root) + 1 :]) if uri.startswith(f"{root}/") and root else None
            return None if _OUTSIDE.match(uri) else (self.roots[0], uri)
        authority = f"{absolute[1].lower()}://{absolute[2].lower()}"
        for root in self.roots:
            known = _ABSOLUTE.fullmatch(root)
            if known is None or not f"{absolute[3]}/".startswith(f"{known[3]}/"):
                continue
            if self.any_host or authority == f"{known[1].lower()}://{known[2].lower()}":
                rest = absolute[3][len(known[3]) :] + absolute[4]
                return f"{absolute[1]}://{absolute[2]}{known[3]}", rest.removeprefix("/")
        return None


class Choice(NamedTuple):
    """What is kept of a SUBSCRIBE."""

    mode: Mode
    root: str
    uris: tuple[str, ...] | None
    """Relative to the root; None: all documents of the watcher's own."""

    def pack(self) -> bytes:
        """Write it for the database."""
        return "\n".join(
            (self.mode.value, self.root, _OWN if self.uris is None else _LISTED, *(self.uris or ()))
        ).encode()

    @staticmethod
    def unpack(kept: bytes, root: str) -> "Choice":
        """Read what `pack` wrote; `root` is that of a subscription of which nothing was kept."""
        if not kept:
            return Choice(Mode.NO_PATCHING, root, None)
        mode, own_root, kind, *uris = kept.decode().split("\n")
        return Choice(Mode(mode), own_root, None if kind == _OWN else tuple(uris))


_OWN, _LISTED = "own", "listed"


def read_mode(parameters: Mapping[str, str]) -> Mode:
    """Return the mode that Event asks for; one that nobody knows is answered with the simplest (section 4.3)."""
    try:
        return Mode(parameters.get("diff-processing", "").lower())
    except ValueError:
        return Mode.NO_PATCHING


def choose(library: Library, mode: Mode, body: bytes) -> Choice:
    """Read the body of a SUBSCRIBE; raises BadRequest and BodyTooLarge."""
    root = ""
    uris: list[str] = []
    for uri in read_uri_list(body):
        if _WRITABLE.fullmatch(uri) is None:
            raise BadRequest("An Entry of the List Is No URI")
        cut = library.cut(uri)
        if cut is not None and (not root or root == cut[0] or not _ABSOLUTE.match(uri)):
            if _ABSOLUTE.match(uri):
                root = cut[0]
            uris.append(cut[1])
    # Section 7: long lists are a way to keep a notifier busy.
    if len(uris) > MAX_URIS or sum(map(len, uris)) > MAX_BYTES:
        raise BodyTooLarge(f"More than {MAX_URIS} URIs or {MAX_BYTES} Bytes of Them")
    if len({uri.partition("~~")[0] for uri in uris if "~~" in uri}) > MAX_READ:
        raise BodyTooLarge(f"Elements of More than {MAX_READ} Documents")
    return Choice(mode, root or library.roots[0], tuple(dict.fromkeys(uris)))


class Place(NamedTuple):
    """A collection: documents of one owner, or of the global tree, below a folder."""

    auid: str | None
    """None: of every application usage."""
    owner: Aor | None
    folder: str = ""


class Collection(NamedTuple):
    """A collection that is watched."""

    place: Place
    path: str
    """How the URIs of its documents begin, up to the folder's slash; where the usage is any, it is the XCAP root."""

    def sel(self, key: Key) -> str:
        """Return the selector of one of its documents."""
        if self.place.auid is None:
            return path_of(key)
        name = key.name[len(self.place.folder) :]
        return self.path + "/".join(map(escape_segment, name.split("/")))


class Component(NamedTuple):
    """An element or attribute that is watched."""

    sel: str
    key: Key
    selector: Selector


def path_of(key: Key) -> str:
    """Return the usual path of a document, relative to the XCAP root."""
    tree = "global" if key.owner is None else f"users/{escape_segment(key.owner.uri)}"
    return f"{escape_segment(key.auid)}/{tree}/" + "/".join(map(escape_segment, key.name.split("/")))


@dataclass
class Selection:
    """The resources of one subscription that its watcher may read; others stay unmentioned (section 4.7)."""

    library: Library
    documents: dict[Key, str] = field(default_factory=dict)
    """Selectors of documents named one by one."""
    collections: list[Collection] = field(default_factory=list)
    components: list[Component] = field(default_factory=list)

    @property
    def places(self) -> set[Key | Place]:
        """Where a change concerns it."""
        found: set[Key | Place] = set(self.documents)
        found.update(collection.place for collection in self.collections)
        found.update(component.key for component in self.components)
        return found

    def sel(self, key: Key) -> str | None:
        """Return the selector a document is told under, once for each; None when it is not to be told."""
        named = self.documents.get(key)
        if named is not None or key.auid in self.library.switched_off:
            return named
        places = set(places_of(key))
        return next((collection.sel(key) for collection in self.collections if collection.place in places), None)

    def present(self) -> dict[Key, tuple[str, Stored]]:
        """Return the documents there are with their selectors; raises StoreError."""
        found: dict[Key, tuple[str, Stored]] = {}
        for key, sel in self.documents.items():
            stored = self.library.documents.get(key)
            if stored is not None:
                found[key] = sel, stored
        for collection in self.collections:
            for stored in self._listed(collection.place):
                if len(found) >= MAX_LISTED:
                    return found
                if stored.key not in found and stored.key not in self.documents:
                    found[stored.key] = collection.sel(stored.key), stored
        return found

    def _listed(self, place: Place) -> list[Stored]:
        documents = self.library.documents
        found = documents.all_of(place.owner) if place.auid is None else documents.of(place.owner, place.auid)
        off = self.library.switched_off
        return [s for s in found if s.key.name.startswith(place.folder) and s.key.auid not in off]


def places_of(key: Key) -> Iterator[Key | Place]:
    """Yield the document and all collections it is in."""
    yield key
    yield Place(None, key.owner)
    yield Place(key.auid, key.owner)
    folder = ""
    for part in key.name.split("/")[:-1]:
        folder += f"{part}/"
        yield Place(key.auid, key.owner, folder)


def select(library: Library, choice: Choice, watcher: Aor) -> Selection:
    """Resolve a subscription's URIs, as its watcher may see them; what is not there yet may come (section 4.7)."""
    selection = Selection(library)
    if choice.uris is None:
        # No body: RFC 5875 leaves open what that selects. It is what is the watcher's own, of all application usages.
        selection.collections.append(Collection(Place(None, watcher), ""))
        return selection
    for uri in choice.uris:
        try:
            _take(selection, uri, watcher)
        except (XcapError, BadRequest):
            # No resource can be there, so it is one that never comes.
            continue
    return selection


def _take(selection: Selection, uri: str, watcher: Aor) -> None:
    library = selection.library
    path, _, query = uri.partition("#")[0].partition("?")
    if (path.endswith("/") or not path) and "~~" not in path:
        for collection in _collections(path, library, watcher):
            if all(collection.place != known.place for known in selection.collections):
                selection.collections.append(collection)
        return
    target = read_target(path, query, library.domain)
    key = target.key._replace(name=canonical_name(target.key.auid, target.key.name))
    if not library.may_read(watcher, key):
        return
    if target.selector is None:
        selection.documents.setdefault(key, uri)
    elif not target.selector.bindings:
        # Section 4.1: nobody subscribes to namespaces.
        selection.components.append(Component(uri, key, target.selector))


def _collections(path: str, library: Library, watcher: Aor) -> Iterator[Collection]:
    """Yield the collections that a path ending with a slash stands for.

    Above the home directories these are what the watcher reads as its own, and the global tree.
    """
    segments = [decode(segment) for segment in path.split("/")[:-1]]
    auid, tree, *rest = [*segments, "", ""][: max(2, len(segments))]
    if tree not in ("", "users", "global") or not all(segments):
        return
    start = f"{escape_segment(auid)}/"
    if tree != "users":
        if not auid:
            yield Collection(Place(None, None), "")
        else:
            folder = "".join(f"{part}/" for part in rest)
            yield Collection(Place(auid, None, folder), path if tree else f"{start}global/")
    if tree != "global":
        owner = read_xui(rest[0], library.domain) if rest else watcher
        folder = "".join(f"{part}/" for part in rest[1:])
        if owner is None or not library.may_read(watcher, Key(auid, owner, "index")):
            return
        own = path if rest else f"{start}users/{escape_segment(owner.uri)}/"
        yield Collection(Place(auid or None, owner, folder), own if auid else "")
