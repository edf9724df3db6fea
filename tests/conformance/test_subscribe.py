"""SUBSCRIBE at the notifier: RFC 6665 sections 4.2.1 and 4.5, RFC 3261 section 12."""

import re

import pytest
import sip
from net import Agent, Network, Subscription

from presence._fastcore import Message


def subscriptions(net: Network) -> int:
    ((count,),) = net.rows("SELECT (SELECT count(*) FROM active_watchers) + (SELECT count(*) FROM shared_watchers)")
    return int(count)


def ask(agent: Agent, *extra: str, uri: str = "sip:alice@example.com", **fields: str) -> Message:
    """Send a SUBSCRIBE made of these header lines alone."""
    return agent.ask(agent.request("SUBSCRIBE", uri, *extra, **fields))


# ---- a subscription's life ----


def test_rfc6665_4_2_1_literal_exchange(net: Network, bob: Agent) -> None:
    """What goes over the wire, in full: the 200, then the NOTIFY."""
    bob.send(
        b"SUBSCRIBE sip:alice@example.com SIP/2.0\r\n"
        b"Via: SIP/2.0/UDP 127.0.0.1:5070;branch=z9hG4bKnashds7\r\n"
        b"Max-Forwards: 70\r\n"
        b'From: "Bob" <sip:bob@example.com>;tag=12341234\r\n'
        b"To: Alice <sip:alice@example.com>\r\n"
        b"Call-ID: 32432udfidfjmk342\r\n"
        b"CSeq: 17766 SUBSCRIBE\r\n"
        b"Contact: <sip:bob@127.0.0.1:5070>\r\n"
        b"Event: presence;id=a1\r\n"
        b"Expires: 600\r\n"
        b"Accept: application/pidf+xml\r\n"
        b"Content-Length: 0\r\n\r\n"
    )
    net.settle()
    response, notify = [message.raw.decode() for _, message in bob.arrivals]
    told = re.fullmatch(
        r"SIP/2\.0 200 OK\r\n"
        r"Via: SIP/2\.0/UDP 127\.0\.0\.1:5070;branch=z9hG4bKnashds7\r\n"
        r'From: "Bob" <sip:bob@example\.com>;tag=12341234\r\n'
        r"To: Alice <sip:alice@example\.com>;tag=(\S+)\r\n"
        r"Call-ID: 32432udfidfjmk342\r\n"
        r"CSeq: 17766 SUBSCRIBE\r\n"
        r"Server: presence/\S+\r\n"
        r"Allow-Events: [a-z., -]+\r\n"
        r"Supported: gruu\r\n"
        r"Expires: 600\r\n"
        r"Contact: <(\S+)>\r\n"
        r"Content-Length: 0\r\n\r\n",
        response,
    )
    assert told
    assert re.fullmatch(
        r"NOTIFY sip:bob@127\.0\.0\.1:5070 SIP/2\.0\r\n"
        r"Via: SIP/2\.0/UDP 127\.0\.0\.1:5060;rport;branch=z9hG4bK\S+\r\n"
        r"Max-Forwards: 70\r\n"
        rf"From: Alice <sip:alice@example\.com>;tag={told[1]}\r\n"
        r'To: "Bob" <sip:bob@example\.com>;tag=12341234\r\n'
        r"Call-ID: 32432udfidfjmk342\r\n"
        r"CSeq: 1 NOTIFY\r\n"
        rf"Contact: <{re.escape(told[2])}>\r\n"
        r"Event: presence;id=a1\r\n"
        r"Allow-Events: [a-z., -]+\r\n"
        r"Supported: gruu\r\n"
        r"User-Agent: presence/\S+\r\n"
        r"Subscription-State: active;expires=600\r\n"
        r"Content-Type: application/pidf\+xml\r\n"
        r"Content-Length: \d+\r\n\r\n"
        r"<\?xml .*</presence>",
        notify,
        re.DOTALL,
    )


def test_rfc6665_4_2_1_3_refresh_extends_and_notifies(net: Network, bob: Agent) -> None:
    watch = bob.subscribe(expires=100)
    net.advance(90)
    response = watch.refresh(expires=100)
    assert (response.status, response.expires) == (200, 100)
    assert len(watch.notifies) == 2
    assert watch.newest.header("Subscription-State") == "active;expires=100"
    net.advance(90)
    assert watch.state == "active"
    assert subscriptions(net) == 1


