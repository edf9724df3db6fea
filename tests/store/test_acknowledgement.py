"""A change is acknowledged after the commit that holds it, in the order of submission."""

import threading
from pathlib import Path

import apsw
import pytest

from presence.errors import StoreError
from presence.store import checkpoint, tables
from presence.store.check import count_unfolded
from presence.store.sqlite import SqliteStore

from .conftest import (
    SMALL,
    Answers,
    CallerThread,
    Write,
    ask_beside,
    bind,
    contacts_beside,
    etags,
    etags_beside,
    modify,
    publish,
    refresh,
    row_of,
    wait_until,
)


def test_done_runs_in_the_caller_thread_when_the_change_is_in_the_journal(path: str, caller: CallerThread) -> None:
    seen: list[object] = []
    store = SqliteStore(path, call_soon=caller.call_soon, fold_after_s=3600, segment_bytes=SMALL)

    def done(error: StoreError | None) -> None:
        seen.extend([error, threading.current_thread() is threading.main_thread(), count_unfolded(path)])

    store.submit([publish("a")], done)
    assert count_unfolded(path) == 0
    store.flush()
    caller.run_until(lambda: bool(seen))
    assert seen == [None, True, 1]
    assert etags_beside(path) == []
    store.close()
    assert etags_beside(path) == ["a"]


def test_a_direct_change_is_in_the_tables_when_done_runs(writing: SqliteStore, path: str, caller: CallerThread) -> None:
    seen: list[object] = []
    writing.submit([bind("sip:a")], lambda error: seen.extend([error, contacts_beside(path)]))
    writing.flush()
    caller.run_until(lambda: bool(seen))
    assert seen == [None, ["sip:a"]]


def test_a_submission_of_both_kinds_or_of_none_is_a_fault_of_ours(store: SqliteStore, answers: Answers) -> None:
    with pytest.raises(StoreError, match="either journalled or direct"):
        store.submit([publish("a"), bind("sip:a")], answers.done)
    store.submit([], answers.done)
    store.flush()
    assert answers == [None]


def test_done_runs_in_order_of_submission_over_many_ticks(writing: SqliteStore, caller: CallerThread) -> None:
    order: list[int] = []
    for number in range(500):
        writing.submit([publish(f"e{number}")], lambda _error, number=number: order.append(number))  # type: ignore[misc]
        if number % 7 == 0:
            writing.flush()
    writing.flush()
    caller.run_until(lambda: len(order) == 500)
    assert order == list(range(500))


def test_a_direct_submission_is_applied_whole_or_not_at_all(store: SqliteStore, answers: Answers) -> None:
    store.submit([bind("sip:a"), bind(None)], answers.done)
    store.flush()
    assert isinstance(answers[0], StoreError)
    assert list(store.read("bindings_get", ("alice", "example.com"))) == []


def test_a_bad_direct_change_does_not_refuse_its_neighbours(
    writing: SqliteStore, path: str, caller: CallerThread, answers: Answers
) -> None:
    for number in range(20):
        writing.submit([bind(None if number in (3, 4, 19) else f"sip:{number}")], answers.done)
    writing.flush()
    caller.run_until(lambda: len(answers) == 20)
    assert [number for number, error in enumerate(answers) if error] == [3, 4, 19]
    assert len(contacts_beside(path)) == 17


def test_what_is_no_value_is_refused_alone_and_never_written(path: str, caller: CallerThread, answers: Answers) -> None:
    store = SqliteStore(path, call_soon=caller.call_soon, segment_bytes=SMALL)
    for number in range(5):
        etag = object() if number == 2 else f"e{number}"
        store.submit([publish(f"f{number}"), publish(etag)], answers.done)  # type: ignore[arg-type]
    store.close()
    assert [error is None for error in answers] == [True, True, False, True, True]
    assert len(etags_beside(path)) == 8


