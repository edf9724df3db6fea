"""A restart on the same database: nothing that was promised is lost, no number is used twice."""

from itertools import pairwise
from pathlib import Path

import pytest
import sip
from lxml import etree
from net import Agent, Network, Subscription


@pytest.fixture
def net(tmp_path: Path) -> Network:
    return Network(path=str(tmp_path / "presence.db"))


def strictly_grow(numbers: list[int]) -> bool:
    return all(after > before for before, after in pairwise(numbers))


def cseqs(agent: Agent) -> list[int]:
    """CSeq of every NOTIFY, in the order they were sent."""
    return [notify.cseq for notify in agent.notifies]


# ---- publications ----


def test_publications_and_their_tags_outlive_a_restart(net: Network, alice: Agent, bob: Agent) -> None:
    publication = alice.publication()
    publication.publish(body=sip.pidf("lasting"), expires=1000)
    net.restart()
    assert "lasting" in bob.subscribe().body
    tag = publication.etag
    assert publication.publish(expires=1000).status == 200
    assert publication.etag != tag
    assert publication.publish(etag=tag).status == 412
    net.restart()
    assert publication.publish(expires=0).status == 200
    assert "closed" in bob.subscribe().body


def test_order_of_publications_outlives_a_restart(net: Network, alice: Agent, bob: Agent) -> None:
    """Which was the newest is known although they came in one second, and a refresh came between."""
    first, second = alice.publication(), alice.publication()
    first.publish(body=sip.pidf("first"))
    second.publish(body=sip.pidf("second"))
    first.publish()
    before = bob.subscribe().body
    net.restart()
    assert bob.subscribe().body == before
    assert "second" in before


def test_publication_that_expired_meanwhile_is_told(net: Network, alice: Agent, bob: Agent) -> None:
    watch = bob.subscribe()
    alice.publication().publish(body=sip.pidf("short", tuple_id="short"), expires=10)
    alice.publication().publish(body=sip.pidf("long", tuple_id="long"), expires=1000)
    net.clock.at += 60
    net.restart()
    net.advance(3)
    assert len(watch.notifies) > 3
    for notify in watch.notifies[3:]:
        assert b"long" in notify.body
        assert b"short" not in notify.body
    assert net.rows("SELECT count(*) FROM presentity") == [(1,)]


# ---- subscriptions ----


def test_subscription_goes_on_with_its_dialog(net: Network, alice: Agent, bob: Agent) -> None:
    watch = bob.subscribe(expires=1000)
    net.restart()
    assert net.loaded == (1, 0)
    assert len(watch.notifies) == 2, "after a start nobody knows what was told last"
    assert watch.refresh(expires=1000).status == 200
    alice.publication().publish(body=sip.pidf("after"))
    assert "after" in watch.body
    assert strictly_grow(cseqs(bob))
    assert len({message.branch for message in bob.notifies}) == len(bob.notifies)
    assert watch.unsubscribe().status == 200
    assert watch.state == "terminated;timeout"
    net.restart()
    assert net.loaded == (0, 0)


def test_subscription_that_expired_meanwhile_is_told(net: Network, bob: Agent) -> None:
    watch = bob.subscribe(expires=10)
    net.clock.at += 3600
    net.restart()
    net.advance(3)
    assert watch.state == "terminated;timeout"
    assert net.rows("SELECT count(*) FROM active_watchers") == [(0,)]


def test_expiry_is_where_it_was(net: Network, bob: Agent) -> None:
    watch = bob.subscribe(expires=100)
    net.advance(50)
    net.restart()
    assert watch.newest.header("Subscription-State") in ("active;expires=50", "active;expires=49")
    net.advance(52)
    assert watch.state == "terminated;timeout"


def test_rfc3261_12_2_2_old_cseq_is_refused_also_after_a_restart(net: Network, bob: Agent) -> None:
    watch = bob.subscribe()
    watch.dialog.cseq = 40
    watch.refresh()
    net.restart()
    watch.dialog.cseq = 30
    assert watch.refresh().status == 500
    watch.dialog.cseq = 50
    assert watch.refresh().status == 200


