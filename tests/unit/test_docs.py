"""The papers keep up with the code: what they name exists, and what operators count on is named."""

import ast
import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest
from prometheus_client.core import CounterMetricFamily

from presence.config import load
from presence.http.metrics import TallyCollector
from presence.packages import load_packages
from presence.settings import SETTINGS
from presence.tally import Tally

ROOT = Path(__file__).resolve().parents[2]
FEATURES, OPERATION = ROOT / "docs" / "features.md", ROOT / "docs" / "operation.md"
XCAP, DOCUMENTS = ROOT / "docs" / "xcap.md", ROOT / "docs" / "documents.md"
NO_TEST = "no test yet"


class Row(NamedTuple):
    """A row of the feature table."""

    reference: str
    what: str
    state: str
    proof: str


def section(text: str, heading: str) -> str:
    """Return what stands under a heading of the second level."""
    return text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def cells(text: str, columns: int) -> list[list[str]]:
    """Return the rows of every table with so many columns, without heads."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]
    heads = {at for at in range(len(rows) - 1) if set("".join(rows[at + 1])) == {"-"}}
    return [row for at, row in enumerate(rows) if len(row) == columns and not {at, at - 1} & heads]


def feature_rows(text: str) -> list[Row]:
    return [Row(*row) for row in cells(text, 4)]


def named_tests(text: str) -> set[tuple[str, str]]:
    return set(re.findall(r"([\w./-]+\.py)::(\w+)", text))


@cache
def tests_of(path: Path) -> frozenset[str]:
    if not path.is_file():
        return frozenset()
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return frozenset(node.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, functions))


def missing_tests(text: str) -> set[str]:
    return {f"{path}::{name}" for path, name in named_tests(text) if name not in tests_of(ROOT / path)}


def unproven(text: str) -> list[str]:
    """Name the rows that do not say what their state asks for."""
    steps = {step for step, _ in cells(section(text, "Steps to come"), 2)}
    wrong = []
    for row in feature_rows(text):
        proven, step = bool(named_tests(row.proof)), row.proof.removeprefix("step: ")
        holds = {
            "full": proven,
            "partial": proven or row.proof == NO_TEST,
            "no": not proven and row.proof.startswith("step: ") and step in steps,
        }
        if not holds.get(row.state, False):
            wrong.append(f"{row.what}: {row.state}, {row.proof}")
    return wrong


@pytest.mark.parametrize("paper", sorted((ROOT / "docs").glob("*.md")), ids=lambda paper: paper.name)
def test_every_test_that_is_named_exists(paper: Path) -> None:
    assert missing_tests(paper.read_text()) == set()


def test_every_feature_has_its_proof_or_its_step() -> None:
    assert unproven(FEATURES.read_text()) == []


def test_every_step_has_features() -> None:
    text = FEATURES.read_text()
    steps = {step for step, _ in cells(section(text, "Steps to come"), 2)}
    assert steps == {row.proof.removeprefix("step: ") for row in feature_rows(text) if row.state == "no"}


class Statement(NamedTuple):
    """A row of a table of what an RFC asks for."""

    number: str
    section: str
    text: str
    level: str
    proof: str


LEVELS = {"MUST", "MUST NOT", "SHOULD", "SHOULD NOT", "REQUIRED", "RECOMMENDED", "NOT RECOMMENDED", "-"}
"""The last is for what an RFC states without such a word."""


def statement_parts(text: str) -> dict[str, str]:
    """Return the sections that list statements, by their headings."""
    headings = re.findall(r"^## (Statements of .+)$", text, re.MULTILINE)
    return {heading: section(text, heading) for heading in headings}


def statements(part: str) -> list[Statement]:
    return [Statement(*row) for row in cells(part, 5)]


def unfounded(part: str) -> list[str]:
    """Name the statements that say too little, or nothing that can be run."""
    wrong = []
    for row in statements(part):
        rfc, _, rest = row.number.partition("-")
        numbered = rfc.isdigit() and re.fullmatch(rf"{re.escape(row.section)}-[0-9]+", rest)
        if not numbered or not row.text or row.level not in LEVELS or not named_tests(row.proof):
            wrong.append(row.number)
    return wrong


def test_every_statement_has_a_test_that_exists() -> None:
    parts = statement_parts(FEATURES.read_text())
    assert "Statements of RFC 3261" in parts
    for heading, part in parts.items():
        assert unfounded(part) == []
        assert missing_tests(part) == set()
        numbers = [row.number for row in statements(part)]
        assert len(numbers) == len(set(numbers))
        (count,) = re.findall(r"\b([0-9]+) statements\b", part)
        assert len(numbers) == int(count), heading


@pytest.mark.parametrize("name", load_packages().names)
def test_every_event_package_has_its_row(name: str) -> None:
    rows = feature_rows(section(FEATURES.read_text(), "Event packages"))
    assert any(f"`{name}`" in row.what and row.state != "no" for row in rows)


@pytest.mark.parametrize("setting", [s for s in SETTINGS if s.section.startswith("presence")], ids=lambda s: s.name)
def test_every_setting_of_an_opensips_section_is_explained(setting) -> None:
    assert f"`{setting.name}`" in section(FEATURES.read_text(), "OpenSIPS parameters")


@pytest.mark.parametrize("metric", list(TallyCollector(Tally()).collect()), ids=lambda metric: metric.name)
def test_every_metric_is_explained(metric) -> None:
    shown = f"{metric.name}_total" if isinstance(metric, CounterMetricFamily) else metric.name
    assert f"`{shown}`" in OPERATION.read_text()


@pytest.mark.parametrize("paper", [FEATURES, OPERATION], ids=lambda paper: paper.name)
def test_every_setting_that_is_named_exists(paper: Path) -> None:
    named = re.findall(r"`((?:server|database|http|log|presence_xml)\.[a-z0-9_]+)\b[^`/]*`", paper.read_text())
    assert set(named) <= {setting.name for setting in SETTINGS}


@pytest.mark.parametrize("paper", [OPERATION, XCAP, DOCUMENTS], ids=lambda paper: paper.name)
def test_the_settings_shown_are_taken(paper: Path, tmp_path: Path) -> None:
    shown = re.findall(r"```toml\n(.*?)```", paper.read_text(), re.DOTALL)
    assert shown
    for number, text in enumerate(shown):
        path = tmp_path / f"{number}.toml"
        path.write_text(text)
        load([str(path)])


HEAD = "| RFC | what | state | test |\n| --- | --- | --- | --- |\n"
STEPS = "\n## Steps to come\n\n| step | brings |\n| --- | --- |\n| rules | XCAP |\n"


@pytest.mark.parametrize("name", ["tests/unit/test_docs.py::test_nothing", "tests/unit/test_none.py::test_version"])
def test_a_test_that_is_not_there_is_reported(name: str) -> None:
    here = "tests/unit/test_docs.py::test_every_step_has_features"
    assert missing_tests(f"{HEAD}| | x | full | `{here}`, `{name}` |\n") == {name}


@pytest.mark.parametrize(
    ("row", "holds"),
    [
        ("3261-8.2.6-3 | 8.2.6 | x | MUST | `tests/a.py::test_a`", True),
        ("3903-6-1 | 6 | x | SHOULD NOT | `tests/a.py::test_a`, `tests/b.py::test_b`", True),
        ("3261-8.2.6-3 | 8.2.7 | x | MUST | `tests/a.py::test_a`", False),
        ("3261-8.2.6 | 8.2.6 | x | MUST | `tests/a.py::test_a`", False),
        ("3261-8.2.6-3 | 8.2.6 | | MUST | `tests/a.py::test_a`", False),
        ("3261-8.2.6-3 | 8.2.6 | x | MAY | `tests/a.py::test_a`", False),
        ("3261-8.2.6-3 | 8.2.6 | x | MUST | later", False),
    ],
)
def test_a_statement_without_its_test_is_reported(row: str, holds: bool) -> None:
    head = "| no | section | statement | MUST/SHOULD | test |\n| --- | --- | --- | --- | --- |\n"
    assert (unfounded(f"{head}| {row} |\n") == []) == holds


@pytest.mark.parametrize(
    ("state", "proof", "holds"),
    [
        ("full", "`tests/a.py::test_a`", True),
        ("full", NO_TEST, False),
        ("full", "", False),
        ("partial", NO_TEST, True),
        ("partial", "step: rules", False),
        ("no", "step: rules", True),
        ("no", "step: someday", False),
        ("no", "", False),
        ("mostly", "`tests/a.py::test_a`", False),
    ],
)
def test_a_feature_without_its_proof_is_reported(state: str, proof: str, holds: bool) -> None:
    assert (unproven(f"{HEAD}| | x | {state} | {proof} |\n{STEPS}") == []) == holds
