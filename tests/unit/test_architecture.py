"""The house stands: imports point down, the wet libraries stay at the rim, files and functions stay small."""

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

GROUND, PROTOCOL, RULES, ROLES, RIM, ASSEMBLY, ENTRY = range(7)

FLOORS = {
    "presence": GROUND,
    "presence._fastcore": GROUND,
    "presence.errors": GROUND,
    "presence.values": GROUND,
    "presence.clock": GROUND,
    "presence.observer": GROUND,
    "presence.tally": GROUND,
    "presence.sip": PROTOCOL,
    "presence.store.base": PROTOCOL,
    "presence.events": RULES,
    "presence.policy": RULES,
    "presence.document": RULES,
    "presence.xcap": RULES,
    "presence.publication": ROLES,
    "presence.subscription": ROLES,
    "presence.registration": ROLES,
    "presence.identity": ROLES,
    "presence.agents": ROLES,
    "presence.transport": RIM,
    "presence.store": RIM,
    "presence.http": RIM,
    "presence.logbook": RIM,
    "presence.shape": ASSEMBLY,
    "presence.settings": ASSEMBLY,
    "presence.config": ASSEMBLY,
    "presence.assembly": ASSEMBLY,
    "presence.guards": ASSEMBLY,
    "presence.archive": ASSEMBLY,
    "presence.boot": ASSEMBLY,
    "presence.following": ASSEMBLY,
    "presence.awaiting": ASSEMBLY,
    "presence.differences": ASSEMBLY,
    "presence.packages": ASSEMBLY,
    "presence.privacy": ASSEMBLY,
    "presence.contributing": ASSEMBLY,
    "presence.listening": ASSEMBLY,
    "presence.site": ASSEMBLY,
    "presence.server": ASSEMBLY,
    "presence.cli": ENTRY,
    "presence.loadtool": ENTRY,
    "presence.__main__": ENTRY,
}
"""The floor of a room and of everything in it; the longest name counts."""

SHARED_FLOORS = {PROTOCOL, RULES, RIM, ASSEMBLY, ENTRY}
"""Floors whose rooms may know each other; the ground imports nothing of ours, roles never each other."""

WET = {
    "apsw": ("presence.store.sqlite", "presence.store.opening", "presence.store.tables", "presence.store.checkpoint"),
    **dict.fromkeys(
        ("asyncio", "socket", "time", "uvloop", "selectors", "select", "ssl"),
        (
            *(
                "presence.transport",
                "presence.store.sqlite",
                "presence.store.fold",
                "presence.http",
                "presence.logbook",
            ),
            *("presence.clock", "presence.server", "presence.cli", "presence.loadtool"),
        ),
    ),
}
"""Libraries that touch the world, and the rooms that may."""

FILE_LINES, FUNCTION_LINES, COMPILED_LINES = 400, 50, 450

LONGER: Mapping[str, tuple[int, str]] = {}
"""File or file:function that may be longer: up to how many lines, and why."""

FORBIDDEN_NAMES = {"utils", "util", "helpers", "helper", "manager", "common", "misc", "base_classes"}

Sources = Mapping[str, str]


