"""What a policy decides about a watcher."""

from typing import NamedTuple, Protocol

from presence.policy.permission import Permissions
from presence.store.base import Write
from presence.values import Aor, SubscriptionStatus

WHOLE, POLITE, UNDECIDED, OWN = 1, 2, 3, 4
"""Views: the composed document; what a presentity without publications shows; that the watcher has to wait; of
watcher information what is about the watcher itself."""

FILTERED = 16
"""The view of some permissions. Each resource numbers those of its watchers, from here on (`subscription/views`)."""


class Decision(NamedTuple):
    """The state a subscription gets, and the view: which of the presentity's documents the watcher is shown."""

    status: SubscriptionStatus
    reason: str = ""
    view: int = WHOLE
    """0 shows nothing."""
    permissions: Permissions | None = None
    """What a filtered view shows."""


ALLOW = Decision(SubscriptionStatus.ACTIVE)
CONFIRM = Decision(SubscriptionStatus.PENDING, view=UNDECIDED)
BLOCK = Decision(SubscriptionStatus.TERMINATED, "rejected", view=0)
POLITE_BLOCK = Decision(SubscriptionStatus.ACTIVE, "polite-block", view=POLITE)
"""A polite-blocked watcher believes to be active and sees nothing (RFC 6665 section 6.2)."""
OWN_STATE = Decision(SubscriptionStatus.ACTIVE, view=OWN)


class Policy(Protocol):
    """Decides about a watcher once per subscription and again when the rules change."""

    name: str

    def decide(self, presentity: Aor, watcher: Aor, package: str) -> Decision:
        """Return what the watcher may have of the presentity."""

    def record(self, presentity: Aor, watcher: Aor, package: str, decision: Decision, now: float) -> list[Write]:
        """Return what table `watchers` is to say of a decision."""


class OpenPolicy:
    """Everybody may watch everybody: OpenSIPS's basic server, `force_active`."""

    name = "open"

    def decide(self, presentity: Aor, watcher: Aor, package: str) -> Decision:
        """Allow."""
        return ALLOW

    def record(self, presentity: Aor, watcher: Aor, package: str, decision: Decision, now: float) -> list[Write]:
        """Note nothing: nobody has to decide."""
        return []


OPEN = OpenPolicy()
