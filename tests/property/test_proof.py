"""Proofs recognised by the tick against those checked one by one: the same answers, rows and counts.

One network screens the requests of a tick in the compiled core and serves them in batches; the other has each take the
general way. Both are given the same answers to their challenges: right, wrong, replayed and oddly written ones.
"""

from __future__ import annotations

import re
from collections import Counter
from itertools import count

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from net import Agent
from proof import Prover, challenges, h
from test_ordinary import EXAMPLES, Ask, Quiet, Side, Tick, Verbose, differences, publishes, subscribes

from presence._fastcore import Message, parse

CONFIGURATIONS = (
    ("auth.required=true",),
    ("auth.required=true", "auth.algorithms=SHA-256", "auth.publishers=w0@example.com"),
    ("auth.required=true", "auth.algorithms=SHA-512-256,MD5", "auth.trusted=127.0.0.1/32"),
)
MANNERS = (
    *("right",) * 60,
    *("none", "wrong", "zero", "gap", "tampered", "another", "uri", "capitals", "quoted", "spaced"),
    *("unnamed", "twice", "unknown", "realm", "noqop", "repeated", "escaped", "domain", "asserted", "garbage"),
)
USERS = ("alice", *(f"w{n}" for n in range(4)))


def with_manner(ask: Ask, manner: str) -> Ask:
    *lines, extra = ask.lines
    return ask._replace(lines=(*lines, f"{extra}\r\nX-Proof: {manner}".lstrip("\r\n")))


def ticks() -> st.SearchStrategy[list[Tick]]:
    ask = st.builds(with_manner, st.one_of(publishes(), subscribes()), st.sampled_from(MANNERS))
    waits = st.sampled_from((0.0, 0.0, 0.0, 0.5, 40.0, 700.0, 4000.0))
    rarely = st.integers(0, 15).map(lambda n: n == 15)
    return st.lists(
        st.builds(Tick, st.lists(ask, min_size=1, max_size=8), st.just(False), rarely, waits), min_size=2, max_size=8
    )


class ProvenSide(Side):
    def __init__(self, configuration: tuple[str, ...], observer: Verbose) -> None:
        super().__init__(configuration, observer)
        for user in USERS:
            hashes = [h(name, f"{user}:example.com:{user}") for name in ("MD5", "SHA-256", "SHA-512-256")]
            self.net.rows(
                "INSERT INTO subscriber (username, domain, ha1, ha1_sha256, ha1_sha512t256)"
                f" VALUES ('{user}', 'example.com', '{hashes[0]}', '{hashes[1]}', '{hashes[2]}')"
            )
        self.challenge: dict[str, str] = {}
        self.numbers = count(8)
        response = self.agents[0].ask(self.agents[0].request("PUBLISH", "sip:alice@example.com", "Event: presence"))
        self.adopt(response)
        self.seen[0] = len(self.agents[0].arrivals)

    def adopt(self, response: Message) -> None:
        self.challenge, self.numbers = challenges(response)[0], count(8)

    def write(self, ask: Ask) -> tuple[Agent, bytes]:
        agent, data = super().write(ask)
        found = re.search(rb"X-Proof: (\w+)\r\n", data)
        if found:
            message = parse(data)
            lines = self.prove(ask, found[1].decode(), message.method, message.uri)
            data = data.replace(found[0], "".join(f"{line}\r\n" for line in lines).encode())
            self.last[ask.method, ask.of] = data
        return agent, data

    def prove(self, ask: Ask, manner: str, method: str, uri: str) -> list[str]:
        user = "alice" if ask.method == "PUBLISH" else f"w{ask.of}"
        if manner == "another":
            user = "w0" if user != "w0" else "w1"
        prover = Prover(user, "x" if manner == "wrong" else user, self.challenge, self.numbers)
        right = prover.line
        if manner in ("right", "wrong", "another"):
            return [right(method, uri)]
        odd = {
            "none": lambda: [],
            # (Of two equal counts in one tick either may be served, so none is repeated here.)
            "zero": lambda: [right(method, uri, edit={"nc": "00000000"})],
            "gap": lambda: [right(method, uri, nc=[next(self.numbers), next(self.numbers)][1])],
            "tampered": lambda: [right(method, uri, nonce="0" * 12 + self.challenge["nonce"][12:])],
            "uri": lambda: [right(method, "sip:other@example.com")],
            "capitals": lambda: [re.sub('response="\\w+"', lambda m: m[0].upper(), right(method, uri, capitals=True))],
            "quoted": lambda: [right(method, uri).replace("qop=auth", 'qop="auth"')],
            "spaced": lambda: [right(method, uri).replace(", ", "\r\n ,  ").replace("Digest", "DIGEST")],
            "unnamed": lambda: [right(method, uri, edit={"algorithm": None})],
            "twice": lambda: [right(method, uri, realm="other.org"), right(method, uri)],
            "unknown": lambda: [right(method, uri, username="nobody")],
            "realm": lambda: [right(method, uri, realm="other.org")],
            "noqop": lambda: [right(method, uri, qop="")],
            "repeated": lambda: [right(method, uri) + ', realm="example.com"'],
            "escaped": lambda: [right(method, uri, edit={"username": "\\" + user})],
            "domain": lambda: [right(method, uri, username=f"{user}@example.com")],
            "asserted": lambda: [f"P-Asserted-Identity: <sip:{user}@example.com>"],
            "garbage": lambda: ['Authorization: Digest username="', "Authorization: Digest a=b"],
        }
        lines: list[str] = odd[manner]()
        return lines

    def learn(self, message: Message) -> None:
        super().learn(message)
        if message.status == 401 and "stale" in challenges(message)[0]:
            self.adopt(message)

    def counted(self) -> tuple[object, ...]:
        return *super().counted(), +Counter(self.net.tally.auth_failures)


def compare(configuration: tuple[str, ...], ticks: list[Tick]) -> Counter[str]:
    """Play the ticks to both sides; return how many requests were answered in batches."""
    general, ordinary = ProvenSide(configuration, Verbose()), ProvenSide(configuration, Quiet())
    batched: Counter[str] = Counter()
    try:
        for tick in ticks:
            one_by_one(general)
            one, other = general.play(tick), ordinary.play(tick)
            assert one == other, differences(one, other)
            accepted = {name: done for name, (_, done) in ordinary.net.node.transactions.ordinary().items()}
            if tick.restart:
                ordinary.batched.clear()
            batched += Counter(accepted) - ordinary.batched
            ordinary.batched = Counter(accepted)
        return batched
    finally:
        general.net.close()
        ordinary.net.close()


def one_by_one(side: ProvenSide) -> None:
    """Screen nothing: what nobody has proven by then is checked by itself."""
    node = side.net.node

    def look_closer(messages: list[Message], now: float) -> list[Message]:
        for message in messages:
            if message.is_request:
                node.transactions.look_closer(message)
        node._identity._subscribers.refresh(now)
        return messages

    node._identity.screen = look_closer
    node._identity._recognise = lambda request, now: None


@pytest.mark.timeout(600)
def test_proofs_come_to_the_same_by_the_tick_and_one_by_one() -> None:
    batched: Counter[str] = Counter()

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink),
    )
    @given(st.sampled_from(CONFIGURATIONS), ticks())
    def play(configuration: tuple[str, ...], ticks: list[Tick]) -> None:
        batched.update(compare(configuration, ticks))

    play()
    # Else this would compare the general way with itself.
    assert min(batched["PUBLISH"], batched["SUBSCRIBE"]) > EXAMPLES / 12, batched
