"""Rules that another process writes act on watchers of a running server, and of one that was killed."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from process import ServerProcess
from wire import UdpAgent, Watcher, notes, pidf

pytestmark = pytest.mark.system

HEAD = (
    '<cp:ruleset xmlns:cp="urn:ietf:params:xml:ns:common-policy" xmlns:pr="urn:ietf:params:xml:ns:pres-rules">'
    '<cp:rule id="a"><cp:actions><pr:sub-handling>{}</pr:sub-handling></cp:actions><cp:transformations>'
    "<pr:provide-services><pr:all-services/></pr:provide-services>{}</cp:transformations></cp:rule></cp:ruleset>"
)
NOTES = "<pr:provide-note>true</pr:provide-note>"
INSERT = (
    "INSERT OR REPLACE INTO xcap (username, domain, doc, doc_type, etag, source, doc_uri, port) "
    "VALUES ('alice', 'example.com', ?, 2, ?, 0, 'index', 0)"
)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path, "--policy=rules") as running:
        yield running
        running.assert_calm()


def write(server: ServerProcess, handling: str, shown: str = "") -> float:
    with closing(sqlite3.connect(server.database, timeout=20, isolation_level=None)) as connection:
        connection.execute(INSERT, (HEAD.format(handling, shown).encode(), f"{time.monotonic()}"))
    return time.monotonic()


def test_rules_act_within_a_second_and_outlive_a_kill(server: ServerProcess):
    with UdpAgent(server.port) as agent:
        watcher = Watcher(agent)
        assert watcher.subscribe().status == 200
        assert agent.notify()["Subscription-State"].startswith("pending")
        assert agent.publish("alice", pidf("alice", ("desk", "open", "secret"))).status == 200

        written = write(server, "allow")
        told = agent.notify()
        assert time.monotonic() - written < 5
        assert told["Subscription-State"].startswith("active")
        assert b"<basic>open</basic>" in told.body
        assert notes(told.body) == {}

        write(server, "allow", NOTES)
        assert notes(agent.notify().body) == {"desk": "secret"}

        server.kill()
        write(server, "confirm")
        server.start()
        told = agent.notify()
        assert told["Subscription-State"].startswith("pending")
        assert b"secret" not in told.body

        write(server, "block")
        told = agent.notify()
        assert (told["Subscription-State"], told.body) == ("terminated;reason=rejected", b"")
