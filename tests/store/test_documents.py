"""Documents of table `xcap`: changed when they are what was expected, and watched for what others write.

The other writer is a connection of its own with the statements of OpenXCAP, or a process of its own.
"""

import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import apsw
import pytest

from presence.errors import StoreError
from presence.store.base import Value
from presence.store.sqlite import SqliteStore
from presence.values import Aor
from presence.xcap import documents as module
from presence.xcap.documents import LOOK_EVERY_S, Change, Conflict, Documents
from presence.xcap.shelf import Key, Stored

from .conftest import SMALL, CallerThread, ask_beside, wait_until

ALICE, BOB = Aor("alice", "example.com"), Aor("bob", "example.com")
RULES = "pres-rules"
INDEX = Key(RULES, ALICE, "index")
OPENXCAP_INSERT = (
    "INSERT INTO xcap (username, domain, doc, doc_type, etag, source, doc_uri, port) VALUES (?, ?, ?, ?, ?, 0, ?, 0)"
)
OPENXCAP_UPDATE = (
    "UPDATE xcap SET doc = ?, etag = ? WHERE username = ? AND domain = ? AND doc_type = ? AND etag = ? AND doc_uri = ?"
)
OPENXCAP_DELETE = "DELETE FROM xcap WHERE username = ? AND domain = ? AND doc_type = ? AND doc_uri = ? AND etag = ?"


class Other:
    """An XCAP server that shares the database."""

    def __init__(self, path: str) -> None:
        self.connection = apsw.Connection(path)
        self.connection.set_busy_timeout(5000)

    def run(self, sql: str, *params: Value) -> None:
        self.connection.execute(sql, params)

    def insert(self, body: str | bytes, etag: str, *, user: Aor = ALICE, doc_type: int = 2, name: str = "index.xml"):
        self.run(OPENXCAP_INSERT, *user, body, doc_type, etag, name)

    def update(self, body: str, etag: str, expected: str, *, user: Aor = ALICE, doc_type: int = 2):
        self.run(OPENXCAP_UPDATE, body, etag, *user, doc_type, expected, "index.xml")

    def delete(self, etag: str, *, user: Aor = ALICE, doc_type: int = 2):
        self.run(OPENXCAP_DELETE, *user, doc_type, "index.xml", etag)


class Outcomes(list[Exception | None]):
    """What `done` was given, in order."""

    @property
    def last(self) -> Exception | None:
        return self[-1]


class Desk:
    """Documents over a database in a file, what their listener heard, and time by hand."""

    def __init__(self, path: str, **bounds: int) -> None:
        self.store = SqliteStore(path)
        self.documents = Documents(self.store, **bounds)
        self.changes: list[Change] = []
        self.resets = 0
        self.documents.listeners.append(self.changes.append)
        self.documents.resets.append(self._reset)
        self.outcomes = Outcomes()
        self.now = 1000.0

    def _reset(self) -> None:
        self.resets += 1

    def put(self, body: bytes, etag: str, expected: str | None, key: Key = INDEX) -> Exception | None:
        self.documents.put(key, body, etag, expected, self.outcomes.append)
        self.store.flush()
        return self.outcomes.last

    def delete(self, expected: str, key: Key = INDEX) -> Exception | None:
        self.documents.delete(key, expected, self.outcomes.append)
        self.store.flush()
        return self.outcomes.last

    def look(self) -> list[tuple[str, str | None, str | None]]:
        """Let the time of a look pass; return what was told since the last, as name and entity-tags."""
        self.now += LOOK_EVERY_S
        self.documents.tick(self.now)
        self.store.flush()
        return self.heard()

    def heard(self) -> list[tuple[str, str | None, str | None]]:
        told = [(c.key.name, etag_of(c.before), etag_of(c.after)) for c in self.changes]
        self.changes.clear()
        return told


def etag_of(stored: Stored | None) -> str | None:
    return None if stored is None else stored.etag


def count_log(path: str) -> Value:
    return ask_beside(path, "SELECT count(*) FROM xcap_changes")[0][0]


@pytest.fixture
def desk(path: str) -> Iterator[Desk]:
    opened = Desk(path)
    yield opened
    opened.store.close()


@pytest.fixture
def other(desk: Desk, path: str) -> Iterator[Other]:
    beside = Other(path)
    yield beside
    beside.connection.close()


# Our own changes


