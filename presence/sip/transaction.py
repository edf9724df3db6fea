"""The non-INVITE client transaction (RFC 3261 section 17.1.2, Figure 6) as a table, without I/O.

Timer E repeats the request over an unreliable transport, timer F gives up, timer K keeps a finished transaction
alive to absorb repeated responses. An input that is not in the table for a state changes nothing.
"""

from enum import Enum
from typing import Final, NamedTuple

from presence._fastcore import Message

T1_S: Final = 0.5
T2_S: Final = 4.0
T4_S: Final = 5.0
TIMER_F_S: Final = 64 * T1_S

_SPARE_S = 8.0
_SHORTEST_S = 0.5


def refresh_after_s(granted_s: float) -> float:
    """Return when to refresh what was granted: while a whole transaction can still time out, else half-way."""
    return max(granted_s / 2, granted_s - TIMER_F_S - _SPARE_S, _SHORTEST_S)


class State(Enum):
    """States of a non-INVITE client transaction."""

    TRYING = "trying"
    PROCEEDING = "proceeding"
    COMPLETED = "completed"
    TERMINATED = "terminated"


class Input(Enum):
    """What can happen to it."""

    TIMER_E = "timer E"
    TIMER_F = "timer F"
    TIMER_K = "timer K"
    PROVISIONAL = "1xx"
    FINAL = "200-699"
    TRANSPORT_ERROR = "transport error"


class Action(Enum):
    """What is done about it."""

    SEND = "send the request"
    ANSWER = "hand the response to the user agent"
    TIME_OUT = "answer 408"
    FAIL = "answer 503"
    END = "end"


TABLE: Final[dict[tuple[State, Input], tuple[State, Action]]] = {
    (State.TRYING, Input.TIMER_E): (State.TRYING, Action.SEND),
    (State.TRYING, Input.PROVISIONAL): (State.PROCEEDING, Action.ANSWER),
    (State.TRYING, Input.FINAL): (State.COMPLETED, Action.ANSWER),
    (State.TRYING, Input.TIMER_F): (State.TERMINATED, Action.TIME_OUT),
    (State.TRYING, Input.TRANSPORT_ERROR): (State.TERMINATED, Action.FAIL),
    (State.PROCEEDING, Input.TIMER_E): (State.PROCEEDING, Action.SEND),
    (State.PROCEEDING, Input.PROVISIONAL): (State.PROCEEDING, Action.ANSWER),
    (State.PROCEEDING, Input.FINAL): (State.COMPLETED, Action.ANSWER),
    (State.PROCEEDING, Input.TIMER_F): (State.TERMINATED, Action.TIME_OUT),
    (State.PROCEEDING, Input.TRANSPORT_ERROR): (State.TERMINATED, Action.FAIL),
    (State.COMPLETED, Input.TIMER_K): (State.TERMINATED, Action.END),
}


class Answer(NamedTuple):
    """What a request came to: a response, or what stands for one that never came (RFC 3261 section 8.1.3.1)."""

    status: int
    reason: str
    branch: str
    """Which transaction it ends or moves on."""
    response: Message | None = None

    @property
    def is_provisional(self) -> bool:
        """True when the final answer is still to come."""
        return self.status < 200

    @property
    def is_success(self) -> bool:
        """True for 2xx."""
        return 200 <= self.status < 300

    def seconds(self, name: str) -> int | None:
        """Return the delta-seconds a header field of the response begins with; None when it has none."""
        value = (self.response.header(name) if self.response else None) or ""
        digits = value[: len(value) - len(value.lstrip("0123456789"))]
        return int(digits) if 0 < len(digits) <= 10 else None


_LOCAL_ANSWERS = {Action.TIME_OUT: (408, "Request Timeout"), Action.FAIL: (503, "Service Unavailable")}