def test_rfc6665_4_2_1_refresh_may_shorten(net: Network, bob: Agent) -> None:
    watch = bob.subscribe(expires=3000)
    watch.refresh(expires=10)
    net.advance(12)
    assert watch.state == "terminated;timeout"


def test_rfc6665_4_1_2_3_unsubscribe_gets_a_final_notify(net: Network, bob: Agent) -> None:
    watch = bob.subscribe()
    response = watch.unsubscribe()
    assert (response.status, response.expires) == (200, 0)
    assert watch.state == "terminated;timeout"
    assert "closed" in watch.body, "the final NOTIFY carries the state"
    assert len(watch.notifies) == 2
    assert (len(net.node.table), subscriptions(net), net.node.notify.counts()) == (0, 0, {})
    assert watch.refresh().status == 481


def test_rfc6665_4_4_3_fetch(net: Network, bob: Agent, alice: Agent) -> None:
    alice.publication().publish(body=sip.pidf("now"))
    fetch = bob.subscribe(expires=0)
    assert (fetch.response and fetch.response.status, fetch.response and fetch.response.expires) == (200, 0)
    assert fetch.state == "terminated;timeout"
    assert "now" in fetch.body
    assert (len(net.node.table), subscriptions(net), net.node.notify.counts()) == (0, 0, {})


def test_fetches_leave_nothing_behind(net: Network, bob: Agent) -> None:
    for number in range(50):
        bob.subscribe(uri=f"sip:somebody{number}@example.com", expires=0)
    assert (len(net.node.table), net.node.notify.counts(), net.node.pending()) == (0, {}, 0)


def test_rfc6665_4_4_3_unanswered_fetch_leaves_nothing_behind(net: Network, bob: Agent) -> None:
    bob.status = None
    bob.subscribe(expires=0)
    net.advance(40)
    assert (len(net.node.table), net.node.notify.counts()) == (0, {})


def test_rfc6665_4_1_2_2_expiry_is_told(net: Network, bob: Agent) -> None:
    watch = bob.subscribe(expires=60)
    net.advance(59)
    assert watch.state == "active"
    net.advance(3)
    assert watch.state == "terminated;timeout"
    assert (len(net.node.table), subscriptions(net), net.node.notify.counts()) == (0, 0, {})


def test_expiry_beyond_the_timer_wheel(net: Network, bob: Agent) -> None:
    net = Network("presence.max_expires_subscribe=20000")
    watch = net.agent("bob").subscribe(expires=15000)
    net.advance(14990, step_s=10)
    assert watch.state == "active"
    net.advance(20)
    assert watch.state == "terminated;timeout"


def test_rfc6665_4_2_1_2_presentity_that_never_published_has_a_document(bob: Agent) -> None:
    watch = bob.subscribe(uri="sip:carol@example.com")
    assert "<basic>closed</basic>" in watch.body
    assert 'entity="sip:carol@example.com"' in watch.body


# ---- checks in the order of section 4.2.1 ----


@pytest.mark.parametrize("heads", [("Event: nothing",), ("Event: PRESENCE",), ()])
def test_rfc6665_4_2_1_1_unknown_event_is_489_with_allow_events(bob: Agent, heads: tuple[str, ...]) -> None:
    response = ask(bob, *heads, f"Contact: {bob.contact}")
    assert response.status == 489
    assert {"presence", "presence.winfo", "message-summary"} <= set(response.values("Allow-Events"))


@pytest.mark.parametrize("tag", ["unknown", "0000000001deadbeef", "ffffffffffffffffff", "0", "x" * 500])
def test_rfc6665_4_2_1_1_unknown_dialog_is_481(net: Network, bob: Agent, tag: str) -> None:
    bob.subscribe()
    response = ask(bob, "Event: presence", f"Contact: {bob.contact}", "Expires: 600", to_tag=tag)
    assert response.status == 481
    assert subscriptions(net) == 1


@pytest.mark.parametrize("wrong", ["call_id", "local_tag", "remote_tag"])
def test_rfc3261_12_2_2_all_three_identifiers_must_fit(bob: Agent, wrong: str) -> None:
    watch = bob.subscribe()
    setattr(watch.dialog, wrong, getattr(watch.dialog, wrong) + "0")
    assert watch.refresh().status == 481


