"""The watcher (RFC 6665 section 4.1) against a notifier that does what the test wants.

bob                     notifier
 | SUBSCRIBE               |
 |------------------------>|
 |                     200 |
 |<------------------------|
 | NOTIFY                  |
 |<------------------------|
 | 200                     |
 |------------------------>|
"""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from presence._fastcore import Message, build_response, parse
from presence.agents.usage import AGAIN, LATER_S, NOTIFIED, TABLE, Input, State, SubscriptionState
from presence.agents.watcher import (
    MAX_ANSWERED,
    MAX_RETRIES,
    NO_NOTIFY,
    RETRY_AFTER_S,
    Ended,
    Notified,
    Subscribed,
    Watcher,
)
from presence.sip.build import SentBy, make_branch, write_request

ALICE, BOB = "sip:alice@example.com", "sip:bob@example.com"
PIDF = "application/pidf+xml"
HERE = SentBy("UDP", "127.0.0.1", 5060)


class Bob:
    """A watcher and the notifier it talks to."""

    def __init__(self, transport: str = "UDP", **options) -> None:
        local = SentBy(transport, "127.0.0.1", 5062)
        self.agent = Watcher(ALICE, "presence", PIDF, local, Random(1), watcher=BOB, **options)
        self.random = Random(2)
        self.subscribe = parse(b"")
        self.cseq = 0

    def sent(self) -> list[Message]:
        messages = [parse(data) for data in self.agent.take_outgoing()]
        assert [message.error for message in messages] == [""] * len(messages)
        return messages

    def sent_one(self) -> Message:
        (message,) = self.sent()
        return message

    def take_subscribe(self) -> Message:
        self.subscribe = self.sent_one()
        assert self.subscribe.method == "SUBSCRIBE"
        return self.subscribe

    def answer(self, status: int, now: float, **fields: str) -> list:
        lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in fields.items()).encode()
        self.agent.receive(build_response(self.subscribe, status, b"Because", b"notifier", lines), now)
        return self.agent.take_events()

    def write_notify(self, state: str | None, *, cseq: int = 0, event: str = "presence", tag: str = "notifier", **more):
        self.cseq = cseq or self.cseq + 1
        to_tag = more.pop("to_tag", self.subscribe.from_tag)
        headers = {
            "From": f"<{ALICE}>;tag={tag}",
            "To": f"<{BOB}>;tag={to_tag}",
            "Call-ID": more.pop("call_id", self.subscribe.call_id),
            "CSeq": f"{self.cseq} NOTIFY",
            "Event": event,
            "Contact": more.pop("contact", "<sip:presence@127.0.0.1:5060>"),
            "Content-Type": PIDF,
            **({} if state is None else {"Subscription-State": state}),
            **{name.replace("_", "-"): value for name, value in more.items()},
        }
        fields = tuple((name, value) for name, value in headers.items() if value)
        branch = make_branch(self.random)
        return write_request("NOTIFY", "sip:127.0.0.1:5062", HERE.via(branch), fields, b"<presence/>")

    def notify(self, state: str | None, now: float, **more) -> Message:
        """Send a NOTIFY and return the response to it; a SUBSCRIBE sent meanwhile is kept."""
        return self.deliver(self.write_notify(state, **more), now)

    def deliver(self, data: bytes, now: float) -> Message:
        self.agent.receive(data, now)
        messages = self.sent()
        self.subscribe = next((message for message in messages if message.is_request), self.subscribe)
        (response,) = [message for message in messages if not message.is_request]
        return response

    def establish(self, now: float = 0.0, expires: str = "3600") -> None:
        self.agent.subscribe(now)
        self.take_subscribe()
        (event,) = self.answer(200, now, Expires=expires, Contact="<sip:presence@127.0.0.1:5060>")
        assert isinstance(event, Subscribed)
        assert self.notify("active", now).status == 200
        (event,) = self.agent.take_events()
        assert isinstance(event, Notified)

    def events(self) -> list:
        return self.agent.take_events()


def test_rfc3261_8_1_1_8_a_sips_presentity_is_subscribed_to_with_a_sips_contact():
    local = SentBy("TLS", "127.0.0.1", 5063)
    agent = Watcher("sips:alice@example.com", "presence", PIDF, local, Random(1))
    agent.subscribe(0.0)
    (request,) = map(parse, agent.take_outgoing())
    assert (request.uri, request.header("Contact")) == ("sips:alice@example.com", "<sips:127.0.0.1:5063>")


