"""The subscription state machine of RFC 3857 section 4.7.1, edge by edge, as watcher information shows it."""

import re
from pathlib import Path

import pytest
import sip
from lxml import etree
from net import Network, Subscription
from ruling import allow, ruleset, write

from presence.subscription.machine import Input

SCHEMA = etree.XMLSchema(etree.parse(str(Path(__file__).parents[1] / "schemas" / "watcherinfo.xsd")))
RULES = "server.policy=rules"
DAY_S = 86_400
BOB = "sip:bob@example.com"
ROW = """
{} INTO watchers (presentity_uri, watcher_username, watcher_domain, event, status, inserted_time)
VALUES ('sip:alice@example.com', 'bob', 'example.com', 'presence', {}, 1700000000)
"""
"""As tools write it that know the columns of OpenSIPS."""

Told = list[tuple[str, str, str]]


class Winfo:
    """A subscription to watcher information, and what came since somebody asked last."""

    def __init__(self, watch: Subscription) -> None:
        self.watch = watch
        self.seen = 0
        self.ids: list[str] = []
        """Of the watchers told last, in their order."""

    def news(self) -> Told:
        """The watchers as (URI, status, event), in the order they were told in."""
        told: Told = []
        self.ids = []
        for notify in self.watch.notifies[self.seen :]:
            root = etree.fromstring(notify.body)
            SCHEMA.assertValid(root)
            for watcher in root.iter("{*}watcher"):
                told.append((watcher.text or "", watcher.get("status", ""), watcher.get("event", "")))
                self.ids.append(watcher.get("id", ""))
        self.seen = len(self.watch.notifies)
        return told


@pytest.fixture
def net() -> Network:
    return Network(RULES)


def watch_watchers(net: Network, **fields: int) -> Winfo:
    winfo = Winfo(net.agent("alice").subscribe(event="presence.winfo", **fields))
    winfo.news()
    return winfo


def full(net: Network) -> Told:
    """What a fetch of watcher information tells."""
    return sorted(Winfo(net.agent("desk").subscribe(event="presence.winfo", expires=0, **ALICE)).news())


ALICE: dict[str, str] = {"sender": "<sip:alice@example.com>"}


def decide(net: Network, status: int, reason: str = "", watcher: str = "bob") -> None:
    """Decide as an operator's script does, and let the server notice."""
    net.rows(f"UPDATE watchers SET status = {status}, reason = '{reason}' WHERE watcher_username = '{watcher}'")
    net.advance(1.0)


def rows(net: Network) -> list[tuple[str, int]]:
    return net.rows("SELECT watcher_username, status FROM watchers ORDER BY 1")


# ---- init ----


def test_rfc3857_4_7_1_init_without_policy_is_pending(net: Network) -> None:
    winfo = watch_watchers(net)
    net.agent("bob").subscribe()
    assert winfo.news() == [(BOB, "pending", "subscribe")]


def test_rfc3857_4_7_1_init_accepted_is_active(net: Network) -> None:
    winfo = watch_watchers(net)
    net.agent("bob").subscribe(expires=0)
    decide(net, 1)
    winfo.news()
    net.agent("bob").subscribe()
    assert winfo.news() == [(BOB, "active", "subscribe")]


def test_rfc3857_4_7_1_init_rejected_leaves_nothing(net: Network) -> None:
    winfo = watch_watchers(net)
    net.agent("bob").subscribe(expires=0)
    decide(net, 3)
    winfo.news()
    assert net.agent("bob").subscribe().response.status == 403  # type: ignore[union-attr]
    assert (winfo.news(), full(net)) == ([], [])


# ---- pending ----


@pytest.mark.parametrize("how", ["expiry", "unsubscribe"])
def test_rfc3857_4_7_1_pending_times_out_into_waiting(net: Network, how: str) -> None:
    winfo = watch_watchers(net)
    watch = net.agent("bob").subscribe(sender='"Bob & Co" <sip:bob@example.com>', expires=60)
    winfo.news()
    pending = winfo.ids
    if how == "expiry":
        net.advance(62.0)
    else:
        watch.unsubscribe()
    assert watch.state == "terminated;timeout"
    assert winfo.news() == [(BOB, "waiting", "timeout")]
    assert winfo.ids == pending, "the same subscription goes on"
    (watcher,) = etree.fromstring(winfo.watch.body.encode()).iter("{*}watcher")
    assert watcher.get("display-name") == "Bob & Co"
    assert watcher.get("expiration") is None
    assert full(net) == [(BOB, "waiting", "timeout")]
    assert rows(net) == [("bob", 2)]


