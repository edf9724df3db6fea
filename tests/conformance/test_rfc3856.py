"""The presence package and its policy: what each watcher sees, and when (RFC 3856, RFC 6665 section 6.2)."""

from itertools import pairwise

import pytest
import sip
from lxml import etree
from net import Agent, Network, Subscription

PIDF = "{urn:ietf:params:xml:ns:pidf}"


@pytest.fixture
def strict() -> Network:
    return Network("server.policy=rules")


def decide(net: Network, watcher: str, status: int, reason: str = "") -> None:
    net.rows(
        "INSERT OR REPLACE INTO watchers"
        " (presentity_uri, watcher_username, watcher_domain, event, status, reason, inserted_time)"
        f" VALUES ('sip:alice@example.com', '{watcher}', 'example.com', 'presence', {status}, '{reason}', 1700000000)"
    )


def shape(watch: Subscription, *, own: str) -> list[object]:
    """What a watcher could compare with what others see: everything but names, numbers and places."""
    odd = {"Via", "To", "From", "Call-ID", "Contact", "CSeq"}
    return [
        [(name, value) for name, value in notify.header_items() if name not in odd] + [notify.body]
        for notify in watch.notifies
    ] + [own]


def test_rfc3856_6_6_2_pending_state_says_so(strict: Network) -> None:
    alice, bob = strict.agent("alice"), strict.agent("bob")
    alice.publication().publish(body=sip.pidf("secret"))
    watch = bob.subscribe()
    assert watch.state == "pending"
    root = etree.fromstring(watch.newest.body)
    assert root.get("entity") == "sip:alice@example.com"
    assert [note.text for note in root.findall(f"{PIDF}note")] == ["Waiting for approval"]
    assert root.findtext(f"{PIDF}tuple/{PIDF}status/{PIDF}basic") == "closed"
    assert watch.newest.header("Content-Type") == "application/pidf+xml"


def test_rfc3856_6_7_who_is_authorised_is_told_the_present_state(strict: Network) -> None:
    alice, bob = strict.agent("alice"), strict.agent("bob")
    alice.publication().publish(body=sip.pidf("for friends"))
    watch = bob.subscribe()
    decide(strict, "bob", 1)
    watch.refresh()
    assert watch.state == "active"
    assert "for friends" in watch.body
    alice.publication().publish(body=sip.pidf("news", tuple_id="b"))
    assert "news" in watch.body


@pytest.mark.parametrize("reason", ["pending", "polite-block"])
def test_rfc6665_6_2_who_may_not_see_it_does_not_hear_when_it_changes(strict: Network, reason: str) -> None:
    if reason == "polite-block":
        decide(strict, "bob", 1, reason)
    watch = strict.agent("bob").subscribe()
    publication = strict.agent("alice").publication()
    for number in range(5):
        publication.publish(body=sip.pidf(f"n{number}"))
    assert len(watch.notifies) == 1
    strict.restart()
    assert len(watch.notifies) == 2
    assert "<basic>closed</basic>" in watch.body
    publication.publish(body=sip.pidf("after"))
    assert len(watch.notifies) == 2


@pytest.mark.parametrize("end", ["unsubscribe", "expiry", "fetch"])
def test_rfc6665_6_2_polite_blocking_looks_like_a_presentity_that_publishes_nothing(strict: Network, end: str) -> None:
    """Bob is blocked by alice, carol watches somebody of the same name who never published."""
    decide(strict, "bob", 1, "polite-block")
    strict.agent("alice").publication().publish(body=sip.pidf("friends only"))
    quiet = Network("server.policy=open")
    seen = []
    for net in (strict, quiet):
        watch = net.agent("bob").subscribe(expires=0 if end == "fetch" else 60)
        assert watch.response is not None
        watch.refresh() if end != "fetch" else None
        if end == "unsubscribe":
            watch.unsubscribe()
        net.advance(62.0)
        seen.append(shape(watch, own=str(watch.response.status)))
    assert seen[0] == seen[1]
    assert len(seen[0]) >= 2


def test_rfc3857_4_7_2_polite_blocking_is_not_given_away_by_watcher_information(strict: Network) -> None:
    decide(strict, "bob", 1, "polite-block")
    bob = strict.agent("bob")
    bob.subscribe()
    own = bob.subscribe(event="presence.winfo")
    assert own.state == "active"
    assert 'status="active" event="subscribe"' in own.body
    assert "polite" not in own.body


