"""Our publisher and our watcher before a server that asks who they are (RFC 3261 sections 22.2 and 22.3)."""

from random import Random

import pytest

from presence._fastcore import Message, build_response, parse
from presence.agents.publisher import Published, Publisher, PublishFailed
from presence.agents.watcher import Ended, Subscribed, Watcher
from presence.sip.build import SentBy, write_request
from presence.sip.challenge import Answerer
from presence.sip.digest import Credentials, hash_account, read_credentials, respond

ALICE = "sip:alice@example.com"
HERE = SentBy("TCP", "127.0.0.1", 5062)


class Client:
    """An agent and its wire."""

    def __init__(self, kind: str) -> None:
        answerer = Answerer("alice", "wonderland", Random(2))
        if kind == "PUBLISH":
            self.publisher = Publisher(ALICE, "presence", "application/pidf+xml", HERE, Random(1), answerer=answerer)
            self.publisher.publish(b"<open/>", 0.0)
            self.agent: Publisher | Watcher = self.publisher
        else:
            self.watcher = Watcher(ALICE, "presence", "application/pidf+xml", HERE, Random(1), answerer=answerer)
            self.watcher.subscribe(0.0)
            self.agent = self.watcher

    def sent(self) -> list[Message]:
        return [parse(data) for data in self.agent.take_outgoing()]

    def answer(self, request: Message, status: int, *lines: str) -> None:
        text = "".join(f"{line}\r\n" for line in lines).encode()
        self.agent.receive(build_response(request, status, b"Because", b"tag", text), 0.0)


def asks(status: int, nonce: str, *, stale: bool = False) -> str:
    name = {401: "WWW-Authenticate", 407: "Proxy-Authenticate"}[status]
    return f'{name}: Digest realm="example.com", nonce="{nonce}", qop="auth"{", stale=true" if stale else ""}'


def proof_in(request: Message, status: int) -> Credentials:
    value = request.header({401: "Authorization", 407: "Proxy-Authorization"}[status])
    assert value is not None
    given = read_credentials(value)
    assert given is not None
    assert given.response == respond(given, hash_account("MD5", "alice", "example.com", "wonderland"), request.method)
    return given


@pytest.mark.parametrize("status", [401, 407])
@pytest.mark.parametrize("method", ["PUBLISH", "SUBSCRIBE"])
def test_rfc3261_22_2_a_challenge_is_answered_with_a_higher_cseq(method: str, status: int) -> None:
    client = Client(method)
    (first,) = client.sent()
    assert (first.method, first.header("Authorization")) == (method, None)
    client.answer(first, status, asks(status, "one"))
    (second,) = client.sent()
    given = proof_in(second, status)
    assert (given.nonce, given.nc, given.uri) == ("one", "00000001", ALICE)
    assert (second.call_id, second.from_tag, second.cseq) == (first.call_id, first.from_tag, first.cseq + 1)
    assert second.branch != first.branch
    assert client.agent.take_events() == []


@pytest.mark.parametrize("method", ["PUBLISH", "SUBSCRIBE"])
def test_rfc3261_22_1_what_was_rejected_is_not_sent_again_unless_the_nonce_was_stale(method: str) -> None:
    client = Client(method)
    (request,) = client.sent()
    for nonce, stale in (("one", False), ("two", True)):
        client.answer(request, 401, asks(401, nonce, stale=stale))
        (request,) = client.sent()
        assert proof_in(request, 401).nonce == nonce
    client.answer(request, 401, asks(401, "three"))
    assert client.sent() == []
    (event,) = client.agent.take_events()
    assert isinstance(event, PublishFailed | Ended)


def test_rfc3261_22_2_credentials_are_kept_for_the_next_request() -> None:
    client = Client("PUBLISH")
    (request,) = client.sent()
    client.answer(request, 401, asks(401, "one"))
    (request,) = client.sent()
    client.answer(request, 200, "SIP-ETag: a", "Expires: 600")
    (event,) = client.agent.take_events()
    assert isinstance(event, Published)
    client.publisher.publish(b"<closed/>", 1.0)
    (request,) = client.sent()
    given = proof_in(request, 401)
    assert (given.nonce, given.nc) == ("one", "00000002")


def test_rfc3261_22_2_a_refresh_of_a_subscription_is_proven_without_being_asked() -> None:
    client = Client("SUBSCRIBE")
    (request,) = client.sent()
    client.answer(request, 401, asks(401, "one"))
    (request,) = client.sent()
    client.answer(request, 200, "Expires: 600", "Contact: <sip:presence@127.0.0.1:5060>")
    (event,) = client.agent.take_events()
    assert isinstance(event, Subscribed)
    headers = (
        ("From", f"<{ALICE}>;tag=notifier"),
        ("To", f"<{ALICE}>;tag={request.from_tag}"),
        ("Call-ID", request.call_id),
        ("CSeq", "1 NOTIFY"),
        ("Event", "presence"),
        ("Contact", "<sip:presence@127.0.0.1:5060>"),
        ("Subscription-State", "active;expires=600"),
    )
    client.agent.receive(write_request("NOTIFY", "sip:127.0.0.1:5062", HERE.via("z9hG4bKn"), headers, b""), 0.5)
    (response,) = client.sent()
    assert response.status == 200
    client.watcher.unsubscribe(1.0)
    (request,) = client.sent()
    given = proof_in(request, 401)
    assert (given.nc, given.uri) == ("00000002", "sip:presence@127.0.0.1:5060")