def test_rfc3857_4_7_1_a_fetch_that_nobody_decided_about_waits(net: Network) -> None:
    winfo = watch_watchers(net)
    fetch = net.agent("bob").subscribe(expires=0)
    assert fetch.state == "terminated;timeout"
    assert winfo.news() == [(BOB, "waiting", "timeout")], "pending for no time at all is not told"
    first = winfo.ids
    net.restart()
    assert winfo.news() == [(BOB, "waiting", "timeout")]
    assert winfo.ids == first


def test_a_pending_fetch_that_cannot_be_stored_is_503(net: Network) -> None:
    winfo = watch_watchers(net)
    net.refuse_commits()
    fetch = net.agent("bob").subscribe(expires=0)
    assert fetch.response is not None
    assert (fetch.response.status, fetch.notifies) == (503, [])
    net.refuse_commits(False)
    assert (winfo.news(), len(net.node.table)) == ([], 1)


def test_rfc3857_4_7_1_pending_is_approved(net: Network) -> None:
    winfo = watch_watchers(net)
    watch = net.agent("bob").subscribe()
    decide(net, 1)
    watch.refresh()
    assert winfo.news()[-1:] == [(BOB, "active", "approved")]


def test_rfc3857_4_7_1_pending_is_rejected(net: Network) -> None:
    winfo = watch_watchers(net)
    watch = net.agent("bob").subscribe()
    decide(net, 3)
    watch.refresh()
    assert winfo.news()[-1:] == [(BOB, "terminated", "rejected")]
    assert full(net) == []


def test_rfc3857_4_7_1_pending_gives_up_by_itself() -> None:
    """A refresh has nothing to do with it, and neither has a restart."""
    net = Network(RULES, "presence.waiting_subs_daysno=1", f"presence.max_expires_subscribe={9 * DAY_S}")
    winfo = watch_watchers(net, expires=9 * DAY_S)
    watches = [net.agent("bob").subscribe(expires=5 * DAY_S)]
    net.advance(DAY_S / 2, step_s=3600.0)
    watches.append(net.agent("carol").subscribe(expires=5 * DAY_S))
    net.restart()
    net.advance(DAY_S / 2 + 2, step_s=3600.0)
    assert [watch.state for watch in watches] == ["terminated;giveup", "pending"]
    assert (BOB, "terminated", "giveup") in winfo.news()
    net.advance(DAY_S / 2 + 2, step_s=3600.0)
    assert watches[1].newest.header("Subscription-State") == "terminated;reason=giveup;retry-after=86400"
    assert winfo.news() == [("sip:carol@example.com", "terminated", "giveup")]
    net.advance(120.0)
    assert (full(net), rows(net)) == ([], [])


def test_a_watcher_whose_rule_was_withdrawn_has_its_days_from_then_on() -> None:
    net = Network(RULES, "presence.waiting_subs_daysno=1", f"presence.max_expires_subscribe={9 * DAY_S}")
    watch = net.agent("bob").subscribe(expires=5 * DAY_S)
    decide(net, 1)
    assert watch.refresh().status == 200
    net.advance(2.0 * DAY_S, step_s=7200.0)
    assert watch.state == "active"
    winfo = watch_watchers(net, expires=9 * DAY_S)
    net.rows("DELETE FROM watchers")
    watch.refresh()
    assert winfo.news() == [(BOB, "pending", "subscribe")]
    watch.refresh()
    assert watch.state == "pending"
    net.restart()
    net.advance(DAY_S / 2, step_s=3600.0)
    assert watch.state == "pending"
    net.advance(DAY_S, step_s=3600.0)
    assert watch.state == "terminated;giveup"


@pytest.mark.parametrize("state", ["pending", "active"])
@pytest.mark.parametrize(
    ("how", "event"),
    [
        (Input.DEACTIVATED, "deactivated"),
        (Input.PROBATION, "probation"),
        (Input.RESOURCE_GONE, "noresource"),
        ("failed", "noresource"),
        ("silent", "noresource"),
        ("row", "deactivated"),
    ],
)
def test_rfc3857_4_7_1_other_ends_leave_nobody_waiting(net: Network, state: str, how: Input | str, event: str) -> None:
    winfo = watch_watchers(net)
    bob = net.agent("bob")
    watch = bob.subscribe()
    if state == "active":
        decide(net, 1)
        watch.refresh()
    winfo.news()
    if isinstance(how, Input):
        resource = net.node.notify.find(("presence", ("alice", "example.com")))
        assert resource is not None
        (slot,) = net.node.table.group_slots(resource.gid)
        net.node._ending.end(slot, how, net.clock.at)
        net.settle()
    else:
        if how == "row":
            net.rows("DELETE FROM active_watchers WHERE watcher_username = 'bob'")
        else:
            bob.status = 481 if how == "failed" else None
        watch.refresh()
        net.advance(40.0)
    assert winfo.news() == [(BOB, "terminated", event)]
    assert full(net) == []
    assert rows(net) == [("bob", 1 if state == "active" else 2)]