def test_a_document_is_stored_when_there_was_none(desk: Desk) -> None:
    assert desk.documents.get(INDEX) is None
    assert desk.put(b"<ruleset/>", "e1", None) is None
    stored = desk.documents.get(INDEX)
    assert stored is not None
    assert stored[:4] == (INDEX, b"<ruleset/>", "e1", "")
    assert stored.changed_at > 1_600_000_000
    assert stored.source == 0
    assert desk.documents.of(ALICE, RULES) == [stored]
    assert desk.documents.of(BOB, RULES) == desk.documents.of(None, RULES) == []
    assert desk.heard() == [("index", None, "e1")]


def test_a_document_is_changed_only_from_what_was_expected(desk: Desk) -> None:
    desk.put(b"1", "e1", None)
    assert desk.put(b"2", "e2", "e1") is None
    for expected in ("e1", "e3", None):
        assert isinstance(desk.put(b"3", "e4", expected), Conflict)
    assert isinstance(desk.delete("e1"), Conflict)
    assert desk.delete("e2") is None
    assert isinstance(desk.delete("e2"), Conflict)
    assert desk.documents.get(INDEX) is None
    assert desk.heard() == [("index", None, "e1"), ("index", "e1", "e2"), ("index", "e2", None)]
    assert desk.look() == []


def test_a_change_says_what_was_there_before_and_after(desk: Desk) -> None:
    desk.put(b"1", "e1", None)
    desk.put(b"2", "e2", "e1")
    desk.delete("e2")
    bodies = [(c.before and c.before.body, c.after and c.after.body) for c in desk.changes]
    assert bodies == [(None, b"1"), (b"1", b"2"), (b"2", None)]


def test_of_two_changes_at_once_one_is_made(desk: Desk) -> None:
    desk.put(b"0", "e0", None)
    for number in range(1, 4):
        desk.documents.put(INDEX, b"%d" % number, f"e{number}", "e0", desk.outcomes.append)
    desk.documents.delete(INDEX, "e0", desk.outcomes.append)
    desk.store.flush()
    assert desk.outcomes[:2] == [None, None]
    assert [type(outcome) for outcome in desk.outcomes[2:]] == [Conflict] * 3
    assert desk.look() == [("index", None, "e0"), ("index", "e0", "e1")]


def test_of_two_that_create_a_document_one_is_refused(desk: Desk) -> None:
    for number in range(2):
        desk.documents.put(INDEX, b"%d" % number, f"e{number}", None, desk.outcomes.append)
    desk.store.flush()
    assert desk.outcomes[0] is None
    assert isinstance(desk.outcomes[1], Conflict)
    assert desk.heard() == [("index", None, "e0")]


def test_what_is_stored_knows_its_type(desk: Desk) -> None:
    key = Key("org.openmobilealliance.pres-content", ALICE, "icons/face.png")
    desk.documents.put(key, b"\x89PNG", "e1", None, desk.outcomes.append, content_type="image/png")
    desk.store.flush()
    stored = desk.documents.get(key)
    assert stored is not None
    assert stored.content_type == "image/png"
    assert stored.body == b"\x89PNG"
    assert desk.documents.all_of(ALICE) == [stored._replace(body=b"")]


def test_documents_of_the_global_tree_have_no_owner(desk: Desk, path: str) -> None:
    key = Key("resource-lists", None, "index")
    desk.put(b"<resource-lists/>", "e1", None, key)
    assert ask_beside(path, "SELECT username, domain FROM xcap") == [("", "")]
    assert [stored.key for stored in desk.documents.of(None, "resource-lists")] == [key]
    assert [stored.key for stored in desk.documents.all_of(None)] == [key]


def test_a_usage_nobody_stores_has_no_documents(desk: Desk) -> None:
    assert desk.documents.of(None, "xcap-caps") == []
    with pytest.raises(KeyError):
        desk.documents.put(Key("xcap-caps", None, "index"), b"", "e1", None, desk.outcomes.append)


def test_a_change_that_cannot_be_written_is_told_as_such(desk: Desk) -> None:
    desk.documents.put(INDEX, None, "e1", None, desk.outcomes.append)  # type: ignore[arg-type]
    desk.store.flush()
    assert isinstance(desk.outcomes.last, StoreError)
    assert desk.documents.get(INDEX) is None
    assert desk.look() == []


