"""The event publication agent without I/O (RFC 3903 section 4).

Bytes and `now` go in; `take_outgoing` has what is to be sent, `take_events` what happened.
"""

from enum import Enum
from random import Random
from typing import Final, NamedTuple

from presence._fastcore import parse
from presence.document.pidf import DATA_MODEL, PIDF
from presence.document.xml import escape
from presence.errors import Headers
from presence.sip.build import SentBy, make_branch, make_token, write_request
from presence.sip.challenge import Answerer
from presence.sip.transaction import TIMER_F_S, Answer, ClientTransactions, refresh_after_s

MAX_RETRIES: Final = 3
"""Attempts at one operation with other values, after 412 and 423, before it counts as failed."""

RETRY_AFTER_S: Final = 10
"""Wait before the next attempt to keep a publication alive that the server could not take now."""

RPID: Final = "urn:ietf:params:xml:ns:pidf:rpid"

ACTIVITIES: Final = (
    *("appointment", "away", "breakfast", "busy", "dinner", "holiday", "in-transit", "looking-for-work"),
    *("lunch", "meal", "meeting", "on-the-phone", "other", "performance", "permanent-absence", "playing"),
    *("presentation", "shopping", "sleeping", "spectator", "steering", "travel", "tv", "unknown"),
    *("vacation", "working", "worship"),
)
"""What a person may be doing (RFC 4480 section 3.2)."""

_NOT_NOW = frozenset({408, 480, 500, 502, 503, 504})


class Operation(Enum):
    """What a PUBLISH is for (RFC 3903 section 4.1, table 1); the first one without entity-tag is initial."""

    PUBLISH = "initial or modify"
    REFRESH = "refresh"
    REMOVE = "remove"


class Published(NamedTuple):
    """The compositor holds the event state (RFC 3903 section 4.2)."""

    etag: str
    expires_s: int
    answer: Answer


class Removed(NamedTuple):
    """The compositor has dropped the event state on our request (RFC 3903 section 4.5)."""

    answer: Answer | None
    """None when there was nothing to withdraw."""


class PublishFailed(NamedTuple):
    """The operation came to nothing; an answer without response stands for silence (408) or no way (503)."""

    answer: Answer
    retry_s: int | None
    """Seconds until the next attempt, None when there is none."""


PublisherEvent = Published | Removed | PublishFailed


def write_presence(entity: str, id: str, status: str, *, note: str = "", activity: str = "") -> bytes:
    """Write a presence document of one tuple, and a person when there is an activity (RFC 3863, RFC 4480).

    baresip looks for `<basic>` without prefix and for `<rpid:busy/>` with this one.
    """
    about = escape(note)
    tuple_note = f"<note>{about}</note>" if note else ""
    person_note = f"<dm:note>{about}</dm:note>" if note else ""
    person = (
        f'<dm:person id="person-{escape(id)}"><rpid:activities><rpid:{activity}/></rpid:activities>'
        f"{person_note}</dm:person>"
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<presence xmlns="{PIDF}" xmlns:dm="{DATA_MODEL}" xmlns:rpid="{RPID}" entity="{escape(entity)}">'
        f'<tuple id="{escape(id)}"><status><basic>{escape(status)}</basic></status>{tuple_note}</tuple>'
        f"{person if activity else ''}</presence>"
    ).encode()


