"""Why subscriptions end, and what the final NOTIFY says (RFC 6665 sections 4.1.3, 4.2.1.4 and 4.2.2)."""

import pytest
import sip
from net import Agent, Network

from presence.subscription.machine import Input

DAY_S = 86_400


def decide(net: Network, watcher: str, status: int) -> None:
    net.rows(
        "INSERT OR REPLACE INTO watchers"
        " (presentity_uri, watcher_username, watcher_domain, event, status, reason, inserted_time)"
        f" VALUES ('sip:alice@example.com', '{watcher}', 'example.com', 'presence', {status}, '', 1700000000)"
    )


def test_rfc6665_4_1_3_giveup_says_when_to_try_again() -> None:
    """RFC 3857 section 4.7.1: the giveup timer counts while a subscription is pending."""
    net = Network(
        "server.policy=rules", "presence.waiting_subs_daysno=1", f"presence.max_expires_subscribe={3 * DAY_S}"
    )
    alice, bob = net.agent("alice"), net.agent("bob")
    winfo = alice.subscribe(event="presence.winfo", expires=3 * DAY_S)
    watch = bob.subscribe(expires=2 * DAY_S)
    net.clock.at += DAY_S - 60
    assert watch.refresh().status == 200
    assert watch.state == "pending"
    net.clock.at += 120
    response = watch.refresh()
    assert (response.status, response.header("Expires")) == (200, "0")
    assert watch.newest.header("Subscription-State") == "terminated;reason=giveup;retry-after=86400"
    assert net.rows("SELECT count(*) FROM active_watchers WHERE event = 'presence'") == [(0,)]
    assert 'status="terminated" event="giveup"' in winfo.body
    assert watch.refresh().status == 481


def test_rfc3857_4_7_1_who_was_approved_meanwhile_is_not_given_up() -> None:
    net = Network(
        "server.policy=rules", "presence.waiting_subs_daysno=1", f"presence.max_expires_subscribe={3 * DAY_S}"
    )
    watch = net.agent("bob").subscribe(expires=2 * DAY_S)
    net.clock.at += DAY_S + 60
    decide(net, "bob", 1)
    assert watch.refresh().status == 200
    assert watch.state == "active"
    net.rows("DELETE FROM watchers")
    assert watch.refresh().status == 200
    assert watch.state == "pending", "it begins to wait now"


def test_rfc6665_4_1_3_giveup_that_cannot_be_written_is_503_and_changes_nothing() -> None:
    net = Network("server.policy=rules", "presence.waiting_subs_daysno=1", "presence.max_expires_subscribe=200000")
    watch = net.agent("bob").subscribe(expires=200_000)
    net.clock.at += DAY_S + 60
    net.refuse_commits()
    assert watch.refresh().status == 503
    net.refuse_commits(False)
    assert watch.state == "pending"
    watch.refresh()
    assert watch.state == "terminated;giveup"


def test_rfc6665_4_1_3_noresource_when_the_domain_is_not_served_any_more() -> None:
    net = Network("server.domain=example.com,example.net")
    bob = net.agent("bob")
    stays, goes = bob.subscribe(), bob.subscribe(uri="sip:carol@example.net")
    shared = goes.beside(event="message-summary")
    object.__setattr__(net.config.server, "domain", ("example.com",))
    net.restart()
    net.advance(1.0)
    assert stays.state == "active"
    for watch in (goes, shared):
        assert watch.newest.header("Subscription-State") == "terminated;reason=noresource"
        assert watch.refresh().status == 481
    assert net.rows("SELECT presentity_uri FROM active_watchers") == [("sip:alice@example.com",)]
    assert net.rows("SELECT count(*) FROM shared_watchers") == [(0,)]


@pytest.mark.parametrize(
    ("happened", "told", "event"),
    [
        (Input.DEACTIVATED, "terminated;reason=deactivated", "deactivated"),
        (Input.PROBATION, "terminated;reason=probation;retry-after=300", "probation"),
        (Input.REJECTED, "terminated;reason=rejected", "rejected"),
        (Input.EXPIRED, "terminated;reason=timeout", "timeout"),
        (Input.RESOURCE_GONE, "terminated;reason=noresource", "noresource"),
    ],
)
def test_rfc6665_4_2_2_every_end_of_ours_says_why(
    net: Network, alice: Agent, bob: Agent, happened: Input, told: str, event: str
) -> None:
    watch = bob.subscribe()
    winfo = alice.subscribe(event="presence.winfo")
    (slot,) = (slot for slot in net.node.notify.running() if net.node.table.facts(slot).group == 1)
    # Expired is what nobody refreshed in time.
    net.clock.at += 601.0 if happened is Input.EXPIRED else 0.0
    net.node._ending.end(slot, happened, net.clock.at)
    net.settle()
    state = watch.newest.header("Subscription-State") or ""
    assert state == told
    assert "expires" not in state
    if happened is not Input.EXPIRED:
        assert f'status="terminated" event="{event}"' in winfo.body
    assert net.rows("SELECT count(*) FROM active_watchers WHERE event = 'presence'") == [(0,)]


def test_rfc6665_4_2_2_a_watcher_that_is_gone_hears_nothing(net: Network, bob: Agent) -> None:
    watch = bob.subscribe()
    bob.status = 481
    net.agent("alice").publication().publish(body=sip.pidf("x"))
    net.advance(1.0)
    assert len(watch.notifies) == 2
    assert watch.refresh().status == 481