def test_a_database_that_cannot_be_read_refuses_changes(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_query: str, _params: tuple[Value, ...] = ()) -> Iterator[tuple[Value, ...]]:
        raise StoreError("cannot read")

    monkeypatch.setattr(desk.store, "read", fail)
    assert isinstance(desk.put(b"1", "e1", None), StoreError)
    assert isinstance(desk.delete("e1"), StoreError)
    desk.documents.tick(desk.now)


# What others write


def test_what_another_xcap_server_writes_is_told_at_the_next_look(desk: Desk, other: Other) -> None:
    other.insert("<ruleset/>", "x1")
    assert desk.look() == [("index", None, "x1")]
    other.update("<ruleset />", "x2", "x1")
    assert desk.look() == [("index", "x1", "x2")]
    other.delete("x2")
    assert desk.look() == [("index", "x2", None)]
    assert desk.look() == []


def test_nothing_is_looked_at_between_looks(desk: Desk, other: Other) -> None:
    desk.look()
    other.insert("<ruleset/>", "x1")
    desk.documents.tick(desk.now + LOOK_EVERY_S / 2)
    assert desk.heard() == []
    assert desk.look() == [("index", None, "x1")]


def test_several_changes_of_a_document_are_told_as_one(desk: Desk, other: Other) -> None:
    other.insert("1", "x1")
    desk.look()
    for number in range(1, 5):
        other.update(str(number), f"x{number + 1}", f"x{number}")
    assert desk.look() == [("index", "x1", "x5")]


def test_a_document_that_came_and_went_is_not_told(desk: Desk, other: Other) -> None:
    other.insert("1", "x1")
    other.delete("x1")
    assert desk.look() == []


@pytest.mark.parametrize("read_before", [False, True])
def test_what_was_read_after_a_change_is_told_all_the_same(desk: Desk, other: Other, *, read_before: bool) -> None:
    """A decision made between the change and the look does not hide it from subscriptions that run."""
    other.insert("1", "x1")
    desk.look()
    if read_before:
        desk.documents.get(INDEX)
    else:
        desk.documents._shelves.clear()
    other.update("2", "x2", "x1")
    if not read_before:
        stored = desk.documents.get(INDEX)
        assert stored is not None
        assert stored.etag == "x2"
    assert desk.look() == [("index", "x1", "x2")]
    stored = desk.documents.get(INDEX)
    assert stored is not None
    assert stored.body == b"2"


def test_the_body_before_is_there_when_it_was_in_memory(desk: Desk, other: Other) -> None:
    other.insert("1", "x1")
    desk.look()
    desk.documents.get(INDEX)
    other.update("2", "x2", "x1")
    desk.now += LOOK_EVERY_S
    desk.documents.tick(desk.now)
    change = desk.changes[-1]
    assert change.before is not None
    assert change.after is not None
    assert (change.before.body, change.after.body) == (b"1", b"2")


def test_a_body_changed_under_the_same_tag_is_a_change(desk: Desk, other: Other) -> None:
    other.insert("1", "same")
    desk.look()
    for kept in (True, False):
        desk.documents.get(INDEX) if kept else desk.documents._shelves.clear()
        other.run("UPDATE xcap SET doc = doc || '!'")
        assert desk.look() == [("index", "same", "same")]
    other.run("UPDATE xcap SET port = 0, etag = etag")
    assert desk.look() == []


def test_replaced_rows_are_told_with_the_tag_they_had(desk: Desk, other: Other) -> None:
    other.insert("1", "x1")
    desk.look()
    other.run(OPENXCAP_INSERT.replace("INSERT", "INSERT OR REPLACE"), *ALICE, "2", 2, "x2", "index.xml")
    assert desk.look() == [("index", "x1", "x2")]
    other.run(OPENXCAP_INSERT.replace("INSERT", "INSERT OR IGNORE"), *ALICE, "3", 2, "x3", "index.xml")
    assert desk.look() in ([], [("index", "x2", "x2")])


def test_a_row_given_to_somebody_else_is_two_changes(desk: Desk, other: Other) -> None:
    other.insert("1", "x1")
    desk.look()
    other.run("UPDATE xcap SET username = 'bob'")
    desk.now += LOOK_EVERY_S
    desk.documents.tick(desk.now)
    told = {(c.key.owner, etag_of(c.before), etag_of(c.after)) for c in desk.changes}
    assert told == {(ALICE, "x1", None), (BOB, None, "x1")}


