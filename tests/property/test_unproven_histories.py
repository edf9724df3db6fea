"""Rows whose target did not ask for its NOTIFYs, under anything that may happen to them in any order.

As long as nothing is answered a target gets one message, whatever else is done; and the counts by address are right.
"""

from __future__ import annotations

from collections import Counter

import sip
from hypothesis import given
from hypothesis import strategies as st

from presence._fastcore import CSEQ_STRIDE, Fanout, Framer, Message, parse

NOW = 1_700_000_000.0
HOSTS = ("192.0.2.1", "192.0.2.2", "2001:db8::3")
REASONS = (b"timeout", b"deactivated")

STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            (
                *("notify", "notify", "group", "move", "doubt", "believe", "answer", "trying", "refuse", "lost", "cut"),
                *("settle", "finish", "release", "resend", "wait", "wait", "long wait", "subscribe", "subscribe"),
            )
        ),
        st.integers(0, 5),
        st.integers(0, 2),
    ),
    max_size=80,
)


class World:
    def __init__(self) -> None:
        self.now = NOW
        self.table = Fanout(bytes(range(16)), NOW)
        self.table.add_link(-1, reliable=False, via=b"UDP 127.0.0.1:5060", contact=b"127.0.0.1:5060")
        self.table.add_link(-1, reliable=True, via=b"TCP 127.0.0.1:5060", contact=b"127.0.0.1:5060")
        self.gid = self.table.add_group(b"presence")
        self.slots: set[int] = set()
        self.flying: dict[int, Message] = {}
        self.flying_to: dict[int, str] = {}
        """Where the newest went, of rows that have gone nowhere else since."""
        self.sent: Counter[int] = Counter()
        """Messages since the target of a row has been in doubt."""
        self.number = 0

    def subscribe(self, host: int) -> None:
        self.number += 1
        slot = self.table.reserve()
        texts = (b"sip:x@h", b"", b"<sip:alice@example.com>", b"<sip:bob@example.com>", b"b", b"c%d" % self.number)
        until = int(self.now) + 100_000
        self.table.fill(slot, self.gid, (*texts, b"", b"", b""), cseq_mark=CSEQ_STRIDE, expires_at=until)
        self.table.set_target(slot, host % 2, HOSTS[host], 5060)
        self.slots.add(slot)
        self.sent[slot] = 0

    def pump(self) -> None:
        unproven = {slot: self.table.unproven(slot) for slot in self.alive}
        self.table.pump(self.now)
        for *_, data, slots in self.table.outbox:
            messages = list(Framer().feed(data))
            assert len(messages) == len(slots)
            for message, slot in zip(messages, slots, strict=True):
                self.flying[slot], self.flying_to[slot] = message, self.table.target(slot)[0]
                if unproven[slot]:
                    self.sent[slot] += 1
                    assert self.sent[slot] == 1
        self.table.outbox.clear()
        for slot, kind, *_ in self.table.take_events():
            if kind == "failed" and self.table.state(slot) != "free" and self.table.unproven(slot):
                # As `Upkeep` does.
                self.table.release(slot)

    @property
    def alive(self) -> list[int]:
        return [slot for slot in sorted(self.slots) if self.table.state(slot) != "free"]

    def answer(self, slot: int, status: int) -> None:
        if slot in self.flying:
            unproven = self.table.unproven(slot)
            self.table.match(parse(sip.answer(self.flying[slot], status)), self.now)
            if unproven and slot not in self.flying_to and self.table.state(slot) != "free":
                assert self.table.unproven(slot)

    def step(self, what: str, which: int, host: int) -> None:
        table = self.table
        if what == "subscribe":
            self.subscribe(host)
        elif what == "wait" or what == "long wait":
            for _ in range(4):
                self.now += 0.7 if what == "wait" else 9.0
                table.tick(self.now)
                self.pump()
        elif what == "group":
            table.notify_group(self.gid)
        elif self.alive:
            self.act(what, self.alive[which % len(self.alive)], host)

    def act(self, what: str, slot: int, host: int) -> None:
        table = self.table
        if what == "notify":
            table.notify(slot)
        elif what == "move":
            if table.target(slot)[0] != HOSTS[host]:
                # Another target, which may get its own, and for which nobody can answer what went to the one before.
                self.sent[slot] = 0
                self.flying_to.pop(slot, None)
            table.set_target(slot, host % 2, HOSTS[host], 5060)
        elif what == "doubt":
            if not table.unproven(slot):
                self.sent[slot] = 0
            table.doubt(slot)
        elif what == "believe":
            table.believe(slot)
        elif what in ("answer", "trying", "refuse"):
            self.answer(slot, {"answer": 200, "trying": 100, "refuse": 503}[what])
        elif what == "lost":
            if table.flight(slot) == "flying":
                # No connection could be opened: nothing has arrived.
                self.sent[slot] = 0
            table.fail_flight(slot, 503)
        elif what == "cut":
            table.fail_flight(slot, 503, carried=True)
        elif what == "settle":
            table.settle(slot)
        elif what == "resend":
            table.resend(slot)
        elif what == "finish":
            table.finish(slot, REASONS[host % 2])
        elif what == "release":
            table.release(slot)

    def check(self) -> None:
        expected = Counter(self.table.target(slot)[0] for slot in self.alive if self.table.unproven(slot))
        assert {host: self.table.doubts(host) for host in HOSTS} == {host: expected[host] for host in HOSTS}


@given(STEPS)
def test_one_message_until_an_answer_whatever_happens(steps: list[tuple[str, int, int]]) -> None:
    world = World()
    world.subscribe(0)
    for step in steps:
        world.step(*step)
        world.pump()
        world.check()
    for slot in world.alive:
        world.table.release(slot)
    world.slots.clear()
    world.check()
    assert len(world.table) == 0
