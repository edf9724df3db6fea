"""RFC 3261 sections 8.1 and 12, one statement a test: dialogs, and the NOTIFY requests this server sends in them."""

import re

import pytest
import sip
from net import Agent, Network

from presence._fastcore import Message

ALICE = "sip:alice@example.com"


def subscribe(agent: Agent, *extra: str, uri: str = ALICE, **fields: str) -> Message:
    heads = ("Event: presence", f"Contact: {agent.contact}")
    return agent.ask(agent.request("SUBSCRIBE", uri, *heads, *extra, **fields))


# ---- 8.1.1: what a request of ours has ----


@pytest.mark.parametrize("name", ["To", "From", "CSeq", "Call-ID", "Max-Forwards", "Via"])
def test_rfc3261_8_1_1_a_request_has_the_six_fields_once(bob: Agent, name: str) -> None:
    assert len(bob.subscribe().newest.headers(name)) == 1


def test_rfc3261_8_1_1_4_call_id_is_that_of_the_dialog(net: Network, bob: Agent) -> None:
    watch = bob.subscribe()
    net.agent("alice").publication().publish(body=sip.pidf())
    watch.refresh()
    assert {notify.call_id for notify in watch.notifies} == {watch.dialog.call_id}


def test_rfc3261_8_1_1_5_cseq_has_the_method_and_is_below_2_to_the_31(bob: Agent) -> None:
    notify = bob.subscribe().newest
    assert re.fullmatch(r"[0-9]+ NOTIFY", notify.header("CSeq") or "")
    assert notify.cseq < 2**31


def test_rfc3261_8_1_1_6_max_forwards_is_70(bob: Agent) -> None:
    assert bob.subscribe().newest.max_forwards == 70


@pytest.mark.parametrize("transport", ["UDP", "TCP"])
def test_rfc3261_8_1_1_7_via_has_protocol_sent_by_and_a_branch_with_the_cookie(net: Network, transport: str) -> None:
    watch = net.agent("bob", transport=transport).subscribe()
    via = watch.newest.header("Via") or ""
    assert via.startswith(f"SIP/2.0/{transport} 127.0.0.1:5060;")
    assert sip.param(via, "branch").startswith("z9hG4bK")
    assert len(sip.param(via, "branch")) > 7 + 8


def test_rfc3261_8_1_1_8_contact_is_one_sip_uri_where_requests_are_taken(net: Network, bob: Agent) -> None:
    watch = bob.subscribe()
    (contact,) = watch.newest.values("Contact")
    assert watch.response is not None
    assert watch.response.values("Contact") == [contact]
    assert re.fullmatch(r"<sip:[^<>]+@127\.0\.0\.1:5060;gr=[0-9a-f]{8}>", contact)
    # It is good for a request of its own, too.
    assert bob.ask(bob.request("OPTIONS", contact.strip("<>"))).status == 200


def test_rfc3261_8_1_1_8_a_request_that_makes_a_dialog_has_one_contact(net: Network, bob: Agent) -> None:
    for contact in (
        "<sip:a@127.0.0.1:5070>, <sip:b@127.0.0.1:5070>",
        "<sip:a@127.0.0.1>\r\nContact: <sip:b@127.0.0.1>",
    ):
        response = bob.ask(bob.request("SUBSCRIBE", ALICE, "Event: presence", f"Contact: {contact}"))
        assert (response.status, response.reason) == (400, "More Than One Contact")
    assert len(net.node.table) == 0


def test_rfc3261_8_1_1_9_requests_of_ours_require_nothing(bob: Agent) -> None:
    notify = bob.subscribe("Supported: 100rel, path, eventlist").newest
    assert notify.header("Require") is None
    assert notify.header("Proxy-Require") is None


# ---- 12.1.1: a SUBSCRIBE makes a dialog ----


ROUTES = "<sip:one.example.com;lr;x=y>;hp=1, <sip:127.0.0.1:5099;lr>"


def test_rfc3261_12_1_1_record_route_is_copied_whole_and_in_order(bob: Agent) -> None:
    response = subscribe(
        bob, 'Record-Route: <sip:127.0.0.1:5070;lr;x=%41>;hp="1,2"', "Record-Route: <sip:b;lr>, <sip:c;lr>"
    )
    assert response.status == 200
    assert response.values("Record-Route") == ['<sip:127.0.0.1:5070;lr;x=%41>;hp="1,2"', "<sip:b;lr>", "<sip:c;lr>"]
    notify = bob.notifies[-1]
    assert notify.values("Route") == response.values("Record-Route"), "the route set, in this order"


def test_rfc3261_12_1_1_without_record_route_there_is_no_route(bob: Agent) -> None:
    notify = bob.subscribe("Route: <sip:127.0.0.1;lr>").newest
    assert notify.header("Route") is None
    assert notify.uri == bob.contact.strip("<>")


def test_rfc3261_12_1_1_the_dialog_is_named_by_call_id_and_both_tags(net: Network, bob: Agent) -> None:
    watch = bob.subscribe()
    notify = watch.newest
    assert watch.response is not None
    named = (watch.dialog.call_id, watch.dialog.local_tag, watch.response.to_tag)
    assert (notify.call_id, notify.to_tag, notify.from_tag) == named
    assert watch.refresh().status == 200