@pytest.mark.parametrize(
    ("asked", "minimum", "status"),
    [(59, 60, 423), (60, 60, 200), (1, 0, 200), (3599, 3600, 423), (3600, 3600, 200), (0, 60, 200)],
)
def test_rfc6665_4_2_1_1_brief_interval_is_423(asked: int, minimum: int, status: int) -> None:
    net = Network(f"presence.min_expires_subscribe={minimum}")
    watch = net.agent("bob").subscribe(expires=asked)
    assert watch.response is not None
    assert watch.response.status == status
    assert watch.response.header("Min-Expires") == (str(minimum) if status == 423 else None)
    assert (watch.notifies == []) == (status == 423)


def test_rfc6665_4_2_1_1_brief_refresh_is_423_and_the_subscription_goes_on() -> None:
    net = Network("presence.min_expires_subscribe=60")
    watch = net.agent("bob").subscribe(expires=100)
    assert watch.refresh(expires=10).status == 423
    assert watch.refresh(expires=60).status == 200


def test_rfc6665_4_2_1_1_interval_is_shortened_and_never_lengthened() -> None:
    net = Network("presence.max_expires_subscribe=1000")
    bob = net.agent("bob")
    for asked, granted in ((5, 5), (1000, 1000), (1001, 1000), (4_294_967_295, 1000), (None, 1000)):
        response = bob.subscribe(expires=asked).response
        assert response is not None
        assert response.expires == granted


def test_rfc3856_6_4_absent_expires_is_one_hour(bob: Agent) -> None:
    response = bob.subscribe(expires=None).response
    assert response is not None
    assert response.expires == 3600


ACCEPTS = [
    (("application/pidf+xml",), 200),
    (("application/*",), 200),
    (("*/*",), 200),
    (("text/plain, application/pidf+xml;q=0.5",), 200),
    (("text/plain", "Application/Pidf+XML"), 200),
    (("text/plain",), 406),
    (("application/xpidf+xml", "application/cpim-pidf+xml"), 406),
    (("application/pidf+xml;q=0",), 406),
    (("text/*",), 406),
]


@pytest.mark.parametrize(("accepts", "status"), ACCEPTS)
def test_rfc6665_3_1_3_accept_must_fit_the_package(bob: Agent, accepts: tuple[str, ...], status: int) -> None:
    watch = bob.subscribe(*(f"Accept: {accept}" for accept in accepts))
    assert watch.response is not None
    assert watch.response.status == status
    if status == 406:
        assert watch.response.header("Accept") == "application/pidf+xml"


def test_rfc3261_8_2_3_body_is_415_unless_it_is_optional(bob: Agent) -> None:
    heads = ("Event: presence", f"Contact: {bob.contact}", "Content-Type: application/simple-filter+xml")
    assert ask(bob, *heads, body="<filter-set/>").status == 415
    assert ask(bob, *heads, "Content-Disposition: session;handling=optional", body="<filter-set/>").status == 200


def test_rfc6665_4_1_2_1_missing_contact_is_400(net: Network, bob: Agent) -> None:
    response = ask(bob, "Event: presence", "Expires: 600")
    assert (response.status, response.reason) == (400, "Missing Contact")
    assert subscriptions(net) == 0


@pytest.mark.parametrize(
    "contact", ["*", "<tel:+15551234>", "<mailto:bob@example.com>", "bob", "<sip:>", "<sip:bob@127.0.0.1:99999>", "<>"]
)
def test_contact_that_is_no_sip_uri_is_400(net: Network, bob: Agent, contact: str) -> None:
    assert ask(bob, "Event: presence", f"Contact: {contact}").status == 400
    assert (subscriptions(net), len(net.node.table)) == (0, 0)


