"""Who is told of what the server did, so that it can be logged; the dry core knows no log."""

from typing import Protocol


class Observer(Protocol):
    """Hears of answers, ends and faults, in plain values. Called only when somebody listens."""

    verbose: bool
    """Whether it wants to hear of requests that succeed, which are many."""

    def answered(self, method: str, status: int, reason: str, call_id: str, aor: str, package: str) -> None:
        """A request got its final response; `aor` is its Request-URI."""

    def ended(self, aor: str, package: str, call_id: str, why: str) -> None:
        """A subscription ended."""

    def faulted(self, error: Exception, call_id: str) -> None:
        """A request failed for a reason of ours."""
