"""The scanner beside the slow reference parser: both see the same message, or both refuse it."""

from collections.abc import Iterable

import sip
from slow_parser import Malformed, parse_slowly
from torture import messages

from presence._fastcore import Message, build_response, parse

FIELDS = (
    "is_request", "method", "uri", "status", "reason", "from_tag", "to_tag", "branch", "via_transport",
    "via_host", "call_id", "cseq", "event", "event_id", "expires", "max_forwards", "content_length", "body",
)  # fmt: skip


def run(data: bytes) -> None:
    fast = parse(data)
    try:
        slow = parse_slowly(data)
    except Malformed:
        assert fast.error, "the reference refuses it"
    else:
        assert not fast.error, fast.error
        for name in FIELDS:
            assert getattr(fast, name) == getattr(slow, name), name
        assert len(fast.header_items()) == len(slow.lines)
    exercise(fast)


def exercise(message: Message) -> None:
    """Ask everything of a message: nothing raises, nothing is longer than what came in."""
    for name in dir(message):
        getattr(message, name)
    for name in ("via", "Contact", "subject", "X-Unknown", "s", ""):
        assert message.header(name) == (message.headers(name) or [None])[0]
        message.values(name)
    message.subscriber()
    message.set_source("192.0.2.9", 5060)
    assert message.reply_address
    if message.answerable:
        response = parse(build_response(message, 400, message.error.encode() or b"Bad Request", b"tag"))
        assert (response.status, response.call_id, response.cseq) == (400, message.call_id, message.cseq)
        assert len(response.raw) < len(message.raw) + 1000


WORDS = {"branch": "z9hG4bKfuzz1", "call_id": "call@example.com"}


def seeds() -> Iterable[bytes]:
    """Messages as they are usual, and what is at the edge of what is allowed."""
    uri = "sip:alice@example.com"
    for rfc in ("rfc4475", "rfc5118"):
        yield from (message for message in messages(rfc).values() if len(message) <= 2048)
    for method, *heads in (
        ("SUBSCRIBE", "Event: presence;id=7", "Contact: <sip:bob@192.0.2.4:5070>", "Expires: 600"),
        ("PUBLISH", "Event: presence", "SIP-If-Match: abc", "Content-Type: application/pidf+xml", "Expires: 60"),
        ("NOTIFY", "Event: presence", "Subscription-State: active;expires=5", "Contact: <sip:a@b>"),
        ("REGISTER", 'Contact: "A \\" B" <sips:bob@[2001:db8::1]:5061;ob>;q=0.5, <sip:c@d>;expires=0'),
        ("OPTIONS", "Accept: application/sdp;q=0.1, text/*", "Require: 100rel, \r\n timer", "Subject: x"),
    ):
        yield sip.request(method, uri, *heads, body="body", **WORDS)
    yield sip.lines("SIP/2.0 200 OK", "v:SIP/2.0/UDP h;branch=z9hG4bK1", "f:<sip:a@b>;tag=1", "t:sip:c@d;tag=2",
                    "i:1", "CSeq:1 NOTIFY", "l:0")  # fmt: skip
    yield b"\r\n\r\nSIP/2.0 481 \r\nVia : SIP / 2.0 / TCP\r\n [::1] : 5060 ;branch = z9hG4bK\r\n"
    yield sip.request("SUBSCRIBE", "tel:+1-201", 'X: "', sender='"\\\x07;<>,"<sip:a@b>', **WORDS)
