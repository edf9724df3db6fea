"""The event package xcap-diff (RFC 5875): whoever may read XCAP documents is told when they change, and how."""

import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from presence.document import uri_list
from presence.document.xcapdiff import CONTENT_TYPE, Notice, Part, read_notice, write_xcap_diff
from presence.errors import BadRequest, StoreError
from presence.events.package import Listener
from presence.events.xcap_changes import Changes
from presence.events.xcap_following import Following
from presence.events.xcap_selection import Choice, Library, NoDocuments, choose, read_mode, select
from presence.values import Aor, Publication
from presence.xcap.doctypes import canonical_name
from presence.xcap.documents import Key
from presence.xcap.errors import XcapError
from presence.xcap.uri import read_target

NAME: Final = "xcap-diff"

MAX_NOTIFY_BYTES: Final = 48 * 1024
"""A document that would be larger is told without patches and contents (RFC 5875 section 4.7)."""

INTERVAL_S: Final = 5.0
"""How often changes of one resource are told at most (RFC 5875 section 4.10)."""

NO_ROOT: Final = "http://localhost/xcap-root"


class Published(NamedTuple):
    """What a PUBLISH carries: a notice that documents have changed."""

    notice: Notice
    body: bytes


class XcapDiffPackage:
    """Changes of XCAP documents; without a library there are none."""

    name = NAME
    content_type = CONTENT_TYPE
    publishable: tuple[str, ...] = (CONTENT_TYPE,)
    # RFC 5875 section 4.5.
    default_expires_s = 3600
    # Not the presentity decides, but whose documents they are (section 7).
    authorised = False
    watches = ""
    selectable: tuple[str, ...] = (uri_list.CONTENT_TYPE,)
    interval_s = INTERVAL_S

    def __init__(self) -> None:
        self._library = Library(NoDocuments(), {}, (NO_ROOT,))
        self.changes = Changes()
        self._narrators: weakref.WeakValueDictionary[Aor, Differences] = weakref.WeakValueDictionary()

    def serve(self, library: Library) -> None:
        """Tell of a library's documents from now on; `changes` has to hear of what becomes of them."""
        self._library = library

    # ---- SUBSCRIBE ----

    def select(self, parameters: Mapping[str, str], body: bytes, kept: bytes) -> bytes:
        """Return what to keep of a SUBSCRIBE (see `package.Selecting`).

        The mode is what this request says (section 4.3), the list that of the last one with a body (section 4.4).
        """
        mode = read_mode(parameters)
        if body:
            return choose(self._library, mode, body).pack()
        return Choice.unpack(kept, self._library.roots[0])._replace(mode=mode).pack()

    def compose(self, presentity: Aor, publications: Sequence[Publication]) -> bytes:
        """Return the document of somebody who has asked for nothing."""
        return write_xcap_diff(f"{self._library.roots[0]}/", (), MAX_NOTIFY_BYTES)

    def narrate(self, presentity: Aor, source: Callable[[], Iterable[Publication]]) -> "Differences":
        """Return what tells the subscribers of a resource."""
        narrator = Differences(self, presentity, source)
        self._narrators[presentity] = narrator
        return narrator

    def follow(self, presentity: Aor, listener: Listener, concerned: "weakref.WeakSet[Following]") -> Following:
        """Begin to follow what a subscriber asked for; it puts itself among those `concerned` when there is news."""
        choice = Choice.unpack(listener.selection, self._library.roots[0])
        watcher = listener.watcher()
        selection = select(self._library, choice, watcher)
        return Following(listener.slot, self.changes, concerned, presentity, watcher, choice, selection)

    # ---- PUBLISH ----

    def read(self, content_type: str, body: bytes) -> Published:
        """Check a published XCAP diff document."""
        return Published(read_notice(body), body)

    def heed(self, presentity: Aor, document: object) -> None:
        """Look at once after the documents that another XCAP server says have changed.

        Subscribers are told from the table. Where no named document is in it, they get what was published, as with
        OpenSIPS, if they may read what it is about. Raises StoreError.
        """
        if not isinstance(document, Published):
            return
        keys = self._keys(document.notice)
        self._library.documents.look_again(keys)
        narrator = self._narrators.get(presentity)
        if narrator is not None and not self._have(keys):
            narrator.publish(document)
            self.changes.told(presentity)

    def _keys(self, notice: Notice) -> list[Key]:
        keys: dict[Key, None] = {}
        for sel in notice.sels:
            try:
                key = read_target(sel.partition("?")[0], "", self._library.domain).key
            except (XcapError, BadRequest):
                continue
            keys[key._replace(name=canonical_name(key.auid, key.name))] = None
        return list(keys)

    def _have(self, keys: Iterable[Key]) -> bool:
        return any(self._library.documents.get(key) is not None for key in keys)

    def foreign(self, published: Published, watcher: Aor, presentity: Aor) -> bytes:
        """Return a published body as far as a watcher may have it, b"" when it may not, or the documents are here."""
        keys = self._keys(published.notice)
        if self._have(keys):
            return b""
        allowed = all(self._library.may_read(watcher, key) for key in keys) if keys else watcher == presentity
        return published.body if allowed else b""


