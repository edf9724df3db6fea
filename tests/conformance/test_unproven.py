"""Nobody makes the server send to a third party: who did not ask gets one NOTIFY until he answers it.

RFC 3261 section 26.1.5 (amplification), RFC 6665 section 6.3.
"""

from collections.abc import Iterator

import pytest
import sip
from net import Agent, Network, Subscription

VICTIM = ("192.0.2.66", 5060)
TARGETS = "server.allowed_targets=0.0.0.0/0"
WAITS_S = 40.0


@pytest.fixture(params=["batches", "general"])
def path(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class Verbose:
    """Has every request take the general path (`Endpoint.hurried`)."""

    verbose = True

    def answered(self, *_: object) -> None: ...

    def ended(self, *_: object) -> None: ...

    def faulted(self, error: Exception, call_id: str) -> None:
        raise error


def network(path: str, *assignments: str) -> Network:
    net = Network(TARGETS, *assignments)
    if path == "general":
        net.node.observe(Verbose())
    return net


@pytest.fixture
def net(path: str) -> Iterator[Network]:
    net = network(path)
    yield net
    net.close()


def contact(port: int = 5060) -> str:
    return f"<sip:x@{VICTIM[0]}:{port}>"


def attack(attacker: Agent, count: int, **fields: object) -> list[Subscription]:
    """Subscribe in as many dialogs with the victim's Contact, all in one tick."""
    made = [Subscription(attacker, "sip:alice@example.com", contact=contact(), **fields) for _ in range(count)]  # type: ignore[arg-type]
    for one in made:
        one.send(expires=600)
    attacker.net.settle()
    return made


def statuses(made: list[Subscription]) -> list[int]:
    return [one.response.status if one.response else 0 for one in made]


def sent(net: Network) -> list[bytes]:
    return [data for address, data in net.unreachable if address[0] == VICTIM[0]]


def test_a_silent_victim_gets_one_datagram_for_a_subscription(net: Network) -> None:
    (watch,) = attack(net.agent("mallory"), 1)
    assert statuses([watch]) == [200]
    alice = net.agent("alice")
    publication = alice.publication()
    for number in range(5):
        publication.publish(body=sip.pidf(f"n{number}"))
        net.advance(5.0)
    watch.refresh(expires=600)
    net.advance(WAITS_S)
    assert len(sent(net)) == 1
    # As any other NOTIFY that is not answered it has ended the subscription.
    assert net.rows("SELECT count(*) FROM active_watchers") == [(0,)]
    assert watch.refresh(expires=600).status == 481
    assert len(sent(net)) == 1


def test_a_hundred_subscriptions_make_no_more_than_the_limit(net: Network) -> None:
    mallory = net.agent("mallory")
    made = attack(mallory, 100)
    assert sorted(set(statuses(made))) == [200, 403]
    assert statuses(made).count(200) == 10
    for one in made:
        if one.response is not None and one.response.status == 200:
            one.refresh(expires=600)
            one.unsubscribe()
    net.advance(WAITS_S)
    assert len(sent(net)) == 10
    bytes_in = sum(len(one.request()) for one in made)
    assert sum(map(len, sent(net))) < bytes_in / 3
    # What was ended makes room again.
    assert net.node.table.doubts(VICTIM[0]) == 0
    assert statuses(attack(mallory, 1)) == [200]


def test_another_port_of_the_victim_is_the_same_address(net: Network) -> None:
    mallory = net.agent("mallory")
    got = [
        mallory.subscribe(uri="sip:alice@example.com", contact=contact(6000 + number)).response for number in range(12)
    ]
    assert [response.status for response in got if response] == [200] * 10 + [403] * 2
    net.advance(WAITS_S)
    assert len(sent(net)) == 10


def test_a_target_that_answers_is_notified_like_any_other(net: Network) -> None:
    phone = net.agent("phone", host=VICTIM[0], port=VICTIM[1])
    (watch,) = attack(net.agent("proxy"), 1)
    assert [notify.method for notify in phone.notifies] == ["NOTIFY"]
    assert net.node.table.doubts(VICTIM[0]) == 0
    phone.status = None
    net.agent("alice").publication().publish(body=sip.pidf("news"))
    net.advance(5.0)
    # Now it asked for them: lost ones are sent again.
    assert len([1 for _, message in phone.arrivals if message.is_request]) > 3
    assert watch.response is not None


@pytest.mark.parametrize("status", [404, 481, 503])
def test_any_final_answer_tells_that_somebody_is_there(net: Network, status: int) -> None:
    phone = net.agent("phone", host=VICTIM[0], port=VICTIM[1])
    phone.status = status
    attack(net.agent("proxy"), 1)
    assert net.node.table.doubts(VICTIM[0]) == 0
    assert len(phone.notifies) == 1


def test_a_provisional_answer_proves_nothing(net: Network) -> None:
    phone = net.agent("phone", host=VICTIM[0], port=VICTIM[1])
    phone.status = None
    attack(net.agent("proxy"), 1)
    phone.answer(phone.notifies[0], 100)
    net.advance(20.0)
    assert net.node.table.doubts(VICTIM[0]) == 1
    assert len(phone.arrivals) == 1


def test_a_fetch_for_somebody_else_is_one_datagram(net: Network) -> None:
    mallory = net.agent("mallory")
    made = [Subscription(mallory, "sip:alice@example.com", contact=contact()) for _ in range(30)]
    for one in made:
        one.send(expires=0)
    net.settle()
    assert statuses(made).count(200) == 10
    net.advance(WAITS_S)
    assert len(sent(net)) == 10
    assert net.node.table.doubts(VICTIM[0]) == 0
    assert len(net.node.table) == 0


def test_a_refresh_that_names_another_address_asks_for_proof_again(net: Network) -> None:
    mallory = net.agent("mallory")
    watch = mallory.subscribe()
    assert watch.notifies
    assert watch.refresh(contact=contact(), expires=600).status == 200
    alice = net.agent("alice").publication()
    for number in range(4):
        alice.publish(body=sip.pidf(f"n{number}"))
        watch.refresh(contact=contact(), expires=600)
        net.advance(1.0)
    net.advance(WAITS_S)
    assert len(sent(net)) == 1
    assert net.rows("SELECT count(*) FROM active_watchers") == [(0,)]


def test_a_move_while_a_notify_is_in_flight_sends_nothing_twice(net: Network) -> None:
    mallory = net.agent("mallory")
    mallory.status = None
    watch = mallory.subscribe()
    watch.refresh(contact=contact(), expires=600)
    net.advance(10.0)
    assert sent(net) == []
    # The answer to what went elsewhere proves nothing of the new address; its one NOTIFY follows.
    mallory.answer(mallory.notifies[0], 200)
    net.advance(WAITS_S)
    assert len(sent(net)) == 1
    assert net.rows("SELECT count(*) FROM active_watchers") == [(0,)]


def test_moving_to_and_fro_gains_nothing(net: Network) -> None:
    mallory = net.agent("mallory")
    watch = mallory.subscribe()
    for _ in range(20):
        watch.refresh(contact=contact(), expires=600)
        watch.refresh(contact=mallory.contact, expires=600)
    net.advance(WAITS_S)
    assert len(sent(net)) <= 2


def test_a_second_subscription_in_the_dialog_needs_its_own_proof(net: Network) -> None:
    (watch,) = attack(net.agent("mallory"), 1)
    for number in range(20):
        watch.beside(event_id=f"e{number}", contact=contact())
    net.advance(WAITS_S)
    assert len(sent(net)) == 10


def test_a_restart_sends_one_more_and_asks_for_proof_again(path: str) -> None:
    net = network(path)
    attack(net.agent("mallory"), 3)
    assert {row[0] for row in net.rows("SELECT target FROM active_watchers")} == {
        f"udp:{VICTIM[0]}:{VICTIM[1]};from=127.0.0.1"
    }
    net.unreachable.clear()
    net.restart()
    assert net.loaded == (3, 0)
    assert net.node.table.doubts(VICTIM[0]) == 3
    net.advance(WAITS_S)
    assert len(sent(net)) == 3
    assert net.rows("SELECT count(*) FROM active_watchers") == [(0,)]


def test_trusted_peers_may_name_any_contact(path: str) -> None:
    net = network(path, "limits.trusted=127.0.0.0/8")
    assert statuses(attack(net.agent("proxy"), 30)) == [200] * 30
    net.advance(3.0)
    assert len(sent(net)) > 60
    assert net.node.table.doubts(VICTIM[0]) == 0


def test_a_connection_proves_where_it_comes_from(net: Network) -> None:
    bob = net.agent("bob", transport="TCP")
    watch = bob.subscribe(contact=f"<sip:bob@{VICTIM[0]};transport=tcp>")
    assert watch.notifies
    assert net.node.table.doubts(VICTIM[0]) == 0
    assert sent(net) == []


def test_the_port_does_not_matter(net: Network) -> None:
    bob = net.agent("bob")
    other = net.agent("other", host=bob.address[0])
    watch = bob.subscribe(contact=other.contact)
    assert watch.response is not None
    assert watch.response.status == 200
    assert net.node.table.doubts(bob.address[0]) == 0


def test_kept_failures_end_what_was_never_proven(path: str) -> None:
    net = network(path, "presence.end_sub_on_timeout=false", "presence.notify_failure=keep")
    attack(net.agent("mallory"), 1)
    publication = net.agent("alice").publication()
    for number in range(8):
        publication.publish(body=sip.pidf(f"n{number}"))
        net.advance(10.0)
    assert len(sent(net)) == 1
    assert net.rows("SELECT count(*) FROM active_watchers") == [(0,)]


def test_an_unreachable_stream_target_is_tried_once(net: Network) -> None:
    mallory = net.agent("mallory")
    watch = mallory.subscribe(contact=f"<sip:x@{VICTIM[0]}:5060;transport=tcp>")
    assert watch.response is not None
    publication = net.agent("alice").publication()
    for number in range(4):
        publication.publish(body=sip.pidf(f"n{number}"))
        net.advance(5.0)
    assert len(sent(net)) == 1


def test_watcher_information_needs_proof_as_well(net: Network) -> None:
    mallory = net.agent("mallory")
    made = attack(mallory, 1, event="presence.winfo")
    assert statuses(made) == [200]
    for number in range(3):
        net.agent(f"w{number}").subscribe()
        net.advance(2.0)
    net.advance(WAITS_S)
    assert len(sent(net)) == 1