def test_a_foreign_writer_between_reading_and_writing_is_not_overwritten(desk: Desk, other: Other) -> None:
    """The check of the tag is in the statement, not in what was read."""
    desk.put(b"0", "e0", None)
    other.run("UPDATE xcap SET doc_uri = 'index.xml'")
    desk.look()
    for attempt in ("put", "delete"):
        stored = desk.documents.get(INDEX)
        assert stored is not None
        before = stored.etag
        if attempt == "put":
            desk.documents.put(INDEX, b"ours", "ours", before, desk.outcomes.append)
        else:
            desk.documents.delete(INDEX, before, desk.outcomes.append)
        other.update(f"theirs, after {attempt}", f"x-{attempt}", before)
        desk.store.flush()
        assert isinstance(desk.outcomes.last, Conflict)
        stored = desk.documents.get(INDEX)
        assert stored is not None
        assert (stored.body, stored.etag) == (f"theirs, after {attempt}".encode(), f"x-{attempt}")
    desk.documents.put(Key(RULES, BOB, "index"), b"ours", "ours", None, desk.outcomes.append)
    other.insert("theirs", "x1", user=BOB)
    desk.store.flush()
    assert isinstance(desk.outcomes.last, Conflict)
    assert [stored.etag for stored in desk.documents.of(BOB, RULES)] == ["x1"]


def test_a_foreign_change_just_after_ours_does_not_hide_ours(path: str, caller: CallerThread) -> None:
    """Two writers in threads: what `done` says is what happened to our change, whatever stands there by now."""
    store = SqliteStore(path, call_soon=caller.call_soon, segment_bytes=SMALL)
    other = Other(path)
    documents = Documents(store)
    changes: list[Change] = []
    documents.listeners.append(changes.append)
    outcomes: list[Exception | None] = []
    documents.put(INDEX, b"1", "e1", None, outcomes.append)
    store.flush()
    wait_until(lambda: bool(list(other.connection.execute("SELECT 1 FROM xcap WHERE etag = 'e1'"))))
    other.run("UPDATE xcap SET etag = 'x2', doc = '2'")
    caller.run_until(lambda: bool(outcomes))
    assert outcomes == [None]
    assert [(etag_of(c.before), etag_of(c.after)) for c in changes] == [(None, "x2")]
    documents.tick(1000.0)
    assert len(changes) == 1
    other.connection.close()
    store.close()


def test_a_writer_that_holds_the_lock_makes_ours_wait_and_lose(path: str, caller: CallerThread) -> None:
    store = SqliteStore(path, call_soon=caller.call_soon, segment_bytes=SMALL)
    other = Other(path)
    other.insert("0", "x0")
    documents = Documents(store)
    outcomes: list[Exception | None] = []
    other.run("BEGIN IMMEDIATE")
    documents.put(INDEX, b"ours", "ours", "x0", outcomes.append)
    store.flush()
    other.update("theirs", "x1", "x0")
    other.run("COMMIT")
    caller.run_until(lambda: bool(outcomes))
    assert isinstance(outcomes[0], Conflict)
    other.connection.close()
    store.close()
    assert ask_beside(path, "SELECT doc, etag FROM xcap") == [("theirs", "x1")]


COUNTING = """
import sqlite3, sys
path, most = sys.argv[1], int(sys.argv[2])
connection = sqlite3.connect(path, isolation_level=None, timeout=20)
done = 0
while done < most:
    ((body, etag),) = connection.execute("SELECT doc, etag FROM xcap")
    count = int(body) + 1
    changed = connection.execute(
        "UPDATE xcap SET doc = ?, etag = ? WHERE username = 'alice' AND etag = ?", (str(count), f"x{count}", etag)
    )
    done += changed.rowcount
"""


