"""The subscription's state table (RFC 6665 section 4.2.2, RFC 3857 Figure 1)."""

import itertools
from pathlib import Path

import pytest

from presence.subscription.machine import INIT, REMOVING_RESPONSES, TABLE, Input, decide_transition
from presence.values import SubscriptionStatus, WatcherEvent

ARCHITECTURE = Path(__file__).parents[2] / "docs" / "architecture.md"


def test_nothing_leaves_terminated():
    assert all(decide_transition(SubscriptionStatus.TERMINATED, happened) is None for happened in Input)


@pytest.mark.parametrize(
    ("state", "happened"),
    list(itertools.product((SubscriptionStatus.PENDING, SubscriptionStatus.ACTIVE), Input)),
)
def test_every_end_says_why_unless_the_watcher_is_dead(state, happened):
    transition = decide_transition(state, happened)
    if transition is None or transition[0] in (SubscriptionStatus.PENDING, SubscriptionStatus.ACTIVE):
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


def draw() -> str:
    """The table as a figure, in the language that GitHub shows."""
    lines = ["stateDiagram-v2"]
    for (state, happened), (after, event, _) in TABLE.items():
        before = "[*]" if state is INIT else state.name.lower()
        lines.append(f"    {before} --> {after.name.lower()}: {happened.value} / {event.name.lower()}")
    return "\n".join([*lines, "    terminated --> [*]"])


def test_the_figure_in_the_docs_is_the_table():
    assert draw() in ARCHITECTURE.read_text()


# RFC 3857 section 4.7.1, Figure 1: by state the words at its arrows, and where they lead.
FIGURE = {
    "init": {"subscribe, policy=reject": "terminated", "subscribe, policy=accept": "active", "subscribe": "pending"},
    "pending": {
        **dict.fromkeys(("noresource", "rejected", "deactivated", "probation", "giveup"), "terminated"),
        "approved": "active",
        "timeout": "waiting",
    },
    "active": dict.fromkeys(("noresource", "rejected", "deactivated", "probation", "timeout"), "terminated"),
    "waiting": dict.fromkeys(("noresource", "rejected", "giveup", "approved"), "terminated"),
}


def test_rfc3857_4_7_1_the_table_is_figure_1():
    """Word for word, but for the way back from active to pending of a watcher whose rule was withdrawn."""
    found: dict[str, dict[str, str]] = {state: {} for state in FIGURE}
    for (state, happened), (after, event, _) in TABLE.items():
        if (state, happened) == (SubscriptionStatus.ACTIVE, Input.CONFIRM):
            continue
        if state is INIT:
            policy = {Input.ALLOWED: "subscribe, policy=accept", Input.REJECTED: "subscribe, policy=reject"}
            found["init"][policy.get(happened, "subscribe")] = after.name.lower()
        else:
            arrow = found[state.name.lower()].setdefault(event.name.lower(), after.name.lower())
            assert arrow == after.name.lower(), "one word leads to one state"
    assert found == FIGURE
