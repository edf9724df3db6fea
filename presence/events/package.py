"""What the framework asks of an event package (RFC 6665 section 5); it knows none by name."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple, Protocol, runtime_checkable

from presence._fastcore import Message
from presence.values import Aor, Publication


class EventPackage(Protocol):
    """An event package whose state is published and composed."""

    name: str
    """The token of the Event header."""
    content_type: str
    """The type of NOTIFY bodies, and the default of Accept."""
    publishable: tuple[str, ...]
    """Body types PUBLISH may carry, lower case, best first; empty when nobody may publish."""
    default_expires_s: int
    authorised: bool
    """True when the privacy policy decides about each watcher (`Withholding`)."""
    watches: str
    """For a template package such as presence.winfo the package whose watchers are its state, else ''."""

    def __hash__(self) -> int:
        """There is one of each, which stays what it is as long as the server runs."""

    def read(self, content_type: str, body: bytes) -> object:
        """Check a published body and return what `compose` wants to have of it.

        Raises `BadRequest` (with a reason phrase that says what is wrong) when the body is malformed.
        """

    def compose(self, presentity: Aor, publications: Sequence[Publication]) -> bytes:
        """Return the document of a presentity; `publications` are oldest first and may be empty."""


@runtime_checkable
class Withholding(Protocol):
    """What an event package has beside when it has something to say to watchers that may not see the document."""

    def withhold(self, presentity: Aor, *, pending: bool) -> bytes:
        """Return what a watcher is shown that waits for approval (`pending`), or that must not know it is blocked."""


@runtime_checkable
class Absorbing(Protocol):
    """What an event package has beside when a publication is not simply replaced by the body of a PUBLISH."""

    def absorb(self, old: object | None, body: bytes) -> bytes:
        """Return the body that is held of it; `old` is what was read of the publication's body before, None at first.

        Raises `BadRequest`.
        """


@runtime_checkable
class Addressing(Protocol):
    """What an event package has beside when a SUBSCRIBE says otherwise than by its Request-URI whom it asks about."""

    def subscribed(self, request: Message, home: str) -> Aor:
        """Return the presentity; raises `BadRequest`. `home` stands for a domain that is not named."""


@runtime_checkable
class Sparing(Protocol):
    """What an event package has beside when who publishes may be a subscriber that needs no NOTIFY of it."""

    def sender(self, request: Message) -> str:
        """Return the Contact URI of that subscriber, '' for none."""


@runtime_checkable
class Selecting(Protocol):
    """What an event package has beside when subscribers choose what they are told (RFC 6665 section 5.4.3)."""

    selectable: tuple[str, ...]
    """Types of bodies that SUBSCRIBE may carry, lower case."""

    def select(self, parameters: Mapping[str, str], body: bytes, kept: bytes) -> bytes:
        """Return what to keep of a SUBSCRIBE as `Listener.selection`, over restarts too; raises SipError.

        `parameters` are those of Event, names in lower case; `body` is b"" when there is none; `kept` is what was
        kept of the subscription so far.
        """


@runtime_checkable
class Parting(Protocol):
    """What an event package has beside when watchers are told once how a publication ended."""

    def parting(self, presentity: Aor, document: object) -> object | None:
        """Return what stands for a publication that has just ended in the next document, None for nothing."""


class Listener(NamedTuple):
    """One subscriber of a resource whose subscribers each have documents of their own."""

    slot: int
    """Names its subscription."""
    view: int
    """What the policy lets it see (`policy.decision`)."""
    watcher: Callable[[], Aor]
    selection: bytes = b""
    """What was kept of its SUBSCRIBE (`Selecting`)."""
    contact: Callable[[], str] = str
    """Where its NOTIFYs go: the Contact URI of its SUBSCRIBE."""


class Narrator(Protocol):
    """The state of one resource as each of its subscribers has to learn of it.

    How far a subscriber is (`reached`) is the narrator's own matter; None is where it has to be told everything: a
    new subscription, a refresh, a fetch, or one that did not take its last document.
    """

    def has_news(self, reached: object | None, listener: Listener) -> bool:
        """Whether there is something to tell a subscriber that is so far."""

    def tell(self, reached: object | None, version: int, listener: Listener, now: float) -> tuple[bytes, object]:
        """Return its next document, and how far it is when it has it; `version` grows by one with each."""

    def forget(self, reached: Iterable[object | None]) -> None:
        """Drop what all subscribers, which are so far, have been told of."""


@runtime_checkable
class Recalling(Protocol):
    """What a narrator has beside when it minds that a document was lost."""

    def lost(self, reached: object | None) -> object | None:
        """Return how far a subscriber is that did not take its last document, told or not."""


@runtime_checkable
class Pointing(Protocol):
    """What a narrator has beside when it knows whom a change concerns."""

    def concerned(self) -> list[int] | None:
        """Return the slots of the subscribers there may be news for since the last call; None: it may be anybody."""


@runtime_checkable
class Heeding(Protocol):
    """What an event package has beside when a publication means more than its state."""

    def heed(self, presentity: Aor, document: object) -> None:
        """Hear of each publication accepted, after its commit, also of one that expires at once; raises StoreError.

        `document` is what `read` returned. A mere refresh is none.
        """


@runtime_checkable
class Paced(Protocol):
    """What an event package has beside when its RFC bounds the rate of NOTIFYs."""

    interval_s: float
    """How long after changes were told the next wait."""


@runtime_checkable
class Narrating(Protocol):
    """What an event package has beside when its subscribers each have documents of their own."""

    def narrate(self, presentity: Aor, source: Callable[[], Iterable[Any]]) -> Narrator:
        """Return the narrator of a resource, made when it gets its first subscription.

        `source` returns what its state is made of: the running watchers (`WatcherRecord`) for a template package,
        else the publications, oldest first.
        """


# To look whether a package has something beside costs ten microseconds; packages are few, and stay as they are.
_KNOWN: Final = 64


@lru_cache(_KNOWN)
def absorbing(package: EventPackage) -> Absorbing | None:
    """Return the package as one that absorbs what is published, None when it is none."""
    return package if isinstance(package, Absorbing) else None


@lru_cache(_KNOWN)
def addressing(package: EventPackage) -> Addressing | None:
    """Return the package as one that says whom a SUBSCRIBE asks about, None when it is none."""
    return package if isinstance(package, Addressing) else None


@lru_cache(_KNOWN)
def sparing(package: EventPackage) -> Sparing | None:
    """Return the package as one that knows who needs no NOTIFY, None when it is none."""
    return package if isinstance(package, Sparing) else None


@lru_cache(_KNOWN)
def selecting(package: EventPackage) -> Selecting | None:
    """Return the package as one whose subscribers choose, None when it is none."""
    return package if isinstance(package, Selecting) else None


@lru_cache(_KNOWN)
def parting(package: EventPackage) -> Parting | None:
    """Return the package as one that tells of what has ended, None when it is none."""
    return package if isinstance(package, Parting) else None


@lru_cache(_KNOWN)
def paced(package: EventPackage) -> Paced | None:
    """Return the package as one whose NOTIFYs have a pace, None when it is none."""
    return package if isinstance(package, Paced) else None


@lru_cache(_KNOWN)
def narrating(package: EventPackage) -> Narrating | None:
    """Return the package as one whose subscribers each have documents of their own, None when it is none."""
    return package if isinstance(package, Narrating) else None
