"""Running subscriptions as watcher information describes them (RFC 3858 section 4.2)."""

import hashlib

from presence._fastcore import Fanout
from presence.sip.headers import NameAddr, parse_name_addr
from presence.values import Aor, SubscriptionStatus, WatcherEvent, WatcherRecord


def name_subscription(call_id: bytes, watcher_tag: bytes, our_tag: bytes, event_id: bytes) -> str:
    """Return the id of a subscription.

    Stable over a restart, and tells nobody the tags by which the dialog could be spoken into.
    """
    return hashlib.blake2b(b"\0".join((call_id, watcher_tag, our_tag, event_id)), digest_size=8).hexdigest()


class Watching:
    """Makes records of rows of the watcher table."""

    def __init__(self, table: Fanout) -> None:
        self._table = table
        self.shown: dict[int, Aor] = {}
        """By first slot of a dialog: whom watcher information names as its watcher in place of From."""
        self._approved: set[int] = set()
        """Those that were pending once in this start of the server; of the others nobody says it."""

    def entered(self, slot: int, event: WatcherEvent | None) -> None:
        """Know by which event a subscription came into its state."""
        if event is WatcherEvent.APPROVED:
            self._approved.add(slot)
        elif self._approved:
            self._approved.discard(slot)

    def forget(self, slot: int) -> None:
        """Drop what is known of a subscription that has ended."""
        if self._approved:
            self._approved.discard(slot)

    def record(
        self, slot: int, status: SubscriptionStatus | None = None, event: WatcherEvent | None = None
    ) -> WatcherRecord:
        """Describe a subscription."""
        facts = self._table.facts(slot)
        parts = self._table.dialog(slot)
        address = parse_name_addr(parts[3].decode("utf-8", "surrogateescape"))
        shown = self.shown.get(facts.owner)
        if shown is not None:
            address = NameAddr("", shown.uri, {})
        if status is None:
            status = SubscriptionStatus.PENDING if facts.pending else SubscriptionStatus.ACTIVE
        if event is None:
            event = WatcherEvent.APPROVED if slot in self._approved else WatcherEvent.SUBSCRIBE
        name = name_subscription(parts[5], parts[4], parts[7], parts[6])
        return WatcherRecord(name, address.uri, address.display, status, event, facts.subscribed_at, facts.expires_at)
