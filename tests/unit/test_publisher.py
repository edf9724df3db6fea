"""The event publication agent (RFC 3903 section 4) against a compositor that says what the test wants."""

from random import Random

import pytest
from cut import read

from presence._fastcore import Message, build_response, parse
from presence.agents.publisher import (
    ACTIVITIES,
    MAX_RETRIES,
    RETRY_AFTER_S,
    Published,
    Publisher,
    PublishFailed,
    Removed,
    write_presence,
)
from presence.sip.build import SentBy

ALICE = "sip:alice@example.com"
OPEN, CLOSED = b"<open/>", b"<closed/>"


class Alice:
    """A publisher, and both ends of its wire."""

    def __init__(self, transport: str = "UDP", **options) -> None:
        local = SentBy(transport, "127.0.0.1", 5062)
        self.agent = Publisher(ALICE, "presence", "application/pidf+xml", local, Random(1), **options)

    def sent(self) -> list[Message]:
        messages = [parse(data) for data in self.agent.take_outgoing()]
        assert [message.error for message in messages] == [""] * len(messages)
        return messages

    def sent_one(self) -> Message:
        (message,) = self.sent()
        return message

    def answer(self, request: Message, status: int, now: float, **fields: str) -> list:
        lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in fields.items())
        self.agent.receive(build_response(request, status, b"Because", b"tag", lines.encode()), now)
        return self.agent.take_events()

    def publish(self, now: float = 0.0, etag: str = "one", expires: str = "3600") -> Message:
        self.agent.publish(OPEN, now)
        request = self.sent_one()
        (event,) = self.answer(request, 200, now, SIP_ETag=etag, Expires=expires)
        assert isinstance(event, Published)
        return request


def operation(request: Message) -> tuple[bytes, str | None, int | None]:
    return request.body, request.header("SIP-If-Match"), request.expires


def test_rfc3903_4_2_initial_publication():
    alice = Alice()
    request = alice.publish(expires="1800")
    assert operation(request) == (OPEN, None, 3600)
    assert (request.method, request.uri, request.event) == ("PUBLISH", ALICE, "presence")
    assert request.header("Content-Type") == "application/pidf+xml"
    assert request.header("To") == f"<{ALICE}>"
    assert (alice.agent.etag, alice.agent.granted_s) == ("one", 1800)


def test_rfc3903_4_3_refresh_before_the_expiry_without_a_body():
    alice = Alice()
    first = alice.publish(expires="60")
    alice.agent.handle_timer(29.9)
    assert alice.sent() == []
    alice.agent.handle_timer(30.0)
    request = alice.sent_one()
    assert operation(request) == (b"", "one", 3600)
    assert request.header("Content-Type") is None
    assert request.cseq == first.cseq + 1
    (event,) = alice.answer(request, 200, 30.1, SIP_ETag="two", Expires="60")
    assert (event.etag, alice.agent.etag) == ("two", "two")
    alice.agent.handle_timer(60.1)
    assert operation(alice.sent_one()) == (b"", "two", 3600)


def test_rfc3903_4_4_modify_carries_the_latest_entity_tag():
    alice = Alice()
    alice.publish()
    alice.agent.publish(CLOSED, 5.0)
    assert operation(alice.sent_one()) == (CLOSED, "one", 3600)


def test_rfc3903_4_5_remove():
    alice = Alice()
    alice.publish()
    alice.agent.remove(5.0)
    request = alice.sent_one()
    assert operation(request) == (b"", "one", 0)
    (event,) = alice.answer(request, 200, 5.1, SIP_ETag="two", Expires="0")
    assert isinstance(event, Removed)
    alice.agent.handle_timer(10_000.0)
    assert (alice.agent.etag, alice.sent(), alice.agent.next_deadline()) == ("", [], None)


def test_remove_by_an_entity_tag_of_somebody_else():
    alice = Alice(etag="known")
    alice.agent.remove(0.0)
    assert operation(alice.sent_one()) == (b"", "known", 0)


def test_remove_of_nothing_sends_nothing():
    alice = Alice()
    alice.agent.remove(0.0)
    assert (alice.sent(), alice.agent.take_events()) == ([], [Removed(None)])


