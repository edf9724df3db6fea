"""The presence data model (RFC 4479) composed over several publications, and how publications end."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import sip
from dialoginfo import dialog, info, publish_calls
from lxml import etree
from net import Agent, Network

PIDF, DM = "{urn:ietf:params:xml:ns:pidf}", "{urn:ietf:params:xml:ns:pidf:data-model}"
RPID = "{urn:ietf:params:xml:ns:pidf:rpid}"


@contextmanager
def network(*settings: str) -> Iterator[Network]:
    net = Network(*settings)
    try:
        yield net
    finally:
        net.close()


def document(*children: str) -> str:
    return (
        '<presence xmlns="urn:ietf:params:xml:ns:pidf" xmlns:dm="urn:ietf:params:xml:ns:pidf:data-model"'
        ' xmlns:r="urn:ietf:params:xml:ns:pidf:rpid" xmlns:x="urn:example:x" entity="sip:alice@example.com">'
        f"{''.join(children)}</presence>"
    )


def service(id: str, basic: str = "open") -> str:
    return (
        f'<tuple id="{id}"><status><basic>{basic}</basic></status><dm:deviceID>urn:device:{id}</dm:deviceID>'
        f"<contact>sip:{id}@example.com</contact><timestamp>2005-10-27T16:49:29Z</timestamp></tuple>"
    )


def person(id: str, activity: str) -> str:
    return (
        f'<dm:person id="{id}"><r:activities><r:{activity}/></r:activities>'
        f"<dm:timestamp>2005-10-27T16:49:29Z</dm:timestamp></dm:person>"
    )


def device(id: str) -> str:
    return (
        f'<dm:device id="{id}"><r:user-input>idle</r:user-input><dm:deviceID>urn:device:{id}</dm:deviceID></dm:device>'
    )


def ids(body: bytes, tag: str) -> list[str]:
    return [element.get("id", "") for element in etree.fromstring(body).iter(tag)]


def test_rfc4479_3_several_devices_persons_and_services_are_all_there(net: Network, alice: Agent, bob: Agent) -> None:
    desk, mobile = service("desk"), service("mobile", "closed")
    extension = "<x:thing>7</x:thing>"
    alice.publication().publish(body=document(desk, person("p1", "meeting"), device("d1"), extension), expires=60)
    note = "<note>away</note>"
    net.agent("mobile").publication().publish(
        body=document(mobile, note, person("p2", "busy"), device("d2"), extension), expires=600
    )
    watch = bob.subscribe()
    body = watch.newest.body
    assert ids(body, f"{PIDF}tuple") == ["mobile", "desk"]
    assert ids(body, f"{DM}person") == ["p2", "p1"]
    assert ids(body, f"{DM}device") == ["d2", "d1"]
    assert [child.tag for child in etree.fromstring(body)].count("{urn:example:x}thing") == 1
    # Timestamps, device references and extensions are the publishers', byte for byte.
    for child in (desk, mobile, note, person("p1", "meeting"), device("d2"), extension):
        assert child.encode() in body
    net.advance(61)
    assert ids(watch.newest.body, f"{DM}person") == ["p2"]


def test_rfc4479_3_2_of_one_person_the_newest_publication_stands(net: Network, alice: Agent, bob: Agent) -> None:
    watch = bob.subscribe()
    alice.publication().publish(body=document(service("a"), person("p", "meeting")), expires=60)
    net.agent("b").publication().publish(body=document(service("b"), person("p", "busy")), expires=60)
    (only,) = etree.fromstring(watch.newest.body).iter(f"{DM}person")
    assert only.find(f".//{RPID}busy") is not None


def test_persons_newest_lets_one_publication_say_who_that_is() -> None:
    with network("presence.persons=newest") as net:
        watch = net.agent("bob").subscribe()
        two = person("p1", "meeting"), person("p2", "busy")
        net.agent("a").publication().publish(body=document(service("a"), *two), expires=600)
        assert ids(watch.newest.body, f"{DM}person") == ["p1", "p2"]
        newer = net.agent("b").publication()
        newer.publish(body=document(service("b"), person("p3", "away")), expires=600)
        assert ids(watch.newest.body, f"{DM}person") == ["p3"]
        net.agent("c").publication().publish(body=document(service("c")), expires=600)
        assert ids(watch.newest.body, f"{DM}person") == ["p3"]
        assert ids(watch.newest.body, f"{PIDF}tuple") == ["c", "b", "a"]
        newer.publish(expires=0)
        assert ids(watch.newest.body, f"{DM}person") == ["p1", "p2"]


def test_composition_newest_is_the_newest_publication_alone() -> None:
    """opensips#2249: publications that nobody refreshes or removes any more are not seen."""
    with network("presence.composition=newest") as net:
        watch = net.agent("bob").subscribe()
        stale, fresh = net.agent("a").publication(), net.agent("b").publication()
        stale.publish(body=sip.pidf("stale", tuple_id="a"), expires=600)
        fresh.publish(body=sip.pidf("fresh", tuple_id="b"), expires=600)
        assert ids(watch.newest.body, f"{PIDF}tuple") == ["b"]
        # The newest is the one received last, a modification too, in a batch or not.
        stale.publish(body=sip.pidf("stale again", tuple_id="a"), expires=600)
        assert ids(watch.newest.body, f"{PIDF}tuple") == ["a"]
        stale.publish(expires=600)
        fresh.publish(expires=600)
        assert ids(watch.newest.body, f"{PIDF}tuple") == ["a"]
        stale.publish(expires=0)
        assert ids(watch.newest.body, f"{PIDF}tuple") == ["b"]
        net.restart()
        assert ids(watch.newest.body, f"{PIDF}tuple") == ["b"]