def test_rfc3261_12_1_1_missing_from_tag_is_a_null_tag(net: Network, bob: Agent) -> None:
    data = sip.lines(
        "SUBSCRIBE sip:alice@example.com SIP/2.0",
        f"Via: {bob.via};branch=z9hG4bKnotag",
        "Max-Forwards: 70",
        "From: <sip:bob@example.com>",
        "To: <sip:alice@example.com>",
        "Call-ID: notag",
        "CSeq: 1 SUBSCRIBE",
        "Event: presence",
        f"Contact: {bob.contact}",
    )
    response = bob.ask(data)
    assert response.status == 200
    assert subscriptions(net) == 1
    (notify,) = bob.notifies
    # RFC 3261 section 12.2.1.1: without a remote tag To has none.
    assert (notify.header("To"), notify.from_tag) == ("<sip:bob@example.com>", response.to_tag)
    net.restart()
    again = data.replace(b"To: <sip:alice@example.com>", b"To: <sip:alice@example.com>;tag=" + response.to_tag.encode())
    again = again.replace(b"CSeq: 1", b"CSeq: 2").replace(b"bKnotag", b"bKnotag2")
    assert bob.ask(again).status == 200, "a refresh finds the dialog, also after a restart"


def test_foreign_domain_is_404() -> None:
    net = Network("server.domain=example.com")
    response = net.agent("bob").subscribe(uri="sip:alice@example.net").response
    assert response is not None
    assert response.status == 404


def test_dialog_too_long_to_keep_is_refused_and_nothing_is_kept(net: Network, bob: Agent) -> None:
    watch = bob.subscribe(*(f"Record-Route: <sip:127.0.0.1:5080;lr;{'x' * 990}={n}>" for n in range(14)))
    assert watch.response is not None
    assert watch.response.status >= 400
    assert (len(net.node.table), net.node.notify.counts(), subscriptions(net)) == (0, {}, 0)


def test_dialog_cannot_grow_beyond_what_can_be_kept(net: Network, bob: Agent, alice: Agent) -> None:
    watch = bob.subscribe(*(f"Record-Route: <sip:127.0.0.1:{bob.address[1]};lr;{'x' * 990}={n}>" for n in range(9)))
    for contact in (f"<sip:{'b' * 3000}@127.0.0.1:{bob.address[1]}>", bob.contact):
        beside = Subscription(bob, watch.uri, dialog=watch.dialog, event_id="i" * 3000)
        assert beside.refresh(contact=contact).status == 400
    assert watch.refresh(contact=f"<sip:{'b' * 3000}@127.0.0.1:{bob.address[1]}>").status == 400
    assert watch.refresh().status == 200
    alice.publication().publish(body=sip.pidf("fine"))
    assert "fine" in watch.body
    assert (subscriptions(net), net.node.pending()) == (1, 0)


def test_rfc3261_12_1_1_too_many_routes_are_400(bob: Agent) -> None:
    response = ask(bob, "Event: presence", f"Contact: {bob.contact}", *["Record-Route: <sip:127.0.0.1:5080;lr>"] * 17)
    assert response.status == 400


# ---- CSeq ----


@pytest.mark.parametrize("step", [0, -1, -5])
def test_rfc3261_12_2_2_cseq_not_higher_is_500_and_changes_nothing(net: Network, bob: Agent, step: int) -> None:
    watch = bob.subscribe(expires=100)
    watch.dialog.cseq = 10
    watch.refresh(expires=100)
    told = len(watch.notifies)
    watch.dialog.cseq += step - 1
    assert watch.refresh(expires=3000).status == 500
    watch.dialog.cseq = 10 + step
    assert watch.refresh(expires=0).status == 500
    assert len(watch.notifies) == told
    net.advance(102)
    assert watch.state == "terminated;timeout", "when the first interval is over, not the refused one"


def test_rfc3261_12_2_2_cseq_may_jump(bob: Agent) -> None:
    watch = bob.subscribe()
    watch.dialog.cseq = 2_000_000_000
    assert watch.refresh().status == 200
    watch.dialog.cseq = 5
    assert watch.refresh().status == 500


# ---- several subscriptions in one dialog (section 4.5.2) ----


def test_rfc6665_4_5_2_two_in_one_dialog_by_id(net: Network, bob: Agent, alice: Agent) -> None:
    first = bob.subscribe(event_id="1")
    second = first.beside(event_id="2")
    assert second.response is not None
    assert second.response.status == 200
    alice.publication().publish(body=sip.pidf("both"))
    assert "both" in first.body
    assert "both" in second.body
    cseqs = sorted(notify.cseq for notify in bob.notifies)
    assert cseqs == list(range(1, len(cseqs) + 1)), "one space of numbers for the dialog"


