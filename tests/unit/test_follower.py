"""The follower of documents elsewhere (RFC 5875, RFC 6665 section 4.1) against a notifier that does as the test wants.

follower                notifier
 | SUBSCRIBE (list)        |
 |------------------------>|
 |                     200 |
 |<------------------------|
 | NOTIFY (entity-tags)    |
 |<------------------------|
 | 200                     |
 |------------------------>|
"""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from presence._fastcore import Message, build_response, parse
from presence.agents.follower import (
    ADDED_AT_ONCE,
    CONNECT_MAX_S,
    EXPIRES_S,
    MAX_LIST_BYTES,
    MAX_SUBSCRIPTIONS,
    MAX_URIS,
    REFUSED_S,
    RETRY_MAX_S,
    RETRY_S,
    Changed,
    Follower,
    Lost,
    Terms,
)
from presence.document.uri_list import read_uri_list
from presence.document.xcapdiff import DocumentPart, write_xcap_diff
from presence.sip.build import SentBy, make_branch, write_request
from presence.sip.transaction import TIMER_F_S
from presence.values import Aor
from presence.xcap.documents import Key

ALICE, CAROL = Aor("alice", "example.com"), Aor("carol", "example.com")
RULES, LISTS = "pres-rules", "resource-lists"
NOTIFIER = "sip:xcap-diff@example.com"
XCAP_DIFF = "application/xcap-diff+xml"


def sel(owner: Aor = ALICE, auid: str = RULES) -> str:
    return f"{auid}/users/{owner.uri}/index"


def key(owner: Aor = ALICE, auid: str = RULES) -> Key:
    return Key(auid, owner, "index")


class Desk:
    """A follower, what it holds, and the notifier it talks to."""

    def __init__(self, transport: str = "TCP", applications: tuple[str, ...] = (RULES,), **terms) -> None:
        self.held: dict[Key, str] = {}
        self.random = Random(2)
        self.local = SentBy(transport, "127.0.0.1", 5062)
        known = {"watcher": "sip:presence@example.com", "user": "", "password": "", "filename": "index", **terms}
        self.agent = Follower(
            Terms(NOTIFIER, applications=applications, datagrams=transport == "UDP", **known), Random(1), self.held.get
        )
        self.cseq = 0

    def sent(self) -> list[Message]:
        messages = [parse(data) for data in self.agent.take_outgoing()]
        assert [message.error for message in messages] == [""] * len(messages)
        return messages

    def subscribe(self) -> Message:
        """Return the one SUBSCRIBE that was sent."""
        (message,) = self.sent()
        assert message.method == "SUBSCRIBE"
        return message

    def answer(self, subscribe: Message, status: int, now: float, **fields: str) -> None:
        lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in fields.items()).encode()
        self.agent.receive(build_response(subscribe, status, b"Because", b"notifier", lines), now)

    def accept(self, subscribe: Message, now: float) -> None:
        self.answer(subscribe, 200, now, Expires=str(EXPIRES_S), Contact="<sip:127.0.0.1:5060>")

    def notify(self, subscribe: Message, now: float, *parts: DocumentPart, state: str = "active", **more) -> Message:
        """Send a NOTIFY and return the response to it."""
        self.cseq += 1
        body = more.pop("body", write_xcap_diff("http://xcap.example.com/xcap-root/", parts, 100_000))
        headers = {
            "From": f"<{NOTIFIER}>;tag=notifier",
            "To": f"<sip:presence@example.com>;tag={subscribe.from_tag}",
            "Call-ID": more.pop("call_id", subscribe.call_id),
            "CSeq": f"{self.cseq} NOTIFY",
            "Event": "xcap-diff",
            "Contact": "<sip:127.0.0.1:5060>",
            "Content-Type": more.pop("content_type", XCAP_DIFF),
            "Subscription-State": state,
        }
        via = SentBy("TCP", "127.0.0.1", 5060).via(make_branch(self.random))
        self.agent.receive(write_request("NOTIFY", "sip:127.0.0.1:5062", via, tuple(headers.items()), body), now)
        responses = self.sent()
        assert len(responses) == 1
        return responses[0]

    def changed(self) -> list[Key]:
        events = self.agent.take_events()
        assert all(isinstance(event, Changed) for event in events), events
        return [key for event in events if isinstance(event, Changed) for key in event.keys]

    def lost(self) -> Lost:
        (event,) = self.agent.take_events()
        assert isinstance(event, Lost)
        return event

    def establish(self, *owners: Aor, parts: tuple[DocumentPart, ...] = (), now: float = 0.0) -> Message:
        self.agent.follow(owners or (ALICE,), now)
        self.agent.opened(self.local, now)
        subscribe = self.subscribe()
        self.accept(subscribe, now)
        assert self.notify(subscribe, now, *parts).status == 200
        return subscribe


