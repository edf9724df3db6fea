"""Statements of RFC 3903 about the event state compositor, each small."""

import pytest
import sip
from net import Agent, Network

from presence._fastcore import Message

PIDF_TYPE = "Content-Type: application/pidf+xml"


def publish(agent: Agent, *extra: str, body: str = "", **fields: str) -> Message:
    return agent.ask(agent.request("PUBLISH", "sip:alice@example.com", *extra, body=body, **fields))


def rows(net: Network) -> int:
    ((count,),) = net.rows("SELECT count(*) FROM presentity")
    return int(count)


@pytest.mark.parametrize(
    "heads",
    [
        ("Contact: <sip:alice@127.0.0.1:1>",),
        ("Contact: *",),
        ("Contact: <sip:broken",),
        ("Record-Route: <sip:proxy.example.net;lr>", "Record-Route: <sip:other.example.net;lr>"),
        ("Record-Route: rubbish",),
    ],
)
def test_rfc3903_6_contact_and_record_route_are_ignored(net: Network, alice: Agent, heads: tuple[str, ...]) -> None:
    response = publish(alice, "Event: presence", PIDF_TYPE, "Expires: 60", *heads, body=sip.pidf())
    assert (response.status, response.header("Expires")) == (200, "60")
    assert response.header("Record-Route") is None
    assert response.header("Contact") is None
    refusal = publish(alice, "Event: nonsense", PIDF_TYPE, *heads, body=sip.pidf())
    assert (refusal.status, refusal.header("Record-Route")) == (489, None)
    assert rows(net) == 1


def test_rfc3903_4_a_publish_in_a_dialog_is_a_publish(net: Network, alice: Agent, bob: Agent) -> None:
    """It makes none and uses none: To with a tag is nothing to it."""
    watch = bob.subscribe()
    response = publish(alice, "Event: presence", PIDF_TYPE, body=sip.pidf("in a dialog"), to_tag="unknown")
    assert response.status == 200
    assert "in a dialog" in watch.body
    inside = bob.ask(
        bob.request(
            "PUBLISH",
            "sip:alice@example.com",
            "Event: presence",
            PIDF_TYPE,
            call_id=watch.dialog.call_id,
            from_tag=watch.dialog.local_tag,
            to_tag=watch.dialog.remote_tag,
            cseq=99,
            body=sip.pidf("same dialog", tuple_id="b"),
        )
    )
    assert inside.status == 200
    assert watch.refresh().status == 200, "its CSeq is not the dialog's"


@pytest.mark.parametrize("operation", ["initial", "refresh", "modify", "remove"])
def test_rfc3903_6_6_every_200_has_expires_and_one_entity_tag(alice: Agent, operation: str) -> None:
    publication = alice.publication()
    response = publication.publish(body=sip.pidf(), expires=60)
    before = publication.etag
    if operation == "refresh":
        response = publication.publish(expires=60)
    elif operation == "modify":
        response = publication.publish(body=sip.pidf("more"), expires=60)
    elif operation == "remove":
        response = publication.publish(expires=0)
    assert response.status == 200
    assert response.header("Expires") == ("0" if operation == "remove" else "60")
    assert len(response.headers("SIP-ETag")) == 1
    tag = response.header("SIP-ETag") or ""
    assert tag
    assert not set(tag) & set(', ;"')
    assert (tag == before) == (operation == "initial")


@pytest.mark.parametrize(
    ("heads", "body", "status"),
    [
        (("Event: presence",), "", 400),
        (("Event: presence", "Expires: 0"), "", 400),
        (("Event: nonsense", PIDF_TYPE), "x", 489),
        ((PIDF_TYPE,), "x", 489),
        (("Event: presence", "SIP-If-Match: gone"), "", 412),
        (("Event: presence", "SIP-If-Match: a, b"), "", 400),
        (("Event: presence", "Content-Type: text/plain"), "x", 415),
        (("Event: presence", PIDF_TYPE, "Require: x"), "x", 420),
        (("Event: presence", PIDF_TYPE), "no xml", 400),
    ],
)
def test_rfc3903_11_3_only_a_200_has_an_entity_tag(
    net: Network, alice: Agent, heads: tuple[str, ...], body: str, status: int
) -> None:
    response = publish(alice, *heads, body=body)
    assert response.status == status
    assert response.header("SIP-ETag") is None
    assert response.header("Expires") is None
    assert rows(net) == 0


