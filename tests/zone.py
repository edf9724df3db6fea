"""A domain name system in memory: what is in the zone is answered, at once or when a test says so."""

from collections.abc import Callable, Sequence
from typing import Any

from presence.sip.location import Naptr, Question, Records, Srv
from presence.sip.resolution import Resolver

Zone = dict[tuple[str, str], Sequence[Any] | None]
"""Records by name and kind; None for a server that fails."""

TTL_S = 60.0


def srv(target: str, port: int = 5060, priority: int = 0, weight: int = 0) -> Srv:
    return Srv(priority, weight, port, target)


def naptr(service: str, replacement: str, order: int = 0, preference: int = 0, flags: str = "s") -> Naptr:
    return Naptr(order, preference, flags, service, replacement)


class Names:
    """The resolver over a zone. `now` is the clock; `held` keeps the answers back until `release`."""

    def __init__(self, zone: Zone | None = None, *, held: bool = False, **bounds: Any) -> None:
        self.zone: Zone = zone or {}
        self.held = held
        self.questions: list[Question] = []
        self.now: Callable[[], float] = lambda: 0.0
        self.ttl_s = TTL_S
        self._open: list[Question] = []
        self.resolver = Resolver(self._ask, lambda: self.now(), **bounds)

    def _ask(self, question: Question) -> None:
        self.questions.append(question)
        if self.held:
            self._open.append(question)
        else:
            self._answer(question)

    def _answer(self, question: Question) -> None:
        records: Records = self.zone.get((question.name, question.kind), ())
        self.resolver.answer(question, records, self.ttl_s)

    def release(self) -> None:
        """Answer what was held back."""
        while self._open:
            self._answer(self._open.pop(0))
