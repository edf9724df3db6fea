"""Users made with `presence user` while the server runs, and the client tools that answer its challenges."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from process import ServerProcess, until

pytestmark = pytest.mark.system

ALICE, BOB = "sip:alice@example.com", "sip:bob@example.com"
PATIENCE_S = 60


def presence(
    *argv: str, password: str = "", given: str = "", folder: Path | None = None
) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PRESENCE_")}
    environment |= {"PRESENCE_PASSWORD": password} if password else {}
    command = [sys.executable, "-m", "presence", *argv]
    return subprocess.run(
        command, env=environment, input=given, capture_output=True, text=True, timeout=PATIENCE_S, cwd=folder
    )


@pytest.fixture
def server(tmp_path):
    options = ("--set=auth.required=true", "--set=auth.algorithms=SHA-256,MD5", "--policy=open")
    with ServerProcess(tmp_path, *options) as process:
        yield process


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_users_are_added_changed_and_removed_while_the_server_runs(server, transport, tmp_path):
    where = ("--server", f"{transport}:127.0.0.1:{server.port}", "--timeout", "30")
    database = ("--database", str(server.database))
    publish = ("publish", ALICE, "--status", "open", "--note", "proven", "--json", *where)
    watch = ("watch", ALICE, "--from", BOB, "--once", "--json", *where)
    refused = presence(*publish)
    assert refused.returncode == 1
    assert "401" in refused.stderr
    for name, password in (("alice", "wonderland"), ("bob", "zanzibar")):
        added = presence("user", "add", f"{name}@example.com", "--password-stdin", *database, given=f"{password}\n")
        assert added.returncode == 0, added.stderr
    until("alice is known", lambda: presence(*publish, password="wonderland").returncode == 0)
    secret = tmp_path / "password"
    secret.write_text("zanzibar\n")
    seen = presence(*watch, "--user", "bob", "--password-file", str(secret))
    assert seen.returncode == 0, seen.stderr
    assert json.loads(seen.stdout)["summary"]["note"] == ["proven"]
    assert "403" in presence("publish", ALICE, "--status", "open", "--user", "bob", *where, password="zanzibar").stderr
    assert presence("user", "passwd", "bob@example.com", "--password-stdin", *database, given="new\n").returncode == 0
    until("the old password is over", lambda: presence(*watch, password="zanzibar").returncode == 1)
    assert presence(*watch, password="new").returncode == 0
    assert presence("user", "remove", "bob@example.com", *database).returncode == 0
    until("bob is gone", lambda: presence(*watch, password="new").returncode == 1)
    assert "alice@example.com" in presence("user", "list", *database).stdout


def test_a_name_without_a_password_is_misuse(tmp_path):
    assert presence("publish", ALICE, "--status", "open", "--user", "bob").returncode == 2
    missing = str(tmp_path / "nothing")
    assert presence("publish", ALICE, "--status", "open", "--password-file", missing).returncode == 2


def test_auth_required_allows_listening_beyond_loopback(tmp_path):
    told = presence("config", "--set", "server.listen=udp:0.0.0.0:5060")
    assert told.returncode == 2
    assert "auth.required" in told.stderr
    assert presence("config", "--set", "server.listen=udp:0.0.0.0:5060", "--set", "auth.required=true").returncode == 0
