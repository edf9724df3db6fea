"""Changes of XCAP documents on their way to those who follow them, each kept once for all of them.

Only documents somebody follows cost anything, and what is kept of their versions has a bound: beyond it a change is
told without its patch, and a client fetches the document (RFC 5875 section 4.7).
"""

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final, Protocol

from presence.document.patch import MAX_BYTES, compute_patch
from presence.document.xcapdiff import NAMESPACE
from presence.events.xcap_selection import Place, places_of
from presence.values import Aor
from presence.xcap.documents import Change, Key

KEPT_BYTES: Final = 32 << 20
"""What all versions kept for patches may take."""

PATCHES_MOST: Final = 8
"""Patches that are made for one change, from as many earlier versions."""


class Version:
    """A change of a document, with the patches that lead to its new version."""

    __slots__ = ("_account", "_after", "_before", "_patches", "_size", "key", "new", "previous")

    def __init__(self, change: Change, account: "Account") -> None:
        before, after = change.before, change.after
        self.key = change.key
        self.previous = None if before is None else before.etag
        """Entity-tag of the version before; None: there was none."""
        self.new = None if after is None else after.etag
        """Entity-tag of the new version; None: the document is gone."""
        bodies = [stored.body if stored is not None else b"" for stored in (before, after)]
        self._size = account.take(sum(map(len, bodies)) if max(map(len, bodies)) <= MAX_BYTES else 0)
        self._before, self._after = bodies if self._size else (b"", b"")
        self._account = account
        self._patches: dict[bytes, str | None] = {}

    def __del__(self) -> None:
        # The one who is told last has the last reference.
        self._account.give_back(self._size)

    def patch_from(self, earlier: "Version") -> str | None:
        """Return the patch from what was there before an earlier change, or before this one; None for none."""
        before = earlier._before
        if not before or not self._after:
            return None
        if before not in self._patches:
            if len(self._patches) >= PATCHES_MOST:
                return None
            self._patches[before] = compute_patch(before, self._after, NAMESPACE)
        return self._patches[before]


class Account:
    """How many bytes of versions are kept."""

    def __init__(self, most: int = KEPT_BYTES) -> None:
        self.most = most
        self.kept = 0

    def take(self, size: int) -> int:
        """Return the size when there is room for it, else 0."""
        if self.kept + size > self.most:
            return 0
        self.kept += size
        return size

    def give_back(self, size: int) -> None:
        """Forget what was kept."""
        self.kept -= size


class Follower(Protocol):
    """Who follows documents for one subscription."""

    presentity: Aor

    def changed(self, version: Version) -> None:
        """Hear of a change."""

    def all_changed(self) -> None:
        """Hear that everything may have changed."""


class Changes:
    """Who follows which documents and collections."""

    def __init__(self, account: Account | None = None) -> None:
        self.account = account or Account()
        self.told: Callable[[Aor], None] = _nobody
        """Hears of each presentity of whose subscriptions one has news."""
        # By identity: a follower that ends takes itself out.
        self._followers: dict[Key | Place, dict[int, Callable[[], Follower | None]]] = {}
        self._count = Counter[int]()

    def __len__(self) -> int:
        return len(self._count)

    def follow(self, places: Iterable[Key | Place], number: int, who: Callable[[], Follower | None]) -> None:
        """Tell a follower of changes there; `who` does not keep it alive."""
        for place in places:
            self._followers.setdefault(place, {})[number] = who
            self._count[number] += 1

    def leave(self, places: Iterable[Key | Place], number: int) -> None:
        """Tell a follower no more."""
        for place in places:
            followers = self._followers.get(place)
            if followers is not None and followers.pop(number, None) is not None and not followers:
                del self._followers[place]
        self._count.pop(number, None)

    def heard(self, change: Change) -> None:
        """Hear of a change, whoever made it (a listener of `Documents`)."""
        if not self._followers:
            return
        found: dict[int, Callable[[], Follower | None]] = {}
        for place in places_of(change.key):
            found.update(self._followers.get(place, {}))
        if not found:
            return
        version = Version(change, self.account)
        for who in found.values():
            follower = who()
            if follower is not None:
                follower.changed(version)
                self.told(follower.presentity)

    def reset(self) -> None:
        """Hear that everything may have changed."""
        everybody = {number: who for followers in self._followers.values() for number, who in followers.items()}
        for who in everybody.values():
            follower = who()
            if follower is not None:
                follower.all_changed()
                self.told(follower.presentity)


def _nobody(presentity: Aor) -> None:
    """Nobody is told yet."""
