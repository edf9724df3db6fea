"""Statements of RFC 6665 about single header fields and requests, each small."""

import pytest
import sip
from net import Agent, Network, Subscription

from presence._fastcore import Message

PACKAGES = {
    "presence": "application/pidf+xml",
    "presence.winfo": "application/watcherinfo+xml",
    "message-summary": "application/simple-message-summary",
}


def ask(agent: Agent, *extra: str, method: str = "SUBSCRIBE", **fields: str) -> Message:
    return agent.ask(agent.request(method, "sip:alice@example.com", *extra, **fields))


def subscribe(agent: Agent, *extra: str) -> Message:
    return ask(agent, f"Contact: {agent.contact}", *extra)


def answered(watch: Subscription) -> Message:
    assert watch.response is not None
    return watch.response


# ---- SUBSCRIBE ----


@pytest.mark.parametrize("event", sorted(PACKAGES))
def test_rfc6665_3_1_1_without_expires_the_package_says_how_long(bob: Agent, event: str) -> None:
    response = subscribe(bob, f"Event: {event}")
    assert (response.status, response.header("Expires")) == (200, "3600")


@pytest.mark.parametrize("expires", [0, 1, 60, 3600, 2**31, 2**32 - 1])
def test_rfc6665_3_1_1_every_200_has_expires_and_never_more_than_asked(net: Network, expires: int) -> None:
    bob = net.agent("bob")
    watch = bob.subscribe(expires=expires)
    responses = [answered(watch)]
    if expires:
        responses += [watch.refresh(expires=expires), watch.unsubscribe()]
    for response in responses:
        assert response.status == 200
        assert int(response.header("Expires") or "-1") <= expires
    assert responses[-1].header("Expires") == "0"


@pytest.mark.parametrize(
    "heads",
    [
        ("Event: presence, dialog",),
        ("Event: presence;id=a, presence;id=b",),
        ("Event: presence", "Event: message-summary"),
        ("Event: presence", "o: presence"),
        ("Event: presence;id=a;id=b",),
        ("Event: ;id=a",),
    ],
)
@pytest.mark.parametrize("method", ["SUBSCRIBE", "PUBLISH"])
def test_rfc6665_8_2_1_exactly_one_event_type(net: Network, bob: Agent, method: str, heads: tuple[str, ...]) -> None:
    body = sip.pidf() if method == "PUBLISH" else ""
    kind = ("Content-Type: application/pidf+xml",) if body else (f"Contact: {bob.contact}",)
    assert ask(bob, *heads, *kind, method=method, body=body).status == 400
    assert net.rows("SELECT (SELECT count(*) FROM active_watchers) + (SELECT count(*) FROM presentity)") == [(0,)]


@pytest.mark.parametrize("event", ["Presence", "PRESENCE", "presence.", "presence.winfo.x", "presence-x", "x"])
def test_rfc6665_8_2_1_event_types_are_compared_byte_by_byte(bob: Agent, event: str) -> None:
    response = subscribe(bob, f"Event: {event}")
    assert response.status == 489
    assert response.values("Allow-Events")


@pytest.mark.parametrize("value", ["presence;sla", "presence;x=y", 'presence;x="a;id=b"', "presence ; x = y"])
def test_rfc6665_8_2_1_other_parameters_of_event_mean_nothing(bob: Agent, value: str) -> None:
    assert subscribe(bob, f"Event: {value}").status == 200
    (notify,) = bob.notifies
    assert notify.header("Event") == "presence"


@pytest.mark.parametrize(("value", "shown"), [("presence;id=4", "4"), ("presence;x=y;ID=Ab.c", "Ab.c")])
def test_rfc6665_4_5_2_id_is_in_every_notify(net: Network, bob: Agent, value: str, shown: str) -> None:
    subscribe(bob, f"Event: {value}", "Expires: 60")
    net.agent("alice").publication().publish(body=sip.pidf("x"))
    net.advance(62.0)
    assert len(bob.notifies) == 3
    assert {notify.header("Event") for notify in bob.notifies} == {f"presence;id={shown}"}


def test_rfc6665_4_2_3_without_event_it_is_489(bob: Agent) -> None:
    response = subscribe(bob)
    assert (response.status, bool(response.values("Allow-Events"))) == (489, True)


