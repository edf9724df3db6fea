from hypothesis import given
from hypothesis import strategies as st

from presence.tally import LATENCY_BOUNDS_S, METHODS, NOTIFY_RESULTS, Histogram, Tally


def test_bounds_reach_from_a_tenth_of_a_millisecond_to_a_minute():
    assert LATENCY_BOUNDS_S[0] == 0.0001
    assert LATENCY_BOUNDS_S[-1] == 60
    assert list(LATENCY_BOUNDS_S) == sorted(set(LATENCY_BOUNDS_S))


def test_a_duration_at_a_bound_belongs_below_it():
    histogram = Histogram((1.0, 2.0))
    for seconds in (0.5, 1.0, 1.5, 2.0, 2.5):
        histogram.observe(seconds)
    assert histogram.counts == [2, 2, 1]
    assert histogram.sum_s == 7.5


@given(st.lists(st.floats(min_value=0, max_value=1000)))
def test_no_duration_is_lost(durations_s):
    histogram = Histogram()
    for duration_s in durations_s:
        histogram.observe(duration_s)
    assert sum(histogram.counts) == len(durations_s)


@given(st.lists(st.text()))
def test_peers_cannot_grow_the_table_of_methods(methods):
    tally = Tally()
    for method in methods:
        tally.count_request(method)
        tally.count_response(method, 405)
    assert set(tally.requests) <= METHODS | {"other"}
    assert tally.requests.total() == tally.responses.total() == len(methods)


def test_every_result_of_a_notify_is_shown_from_the_start():
    assert dict(Tally().notifies) == dict.fromkeys(NOTIFY_RESULTS, 0)
