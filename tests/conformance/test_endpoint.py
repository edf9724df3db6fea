"""The user agent server core: RFC 3261 sections 8.2, 11 and 17.2."""

import pytest
import sip
from net import Agent, Network

from presence._fastcore import Message


def ask(agent: Agent, method: str, *extra: str, uri: str = "sip:alice@example.com", body: str = "") -> Message:
    return agent.ask(agent.request(method, uri, *extra, body=body))


def literal(agent: Agent, *lines: str, body: str = "") -> Message:
    return agent.ask(sip.lines(*lines, body=body))


def test_rfc3261_11_2_options_says_what_is_served(bob: Agent) -> None:
    response = ask(bob, "OPTIONS", uri="sip:example.com")
    assert response.status == 200
    assert response.values("Allow") == ["CANCEL", "OPTIONS", "PUBLISH", "REGISTER", "SUBSCRIBE"]
    packages = {"presence", "message-summary", "dialog", "xcap-diff"}
    assert set(response.values("Allow-Events")) == {
        name + suffix for name in packages for suffix in ("", ".winfo", ".winfo.winfo")
    }
    assert set(response.values("Accept")) == {
        "application/pidf+xml",
        "application/simple-message-summary",
        "application/dialog-info+xml",
        "application/xcap-diff+xml",
    }
    assert response.header("Supported") == "gruu"
    assert (response.header("Server") or "").startswith("presence/")
    assert response.to_tag


def test_rfc3261_11_options_is_answered_also_at_the_last_hop(bob: Agent) -> None:
    data = bob.request("OPTIONS", "sip:example.com").replace(b"Max-Forwards: 70", b"Max-Forwards: 0")
    assert bob.ask(data).status == 200


@pytest.mark.parametrize("method", ["INVITE", "MESSAGE", "NOTIFY", "INFO", "BYE", "REFER", "PRACK", "UPDATE"])
def test_rfc3261_8_2_1_other_method_is_405_with_allow(bob: Agent, method: str) -> None:
    response = ask(bob, method)
    assert response.status == 405
    assert response.values("Allow") == ["CANCEL", "OPTIONS", "PUBLISH", "REGISTER", "SUBSCRIBE"]


@pytest.mark.parametrize("method", ["BREW", "publish", "INVITE2"])
def test_rfc3261_21_5_2_unknown_method_is_501_with_allow(bob: Agent, method: str) -> None:
    response = ask(bob, method)
    assert (response.status, response.reason) == (501, "Not Implemented")
    assert response.values("Allow") == ["CANCEL", "OPTIONS", "PUBLISH", "REGISTER", "SUBSCRIBE"]


def test_registrar_off_is_405_and_not_in_allow() -> None:
    net = Network("server.registrar=false")
    response = ask(net.agent("bob"), "REGISTER", "Contact: <sip:bob@127.0.0.1:5070>", uri="sip:example.com")
    assert response.status == 405
    assert "REGISTER" not in response.values("Allow")


@pytest.mark.parametrize("method", ["PUBLISH", "SUBSCRIBE", "OPTIONS", "REGISTER"])
def test_rfc3261_8_2_2_3_require_is_420_with_unsupported(bob: Agent, method: str) -> None:
    response = ask(bob, method, "Require: 100rel, eventlist", "Require: path", "Event: presence")
    assert response.status == 420
    assert response.values("Unsupported") == ["100rel", "eventlist", "path"]


def test_rfc3261_8_2_1_method_is_looked_at_before_require(bob: Agent) -> None:
    assert ask(bob, "INVITE", "Require: nonsense").status == 405


@pytest.mark.parametrize("method", ["PUBLISH", "SUBSCRIBE"])
def test_rfc3261_16_3_max_forwards_0_is_483(bob: Agent, method: str) -> None:
    data = bob.request(method, "sip:alice@example.com", "Event: presence")
    assert bob.ask(data.replace(b"Max-Forwards: 70", b"Max-Forwards: 0")).status == 483


def test_rfc4475_3_3_11_options_are_answered_at_the_last_hop(bob: Agent) -> None:
    data = bob.request("OPTIONS", "sip:example.com")
    assert bob.ask(data.replace(b"Max-Forwards: 70", b"Max-Forwards: 0")).status == 200


def test_rfc3261_8_2_2_2_merged_request_is_482_and_serves_once(net: Network, bob: Agent) -> None:
    same = {"call_id": "merged", "from_tag": "m", "cseq": 7}
    heads = ("Event: presence", f"Contact: {bob.contact}")
    first = bob.request("SUBSCRIBE", "sip:alice@example.com", *heads, **same)
    other = bob.request("SUBSCRIBE", "sip:alice@example.com", *heads, **same)
    assert (bob.ask(first).status, bob.ask(other).status) == (200, 482)
    assert bob.ask(bob.request("OPTIONS", "sip:example.com", **same)).status == 200
    assert net.rows("SELECT count(*) FROM active_watchers") == [(1,)]
    # It is merged while the first transaction is known, that is until timer J.
    net.advance(40.0)
    bob.status = 200
    assert bob.ask(bob.request("SUBSCRIBE", "sip:alice@example.com", *heads, **same)).status == 200


