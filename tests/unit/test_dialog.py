"""The dialog a SUBSCRIBE creates, seen from the notifier (RFC 3261 section 12)."""

import pytest

from presence._fastcore import parse
from presence.errors import BadRequest
from presence.subscription.dialog import read_dialog, watcher_of


def subscribe(*lines, contact="<sip:bob@127.0.0.1:5070>", sender='"Bob" <sip:bob@example.com>;tag=f'):
    text = [
        "SUBSCRIBE sip:alice@example.com SIP/2.0",
        "Via: SIP/2.0/UDP 127.0.0.1:5070;branch=z9hG4bK1",
        f"From: {sender}",
        "To: <sip:alice@example.com>",
        "Call-ID: c",
        "CSeq: 1 SUBSCRIBE",
        f"Contact: {contact}",
        *lines,
        "Content-Length: 0",
    ]
    request = parse(("\r\n".join(text) + "\r\n\r\n").encode())
    assert request.error == ""
    return request


def test_the_watchers_from_is_kept_with_its_name_and_parameters():
    sender = '"Bob \\"B\\"; esq." <sip:bob@example.com;user=phone>;x="a;b";y;tag=f'
    dialog = read_dialog(subscribe(sender=sender))
    assert dialog.remote == '"Bob \\"B\\"; esq." <sip:bob@example.com;user=phone>;x="a;b";y'
    assert dialog.remote_tag == "f"
    assert watcher_of(dialog) == ("bob", "example.com")


def test_rfc3261_12_2_1_1_loose_and_strict_routes():
    loose = read_dialog(subscribe("Record-Route: <sip:p1.example.com;lr>, <sip:p2.example.com;lr>"))
    assert loose.request_line() == (
        "sip:bob@127.0.0.1:5070",
        "<sip:p1.example.com;lr>, <sip:p2.example.com;lr>",
    )
    strict = read_dialog(subscribe("Record-Route: <sip:p1.example.com>, <sip:p2.example.com;lr>"))
    assert strict.request_line() == (
        "sip:p1.example.com",
        "<sip:p2.example.com;lr>, <sip:bob@127.0.0.1:5070>",
    )


@pytest.mark.parametrize(
    ("contact", "reason"),
    [("*", "Bad"), ("<tel:+1234>", "Contact Is Not a SIP URI"), ("<sip:b b@127.0.0.1>", "Bad Address")],
)
def test_a_contact_nobody_can_be_reached_by_is_refused(contact, reason):
    with pytest.raises(BadRequest, match=reason):
        read_dialog(subscribe(contact=contact))


def test_too_long_a_route_set_is_refused():
    route = ", ".join(["<sip:127.0.0.1;lr>"] * 17)
    with pytest.raises(BadRequest, match="Too Many"):
        read_dialog(subscribe(f"Record-Route: {route}"))
