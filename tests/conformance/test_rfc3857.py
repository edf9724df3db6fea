"""Watcher information: who is told what, in which documents (RFC 3857 section 4, RFC 3858 section 3)."""

import re
from pathlib import Path

import pytest
import sip
from lxml import etree
from net import Agent, Network, Subscription

SCHEMA = etree.XMLSchema(etree.parse(str(Path(__file__).parents[1] / "schemas" / "watcherinfo.xsd")))
NS = "{urn:ietf:params:xml:ns:watcherinfo}"
TOKEN = re.compile(r"[A-Za-z0-9.!%*_+`'~-]+")
RULES = "server.policy=rules"


def decide(net: Network, watcher: str, status: int) -> None:
    net.rows(
        "INSERT OR REPLACE INTO watchers"
        " (presentity_uri, watcher_username, watcher_domain, event, status, reason, inserted_time)"
        f" VALUES ('sip:alice@example.com', '{watcher}', 'example.com', 'presence', {status}, '', 1700000000)"
    )


def documents(watch: Subscription) -> list[etree._Element]:
    roots = [etree.fromstring(notify.body) for notify in watch.notifies]
    for root in roots:
        SCHEMA.assertValid(root)
    return roots


def named(root: etree._Element) -> list[tuple[str, str, str]]:
    return sorted((w.text or "", w.get("status", ""), w.get("event", "")) for w in root.iter(f"{NS}watcher"))


BOB, CAROL = "sip:bob@example.com", "sip:carol@example.com"


def test_rfc3857_4_6_a_watcher_may_hear_of_its_own_subscription_alone() -> None:
    net = Network(RULES)
    decide(net, "bob", 1)
    decide(net, "carol", 1)
    alice, bob, carol = net.agent("alice"), net.agent("bob"), net.agent("carol")
    carol.subscribe()
    own = bob.subscribe(event="presence.winfo")
    assert named(documents(own)[-1]) == []
    watch = bob.subscribe()
    assert named(documents(own)[-1]) == [(BOB, "active", "subscribe")]
    heard = len(own.notifies)
    carol.subscriptions[0].unsubscribe()
    carol.subscribe()
    assert len(own.notifies) == heard, "others come and go unheard"
    watch.unsubscribe()
    assert named(documents(own)[-1]) == [(BOB, "terminated", "timeout")]
    whole = alice.subscribe(event="presence.winfo")
    assert named(documents(whole)[-1]) == [(CAROL, "active", "subscribe")]
    versions = [int(root.get("version") or -1) for root in documents(own)]
    assert versions == list(range(len(versions)))


def test_rfc3857_4_6_what_a_watcher_may_hear_is_the_same_after_a_restart() -> None:
    net = Network(RULES)
    decide(net, "bob", 1)
    decide(net, "carol", 1)
    bob = net.agent("bob")
    own = bob.subscribe(event="presence.winfo")
    net.agent("carol").subscribe()
    bob.subscribe()
    net.restart()
    root = documents(own)[-1]
    assert (root.get("state"), named(root)) == ("full", [(BOB, "active", "subscribe")])
    net.agent("dave").subscribe()
    assert "dave" not in own.body


@pytest.mark.parametrize("status", [2, 3, None])
def test_rfc3857_4_6_who_may_not_watch_gets_no_watcher_information(status: int | None) -> None:
    net = Network(RULES)
    if status:
        decide(net, "bob", status)
    response = net.agent("bob").subscribe(event="presence.winfo").response
    assert response is not None
    assert response.status == 403


def test_rfc3857_4_6_a_right_that_is_withdrawn_ends_with_a_restart() -> None:
    net = Network(RULES)
    decide(net, "bob", 1)
    bob = net.agent("bob")
    own, _ = bob.subscribe(event="presence.winfo"), bob.subscribe()
    heard = len(own.notifies)
    decide(net, "bob", 3)
    net.restart()
    net.advance(1.0)
    (final,) = own.notifies[heard:]
    assert final.header("Subscription-State") == "terminated;reason=rejected"
    assert named(etree.fromstring(final.body)) == []
    assert own.refresh().status == 481
    assert len(net.node.table) == 0


