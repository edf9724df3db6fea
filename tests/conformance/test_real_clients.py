"""What clients in the field put on the wire, as literal bytes, and what they need to find in the answers.

baresip 1.0.0 is captured (tests/peers meets it alive); the others are put together from the lines known of them.
"""

import pytest
from captured import publish, shown, the_notify, wire
from net import Agent, Network

# ---- baresip 1.0.0, captured ----

BARESIP_REGISTER = """
REGISTER sip:example.com SIP/2.0
Via: SIP/2.0/UDP 127.0.0.1:33123;branch=z9hG4bKc78c7c1024b1d569;rport
Contact: <sip:alice-0x55e31b405550@127.0.0.1:33123>;expires=60
Max-Forwards: 70
Route: <sip:127.0.0.1:5060;lr>
To: <sip:alice@example.com>
From: <sip:alice@example.com>;tag=16eb3f82e6f8e414
Call-ID: d9277c3865969be0
CSeq: 58794 REGISTER
User-Agent: baresip v1.0.0 (x86_64/linux)
Allow: INVITE,ACK,BYE,CANCEL,OPTIONS,NOTIFY,SUBSCRIBE,INFO,MESSAGE,REFER
Content-Length: 0
"""

BARESIP_BODY = """
<?xml version="1.0" encoding="UTF-8" standalone="no"?>
<presence xmlns="urn:ietf:params:xml:ns:pidf"
    xmlns:dm="urn:ietf:params:xml:ns:pidf:data-model"
    xmlns:rpid="urn:ietf:params:xml:ns:pidf:rpid"
    entity="sip:alice@example.com">
  <dm:person id="p4159"><rpid:activities/></dm:person>
  <tuple id="t4109">
    <status>
      <basic>open</basic>
    </status>
    <contact>sip:alice@example.com</contact>
  </tuple>
</presence>
"""

BARESIP_PUBLISH = f"""
PUBLISH sip:alice@example.com SIP/2.0
Via: SIP/2.0/UDP 127.0.0.1:33123;branch=z9hG4bK05772c7ff03a7cf8;rport
Max-Forwards: 70
Route: <sip:127.0.0.1:5060;lr>
To: <sip:alice@example.com>
From: <sip:alice@example.com>;tag=708935869ed672a0
Call-ID: 09eec8193a0853b8
CSeq: 47127 PUBLISH
User-Agent: baresip v1.0.0 (x86_64/linux)
Content-Type: application/pidf+xml
Event: presence
Expires: 60
Content-Length: 451
{BARESIP_BODY}"""

BARESIP_PUBLISH_CLOSED = f"""
PUBLISH sip:alice@example.com SIP/2.0
Via: SIP/2.0/UDP 127.0.0.1:33123;branch=z9hG4bK0fe06ece8ca56723;rport
Max-Forwards: 70
Route: <sip:127.0.0.1:5060;lr>
To: <sip:alice@example.com>
From: <sip:alice@example.com>;tag=70c5e30db03aa06f
Call-ID: 673c7badb4401975
CSeq: 45296 PUBLISH
User-Agent: baresip v1.0.0 (x86_64/linux)
Content-Type: application/pidf+xml
Event: presence
Expires: 60
SIP-If-Match: $etag
Content-Length: 453
{BARESIP_BODY.replace("open", "closed")}"""

BARESIP_PUBLISH_REMOVAL = """
PUBLISH sip:alice@example.com SIP/2.0
Via: SIP/2.0/UDP 127.0.0.1:33123;branch=z9hG4bK2aeeb45c4b1ef7d2;rport
Max-Forwards: 70
Route: <sip:127.0.0.1:5060;lr>
To: <sip:alice@example.com>
From: <sip:alice@example.com>;tag=ed4f0a756f0c4703
Call-ID: 2a9ede205826ff1f
CSeq: 46014 PUBLISH
User-Agent: baresip v1.0.0 (x86_64/linux)
Event: presence
Expires: 0
SIP-If-Match: $etag
Content-Length: 0
"""

BARESIP_SUBSCRIBE = """
SUBSCRIBE sip:bob@example.com SIP/2.0
Via: SIP/2.0/UDP 127.0.0.1:33123;branch=z9hG4bK9b25c4c04e5bcae4;rport
Contact: <sip:alice-0x55e31b405550@127.0.0.1:33123>
Max-Forwards: 70
Route: <sip:127.0.0.1:5060;lr>
To: <sip:bob@example.com>
From: <sip:alice@example.com>;tag=793ef0bf4b78dd8b
Call-ID: 420d48d078a6550f
CSeq: 13643 SUBSCRIBE
User-Agent: baresip v1.0.0 (x86_64/linux)
Event: presence
Expires: 600
Supported:$space
Content-Length: 0
"""