@pytest.mark.parametrize("changes", [0, 1, 200, 300, 700])
def test_cseq_is_above_everything_sent_before(net: Network, alice: Agent, bob: Agent, changes: int) -> None:
    bob.subscribe()
    publication = alice.publication()
    for number in range(changes):
        publication.publish(body=sip.pidf(str(number)))
    for start in range(4):
        net.restart()
        publication.publish(body=sip.pidf(f"start {start}"))
    assert strictly_grow(cseqs(bob))
    assert cseqs(bob)[-1] < changes + 4 * 600


@pytest.mark.parametrize("refreshes", [0, 1, 2])
def test_cseq_is_above_everything_after_refreshes_too(net: Network, alice: Agent, bob: Agent, refreshes: int) -> None:
    watch = bob.subscribe()
    publication = alice.publication()
    for start in range(3):
        for _ in range(refreshes):
            for number in range(100):
                publication.publish(body=sip.pidf(f"{start} {number}"))
            watch.refresh()
        net.restart()
    assert strictly_grow(cseqs(bob))


@pytest.mark.parametrize("refreshed", ["one", "two"])
def test_two_in_one_dialog_share_their_cseq_over_restarts(
    net: Network, alice: Agent, bob: Agent, refreshed: str
) -> None:
    """Whichever of the two was refreshed last: what its refresh reserved counts for both."""
    pair = {"one": bob.subscribe(event_id="1")}
    pair["two"] = pair["one"].beside(event_id="2")
    publication = alice.publication()
    for start in range(3):
        for number in range(50):
            publication.publish(body=sip.pidf(f"{start} {number}"))
        assert pair[refreshed].refresh().status == 200
        # Beyond what the other's row had reserved, not yet so far that more is reserved for both.
        for number in range(90):
            publication.publish(body=sip.pidf(f"{start} {number} again"))
        net.restart()
        assert net.loaded == (2, 0)
    publication.publish(body=sip.pidf("last"))
    assert strictly_grow(cseqs(bob))
    assert all("last" in watch.body for watch in pair.values())
    assert all(watch.refresh().status == 200 for watch in pair.values())


@pytest.mark.parametrize("first_ends", [True, False])
@pytest.mark.parametrize("restart_between", [True, False])
def test_rfc6665_4_5_2_two_in_one_dialog_end_separately_over_a_restart(
    net: Network, alice: Agent, bob: Agent, first_ends: bool, restart_between: bool
) -> None:
    one = bob.subscribe(event_id="1")
    two = one.beside(event="message-summary")
    ends, goes_on = (one, two) if first_ends else (two, one)
    if restart_between:
        net.restart()
    assert ends.unsubscribe().status == 200
    assert ends.state == "terminated;timeout"
    net.restart()
    assert net.loaded == (1, 0)
    assert goes_on.refresh().status == 200
    third = goes_on.beside(event_id="3")
    assert third.state == "active"
    net.restart()
    assert net.loaded == (2, 0)
    for watch in (goes_on, third):
        assert watch.unsubscribe().status == 200
        assert watch.state == "terminated;timeout"
    assert len(net.node.table) == 0
    assert strictly_grow(cseqs(bob))


def test_rfc3261_12_2_2_remote_cseq_of_a_dialog_is_the_highest_of_its_subscriptions(net: Network, bob: Agent) -> None:
    one = bob.subscribe(event_id="1")
    two = one.beside(event_id="2")
    one.dialog.cseq = 90
    assert one.refresh().status == 200
    net.restart()
    two.dialog.cseq = 50
    assert two.refresh().status == 500


def test_routes_outlive_a_restart(net: Network, alice: Agent, bob: Agent) -> None:
    proxy = net.agent("proxy")
    route = f"<sip:127.0.0.1:{proxy.address[1]};lr>"
    bob.subscribe(f"Record-Route: {route}", sender='"Bob, B." <sip:bob@example.com>')
    before = proxy.notifies[-1]
    net.restart()
    alice.publication().publish(body=sip.pidf("routed"))
    after = proxy.notifies[-1]
    assert b"routed" in after.body
    for name in ("Route", "From", "To", "Call-ID", "Contact"):
        assert after.headers(name) == before.headers(name)
    assert after.uri == before.uri


def test_target_refresh_outlives_a_restart(net: Network, alice: Agent, bob: Agent) -> None:
    watch = bob.subscribe()
    elsewhere = net.agent("bob2")
    watch.refresh(contact=elsewhere.contact)
    net.restart()
    told = len(bob.notifies)
    alice.publication().publish(body=sip.pidf("there"))
    assert len(bob.notifies) == told
    assert b"there" in elsewhere.notifies[-1].body


