"""One scenario against all servers under test, run by run in turn, so that each meets the same machine."""

import contextlib
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from presence.loadtool.echo import exchange_us
from presence.loadtool.peers import Peer, PeerError
from presence.loadtool.scenarios import Options, Parts, Scenario
from presence.loadtool.traffic import DISTINCT_HOPS, Hops, Measure, Stalled, Traffic

Say = Callable[[str], None]


@dataclass
class Outcome:
    """What one server did in one scenario."""

    name: str
    measures: list[Measure] = field(default_factory=list)
    failure: str = ""


@dataclass
class Result:
    """One scenario: all servers, and the raw exchange."""

    scenario: Scenario
    outcomes: list[Outcome]
    raw_us: list[float]


@dataclass(frozen=True)
class Settings:
    """How a scenario is run."""

    options: Options
    runs: int = 5
    hops: Hops = DISTINCT_HOPS
    window: int = 256
    loss: float = 0.0
    folder: Path | None = None
    raw: bool = True


def run(scenario: Scenario, peers: Sequence[Peer], settings: Settings, say: Say) -> Result:
    """Start all servers, warm them up and measure them in turn."""
    outcomes, raw_us = [Outcome(peer.name) for peer in peers], []
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="presence-bench-", dir=settings.folder)))
        parts = []
        for peer in peers:
            own = folder / peer.name
            own.mkdir()
            parts.append(_parts(stack, scenario, peer, own, settings))
        if not scenario.once:
            for outcome, ahead in zip(outcomes, parts, strict=True):
                say(f"{scenario.name}: warming up {outcome.name}")
                _next(ahead, outcome)
                outcome.measures.clear()
        for number in range(1_000_000 if scenario.once else settings.runs):
            done = [_next(ahead, outcome) for ahead, outcome in zip(parts, outcomes, strict=True)]
            if not any(done):
                break
            say(f"{scenario.name}: run {number + 1}: " + ", ".join(_brief(scenario, outcome) for outcome in outcomes))
            measured = [outcome.measures[-1] for outcome in outcomes if outcome.measures]
            if settings.raw and measured and (not scenario.once or number == 0):
                raw_us.append(exchange_us(settings.hops, *measured[0].notify_size, 100_000))
    return Result(scenario, outcomes, raw_us)


def _parts(stack: contextlib.ExitStack, scenario: Scenario, peer: Peer, folder: Path, settings: Settings) -> Parts:
    """Yield measured parts of one server, which is started for the first."""
    server = peer.start(folder)
    stack.callback(server.stop)
    traffic = Traffic(
        *(server, settings.hops), loss=settings.loss, window=settings.window, most_in_flight=peer.most_in_flight
    )
    yield from scenario.make(traffic, settings.options)


def _next(parts: Iterator[Measure], outcome: Outcome) -> bool:
    """Take one measured part; what goes wrong is kept and ends this server's part in the scenario."""
    if outcome.failure:
        return False
    try:
        measure = next(parts)
    except StopIteration:
        return False
    except (PeerError, Stalled) as failure:
        outcome.failure = str(failure)
        return False
    outcome.measures.append(measure)
    if measure.lost and not measure.operations:
        outcome.failure = "nothing was answered"
    return True


def _brief(scenario: Scenario, outcome: Outcome) -> str:
    if outcome.failure or not outcome.measures:
        return f"{outcome.name} failed"
    last = outcome.measures[-1]
    cost = last.notify_us if scenario.per == "NOTIFY" else last.request_us
    extra = "".join(f" {name} {value:.0f}" for name, value in last.extra.items())
    trouble = f" LOST {last.lost}" if last.lost else ""
    if last.counters["kernel_drops"]:
        trouble += f" (the generator's buffers were too small for {last.counters['kernel_drops']} datagrams)"
    return f"{outcome.name} {cost:.2f} us{extra}{trouble}"


def stamp() -> str:
    """Return the present time as results carry it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
