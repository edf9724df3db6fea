"""Planned shutdown: every subscription is ended as `deactivated`, evenly over a time (RFC 6665 section 4.4.2).

Watchers subscribe again at once, to whichever server then takes them: all at the same time they would be a storm.
"""

from math import inf

from presence.subscription.ending import Ending
from presence.subscription.machine import Input
from presence.subscription.notify import Notify

LOOK_AGAIN_S = 1.0


class Migration:
    """Nothing until it begins; each end is committed before its watcher is told, so it may be cut off anywhere."""

    def __init__(self, notify: Notify, ending: Ending) -> None:
        self._notify = notify
        self._ending = ending
        self._slots: list[int] = []
        self._ended = 0
        self._began_at = inf
        self._over_s = 0.0
        self._look_again_at = inf

    def begin(self, now: float, over_s: float) -> None:
        """End what runs now, spread evenly over so many seconds; nothing new may be accepted from now on."""
        # Those to watcher information first: each of the other ends would be news to them.
        self._slots = self._notify.running()
        self._ended = 0
        self._began_at, self._over_s = now, over_s
        self._look_again_at = now + over_s + LOOK_AGAIN_S

    @property
    def done(self) -> bool:
        """True when it has begun and nothing runs any more."""
        return self._began_at < inf and self._ended == len(self._slots) and not self._notify.counts()

    def tick(self, now: float) -> None:
        """End those whose turn has come."""
        if now < self._began_at:
            return
        share = min(1.0, (now - self._began_at) / self._over_s) if self._over_s else 1.0
        due = int(len(self._slots) * share)
        for slot in self._slots[self._ended : due]:
            self._ending.end(slot, Input.DEACTIVATED, now)
        self._ended = due
        if now >= self._look_again_at:
            # Those whose SUBSCRIBE was on its way when this began.
            self._look_again_at = now + LOOK_AGAIN_S
            for slot in self._notify.running():
                self._ending.end(slot, Input.DEACTIVATED, now)
