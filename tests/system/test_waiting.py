"""Who waits for a decision, on a real server with a journal: told before the tables know, and after a kill."""

import re
import sqlite3
from pathlib import Path

import pytest
from process import ServerProcess, until
from wire import Agent, UdpAgent, Watcher

pytestmark = pytest.mark.system


def watchers(body: bytes) -> list[tuple[str, str]]:
    return [(s.decode(), e.decode()) for s, e in re.findall(rb'status="(\w+)" event="(\w+)"', body)]


def fetch(agent: Agent) -> list[tuple[str, str]]:
    """What alice is told of who watches her."""
    headers = f"Event: presence.winfo\r\nExpires: 0\r\nContact: {agent.contact}\r\n"
    assert agent.ask("SUBSCRIBE", "sip:alice@example.com", sender="alice", headers=headers).status == 200
    return watchers(agent.notify().body)


def test_rfc3857_4_7_1_who_waits_is_told_at_once_and_after_a_kill(tmp_path: Path) -> None:
    with ServerProcess(tmp_path, "--policy=rules") as server:
        with UdpAgent(server.port) as alice, UdpAgent(server.port) as bob:
            for _ in range(5):
                watch = Watcher(bob)
                assert watch.subscribe().status == 200
                bob.notify()
                # Neither change is in the tables yet: they come there half a second later.
                assert fetch(alice) == [("pending", "subscribe")]
                assert watch.subscribe(0).status == 200
                bob.notify()
                assert fetch(alice) == [("waiting", "timeout")]
            server.kill()
            server.start()
            assert fetch(alice) == [("waiting", "timeout")]
            database = sqlite3.connect(server.database, timeout=30)
            with database:
                database.execute("UPDATE watchers SET status = 1 WHERE watcher_username = 'bob'")
            database.close()
            until("the decision is noticed", lambda: fetch(alice) == [])
            assert Watcher(bob).subscribe().status == 200
            bob.notify()
            assert fetch(alice) == [("active", "subscribe")]
        server.assert_calm()
