"""RFC 3261 sections 17 and 18, one statement a test: transactions of requests that are no INVITE, and transport."""

import pytest
import sip
from net import Agent, Network, Wire

from presence._fastcore import Message, parse
from presence.config import load

ALICE = "sip:alice@example.com"


def options(agent: Agent, *extra: str, **fields: str) -> bytes:
    return agent.request("OPTIONS", "sip:example.com", *extra, **fields)


@pytest.fixture
def wire(net: Network) -> Wire:
    return Wire(net, "127.0.0.1", 5071, "UDP")


def statuses(wire: Wire, data: bytes) -> list[int]:
    return [response.status for response in wire.answers(data)]


def notify_times(agent: Agent) -> list[float]:
    return [round(at - agent.arrivals[0][0], 1) for at, message in agent.arrivals if message.is_request]


# ---- 17.1.2: our NOTIFYs ----


def silent_watch(net: Network) -> Agent:
    bob = net.agent("bob")
    bob.status = None
    bob.subscribe()
    bob.arrivals[:] = [(at, message) for at, message in bob.arrivals if message.is_request]
    return bob


def test_rfc3261_17_1_2_2_timer_e_doubles_up_to_t2_and_timer_f_ends_it(net: Network) -> None:
    bob = silent_watch(net)
    net.advance(40, 0.1)
    times = notify_times(bob)
    assert times == pytest.approx([0, 0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5], abs=0.6)
    assert len({message.raw for _, message in bob.arrivals}) == 1, "the same bytes each time"
    # The user of the transaction hears of the timeout as of a 408 (section 8.1.3.1): the subscription is over.
    assert len(net.node.table) == 0


@pytest.mark.parametrize("status", [100, 180, 183, 199])
def test_rfc3261_17_1_2_2_in_proceeding_timer_e_is_t2(net: Network, status: int) -> None:
    bob = silent_watch(net)
    bob.answer(bob.notifies[0], status)
    net.advance(14, 0.1)
    assert notify_times(bob) == pytest.approx([0, 0.5, 4.5, 8.5, 12.5], abs=0.6)
    net.advance(26, 0.1)
    assert len(net.node.table) == 0, "timer F fires in proceeding too"


@pytest.mark.parametrize("status", [200, 202, 299, 486, 603])
def test_rfc3261_17_1_2_2_any_final_response_ends_the_transaction(net: Network, status: int) -> None:
    bob = silent_watch(net)
    bob.answer(bob.notifies[0], status)
    net.advance(40, 0.2)
    assert len(bob.arrivals) == 1
    bob.answer(bob.notifies[0], 200)
    assert net.node.table.counters()["failed"] == (status >= 300)


@pytest.mark.parametrize("status", [299, 399, 499, 599, 699])
def test_rfc3261_8_1_3_2_an_unknown_final_response_is_as_x00(net: Network, status: int) -> None:
    """2xx is success; of any other class the NOTIFY failed and the subscription stays, as for x00."""
    bob = silent_watch(net)
    bob.answer(bob.notifies[0], status)
    assert len(net.node.table) == 1
    assert net.node.table.counters()["failed"] == (status >= 300)


def spoiled(notify: Message, old: bytes, new: bytes) -> bytes:
    data = sip.answer(notify, 200)
    assert old in data
    return data.replace(old, new, 1)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b";branch=z9hG4bK", b";branch=z9hG4bKx"),
        (b" NOTIFY\r\n", b" SUBSCRIBE\r\n"),
        (b"Via: SIP/2.0/UDP 127.0.0.1:5060", b"Via: SIP/2.0/UDP 192.0.2.99:5060"),
        (b"Via: SIP/2.0/UDP 127.0.0.1:5060", b"Via: SIP/2.0/UDP 127.0.0.1:5099"),
        (b"Call-ID:", b"Via: SIP/2.0/UDP 192.0.2.99;branch=z9hG4bKother\r\nCall-ID:"),
        (b"\r\nFrom:", b", SIP/2.0/UDP 192.0.2.99;branch=z9hG4bKother\r\nFrom:"),
        (b"Content-Length: 0", b"Content-Length: 5"),
        (b"SIP/2.0 200", b"SIP/3.0 200"),
    ],
    ids=["17.1.3 branch", "17.1.3 method", "18.1.2 host", "18.1.2 port", "8.1.3.3", "8.1.3.3 comma", "18.3", "version"],
)
def test_rfc3261_17_1_3_18_1_2_what_is_no_answer_of_ours_is_discarded(net: Network, old: bytes, new: bytes) -> None:
    bob = silent_watch(net)
    net.post_to_node(bob, spoiled(bob.notifies[0], old, new))
    net.settle()
    assert net.node.table.counters()["completed"] == 0
    net.advance(1.0)
    assert len(bob.arrivals) > 1, "it is sent again"
    bob.answer(bob.notifies[0], 200)
    assert net.node.table.counters()["completed"] == 1


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"Via: SIP/2.0/UDP 127.0.0.1:5060", b"v: SIP / 2.0 / UDP\r\n 127.0.0.1 : 5060 "),
        (b"Via: SIP/2.0/UDP 127.0.0.1:5060", b"VIA:SIP/2.0/UDP 127.0.0.1"),
        (b"Content-Length: 0\r\n", b""),
    ],
)
def test_rfc3261_17_1_3_an_answer_is_known_however_it_is_spelled(net: Network, old: bytes, new: bytes) -> None:
    bob = silent_watch(net)
    net.post_to_node(bob, spoiled(bob.notifies[0], old, new))
    net.settle()
    assert net.node.table.counters()["completed"] == 1