# ---- active ----


def test_rfc3857_4_7_1_active_times_out_and_waits_for_nothing(net: Network) -> None:
    winfo = watch_watchers(net)
    watch = net.agent("bob").subscribe(expires=60)
    decide(net, 1)
    watch.refresh()
    winfo.news()
    net.advance(700.0)
    assert winfo.news()[-1:] == [(BOB, "terminated", "timeout")]


@pytest.mark.parametrize(
    ("setting", "told", "event"),
    [
        ("rejected", "terminated;reason=rejected", "rejected"),
        ("deactivated", "terminated;reason=deactivated", "deactivated"),
        ("probation", "terminated;reason=probation;retry-after=300", "probation"),
    ],
)
@pytest.mark.parametrize("noticed", ["at once", "at a start"])
def test_rfc3857_4_7_1_what_becomes_of_who_lost_its_rule(setting: str, told: str, event: str, noticed: str) -> None:
    """`presence_xml.lost_rule`: rejected by RFC 5025, deactivated by OpenSIPS, probation by Kamailio."""
    net = Network(RULES, f"presence_xml.lost_rule={setting}")
    write(net, ruleset(allow("bob")))
    winfo = watch_watchers(net)
    watch = net.agent("bob").subscribe()
    assert winfo.news() == [(BOB, "active", "subscribe")]
    if noticed == "at once":
        write(net, ruleset(allow("carol")))
        assert winfo.news() == [(BOB, "terminated", event)]
    else:
        net.rows("UPDATE xcap SET doc = replace(doc, 'sip:bob@', 'sip:carol@')")
        net.restart()
    net.advance(1.0)
    assert watch.newest.header("Subscription-State") == told
    assert net.agent("bob").subscribe().response.status == 403  # type: ignore[union-attr]


def test_rfc3857_4_7_1_waiting_ends_with_rules_that_say_something() -> None:
    for rules, event, status in ((ruleset(allow("bob")), "approved", 1), (ruleset(allow("carol")), "rejected", 3)):
        net = Network(RULES)
        winfo = watch_watchers(net)
        net.agent("bob").subscribe(expires=0)
        winfo.news()
        write(net, rules)
        net.advance(1.0)
        assert winfo.news() == [(BOB, "terminated", event)]
        assert (full(net), rows(net)) == ([], [("bob", status)])


def test_what_an_operator_decides_reaches_a_running_subscription_within_a_second(net: Network) -> None:
    winfo = watch_watchers(net)
    watch = net.agent("bob").subscribe()
    decide(net, 1)
    assert (watch.state, winfo.news()[-1]) == ("active", (BOB, "active", "approved"))
    decide(net, 3)
    assert (watch.state, winfo.news()) == ("terminated;rejected", [(BOB, "terminated", "rejected")])


# ---- waiting ----


@pytest.fixture
def waiting(net: Network) -> Winfo:
    """Watcher information in which Bob waits."""
    winfo = watch_watchers(net)
    net.agent("bob").subscribe().unsubscribe()
    assert winfo.news()[-1:] == [(BOB, "waiting", "timeout")]
    return winfo


def test_rfc3857_4_7_1_waiting_ends_when_the_watcher_subscribes_again(net: Network, waiting: Winfo) -> None:
    before = waiting.ids[-1]
    net.agent("bob").subscribe()
    assert sorted(waiting.news()) == [(BOB, "pending", "subscribe"), (BOB, "terminated", "giveup")]
    assert waiting.ids.count(before) == 1
    assert full(net) == [(BOB, "pending", "subscribe")]
    net.restart()
    assert full(net) == [(BOB, "pending", "subscribe")]


def test_rfc3857_4_7_1_waiting_ends_with_the_next_fetch_which_waits(net: Network, waiting: Winfo) -> None:
    net.agent("bob").subscribe(expires=0)
    assert sorted(waiting.news()) == [(BOB, "terminated", "giveup"), (BOB, "waiting", "timeout")]
    assert full(net) == [(BOB, "waiting", "timeout")]


