"""The package dialog: RFC 4235, and what OpenSIPS and Kamailio made of it."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from dialoginfo import ALICE, KIND, Lamp, dialog, info, publish_calls, remote
from lxml import etree
from net import Agent, Network

SCHEMA_NS = "urn:ietf:params:xml:ns:dialog-info"


@contextmanager
def network(*settings: str) -> Iterator[Network]:
    net = Network(*settings)
    try:
        yield net
    finally:
        net.close()


@pytest.fixture
def partial_net() -> Iterator[Network]:
    with network("presence_dialoginfo.partial=true") as net:
        yield net


# ---- the package ----


def test_rfc4235_3_4_one_hour_is_the_default_and_accept_need_not_be_there(net: Network, bob: Agent) -> None:
    response = bob.ask(bob.request("SUBSCRIBE", ALICE, "Event: dialog", f"Contact: {bob.contact}"))
    assert (response.status, response.header("Expires")) == (200, "3600")
    (notify,) = bob.notifies
    assert (notify.header("Event"), notify.header("Content-Type")) == ("dialog", KIND)


def test_rfc4235_3_5_who_does_not_take_dialog_information_is_406(bob: Agent) -> None:
    response = bob.ask(
        bob.request("SUBSCRIBE", ALICE, "Event: dialog", f"Contact: {bob.contact}", "Accept: application/pidf+xml")
    )
    assert (response.status, response.header("Accept")) == (406, KIND)


def test_rfc4235_3_2_event_parameters_are_taken(net: Network, alice: Agent, bob: Agent) -> None:
    lamp = Lamp(bob, event='dialog;call-id="a@b";to-tag=1;from-tag=2;include-session-description')
    publish_calls(alice).publish(body=info(dialog(call_id="a@b", local_tag="1", remote_tag="2")), expires=60)
    assert lamp.lit == {"d1": "confirmed"}
    # RFC 6665 section 8.2.1: the package and its id are compared, other parameters are not.
    assert lamp.watch.newest.header("Event") == "dialog"


def test_rfc4235_4_1_nobody_in_a_call_is_an_empty_full_document(bob: Agent) -> None:
    lamp = Lamp(bob)
    assert lamp.news() == [("full", {})]
    root = etree.fromstring(lamp.body)
    assert dict(root.attrib) == {"version": "0", "state": "full", "entity": ALICE}


def test_rfc4235_4_1_versions_begin_with_0_and_grow_by_one_for_each_subscriber(
    net: Network, alice: Agent, bob: Agent
) -> None:
    first = Lamp(bob)
    calls = publish_calls(alice)
    for state in ("trying", "early", "confirmed"):
        calls.publish(body=info(dialog(state=state)), expires=60)
    second = Lamp(net.agent("carol"))
    calls.publish(body=info(dialog(state="terminated")), expires=60)
    versions = [
        [int(etree.fromstring(n.body).get("version", "")) for n in lamp.watch.notifies] for lamp in (first, second)
    ]
    assert versions == [[0, 1, 2, 3, 4], [0, 1]]


def test_rfc4235_6_1_a_call_forks_is_answered_and_ends(partial_net: Network) -> None:
    """The basic example; its second branch has an id of its own, as section 4.1.1 asks."""
    alice, bob = partial_net.agent("alice"), partial_net.agent("bob")
    lamp = Lamp(bob)
    calls = publish_calls(alice)
    names = {"call_id": "a84b4c76e66710", "local_tag": "1928301774", "direction": "initiator"}
    half = dialog("as7d900as8", "trying", **names)
    one = dialog("as7d900as8", "early", remote_tag="456887766", **names)
    two = dialog("as7d900as9", "early", remote_tag="hh76a", **names)
    answered = dialog("as7d900as9", "confirmed", remote_tag="hh76a", **names)
    cancelled = dialog("as7d900as8", "terminated", remote_tag="456887766", event="cancelled", **names)
    for dialogs in ((half,), (one,), (one, two), (one, answered), (cancelled, answered), (answered,)):
        calls.publish(body=info(*dialogs), expires=60)
    assert lamp.news() == [
        ("full", {}),
        ("partial", {"as7d900as8": "trying"}),
        ("partial", {"as7d900as8": "early"}),
        ("partial", {"as7d900as9": "early"}),
        ("partial", {"as7d900as9": "confirmed"}),
        ("partial", {"as7d900as8": "terminated"}),
    ]
    assert lamp.gaps == 0
    assert lamp.lit == {"as7d900as9": "confirmed"}


def test_the_same_id_in_two_branches_is_two_dialogs(net: Network, alice: Agent, bob: Agent) -> None:
    """As the example of section 6.1 has it, and phones do (kamailio#2906)."""
    lamp = Lamp(bob)
    names = {"call_id": "a84b", "local_tag": "19"}
    publish_calls(alice).publish(body=info(dialog("x", "early", remote_tag="1", **names)), expires=60)
    publish_calls(net.agent("fork")).publish(body=info(dialog("x", "confirmed", remote_tag="2", **names)), expires=60)
    states = [e.text for e in etree.fromstring(lamp.body).iter(f"{{{SCHEMA_NS}}}state")]
    assert sorted(states) == ["confirmed", "early"]


def test_what_is_published_stays_byte_for_byte(alice: Agent, bob: Agent) -> None:
    """Section 4.2's sample, with duration, identities, targets and their parameters."""
    inner = (
        '<duration>274</duration>\n<local>\n <identity display="Alice">sip:alice@example.com</identity>\n'
        '<target uri="sip:alice@pc33.example.com"><param pname="isfocus" pval="true"/></target></local>'
        "<remote><identity display='Bob'>sip:bob@example.org</identity>"
        '<target uri="sip:bobster@phone21.example.org"/></remote>'
        '<x:hold xmlns:x="urn:x:y" on="1"/>'
    )
    one = dialog("123456", more=inner)
    lamp = Lamp(bob)
    publish_calls(alice).publish(body=info(one, more='<y:z xmlns:y="urn:y:z"/>'), expires=60)
    assert one.encode() in lamp.body
    assert b'<y:z xmlns:y="urn:y:z"/>' in lamp.body


def test_prefixes_of_the_root_go_with_the_dialog(alice: Agent, bob: Agent) -> None:
    body = (
        f'<d:dialog-info xmlns:d="{SCHEMA_NS}" xmlns:n="urn:n:m" version="7" state="full" entity="{ALICE}">'
        '<d:dialog id="1"><d:state>early</d:state><n:x/></d:dialog></d:dialog-info>'
    )
    lamp = Lamp(bob)
    assert publish_calls(alice).publish(body=body, expires=60).status == 200
    assert lamp.lit == {"1": "early"}
    assert etree.fromstring(lamp.body).find(".//{urn:n:m}x") is not None


def test_rfc4235_3_3_session_descriptions_are_nobodys(alice: Agent, bob: Agent) -> None:
    lamp = Lamp(bob, event="dialog;include-session-description")
    secret = '<session-description type="application/sdp">v=0 secret &lt;</session-description>'
    more = f"<local>{secret}<session-description type='x'/></local><remote>{secret}</remote>"
    publish_calls(alice).publish(body=info(dialog(more=more)), expires=60)
    assert lamp.lit == {"d1": "confirmed"}
    assert b"secret" not in lamp.body
    assert b"session-description" not in lamp.body
    assert b"<local></local><remote></remote>" in lamp.body


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("<dialog-info", "Malformed XML"),
        ('<presence xmlns="urn:ietf:params:xml:ns:pidf"/>', "Body Is Not a Dialog Information Document"),
        (info("<dialog><state>early</state></dialog>"), "Dialog Without Id"),
        (info('<dialog id="1"/>'), "Dialog Without State"),
        (info('<dialog id="1"><state> </state></dialog>'), "Dialog Without State"),
        (info(*["<dialog id='1'><state>early</state></dialog>"] * 513), "More than 512 Elements"),
    ],
)
def test_rfc4235_4_what_a_watcher_could_not_use_is_400(alice: Agent, body: str, reason: str) -> None:
    tcp = alice.net.agent("alice", transport="TCP")
    response = publish_calls(tcp).publish(body=body, expires=60)
    assert response.status == 400
    assert reason in response.reason


