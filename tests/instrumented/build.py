"""Build the compiled core once more, instrumented, in a tree of its own that stands before the usual one.

    python tests/instrumented/build.py asan     AddressSanitizer and UndefinedBehaviorSanitizer
    python tests/instrumented/build.py fuzz     those and coverage for the fuzzer (`coverage.c`)
    python tests/instrumented/build.py debug    bounds checks and assertions

The tree in `.make/<kind>` has the extension, and for everything else links to the source. `environment` says how it
is run: the tree comes first in the path, libasan is loaded before Python, and Python's own allocator is off, since
otherwise an overflow of one object would only run into the next.
"""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
SUFFIX = sysconfig.get_config_var("EXT_SUFFIX")
SANITIZE = ["-fsanitize=address,undefined", "-fno-sanitize=vptr", "-fno-omit-frame-pointer"]
FLAGS = {
    "asan": ["-O1", *SANITIZE],
    "fuzz": ["-O1", *SANITIZE, "-fsanitize-coverage=trace-pc,trace-cmp"],
    "debug": ["-O1", "-UNDEBUG", "-DPRESENCE_DEBUG=1"],
}
CHECKED = ["-X", "boundscheck=True", "-X", "initializedcheck=True", "-X", "cdivision=False"]
UNCHECKED = ["-X", "boundscheck=False", "-X", "initializedcheck=False", "-X", "cdivision=True"]


def compiler() -> str:
    return os.environ.get("CC", "cc")


def tree(kind: str) -> Path:
    return ROOT / ".make" / kind


def extension(kind: str) -> Path:
    return tree(kind) / "presence" / f"_fastcore{SUFFIX}"


def sources() -> list[Path]:
    core = ROOT / "presence"
    return [core / "_fastcore.pyx", core / "_fastcore.pxd", *(core / "_fast").glob("*.pxi"), *HERE.glob("*.*")]


def is_fresh(kind: str) -> bool:
    built = extension(kind)
    return built.exists() and all(source.stat().st_mtime <= built.stat().st_mtime for source in sources())


def runtime(name: str) -> str:
    """Return the path of a library of the compiler's, '' when it has none."""
    try:
        found = subprocess.run([compiler(), f"-print-file-name={name}"], capture_output=True, text=True).stdout.strip()
    except OSError:
        return ""
    return found if os.path.isabs(found) else ""


def missing(kind: str) -> str:
    """Say what this machine lacks to build and run a kind, '' for nothing."""
    if not sys.platform.startswith("linux"):
        return "instrumented builds need Linux"
    if kind != "debug" and not runtime("libasan.so"):
        return "the C compiler has no libasan"
    return ""


def link(kind: str) -> Path:
    """Make the tree of links anew; return it."""
    folder = tree(kind) / "presence"
    folder.mkdir(parents=True, exist_ok=True)
    wanted = {entry.name: entry for entry in (ROOT / "presence").iterdir()}
    wanted = {name: entry for name, entry in wanted.items() if name != "__pycache__" and not name.endswith(".so")}
    wanted["sql"] = ROOT / "sql"
    for entry in folder.iterdir():
        if entry.is_symlink():
            entry.unlink()
    for name, entry in wanted.items():
        (folder / name).symlink_to(os.path.relpath(entry, folder))
    return folder


def build(kind: str) -> None:
    """Make the extension of a kind when it is older than its source."""
    folder = link(kind)
    if is_fresh(kind):
        return
    generated = tree(kind) / "_fastcore.c"
    checks = CHECKED if kind == "debug" else UNCHECKED
    cython = [sys.executable, "-m", "cython", "-3", "-X", "wraparound=False", *checks, "--line-directives"]
    subprocess.run([*cython, "presence/_fastcore.pyx", "-o", generated], cwd=ROOT, check=True)
    objects = [str(generated)]
    if kind == "fuzz":
        # By itself: what counts the blocks must not be counted.
        objects.append(str(tree(kind) / "coverage.o"))
        plain = [compiler(), "-O2", "-fPIC", "-c", str(HERE / "coverage.c"), "-o", objects[-1]]
        subprocess.run(plain, check=True)
    include = sysconfig.get_path("include")
    written = folder / f"_fastcore{SUFFIX}.new"
    command = [compiler(), "-shared", "-fPIC", "-g1", "-w", *FLAGS[kind], f"-I{include}", "-DPRESENCE_DEBUG=0"]
    if kind == "debug":
        command.remove("-DPRESENCE_DEBUG=0")
    subprocess.run([*command, *objects, "-o", str(written), "-ldl"], cwd=ROOT, check=True)
    written.rename(extension(kind))


def environment(kind: str) -> dict[str, str]:
    """Return what to run Python with, so that it and its children use the tree."""
    settings = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join((str(tree(kind)), str(ROOT), str(ROOT / "tests"))),
        "PYTHONSAFEPATH": "1",
        "PRESENCE_TREE": str(tree(kind)),
    }
    if kind != "debug":
        report = tree(kind) / "report"
        settings |= {
            # libstdc++ too: what the sanitizer must see of it is looked for at the start only.
            "LD_PRELOAD": " ".join((runtime("libasan.so"), runtime("libstdc++.so.6"))),
            # Python gives memory back to the system at its end, or not: what the core keeps has tests of its own.
            # Reports go into files: pytest would take what is printed with it.
            "ASAN_OPTIONS": f"detect_leaks=0:allocator_may_return_null=1:handle_abort=1:log_path={report}",
            "UBSAN_OPTIONS": f"halt_on_error=1:print_stacktrace=1:log_path={report}",
            "PYTHONMALLOC": "malloc",
        }
    return settings


def main() -> None:
    """Build a kind, or run a command with it."""
    kind, *command = sys.argv[1:]
    if reason := missing(kind):
        sys.exit(f"presence: error: {reason}")
    build(kind)
    if command:
        os.chdir(ROOT)
        os.execvpe(command[0], command, environment(kind))


if __name__ == "__main__":
    main()
