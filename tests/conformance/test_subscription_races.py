"""Subscriptions whose requests, NOTIFYs and ends cross each other, and dialogs that must not touch one another."""

import pytest
import sip
from net import Agent, Network, Subscription

from presence._fastcore import Message


def in_flight(net: Network) -> int:
    return net.node.table.counters()["in_flight"]


def test_rfc3261_12_1_1_strict_route_of_a_fetch_is_nobody_elses(net: Network, bob: Agent) -> None:
    """A fetch leaves its place in the table to the next subscription, and nothing of its route set."""
    mallory = net.agent("mallory")
    fetch = mallory.subscribe(f"Record-Route: <sip:127.0.0.1:{mallory.address[1]}>", expires=0)
    assert fetch.response is not None
    assert fetch.response.status == 200
    watch = bob.subscribe()
    assert watch.dialog.remote_tag[:10] == fetch.dialog.remote_tag[:10], "the place is used again"
    heard = len(mallory.notifies)
    assert watch.refresh().status == 200
    assert (len(mallory.notifies), len(watch.notifies)) == (heard, 2)
    assert watch.newest.uri == bob.contact.strip("<>")


def test_rfc6665_4_2_2_refresh_under_way_outlives_the_timeout_of_a_notify(net: Network, bob: Agent) -> None:
    watch = bob.subscribe()
    bob.status = None
    net.agent("alice").publication().publish(body=sip.pidf("unheard"))
    net.advance(10.0)
    (slot,) = net.node.table.group_slots(1)
    flush = net.store.flush
    net.store.flush = lambda: None  # type: ignore[method-assign]
    watch.send(expires=600)
    net.turn()
    net.turn()
    net.node.table.fail_flight(slot, 408)
    net.turn()
    net.store.flush = flush  # type: ignore[method-assign]
    bob.status = 200
    net.settle()
    assert watch.response is not None
    assert watch.response.status == 200
    assert net.rows("SELECT count(*) FROM active_watchers") == [(1,)]
    assert "unheard" in watch.body


def test_rfc3261_12_2_2_unsubscribe_is_a_target_refresh_too(net: Network, bob: Agent) -> None:
    watch = bob.subscribe()
    elsewhere = net.agent("bob2")
    response = watch.refresh(expires=0, contact=elsewhere.contact)
    assert response.status == 200
    (final,) = elsewhere.notifies
    assert final.uri == elsewhere.contact.strip("<>")
    assert "terminated" in (final.header("Subscription-State") or "")
    assert len(bob.notifies) == 1


def test_rfc6665_4_1_2_3_unsubscribe_needs_no_contact(bob: Agent) -> None:
    watch = bob.subscribe()
    assert watch.refresh(expires=0, contact="").status == 200
    assert watch.state == "terminated;timeout"


def test_rfc3261_18_notify_in_flight_follows_a_refresh_to_the_new_connection(net: Network) -> None:
    """Without timer E the NOTIFY would wait on a dead connection until timer F, and take the subscription along."""
    carol = net.agent("carol", transport="TCP")
    watch = carol.subscribe()
    carol.status = None
    assert carol.connection is not None
    carol.connection.open = False
    net.agent("alice").publication().publish(body=sip.pidf("lost"))
    assert in_flight(net) == 1
    carol.status = 200
    carol.connection = None
    assert watch.refresh().status == 200
    assert "lost" in watch.body
    net.advance(40.0)
    assert (in_flight(net), watch.alive) == (0, True)
    assert watch.refresh().status == 200


def test_subscription_an_operator_deleted_is_over_when_its_refresh_finds_no_row(
    net: Network, alice: Agent, bob: Agent
) -> None:
    watch = bob.subscribe()
    net.rows("DELETE FROM active_watchers")
    assert watch.refresh().status == 200
    net.settle()
    assert watch.state == "terminated;deactivated"
    assert watch.refresh().status == 481
    told = len(bob.notifies)
    alice.publication().publish(body=sip.pidf())
    assert len(bob.notifies) == told
    assert len(net.node.table) == 0