@pytest.mark.parametrize(("status", "event"), [(1, "approved"), (3, "rejected")])
def test_rfc3857_4_7_1_waiting_ends_with_a_decision(net: Network, waiting: Winfo, status: int, event: str) -> None:
    decide(net, status)
    assert waiting.news() == [(BOB, "terminated", event)]
    assert (full(net), rows(net)) == ([], [("bob", status)])
    net.advance(5.0)
    assert waiting.news() == [], "told once"


@pytest.mark.parametrize(("status", "event"), [(1, "approved"), (3, "rejected")])
@pytest.mark.parametrize("expires", [0, 600])
def test_a_decision_that_comes_with_the_next_subscribe_ends_waiting_too(
    net: Network, waiting: Winfo, status: int, event: str, expires: int
) -> None:
    before = waiting.ids[-1]
    net.rows(f"UPDATE watchers SET status = {status}")
    net.agent("bob").subscribe(expires=expires)
    told = dict(zip(waiting.news(), waiting.ids, strict=True))
    assert told.pop((BOB, "terminated", event)) == before
    assert list(told) == ([(BOB, "active", "subscribe")] if status == 1 and expires else [])
    net.advance(5.0)
    assert waiting.news() == []


def test_rfc3857_4_7_1_waiting_ends_when_it_took_too_long(net: Network) -> None:
    net = Network(RULES, "presence.waiting_subs_daysno=1", f"presence.max_expires_subscribe={9 * DAY_S}")
    winfo = watch_watchers(net, expires=9 * DAY_S)
    bob = net.agent("bob")
    bob.subscribe().unsubscribe()
    net.advance(DAY_S / 2, step_s=3600.0)
    bob.subscribe().unsubscribe()
    winfo.news()
    net.restart()
    net.advance(DAY_S / 2 - 300, step_s=3600.0)
    assert rows(net) == [("bob", 2)]
    winfo.news()
    net.advance(500.0, step_s=10.0)
    assert winfo.news() == [(BOB, "terminated", "giveup")], "counted from the first request"
    assert (full(net), rows(net)) == ([], [])
    net.advance(120.0)
    assert winfo.news() == []


def test_an_operator_that_takes_the_row_out_gives_it_up(net: Network, waiting: Winfo) -> None:
    net.rows("DELETE FROM watchers")
    net.advance(1.0)
    assert waiting.news() == [(BOB, "terminated", "giveup")]


def test_a_tool_that_writes_the_row_anew_changes_nothing_about_who_waits(net: Network, waiting: Winfo) -> None:
    before = waiting.ids
    net.rows(ROW.format("INSERT OR REPLACE", 2))
    net.advance(1.0)
    assert waiting.news() == []
    waiting.watch.refresh()
    assert (waiting.news(), waiting.ids) == ([(BOB, "waiting", "timeout")], before[-1:])


def test_a_decision_that_a_tool_writes_as_a_new_row_ends_it(net: Network, waiting: Winfo) -> None:
    net.rows(ROW.format("INSERT OR REPLACE", 1))
    net.advance(1.0)
    assert waiting.news() == [(BOB, "terminated", "approved")]


def test_of_two_subscriptions_of_a_watcher_that_end_the_later_waits(net: Network) -> None:
    winfo = watch_watchers(net)
    bob = net.agent("bob")
    first, second = bob.subscribe(), bob.subscribe()
    winfo.news()
    first.unsubscribe()
    assert winfo.news() == [(BOB, "waiting", "timeout")]
    assert full(net) == [(BOB, "pending", "subscribe"), (BOB, "waiting", "timeout")]
    second.unsubscribe()
    assert sorted(winfo.news()) == [(BOB, "terminated", "giveup"), (BOB, "waiting", "timeout")]
    assert full(net) == [(BOB, "waiting", "timeout")]


def test_the_time_of_the_first_request_stays(net: Network, waiting: Winfo) -> None:
    asked = net.rows("SELECT inserted_time FROM watchers")
    net.advance(100.0)
    net.agent("bob").subscribe().unsubscribe()
    assert net.rows("SELECT inserted_time FROM watchers") == asked
    winfo = Winfo(net.agent("desk").subscribe(event="presence.winfo", expires=0, **ALICE))
    found = re.search(r'duration-subscribed="(\d+)"', winfo.watch.body)
    assert found is not None
    assert int(found[1]) <= 1, "that of the latest subscription"