def test_rfc3857_4_6_watchers_of_watchers_are_told_to_the_presentity_alone() -> None:
    net = Network(RULES)
    decide(net, "bob", 1)
    alice, bob = net.agent("alice"), net.agent("bob")
    refused = bob.subscribe(event="presence.winfo.winfo").response
    assert refused is not None
    assert refused.status == 403
    above = alice.subscribe(event="presence.winfo.winfo")
    bob.subscribe(event="presence.winfo")
    assert named(documents(above)[-1]) == [(BOB, "active", "subscribe")]
    assert documents(above)[-1].find(f"{NS}watcher-list").get("package") == "presence.winfo"


def test_rfc3857_4_6_under_policy_open_everybody_sees_all_unless_that_is_turned_off() -> None:
    """`presence.winfo_open`; OpenSIPS, which this server stands in for, tells everybody under `force_active`."""
    watched = [(BOB, "active", "subscribe"), (CAROL, "active", "subscribe")]
    for setting, bobs in (("true", watched), ("false", watched[:1])):
        net = Network(f"presence.winfo_open={setting}")
        bob = net.agent("bob")
        bob.subscribe()
        net.agent("carol").subscribe()
        assert named(documents(bob.subscribe(event="presence.winfo"))[-1]) == bobs
        assert named(documents(net.agent("alice").subscribe(event="presence.winfo"))[-1]) == watched
        above = bob.subscribe(event="presence.winfo.winfo").response
        assert above is not None
        assert above.status == (200 if setting == "true" else 403)
        heard = len(bob.subscriptions[1].notifies)
        net.agent("dave").subscribe()
        assert len(bob.subscriptions[1].notifies) == heard + (setting == "true")
        net.restart()
        assert named(documents(bob.subscriptions[1])[-1])[: len(bobs)] == bobs
        assert ("dave" in bob.subscriptions[1].body) == (setting == "true")


@pytest.mark.parametrize("policy", ["open", "rules"])
def test_an_administrator_is_told_the_watchers_of_everybody(policy: str) -> None:
    """`presence.winfo_administrators`; who watches the watchers is for the presentity alone all the same."""
    settings = ("presence.winfo_administrators=admin@example.com,sip:carol@example.com", "presence.winfo_open=false")
    net = Network(f"server.policy={policy}", *settings)
    net.agent("bob").subscribe()
    admin = net.agent("admin")
    state = "active" if policy == "open" else "pending"
    for name in ("alice", "carol", "admin"):
        watch = net.agent(name).subscribe(event="presence.winfo")
        assert named(documents(watch)[-1]) == [(BOB, state, "subscribe")]
    own = admin.subscribe(event="presence.winfo")
    net.restart()
    assert named(documents(own)[-1]) == [(BOB, state, "subscribe")]
    refused = admin.subscribe(event="presence.winfo.winfo").response
    assert refused is not None
    assert refused.status == 403


@pytest.mark.parametrize("event", ["presence", "message-summary"])
def test_rfc3857_4_6_everybody_may_hear_of_own_watchers(event: str) -> None:
    net = Network(RULES)
    alice = net.agent("alice")
    for name in (f"{event}.winfo", f"{event}.winfo.winfo"):
        assert alice.subscribe(event=name).state == "active"


@pytest.mark.parametrize(
    ("accept", "status"),
    [("application/watcherinfo+xml", 200), ("application/x, application/watcherinfo+xml", 200), ("text/plain", 406)],
)
def test_rfc3857_4_5_documents_are_of_a_type_that_is_accepted(alice: Agent, accept: str, status: int) -> None:
    watch = alice.subscribe(f"Accept: {accept}", event="presence.winfo")
    assert watch.response is not None
    assert watch.response.status == status
    kinds = {notify.header("Content-Type") for notify in watch.notifies}
    assert kinds == ({"application/watcherinfo+xml"} if status == 200 else set())


def test_rfc3857_4_5_without_accept_it_is_watcherinfo(alice: Agent) -> None:
    watch = alice.subscribe(event="presence.winfo")
    assert watch.newest.header("Content-Type") == "application/watcherinfo+xml"