def test_writers_in_other_processes_lose_no_update_and_none_of_ours_is_lost(path: str, caller: CallerThread) -> None:
    """Two processes and we count together, each from what it read."""
    store = SqliteStore(path, call_soon=caller.call_soon, segment_bytes=SMALL)
    documents = Documents(store)
    tags: list[tuple[str | None, str | None]] = []
    documents.listeners.append(lambda change: tags.append((etag_of(change.before), etag_of(change.after))))
    outcomes: list[Exception | None] = []
    documents.put(INDEX, b"0", "e0", None, outcomes.append)
    store.flush()
    caller.run_until(lambda: bool(outcomes))
    others = [subprocess.Popen([sys.executable, "-c", COUNTING, path, "100"]) for _ in range(2)]
    done = refused = 0
    while done < 100:
        stored = documents.get(INDEX)
        assert stored is not None
        count = int(stored.body) + 1
        outcomes.clear()
        documents.put(INDEX, b"%d" % count, f"e{count}", stored.etag, outcomes.append)
        store.flush()
        caller.run_until(lambda: bool(outcomes))
        assert outcomes[0] is None or isinstance(outcomes[0], Conflict)
        done += outcomes[0] is None
        refused += outcomes[0] is not None
    assert [other.wait(60) for other in others] == [0, 0]
    documents.tick(1000.0)
    stored = documents.get(INDEX)
    assert stored is not None
    assert int(stored.body) == 300
    # What was told is a chain: nothing twice, nothing left out.
    assert tags[0] == (None, "e0")
    assert all(before == after for (_, after), (before, _) in pairwise(tags))
    store.close()


# Rows as others have them


@pytest.mark.parametrize("name", ["index", "index.xml"])
@pytest.mark.parametrize("body", ["<ruleset>é</ruleset>", "<ruleset>é</ruleset>".encode()])
@pytest.mark.parametrize("auid", ["pres-rules", "org.openmobilealliance.pres-rules"])
def test_both_names_of_the_rules_and_both_kinds_of_body_are_read(
    desk: Desk, other: Other, path: str, name: str, body: str | bytes, auid: str
) -> None:
    doc_type = {"pres-rules": 2}.get(auid, 32)
    other.insert(body, "x1", name=name, doc_type=doc_type)
    key = Key(auid, ALICE, "index")
    stored = desk.documents.get(key)
    assert stored is not None
    assert (stored.key, stored.body) == (key, "<ruleset>é</ruleset>".encode())
    assert desk.documents.get(key._replace(name="index.xml")) == stored
    assert [entry.key for entry in desk.documents.all_of(ALICE)] == [key]
    assert isinstance(desk.put(b"1", "e1", None, key), Conflict)
    assert desk.put(b"1", "e1", "x1", key) is None
    # OpenXCAP finds its row again.
    assert ask_beside(path, "SELECT doc_uri, doc, etag FROM xcap") == [(name, b"1", "e1")]


def test_index_xml_of_other_usages_is_another_document(desk: Desk, other: Other) -> None:
    for name in ("index", "index.xml"):
        other.insert(name, name, name=name, doc_type=4)
    assert [stored.key.name for stored in desk.documents.of(ALICE, "resource-lists")] == ["index", "index.xml"]


def test_of_two_rows_for_one_document_the_later_counts_and_both_are_deleted(
    desk: Desk, other: Other, path: str
) -> None:
    other.insert("old", "x1", name="index.xml")
    other.insert("new", "x2", name="index")
    other.run("UPDATE xcap SET changed_at = CASE etag WHEN 'x1' THEN 1000 ELSE 2000 END")
    assert [stored.etag for stored in desk.documents.of(ALICE, RULES)] == ["x2"]
    other.run("UPDATE xcap SET doc = 'newest' WHERE etag = 'x1'")
    desk.look()
    assert [stored.etag for stored in desk.documents.all_of(ALICE)] == ["x1"]
    assert [stored.etag for stored in desk.documents.of(ALICE, RULES)] == ["x1"]
    assert desk.delete("x1") is None
    assert desk.documents.of(ALICE, RULES) == []
    assert ask_beside(path, "SELECT * FROM xcap") == []


@pytest.mark.parametrize(
    ("doc_uri", "name"),
    [
        ("/xcap-root/pres-rules/users/sip:alice@example.com/index", "index"),
        ("/xcap-root/pres-rules/users/sip%3Aalice%40example.com/index", "index"),
        ("/a/b/pres-rules/users/alice@example.com/index.xml", "index"),
        ("/xcap-root/pres-rules/users/sip:alice@example.com/old/rules", "old/rules"),
        ("/somewhere/else/rules", "rules"),
        ("my rules", "my rules"),
    ],
)
def test_a_row_may_name_the_whole_path(desk: Desk, other: Other, doc_uri: str, name: str) -> None:
    other.insert("1", "x1", name=doc_uri)
    assert [stored.key.name for stored in desk.documents.of(ALICE, RULES)] == [name]


