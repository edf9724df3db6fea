"""Each mode keeps what it promises, and no callback waits longer than its promise needs."""

from pathlib import Path

import pytest

from presence.store.check import count_unfolded
from presence.store.journal import segment_paths
from presence.store.sqlite import Durability, SqliteStore

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
    leave,
    publish,
    wait_until,
)


@pytest.mark.parametrize("durability", ["os", "periodic", "memory"])
def test_what_need_not_reach_the_disk_is_acknowledged_by_flush(
    path: str, caller: CallerThread, answers: Answers, durability: Durability
) -> None:
    store = SqliteStore(path, durability=durability, call_soon=caller.call_soon, segment_bytes=SMALL)
    store.submit([publish("a")], answers.done)
    assert answers == []
    store.flush()
    assert answers == [None]
    store.close()


def test_os_has_it_with_the_operating_system_before_the_answer(
    path: str, caller: CallerThread, answers: Answers
) -> None:
    store = SqliteStore(path, durability="os", call_soon=caller.call_soon, fold_after_s=3600, segment_bytes=SMALL)
    store.submit([publish("a")], lambda error: answers.append(count_unfolded(path)))  # type: ignore[arg-type]
    store.flush()
    assert answers == [1]
    store.close()


def test_periodic_writes_no_journal_and_comes_into_the_tables(
    path: str, caller: CallerThread, answers: Answers
) -> None:
    store = SqliteStore(path, durability="periodic", call_soon=caller.call_soon, fold_after_s=0.0)
    store.submit([publish("a")], answers.done)
    store.flush()
    assert segment_paths(path) == []
    wait_until(lambda: etags_beside(path) == ["a"])
    store.submit([publish("b")], answers.done)
    store.close()
    assert etags_beside(path) == ["a", "b"]


def test_memory_writes_nothing_and_forgets_everything(path: str, caller: CallerThread, answers: Answers) -> None:
    SqliteStore(path).close()
    before = Path(path).read_bytes()
    store = SqliteStore(path, durability="memory", call_soon=caller.call_soon)
    store.submit([publish("a")], answers.done)
    store.submit([bind("sip:a")], answers.done)
    store.flush()
    assert answers == [None, None]
    assert len(list(store.read("bindings_get", ("alice", "example.com")))) == 1, "who registered can be asked for"
    assert etags(store) == []
    store.close()
    assert (etags_beside(path), contacts_beside(path)) == ([], [])
    assert Path(path).read_bytes()[4096:] == before[4096:]
    assert segment_paths(path) == []


def test_memory_heeds_what_operators_decide(path: str, caller: CallerThread) -> None:
    store = SqliteStore(path, durability="memory", call_soon=caller.call_soon)
    key = ("sip:alice@example.com", "bob", "example.com", "presence")
    assert list(store.read("watchers_get", key)) == []
    ask_beside(
        path,
        "INSERT INTO watchers (presentity_uri, watcher_username, watcher_domain, event, status, inserted_time) "
        "VALUES ('sip:alice@example.com', 'bob', 'example.com', 'presence', 1, 900)",
    )
    assert list(store.read("watchers_get", key)) == [(1, None)]
    store.close()


def test_an_earlier_starts_promise_is_kept_whatever_this_one_promises(
    path: str, caller: CallerThread, answers: Answers
) -> None:
    store = SqliteStore(path, call_soon=caller.call_soon, fold_after_s=3600, segment_bytes=SMALL)
    put = Write("watchers_judge", ("sip:alice@example.com", "bob", "example.com", "presence", 1, None, 1000, "1 ", 0))
    store.submit([publish("a"), put], answers.done)
    store.flush()
    caller.run_until(lambda: bool(answers))
    leave(store)
    assert etags_beside(path) == []
    SqliteStore(path, durability="memory").close()
    assert etags_beside(path) == ["a"]
    assert segment_paths(path) == []
