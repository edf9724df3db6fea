"""Changes of one thing run one after the other."""

import pytest

from presence.errors import Unavailable
from presence.sip.lanes import MAX_WAITING, Lanes


def test_changes_of_one_key_wait_for_their_turn_in_order():
    lanes, seen = Lanes(), []
    for number in range(3):
        lanes.run("alice", lambda number=number: seen.append(number))
    lanes.run("bob", lambda: seen.append("bob"))
    assert seen == [0, "bob"]
    lanes.leave("alice")
    assert seen == [0, "bob", 1]
    lanes.leave("alice")
    lanes.leave("alice")
    lanes.leave("bob")
    assert seen == [0, "bob", 1, 2]
    assert len(lanes) == 0


def test_changes_done_at_once_do_not_pile_up_calls():
    lanes, seen = Lanes(), []
    lanes.run("alice", lambda: None)

    def change(number):
        seen.append(number)
        lanes.leave("alice")

    for number in range(MAX_WAITING):
        lanes.run("alice", lambda number=number: change(number))
    lanes.leave("alice")
    assert seen == list(range(MAX_WAITING))
    assert len(lanes) == 0


def test_a_lane_is_bounded_but_for_what_must_happen():
    lanes = Lanes()
    for _ in range(MAX_WAITING + 1):
        lanes.run("alice", lambda: None)
    with pytest.raises(Unavailable):
        lanes.run("alice", lambda: None)
    lanes.run("alice", lambda: None, bounded=False)


def test_a_change_may_queue_another_for_its_own_lane():
    lanes, seen = Lanes(), []

    def first():
        lanes.run("alice", second)
        seen.append("first")
        lanes.leave("alice")

    def second():
        seen.append("second")
        lanes.leave("alice")

    lanes.run("alice", first)
    assert seen == ["first", "second"]
    assert len(lanes) == 0