def listed(subscribe: Message) -> list[str]:
    return read_uri_list(subscribe.body)


# What is asked for


def test_rfc5875_4_4_the_documents_of_the_watched_are_named():
    desk = Desk(applications=(RULES, LISTS))
    assert not desk.agent.wants_flow(0)
    desk.agent.follow((ALICE, Aor("a/b c", "example.com")), 0)
    assert desk.agent.wants_flow(0)
    assert desk.sent() == []
    desk.agent.opened(desk.local, 0)
    assert not desk.agent.wants_flow(0)
    request = desk.subscribe()
    assert request.uri == NOTIFIER
    assert request.header("From").startswith("<sip:presence@example.com>;tag=")
    assert request.header("Event") == "xcap-diff;diff-processing=no-patching"
    assert request.header("Accept") == XCAP_DIFF
    assert request.header("Expires") == str(EXPIRES_S)
    assert request.header("Content-Type") == "application/resource-lists+xml"
    assert listed(request) == [
        sel(),
        sel(auid=LISTS),
        "pres-rules/users/sip:a%2Fb%20c@example.com/index",
        "resource-lists/users/sip:a%2Fb%20c@example.com/index",
    ]


def test_who_comes_and_goes_is_told_in_the_dialog_there_is():
    desk = Desk()
    first = desk.establish()
    desk.agent.follow((ALICE,), 3)
    assert desk.sent() == []
    desk.agent.follow((CAROL, ALICE), 6)
    more = desk.subscribe()
    assert (more.call_id, more.to_tag, more.cseq) == (first.call_id, "notifier", 2)
    assert sorted(listed(more)) == [sel(), sel(CAROL)]
    # One request after the other: what comes meanwhile goes with the next.
    desk.agent.follow((CAROL,), 9)
    desk.agent.follow((CAROL, Aor("dave", "example.com")), 9)
    assert desk.sent() == []
    desk.accept(more, 10)
    assert listed(desk.subscribe()) == [sel(CAROL), sel(Aor("dave", "example.com"))]


def test_nobody_watched_is_no_subscription():
    desk = Desk()
    first = desk.establish()
    desk.agent.follow((), 10)
    last = desk.subscribe()
    assert (last.call_id, last.header("Expires"), last.body) == (first.call_id, "0", b"")
    assert sum(desk.agent.counts().values()) == 0
    desk.answer(last, 200, 10, Expires="0")
    assert desk.notify(last, 10, state="terminated;reason=timeout").status == 200
    assert desk.agent.next_deadline() is None
    assert desk.agent.take_events() == []
    desk.agent.closed(20)
    assert not desk.agent.wants_flow(1000)