def test_a_body_of_another_type_is_415(alice: Agent) -> None:
    response = alice.publication(ALICE, "dialog", content_type="application/pidf+xml").publish(body="<x/>", expires=60)
    assert (response.status, response.header("Accept")) == (415, KIND)


# ---- full and partial state ----


def test_full_state_each_time_unless_partial_is_wanted(net: Network, alice: Agent, bob: Agent) -> None:
    lamp = Lamp(bob)
    publish_calls(alice).publish(body=info(dialog("1", "early")), expires=60)
    publish_calls(alice).publish(body=info(dialog("2", "confirmed")), expires=60)
    assert lamp.news() == [
        ("full", {}),
        ("full", {"1": "early"}),
        ("full", {"2": "confirmed", "1": "early"}),
    ]


def test_rfc4235_3_7_a_subscribe_brings_the_state_of_all_dialogs(partial_net: Network) -> None:
    alice, bob = partial_net.agent("alice"), partial_net.agent("bob")
    publish_calls(alice).publish(body=info(dialog("1", "early"), dialog("2")), expires=600)
    lamp = Lamp(bob)
    publish_calls(alice).publish(body=info(dialog("3")), expires=600)
    lamp.watch.refresh()
    everything = {"1": "early", "2": "confirmed", "3": "confirmed"}
    assert lamp.news() == [
        ("full", {"1": "early", "2": "confirmed"}),
        ("partial", {"3": "confirmed"}),
        ("full", everything),
    ]
    fetched = Lamp(partial_net.agent("carol"), expires=0)
    assert fetched.news() == [("full", everything)]


