"""Locations looked up: what was asked is remembered, what is being asked is asked once, and all of it has bounds."""

import random
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, NamedTuple

from presence.sip.location import Asking, Hop, Outcome, Question, Reaches, Records, Trouble, locate

LEAST_S: Final = 5.0
"""Shortest time an answer is kept: a TTL of 0 must not make every request a question."""
MOST_S: Final = 3600.0
MISSING_S: Final = 30.0
"""How long it is remembered that a name has no such records."""
SILENT_S: Final = 5.0
"""And how long that nobody could say."""
WAITING: Final = 16
"""Locations that may be under way, for each question that may be."""

Then = Callable[[Outcome, float], None]
"""Gets the places, or why there are none, and the time."""


class _Kept(NamedTuple):
    records: Records
    until: float


class Resolver:
    """Finds places without I/O: `ask` sends a question on its way, `answer` is told what came of it.

    `most` questions are under way at once, the others wait; of one source so many locations are, and sixteen times as
    many in all. More are refused as `BUSY`.
    """

    def __init__(
        self, ask: Callable[[Question], None], now: Callable[[], float], *, most: int = 64, kept: int = 10_000
    ) -> None:
        self._ask = ask
        self._now = now
        self._most = most
        self._room = kept
        self._kept: OrderedDict[Question, _Kept] = OrderedDict()
        self._asking: dict[Question, list[Callable[[Records], None]]] = {}
        self._waiting: deque[Question] = deque()
        self._under_way = 0
        self._sources: Counter[str] = Counter()
        self._draw = random.SystemRandom().randrange
        self._asked = self._hits = self._failed = self._refused = 0

    def __len__(self) -> int:
        return self._sources.total()

    def counts(self) -> dict[str, int]:
        """Return since start the questions asked, answered from memory and not answered, and the locations refused."""
        return {"asked": self._asked, "remembered": self._hits, "failed": self._failed, "refused": self._refused}

    def locate(self, hop: Hop, reaches: Reaches, source: str, then: Then) -> None:
        """Find the places of a hop and call `then`, at once when no question is open.

        `source` is who caused the lookup, for the bound on what one address may have looked up at a time.
        """
        self._step(locate(hop, reaches, self._draw), None, source, then)

    def _step(self, asking: Asking, answers: Sequence[Records] | None, source: str, then: Then) -> None:
        """Go on until questions are open that nobody has answered yet."""
        while True:
            try:
                questions = asking.send(answers) if answers is not None else next(asking)
            except StopIteration as done:
                then(done.value, self._now())
                return
            known = [self._recall(question) for question in questions]
            if None not in known:
                answers = [kept.records for kept in known if kept is not None]
                continue
            if len(self) >= WAITING * self._most or self._sources[source] >= self._most:
                asking.close()
                self._refused += 1
                then(Trouble.BUSY, self._now())
                return
            self._wait(asking, questions, known, source, then)
            return

    def _wait(
        self, asking: Asking, questions: Sequence[Question], known: list[_Kept | None], source: str, then: Then
    ) -> None:
        answers: list[Records] = [kept.records if kept else None for kept in known]
        missing = [place for place, kept in enumerate(known) if kept is None]
        left = set(missing)
        self._sources[source] += 1

        def answered(place: int, records: Records) -> None:
            answers[place] = records
            left.discard(place)
            if not left:
                self._sources[source] -= 1
                if not self._sources[source]:
                    del self._sources[source]
                self._step(asking, answers, source, then)

        for place in missing:
            self._put(questions[place], partial(answered, place))

    def _put(self, question: Question, answered: Callable[[Records], None]) -> None:
        asking = self._asking.get(question)
        if asking is not None:
            asking.append(answered)
            return
        self._asking[question] = [answered]
        self._waiting.append(question)
        self._send()

    def _send(self) -> None:
        while self._waiting and self._under_way < self._most:
            self._under_way += 1
            self._asked += 1
            self._ask(self._waiting.popleft())

    def answer(self, question: Question, records: Records, ttl_s: float = 0.0) -> None:
        """Learn what came of a question; `records` is None when nobody could say."""
        if question not in self._asking:
            return
        self._under_way -= 1
        self._failed += records is None
        kept_s = SILENT_S if records is None else min(MOST_S, max(LEAST_S, ttl_s)) if records else MISSING_S
        self._kept[question] = _Kept(records, self._now() + kept_s)
        self._kept.move_to_end(question)
        for answered in self._asking.pop(question):
            answered(records)
        while len(self._kept) > self._room:
            self._kept.popitem(last=False)
        self._send()

    def _recall(self, question: Question) -> _Kept | None:
        kept = self._kept.get(question)
        if kept is None or kept.until <= self._now():
            return None
        self._hits += 1
        self._kept.move_to_end(question)
        return kept
