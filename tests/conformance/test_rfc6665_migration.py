"""Planned shutdown: watchers are sent elsewhere without a stampede (RFC 6665 section 4.4.2)."""

from collections import Counter

import pytest
import sip
from net import Agent, Network, Subscription

STEP_S = 0.05


def watchers(net: Network, count: int) -> list[Subscription]:
    return [net.agent(f"w{n}").subscribe(uri=f"sip:p{n % 7}@example.com") for n in range(count)]


def told_at(net: Network) -> list[float]:
    """When each watcher was told its end."""
    return [
        at
        for agent in net.agents.values()
        for at, message in agent.arrivals
        if message.is_request and "terminated" in (message.header("Subscription-State") or "")
    ]


def shut_down(net: Network, over_s: float) -> float:
    """Do what the server does on SIGTERM."""
    net.node.endpoint.draining = True
    net.node.migration.begin(net.clock.at, over_s)
    return net.clock.at


@pytest.mark.parametrize(("count", "over_s"), [(200, 20), (30, 60), (500, 5)])
def test_rfc6665_4_4_2_ends_are_spread_evenly(net: Network, count: int, over_s: int) -> None:
    watches = watchers(net, count)
    began = shut_down(net, over_s)
    net.advance(over_s / 2, STEP_S)
    assert abs(len(told_at(net)) - count / 2) <= 2
    assert not net.node.migration.done
    net.advance(over_s / 2 + 2 * STEP_S, STEP_S)
    assert net.node.migration.done
    assert {watch.newest.header("Subscription-State") for watch in watches} == {"terminated;reason=deactivated"}
    seconds = Counter(int(at - began) for at in told_at(net))
    assert sum(seconds.values()) == count, "each is told once"
    assert max(seconds.values()) <= count / over_s + count * STEP_S / over_s + 1
    assert net.rows("SELECT count(*) FROM active_watchers") == [(0,)]
    net.advance(40.0)
    assert len(net.node.table) == 0


def test_rfc6665_4_4_2_nothing_is_taken_meanwhile(net: Network, alice: Agent, bob: Agent) -> None:
    watch = bob.subscribe()
    shut_down(net, 10)
    response = net.agent("carol").subscribe().response
    assert response is not None
    assert response.status == 503
    assert 5 <= int(response.header("Retry-After") or "0") <= 10
    assert watch.refresh().status == 503
    assert alice.publication().publish(body=sip.pidf("late")).status == 503
    net.advance(11.0)
    assert watch.state == "terminated;deactivated"


def test_each_row_goes_as_its_watcher_is_told_so_a_crash_harms_nothing(net: Network) -> None:
    watches = watchers(net, 100)
    shut_down(net, 10)
    net.advance(4.0, STEP_S)
    net.advance(1.0)
    told = [watch for watch in watches if not watch.alive]
    assert net.rows("SELECT count(*) FROM active_watchers") == [(100 - len(told),)]
    assert 45 <= len(told) <= 51
    net.restart()
    net.advance(1.0)
    for watch in watches:
        assert watch.refresh().status == (481 if watch in told else 200)


def test_a_subscription_that_was_on_its_way_is_ended_too(net: Network, bob: Agent) -> None:
    watch = Subscription(bob, "sip:alice@example.com")
    flush = net.store.flush
    net.store.flush = lambda: None  # type: ignore[method-assign]
    watch.send(expires=600)
    net.turn()
    net.turn()
    shut_down(net, 2)
    net.turn()
    net.store.flush = flush  # type: ignore[method-assign]
    net.advance(5.0)
    assert watch.state == "terminated;deactivated"
    assert net.node.migration.done


def test_ends_that_cannot_be_written_are_tried_again(net: Network, bob: Agent) -> None:
    watch = bob.subscribe()
    shut_down(net, 1)
    net.refuse_commits()
    net.advance(3.0)
    assert watch.alive
    assert not net.node.migration.done
    net.refuse_commits(False)
    net.advance(6.0)
    assert watch.state == "terminated;deactivated"
    assert net.node.migration.done


def test_watchers_of_watchers_go_first_and_hear_nothing_of_the_others(net: Network, alice: Agent) -> None:
    winfo = alice.subscribe(event="presence.winfo", uri="sip:p1@example.com")
    watchers(net, 50)
    told = len(winfo.notifies)
    shut_down(net, 10)
    net.advance(11.0)
    assert winfo.state == "terminated;deactivated"
    assert len(winfo.notifies) == told + 1
