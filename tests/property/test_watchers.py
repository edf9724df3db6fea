"""Watcher information against a model of RFC 3857 Figure 1, written from its text, over random histories.

Watchers subscribe, refresh, fetch and leave; an operator decides, takes decisions back and deletes rows; days pass and
the server is restarted. After each step what a subscriber makes of the documents (RFC 3858 section 4), what a fetch
tells and what the table `watchers` holds are what the model says, and every end was told once.
"""

import os
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import example, given, reject, settings
from hypothesis import strategies as st
from lxml import etree
from net import Network, Subscription

EXAMPLES = int(os.environ.get("PRESENCE_EXAMPLES", "120"))

SCHEMA = etree.XMLSchema(etree.parse(str(Path(__file__).parents[1] / "schemas" / "watcherinfo.xsd")))
NAMES = ("bob", "carol")
DAY_S, LONG_S = 86_400, 200_000
UNDECIDED, ALLOWED, REFUSED = 2, 1, 3
NEAR_S = 200.0
"""Two things that happen so close to each other may happen in either order: rows are purged once a minute."""

Shown = tuple[str, str, str]


@dataclass
class Sub:
    """A subscription in the model; `state` is a state of Figure 1."""

    watcher: str
    state: str
    expires_at: int
    asked_at: int
    event: str = "subscribe"
    pending_since: float = 0.0
    real: Subscription | None = None


@dataclass
class Model:
    """Figure 1 for each subscription, and a row for each watcher that asked."""

    now: float
    rows: dict[str, tuple[int, int]] = field(default_factory=dict)
    """By watcher: what was decided, and when it asked first."""
    subs: list[Sub] = field(default_factory=list)
    waiting: set[str] = field(default_factory=set)
    ended: list[Shown] = field(default_factory=list)
    """Terminated since the last look."""

    def decided(self, watcher: str) -> int:
        return self.rows.get(watcher, (UNDECIDED, 0))[0]

    def end(self, watcher: str, event: str) -> None:
        self.ended.append((watcher, "terminated", event))

    def time_out(self, sub: Sub) -> None:
        self.subs.remove(sub)
        if sub.state == "active":
            self.end(sub.watcher, "timeout")
        else:
            self.wait(sub.watcher, int(sub.pending_since))

    def wait(self, watcher: str, asked_at: int) -> None:
        if watcher in self.waiting:
            self.end(watcher, "giveup")
        self.waiting.add(watcher)
        self.rows.setdefault(watcher, (UNDECIDED, asked_at))

    def arrive(self, watcher: str) -> int:
        """A SUBSCRIBE begins; return the policy's answer."""
        answer = self.decided(watcher)
        if watcher in self.waiting:
            self.waiting.remove(watcher)
            self.end(watcher, {UNDECIDED: "giveup", ALLOWED: "approved", REFUSED: "rejected"}[answer])
        return answer

    def subscribe(self, watcher: str, expires: int) -> Sub | None:
        answer, now = self.arrive(watcher), int(self.now)
        if answer == REFUSED:
            return None
        self.rows.setdefault(watcher, (UNDECIDED, now))
        sub = Sub(watcher, "pending" if answer == UNDECIDED else "active", now + expires, now, pending_since=now)
        self.subs.append(sub)
        return sub

    def fetch(self, watcher: str) -> None:
        if self.arrive(watcher) == UNDECIDED:
            self.wait(watcher, int(self.now))

    def judge(self, sub: Sub) -> None:
        """A running subscription is decided about anew."""
        answer = self.decided(sub.watcher)
        if answer == REFUSED:
            self.subs.remove(sub)
            self.end(sub.watcher, "rejected")
        elif answer == ALLOWED and sub.state == "pending":
            sub.state, sub.event = "active", "approved"
        elif answer == UNDECIDED and sub.state == "active":
            sub.state, sub.event, sub.pending_since = "pending", "subscribe", self.now
            # Somebody has to decide about it, so it is in the table, if the operator deleted its row.
            self.rows.setdefault(sub.watcher, (UNDECIDED, sub.asked_at))

    def decide(self, watcher: str, answer: int) -> None:
        self.rows[watcher] = (answer, self.rows[watcher][1])
        if watcher in self.waiting and answer != UNDECIDED:
            self.waiting.remove(watcher)
            self.end(watcher, "approved" if answer == ALLOWED else "rejected")

    def drop(self, watcher: str) -> None:
        """The row is gone, by the operator or because it is too old."""
        del self.rows[watcher]
        if watcher in self.waiting:
            self.waiting.remove(watcher)
            self.end(watcher, "giveup")

    def restart(self) -> None:
        for sub in list(self.subs):
            self.judge(sub)
            sub.event = "subscribe"
            sub.pending_since = sub.asked_at if self.now < sub.asked_at + DAY_S else self.now

    def next_events(self) -> list[tuple[float, str, Sub | str]]:
        events: list[tuple[float, str, Sub | str]] = [(sub.expires_at, "expires", sub) for sub in self.subs]
        events += [(s.pending_since + DAY_S, "gives up", s) for s in self.subs if s.state == "pending"]
        events += [(at + DAY_S, "purged", name) for name, (answer, at) in self.rows.items() if answer == UNDECIDED]
        return sorted(events, key=lambda event: event[0])

    def happen(self, what: str, whom: Sub | str) -> None:
        if isinstance(whom, str):
            self.drop(whom)
        elif what == "expires":
            self.time_out(whom)
        else:
            self.subs.remove(whom)
            self.end(whom.watcher, "giveup")

    def shown(self) -> list[Shown]:
        live = [(sub.watcher, sub.state, sub.event) for sub in self.subs]
        return sorted(live + [(watcher, "waiting", "timeout") for watcher in self.waiting])