class Differences:
    """Tells each subscriber of a resource of the documents it asked for (a `Narrator`)."""

    def __init__(self, package: XcapDiffPackage, presentity: Aor, source: Callable[[], Iterable[Publication]]) -> None:
        self._package = package
        self._presentity = presentity
        self._source = source
        self._here: weakref.WeakSet[Following] = weakref.WeakSet()
        self._concerned: weakref.WeakSet[Following] = weakref.WeakSet()
        self._fresh = True

    def publish(self, published: Published) -> None:
        """Pass on what was published about documents that are elsewhere."""
        for following in self._here:
            body = self._package.foreign(published, following.watcher, self._presentity)
            if body:
                following.notice(body)

    def concerned(self) -> list[int] | None:
        """Return who has to be told of changes (see `package.Pointing`); nobody knows at a start."""
        fresh, self._fresh = self._fresh, False
        slots = [following.slot for following in self._concerned]
        self._concerned.clear()
        return None if fresh else sorted(slots)

    def has_news(self, reached: object | None, listener: Listener) -> bool:
        """Whether what a subscriber follows has changed."""
        if not isinstance(reached, Following):
            return True
        try:
            return reached.has_news()
        except StoreError:
            # What cannot be read now is told with the next change.
            return False

    def tell(self, reached: object | None, version: int, listener: Listener, now: float) -> tuple[bytes, object]:
        """Return everything for a new subscription, a refresh, and after a loss; else what has changed."""
        following = reached if isinstance(reached, Following) else None
        whole = following is None or following.lost
        if following is None:
            following = self._package.follow(self._presentity, listener, self._concerned)
            self._here.add(following)
        try:
            parts = following.tell_everything() if whole else following.tell_news()
        except StoreError:
            parts = []
            following.all_changed()
        body = b"" if parts else self._foreign(following, whole=whole)
        following.notices.clear()
        return body or self._write(following, parts), following

    def _write(self, following: Following, parts: Sequence[Part]) -> bytes:
        return write_xcap_diff(f"{following.choice.root}/", parts, MAX_NOTIFY_BYTES)

    def _foreign(self, following: Following, *, whole: bool) -> bytes:
        """Return the newest document published about what is elsewhere, b"" when there is none to be told."""
        if following.notices:
            return following.notices[-1]
        held = [p.document for p in self._source() if isinstance(p.document, Published)] if whole else []
        if not held:
            return b""
        return self._package.foreign(held[-1], following.watcher, self._presentity)

    def lost(self, reached: object | None) -> object | None:
        """Have everything told to a subscriber that did not take its last document, what is gone included."""
        if isinstance(reached, Following):
            reached.lose()
        return reached

    def forget(self, reached: Iterable[object | None]) -> None:
        """Nothing is kept that somebody has not been told yet."""