@pytest.mark.parametrize("tag", ["eventlist", "recipient-list-subscribe", "eventlist, 100rel"])
def test_rfc3261_8_2_2_3_a_required_extension_we_lack_is_420(bob: Agent, tag: str) -> None:
    response = subscribe(bob, "Event: presence", f"Require: {tag}")
    assert response.status == 420
    assert response.values("Unsupported") == [part.strip() for part in tag.split(",")]
    assert bob.notifies == []


def test_rfc4662_4_1_without_a_list_support_of_lists_changes_nothing(bob: Agent) -> None:
    watch = bob.subscribe("Supported: eventlist")
    assert watch.state == "active"
    assert watch.newest.header("Require") is None


@pytest.mark.parametrize("method", ["PUBLISH", "REGISTER", "OPTIONS", "NOTIFY", "REFER", "INVITE", "MESSAGE"])
def test_rfc6665_4_2_1_nothing_but_subscribe_makes_a_subscription(net: Network, bob: Agent, method: str) -> None:
    body = sip.pidf() if method == "PUBLISH" else ""
    kind = ("Content-Type: application/pidf+xml",) if body else ()
    uri = "sip:example.com" if method == "REGISTER" else "sip:alice@example.com"
    heads = (f"Contact: {bob.contact}", "Event: presence", "Refer-To: <sip:carol@example.com>", "Expires: 60")
    bob.ask(bob.request(method, uri, *heads, *kind, to="<sip:bob@example.com>", body=body))
    net.advance(1.0)
    assert bob.notifies == []
    assert len(net.node.table) == 0


def test_rfc6665_4_2_1_1_minimum_is_for_less_than_an_hour_only() -> None:
    net = Network("presence.min_expires_subscribe=3600")
    bob = net.agent("bob")
    for expires, status in ((3599, 423), (3600, 200), (1, 423), (0, 200)):
        response = answered(bob.subscribe(expires=expires))
        assert response.status == status
        assert response.header("Min-Expires") == ("3600" if status == 423 else None)


# ---- NOTIFY ----


def life(net: Network, agent: Agent, event: str) -> list[Message]:
    """Every NOTIFY of a subscription from its begin to its end, with a change, a refresh and an expiry."""
    watch = agent.subscribe(event=event, expires=60)
    other = agent.subscribe(event=event, expires=60, event_id="b")
    net.agent("alice").publication().publish(body=sip.pidf("change"))
    net.agent("carol").subscribe()
    watch.refresh()
    other.unsubscribe()
    net.advance(70.0)
    assert not watch.alive
    return watch.notifies + other.notifies


@pytest.mark.parametrize("event", sorted(PACKAGES))
def test_rfc6665_4_2_2_every_notify_says_the_state(net: Network, bob: Agent, event: str) -> None:
    notifies = life(net, bob, event)
    assert len(notifies) >= 5
    for notify in notifies:
        state = notify.header("Subscription-State") or ""
        word = state.partition(";")[0]
        assert len(notify.headers("Subscription-State")) == 1
        assert word in ("active", "terminated")
        if word == "terminated":
            assert sip.param(state, "reason") == "timeout"
            assert sip.param(state, "expires") == ""
        else:
            assert 0 < int(sip.param(state, "expires")) <= 60
            assert sip.param(state, "reason") == ""


@pytest.mark.parametrize("event", sorted(PACKAGES))
def test_rfc6665_3_2_1_every_notify_has_event_contact_and_a_body_of_the_package(
    net: Network, bob: Agent, event: str
) -> None:
    for notify in life(net, bob, event):
        assert len(notify.headers("Event")) == 1
        assert notify.event == event
        assert len(notify.headers("Contact")) == 1
        if notify.body:
            assert notify.header("Content-Type") == PACKAGES[event]
        else:
            assert "timeout" in (notify.header("Subscription-State") or "")
        assert notify.header("Expires") is None