# ---- 17.2.2 and 17.2.3: their requests ----


def test_rfc3261_17_2_2_timer_j_ends_the_transaction(net: Network, wire: Wire) -> None:
    data = options(net.agent("bob"))
    (first,) = wire.answers(data)
    net.advance(31)
    (again,) = wire.answers(data)
    assert again.raw == first.raw
    net.advance(2)
    assert len(net.node.transactions) == 0


def test_rfc3261_17_2_2_over_a_reliable_transport_timer_j_is_zero(net: Network) -> None:
    carol = net.agent("carol", transport="TCP")
    carol.ask(carol.request("OPTIONS", "sip:example.com"))
    assert len(net.node.transactions) == 0


def test_rfc3261_17_2_2_a_second_final_response_is_discarded(net: Network, wire: Wire) -> None:
    bob = net.agent("bob")
    data = options(bob)
    (first,) = wire.answers(data)
    net.node.transactions.complete(1, b"SIP/2.0 500 Other\r\n\r\n", net.clock.at)
    (again,) = wire.answers(data)
    assert again.raw == first.raw


SAME = {"branch": "z9hG4bKsame", "call_id": "same", "from_tag": "f"}


@pytest.mark.parametrize(
    ("old", "new", "another"),
    [
        (b"", b"", False),
        (b"z9hG4bKsame", b"z9hG4bKother", True),
        (b"127.0.0.1:5071", b"127.0.0.1:5072", True),
        (b"127.0.0.1:5071", b"192.0.2.1:5071", True),
        (b"OPTIONS", b"REGISTER", True),
        # What is not compared for a branch with the cookie.
        (b"Call-ID: same", b"Call-ID: other", False),
        (b"Max-Forwards: 70", b"Max-Forwards: 69", False),
    ],
)
def test_rfc3261_17_2_3_branch_sent_by_and_method_name_the_transaction(
    net: Network, wire: Wire, old: bytes, new: bytes, another: bool
) -> None:
    data = sip.request("OPTIONS", "sip:alice@example.com", via="SIP/2.0/UDP 127.0.0.1:5071", **SAME)
    wire.answers(data)
    wire.answers(data.replace(old, new))
    assert len(net.node.transactions) == 1 + another


@pytest.mark.parametrize(
    ("old", "new", "another"),
    [
        (b"", b"", False),
        (b"Max-Forwards: 70", b"Max-Forwards: 69", False),
        (b"branch=1", b"branch=2", True),
        (b"127.0.0.1:5071", b"127.0.0.1:5072", True),
        (b"Call-ID: same", b"Call-ID: other", True),
        (b"CSeq: 1", b"CSeq: 2", True),
        (b";tag=f", b";tag=g", True),
        (b"<sip:alice@example.com>\r\n", b"<sip:alice@example.com>;tag=t\r\n", True),
        (b"sip:alice@example.com SIP", b"sip:carol@example.com SIP", True),
    ],
)
@pytest.mark.parametrize("branch", ["1", ""])
def test_rfc3261_17_2_3_without_the_cookie_the_fields_of_rfc2543_name_it(
    net: Network, wire: Wire, branch: str, old: bytes, new: bytes, another: bool
) -> None:
    another &= bool(branch) or old != b"branch=1"
    data = sip.request("OPTIONS", ALICE, via="SIP/2.0/UDP 127.0.0.1:5071", **{**SAME, "branch": "1"})
    data = data if branch else data.replace(b";branch=1", b"")
    wire.answers(data)
    wire.answers(data.replace(old, new, 1))
    assert len(net.node.transactions) == 1 + another


# ---- 18.2: where responses go ----


def test_rfc3261_18_a_connection_outlives_every_transaction_on_it() -> None:
    settings = load().server
    assert settings.idle_timeout_s > 64 * settings.timer_t1_ms / 1000


def test_rfc3261_18_2_1_where_udp_is_listened_on_tcp_is_too() -> None:
    by_transport: dict[str, set[tuple[str, int]]] = {}
    for listener in load().server.listeners:
        by_transport.setdefault(listener.transport, set()).add((listener.host, listener.port))
    assert by_transport["udp"] <= by_transport["tcp"]