def read_sources() -> dict[str, str]:
    sources = {}
    for path in sorted((ROOT / "presence").rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        sources[name] = path.read_text()
    return sources


def room(module: str) -> str:
    """Return the longest name of the table that holds the module, '' when none does."""
    while module and module not in FLOORS:
        module = module.rpartition(".")[0]
    return module


def imports(module: str, sources: Sources) -> Iterator[tuple[int, str]]:
    """Yield line and module for each import, however deep in a function it hides."""
    known = {*sources, *FLOORS}
    is_package = any(name.startswith(f"{module}.") for name in sources)
    for node in ast.walk(ast.parse(sources[module])):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = module.split(".")
                kept = parts[: len(parts) - node.level + is_package]
                base = ".".join([*kept, *filter(None, [node.module])])
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                yield node.lineno, inner if inner in known else base


def find_upward_imports(sources: Sources) -> list[str]:
    findings = []
    for module in sources:
        own = room(module)
        findings += [
            f"{module}:{line} on floor {FLOORS[own]} imports {target} on floor {FLOORS[room(target)]}"
            for line, target in imports(module, sources)
            if target.startswith("presence.") and not may_import(own, room(target))
        ]
    return findings


def may_import(own: str, other: str) -> bool:
    if FLOORS[other] == FLOORS[own]:
        return other == own or FLOORS[own] in SHARED_FLOORS
    return FLOORS[other] < FLOORS[own]


def find_wet_imports(sources: Sources) -> list[str]:
    return [
        f"{module}:{line} imports {target}"
        for module in sources
        for line, target in imports(module, sources)
        if (rooms := WET.get(target.split(".")[0]))
        and not any(module == allowed or module.startswith(f"{allowed}.") for allowed in rooms)
    ]


def measure(name: str, source: str) -> Iterator[tuple[str, int, int]]:
    """Yield what, its lines and its budget, for a file and each function in it."""
    yield name, len(source.splitlines()), FILE_LINES
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            yield f"{name}:{node.name}", node.end_lineno - node.lineno + 1, FUNCTION_LINES


def find_oversize(measured: list[tuple[str, int, int]], longer: Mapping[str, tuple[int, str]]) -> list[str]:
    findings = []
    for what, lines, budget in measured:
        allowed, reason = longer.get(what, (budget, ""))
        if lines > allowed:
            findings.append(f"{what} has {lines} lines, {allowed} are allowed")
        if reason and lines <= budget:
            findings.append(f"{what} has {lines} lines and needs no exception")
    findings += [f"{what}: no such file or function" for what in longer.keys() - {what for what, _, _ in measured}]
    return findings


# The house


def test_every_module_has_its_floor():
    strangers = [module for module in read_sources() if room(module) == "presence" != module]
    assert strangers == [], "give them a floor in FLOORS and docs/architecture.md"


def test_imports_point_down():
    assert find_upward_imports(read_sources()) == []


def test_the_wet_libraries_stay_at_the_rim():
    assert find_wet_imports(read_sources()) == []


def test_files_and_functions_stay_small():
    measured = [entry for name, source in read_sources().items() for entry in measure(name, source)]
    measured += [
        (path.name, len(path.read_text().splitlines()), COMPILED_LINES)
        for path in sorted((ROOT / "presence" / "_fast").glob("*.pxi"))
    ]
    assert find_oversize(measured, LONGER) == []


def test_modules_are_named_for_what_they_are():
    assert [module for module in read_sources() if module.rpartition(".")[2] in FORBIDDEN_NAMES] == []


# The test itself


def test_an_upward_import_is_reported():
    sources = {
        "presence.values": "from presence import errors",
        "presence.sip.endpoint": "def serve():\n    from presence.subscription import machine",
        "presence.sip.dialog": "from presence.sip.headers import parse_uri\nimport presence.values",
        "presence.events.winfo": "from ..store import sqlite",
        "presence.publication.compositor": "from presence import registration",
        "presence.subscription.notifier": "from .machine import TABLE\nfrom presence.store.base import Store",
        "presence.subscription.machine": "",
        "presence.http": "from . import app",
        "presence.http.app": "import presence.config",
        "presence.config": "from presence import __version__",
    }
    assert find_upward_imports(sources) == [
        "presence.values:1 on floor 0 imports presence.errors on floor 0",
        "presence.sip.endpoint:2 on floor 1 imports presence.subscription.machine on floor 3",
        "presence.events.winfo:1 on floor 2 imports presence.store on floor 4",
        "presence.publication.compositor:1 on floor 3 imports presence.registration on floor 3",
        "presence.http.app:1 on floor 4 imports presence.config on floor 5",
    ]


def test_a_wet_import_below_the_rim_is_reported():
    sources = {
        "presence.sip.endpoint": "import asyncio.events\nfrom time import time",
        "presence.store.check": "import apsw",
        "presence.store.sqlite": "import apsw, time",
        "presence.transport.udp": "import socket",
    }
    assert find_wet_imports(sources) == [
        "presence.sip.endpoint:1 imports asyncio.events",
        "presence.sip.endpoint:2 imports time",
        "presence.store.check:1 imports apsw",
    ]


def test_what_is_too_long_is_reported():
    measured = list(measure("presence.long", "def f():\n" + "    pass\n" * 400))
    assert find_oversize(measured, {}) == [
        "presence.long has 401 lines, 400 are allowed",
        "presence.long:f has 401 lines, 50 are allowed",
    ]
    assert find_oversize(measured, {"presence.long": (500, "why"), "presence.long:f": (401, "why")}) == []
    assert find_oversize([("presence.short", 1, 400)], {"presence.short": (500, "why"), "gone": (1, "why")}) == [
        "presence.short has 1 lines and needs no exception",
        "gone: no such file or function",
    ]
