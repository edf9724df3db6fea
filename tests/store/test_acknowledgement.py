"""A change is acknowledged after the commit that holds it, in the order of submission."""

import threading
from pathlib import Path

import apsw
import pytest

from presence.errors import StoreError
from presence.store import sqlite
from presence.store.base import Write
from presence.store.sqlite import SqliteStore

from .conftest import Answers, CallerThread, ask_beside, etags, etags_beside, publish, refresh


def test_done_runs_in_the_caller_thread_when_the_row_is_there_for_others(
    writing: SqliteStore, path: str, caller: CallerThread
) -> None:
    seen: list[object] = []

    def done(error: StoreError | None) -> None:
        seen.extend([error, threading.current_thread() is threading.main_thread(), etags_beside(path)])

    writing.submit([publish("a")], done)
    assert etags_beside(path) == []
    writing.flush()
    caller.run_until(lambda: bool(seen))
    assert seen == [None, True, ["a"]]


def test_done_runs_in_order_of_submission_over_many_ticks(writing: SqliteStore, caller: CallerThread) -> None:
    order: list[int] = []
    for number in range(500):
        writing.submit([publish(f"e{number}")], lambda _error, number=number: order.append(number))  # type: ignore[misc]
        if number % 7 == 0:
            writing.flush()
    writing.flush()
    caller.run_until(lambda: len(order) == 500)
    assert order == list(range(500))


def test_a_submission_is_applied_whole_or_not_at_all(store: SqliteStore, answers: Answers) -> None:
    store.submit([publish("a"), refresh("absent", "b")], answers.done)
    store.flush()
    assert isinstance(answers[0], StoreError)
    assert "presentity_refresh" in str(answers[0])
    assert etags(store) == []


def test_a_bad_change_does_not_refuse_its_neighbours(
    writing: SqliteStore, caller: CallerThread, answers: Answers
) -> None:
    for number in range(20):
        bad = number in (3, 4, 19)
        writing.submit([refresh("absent", "x") if bad else publish(f"e{number:02}")], answers.done)
    writing.flush()
    caller.run_until(lambda: len(answers) == 20)
    assert [number for number, error in enumerate(answers) if error] == [3, 4, 19]
    assert len(etags(writing)) == 17


def test_a_constraint_and_a_value_sqlite_cannot_hold_are_refused_alone(store: SqliteStore, answers: Answers) -> None:
    store.submit([publish("a")], answers.done)
    store.submit([publish("b"), refresh("b", "a")], answers.done)  # the entity-tag is taken
    store.submit([publish("c", username=None)], answers.done)  # type: ignore[arg-type]
    store.submit([publish(2**70)], answers.done)  # type: ignore[arg-type]
    store.submit([publish("d")], answers.done)
    store.flush()
    assert [error is None for error in answers] == [True, False, False, False, True]
    assert etags(store) == ["a", "d"]


def test_a_refresh_of_a_row_somebody_deleted_is_not_acknowledged(path: str, answers: Answers) -> None:
    store = SqliteStore(path)
    store.submit([publish("a")], answers.done)
    store.flush()
    ask_beside(path, "DELETE FROM presentity")
    store.submit([refresh("a", "b")], answers.done)
    store.close()
    assert answers[0] is None
    assert isinstance(answers[1], StoreError)


def test_a_callback_that_raises_does_not_silence_the_others(store: SqliteStore, answers: Answers) -> None:
    def broken(_error: StoreError | None) -> None:
        raise RuntimeError("in the callback")

    store.submit([publish("a")], broken)
    store.submit([publish("b")], answers.done)
    with pytest.raises(RuntimeError, match="in the callback"):
        store.flush()
    assert answers == [None]


def test_a_callback_may_submit_and_flush_again(store: SqliteStore) -> None:
    order: list[str] = []

    def first(_error: StoreError | None) -> None:
        order.append("first")
        store.submit([refresh("a", "c")], lambda _error: order.append("third"))
        store.flush()

    store.submit([publish("a")], first)
    store.submit([publish("b")], lambda _error: order.append("second"))
    store.flush()
    assert order == ["first", "second", "third"]


def test_close_writes_what_is_queued_and_calls_every_done_then_none(
    path: str, caller: CallerThread, answers: Answers
) -> None:
    store = SqliteStore(path, call_soon=caller.call_soon)
    for number in range(50):
        store.submit([publish(f"e{number}")], answers.done)
    store.close()
    assert answers == [None] * 50
    caller.run_waiting()  # what the writer had scheduled comes too late and must find nothing
    assert len(answers) == 50
    assert len(etags_beside(path)) == 50
    store.close()


def test_what_callbacks_submit_while_closing_is_written(path: str, caller: CallerThread, answers: Answers) -> None:
    store = SqliteStore(path, call_soon=caller.call_soon)
    store.submit([publish("a")], lambda _error: store.submit([publish("b")], answers.done))
    store.close()
    assert answers == [None]
    assert etags_beside(path) == ["a", "b"]


def test_close_survives_a_loop_that_is_gone(path: str, answers: Answers) -> None:
    def gone(_callback: object) -> None:
        raise RuntimeError("Event loop is closed")

    store = SqliteStore(path, call_soon=gone)
    store.submit([publish("a")], answers.done)
    store.close()
    assert answers == [None]


