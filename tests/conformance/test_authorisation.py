"""Decisions of table `watchers` that change while somebody watches (RFC 6665 section 4.2.1.4, RFC 3857 section 4.7)."""

import sip
from net import Network

RULES = "server.policy=rules"


def decide(net: Network, watcher: str, status: int, reason: str = "") -> None:
    net.rows(
        "INSERT OR REPLACE INTO watchers"
        " (presentity_uri, watcher_username, watcher_domain, event, status, reason, inserted_time)"
        f" VALUES ('sip:alice@example.com', '{watcher}', 'example.com', 'presence', {status}, '{reason}', 1700000000)"
    )


def test_a_watcher_approved_meanwhile_is_let_in_at_its_refresh_and_the_presentity_hears_of_it() -> None:
    net = Network(RULES)
    alice, bob = net.agent("alice"), net.agent("bob")
    alice.publication().publish(body=sip.pidf("for friends"))
    winfo = alice.subscribe(event="presence.winfo")
    watch = bob.subscribe()
    assert (watch.state, "for friends" in watch.body) == ("pending", False)
    decide(net, "bob", 1)
    assert watch.refresh().status == 200
    assert watch.state == "active"
    assert "for friends" in watch.body
    assert 'event="approved"' in winfo.body
    assert 'status="active"' in winfo.body
    assert net.rows("SELECT status FROM active_watchers WHERE event = 'presence'") == [(1,)]


def test_a_watcher_blocked_meanwhile_is_refused_and_its_subscription_ends() -> None:
    net = Network(RULES)
    alice, bob = net.agent("alice"), net.agent("bob")
    decide(net, "bob", 1)
    watch = bob.subscribe()
    assert watch.state == "active"
    decide(net, "bob", 3, "rejected")
    assert watch.refresh().status == 403
    assert watch.newest.header("Subscription-State") == "terminated;reason=rejected"
    assert watch.body == ""
    assert net.rows("SELECT count(*) FROM active_watchers") == [(0,)]
    heard = len(watch.notifies)
    alice.publication().publish(body=sip.pidf("not for bob"))
    assert len(watch.notifies) == heard


def test_a_watcher_whose_decision_is_withdrawn_is_pending_again_and_sees_nothing() -> None:
    net = Network(RULES)
    alice, bob = net.agent("alice"), net.agent("bob")
    decide(net, "bob", 1)
    watch = bob.subscribe()
    net.rows("DELETE FROM watchers")
    assert watch.refresh().status == 200
    assert watch.state == "pending"
    assert "Waiting for approval" in watch.body
    alice.publication().publish(body=sip.pidf("not for bob"))
    assert "not for bob" not in watch.body


def test_decisions_count_after_a_restart() -> None:
    net = Network(RULES)
    bob, carol = net.agent("bob"), net.agent("carol")
    decide(net, "carol", 1)
    waiting, friend = bob.subscribe(), carol.subscribe()
    assert (waiting.state, friend.state) == ("pending", "active")
    decide(net, "bob", 1)
    decide(net, "carol", 3, "rejected")
    net.restart()
    net.agent("alice").publication().publish(body=sip.pidf("after the start"))
    assert waiting.state == "active"
    assert "after the start" in waiting.body
    assert "after the start" not in friend.body
    assert [sip.param(n.header("Subscription-State"), "reason") for n in friend.notifies[1:]] == ["rejected"]
    assert net.rows("SELECT watcher_username FROM active_watchers") == [("bob",)]
