"""Random histories against a model of what every watcher must know in the end.

Publishers, watchers, restarts and a bad network take turns by a seeded random. Then the network heals and time
passes: each watcher that is still subscribed must have the document the model says, composed of exactly the
publications that still stand. On the way CSeq numbers must grow per dialog as sent, and no watcher may be told an
older state after a newer one.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass, field

import pytest
import sip
from net import PERFECT, Agent, Faults, Network, Publication, Subscription

from presence._fastcore import Message

URI = "sip:alice@example.com"
BAD_NETWORK = Faults(drop=0.15, duplicate=0.15, delay_s=1.2)
HISTORIES, STEPS = 300, 14
FINAL_EXPIRES_S = 3000


@dataclass
class Device:
    """One publisher; it publishes `<id>:<number>` and remembers what it asked for."""

    publication: Publication
    name: str
    number: int = 0
    stands: str = ""
    """What the server has of it, as far as the device was told."""
    until: tuple[float, float] = (0.0, 0.0)
    """When it ends: not before the first, not after the second."""
    asked: tuple[str, int, float] = ("", 0, 0.0)

    def ready(self) -> bool:
        return self.publication.agent.idle

    def publish(self, expires: int) -> None:
        self.number += 1
        text = f"{self.name}:{self.number}"
        self._ask(text, expires, sip.pidf(text, tuple_id=self.name))

    def refresh(self, expires: int) -> None:
        self._ask(self.stands, expires, "")

    def remove(self) -> None:
        self._ask("", 0, "")

    def _ask(self, text: str, expires: int, body: str) -> None:
        self.asked = (text, expires, self.publication.agent.net.clock.at)
        self.publication.send(body=body, expires=expires)

    def settle(self) -> None:
        """Take in what was answered."""
        response = self.publication.response
        if response is None:
            return
        self.publication.response = None
        if response.status == 200:
            self.stands, expires, asked_at = self.asked
            self.until = (asked_at + expires, self.publication.answered_at + expires)
            if not self.stands:
                self.publication.etag = ""
        elif response.status == 412:
            self.stands, self.publication.etag = "", ""
        else:
            assert response.status == 503, response.reason


@dataclass
class History:
    seed: int
    net: Network = field(init=False)
    random: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.net = Network(seed=self.seed)
        self.devices = [
            Device(self.net.agent(f"device{number}").publication(uri=URI), f"d{number}") for number in range(3)
        ]
        transports = ["UDP", "UDP", "TCP"]
        self.watchers = [self.net.agent(f"watcher{n}", transport=kind) for n, kind in enumerate(transports)]
        self.watches: list[Subscription] = []
        self.failed: set[Agent] = set()
        """Watchers that refused a NOTIFY: what was in it they may not know until they ask."""

    def run(self) -> None:
        for _ in range(STEPS):
            self.act()
            self.net.advance(self.random.choice((0, 0, 0.3, 2, 9, 40)), step_s=0.25)
            self.note()
        self.heal()
        self.check()

    # ---- what may happen ----

    def act(self) -> None:
        choice = self.random.random()
        if choice < 0.45:
            self.act_device()
        elif choice < 0.8:
            self.act_watcher()
        elif choice < 0.83:
            agent = self.random.choice(self.watchers)
            agent.status, agent.extra = self.random.choice(
                ((200, ()), (500, ()), (503, ("Retry-After: 3",)), (None, ()))
            )
            if agent.status != 200:
                self.failed.add(agent)
        elif choice < 0.86:
            self.net.refuse_commits(self.random.random() < 0.5)
        elif choice < 0.93:
            self.net.faults = self.random.choice((PERFECT, BAD_NETWORK))
        elif all(agent.idle for agent in self.net.agents.values()):
            # Transactions do not outlive a restart: what is asked across one may be done twice.
            self.net.refuse_commits(False)
            self.net.restart()

    def act_device(self) -> None:
        device = self.random.choice(self.devices)
        if not device.ready():
            return
        what = self.random.random()
        expires = self.random.choice((20, 60, 600))
        if what < 0.6 or not device.publication.etag:
            device.publish(expires)
        elif what < 0.8:
            device.refresh(expires)
        else:
            device.remove()

    def act_watcher(self) -> None:
        agent = self.random.choice(self.watchers)
        if not agent.idle:
            return
        mine = [watch for watch in self.watches if watch.agent is agent and watch.dialog.remote_tag and watch.alive]
        what = self.random.random()
        expires = self.random.choice((30, 600))
        if mine and what < 0.6:
            watch = self.random.choice(mine)
            watch.send(expires=0 if what < 0.15 else expires)
        elif mine and what < 0.75:
            watch = self.random.choice(mine)
            beside = Subscription(agent, URI, dialog=watch.dialog, event_id=sip.fresh("id"))
            self.watches.append(beside)
            beside.send(expires=expires)
        else:
            watch = Subscription(agent, URI)
            self.watches.append(watch)
            watch.send(expires=0 if what > 0.95 else expires)

    def note(self) -> None:
        for device in self.devices:
            device.settle()

    # ---- the end ----

    def heal(self) -> None:
        """Let every transaction end and look; then let everybody who is still there ask once more."""
        self.net.faults = PERFECT
        self.net.refuse_commits(False)
        for agent in self.watchers:
            agent.status, agent.extra = 200, ()
        self.net.advance(70, step_s=0.25)
        self.note()
        self.pass_ends()
        for watch in self.watches:
            if watch.alive and watch.notifies and watch.agent not in self.failed:
                assert texts(watch.newest) == self.model(), self.seed
        for watch in self.watches:
            if watch.alive and watch.dialog.remote_tag:
                assert watch.agent.idle
                watch.refresh(expires=FINAL_EXPIRES_S)
        self.net.advance(10, step_s=0.25)
        self.note()
        self.pass_ends()

    def pass_ends(self) -> None:
        """Let time pass until it is certain which publications have ended."""
        while any(first - 2 <= self.net.clock.at <= last + 2 for first, last in (d.until for d in self.devices)):
            self.net.advance(1)

    def check(self) -> None:
        expected = self.model()
        for watch in self.watches:
            if watch.alive and watch.response is not None and watch.response.status == 200:
                assert texts(watch.newest) == expected, self.seed
        for agent in self.watchers:
            self.check_order(agent)
        rows = self.net.rows("SELECT body FROM presentity")
        assert {text for (body,) in rows for text in re.findall(r"<note>(.*?)</note>", body.decode())} == expected
        live = sum(self.net.node.notify.counts().values())
        counted = self.net.rows(
            "SELECT (SELECT count(*) FROM active_watchers) + (SELECT count(*) FROM shared_watchers)"
        )
        assert counted == [(live,)]
        assert len(self.net.node.table) == live
        assert self.net.node.table.counters()["in_flight"] == 0
        assert self.net.node.pending() == 0

    def model(self) -> set[str]:
        now = self.net.clock.at
        return {device.stands for device in self.devices if device.stands and device.until[0] > now}

    def check_order(self, agent: Agent) -> None:
        """In a dialog a higher CSeq never carries an older state, and no CSeq is used for two NOTIFYs."""
        least: dict[tuple[str, ...], int] = {}
        before: dict[tuple[str, ...], set[str]] = {}
        used: set[tuple[str, str, int]] = set()
        for notify in sorted(agent.notifies, key=lambda notify: notify.cseq):
            number = (notify.call_id, notify.from_tag, notify.cseq)
            assert number not in used, self.seed
            used.add(number)
            usage = (notify.call_id, notify.from_tag, notify.event_id)
            shown = texts(notify)
            for text in before.get(usage, set()) - shown:
                # What went does not come back.
                name, _, count = text.partition(":")
                least[(*usage, name)] = int(count) + 1
            for text in shown:
                name, _, count = text.partition(":")
                assert int(count) >= least.get((*usage, name), 0), (self.seed, text)
            before[usage] = shown


def texts(notify: Message) -> set[str]:
    return set(re.findall(r"<note>(.*?)</note>", notify.body.decode()))


@pytest.mark.parametrize("seed", range(HISTORIES))
def test_every_watcher_knows_the_newest_state_in_the_end(seed: int) -> None:
    History(seed).run()
