"""Bodies that each subscriber has of its own: with its own version, partial state, or of what it asked for."""

from collections.abc import Iterable, Mapping

from presence._fastcore import Fanout
from presence.events.package import Listener, Narrator, Recalling
from presence.sip.headers import read_aor
from presence.values import Aor

PART_URI, PART_REMOTE = 0, 3
"""Where `Fanout.dialog` has the watcher's Contact and From."""


class Individual:
    """Knows how far each of them is, and hands the watcher table its next document when that asks for it."""

    def __init__(self, table: Fanout) -> None:
        self._table = table
        self._told: dict[int, tuple[int, object | None]] = {}
        """By slot the version sent last, and what it told of (`Narrator`)."""
        self.selections: dict[int, bytes] = {}
        """By slot what is kept of its SUBSCRIBE, where its package keeps something (`Selecting`)."""
        self.asserted: Mapping[int, Aor] = {}
        """By first slot of a dialog: its watcher, where From names another."""

    def offer(self, slot: int, narrator: Narrator, content_type: str, now: float) -> bool:
        """Hand a row its next document, if it can be sent and there is news; otherwise the row asks again.

        Return whether it was handed one.
        """
        table = self._table
        if not table.ready(slot):
            return False
        version, reached = self._told.get(slot, (-1, None))
        listener = self.listener(slot)
        final = table.state(slot) == "terminated"
        if not final and not narrator.has_news(reached, listener):
            table.settle(slot)
            return False
        body, reached = narrator.tell(reached, version + 1, listener, now)
        if final:
            self._told.pop(slot, None)
        else:
            self._told[slot] = (version + 1, reached)
        table.notify_row(slot, tail(content_type, body))
        return True

    def listener(self, slot: int) -> Listener:
        """Describe the subscriber."""
        return Listener(
            slot,
            self._table.facts(slot).view,
            lambda: self._watcher(slot),
            self.selections.get(slot, b""),
            contact=lambda: self._part(slot, PART_URI),
        )

    def _watcher(self, slot: int) -> Aor:
        asserted = self.asserted.get(self._table.facts(slot).owner)
        return asserted or read_aor(self._part(slot, PART_REMOTE))

    def _part(self, slot: int, part: int) -> str:
        return self._table.dialog(slot)[part].decode("utf-8", "surrogateescape")

    def reached(self, slots: Iterable[int]) -> list[object | None]:
        """Return how far those are that have been told something."""
        return [self._told[slot][1] for slot in slots if slot in self._told]

    def again(self, slot: int) -> None:
        """Tell a subscriber everything next: it has just asked, or did not take its last document."""
        version, _ = self._told.get(slot, (-1, None))
        self._told[slot] = (version, None)

    def lost(self, slot: int, narrator: Narrator | None) -> None:
        """Note that the watcher did not take its last document: partial state would lack what was in it."""
        if slot in self._told:
            version, reached = self._told[slot]
            self._told[slot] = (version, narrator.lost(reached) if isinstance(narrator, Recalling) else None)

    def restore_version(self, slot: int, version: int) -> None:
        """Go on above every version sent before a restart, with full state."""
        self._told[slot] = (version, None)

    def forget(self, slot: int) -> None:
        """Drop what is known of a row that is free."""
        self._told.pop(slot, None)
        self.selections.pop(slot, None)


def whole_tail(content_type: str, body: bytes) -> bytes | None:
    """Return what a NOTIFY has behind Subscription-State, None when it has no body."""
    return tail(content_type, body) if body else None


def tail(content_type: str, body: bytes) -> bytes:
    """Return what a NOTIFY has behind Subscription-State."""
    return b"Content-Type: %s\r\nContent-Length: %d\r\n\r\n%s" % (content_type.encode(), len(body), body)
