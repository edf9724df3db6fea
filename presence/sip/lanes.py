"""Changes of one thing, one after the other, although each waits for its commit."""

from collections import deque
from collections.abc import Callable, Hashable

from presence.errors import Unavailable

MAX_WAITING = 1000
"""Changes of one thing that may wait; more are refused, so that nobody fills the memory through one lane."""

Change = Callable[[], None]


class _Lane:
    __slots__ = ("free", "running", "waiting")

    def __init__(self) -> None:
        self.free = False
        self.running = False
        self.waiting: deque[Change] = deque()


class Lanes:
    """Runs at most one change per key at a time; the others wait in the order they came.

    RFC 3903 section 6: PUBLISH requests with the same Request-URI are processed in the order received, each
    atomically. What a change reads from memory is therefore always committed state.
    """

    def __init__(self) -> None:
        self._lanes: dict[Hashable, _Lane] = {}

    def run(self, key: Hashable, change: Change, *, bounded: bool = True) -> None:
        """Run `change` now when the lane is free, else when its turn comes; it ends with `leave(key)`.

        Raises `Unavailable` when too many wait already; what must happen (an expiry) is not `bounded`.
        """
        lane = self._lanes.get(key)
        if lane is None:
            self._lanes[key] = _Lane()
            change()
        elif bounded and len(lane.waiting) >= MAX_WAITING:
            raise Unavailable("Too Many Requests for One Resource", (("Retry-After", "5"),))
        else:
            lane.waiting.append(change)

    def leave(self, key: Hashable) -> None:
        """Free the lane and let the next change run."""
        lane = self._lanes[key]
        lane.free = True
        if lane.running:
            # Called by a change that was done at once: the loop below goes on, not a deeper call.
            return
        lane.running = True
        while lane.free and lane.waiting:
            lane.free = False
            lane.waiting.popleft()()
        lane.running = False
        if lane.free:
            del self._lanes[key]

    def __len__(self) -> int:
        return len(self._lanes)
