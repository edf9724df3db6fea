"""Random histories against a model of what every watcher must know in the end.

Publishers, watchers, crashes, jumps of the clock and a bad network take turns by a seeded random. Then the network
heals and time passes: each watcher that is still subscribed must have the document the model says, composed of
exactly the publications that still stand; who asked for watcher information must know exactly those watchers. On the
way nothing acknowledged may be lost, CSeq numbers must grow per dialog as sent, and no watcher may be told an older
state after a newer one or anything after the end. When all has run out nothing may be left.

    python tests/simulated/histories.py 20000 [FIRST]     plays so many from a seed on, and tells what it has seen
"""

from __future__ import annotations

import os
import random
import sys
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field
from multiprocessing import Pool

import sip
from net import PERFECT, Agent, Faults, Network, Subscription
from players import Device, WatcherInfo, check_order, texts

URI = "sip:alice@example.com"
BAD_NETWORK = Faults(drop=0.12, duplicate=0.15, delay_s=1.2, cut=0.06)
STEPS = 18
FINAL_EXPIRES_S = 3000
SUMMARY = "application/simple-message-summary"


@dataclass
class History:
    """One run; it raises AssertionError where the server did what it must not."""

    seed: int
    settings: tuple[str, ...] = ()
    events: list[str] = field(default_factory=lambda: ["presence", "presence", "message-summary"])
    """What watchers choose from."""
    ruled: bool = False
    net: Network = field(init=False)
    random: random.Random = field(init=False)
    seen: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.net = net = Network(*self.settings, seed=self.seed)
        self.devices = [Device(net.agent(f"device{n}").publication(uri=URI), f"d{n}x") for n in range(3)]
        mailbox = net.agent("mailbox").publication(URI, "message-summary", content_type=SUMMARY)
        self.devices.append(Device(mailbox, "m"))
        self.watchers = [net.agent(f"watcher{n}", transport=kind) for n, kind in enumerate(("UDP", "UDP", "TCP"))]
        self.alice = net.agent("alice", transport=self.random.choice(("UDP", "TCP")))
        self.watchers.append(self.alice)
        for agent in self.watchers:
            agent.strict = True
        self.watches: list[Subscription] = []
        self.left: list[Subscription] = []
        """Those that asked to end. The last NOTIFY may die in a crash; who then asks again begins anew."""
        self.ended: list[Subscription] = []
        """Those whose end may have been on its way when the server crashed."""
        self.failed: set[Agent] = set()
        """Watchers that refused a NOTIFY: what was in it they may not know until they ask."""

    def run(self) -> None:
        for _ in range(STEPS):
            self.act()
            self.net.advance(self.random.choice((0, 0, 0.3, 2, 9, 40)), step_s=0.25)
            self.settle()
        self.heal()
        self.check()
        self.end()
        messages = [message for agent in self.net.agents.values() for _, message in agent.arrivals]
        self.seen += Counter(
            histories=1,
            messages=len(messages),
            notifies=sum(message.is_request for message in messages),
            subscriptions=len(self.watches),
            watchers=len({watch.agent for watch in self.watches}),
        )

    # ---- what may happen ----

    def act(self) -> None:
        choice = self.random.random()
        if choice < 0.42:
            self.act_device()
        elif choice < 0.77:
            self.act_watcher()
        elif choice < 0.81:
            self.act_failure()
        elif choice < 0.84:
            self.net.refuse_commits(self.random.random() < 0.5)
            self.seen["disk full"] += 1
        elif choice < 0.91:
            self.net.faults = self.random.choice((PERFECT, BAD_NETWORK))
        elif choice < 0.93:
            self.net.disconnect(self.random.choice(self.watchers))
            self.seen["disconnects"] += 1
        elif choice < 0.95:
            self.jump()
        else:
            self.crash()

    def act_device(self) -> None:
        device = self.random.choice(self.devices)
        if not device.ready():
            return
        what = self.random.random()
        expires = self.random.choice((20, 60, 300))
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
        expires = self.random.choice((30, 900))
        if mine and what < 0.6:
            watch = self.random.choice(mine)
            if what < 0.15:
                self.left.append(watch)
            watch.send(expires=0 if what < 0.15 else expires)
            return
        # Only the presentity may ask who watches it.
        event = self.random.choice(self.events + ["presence.winfo"] * 3 * (agent is self.alice))
        if mine and what < 0.75:
            beside = self.random.choice(mine).dialog
            watch = Subscription(agent, URI, event=event, dialog=beside, event_id=sip.fresh("id"))
        else:
            watch = Subscription(agent, URI, event=event)
        self.watches.append(watch)
        watch.send(expires=0 if what > 0.95 else expires)

    def act_failure(self) -> None:
        agent = self.random.choice(self.watchers)
        agent.status, agent.extra = self.random.choice(
            ((200, ()), (500, ()), (503, ("Retry-After: 3",)), (481, ()), (None, ()))
        )
        if agent.status != 200:
            self.failed.add(agent)
            self.seen[f"answers {agent.status}"] += 1

    @property
    def quiet(self) -> bool:
        """Whether nothing is under way and nobody waits."""
        idle = all(agent.idle for agent in self.net.agents.values())
        return idle and not self.net._under_way and self.net.node.table.counters()["in_flight"] == 0

    def jump(self) -> None:
        """Let the machine sleep: much time is over at once, for timers of minutes and of hours alike."""
        if self.quiet:
            self.net.clock.at += self.random.choice((25, 70, 400))
            self.net.settle()
            self.seen["clock jumps"] += 1

    def crash(self) -> None:
        """End the server without a word, in the middle of things, and start it on its database."""
        for device in self.devices:
            device.doubtful = device.asked is not None
        self.net.refuse_commits(False)
        # What is under way finds nobody: else a late double of a request answered long ago would be done once more.
        self.net._under_way.clear()
        if self.quiet and self.random.random() < 0.5:
            # And the clock was put right meanwhile: what had run out stays away.
            for device in self.devices:
                if device.until[0] <= self.net.clock.at:
                    device.until = (0.0, device.until[1])
            self.net.clock.at -= self.random.choice((1, 15))
            self.seen["clock set back"] += 1
        self.seen["crashes"] += 1
        self.seen["crashes amid requests"] += any(device.doubtful for device in self.devices)
        self.net.restart()

    def settle(self) -> None:
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
        self.settle()
        self.pass_ends()
        missed = self.failed | self.net.cut_off
        for watch in self.watches:
            if watch in self.ended:
                continue
            sure = watch.alive and watch.agent not in missed and not lapsed(watch)
            if sure and watch.event != "presence.winfo":
                assert texts(watch.newest) == self.shown(watch), f"{watch.agent.name} before asking"
        for watch in self.watches:
            if watch.alive and watch.dialog.remote_tag:
                assert watch.agent.idle
                watch.refresh(expires=FINAL_EXPIRES_S)
        self.net.advance(10, step_s=0.25)
        self.settle()
        self.pass_ends()

    def pass_ends(self) -> None:
        """Let time pass until it is certain which publications have ended."""
        while any(first - 2 <= self.net.clock.at <= last + 2 for first, last in (d.until for d in self.devices)):
            self.net.advance(1)
        while any(self.net.clock.at <= last + 2 for d in self.devices for last in d.strays.values()):
            self.net.advance(5, step_s=1)
            if any(first - 2 <= self.net.clock.at <= last + 2 for first, last in (d.until for d in self.devices)):
                self.pass_ends()

    def check(self) -> None:
        answered = [watch for watch in self.watches if watch.alive and watch.response and watch.response.status == 200]
        wanted = Counter(self.watcher(watch.agent) for watch in answered if watch.event == "presence")
        # Their SUBSCRIBE came, and neither its answer nor a NOTIFY got through.
        unknown = [watch for watch in self.watches if not watch.dialog.remote_tag and watch.response is None]
        perhaps = wanted + Counter(self.watcher(watch.agent) for watch in unknown if watch.event == "presence")
        missed = self.failed | self.net.cut_off
        for watch in answered:
            if watch.event == "presence.winfo":
                info = WatcherInfo.of(watch, may_miss=watch.agent in missed or watch in self.left)
                running = info.running()
                assert wanted <= running <= perhaps, f"{watch.agent.name} knows of {running}, not {wanted}"
            else:
                assert texts(watch.newest) == self.shown(watch), watch.agent.name
        strays = {name for device in self.devices for name in device.strays}
        for agent in self.watchers:
            check_order(agent, strays, withdrawn=self.ruled)
        # Each request had its effect once, however often it came.
        stored = Counter(event for (event,) in self.net.rows("SELECT event FROM presentity"))
        assert stored == +Counter({e: len(self.model(e)) for e in ("presence", "message-summary")})
        live = sum(self.net.node.notify.counts().values())
        counted = self.net.rows(
            "SELECT (SELECT count(*) FROM active_watchers) + (SELECT count(*) FROM shared_watchers)"
        )
        assert counted == [(live,)]
        assert len(self.net.node.table) == live
        assert len(answered) <= live <= len(answered) + len(unknown)
        assert self.net.node.table.counters()["in_flight"] == 0
        assert self.net.node.pending() == 0
        assert self.net.tally.drops["internal error"] == 0

    def end(self) -> None:
        """Let everything run out: nothing is left."""
        self.net.advance(FINAL_EXPIRES_S + 100, step_s=20)
        node = self.net.node
        assert len(node.table) == len(node.transactions) == node.pending() == 0
        for table in ("active_watchers", "shared_watchers", "presentity"):
            assert self.net.rows(f"SELECT count(*) FROM {table}") == [(0,)], table
        for agent in self.watchers:
            strays = {name for device in self.devices for name in device.strays}
            check_order(agent, strays, withdrawn=self.ruled)
        self.net.close()

    def model(self, event: str) -> set[str]:
        """What a document must show now."""
        now = self.net.clock.at
        mine = (device for device in self.devices if device.event == event)
        return {device.stands for device in mine if device.stands and device.until[0] > now}

    def shown(self, watch: Subscription) -> set[str]:
        """What the document of a watcher must show now."""
        return self.model(watch.event)

    def watcher(self, agent: Agent) -> tuple[str, str]:
        """The status of a watcher's subscriptions, and its URI."""
        return "active", agent.uri