def test_rfc6665_4_5_2_two_packages_in_one_dialog(net: Network, bob: Agent, alice: Agent) -> None:
    presence = bob.subscribe()
    summary = presence.beside(event="message-summary")
    alice.publication().publish(body=sip.pidf("seen"))
    assert "Messages-Waiting: no" in summary.body
    assert "seen" in presence.body
    assert summary.newest.header("Event") == "message-summary"


def test_rfc6665_4_5_1_id_is_part_of_the_subscription(bob: Agent) -> None:
    """Without an id is another subscription than with one."""
    plain = bob.subscribe()
    named = plain.beside(event_id="7")
    assert len(plain.notifies) == len(named.notifies) == 1
    named.unsubscribe()
    assert named.state == "terminated;timeout"
    assert plain.state == "active"


@pytest.mark.parametrize("first_ends", [True, False])
def test_rfc6665_4_5_2_they_end_separately(net: Network, bob: Agent, alice: Agent, first_ends: bool) -> None:
    one = bob.subscribe(event_id="1")
    two = one.beside(event_id="2")
    ends, goes_on = (one, two) if first_ends else (two, one)
    assert ends.unsubscribe().status == 200
    assert ends.state == "terminated;timeout"
    ended_at = len(ends.notifies)
    alice.publication().publish(body=sip.pidf("later"))
    assert "later" in goes_on.body
    assert len(ends.notifies) == ended_at
    assert goes_on.refresh().status == 200
    third = goes_on.beside(event_id="3")
    assert "later" in third.body
    for watch in (goes_on, third):
        assert watch.unsubscribe().status == 200
    assert (len(net.node.table), subscriptions(net), net.node.notify.counts()) == (0, 0, {})
    cseqs = [notify.cseq for notify in bob.notifies]
    assert cseqs == sorted(set(cseqs))


@pytest.mark.parametrize("first_ends", [True, False])
def test_rfc6665_4_2_2_one_fails_the_other_goes_on(net: Network, bob: Agent, alice: Agent, first_ends: bool) -> None:
    one = bob.subscribe(event_id="1")
    two = one.beside(event_id="2")
    fails, goes_on = (one, two) if first_ends else (two, one)
    bob.status = None
    publication = alice.publication()
    publication.publish(body=sip.pidf("first"))
    bob.answer(fails.newest, 481)
    bob.answer(goes_on.newest, 200)
    bob.status = 200
    publication.publish(body=sip.pidf("second"))
    assert "second" in goes_on.body
    assert "second" not in fails.body
    assert subscriptions(net) == 1
    assert goes_on.refresh().status == 200


def test_rfc6665_4_5_2_they_expire_separately(net: Network, bob: Agent) -> None:
    one = bob.subscribe(event_id="1", expires=50)
    two = one.beside(event_id="2", expires=500)
    net.advance(52)
    assert (one.state, two.state) == ("terminated;timeout", "active")
    net.advance(450)
    assert two.state == "terminated;timeout"
    assert (len(net.node.table), subscriptions(net)) == (0, 0)


def test_rfc6665_4_4_3_fetch_inside_a_dialog_needs_its_subscription(bob: Agent) -> None:
    watch = bob.subscribe(event_id="1")
    other = Subscription(bob, watch.uri, dialog=watch.dialog, event_id="2", expires=0)
    assert other.refresh().status == 481


# ---- routes and targets (RFC 3261 section 12) ----


def test_rfc3261_12_1_1_record_route_is_copied_and_used_as_route(net: Network, bob: Agent) -> None:
    proxy = net.agent("proxy")
    routes = [f"<sip:127.0.0.1:{proxy.address[1]};lr>", "<sip:127.0.0.1:9;lr;x=1>"]
    watch = bob.subscribe(*(f"Record-Route: {route}" for route in routes))
    assert watch.response is not None
    assert watch.response.values("Record-Route") == routes
    (notify,) = proxy.notifies
    assert notify.uri == bob.contact.strip("<>")
    assert notify.values("Route") == routes
    assert bob.notifies == []


