"""Show the tally to Prometheus."""

from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from presence.tally import Histogram, Tally

_GAUGES: dict[str, tuple[str, list[str]]] = {
    "publications": ("Publications that are stored now.", ["package"]),
    "subscriptions": ("Subscriptions that are held now.", ["package", "status"]),
    "commit_lag_seconds": ("How long a change has been waiting for its commit now.", []),
    "unfolded": ("Acknowledged changes that are not in the tables yet.", []),
}


class TallyCollector(Collector):
    """Reads the tally when somebody asks, so that counting itself costs an addition."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally

    def collect(self) -> Iterable[Metric]:
        """Return every metric of the server."""
        tally = self._tally
        for refresh in tally.refreshers:
            refresh()
        yield _counter("requests", "SIP requests received.", ["method"], {(m,): n for m, n in tally.requests.items()})
        yield _counter(
            "responses",
            "SIP responses sent.",
            ["method", "code"],
            {(method, str(status)): count for (method, status), count in tally.responses.items()},
        )
        yield from _outgoing(tally)
        yield _counter(
            "folds",
            "Folds of the journal into the tables, by result.",
            ["result"],
            {(r,): n for r, n in tally.folds.items()},
        )
        yield _counter(
            "auth_failures",
            "Requests not proven or not allowed, by reason.",
            ["reason"],
            {(r,): n for r, n in tally.auth_failures.items()},
        )
        yield _counter(
            "lookups",
            "Questions to name servers, by result.",
            ["result"],
            {(r,): n for r, n in tally.lookups.items()},
        )
        yield _counter("drops", "Messages dropped, by reason.", ["reason"], {(r,): n for r, n in tally.drops.items()})
        for name, (help, labels) in _GAUGES.items():
            gauge = GaugeMetricFamily(f"presence_{name}", help, labels=labels)
            for values, level in tally.gauges.get(name, dict)().items():
                gauge.add_metric(list(values), level)
            yield gauge
        yield _histogram(
            "publish_to_notify_seconds",
            "From a PUBLISH received to the last of its NOTIFY requests handed to the kernel.",
            tally.publish_to_notify,
        )
        yield _histogram("commit_seconds", "Duration of one group commit.", tally.commit)


def build_registry(tally: Tally, collectors: Iterable[Collector] = ()) -> CollectorRegistry:
    """Return a registry of its own with the tally, the process and what else is to be shown."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    for collector in (TallyCollector(tally), *collectors):
        registry.register(collector)
    return registry


def _outgoing(tally: Tally) -> Iterator[Metric]:
    """Return what is counted of NOTIFYs and what is in them."""
    yield _counter("notifies", "NOTIFY requests, by result.", ["result"], {(r,): n for r, n in tally.notifies.items()})
    yield _counter(
        "bodies",
        "Documents made for watchers, whole or as some of them may see it; many watchers share one.",
        ["kind"],
        {(k,): n for k, n in tally.bodies.items()},
    )


def _counter(name: str, help: str, labels: list[str], counts: dict[tuple[str, ...], int]) -> CounterMetricFamily:
    family = CounterMetricFamily(f"presence_{name}", help, labels=labels)
    for values, count in counts.items():
        family.add_metric(list(values), count)
    return family


def _histogram(name: str, help: str, histogram: Histogram) -> HistogramMetricFamily:
    buckets: list[tuple[str, float]] = []
    total = 0
    for bound_s, count in zip((*histogram.bounds_s, float("inf")), histogram.counts, strict=True):
        total += count
        buckets.append(("+Inf" if bound_s == float("inf") else str(bound_s), total))
    family = HistogramMetricFamily(f"presence_{name}", help)
    family.add_metric([], buckets, histogram.sum_s)
    return family
