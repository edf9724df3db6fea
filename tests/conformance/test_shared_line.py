"""The package dialog;sla: bridged line appearance (draft-anil-sipping-bla-03), as OpenSIPS 1.6 has it."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from dialoginfo import KIND, Lamp, dialog, info, publish_calls, remote
from net import Agent, Network, Publication

SLA = "dialog;sla"
LINE = "sip:line@example.com"
FOREIGN = {"call_id": "c1", "local_tag": "l1", "remote_tag": "r1"}


@contextmanager
def network(*settings: str) -> Iterator[Network]:
    net = Network(*settings)
    try:
        yield net
    finally:
        net.close()


def phone(net: Network, name: str) -> Agent:
    """A phone that registered the line, whose name is the user of its Contact."""
    agent = net.agent(name)
    agent.contact = f"<sip:line@127.0.0.1:{agent.address[1]}>"
    return agent


def seize(net: Network) -> Publication:
    """What a state agent publishes for a phone of the line."""
    return publish_calls(net.agent("agent"), LINE, SLA)


@pytest.mark.parametrize("event", ["dialog;sla", "dialog ; sla", "dialog;SLA", "dialog;x=y;sla"])
def test_event_has_the_parameter_sla_however_it_is_written(net: Network, event: str) -> None:
    lamp = Lamp(phone(net, "bob"), event=event)
    seize(net).publish(body=info(dialog("1", "trying")), expires=60)
    assert lamp.lit == {"1": "trying"}
    assert {notify.header("Event") for notify in lamp.watch.notifies} == {"dialog;sla"}
    assert net.rows("SELECT event, presentity_uri FROM active_watchers") == [("dialog;sla", LINE)]
    assert net.rows("SELECT event, username FROM presentity") == [("dialog;sla", "line")]


def test_it_is_another_package_than_dialog(net: Network, alice: Agent) -> None:
    shared, lamp = Lamp(phone(net, "bob"), event=SLA), Lamp(phone(net, "carol"), uri=LINE)
    seize(net).publish(body=info(dialog("1")), expires=60)
    publish_calls(alice, LINE).publish(body=info(dialog("2")), expires=60)
    assert (shared.lit, lamp.lit) == ({"1": "confirmed"}, {"2": "confirmed"})


def test_an_id_goes_with_it(net: Network) -> None:
    lamp = Lamp(phone(net, "bob"), event=SLA, event_id="7")
    assert lamp.watch.newest.header("Event") == "dialog;sla;id=7"
    assert lamp.watch.refresh().status == 200


@pytest.mark.parametrize(
    ("setting", "presentity"),
    [
        ("contact", "sip:line@example.com"),
        ("request-uri", "sip:shared@example.com"),
        ("to", "sip:named@example.com"),
    ],
)
def test_where_the_line_is_named(setting: str, presentity: str) -> None:
    with network(f"presence_xml.bla_presentity={setting}") as net:
        bob = phone(net, "bob")
        request = bob.request(
            "SUBSCRIBE",
            "sip:shared@example.com",
            f"Event: {SLA}",
            f"Contact: {bob.contact}",
            "Expires: 600",
            to="<sip:named@example.com>",
        )
        assert bob.ask(request).status == 200
        assert net.rows("SELECT presentity_uri FROM active_watchers") == [(presentity,)]


def test_a_line_of_another_domain_is_404() -> None:
    with network("server.domain=example.com") as net:
        mallory = phone(net, "mallory")
        mallory.uri = "sip:mallory@example.net"
        request = mallory.request("SUBSCRIBE", LINE, f"Event: {SLA}", f"Contact: {mallory.contact}", "Expires: 600")
        assert mallory.ask(request).status == 404


def test_partial_state_changes_the_dialogs_it_names(net: Network) -> None:
    lamp = Lamp(phone(net, "bob"), event=SLA)
    calls = seize(net)
    calls.publish(body=info(dialog("1", "trying", **FOREIGN), state="partial"), expires=600)
    calls.publish(body=info(dialog("2", "early"), state="partial"), expires=600)
    assert lamp.news() == [("full", {}), ("partial", {"1": "trying"}), ("partial", {"2": "early"})]
    late = Lamp(phone(net, "carol"), event=SLA)
    assert late.news() == [("full", {"2": "early", "1": "trying"})]
    # The same dialog, by Call-ID and tags, under another id.
    calls.publish(body=info(dialog("x", "confirmed", **FOREIGN), state="partial"), expires=600)
    calls.publish(body=info(dialog("2", "terminated"), state="partial"), expires=600)
    assert lamp.lit == late.lit == {"x": "confirmed"}
    # What has ended goes with the next change.
    calls.publish(body=info(dialog("3"), state="partial"), expires=600)
    ((body,),) = net.rows("SELECT CAST(body AS TEXT) FROM presentity")
    assert 'id="2"' not in body
    assert Lamp(phone(net, "dave"), event=SLA).lit == {"3": "confirmed", "x": "confirmed"}


def test_full_state_replaces_all_of_a_publication(net: Network) -> None:
    lamp = Lamp(phone(net, "bob"), event=SLA)
    calls = seize(net)
    calls.publish(body=info(dialog("1"), dialog("2"), state="partial"), expires=600)
    calls.publish(body=info(dialog("2")), expires=600)
    assert lamp.lit == {"2": "confirmed"}


def test_what_partial_state_came_to_outlives_a_restart(net: Network) -> None:
    calls = seize(net)
    calls.publish(body=info(dialog("1"), state="partial"), expires=600)
    calls.publish(body=info(dialog("2"), state="partial"), expires=600)
    net.restart()
    lamp = Lamp(phone(net, "bob"), event=SLA)
    assert lamp.lit == {"1": "confirmed", "2": "confirmed"}
    calls.publish(body=info(dialog("1", "terminated"), state="partial"), expires=600)
    assert lamp.lit == {"2": "confirmed"}


def test_partial_state_that_grows_without_end_is_refused(net: Network) -> None:
    agent = net.agent("agent", transport="TCP")
    calls = publish_calls(agent, LINE, SLA)
    statuses = []
    for start in range(0, 900, 300):
        dialogs = [dialog(str(number)) for number in range(start, start + 300)]
        statuses.append(calls.publish(body=info(*dialogs, state="partial"), expires=600).status)
    assert statuses == [200, 400, 400]
    assert calls.publish(body=info(dialog("0", "terminated"), state="partial"), expires=600).status == 200


def test_the_phone_that_seized_the_line_hears_nothing_of_it(net: Network) -> None:
    bob, carol = phone(net, "bob"), phone(net, "carol")
    seizing, other = Lamp(bob, event=SLA), Lamp(carol, event=SLA)
    calls = seize(net)
    calls.publish(f"Sender: {bob.contact}", body=info(dialog("1", "trying"), state="partial"), expires=600)
    calls.publish(f"Sender: {carol.contact}", body=info(dialog("2", "trying"), state="partial"), expires=600)
    assert net.rows("SELECT sender FROM presentity") == [(bob.contact.strip("<>"),)]
    assert seizing.news() == [("full", {}), ("partial", {"2": "trying"})]
    assert other.news() == [("full", {}), ("partial", {"1": "trying"})]
    assert (seizing.gaps, other.gaps) == (0, 0)
    seizing.watch.refresh()
    assert seizing.lit == {"1": "trying", "2": "trying"}


@pytest.mark.parametrize("fixed", ["true", "false"])
def test_bla_fix_remote_target_names_the_party_instead_of_its_device(fixed: str) -> None:
    with network(f"presence.bla_fix_remote_target={fixed}") as net:
        lamp = Lamp(phone(net, "bob"), event=SLA)
        party = remote("sip:x@192.0.2.1", " sip:dave@example.org?a=b&amp;c ")
        seize(net).publish(body=info(dialog("1", more=party)), expires=600)
        target = b"sip:dave@example.org?a=b&amp;c" if fixed == "true" else b"sip:x@192.0.2.1"
        assert b'<target uri="%b"/>' % target in lamp.body


def test_bla_fix_remote_target_is_for_shared_lines_only(net: Network, alice: Agent) -> None:
    lamp = Lamp(net.agent("carol"))
    publish_calls(alice).publish(
        body=info(dialog("1", more=remote("sip:x@192.0.2.1", "sip:dave@example.org"))), expires=600
    )
    assert b'uri="sip:x@192.0.2.1"' in lamp.body


def test_disable_bla_leaves_dialog_alone() -> None:
    with network("presence_xml.disable_bla=true") as net:
        bob = phone(net, "bob")
        request = bob.request("SUBSCRIBE", LINE, f"Event: {SLA}", f"Contact: {bob.contact}", "Expires: 600")
        response = bob.ask(request)
        assert response.status == 489
        assert "dialog" in response.values("Allow-Events")
        assert Lamp(bob).watch.state == "active"


def test_allow_events_names_types_without_parameters(net: Network, bob: Agent) -> None:
    """RFC 6665 section 8.4: event-type, which no parameter is part of."""
    allowed = bob.ask(bob.request("OPTIONS", "sip:example.com")).values("Allow-Events")
    assert "dialog" in allowed
    assert not [name for name in allowed if ";" in name]


def test_a_remote_row_of_another_start_goes_on(net: Network) -> None:
    bob = phone(net, "bob")
    lamp = Lamp(bob, event=SLA)
    calls = seize(net)
    calls.publish(body=info(dialog("1"), state="partial"), expires=600)
    net.restart()
    calls.publish(body=info(dialog("2"), state="partial"), expires=600)
    assert lamp.lit == {"1": "confirmed", "2": "confirmed"}
    assert lamp.gaps == 0
    assert lamp.watch.newest.header("Event") == SLA
    assert lamp.watch.refresh().status == 200
    assert lamp.watch.unsubscribe().status == 200


def test_what_is_no_dialog_information_is_400(net: Network) -> None:
    for body in ("x", "<presence/>", info("<dialog/>")):
        assert seize(net).publish(body=body, expires=600).status == 400
    assert seize(net).publish(body=info(dialog()), expires=600).status == 200
    assert net.agent("x").publication(LINE, SLA, content_type="text/plain").publish(body="x", expires=60).status == 415


def test_its_body_type_is_said(net: Network) -> None:
    assert Lamp(phone(net, "bob"), event=SLA).watch.newest.header("Content-Type") == KIND
