"""What is measured. A scenario is a generator: it prepares, then yields one measured part after the other."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from presence.loadtool.traffic import (
    MODIFY,
    PUBLISH,
    REFRESH,
    REMOVE,
    RESUBSCRIBE,
    SUBSCRIBE,
    UNSUBSCRIBE,
    Measure,
    Span,
    Traffic,
)

NOTIFIES_IN_FLIGHT = 1000
"""A fan-out publishes for as many presentities at once as make about this many NOTIFYs."""


@dataclass(frozen=True)
class Options:
    """How much of it."""

    count: int = 20_000
    """Requests in a measured part."""
    notifies: int = 100_000
    """NOTIFYs in a measured part of a fan-out."""
    scale: float = 1.0
    """Share of the size of large tables."""
    seconds: float = 5.0
    """Length of a measured part at a rate."""
    rate_per_s: float = 0.0
    """Rate of the long run; 0: `fraction` of the highest one found."""
    fraction: float = 0.5
    minutes: int = 20
    rest_s: float = 40.0
    """Until transactions have lapsed (RFC 3261 timer J: 32 s)."""


Parts = Iterator[Measure]
Make = Callable[[Traffic, Options], Parts]


@dataclass(frozen=True)
class Scenario:
    """A thing to measure; `per` says what its cost is counted for: request or NOTIFY."""

    name: str
    help: str
    make: Make
    per: str = "request"
    once: bool = False
    """It has no warm-up and is made once: it takes long, or cannot be repeated."""


# ---- requests ----


def publish(traffic: Traffic, options: Options) -> Parts:
    """Initial PUBLISH."""
    while True:
        yield traffic.measure([(PUBLISH, traffic.users(options.count), 1.0)], operations=options.count)


def publish_again(kind: int, window: int = 0) -> Make:
    """PUBLISH that refreshes or modifies."""

    def make(traffic: Traffic, options: Options) -> Parts:
        users = traffic.published(5_000)
        while True:
            yield traffic.measure([(kind, users, 1.0)], operations=options.count, window=window)

    return make


def publish_remove(traffic: Traffic, options: Options) -> Parts:
    """PUBLISH that removes."""
    while True:
        users = traffic.published(options.count)
        yield traffic.measure([(REMOVE, users, 1.0)], operations=options.count)


def subscribe(traffic: Traffic, options: Options) -> Parts:
    """Initial SUBSCRIBE to presentities that have published."""
    users = traffic.published(1_000)
    while True:
        watchers = traffic.watchers(users, max(1, options.count // users.size))
        yield traffic.measure([(SUBSCRIBE, watchers, 1.0)], operations=watchers.size)


def subscribe_refresh(traffic: Traffic, options: Options) -> Parts:
    """SUBSCRIBE inside the dialog."""
    watchers = traffic.watched(traffic.published(1_000), 5)
    while True:
        yield traffic.measure([(RESUBSCRIBE, watchers, 1.0)], operations=options.count)


def unsubscribe(traffic: Traffic, options: Options) -> Parts:
    """SUBSCRIBE that ends the subscription."""
    users = traffic.published(1_000)
    while True:
        watchers = traffic.watched(users, max(1, options.count // users.size))
        yield traffic.measure([(UNSUBSCRIBE, watchers, 1.0)], operations=watchers.size)


# ---- fan-out ----


def fanout(presentities: int, each: int, *, scaled: bool = False, alone: bool = False) -> Make:
    """Every presentity published again; the next time when all its watchers have seen it.

    With `alone` the same number of unwatched PUBLISHes is taken off, so that NOTIFYs are compared with NOTIFYs.
    """

    def make(traffic: Traffic, options: Options) -> Parts:
        watchers = max(10, int(each * options.scale)) if scaled else each
        users = traffic.published(presentities)
        traffic.watched(users, watchers)
        rounds = max(1, options.notifies // (presentities * watchers))
        window = max(1, min(presentities, NOTIFIES_IN_FLIGHT // watchers))
        bystanders = traffic.published(presentities)
        while True:
            operations = presentities * rounds
            measure = traffic.measure([(MODIFY, users, 1.0)], operations=operations, window=window, await_watchers=True)
            if alone:
                bare = traffic.measure([(MODIFY, bystanders, 1.0)], operations=min(operations, 2_000), window=window)
                notifies_us = measure.cpu_s * 1e6 - bare.request_us * measure.operations
                measure.extra["us_of_a_notify_alone"] = notifies_us / max(measure.notifies, 1)
            yield measure

    return make


# ---- mixtures ----


def login_storm(traffic: Traffic, options: Options) -> Parts:
    """Each user publishes and subscribes to ten buddies."""
    count = max(100, options.count // 11)
    while True:
        users = traffic.users(count)
        buddies = [users.first + (i + 1 + 37 * k) % count for i in range(count) for k in range(10)]
        watchers = traffic.watchers_of(buddies)
        streams = [(PUBLISH, users, 1 / 11), (SUBSCRIBE, watchers, 10 / 11)]
        yield traffic.measure(streams, operations=11 * count)


def mixture(traffic: Traffic) -> list[tuple[int, Span, float]]:
    """Prepare the steady mix: 70 % refreshes, 10 % changes with ten watchers each, 20 % refreshed subscriptions."""
    quiet, lively = traffic.published(5_000), traffic.published(500)
    watchers = traffic.watched(lively, 10)
    return [(REFRESH, quiet, 0.7), (MODIFY, lively, 0.1), (RESUBSCRIBE, watchers, 0.2)]


def steady(traffic: Traffic, options: Options) -> Parts:
    """The steady mix, as fast as it goes with a window."""
    streams = mixture(traffic)
    while True:
        yield traffic.measure(streams, operations=options.count)


# ---- tables of a size ----


def table(subscriptions: int) -> Make:
    """PUBLISH that modifies, unwatched, beside a table of so many subscriptions."""

    def make(traffic: Traffic, options: Options) -> Parts:
        users = traffic.published(5_000)
        wanted = max(1_000, int(subscriptions * options.scale)) if subscriptions > 1_000 else subscriptions
        traffic.watched(traffic.users(max(1, wanted // 100)), min(100, wanted))
        while True:
            yield traffic.measure([(MODIFY, users, 1.0)], operations=options.count)

    return make


def memory(traffic: Traffic, options: Options) -> Parts:
    """Resident memory of a subscription, and of a publication of about 900 bytes.

    Each is what a second burst adds to a first, both times after the transactions have lapsed: what a burst takes
    besides is used again.
    """
    count = max(1_000, int(100_000 * options.scale))
    users = traffic.published(max(1, count // 100))
    resting = []
    for _ in range(2):
        watchers = traffic.watchers(users, 100)
        measure = traffic.measure([(SUBSCRIBE, watchers, 1.0)], operations=watchers.size, seconds=0)
        traffic.peer.rest(options.rest_s)
        resting.append(traffic.server.memory_bytes())
    for _ in range(2):
        traffic.drive([(PUBLISH, traffic.users(count))], count)
        traffic.peer.rest(options.rest_s)
        resting.append(traffic.server.memory_bytes())
    measure.extra["bytes_per_subscription"] = (resting[1] - resting[0]) / watchers.size
    measure.extra["bytes_per_publication"] = (resting[3] - resting[2]) / count
    yield measure


# ---- at a rate ----


def latency_light(traffic: Traffic, options: Options) -> Parts:
    """500 PUBLISH a second with ten watchers each."""
    users = traffic.published(1_000)
    traffic.watched(users, 10)
    while True:
        yield traffic.measure([(MODIFY, users, 1.0)], rate_per_s=500, seconds=options.seconds, window=4_096)


def holds(measure: Measure, rate_per_s: float, seconds: float) -> bool:
    """Tell whether a server kept up: all sent, nothing lost or failed, p99 from PUBLISH to NOTIFY below 50 ms."""
    seen = measure.latencies.get("publish_to_notify")
    sent_enough = measure.operations >= 0.98 * rate_per_s * seconds
    return sent_enough and not measure.lost and not measure.failed and seen is not None and seen.p99_us < 50_000


def highest_rate(traffic: Traffic, options: Options, streams: list[tuple[int, Span, float]]) -> tuple[float, Measure]:
    """Search for the highest rate that holds: double, then halve the gap until it is 4 %."""
    low, high, best = 0.0, 0.0, None
    rate = 1_000.0
    while not high or high - low > 0.04 * high:
        measure = traffic.measure(streams, rate_per_s=rate, seconds=options.seconds / 2, window=16_384)
        if holds(measure, rate, options.seconds / 2):
            low, best = rate, measure
        else:
            high = rate
            if not low and rate < 10:
                return 0.0, measure
        rate = (low + high) / 2 if high else 2 * rate
    assert best is not None
    return low, best


def max_rate(traffic: Traffic, options: Options) -> Parts:
    """The highest rate of changes with ten watchers each."""
    users = traffic.published(1_000)
    traffic.watched(users, 10)
    while True:
        rate, measure = highest_rate(traffic, options, [(MODIFY, users, 1.0)])
        measure.extra["publishes_per_s"] = rate
        measure.extra["notifies_per_s"] = 10 * rate
        yield measure


def long(traffic: Traffic, options: Options) -> Parts:
    """The steady mix at a fraction of its highest rate, minute by minute."""
    streams = mixture(traffic)
    rate = options.rate_per_s
    if not rate:
        highest, _ = highest_rate(traffic, options, streams)
        rate = options.fraction * highest
    for _ in range(options.minutes):
        measure = traffic.measure(streams, rate_per_s=rate, seconds=60, window=16_384)
        measure.extra["requests_per_s"] = rate
        yield measure


# ---- the list ----

_ALL = (
    Scenario("subscribe", "initial SUBSCRIBE, its NOTIFY and the 200 to that", subscribe),
    Scenario("refresh", "SUBSCRIBE in the dialog, its NOTIFY and the 200 to that", subscribe_refresh),
    Scenario("unsubscribe", "SUBSCRIBE with Expires 0, its NOTIFY and the 200 to that", unsubscribe),
    Scenario("publish", "initial PUBLISH", publish),
    Scenario("publish-refresh", "PUBLISH without a body", publish_again(REFRESH)),
    Scenario("publish-modify", "PUBLISH with a new body each time", publish_again(MODIFY)),
    Scenario("publish-remove", "PUBLISH with Expires 0", publish_remove),
    Scenario("publish-500", "PUBLISH with a new body, 500 in flight: the rate on the wall", publish_again(MODIFY, 500)),
    Scenario("fanout-100x100", "100 presentities with 100 watchers each", fanout(100, 100), "NOTIFY"),
    Scenario("fanout-10x1000", "10 presentities with 1,000 watchers each", fanout(10, 1_000), "NOTIFY"),
    Scenario("fanout-1x10000", "one presentity with 10,000 watchers", fanout(1, 10_000), "NOTIFY"),
    Scenario("fanout-10000x10", "10,000 presentities with 10 watchers each", fanout(10_000, 10), "NOTIFY"),
    Scenario("login-storm", "each user publishes and subscribes to ten buddies", login_storm),
    Scenario("steady", "70 % publish-refresh, 10 % changes with ten watchers, 20 % refresh", steady),
    Scenario("latency-light", "500 changes a second with ten watchers each", latency_light),
    Scenario("max-rate", "highest rate of changes with ten watchers each, p99 below 50 ms, nothing lost", max_rate),
    Scenario("watchers-10", "one presentity with 10 watchers", fanout(1, 10, alone=True), "NOTIFY"),
    Scenario("watchers-1000", "one presentity with 1,000 watchers", fanout(1, 1_000, alone=True), "NOTIFY"),
    Scenario(
        "watchers-100000", "one with 100,000 watchers (x scale)", fanout(1, 100_000, scaled=True, alone=True), "NOTIFY"
    ),
    Scenario("table-1000", "publish-modify beside 1,000 subscriptions", table(1_000)),
    Scenario("table-1000000", "publish-modify beside 1,000,000 subscriptions (x scale)", table(1_000_000)),
    Scenario("memory", "bytes of a subscription and of a publication, over 100,000 (x scale)", memory, once=True),
    Scenario("long", "the steady mix for --minutes at a fraction of its highest rate", long, once=True),
)

SCENARIOS = {scenario.name: scenario for scenario in _ALL}

GROUPS = {
    "requests": (
        *("subscribe", "refresh", "unsubscribe"),
        *("publish", "publish-refresh", "publish-modify", "publish-remove"),
    ),
    "fanout": ("fanout-100x100", "fanout-10x1000", "fanout-1x10000", "fanout-10000x10"),
    "watchers-flat": ("watchers-10", "watchers-1000", "watchers-100000"),
    "table-flat": ("table-1000", "table-1000000"),
    "quick": ("subscribe", "refresh", "publish-refresh", "publish-modify", "fanout-100x100", "fanout-1x10000"),
    "all": tuple(name for name in SCENARIOS if name != "long"),
}
"""Names for several scenarios."""


def expand(names: list[str]) -> list[Scenario]:
    """Return the scenarios named, groups spread out; KeyError for a name that is none."""
    spread = [name for given in names for name in GROUPS.get(given, (given,))]
    return [SCENARIOS[name] for name in dict.fromkeys(spread)]
