"""Who did not ask gets one message until he answers, wherever names, failovers, lost flows and TCP lead to him.

RFC 3261 section 26.1.5 (amplification) with RFC 3263, RFC 5626 section 5.3 and RFC 3261 section 18.1.1.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import sip
from net import Agent, Network, Subscription
from proof import Prover, h
from zone import Names

from presence._fastcore import Message

HOST = "phone.example.com"
PORT = 5060
FIRST, SECOND = "192.0.2.66", "192.0.2.77"
WAITS_S = 40.0
LARGE = "x" * 2000


@pytest.fixture
def names() -> Names:
    return Names()


@pytest.fixture
def net(names: Names) -> Iterator[Network]:
    network = Network("server.allowed_targets=0.0.0.0/0", resolver=names.resolver)
    names.now = network.clock.now
    yield network
    network.close()


def sent(net: Network, host: str) -> list[bytes]:
    return [data for address, data in net.unreachable if address[0] == host]


def publish(net: Network, note: str, tuple_id: str = "a") -> None:
    net.agent("alice").publication().publish(body=sip.pidf(note, tuple_id=tuple_id))
    net.settle()


def named(more: str = "") -> str:
    return f"<sip:x@{HOST}:{PORT}{more}>"


# ---- names and failover ----


def test_a_name_that_leads_to_somebody_else_is_one_datagram(net: Network, names: Names) -> None:
    names.zone[HOST, "A"] = [FIRST]
    watch = net.agent("mallory").subscribe(contact=named())
    assert watch.response is not None
    assert watch.response.status == 200
    for number in range(5):
        publish(net, "news", f"n{number}")
        net.advance(2)
    net.advance(WAITS_S)
    assert len(sent(net, FIRST)) == 1
    assert len(net.node.table) == 0


def test_no_other_address_is_tried_when_the_one_message_gets_no_answer(net: Network, names: Names) -> None:
    names.zone[HOST, "A"] = [FIRST, SECOND]
    net.agent("mallory").subscribe(contact=named())
    net.advance(2 * WAITS_S)
    assert len(sent(net, FIRST)) + len(sent(net, SECOND)) == 1
    assert len(net.node.table) == 0


def test_the_answer_of_one_address_proves_nothing_of_the_next(net: Network, names: Names) -> None:
    names.zone[HOST, "A"] = [FIRST, SECOND]
    mallory = net.agent("mallory")
    accomplices = [net.agent("a", host=host, port=PORT) for host in (FIRST, SECOND)]
    for accomplice in accomplices:
        accomplice.status = 503
    mallory.subscribe(contact=named())
    net.advance(1)
    # Each answered the one it got.
    assert [len(accomplice.notifies) for accomplice in accomplices] == [1, 1]
    for accomplice in accomplices:
        accomplice.status = None
    mallory.subscribe(contact=named())
    net.advance(2 * WAITS_S)
    assert sum(len(accomplice.arrivals) for accomplice in accomplices) == 3


def test_who_names_himself_first_and_a_victim_next_gets_one_message_to_it(net: Network, names: Names) -> None:
    mallory = net.agent("mallory", host=FIRST, port=PORT)
    names.zone[HOST, "A"] = [FIRST, SECOND]
    mallory.subscribe(contact=named())
    assert mallory.notifies or sent(net, SECOND)
    mallory.status = None
    for number in range(4):
        publish(net, "news", f"n{number}")
        net.advance(WAITS_S)
    assert len(sent(net, SECOND)) == 1
    assert len(net.node.table) == 0


def test_where_no_connection_is_made_the_next_address_is_tried(net: Network, names: Names) -> None:
    names.zone[HOST, "A"] = [FIRST, SECOND]
    there = [net.agent("there", host=host, port=PORT, transport="TCP") for host in (FIRST, SECOND)]
    watch = net.agent("bob").subscribe(contact=named(";transport=tcp"))
    took = next(agent for agent in there if agent.notifies)
    watch.unsubscribe()
    took.listening = False
    net.disconnect(took)
    net.agent("carol").subscribe(contact=named(";transport=tcp"))
    net.advance(1)
    assert [len(agent.notifies) > 0 for agent in there] == [True, True]
    assert net.node.table.doubts(FIRST) == net.node.table.doubts(SECOND) == 0


# ---- flows ----


def test_a_flow_that_is_gone_does_not_leave_a_victim_behind(net: Network, names: Names) -> None:
    mallory = net.agent("mallory", transport="TCP")
    watch = mallory.subscribe(contact=f"<sip:x@{FIRST}:{PORT};transport=udp>")
    assert len(watch.notifies) == 1
    net.disconnect(mallory)
    for number in range(4):
        publish(net, "news", f"n{number}")
        net.advance(5)
    net.advance(WAITS_S)
    assert len(sent(net, FIRST)) == 1
    assert len(net.node.table) == 0


# ---- moves ----


def test_an_answer_proves_nothing_of_an_address_named_since(net: Network) -> None:
    mallory = net.agent("mallory")
    accomplice = net.agent("accomplice", host=FIRST, port=PORT)
    accomplice.status = None
    watch = mallory.subscribe(contact=f"<sip:x@{FIRST}:{PORT}>")
    (notify,) = accomplice.notifies
    assert watch.refresh(contact=f"<sip:x@{SECOND}:{PORT}>", expires=600).status == 200
    accomplice.answer(notify, 200)
    net.settle()
    assert net.node.table.doubts(SECOND) == 1
    publish(net, "news")
    net.advance(WAITS_S)
    assert len(sent(net, SECOND)) == 1
    assert len(net.node.table) == 0


# ---- UDP or TCP ----


def test_a_large_notify_to_who_refuses_tcp_is_one_datagram(net: Network) -> None:
    publish(net, LARGE)
    net.agent("mallory").subscribe(contact=f"<sip:x@{FIRST}:{PORT}>")
    net.advance(WAITS_S)
    tcp, udp = sent(net, FIRST)
    assert b"SIP/2.0/TCP" in tcp
    assert b"SIP/2.0/UDP" in udp
    assert net.node.table.counters()["retransmitted"] == 1
    assert len(net.node.table) == 0


def test_a_large_notify_that_a_connection_has_carried_is_not_sent_as_a_datagram_too(net: Network) -> None:
    publish(net, LARGE)
    phone = net.agent("phone", host=FIRST, port=PORT)
    stream = net.accept(phone)
    stream.status = None
    net.agent("mallory").subscribe(contact=f"<sip:x@{FIRST}:{PORT}>")
    assert len(stream.notifies) == 1
    net.disconnect(stream)
    net.advance(WAITS_S)
    assert len(stream.arrivals) == 1
    assert phone.arrivals == []
    assert len(net.node.table) == 0


# ---- who is proven ----


@pytest.fixture(params=["batches", "general"])
def guarded(request: pytest.FixtureRequest) -> Iterator[Any]:
    nets = []

    def make(*settings: str) -> Network:
        network = Network("server.allowed_targets=0.0.0.0/0", "auth.required=true", *settings)
        for name in ("bob", "mallory"):
            hashes = [h(algorithm, f"{name}:example.com:secret") for algorithm in ("MD5", "SHA-256", "SHA-512-256")]
            values = ", ".join(f"'{value}'" for value in (name, "example.com", *hashes))
            network.rows(
                f"INSERT INTO subscriber (username, domain, ha1, ha1_sha256, ha1_sha512t256) VALUES ({values})"
            )
        if request.param == "general":
            network.node.observe(Verbose())
        nets.append(network)
        return network

    yield make
    for network in nets:
        network.close()


class Verbose:
    """Has every request take the general path (`Endpoint.hurried`)."""

    verbose = True

    def answered(self, *_: object) -> None: ...

    def ended(self, *_: object) -> None: ...

    def faulted(self, error: Exception, call_id: str) -> None:
        raise error


ALICE = "sip:alice@example.com"


def ask(agent: Agent, *extra: str, contact: str = "") -> Message:
    watch = Subscription(agent, ALICE, contact=contact)
    watch.send(*extra, expires=600)
    agent.net.settle()
    assert watch.response is not None
    return watch.response


def prover(agent: Agent) -> Prover:
    return Prover(agent.name, "secret").learn(ask(agent))


def test_who_has_proven_who_he_is_may_name_any_contact(guarded: Any) -> None:
    net = guarded("limits.unproven_per_target=1")
    bob = net.agent("bob")
    proof = prover(bob)
    for _ in range(5):
        assert ask(bob, proof.line("SUBSCRIBE", ALICE), contact=f"<sip:x@{FIRST}:{PORT}>").status == 200
    assert net.node.table.doubts(FIRST) == 0
    net.advance(3)
    # Repeated like those of any other.
    assert len(sent(net, FIRST)) > 10


def test_a_user_rate_is_spent_by_who_is_proven_alone(guarded: Any) -> None:
    net = guarded("limits.user_rate=1", "limits.user_burst=3")
    bob, mallory = net.agent("bob"), net.agent("bob", host="127.0.0.9")
    for _ in range(20):
        assert ask(mallory).status == 401
    proof = prover(bob)
    assert [ask(bob, proof.line("SUBSCRIBE", ALICE)).status for _ in range(5)] == [200, 200, 200, 500, 500]
    other = net.agent("mallory")
    theirs = prover(other)
    assert ask(other, theirs.line("SUBSCRIBE", ALICE)).status == 200
    net.advance(1.1)
    assert ask(bob, proof.line("SUBSCRIBE", ALICE)).status == 200


def test_requests_that_are_proven_one_by_one_are_counted_once_each(guarded: Any) -> None:
    net = guarded("limits.user_rate=1", "limits.user_burst=2")
    # What comes on a connection is never ordinary.
    bob, mallory = net.agent("bob", transport="TCP"), net.agent("bob", host="127.0.0.9", transport="TCP")
    assert [ask(mallory).status for _ in range(10)] == [401] * 10
    proof = prover(bob)
    got = [ask(bob, proof.line("SUBSCRIBE", ALICE)).status for _ in range(4)]
    assert got == [200, 200, 500, 500]