def test_rfc3261_12_2_1_1_strict_router_gets_its_own_uri(net: Network, bob: Agent) -> None:
    proxy = net.agent("proxy")
    first, second = f"sip:127.0.0.1:{proxy.address[1]}", "sip:127.0.0.1:9;lr"
    watch = bob.subscribe(f"Record-Route: <{first}>", f"Record-Route: <{second}>")
    (notify,) = proxy.notifies
    assert notify.uri == first
    assert notify.values("Route") == [f"<{second}>", bob.contact]
    watch.dialog.remote_tag, watch.dialog.target = notify.from_tag, (notify.header("Contact") or "").strip("<>")
    moved = "<sip:bob@127.0.0.1:7777>"
    assert watch.refresh(contact=moved).status == 200
    assert (proxy.notifies[-1].uri, proxy.notifies[-1].values("Route")) == (first, [f"<{second}>", moved])


def test_rfc3261_12_2_1_1_strict_route_outlives_the_dialogs_first_subscription(net: Network, bob: Agent) -> None:
    proxy = net.agent("proxy")
    first = f"sip:127.0.0.1:{proxy.address[1]}"
    one = bob.subscribe(f"Record-Route: <{first}>", event_id="1")
    two = one.beside(event_id="2")
    one.unsubscribe()
    moved = "<sip:bob@127.0.0.1:7777>"
    assert two.refresh(contact=moved).status == 200
    assert (proxy.notifies[-1].uri, proxy.notifies[-1].values("Route")) == (first, [moved])


def test_strict_route_ends_with_its_dialog(net: Network, bob: Agent) -> None:
    """Whoever gets the places of its subscriptions has no part in it."""
    proxy = net.agent("proxy")
    one = bob.subscribe(f"Record-Route: <sip:127.0.0.1:{proxy.address[1]}>", event_id="1")
    two = one.beside(event_id="2")
    assert two.unsubscribe().status == 200
    assert one.unsubscribe().status == 200
    told = len(proxy.notifies)
    for watch in [bob.subscribe() for _ in range(3)]:
        watch.refresh(contact=f"{bob.contact};moved")
        assert watch.newest.header("Route") is None
    assert len(proxy.notifies) == told


def test_rfc3261_12_2_record_route_of_a_refresh_changes_no_route(net: Network, bob: Agent) -> None:
    watch = bob.subscribe()
    assert watch.refresh("Record-Route: <sip:127.0.0.1:9;lr>").status == 200
    assert len(watch.notifies) == 2
    assert watch.newest.header("Route") is None


def test_rfc3261_12_2_2_target_refresh_moves_the_notifies(net: Network, bob: Agent, alice: Agent) -> None:
    watch = bob.subscribe()
    beside = watch.beside(event_id="2")
    elsewhere = net.agent("bob2")
    assert watch.refresh(contact=elsewhere.contact).status == 200
    told = len(bob.notifies)
    alice.publication().publish(body=sip.pidf("moved"))
    assert len(bob.notifies) == told
    assert {notify.event_id for notify in elsewhere.notifies if b"moved" in notify.body} == {"", "2"}, beside
    assert {notify.uri for notify in elsewhere.notifies} == {elsewhere.contact.strip("<>")}


@pytest.mark.parametrize("uri", [b"sip:alice@example.com", b"sip:alice@example.com;method=x%ff"])
def test_rfc3261_12_2_1_1_a_name_in_bytes_that_are_no_utf8_stays_also_over_a_restart(
    net: Network, bob: Agent, uri: bytes
) -> None:
    """No grammar allows them, and there are phones that speak Latin-1."""
    sender, to = b'"B\xf6b" <sip:bob@example.com;x=%e9>;y="\xe9"', b'"Al\xefce" <%s>;z="\xe9"' % uri
    data = bob.request("SUBSCRIBE", "sip:alice@example.com", "Event: presence", f"Contact: {bob.contact}", to="@T@")
    line = next(line for line in data.split(b"\r\n") if line.startswith(b"From:"))
    data = data.replace(line, b"From: %s;tag=b" % sender).replace(b"@T@", to)
    assert bob.ask(data).status == 200
    net.restart()
    assert net.loaded == (1, 0)
    first, again = bob.notifies
    for notify in (first, again):
        assert b"\r\nFrom: %s;tag=" % to in notify.raw
        assert b"\r\nTo: %s;tag=b\r\n" % sender in notify.raw


