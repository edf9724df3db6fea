"""How long a subscription may be pending (the giveup timer of RFC 3857 section 4.7.1)."""

from heapq import heappop, heappush
from math import inf

from presence._fastcore import Fanout


class GiveUp:
    """Knows since when subscriptions are pending, and remembers those whose time comes before their next refresh."""

    def __init__(self, table: Fanout, after_s: float = inf) -> None:
        self._table = table
        self._after_s = after_s
        self.now = 0.0
        self._since: dict[int, float] = {}
        """Those that were not pending from their first SUBSCRIBE on."""
        self._due: list[tuple[float, int, int]] = []
        """When, slot, and the number of its row, for the slot may be another's by then."""
        self._watched: dict[int, tuple[float, int, int]] = {}

    def since(self, slot: int) -> float:
        """Return when a subscription became pending."""
        since = self._since.get(slot)
        return float(self._table.facts(slot).subscribed_at) if since is None else since

    def at(self, slot: int) -> float:
        """Return when a pending subscription is given up."""
        return self.since(slot) + self._after_s

    def is_over(self, slot: int, now: float) -> bool:
        """Whether it has been pending for long enough."""
        return now >= self.at(slot)

    def begin(self, slot: int, now: float) -> None:
        """Start the timer of a subscription that was active, or whose past is not known."""
        self._since[slot] = now

    def watch(self, slot: int) -> None:
        """Remember to give a subscription up, if it is pending and neither ends nor is refreshed before."""
        facts = self._table.facts(slot)
        if not facts.pending:
            self.forget(slot)
            return
        entry = (self.at(slot), slot, facts.row_id)
        if entry[0] < facts.expires_at and self._watched.get(slot) != entry:
            self._watched[slot] = entry
            heappush(self._due, entry)

    def forget(self, slot: int) -> None:
        """Drop what is known of a subscription that is not pending any more."""
        if self._since:
            self._since.pop(slot, None)
        if self._watched:
            self._watched.pop(slot, None)

    def take(self, now: float) -> list[int]:
        """Return those whose time has come."""
        due: list[int] = []
        while self._due and self._due[0][0] <= now:
            entry = heappop(self._due)
            slot = entry[1]
            if self._watched.get(slot) == entry:
                del self._watched[slot]
                if self._table.state(slot) == "pending":
                    due.append(slot)
        return due