@pytest.mark.parametrize(
    ("sender", "to"),
    [
        ("<sip:bob@example.com>", "<sip:alice@example.com>"),
        ('"Bob B." <sip:bob@example.com>', '"Alice; A" <sip:alice@example.com>'),
        ("<sip:bob@example.com;strange=1;flag?X=y>", "<sip:alice@example.com;other>"),
        ('"B \\"x\\"" <sips:bob@example.com:5071>', "<sip:%61lice@EXAMPLE.com>"),
        ("<tel:+1-201-555-0123>", "<pres:alice@example.com>"),
        ("<sip:bob@example.com>;mine=yes", "<sip:alice@example.com>;yours=no"),
        ("Bob Smith <sip:bob@example.com>", "Alice<sip:alice@example.com>"),
        ("sip:bob@example.com", "sip:alice@example.com;Odd=Param"),
        ('"Zo\u00eb" <sip:bob@example.com>;a="b;tag=c"', '"\u5927" <sip:alice@example.com>;X ; y = 1'),
    ],
)
def test_rfc3261_12_2_1_1_from_and_to_swap_and_nothing_of_them_is_lost(
    net: Network, bob: Agent, sender: str, to: str
) -> None:
    """Also over a restart: display names and parameters, known or not, are kept in the dialog."""
    response = subscribe(bob, sender=sender, to=to)
    assert response.status == 200
    for _ in range(2):
        notify = bob.notifies[-1]
        assert notify.header("To") == with_tag(sender, "b")
        assert notify.header("From") == with_tag(to, response.to_tag)
        net.restart()
        net.settle()


def with_tag(value: str, tag: str) -> str:
    return f"{value};tag={tag}"


def test_rfc3261_12_2_1_1_cseq_grows_by_one(net: Network, bob: Agent) -> None:
    watch = bob.subscribe()
    publication = net.agent("alice").publication()
    for number in range(5):
        publication.publish(body=sip.pidf(str(number)))
    first = watch.notifies[0].cseq
    assert [notify.cseq for notify in watch.notifies] == [first + number for number in range(6)]


@pytest.mark.parametrize("lr", [True, False])
def test_rfc3261_12_2_1_1_loose_and_strict_routes(bob: Agent, lr: bool) -> None:
    first = f"sip:127.0.0.1:{bob.address[1]}{';lr' if lr else ''};x=y"
    subscribe(bob, f"Record-Route: <{first}>, <sip:two.example.com;lr>")
    notify, target = bob.notifies[-1], bob.contact
    if lr:
        assert notify.uri == target.strip("<>")
        assert notify.values("Route") == [f"<{first}>", "<sip:two.example.com;lr>"]
    else:
        assert notify.uri == first
        assert notify.values("Route") == ["<sip:two.example.com;lr>", target]


def test_rfc3261_12_2_1_1_what_no_request_uri_has_is_stripped_from_a_strict_route(bob: Agent) -> None:
    first = f"sip:127.0.0.1:{bob.address[1]}"
    subscribe(bob, f"Record-Route: <{first};method=BYE;x=y?Subject=z>")
    assert bob.notifies[-1].uri == first + ";x=y"


@pytest.mark.parametrize("extra", ["?Subject=x&Route=%3Csip:y%3E", ";method=INVITE", ";Method=BYE?Subject=x"])
@pytest.mark.parametrize("routed", [False, True])
def test_rfc3261_19_1_1_our_request_uris_have_no_headers_and_no_method(bob: Agent, extra: str, routed: bool) -> None:
    target = bob.contact.strip("<>")
    route = (f"Record-Route: <sip:127.0.0.1:{bob.address[1]};lr>",) if routed else ()
    lines = ("Event: presence", f"Contact: <{target};x=y{extra}>", *route)
    assert bob.ask(bob.request("SUBSCRIBE", ALICE, *lines)).status == 200
    assert bob.notifies[-1].uri == target + ";x=y"


# ---- 12.2.2: requests inside it ----


def test_rfc3261_12_2_2_a_request_of_no_dialog_is_481(bob: Agent) -> None:
    assert subscribe(bob, to_tag="unknown").status == 481


@pytest.mark.parametrize("number", [1, 2])
def test_rfc3261_12_2_2_cseq_that_is_not_higher_is_500(bob: Agent, number: int) -> None:
    watch = bob.subscribe()
    watch.dialog.cseq = 4
    assert watch.refresh().status == 200
    watch.dialog.cseq = 4 - number
    assert watch.refresh().status == 500
    watch.dialog.cseq = 5
    assert watch.refresh().status == 200


def test_rfc3261_12_2_2_cseq_may_skip_numbers(bob: Agent) -> None:
    watch = bob.subscribe()
    watch.dialog.cseq = 2_000_000_000
    assert watch.refresh().status == 200


def test_rfc3261_12_2_2_target_refresh_and_what_it_leaves_alone(net: Network, bob: Agent) -> None:
    other = net.agent("other")
    watch = bob.subscribe(sender='"Bob" <sip:bob@example.com>')
    watch.refresh(contact=f"<sip:new@127.0.0.1:{other.address[1]};x=1>")
    notify = other.notifies[-1]
    assert notify.uri == f"sip:new@127.0.0.1:{other.address[1]};x=1"
    assert (notify.header("To") or "").startswith('"Bob" <sip:bob@example.com>')
    # RFC 6665 section 4.1.2.1: a SUBSCRIBE has a Contact, also this one.
    assert watch.refresh(contact="").status == 400


# ---- 12.2.1.2: what our requests are answered ----


@pytest.mark.parametrize("status", [481, 408])
def test_rfc3261_12_2_1_2_481_and_408_end_the_dialog(net: Network, bob: Agent, status: int) -> None:
    bob.status = status
    bob.subscribe()
    assert len(net.node.table) == 0
    assert net.rows("SELECT count(*) FROM active_watchers") == [(0,)]


def test_rfc3261_12_2_1_2_silence_ends_the_dialog(net: Network, bob: Agent) -> None:
    bob.status = None
    watch = bob.subscribe()
    net.advance(34)
    assert len(net.node.table) == 0
    bob.status = 200
    assert watch.refresh().status == 481