def test_route_with_bytes_that_are_no_utf8_survives_a_refresh(net: Network, bob: Agent) -> None:
    data = sip.request(
        "SUBSCRIBE",
        "sip:alice@example.com",
        "Event: presence",
        f"Contact: {bob.contact}",
        "Record-Route: <sip:127.0.0.1:5070;lr>;x=@@",
        via=bob.via,
        call_id="odd",
    ).replace(b"@@", b"\xff\xfe")
    response = bob.ask(data)
    assert response.status == 200
    again = sip.request(
        "SUBSCRIBE",
        "sip:alice@example.com",
        "Event: presence",
        f"Contact: {bob.contact}",
        via=bob.via,
        call_id="odd",
        to_tag=response.to_tag,
        cseq=2,
    )
    assert bob.ask(again).status == 200
    assert b"\xff\xfe" in bob.notifies[-1].raw


# ---- where NOTIFYs may go ----


@pytest.mark.parametrize(
    "contact",
    [
        "<sip:bob@192.0.2.1>",
        "<sip:bob@192.0.2.1:5060;transport=tcp>",
        "<sip:bob@[2001:db8::1]>",
        "<sip:bob@[::ffff:192.0.2.1]>",
    ],
)
def test_contact_outside_the_allowed_networks_is_403_and_nothing_is_sent(
    net: Network, bob: Agent, contact: str
) -> None:
    watch = bob.subscribe(contact=contact)
    assert watch.response is not None
    assert watch.response.status == 403
    assert (net.unreachable, subscriptions(net), len(net.node.table)) == ([], 0, 0)


def test_route_outside_the_allowed_networks_is_403(net: Network, bob: Agent) -> None:
    response = bob.subscribe("Record-Route: <sip:192.0.2.1;lr>").response
    assert response is not None
    assert response.status == 403
    assert net.unreachable == []


def test_refresh_cannot_move_the_target_outside_the_allowed_networks(net: Network, bob: Agent, alice: Agent) -> None:
    watch = bob.subscribe()
    assert watch.refresh(contact="<sip:bob@192.0.2.1>").status == 403
    alice.publication().publish(body=sip.pidf("here"))
    assert "here" in watch.body
    assert net.unreachable == []


def test_contact_by_name_means_where_the_request_came_from(net: Network, bob: Agent) -> None:
    watch = bob.subscribe(contact=f"<sip:bob@phone.example.com:{bob.address[1]}>")
    assert watch.state == "active"
    assert watch.newest.uri == f"sip:bob@phone.example.com:{bob.address[1]}"


# ---- commit ----


def test_refused_commit_is_503_and_nothing_changed(net: Network, bob: Agent, alice: Agent) -> None:
    watch = bob.subscribe(expires=100)
    net.refuse_commits()
    refused = bob.subscribe()
    assert refused.response is not None
    assert refused.response.status == 503
    assert refused.response.header("Retry-After")
    assert refused.notifies == []
    for response in (watch.refresh(expires=3000), watch.unsubscribe()):
        assert response.status == 503
    assert len(watch.notifies) == 1
    net.refuse_commits(False)
    assert subscriptions(net) == 1
    alice.publication().publish(body=sip.pidf("still"))
    assert "still" in watch.body
    net.advance(102)
    assert watch.state == "terminated;timeout"


def test_expiry_that_cannot_be_written_is_tried_again(net: Network, bob: Agent) -> None:
    watch = bob.subscribe(expires=10)
    net.refuse_commits()
    net.advance(14)
    assert watch.state == "active"
    net.refuse_commits(False)
    net.advance(6)
    assert watch.state == "terminated;timeout"
    assert subscriptions(net) == 0


def test_subscription_is_over_tcp_what_it_is_over_udp(net: Network, alice: Agent) -> None:
    carol = net.agent("carol", transport="TCP")
    watch = carol.subscribe()
    assert watch.response is not None
    assert "transport=tcp" in (watch.response.header("Contact") or "")
    alice.publication().publish(body=sip.pidf("stream"))
    assert "stream" in watch.body
    assert watch.newest.raw.splitlines()[1].startswith(b"Via: SIP/2.0/TCP 127.0.0.1:5060")
    assert watch.unsubscribe().status == 200
    assert watch.state == "terminated;timeout"
    assert len(net._connections) == 1, "all on the watcher's own connection"
