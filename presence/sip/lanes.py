"""Changes of one thing, one after the other, although each waits for its commit."""

from collections import deque
from collections.abc import Callable, Hashable


class Lanes:
    """Runs at most one change per key at a time; the others wait in the order they came.

    RFC 3903 section 6: PUBLISH requests with the same Request-URI are processed in the order received, each
    atomically. What a change reads from memory is therefore always committed state.
    """

    def __init__(self) -> None:
        self._waiting: dict[Hashable, deque[Callable[[], None]]] = {}

    def run(self, key: Hashable, change: Callable[[], None]) -> None:
        """Run `change` now when the lane is free, else when its turn comes; it ends with `leave(key)`."""
        waiting = self._waiting.get(key)
        if waiting is not None:
            waiting.append(change)
            return
        self._waiting[key] = deque()
        change()

    def leave(self, key: Hashable) -> None:
        """Free the lane and let the next change run."""
        waiting = self._waiting[key]
        if waiting:
            waiting.popleft()()
        else:
            del self._waiting[key]

    def __len__(self) -> int:
        return len(self._waiting)
