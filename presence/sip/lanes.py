"""Changes of one thing, one after the other, although each waits for its commit."""

from collections import deque
from collections.abc import Callable, Hashable

from presence.errors import Unavailable

MAX_WAITING = 1000
"""Changes of one thing that may wait; more are refused, so that nobody fills the memory through one lane."""

Change = Callable[[], None]


class _Queue:
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
        self.taken: dict[Hashable, _Queue | None] = {}
        """The lanes that are taken; None for one that nobody waits in, which most changes have to themselves."""

    def enter(self, key: Hashable) -> bool:
        """Take the lane when it is free, and say so; it is given back by `leave(key)`."""
        if key in self.taken:
            return False
        self.taken[key] = None
        return True

    def wait(self, key: Hashable, change: Change, *, bounded: bool = True) -> None:
        """Run `change` when its turn comes, in a lane that `enter` found taken; it ends with `leave(key)`.

        Raises `Unavailable` when too many wait already; what must happen (an expiry) is not `bounded`.
        """
        queue = self.taken[key]
        if queue is None:
            queue = self.taken[key] = _Queue()
        if bounded and len(queue.waiting) >= MAX_WAITING:
            raise Unavailable("Too Many Requests for One Resource")
        queue.waiting.append(change)

    def run(self, key: Hashable, change: Change, *, bounded: bool = True) -> None:
        """Run `change` now when the lane is free, else when its turn comes (see `wait`)."""
        if self.enter(key):
            change()
        else:
            self.wait(key, change, bounded=bounded)

    def leave(self, key: Hashable) -> None:
        """Free the lane and let the next change run."""
        queue = self.taken[key]
        if queue is None:
            del self.taken[key]
            return
        queue.free = True
        if queue.running:
            # Called by a change that was done at once: the loop below goes on, not a deeper call.
            return
        queue.running = True
        while queue.free and queue.waiting:
            queue.free = False
            queue.waiting.popleft()()
        queue.running = False
        if queue.free:
            del self.taken[key]

    def __len__(self) -> int:
        return len(self.taken)
