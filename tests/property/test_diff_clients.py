"""Clients that follow NOTIFYs of xcap-diff alone hold the documents there are, whatever is written and lost meanwhile.

Random writes, deletions, silences, refusals, refreshes, new selections and restarts; in the end each client must hold
just what is in the table of what it asked for, and what it may read. Every NOTIFY is valid on the way.
"""

import os
from typing import Any

from diffs import SETTING, Diff, canonical, delete, fetch, write
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lxml import etree
from net import Network

from presence.xcap.usages.resource_lists import ResourceLists

EXAMPLES = int(os.environ.get("PRESENCE_EXAMPLES", "150")) // 3

HOME = "users/sip:alice@example.com"
SELS = tuple(f"{auid}/{HOME}/{name}" for auid in ("resource-lists", "test-app") for name in ("index", "a/b"))
THEIRS = "test-app/users/sip:bob@example.com/index"
ELEMENT, ATTRIBUTE = f"{SELS[1]}/~~/l/e%5b1%5d", f"{SELS[1]}/~~/l/e%5b2%5d/@n"
CHOICES: dict[tuple[str, ...], tuple[str, ...]] = {
    (): SELS,
    SELS: SELS,
    ("resource-lists/", ELEMENT, ATTRIBUTE): SELS[:2],
    (SELS[3], ATTRIBUTE, ELEMENT): SELS[3:],
    (f"test-app/{HOME}/a/", SELS[0]): (SELS[3], SELS[0]),
    ("test-app/", THEIRS): SELS[2:],
}
MODES = ("", "no-patching", "xcap-patching", "aggregate")

steps = st.one_of(
    st.tuples(
        st.just("write"), st.sampled_from((*SELS, SELS[1], THEIRS)), st.lists(st.sampled_from("abcd"), max_size=4)
    ),
    st.tuples(
        st.just("write"), st.sampled_from((*SELS, SELS[1], THEIRS)), st.lists(st.sampled_from("abcd"), max_size=4)
    ),
    st.tuples(st.just("delete"), st.sampled_from((*SELS, THEIRS)), st.none()),
    st.tuples(st.just("wait"), st.sampled_from((0.3, 1.0, 5.2)), st.none()),
    st.tuples(st.just("status"), st.integers(0, 2), st.sampled_from((200, 200, 407, 500, None))),
    st.tuples(st.just("refresh"), st.integers(0, 2), st.sampled_from(MODES)),
    st.tuples(st.just("choose"), st.integers(0, 2), st.sampled_from(list(CHOICES))),
    st.tuples(st.just("restart"), st.none(), st.none()),
)


PAD = "x" * 300


def document(names: list[str], number: int) -> str:
    entries = "".join(f'\n  <e n="{name}">{name * 40}</e>' for name in names)
    return f'<l xmlns="{ResourceLists.namespace}">{entries}\n<v>{number % 3}</v>{PAD}</l>'


class Play:
    def __init__(self, choices: list[tuple[tuple[str, ...], str]]) -> None:
        self.net = Network(SETTING, "presence.min_expires_subscribe=60")
        self.watches: list[Diff] = []
        self.asked: list[tuple[str, ...]] = []
        self.versions = 0
        for choice, mode in choices:
            agent = self.net.agent("alice")
            watch = Diff(agent, *choice, mode=mode, expires=3600)
            assert watch.ask() == 200
            self.watches.append(watch)
            self.asked.append(choice)

    def step(self, what: str, who: Any, value: Any) -> None:
        net = self.net
        if what == "write":
            self.versions += 1
            write(net, who, f"v{self.versions}", document(value, self.versions))
        elif what == "delete":
            delete(net, who)
        elif what == "wait":
            net.advance(who)
        elif what == "restart":
            net.restart()
        elif what == "status":
            self.watches[who].agent.status = value
        elif self.watches[who].alive:
            # A client that refreshes takes what it holds for stale (section 4.8); its selection may be another.
            watch = self.watches[who]
            if what == "choose":
                watch.choose(*value)
                self.asked[who] = value or self.asked[who]
            else:
                watch.mode = value
            # Who refreshes is there.
            watch.agent.status = 200
            for known in (watch.etags, watch.held, watch.components):
                known.clear()
            watch.ask()

    def finish(self) -> None:
        for watch in self.watches:
            watch.agent.status = 200
        self.net.advance(45.0)
        # One more change for each, in case the last NOTIFY was refused: the next news bring everything.
        for sel in SELS:
            self.step("write", sel, ["a", "b"])
        self.net.advance(12.0)

    def check(self) -> None:
        for watch, choice in zip(self.watches, self.asked, strict=True):
            if watch.ask() == 481:
                # A silence that lasted ended it (section 4.7).
                continue
            # What told of the list before may have been repeated until after the new one was accepted.
            held = {sel: body for sel, body in watch.held.items() if sel in CHOICES[choice]}
            assert set(held) == set(CHOICES[choice])
            for sel, body in held.items():
                found = fetch(self.net, sel)
                assert found is not None
                assert watch.etags[sel] == found[0]
                assert canonical(body) == canonical(found[1])
            components = {}
            if ELEMENT in choice:
                root = etree.fromstring((fetch(self.net, SELS[1]) or ("", b"<l/>"))[1])
                elements = root.findall(f"{{{ResourceLists.namespace}}}e")
                components[ELEMENT] = elements[0].text
                components[ATTRIBUTE] = elements[1].get("n")
            assert watch.components == components


choices = st.lists(st.tuples(st.sampled_from(list(CHOICES)), st.sampled_from(MODES)), min_size=3, max_size=3)


@settings(max_examples=EXAMPLES, suppress_health_check=[HealthCheck.too_slow])
@given(choices, st.lists(steps, max_size=25))
def test_who_follows_the_notifies_holds_the_documents(
    asked: list[tuple[tuple[str, ...], str]], script: list[tuple[str, Any, Any]]
) -> None:
    play = Play(asked)
    try:
        for step in script:
            play.step(*step)
        play.finish()
        before = [dict(watch.held) for watch in play.watches]
        play.check()
        # What the last refresh told was known before it.
        assert all(watch.held == held for watch, held in zip(play.watches, before, strict=True) if watch.alive)
    finally:
        play.net.close()
