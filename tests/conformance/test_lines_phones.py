"""Each further line known of Jitsi, desk phones and browser phones, as a test with that line in it.

docs/clients.md says which line is which test.
"""

import pytest
import sip
from captured import publish, shown, the_notify, wire
from dialoginfo import KIND, dialog, info, publish_calls
from lxml import etree
from net import Agent, Network, Subscription

# ---- Jitsi ----


def test_jitsi_polls_offline_contacts_for_hours(net: Network) -> None:
    """Every 30 s a SUBSCRIBE in a new dialog: what it left behind must be told and end, not pile up."""
    jitsi = net.agent("bob", port=5073)
    jitsi.status = 481
    for _ in range(20):
        assert Subscription(jitsi, "sip:alice@example.com").refresh().status == 200
        net.advance(30)
    assert net.rows("SELECT count(*) FROM active_watchers") == [(0,)]


def test_jitsi_watches_its_watchers_for_an_hour(net: Network) -> None:
    jitsi = net.agent("alice", port=5073)
    subscription = Subscription(jitsi, "sip:alice@example.com", event="presence.winfo", expires=3600)
    assert subscription.refresh("Accept: application/watcherinfo+xml").header("Expires") == "3600"
    assert subscription.newest.header("Content-Type") == "application/watcherinfo+xml"
    # It refreshes a minute before the end.
    net.advance(3540)
    assert subscription.refresh().status == 200
    assert subscription.state == "active"


# ---- phones ----

YEALINK_SUBSCRIBE = """
SUBSCRIBE sip:$list@example.com SIP/2.0
Via: SIP/2.0/UDP 127.0.0.1:5062;branch=z9hG4bK1907530873
From: "2001" <sip:2001@example.com>;tag=1546829318
To: <sip:$list@example.com>
Call-ID: 0_3246580912@127.0.0.1
CSeq: 1 SUBSCRIBE
Contact: <sip:2001@127.0.0.1:5062>
Accept: $accept
Max-Forwards: 70
User-Agent: Yealink SIP-T46G 28.82.0.20
Expires: $expires
Event: $event
$more
Content-Length: 0
"""

XPIDF_ONLY = """
SUBSCRIBE sip:alice@example.com SIP/2.0
Via: SIP/2.0/UDP 127.0.0.1:5071;branch=z9hG4bKf1c2a3b4D5E6F7;rport
From: "Bob" <sip:bob@example.com>;tag=6D1E4B5C-9F2A0B37
To: <sip:alice@example.com;transport=udp>
CSeq: 1 SUBSCRIBE
Call-ID: 8e1c7f02-5b7f3d21-c0a8@127.0.0.1
Contact: <sip:bob@127.0.0.1:5071>
Event: presence
Accept: $accept
User-Agent: PolycomSoundPointIP-SPIP_550-UA/3.0.2.0391
Supported:
Max-Forwards: 70
Expires: 600
Content-Length: 0
"""

SNOM_REFRESH = """
PUBLISH sip:alice@example.com SIP/2.0
Via: SIP/2.0/UDP 127.0.0.1:2048;branch=z9hG4bK-$branch;rport
From: <sip:alice@example.com>;tag=1c8vyzzhqw
To: <sip:alice@example.com>
Call-ID: 3c26700c6f5d-kqz0xhbxwcxx
CSeq: $cseq PUBLISH
Max-Forwards: 70
Event: presence
$match
Expires: 600
Content-Type: application/pidf+xml
Content-Length: $length

<?xml version="1.0" encoding="UTF-8"?>
<presence xmlns="urn:ietf:params:xml:ns:pidf" entity="sip:alice@example.com">
<tuple id="snom"><status><basic>open</basic></status><note>desk</note></tuple></presence>
"""


@pytest.fixture
def yealink(net: Network) -> Agent:
    return net.agent("2001", port=5062)


def yealink_line(**fields: str) -> bytes:
    told = {"list": "alice", "accept": "application/pidf+xml", "expires": "1800", "event": "presence", "more": "X: y"}
    return wire(YEALINK_SUBSCRIBE, **{**told, **fields})


@pytest.mark.parametrize(
    "phone", ["Yealink SIP-T46G 28.82.0.20", "D-Link DPH-150S", "polycomVVX-VVX_400-UA/5.8.5.1256"]
)
def test_phones_that_watch_lines_see_a_call_begin_and_end(net: Network, yealink: Agent, phone: str) -> None:
    """`dialog` is the default of their lamps; full state each time is what all of them read."""
    line = yealink_line(event="dialog", accept=KIND, more=f"Server: {phone}\nSupported:")
    assert yealink.ask(line).status == 200
    calls = publish_calls(net.agent("alice"))
    names = {"call_id": "Y2Vh@10.0.0.7", "local_tag": "1", "remote_tag": "2", "direction": "recipient"}
    for state in ("early", "confirmed", "terminated"):
        calls.publish(body=info(dialog("Y2Vh@10.0.0.7", state, **names)), expires=1800)
    documents = [etree.fromstring(notify.body) for notify in yealink.notifies]
    assert [(d.get("version"), d.get("state")) for d in documents] == [(str(n), "full") for n in range(4)]
    assert ["".join(d.itertext()) for d in documents] == ["", "early", "confirmed", "terminated"]
    assert documents[1][0].get("direction") == "recipient"


@pytest.mark.parametrize("event", ["call-info", "line-seize", "as-feature-event", "call-completion"])
def test_phones_that_share_lines_hear_489(yealink: Agent, event: str) -> None:
    assert yealink.ask(yealink_line(event=event, accept=f"application/{event}", expires="60")).status == 489