def test_many_are_spread_over_subscriptions_within_bounds():
    desk = Desk()
    owners = [Aor(f"user{number}", "example.com") for number in range(MAX_URIS + 50)]
    assert desk.agent.follow(owners, 0)
    assert not desk.agent.follow(owners, 0)
    desk.agent.opened(desk.local, 0)
    requests = desk.sent()
    assert [len(listed(request)) for request in requests] == [MAX_URIS, 50]
    assert [uri for request in requests for uri in listed(request)] == [sel(owner) for owner in owners]
    # Who goes makes room for who comes.
    for request in requests:
        desk.accept(request, 0)
        desk.notify(request, 0)
    desk.agent.follow((*owners[1:], ALICE), 3)
    (changed,) = desk.sent()
    assert changed.call_id == requests[0].call_id
    assert listed(changed) == [*(sel(owner) for owner in owners[1:MAX_URIS]), sel()]
    desk.accept(changed, 3)
    desk.notify(changed, 3)
    crowd = [Aor(f"user{number}", "example.com") for number in range(MAX_SUBSCRIPTIONS * MAX_URIS + 1)]
    turns = 1
    while desk.agent.follow(crowd, 6):
        turns += 1
    assert turns >= (MAX_SUBSCRIPTIONS * MAX_URIS - len(owners)) // ADDED_AT_ONCE
    assert sum(desk.agent.counts().values()) == MAX_SUBSCRIPTIONS


def test_rfc3261_18_1_1_no_datagram_is_too_large():
    desk = Desk("UDP", (RULES, LISTS, "pidf-manipulation"), user="presence", password="secret")
    desk.agent.follow([Aor(f"user{number}", "example.com") for number in range(20)], 0)
    desk.agent.opened(desk.local, 0)
    first = desk.sent()
    for request in first:
        desk.answer(request, 401, 1, WWW_Authenticate='Digest realm="example.com", nonce="0123456789", qop="auth"')
    again = [data for data in desk.agent.take_outgoing() if b"Authorization" in data]
    assert len(again) == len(first) >= 15
    assert max(map(len, again)) < 1300
    assert all(parse(data).body for data in again)


def test_a_name_that_fits_nowhere_holds_nobody_up():
    desk = Desk()
    desk.agent.follow((Aor("x" * MAX_LIST_BYTES, "example.com"), ALICE), 0)
    desk.agent.opened(desk.local, 0)
    assert listed(desk.subscribe()) == [sel()]


# What is heard


def test_another_entity_tag_or_none_is_fetched():
    desk = Desk()
    desk.held[key()] = "1"
    request = desk.establish(parts=(DocumentPart(sel(), None, "1"),))
    assert desk.changed() == []
    desk.notify(request, 10, DocumentPart(sel(), "1", "2"))
    assert desk.changed() == [key()]
    desk.held[key()] = "2"
    desk.notify(request, 20, DocumentPart(sel(), "1", "2"))
    assert desk.changed() == []
    desk.notify(request, 30, DocumentPart(sel(), "2", None))
    assert desk.changed() == [key()]
    del desk.held[key()]
    desk.notify(request, 40, DocumentPart(sel(), "2", None))
    assert desk.changed() == []
    desk.notify(request, 50, DocumentPart(sel(), None, "3"))
    assert desk.changed() == [key()]


def test_rfc5875_4_7_what_the_first_notify_leaves_out_is_asked_for_once():
    desk = Desk()
    desk.held.update({key(): "1", key(CAROL): "1"})
    request = desk.establish(ALICE, CAROL, parts=(DocumentPart(sel(CAROL), None, "1"),))
    assert desk.changed() == [key()]
    desk.notify(request, 10)
    assert desk.changed() == []


def test_what_is_new_in_the_list_is_compared_too():
    desk = Desk()
    desk.held.update({key(): "1", key(CAROL): "1"})
    desk.establish(parts=(DocumentPart(sel(), None, "1"),))
    desk.agent.follow((ALICE, CAROL), 10)
    more = desk.subscribe()
    desk.accept(more, 10)
    desk.notify(more, 10, DocumentPart(sel(), None, "1"))
    assert desk.changed() == [key(CAROL)]


