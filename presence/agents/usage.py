"""A subscription seen from the watcher: its states, its dialog usage, and what the end of it means (RFC 6665).

The states are those of Figure 1 in section 4.1.2. An input that is not in the table for a state changes nothing.
"""

from enum import Enum
from typing import Final, NamedTuple

from presence._fastcore import Message
from presence.errors import BadRequest, Headers
from presence.sip.headers import parse_name_addr, parse_token_params, parse_uri
from presence.sip.route import address_request

MAX_ROUTES: Final = 16
MAX_INTERVAL_S: Final = 2**32 - 1


class State(Enum):
    """States of a subscription at the watcher."""

    INIT = "init"
    NOTIFY_WAIT = "notify_wait"
    PENDING = "pending"
    ACTIVE = "active"
    TERMINATED = "terminated"


class Input(Enum):
    """What can happen to it."""

    SUBSCRIBED = "initial SUBSCRIBE sent"
    NOTIFIED_PENDING = "NOTIFY, state pending"
    NOTIFIED_ACTIVE = "NOTIFY, state active"
    ENDED = "NOTIFY, state terminated; timer N; failure of SUBSCRIBE; expiry"


TABLE: Final[dict[tuple[State, Input], State]] = {
    (State.INIT, Input.SUBSCRIBED): State.NOTIFY_WAIT,
    (State.TERMINATED, Input.SUBSCRIBED): State.NOTIFY_WAIT,
    (State.NOTIFY_WAIT, Input.NOTIFIED_PENDING): State.PENDING,
    (State.NOTIFY_WAIT, Input.NOTIFIED_ACTIVE): State.ACTIVE,
    (State.NOTIFY_WAIT, Input.ENDED): State.TERMINATED,
    (State.PENDING, Input.NOTIFIED_ACTIVE): State.ACTIVE,
    (State.PENDING, Input.ENDED): State.TERMINATED,
    # Not in the figure: a notifier may ask the presentity again.
    (State.ACTIVE, Input.NOTIFIED_PENDING): State.PENDING,
    (State.ACTIVE, Input.ENDED): State.TERMINATED,
}

LIVE: Final = frozenset({State.PENDING, State.ACTIVE})

NOTIFIED: Final = {
    "pending": Input.NOTIFIED_PENDING,
    "active": Input.NOTIFIED_ACTIVE,
    "terminated": Input.ENDED,
}
"""What the token of Subscription-State does; an extension token does nothing."""

ENDING_RESPONSES: Final = frozenset({404, 405, 410, 416, *range(480, 486), 489, 501, 604})
"""Failures of a refresh that end the subscription at once (RFC 6665 section 4.1.2.2)."""


class Again(Enum):
    """Whether a subscription that was terminated may be made anew (RFC 6665 section 4.1.3)."""

    NOW = "at once"
    LATER = "after retry-after"
    NEVER = "not at all"


AGAIN: Final = {
    "deactivated": Again.NOW,
    "probation": Again.LATER,
    "rejected": Again.NEVER,
    "timeout": Again.NOW,
    "giveup": Again.LATER,
    "noresource": Again.NEVER,
    "invariant": Again.NEVER,
}
"""By reason; an unknown one is LATER."""

LATER_S: Final = 60
"""What LATER means without retry-after."""


class SubscriptionState(NamedTuple):
    """The header field Subscription-State (RFC 6665 section 8.2.3)."""

    state: str
    reason: str = ""
    expires_s: int | None = None
    retry_after_s: int | None = None

    def retry_s(self) -> int | None:
        """Return the wait before a new subscription, None when there shall be none."""
        again = AGAIN.get(self.reason, Again.LATER)
        if again is Again.NEVER:
            return None
        if again is Again.NOW:
            return 0
        return LATER_S if self.retry_after_s is None else self.retry_after_s


def read_subscription_state(notify: Message) -> SubscriptionState:
    """Read Subscription-State; raises BadRequest, for every NOTIFY has one (RFC 6665 section 4.1.3)."""
    value = notify.header("Subscription-State")
    if value is None:
        raise BadRequest("Missing Subscription-State Header Field")
    state, params = parse_token_params(value)
    return SubscriptionState(
        state.lower(),
        params.get("reason", "").lower(),
        _read_seconds(params.get("expires")),
        _read_seconds(params.get("retry-after")),
    )


class Usage(NamedTuple):
    """The dialog usage a NOTIFY makes (RFC 6665 section 4.4.1)."""

    remote_tag: str
    target: str
    route: tuple[str, ...]
    remote_cseq: int

    def request_line(self) -> tuple[str, Headers]:
        """Return Request-URI and Route of a request in the dialog (RFC 3261 section 12.2.1.1)."""
        uri, route = address_request(self.target, self.route)
        return uri, (("Route", route),) if route else ()


def read_usage(notify: Message) -> Usage:
    """Take the dialog from the first NOTIFY; raises BadRequest saying what is missing.

    The route set comes from the NOTIFY, in its order, not from the response to SUBSCRIBE.
    """
    if not notify.from_tag:
        raise BadRequest("Missing From Tag")
    route = tuple(notify.values("Record-Route"))
    if len(route) > MAX_ROUTES:
        raise BadRequest("Too Many Record-Route Values")
    for value in route:
        parse_uri(parse_name_addr(value).uri)
    target = read_target(notify)
    if target is None:
        raise BadRequest("Missing Contact")
    return Usage(notify.from_tag, target, route, notify.cseq)


def read_target(message: Message) -> str | None:
    """Return the URI of the first Contact, None without one; raises BadRequest when it is no SIP URI."""
    values = message.values("Contact")
    if not values:
        return None
    uri = parse_name_addr(values[0]).uri
    if parse_uri(uri).scheme not in ("sip", "sips"):
        raise BadRequest("Contact Is Not a SIP URI")
    return uri


def _read_seconds(text: str | None) -> int | None:
    if text is None or not (text.isascii() and text.isdigit()) or len(text) > 10:
        return None
    return min(int(text), MAX_INTERVAL_S)
