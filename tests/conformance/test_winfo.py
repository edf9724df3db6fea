"""Watcher information: RFC 3857 and RFC 3858."""

from itertools import pairwise

import pytest
import sip
from lxml import etree
from net import Agent, Network, Subscription

NS = "{urn:ietf:params:xml:ns:watcherinfo}"


class Watchers:
    """What a winfo subscriber makes of the documents it gets (RFC 3858 section 4)."""

    def __init__(self) -> None:
        self.version = -1
        self.rows: dict[str, dict[str, str]] = {}

    def take(self, body: bytes) -> str:
        """Apply a document; return its state."""
        root = etree.fromstring(body)
        version, state = int(root.get("version", "")), root.get("state", "")
        (watchers,) = root.iter(f"{NS}watcher-list")
        if state == "full":
            assert version > self.version
            self.rows.clear()
        else:
            assert version == self.version + 1, "partial state without what it is based on"
        self.version = version
        for watcher in watchers.iter(f"{NS}watcher"):
            row = {**watcher.attrib, "uri": watcher.text or ""}
            self.rows[row["id"]] = row
        return state

    def shown(self) -> list[tuple[str, str, str]]:
        rows = sorted((row["uri"], row["status"], row["event"]) for row in self.rows.values())
        # What has ended was shown once; the subscriber drops it.
        self.rows = {key: row for key, row in self.rows.items() if row["status"] != "terminated"}
        return rows


class Table:
    """A winfo subscription together with the table built from it."""

    def __init__(self, watch: Subscription) -> None:
        self.watch = watch
        self.watchers = Watchers()
        self.seen = 0

    def news(self) -> tuple[list[str], list[tuple[str, str, str]]]:
        """Take what came since last asked: states of the documents, and the rows."""
        states = [self.watchers.take(notify.body) for notify in self.watch.notifies[self.seen :]]
        self.seen = len(self.watch.notifies)
        return states, self.watchers.shown()


def watch_watchers(agent: Agent, uri: str = "sip:alice@example.com") -> Table:
    return Table(agent.subscribe(uri=uri, event="presence.winfo"))


BOB, CAROL = "sip:bob@example.com", "sip:carol@example.com"


def test_rfc3857_4_7_2_full_state_first_then_partial(net: Network, alice: Agent, bob: Agent) -> None:
    before = bob.subscribe()
    table = watch_watchers(alice)
    assert table.news() == (["full"], [(BOB, "active", "subscribe")])
    assert table.watchers.version == 0
    carol = net.agent("carol").subscribe()
    assert table.news() == (["partial"], [(BOB, "active", "subscribe"), (CAROL, "active", "subscribe")])
    before.unsubscribe()
    assert table.news() == (["partial"], [(BOB, "terminated", "timeout"), (CAROL, "active", "subscribe")])
    carol.unsubscribe()
    assert table.news() == (["partial"], [(CAROL, "terminated", "timeout")])
    assert table.watchers.version == 3


def test_rfc3858_4_2_attributes(net: Network, alice: Agent) -> None:
    carol = net.agent("carol")
    carol.subscribe(sender='"Carol & Co" <sip:carol@example.com>', expires=600)
    net.advance(100)
    table = watch_watchers(alice)
    table.news()
    (row,) = table.watchers.rows.values()
    assert row["display-name"] == "Carol & Co"
    assert abs(int(row["duration-subscribed"]) - 100) <= 1
    assert abs(int(row["expiration"]) - 500) <= 1
    assert carol.subscriptions[0].dialog.remote_tag not in row["id"]


def test_nobody_watches_is_an_empty_list(alice: Agent) -> None:
    table = watch_watchers(alice)
    assert table.news() == (["full"], [])


@pytest.mark.parametrize("how", ["expiry", "failure", "unsubscribe", "timeout"])
def test_rfc3857_4_7_1_ends_are_told_with_their_reason(net: Network, alice: Agent, bob: Agent, how: str) -> None:
    watch = bob.subscribe(expires=60)
    table = watch_watchers(alice)
    table.news()
    if how == "unsubscribe":
        watch.unsubscribe()
    elif how == "expiry":
        net.advance(62)
    else:
        bob.status = 481 if how == "failure" else None
        net.agent("desk").publication().publish(body=sip.pidf("x"))
        net.advance(33)
    reason = "noresource" if how in ("failure", "timeout") else "timeout"
    assert table.news() == (["partial"], [(BOB, "terminated", reason)])
    net.advance(10)
    assert table.news() == ([], [])


