"""Figures beside the wall clock: each benchmark notes its own, and they are printed below its table."""

from collections.abc import Callable

import pytest
from _pytest.terminal import TerminalReporter
from pytest_benchmark.fixture import BenchmarkFixture

Note = Callable[..., None]

_FIGURES = pytest.StashKey[list[tuple[str, dict[str, object]]]]()


@pytest.fixture
def note(benchmark: BenchmarkFixture, request: pytest.FixtureRequest) -> Note:
    """Keep figures in the benchmark's extra_info, and for the summary."""

    def keep(**figures: object) -> None:
        benchmark.extra_info.update(figures)
        request.config.stash.setdefault(_FIGURES, []).append((request.node.name, figures))

    return keep


def pytest_terminal_summary(terminalreporter: TerminalReporter, config: pytest.Config) -> None:
    for name, figures in config.stash.get(_FIGURES, []):
        shown = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in figures.items())
        terminalreporter.write_line(f"{name}: {shown}")
