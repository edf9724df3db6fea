"""Where NOTIFYs go: the flow, the address in Contact or Route, or where the SUBSCRIBE came from."""

import ipaddress
from types import SimpleNamespace

import pytest

from presence._fastcore import Message, parse
from presence.errors import Forbidden
from presence.sip.location import Hop
from presence.subscription.aiming import Aiming, choose_target, is_flow_only
from presence.subscription.dialog import AllowedTargets, Target, read_dialog
from presence.subscription.ways import Ways

LOOPBACK = AllowedTargets((ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128")))
EVERYWHERE = AllowedTargets((ipaddress.ip_network("0.0.0.0/0"), ipaddress.ip_network("::/0")))
SOURCE = ("127.0.0.9", 4000)


def subscribe(
    contact: str,
    *more: str,
    via: str = "SIP/2.0/UDP 127.0.0.1:5070;branch=z9hG4bK1",
    transport: str = "UDP",
    flow: int = 0,
    source: tuple[str, int] = SOURCE,
) -> Message:
    text = [
        "SUBSCRIBE sip:alice@example.com SIP/2.0",
        f"Via: {via}",
        "From: <sip:bob@example.com>;tag=f",
        "To: <sip:alice@example.com>",
        "Call-ID: c",
        "CSeq: 1 SUBSCRIBE",
        f"Contact: {contact}",
        *more,
        "Content-Length: 0",
    ]
    request = parse(("\r\n".join(text) + "\r\n\r\n").encode())
    assert request.error == ""
    request.origin = SimpleNamespace(transport=transport, flow=flow)
    request.set_source(*source)
    return request


def choose(
    request: Message, *, names: bool = True, nat: bool = True, allowed: AllowedTargets = LOOPBACK
) -> Target | Hop:
    return choose_target(read_dialog(request), request, Aiming(allowed, names, nat))


@pytest.mark.parametrize(
    ("contact", "target"),
    [
        ("<sip:bob@127.0.0.1>", Target("UDP", "127.0.0.1", 5060)),
        ("<sip:bob@127.0.0.1;transport=UDP>", Target("UDP", "127.0.0.1", 5060, explicit=True)),
        ("<sip:bob@127.0.0.2:5071;transport=tcp>", Target("TCP", "127.0.0.2", 5071)),
        ("<sip:bob@[::1]:5072>", Target("UDP", "::1", 5072)),
        ("<sip:bob@[::ffff:127.0.0.1]:5072>", Target("UDP", "127.0.0.1", 5072)),
        ("<sip:bob@localhost:5073>", Target("UDP", "127.0.0.1", 5073)),
        ("<sip:bob@127.0.0.1;transport=tls>", Target("TLS", "127.0.0.1", 5061)),
        ("<sips:bob@127.0.0.1>", Target("TLS", "127.0.0.1", 5061)),
        ("<sips:bob@127.0.0.1;transport=tcp>", Target("TLS", "127.0.0.1", 5061)),
        ("<sip:bob@phone.example.com;maddr=127.0.0.3>", Target("UDP", "127.0.0.3", 5060)),
    ],
)
def test_rfc3263_4_a_numeric_host_is_taken_as_it_is(contact: str, target: Target) -> None:
    assert choose(subscribe(contact)) == target
    assert Target.parse(str(target)).place == target.place


def test_a_host_name_is_to_be_looked_up() -> None:
    request = subscribe("<sip:bob@Phone.Example.com:5074;transport=tcp>")
    assert choose(request) == Hop("phone.example.com", 5074, "TCP", False)


def test_without_lookups_a_name_stands_for_where_the_request_came_from() -> None:
    assert choose(subscribe("<sip:bob@phone.example.com:5074>"), names=False) == Target("UDP", "127.0.0.9", 5074)


def test_rfc3261_12_2_1_1_the_first_route_comes_before_the_contact() -> None:
    route = "Record-Route: <sip:127.0.0.4:5080;lr>, <sip:p2.example.com;lr>"
    assert choose(subscribe("<sip:bob@phone.example.com;ob>", route)) == Target("UDP", "127.0.0.4", 5080)


@pytest.mark.parametrize("contact", ["<sip:bob@192.0.2.1>", "<sip:bob@[2001:db8::1]>", "<sip:bob@[::ffff:192.0.2.1]>"])
def test_nothing_is_sent_where_the_configuration_does_not_allow_it(contact: str) -> None:
    with pytest.raises(Forbidden, match="Contact Address Not Allowed"):
        choose(subscribe(contact))


# ---- flows over streams ----


@pytest.mark.parametrize(
    ("contact", "behind"),
    [
        ("<sip:bob@127.0.0.2:5070;transport=tcp>", ("127.0.0.2", 5070)),
        ("<sip:bob@127.0.0.2:5070;transport=tcp;ob>", ("127.0.0.9", 0)),
        ("<sip:bob@phone.example.com;transport=tcp>", ("127.0.0.9", 0)),
        ("<sip:bob@127.0.0.2:5070>", ("127.0.0.9", 0)),
        ("<sip:bob@192.0.2.1:5070;transport=tcp>", ("127.0.0.9", 0)),
    ],
    ids=["numeric", "outbound", "name", "another transport", "not allowed"],
)
def test_rfc5626_5_3_a_connection_that_stands_is_used(contact: str, behind: tuple[str, int]) -> None:
    """Behind it is the Contact's own address, or port 0 where a new connection has none to go to."""
    assert choose(subscribe(contact, transport="TCP", flow=7)) == Target("TCP", *behind, 7)


def test_rfc7118_a_websocket_client_is_reached_on_its_flow_only() -> None:
    request = subscribe("<sip:bob@df7jal23ls0d.invalid;transport=ws>", transport="WS", flow=7)
    assert choose(request) == Target("WS", "127.0.0.9", 0, 7)
    assert is_flow_only(read_dialog(request), "WS")


# ---- flows over UDP ----


@pytest.mark.parametrize(
    ("contact", "via", "target"),
    [
        ("<sip:bob@127.0.0.1:5070;ob>", "127.0.0.1:5070", SOURCE),
        ("<sip:bob@phone.example.com;ob>", "127.0.0.1:5070", SOURCE),
        ("<sip:bob@10.0.0.7:5070>", "10.0.0.7:5070;rport", SOURCE),
        ("<sip:bob@10.0.0.7:5070>", "10.0.0.7:5070", ("10.0.0.7", 5070)),
        ("<sip:bob@10.0.0.7:5070>", "10.0.0.8:5070;rport", ("10.0.0.7", 5070)),
        ("<sip:bob@10.0.0.7:5071>", "10.0.0.7:5070;rport", ("10.0.0.7", 5071)),
        ("<sip:bob@127.0.0.9:5071>", "127.0.0.9:5071;rport", ("127.0.0.9", 5071)),
    ],
    ids=["ob", "ob with a name", "nat", "no rport", "contact elsewhere", "another port", "same host"],
)
def test_rfc5626_3_1_over_udp_the_flow_is_where_the_subscribe_came_from(
    contact: str, via: str, target: tuple[str, int]
) -> None:
    request = subscribe(contact, via=f"SIP/2.0/UDP {via};branch=z9hG4bK1")
    chosen = choose(request, allowed=EVERYWHERE)
    assert isinstance(chosen, Target)
    assert chosen.place == ("UDP", *target)
    assert chosen.explicit == (target == SOURCE), "a flow of datagrams is no connection"


def test_who_came_through_a_proxy_is_not_taken_for_its_neighbour() -> None:
    via = "SIP/2.0/UDP 127.0.0.9:4000;branch=z9hG4bK1, SIP/2.0/UDP 10.0.0.7:5070;rport;branch=z9hG4bK2"
    chosen = choose(subscribe("<sip:bob@10.0.0.7:5070;ob>", via=via), allowed=EVERYWHERE)
    assert chosen == Target("UDP", "10.0.0.7", 5070, explicit=True)


def test_a_nat_may_be_left_alone() -> None:
    request = subscribe("<sip:bob@10.0.0.7:5070>", via="SIP/2.0/UDP 10.0.0.7:5070;rport;branch=z9hG4bK1")
    assert choose(request, nat=False, allowed=EVERYWHERE) == Target("UDP", "10.0.0.7", 5070)


# ---- ways ----


def test_large_messages_leave_by_the_listener_on_the_same_port() -> None:
    ways = Ways()
    for link, local in enumerate(
        ("udp:127.0.0.1:5060", "udp:127.0.0.1:5070", "tcp:127.0.0.1:5080", "tcp:127.0.0.1:5070")
    ):
        ways.add(local, link)
    assert ways.streams() == [(0, 2), (1, 3)]


def test_a_listener_learns_whom_to_expect_at_an_address() -> None:
    ways = Ways()
    names: dict[tuple[str, int], str] = {}
    ways.names[3] = names
    ways.name(3, Target("TLS", "127.0.0.1", 5061, name="example.com"))
    ways.name(3, Target("TLS", "127.0.0.1", 5062))
    ways.name(4, Target("TLS", "127.0.0.1", 5063, name="example.com"))
    assert names == {("127.0.0.1", 5061): "example.com"}
