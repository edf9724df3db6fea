"""What peers choose leaves nothing behind: every container of the node is as small in the end as in the beginning."""

from collections import deque
from collections.abc import Iterator
from typing import Any

import pytest
import ruling
import sip
from net import Agent, Network, Subscription

from presence._fastcore import Fanout, Publications, ServerTransactions, Wheel
from presence.values import Aor
from presence.xcap.references import Lists

SETTINGS = ("presence.max_expires_subscribe=120", "presence.max_expires_publish=120", "server.timer_t1_ms=100")
RULED = ("server.policy=rules", "presence.enable_sphere_check=true", f"xcap.uris={ruling.ROOT}")
CONDITIONS = (
    "",
    "<cp:sphere value='work'/>",
    "<cp:validity><cp:from>2023-11-14T22:00:00Z</cp:from><cp:until>2023-11-14T22:20:00Z</cp:until></cp:validity>",
    ruling.in_list("friends"),
)
"""One that always holds, those that depend on publications, on the time and on other documents."""
CACHES = ("_shelves", "_compiled")
"""Documents, lists and rules read lately; tests of their own prove that their number is bounded."""
COUNTS = ("requests", "responses", "drops", "notifies", "counts")
"""Counters by words of our own; `Tally` has tests that they do not grow."""


def sizes(thing: object, path: str = "node", seen: set[int] | None = None) -> Iterator[tuple[str, int]]:
    """Walk everything the node holds by attribute; yield the size of each container by its path."""
    seen = set() if seen is None else seen
    if id(thing) in seen or isinstance(thing, type | Lists):
        return
    seen.add(id(thing))
    if isinstance(thing, dict | set | list | deque):
        yield path, len(thing)
        values = list(thing.values()) if isinstance(thing, dict) else list(thing)
        for value in values:
            yield from sizes(value, f"{path}[]", seen)
        return
    if isinstance(thing, Fanout | Publications | ServerTransactions | Wheel):
        yield path, len(thing)
    if not type(thing).__module__.startswith("presence."):
        return
    names = [*getattr(thing, "__dict__", {}), *getattr(type(thing), "__slots__", ())]
    for name in names:
        if name not in COUNTS + CACHES and hasattr(thing, name):
            yield from sizes(getattr(thing, name), f"{path}.{name}", seen)


def measure(net: Network) -> dict[str, int]:
    total: dict[str, int] = {}
    for path, size in sizes(net.node):
        total[path] = total.get(path, 0) + size
    return total


def rule(net: Network, owner: Aor, auid: str = ruling.PRES_RULES) -> None:
    """Let a presentity write rules, or lists they refer to; or give them up."""
    chance = net.random
    if chance.random() < 0.3:
        ruling.write(net, None, owner=owner, auid=auid)
    elif auid == ruling.LISTS:
        ruling.write(net, ruling.lists(friends=("sip:bob@example.com",)), owner=owner, auid=auid)
    else:
        shown = chance.choice((ruling.SHOW_ALL, ruling.SHOW_SERVICES))
        handling = chance.choice(("allow", "allow", "confirm", "polite-block", "block"))
        written = ruling.rule(handling, chance.choice(CONDITIONS).replace("alice@example.com", str(owner)), shown)
        ruling.write(net, ruling.ruleset(written), owner=owner, auid=auid)


