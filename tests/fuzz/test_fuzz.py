"""Every fuzz target runs its seeds and what once was wrong; where the fuzzer is there, it looks for more."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
from instrumented.build import ROOT, environment, missing

from fuzz.engine import REGRESSIONS
from fuzz.targets import TARGETS

SECONDS = int(os.environ.get("FUZZ_SECONDS", "0"))
# CI does the same each time: what is new is to be found by who looks for it, not by who changed something else.
THOROUGH = bool(SECONDS or os.environ.get("CI"))
CASES = [(name, path) for name in TARGETS for path in sorted((REGRESSIONS / name).glob("*"))]


@pytest.mark.parametrize("name", TARGETS)
def test_the_seeds_of_a_target_are_in_order(name: str) -> None:
    seeds = list(TARGETS[name].seeds())
    assert seeds
    for seed in [b"", *seeds]:
        TARGETS[name].run(seed)


@pytest.mark.parametrize(("name", "path"), CASES, ids=lambda value: value if isinstance(value, str) else value.name)
def test_what_was_wrong_once_is_right(name: str, path: Path) -> None:
    TARGETS[name].run(path.read_bytes())


def test_no_seed_is_too_long_for_the_fuzzer() -> None:
    for name, target in TARGETS.items():
        assert all(len(seed) <= target.longest for seed in target.seeds()), name


@pytest.mark.timeout(600 + 2 * SECONDS)
@pytest.mark.parametrize("name", TARGETS)
def test_fuzzing_for_a_while_finds_nothing(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    if not THOROUGH:
        pytest.skip("FUZZ_SECONDS says how long, `make fuzz` 30 for each target; CI makes 10,000 executions")
    how_long = str(SECONDS) if SECONDS else f"{TARGETS[name].executions}x"
    if "PRESENCE_TREE" in os.environ:
        pytest.skip("this is an instrumented run already")
    if importlib.util.find_spec("atheris") is None:
        pytest.skip("atheris is not installed")
    if reason := missing("fuzz"):
        pytest.skip(reason)
    subprocess.run([sys.executable, "tests/instrumented/build.py", "fuzz"], cwd=ROOT, check=True, capture_output=True)
    command = [sys.executable, "-m", "fuzz.engine", name, how_long]
    surroundings = environment("fuzz") | {"PYTHONHASHSEED": "0"}
    done = subprocess.run(command, cwd=ROOT, env=surroundings, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-5000:]
    executed = next(line for line in done.stderr.splitlines() if "number_of_executed_units" in line)
    count = int(executed.rpartition(" ")[2])
    with capsys.disabled():
        print(f"\nfuzzed {name}: {count} executions")
    assert count > 100