def test_rfc3261_8_2_2_2_what_differs_is_not_merged(bob: Agent) -> None:
    base = {"call_id": "mixed", "from_tag": "m", "cseq": 7}
    assert bob.ask(bob.request("OPTIONS", "sip:example.com", **base)).status == 200
    for change in ({"call_id": "mixed2"}, {"from_tag": "n"}, {"cseq": 8}):
        assert bob.ask(bob.request("OPTIONS", "sip:example.com", **{**base, **change})).status == 200


def test_rfc3261_21_5_6_other_version_is_505(bob: Agent) -> None:
    data = bob.request("OPTIONS", "sip:example.com").replace(b" SIP/2.0\r\nVia", b" SIP/3.0\r\nVia", 1)
    assert bob.ask(data).status == 505


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"CSeq: 1 OPTIONS", b"CSeq: 1 PUBLISH"),
        (b"Max-Forwards: 70", b"Max-Forwards: many"),
        (b"Content-Length: 0", b"Content-Length: 500"),
        (b"Max-Forwards: 70\r\n", b"Max-Forwards: 70\r\nExpires: soon\r\n"),
    ],
)
def test_rfc3261_21_4_1_malformed_request_is_400_with_a_reason(bob: Agent, old: bytes, new: bytes) -> None:
    data = bob.request("OPTIONS", "sip:example.com")
    assert old in data
    response = bob.ask(data.replace(old, new))
    assert response.status == 400
    assert response.reason not in ("", "Bad Request"), "it says what is wrong"


def test_request_without_a_via_is_dropped(net: Network, bob: Agent) -> None:
    data = bob.request("OPTIONS", "sip:example.com")
    without = b"\r\n".join(line for line in data.split(b"\r\n") if not line.startswith(b"Via:"))
    net.post_to_node(bob, without)
    net.settle()
    assert bob.arrivals == []
    assert net.tally.drops["malformed"] == 1
    assert bob.ask(bob.request("OPTIONS", "sip:example.com")).status == 200


@pytest.mark.parametrize(
    "data", [b"", b"\r\n\r\n", b"\0" * 50, b"OPTIONS", b"SIP/2.0 200 OK\r\n\r\n", b"\xff\xfe" * 600]
)
def test_rubbish_is_dropped(net: Network, bob: Agent, data: bytes) -> None:
    net.post_to_node(bob, data)
    net.settle()
    assert bob.arrivals == []


# ---- responses ----


def test_rfc3261_18_2_2_response_goes_where_the_request_came_from(net: Network) -> None:
    """With rport to the source port (RFC 3581), without it to the port in Via; never to an address in Via."""
    bob, other = net.agent("bob"), net.agent("other")
    bob.via = f"SIP/2.0/UDP 192.0.2.7:{other.address[1]};rport"
    (response,) = [ask(bob, "OPTIONS", uri="sip:example.com")]
    via = response.header("Via")
    assert (sip.param(via, "received"), sip.param(via, "rport")) == ("127.0.0.1", str(bob.address[1]))
    bob.via = f"SIP/2.0/UDP 192.0.2.7:{other.address[1]};maddr=192.0.2.9"
    net.post_to_node(bob, bob.request("OPTIONS", "sip:example.com"))
    net.settle()
    ((_, received),) = other.arrivals
    assert sip.param(received.header("Via"), "received") == "127.0.0.1"
    assert net.unreachable == []


def test_rfc3261_8_2_6_2_all_vias_come_back_in_order(bob: Agent) -> None:
    response = ask(
        bob,
        "OPTIONS",
        "Via: SIP/2.0/TCP one.example.com;branch=z9hG4bKone",
        "v: SIP/2.0/UDP two.example.com",
        uri="sip:x.com",
    )
    assert [via.partition(";")[0] for via in response.values("Via")][1:] == [
        "SIP/2.0/TCP one.example.com",
        "SIP/2.0/UDP two.example.com",
    ]


def test_rfc3261_17_2_2_retransmission_gets_the_same_bytes(net: Network, alice: Agent, bob: Agent) -> None:
    watch = bob.subscribe()
    data = alice.request(
        "PUBLISH", "sip:alice@example.com", "Event: presence", "Content-Type: application/pidf+xml", body=sip.pidf()
    )
    first = alice.ask(data)
    for _ in range(3):
        again = alice.ask(data)
        assert again.raw == first.raw
    assert net.rows("SELECT count(*) FROM presentity") == [(1,)]
    assert len(watch.notifies) == 2
    net.advance(40)
    assert alice.ask(data).raw != first.raw, "after timer J it is a new request"