def test_rfc3903_6_4_423_says_the_minimum() -> None:
    net = Network("presence.min_expires_publish=120")
    alice = net.agent("alice")
    for expires, status in ((1, 423), (119, 423), (120, 200), (0, 200)):
        response = publish(alice, "Event: presence", PIDF_TYPE, f"Expires: {expires}", body=sip.pidf())
        assert response.status == status
        assert response.header("Min-Expires") == ("120" if status == 423 else None)
    assert rows(net) == 1


@pytest.mark.parametrize(("heads", "granted"), [(("Expires: 17",), 17), ((), 3600), (("Expires: 4294967295",), 3600)])
def test_rfc3903_6_4_the_interval_asked_is_taken_else_the_default(
    alice: Agent, heads: tuple[str, ...], granted: int
) -> None:
    response = publish(alice, "Event: presence", PIDF_TYPE, *heads, body=sip.pidf())
    assert response.header("Expires") == str(granted)


def test_rfc3903_6_5_content_by_reference_is_415(alice: Agent) -> None:
    """RFC 3903 section 10.2: content indirection is optional."""
    kind = 'Content-Type: message/external-body; access-type="URL"; URL="http://example.com/x"'
    response = publish(alice, "Event: presence", kind, body="Content-Type: application/pidf+xml\r\n\r\n")
    assert (response.status, response.values("Accept")) == (415, ["application/pidf+xml"])


def test_rfc3903_6_an_entity_tag_is_of_one_resource_and_package(net: Network, alice: Agent) -> None:
    publication = alice.publication()
    publication.publish(body=sip.pidf())
    for uri, event in (("sip:bob@example.com", "presence"), ("sip:alice@example.com", "message-summary")):
        other = alice.publication(uri, event)
        assert other.publish(etag=publication.etag).status == 412
    assert publication.publish().status == 200


def test_rfc3903_6_5_expires_0_removes_at_once(net: Network, alice: Agent, bob: Agent) -> None:
    watch, publication = bob.subscribe(), alice.publication()
    publication.publish(body=sip.pidf("here"))
    assert "here" in watch.body
    assert publication.publish(expires=0).status == 200
    assert "here" not in watch.body
    assert rows(net) == 0
    assert publication.publish().status == 412


def test_rfc3903_7_options_names_publish_and_the_packages(bob: Agent) -> None:
    response = bob.ask(bob.request("OPTIONS", "sip:alice@example.com"))
    assert "PUBLISH" in response.values("Allow")
    assert "presence" in response.values("Allow-Events")
    assert "application/pidf+xml" in response.values("Accept")


@pytest.mark.parametrize("why", ["commit refused", "draining", "too many publications"])
def test_rfc3903_9_503_says_when_to_try_again(why: str) -> None:
    net = Network("limits.publications=3")
    alice = net.agent("alice")
    if why == "commit refused":
        net.refuse_commits()
    elif why == "draining":
        net.node.endpoint.draining = True
    else:
        for _ in range(3):
            alice.publication().publish(body=sip.pidf())
    response = publish(alice, "Event: presence", PIDF_TYPE, body=sip.pidf())
    assert response.status == 503
    assert int(response.header("Retry-After") or "0") > 0
    net.refuse_commits(False)
    net.close()


def test_rfc3903_10_4_a_tuple_left_out_of_a_modification_is_removed(alice: Agent, bob: Agent) -> None:
    watch, publication = bob.subscribe(), alice.publication()
    publication.publish(body=sip.pidf("first", tuple_id="a"))
    publication.publish(body=sip.pidf("second", tuple_id="b"))
    assert 'id="b"' in watch.body
    assert 'id="a"' not in watch.body
