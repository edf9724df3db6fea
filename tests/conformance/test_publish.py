"""PUBLISH at the event state compositor: RFC 3903 section 6, step by step."""

import re

import pytest
import sip
from net import Agent, Network

from presence._fastcore import Message
from presence.document.pidf import PidfDocument
from presence.events.presence import PresencePackage
from presence.events.registry import Registry

PIDF = "application/pidf+xml"


def publications(net: Network) -> int:
    ((count,),) = net.rows("SELECT count(*) FROM presentity")
    return int(count)


def publish(agent: Agent, *extra: str, uri: str = "sip:alice@example.com", body: str = "") -> Message:
    """Send a PUBLISH made of these header lines alone."""
    return agent.ask(agent.request("PUBLISH", uri, *extra, body=body))


# ---- the operations of section 4.1 ----


def test_rfc3903_4_1_literal_exchange(net: Network, alice: Agent) -> None:
    """What goes over the wire, in full."""
    body = sip.pidf("here").encode()
    alice.send(
        b"PUBLISH sip:alice@example.com SIP/2.0\r\n"
        b"Via: SIP/2.0/UDP 127.0.0.1:5070;rport;branch=z9hG4bK652hsge\r\n"
        b"Max-Forwards: 70\r\n"
        b"From: <sip:alice@example.com>;tag=1234wxyz\r\n"
        b"To: <sip:alice@example.com>\r\n"
        b"Call-ID: 81818181@pua.example.com\r\n"
        b"CSeq: 1 PUBLISH\r\n"
        b"Expires: 3600\r\n"
        b"Event: presence\r\n"
        b"Content-Type: application/pidf+xml\r\n"
        b"Content-Length: %d\r\n\r\n" % len(body) + body
    )
    net.settle()
    ((_, response),) = alice.arrivals
    pattern = (
        r"SIP/2\.0 200 OK\r\n"
        r"Via: SIP/2\.0/UDP 127\.0\.0\.1:5070;branch=z9hG4bK652hsge;rport=5070;received=127\.0\.0\.1\r\n"
        r"From: <sip:alice@example\.com>;tag=1234wxyz\r\n"
        r"To: <sip:alice@example\.com>;tag=[0-9a-f]+\r\n"
        r"Call-ID: 81818181@pua\.example\.com\r\n"
        r"CSeq: 1 PUBLISH\r\n"
        r"Server: presence/\S+\r\n"
        r"Expires: 3600\r\n"
        r"SIP-ETag: \S+\r\n"
        r"Content-Length: 0\r\n\r\n"
    )
    assert re.fullmatch(pattern, response.raw.decode())


def test_rfc3903_4_1_initial_modify_refresh_remove(net: Network, alice: Agent, bob: Agent) -> None:
    watch = bob.subscribe()
    publication = alice.publication()
    tags = set()
    for body, expires, shown in (("one", 300, "one"), ("two", 300, "two"), ("", 300, "two"), ("", 0, "closed")):
        response = publication.publish(body=sip.pidf(body) if body else "", expires=expires)
        assert (response.status, response.expires) == (200, expires)
        tags.add(publication.etag)
        assert shown in watch.body
    assert len(tags) == 4
    assert publications(net) == 0


def test_rfc3903_4_3_refresh_without_body_keeps_the_state_and_sends_no_notify(
    net: Network, alice: Agent, bob: Agent
) -> None:
    watch = bob.subscribe()
    publication = alice.publication()
    publication.publish(body=sip.pidf("stays"), expires=100)
    net.advance(90)
    assert publication.publish(expires=100).status == 200
    net.advance(90)
    assert len(watch.notifies) == 2
    assert "stays" in watch.body
    net.advance(20)
    assert "closed" in watch.body


def test_rfc3903_4_3_refresh_with_content_type_but_no_body_is_a_refresh(net: Network, alice: Agent, bob: Agent) -> None:
    watch = bob.subscribe()
    publication = alice.publication()
    publication.publish(body=sip.pidf("stays"))
    assert publication.publish(f"Content-Type: {PIDF}").status == 200
    assert publication.publish("Content-Type: text/strange").status == 200
    assert "stays" in watch.body
    assert len(watch.notifies) == 2


