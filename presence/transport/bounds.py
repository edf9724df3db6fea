"""How many connections are held, and how long a peer may owe what it has begun."""

from collections import Counter
from collections.abc import Hashable
from ipaddress import IPv6Address
from typing import Generic, TypeVar

Owing = TypeVar("Owing", bound=Hashable)

_FLOWS = 0xFFFFFFFE


class Bounds:
    """Counts the connections of all listeners together, by source, and gives each its number."""

    def __init__(self, most: int, most_per_source: int) -> None:
        self._most = most
        self._most_per_source = most_per_source
        self._held = 0
        self._by_source: Counter[str] = Counter()
        self._last_flow = 0

    def refusal(self, host: str) -> str:
        """Return why no connection more is taken from that address, as drops are counted; '' when it is."""
        if self._held >= self._most:
            return "too many connections"
        if self._by_source[source_of(host)] >= self._most_per_source:
            return "too many connections from one source"
        return ""

    def take(self, host: str) -> int:
        """Count a connection, and return its number: unique among all listeners, since rows compare it alone."""
        self._held += 1
        self._by_source[source_of(host)] += 1
        self._last_flow = self._last_flow % _FLOWS + 1
        return self._last_flow

    def drop(self, host: str) -> None:
        """Count a connection no more."""
        source = source_of(host)
        self._held -= 1
        self._by_source[source] -= 1
        if not self._by_source[source]:
            del self._by_source[source]

    def __len__(self) -> int:
        return self._held


def source_of(host: str) -> str:
    """Return what counts as one source: an IPv4 address, or the /64 that whoever has one IPv6 address has whole."""
    if ":" not in host:
        return host
    return str(IPv6Address(int(IPv6Address(host.partition("%")[0])) >> 64 << 64))


class Patience(Generic[Owing]):
    """Who owes something since when; all have equally long, so the first of them is the first to be late."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._since: dict[Owing, float] = {}

    def begin(self, owing: Owing, now: float) -> None:
        """Wait from now on."""
        self._since.pop(owing, None)
        self._since[owing] = now

    def end(self, owing: Owing) -> None:
        """Wait no longer."""
        self._since.pop(owing, None)

    def take_late(self, now: float) -> list[Owing]:
        """Return, and forget, who owes it for too long."""
        late = []
        for owing, since in self._since.items():
            if now - since < self.seconds:
                break
            late.append(owing)
        for owing in late:
            del self._since[owing]
        return late

    def __len__(self) -> int:
        return len(self._since)