def test_rfc6665_4_1_2_1_subscribe():
    bob = Bob()
    bob.agent.subscribe(0.0)
    request = bob.take_subscribe()
    assert (request.uri, request.event, request.expires, request.to_tag) == (ALICE, "presence", 3600, "")
    assert (request.header("Contact"), request.header("Accept")) == ("<sip:127.0.0.1:5062>", PIDF)
    assert request.header("From") == f"<{BOB}>;tag={request.from_tag}"
    (subscribed,) = bob.answer(200, 0.1, Expires="1800")
    assert (subscribed.expires_s, bob.agent.state) == (1800, State.NOTIFY_WAIT)
    response = bob.notify("active;expires=1800", 0.2)
    assert (response.status, response.cseq, response.method) == (200, 1, "NOTIFY")
    (notified,) = bob.events()
    assert notified == Notified(SubscriptionState("active", "", 1800), 1, PIDF, b"<presence/>")
    assert bob.agent.state is State.ACTIVE


def test_rfc6665_4_1_2_4_notify_may_come_before_the_200():
    bob = Bob()
    bob.agent.subscribe(0.0)
    bob.take_subscribe()
    assert bob.notify("pending", 0.1).status == 200
    assert bob.agent.state is State.PENDING
    bob.answer(200, 0.2, Expires="3600")
    assert bob.agent.state is State.PENDING
    assert [type(event) for event in bob.events()] == []


def test_rfc6665_4_1_2_2_refresh_in_the_dialog_before_the_expiry():
    bob = Bob()
    bob.establish(expires="60")
    first = bob.subscribe
    bob.agent.handle_timer(29.9)
    assert bob.sent() == []
    bob.agent.handle_timer(30.0)
    request = bob.take_subscribe()
    assert (request.call_id, request.from_tag, request.to_tag) == (first.call_id, first.from_tag, "notifier")
    assert (request.cseq, request.uri) == (first.cseq + 1, "sip:presence@127.0.0.1:5060")


def test_rfc6665_4_1_3_expires_of_a_notify_is_authoritative():
    bob = Bob()
    bob.establish(expires="3600")
    bob.notify("active;expires=20", 1.0)
    bob.agent.handle_timer(11.0)
    assert bob.take_subscribe().cseq == 2


def test_rfc6665_4_1_2_3_unsubscribe_waits_for_the_final_notify():
    bob = Bob()
    bob.establish()
    bob.agent.unsubscribe(5.0)
    assert bob.take_subscribe().expires == 0
    bob.answer(200, 5.1, Expires="0")
    assert bob.agent.state is State.ACTIVE
    assert bob.notify("terminated;reason=timeout", 5.2).status == 200
    notified, ended = bob.events()
    assert (notified.subscription.reason, ended) == ("timeout", Ended("timeout", None, None))
    bob.agent.handle_timer(10_000.0)
    assert (bob.sent(), bob.agent.next_deadline()) == ([], None)


def test_unsubscribe_before_the_first_notify_waits_for_the_dialog():
    bob = Bob()
    bob.agent.subscribe(0.0)
    bob.take_subscribe()
    bob.agent.unsubscribe(0.1)
    bob.answer(200, 0.2, Expires="3600")
    assert bob.sent() == []
    bob.agent.receive(bob.write_notify("active"), 0.3)
    response, request = bob.sent()
    assert (response.status, request.method, request.expires, request.to_tag) == (200, "SUBSCRIBE", 0, "notifier")


def test_a_notify_that_crosses_the_unsubscribe_does_not_end_the_wait():
    bob = Bob(timeout_s=4.0)
    bob.establish()
    bob.agent.unsubscribe(5.0)
    bob.take_subscribe()
    bob.answer(200, 5.1, Expires="0")
    bob.notify("active;expires=3000", 5.2)
    bob.agent.handle_timer(9.0)
    assert bob.events()[-1] == Ended(NO_NOTIFY, None, None)


