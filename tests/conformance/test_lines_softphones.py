"""Each further line known of pjsua, baresip, linphone and Blink, as a test with that line in it.

docs/clients.md says which line is which test.
"""

import pytest
import sip
from captured import shown, the_notify, wire
from diffs import Diff, write
from net import Agent, Network, Subscription

BOB = "sip:bob@example.com"

# ---- pjsua ----

PJSUA_DIALOG = """
SUBSCRIBE sip:593@example.com SIP/2.0
Via: SIP/2.0/TCP 127.0.0.1:57813;rport;branch=z9hG4bKPj$branch;alias
Max-Forwards: 70
From: sip:alice@example.com;tag=2f8aXc-$branch
To: sip:593@example.com
Contact: <sip:alice@127.0.0.1:57813;transport=TCP;ob>
Call-ID: 6Yk5Eb3a-$branch
CSeq: 20514 SUBSCRIBE
Route: <sip:127.0.0.1:5060;transport=tcp;lr>
Event: $event
Expires: 600
Supported: replaces, 100rel, timer, siprec, norefersub, trickle-ice
Accept: $accept
Allow-Events: presence, dialog, message-summary, refer
Content-Length:  0
"""

PJSUA_LEAVES = """
PUBLISH sip:alice@example.com SIP/2.0
Via: SIP/2.0/UDP 127.0.0.1:57813;rport;branch=z9hG4bKPj0gFCI8
Route: <sip:127.0.0.1:5060;transport=udp;lr>
Max-Forwards: 70
From: <sip:alice@example.com>;tag=VRTHL.lwOLdjznHlm7-vcVEAAV-p896w
To: <sip:alice@example.com>
Call-ID: q3KCTGr1oPlEYjkPFDPO2yG685Cy.spP
CSeq: 34771 PUBLISH
Event: presence
SIP-If-Match: $etag
Expires: 0
User-Agent: pjsua2 2.15.1
Content-Length:  0
"""


@pytest.fixture
def pjsua(net: Network) -> Agent:
    return net.agent("alice", port=57813)


@pytest.fixture
def pjsua_tcp(net: Network) -> Agent:
    return net.agent("alice", port=57813, transport="TCP")


def test_pjsua_hears_which_packages_there_are_and_falls_back_to_presence(pjsua_tcp: Agent) -> None:
    """With pjproject#4302 it asks for presence after a refusal, and still accepts dialog-info only."""
    refused = pjsua_tcp.ask(wire(PJSUA_DIALOG, event="weather", accept="application/weather", branch="1"))
    assert refused.status == 489
    assert "presence" in (refused.header("Allow-Events") or "")
    confused = pjsua_tcp.ask(wire(PJSUA_DIALOG, event="presence", accept="application/dialog-info+xml", branch="2"))
    assert confused.status == 406
    assert pjsua_tcp.notifies == []


def test_pjsua_keeps_its_flow_by_alias_and_ob(net: Network, pjsua_tcp: Agent) -> None:
    accept = "application/pidf+xml, application/xpidf+xml"
    assert pjsua_tcp.ask(wire(PJSUA_DIALOG, event="presence", accept=accept, branch="1")).status == 200
    assert the_notify(pjsua_tcp).uri == "sip:alice@127.0.0.1:57813;transport=TCP;ob"
    assert the_notify(pjsua_tcp).header("Content-Type") == "application/pidf+xml"
    assert net.unreachable == []


def test_pjsua_refreshes_five_seconds_before_the_end(net: Network, pjsua: Agent) -> None:
    """A server that lets go early makes it flap."""
    watcher = net.agent("carol").subscribe(expires=3600)
    publication = pjsua.publication()
    publication.publish(body=sip.pidf("there"), expires=600)
    subscription = pjsua.subscribe(uri=BOB, expires=600)

    net.advance(595)
    assert subscription.refresh(expires=600).status == 200
    publication.publish(expires=600)
    net.advance(595)

    assert publication.response is not None
    assert publication.response.status == 200
    assert "there" in watcher.body
    assert len(watcher.notifies) == 2
    assert subscription.alive


def test_pjsua_publishes_anew_at_once_after_412(net: Network, pjsua: Agent) -> None:
    publication = pjsua.publication()
    publication.publish(body=sip.pidf("lost"), expires=60)
    net.advance(61)
    publication.publish(body=sip.pidf("again"))
    assert publication.response is not None
    assert publication.response.status == 412

    publication.etag = ""
    publication.publish(body=sip.pidf("again"))
    assert publication.response.status == 200
    assert publication.response.header("Expires") == "3600"
    assert "again" in shown(net)


