"""The lazy timer wheel."""

import random

import pytest

from presence._fastcore import Wheel

START = 1_700_000_000.0


def test_an_item_comes_up_once_its_time_has_passed_and_not_before():
    wheel = Wheel(1.0, START)
    wheel.add(7, START + 5)
    assert wheel.due(START + 4.9) == []
    assert wheel.due(START + 6.1) == [7]
    assert wheel.due(START + 100) == []
    assert len(wheel) == 0


def test_a_deadline_in_the_past_comes_up_at_the_next_tick():
    wheel = Wheel(1.0, START)
    wheel.add(1, START - 1000)
    wheel.add(2, 0)
    assert sorted(wheel.due(START + 1)) == [1, 2]


def test_a_deadline_beyond_the_horizon_comes_up_at_the_horizon():
    wheel = Wheel(1.0, START, 8)
    wheel.add(1, START + 1000)
    assert wheel.due(START + 6) == []
    assert wheel.due(START + 8) == [1]


def test_a_clock_that_leaps_loses_nothing():
    wheel = Wheel(0.01, START, 4096)
    for item in range(1000):
        wheel.add(item, START + item * 0.04)
    assert sorted(wheel.due(START + 1_000_000)) == list(range(1000))
    wheel.add(5, START + 1_000_000.5)
    assert wheel.due(START + 1_000_001) == [5]


def test_random_deadlines_are_never_early_and_at_most_two_ticks_late():
    chance = random.Random(4)
    wheel = Wheel(0.25, START)
    deadlines = {item: START + chance.random() * 900 for item in range(5000)}
    for item, at in deadlines.items():
        wheel.add(item, at)
    now, seen = START, 0
    while now < START + 901:
        now += chance.choice((0.01, 0.3, 2.0))
        for item in wheel.due(now):
            seen += 1
            assert deadlines[item] <= now
            assert now - deadlines[item] < 0.5 + 2.0
    assert seen == 5000


def test_a_wheel_has_a_sensible_shape():
    with pytest.raises(ValueError, match="power of two"):
        Wheel(1.0, START, 100)
    with pytest.raises(ValueError, match="positive"):
        Wheel(0, START)
