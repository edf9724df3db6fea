"""Where NOTIFYs go, played in memory: names (RFC 3263), flows kept and lost (RFC 5626), TCP for large ones."""

from collections.abc import Iterator
from typing import Any

import pytest
import sip
from net import Agent, Network, Subscription
from zone import Names, srv

HOST = "phone.example.com"


class Located:
    """A network whose node looks names up in a zone."""

    def __init__(self, *assignments: str, **kinds: Any) -> None:
        self.names = Names(**kinds)
        self.net = Network(*assignments, resolver=self.names.resolver)
        self.names.now = self.net.clock.now


@pytest.fixture
def located() -> Iterator[Located]:
    world = Located()
    yield world
    world.net.close()


def named(agent: Agent, host: str = HOST, more: str = "") -> str:
    return f"<sip:{agent.name}@{host}:{agent.address[1]}{more}>"


def publish(net: Network, note: str, tuple_id: str = "a") -> None:
    net.agent("alice").publication().publish(body=sip.pidf(note, tuple_id=tuple_id))
    net.settle()


def target(net: Network) -> tuple[str, int]:
    (slot,) = [slot for slot in range(1, 20) if net.node.table.state(slot) == "active"]
    return net.node.table.target(slot)


def stored(net: Network) -> list[Any]:
    return [row[0] for row in net.rows("SELECT target FROM active_watchers")]


# ---- names ----


def test_rfc3263_notifies_go_where_the_name_in_contact_leads(located: Located) -> None:
    bob = located.net.agent("bob", host="127.0.0.5")
    bob.address = ("127.0.0.5", bob.address[1])
    located.names.zone[HOST, "A"] = ["127.0.0.6"]
    there = located.net.agent("there", host="127.0.0.6", port=bob.address[1])
    watch = bob.subscribe(contact=named(bob))
    assert watch.response is not None
    assert watch.response.status == 200
    assert [notify.method for notify in there.notifies] == ["NOTIFY"]
    assert bob.notifies == []
    assert stored(located.net) == [f"udp:127.0.0.6:{bob.address[1]};from={bob.address[0]}"]


def test_a_subscribe_waits_for_the_answer_and_is_served_then(located: Located) -> None:
    net, names = located.net, located.names
    names.held, names.zone[HOST, "A"] = True, ["127.0.0.1"]
    bob = net.agent("bob")
    watch = Subscription(bob, "sip:alice@example.com", contact=named(bob))
    watch.send(expires=600)
    net.settle()
    assert watch.response is None
    assert net.node.pending() == 1
    names.release()
    net.settle()
    assert watch.response is not None
    assert watch.response.status == 200
    assert len(watch.notifies) == 1
    assert net.node.pending() == 0


def test_requests_in_the_dialog_keep_their_order_behind_a_lookup(located: Located) -> None:
    net, names = located.net, located.names
    names.zone[HOST, "A"] = ["127.0.0.1"]
    bob = net.agent("bob")
    watch = bob.subscribe()
    names.held = True
    watch.contact = named(bob)
    watch.send(expires=600)
    watch.send(expires=0)
    net.settle()
    assert [notify.header("Subscription-State").partition(";")[0] for notify in watch.notifies] == ["active"]  # type: ignore[union-attr]
    names.release()
    net.settle()
    assert [m.status for _, m in bob.arrivals if not m.is_request] == [200, 200, 200]
    assert watch.notifies[-1].header("Subscription-State") == "terminated;reason=timeout"


@pytest.mark.parametrize(
    ("records", "status", "retry_after"),
    [((), 400, None), (None, 500, "30")],
    ids=["no such host", "no answer"],
)
def test_who_cannot_be_notified_has_no_subscription(
    located: Located, records: Any, status: int, retry_after: str | None
) -> None:
    located.names.zone[HOST, "A"] = records
    bob = located.net.agent("bob")
    response = bob.subscribe(contact=named(bob)).response
    assert response is not None
    assert response.status == status
    assert response.header("Retry-After") == retry_after
    assert stored(located.net) == []
    assert len(located.net.node.table) == 0


