"""How many subscriptions there may be, in all and for one watcher, source address and presentity."""

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from presence._fastcore import Fanout, Message, Networks
from presence.errors import Forbidden, SipError, Unavailable
from presence.sip.headers import read_aor
from presence.sip.who import who_of
from presence.subscription.notify import Resource


class Most(NamedTuple):
    """The settings; 0 is no limit."""

    in_all: int = 0
    of_watcher: int = 0
    of_source: int = 0
    of_presentity: int = 0


class _Keys(NamedTuple):
    watcher: str | None
    source: str | None
    presentity: tuple[str, str, str] | None


class Quota:
    """Counts from before the commit until the end, and by what is limited only.

    Who asks for more than is his gets 403 (RFC 3261 section 21.4.4); 503 is for what the server as a whole cannot
    hold, since a proxy that gets it sends nothing more of anybody's for a while (section 21.5.4).
    """

    def __init__(self, table: Fanout, most: Most, trusted: Networks) -> None:
        self._table = table
        self._most = most
        self._trusted = trusted
        self._counts: Counter[object] = Counter()
        self._of: dict[int, _Keys] = {}

    @property
    def limiting(self) -> bool:
        """Whether anything is limited."""
        return any(self._most)

    @property
    def counting(self) -> bool:
        """Whether anything has to be counted here."""
        return any(self._most[1:])

    @property
    def most_of_watcher(self) -> int:
        """How many one watcher may have, 0 for any number."""
        return self._most.of_watcher

    def check(self, request: Message, package: str, username: str, domain: str) -> None:
        """Raise Forbidden or Unavailable when a subscription to the presentity would be one too many."""
        most = self._most
        if not self.limiting:
            return
        if most.in_all and len(self._table) >= most.in_all:
            raise Unavailable("Too Many Subscriptions")
        keys = self._keys(request, package, username, domain)
        for key, limit, whose in zip(keys, most[1:], ("Watcher", "Source", "Presentity"), strict=True):
            if key is not None and self._counts[key] >= limit:
                raise Forbidden(f"Too Many Subscriptions of One {whose}")

    def has_room(self, request: Message, package: str, username: str, domain: str) -> bool:
        """Say whether `check` passes."""
        try:
            self.check(request, package, username, domain)
        except SipError:
            return False
        return True

    def enter(self, slot: int, request: Message, package: str, username: str, domain: str) -> None:
        """Count a subscription."""
        if self.counting:
            self._enter(slot, self._keys(request, package, username, domain))

    def leave(self, slot: int) -> None:
        """Count a subscription no more; one that is not counted does not matter."""
        keys = self._of.pop(slot, None)
        for key in keys or ():
            if key is not None:
                self._counts[key] -= 1
                if not self._counts[key]:
                    del self._counts[key]

    def restore(self, resources: Iterable[Resource], sources: dict[int, str]) -> None:
        """Count what was loaded. A source is that of `sources` by slot, else the address NOTIFYs go to."""
        if not self.counting:
            return
        for resource in resources:
            for slot in self._table.group_slots(resource.gid):
                source = sources.get(slot) or self._table.target(slot)[0]
                try:
                    aor = read_aor(self._table.dialog(slot)[3].decode("utf-8", "surrogateescape"))
                    watcher = f"{aor.username}@{aor.domain}"
                except (SipError, ValueError):
                    watcher = ""
                self._enter(slot, self._limited(watcher, source, (resource.package.name, *resource.presentity)))

    def _keys(self, request: Message, package: str, username: str, domain: str) -> _Keys:
        watcher = who_of(request) if self._most.of_watcher else ""
        return self._limited(watcher, request.source[0], (package, username, domain))

    def _limited(self, watcher: str, source: str, presentity: tuple[str, str, str]) -> _Keys:
        most = self._most
        return _Keys(
            f"watcher {watcher}" if most.of_watcher else None,
            f"source {source}" if most.of_source and source not in self._trusted else None,
            presentity if most.of_presentity else None,
        )

    def _enter(self, slot: int, keys: _Keys) -> None:
        self._of[slot] = keys
        for key in keys:
            if key is not None:
                self._counts[key] += 1
