"""The event template package winfo, and the state it notifies about (RFC 3857)."""

from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple, NoReturn

from presence.document import watcherinfo
from presence.errors import BadRequest, SipError
from presence.events.package import Listener
from presence.policy.decision import OWN, WHOLE
from presence.sip.headers import parse_uri
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

    def narrate(self, presentity: Aor, source: Callable[[], Iterable[WatcherRecord]]) -> "WatcherList":
        """Return the list of a resource's watchers."""
        return WatcherList(presentity.uri, self.watches, source)


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

    def __init__(
        self, resource_uri: str, package: str, watchers_now: Callable[[], Iterable[WatcherRecord]] = tuple
    ) -> None:
        self._resource_uri = resource_uri
        self._package = package
        self._watchers_now = watchers_now
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
            self.forget_up_to(next(iter(self._journal.values())).sequence)

    def has_news(self, reached: object | None, listener: Listener) -> bool:
        """True when a partial document for a subscriber at that number would name a watcher it may hear of."""
        shows = self._shows(listener)
        if shows is nobody or not isinstance(reached, int):
            return shows is not nobody
        return reached < self._forgotten or any(map(shows, self._since(reached)))

    def tell(self, reached: object | None, version: int, listener: Listener, now: float) -> tuple[bytes, int]:
        """Return the next document for a subscriber, and the number it is at when it has it.

        Full state for None, that is for a new subscription, a refresh or a fetch (RFC 3857 section 4.7.2),
        and for a subscriber that fell behind what is still journalled; else partial: each watcher whose last
        change is later, once. Terminated watchers are named in partial state only.
        """
        shows = self._shows(listener)
        if not isinstance(reached, int) or reached < self._forgotten:
            live = [record for record in self._watchers_now() if not _is_terminated(record)]
            self._known.update(record.id for record in live)
            live = list(filter(shows, live))
            document = watcherinfo.write(self._resource_uri, self._package, version, "full", live, now)
        else:
            news = filter(shows, self._since(reached))
            document = watcherinfo.write(self._resource_uri, self._package, version, "partial", news, now)
        return document, self._sequence

    def forget(self, reached: Iterable[object | None]) -> None:
        """Drop changes up to a number that every subscriber has been told of."""
        self.forget_up_to(min((at for at in reached if isinstance(at, int)), default=self._sequence))

    def forget_up_to(self, sequence: int) -> None:
        """Drop changes up to a number; a subscriber that is not so far is told everything."""
        while self._journal:
            oldest = next(iter(self._journal))
            if self._journal[oldest].sequence > sequence:
                break
            del self._journal[oldest]
        self._forgotten = max(self._forgotten, min(sequence, self._sequence))

    def _shows(self, listener: Listener) -> Shows:
        """Return which watchers a subscriber may hear of (RFC 3857 section 4.6)."""
        if listener.view == WHOLE:
            return everybody
        if listener.view != OWN:
            return nobody
        own = listener.watcher()
        return lambda record: _is_address(record.uri, own)

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


def _is_address(uri: str, own: Aor) -> bool:
    try:
        return parse_uri(uri).aor() == own
    except (SipError, ValueError):
        return False