class Publisher:
    """Publishes one event state of one presentity, and keeps it alive."""

    def __init__(
        self,
        presentity: str,
        event: str,
        content_type: str,
        local: SentBy,
        random: Random,
        *,
        expires_s: int = 3600,
        etag: str = "",
        timeout_s: float = TIMER_F_S,
        answerer: Answerer | None = None,
    ) -> None:
        self.etag = etag
        self.granted_s = 0
        self._presentity = presentity
        self._event = event
        self._content_type = content_type
        self._local = local
        self._random = random
        self._answerer = answerer or Answerer("", "", random)
        self._expires_s = expires_s
        self._transactions = ClientTransactions(reliable=local.reliable, timer_f_s=timeout_s)
        self._events: list[PublisherEvent] = []
        self._call_id = make_token(random)
        self._tag = make_token(random)
        self._cseq = 0
        self._body = b""
        self._wanted: Operation | None = None
        self._pending: Operation | None = None
        self._retries = 0
        self._kept = False
        self._later = Operation.REFRESH
        self._later_at: float | None = None

    def publish(self, body: bytes, now: float) -> None:
        """Publish this state: initially, or in place of what is published (RFC 3903 sections 4.2 and 4.4)."""
        self._body = body
        self._want(Operation.PUBLISH, now)

    def remove(self, now: float) -> None:
        """Withdraw what is published (RFC 3903 section 4.5)."""
        self._want(Operation.REMOVE, now)

    def receive(self, data: bytes, now: float) -> None:
        """Take one message from the network."""
        message = parse(data)
        if not message.error and not message.is_request:
            self._handle_answers(self._transactions.receive(message, now), now)

    def handle_timer(self, now: float) -> None:
        """Let time pass."""
        self._handle_answers(self._transactions.handle_timer(now), now)
        if self._later_at is not None and self._later_at <= now:
            self._want(self._later, now)

    def handle_transport_error(self, now: float) -> None:
        """Learn that nothing reaches the server."""
        self._handle_answers(self._transactions.handle_transport_error(now), now)

    def next_deadline(self) -> float | None:
        """Return when `handle_timer` wants to be called."""
        deadlines = (self._transactions.next_deadline(), self._later_at)
        return min((at for at in deadlines if at is not None), default=None)

    def take_outgoing(self) -> list[bytes]:
        """Return the messages to be sent now."""
        return self._transactions.take_outgoing()

    def take_events(self) -> list[PublisherEvent]:
        """Return what has happened since last asked."""
        events, self._events = self._events, []
        return events

    def _want(self, operation: Operation, now: float) -> None:
        self._wanted, self._later_at = operation, None
        self._proceed(now)

    def _proceed(self, now: float) -> None:
        # RFC 3903 section 4: no other PUBLISH before the final response to the one before.
        if self._pending is not None or self._wanted is None:
            return
        self._pending, self._wanted, self._retries = self._wanted, None, 0
        if self._pending is Operation.REMOVE and not self.etag:
            self._pending = None
            self._events.append(Removed(None))
        else:
            self._send(self._pending, now)

    def _send(self, operation: Operation, now: float) -> None:
        self._cseq += 1
        self._later_at = None
        # Only new state has a body; only a publication that exists has an entity-tag (RFC 3903, table 1).
        body = self._body if operation is Operation.PUBLISH else b""
        headers: Headers = (
            ("From", f"<{self._presentity}>;tag={self._tag}"),
            ("To", f"<{self._presentity}>"),
            ("Call-ID", self._call_id),
            ("CSeq", f"{self._cseq} PUBLISH"),
            ("Event", self._event),
            ("Expires", "0" if operation is Operation.REMOVE else str(self._expires_s)),
            *((("SIP-If-Match", self.etag),) if self.etag else ()),
            *((("Content-Type", self._content_type),) if body else ()),
            *self._answerer.headers("PUBLISH", self._presentity),
        )
        branch = make_branch(self._random)
        request = write_request("PUBLISH", self._presentity, self._local.via(branch), headers, body)
        self._transactions.begin("PUBLISH", branch, request, now)

    def _handle_answers(self, answers: list[Answer], now: float) -> None:
        for answer in answers:
            if self._pending is not None and not answer.is_provisional:
                operation, self._pending = self._pending, None
                self._handle_final(operation, answer, now)
                self._proceed(now)

    def _handle_final(self, operation: Operation, answer: Answer, now: float) -> None:
        again = self._decide_retry(operation, answer)
        if again is not None:
            self._retries += 1
            self._pending = again
            self._send(again, now)
        elif not answer.is_success:
            self._fail(operation, answer, now)
        elif operation is Operation.REMOVE:
            self.etag, self.granted_s, self._kept = "", 0, False
            self._events.append(Removed(answer))
        else:
            self._hold(operation, answer, now)

    def _hold(self, operation: Operation, answer: Answer, now: float) -> None:
        etag = answer.response.header("SIP-ETag") if answer.response else None
        if not etag:
            # RFC 3903 section 6, step 6: every 2xx has one; without it nothing can be refreshed.
            self._events.append(PublishFailed(answer._replace(reason="Answered without SIP-ETag"), None))
            return
        granted_s = answer.seconds("Expires")
        # More than was asked cannot be granted (RFC 3903 section 4.4), and refreshing early does no harm.
        self.granted_s = self._expires_s if granted_s is None else min(granted_s, self._expires_s)
        self.etag, self._kept = etag, True
        self._later, self._later_at = Operation.REFRESH, now + refresh_after_s(self.granted_s)
        self._events.append(Published(etag, self.granted_s, answer))

    def _decide_retry(self, operation: Operation, answer: Answer) -> Operation | None:
        """Return what to send again at once, when the response says with which values."""
        if answer.is_success:
            self._answerer.accepted()
            return None
        # RFC 3261 section 22.2.
        if self._retries < MAX_RETRIES and self._answerer.learn(answer.response):
            return operation
        if answer.status == 412 and self.etag:
            # The compositor has forgotten the state: it is published afresh (RFC 3903 section 5).
            self.etag = ""
            if operation is not Operation.REMOVE and self._body and self._retries < MAX_RETRIES:
                return Operation.PUBLISH
        minimum_s = answer.seconds("Min-Expires") or 0
        # RFC 3903 section 5: 423 is for the interval asked, and only a longer one can help.
        if answer.status == 423 and minimum_s > self._expires_s and self._retries < MAX_RETRIES:
            self._expires_s = minimum_s
            return operation
        return None

    def _fail(self, operation: Operation, answer: Answer, now: float) -> None:
        retry_s = None
        if self._kept and operation is not Operation.REMOVE and answer.status in _NOT_NOW:
            retry_s = max(answer.seconds("Retry-After") or 0, RETRY_AFTER_S)
            self._later, self._later_at = operation, now + retry_s
        self._events.append(PublishFailed(answer, retry_s))
