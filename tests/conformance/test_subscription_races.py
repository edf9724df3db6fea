"""Subscriptions whose requests, NOTIFYs and ends cross each other, and dialogs that must not touch one another."""

import sip
from net import Agent, Network

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
