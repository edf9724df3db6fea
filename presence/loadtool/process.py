"""What processes use, and what the machine is: read from /proc."""

import contextlib
import os
import platform
import subprocess
from collections.abc import Iterator
from pathlib import Path


def tree_of(pid: int) -> Iterator[int]:
    """Yield a process and all its descendants."""
    yield pid
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in children.read_text().split():
                yield from tree_of(int(child))


def cpu_s(pid: int) -> float:
    """Return the processor time all threads of a process tree have used, to the nanosecond."""
    total_ns = 0
    for process in tree_of(pid):
        for task in Path(f"/proc/{process}/task").glob("*/schedstat"):
            # A thread may end between the listing and the reading.
            with contextlib.suppress(OSError):
                total_ns += int(task.read_text().split()[0])
    return total_ns / 1e9


def memory_bytes(pid: int) -> int:
    """Return the resident memory of a process tree; what several of them share counts once (Pss)."""
    total_kib = 0
    for process in tree_of(pid):
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total_kib += int(line.split()[1])
    return total_kib * 1024


def machine(folder: Path) -> dict[str, object]:
    """Return the facts a figure means nothing without."""
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "filesystem": _filesystem(folder),
        "rmem_max_bytes": _number("/proc/sys/net/core/rmem_max"),
        "load_average": round(os.getloadavg()[0], 2),
    }


def version_of(*command: str) -> str:
    """Return the first line a program says about its version, '' when it cannot be asked."""
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except OSError:
        return ""
    return (said.stdout or said.stderr).partition("\n")[0].strip()


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _filesystem(folder: Path) -> str:
    best, kind = "", ""
    for line in Path("/proc/mounts").read_text().splitlines():
        _, mounted, its_kind, *_ = line.split()
        if len(mounted) >= len(best) and folder.resolve().is_relative_to(mounted):
            best, kind = mounted, its_kind
    return kind


def _number(path: str) -> int | None:
    try:
        return int(Path(path).read_text())
    except OSError:
        return None