def test_unsubscribe_while_waiting_to_try_again():
    bob = Bob()
    bob.establish()
    bob.notify("terminated;reason=probation;retry-after=30", 1.0)
    assert bob.events()[-1].retry_s == 30
    bob.agent.unsubscribe(2.0)
    assert bob.events() == [Ended("unsubscribed", None, None)]
    bob.agent.handle_timer(100.0)
    assert (bob.sent(), bob.agent.next_deadline()) == ([], None)


def test_rfc6665_4_4_3_fetch():
    bob = Bob()
    bob.agent.fetch(0.0)
    assert bob.take_subscribe().expires == 0
    bob.answer(200, 0.1, Expires="0")
    bob.notify("terminated;reason=timeout", 0.2)
    notified, ended = bob.events()
    assert (notified.body, ended.retry_s) == (b"<presence/>", None)


@pytest.mark.parametrize("change", [{"call_id": "other"}, {"to_tag": "other"}, {"tag": "fork"}])
def test_rfc6665_4_1_3_unknown_subscription_is_481(change):
    bob = Bob()
    bob.establish()
    assert bob.notify("active", 1.0, **change).status == 481
    assert bob.events() == []


def test_before_and_after_a_subscription_every_notify_is_481():
    bob = Bob()
    assert bob.notify("active", 0.0, call_id="c", to_tag="t").status == 481
    bob.establish()
    bob.notify("terminated;reason=rejected", 1.0)
    assert bob.notify("active", 2.0).status == 481


@pytest.mark.parametrize("event", ["dialog", "presence.winfo", "presence;id=7"])
def test_rfc6665_4_1_3_wrong_event_is_489(event):
    bob = Bob()
    bob.establish()
    response = bob.notify("active", 1.0, event=event)
    assert (response.status, response.header("Allow-Events")) == (489, "presence")


@pytest.mark.parametrize("cseq", [4, 5])
def test_rfc3261_12_2_2_a_cseq_out_of_order_is_500(cseq):
    bob = Bob()
    bob.establish()
    assert bob.notify("active", 1.0, cseq=5).status == 200
    assert bob.notify("active", 1.1, cseq=cseq).status == 500
    assert bob.notify("active", 1.2, cseq=9).status == 200
    assert [event.cseq for event in bob.events()] == [5, 9]


def test_rfc3261_17_2_2_a_retransmitted_notify_gets_the_same_response_and_counts_once():
    bob = Bob()
    bob.establish()
    notify = bob.write_notify("terminated;reason=timeout")
    answers = {bob.deliver(notify, now).raw for now in (1.0, 1.2, 1.4)}
    assert len(answers) == 1
    assert [type(event) for event in bob.events()] == [Notified, Ended]


@pytest.mark.parametrize(
    ("state", "more"),
    [(None, {}), ("", {}), (";reason=x", {}), ("active", {"contact": "<tel:5>"}), ("active", {"contact": ""})],
)
def test_a_first_notify_that_makes_no_dialog_is_400(state, more):
    bob = Bob()
    bob.agent.subscribe(0.0)
    bob.take_subscribe()
    assert bob.notify(state, 0.1, **more).status == 400
    assert (bob.events(), bob.agent.state) == ([], State.NOTIFY_WAIT)


def test_another_method_is_405():
    bob = Bob()
    bob.establish()
    data = bob.write_notify("active").replace(b"NOTIFY", b"MESSAGE")
    bob.agent.receive(data, 1.0)
    response = bob.sent_one()
    assert (response.status, response.header("Allow")) == (405, "NOTIFY")


def test_rfc6665_4_4_1_the_route_set_is_that_of_the_notify():
    bob = Bob()
    bob.agent.subscribe(0.0)
    bob.take_subscribe()
    bob.answer(200, 0.1, Expires="60", Record_Route="<sip:wrong.example.com;lr>")
    bob.notify("active", 0.2, Record_Route="<sip:p1.example.com;lr>, <sip:p2.example.com;lr>")
    bob.agent.handle_timer(30.2)
    request = bob.take_subscribe()
    assert request.uri == "sip:presence@127.0.0.1:5060"
    assert request.values("Route") == ["<sip:p1.example.com;lr>", "<sip:p2.example.com;lr>"]