BARESIP_UNSUBSCRIBE = """
SUBSCRIBE $contact SIP/2.0
Via: SIP/2.0/UDP 127.0.0.1:33123;branch=z9hG4bK871ae59ee0fa8527;rport
Contact: <sip:alice-0x55e31b405550@127.0.0.1:33123>
Max-Forwards: 70
To: <sip:bob@example.com>;tag=$tag
From: <sip:alice@example.com>;tag=793ef0bf4b78dd8b
Call-ID: 420d48d078a6550f
CSeq: 13644 SUBSCRIBE
User-Agent: baresip v1.0.0 (x86_64/linux)
Event: presence
Expires: 0
Supported:$space
Content-Length: 0
"""

BARESIP_MAILBOX = """
SUBSCRIBE sip:alice@example.com SIP/2.0
Via: SIP/2.0/UDP 127.0.0.1:33123;branch=z9hG4bK45dff281ed1ec23c;rport
Contact: <sip:alice-0x55e6587d2300@127.0.0.1:33123>
Max-Forwards: 70
Route: <sip:127.0.0.1:5060;lr>
To: <sip:alice@example.com>
From: <sip:alice@example.com>;tag=339a3b3724887310
Call-ID: e774ac51963df33c
CSeq: 37052 SUBSCRIBE
User-Agent: baresip v1.0.0 (x86_64/linux)
Event: message-summary
Expires: 600
Accept: application/simple-message-summary
Content-Length: 0
"""


@pytest.fixture
def baresip(net: Network) -> Agent:
    return net.agent("alice", port=33123)


def test_baresip_registers_without_credentials(baresip: Agent) -> None:
    response = baresip.ask(wire(BARESIP_REGISTER))
    assert response.status == 200
    assert response.headers("Contact") == ["<sip:alice-0x55e31b405550@127.0.0.1:33123>;expires=60"]


def test_baresip_publishes_a_person_before_its_tuple(net: Network, baresip: Agent) -> None:
    etag = publish(baresip, BARESIP_PUBLISH)
    # baresip itself looks for these texts, so they stay as its like wrote them.
    assert '<dm:person id="p4159"><rpid:activities/></dm:person>' in shown(net)
    assert "<basic>open</basic>" in shown(net)

    etag = publish(baresip, BARESIP_PUBLISH_CLOSED, etag=etag)
    assert "<basic>closed</basic>" in shown(net)
    assert "<basic>open</basic>" not in shown(net)

    assert baresip.ask(wire(BARESIP_PUBLISH_REMOVAL, etag=etag)).status == 200
    assert "t4109" not in shown(net)


def test_baresip_may_publish_a_basic_the_schema_does_not_know(net: Network, baresip: Agent) -> None:
    publish(baresip, BARESIP_PUBLISH.replace(">open<", ">unknown<").replace("451", "$length"))
    assert "<basic>unknown</basic>" in shown(net)


def test_baresip_subscribes_without_accept_and_with_an_empty_supported(net: Network, baresip: Agent) -> None:
    response = baresip.ask(wire(BARESIP_SUBSCRIBE, space=" "))
    assert (response.status, response.header("Expires")) == (200, "600")

    notify = the_notify(baresip)
    assert notify.uri == "sip:alice-0x55e31b405550@127.0.0.1:33123"
    # Any parameter here and baresip answers 415; no Content-Length on an empty NOTIFY and it falls over.
    assert notify.header("Content-Type") == "application/pidf+xml"
    assert notify.content_length == len(notify.body)

    # In the dialog it leaves the Route out: the server put no Record-Route in.
    contact = (response.header("Contact") or "").strip("<>")
    assert baresip.ask(wire(BARESIP_UNSUBSCRIBE, space="", contact=contact, tag=response.to_tag)).status == 200
    last = baresip.notifies[-1]
    assert last.header("Subscription-State") == "terminated;reason=timeout"


def test_baresip_reads_its_mailbox(baresip: Agent) -> None:
    assert baresip.ask(wire(BARESIP_MAILBOX)).status == 200
    notify = the_notify(baresip)
    assert notify.header("Content-Type") == "application/simple-message-summary"
    assert notify.body.startswith(b"Messages-Waiting: no\r\n")


