"""Values that several rooms speak of."""

from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple


class Aor(NamedTuple):
    """An address of record, canonical: user part unescaped, host in lower case, no port or parameters.

    A telephone number of no domain has '' for its domain.
    """

    username: str
    domain: str

    @property
    def uri(self) -> str:
        """The SIP URI, or tel for a number of no domain, as the database and documents spell it."""
        if not self.domain:
            return f"tel:{self.username}"
        return f"sip:{self.username}@{self.domain}" if self.username else f"sip:{self.domain}"


class SubscriptionStatus(IntEnum):
    """States of a subscription, with the numbers of the column `status` (RFC 3857 section 4.7.1)."""

    ACTIVE = 1
    PENDING = 2
    TERMINATED = 3
    WAITING = 4


@dataclass(slots=True)
class Publication:
    """The event state one user agent published (RFC 3903 section 4)."""

    received_at: float
    order: int
    content_type: str
    body: bytes
    document: object
    """What the event package made of the body, once (`EventPackage.read`)."""
    row_id: int = 0
    """Names its row in the database."""
    number: int = 0
    """Names it among the entity-tags."""
    resource: tuple[str, Aor] | None = None
    """Package and presentity while it is held."""
    foreign: str | None = None
    """Its entity-tag while that is one of an earlier start."""
    sender: str = ""
    """Contact URI of the subscriber that is to hear nothing of it, '' for none (the column `sender`)."""

    def adopt(self, new: "Publication") -> None:
        """Take over the event state of a modification."""
        self.received_at, self.order = new.received_at, new.order
        self.content_type, self.body, self.document = new.content_type, new.body, new.document
        self.sender = new.sender


class WatcherEvent(IntEnum):
    """Why a watcher's subscription changed state (RFC 3858 section 4.2.3)."""

    SUBSCRIBE = 0
    APPROVED = 1
    DEACTIVATED = 2
    PROBATION = 3
    REJECTED = 4
    TIMEOUT = 5
    GIVEUP = 6
    NORESOURCE = 7


class WatcherRecord(NamedTuple):
    """One watcher of one resource, as watcher information shows it (RFC 3858 section 4.2)."""

    id: str
    """Unique and stable for the life of the subscription."""
    uri: str
    display_name: str
    status: SubscriptionStatus
    event: WatcherEvent
    subscribed_at: float
    expires_at: float