# ---- how a publication ends ----


def basics(body: bytes) -> dict[str, str]:
    tuples = etree.fromstring(body).iter(f"{PIDF}tuple")
    return {one.get("id", ""): one.findtext(f"{PIDF}status/{PIDF}basic") or "" for one in tuples}


def test_generate_offline_body_tells_once_how_a_publication_ended() -> None:
    with network("presence_xml.generate_offline_body=true") as net:
        alice, bob = net.agent("alice"), net.agent("bob")
        watch = bob.subscribe()
        desk, mobile = alice.publication(), net.agent("mobile").publication()
        desk.publish(body=document(service("desk"), "<note>in</note>", person("p", "busy")), expires=60)
        mobile.publish(body=document(service("mobile")), expires=600)
        net.advance(61)
        assert basics(watch.newest.body) == {"mobile": "open", "desk": "closed"}
        assert ids(watch.newest.body, f"{DM}person") == []
        assert b"<note>" not in watch.newest.body
        # Once: who comes now sees what is left, and no NOTIFY says so to the others.
        assert basics(net.agent("carol").subscribe().newest.body) == {"mobile": "open"}
        count = len(watch.notifies)
        net.advance(5)
        assert len(watch.notifies) == count
        watch.refresh()
        assert basics(watch.newest.body) == {"mobile": "open"}
        mobile.publish(expires=0)
        assert basics(watch.newest.body) == {"mobile": "closed"}
        assert basics(net.agent("dave").subscribe().newest.body) == {"closed": "closed"}


def test_generate_offline_body_does_not_outlive_its_moment() -> None:
    """Nobody watches when it ends; who watches later is told nothing of it. An id in use stands for what uses it."""
    with network("presence_xml.generate_offline_body=true") as net:
        alice = net.agent("alice")
        one, same = alice.publication(), alice.publication()
        one.publish(body=sip.pidf(tuple_id="a"), expires=600)
        one.publish(expires=0)
        watch = net.agent("bob").subscribe()
        assert basics(watch.newest.body) == {"closed": "closed"}
        one.publish(body=sip.pidf(tuple_id="a"), expires=600, etag="")
        same.publish(body=sip.pidf(tuple_id="a"), expires=600)
        one.publish(expires=0)
        assert basics(watch.newest.body) == {"a": "open"}


def test_generate_offline_body_copies_an_odd_id_as_it_was() -> None:
    with network("presence_xml.generate_offline_body=true") as net:
        watch = net.agent("bob").subscribe()
        one = net.agent("alice").publication()
        one.publish(body=document("<tuple id='a\"&lt;&#x41;'><status><basic>open</basic></status></tuple>"), expires=60)
        one.publish(expires=0)
        assert basics(watch.newest.body) == {'a"<A': "closed"}


def test_an_ended_publication_is_gone_by_default(net: Network, alice: Agent, bob: Agent) -> None:
    watch = bob.subscribe()
    one = alice.publication()
    one.publish(body=sip.pidf(tuple_id="a"), expires=60)
    net.advance(61)
    assert basics(watch.newest.body) == {"closed": "closed"}


def test_notify_offline_body_false_sends_no_body_when_nothing_is_published() -> None:
    with network("presence.notify_offline_body=false") as net:
        alice, bob = net.agent("alice"), net.agent("bob")
        watch = bob.subscribe()
        assert (watch.newest.body, watch.newest.header("Content-Type")) == (b"", None)
        one = alice.publication()
        one.publish(body=sip.pidf("here"), expires=60)
        assert b"here" in watch.newest.body
        net.advance(61)
        assert (watch.newest.body, watch.newest.header("Content-Type")) == (b"", None)
        assert len(watch.notifies) == 3
        watch.unsubscribe()
        assert (watch.newest.body, watch.state) == (b"", "terminated;timeout")
        net.restart()
        assert net.agent("carol").subscribe().newest.body == b""


