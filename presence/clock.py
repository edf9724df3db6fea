"""The one clock: epoch seconds that never step back."""

import time
from typing import Protocol


class Clock(Protocol):
    """Where time comes from."""

    def now(self) -> float:
        """Return epoch seconds, never less than what an earlier call returned."""


class SystemClock:
    """Wall-clock seconds taken once at start and carried on by the monotonic clock.

    One time line serves both deadlines and the absolute seconds of the database columns, and an
    operator who sets the machine's clock back cannot make a retransmission wait for an hour.
    """

    def __init__(self) -> None:
        self._offset_s = time.time() - time.monotonic()

    def now(self) -> float:
        """Return epoch seconds, never less than what an earlier call returned."""
        return time.monotonic() + self._offset_s
