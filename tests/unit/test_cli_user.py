"""`presence user`: what it writes, what it says, and what it refuses."""

import io
import json
from pathlib import Path

import apsw
import pytest

from presence.cli import main
from presence.sip.digest import hash_account
from presence.store.sqlite import SqliteStore


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "presence.db")


def run(path: str, action: str, *words: str, monkeypatch: pytest.MonkeyPatch, password: str = "") -> int:
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{password}\n" if password else ""))
    given = ["--password-stdin"] if action in ("add", "passwd") else []
    return main(["user", action, *words, *given, "--database", path])


def rows(path: str) -> list[tuple[object, ...]]:
    connection = apsw.Connection(path)
    sql = "SELECT username, domain, password, ha1, ha1b, ha1_sha256, ha1_sha512t256 FROM subscriber ORDER BY id"
    found = list(connection.execute(sql))
    connection.close()
    return found


def test_add_passwd_list_remove(path: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(path, "add", "sip:%61lice@EXAMPLE.com", password="wonder land", monkeypatch=monkeypatch) == 0
    assert capsys.readouterr().out == "added alice@example.com (realm example.com)\n"
    ((*name, clear, ha1, ha1b, sha256, sha512),) = rows(path)
    assert name == ["alice", "example.com"]
    assert clear == ""
    assert ha1 == hash_account("MD5", "alice", "example.com", "wonder land")
    assert ha1b == hash_account("MD5", "alice@example.com", "example.com", "wonder land")
    assert sha256 == hash_account("SHA-256", "alice", "example.com", "wonder land")
    assert sha512 == hash_account("SHA-512-256", "alice", "example.com", "wonder land")
    assert (
        run(path, "passwd", "alice@example.com", "--set", "auth.realm=Lab", password="x", monkeypatch=monkeypatch) == 0
    )
    assert capsys.readouterr().out == "changed the password of alice@example.com (realm Lab)\n"
    assert rows(path)[0][3] == hash_account("MD5", "alice", "Lab", "x")
    assert run(path, "list", monkeypatch=monkeypatch) == 0
    assert capsys.readouterr().out.split() == ["alice@example.com", "MD5", "SHA-256", "SHA-512-256"]
    assert run(path, "list", "--json", monkeypatch=monkeypatch) == 0
    assert json.loads(capsys.readouterr().out)["user"] == "alice@example.com"
    assert run(path, "remove", "alice@example.com", monkeypatch=monkeypatch) == 0
    assert capsys.readouterr().out == "removed alice@example.com\n"
    assert rows(path) == []


def test_what_cannot_be_done_is_said(
    path: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for action in ("passwd", "remove"):
        assert run(path, action, "alice@example.com", password="x", monkeypatch=monkeypatch) == 1
        assert capsys.readouterr().err == "presence: error: alice@example.com is no user\n"
    run(path, "add", "alice@example.com", password="x", monkeypatch=monkeypatch)
    before = rows(path)
    assert run(path, "add", "alice@example.com", password="y", monkeypatch=monkeypatch) == 1
    assert "is a user already" in capsys.readouterr().err
    assert rows(path) == before
    for password in ("", "a\tb", "x" * 1025):
        assert run(path, "passwd", "alice@example.com", password=password, monkeypatch=monkeypatch) == 2
        assert "printable characters" in capsys.readouterr().err
    for name in ("alice", "tel:+1", "alice@example.com:5060", "a b@example.com", "alice@"):
        with pytest.raises(SystemExit):
            run(path, "add", name, password="x", monkeypatch=monkeypatch)


def test_a_password_is_typed_twice(
    path: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    typed = iter(["one", "two", "same", "same"])
    monkeypatch.setattr("getpass.getpass", lambda _prompt: next(typed))
    assert main(["user", "add", "bob@example.com", "--database", path]) == 2
    assert "differ" in capsys.readouterr().err
    assert main(["user", "add", "bob@example.com", "--database", path, "--domain", "example.org"]) == 0
    said = capsys.readouterr()
    assert "added bob@example.com" in said.out
    assert "not among server.domain" in said.err


def test_it_works_while_a_server_runs(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = SqliteStore(path)
    assert run(path, "add", "alice@example.com", password="x", monkeypatch=monkeypatch) == 0
    assert next(iter(store.read("subscriber_get", ("alice", "example.com"))))[0]
    ((changes,),) = store.read("subscriber_changes")
    assert changes == 1
    store.close()


def test_a_server_of_another_version_is_left_alone(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = SqliteStore(path)
    connection = apsw.Connection(path)
    connection.pragma("user_version", 2)
    assert run(path, "add", "alice@example.com", password="x", monkeypatch=monkeypatch) == 1
    connection.close()
    store.close()