def test_pjsua_removes_its_publication_with_a_new_tag_in_the_same_call(net: Network, pjsua: Agent) -> None:
    publication = pjsua.publication()
    publication.publish(body=sip.pidf("here"))
    response = pjsua.ask(wire(PJSUA_LEAVES, etag=publication.etag))
    assert (response.status, response.header("Expires")) == (200, "0")
    assert response.header("SIP-ETag")
    assert "here" not in shown(net)


def test_pjsua_subscribes_anew_after_timeout_and_after_481(net: Network, pjsua: Agent) -> None:
    first = pjsua.subscribe(uri=BOB, expires=60)
    net.advance(61)
    assert first.state == "terminated;timeout"
    assert first.refresh().status == 481
    second = pjsua.subscribe(uri=BOB)
    assert second.response is not None
    assert second.response.status == 200
    assert second.state == "active"


def test_pjsua_answers_a_body_it_does_not_know_with_488_and_stays(net: Network, pjsua: Agent) -> None:
    subscription = pjsua.subscribe(uri=BOB)
    pjsua.status = 488
    net.agent("bob").publication(BOB).publish(body=sip.pidf("one", entity=BOB))
    net.settle()
    pjsua.status = 200
    assert subscription.refresh().status == 200
    assert "one" in subscription.body


def test_pjsip_puts_a_random_id_into_event(pjsua: Agent) -> None:
    """pjsua does not, but whoever uses the library bare does."""
    subscription = pjsua.subscribe(uri=BOB, event_id="Zl3y8qTr")
    assert (subscription.newest.header("Event") or "").replace(" ", "") == "presence;id=Zl3y8qTr"
    assert subscription.unsubscribe().status == 200
    assert subscription.state == "terminated;timeout"


NO_SIP = [
    "Contact: mailto:alice@example.com",
    "Contact: <mailto:alice@example.com>",
    "Contact: http://www.example.com/the%20path.cgi?pname=pvalue",
]


def test_pjsip_names_other_contacts_before_its_own(net: Network, pjsua: Agent) -> None:
    own = "Contact: <sip:alice@127.0.0.1:57813>"
    request = pjsua.request("SUBSCRIBE", BOB, "Event: presence", "Expires: 600", *NO_SIP, own, to=f"<{BOB}>")
    assert pjsua.ask(request).status == 200
    assert the_notify(pjsua).uri == "sip:alice@127.0.0.1:57813"


@pytest.mark.parametrize("contacts", [NO_SIP, ["Contact: <tel:+15551234>"], ["Contact: *"]])
def test_pjsip_names_no_contact_a_dialog_can_have(pjsua: Agent, contacts: list[str]) -> None:
    request = pjsua.request("SUBSCRIBE", BOB, "Event: presence", "Expires: 600", *contacts, to=f"<{BOB}>")
    assert pjsua.ask(request).status == 400
    assert pjsua.notifies == []


# ---- baresip ----

BARESIP_REFRESH = """
PUBLISH sip:alice@example.com SIP/2.0
Via: SIP/2.0/UDP 127.0.0.1:33123;branch=z9hG4bK19e1c8a7a9f0be5d;rport
Max-Forwards: 70
Route: <sip:127.0.0.1:5060;lr>
To: <sip:alice@example.com>
From: <sip:alice@example.com>;tag=70c5e30db03aa06f
Call-ID: 673c7badb4401975
CSeq: 45297 PUBLISH
User-Agent: baresip v1.0.0 (x86_64/linux)
Event: presence
Expires: 60
SIP-If-Match: $etag
Content-Length: 0
"""


def test_baresip_refreshes_at_nine_tenths_without_a_body(net: Network) -> None:
    baresip = net.agent("alice", port=33123)
    publication = baresip.publication()
    publication.publish(body=sip.pidf("still"), expires=60)
    net.advance(54)
    response = baresip.ask(wire(BARESIP_REFRESH, etag=publication.etag))
    assert (response.status, response.header("Expires")) == (200, "60")
    assert response.header("SIP-ETag") not in (None, publication.etag)
    net.advance(54)
    assert "still" in shown(net)


