import errno
import json
import os
import subprocess
import sys
import tomllib

import pytest

from presence import __version__
from presence.cli import COMMANDS, main
from presence.cli.serve import explain
from presence.config import load


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch):
    for variable in list(os.environ):
        if variable.startswith("PRESENCE_"):
            monkeypatch.delenv(variable)


def test_version(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"presence {__version__}\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command, capsys):
    with pytest.raises(SystemExit) as caught:
        main([command, "--help"])
    assert caught.value.code == 0
    assert f"presence {command}" in capsys.readouterr().out


@pytest.mark.parametrize("argv", [[], ["nonsense"], ["config", "--json", "--markdown"], ["db"]])
def test_misuse_is_exit_status_2(argv, capsys):
    with pytest.raises(SystemExit) as caught:
        main(argv)
    assert caught.value.code == 2
    assert "usage: presence" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["config", "serve"])
def test_a_wrong_setting_is_one_line_and_exit_status_2(command, capsys):
    assert main([command, "--set", "server.lisen=x"]) == 2
    captured = capsys.readouterr()
    assert captured.err == "presence: error: unknown key server.lisen in --set; did you mean server.listen?\n"
    assert captured.out == ""


def test_an_error_stays_one_line_whatever_the_key(capsys):
    assert main(["config", "--set", "server.a\nb=x"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_an_open_listener_is_refused_before_anything_starts(capsys):
    assert main(["serve", "--listen", "udp:0.0.0.0:5060"]) == 2
    assert "server.allow_unauthenticated = true" in capsys.readouterr().err


def test_as_a_process_it_ends_with_status_2_and_no_traceback():
    command = [sys.executable, "-m", "presence", "config", "--config", "/nonexistent.toml"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert ended.stderr == "presence: error: cannot read /nonexistent.toml: No such file or directory\n"


def test_config_prints_toml_with_origins(capsys):
    assert main(["config", "--policy", "open", "--domain", "example.com", "--domain", "example.org"]) == 0
    printed = capsys.readouterr().out
    assert tomllib.loads(printed)["server"]["domain"] == ["example.com", "example.org"]
    (line,) = [line for line in printed.splitlines() if line.startswith("policy")]
    assert line.split() == ["policy", "=", '"open"', "#", "--policy"]


def test_config_prints_json_with_origins(capsys, monkeypatch):
    monkeypatch.setenv("PRESENCE_LOG__LEVEL", "debug")
    assert main(["config", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["log"]["level"] == {"value": "debug", "origin": "environment variable PRESENCE_LOG__LEVEL"}
    assert printed["database"]["path"] == {"value": "var/presence.db", "origin": "default"}


def test_db_check_does_not_make_the_file_it_looks_at(tmp_path, capsys):
    assert main(["db", "check", str(tmp_path / "presence.db")]) == 2
    assert capsys.readouterr().err == f"presence: error: no database at {tmp_path}/presence.db\n"
    assert list(tmp_path.iterdir()) == []


def test_a_port_that_is_taken_is_told_in_the_words_of_the_settings():
    config = load(assignments=["server.listen=udp:127.0.0.1:5060"])
    told = str(explain(OSError(errno.EADDRINUSE, "Address already in use"), config))
    assert told == "server.listen in --set: udp:127.0.0.1:5060: Address already in use"


def test_what_no_setting_can_mend_is_not_blamed_on_one():
    assert explain(OSError(errno.ENOSPC, "No space left on device"), load()) is None


def test_a_file_that_cannot_be_written_is_told_by_name():
    failure = PermissionError(errno.EACCES, "Permission denied", "/var/presence.ready")
    assert str(explain(failure, load())) == "cannot open /var/presence.ready: Permission denied"
