"""Bounds and offsets that an operator counts on."""

import sip
from net import Network


def test_a_presentity_has_at_most_64_publications_of_a_package() -> None:
    net = Network()
    alice = net.agent("alice")
    publications = [alice.publication() for _ in range(65)]
    statuses = [entry.publish(body=sip.pidf(f"n{number}")).status for number, entry in enumerate(publications)]
    assert statuses == [200] * 64 + [403]
    # Another package and another presentity have bounds of their own, and one that goes makes room.
    assert alice.publication(uri="sip:bob@example.com").publish(body=sip.pidf("bob")).status == 200
    assert publications[0].publish(expires=0, etag=publications[0].etag).status == 200
    assert alice.publication().publish(body=sip.pidf("again")).status == 200


def test_expires_offset_keeps_a_subscription_longer_than_its_watcher_is_told() -> None:
    net = Network("presence.expires_offset=30")
    watch = net.agent("bob").subscribe(expires=100)
    assert watch.response is not None
    assert watch.response.header("Expires") == "100"
    assert watch.newest.header("Subscription-State") == "active;expires=100"
    net.advance(120.0)
    assert watch.state == "active"
    net.advance(15.0)
    assert watch.newest.header("Subscription-State") == "terminated;reason=timeout"


def test_pending_decisions_are_forgotten_after_waiting_subs_daysno() -> None:
    net = Network("server.policy=rules", "presence.waiting_subs_daysno=1")
    net.agent("bob").subscribe(expires=600)
    assert net.rows("SELECT status FROM watchers") == [(2,)]
    net.advance(86_000.0, step_s=600.0)
    assert net.rows("SELECT status FROM watchers") == [(2,)]
    net.advance(1_200.0, step_s=100.0)
    assert net.rows("SELECT status FROM watchers") == []