class Reader:
    """A subscriber to watcher information, as RFC 3858 section 4 wants it."""

    def __init__(self, watch: Subscription) -> None:
        self.watch = watch
        self.seen = 0
        self.version = -1
        self.rows: dict[str, Shown] = {}
        self.owners: dict[str, str] = {}
        self.ended: list[Shown] = []
        self.restarted = False

    def read(self) -> None:
        for notify in self.watch.notifies[self.seen :]:
            root = etree.fromstring(notify.body)
            SCHEMA.assertValid(root)
            version, (watchers,) = int(root.get("version", "")), root
            if self.restarted:
                assert (version > self.version, root.get("state")) == (True, "full")
            else:
                assert version == self.version + 1
            self.version, self.restarted = version, False
            if root.get("state") == "full":
                self.rows.clear()
            for watcher in watchers:
                self._take(watcher)
        self.seen = len(self.watch.notifies)

    def _take(self, watcher: etree._Element) -> None:
        name, id = (watcher.text or "").removeprefix("sip:").partition("@")[0], watcher.get("id", "")
        assert self.owners.setdefault(id, name) == name, "one id is one subscription"
        row = (name, watcher.get("status", ""), watcher.get("event", ""))
        alive = row[1] in ("pending", "active")
        assert (watcher.get("expiration") is not None) == alive
        if row[1] == "terminated":
            assert self.rows.pop(id, None) is not None, "what was never told cannot end, and ends once"
            self.ended.append(row)
        else:
            self.rows[id] = row