def test_rfc3261_17_2_2_retransmitted_subscribe_is_no_second_subscription(net: Network, bob: Agent) -> None:
    watch = bob.subscribe()
    data = watch.request(expires=600)
    first = bob.ask(data)
    told = len(watch.notifies)
    assert bob.ask(data).raw == first.raw
    assert len(watch.notifies) == told


def test_rfc3261_17_2_2_retransmission_before_the_answer_is_silent(net: Network, alice: Agent) -> None:
    data = alice.request(
        "PUBLISH", "sip:alice@example.com", "Event: presence", "Content-Type: application/pidf+xml", body=sip.pidf()
    )
    for _ in range(5):
        net.post_to_node(alice, data)
    net.settle()
    assert len(alice.arrivals) == 1
    assert net.rows("SELECT count(*) FROM presentity") == [(1,)]


def test_rfc3261_17_2_3_same_branch_other_method_is_another_transaction(bob: Agent) -> None:
    assert bob.ask(bob.request("OPTIONS", "sip:example.com", branch="z9hG4bKsame")).status == 200
    assert bob.ask(bob.request("BYE", "sip:example.com", branch="z9hG4bKsame")).status == 405


def test_rfc3261_8_2_6_2_to_tag_is_the_same_for_copies_and_not_for_others(bob: Agent) -> None:
    tags = {ask(bob, "OPTIONS", uri="sip:example.com").to_tag for _ in range(10)}
    assert len(tags) == 10


def test_rfc3261_17_1_1_3_ack_is_dropped(net: Network, bob: Agent) -> None:
    for _ in range(2):
        net.post_to_node(bob, bob.request("ACK", "sip:alice@example.com", branch="z9hG4bKack"))
        net.settle()
    assert bob.arrivals == []
    assert len(net.node.transactions) == 0


def test_rfc3261_9_2_cancel_is_answered_and_cancels_nothing(net: Network, bob: Agent) -> None:
    watch = Agent.subscribe(bob)
    branch = sip.fresh("z9hG4bK")
    subscribe = bob.request(
        "SUBSCRIBE", "sip:carol@example.com", "Event: presence", f"Contact: {bob.contact}", branch=branch
    )
    net.post_to_node(bob, subscribe)
    assert bob.ask(bob.request("CANCEL", "sip:carol@example.com", branch=branch)).status == 200
    assert watch.state == "active"
    assert net.rows("SELECT count(*) FROM active_watchers") == [(2,)]


def test_what_a_peer_sent_makes_no_header_field_of_its_own(bob: Agent) -> None:
    response = ask(bob, "OPTIONS", "Require: a\r\n b\r\n Set-Cookie:x", uri="sip:example.com")
    assert response.status in (400, 420)
    assert response.header("Set-Cookie") is None


def test_draining_refuses_with_503(net: Network, bob: Agent) -> None:
    net.node.endpoint.draining = True
    response = ask(bob, "OPTIONS", uri="sip:example.com")
    assert response.status == 503
    assert response.header("Retry-After")


def test_requests_on_a_stream_are_answered_on_it(net: Network) -> None:
    carol = net.agent("carol", transport="TCP")
    assert ask(carol, "OPTIONS", uri="sip:example.com").status == 200
    assert carol.connection is not None
    two = carol.request("OPTIONS", "sip:example.com") + b"\r\n\r\n" + carol.request("OPTIONS", "sip:example.com")
    connection = carol.connection
    for at in range(0, len(two), 7):
        net._take_stream(connection, two[at : at + 7])
    net.settle()
    assert [message.status for _, message in carol.arrivals] == [200, 200, 200]


def test_rfc3261_21_4_1_malformed_request_on_a_stream_is_400_and_the_stream_goes_on(net: Network) -> None:
    carol = net.agent("carol", transport="TCP")
    good = [carol.request("OPTIONS", "sip:example.com", cseq=number) for number in (1, 2)]
    bad = carol.request("SUBSCRIBE", "sip:alice@example.com", "Event: presence", "Expires: soon", cseq=7)
    net.post_to_node(carol, good[0] + bad + b"\r\n\r\n" + good[1])
    net.settle()
    assert [(message.status, message.cseq) for _, message in carol.arrivals] == [(200, 1), (400, 7), (200, 2)]


@pytest.mark.parametrize("t1_ms", [500, 2000, 60_000])
def test_rfc3261_17_2_2_timer_j_follows_t1(t1_ms: int) -> None:
    net = Network(f"server.timer_t1_ms={t1_ms}", f"server.timer_t2_ms={max(4000, t1_ms)}")
    bob = net.agent("bob")
    data = bob.request("OPTIONS", "sip:example.com")
    bob.ask(data)
    lifetime_s = 64 * t1_ms / 1000
    net.advance(lifetime_s - 1.0, lifetime_s / 100)
    assert len(net.node.transactions) == 1
    net.advance(3.0)
    assert len(net.node.transactions) == 0
