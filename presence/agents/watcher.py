"""The watcher without I/O (RFC 6665 section 4.1).

Bytes and `now` go in; `take_outgoing` has what is to be sent, `take_events` what happened. NOTIFYs are answered
here. A subscription that ended is made anew when its reason allows, until `unsubscribe` is called.
"""

from random import Random
from typing import Final, NamedTuple

from presence._fastcore import Message, build_response, parse
from presence.agents.usage import (
    ENDING_RESPONSES,
    LIVE,
    NOTIFIED,
    TABLE,
    Input,
    State,
    SubscriptionState,
    Usage,
    read_subscription_state,
    read_target,
    read_usage,
)
from presence.errors import (
    BadEvent,
    BadRequest,
    Headers,
    MethodNotAllowed,
    OutOfOrder,
    SipError,
    UnknownSubscription,
)
from presence.sip.build import SentBy, make_branch, make_token, write_request
from presence.sip.challenge import Answerer
from presence.sip.transaction import TIMER_F_S, Answer, ClientTransactions, refresh_after_s

MAX_RETRIES: Final = 3
"""SUBSCRIBEs repeated with a longer interval, after 423, before it counts as failed."""

MAX_ANSWERED: Final = 64
"""Responses kept for retransmissions of the request."""

NO_NOTIFY: Final = "no NOTIFY"
"""Reason of an end by timer N."""

RETRY_AFTER_S: Final = 10
"""Wait before a subscription is made anew that was lost because the server was silent."""

_QUICK_END_S = 32.0
_MAX_BACKOFF_S = 300


class Subscribed(NamedTuple):
    """A SUBSCRIBE was accepted, for that long; 0 when it asked for nothing more than the state."""

    expires_s: int
    answer: Answer


class Notified(NamedTuple):
    """The state of the resource has come."""

    subscription: SubscriptionState
    cseq: int
    content_type: str
    body: bytes


class Ended(NamedTuple):
    """The subscription is over."""

    reason: str
    """That of the final NOTIFY, else what became of the SUBSCRIBE."""
    answer: Answer | None
    """The failure that ended it, None when a NOTIFY, silence after the acceptance or we did."""
    retry_s: int | None
    """Seconds until the next subscription is made, None when there will be none."""


WatcherEvent = Subscribed | Notified | Ended


