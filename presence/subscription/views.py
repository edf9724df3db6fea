"""The filtered views of resources: what some permissions show, rendered once for all watchers who have them.

A view is a number in the watcher table. It is kept as long as some row is shown it, a final NOTIFY that is still out
included; then its number may be another view's.
"""

from presence._fastcore import Fanout
from presence.policy.decision import FILTERED
from presence.policy.permission import Permissions
from presence.policy.view import Shown
from presence.subscription.individual import tail
from presence.tally import Tally

MOST = 4096
"""Numbers of views end before this one, as the watcher table has them."""

NOTHING = 0
"""The view that shows nothing."""


class Views:
    """The filtered views of one resource."""

    __slots__ = ("_content_type", "_gid", "_numbers", "_permissions", "_table", "_tally")

    def __init__(self, table: Fanout, tally: Tally, gid: int, content_type: str) -> None:
        self._table = table
        self._tally = tally
        self._gid = gid
        self._content_type = content_type
        self._numbers: dict[Permissions, int] = {}
        self._permissions: dict[int, Permissions] = {}

    def __len__(self) -> int:
        return len(self._numbers)

    def find(self, permissions: Permissions) -> int:
        """Return the number of a view, `NOTHING` when nobody is shown it."""
        return self._numbers.get(permissions, NOTHING)

    def add(self, permissions: Permissions, shown: Shown | None) -> int:
        """Number a new view of a document (None: there is none) and let the table have it.

        Returns `NOTHING` when there are too many to have another.
        """
        number = FILTERED + len(self._numbers)
        if number in self._permissions or number >= MOST:
            self.sweep()
            free = (number for number in range(FILTERED, MOST) if number not in self._permissions)
            number = next(free, NOTHING)
        if number != NOTHING:
            self._numbers[permissions] = number
            self._permissions[number] = permissions
            self._set(number, shown)
        return number

    def sweep(self) -> None:
        """Drop the views that no row is shown any more."""
        for number, permissions in list(self._permissions.items()):
            if not self._table.view_rows(self._gid, number):
                self._table.set_body(self._gid, number, None)
                del self._permissions[number], self._numbers[permissions]

    def render(self, document: bytes) -> bool:
        """Let the table have each view of another document; return whether one of them is another by that."""
        self.sweep()
        if not self._numbers:
            return False
        shown = read(document)
        news = [number for number in self._permissions if self._set(number, shown)]
        return bool(news)

    def _set(self, number: int, shown: Shown | None) -> bool:
        if shown is None:
            return self._table.set_body(self._gid, number, None)
        self._tally.bodies["filtered"] += 1
        body = shown.render(self._permissions[number])
        return self._table.set_body(self._gid, number, tail(self._content_type, body))


def read(document: bytes) -> Shown | None:
    """Read a composed document for rendering it, None where there is none to be shown."""
    return Shown(document) if document else None