@pytest.mark.parametrize("setting", ["true", "false"])
def test_polite_blocking_looks_like_absence_under_every_setting(setting: str) -> None:
    with network("server.policy=rules", f"presence.notify_offline_body={setting}") as net:
        net.rows(
            "INSERT INTO watchers (presentity_uri, watcher_username, watcher_domain, event,"
            " status, reason, inserted_time)"
            " VALUES ('sip:alice@example.com', 'bob', 'example.com', 'presence', 1, 'polite-block', 1),"
            " ('sip:alice@example.com', 'carol', 'example.com', 'presence', 1, '', 1)"
        )
        blocked, allowed = net.agent("bob").subscribe(), net.agent("carol").subscribe()

        def seen(agent_watch: object) -> tuple[bytes, str | None, bool]:
            newest = agent_watch.newest  # type: ignore[attr-defined]
            return newest.body, newest.header("Content-Type"), newest.header("Subscription-State").startswith("active")

        absent = seen(allowed)
        assert seen(blocked) == absent
        net.agent("alice").publication().publish(body=sip.pidf("here"), expires=60)
        assert b"here" in allowed.newest.body
        blocked.refresh()
        assert seen(blocked) == absent
        assert len(blocked.notifies) == 2


# ---- calls that show in presence ----


def test_mix_dialog_presence_shows_who_is_on_the_phone() -> None:
    with network("presence.mix_dialog_presence=true") as net:
        alice, bob = net.agent("alice"), net.agent("bob")
        watch = bob.subscribe()
        assert basics(watch.newest.body) == {"closed": "closed"}
        calls = publish_calls(alice)
        # OpenSIPS overlooked a call that rings when it was the first one listed.
        calls.publish(body=info(dialog("1", "early")), expires=600)
        assert b"<note>Proceeding</note>" in watch.newest.body
        assert b"on-the-phone" not in watch.newest.body
        calls.publish(body=info(dialog("1", "early"), dialog("2", "confirmed")), expires=600)
        root = etree.fromstring(watch.newest.body)
        assert root.find(f"{DM}person/{RPID}activities/{RPID}on-the-phone") is not None
        assert root.findtext(f"{PIDF}note") == "On the phone"
        assert basics(watch.newest.body) == {"tuple_mixingid": "open"}
        alice.publication().publish(body=sip.pidf("desk", tuple_id="desk"), expires=600)
        assert basics(watch.newest.body) == {"tuple_mixingid": "open", "desk": "open"}
        net.restart()
        assert basics(watch.newest.body) == {"tuple_mixingid": "open", "desk": "open"}
        calls.publish(body=info(dialog("2", "terminated")), expires=600)
        assert basics(watch.newest.body) == {"desk": "open"}


def test_mix_dialog_presence_is_off_by_default_and_a_modification_in_a_batch_counts() -> None:
    for setting, notes in (("false", 0), ("true", 1)):
        with network(f"presence.mix_dialog_presence={setting}") as net:
            watch = net.agent("bob").subscribe()
            calls = publish_calls(net.agent("alice"))
            calls.publish(body=info(dialog("1", "terminated")), expires=600)
            calls.publish(body=info(dialog("1", "confirmed")), expires=600)
            assert watch.newest.body.count(b"<note>On the phone</note>") == notes
            calls.publish(expires=0)
            assert basics(watch.newest.body) == {"closed": "closed"}


ALLOW = (
    '<cr:ruleset xmlns:cr="urn:ietf:params:xml:ns:common-policy" xmlns:pr="urn:ietf:params:xml:ns:pres-rules">'
    '<cr:rule id="a"><cr:conditions><cr:identity><cr:one id="sip:bob@example.com"/></cr:identity></cr:conditions>'
    "<cr:actions><pr:sub-handling>allow</pr:sub-handling></cr:actions>"
    "<cr:transformations><pr:provide-services><pr:all-services/></pr:provide-services></cr:transformations>"
    "</cr:rule></cr:ruleset>"
)


def test_a_filtered_view_of_nothing_has_no_body_either() -> None:
    settings = ("server.policy=rules", "presence.notify_offline_body=false", "presence_dialoginfo.authorise=true")
    with network(*settings) as net:
        of_calls = ALLOW.replace("urn:ietf:params:xml:ns:pres-rules", "http://openxcap.org/ns/dialog-rules")
        for doc_type, document in ((2, ALLOW), (128, of_calls)):
            net.rows(
                "INSERT INTO xcap (username, domain, doc, doc_type, etag, source, doc_uri, port)"
                f" VALUES ('alice', 'example.com', CAST('{document}' AS BLOB), {doc_type}, '1', 0, 'index', 0)"
            )
        net.advance(1)
        alice, bob = net.agent("alice"), net.agent("bob")
        watch, lamp = bob.subscribe(), bob.subscribe(event="dialog")
        assert (watch.newest.body, watch.newest.header("Content-Type")) == (b"", None)
        publication, calls = alice.publication(), publish_calls(alice)
        publication.publish(body=sip.pidf("here"), expires=60)
        calls.publish(body=info(dialog("secret", "early")), expires=60)
        assert basics(watch.newest.body) == {"a": "open"}
        # Rules about calls say who may watch them; permissions are of presence.
        assert b'<dialog id="secret"><state>early</state></dialog>' in lamp.newest.body
        net.advance(61)
        assert watch.newest.body == b""
        watch.refresh()
        assert watch.newest.body == b""
        assert net.tally.drops["internal error"] == 0
