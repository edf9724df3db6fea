"""The event template package winfo, and the state it notifies about (RFC 3857)."""

from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple, NoReturn

from presence.document import watcherinfo
from presence.errors import BadRequest
from presence.values import Aor, Publication, SubscriptionStatus, WatcherRecord

MAX_JOURNAL: Final = 4096

WINFO: Final = ".winfo"
"""What the name of a package has behind it where its watchers are meant."""

Shows = Callable[[WatcherRecord], bool]
"""Whether a subscriber may hear of a watcher."""


def nobody(record: WatcherRecord) -> bool:
    """Show none."""
    return False


def everybody(record: WatcherRecord) -> bool:
    """Show every watcher."""
    return True


class WatcherInfoPackage:
    """Watcher information on the subscriptions to another package (RFC 3857 section 4)."""

    content_type = "application/watcherinfo+xml"
    publishable: tuple[str, ...] = ()
    # RFC 3857 section 4.4: one hour.
    default_expires_s = 3600
    # The presentity alone may ask (RFC 3857 section 4.6); its rules about watchers of presence do not apply.
    authorised = False

    def __init__(self, base_name: str = "presence") -> None:
        self.name = base_name + WINFO
        self.watches = base_name

    def read(self, content_type: str, body: bytes) -> NoReturn:
        """Refuse: watcher information is observed by the notifier, never published."""
        raise BadRequest("Watcher Information Is Not Published")

    def compose(self, presentity: Aor, publications: Sequence[Publication]) -> bytes:
        """Return the document of a resource nobody watches.

        Each subscription counts its own versions, so bodies for NOTIFYs are made by `WatcherList`.
        """
        return watcherinfo.write(presentity.uri, self.watches, 0, "full", (), 0.0)


class _Change(NamedTuple):
    sequence: int
    appeared: int
    """The number that first told of this watcher; 0 when some subscriber may have known it before."""
    record: WatcherRecord


class WatcherList:
    """The watchers of one resource as its winfo subscribers have to learn of them.

    Changes are journalled once for all of them under a growing sequence number, one entry a watcher; each
    subscriber is told what changed since the number that came with its last document. It updates its table
    row by row (RFC 3858 section 4), so the newest record of a watcher says all.
    """

    def __init__(self, resource_uri: str, package: str) -> None:
        self._resource_uri = resource_uri
        self._package = package
        self._sequence = 0
        self._forgotten = 0
        # In the order of their sequence numbers: a new change moves to the end.
        self._journal: dict[str, _Change] = {}
        # Live watchers of which some document may have told.
        self._known: set[str] = set()

    @property
    def sequence(self) -> int:
        """The number of the latest change."""
        return self._sequence

    def changed(self, record: WatcherRecord) -> None:
        """Journal that a watcher entered its state (RFC 3857 section 4.7.1)."""
        self._sequence += 1
        earlier = self._journal.pop(record.id, None)
        if earlier is not None:
            appeared = earlier.appeared
        else:
            appeared = 0 if record.id in self._known else self._sequence
        self._journal[record.id] = _Change(self._sequence, appeared, record)
        if _is_terminated(record):
            self._known.discard(record.id)
        else:
            self._known.add(record.id)
        if len(self._journal) > MAX_JOURNAL:
            self.forget(next(iter(self._journal.values())).sequence)

    def has_news(self, since_sequence: int, shows: Shows = everybody) -> bool:
        """True when a partial document for a subscriber at that number would name a watcher it may hear of."""
        return since_sequence < self._forgotten or any(map(shows, self._since(since_sequence)))

    def body(
        self,
        since_sequence: int | None,
        version: int,
        watchers_now: Callable[[], Iterable[WatcherRecord]],
        now: float,
        shows: Shows = everybody,
    ) -> tuple[bytes, int]:
        """Return the next document for a subscriber, and the number it is at when it has it.

        Full state for None, that is for a new subscription, a refresh or a fetch (RFC 3857 section 4.7.2),
        and for a subscriber that fell behind what is still journalled; else partial: each watcher whose last
        change is later, once. Terminated watchers are named in partial state only.
        """
        if since_sequence is None or since_sequence < self._forgotten:
            live = [record for record in watchers_now() if not _is_terminated(record)]
            self._known.update(record.id for record in live)
            live = list(filter(shows, live))
            document = watcherinfo.write(self._resource_uri, self._package, version, "full", live, now)
        else:
            news = filter(shows, self._since(since_sequence))
            document = watcherinfo.write(self._resource_uri, self._package, version, "partial", news, now)
        return document, self._sequence

    def forget(self, up_to_sequence: int) -> None:
        """Drop changes up to a number that every subscriber has been told of."""
        while self._journal:
            oldest = next(iter(self._journal))
            if self._journal[oldest].sequence > up_to_sequence:
                break
            del self._journal[oldest]
        self._forgotten = max(self._forgotten, min(up_to_sequence, self._sequence))

    def _since(self, sequence: int) -> list[WatcherRecord]:
        news: list[WatcherRecord] = []
        for change in reversed(self._journal.values()):
            if change.sequence <= sequence:
                break
            # It came and went unseen: transient states are not told (RFC 3857 section 4.7.2).
            if not (_is_terminated(change.record) and change.appeared > sequence):
                news.append(change.record)
        news.reverse()
        return news


def _is_terminated(record: WatcherRecord) -> bool:
    return record.status is SubscriptionStatus.TERMINATED