def test_an_undecided_notifier_says_nothing_of_what_is_not_told():
    desk = Desk()
    desk.held[key()] = "1"
    desk.agent.follow((ALICE,), 0)
    desk.agent.opened(desk.local, 0)
    request = desk.subscribe()
    desk.accept(request, 0)
    desk.notify(request, 0, state="pending")
    assert desk.changed() == []
    assert desk.agent.counts() == {"notify_wait": 0, "pending": 1, "active": 0, "terminated": 0}
    desk.notify(request, 5)
    assert desk.changed() == [key()]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no XML",
        b"<xcap-diff/>",
        b'<!DOCTYPE a><xcap-diff xmlns="urn:ietf:params:xml:ns:xcap-diff" xcap-root="http://x/"/>',
        b'<xcap-diff xmlns="urn:ietf:params:xml:ns:xcap-diff" xcap-root="http://x/">'
        + b'<document sel="a" new-etag="1"/>' * 3
        + b"<document/></xcap-diff>",
        b'<xcap-diff xmlns="urn:ietf:params:xml:ns:xcap-diff" xcap-root="http://x/">'
        + b"".join(b'<document sel="%d" new-etag="1"/>' % number for number in range(1001))
        + b"</xcap-diff>",
    ],
    ids=range(6),
)
def test_a_body_that_is_none_is_passed_over(body):
    desk = Desk()
    request = desk.establish()
    desk.agent.take_events()
    assert desk.notify(request, 1, body=body).status == 200
    assert desk.changed() == []


def test_only_documents_that_were_asked_for_matter():
    desk = Desk()
    request = desk.establish()
    elsewhere = (sel(CAROL), "test-app/users/sip:alice@example.com/index", "pres-rules/global/index", "", "/", "%", "x")
    desk.notify(request, 1, *(DocumentPart(name, None, "1") for name in elsewhere if name))
    assert desk.changed() == []
    desk.notify(request, 2, DocumentPart("/pres-rules/users/sip%3Aalice%40example.com/index.xml", None, "1"))
    assert desk.changed() == [key()]


def test_a_stranger_on_the_flow_is_refused():
    desk = Desk()
    request = desk.establish()
    assert desk.notify(request, 1, call_id="another").status == 481
    assert desk.changed() == []


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_nothing_that_comes_breaks_it(data, body):
    desk = Desk()
    request = desk.establish()
    desk.agent.receive(data, 1)
    desk.notify(request, 1, body=body)
    desk.sent()
    desk.agent.handle_timer(2)


# Ends


def test_a_challenge_is_answered():
    desk = Desk(user="presence", password="secret")
    desk.agent.follow((ALICE,), 0)
    desk.agent.opened(desk.local, 0)
    challenge = 'Digest realm="example.com", nonce="1", qop="auth"'
    desk.answer(desk.subscribe(), 401, 1, WWW_Authenticate=challenge)
    again = desk.subscribe()
    assert 'username="presence"' in again.header("Authorization")
    assert listed(again) == [sel()]
    # The same again is a wrong password: it is tried later.
    desk.answer(again, 401, 2, WWW_Authenticate=challenge)
    assert desk.lost() == Lost("Because", RETRY_S, False, False)


def test_a_failure_is_tried_again_later_and_later():
    desk = Desk()
    desk.agent.follow((ALICE,), 0)
    desk.agent.opened(desk.local, 0)
    now, waits = 0.0, []
    for _ in range(9):
        desk.answer(desk.subscribe(), 403, now)
        assert desk.agent.counts()["terminated"] == 1
        waits.append(desk.lost().wait_s)
        desk.agent.handle_timer(now + waits[-1] - 0.1)
        # Who comes meanwhile does not shorten it.
        desk.agent.follow((ALICE, Aor(f"user{now}", "example.com")), now)
        assert desk.sent() == []
        now += waits[-1]
        assert desk.agent.next_deadline() == now
        desk.agent.handle_timer(now)
    assert waits == [RETRY_S * 2**n for n in range(6)] + [RETRY_MAX_S] * 3
    request = desk.subscribe()
    desk.accept(request, now)
    desk.notify(request, now)
    desk.notify(request, now, state="terminated;reason=giveup;retry-after=7")
    assert desk.lost().wait_s == 7


def test_rfc3261_20_33_retry_after_counts():
    desk = Desk()
    desk.agent.follow((ALICE,), 0)
    desk.agent.opened(desk.local, 0)
    desk.answer(desk.subscribe(), 503, 0, Retry_After="1000")
    assert desk.lost() == Lost("Because", 1000, False, False)


