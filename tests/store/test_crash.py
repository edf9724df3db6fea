"""What was acknowledged is there after kill -9."""

import subprocess
import sys
from pathlib import Path

import presence
from presence.store.check import check
from presence.store.sqlite import SqliteStore

from .conftest import etags

WRITER = """
import queue, sys
from presence.store.base import Write
from presence.store.sqlite import SqliteStore

def publish(etag):
    return Write("presentity_insert",
        ("alice", "example.com", "presence", etag, 2000, 1000, 0, "text/plain", bytes(3000), None, None))

path, life = sys.argv[1], sys.argv[2]
waiting = queue.SimpleQueue()
store = SqliteStore(path, call_soon=waiting.put)
number = 0
while True:
    for _ in range(5):
        etag = f"{life}-{number}"
        number += 1
        store.submit([publish(etag)], lambda error, etag=etag: print(etag, flush=True))
    store.flush()
    waiting.get()()
"""


def test_acknowledged_rows_survive_five_kills(path: str) -> None:
    acknowledged: set[str] = set()
    root = str(Path(presence.__file__).parents[1])
    for life in range(5):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, path, str(life)],
            stdout=subprocess.PIPE,
            env={"PYTHONPATH": root},
            text=True,
        ) as writer:
            assert writer.stdout is not None
            for _ in range(40 + 31 * life):
                acknowledged.add(writer.stdout.readline().strip())
            writer.kill()
            rest = writer.stdout.read()
        acknowledged.update(line for line in rest.split("\n")[:-1] if line)
    store = SqliteStore(path)
    assert acknowledged <= set(etags(store))
    assert len(acknowledged) >= 5 * 40
    store.close()
    assert check(path) == []