def test_rfc6665_4_2_2_expires_of_a_notify_is_the_time_left_and_never_longer(net: Network, bob: Agent) -> None:
    watch = bob.subscribe(expires=600)
    publication = net.agent("alice").publication()
    for elapsed in (100, 350, 599):
        net.clock.at = net.clock.at - net.clock.at % 1 + 0.25
        net.advance(elapsed - (600 - int(sip.param(watch.newest.header("Subscription-State"), "expires"))), 1.0)
        publication.publish(body=sip.pidf(str(elapsed)))
        left = int(sip.param(watch.newest.header("Subscription-State"), "expires"))
        assert abs(left - (600 - elapsed)) <= 1
        assert left <= 600 - elapsed + 1


def test_rfc6665_4_2_1_2_a_notify_follows_each_acceptance_at_once(net: Network, bob: Agent) -> None:
    watch = bob.subscribe()
    for expected in (2, 3):
        watch.refresh()
        assert len(watch.notifies) == expected
    watch.unsubscribe()
    assert len(watch.notifies) == 4
    came = [at for at, message in bob.arrivals]
    assert set(came) == {net.clock.at}, "without any time passing"
    kinds = ["NOTIFY" if message.is_request else "200" for _, message in bob.arrivals]
    assert kinds == ["200", "NOTIFY"] * 4, "the response makes the dialog, so it goes first"


def test_rfc6665_4_4_1_a_notify_may_be_answered_before_the_200_is_heard(net: Network, bob: Agent) -> None:
    """The 200 is lost; the NOTIFY makes the dialog, and the retransmitted SUBSCRIBE gets the same 200."""
    watch = Subscription(bob, "sip:alice@example.com")
    data = watch.request(expires=600)
    lost: list[bytes] = []
    post = net.post_to_agent

    def lose(address: tuple[str, int], message: bytes) -> None:
        lost.append(message) if message.startswith(b"SIP/2.0") else post(address, message)

    net.post_to_agent = lose  # type: ignore[method-assign]
    net.post_to_node(bob, data)
    net.settle()
    net.post_to_agent = post  # type: ignore[method-assign]
    assert len(lost) == 1
    assert watch.state == "active"
    assert watch.refresh(expires=300).status == 200
    net.post_to_node(bob, data)
    net.settle()
    assert bob.arrivals[-1][1].raw == lost[0]
    assert net.rows("SELECT count(*) FROM active_watchers") == [(1,)]
    assert len({notify.from_tag for notify in watch.notifies}) == 1


@pytest.mark.parametrize(("event", "change"), [("presence", True), ("presence", False), ("message-summary", False)])
def test_rfc6665_4_2_2_a_change_is_told_at_once(net: Network, bob: Agent, event: str, change: bool) -> None:
    watch = bob.subscribe(event=event)
    publication = net.agent("alice").publication()
    publication.publish(body=sip.pidf("one"))
    if change:
        publication.publish(body=sip.pidf("two"))
    expected = (2 + change) if event == "presence" else 1
    assert len(watch.notifies) == expected


# ---- what stands where ----


def test_rfc6665_8_2_event_and_subscription_state_are_in_no_response(net: Network, bob: Agent) -> None:
    watch = bob.subscribe()
    watch.refresh()
    subscribe(bob, "Event: nonsense")
    bob.publication("sip:bob@example.com").publish(body=sip.pidf())
    ask(bob, method="OPTIONS")
    bob.ask(bob.request("REGISTER", "sip:example.com", to="<sip:bob@example.com>"))
    responses = [message for _, message in bob.arrivals if not message.is_request]
    assert len(responses) >= 6
    for response in responses:
        assert response.header("Event") is None
        assert response.header("Subscription-State") is None
    for notify in bob.notifies:
        assert notify.header("SIP-ETag") is None


def test_rfc6665_4_6_cancel_of_a_subscribe_is_answered_and_changes_nothing(net: Network, bob: Agent) -> None:
    watch = Subscription(bob, "sip:alice@example.com")
    data = watch.request(expires=600)
    for message in (data, data.replace(b"SUBSCRIBE sip", b"CANCEL sip").replace(b" SUBSCRIBE\r\n", b" CANCEL\r\n")):
        net.post_to_node(bob, message)
    net.settle()
    responses = {message.method: message for _, message in bob.arrivals if not message.is_request}
    assert responses["SUBSCRIBE"].status == 200
    assert responses["CANCEL"].status == 200
    assert watch.state == "active"
    assert watch.refresh().status == 200
