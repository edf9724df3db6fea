"""What was acknowledged is there after kill -9."""

import subprocess
import sys
from pathlib import Path

import pytest

import presence
from presence.store.check import check
from presence.store.sqlite import Durability, SqliteStore

WRITER = """
import queue, random, sys
from presence.store.sqlite import SqliteStore

path, life, durability = sys.argv[1], int(sys.argv[2]), sys.argv[3]
waiting = queue.SimpleQueue()
store = SqliteStore(path, durability=durability, call_soon=waiting.put, fold_after_s=0.01, segment_bytes=1 << 17)
random.seed(life)
version = life * 1_000_000
rows = []
while True:
    for _ in range(5):
        version += 1
        if len(rows) < 30:
            rows.append(store.new_id("presentity"))
            row = rows[-1]
            write = ("presentity_insert", (row, f"user{row}", "example.com", "presence", f"{row}.{version}",
                2000, version, 0, "text/plain", bytes(3000), None, None))
        elif random.random() < 0.02:
            row = rows.pop(random.randrange(30))
            write = ("presentity_delete", (row,))
            version = -version
        else:
            row = random.choice(rows)
            write = ("presentity_modify", (row, f"{row}.{version}", 2000, version, 0, "text/plain", bytes(3000)))
        said = f"{row} {version}"
        version = abs(version)
        store.submit([write], lambda error, said=said: print(said, flush=True))
    store.flush()
    if durability == "commit":
        waiting.get()()
"""


@pytest.mark.parametrize("durability", ["commit", "os"])
def test_what_was_acknowledged_survives_five_kills(path: str, durability: Durability) -> None:
    acknowledged: dict[int, int] = {}
    root = str(Path(presence.__file__).parents[1])
    changes = 0
    for life in range(1, 6):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, path, str(life), durability],
            stdout=subprocess.PIPE,
            env={"PYTHONPATH": root},
            text=True,
        ) as writer:
            assert writer.stdout is not None
            lines = [writer.stdout.readline() for _ in range(400 + 310 * life)]
            writer.kill()
            lines += writer.stdout.read().split("\n")[:-1]
        for line in lines:
            row, version = map(int, line.split())
            acknowledged[row] = version
            changes += 1
        store = SqliteStore(path)
        held = {row[0]: row[6] for row in store.read("presentity_load")}
        store.close()
        for row, version in acknowledged.items():
            # One change of the row may have been under way: a newer one, or its removal.
            found = held.get(row)
            assert found is None or version < 0 or int(str(found)) >= version, (life, row)
        gone = [row for row, version in acknowledged.items() if version > 0 and row not in held]
        assert len(gone) <= 5, "removals that were under way"
        acknowledged = {row: version for row, version in acknowledged.items() if row in held or version < 0}
        assert not [row for row, version in acknowledged.items() if version < 0 and row in held]
    assert changes > 5 * 400
    assert check(path) == []