def test_rfc3857_4_7_2_refresh_gets_full_state_and_a_higher_version(alice: Agent, bob: Agent) -> None:
    bob.subscribe()
    table = watch_watchers(alice)
    for _ in range(3):
        table.watch.refresh()
    states, rows = table.news()
    assert states == ["full"] * 4
    assert rows == [(BOB, "active", "subscribe")]
    assert table.watchers.version == 3


def test_refresh_of_a_watcher_is_no_transition(alice: Agent, bob: Agent) -> None:
    watch = bob.subscribe()
    table = watch_watchers(alice)
    table.news()
    watch.refresh()
    assert table.news() == ([], [(BOB, "active", "subscribe")])


def test_rfc3857_4_4_3_winfo_fetch(net: Network, alice: Agent, bob: Agent) -> None:
    bob.subscribe()
    fetch = Table(alice.subscribe(event="presence.winfo", expires=0))
    assert fetch.news() == (["full"], [(BOB, "active", "subscribe")])
    assert fetch.watch.state == "terminated;timeout"


def test_two_winfo_subscribers_count_their_own_versions(net: Network, alice: Agent, bob: Agent) -> None:
    first = watch_watchers(alice)
    bob.subscribe()
    second = watch_watchers(net.agent("alice2"))
    net.agent("carol").subscribe()
    assert first.news()[0] == ["full", "partial", "partial"]
    assert second.news()[0] == ["full", "partial"]
    assert first.watchers.shown() == second.watchers.shown()


def test_coalescing_loses_no_watcher(net: Network, alice: Agent, bob: Agent) -> None:
    """While a NOTIFY is in flight changes gather; the next one tells them all (RFC 3857 section 4.10)."""
    table = watch_watchers(alice)
    alice.status = None
    bob.subscribe()
    for number in range(20):
        net.agent(f"watcher{number}").subscribe()
    gone = net.agent("gone").subscribe()
    gone.unsubscribe()
    assert len(table.watch.notifies) == 2
    alice.status = 200
    alice.answer(table.watch.newest, 200)
    states, rows = table.news()
    assert states == ["full", "partial", "partial"]
    expected = [(f"sip:watcher{number}@example.com", "active", "subscribe") for number in range(20)]
    assert rows == sorted([(BOB, "active", "subscribe"), *expected])


def test_transient_watcher_alone_sends_nothing_and_blocks_nothing(net: Network, alice: Agent, bob: Agent) -> None:
    """One that came and went while a NOTIFY was in flight; then the subscription must still end well."""
    table = watch_watchers(alice)
    alice.status = None
    bob.subscribe()
    net.agent("gone").subscribe().unsubscribe()
    alice.status = 200
    alice.answer(table.watch.newest, 200)
    assert table.news() == (["full", "partial"], [(BOB, "active", "subscribe")])
    table.watch.unsubscribe()
    assert table.watch.state == "terminated;timeout"
    bob.subscriptions[0].unsubscribe()
    assert len(net.node.table) == 0


@pytest.mark.parametrize("status", [500, 503])
def test_after_a_failed_notify_comes_full_state(net: Network, alice: Agent, bob: Agent, status: int) -> None:
    """What was in the failed one would be missing from partial state."""
    table = watch_watchers(alice)
    table.news()
    alice.status = status
    alice.extra = ("Retry-After: 3",) if status == 503 else ()
    bob.subscribe()
    table.seen = len(table.watch.notifies)
    alice.status, alice.extra = 200, ()
    if status == 500:
        net.agent("carol").subscribe()
    else:
        net.advance(5)
    states, rows = table.news()
    assert states == ["full"]
    assert (BOB, "active", "subscribe") in rows


def test_versions_begin_at_0_for_each_subscription(net: Network, alice: Agent, bob: Agent) -> None:
    """RFC 3858 section 4.1, also when the place of an earlier one is taken that failed at its end."""
    for status in (200, 481, 500):
        table = watch_watchers(alice)
        bob.subscribe().unsubscribe()
        alice.status = None
        bob.subscribe().unsubscribe()
        table.watch.unsubscribe()
        alice.status = status
        for notify in alice.notifies[-2:]:
            alice.answer(notify, status)
        net.advance(40)
        alice.status = 200
        assert len(net.node.table) == 0
        table.news()
    versions = [etree.fromstring(watch.notifies[0].body).get("version") for watch in alice.subscriptions]
    assert versions == ["0", "0", "0"]