@pytest.mark.parametrize(
    ("end", "wait_s"),
    [
        ("deactivated", 0),
        ("timeout", 0),
        ("probation;retry-after=30", 30),
        ("rejected", REFUSED_S),
        ("noresource", REFUSED_S),
        ("invariant", REFUSED_S),
        ("invented", 60),
    ],
)
def test_rfc6665_4_1_3_after_an_end_everything_is_compared_anew(end, wait_s):
    desk = Desk()
    desk.held[key()] = "1"
    first = desk.establish(parts=(DocumentPart(sel(), None, "1"),))
    desk.notify(first, 100, state=f"terminated;reason={end}", content_type="text/plain")
    assert desk.lost().wait_s == wait_s
    if wait_s:
        desk.agent.handle_timer(100 + wait_s - 0.1)
        assert desk.sent() == []
    desk.agent.handle_timer(100 + wait_s)
    again = desk.subscribe()
    assert again.call_id != first.call_id
    assert listed(again) == [sel()]
    desk.accept(again, 100 + wait_s)
    desk.notify(again, 100 + wait_s)
    assert desk.changed() == [key()]


def test_a_notifier_that_ends_every_subscription_at_once_is_a_failure_that_goes_on():
    desk = Desk()
    desk.agent.follow((ALICE,), 0)
    desk.agent.opened(desk.local, 0)
    now, heard = 0.0, []
    for _ in range(3):
        request = desk.subscribe()
        desk.accept(request, now)
        assert desk.notify(request, now, state="terminated;reason=rejected").status == 200
        heard.append(desk.lost())
        now += REFUSED_S
        desk.agent.handle_timer(now)
    assert heard == [Lost("rejected", REFUSED_S, again, False) for again in (False, True, True)]


def test_rfc6665_4_1_2_2_it_is_refreshed_with_its_list():
    desk = Desk()
    first = desk.establish()
    desk.agent.handle_timer(0)
    at = desk.agent.next_deadline()
    assert at is not None
    assert EXPIRES_S / 2 <= at < EXPIRES_S
    desk.agent.handle_timer(at)
    refresh = desk.subscribe()
    assert (refresh.call_id, refresh.to_tag, listed(refresh)) == (first.call_id, "notifier", [sel()])
    desk.answer(refresh, 481, at)
    assert desk.lost().wait_s == 0
    desk.agent.handle_timer(at)
    assert desk.subscribe().to_tag == ""


# Connections


def test_a_flow_that_is_lost_is_asked_for_again_later_and_later():
    desk = Desk()
    desk.held[key()] = "1"
    desk.establish(parts=(DocumentPart(sel(), None, "1"),))
    now, waits = 100.0, []
    for _ in range(9):
        desk.agent.closed(now)
        assert desk.agent.counts() == {"notify_wait": 0, "pending": 0, "active": 0, "terminated": 1}
        assert desk.agent.next_deadline() is None
        began = now
        while not desk.agent.wants_flow(now):
            now += 0.5
        waits.append(now - began)
    assert waits == [1, 2, 4, 8, 16, 32, CONNECT_MAX_S, CONNECT_MAX_S, CONNECT_MAX_S]
    desk.agent.opened(desk.local, now)
    again = desk.subscribe()
    desk.accept(again, now)
    desk.notify(again, now)
    assert desk.changed() == [key()]
    desk.agent.closed(now)
    assert desk.agent.wants_flow(now + 1)


def test_a_notifier_that_is_silent_is_worth_another_connection():
    desk = Desk()
    desk.agent.follow((ALICE,), 0)
    desk.agent.opened(desk.local, 0)
    desk.subscribe()
    desk.agent.handle_timer(TIMER_F_S)
    assert desk.lost() == Lost("Request Timeout", RETRY_S, False, True)
    desk.agent.closed(TIMER_F_S)
    assert desk.agent.wants_flow(TIMER_F_S + 1)


def test_leaving_ends_every_subscription():
    desk = Desk()
    desk.establish()
    desk.agent.leave(1)
    assert desk.subscribe().header("Expires") == "0"