def test_rfc3261_12_2_1_1_a_strict_router_gets_its_own_uri():
    bob = Bob()
    bob.agent.subscribe(0.0)
    bob.take_subscribe()
    bob.notify("active;expires=60", 0.2, Record_Route="<sip:p1.example.com>, <sip:p2.example.com;lr>")
    bob.answer(200, 0.3, Expires="60")
    bob.agent.handle_timer(30.3)
    request = bob.take_subscribe()
    assert request.uri == "sip:p1.example.com"
    assert request.values("Route") == ["<sip:p2.example.com;lr>", "<sip:presence@127.0.0.1:5060>"]


def test_rfc3261_12_2_1_2_the_remote_target_follows_contact():
    bob = Bob()
    bob.establish(expires="60")
    bob.notify("active", 1.0, contact="<sip:moved@127.0.0.1:5070>")
    bob.agent.handle_timer(30.0)
    assert bob.take_subscribe().uri == "sip:moved@127.0.0.1:5070"
    bob.answer(200, 30.1, Expires="60", Contact="<sip:again@127.0.0.1:5071>")
    bob.agent.unsubscribe(31.0)
    assert bob.take_subscribe().uri == "sip:again@127.0.0.1:5071"


@pytest.mark.parametrize("status", [403, 404, 489, 500])
def test_rfc6665_4_1_2_1_a_refused_subscription_is_over(status):
    bob = Bob()
    bob.agent.subscribe(0.0)
    bob.take_subscribe()
    (ended,) = bob.answer(status, 0.1)
    assert (ended.answer.status, ended.retry_s, bob.agent.state) == (status, None, State.TERMINATED)


def test_423_raises_the_interval_a_few_times():
    bob = Bob(expires_s=10)
    bob.agent.subscribe(0.0)
    for attempt in range(MAX_RETRIES):
        bob.take_subscribe()
        assert bob.answer(423, 0.1, Min_Expires=str(60 + attempt)) == []
    assert bob.take_subscribe().expires == 60 + MAX_RETRIES - 1
    (ended,) = bob.answer(423, 0.2, Min_Expires="1000")
    assert ended.answer.status == 423


def test_rfc6665_4_1_2_2_481_to_a_refresh_makes_a_new_subscription():
    bob = Bob()
    bob.establish(expires="60")
    bob.agent.handle_timer(30.0)
    old = bob.take_subscribe()
    (ended,) = bob.answer(481, 30.1)
    assert ended.retry_s == 0
    bob.agent.handle_timer(30.1)
    new = bob.take_subscribe()
    assert (new.to_tag, new.uri) == ("", ALICE)
    assert new.call_id != old.call_id
    assert new.from_tag != old.from_tag


def test_rfc6665_4_1_2_2_other_failures_of_a_refresh_leave_the_subscription_alive():
    bob = Bob()
    bob.establish(expires="60")
    bob.agent.handle_timer(30.0)
    bob.take_subscribe()
    assert bob.answer(503, 30.1) == []
    assert bob.agent.state is State.ACTIVE
    assert bob.notify("active", 31.0).status == 200
    bob.agent.handle_timer(46.0)
    assert bob.take_subscribe().cseq == 3
    bob.agent.handle_transport_error(46.1)
    assert bob.agent.state is State.ACTIVE
    bob.events()
    bob.agent.handle_timer(60.1)
    assert bob.events() == [Ended("expired", None, 0)]


def test_rfc6665_4_1_2_4_no_notify_is_a_failed_subscription():
    bob = Bob(timeout_s=5.0)
    bob.agent.subscribe(0.0)
    bob.take_subscribe()
    bob.answer(200, 0.1, Expires="60")
    bob.agent.handle_timer(5.0)
    assert bob.events() == [Ended(NO_NOTIFY, None, None)]


def test_a_silent_server_is_408_and_a_subscription_that_stood_is_tried_again():
    bob = Bob(timeout_s=5.0)
    bob.agent.subscribe(0.0)
    bob.agent.handle_timer(5.0)
    (ended,) = bob.events()
    assert (ended.answer.status, ended.answer.response, ended.retry_s) == (408, None, None)
    bob.sent()
    bob.establish(10.0, expires="60")
    bob.agent.handle_timer(40.0)
    bob.agent.handle_timer(45.0)
    (ended,) = bob.events()
    assert (ended.answer.status, ended.retry_s) == (408, RETRY_AFTER_S)
    bob.sent()
    bob.agent.handle_timer(55.0)
    assert bob.take_subscribe().to_tag == ""


