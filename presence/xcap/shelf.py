"""Documents as they are kept in memory: those of one user and application usage together."""

from collections import OrderedDict
from typing import NamedTuple

from presence.values import Aor

_OVERHEAD_BYTES = 400
"""What a document or an empty shelf takes beside its body."""


class Key(NamedTuple):
    """Names a document: application usage, whose tree, and the path in it."""

    auid: str
    owner: Aor | None
    """None: the global tree (RFC 4825 section 6.2)."""
    name: str
    """The path below the user's home, such as `index`."""


class Stored(NamedTuple):
    """A document as it is in the database."""

    key: Key
    body: bytes
    etag: str
    content_type: str
    """Empty: that of the application usage."""
    changed_at: float
    """Epoch seconds; 0: nobody knows."""
    row_id: int
    source: int
    """0: written here or by an integrated XCAP server; 1: fetched from another one."""
    doc_uri: str = ""
    port: int = 0


class Place(NamedTuple):
    """What is read together."""

    owner: Aor | None
    auid: str


class Shelf(NamedTuple):
    """The documents of a place by name, also when there are none."""

    position: int
    """The newest entry in the log of changes that is in them."""
    documents: dict[str, Stored]

    @property
    def elsewhere(self) -> bool:
        """Whether another server is asked for them: there are none, or they came from there."""
        return not self.documents or any(stored.source == 1 for stored in self.documents.values())

    @property
    def size(self) -> int:
        """Bytes of memory, roughly."""
        bodies = sum(len(stored.body) + _OVERHEAD_BYTES for stored in self.documents.values())
        return _OVERHEAD_BYTES + bodies


class Shelves:
    """Keeps the shelves that were asked for last, up to a count and a size."""

    def __init__(self, most: int, most_bytes: int) -> None:
        self._most, self._most_bytes = most, most_bytes
        self._kept: OrderedDict[Place, Shelf] = OrderedDict()
        self.size = 0
        """Bytes of memory, roughly."""

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, place: Place) -> Shelf | None:
        """Return a shelf, None when it is not kept."""
        shelf = self._kept.get(place)
        if shelf is not None:
            self._kept.move_to_end(place)
        return shelf

    def put(self, place: Place, shelf: Shelf) -> None:
        """Keep a shelf, in place of the one there was and of those nobody asked for since long."""
        self.drop(place)
        self._kept[place] = shelf
        self.size += shelf.size
        while len(self._kept) > self._most or self.size > self._most_bytes:
            _, oldest = self._kept.popitem(last=False)
            self.size -= oldest.size

    def drop(self, place: Place) -> None:
        """Forget a shelf."""
        old = self._kept.pop(place, None)
        if old is not None:
            self.size -= old.size

    def clear(self) -> None:
        """Forget everything."""
        self._kept.clear()
        self.size = 0