# ---- pjsua: no angle brackets, two kinds of body, no Expires in PUBLISH, two blanks before the length ----

PJSUA_SUBSCRIBE = """
SUBSCRIBE $target SIP/2.0
Via: SIP/2.0/UDP 127.0.0.1:57813;rport;branch=z9hG4bKPj7d1c.$cseq
Max-Forwards: 70
From: sip:alice@example.com;tag=2f8aXc-1
To: sip:bob@example.com$tag
Contact: <sip:alice@127.0.0.1:57813;ob>
Call-ID: 6Yk5Eb3a0vXq
CSeq: $cseq SUBSCRIBE
Route: <sip:127.0.0.1:5060;lr>
Event: presence
Expires: $expires
Supported: replaces, 100rel, timer, siprec, norefersub, trickle-ice
Accept: application/pidf+xml, application/xpidf+xml
Allow-Events: presence, dialog, message-summary, refer
User-Agent: PJSUA v2.14 Linux
Content-Length:  0
"""

PJSUA_PUBLISH = """
PUBLISH sip:alice@example.com SIP/2.0
Via: SIP/2.0/UDP 127.0.0.1:57813;rport;branch=z9hG4bKPj0b7e.$cseq
Max-Forwards: 70
From: sip:alice@example.com;tag=9d0cQe
To: sip:alice@example.com
Call-ID: x0Mf2Jr8bTzK
CSeq: $cseq PUBLISH
Route: <sip:127.0.0.1:5060;lr>
Event: presence
User-Agent: PJSUA v2.14 Linux
$match
Content-Type: application/pidf+xml
Content-Length:   $length

<?xml version="1.0" encoding="UTF-8"?>
<presence xmlns="urn:ietf:params:xml:ns:pidf" entity="sip:alice@example.com"
    xmlns:dm="urn:ietf:params:xml:ns:pidf:data-model" xmlns:rpid="urn:ietf:params:xml:ns:pidf:rpid">
 <tuple id="pj4d1"><status><basic>open</basic></status>
  <timestamp>2026-01-01T10:00:00.000Z</timestamp>
 <note>Away</note></tuple>
 <dm:person id="pj9c2"><rpid:activities><rpid:away /></rpid:activities><dm:note>Away</dm:note></dm:person>
</presence>
"""


@pytest.fixture
def pjsua(net: Network) -> Agent:
    return net.agent("alice", port=57813)


def test_pjsua_subscribes_refreshes_and_leaves(pjsua: Agent) -> None:
    first = {"target": "sip:bob@example.com", "tag": "", "cseq": "20514", "expires": "600"}
    response = pjsua.ask(wire(PJSUA_SUBSCRIBE, **first))
    assert response.status == 200

    notify = the_notify(pjsua)
    assert notify.uri == "sip:alice@127.0.0.1:57813;ob"
    assert notify.to_tag == "2f8aXc-1"
    # Of the two kinds it takes, the one it names first.
    assert notify.header("Content-Type") == "application/pidf+xml"

    contact = (response.header("Contact") or "").strip("<>")
    inside = {"target": contact, "tag": f";tag={response.to_tag}"}
    assert pjsua.ask(wire(PJSUA_SUBSCRIBE, **inside, cseq="20515", expires="600")).status == 200
    assert pjsua.ask(wire(PJSUA_SUBSCRIBE, **inside, cseq="20516", expires="0")).status == 200
    # It waits five seconds for this one.
    assert pjsua.notifies[-1].header("Subscription-State") == "terminated;reason=timeout"


def test_pjsua_publishes_without_expires(net: Network, pjsua: Agent) -> None:
    """Without Expires in the 200 pjsua would silently stop publishing."""
    etag = publish(pjsua, PJSUA_PUBLISH.replace("$match\n", ""), cseq="1")
    assert "<rpid:away />" in shown(net)
    assert publish(pjsua, PJSUA_PUBLISH, cseq="2", match=f"SIP-If-Match: {etag}") != etag
    # After a restart of either side: 412, and pjsua begins anew at once.
    assert pjsua.ask(wire(PJSUA_PUBLISH, cseq="3", match=f"SIP-If-Match: {etag}")).status == 412


# ---- linphone: UDP without Content-Length, a refresh with the whole body, its own namespace ----