@pytest.mark.parametrize(
    ("state", "retry_s"),
    [
        ("terminated;reason=deactivated;retry-after=99", 0),
        ("terminated;reason=timeout", 0),
        ("terminated;reason=probation;retry-after=99", 99),
        ("terminated;reason=probation", LATER_S),
        ("terminated;reason=giveup;retry-after=7", 7),
        ("terminated;reason=rejected;retry-after=1", None),
        ("terminated;reason=noresource", None),
        ("terminated;reason=invariant;retry-after=1", None),
        ("terminated;reason=unheard-of;retry-after=8", 8),
        ("Terminated ; Reason=Rejected", None),
        ("terminated", LATER_S),
    ],
)
def test_rfc6665_4_1_3_what_a_reason_says_about_trying_again(state, retry_s):
    bob = Bob()
    bob.establish()
    assert bob.notify(state, 100.0).status == 200
    assert bob.events()[-1].retry_s == retry_s
    bob.agent.handle_timer(100.0 + (retry_s or 0))
    assert len(bob.sent()) == (0 if retry_s is None else 1)


def test_a_notifier_that_ends_every_subscription_is_asked_ever_less():
    bob = Bob()
    now, waits = 0.0, []
    bob.agent.subscribe(now)
    for _ in range(12):
        bob.take_subscribe()
        bob.answer(200, now, Expires="60")
        bob.notify("terminated;reason=deactivated", now)
        waits.append(bob.events()[-1].retry_s)
        now += waits[-1]
        bob.agent.handle_timer(now)
    assert waits == [0, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]


def test_responses_kept_for_retransmissions_are_bounded():
    bob = Bob()
    bob.establish()
    first = bob.write_notify("active")
    assert bob.deliver(first, 1.0).status == 200
    for _ in range(MAX_ANSWERED - 1):
        bob.notify("active", 1.0)
    assert bob.deliver(first, 1.0).status == 200
    bob.notify("active", 1.0)
    assert bob.deliver(first, 1.0).status == 500


def test_an_extension_state_is_shown_and_changes_nothing():
    bob = Bob()
    bob.establish()
    assert bob.notify("resting", 1.0).status == 200
    assert (bob.events()[-1].subscription.state, bob.agent.state) == ("resting", State.ACTIVE)


def test_the_tables_cover_the_states_and_reasons():
    assert {state for state, _ in TABLE} == set(State)
    assert set(TABLE.values()) == set(State) - {State.INIT}
    assert set(NOTIFIED.values()) == set(Input) - {Input.SUBSCRIBED}
    assert set(AGAIN) == {"deactivated", "probation", "rejected", "timeout", "giveup", "noresource", "invariant"}


@given(st.binary() | st.text().map(lambda text: f"NOTIFY x SIP/2.0\r\n{text}\r\n\r\n".encode()))
def test_whatever_comes_the_watcher_lives(data):
    bob = Bob()
    bob.establish()
    bob.agent.receive(data, 1.0)
    bob.sent()
    assert bob.notify("active", 2.0).status == 200


@given(st.text(), st.text(), st.text(), st.text())
def test_whatever_a_notify_says_it_gets_a_response(state, contact, route, event):
    bob = Bob()
    bob.agent.subscribe(0.0)
    bob.take_subscribe()
    data = bob.write_notify(state, contact=contact, Record_Route=route, event=event or "presence")
    assert bob.deliver(data, 0.1).status in (200, 400, 489)


@pytest.mark.parametrize("status", [404, 405, 410, 416, 480, 481, 482, 483, 484, 485, 489, 501, 604])
def test_rfc6665_4_1_2_2_these_failures_of_a_refresh_end_the_subscription(status):
    bob = Bob()
    bob.establish(expires="60")
    call_id = bob.subscribe.call_id
    bob.agent.handle_timer(55.0)
    bob.take_subscribe()
    (ended,) = bob.answer(status, 55.1)
    assert isinstance(ended, Ended)
    assert ended.answer.status == status
    assert bob.notify("active", 55.2, call_id=call_id).status == 481


