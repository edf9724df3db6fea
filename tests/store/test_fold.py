"""What is acknowledged comes into the tables within a second, whoever else has them, and costs nobody their turn."""

import random
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import apsw
import pytest

from presence.errors import StoreError
from presence.store import fold, journal, tables
from presence.store.check import count_unfolded
from presence.store.journal import segment_paths
from presence.store.sqlite import SqliteStore
from presence.store.tables import Tables
from presence.store.window import Batch

from .conftest import (
    SMALL,
    Answers,
    CallerThread,
    Write,
    ask_beside,
    bind,
    contacts_beside,
    etags_beside,
    leave,
    modify,
    publish,
    refresh,
    remove,
    row_of,
    wait_until,
)
from .test_window import TABLES, Life, Model, rows_beside


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries follow at once, and scripts are waited for no longer than that."""
    monkeypatch.setattr(fold, "RETRY_S", (0.0, 0.001))
    monkeypatch.setattr("presence.store.tables.FOLD_TIMEOUT_MS", 1)


def start(path: str, caller: CallerThread, **more: Any) -> SqliteStore:
    arguments: dict[str, Any] = {"call_soon": caller.call_soon, "fold_after_s": 0.0, "segment_bytes": SMALL, **more}
    return SqliteStore(path, **arguments)


def acknowledge(store: SqliteStore, caller: CallerThread, *writes: Write) -> list[StoreError | None]:
    answers = Answers()
    for write in writes:
        store.submit([write], answers.done)
    store.flush()
    caller.run_until(lambda: len(answers) == len(writes))
    return answers


def test_the_default_is_visible_within_a_second() -> None:
    assert fold.FOLD_AFTER_S <= 0.5


def test_others_see_changes_while_the_server_runs(path: str, caller: CallerThread) -> None:
    store = start(path, caller)
    acknowledge(store, caller, publish("a"), publish("b"))
    wait_until(lambda: etags_beside(path) == ["a", "b"])
    acknowledge(store, caller, modify("a", "a2"), remove("b"))
    wait_until(lambda: etags_beside(path) == ["a2"])
    wait_until(lambda: count_unfolded(path) == 0)
    store.close()


def test_folds_go_on_when_nobody_can_be_told_of_the_trouble(path: str, caller: CallerThread, impatient: None) -> None:
    def mute(text: str) -> None:
        raise OSError(f"no space for: {text}")

    store = start(path, caller, on_trouble=mute)
    script = apsw.Connection(path)
    script.execute("BEGIN IMMEDIATE")
    assert acknowledge(store, caller, publish("a")) == [None]
    wait_until(lambda: store.count_folds()["failed"] >= 2)
    script.execute("ROLLBACK")
    script.close()
    wait_until(lambda: etags_beside(path) == ["a"])
    store.close()


def test_load_goes_on_while_a_script_holds_the_lock(path: str, caller: CallerThread, impatient: None) -> None:
    troubles: list[str] = []
    store = start(path, caller, on_trouble=troubles.append)
    script = apsw.Connection(path)
    script.execute("BEGIN IMMEDIATE; UPDATE watchers SET reason = 'mine'")
    assert acknowledge(store, caller, publish("a")) == [None]
    for number in range(50):
        assert acknowledge(store, caller, refresh("a", f"a{number}")) == [None]
    wait_until(lambda: store.count_folds()["failed"] >= 3)
    assert "locked" in troubles[0]
    assert etags_beside(path) == []
    script.execute("COMMIT")
    script.close()
    wait_until(lambda: etags_beside(path) == ["a49"])
    store.close()


def test_beyond_the_bound_changes_are_refused_until_the_tables_take_them(
    path: str, caller: CallerThread, impatient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fold, "UNFOLDED_ROWS", 10)
    store = start(path, caller)
    script = apsw.Connection(path)
    script.execute("BEGIN IMMEDIATE")
    answers = [acknowledge(store, caller, publish(f"e{number:02}"))[0] for number in range(20)]
    assert [error is None for error in answers] == [True] * 11 + [False] * 9
    script.execute("ROLLBACK")
    script.close()
    wait_until(lambda: not store.unfolded)
    assert acknowledge(store, caller, publish("later")) == [None]
    store.close()
    assert etags_beside(path) == [*(f"e{number:02}" for number in range(11)), "later"]


def test_what_a_lock_keeps_out_at_the_end_is_there_after_the_next_start(
    path: str, caller: CallerThread, impatient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fold, "PATIENCE_S", 0.0)
    troubles: list[str] = []
    store = start(path, caller, on_trouble=troubles.append)
    script = apsw.Connection(path)
    script.execute("BEGIN IMMEDIATE")
    acknowledge(store, caller, publish("a"), publish("b"))
    store.close()
    assert "2 acknowledged changes wait in the journal" in troubles[-1]
    script.execute("ROLLBACK")
    script.close()
    assert count_unfolded(path) == 2
    SqliteStore(path).close()
    assert (etags_beside(path), segment_paths(path)) == (["a", "b"], [])


@pytest.mark.parametrize("seed", range(6))
def test_folds_that_fail_anywhere_change_nothing_of_the_outcome(
    path: str, caller: CallerThread, impatient: None, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    chance = random.Random(seed)
    monkeypatch.setattr(tables, "AT_ONCE", 2)
    monkeypatch.setattr(fold, "STEP_ROWS", 3)
    monkeypatch.setattr(fold, "SLICE_S", 0.0)
    monkeypatch.setattr(fold, "PAUSE_S", 0.0)
    real = Tables.fold

    def failing(self: Tables, steps: Iterable[list[Batch]], *rest: Any, **more: Any) -> Any:
        if chance.random() < 0.4:
            if chance.random() < 0.5:
                list(steps)
            raise apsw.BusyError("locked, says the test")
        return real(self, steps, *rest, **more)

    store = start(path, caller)
    monkeypatch.setattr(Tables, "fold", failing)
    life, model = Life(), Model()
    for _ in range(300):
        write = life.write(chance.choice(TABLES), chance.randrange(8), chance.randrange(4))
        model.apply(write)
        acknowledge(store, caller, write)
    wait_until(lambda: not store.unfolded)
    assert rows_beside(path) == model.rows()
    store.close()
    assert rows_beside(path) == model.rows()


def test_a_direct_change_waits_for_one_step_of_a_fold(
    path: str, caller: CallerThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fold, "STEP_ROWS", 1)
    monkeypatch.setattr(fold, "SLICE_S", 3600.0)
    real = Tables._change
    reached, resumed = threading.Event(), threading.Event()
    changed = 0

    def watched(self: Tables, batch: Batch) -> Any:
        nonlocal changed
        changed += len(batch.rows)
        if changed == 10:
            reached.set()
            resumed.wait(10)
        return real(self, batch)

    monkeypatch.setattr(Tables, "_change", watched)
    commit = Tables.commit
    seen: list[int] = []
    monkeypatch.setattr(Tables, "commit", lambda self, group: seen.append(changed) or commit(self, group))
    store = start(path, caller, fold_after_s=0.05)
    acknowledge(store, caller, *(publish(f"e{number:03}") for number in range(200)))
    assert reached.wait(10)
    answers = Answers()
    store.submit([bind("sip:a")], answers.done)
    store.flush()
    resumed.set()
    caller.run_until(lambda: bool(answers))
    assert contacts_beside(path) == ["sip:a"]
    store.close()
    assert seen == [10]
    assert len(etags_beside(path)) == 200


def test_a_submission_over_two_tables_is_one_record(path: str, caller: CallerThread) -> None:
    store = start(path, caller, fold_after_s=3600)
    answers = Answers()
    put = Write("watchers_judge", ("sip:alice@example.com", "bob", "example.com", "presence", 2, None, 1000, "2 ", 0))
    store.submit([publish("a"), put], answers.done)
    store.flush()
    caller.run_until(lambda: bool(answers))
    (segment,) = segment_paths(path)
    whole = Path(segment).read_bytes()
    end = len(whole.rstrip(b"\0"))
    # The server ends here, and the last byte of the record never came to the disk.
    leave(store)
    Path(segment).write_bytes(whole[: end - 1] + b"\xff" + whole[end:])
    SqliteStore(path).close()
    assert ask_beside(path, "SELECT (SELECT count(*) FROM presentity), (SELECT count(*) FROM watchers)") == [(0, 0)]


def test_a_decision_made_meanwhile_stays(path: str, caller: CallerThread) -> None:
    store = start(path, caller, fold_after_s=3600)
    key = ("sip:alice@example.com", "bob", "example.com", "presence")
    acknowledge(store, caller, Write("watchers_judge", (*key, 2, None, 1000, "2 ", 0)))
    ask_beside(
        path,
        "INSERT INTO watchers (presentity_uri, watcher_username, watcher_domain, event, status, inserted_time) "
        "VALUES ('sip:alice@example.com', 'bob', 'example.com', 'presence', 1, 900)",
    )
    store.close()
    assert ask_beside(path, "SELECT status, inserted_time FROM watchers") == [(1, 900)]


@pytest.mark.parametrize("at_once", [1, 50])
def test_a_foreign_row_with_our_key_gives_way_and_holds_nothing_up(
    path: str, caller: CallerThread, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(tables, "AT_ONCE", at_once)
    store = start(path, caller, fold_after_s=3600)
    acknowledge(store, caller, publish("a"), publish("b"), modify("b", "b2"))
    ask_beside(
        path,
        "INSERT INTO presentity (username, domain, event, etag, expires, received_time) VALUES "
        "('alice', 'example.com', 'presence', 'a', 1, 1), ('alice', 'example.com', 'presence', 'b2', 1, 1), "
        "('alice', 'example.com', 'presence', 'theirs', 1, 1)",
    )
    store.close()
    rows = ask_beside(path, "SELECT etag, id FROM presentity ORDER BY etag")
    assert rows[:2] == [("a", row_of("a")), ("b2", row_of("b"))]
    assert rows[2][0] == "theirs"
    assert rows[2][1] > 1_000_000  # type: ignore[operator]


def test_a_journal_that_fails_refuses_and_goes_on(
    path: str, caller: CallerThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = start(path, caller, fold_after_s=3600)
    acknowledge(store, caller, publish("a"))
    real = journal._write

    def broken(fd: int, parts: Sequence[bytes], offset: int, *, sync: bool) -> None:
        real(fd, parts, offset, sync=sync)
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(journal, "_write", broken)
        (error,) = acknowledge(store, caller, publish("refused"))
        assert "No space left" in str(error)
    assert acknowledge(store, caller, publish("b")) == [None]
    assert count_unfolded(path) == 2
    leave(store)
    SqliteStore(path).close()
    assert etags_beside(path) == ["a", "b"]


def test_segments_are_given_back_after_folds(path: str, caller: CallerThread) -> None:
    store = start(path, caller, segment_bytes=1 << 16)
    for number in range(100):
        acknowledge(store, caller, publish(f"e{number % 7}", body=bytes(20_000)))
        if number % 10 == 0:
            wait_until(lambda: not store.unfolded)
    wait_until(lambda: not store.unfolded)
    assert len(segment_paths(path)) <= journal.SPARES + 2
    store.close()
    assert segment_paths(path) == []