class Watcher:
    """Watches one resource: subscribes, refreshes, answers NOTIFYs, unsubscribes."""

    def __init__(
        self,
        presentity: str,
        event: str,
        accept: str,
        local: SentBy,
        random: Random,
        *,
        watcher: str = "",
        expires_s: int = 3600,
        timeout_s: float = TIMER_F_S,
        answerer: Answerer | None = None,
        parameters: str = "",
        content: tuple[str, bytes] | None = None,
    ) -> None:
        """`parameters` follow the package in Event, semicolon first; `content` is type and body of SUBSCRIBEs."""
        self.state = State.INIT
        self._presentity = presentity
        self._event, self._parameters = event, parameters
        self._content, self._renewed = content, False
        self._accept = accept
        self._local = local
        self._random = random
        self._answerer = answerer or Answerer("", "", random)
        self._watcher = watcher or presentity
        self._expires_s = expires_s
        self._timeout_s = timeout_s
        self._transactions = ClientTransactions(reliable=local.reliable, timer_f_s=timeout_s)
        self._events: list[WatcherEvent] = []
        self._responses: list[bytes] = []
        self._answered: dict[tuple[str, str, str], bytes] = {}
        self._call_id, self._tag = "", make_token(random)
        self._cseq = 0
        self._usage: Usage | None = None
        self._pending = ""
        self._asked_s = 0
        self._retries = self._quick_ends = 0
        self._leaving = self._stood = False
        self._began_at = 0.0
        self._deadlines: dict[str, float] = {}

    def subscribe(self, now: float) -> None:
        """Make a subscription, in a dialog of its own."""
        self._call_id, self._tag = make_token(self._random), make_token(self._random)
        self._usage, self._cseq, self._retries, self._began_at = None, 0, 0, now
        self._deadlines.clear()
        self._enter(Input.SUBSCRIBED)
        self._send(0 if self._leaving else self._expires_s, now)

    def fetch(self, now: float) -> None:
        """Ask for the state once (RFC 6665 section 4.4.3)."""
        self._leaving = True
        self.subscribe(now)

    def ask_for(self, content: tuple[str, bytes], now: float) -> None:
        """Subscribe with another body from now on, in the dialog there is."""
        self._content, self._renewed = content, True
        self._renew(now)

    @property
    def call_id(self) -> str:
        """That of the present dialog."""
        return self._call_id

    def unsubscribe(self, now: float) -> None:
        """End the subscription; the final NOTIFY follows (RFC 6665 section 4.1.2.3)."""
        if self._leaving:
            return
        self._leaving = True
        if self.state in (State.INIT, State.TERMINATED):
            self._deadlines.clear()
            self._events.append(Ended("unsubscribed", None, None))
        else:
            self._leave(now)

    def receive(self, data: bytes, now: float) -> None:
        """Take one message from the network."""
        message = parse(data)
        if message.is_request:
            self._handle_request(message, now)
        elif not message.error:
            self._handle_answers(self._transactions.receive(message, now), now)

    def handle_timer(self, now: float) -> None:
        """Let time pass."""
        self._handle_answers(self._transactions.handle_timer(now), now)
        due = [name for name, at in sorted(self._deadlines.items(), key=lambda item: item[1]) if at <= now]
        for name in due:
            if self._deadlines.pop(name, None) is None:
                continue
            if name == "retry":
                self.subscribe(now)
            elif name == "refresh" and not self._pending:
                self._send(self._expires_s, now)
            elif name == "timer N":
                self._end(NO_NOTIFY, None, self._wait_s(None), now)
            elif name == "expiry":
                self._end("expired", None, 0, now)

    def handle_transport_error(self, now: float) -> None:
        """Learn that nothing reaches the server."""
        self._handle_answers(self._transactions.handle_transport_error(now), now)

    def next_deadline(self) -> float | None:
        """Return when `handle_timer` wants to be called."""
        deadlines = [*self._deadlines.values(), self._transactions.next_deadline()]
        return min((at for at in deadlines if at is not None), default=None)

    def take_outgoing(self) -> list[bytes]:
        """Return the messages to be sent now."""
        responses, self._responses = self._responses, []
        return responses + self._transactions.take_outgoing()

    def take_events(self) -> list[WatcherEvent]:
        """Return what has happened since last asked."""
        events, self._events = self._events, []
        return events

    # ---- SUBSCRIBE ----

    def _send(self, expires_s: int, now: float) -> None:
        self._cseq += 1
        self._asked_s = expires_s
        uri, route = self._usage.request_line() if self._usage else (self._presentity, ())
        to_tag = f";tag={self._usage.remote_tag}" if self._usage else ""
        # RFC 3261 section 8.1.1.8: what asks for a SIPS URI has one in Contact.
        secure = self._presentity[:5].lower() == "sips:"
        headers: Headers = (
            *route,
            ("From", f"<{self._watcher}>;tag={self._tag}"),
            ("To", f"<{self._presentity}>{to_tag}"),
            ("Call-ID", self._call_id),
            ("CSeq", f"{self._cseq} SUBSCRIBE"),
            ("Contact", f"<{self._local.secure_contact if secure else self._local.contact}>"),
            ("Event", self._event + self._parameters),
            ("Accept", self._accept),
            ("Expires", str(expires_s)),
            *self._answerer.headers("SUBSCRIBE", uri),
        )
        kind, body = self._content if self._content and expires_s else ("", b"")
        if kind:
            headers += (("Content-Type", kind),)
        self._renewed = False
        self._pending = make_branch(self._random)
        request = write_request("SUBSCRIBE", uri, self._local.via(self._pending), headers, body)
        self._transactions.begin("SUBSCRIBE", self._pending, request, now)
        # RFC 6665 sections 4.1.2.2 and 4.1.2.4: it runs from the SUBSCRIBE to the NOTIFY that confirms it.
        self._deadlines["timer N"] = now + self._timeout_s
        self._deadlines.pop("refresh", None)

    def _leave(self, now: float) -> None:
        # In a dialog one request after the other; without one there is nothing yet to unsubscribe from.
        if self._leaving and self._asked_s and self._usage and not self._pending and self.state in LIVE:
            self._deadlines.pop("expiry", None)
            self._send(0, now)

    def _renew(self, now: float) -> None:
        if self._renewed and not self._leaving and self._usage and not self._pending and self.state in LIVE:
            self._send(self._expires_s, now)

    def _handle_answers(self, answers: list[Answer], now: float) -> None:
        for answer in answers:
            if answer.branch == self._pending and not answer.is_provisional:
                self._pending = ""
                if answer.is_success:
                    self._handle_acceptance(answer, now)
                else:
                    self._handle_failure(answer, now)
                self._leave(now)
                self._renew(now)

    def _handle_acceptance(self, answer: Answer, now: float) -> None:
        granted_s = answer.seconds("Expires")
        # RFC 6665 section 4.1.2.1: what is granted cannot be longer than what was asked.
        expires_s = self._asked_s if granted_s is None else min(granted_s, self._asked_s)
        self._retries = 0
        self._answerer.accepted()
        self._hold(expires_s, now)
        if self._usage and answer.response:
            self._aim(answer.response)
        self._events.append(Subscribed(expires_s, answer))

    def _handle_failure(self, answer: Answer, now: float) -> None:
        if self._retries < MAX_RETRIES and self._answerer.learn(answer.response):
            # RFC 3261 section 22.2.
            self._retries += 1
            self._send(self._asked_s, now)
            return
        minimum_s = answer.seconds("Min-Expires") or 0
        longer = answer.status == 423 and minimum_s > self._asked_s > 0
        if longer and self._retries < MAX_RETRIES and not self._leaving:
            self._retries += 1
            self._expires_s = minimum_s
            self._send(minimum_s, now)
        elif self._usage and answer.status in ENDING_RESPONSES:
            self._end(answer.reason, answer, 0 if answer.status == 481 else None, now)
        elif self._usage is None or not self._asked_s or (answer.response is None and answer.status == 408):
            self._end(answer.reason, answer, self._wait_s(answer), now)
        else:
            # The subscription lives on as long as was granted before (RFC 6665 section 4.1.2.2).
            self._deadlines.pop("timer N", None)
            left_s = self._deadlines.get("expiry", now) - now
            self._deadlines["refresh"] = now + max(left_s / 2, 1.0)

    def _wait_s(self, answer: Answer | None) -> int | None:
        """Return the wait before a subscription that once stood is tried again; None for any other."""
        refused = answer is not None and answer.response is not None and answer.status < 500
        if refused or not self._stood:
            return None
        return max((answer.seconds("Retry-After") if answer else None) or 0, RETRY_AFTER_S)

    def _hold(self, expires_s: int, now: float) -> None:
        """Remember how long the subscription lives, and refresh it before."""
        if self._leaving or not self._asked_s:
            return
        self._deadlines["expiry"] = now + expires_s
        self._deadlines["refresh"] = now + refresh_after_s(expires_s)

    def _aim(self, message: Message) -> None:
        """Follow a target refresh (RFC 3261 section 12.2.1.2); an unusable Contact changes nothing."""
        try:
            target = read_target(message)
        except BadRequest:
            return
        if self._usage and target:
            self._usage = self._usage._replace(target=target)

    # ---- NOTIFY ----

    def _handle_request(self, request: Message, now: float) -> None:
        if not request.answerable or request.method == "ACK":
            return
        # RFC 3261 section 17.2.3: a retransmission gets the same response.
        key = (request.branch, request.via_host, request.method)
        response = self._answered.get(key)
        if response is None:
            status, reason, headers = 200, "OK", b""
            try:
                self._handle_notify(request, now)
            except SipError as error:
                status, reason = error.status, error.reason
                headers = "".join([f"{name}: {value}\r\n" for name, value in error.headers]).encode()
            response = build_response(request, status, reason.encode(), self._tag.encode(), headers)
            if len(self._answered) >= MAX_ANSWERED:
                del self._answered[next(iter(self._answered))]
            self._answered[key] = response
        self._responses.append(response)

    def _handle_notify(self, notify: Message, now: float) -> None:
        """Take a NOTIFY or raise what it deserves (RFC 6665 section 4.1.3)."""
        if notify.error:
            raise BadRequest(notify.error)
        if notify.method != "NOTIFY":
            raise MethodNotAllowed(headers=(("Allow", "NOTIFY"),))
        if self.state in (State.INIT, State.TERMINATED):
            raise UnknownSubscription
        # It may come before the response to SUBSCRIBE, so its own From tag makes the dialog (section 4.4.1).
        known = (notify.call_id, notify.to_tag) == (self._call_id, self._tag)
        if not known or (self._usage and notify.from_tag != self._usage.remote_tag):
            raise UnknownSubscription
        if (notify.event, notify.event_id) != (self._event, ""):
            raise BadEvent(headers=(("Allow-Events", self._event),))
        if self._usage and notify.cseq <= self._usage.remote_cseq:
            raise OutOfOrder
        subscription = read_subscription_state(notify)
        self._usage = self._usage._replace(remote_cseq=notify.cseq) if self._usage else read_usage(notify)
        self._aim(notify)
        self._events.append(Notified(subscription, notify.cseq, notify.header("Content-Type") or "", notify.body))
        self._follow(subscription, now)

    def _follow(self, subscription: SubscriptionState, now: float) -> None:
        happened = NOTIFIED.get(subscription.state)
        if happened is Input.ENDED:
            self._end(subscription.reason or "terminated", None, subscription.retry_s(), now)
            return
        if happened is not None:
            self._enter(happened)
        # While we wait for the final NOTIFY, one that crossed our SUBSCRIBE does not confirm it.
        if not (self._leaving and not self._asked_s):
            self._deadlines.pop("timer N", None)
            if subscription.expires_s is not None:
                self._hold(subscription.expires_s, now)
        self._leave(now)
        self._renew(now)

    # ---- states ----

    def _enter(self, happened: Input) -> None:
        self.state = TABLE.get((self.state, happened), self.state)
        self._stood = self._stood or self.state in LIVE

    def _end(self, reason: str, answer: Answer | None, retry_s: int | None, now: float) -> None:
        if self.state is State.TERMINATED:
            return
        self._enter(Input.ENDED)
        self._pending = ""
        self._deadlines.clear()
        if self._leaving:
            retry_s = None
        if retry_s is not None:
            # A notifier that ends every subscription at once must not be asked without pause.
            quick = now - self._began_at < _QUICK_END_S
            self._quick_ends = self._quick_ends + 1 if quick else 0
            backoff_s = min(2 ** (self._quick_ends - 1), _MAX_BACKOFF_S) if self._quick_ends > 1 else 0
            retry_s = max(retry_s, backoff_s)
            self._deadlines["retry"] = now + retry_s
        self._events.append(Ended(reason, answer, retry_s))
