"""`check` names what is wrong with a file and changes nothing."""

import os
from pathlib import Path

import pytest

from presence.cli import main
from presence.store.check import check, count_unfolded
from presence.store.queries import load_migrations
from presence.store.sqlite import SqliteStore

from .conftest import SMALL, Answers, CallerThread, ask_beside, etags_beside, leave, publish


def test_a_fine_database_has_nothing_to_say_even_while_it_is_served(path: str, answers: Answers) -> None:
    store = SqliteStore(path)
    store.submit([publish("a")], answers.done)
    store.flush()
    assert check(path) == []
    store.close()
    assert check(path) == []


def test_rows_the_server_cannot_load_are_named(path: str) -> None:
    SqliteStore(path).close()
    ask_beside(
        path,
        "INSERT INTO presentity (id, username, domain, event, etag, expires, received_time) "
        "VALUES (7, 'alice', 'example.com', 'presence', x'6162', 'tomorrow', 1000)",
    )
    assert check(path) == [
        "table presentity: etag is not text in row 7",
        "table presentity: expires is not a number in row 7",
    ]


def test_missing_tables_columns_and_keys_are_named(path: str) -> None:
    SqliteStore(path).close()
    ask_beside(
        path,
        "DROP TABLE xcap; DROP INDEX watcher_idx; ALTER TABLE presentity DROP COLUMN sender;PRAGMA user_version = 0",
    )
    assert check(path) == [
        f"schema version is 0; this server knows {len(load_migrations())}",
        "table presentity lacks the column sender",
        "table xcap is missing",
        "unique index watcher_idx on watchers (presentity_uri, watcher_username, watcher_domain, event) is missing",
        "unique index account_doc_type_idx on xcap (username, domain, doc_type, doc_uri) is missing",
    ]


def test_a_trigger_that_is_missing_is_named(path: str) -> None:
    SqliteStore(path).close()
    ask_beside(path, "DROP TRIGGER xcap_changed")
    assert check(path) == ["trigger xcap_changed is missing: a running server does not see what others change"]


def test_damage_is_found(path: str, answers: Answers) -> None:
    store = SqliteStore(path)
    for number in range(200):
        store.submit([publish(f"e{number}", body=bytes(500))], answers.done)
    store.close()
    damaged = bytearray(Path(path).read_bytes())
    damaged[-4096 * 3 : -4096] = os.urandom(4096 * 2)
    Path(path).write_bytes(damaged)
    assert any(line.startswith("damaged") or "cannot open" in line for line in check(path))


def test_a_missing_file_and_one_that_is_no_database_are_named(path: str) -> None:
    assert check(path)[0].startswith(f"cannot open {path}")
    assert not Path(path).exists()
    Path(path).write_bytes(b"not a database, whatever its name says" * 20)
    assert check(path) == [f"{path} is not a SQLite database"]


def test_what_is_in_the_journal_alone_is_said_and_can_be_folded(
    path: str, caller: CallerThread, answers: Answers, capsys: pytest.CaptureFixture[str]
) -> None:
    store = SqliteStore(path, call_soon=caller.call_soon, fold_after_s=3600, segment_bytes=SMALL)
    store.submit([publish("a"), publish("b")], answers.done)
    store.flush()
    caller.run_until(lambda: bool(answers))
    assert check(path) == []
    assert count_unfolded(path) == 2
    leave(store)
    assert main(["db", "check", path]) == 0
    assert "2 changes are in the journal" in capsys.readouterr().out
    assert main(["db", "fold", path]) == 0
    assert etags_beside(path) == ["a", "b"]
    assert main(["db", "check", path]) == 0
    assert capsys.readouterr().out == "ok\nok\n"