def test_a_body_sent_again_is_read_once_and_makes_its_publication_the_newest() -> None:
    """Linphone and Snom refresh with the whole document."""
    reads: list[bytes] = []

    class Counting(PresencePackage):
        def read(self, content_type: str, body: bytes) -> PidfDocument:
            reads.append(body)
            return super().read(content_type, body)

    registry = Registry()
    registry.register(Counting())
    net = Network(registry=registry)
    alice, watch = net.agent("alice"), net.agent("bob").subscribe()
    older, newer = alice.publication(), alice.publication()
    for publication, note in ((older, "older"), (newer, "newer"), (older, "older")):
        net.advance(1)
        publication.publish(body=sip.pidf(note))
    assert "older" in watch.body
    assert len(reads) == 2
    net.close()


def test_refresh_does_not_make_an_old_publication_the_newest(alice: Agent, bob: Agent) -> None:
    older, newer = alice.publication(), alice.publication()
    older.publish(body=sip.pidf("older"))
    newer.publish(body=sip.pidf("newer"))
    older.publish()
    watch = bob.subscribe()
    assert "newer" in watch.body
    assert "older" not in watch.body, "they have one tuple id"


def test_rfc3903_4_5_remove_with_a_body_removes(net: Network, alice: Agent, bob: Agent) -> None:
    watch = bob.subscribe()
    publication = alice.publication()
    publication.publish(body=sip.pidf("x"))
    assert publication.publish(body="nonsense", expires=0).status == 200
    assert "closed" in watch.body
    assert publications(net) == 0


def test_rfc3903_6_several_publications_stand_side_by_side(net: Network, alice: Agent, bob: Agent) -> None:
    watch = bob.subscribe()
    desk, mobile = alice.publication(), net.agent("mobile").publication()
    desk.publish(body=sip.pidf("desk", tuple_id="desk"), expires=100)
    mobile.publish(body=sip.pidf("mobile", tuple_id="mobile"), expires=1000)
    assert publications(net) == 2
    assert all(word in watch.body for word in ("desk", "mobile"))
    mobile.publish(body=sip.pidf("walking", tuple_id="mobile"), expires=1000)
    assert all(word in watch.body for word in ("desk", "walking"))
    net.advance(101)
    assert "walking" in watch.body
    assert "desk" not in watch.body, "expiry tells the watchers what is left"


def test_rfc3903_6_packages_and_presentities_are_kept_apart(alice: Agent) -> None:
    publication = alice.publication()
    publication.publish(body=sip.pidf())
    other = alice.publication(uri="sip:carol@example.com")
    assert other.publish(etag=publication.etag).status == 412
    summary = alice.publication(event="message-summary", content_type="application/simple-message-summary")
    assert summary.publish(etag=publication.etag).status == 412
    assert publication.publish().status == 200


def test_rfc3261_19_1_4_spellings_of_one_presentity_are_one(alice: Agent, bob: Agent) -> None:
    watch = bob.subscribe()
    for number, uri in enumerate(
        (
            "sip:%61lice@example.com",
            "sip:alice@EXAMPLE.com",
            "sip:alice@example.com:5060;transport=udp",
            "pres:alice@example.com",
        )
    ):
        assert alice.publication(uri=uri).publish(body=sip.pidf(f"as {number}")).status == 200
        assert f"as {number}" in watch.body


# ---- step 1: the Request-URI ----


def test_rfc3903_6_1_foreign_domain_is_404() -> None:
    net = Network("server.domain=example.com,example.org")
    alice = net.agent("alice")
    assert alice.publication(uri="sip:alice@example.net").publish(body=sip.pidf()).status == 404
    assert alice.publication(uri="sip:alice@example.org").publish(body=sip.pidf()).status == 200


@pytest.mark.parametrize("uri", ["http://example.com/", "mailto:alice@example.com"])
def test_rfc3261_8_2_2_1_other_scheme_is_416(alice: Agent, uri: str) -> None:
    assert publish(alice, "Event: presence", uri=uri).status == 416