def lapsed(watch: Subscription) -> bool:
    """Whether the subscription has run out as far as its watcher knows; the NOTIFY that says so may die in a crash."""
    if not watch.notifies or watch.response is None or watch.response.expires == 0:
        # It asked to end, or what it asked for last was never answered.
        return True
    newest = watch.newest
    told_at = max(at for at, message in watch.agent.arrivals if message.branch == newest.branch)
    left_s = int(sip.param(newest.header("Subscription-State"), "expires") or 0)
    return told_at + left_s <= watch.agent.net.clock.at


def play(seed: int) -> tuple[int, Counter[str], str]:
    """Play one history; return its seed, what it has seen and what went wrong."""
    from ruled import RuledHistory

    # Every third has rules.
    history = RuledHistory(seed) if seed % 3 == 0 else History(seed)
    try:
        history.run()
    except Exception:
        return seed, history.seen, traceback.format_exc(limit=-3)
    return seed, history.seen, ""


def main() -> None:
    """Play many and tell what came of them."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    first = int(sys.argv[2]) if len(sys.argv) > 2 else 1_000_000
    seen: Counter[str] = Counter()
    began, wrong = time.monotonic(), 0
    with Pool(int(os.environ.get("JOBS", "0")) or os.cpu_count()) as pool:
        for seed, one, failure in pool.imap_unordered(play, range(first, first + count), chunksize=20):
            seen += one
            if failure:
                wrong += 1
                print(f"seed {seed}: {failure}", flush=True)
    print(f"{count} histories in {time.monotonic() - began:.0f} s, {wrong} with a violation")
    print(", ".join(f"{number} {what}" for what, number in seen.most_common()))
    sys.exit(wrong > 0)


if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    main()
