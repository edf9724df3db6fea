"""How many publications there may be, in all and for one source address and presentity."""

from collections import Counter
from typing import NamedTuple

from presence._fastcore import Message, Networks
from presence.errors import Forbidden, Unavailable

_PREFIX = "sip:"


class Most(NamedTuple):
    """The settings; 0 is no limit."""

    in_all: int = 0
    of_presentity: int = 64
    """And of one package."""
    of_source: int = 0


class Quota:
    """Counts by source from before the commit until the end, while that is limited.

    The source stands in the column `sender`, as the URI of a host, so that it is known after a restart.
    """

    def __init__(self, most: Most, trusted: Networks) -> None:
        self._most = most
        self._trusted = trusted
        self._counts: Counter[str] = Counter()
        self._of: dict[int, str] = {}

    def check(self, request: Message, held: int, in_all: int) -> None:
        """Raise Forbidden or Unavailable when one more publication would be too many.

        403 for who has more than is his, 503 for what the server as a whole cannot hold (RFC 3261 sections 21.4.4,
        21.5.4). `held` are those of the presentity and package.
        """
        most = self._most
        if most.of_presentity and held >= most.of_presentity:
            raise Forbidden("Too Many Publications")
        if most.in_all and in_all >= most.in_all:
            raise Unavailable("Too Many Publications")
        if most.of_source and self._counts[self.source(request)] >= most.of_source:
            raise Forbidden("Too Many Publications of One Source")

    def source(self, request: Message) -> str:
        """Return the source that a publication counts for, '' for none."""
        host = request.source[0] if self._most.of_source else ""
        return "" if host in self._trusted else host

    def sender(self, request: Message) -> str | None:
        """Return what the column `sender` says."""
        source = self.source(request)
        return _PREFIX + source if source else None

    def enter(self, number: int, source: str) -> None:
        """Count a publication."""
        if source:
            self._of[number] = source
            self._counts[source] += 1

    def restore(self, number: int, sender: object) -> None:
        """Count a publication that was loaded."""
        if self._most.of_source and isinstance(sender, str):
            self.enter(number, sender.removeprefix(_PREFIX))

    def leave(self, number: int) -> None:
        """Count a publication no more."""
        source = self._of.pop(number, "")
        if source:
            self._counts[source] -= 1
            if not self._counts[source]:
                del self._counts[source]