# ---- step 2: the event package ----


@pytest.mark.parametrize("heads", [("Event: reg",), ("Event: presence.winfo",), ("Event: Presence",), ()])
def test_rfc3903_6_2_unknown_event_is_489_with_allow_events(alice: Agent, heads: tuple[str, ...]) -> None:
    response = publish(alice, *heads, f"Content-Type: {PIDF}", body=sip.pidf())
    assert response.status == 489
    assert {"presence", "message-summary", "presence.winfo"} <= set(response.values("Allow-Events"))


# ---- step 3: the precondition ----


def test_rfc3903_6_3_unknown_entity_tag_is_412(net: Network, alice: Agent) -> None:
    assert alice.publication().publish(body=sip.pidf(), etag="never").status == 412
    assert publications(net) == 0


def test_rfc3903_6_3_each_success_makes_the_tag_before_stale(alice: Agent) -> None:
    publication = alice.publication()
    seen = []
    for body in (sip.pidf("1"), "", sip.pidf("2"), ""):
        publication.publish(body=body)
        for stale in seen:
            assert publication.publish(etag=stale).status == 412
        seen.append(publication.etag)
    assert len(set(seen)) == 4


@pytest.mark.parametrize(
    "heads",
    [
        ("SIP-If-Match: one, two",),
        ("SIP-If-Match: one", "SIP-If-Match: two"),
        ("SIP-If-Match:",),
        ("SIP-If-Match: a b",),
    ],
)
def test_rfc3903_6_3_other_than_one_tag_is_400(alice: Agent, heads: tuple[str, ...]) -> None:
    assert publish(alice, "Event: presence", *heads).status == 400


def test_rfc3903_6_3_removed_publication_is_412(alice: Agent) -> None:
    publication = alice.publication()
    publication.publish(body=sip.pidf())
    publication.publish(expires=0)
    assert publication.publish(expires=100).status == 412


def test_rfc3903_6_3_expired_publication_is_412(net: Network, alice: Agent) -> None:
    publication = alice.publication()
    publication.publish(body=sip.pidf(), expires=10)
    net.advance(12)
    assert publication.publish().status == 412


def test_rfc3903_6_6_tags_are_never_used_again_also_over_a_restart(net: Network, alice: Agent) -> None:
    tags = []
    for _ in range(3):
        for _ in range(20):
            publication = alice.publication()
            publication.publish(body=sip.pidf(), expires=0)
            tags.append(publication.etag)
        net.restart()
    assert len(set(tags)) == 60


# ---- step 4: the interval ----


def test_rfc3903_6_4_absent_expires_is_chosen_by_the_server(alice: Agent) -> None:
    response = alice.publication().publish(body=sip.pidf())
    assert response.expires == 3600


def test_rfc3903_6_4_long_expires_is_shortened(net: Network) -> None:
    net = Network("presence.max_expires_publish=1800")
    publication = net.agent("alice").publication()
    assert publication.publish(body=sip.pidf(), expires=7200).expires == 1800
    assert publication.publish(expires=4_294_967_295).expires == 1800
    assert publication.publish().expires == 1800


def test_rfc3903_6_4_brief_expires_is_423_when_a_minimum_is_set() -> None:
    net = Network("presence.min_expires_publish=60")
    publication = net.agent("alice").publication()
    response = publication.publish(body=sip.pidf(), expires=59)
    assert (response.status, response.header("Min-Expires")) == (423, "60")
    assert publication.publish(body=sip.pidf(), expires=60).status == 200
    assert publication.publish(expires=1).status == 423
    assert publication.publish(expires=0).status == 200, "0 is a removal and never too brief"


def test_rfc3903_6_4_no_minimum_unless_set(alice: Agent) -> None:
    response = alice.publication().publish(body=sip.pidf(), expires=1)
    assert (response.status, response.expires) == (200, 1)


@pytest.mark.parametrize("value", ["soon", "-1", "1.5", "0x10"])
def test_rfc3261_20_19_malformed_expires_is_answered(net: Network, alice: Agent, value: str) -> None:
    response = publish(alice, "Event: presence", f"Expires: {value}", f"Content-Type: {PIDF}", body=sip.pidf())
    assert (response.status, publications(net)) == (400, 0)