def test_rfc3903_4_one_request_at_a_time_and_the_newest_state_wins():
    alice = Alice()
    alice.agent.publish(b"<1/>", 0.0)
    first = alice.sent_one()
    alice.agent.publish(b"<2/>", 0.1)
    alice.agent.publish(b"<3/>", 0.2)
    assert alice.sent() == []
    alice.answer(first, 200, 0.3, SIP_ETag="one", Expires="3600")
    assert operation(alice.sent_one()) == (b"<3/>", "one", 3600)


def test_remove_waits_for_the_answer_before_it():
    alice = Alice()
    alice.agent.publish(OPEN, 0.0)
    first = alice.sent_one()
    alice.agent.remove(0.1)
    assert alice.sent() == []
    alice.answer(first, 200, 0.3, SIP_ETag="one", Expires="3600")
    assert operation(alice.sent_one()) == (b"", "one", 0)


def test_rfc3903_5_412_is_followed_by_a_fresh_initial_publication():
    alice = Alice()
    alice.publish(expires="60")
    alice.agent.handle_timer(30.0)
    assert alice.answer(alice.sent_one(), 412, 30.1) == []
    request = alice.sent_one()
    assert operation(request) == (OPEN, None, 3600)
    (event,) = alice.answer(request, 200, 30.2, SIP_ETag="new", Expires="60")
    assert event.etag == "new"


def test_rfc3903_5_412_to_a_removal_is_told():
    alice = Alice(etag="unknown")
    alice.agent.remove(0.0)
    (event,) = alice.answer(alice.sent_one(), 412, 0.1)
    assert (event.answer.status, event.retry_s, alice.agent.etag) == (412, None, "")
    assert alice.sent() == []


def test_412_to_an_initial_publication_is_not_repeated():
    alice = Alice()
    alice.agent.publish(OPEN, 0.0)
    (event,) = alice.answer(alice.sent_one(), 412, 0.1)
    assert isinstance(event, PublishFailed)
    assert alice.sent() == []


def test_rfc3903_5_423_raises_the_interval():
    alice = Alice(expires_s=10)
    alice.agent.publish(OPEN, 0.0)
    assert alice.answer(alice.sent_one(), 423, 0.1, Min_Expires="90") == []
    request = alice.sent_one()
    assert operation(request) == (OPEN, None, 90)
    alice.answer(request, 200, 0.2, SIP_ETag="one", Expires="90")
    assert alice.agent.granted_s == 90


@pytest.mark.parametrize("fields", [{}, {"Min_Expires": "10"}, {"Min_Expires": "soon"}])
def test_423_that_helps_nobody_is_a_failure(fields):
    alice = Alice(expires_s=10)
    alice.agent.publish(OPEN, 0.0)
    (event,) = alice.answer(alice.sent_one(), 423, 0.1, **fields)
    assert event.answer.status == 423


def test_a_server_that_always_wants_more_is_given_up():
    alice = Alice(expires_s=10)
    alice.agent.publish(OPEN, 0.0)
    for attempt in range(MAX_RETRIES):
        assert alice.answer(alice.sent_one(), 423, 0.1, Min_Expires=str(100 + attempt)) == []
    (event,) = alice.answer(alice.sent_one(), 423, 0.2, Min_Expires="1000")
    assert isinstance(event, PublishFailed)
    assert alice.sent() == []


@pytest.mark.parametrize("status", [403, 408, 489, 503])
def test_a_failed_initial_publication_is_not_repeated(status):
    alice = Alice()
    alice.agent.publish(OPEN, 0.0)
    (event,) = alice.answer(alice.sent_one(), status, 0.1)
    assert (event.answer.status, event.answer.reason, event.retry_s) == (status, "Because", None)
    alice.agent.handle_timer(10_000.0)
    assert alice.sent() == []


def test_silence_is_408_and_a_kept_publication_is_tried_again():
    alice = Alice(timeout_s=5.0)
    alice.publish(expires="60")
    alice.agent.handle_timer(30.0)
    alice.agent.handle_timer(35.0)
    (event,) = alice.agent.take_events()
    assert (event.answer.status, event.answer.response, event.retry_s) == (408, None, RETRY_AFTER_S)
    alice.sent()
    alice.agent.handle_timer(45.0)
    assert operation(alice.sent_one()) == (b"", "one", 3600)


