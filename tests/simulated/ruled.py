"""Histories in which the presentity changes its mind about who may watch it, by rules documents (RFC 5025)."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from histories import History
from net import Agent, Subscription
from ruling import ALICE, PRES_RULES, one, rule, ruleset

from presence.xcap.documents import Key

KEY = Key(PRES_RULES, ALICE, "index")
HANDLINGS = ("allow", "allow", "confirm", "block")
STATUSES = {"allow": "active", "confirm": "pending", "block": "terminated;rejected"}


@dataclass
class RuledHistory(History):
    """A history with a document that says of each watcher whether it is allowed, has to wait or is blocked."""

    settings: tuple[str, ...] = ("server.policy=rules", "presence_xml.default_policy=allow")
    # Only the owner of a mailbox may watch it.
    events: list[str] = field(default_factory=lambda: ["presence"])
    ruled: bool = True
    meant: dict[bytes | None, dict[str, str]] = field(default_factory=lambda: {None: {}})
    """What each document says, by the names of watchers; without one everybody is allowed."""
    acknowledged: set[bytes | None] = field(default_factory=lambda: {None})
    """The document that was acknowledged last, and those that may have been stored after it."""

    def act(self) -> None:
        if self.random.random() < 0.2:
            self.act_rules()
        else:
            super().act()

    def act_rules(self) -> None:
        documents = self.net.node.documents
        there = documents.get(KEY)
        said = {agent.name: self.random.choice(HANDLINGS) for agent in self.watchers if agent is not self.alice}
        body: bytes | None = None
        if there is not None and self.random.random() < 0.15:
            said = {}
            documents.delete(KEY, there.etag, lambda error: self.settle_rules(None, error))
        else:
            body = ruleset(*(rule(word, one(f"sip:{name}@example.com")) for name, word in said.items()))
            etag = f"e{len(self.meant)}"
            documents.put(
                KEY, body, etag, None if there is None else there.etag, lambda error: self.settle_rules(body, error)
            )
        self.meant[body] = said
        self.acknowledged.add(body)
        self.seen["rules written"] += 1

    def crash(self) -> None:
        self.ended += [watch for watch in self.watches if watch.alive and self.handling(watch.agent) == "block"]
        super().crash()

    def settle_rules(self, body: bytes | None, error: Exception | None) -> None:
        if error is None:
            self.acknowledged = {body}
        else:
            self.seen["rules refused"] += 1

    def handling(self, agent: Agent) -> str:
        there = self.net.node.documents.get(KEY)
        body = None if there is None else there.body
        assert body in self.acknowledged, "a document is lost"
        return self.meant[body].get(agent.name, "allow")

    def shown(self, watch: Subscription) -> set[str]:
        handling = self.handling(watch.agent)
        assert watch.state == STATUSES.get(handling), f"{watch.agent.name} is {watch.state}, but {handling}"
        return super().shown(watch) if handling == "allow" else set()

    def watcher(self, agent: Agent) -> tuple[str, str]:
        return STATUSES[self.handling(agent)], agent.uri

    def check(self) -> None:
        super().check()
        told = Counter(watch.state for watch in self.watches if watch.notifies and watch.event == "presence")
        self.seen += Counter({f"is {state}": number for state, number in told.items()})