def test_expires_offset_shows_less_than_is_kept() -> None:
    net = Network("presence.expires_offset=10")
    alice, bob = net.agent("alice"), net.agent("bob")
    watch = bob.subscribe()
    assert alice.publication().publish(body=sip.pidf("on"), expires=100).expires == 90
    net.advance(95)
    assert "on" in watch.body


# ---- step 5: the body ----


def test_rfc3903_6_5_initial_without_body_is_400(net: Network, alice: Agent) -> None:
    response = alice.publication().publish()
    assert (response.status, response.reason) == (400, "Missing Body")
    assert publications(net) == 0


def test_rfc3903_6_5_body_without_content_type_is_400(alice: Agent) -> None:
    assert publish(alice, "Event: presence", body=sip.pidf()).status == 400


@pytest.mark.parametrize("kind", ["text/plain", "application/xml", "application/simple-message-summary"])
def test_rfc3903_6_5_other_content_type_is_415_with_accept(net: Network, alice: Agent, kind: str) -> None:
    response = publish(alice, "Event: presence", f"Content-Type: {kind}", body=sip.pidf())
    assert (response.status, response.header("Accept")) == (415, PIDF)
    assert publications(net) == 0


@pytest.mark.parametrize(
    "kind", ["Application/PIDF+XML", "application/pidf+xml;charset=utf-8", "application/pidf+xml ; q=1"]
)
def test_rfc3261_7_3_1_content_type_ignores_case_and_parameters(alice: Agent, kind: str) -> None:
    assert publish(alice, "Event: presence", f"Content-Type: {kind}", body=sip.pidf()).status == 200


def test_rfc3261_21_4_13_content_encoding_is_415(alice: Agent) -> None:
    response = publish(alice, "Event: presence", f"Content-Type: {PIDF}", "Content-Encoding: gzip", body=sip.pidf())
    assert (response.status, response.header("Accept-Encoding")) == (415, "identity")


@pytest.mark.parametrize(
    "body",
    [
        "no xml at all",
        "<presence>",
        sip.pidf()[:-3],
        '<presence xmlns="urn:somebody:else" entity="sip:alice@example.com"/>',
        '<!DOCTYPE presence [<!ENTITY a SYSTEM "file:///etc/passwd">]>' + sip.pidf("&a;").partition("?>")[2],
    ],
)
def test_rfc3903_6_5_malformed_document_is_400(net: Network, alice: Agent, body: str) -> None:
    publication = alice.publication()
    assert publication.publish(body=body).status == 400
    publication.publish(body=sip.pidf("good"))
    tag = publication.etag
    assert publication.publish(body=body).status == 400
    assert publication.etag == tag
    assert publication.publish().status == 200, "what was refused changed nothing, the tag still stands"


def test_rfc3903_6_5_expires_0_without_tag_stores_nothing(net: Network, alice: Agent, bob: Agent) -> None:
    watch = bob.subscribe()
    publication = alice.publication()
    response = publication.publish(body=sip.pidf("gone"), expires=0)
    assert (response.status, response.expires) == (200, 0)
    assert publication.etag
    assert publications(net) == 0
    assert len(watch.notifies) == 1
    assert publication.publish().status == 412


# ---- step 6: the answer ----


def test_rfc3903_6_6_answer_has_no_record_route_and_makes_no_dialog(alice: Agent) -> None:
    response = publish(
        alice,
        "Record-Route: <sip:127.0.0.1:5080;lr>",
        "Event: presence",
        "Contact: <sip:alice@127.0.0.1:5070>",
        f"Content-Type: {PIDF}",
        body=sip.pidf(),
    )
    assert response.status == 200
    assert response.header("Record-Route") is None
    assert response.header("Contact") is None


# ---- the order of the steps ----

FAULTS = {
    404: ("uri", "sip:alice@example.net"),
    489: ("Event", "Event: reg"),
    412: ("SIP-If-Match", "SIP-If-Match: stale"),
    423: ("Expires", "Expires: 1"),
    415: ("Content-Type", "Content-Type: text/plain"),
}