LINPHONE_PUBLISH = """
PUBLISH sip:alice@example.com SIP/2.0
Via: SIP/2.0/UDP 127.0.0.1:43021;branch=z9hG4bK.$cseqKq9~Tz;rport
From: <sip:alice@example.com>;tag=YkO-3m1$cseq
To: sip:alice@example.com
CSeq: 2$cseq PUBLISH
Call-ID: 4pXw~Gq$cseq
Max-Forwards: 70
Route: <sip:127.0.0.1:5060;lr>
Supported: replaces, outbound, gruu, path
Event: presence
Expires: 600
$match
Content-Type: application/pidf+xml
User-Agent: LinphoneC/5.1.65 (belle-sip/5.1.65)

<?xml version="1.0" encoding="UTF-8"?>
<presence entity="sip:alice@example.com" xmlns="urn:ietf:params:xml:ns:pidf"
    xmlns:pidfonline="http://www.linphone.org/xsds/pidfonline.xsd">
  <tuple id="v2kd4w">
    <status><basic>open</basic><pidfonline:online/></status>
    <contact priority="0.8">sip:alice@example.com</contact>
    <timestamp>2026-01-01T10:00:00Z</timestamp>
  </tuple>
</presence>
"""

LINPHONE_REMOVAL = """
PUBLISH sip:alice@example.com SIP/2.0
Via: SIP/2.0/UDP 127.0.0.1:43021;branch=z9hG4bK.3Kq9~Tz;rport
From: <sip:alice@example.com>;tag=YkO-3m13
To: sip:alice@example.com
CSeq: 23 PUBLISH
Call-ID: 4pXw~Gq3
Max-Forwards: 70
Event: presence
Expires: 0
SIP-If-Match: $etag
"""


@pytest.fixture
def linphone(net: Network) -> Agent:
    return net.agent("alice", port=43021)


def test_linphone_publishes_over_udp_without_content_length(net: Network, linphone: Agent) -> None:
    etag = publish(linphone, LINPHONE_PUBLISH.replace("$match\n", ""), cseq="1")
    assert "<pidfonline:online/>" in shown(net)
    assert 'xmlns:pidfonline="http://www.linphone.org/xsds/pidfonline.xsd"' in shown(net)

    etag = publish(linphone, LINPHONE_PUBLISH, cseq="2", match=f"SIP-If-Match: {etag}")
    assert shown(net).count("<tuple") == 1

    assert linphone.ask(wire(LINPHONE_REMOVAL, etag=etag)).status == 200
    assert "v2kd4w" not in shown(net)


def test_linphone_keeps_its_flow_open_with_blank_lines(linphone: Agent) -> None:
    """Every 30 seconds; on UDP they are no message and get no answer."""
    linphone.net.post_to_node(linphone, b"\r\n\r\n")
    linphone.net.settle()
    assert linphone.arrivals == []


# ---- phones and others ----

POLYCOM_SUBSCRIBE = """
SUBSCRIBE sip:alice@example.com:5060;transport=udp SIP/2.0
Via: SIP/2.0/UDP 127.0.0.1:5071;branch=z9hG4bKf1c2a3b4D5E6F7;rport
From: "Bob" <sip:bob@example.com>;tag=6D1E4B5C-9F2A0B37
To: <sip:alice@example.com;transport=udp>
CSeq: 1 SUBSCRIBE
Call-ID: 8e1c7f02-5b7f3d21-c0a8@127.0.0.1
Contact: <sip:bob@127.0.0.1:5071>
Event: $event
Accept: $accept
User-Agent: PolycomVVX-VVX_400-UA/5.8.5.1256
Supported:
Accept-Language: en
Max-Forwards: 70
Expires: 600
Content-Length: 0
"""

ZOIPER_PUBLISH = """
PUBLISH sip:alice@example.com;transport=TCP SIP/2.0
Via: SIP/2.0/UDP 127.0.0.1:5072;branch=z9hG4bK-d8754z-7e1b;rport
Max-Forwards: 70
To: <sip:alice@example.com;transport=TCP>
From: <sip:alice@example.com;transport=TCP>;tag=5c0f1b2a
Call-ID: NmYzOTFkZTE2Y2
CSeq: 1 PUBLISH
Expires: 600
Content-Type: application/pidf+xml
Supported: replaces, norefersub, extended-refer, timer, X-cisco-serviceuri
User-Agent: Zoiper
Event: presence
Content-Length: $length

<?xml version='1.0' encoding='UTF-8'?>
<presence xmlns='urn:ietf:params:xml:ns:pidf' xmlns:dm='urn:ietf:params:xml:ns:pidf:data-model'
  xmlns:rpid='urn:ietf:params:xml:ns:pidf:rpid' entity='sip:alice@example.com;transport=TCP'>
<tuple id='zoiper'><status><basic>open</basic></status></tuple>
<dm:person id='p1'><rpid:activities><rpid:busy/></rpid:activities></dm:person></presence>
"""