class ClientTransaction:
    """One request and what becomes of it."""

    def __init__(
        self,
        method: str,
        branch: str,
        request: bytes,
        now: float,
        *,
        reliable: bool,
        timer_f_s: float = TIMER_F_S,
    ) -> None:
        self.method = method
        self.branch = branch
        self.state = State.TRYING
        self._request = request
        self._outgoing = [request]
        self._reliable = reliable
        self._interval_s = T1_S
        self._deadlines = {Input.TIMER_F: now + timer_f_s}
        if not reliable:
            self._deadlines[Input.TIMER_E] = now + T1_S

    def matches(self, response: Message) -> bool:
        """Tell whether a response belongs here (RFC 3261 section 17.1.3)."""
        return response.branch == self.branch and response.method == self.method

    def receive(self, response: Message, now: float) -> Answer | None:
        """Take a response that matches; return it when the user agent has not seen it yet."""
        happened = Input.PROVISIONAL if response.status < 200 else Input.FINAL
        if self._handle(happened, now) is Action.ANSWER:
            return Answer(response.status, response.reason, self.branch, response)
        return None

    def handle_timer(self, now: float) -> Answer | None:
        """Let the timers fire that are due; return the 408 when it was the last."""
        for timer, deadline in sorted(self._deadlines.items(), key=lambda item: item[1]):
            if deadline <= now and timer in self._deadlines:
                del self._deadlines[timer]
                action = self._handle(timer, now)
                if action in _LOCAL_ANSWERS:
                    return Answer(*_LOCAL_ANSWERS[action], self.branch)
        return None

    def handle_transport_error(self, now: float) -> Answer | None:
        """Learn that the request cannot be sent; return the 503 (RFC 3261 section 17.1.4)."""
        action = self._handle(Input.TRANSPORT_ERROR, now)
        return Answer(*_LOCAL_ANSWERS[action], self.branch) if action else None

    def next_deadline(self) -> float | None:
        """Return when `handle_timer` wants to be called."""
        return min(self._deadlines.values(), default=None)

    def take_outgoing(self) -> list[bytes]:
        """Return what is to be sent now."""
        outgoing, self._outgoing = self._outgoing, []
        return outgoing

    def _handle(self, happened: Input, now: float) -> Action | None:
        step = TABLE.get((self.state, happened))
        if step is None:
            return None
        self.state, action = step
        if action is Action.SEND:
            self._outgoing.append(self._request)
            self._interval_s = T2_S if self.state is State.PROCEEDING else min(2 * self._interval_s, T2_S)
            self._deadlines[Input.TIMER_E] = now + self._interval_s
        elif self.state is State.COMPLETED:
            # There is nothing to absorb on a reliable transport: timer K is zero.
            self._deadlines = {Input.TIMER_K: now + (0.0 if self._reliable else T4_S)}
        elif self.state is State.TERMINATED:
            self._deadlines = {}
        return action


class ClientTransactions:
    """All client transactions of one user agent."""

    def __init__(self, *, reliable: bool, timer_f_s: float = TIMER_F_S) -> None:
        self._reliable = reliable
        self._timer_f_s = timer_f_s
        self._transactions: list[ClientTransaction] = []

    def begin(self, method: str, branch: str, request: bytes, now: float) -> None:
        """Send a request."""
        self._transactions.append(
            ClientTransaction(method, branch, request, now, reliable=self._reliable, timer_f_s=self._timer_f_s)
        )

    def receive(self, response: Message, now: float) -> list[Answer]:
        """Hand a response to its transaction; a stray one is dropped (RFC 3261 section 17.1.3)."""
        return self._collect([t.receive(response, now) for t in self._transactions if t.matches(response)])

    def handle_timer(self, now: float) -> list[Answer]:
        """Let time pass."""
        return self._collect([t.handle_timer(now) for t in self._transactions])

    def handle_transport_error(self, now: float) -> list[Answer]:
        """Fail what has no final response yet."""
        return self._collect([t.handle_transport_error(now) for t in self._transactions])

    def next_deadline(self) -> float | None:
        """Return when `handle_timer` wants to be called."""
        deadlines = [t.next_deadline() for t in self._transactions]
        return min((at for at in deadlines if at is not None), default=None)

    def take_outgoing(self) -> list[bytes]:
        """Return what is to be sent now."""
        return [data for t in self._transactions for data in t.take_outgoing()]

    def _collect(self, answers: list[Answer | None]) -> list[Answer]:
        self._transactions = [t for t in self._transactions if t.state is not State.TERMINATED]
        return [answer for answer in answers if answer is not None]