@pytest.mark.parametrize(
    ("via", "port", "received"),
    [
        ("SIP/2.0/UDP 192.0.2.7:5080", 5080, "192.0.2.7"),
        ("SIP/2.0/UDP 192.0.2.7", 5060, "192.0.2.7"),
        ("SIP/2.0/UDP 192.0.2.1:5080", 5080, ""),
        ("SIP/2.0/UDP host.example.com:5080", 5080, "192.0.2.7"),
        ("SIP/2.0/UDP host.example.com;received=203.0.113.1", 5060, "192.0.2.7"),
        ("SIP/2.0/UDP 192.0.2.7:5080;rport", 5071, "192.0.2.7"),
        ("SIP/2.0/UDP 192.0.2.7:5080;maddr=203.0.113.1;ttl=16", 5080, "192.0.2.7"),
        ("SIP/2.0/UDP 192.0.2.7;maddr=224.0.1.75", 5060, "192.0.2.7"),
    ],
)
def test_rfc3261_18_2_2_a_response_goes_to_where_the_request_came_from(
    net: Network, via: str, port: int, received: str
) -> None:
    """maddr is not followed: by it a stranger could aim our responses at others."""
    wire = Wire(net, "192.0.2.7", 5071, "UDP")
    net.post_to_node(wire, sip.request("OPTIONS", "sip:example.com", via=via))
    net.settle()
    ((address, data),) = net.unreachable
    assert address == ("192.0.2.7", port)
    shown = sip.param(parse(data).header("Via"), "received")
    # RFC 3261 section 18.2.1: where the address in Via is another; rport asks for it in any case (RFC 3581).
    assert shown == ("192.0.2.7" if "192.0.2.7" not in via or "rport" in via else "")
    assert received in ("", "192.0.2.7")


def test_rfc3261_18_2_2_over_tcp_the_response_takes_the_connection(net: Network) -> None:
    carol = net.agent("carol", transport="TCP")
    carol.via = "SIP/2.0/TCP elsewhere.example.com:5099"
    assert carol.ask(carol.request("OPTIONS", "sip:example.com")).status == 200
    assert net.unreachable == []


# ---- 18.3: framing ----


def test_rfc3261_18_3_bytes_behind_the_body_are_discarded(net: Network, wire: Wire) -> None:
    data = sip.request("PUBLISH", ALICE, "Event: presence", "Content-Type: application/pidf+xml", body=sip.pidf("x"),
                       via="SIP/2.0/UDP 127.0.0.1:5071")  # fmt: skip
    assert statuses(wire, data + b"</presence>rubbish") == [200]
    ((body,),) = net.rows("SELECT body FROM presentity")
    assert bytes(body) == sip.pidf("x").encode()


def test_rfc3261_18_3_a_datagram_that_ends_early_is_400(wire: Wire) -> None:
    data = sip.request("OPTIONS", "sip:example.com", via="SIP/2.0/UDP 127.0.0.1:5071", body="hello")
    assert statuses(wire, data[:-1]) == [400]


def test_rfc3261_18_3_without_content_length_a_datagram_is_the_body(net: Network, wire: Wire) -> None:
    data = sip.request("PUBLISH", ALICE, "Event: presence", "Content-Type: application/pidf+xml", body=sip.pidf("x"),
                       via="SIP/2.0/UDP 127.0.0.1:5071")  # fmt: skip
    head, _, body = data.partition(b"Content-Length")
    assert statuses(wire, head.removesuffix(b"\r\n") + b"\r\n" + body[body.index(b"\r\n\r\n") + 2 :]) == [200]
    assert net.rows("SELECT count(*) FROM presentity") == [(1,)]


def test_rfc3261_18_3_on_a_stream_content_length_is_needed(net: Network) -> None:
    wire = Wire(net, "127.0.0.1", 5071, "TCP")
    data = sip.request("OPTIONS", "sip:example.com", via="SIP/2.0/TCP 127.0.0.1:5071")
    (response,) = wire.answers(data.replace(b"Content-Length: 0\r\n", b""))
    assert (response.status, response.reason) == (400, "Missing Content-Length")
    assert wire.connection is not None
    assert wire.connection.framer.broken


def test_rfc3261_18_1_1_messages_of_the_largest_datagram_are_taken(net: Network, wire: Wire) -> None:
    data = sip.request("OPTIONS", "sip:example.com", via="SIP/2.0/UDP 127.0.0.1:5071")
    room = 65507 - len(data) - len(b"Subject: \r\n")
    assert statuses(wire, data.replace(b"Content-Length", b"Subject: " + b"x" * room + b"\r\nContent-Length")) == [200]
