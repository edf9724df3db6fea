"""The subscription's state table (RFC 6665 section 4.2.2, RFC 3857 Figure 1)."""

import itertools

import pytest

from presence.subscription.machine import INIT, REMOVING_RESPONSES, TABLE, Input, decide_transition
from presence.values import SubscriptionStatus, WatcherEvent


def test_nothing_leaves_terminated():
    assert all(decide_transition(SubscriptionStatus.TERMINATED, happened) is None for happened in Input)


@pytest.mark.parametrize(
    ("state", "happened"),
    list(itertools.product((SubscriptionStatus.PENDING, SubscriptionStatus.ACTIVE), Input)),
)
def test_every_end_is_terminated_and_says_why_unless_the_watcher_is_dead(state, happened):
    transition = decide_transition(state, happened)
    if transition is None or transition[0] is not SubscriptionStatus.TERMINATED:
        return
    _, event, reason = transition
    assert event is not WatcherEvent.SUBSCRIBE
    assert bool(reason) == (happened is not Input.NOTIFY_FAILED)


def test_rfc3857_4_7_1_approval_turns_pending_into_active():
    assert decide_transition(SubscriptionStatus.PENDING, Input.ALLOWED) == (
        SubscriptionStatus.ACTIVE,
        WatcherEvent.APPROVED,
        "",
    )


def test_a_subscription_is_decided_about_when_it_comes():
    assert {happened for state, happened in TABLE if state is INIT} == {Input.ALLOWED, Input.CONFIRM, Input.REJECTED}


def test_rfc6665_4_2_2_responses_that_remove():
    assert {404, 405, 410, 416, 480, 481, 482, 483, 484, 485, 489, 501, 604} == REMOVING_RESPONSES
