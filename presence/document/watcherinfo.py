"""Writing watcher information documents (RFC 3858)."""

from collections.abc import Iterable
from typing import Final, Literal

from presence.document.xml import escape
from presence.values import SubscriptionStatus, WatcherEvent, WatcherRecord

WATCHERINFO: Final = "urn:ietf:params:xml:ns:watcherinfo"

# The words of the schema are the names in lower case (RFC 3858 section 6).
STATUS_WORDS: Final = {status: status.name.lower() for status in SubscriptionStatus}
EVENT_WORDS: Final = {event: event.name.lower() for event in WatcherEvent}

_LIVE = frozenset((SubscriptionStatus.ACTIVE, SubscriptionStatus.PENDING))
_LONGEST_S = 2**32 - 1


def write(
    resource_uri: str,
    package: str,
    version: int,
    state: Literal["full", "partial"],
    records: Iterable[WatcherRecord],
    now: float,
) -> bytes:
    """Return the document about the watchers of one resource (RFC 3858 section 3)."""
    watchers = "".join([_watcher(record, now) for record in records])
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<watcherinfo xmlns="{WATCHERINFO}" version="{version}" state="{state}">'
        f'<watcher-list resource="{escape(resource_uri)}" package="{escape(package)}">'
        f"{watchers}</watcher-list></watcherinfo>"
    ).encode()


def _watcher(record: WatcherRecord, now: float) -> str:
    display_name = f' display-name="{escape(record.display_name)}"' if record.display_name else ""
    # A waiting or terminated subscription has nothing left that could expire.
    expiration = f' expiration="{_seconds(record.expires_at - now)}"' if record.status in _LIVE else ""
    return (
        f'<watcher id="{escape(record.id)}" status="{STATUS_WORDS[record.status]}"'
        f' event="{EVENT_WORDS[record.event]}"{display_name}{expiration}'
        f' duration-subscribed="{_seconds(now - record.subscribed_at)}">{escape(record.uri)}</watcher>'
    )


def _seconds(duration_s: float) -> int:
    return int(min(max(duration_s, 0.0), _LONGEST_S))