def test_rfc4235_3_3_what_no_partial_state_could_say_is_told_as_a_whole(partial_net: Network) -> None:
    """A dialog that is gone without having ended, and a document without dialogs."""
    alice, bob = partial_net.agent("alice"), partial_net.agent("bob")
    lamp = Lamp(bob)
    calls, others = publish_calls(alice), publish_calls(alice)
    calls.publish(body=info(dialog("1"), dialog("2")), expires=60)
    others.publish(body=info(dialog("3")), expires=60)
    calls.publish(body=info(dialog("2")), expires=60)
    calls.publish(expires=0)
    others.publish(expires=0)
    assert lamp.news() == [
        ("full", {}),
        ("partial", {"1": "confirmed", "2": "confirmed"}),
        ("partial", {"3": "confirmed"}),
        ("full", {"3": "confirmed", "2": "confirmed"}),
        ("full", {"3": "confirmed"}),
        ("full", {}),
    ]


@pytest.mark.parametrize("partial", ["true", "false"])
def test_an_ended_dialog_is_told_once_to_whoever_is_there(partial: str) -> None:
    with network(f"presence_dialoginfo.partial={partial}") as net:
        alice, bob = net.agent("alice"), net.agent("bob")
        lamp = Lamp(bob)
        calls = publish_calls(alice)
        calls.publish(body=info(dialog("1"), dialog("2", "early")), expires=600)
        calls.publish(body=info(dialog("1", "terminated", event="local-bye"), dialog("2", "early")), expires=600)
        assert lamp.news()[-1][1]["1"] == "terminated"
        assert b'<state event="local-bye">terminated</state>' in lamp.body
        late = Lamp(net.agent("carol"))
        assert late.news() == [("full", {"2": "early"})]
        lamp.watch.refresh()
        assert lamp.news() == [("full", {"2": "early"})]
        calls.publish(body=info(dialog("1", "terminated", event="local-bye"), dialog("2")), expires=600)
        assert lamp.news() == [("partial" if partial == "true" else "full", {"2": "confirmed"})]
        # That it is not published any more is no news.
        calls.publish(body=info(dialog("2")), expires=600)
        assert lamp.news() == []


