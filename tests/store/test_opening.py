"""What a database file may be when the server starts, and who else may have it open."""

import os
import stat
from pathlib import Path

import pytest

from presence.errors import StoreError
from presence.store.opening import APPLICATION_ID
from presence.store.queries import load_migrations
from presence.store.sqlite import SqliteStore

from .conftest import Answers, ask_beside, publish


def test_a_new_database_is_private_and_its_folder_is_made(tmp_path: Path) -> None:
    path = tmp_path / "var" / "presence" / "presence.db"
    SqliteStore(str(path)).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert ask_beside(str(path), "PRAGMA user_version") == [(len(load_migrations()),)]
    assert ask_beside(str(path), "PRAGMA application_id") == [(APPLICATION_ID,)]
    assert ask_beside(str(path), "PRAGMA journal_mode") == [("wal",)]


def test_the_mode_an_operator_gave_the_file_stays(path: str) -> None:
    SqliteStore(path).close()
    os.chmod(path, 0o660)
    SqliteStore(path).close()
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o660


def test_rows_are_there_after_closing_and_opening(path: str, answers: Answers) -> None:
    store = SqliteStore(path)
    store.submit([publish("a")], answers.done)
    store.close()
    store = SqliteStore(path)
    assert list(store.read("presentity_load")) == [publish("a").params[:11]]
    store.close()


@pytest.mark.parametrize(("durability", "level"), [("commit", 2), ("periodic", 2), ("os", 1)])
def test_durability_is_the_synchronous_level(path: str, answers: Answers, durability: str, level: int) -> None:
    store = SqliteStore(path, durability=durability)  # type: ignore[arg-type]
    store.submit([publish("a")], answers.done)
    store.flush()
    assert store._connection.pragma("synchronous") == level
    store.close()


def test_a_second_server_is_refused_and_leaves_the_first_alone(path: str, answers: Answers) -> None:
    first = SqliteStore(path)
    link = f"{path}.link"
    os.symlink(path, link)
    for name in (path, link):
        with pytest.raises(StoreError, match="used by another presence server"):
            SqliteStore(name)
    first.submit([publish("a")], answers.done)
    first.close()
    assert answers == [None]
    SqliteStore(path).close()


def test_a_newer_schema_is_refused_with_both_versions(path: str) -> None:
    SqliteStore(path).close()
    ask_beside(path, "PRAGMA user_version = 77")
    with pytest.raises(StoreError, match=r"schema version 77; this server knows versions up to \d+"):
        SqliteStore(path)
    assert ask_beside(path, "PRAGMA user_version") == [(77,)]


def test_a_file_that_is_no_database_is_refused_and_untouched(path: str) -> None:
    text = b"[server]\ndomain = 'example.com'\n" * 100
    Path(path).write_bytes(text)
    with pytest.raises(StoreError, match="is not a SQLite database"):
        SqliteStore(path)
    assert Path(path).read_bytes() == text
    with pytest.raises(StoreError, match="is not a SQLite database"):  # the claim was given back
        SqliteStore(path)


def test_a_database_of_another_application_is_refused(path: str) -> None:
    ask_beside(path, "PRAGMA application_id = 42")
    with pytest.raises(StoreError, match="another application"):
        SqliteStore(path)


def test_a_migration_that_fails_leaves_the_file_as_it_was(path: str) -> None:
    ask_beside(path, "CREATE TABLE watchers (id INTEGER PRIMARY KEY)")
    with pytest.raises(StoreError, match=r"migration 0001_initial failed: .*watchers already exists"):
        SqliteStore(path)
    assert ask_beside(path, "SELECT name FROM sqlite_schema") == [("watchers",)]
    assert ask_beside(path, "PRAGMA user_version") == [(0,)]


def test_a_folder_or_an_impossible_path_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot open"):
        SqliteStore(str(tmp_path))
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot open"):
        SqliteStore(str(tmp_path / "file" / "presence.db"))


def test_memory_has_no_writer_thread(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="in memory"):
        SqliteStore(":memory:", call_soon=lambda callback: callback())


def test_a_row_inserted_as_for_opensips_is_loaded(path: str) -> None:
    SqliteStore(path).close()
    ask_beside(
        path,
        "INSERT INTO presentity (username, domain, event, etag, expires, received_time, body) "
        "VALUES ('alice', 'example.com', 'presence', 'a.1', 2000, 1000, '<presence/>');"
        "INSERT INTO active_watchers (presentity_uri, watcher_username, watcher_domain, to_user, to_domain, "
        "to_tag, from_tag, callid, local_cseq, remote_cseq, contact, expires, socket_info, local_contact) "
        "VALUES ('sip:alice@example.com', 'bob', 'example.com', 'alice', 'example.com', 't', 'f', 'c', 1, 1, "
        "'sip:bob@192.0.2.1', 'soon', 'udp:192.0.2.9:5060', 'sip:192.0.2.9')",
    )
    store = SqliteStore(path)
    (publication,) = store.read("presentity_load")
    (ordinary,) = store.read("active_watchers_load")
    (subscription,) = store.read("active_watchers_get", (ordinary[0], ordinary[0]))
    store.close()
    assert publication[8] is None
    assert publication[9] == b"<presence/>"
    assert (ordinary[3], subscription[7]) == ("", "")
    assert (ordinary[11], subscription[15]) == (0, 0), "a time that is no number is long expired"


def test_publications_load_in_the_order_of_their_rows(store: SqliteStore, answers: Answers) -> None:
    for etag, received, order in (("late", 1002, None), ("b", 1001, 2), ("a", 1001, 1), ("early", 1000, 9)):
        write = publish(etag)
        store.submit([write._replace(params=(*write.params[:6], received, order, *write.params[8:]))], answers.done)
    store.flush()
    rows = list(store.read("presentity_load"))
    assert {row[4] for row in rows} == {"late", "b", "a", "early"}
    assert [row[0] for row in rows] == sorted(row[0] for row in rows)