@pytest.mark.parametrize("at_once", [1, 2, 4, 50])
def test_what_sqlite_cannot_hold_is_reported_and_holds_nothing_up(
    path: str, answers: Answers, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(tables, "AT_ONCE", at_once)
    missing: list[tuple[str, int]] = []
    troubles: list[str] = []
    store = SqliteStore(path, on_missing=lambda *row: missing.append(row), on_trouble=troubles.append)
    store.submit([publish("a")], answers.done)
    store.submit([publish("b", username=None)], answers.done)  # type: ignore[arg-type]
    store.submit([publish(2**70)], answers.done)  # type: ignore[arg-type]
    store.submit([publish("c")], answers.done)
    store.flush()
    assert answers == [None] * 4
    assert sorted(missing) == sorted([("presentity_insert", row_of("b")), ("presentity_insert", row_of(str(2**70)))])
    assert len(troubles) == 2
    assert sorted(map(str, etags(store))) == ["a", "c"]
    store.close()


@pytest.mark.parametrize("at_once", [1, 50])
def test_a_row_somebody_deleted_is_heard_of_once(
    path: str, caller: CallerThread, answers: Answers, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(tables, "AT_ONCE", at_once)
    missing: list[tuple[str, int]] = []
    store = SqliteStore(
        path,
        call_soon=caller.call_soon,
        on_missing=lambda *row: missing.append(row),
        fold_after_s=0.0,
        segment_bytes=SMALL,
    )
    store.submit([publish("a")], answers.done)
    store.submit([publish("b")], answers.done)
    store.flush()
    wait_until(lambda: len(etags_beside(path)) == 2)
    ask_beside(path, "DELETE FROM presentity WHERE etag = 'a'")
    store.submit([modify("a", "a2")], answers.done)
    store.submit([refresh("a", "a3")], answers.done)
    store.submit([refresh("b", "b2")], answers.done)
    store.flush()
    caller.run_until(lambda: bool(missing))
    assert answers == [None] * 5
    assert missing == [("presentity_modify", row_of("a"))]
    store.close()
    assert etags_beside(path) == ["b2"]


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


def test_without_a_journal_a_full_disk_refuses_and_room_lets_it_go_on(path: str, answers: Answers) -> None:
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


def test_a_script_that_holds_the_write_lock_delays_direct_changes_alone(
    writing: SqliteStore, path: str, caller: CallerThread, answers: Answers
) -> None:
    script = apsw.Connection(path)
    script.execute("BEGIN IMMEDIATE")
    direct = Answers()
    writing.submit([bind("sip:a")], direct.done)
    writing.submit([publish("a")], answers.done)
    writing.flush()
    caller.run_until(lambda: bool(answers))
    assert (answers, direct) == ([None], [])
    script.execute("DELETE FROM watchers")
    script.execute("COMMIT")
    script.close()
    caller.run_until(lambda: bool(direct))
    assert direct == [None]


def test_a_script_that_keeps_the_write_lock_refuses_direct_changes(
    path: str, answers: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "BUSY_TIMEOUT_MS", 10)
    store = SqliteStore(path)
    script = apsw.Connection(path)
    script.execute("BEGIN IMMEDIATE")
    for number in range(300):
        store.submit([bind(f"sip:{number}")], answers.done)
    store.flush()
    script.execute("ROLLBACK")
    script.close()
    assert len(answers) == 300
    assert all("cannot be written" in str(error) for error in answers)
    store.submit([bind("later")], answers.done)
    store.close()
    assert answers[-1] is None


def test_on_commit_is_told_rows_and_seconds(path: str, answers: Answers) -> None:
    commits: list[tuple[float, int]] = []
    store = SqliteStore(path, on_commit=lambda seconds, rows: commits.append((seconds, rows)))
    store.submit([publish("a"), publish("b")], answers.done)
    store.submit([bind(None)], answers.done)
    store.flush()
    store.flush()
    store.close()
    assert [rows for _, rows in commits] == [2]
    assert commits[0][0] > 0


def test_bytes_that_are_no_utf8_are_kept_apart_and_found_again(store: SqliteStore, answers: Answers) -> None:
    for username, status in (("al\udcffce", 1), ("al\udcfece", 3)):
        key = ("sip:bob@example.com", username, "example.com", "presence")
        store.submit([Write("watchers_judge", (*key, status, None, 1000, "", 0))], answers.done)
    store.flush()
    assert answers == [None, None]
    key = ("sip:bob@example.com", "al\udcffce", "example.com", "presence")
    assert list(store.read("watchers_get", key)) == [(1, None)]


def test_the_log_of_sqlite_is_moved_and_cut_while_folds_go_on(
    path: str, caller: CallerThread, answers: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "CHECKPOINT_PAGES", 20)
    monkeypatch.setattr(checkpoint, "RESTART_PAGES", 60)
    monkeypatch.setattr(checkpoint, "TRUNCATE_PAGES", 60)
    store = SqliteStore(path, durability="os", call_soon=caller.call_soon, fold_after_s=0.0, segment_bytes=SMALL)
    sizes = [0]
    while sizes[-1] >= sizes[-2:][0] and len(sizes) < 20_000:
        store.submit([publish(f"e{len(sizes) % 50}", body=bytes(20_000))], answers.done)
        store.flush()
        wait_until(lambda: not store.unfolded)
        sizes.append(Path(f"{path}-wal").stat().st_size)
    assert sizes[-1] < sizes[-2]
    store.close()
    assert set(answers) == {None}
    assert len(etags_beside(path)) == min(50, len(answers))
    assert not Path(f"{path}-wal").exists()