def test_a_modification_that_failed_is_tried_again_with_its_body():
    alice = Alice()
    alice.publish()
    alice.agent.publish(CLOSED, 5.0)
    (event,) = alice.answer(alice.sent_one(), 503, 5.1, Retry_After="77")
    assert event.retry_s == 77
    alice.agent.handle_timer(82.1)
    assert operation(alice.sent_one()) == (CLOSED, "one", 3600)


def test_no_way_to_the_server_is_503():
    alice = Alice()
    alice.agent.publish(OPEN, 0.0)
    alice.agent.handle_transport_error(0.1)
    (event,) = alice.agent.take_events()
    assert (event.answer.status, event.answer.response) == (503, None)


def test_rfc3903_6_a_success_without_entity_tag_is_a_failure():
    alice = Alice()
    alice.agent.publish(OPEN, 0.0)
    (event,) = alice.answer(alice.sent_one(), 200, 0.1, Expires="60")
    assert event.answer.reason == "Answered without SIP-ETag"


def test_a_lifetime_longer_than_asked_is_not_believed():
    alice = Alice(expires_s=60)
    alice.publish(expires="4294967295")
    assert alice.agent.granted_s == 60


def test_over_tcp_a_request_is_sent_once():
    alice = Alice("TCP")
    alice.agent.publish(OPEN, 0.0)
    assert alice.sent_one().via_transport == "TCP"
    alice.agent.handle_timer(10.0)
    assert alice.sent() == []


@pytest.mark.parametrize("data", [b"", b"\r\n\r\n", b"SIP/2.0 200 OK\r\n\r\n", b"\0" * 40, b"NOTIFY x SIP/2.0\r\n\r\n"])
def test_what_is_no_answer_changes_nothing(data):
    alice = Alice()
    alice.agent.publish(OPEN, 0.0)
    alice.sent()
    alice.agent.receive(data, 0.1)
    assert (alice.agent.take_events(), alice.sent()) == ([], [])


@pytest.mark.parametrize("activity", ["", *ACTIVITIES])
def test_rfc3863_what_is_written_can_be_published(activity):
    body = write_presence(ALICE, "t1", "open", note="<&\"'> ünïcode", activity=activity)
    fragments = read(body)
    assert [fragment.id for fragment in fragments] == (["t1", "person-t1"] if activity else ["t1"])
    assert b"<basic>open</basic>" in fragments[0].text
    assert not activity or f"<rpid:{activity}/>".encode() in fragments[1].text


def test_rfc3903_4_record_route_of_a_response_makes_no_route():
    alice = Alice()
    alice.agent.publish(OPEN, 0.0)
    request = alice.sent_one()
    route = "<sip:127.0.0.1:5080;lr>"
    alice.answer(request, 200, 0.0, SIP_ETag="one", Expires="60", Record_Route=route, Contact="<sip:x@127.0.0.1>")
    alice.agent.publish(CLOSED, 1.0)
    again = alice.sent_one()
    assert (again.uri, again.header("Route"), again.to_tag) == (ALICE, None, "")


def test_rfc3903_4_1_every_publish_has_one_event_and_one_entity_tag_at_most():
    alice = Alice()
    requests = [alice.publish(etag="one")]
    requests.append(alice.publish(1.0, etag="two"))
    alice.agent.remove(2.0)
    requests.append(alice.sent_one())
    assert [len(request.headers("Event")) for request in requests] == [1, 1, 1]
    assert [request.headers("SIP-If-Match") for request in requests] == [[], ["one"], ["two"]]
    assert requests[2].expires == 0
    assert [bool(request.body) for request in requests] == [True, True, False]


def test_rfc3903_4_3_each_entity_tag_replaces_the_one_before():
    alice = Alice()
    alice.publish(etag="one", expires="60")
    alice.agent.handle_timer(55.0)
    refresh = alice.sent_one()
    assert operation(refresh) == (b"", "one", 3600)
    alice.answer(refresh, 200, 55.0, SIP_ETag="two", Expires="60")
    alice.agent.handle_timer(110.0)
    assert alice.sent_one().header("SIP-If-Match") == "two"


def test_rfc3903_10_4_a_tuple_keeps_its_id():
    documents = [write_presence(ALICE, "desk", *what) for what in (("open",), ("closed",))]
    documents.append(write_presence(ALICE, "desk", "open", note="again", activity="busy"))
    assert [[tuple.id for tuple in read(document) if tuple.id == "desk"] for document in documents] == [["desk"]] * 3