REFRESH_WITH_A_TYPE = """
PUBLISH sip:alice@example.com SIP/2.0
Via: SIP/2.0/UDP 127.0.0.1:5072;branch=z9hG4bK-refresh;rport
Max-Forwards: 70
To: <sip:alice@example.com>
From: <sip:alice@example.com>;tag=77
Call-ID: refresh-with-a-type
CSeq: 2 PUBLISH
Expires: 600
SIP-If-Match: $etag
Content-Type: application/pidf+xml
Event: presence
Content-Length: 0
"""

BROKEN_XML = """
PUBLISH sip:alice@example.com SIP/2.0
Via: SIP/2.0/UDP 127.0.0.1:5072;branch=z9hG4bK4417290
Max-Forwards: 70
To: <sip:alice@example.com>
From: "Alice" <sip:alice@example.com>;tag=o4r1c7n0
Call-ID: q3s2k1f8h0
CSeq: 9021 PUBLISH
Event: presence
Expires: 300
Content-Type: application/pidf+xml
Supported: path,gruu,outbound
User-Agent: SIP.js/0.20.0
Content-Length: $length

<?xml version="1.0"?>
<presence xmlns="urn:ietf:params:xml:ns:pidf"entity="sip:alice@example.com">
<tuple id="a"><status><basic>open</basic></status></tuple></presence>
"""

JITSI_SUBSCRIBE = """
SUBSCRIBE sip:alice@example.com SIP/2.0
Call-ID: 1c0f7a3b9d2e@0:0:0:0:0:0:0:0
CSeq: $cseq SUBSCRIBE
From: "Bob" <sip:bob@example.com>;tag=3f9c2d1$cseq
To: "alice" <sip:alice@example.com>
Max-Forwards: 70
Contact: "Bob" <sip:bob@127.0.0.1:5073;transport=udp;registering_acc=example_com>
User-Agent: Jitsi2.10.5550Linux
Event: presence
Accept: application/pidf+xml
Expires: 3600
Via: SIP/2.0/UDP 127.0.0.1:5073;branch=z9hG4bK-3733-9ae1c07$cseq
Content-Length: 0
"""


def test_polycom_subscribes_with_an_empty_supported(net: Network) -> None:
    phone = net.agent("bob", port=5071)
    response = phone.ask(wire(POLYCOM_SUBSCRIBE, event="presence", accept="application/pidf+xml"))
    assert response.status == 200
    assert 'entity="sip:alice@example.com"' in the_notify(phone).body.decode()


def test_polycom_is_told_which_packages_there_are(net: Network) -> None:
    phone = net.agent("bob", port=5071)
    response = phone.ask(wire(POLYCOM_SUBSCRIBE, event="weather", accept="application/weather"))
    assert (response.status, response.reason) == (489, "Bad Event")
    assert "presence" in (response.header("Allow-Events") or "")


def test_zoiper_names_its_transport_in_the_entity(net: Network) -> None:
    phone = net.agent("alice", port=5072)
    etag = publish(phone, ZOIPER_PUBLISH)
    assert 'entity="sip:alice@example.com"' in shown(net)
    assert "<rpid:busy/>" in shown(net)

    assert publish(phone, REFRESH_WITH_A_TYPE, etag=etag) != etag
    assert "<rpid:busy/>" in shown(net)


def test_broken_xml_of_a_web_application_is_400(net: Network) -> None:
    response = net.agent("alice", port=5072).ask(wire(BROKEN_XML))
    assert response.status == 400
    assert response.reason != "Bad Request"


def test_jitsi_asks_again_and_again_in_new_dialogs(net: Network) -> None:
    phone = net.agent("bob", port=5073)
    for cseq in ("1", "2"):
        assert phone.ask(wire(JITSI_SUBSCRIBE, cseq=cseq)).status == 200
    assert len(phone.notifies) == 2
    assert {notify.uri for notify in phone.notifies} == {
        "sip:bob@127.0.0.1:5073;transport=udp;registering_acc=example_com"
    }