class History:
    """The server, the model, and what happens to both."""

    def __init__(self) -> None:
        self.net = Network(
            "server.policy=rules", "presence.waiting_subs_daysno=1", f"presence.max_expires_subscribe={30 * DAY_S}"
        )
        self.agents = {name: self.net.agent(name) for name in NAMES}
        self.alice = self.net.agent("alice")
        self.model = Model(self.net.clock.at)
        self.readers = [Reader(self.alice.subscribe(event="presence.winfo", expires=30 * DAY_S))]

    def to(self, at: float) -> None:
        self.net.clock.at = self.model.now = max(at, self.net.clock.at)
        self.net.settle()

    def advance(self, seconds: float) -> None:
        """Let time pass from one event of the model to the next, with care where they are."""
        until = self.net.clock.at + seconds
        while True:
            due = [event for event in self.model.next_events() if event[0] <= until]
            if not due:
                break
            at, what, whom = due[0]
            if sum(abs(event[0] - at) < NEAR_S for event in self.model.next_events()) > 1 and "purged" in {
                event[1] for event in self.model.next_events() if abs(event[0] - at) < NEAR_S
            }:
                reject()
            self.to(at - 1.0)
            self.to(at + 2.0)
            if what == "purged":
                self.to(at + 64.0)
                self.to(at + 66.0)
            self.model.happen(what, whom)
        self.to(until)
        self.to(self.net.clock.at + 1.0)

    def refresh_all(self, watcher: str) -> None:
        for sub in [sub for sub in self.model.subs if sub.watcher == watcher]:
            assert sub.real is not None
            sub.real.refresh(expires=LONG_S)
            self.model.judge(sub)
            sub.expires_at = int(self.model.now) + LONG_S

    def step(self, what: str, name: str, number: int) -> None:
        model, net, agent = self.model, self.net, self.agents[name]
        running = [sub for sub in model.subs if sub.watcher == name]
        decided, asked_at = model.rows.get(name, (0, model.now))
        undecided = decided == UNDECIDED or (what == "decide" and number % 3 == 0)
        if what in ("decide", "delete") and undecided and model.now - asked_at > DAY_S - NEAR_S:
            # It may be purged any time.
            return
        if what == "subscribe":
            expires = (60, 600, LONG_S)[number % 3]
            sub, real = model.subscribe(name, expires), agent.subscribe(expires=expires)
            assert real.response is not None
            assert real.response.status == (403 if sub is None else 200)
            if sub is not None:
                sub.real = real
        elif what == "fetch":
            model.fetch(name)
            agent.subscribe(expires=0)
        elif what in ("refresh", "unsubscribe") and running:
            sub = running[number % len(running)]
            assert sub.real is not None
            if what == "refresh":
                self.refresh_all(name)
            else:
                sub.real.unsubscribe()
                model.time_out(sub)
        elif what == "decide" and name in model.rows:
            answer = (UNDECIDED, ALLOWED, REFUSED)[number % 3]
            net.rows(f"UPDATE watchers SET status = {answer} WHERE watcher_username = '{name}'")
            self.advance(1.0)
            model.decide(name, answer)
            self.refresh_all(name)
        elif what == "delete" and name in model.rows:
            net.rows(f"DELETE FROM watchers WHERE watcher_username = '{name}'")
            self.advance(1.0)
            model.drop(name)
            self.refresh_all(name)
        elif what == "advance":
            self.advance((5.0, 90.0, 700.0, 0.45 * DAY_S, 1.3 * DAY_S)[number % 5])
        elif what == "restart":
            for reader in self.readers:
                reader.restarted = True
            model.restart()
            net.restart()
            self.advance(1.0)
        elif what == "read":
            self.readers[-1].watch.refresh(expires=30 * DAY_S)
            if len(self.readers) < 3:
                self.readers.append(Reader(self.alice.subscribe(event="presence.winfo", expires=30 * DAY_S)))

    def check(self) -> None:
        model = self.model
        for reader in self.readers:
            reader.read()
            assert sorted(reader.rows.values()) == model.shown()
            assert sorted(reader.ended) == sorted(model.ended)
            reader.ended.clear()
        model.ended.clear()
        fetched = Reader(self.alice.subscribe(event="presence.winfo", expires=0))
        fetched.read()
        assert sorted(fetched.rows.values()) == model.shown()
        rows = self.net.rows("SELECT watcher_username, status, inserted_time FROM watchers ORDER BY 1")
        assert [row[:2] for row in rows] == [(name, model.rows[name][0]) for name in sorted(model.rows)]
        # When a decision is noticed is the server's matter, within a second.
        assert all(abs(at - model.rows[name][1]) <= 2 for name, _, at in rows)


STEPS = st.tuples(
    st.sampled_from(
        ("subscribe", "subscribe", "fetch", "refresh", "unsubscribe", "decide", "delete", "advance", "restart", "read")
    ),
    st.sampled_from(NAMES),
    st.integers(0, 14),
)


@settings(deadline=None, max_examples=EXAMPLES)
@given(st.lists(STEPS, max_size=25))
@example([("fetch", "bob", 0), ("fetch", "bob", 0), ("delete", "bob", 0)])
def test_what_is_told_is_the_state_of_every_watcher(steps: list[tuple[str, str, int]]) -> None:
    history = History()
    history.check()
    for what, name, number in steps:
        history.step(what, name, number)
        history.check()