def live(net: Network, agent: Agent, other: Agent, number: int, *, ruled: bool) -> None:
    """What one presentity goes through, with names nobody used before."""
    chance = net.random
    owner = Aor(f"user{number}", f"host{number}.example.com")
    if ruled:
        rule(net, owner)
        rule(net, owner, ruling.LISTS)
    uri = f"sip:user{number}@host{number}.example.com"
    event = chance.choice(("presence", "presence", "message-summary"))
    strict = f"Record-Route: <sip:127.0.0.1:{agent.address[1]}>"
    kinds: dict[str, Any] = {} if event == "presence" else {"content_type": "application/simple-message-summary"}
    body = sip.pidf(f"note{number}") if event == "presence" else "Messages-Waiting: yes\r\n"
    extra = (strict,) if chance.random() < 0.2 else ()
    watch = Subscription(agent, uri, event=event, event_id=f"id{number}" if chance.random() < 0.5 else "")
    watch.send(*extra, expires=chance.choice((0, 60, 120)))
    net.settle()
    winfo = Subscription(other, uri, event="presence.winfo")
    winfo.send(expires=chance.choice((0, 60, 120)))
    net.settle()
    publication = agent.publication(uri, event, **kinds)
    publication.send(body=body, expires=chance.choice((0, 60, 120)))
    net.settle()
    if ruled:
        rule(net, owner)
    if publication.etag:
        publication.send(body=chance.choice(("", body)), expires=chance.choice((0, 60)))
    if watch.dialog.remote_tag:
        watch.send(expires=chance.choice((0, 60, 90)))
    contact = f"Contact: <sip:x{number}@127.0.0.1:{agent.address[1]}>"
    register = agent.request("REGISTER", "sip:example.com", contact, to=f"<sip:user{number}@example.com>")
    agent.send(register)
    agent.send(agent.request(f"METHOD{number}", uri))
    net.settle()
    if ruled and chance.random() < 0.8:
        for auid in (ruling.PRES_RULES, ruling.LISTS):
            ruling.write(net, None, owner=owner, auid=auid)


@pytest.mark.parametrize(("places", "settings"), [(1000, ()), (400, RULED)], ids=["open", "rules"])
def test_thousands_of_presentities_leave_every_container_empty(places: int, settings: tuple[str, ...]) -> None:
    net = Network(*SETTINGS, *settings, seed=1)
    net.settle()
    before = measure(net)
    agents = [net.agent("bob"), net.agent("carol", transport="TCP"), net.agent("silent"), net.agent("refusing")]
    agents[2].status, agents[3].status = None, 481
    for number in range(places):
        live(net, net.random.choice(agents), net.random.choice(agents), number, ruled=bool(settings))
        if number % 50 == 49:
            net.advance(10.0, 1.0)
        for agent in agents:
            agent.subscriptions.clear()
            agent.arrivals.clear()
    assert len(net.node.table) > 0
    net.advance(400.0, 1.0)
    after = measure(net)
    grown = {path: (before.get(path, 0), size) for path, size in after.items() if size > before.get(path, 0)}
    assert grown == {}
    tables = ("active_watchers", "shared_watchers", "presentity")
    assert [net.rows(f"SELECT count(*) FROM {table}") for table in tables] == [[(0,)]] * 3
    net.advance(3800.0, 30.0)
    assert net.rows("SELECT count(*) FROM bindings") == [(0,)]
    assert net.tally.drops["internal error"] == 0


def test_the_walk_sees_what_is_held() -> None:
    net = Network(seed=1)
    bob = net.agent("bob")
    bob.subscribe()
    bob.subscribe(event="presence.winfo", uri="sip:bob@example.com")
    bob.publication().publish(body=sip.pidf())
    held = {path for path, size in measure(net).items() if size}
    expected = {
        "node.table",
        "node.transactions",
        "node.compositor.holding._resources",
        "node.compositor.holding._numbered",
        "node.compositor.holding.tags",
        "node.notify._resources",
        "node.notify._by_gid",
        "node.notify.individual._told",
    }
    assert expected <= held


def test_the_walk_sees_what_rules_need() -> None:
    net = Network(*SETTINGS, *RULED, seed=1)
    until = [ruling.rule("confirm", condition, "") for condition in CONDITIONS[1:3]]
    ruling.write(net, ruling.ruleset(*until, ruling.rule("allow", ruling.in_list("friends"), ruling.SHOW_SERVICES)))
    ruling.write(net, ruling.lists(friends=("sip:bob@example.com",)), auid=ruling.LISTS)
    assert net.agent("bob").subscribe().state == "active"
    held = {path.rpartition(".")[2] for path, size in measure(net).items() if size}
    assert {"_due", "_lists", "_listed", "_spheres", "_permissions"} <= held
