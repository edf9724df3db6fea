"""Show the tally to Prometheus."""

from collections.abc import Iterable, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from presence.tally import Histogram, Tally

_COUNTERS: dict[str, tuple[str, list[str]]] = {
    "requests": ("SIP requests received.", ["method"]),
    "responses": ("SIP responses sent.", ["method", "code"]),
    "notifies": ("NOTIFY requests, by result.", ["result"]),
    "bodies": ("Documents made for watchers, whole or as some of them may see it; many watchers share one.", ["kind"]),
    "xcap_requests": ("XCAP requests answered.", ["method", "code"]),
    "xcap_fetches": ("Questions to XCAP servers, by result.", ["result"]),
    "folds": ("Folds of the journal into the tables, by result.", ["result"]),
    "auth_failures": ("Requests not proven or not allowed, by reason.", ["reason"]),
    "lookups": ("Questions to name servers, by result.", ["result"]),
    "drops": ("Messages dropped, by reason.", ["reason"]),
}
"""By the name of the field of the tally, which two have shorter there."""

_KEPT_AS = {"xcap_requests": "xcap", "xcap_fetches": "fetches"}

_GAUGES: dict[str, tuple[str, list[str]]] = {
    "publications": ("Publications that are stored now.", ["package"]),
    "subscriptions": ("Subscriptions that are held now.", ["package", "status"]),
    "commit_lag_seconds": ("How long a change has been waiting for its commit now.", []),
    "unfolded": ("Acknowledged changes that are not in the tables yet.", []),
    "xcap_kept": ("XCAP documents in memory: users by application usage, and bytes.", ["unit"]),
    "xcap_server_up": ("Whether an XCAP server answered when it was asked last.", ["root"]),
    "xcap_oldest_seconds": ("Longest time since one of the fetched documents was confirmed.", []),
    "xcap_diff_subscriptions": ("Subscriptions to xcap-diff at another XCAP server.", ["state"]),
    "xcap_fetches_waiting": ("XCAP documents that are being fetched or wait for it.", []),
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
        for name, (help, labels) in _COUNTERS.items():
            yield _counter(name, help, labels, getattr(tally, _KEPT_AS.get(name, name)))
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


def _counter(name: str, help: str, labels: list[str], counts: Mapping[Any, int]) -> CounterMetricFamily:
    family = CounterMetricFamily(f"presence_{name}", help, labels=labels)
    for values, count in counts.items():
        family.add_metric([values] if isinstance(values, str) else [str(value) for value in values], count)
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
