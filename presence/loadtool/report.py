"""Results as people and programs read them, and as a later run is compared with them."""

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import NamedTuple

from presence.loadtool.course import Outcome, Result
from presence.loadtool.traffic import Measure

TOLERANCE = 0.25
"""A ratio may fall by this share of the baseline."""


class Spread(NamedTuple):
    """The median of several runs, and their range."""

    median: float
    least: float
    most: float

    def __str__(self) -> str:
        return f"{self.median:.2f} [{self.least:.2f}..{self.most:.2f}]"


def spread(values: Sequence[float]) -> Spread:
    """Return median and range; zeros for no values."""
    if not values:
        return Spread(0.0, 0.0, 0.0)
    return Spread(statistics.median(values), min(values), max(values))


def cost_us(result: Result, outcome: Outcome) -> Spread:
    """Return what a request, or a NOTIFY, cost a server."""
    per_notify = result.scenario.per == "NOTIFY"
    return spread([m.notify_us if per_notify else m.request_us for m in outcome.measures])


def rate(result: Result, outcome: Outcome) -> Spread:
    """Return requests, or NOTIFYs, a second on the wall."""
    per_notify = result.scenario.per == "NOTIFY"
    return spread([(m.notifies if per_notify else m.operations) / m.wall_s for m in outcome.measures if m.wall_s])


def best(outcomes: Sequence[Outcome], prefix: str) -> Outcome | None:
    """Return the outcome with the lowest cost among those of one name, e.g. with one and with two children."""
    able = [o for o in outcomes if o.name.startswith(prefix) and o.measures and not o.failure]
    return min(able, key=lambda o: spread([m.cpu_s / max(m.operations, 1) for m in o.measures]).median, default=None)


def ratios(result: Result) -> dict[str, float]:
    """Return how many times cheaper each of our servers is than the raw exchange and than each peer."""
    found = {}
    peers = {kind: best(result.outcomes, kind) for kind in ("kamailio-memory", "kamailio-durable")}
    for outcome in result.outcomes:
        own = cost_us(result, outcome).median
        if not outcome.name.startswith("presence") or not own or outcome.failure:
            continue
        if result.raw_us:
            found[f"{outcome.name} / raw"] = round(statistics.median(result.raw_us) / own, 3)
        for kind, peer in peers.items():
            if peer is not None:
                found[f"{outcome.name} / {kind}"] = round(cost_us(result, peer).median / own, 3)
    return found


# ---- for people ----

_COLUMNS = (
    *("scenario", "server", "us CPU per", "median [least..most]", "1/s wall", "p50", "p90", "p99", "max ms"),
    *("lost", "failed", "dup", "disorder", "coalesced", "MB"),
)


def table(results: Sequence[Result]) -> str:
    """Return the results as a table of text, with the ratios below."""
    rows: list[tuple[str, ...]] = [_COLUMNS]
    for result in results:
        rows += [_row(result, outcome) for outcome in result.outcomes]
        if result.raw_us:
            raw = spread(result.raw_us)
            rows.append((result.scenario.name, "raw exchange", "pair", str(raw), *("",) * (len(_COLUMNS) - 4)))
    widths = [max(len(row[i]) for row in rows) for i in range(len(_COLUMNS))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines.insert(1, "-" * len(lines[0]))
    lines += ["", "times cheaper (processor time), raw: of the raw exchange's rate", *_ratio_lines(results)]
    lines += list(_extra_lines(results))
    return "\n".join(lines)


def _row(result: Result, outcome: Outcome) -> tuple[str, ...]:
    per, name = result.scenario.per, result.scenario.name
    if outcome.failure or not outcome.measures:
        return (name, outcome.name, per, f"failed: {outcome.failure}"[:60], *("",) * (len(_COLUMNS) - 4))
    measures = outcome.measures
    latency = [_main_latency(measure) for measure in measures]
    times = [f"{statistics.median(column) / 1000:.2f}" for column in list(zip(*latency, strict=True))[1:]]

    def total(count: Callable[[Measure], int]) -> str:
        return str(sum(count(measure) for measure in measures))

    return (
        *(name, outcome.name, per, str(cost_us(result, outcome)), f"{rate(result, outcome).median:,.0f}", *times),
        *(total(lambda m: m.lost), total(lambda m: m.failed), total(lambda m: m.counters["duplicates"])),
        total(lambda m: m.counters["out_of_order"] + m.counters["went_back"]),
        total(lambda m: m.counters["coalesced"]),
        f"{measures[-1].memory_bytes / 1e6:.0f}",
    )


def _main_latency(measure: Measure) -> tuple[float, ...]:
    if not measure.latencies:
        return (0.0,) * 5
    return measure.latencies.get("publish_to_notify") or max(measure.latencies.values(), key=lambda found: found.number)


def _ratio_lines(results: Sequence[Result]) -> Iterator[str]:
    for result in results:
        for name, ratio in ratios(result).items():
            yield f"  {result.scenario.name:<18} {name:<36} {ratio:>8.2f}"


def _extra_lines(results: Sequence[Result]) -> Iterator[str]:
    for result in results:
        for outcome in result.outcomes:
            keys = outcome.measures[0].extra if outcome.measures else ()
            for key in keys:
                values = spread([measure.extra[key] for measure in outcome.measures])
                yield f"  {result.scenario.name:<18} {outcome.name:<22} {key.replace('_', ' ')} {values}"


# ---- for programs ----


def as_json(results: Sequence[Result], facts: Mapping[str, object]) -> dict[str, object]:
    """Return everything measured, with the facts about the machine."""
    return {
        **facts,
        "scenarios": {
            result.scenario.name: {
                "per": result.scenario.per,
                "raw_us": result.raw_us,
                "ratios": ratios(result),
                "servers": {outcome.name: _outcome_json(result, outcome) for outcome in result.outcomes},
            }
            for result in results
        },
    }


def _outcome_json(result: Result, outcome: Outcome) -> dict[str, object]:
    runs = []
    for measure in outcome.measures:
        latencies = {name: latency._asdict() for name, latency in measure.latencies.items()}
        runs.append({**asdict(measure), "latencies": latencies})
    return {
        "failure": outcome.failure,
        "cost_us": cost_us(result, outcome)._asdict(),
        "per_s": rate(result, outcome)._asdict(),
        "runs": runs,
    }


def baseline(results: Sequence[Result]) -> dict[str, dict[str, float]]:
    """Return the ratios a later run is compared with."""
    return {result.scenario.name: found for result in results if (found := ratios(result))}


def fallen(results: Sequence[Result], stored: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Return the ratios that are worse than the baseline by more than the tolerance."""
    found = []
    for result in results:
        now = ratios(result)
        for name, before in stored.get(result.scenario.name, {}).items():
            if name in now and now[name] < (1 - TOLERANCE) * before:
                found.append(f"{result.scenario.name}: {name} was {before:.2f} and is {now[name]:.2f}")
    return found
