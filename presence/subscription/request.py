"""What a SUBSCRIBE asks for, checked against what may be had, and on its way through the commit."""

from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network
from typing import Literal, NamedTuple

from presence._fastcore import Message
from presence.errors import IntervalTooBrief, NotAcceptable
from presence.events.package import EventPackage, selecting
from presence.policy.decision import Decision
from presence.policy.watcherinfo import WatcherAccess
from presence.sip.content import read_body
from presence.sip.endpoint import ServerTransaction
from presence.sip.headers import parse_accept, parse_token_params
from presence.subscription.aiming import Aiming
from presence.subscription.dialog import Dialog, Target
from presence.values import Aor, WatcherRecord

HOUR_S = 3600

LAST_INSTANT = 2**32 - 1
"""The latest epoch second the watcher table can hold."""


@lru_cache(256)
def _accepts(content_type: str, accept: tuple[str, ...]) -> bool:
    """Whether Accept values take a type; there are about as many lists of them as there are kinds of clients."""
    ranges = parse_accept(accept)
    # The most specific range decides (RFC 3261 section 20.1).
    for media in (content_type, f"{content_type.partition('/')[0]}/*", "*/*"):
        weights = [q for named, q in ranges if named == media]
        if weights:
            return max(weights) > 0
    return False


class Acceptance(NamedTuple):
    """How SUBSCRIBE requests are accepted."""

    begun: str = ""
    """Header lines of a 200 that begins a dialog, beside Expires and Contact (RFC 6665 section 4.4.4)."""
    refreshed: str = ""
    """Header lines of the others."""
    answer_202: Literal["never", "pending", "always"] = "never"
    """When the answer is 202, as RFC 3265 had it and RFC 6665 section 8.3.1 forbids."""


class Limits(NamedTuple):
    """What a subscription may be."""

    min_expires_s: int
    max_expires_s: int
    expires_offset_s: int
    aiming: Aiming
    domains: frozenset[str]
    home: str = ""
    """The domain of telephone numbers that name none."""
    acceptance: Acceptance = Acceptance()
    trusted: tuple[IPv4Network | IPv6Network, ...] = ()
    """Networks of those who may name any Contact address."""
    unproven_per_target: int = 10
    access: WatcherAccess = WatcherAccess()
    """Who may have watcher information of others."""


class Draft(NamedTuple):
    """A subscription on its way through the commit."""

    transaction: ServerTransaction
    package: EventPackage
    presentity: Aor
    dialog: Dialog
    watcher: Aor
    decision: Decision
    target: Target
    slot: int
    owner: int
    expires_s: int
    row_id: int
    """0 for a fetch, which is not stored."""
    until: int
    now: float
    own_contact: str
    """Our Contact where the watcher table does not make it."""
    selection: bytes
    """What is kept of the request (`Selecting`)."""
    waited: WatcherRecord | None = None
    """The watcher's earlier subscription that waits for a decision until this one is stored."""


class Renewal(NamedTuple):
    """A refresh on its way through the commit."""

    transaction: ServerTransaction
    slot: int
    owner: int
    dialog: Dialog
    target: Target
    decision: Decision
    expires_s: int
    until: int
    mark: int
    """CSeq numbers reserved with it."""
    selection: bytes
    """What is kept of the request (`Selecting`)."""


def granted_s(request: Message, package: EventPackage, limits: Limits) -> int:
    """Return the interval granted, in seconds (RFC 6665 section 4.2.1.1); raises IntervalTooBrief."""
    asked = package.default_expires_s if request.expires is None else request.expires
    if 0 < asked < min(HOUR_S, limits.min_expires_s):
        raise IntervalTooBrief(headers=(("Min-Expires", str(limits.min_expires_s)),))
    return min(asked, limits.max_expires_s)


def until_at(now: float, expires_s: int, limits: Limits) -> int:
    """Return the epoch second at which a subscription ends for us."""
    return min(int(now) + expires_s + limits.expires_offset_s, LAST_INSTANT)


def read_selection(request: Message, package: EventPackage, kept: bytes = b"") -> bytes:
    """Return what to keep of what a request selects, b"" where nothing can be; `kept` is what was so far.

    Raises NotAcceptable or UnsupportedMediaType for bodies that do not fit, the watcher's or ours.
    """
    accept = request.header("Accept")
    # Most say just the one type, or nothing. An empty one takes no type at all (RFC 3261 section 20.1).
    if (
        accept is not None
        and accept != package.content_type
        and not _accepts(package.content_type, tuple(request.values("Accept")))
    ):
        raise NotAcceptable(headers=(("Accept", package.content_type),))
    selects = selecting(package)
    if selects is None:
        read_body(request, ())
        return b""
    body = read_body(request, selects.selectable)
    return selects.select(parse_token_params(request.header("Event") or "")[1], body, kept)