def test_baresip_takes_the_minimum_from_423_and_tries_again() -> None:
    net = Network("presence.min_expires_publish=120")
    try:
        baresip = net.agent("alice", port=33123)
        publication = baresip.publication()
        publication.publish(body=sip.pidf("x"), expires=60)
        assert publication.response is not None
        assert (publication.response.status, publication.response.header("Min-Expires")) == (423, "120")
        publication.publish(body=sip.pidf("x"), expires=120)
        assert publication.response.status == 200
    finally:
        net.close()


def test_baresip_searches_for_literal_texts(net: Network) -> None:
    """`<basic>` and `<rpid:busy/>`: any other prefix, or an end tag of its own, and it misses the state."""
    bare = '<dm:person id="p"><rpid:activities><rpid:busy/></rpid:activities></dm:person>'
    body = (
        '<presence xmlns="urn:ietf:params:xml:ns:pidf" xmlns:dm="urn:ietf:params:xml:ns:pidf:data-model" '
        'xmlns:rpid="urn:ietf:params:xml:ns:pidf:rpid" entity="sip:alice@example.com">'
        f'{bare}<tuple id="t"><status><basic>open</basic></status></tuple></presence>'
    )
    net.agent("alice").publication().publish(body=body)
    net.agent("alice").publication().publish(body=sip.pidf("another device", tuple_id="u"))
    document = shown(net)
    assert "<basic>open</basic>" in document
    assert "<rpid:busy/>" in document
    assert "ns0:" not in document


# ---- linphone ----

LINPHONE_LIST = """
SUBSCRIBE sip:rls@example.com SIP/2.0
Via: SIP/2.0/UDP 127.0.0.1:43021;branch=z9hG4bK.TUogDYW-G;rport
From: <sip:alice@example.com>;tag=kG09Vn5xb
To: sip:rls@example.com
CSeq: 20 SUBSCRIBE
Call-ID: 530-k60dQF
Max-Forwards: 70
Route: <sip:127.0.0.1:5060;transport=udp;lr>
Supported: eventlist
Event: presence
Expires: 3600
Accept: multipart/related, application/pidf+xml, application/rlmi+xml
Accept-Encoding: deflate
Contact: <sip:alice@127.0.0.1:43021;transport=udp>;expires=600;+sip.instance="<urn:uuid:2840dd09-ada0-0007-b57e>"
User-Agent: Linphonec/5.1.65
"""

LINPHONE_LIST_BODY = """
<?xml version="1.0" encoding="UTF-8"?>
<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists"><list><entry uri="sip:bob@example.com"/></list>
</resource-lists>
"""

LINPHONE_REGISTER = """
REGISTER sip:example.com SIP/2.0
Via: SIP/2.0/UDP 127.0.0.1:43021;branch=z9hG4bK.xO9KG1ybg;rport
From: <sip:alice@example.com>;tag=6cDhKOijK
To: sip:alice@example.com
CSeq: 20 REGISTER
Call-ID: pPb3rlOlSo
Max-Forwards: 70
Supported: replaces, outbound, gruu
Accept: application/sdp
Accept: text/plain
Accept: application/vnd.gsma.rcs-ft-http+xml
Contact: <sip:alice@127.0.0.1:43021;transport=udp>;+sip.instance="<urn:uuid:2840dd09-ada0-0007-b57e-6023d124fc4b>"
Expires: 600
User-Agent: Linphonec/5.1.65

"""


@pytest.fixture
def linphone(net: Network) -> Agent:
    return net.agent("alice", port=43021)


@pytest.mark.parametrize("encoding", ["", "Content-Encoding: deflate\n"])
def test_linphone_is_told_that_lists_in_requests_are_not_served(linphone: Agent, encoding: str) -> None:
    """RFC 3261 section 8.2.2.3; it then watches each friend on its own."""
    listing = (
        "Require: recipient-list-subscribe\nContent-Disposition: recipient-list\n"
        f"{encoding}Content-Type: application/resource-lists+xml\nContent-Length: $length\n"
    )
    response = linphone.ask(wire(LINPHONE_LIST + listing + LINPHONE_LIST_BODY))
    assert response.status == 420
    assert response.header("Unsupported") == "recipient-list-subscribe"
    assert linphone.notifies == []