@pytest.mark.parametrize("first", range(len(FAULTS)))
def test_rfc3903_6_of_several_faults_the_first_step_answers(first: int) -> None:
    net = Network("presence.min_expires_publish=60", "server.domain=example.com")
    alice = net.agent("alice")
    heads = {"Event": "Event: presence", "Expires": "Expires: 600", "Content-Type": f"Content-Type: {PIDF}"}
    uri = "sip:alice@example.com"
    faults = list(FAULTS.items())[first:]
    for _, (name, line) in faults:
        if name == "uri":
            uri = line
        else:
            heads[name] = line
    response = publish(alice, *heads.values(), uri=uri, body="malformed")
    assert response.status == faults[0][0]
    assert publications(net) == 0


def test_rfc3903_6_requests_of_one_turn_are_processed_in_order(net: Network, alice: Agent, bob: Agent) -> None:
    watch = bob.subscribe()
    ones = [alice.publication() for _ in range(20)]
    for number, one in enumerate(ones):
        one.send(body=sip.pidf(f"number {number}"))
    net.settle()
    assert all(one.response is not None and one.response.status == 200 for one in ones)
    assert "number 19" in watch.body


def test_rfc3903_6_of_two_with_one_tag_the_second_is_412(net: Network, alice: Agent) -> None:
    one = alice.publication()
    one.publish(body=sip.pidf())
    other = alice.publication()
    one.send(body=sip.pidf("first"))
    other.send(body=sip.pidf("second"), etag=one.etag)
    net.settle()
    assert (one.response and one.response.status, other.response and other.response.status) == (200, 412)


def test_many_refused_requests_behind_one_commit(net: Network, alice: Agent) -> None:
    """They wait for the commit before them and are then all answered, one after the other."""
    first = alice.publication()
    first.send(body=sip.pidf())
    stale = [alice.publication() for _ in range(900)]
    for one in stale:
        one.send(etag="stale")
    net.settle()
    assert first.response is not None
    assert {one.response and one.response.status for one in stale} == {412}
    assert first.publish().status == 200


# ---- commit ----


def test_rfc3261_21_5_4_refused_commit_is_503_and_nothing_changed(net: Network, alice: Agent, bob: Agent) -> None:
    watch = bob.subscribe()
    publication = alice.publication()
    publication.publish(body=sip.pidf("kept"))
    tag = publication.etag
    net.refuse_commits()
    for response in (
        publication.publish(body=sip.pidf("lost")),
        publication.publish(),
        publication.publish(expires=0),
        alice.publication().publish(body=sip.pidf("lost", tuple_id="z")),
    ):
        assert response.status == 503
        assert response.header("Retry-After")
    assert len(watch.notifies) == 2
    net.refuse_commits(False)
    assert publication.publish(etag=tag).status == 200
    assert "kept" in bob.subscribe().body
    assert publications(net) == 1


def test_expiry_that_cannot_be_written_is_tried_again(net: Network, alice: Agent, bob: Agent) -> None:
    watch = bob.subscribe()
    alice.publication().publish(body=sip.pidf("short"), expires=10)
    net.refuse_commits()
    net.advance(15)
    net.refuse_commits(False)
    net.advance(6)
    assert "closed" in watch.body
    assert publications(net) == 0


@pytest.mark.parametrize("body", ["", sip.pidf("again")])
def test_rfc3903_6_publication_an_operator_deleted_is_over_when_its_next_change_finds_no_row(
    net: Network, alice: Agent, bob: Agent, body: str
) -> None:
    watch = bob.subscribe()
    publication = alice.publication()
    publication.publish(body=sip.pidf())
    net.rows("DELETE FROM presentity")
    assert publication.publish(body=body).status == 200
    net.settle()
    assert "closed" in watch.body
    assert publication.publish(body=body).status == 412
    assert net.node.compositor.counts() == {}
    assert publication.publish(body=sip.pidf("anew"), etag="").status == 200
    assert "anew" in watch.body
