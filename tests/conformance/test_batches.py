"""What batches of ordinary requests must not do to those beside them, nor to themselves when something goes wrong."""

from __future__ import annotations

import pytest
import sip
from net import Agent, Network

ALICE = "sip:alice@example.com"


class Commits:
    """Holds commits back, as a slow disk does."""

    def __init__(self, net: Network) -> None:
        self._store, self._flush = net.store, net.store.flush

    def hold(self) -> None:
        self._store.flush = lambda: None  # type: ignore[method-assign]

    def let_go(self) -> None:
        self._store.flush = self._flush  # type: ignore[method-assign]


@pytest.fixture
def commits(net: Network) -> Commits:
    return Commits(net)


def test_rfc3903_6_a_refresh_committed_as_its_publication_expires_is_kept(
    net: Network, alice: Agent, bob: Agent
) -> None:
    """The general path: its expiry waited for the refresh, which was answered 200."""
    publication = alice.publication(uri="sip:%61lice@example.com")
    publication.publish(body=sip.pidf("here"), expires=10)
    watch = bob.subscribe()
    net.clock.at += 11
    assert publication.publish(expires=600).status == 200
    net.advance(30)
    assert publication.publish(expires=600).status == 200
    assert "here" in watch.body


@pytest.mark.parametrize("uri", [ALICE, "sip:%61lice@example.com"])
def test_rfc3903_6_a_refresh_as_the_publication_expires_is_kept(net: Network, alice: Agent, uri: str) -> None:
    publication = alice.publication(uri=uri)
    publication.publish(body=sip.pidf("here"), expires=10)
    net.clock.at += 11
    assert publication.publish(expires=600).status == 200
    net.advance(30)
    assert publication.publish(expires=600).status == 200


def test_rfc3903_6_what_waits_for_its_turn_comes_before_a_later_refresh(
    net: Network, commits: Commits, alice: Agent
) -> None:
    """A removal that waits behind another's change was received before a refresh of the next tick."""
    first, second = alice.publication(), alice.publication()
    first.publish(body=sip.pidf("first"))
    again = alice.publication()
    again.etag = first.etag
    commits.hold()
    second.send(body=sip.pidf("second"))
    net.turn()
    first.send(expires=0)
    net.turn()
    again.send(expires=600)
    net.turn()
    commits.let_go()
    net.settle()
    assert second.response is not None
    assert first.response is not None
    assert again.response is not None
    assert [second.response.status, first.response.status, again.response.status] == [200, 200, 412]


def newest(net: Network) -> list[bytes]:
    return [row[0] for row in net.rows("SELECT body FROM presentity ORDER BY received_time, received_order")]


def test_rfc3903_6_modifications_of_one_tick_are_in_the_order_received(net: Network, alice: Agent, bob: Agent) -> None:
    """The newest wins, also when the one before it was no ordinary one."""
    one, two, three = alice.publication(), alice.publication(), alice.publication()
    for publication in (one, two):
        publication.publish(body=sip.pidf("old", tuple_id="x"))
    bodies = [sip.pidf(text, tuple_id="x") for text in ("first", "second", "third")]
    one.content_type = "application/PIDF+xml"
    one.send(body=bodies[0], expires=600)
    two.send(body=bodies[1], expires=600)
    three.send(body=bodies[2], expires=600)
    net.settle()
    assert newest(net) == [body.encode() for body in bodies]
    two.send(body=bodies[0], expires=600)
    one.send(body=bodies[1], expires=600)
    net.settle()
    assert newest(net) == [bodies[2].encode(), bodies[0].encode(), bodies[1].encode()]


def test_rfc3903_6_an_odd_spelling_of_the_resource_keeps_the_order_too(net: Network, alice: Agent) -> None:
    one, two = alice.publication(uri="sip:%61lice@example.com"), alice.publication()
    bodies = [sip.pidf(text, tuple_id="x") for text in ("first", "second", "third")]
    two.publish(body=bodies[2])
    one.send(body=bodies[0], expires=600)
    two.send(body=bodies[1], expires=600)
    net.settle()
    assert newest(net) == [bodies[0].encode(), bodies[1].encode()]


def test_rfc3903_6_a_modification_comes_after_a_change_that_waits(net: Network, commits: Commits, alice: Agent) -> None:
    """Of the same resource, a tick before."""
    one, two, three = alice.publication(), alice.publication(), alice.publication()
    bodies = [sip.pidf(text, tuple_id="x") for text in ("first", "second", "third")]
    two.publish(body=bodies[0])
    commits.hold()
    one.send(body=bodies[0], expires=600)
    net.turn()
    three.send(body=bodies[1], expires=600)
    net.turn()
    two.send(body=bodies[2], expires=600)
    net.turn()
    commits.let_go()
    net.settle()
    assert newest(net) == [body.encode() for body in bodies]