def test_a_watcher_that_missed_the_end_is_told_everything(partial_net: Network) -> None:
    alice, bob = partial_net.agent("alice"), partial_net.agent("bob")
    lamp = Lamp(bob)
    calls = publish_calls(alice)
    calls.publish(body=info(dialog("1")), expires=600)
    bob.status = None
    calls.publish(body=info(dialog("2"), dialog("1")), expires=600)
    # In flight and unanswered: meanwhile one ends, and is forgotten.
    calls.publish(body=info(dialog("1", "terminated"), dialog("2")), expires=600)
    calls.publish(body=info(dialog("2")), expires=600)
    bob.status = 200
    partial_net.advance(2)
    assert lamp.lit == {"2": "confirmed"}
    assert lamp.news() == []
    assert lamp.gaps == 0


def test_the_same_state_again_is_no_news(net: Network, alice: Agent, bob: Agent) -> None:
    lamp = Lamp(bob)
    calls = publish_calls(alice)
    calls.publish(body=info(dialog("1"), version=1), expires=60)
    calls.publish(body=info(dialog("1"), version=2), expires=60)
    calls.publish(expires=60)
    assert len(lamp.watch.notifies) == 2


# ---- several publishers ----


def test_dialogs_of_several_publishers_are_one_list_and_expire_singly(net: Network, alice: Agent, bob: Agent) -> None:
    lamp = Lamp(bob)
    publish_calls(alice).publish(body=info(dialog("1")), expires=60)
    publish_calls(net.agent("desk")).publish(body=info(dialog("2", "early")), expires=600)
    assert lamp.lit == {"1": "confirmed", "2": "early"}
    net.advance(61)
    assert lamp.lit == {"2": "early"}


def test_the_newest_publication_of_a_dialog_stands(net: Network, alice: Agent, bob: Agent) -> None:
    lamp = Lamp(bob)
    publish_calls(alice).publish(body=info(dialog("1", "early")), expires=600)
    publish_calls(net.agent("proxy")).publish(body=info(dialog("1", "confirmed")), expires=600)
    assert lamp.lit == {"1": "confirmed"}
    publish_calls(net.agent("third")).publish(body=info(dialog("1", "trying")), expires=600)
    assert lamp.lit == {"1": "trying"}


def test_one_sip_dialog_under_two_ids_is_shown_once(net: Network, alice: Agent, bob: Agent) -> None:
    lamp = Lamp(bob)
    names = {"call_id": "c1", "local_tag": "l", "remote_tag": "r"}
    publish_calls(alice).publish(body=info(dialog("phone", "early", **names)), expires=600)
    publish_calls(net.agent("proxy")).publish(body=info(dialog("proxy", "confirmed", **names)), expires=600)
    assert lamp.lit == {"proxy": "confirmed"}


def test_kamailio_3192_an_early_state_that_comes_late_brings_no_dialog_back(
    net: Network, alice: Agent, bob: Agent
) -> None:
    lamp = Lamp(bob)
    names = {"call_id": "c1", "local_tag": "l", "remote_tag": "r"}
    publish_calls(alice).publish(body=info(dialog("1", "confirmed", **names)), expires=600)
    publish_calls(alice).publish(body=info(dialog("1", "terminated", **names)), expires=600)
    assert lamp.lit == {}
    publish_calls(alice).publish(body=info(dialog("1", "early", **names)), expires=600)
    assert lamp.news() == []
    assert lamp.lit == {}
    # An id alone may be used again (section 6.3).
    publish_calls(alice, "sip:carol@example.com").publish(body=info(dialog("1", "terminated")), expires=600)
    publish_calls(alice, "sip:carol@example.com").publish(body=info(dialog("1", "confirmed")), expires=600)
    assert Lamp(bob, uri="sip:carol@example.com").lit == {"1": "confirmed"}