def test_a_fetched_document_becomes_ours_when_it_is_put(desk: Desk, other: Other, path: str) -> None:
    other.insert("1", "x1", name="/xcap-root/pres-rules/users/sip:alice@example.com/index")
    other.run("UPDATE xcap SET source = 1, port = 8000")
    assert desk.put(b"2", "e2", "x1") is None
    assert ask_beside(path, "SELECT source, doc_uri, port FROM xcap") == [(0, "index", 0)]


def test_odd_values_are_read_as_far_as_they_go(desk: Desk, other: Other) -> None:
    sql = "INSERT INTO xcap (username, domain, doc, doc_type, etag, source, doc_uri, port) VALUES (?,?,?,?,?,?,?,?)"
    other.run(sql, *ALICE, "1", 2, b"\xff\xfe", "none", b"index", "many")
    other.run(sql, *ALICE, "1", 77, "e", 0, "index", 0)
    (stored,) = desk.documents.of(ALICE, RULES)
    assert (stored.etag, stored.source, stored.port) == ("��", 0, 0)
    assert len(desk.documents.all_of(ALICE)) == 1


# The log


def test_the_log_is_trimmed_to_its_newest_entry(desk: Desk, other: Other, path: str) -> None:
    for number in range(20):
        other.insert("1", "x", user=Aor(f"user{number}", "example.com"))
    assert len(desk.look()) == 20
    desk.look()
    assert count_log(path) == 1
    desk.put(b"1", "e1", None)
    assert desk.look() == [("index", None, "e1")]
    assert count_log(path) == 1


def test_more_than_one_look_can_read_is_read_in_several(
    desk: Desk, other: Other, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "AT_ONCE", 5)
    desk.documents.tick(desk.now)
    for number in range(12):
        other.insert("1", "x", user=Aor(f"user{number}", "example.com"))
    assert len(desk.look()) == 5
    # The rest comes without waiting.
    desk.documents.tick(desk.now)
    desk.documents.tick(desk.now)
    assert len(desk.heard()) == 7
    assert desk.resets == 0


def test_when_too_much_changed_everything_may_have(desk: Desk, other: Other, path: str) -> None:
    desk.put(b"1", "e1", None)
    desk.look()
    other.run("BEGIN")
    rows = ((f"user{number}", "example.com", "1", 2, "x", "index.xml") for number in range(10_500))
    other.connection.executemany(OPENXCAP_INSERT, rows)
    other.run("UPDATE xcap SET doc = 'other', etag = 'x9'")
    other.run("COMMIT")
    assert count_log(path) == 10_000
    desk.changes.clear()
    assert desk.look() == []
    assert desk.resets == 1
    stored = desk.documents.get(INDEX)
    assert stored is not None
    assert stored.etag == "x9"
    other.insert("1", "x1", user=BOB)
    assert desk.look() == [("index", None, "x1")]
    assert desk.resets == 1
    assert count_log(path) == 1


def test_what_changed_while_nobody_looked_is_no_news_at_the_start(path: str) -> None:
    SqliteStore(path).close()
    other = Other(path)
    for number in range(100):
        other.insert("1", "x", user=Aor(f"user{number}", "example.com"))
    desk = Desk(path)
    assert desk.look() == []
    assert desk.documents.of(Aor("user7", "example.com"), RULES) != []
    other.insert("1", "x1")
    assert desk.look() == [("index", None, "x1")]
    assert desk.resets == 0
    other.connection.close()
    desk.store.close()


def test_a_log_somebody_emptied_is_taken_for_everything_changed(desk: Desk, other: Other) -> None:
    desk.put(b"1", "e1", None)
    desk.put(b"1", "e2", "e1")
    desk.look()
    desk.changes.clear()
    other.run("DELETE FROM xcap_changes")
    other.run("UPDATE sqlite_sequence SET seq = 50 WHERE name = 'xcap_changes'")
    other.insert("1", "x1", user=BOB)
    assert desk.look() == []
    assert desk.resets == 1


# Memory


def test_what_is_kept_has_bounds(path: str) -> None:
    desk = Desk(path, shelves_kept=10, bytes_kept=20_000)
    for number in range(30):
        desk.documents.of(Aor(f"user{number}", "example.com"), RULES)
    assert desk.documents.kept[0] == 10
    for number in range(6):
        desk.put(bytes(9_000), "e1", None, Key(RULES, Aor(f"user{number}", "example.com"), "index"))
        assert desk.documents.kept[1] <= 20_000
    desk.put(bytes(50_000), "e1", None)
    stored = desk.documents.get(INDEX)
    assert stored is not None
    assert len(stored.body) == 50_000
    assert desk.documents.kept == (0, 0)
    desk.store.close()


