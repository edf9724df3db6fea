"""Fuzz one target with libFuzzer (which atheris carries) in the instrumented tree, or tell what its corpus reaches.

    python -m fuzz.engine TARGET SECONDS [CORPUS]      fuzz; a crash is written into tests/fuzz/regressions/TARGET
    python -m fuzz.engine TARGET RUNSx [CORPUS]        fuzz as always: the same seed, so many executions
    python -m fuzz.engine TARGET --coverage [CORPUS]   run a corpus and print the coverage, without a fuzzer

`make fuzz` calls it with the right environment (tests/instrumented/build.py).
"""

import bisect
import ctypes
import os
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable
from hashlib import sha1
from pathlib import Path
from types import FrameType
from typing import Any

import presence._fastcore
from fuzz.targets import TARGETS

REGRESSIONS = Path(__file__).parent / "regressions"
LIBRARY = presence._fastcore.__file__
COUNTERS = 1 << 16
"""As many as `coverage.c` has."""


def begin_coverage(name: str) -> None:
    """Give the counters of the compiled core to libFuzzer, then instrument nothing more."""
    import atheris.core_with_libfuzzer as engine

    assert ctypes.CDLL(LIBRARY).coverage_begin(os.fsencode(engine.__file__)), "atheris has no libFuzzer"
    if TARGETS[name].python:
        sys.settrace(count_lines(TARGETS[name].python))


def count_lines(files: tuple[str, ...]) -> Callable[[FrameType, str, Any], Any]:
    """Return what counts each line of some files of Python, for what has its decisions there."""
    library = ctypes.CDLL(LIBRARY)
    library.coverage_counters.restype = ctypes.POINTER(ctypes.c_uint8)
    counters = library.coverage_counters()
    folder = str(Path(presence.__file__).resolve().parent)
    wanted = tuple(os.path.join(folder, file) for file in files)
    numbers: dict[tuple[str, int], int] = {}
    chosen: dict[str, bool] = {}

    def count(frame: FrameType, event: str, arg: Any) -> Any:
        if event == "line":
            line = (frame.f_code.co_filename, frame.f_lineno)
            number = numbers.setdefault(line, COUNTERS - 1 - len(numbers))
            counters[number] = (counters[number] + 1) & 255
        return count

    def enter(frame: FrameType, event: str, arg: Any) -> Any:
        name = frame.f_code.co_filename
        if name not in chosen:
            chosen[name] = os.path.realpath(name).startswith(wanted)
        return count if chosen[name] else None

    return enter


def fuzz(name: str, how_long: str, corpus: Path) -> None:
    """Fuzz until the time or the runs are over or something is wrong; libFuzzer ends the process."""
    import atheris

    target = TARGETS[name]
    corpus.mkdir(parents=True, exist_ok=True)
    for seed in target.seeds():
        (corpus / sha1(seed).hexdigest()).write_bytes(seed)
    crashes = REGRESSIONS / name
    crashes.mkdir(parents=True, exist_ok=True)
    options = [
        *([f"-runs={how_long[:-1]}", "-seed=1"] if how_long.endswith("x") else [f"-max_total_time={how_long}"]),
        f"-max_len={target.longest}",
        f"-artifact_prefix={crashes}/",
        "-timeout=10",
        "-rss_limit_mb=4096",
        "-print_final_stats=1",
        "-use_value_profile=1",
        "-verbosity=1",
    ]
    atheris.Setup([sys.argv[0], *options, str(corpus)], target.run, internal_libfuzzer=True)
    begin_coverage(name)
    atheris.Fuzz()


def replay(name: str, corpus: Path) -> int:
    """Run every input of a folder once; return how many."""
    count = 0
    for path in sorted(corpus.iterdir()) if corpus.exists() else ():
        if not path.name.startswith("."):
            TARGETS[name].run(path.read_bytes())
            count += 1
    return count


def reached() -> list[int]:
    room = 1 << 16
    offsets = (ctypes.c_uint64 * room)()
    library = ctypes.CDLL(LIBRARY)
    library.coverage_reached.restype = ctypes.c_uint32
    return offsets[: library.coverage_reached(offsets, room)]


def all_blocks() -> list[int]:
    """Where each block returns to from counting itself."""
    code = subprocess.run(["objdump", "-d", "--no-show-raw-insn", LIBRARY], capture_output=True, text=True, check=True)
    lines = code.stdout.splitlines()
    calls = [at for at, line in enumerate(lines) if "<__sanitizer_cov_trace_pc>" in line and "call" in line]
    after = re.compile(r"\s*([0-9a-f]+):")
    found = (after.match(line) for at in calls for line in lines[at + 1 : at + 2])
    return sorted(int(match[1], 16) for match in found if match)


def functions(offsets: list[int]) -> list[tuple[str, str]]:
    """Name the function and the source file of each offset."""
    tool = ["addr2line", "-f", "-e", LIBRARY]
    told = subprocess.run(
        tool, input="\n".join(map(hex, (o - 1 for o in offsets))), capture_output=True, text=True, check=True
    ).stdout.splitlines()
    return [(told[i], os.path.basename(told[i + 1].partition(":")[0])) for i in range(0, len(told) - 1, 2)]


def coverage(name: str, corpus: Path) -> str:
    """Run a corpus and say which share of the blocks and functions of the target's files it reached."""
    count = replay(name, corpus)
    hit = set(reached())
    blocks = all_blocks()
    by_file: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    names: dict[str, dict[str, bool]] = defaultdict(dict)
    for offset, (function, file) in zip(blocks, functions(blocks), strict=True):
        at = bisect.bisect_left(blocks, offset)
        by_file[file][0] += blocks[at] in hit
        by_file[file][1] += 1
        names[file][function] = names[file].get(function, False) or offset in hit
    lines = [f"{name}: {count} inputs reach {len(hit)} of {len(blocks)} blocks of the whole core; of the target's:"]
    total = [0, 0]
    for file in TARGETS[name].sources:
        done, all_ = by_file[file]
        total = [total[0] + done, total[1] + all_]
        used = sum(names[file].values())
        lines.append(f"  {file:18} {done:5} of {all_:5} blocks, {used:3} of {len(names[file]):3} functions")
    lines.append(f"  {'together':18} {total[0]:5} of {total[1]:5} blocks, {total[0] / max(1, total[1]):.0%}")
    return "\n".join(lines)


def main() -> None:
    """Do what the command line says."""
    name, what, *rest = sys.argv[1:]
    corpora = Path(os.environ["PRESENCE_TREE"]) / "corpus"
    if name == "all":
        for one in TARGETS:
            # Each in a process of its own, since counters are never set back.
            subprocess.run([sys.executable, "-m", "fuzz.engine", one, what], check=True)
        return
    corpus = Path(rest[0]) if rest else corpora / name
    if what == "--coverage":
        print(coverage(name, corpus))
    else:
        fuzz(name, what, corpus)


if __name__ == "__main__":
    main()