def test_a_closed_store_refuses_plainly(path: str, answers: Answers) -> None:
    store = SqliteStore(path)
    store.close()
    with pytest.raises(StoreError, match="closed"):
        store.submit([publish("a")], answers.done)
    with pytest.raises(StoreError, match="cannot read"):
        list(store.read("presentity_load"))


def test_unknown_names_are_refused_at_once(store: SqliteStore, answers: Answers) -> None:
    with pytest.raises(StoreError, match="no query named 'presentity_forget'"):
        store.submit([Write("presentity_forget", ())], answers.done)
    with pytest.raises(StoreError, match="no query named 'presentity_forget'"):
        list(store.read("presentity_forget"))


def test_load_beyond_the_limit_is_shed_at_the_next_flush(path: str, caller: CallerThread) -> None:
    store = SqliteStore(path, call_soon=caller.call_soon, queue_limit=10)
    early, late = Answers(), Answers()
    for number in range(10):
        store.submit([publish(f"e{number}")], early.done)
    store.submit([publish("late")], late.done)
    assert late == []
    store.flush()
    assert [str(error) for error in late] == ["the database is overloaded"]
    caller.run_until(lambda: len(early) == 10)
    store.submit([publish("after")], late.done)
    store.close()
    assert early == [None] * 10
    assert late[1:] == [None]


def test_a_full_disk_refuses_and_room_lets_it_go_on(path: str, answers: Answers) -> None:
    store = SqliteStore(path)
    pages = store._connection.pragma("page_count")
    store._connection.pragma("max_page_count", pages + 5)
    for number in range(8):
        store.submit([publish(f"e{number}", body=bytes(8000))], answers.done)
    store.flush()
    refused = [str(error) for error in answers if error]
    kept = len(answers) - len(refused)
    assert refused
    assert "full" in refused[0]
    assert len(etags_beside(path)) == kept
    store._connection.pragma("max_page_count", 1_000_000)
    store.submit([publish("later")], answers.done)
    store.flush()
    assert answers[-1] is None
    assert len(etags_beside(path)) == kept + 1
    store.close()


def test_a_script_that_holds_the_write_lock_delays_and_refuses_nothing(
    writing: SqliteStore, path: str, caller: CallerThread, answers: Answers
) -> None:
    script = apsw.Connection(path)
    script.execute("BEGIN IMMEDIATE")
    writing.submit([publish("a")], answers.done)
    writing.flush()
    script.execute("DELETE FROM watchers")
    assert etags(writing) == []
    script.execute("COMMIT")
    script.close()
    caller.run_until(lambda: bool(answers))
    assert answers == [None]


def test_a_script_that_keeps_the_write_lock_refuses_the_group(path: str, answers: Answers) -> None:
    store = SqliteStore(path)
    store._connection.set_busy_timeout(10)
    script = apsw.Connection(path)
    script.execute("BEGIN IMMEDIATE")
    for number in range(300):
        store.submit([publish(f"e{number}")], answers.done)
    store.flush()
    script.execute("ROLLBACK")
    script.close()
    assert len(answers) == 300
    assert all("cannot be written" in str(error) for error in answers)
    store.submit([publish("later")], answers.done)
    store.close()
    assert answers[-1] is None


def test_on_commit_is_told_rows_and_seconds(path: str, answers: Answers) -> None:
    commits: list[tuple[float, int]] = []
    store = SqliteStore(path, on_commit=lambda seconds, rows: commits.append((seconds, rows)))
    store.submit([publish("a"), publish("b")], answers.done)
    store.submit([refresh("absent", "c")], answers.done)
    store.flush()
    store.flush()
    store.close()
    assert [rows for _, rows in commits] == [2]
    assert commits[0][0] > 0


def test_bytes_that_are_no_utf8_are_kept_apart_and_found_again(store: SqliteStore, answers: Answers) -> None:
    for username, status in (("al\udcffce", 1), ("al\udcfece", 3)):
        key = ("sip:bob@example.com", username, "example.com", "presence")
        store.submit([Write("watchers_put", (*key, status, None, 1000))], answers.done)
    store.flush()
    assert answers == [None, None]
    key = ("sip:bob@example.com", "al\udcffce", "example.com", "presence")
    assert list(store.read("watchers_get", key)) == [(1, None)]


def test_the_log_is_moved_and_cut_while_commits_go_on(
    path: str, caller: CallerThread, answers: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "CHECKPOINT_PAGES", 20)
    monkeypatch.setattr(sqlite, "TRUNCATE_PAGES", 60)
    store = SqliteStore(path, durability="os", call_soon=caller.call_soon)
    sizes = [0]
    while sizes[-1] >= sizes[-2:][0] and len(sizes) < 20_000:  # commits never pause until the log was cut
        store.submit([publish(f"e{len(sizes) % 50}", body=bytes(20_000))], answers.done)
        store.flush()
        caller.run_until(lambda: len(answers) == len(sizes))
        sizes.append(Path(f"{path}-wal").stat().st_size)
    assert sizes[-1] < sizes[-2]
    store.close()
    assert set(answers) == {None}
    assert len(etags_beside(path)) == min(50, len(answers))
    assert not Path(f"{path}-wal").exists()