def test_rfc6665_4_2_1_subscribe_behind_its_unsubscribe_is_481(net: Network, bob: Agent) -> None:
    """Both arrive before the first is committed."""
    watch = bob.subscribe()
    answers: list[Message | None] = []
    bob.send(watch.request(expires=0), answers.append)
    bob.send(watch.request(expires=600), answers.append)
    net.settle()
    assert [answer.status for answer in answers if answer] == [200, 481]
    assert watch.state == "terminated;timeout"
    assert net.rows("SELECT count(*) FROM active_watchers") == [(0,)]
    assert len(net.node.book.lanes) == 0


def test_refresh_just_before_the_expiry_wins(net: Network, bob: Agent) -> None:
    watch = bob.subscribe(expires=60)
    net.advance(59.9)
    watch.send(expires=60)
    net.advance(5.0)
    assert watch.alive
    net.advance(70.0)
    assert watch.state == "terminated;timeout"
    assert net.rows("SELECT count(*) FROM active_watchers") == [(0,)]


def test_longest_interval_of_the_configuration_can_be_kept() -> None:
    net = Network("presence.max_expires_subscribe=2147483647", "presence.expires_offset=3600")
    watch = net.agent("bob").subscribe(expires=2**32 - 1)
    assert watch.response is not None
    assert watch.response.status == 200
    assert watch.state == "active"
    assert net.tally.drops["internal error"] == 0


def test_row_with_an_expiry_that_is_no_time_is_over_and_promises_nothing() -> None:
    net = Network("presence.expires_offset=10")
    bob = net.agent("bob")
    watch = bob.subscribe()
    net.rows("UPDATE active_watchers SET expires = 'soon'")
    net.restart()
    net.advance(2.0)
    for notify in watch.notifies[1:]:
        state = notify.header("Subscription-State") or ""
        assert state.startswith("terminated") or sip.param(state, "expires") == "0"
    assert not watch.alive


# ---- glare: what crosses on the wire ----


def terminations(watch: Subscription) -> list[str]:
    """The final NOTIFYs, each transaction once."""
    states = {notify.branch: notify.header("Subscription-State") or "" for notify in watch.notifies}
    return [state for state in states.values() if state.startswith("terminated")]


@pytest.mark.parametrize("late_s", [-0.75, -0.25, 0.0, 0.25, 1.0])
def test_rfc6665_4_2_1_4_refresh_at_the_instant_of_expiry_wins_or_is_481(
    net: Network, bob: Agent, late_s: float
) -> None:
    """Whoever is first, both sides agree: 200 and it goes on, or 481 and one final NOTIFY."""
    watch = bob.subscribe(expires=60)
    net.clock.at += 60 + late_s
    watch.send(expires=60)
    net.settle()
    net.advance(5.0)
    assert watch.response is not None
    running = net.rows("SELECT count(*) FROM active_watchers") == [(1,)]
    if watch.response.status == 200:
        assert (running, terminations(watch)) == (True, [])
        net.advance(60.0)
        assert terminations(watch) == ["terminated;reason=timeout"]
    else:
        assert watch.response.status == 481
        assert (running, terminations(watch)) == (False, ["terminated;reason=timeout"])


def test_rfc6665_4_2_1_refresh_that_crosses_the_final_notify_is_481(net: Network, bob: Agent) -> None:
    watch = bob.subscribe(expires=60)
    bob.status = None
    net.advance(62.0)
    assert terminations(watch) == ["terminated;reason=timeout"], "and it is not answered yet"
    assert watch.refresh(expires=60).status == 481
    bob.status = 200
    net.advance(40.0)
    assert len(terminations(watch)) == 1
    assert len(net.node.table) == 0


def test_rfc6665_4_2_2_refresh_that_crosses_a_notify_is_answered_and_told_after_it(net: Network, bob: Agent) -> None:
    """One NOTIFY at a time: that of the refresh waits for the answer to the one under way."""
    watch, publication = bob.subscribe(), net.agent("alice").publication()
    bob.status = None
    publication.publish(body=sip.pidf("one"))
    assert watch.refresh().status == 200
    publication.publish(body=sip.pidf("two"))
    assert len(watch.notifies) == 2
    bob.status = 200
    bob.answer(watch.newest, 200)
    assert len(watch.notifies) == 3
    assert "two" in watch.body
    assert [notify.cseq for notify in watch.notifies] == [1, 2, 3]


