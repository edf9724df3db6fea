"""The life of a subscription as a table (RFC 6665 section 4.2.2, RFC 3857 section 4.7.1, Figure 1).

A subscription begins in INIT and is decided about at once: the policy's answer is the input. A pending one that ends
before anybody decided waits on, without a dialog, so that the presentity still learns of it. TERMINATED is left by
nothing. Every input that is not in the table for a state changes nothing.
"""

from enum import Enum

from presence.values import SubscriptionStatus, WatcherEvent


class Input(Enum):
    """What can happen to a subscription."""

    ALLOWED = "allowed"
    CONFIRM = "confirm"
    REJECTED = "rejected"
    EXPIRED = "expired"
    UNSUBSCRIBED = "unsubscribed"
    NOTIFY_FAILED = "notify failed"
    DEACTIVATED = "deactivated"
    PROBATION = "probation"
    GAVE_UP = "gave up"
    RESOURCE_GONE = "resource gone"
    SUBSCRIBED_AGAIN = "subscribed again"


PROBATION, GIVEUP = "probation;retry-after=300", "giveup;retry-after=86400"
"""Reasons that say when to try again (RFC 6665 section 4.1.3), as the watcher table writes them."""


INIT = None
_PENDING, _ACTIVE, _TERMINATED, _WAITING = (
    SubscriptionStatus.PENDING,
    SubscriptionStatus.ACTIVE,
    SubscriptionStatus.TERMINATED,
    SubscriptionStatus.WAITING,
)

# (state, input) -> (state, what watcher information calls the event, reason of the final NOTIFY)
TABLE: dict[tuple[SubscriptionStatus | None, Input], tuple[SubscriptionStatus, WatcherEvent, str]] = {
    (INIT, Input.ALLOWED): (_ACTIVE, WatcherEvent.SUBSCRIBE, ""),
    (INIT, Input.CONFIRM): (_PENDING, WatcherEvent.SUBSCRIBE, ""),
    (INIT, Input.REJECTED): (_TERMINATED, WatcherEvent.REJECTED, "rejected"),
    (_PENDING, Input.ALLOWED): (_ACTIVE, WatcherEvent.APPROVED, ""),
    (_PENDING, Input.REJECTED): (_TERMINATED, WatcherEvent.REJECTED, "rejected"),
    (_PENDING, Input.EXPIRED): (_WAITING, WatcherEvent.TIMEOUT, "timeout"),
    (_PENDING, Input.UNSUBSCRIBED): (_WAITING, WatcherEvent.TIMEOUT, "timeout"),
    (_PENDING, Input.NOTIFY_FAILED): (_TERMINATED, WatcherEvent.NORESOURCE, ""),
    (_PENDING, Input.DEACTIVATED): (_TERMINATED, WatcherEvent.DEACTIVATED, "deactivated"),
    (_PENDING, Input.PROBATION): (_TERMINATED, WatcherEvent.PROBATION, PROBATION),
    (_PENDING, Input.GAVE_UP): (_TERMINATED, WatcherEvent.GIVEUP, GIVEUP),
    (_PENDING, Input.RESOURCE_GONE): (_TERMINATED, WatcherEvent.NORESOURCE, "noresource"),
    (_ACTIVE, Input.CONFIRM): (_PENDING, WatcherEvent.SUBSCRIBE, ""),
    (_ACTIVE, Input.REJECTED): (_TERMINATED, WatcherEvent.REJECTED, "rejected"),
    (_ACTIVE, Input.EXPIRED): (_TERMINATED, WatcherEvent.TIMEOUT, "timeout"),
    (_ACTIVE, Input.UNSUBSCRIBED): (_TERMINATED, WatcherEvent.TIMEOUT, "timeout"),
    (_ACTIVE, Input.NOTIFY_FAILED): (_TERMINATED, WatcherEvent.NORESOURCE, ""),
    (_ACTIVE, Input.DEACTIVATED): (_TERMINATED, WatcherEvent.DEACTIVATED, "deactivated"),
    (_ACTIVE, Input.PROBATION): (_TERMINATED, WatcherEvent.PROBATION, PROBATION),
    (_ACTIVE, Input.RESOURCE_GONE): (_TERMINATED, WatcherEvent.NORESOURCE, "noresource"),
    # There is no dialog any more in which a reason could be given.
    (_WAITING, Input.ALLOWED): (_TERMINATED, WatcherEvent.APPROVED, ""),
    (_WAITING, Input.REJECTED): (_TERMINATED, WatcherEvent.REJECTED, ""),
    (_WAITING, Input.GAVE_UP): (_TERMINATED, WatcherEvent.GIVEUP, ""),
    (_WAITING, Input.SUBSCRIBED_AGAIN): (_TERMINATED, WatcherEvent.GIVEUP, ""),
    (_WAITING, Input.RESOURCE_GONE): (_TERMINATED, WatcherEvent.NORESOURCE, ""),
}

REMOVING_RESPONSES = frozenset({404, 405, 410, 416, 480, 481, 482, 483, 484, 485, 489, 501, 604})
"""Failures of a NOTIFY that end the subscription whatever the configuration says (RFC 6665 section 4.2.2)."""


def decide_transition(
    state: SubscriptionStatus | None, happened: Input
) -> tuple[SubscriptionStatus, WatcherEvent, str] | None:
    """Return (new state, winfo event, reason), None when nothing changes."""
    return TABLE.get((state, happened))


def input_of(decided: SubscriptionStatus) -> Input:
    """Return what a policy's answer is to a subscription."""
    if decided is SubscriptionStatus.ACTIVE:
        return Input.ALLOWED
    return Input.CONFIRM if decided is SubscriptionStatus.PENDING else Input.REJECTED