def test_composition_newest_shows_the_newest_publication_alone(net: Network) -> None:
    with network("presence.composition=newest") as net:
        alice, bob = net.agent("alice"), net.agent("bob")
        lamp = Lamp(bob)
        publish_calls(alice).publish(body=info(dialog("1")), expires=600)
        publish_calls(alice).publish(body=info(dialog("2", "early")), expires=600)
        assert lamp.lit == {"2": "early"}


# ---- a subscriber's own calls ----


@pytest.mark.parametrize("own", ["false", "true"])
def test_rfc4235_3_3_a_subscriber_is_not_told_of_its_own_calls(own: str) -> None:
    with network(f"presence_dialoginfo.own_dialogs={own}") as net:
        alice, bob, carol = net.agent("alice"), net.agent("bob"), net.agent("carol")
        with_bob, third = Lamp(bob), Lamp(carol)
        calls = publish_calls(alice)
        target = bob.contact.strip("<>")
        calls.publish(body=info(dialog("1", more=remote(target))), expires=600)
        assert third.lit == {"1": "confirmed"}
        if own == "true":
            assert with_bob.lit == {"1": "confirmed"}
            return
        # "the entire notification to that subscriber is suppressed and the version number … is not incremented".
        assert with_bob.news() == [("full", {})]
        calls.publish(body=info(dialog("1", more=remote(target)), dialog("2")), expires=600)
        assert with_bob.news() == [("full", {"2": "confirmed"})]
        assert (with_bob.version, with_bob.gaps) == (1, 0)
        with_bob.watch.refresh()
        assert with_bob.news() == [("full", {"2": "confirmed"})]


def test_the_sender_of_a_publication_is_left_out(net: Network, alice: Agent, bob: Agent) -> None:
    sender, other = Lamp(bob), Lamp(net.agent("carol"))
    calls = publish_calls(alice)
    calls.publish(f"Sender: {bob.contact}", body=info(dialog("1", "early")), expires=600)
    calls.publish(f"Sender: {bob.contact}", body=info(dialog("1")), expires=600)
    assert sender.news() == [("full", {})]
    assert other.news()[-1] == ("full", {"1": "confirmed"})
    assert net.rows("SELECT sender FROM presentity") == [(bob.contact.strip("<>"),)]
    calls.publish(body=info(dialog("1"), dialog("2")), expires=600)
    assert sender.news() == [("full", {"1": "confirmed", "2": "confirmed"})]


# ---- settings that OpenSIPS and Kamailio have ----


def test_force_single_dialog_shows_who_could_be_picked_up(net: Network) -> None:
    with network("presence_dialoginfo.force_single_dialog=true") as net:
        alice, bob = net.agent("alice"), net.agent("bob")
        lamp = Lamp(bob)
        first, second = publish_calls(alice), publish_calls(alice)
        first.publish(body=info(dialog("1", "confirmed")), expires=600)
        assert lamp.news()[-1] == ("full", {"1": "confirmed"})
        second.publish(body=info(dialog("2", "early")), expires=600)
        assert lamp.news() == [("full", {"2": "early"})]
        second.publish(body=info(dialog("2", "trying")), expires=600)
        assert lamp.news() == [("full", {"1": "confirmed"})]
        first.publish(body=info(dialog("1", "terminated")), expires=600)
        assert lamp.news() == [("full", {"2": "trying"})]
        second.publish(expires=0)
        assert lamp.lit == {}