def test_rfc3858_3_every_document_is_valid_and_complete(net: Network, alice: Agent) -> None:
    """Well-formed, UTF-8, valid, with all mandatory attributes and unique ids, whatever watchers are called."""
    winfo = alice.subscribe(event="presence.winfo")
    names = ('"Jürgen <&>"', '"\\"quoted\\""', "Plain", "")
    for number, name in enumerate(names):
        agent = net.agent(f"w{number}")
        agent.subscribe(sender=f"{name} <{agent.uri}>")
        agent.subscribe(sender=f"{name} <{agent.uri}>", event_id="second")
    net.agents[("127.0.0.1", 5071)].subscriptions[0].unsubscribe()
    winfo.refresh()
    ids: dict[str, str] = {}
    for number, (notify, root) in enumerate(zip(winfo.notifies, documents(winfo), strict=True)):
        notify.body.decode("utf-8")
        assert notify.body.startswith(b'<?xml version="1.0" encoding="UTF-8"?>')
        assert root.get("version") == str(number)
        assert root.get("state") in ("full", "partial")
        (watchers,) = root
        assert (watchers.get("resource"), watchers.get("package")) == ("sip:alice@example.com", "presence")
        inside = [watcher.get("id") or "" for watcher in watchers]
        assert len(set(inside)) == len(inside)
        for watcher in watchers:
            assert watcher.get("status")
            assert watcher.get("event")
            assert TOKEN.fullmatch(watcher.get("id") or "")
            # One id is one subscription for ever: it never names another watcher.
            assert ids.setdefault(watcher.get("id") or "", watcher.text or "") == watcher.text
            assert re.fullmatch(r"sip:w\d@example\.com", watcher.text or ""), "an address of record, no device"
    assert len(ids) == 2 * len(names)


def test_rfc3857_4_7_2_a_fetch_gets_all_watchers_and_is_itself_not_told(net: Network, alice: Agent, bob: Agent) -> None:
    winfo = alice.subscribe(event="presence.winfo")
    bob.subscribe()
    net.agent("carol").subscribe()
    heard = len(winfo.notifies)
    fetch = net.agent("desk").subscribe(event="presence.winfo", expires=0)
    (root,) = documents(fetch)
    assert (root.get("state"), len(named(root))) == ("full", 2)
    net.agent("dave").subscribe(expires=0)
    assert len(winfo.notifies) == heard, "a fetch of presence is transient"


def test_rfc3857_4_7_2_only_who_changed_is_named(net: Network, alice: Agent) -> None:
    for number in range(10):
        net.agent(f"w{number}").subscribe()
    winfo = alice.subscribe(event="presence.winfo")
    net.agent("late").subscribe()
    root = documents(winfo)[-1]
    assert root.get("state") == "partial"
    assert named(root) == [("sip:late@example.com", "active", "subscribe")]


def test_rfc3856_6_11_1_a_presentity_hears_who_waits_for_its_decision() -> None:
    net = Network(RULES)
    winfo = net.agent("alice").subscribe(event="presence.winfo")
    net.agent("bob").subscribe()
    assert named(documents(winfo)[-1]) == [(BOB, "pending", "subscribe")]


def test_rfc3858_3_versions_fit_into_32_bits_and_do_not_wrap(net: Network, alice: Agent, bob: Agent) -> None:
    """They follow the CSeq of the NOTIFYs, which is below 2**31 (RFC 3261 section 8.1.1.5)."""
    winfo = alice.subscribe(event="presence.winfo")
    for _ in range(3):
        net.restart()
        bob.subscribe()
    versions = [int(root.get("version") or -1) for root in documents(winfo)]
    assert versions == sorted(set(versions))
    assert versions[-1] < winfo.newest.cseq + 1 < 2**31


def test_nobody_publishes_watcher_information(alice: Agent) -> None:
    publication = alice.publication(event="presence.winfo", content_type="application/watcherinfo+xml")
    assert publication.publish(body=sip.pidf()).status == 489