def test_a_kept_document_is_not_read_again(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.put(b"1", "e1", None)
    desk.documents.of(BOB, RULES)
    monkeypatch.setattr(desk.store, "read", None)
    assert desk.documents.get(INDEX) is not None
    assert desk.documents.of(BOB, RULES) == []


def test_looking_again_tells_what_no_trigger_told(desk: Desk, other: Other) -> None:
    desk.put(b"1", "e1", None)
    desk.documents.of(BOB, RULES)
    desk.heard()
    for trigger in ("xcap_changed", "xcap_added"):
        other.run(f"DROP TRIGGER {trigger}")
    other.run("UPDATE xcap SET doc = '2', etag = 'x2'")
    other.insert("1", "x1", user=BOB)
    desk.look()
    assert desk.heard() == []
    desk.documents.look_again(ALICE)
    assert desk.heard() == [("index", "e1", "x2")]
    desk.documents.look_again([Key(RULES, BOB, "index")])
    assert desk.heard() == [("index", None, "x1")]
    desk.documents.look_again(BOB)
    assert desk.heard() == []


def test_looking_again_tells_a_change_at_once_and_only_once(desk: Desk, other: Other) -> None:
    desk.put(b"1", "e1", None)
    desk.heard()
    other.run("UPDATE xcap SET doc = '2', etag = 'x2'")
    desk.documents.look_again(ALICE)
    assert desk.heard() == [("index", "e1", "x2")]
    assert desk.look() == []


# Listeners


def test_a_listener_that_fails_does_not_silence_the_others(desk: Desk, other: Other) -> None:
    def fail(_change: Change) -> None:
        raise ZeroDivisionError

    desk.documents.listeners.insert(0, fail)
    other.insert("1", "x1")
    other.insert("1", "x1", user=BOB)
    with pytest.raises(ZeroDivisionError):
        desk.look()
    assert len(desk.heard()) == 2
    assert desk.look() == []


def test_what_a_listener_changes_is_told_after_what_it_heard(desk: Desk, other: Other) -> None:
    copy = Key("org.openmobilealliance.pres-rules", ALICE, "index")

    def answer(change: Change) -> None:
        if change.key == INDEX and change.after is not None:
            desk.documents.put(copy, change.after.body, "copy", None, desk.outcomes.append)
            desk.store.flush()

    desk.documents.listeners.insert(0, answer)
    other.insert("1", "x1")
    desk.now += LOOK_EVERY_S
    desk.documents.tick(desk.now)
    assert [(change.key.auid, etag_of(change.after)) for change in desk.changes] == [
        ("pres-rules", "x1"),
        ("org.openmobilealliance.pres-rules", "copy"),
    ]


def test_a_server_that_keeps_nothing_shares_documents_all_the_same(path: str) -> None:
    store = SqliteStore(path, durability="memory")
    other = Other(path)
    documents = Documents(store)
    changes: list[Change] = []
    documents.listeners.append(changes.append)
    outcomes: list[Exception | None] = []
    documents.put(INDEX, b"1", "e1", None, outcomes.append)
    store.flush()
    assert outcomes == [None]
    assert list(other.connection.execute("SELECT etag FROM xcap")) == [("e1",)]
    other.run("UPDATE xcap SET etag = 'x2'")
    documents.tick(1000.0)
    assert [etag_of(change.after) for change in changes] == ["e1", "x2"]
    other.connection.close()
    store.close()


def test_a_database_in_memory_holds_documents_too() -> None:
    store = SqliteStore(":memory:")
    documents = Documents(store)
    outcomes: list[Exception | None] = []
    documents.put(INDEX, b"1", "e1", None, outcomes.append)
    store.flush()
    assert outcomes == [None]
    assert [stored.etag for stored in documents.of(ALICE, RULES)] == ["e1"]
    store.close()


def test_documents_outlive_a_restart(path: str, tmp_path: Path) -> None:
    first = Desk(path)
    first.put(b"1", "e1", None)
    first.store.close()
    second = Desk(path)
    stored = second.documents.get(INDEX)
    assert stored is not None
    assert (stored.body, stored.etag) == (b"1", "e1")
    second.store.close()
