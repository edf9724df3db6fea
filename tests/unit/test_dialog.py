"""The dialog a SUBSCRIBE creates, seen from the notifier (RFC 3261 section 12)."""

import ipaddress

import pytest

from presence._fastcore import parse
from presence.errors import BadRequest, Forbidden
from presence.subscription.dialog import AllowedTargets, Target, choose_target, read_dialog, watcher_of

LOOPBACK = AllowedTargets((ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128")))


class Came:
    transport = "UDP"
    flow = 0


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


@pytest.mark.parametrize(
    ("contact", "target"),
    [
        ("<sip:bob@127.0.0.1>", Target("UDP", "127.0.0.1", 5060)),
        ("<sip:bob@127.0.0.2:5071;transport=tcp>", Target("TCP", "127.0.0.2", 5071)),
        ("<sip:bob@[::1]:5072>", Target("UDP", "::1", 5072)),
        ("<sip:bob@localhost:5073>", Target("UDP", "127.0.0.1", 5073)),
        ("<sip:bob@phone.example.com:5074>", Target("UDP", "127.0.0.9", 5074)),
    ],
)
def test_where_notifies_go(contact, target):
    dialog = read_dialog(subscribe(contact=contact))
    assert choose_target(dialog, Came(), ("127.0.0.9", 4000), LOOPBACK) == target
    assert Target.parse(str(target)) == target


@pytest.mark.parametrize("contact", ["<sip:bob@192.0.2.1>", "<sip:bob@[2001:db8::1]>", "<sip:bob@[::ffff:192.0.2.1]>"])
def test_nothing_is_sent_where_the_configuration_does_not_allow_it(contact):
    dialog = read_dialog(subscribe(contact=contact))
    with pytest.raises(Forbidden, match="Contact Address Not Allowed"):
        choose_target(dialog, Came(), ("127.0.0.9", 4000), LOOPBACK)


def test_rfc5626_a_connection_that_stands_is_used():
    came = Came()
    came.transport, came.flow = "TCP", 7
    dialog = read_dialog(subscribe(contact="<sip:bob@192.0.2.1:5070;transport=tcp>"))
    target = choose_target(dialog, came, ("127.0.0.9", 4000), LOOPBACK)
    assert target == Target("TCP", "127.0.0.9", 5070, 7)