def test_linphone_asks_for_a_list_by_name_and_gets_what_there_is(linphone: Agent) -> None:
    """Without a body: the accepted type that fits is not the first one."""
    response = linphone.ask(wire(LINPHONE_LIST))
    assert (response.status, response.header("Expires")) == (200, "3600")
    assert response.header("Require") is None
    notify = the_notify(linphone)
    assert notify.header("Content-Type") == "application/pidf+xml"
    assert notify.header("Require") is None


def test_linphone_gets_no_gruu_and_all_its_contact_parameters_are_harmless(net: Network, linphone: Agent) -> None:
    """With a GRUU it would put one without host or port into the Contact of its dialogs."""
    response = linphone.ask(wire(LINPHONE_REGISTER))
    assert response.status == 200
    (contact,) = response.headers("Contact")
    assert "gruu" not in contact
    assert "outbound" not in (response.header("Require") or "")
    assert sip.param(contact.partition(">")[2], "expires") == "600"


def test_linphone_forgets_its_dialogs_when_it_ends(net: Network, linphone: Agent) -> None:
    """It answers the last NOTIFY with 481, which is the end and nothing to repeat."""
    subscription = linphone.subscribe(uri=BOB)
    linphone.status = 481
    assert subscription.unsubscribe().status == 200
    assert subscription.state == "terminated;timeout"
    net.advance(40)
    assert len(subscription.notifies) == 2
    assert subscription.refresh().status == 481


def test_linphone_asks_for_its_mailbox_for_a_day(linphone: Agent) -> None:
    subscription = Subscription(linphone, "sip:alice@example.com", event="message-summary")
    response = subscription.refresh("Accept: application/simple-message-summary", expires=86400)
    assert response.status == 200
    assert 0 < int(response.header("Expires") or "") <= 86400
    assert subscription.body.startswith("Messages-Waiting: no")


# ---- Blink (python3-sipsimple) ----


@pytest.fixture
def blink(net: Network) -> Agent:
    return net.agent("alice", transport="TCP")


def test_blink_asks_for_its_lists(blink: Agent) -> None:
    """Without lists its answer is that of a presentity; it looks for an RLMI part and goes on without."""
    subscription = Subscription(blink, "sip:alice+presence@example.com")
    accept = "Accept: multipart/related, application/rlmi+xml, application/pidf+xml"
    assert subscription.refresh("Supported: eventlist", accept).status == 200
    assert 'entity="sip:alice+presence@example.com"' in subscription.body
    assert subscription.newest.header("Require") is None


def test_blink_watches_itself_and_who_watches_it(net: Network, blink: Agent) -> None:
    own = blink.subscribe(uri="sip:alice@example.com")
    watchers = blink.subscribe(uri="sip:alice@example.com", event="presence.winfo")
    assert own.state == "active"
    assert "sip:alice@example.com</watcher>" in watchers.body


def test_blink_is_told_of_its_documents(net: Network, blink: Agent) -> None:
    """It subscribes itself, with the selectors of all documents it may come to have."""
    home = "users/sip:alice@example.com/index"
    sels = [f"{auid}/{home}" for auid in ("resource-lists", "rls-services", "pres-rules", "pidf-manipulation")]
    watch = Diff(blink, *sels, uri="sip:alice@example.com")
    assert watch.refresh("Accept: application/xcap-diff+xml").status == 200
    assert watch.names() == []
    write(net, sels[0], "one", "<resource-lists xmlns='urn:ietf:params:xml:ns:resource-lists'/>")
    net.advance(1.0)
    assert watch.names() == [(sels[0], None, "one")]


def test_sipclients_say_that_they_know_lists_when_they_ask_for_a_mailbox(blink: Agent) -> None:
    subscription = Subscription(blink, "sip:alice@example.com", event="message-summary")
    assert subscription.refresh("Supported: eventlist", "Accept: application/simple-message-summary").status == 200
    assert subscription.newest.header("Content-Type") == "application/simple-message-summary"


def test_every_2xx_to_publish_has_a_tag_and_a_time(net: Network) -> None:
    """Without either pjsua, baresip and Blink stop publishing."""
    publication = net.agent("alice").publication()
    for body, expires in ((sip.pidf("one"), None), ("", 600), (sip.pidf("two"), 60), ("", 0)):
        publication.send(body=body, expires=expires)
        net.settle()
        response = publication.response
        assert response is not None
        assert response.status == 200
        assert response.header("SIP-ETag")
        assert response.header("Expires") == str(3600 if expires is None else expires)