def test_rfc3856_6_6_2_nobody_is_accepted_without_authorisation(strict: Network) -> None:
    watch = strict.agent("bob").subscribe()
    assert watch.state == "pending"
    decide(strict, "carol", 3, "rejected")
    refused = strict.agent("carol").subscribe()
    assert refused.response is not None
    assert refused.response.status == 403
    assert strict.rows("SELECT status FROM active_watchers") == [(2,)]


def test_rfc3856_6_10_changes_come_at_most_every_interval() -> None:
    net = Network("presence.notify_interval_s=5")
    bob, publication = net.agent("bob"), net.agent("alice").publication()
    watch = bob.subscribe()
    began = net.clock.at
    for number in range(40):
        publication.publish(body=sip.pidf(f"state {number}"))
        net.advance(0.5)
    net.advance(6.0)
    assert "state 39" in watch.body, "the newest is told in the end"
    times = [at for at, message in bob.arrivals if message.is_request and at >= began]
    # The first answers the SUBSCRIBE, which has to be immediate.
    changes = times[1:]
    assert len(changes) in (5, 6)
    assert all(after - before >= 4.99 for before, after in pairwise(changes))


def test_rfc6665_4_2_1_2_the_interval_delays_no_answer_to_a_subscribe() -> None:
    net = Network("presence.notify_interval_s=5")
    publication, watch = net.agent("alice").publication(), net.agent("bob").subscribe()
    publication.publish(body=sip.pidf("one"))
    publication.publish(body=sip.pidf("two"))
    assert "one" in watch.body
    late = net.agent("carol").subscribe()
    assert "two" in late.body
    watch.refresh()
    assert "two" in watch.body
    watch.unsubscribe()
    assert watch.state == "terminated;timeout"


def test_rfc3857_4_10_watcher_information_comes_at_most_every_interval() -> None:
    net = Network("presence.notify_interval_s=5")
    alice = net.agent("alice")
    winfo = alice.subscribe(event="presence.winfo")
    for number in range(10):
        net.agent(f"w{number}").subscribe()
        net.advance(0.5)
    assert len(winfo.notifies) <= 3
    net.advance(6.0)
    named = {name for notify in winfo.notifies for name in (f"w{n}" for n in range(10)) if name in notify.body.decode()}
    assert len(named) == 10
    assert len(winfo.notifies) <= 4


def test_rfc3856_6_9_one_agent_of_the_presentity_puts_its_documents_together(net: Network, alice: Agent) -> None:
    watch = net.agent("bob").subscribe()
    alice.publication().publish(body=sip.pidf("desk", tuple_id="d"))
    net.agent("phone").publication().publish(body=sip.pidf("phone", tuple_id="p"))
    tuples = etree.fromstring(watch.newest.body).findall(f"{PIDF}tuple")
    assert {t.get("id") for t in tuples} == {"d", "p"}
    assert len({n.from_tag for n in watch.notifies}) == 1


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        ("application/pidf+xml", 200),
        ("application/xpidf+xml, application/pidf+xml", 200),
        ("application/xpidf+xml", 406),
        ("application/pidf+xml;q=0", 406),
        ("application/pidf+xml;q=0, */*", 406),
        ("application/*;q=0, */*", 406),
        ("*/*;q=0, application/pidf+xml", 200),
        ("application/*", 200),
        ("*/*", 200),
        ("", 406),
    ],
)
def test_rfc3856_6_5_accept_must_take_the_presence_document(bob: Agent, accept: str, status: int) -> None:
    """RFC 3261 section 20.1: an empty Accept takes nothing, and of several ranges the most specific counts."""
    response = bob.subscribe(f"Accept: {accept}").response
    assert response is not None
    assert response.status == status
    assert (response.header("Accept") == "application/pidf+xml") == (status == 406)
    assert {n.header("Content-Type") for n in bob.notifies} == ({"application/pidf+xml"} if status == 200 else set())


def test_rfc3856_6_7_without_accept_the_body_is_pidf(bob: Agent) -> None:
    assert bob.subscribe().newest.header("Content-Type") == "application/pidf+xml"