def test_watcher_on_a_stream_is_connected_to_after_a_restart(net: Network, alice: Agent) -> None:
    carol = net.agent("carol", transport="TCP")
    watch = carol.subscribe()
    net.restart()
    alice.publication().publish(body=sip.pidf("again"))
    assert "again" in watch.body


def test_places_of_ended_subscriptions_are_used_again(net: Network, bob: Agent) -> None:
    watches = [bob.subscribe() for _ in range(20)]
    for watch in watches[::2]:
        watch.unsubscribe()
    net.restart()
    more = [bob.subscribe() for _ in range(20)]
    tags = [watch.dialog.remote_tag for watch in watches[1::2] + more]
    assert len(set(tags)) == 30
    for watch in watches[1::2] + more:
        assert watch.unsubscribe().status == 200
        assert watch.state == "terminated;timeout"
    assert len(net.node.table) == 0


def test_pending_stays_pending_and_sees_nothing(tmp_path: Path) -> None:
    net = Network("server.policy=rules", path=str(tmp_path / "rules.db"))
    watch = net.agent("bob").subscribe()
    net.agent("alice").publication().publish(body=sip.pidf("secret"))
    net.restart()
    assert watch.state == "pending"
    assert all(b"secret" not in notify.body for notify in watch.notifies)


# ---- watcher information ----


def test_rfc3858_4_1_winfo_version_goes_on_above_with_full_state(net: Network, alice: Agent, bob: Agent) -> None:
    winfo = alice.subscribe(event="presence.winfo")
    bob.subscribe()
    net.restart()
    net.agent("carol").subscribe()
    documents = [etree.fromstring(notify.body) for notify in winfo.notifies]
    assert strictly_grow([int(document.get("version") or 0) for document in documents])
    states = [document.get("state") for document in documents]
    assert states == ["full", "partial", "full", "partial"]
    ids = [[watcher.get("id") for watcher in document.iter("{*}watcher")] for document in documents]
    assert ids[1] == ids[2], "bob is the same watcher as before"


def test_winfo_hears_of_watchers_that_expired_meanwhile(net: Network, alice: Agent, bob: Agent) -> None:
    winfo = alice.subscribe(event="presence.winfo", expires=3000)
    bob.subscribe(expires=10)
    net.clock.at += 100
    net.restart()
    net.advance(3)
    last = etree.fromstring(winfo.notifies[-1].body)
    rows = [(watcher.text, watcher.get("status")) for watcher in last.iter("{*}watcher")]
    assert rows in ([], [("sip:bob@example.com", "terminated")])


@pytest.mark.parametrize("beside", [True, False])
def test_winfo_versions_grow_over_restarts_whatever_was_refreshed(
    net: Network, alice: Agent, bob: Agent, beside: bool
) -> None:
    first = alice.subscribe()
    winfo = first.beside(event="presence.winfo") if beside else alice.subscribe(event="presence.winfo")
    for _ in range(2):
        for _ in range(100):
            bob.subscribe().unsubscribe()
        first.refresh()
        winfo.refresh()
        for _ in range(100):
            bob.subscribe().unsubscribe()
        net.restart()
    versions = [int(etree.fromstring(notify.body).get("version") or 0) for notify in winfo.notifies]
    assert strictly_grow(versions)


# ---- rows of OpenSIPS ----


def opensips_row(
    bob: Agent, *, to_tag: str = "10.5060.1700000000.3", event: str = "presence", cseq: int = 7, **more: object
) -> str:
    """Write the INSERT of a script made for OpenSIPS: none of our columns."""
    columns: dict[str, object] = {
        "presentity_uri": "sip:alice@example.com",
        "watcher_username": "bob",
        "watcher_domain": "example.com",
        "to_user": "alice",
        "to_domain": "example.com",
        "event": event,
        "event_id": "",
        "to_tag": to_tag,
        "from_tag": "bobtag",
        "callid": "opensips-call",
        "local_cseq": cseq,
        "remote_cseq": 3,
        "contact": bob.contact.strip("<>"),
        "record_route": "",
        "expires": 1_700_000_600,
        "status": 1,
        "reason": "",
        "version": 2,
        "socket_info": "udp:192.0.2.50:5060",
        "local_contact": "sip:presence@192.0.2.50:5060",
        **more,
    }
    values = ", ".join(str(value) if isinstance(value, int) else f"'{value}'" for value in columns.values())
    return f"INSERT INTO active_watchers ({', '.join(columns)}) VALUES ({values})"