def test_rfc6665_8_3_1_202_is_what_200_is():
    bob = Bob()
    bob.agent.subscribe(0.0)
    bob.take_subscribe()
    (event,) = bob.answer(202, 0.1, Expires="60", Contact="<sip:presence@127.0.0.1:5060>")
    assert (type(event), event.expires_s) == (Subscribed, 60)
    assert bob.notify("pending", 0.2).status == 200
    bob.events()
    bob.agent.handle_timer(55.0)
    bob.take_subscribe()
    (event,) = bob.answer(202, 55.1, Expires="60")
    assert isinstance(event, Subscribed)


def test_rfc6665_4_1_4_the_tag_of_the_notify_may_differ_from_that_of_the_200():
    """The SUBSCRIBE forked; RFC 3856 section 6.9 lets the first NOTIFY alone make a dialog."""
    bob = Bob()
    bob.agent.subscribe(0.0)
    bob.take_subscribe()
    bob.answer(200, 0.1, Expires="60", Contact="<sip:presence@127.0.0.1:5060>")
    assert bob.notify("active", 0.2, tag="fork").status == 200
    assert bob.notify("active", 0.3, tag="notifier").status == 481
    bob.agent.handle_timer(55.0)
    assert bob.take_subscribe().to_tag == "fork"


@pytest.mark.parametrize("state", ["active", "pending"])
def test_rfc6665_4_1_3_expires_of_either_state_is_authoritative(state):
    bob = Bob()
    bob.establish(expires="3600")
    assert bob.notify(f"{state};expires=60", 1.0).status == 200
    assert bob.agent.next_deadline() < 61.0


def test_rfc6665_4_1_3_expires_of_an_end_is_ignored():
    bob = Bob()
    bob.establish()
    bob.notify("terminated;reason=rejected;expires=3600", 1.0)
    assert bob.events()[-1] == Ended("rejected", None, None)
    for now in (10.0, 3500.0, 4000.0):
        bob.agent.handle_timer(now)
    assert (bob.sent(), bob.events(), bob.agent.next_deadline()) == ([], [], None)


def test_rfc6665_4_4_2_after_deactivated_comes_a_new_dialog_without_the_old_route():
    bob = Bob()
    bob.agent.subscribe(0.0)
    first = bob.take_subscribe()
    bob.answer(200, 0.1, Expires="60", Contact="<sip:presence@127.0.0.1:5060>")
    bob.notify("active", 0.2, Record_Route="<sip:127.0.0.1:5080;lr>")
    bob.notify("terminated;reason=deactivated", 1.0, Record_Route="<sip:127.0.0.1:5080;lr>")
    bob.agent.handle_timer(1.0)
    (again,) = [message for message in [bob.subscribe, *bob.sent()] if message.is_request][-1:]
    assert (again.call_id == first.call_id, again.from_tag == first.from_tag) == (False, False)
    assert (again.uri, again.to_tag, again.header("Route")) == (ALICE, "", None)


def test_rfc6665_4_5_2_no_dialog_is_shared_whatever_contact_says():
    bob, other = Bob(), Bob()
    other.agent = Watcher(ALICE, "message-summary", "text/plain", SentBy("UDP", "127.0.0.1", 5062), Random(5))
    bob.agent.subscribe(0.0)
    other.agent.subscribe(0.0)
    first, second = bob.take_subscribe(), other.take_subscribe()
    assert first.call_id != second.call_id
    assert first.to_tag == second.to_tag == ""


def test_rfc6665_4_6_nothing_is_ever_cancelled():
    bob = Bob()
    bob.agent.subscribe(0.0)
    methods = [message.method for message in bob.sent()]
    bob.agent.unsubscribe(0.1)
    for now in (1.0, 5.0, 31.0, 33.0):
        bob.agent.handle_timer(now)
        methods += [message.method for message in bob.sent()]
    assert set(methods) == {"SUBSCRIBE"}


def test_rfc6665_3_1_2_a_subscribe_has_one_event_an_expires_and_an_accept():
    """RFC 3857 section 4.5: Accept names the document of the package."""
    for event, accept in (("presence", PIDF), ("presence.winfo", "application/watcherinfo+xml")):
        agent = Watcher(ALICE, event, accept, SentBy("UDP", "127.0.0.1", 5062), Random(3))
        agent.subscribe(0.0)
        request = parse(agent.take_outgoing()[0])
        assert request.headers("Event") == [event]
        assert request.headers("Accept") == [accept]
        assert request.expires == 3600
        assert request.header("Subscription-State") is None