def test_a_name_must_lead_to_an_allowed_address(located: Located) -> None:
    located.names.zone[HOST, "A"] = ["192.0.2.1", "127.0.0.1"]
    located.names.zone["evil.example.com", "A"] = ["192.0.2.1"]
    bob = located.net.agent("bob")
    assert bob.subscribe(contact=named(bob, "evil.example.com")).response.status == 403  # type: ignore[union-attr]
    assert bob.subscribe(contact=named(bob)).response.status == 200  # type: ignore[union-attr]
    assert target(located.net) == bob.address


def test_nothing_is_looked_up_for_a_request_that_is_refused_anyway(located: Located) -> None:
    bob = located.net.agent("bob")
    assert bob.subscribe("Accept: text/plain", contact=named(bob)).response.status == 406  # type: ignore[union-attr]
    assert bob.subscribe(contact=named(bob), event="nothing").response.status == 489  # type: ignore[union-attr]
    assert located.names.questions == []


def test_rfc3263_4_3_the_next_address_is_tried_when_one_does_not_answer(located: Located) -> None:
    net, names = located.net, located.names
    names.zone["_sip._tcp." + HOST, "SRV"] = [srv("one." + HOST, 5081, 1), srv("two." + HOST, 5082, 2)]
    names.zone["one." + HOST, "A"] = names.zone["two." + HOST, "A"] = ["127.0.0.1"]
    bob = net.agent("bob", port=5082, transport="TCP")
    watch = net.agent("udp").subscribe(contact=f"<sip:bob@{HOST};transport=tcp>")
    assert watch.response is not None
    assert watch.response.status == 200
    net.advance(1)
    assert [address for address, _ in net.unreachable] == [("127.0.0.1", 5081)]
    assert len(bob.notifies) == 1
    publish(net, "later")
    assert len(bob.notifies) == 2
    bob.listening = False
    net.disconnect(bob)
    publish(net, "nobody is left", "b")
    net.advance(1)
    assert [address for address, _ in net.unreachable][1:] == [("127.0.0.1", 5082)]


def test_a_refresh_keeps_what_works_while_nobody_answers(located: Located) -> None:
    net, names = located.net, located.names
    names.zone[HOST, "A"] = ["127.0.0.1"]
    bob = net.agent("bob")
    watch = bob.subscribe(contact=named(bob))
    names.zone[HOST, "A"] = None
    net.advance(100)
    watch.refresh()
    assert watch.response is not None
    assert watch.response.status == 200
    assert len(watch.notifies) == 2
    watch.contact = named(bob, "other.example.com")
    names.zone["other.example.com", "A"] = None
    watch.refresh()
    assert watch.response.status == 500
    assert target(net) == bob.address


def test_a_refresh_follows_the_name_to_its_new_address(located: Located) -> None:
    net, names = located.net, located.names
    names.zone[HOST, "A"] = ["127.0.0.1"]
    bob = net.agent("bob")
    watch = bob.subscribe(contact=named(bob))
    names.zone[HOST, "A"] = ["127.0.0.6"]
    moved = net.agent("moved", host="127.0.0.6", port=bob.address[1])
    net.advance(100)
    watch.refresh()
    assert len(moved.notifies) == 1
    assert stored(net) == [f"udp:127.0.0.6:{bob.address[1]};from={bob.address[0]}"]


def test_a_thousand_names_from_one_source_are_bounded() -> None:
    world = Located(held=True, most=8)
    net = world.net
    bob = net.agent("bob")
    watches = [Subscription(bob, "sip:alice@example.com", contact=named(bob, f"h{n}.example.com")) for n in range(1000)]
    for watch in watches:
        watch.send(expires=600)
    net.settle()
    refused = [watch for watch in watches if watch.response is not None]
    assert len(refused) == 992
    assert {watch.response.status for watch in refused if watch.response} == {503}
    world.names.release()
    net.settle()
    assert len(world.names.questions) == 8
    assert net.node.pending() == 0
    assert len(net.node.table) == 0
    net.close()