# ---- a restart, other servers' rows ----


@pytest.mark.parametrize("again", ["expiry", "unsubscribe"])
def test_pending_over_a_restart_waits_under_the_same_id(net: Network, again: str) -> None:
    winfo = watch_watchers(net)
    watch = net.agent("bob").subscribe(expires=60)
    winfo.news()
    pending = winfo.ids
    net.restart()
    winfo.news()
    if again == "expiry":
        net.advance(62.0)
    else:
        watch.unsubscribe()
    assert (winfo.news(), winfo.ids) == ([(BOB, "waiting", "timeout")], pending)


def test_a_subscription_that_expired_while_the_server_was_down_waits(net: Network) -> None:
    net.agent("bob").subscribe(expires=60)
    net.clock.at += 100.0
    net.restart()
    net.advance(1.0)
    assert full(net) == [(BOB, "waiting", "timeout")]


def test_waiting_over_a_restart_and_decided_after_it(net: Network, waiting: Winfo) -> None:
    before = waiting.ids[-1]
    net.restart()
    assert (waiting.news(), waiting.ids) == ([(BOB, "waiting", "timeout")], [before])
    decide(net, 1)
    assert (waiting.news(), waiting.ids) == ([(BOB, "terminated", "approved")], [before])


def test_who_was_decided_about_while_the_server_was_down_waits_no_more(net: Network, waiting: Winfo) -> None:
    net.rows("UPDATE watchers SET status = 1")
    net.restart()
    net.advance(2.0)
    assert (waiting.news(), full(net)) == ([], [])


def test_rows_of_opensips_wait_while_their_watcher_has_no_subscription(net: Network) -> None:
    net.rows(ROW.format("INSERT", 2))
    net.restart()
    winfo = watch_watchers(net)
    assert full(net) == [(BOB, "waiting", "timeout")]
    bob = net.agent("bob")
    watch = bob.subscribe()
    assert sorted(winfo.news()) == [(BOB, "pending", "subscribe"), (BOB, "terminated", "giveup")]
    bob.status = 481
    watch.refresh()
    net.advance(1.0)
    assert winfo.news() == [(BOB, "terminated", "noresource")]
    assert full(net) == []


def test_under_policy_open_nobody_waits() -> None:
    net = Network()
    net.rows(ROW.format("INSERT", 2))
    assert full(net) == []
    net.agent("bob").subscribe().unsubscribe()
    assert full(net) == []


def test_a_private_watcher_waits_under_the_name_it_shows() -> None:
    """RFC 3323 section 4.1.1.3: the presentity is not shown whom a trusted peer vouched for."""
    net = Network(RULES, "auth.trusted=127.0.0.1")
    winfo = watch_watchers(net)
    extra = ("P-Asserted-Identity: <sip:bob@example.com>", "Privacy: id")
    anonymous = '"Anonymous" <sip:anonymous@anonymous.invalid>'
    net.agent("bob").subscribe(*extra, sender=anonymous, expires=0)
    net.agent("bob").subscribe(*extra, sender=anonymous).refresh(*extra, expires=0)
    told = winfo.news()
    assert {uri for uri, _, _ in told} == {"sip:anonymous@anonymous.invalid"}
    net.restart()
    assert [(uri, status) for uri, status, _ in full(net)] == [("sip:anonymous@anonymous.invalid", "waiting")]
    assert rows(net) == [("bob", 2)]


def test_what_others_decide_is_told_to_who_listens_within_a_second(net: Network) -> None:
    heard: list[str] = []
    net.node.awaiting.decided.changed.append(lambda presentity, package: heard.append(f"{package} of {presentity.uri}"))
    net.agent("bob").subscribe()
    net.advance(1.0)
    assert heard == [], "what the server writes itself is no news"
    decide(net, 1)
    assert heard == ["presence of sip:alice@example.com"]
    assert net.rows("SELECT count(*) FROM watchers_changes") == [(0,)]
    net.agent("alice").publication().publish(body=sip.pidf("x"))


def test_a_subscription_is_given_up_in_its_time_where_another_was_before() -> None:
    net = Network(RULES, "presence.waiting_subs_daysno=1", f"presence.max_expires_subscribe={9 * DAY_S}")
    bob = net.agent("bob")
    bob.subscribe(expires=5 * DAY_S).unsubscribe()
    watch = bob.subscribe(expires=5 * DAY_S)
    net.advance(DAY_S + 2.0, step_s=3600.0)
    assert watch.state == "terminated;giveup"