@pytest.mark.parametrize(("asked", "given"), [("30", "30"), ("60", "60"), ("1800", "1800"), ("2147483647", "3600")])
def test_yealink_asks_for_any_time_between_half_a_minute_and_68_years(asked: str, given: str) -> None:
    net = Network("presence.max_expires_subscribe=3600")
    try:
        yealink = net.agent("2001", port=5062)
        response = yealink.ask(yealink_line(expires=asked))
        assert (response.status, response.header("Expires")) == (200, given)
        # Its Via has no rport: the answer goes to the port in sent-by all the same.
        assert response.header("Via") == "SIP/2.0/UDP 127.0.0.1:5062;branch=z9hG4bK1907530873"
        assert the_notify(yealink).header("Subscription-State") == f"active;expires={given}"
    finally:
        net.close()


def test_yealink_asks_for_a_list_of_lamps(yealink: Agent) -> None:
    accept = "application/pidf+xml, application/rlmi+xml, multipart/related"
    assert yealink.ask(yealink_line(list="lamps", accept=accept, more="Supported: eventlist")).status == 200
    assert the_notify(yealink).header("Content-Type") == "application/pidf+xml"
    assert the_notify(yealink).header("Require") is None


@pytest.mark.parametrize("accept", ["application/xpidf+xml", "application/cpim-pidf+xml", "text/lpidf"])
def test_old_phones_that_know_no_pidf_are_refused_and_told_so(net: Network, accept: str) -> None:
    """RFC 3856 section 6.7: PIDF is what every watcher must take; what it cannot read it is not sent."""
    phone = net.agent("bob", port=5071)
    assert phone.ask(wire(XPIDF_ONLY, accept=accept)).status == 406
    assert phone.notifies == []


def test_polycom_names_xpidf_beside_pidf(net: Network) -> None:
    phone = net.agent("bob", port=5071)
    assert phone.ask(wire(XPIDF_ONLY, accept="application/xpidf+xml, application/pidf+xml")).status == 200
    assert the_notify(phone).header("Content-Type") == "application/pidf+xml"


@pytest.mark.parametrize("ends", [True, False])
def test_cisco_at_times_answers_no_notify(ends: bool) -> None:
    """Whether that ends the subscription is the operator's choice."""
    net = Network(f"presence.end_sub_on_timeout={str(ends).lower()}")
    try:
        cisco = net.agent("bob")
        subscription = cisco.subscribe(uri="sip:alice@example.com")
        cisco.status = None
        net.agent("alice").publication().publish(body=sip.pidf("missed"))
        net.advance(40)
        cisco.status = 200
        net.agent("alice").publication().publish(body=sip.pidf("seen", tuple_id="b"))
        net.settle()
        assert ("seen" in subscription.body) == (not ends)
        assert subscription.refresh().status == (481 if ends else 200)
    finally:
        net.close()


def test_snom_refreshes_with_the_whole_body(net: Network) -> None:
    snom = net.agent("alice", port=2048)
    watcher = net.agent("carol").subscribe()
    etag = publish(snom, SNOM_REFRESH.replace("$match\n", ""), branch="1", cseq="1")
    again = publish(snom, SNOM_REFRESH, branch="2", cseq="2", match=f"SIP-If-Match: {etag}")
    assert again != etag
    assert shown(net).count("<tuple") == 1
    # The same state: nobody needs to hear of it.
    assert len(watcher.notifies) == 2


def test_grandstream_has_24_keys_and_watches_them_all_at_once(net: Network) -> None:
    phone = net.agent("bob")
    keys = [Subscription(phone, f"sip:{200 + key}@example.com") for key in range(24)]
    for key in keys:
        key.send("Accept: application/pidf+xml", expires=3600)
    net.settle()
    assert [len(key.notifies) for key in keys] == [1] * 24
    for key in keys:
        key.send(expires=0)
    net.settle()
    assert {key.state for key in keys} == {"terminated;timeout"}


# ---- browsers ----

SIPJS_SUBSCRIBE = """
SUBSCRIBE sip:$user@example.com SIP/2.0
Via: SIP/2.0/TCP 5u4kq8hdqs2l.invalid;branch=z9hG4bK$user
Max-Forwards: 70
To: <sip:$user@example.com>
From: "Bob" <sip:bob@example.com>;tag=o4r1c7$user
Call-ID: q3s2k1f8h0$user
CSeq: 1 SUBSCRIBE
Contact: <sip:2hqk4m1p@5u4kq8hdqs2l.invalid;transport=ws>
Event: presence
Expires: 300
Accept: application/pidf+xml
Allow: ACK,CANCEL,INVITE,MESSAGE,BYE,OPTIONS,INFO,NOTIFY,REFER
Supported: outbound
User-Agent: Browser Phone 0.3.20 (SIPJS - 0.20.0)
Content-Length: 0
"""


def test_browser_phone_watches_117_friends_when_it_starts(net: Network) -> None:
    """Nobody can resolve the host in its Contact: each NOTIFY goes back on the connection of its SUBSCRIBE."""
    browser = net.agent("bob", transport="TCP")
    responses: list[int] = []
    for number in range(117):
        browser.send(wire(SIPJS_SUBSCRIBE, user=f"u{number}"), lambda response: responses.append(response.status))
    net.settle()
    assert responses == [200] * 117
    assert len(browser.notifies) == 117
    assert {notify.uri for notify in browser.notifies} == {"sip:2hqk4m1p@5u4kq8hdqs2l.invalid;transport=ws"}
    assert net.unreachable == []
