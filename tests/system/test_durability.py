"""What each setting of `database.durability` keeps, and what scripts see and do while the server runs."""

import sqlite3
from pathlib import Path

import pytest
from process import ServerProcess, until
from wire import UdpAgent, Watcher, notes, pidf

pytestmark = pytest.mark.system


def rows(server: ServerProcess, sql: str) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(server.database, timeout=5, isolation_level=None)
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("durability", "kept"), [("commit", True), ("os", True), ("periodic", True), ("memory", False)]
)
def test_what_an_orderly_stop_keeps(tmp_path: Path, durability: str, kept: bool):
    with ServerProcess(tmp_path, f"--set=database.durability={durability}") as server:
        with UdpAgent(server.port) as udp:
            watcher = Watcher(udp, "alice")
            assert watcher.subscribe().status == 200
            udp.notify()
            etag = udp.publish("alice", pidf("alice", ("desk", "open", "here")))["SIP-ETag"]
            assert notes(udp.notify().body) == {"desk": "here"}
        server.terminate()
        assert server.wait() == 0
        assert not list(tmp_path.glob("*-log-*"))
        server.start()
        with UdpAgent(server.port) as udp:
            assert udp.publish("alice", etag=etag).status == (200 if kept else 412)
        assert len(rows(server, "SELECT * FROM active_watchers")) == kept
        server.assert_calm()


def test_a_row_that_a_script_deletes_is_over_at_its_next_change(tmp_path: Path):
    with ServerProcess(tmp_path) as server, UdpAgent(server.port) as udp:
        watcher = Watcher(udp, "alice")
        assert watcher.subscribe().status == 200
        udp.notify()
        first = udp.publish("alice", pidf("alice", ("desk", "open", "here")))
        udp.notify()
        until("the row is in its table", lambda: len(rows(server, "SELECT * FROM presentity")) == 1)
        rows(server, "DELETE FROM presentity")
        second = udp.publish("alice", etag=first["SIP-ETag"])
        assert second.status == 200
        assert b"<basic>closed</basic>" in udp.notify().body
        assert udp.publish("alice", etag=second["SIP-ETag"]).status == 412
        server.assert_calm()