# ---- flows ----


def test_rfc5626_a_lost_flow_is_replaced_by_a_connection_to_the_contact_itself(located: Located) -> None:
    net = located.net
    carol = net.agent("carol", transport="TCP")
    there = net.agent("there", host="127.0.0.6", transport="TCP")
    watch = carol.subscribe(contact=f"<sip:there@127.0.0.6:{there.address[1]};transport=tcp>")
    assert len(watch.notifies) == 1
    net.disconnect(carol)
    publish(net, "moved")
    assert len(watch.notifies) == 1
    assert len(there.notifies) == 1


def test_rfc5626_a_lost_flow_to_a_named_contact_is_looked_up_then(located: Located) -> None:
    net, names = located.net, located.names
    names.zone[HOST, "A"] = ["127.0.0.6"]
    carol = net.agent("carol", transport="TCP")
    there = net.agent("there", host="127.0.0.6", transport="TCP")
    carol.subscribe(contact=named(there, more=";transport=tcp"))
    assert names.questions == []
    net.disconnect(carol)
    publish(net, "moved")
    net.advance(1)
    assert len(there.notifies) == 1
    publish(net, "again", "b")
    assert len(there.notifies) == 2


def test_a_name_nobody_can_say_is_looked_up_again(located: Located) -> None:
    net, names = located.net, located.names
    names.zone[HOST, "A"] = None
    carol = net.agent("carol", transport="TCP")
    carol.subscribe(contact=named(carol, more=";transport=tcp"), expires=3600)
    net.disconnect(carol)
    publish(net, "lost")
    net.advance(5)
    names.zone[HOST, "A"] = ["127.0.0.1"]
    net.advance(40)
    assert "lost" in carol.subscriptions[0].body


@pytest.mark.parametrize(("keep", "left"), [("true", 0), ("false", 1)])
def test_rfc5626_5_3_1_a_lost_flow_with_ob_is_never_replaced(keep: str, left: int) -> None:
    world = Located(f"presence.end_sub_on_timeout={keep}")
    net = world.net
    carol = net.agent("carol", transport="TCP")
    watch = carol.subscribe(contact=carol.contact.replace(">", ";ob>"))
    assert len(watch.notifies) == 1
    net.disconnect(carol)
    publish(net, "unheard")
    net.advance(1)
    assert len(watch.notifies) == 1
    assert net.unreachable == []
    assert len(net.node.table) == left
    if left:
        watch.refresh()
        assert "unheard" in watch.body
    net.close()


def test_rfc5626_with_ob_datagrams_go_back_where_they_came_from(located: Located) -> None:
    net = located.net
    bob = net.agent("bob")
    watch = bob.subscribe(contact="<sip:bob@10.0.0.7:5060;ob>")
    assert watch.response is not None
    assert watch.response.status == 200
    assert len(watch.notifies) == 1
    assert watch.notifies[0].uri == "sip:bob@10.0.0.7:5060;ob"
    bob.address, before = ("127.0.0.1", 6999), bob.address
    net.agents[bob.address] = bob
    del net.agents[before]
    watch.refresh()
    assert len(watch.notifies) == 2
    assert stored(net) == ["udp:127.0.0.1:6999"]


def test_a_watcher_behind_a_nat_is_told_where_its_subscribe_came_from(located: Located) -> None:
    bob = located.net.agent("bob")
    bob.via = "SIP/2.0/UDP 10.0.0.7:5060;rport"
    watch = bob.subscribe(contact="<sip:bob@10.0.0.7>")
    assert len(watch.notifies) == 1
    publish(located.net, "inside")
    assert "inside" in watch.body


# ---- restart ----


