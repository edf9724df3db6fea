"""What a policy decides about a watcher."""

from typing import NamedTuple, Protocol

from presence.values import Aor, SubscriptionStatus

WHOLE, POLITE, UNDECIDED, OWN = 1, 2, 3, 4
"""Views: the composed document; what a presentity without publications shows; that the watcher has to wait; of
watcher information what is about the watcher itself."""


UNMATCHED = "unmatched"
"""Reason of a refusal by rules of which none is about the watcher."""


class Decision(NamedTuple):
    """The state a subscription gets, and the view: which of the presentity's documents the watcher is shown."""

    status: SubscriptionStatus
    reason: str = ""
    view: int = WHOLE
    """0 shows nothing."""


ALLOW = Decision(SubscriptionStatus.ACTIVE)
CONFIRM = Decision(SubscriptionStatus.PENDING, view=UNDECIDED)
BLOCK = Decision(SubscriptionStatus.TERMINATED, "rejected", view=0)
OWN_STATE = Decision(SubscriptionStatus.ACTIVE, view=OWN)


class Policy(Protocol):
    """Decides about a watcher once per subscription and again when the rules change."""

    name: str

    def decide(self, presentity: Aor, watcher: Aor, package: str) -> Decision:
        """Return what the watcher may have of the presentity."""


class OpenPolicy:
    """Everybody may watch everybody: OpenSIPS's basic server, `force_active`."""

    name = "open"

    def decide(self, presentity: Aor, watcher: Aor, package: str) -> Decision:
        """Allow."""
        return ALLOW


OPEN = OpenPolicy()