def test_cseq_and_versions_grow_in_step_with_what_is_sent(net: Network, alice: Agent, bob: Agent) -> None:
    table = watch_watchers(alice)
    for _ in range(20):
        bob.subscribe().unsubscribe()
    numbers = [int(etree.fromstring(notify.body).get("version") or 0) for notify in table.watch.notifies]
    assert all(after == before + 1 for before, after in pairwise(numbers))


def test_rfc3857_4_6_winfo_of_winfo_is_served_and_nothing_deeper(net: Network, alice: Agent, bob: Agent) -> None:
    above = Table(alice.subscribe(event="presence.winfo.winfo"))
    assert above.news() == (["full"], [])
    below = bob.subscribe(event="presence.winfo")
    assert above.news() == (["partial"], [(BOB, "active", "subscribe")])
    net.agent("carol").subscribe()
    below.unsubscribe()
    assert above.news() == (["partial"], [(BOB, "terminated", "timeout")])
    response = alice.subscribe(event="presence.winfo.winfo.winfo").response
    assert response is not None
    assert response.status == 489


def test_rfc3857_3_watchers_of_message_summary_are_told_too(alice: Agent, bob: Agent) -> None:
    table = Table(alice.subscribe(event="message-summary.winfo"))
    watch = bob.subscribe(event="message-summary")
    watch.unsubscribe()
    assert table.news() == (["full", "partial", "partial"], [(BOB, "terminated", "timeout")])
    assert 'package="message-summary"' in table.watch.body


# ---- policy = rules ----


@pytest.fixture
def strict() -> Network:
    return Network("server.policy=rules")


def decide(net: Network, watcher: str, status: int, reason: str = "") -> None:
    net.rows(
        "INSERT INTO watchers (presentity_uri, watcher_username, watcher_domain, event, status, reason, inserted_time)"
        f" VALUES ('sip:alice@example.com', '{watcher}', 'example.com', 'presence', {status}, '{reason}', 1700000000)"
    )


def test_rfc3857_4_6_winfo_of_somebody_else_is_403(strict: Network) -> None:
    bob = strict.agent("bob")
    response = bob.subscribe(event="presence.winfo").response
    assert response is not None
    assert response.status == 403
    own = bob.subscribe(uri="sip:bob@example.com", event="presence.winfo")
    assert own.state == "active"
    beside = own.beside(event="presence")
    assert beside.state == "active"


def test_unknown_watcher_is_pending_and_sees_nothing(strict: Network) -> None:
    bob, alice = strict.agent("bob"), strict.agent("alice")
    table = watch_watchers(alice)
    watch = bob.subscribe()
    assert watch.response is not None
    assert watch.response.status == 200
    assert watch.state == "pending"
    assert "Waiting for approval" in watch.body
    assert table.news()[1] == [(BOB, "pending", "subscribe")]
    alice.publication().publish(body=sip.pidf("secret"))
    assert all(b"secret" not in notify.body for notify in watch.notifies)
    assert strict.rows("SELECT watcher_username, status FROM watchers WHERE watcher_username = 'bob'") == [("bob", 2)]
    watch.unsubscribe()
    assert watch.state == "terminated;timeout"
    assert table.news()[1] == [(BOB, "waiting", "timeout")]


def test_pending_fetch_sees_nothing(strict: Network) -> None:
    strict.agent("alice").publication().publish(body=sip.pidf("secret"))
    fetch = strict.agent("bob").subscribe(expires=0)
    assert fetch.state == "terminated;timeout"
    assert "Waiting for approval" in fetch.body
    assert "secret" not in fetch.body


def test_decisions_in_the_table_watchers_are_heeded(strict: Network) -> None:
    decide(strict, "bob", 1)
    decide(strict, "carol", 3, "rejected")
    decide(strict, "dave", 1, "polite-block")
    strict.agent("alice").publication().publish(body=sip.pidf("friends only"))
    bob = strict.agent("bob").subscribe()
    assert (bob.state, "friends only" in bob.body) == ("active", True)
    carol = strict.agent("carol").subscribe()
    assert carol.response is not None
    assert (carol.response.status, carol.notifies) == (403, [])
    dave = strict.agent("dave").subscribe()
    assert dave.state == "active"
    assert "friends only" not in dave.body


def test_presentity_may_watch_itself(strict: Network) -> None:
    alice = strict.agent("alice")
    alice.publication().publish(body=sip.pidf("mine"))
    assert "mine" in alice.subscribe().body