def test_after_a_restart_names_are_looked_up_when_there_is_something_to_send(located: Located) -> None:
    net, names = located.net, located.names
    bob, carol = net.agent("bob"), net.agent("carol", transport="TCP")
    names.zone[HOST, "A"] = ["127.0.0.1"]
    bob.subscribe(contact=named(bob))
    carol.subscribe(contact=named(carol, more=";transport=tcp"))
    net.rows("UPDATE active_watchers SET target = NULL WHERE watcher_username = 'bob'")
    net.restart()
    assert net.loaded == (2, 0)
    net.advance(1)
    assert [len(agent.notifies) for agent in (bob, carol)] == [2, 2]


def test_after_a_restart_a_subscription_with_ob_waits_for_its_watcher(located: Located) -> None:
    net = located.net
    carol = net.agent("carol", transport="TCP")
    watch = carol.subscribe(contact=carol.contact.replace(">", ";ob>"))
    net.restart()
    publish(net, "meanwhile")
    net.advance(1)
    assert net.unreachable == []
    assert len(watch.notifies) == 1
    carol.connection = None
    watch.refresh()
    assert watch.response is not None
    assert watch.response.status == 200
    assert "meanwhile" in watch.body


# ---- UDP or TCP ----

LARGE = "x" * 2000


def test_rfc3261_18_1_1_a_large_notify_goes_over_tcp(located: Located) -> None:
    net = located.net
    bob = net.agent("bob")
    watch = bob.subscribe()
    stream = net.accept(bob)
    publish(net, LARGE)
    (notify,) = stream.notifies
    assert (notify.header("Via") or "").startswith("SIP/2.0/TCP 127.0.0.1:5060;")
    assert notify.header("Contact") == watch.notifies[0].header("Contact")
    assert len(bob.notifies) == 1
    publish(net, "small", "a")
    net.advance(5)
    counters = net.node.table.counters()
    assert (counters["switched"], counters["fallen_back"], counters["in_flight"]) == (1, 0, 0)


def test_rfc3261_18_1_1_where_tcp_is_refused_udp_takes_it_after_all(located: Located) -> None:
    net = located.net
    bob = net.agent("bob")
    watch = bob.subscribe(expires=3600)
    publish(net, LARGE)
    assert LARGE in watch.body
    assert len(net.unreachable) == 1
    assert (watch.notifies[-1].header("Via") or "").startswith("SIP/2.0/UDP ")
    net.advance(1)
    publish(net, LARGE, "b")
    assert len(net.unreachable) == 1
    net.advance(600)
    watch.refresh()
    publish(net, LARGE, "c")
    assert len(net.unreachable) == 2
    assert net.node.table.counters()["in_flight"] == 0


def test_a_notify_that_fell_back_is_repeated_and_times_out_like_any_other(located: Located) -> None:
    net = located.net
    bob = net.agent("bob")
    bob.subscribe()
    bob.status = None
    publish(net, LARGE)
    began = net.clock.at
    net.advance(31)
    sent = [at - began for at, message in bob.arrivals if message.is_request and message.cseq == 2]
    assert sent[:4] == pytest.approx([0.0, 0.5, 1.5, 3.5], abs=0.15)
    assert len(net.node.table) == 1
    net.advance(2)
    assert len(net.node.table) == 0


@pytest.mark.parametrize("setting", ["server.udp_max_bytes=0", "server.udp_max_bytes=65535"])
def test_the_switch_can_be_left_off(setting: str) -> None:
    world = Located(setting)
    watch = world.net.agent("bob").subscribe()
    publish(world.net, LARGE)
    assert LARGE in watch.body
    assert world.net.unreachable == []
    world.net.close()


def test_who_asks_for_udp_gets_it(located: Located) -> None:
    bob = located.net.agent("bob")
    watch: Subscription = bob.subscribe(contact=bob.contact.replace(">", ";transport=udp>"))
    publish(located.net, LARGE)
    assert LARGE in watch.body
    located.net.restart()
    located.net.advance(1)
    assert len(watch.notifies) == 3
    assert located.net.unreachable == []
