"""How long a change waits for its commit: one of each few is timed on its way."""

from collections.abc import Callable

from presence.errors import StoreError
from presence.store.base import Done


class Lag:
    """Times a probe that goes with what a tick submits; one is on its way while anything is."""

    def __init__(self, most_s: float, clock: Callable[[], float]) -> None:
        """Be `over` when a probe is out for longer than `most_s`, never with 0."""
        self.over = False
        """Whether new changes are to be refused, as of the last `look`."""
        self._most_s = most_s
        self._clock = clock
        self._since: float | None = None

    @property
    def seconds(self) -> float:
        """How long the probe has been out, 0 when none is."""
        return 0.0 if self._since is None else self._clock() - self._since

    def ride(self, dones: list[tuple[int, Done]]) -> None:
        """Send a probe with a tick when none is out."""
        if self._since is None:
            self._since = self._clock()
            dones.append((0, self._landed))

    def look(self) -> None:
        """Decide about the changes until the next look."""
        self.over = 0.0 < self._most_s < self.seconds

    def _landed(self, error: StoreError | None) -> None:
        self._since = None
        self.over = False