def test_force_single_dialog_no_state_of_a_dialog_goes_back(net: Network) -> None:
    """Kamailio's rule: what another document knows to be later stands, whichever came last."""
    with network("presence_dialoginfo.force_single_dialog=true") as net:
        alice, bob = net.agent("alice"), net.agent("bob")
        lamp = Lamp(bob)
        names = {"call_id": "c", "local_tag": "l", "remote_tag": "r"}
        publish_calls(alice).publish(body=info(dialog("1", "confirmed", **names)), expires=600)
        publish_calls(alice).publish(body=info(dialog("1", "early", **names)), expires=600)
        assert lamp.lit == {"1": "confirmed"}


def test_kamailio_55_force_dummy_dialog_never_leaves_a_document_empty(net: Network) -> None:
    with network("presence_dialoginfo.force_dummy_dialog=true") as net:
        alice, bob = net.agent("alice"), net.agent("bob")
        lamp = Lamp(bob)
        assert list(lamp.news()[0][1].values()) == ["terminated"]
        calls = publish_calls(alice)
        calls.publish(body=info(dialog("1")), expires=600)
        assert lamp.news() == [("full", {"1": "confirmed"})]
        calls.publish(expires=0)
        assert list(lamp.news()[0][1].values()) == ["terminated"]


# ---- who may see what ----


@pytest.mark.parametrize(("status", "reason"), [(2, ""), (1, "polite-block")])
def test_who_may_not_see_calls_sees_nobody_in_a_call(status: int, reason: str) -> None:
    with network("server.policy=rules", "presence_dialoginfo.authorise=true") as net:
        net.rows(
            "INSERT INTO watchers (presentity_uri, watcher_username, watcher_domain, event,"
            " status, reason, inserted_time) "
            f"VALUES ('{ALICE}', 'bob', 'example.com', 'dialog', {status}, '{reason}', 1)"
        )
        alice, bob = net.agent("alice"), net.agent("bob")
        lamp = Lamp(bob)
        own = Lamp(alice)
        calls = publish_calls(alice)
        calls.publish(body=info(dialog("1", "early")), expires=600)
        calls.publish(body=info(dialog("1")), expires=600)
        assert lamp.news() == [("full", {})]
        assert lamp.watch.newest.body == own.watch.notifies[0].body
        lamp.watch.refresh()
        assert lamp.news() == [("full", {})]
        assert own.lit == {"1": "confirmed"}


def test_rules_about_presence_are_not_about_calls_unless_that_is_configured(net: Network) -> None:
    with network("server.policy=rules") as net:
        lamp = Lamp(net.agent("bob"))
        assert lamp.watch.state == "active"


# ---- a restart ----


@pytest.mark.parametrize("partial", ["true", "false"])
def test_calls_and_versions_go_on_after_a_restart(partial: str) -> None:
    with network(f"presence_dialoginfo.partial={partial}") as net:
        alice, bob = net.agent("alice"), net.agent("bob")
        lamp = Lamp(bob)
        calls = publish_calls(alice)
        calls.publish(body=info(dialog("1"), dialog("3", "terminated")), expires=600)
        lamp.news()
        net.restart()
        assert lamp.news() == [("full", {"1": "confirmed"})]
        assert calls.publish(body=info(dialog("1"), dialog("2", "early")), expires=600).status == 200
        assert lamp.lit == {"1": "confirmed", "2": "early"}
        assert lamp.gaps == 0


def test_rfc4235_3_10_no_more_than_once_a_second_where_that_is_configured() -> None:
    with network("presence.notify_interval_s=1") as net:
        alice, bob = net.agent("alice"), net.agent("bob")
        lamp = Lamp(bob)
        calls = publish_calls(alice)
        for state in ("trying", "early", "confirmed"):
            calls.publish(body=info(dialog("1", state)), expires=60)
        assert lamp.news() == [("full", {}), ("full", {"1": "trying"})]
        net.advance(1.1)
        assert lamp.news() == [("full", {"1": "confirmed"})]