def watcher_of_opensips(bob: Agent, *, to_tag: str = "10.5060.1700000000.3", event: str = "presence") -> Subscription:
    watch = Subscription(bob, "sip:alice@example.com", event=event)
    watch.dialog.call_id, watch.dialog.local_tag, watch.dialog.remote_tag = "opensips-call", "bobtag", to_tag
    watch.dialog.cseq = 3
    return watch


def test_row_of_opensips_is_served(net: Network, alice: Agent, bob: Agent) -> None:
    watch = watcher_of_opensips(bob)
    net.rows(opensips_row(bob))
    net.restart()
    assert net.loaded == (1, 0)
    assert cseqs(bob)[0] > 7, "above the last that OpenSIPS sent"
    notify = watch.newest
    assert notify.from_tag == "10.5060.1700000000.3"
    assert notify.header("Contact") == "<sip:presence@192.0.2.50:5060>"
    assert (notify.header("From") or "").startswith("<sip:alice@example.com>")
    alice.publication().publish(body=sip.pidf("told"))
    assert "told" in watch.body
    response = watch.refresh(expires=900)
    assert (response.status, response.to_tag) == (200, "10.5060.1700000000.3")
    net.restart()
    assert watch.state == "active"
    assert strictly_grow(cseqs(bob))
    assert watch.unsubscribe().status == 200
    assert watch.state == "terminated;timeout"
    assert net.rows("SELECT count(*) FROM active_watchers") == [(0,)]
    assert watch.refresh().status == 481


def test_row_of_opensips_with_its_old_cseq_is_refused(net: Network, bob: Agent) -> None:
    watch = watcher_of_opensips(bob)
    net.rows(opensips_row(bob))
    net.restart()
    watch.dialog.cseq = 1
    assert watch.refresh().status == 500


@pytest.mark.parametrize("first_ends", [True, False])
def test_second_subscription_in_a_dialog_of_opensips(net: Network, alice: Agent, bob: Agent, first_ends: bool) -> None:
    one = watcher_of_opensips(bob)
    net.rows(opensips_row(bob))
    net.restart()
    two = one.beside(event_id="2")
    assert two.state == "active"
    net.restart()
    assert net.loaded == (2, 0)
    ends, goes_on = (one, two) if first_ends else (two, one)
    assert ends.unsubscribe().status == 200
    alice.publication().publish(body=sip.pidf("one left"))
    assert "one left" in goes_on.body
    net.restart()
    assert goes_on.refresh().status == 200
    assert goes_on.unsubscribe().status == 200
    assert len(net.node.table) == 0
    assert strictly_grow(cseqs(bob))
    fresh = watcher_of_opensips(bob)
    fresh.dialog.cseq = 99
    assert fresh.refresh().status == 481
    assert bob.subscribe(uri="sip:carol@example.com").state == "active"
    assert fresh.refresh().status == 481, "the place is another's now"


def test_rows_that_cannot_be_served_harm_no_others(net: Network, bob: Agent) -> None:
    good = bob.subscribe()
    wrong: list[dict[str, object]] = [
        {"event": "line-seize"},
        {"status": 4},
        {"contact": "sip:bob@phone.example.com"},
        {"contact": "rubbish"},
        {"contact": "sip:bob@192.0.2.1"},
        {"presentity_uri": "rubbish"},
        {"local_cseq": -5000},
        {"local_cseq": 99_999_999_999},
        {"remote_cseq": 99_999_999_999},
        {"expires": 99_999_999_999},
        {"local_cseq": "many"},
        {"callid": "c" * 20_000},
        {"record_route": "<rubbish"},
    ]
    for number, fields in enumerate(wrong):
        net.rows(opensips_row(bob, to_tag=f"t{number}", **fields))
    net.restart()
    assert net.loaded == (1, len(wrong))
    assert (len(net.node.table), sum(net.node.notify.counts().values())) == (1, 1)
    assert good.refresh().status == 200
    assert net.unreachable == []
