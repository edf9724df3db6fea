"""What the server counts: plain numbers that any room may add to and `http/metrics` shows."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

LATENCY_BOUNDS_S = (
    *(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05),
    *(0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0),
)

METHODS = frozenset(
    {"ACK", "BYE", "CANCEL", "INFO", "INVITE", "MESSAGE", "NOTIFY", "OPTIONS", "PRACK"}
    | {"PUBLISH", "REFER", "REGISTER", "SUBSCRIBE", "UPDATE"}
)

NOTIFY_RESULTS = ("sent", "retransmitted", "failed", "coalesced", "switched", "fallen_back")

BODIES = ("composed", "filtered")

Levels = Callable[[], dict[tuple[str, ...], float]]


class Histogram:
    """Durations counted by how long they were; a bound belongs to the bucket below it."""

    def __init__(self, bounds_s: tuple[float, ...] = LATENCY_BOUNDS_S) -> None:
        self.bounds_s = bounds_s
        self.counts = [0] * (len(bounds_s) + 1)
        self.sum_s = 0.0

    def observe(self, seconds: float) -> None:
        """Count one duration."""
        self.counts[bisect_left(self.bounds_s, seconds)] += 1
        self.sum_s += seconds


@dataclass(slots=True)
class Tally:
    """The counters of one server."""

    requests: Counter[str] = field(default_factory=Counter)
    """By method."""
    responses: Counter[tuple[str, int]] = field(default_factory=Counter)
    """By method and status."""
    drops: Counter[str] = field(default_factory=Counter)
    """By reason: a short constant word, never anything a peer sent."""
    notifies: Counter[str] = field(default_factory=lambda: Counter(dict.fromkeys(NOTIFY_RESULTS, 0)))
    """By result, one of `NOTIFY_RESULTS`."""
    bodies: Counter[str] = field(default_factory=lambda: Counter(dict.fromkeys(BODIES, 0)))
    """Documents made for watchers: `composed` of publications, and `filtered` by what permissions show of those."""
    auth_failures: Counter[str] = field(default_factory=Counter)
    """Proofs that failed and requests that were forbidden, by reason: a short constant word."""
    xcap: Counter[tuple[str, int]] = field(default_factory=Counter)
    """XCAP requests answered, by method and status."""
    folds: dict[str, int] = field(default_factory=dict)
    """Of the journal into the tables, by result: `done` or `failed`."""
    lookups: dict[str, int] = field(default_factory=dict)
    """Of host names, by result: questions `asked`, `remembered` and `failed`, and locations `refused`."""
    fetches: Counter[str] = field(default_factory=Counter)
    """Questions to XCAP servers, by result; documents `left out` and `not stored`."""
    publish_to_notify: Histogram = field(default_factory=Histogram)
    commit: Histogram = field(default_factory=Histogram)
    gauges: dict[str, Levels] = field(default_factory=dict)
    """`publications` by (package,), `subscriptions` by (package, status), `unfolded`, `commit_lag_seconds`; of
    documents `xcap_kept` by (unit,), `xcap_server_up` by (root,), `xcap_oldest_seconds`,
    `xcap_fetches_waiting`, `xcap_diff_subscriptions` by (state,).

    Asked when somebody looks.
    """
    refreshers: list[Callable[[], None]] = field(default_factory=list)
    """Called before somebody looks, to bring over what the compiled core counted."""

    def count_request(self, method: str) -> None:
        """Count a request; a method nobody defined is `other`, so that peers cannot grow the table."""
        self.requests[method if method in METHODS else "other"] += 1

    def count_auth_failure(self, why: str) -> None:
        """Count who was not let through; `why` is a constant word or two."""
        self.auth_failures[why] += 1

    def count_response(self, method: str, status: int) -> None:
        """Count a response we sent."""
        self.responses[method if method in METHODS else "other", status] += 1