def test_rfc6665_4_1_2_3_unsubscribe_that_crosses_a_notify_gets_one_final_notify(net: Network, bob: Agent) -> None:
    watch = bob.subscribe()
    bob.status = None
    net.agent("alice").publication().publish(body=sip.pidf("news"))
    assert watch.unsubscribe().status == 200
    assert terminations(watch) == []
    bob.status = 200
    bob.answer(watch.newest, 200)
    assert terminations(watch) == ["terminated;reason=timeout"]
    assert "news" in watch.body
    assert in_flight(net) == 0
    assert len(net.node.table) == 0


@pytest.mark.parametrize("end", ["expiry", "unsubscribe"])
def test_rfc6665_two_ends_at_once_are_told_once(net: Network, bob: Agent, end: str) -> None:
    """An unsubscribe in the instant of expiry, and one that comes twice."""
    watch = bob.subscribe(expires=60)
    if end == "expiry":
        net.clock.at += 60.25
    answers: list[Message | None] = []
    for _ in range(2):
        bob.send(watch.request(expires=0), answers.append)
    net.settle()
    net.advance(5.0)
    assert terminations(watch) == ["terminated;reason=timeout"]
    assert sorted(answer.status for answer in answers if answer) in ([200, 481], [481, 481])
    assert net.rows("SELECT count(*) FROM active_watchers") == [(0,)]


@pytest.mark.parametrize("transport", ["UDP", "TCP"])
def test_rfc3261_12_2_2_of_two_refreshes_out_of_order_the_older_is_500(net: Network, transport: str) -> None:
    bob = net.agent("bob", transport=transport)
    watch = bob.subscribe(expires=600)
    older, newer = watch.request(expires=100), watch.request(expires=300)
    answers: dict[str, int] = {}
    bob.send(newer, lambda response: answers.__setitem__("newer", response.status if response else 0))
    bob.send(older, lambda response: answers.__setitem__("older", response.status if response else 0))
    net.settle()
    assert answers == {"newer": 200, "older": 500}
    left = sip.param(watch.newest.header("Subscription-State"), "expires")
    assert left == "300", "the older one changes nothing"


def test_rfc3261_17_2_2_the_same_refresh_twice_is_one_and_the_same_cseq_anew_is_500(net: Network, bob: Agent) -> None:
    watch = bob.subscribe(expires=600)
    data = watch.request(expires=300)
    answers: list[Message | None] = []
    bob.send(data, answers.append)
    net.settle()
    net.post_to_node(bob, data)
    net.settle()
    assert len(watch.notifies) == 2
    responses = [message.raw for _, message in bob.arrivals if not message.is_request and message.cseq == 2]
    assert len(responses) == 2
    assert len(set(responses)) == 1
    anew = data.replace(b"branch=", b"branch=z9hG4bKanew")
    assert bob.ask(anew).status == 500
    assert len(watch.notifies) == 2


def test_rfc6665_4_4_2_refresh_that_crosses_a_deactivation_is_told_to_begin_anew(net: Network, bob: Agent) -> None:
    """An operator deletes the row while a refresh is on its way."""
    watch = bob.subscribe()
    bob.status = None
    net.rows("DELETE FROM active_watchers")
    watch.refresh()
    net.settle()
    bob.status = 200
    for notify in watch.notifies[-1:]:
        bob.answer(notify, 200)
    net.advance(5.0)
    assert terminations(watch) == ["terminated;reason=deactivated"]
    again = bob.subscribe()
    assert again.state == "active"
    assert again.dialog.remote_tag != watch.dialog.remote_tag


def test_rfc6665_a_refresh_and_an_approval_end_in_one_state() -> None:
    net = Network("server.policy=rules")
    bob = net.agent("bob")
    watch = bob.subscribe()
    net.rows("UPDATE watchers SET status = 1")
    first, second = watch.request(expires=300), watch.request(expires=200)
    answers: list[Message | None] = []
    bob.send(first, answers.append)
    bob.send(second, answers.append)
    net.settle()
    assert [answer.status for answer in answers if answer] == [200, 200]
    assert watch.state == "active"
    assert sip.param(watch.newest.header("Subscription-State"), "expires") == "200"


def test_rfc6665_4_1_2_4_a_481_to_the_first_notify_leaves_nothing(net: Network, bob: Agent) -> None:
    """Timer N of the watcher has fired: it knows nothing of what we just made."""
    bob.status = 481
    bob.subscribe()
    net.advance(1.0)
    assert net.rows("SELECT count(*) FROM active_watchers") == [(0,)]
    assert len(net.node.table) == 0
