"""The user agent server core (RFC 3261 section 8.2): who serves a request, and how an error becomes a response."""

from collections.abc import Callable
from contextlib import suppress
from email.utils import formatdate
from typing import Protocol
from zlib import crc32

from presence._fastcore import Message, ServerTransactions, parse
from presence.errors import (
    BadExtension,
    BadRequest,
    BodyTooLarge,
    Headers,
    LoopDetected,
    MessageTooLarge,
    MethodNotAllowed,
    SipError,
    StoreError,
    TooManyHops,
    Unavailable,
    UnknownMethod,
    UnknownSubscription,
    UnsupportedUriScheme,
    UriTooLong,
    VersionNotSupported,
)
from presence.observer import Observer
from presence.sip.content import refuse_body
from presence.sip.headers import parse_uri
from presence.sip.location import Outcome
from presence.sip.status import METHODS, REASONS
from presence.tally import Tally


class Origin(Protocol):
    """Where a request came in: a UDP listener (whose compiled socket answers by itself) or a connection."""

    link: int
    """Number of the way out in the watcher table."""
    flow: int
    """Number of the connection, 0 on UDP."""
    local: str
    """`proto:host:port`, as the column `socket_info` has it."""
    transport: str
    """The token of Via: "UDP", "TCP", "TLS", "WS" or "WSS"."""
    secure: bool
    """Whether nobody on the way can read or change what is said (TLS)."""
    certified: tuple[str, ...]
    """Who the peer's verified certificate says it is: `sip:` URIs and host names (RFC 5922 section 7.1)."""

    def respond(self, request: Message, response: bytes) -> None:
        """Send a response to where the request came from."""


class ServerTransaction:
    """A request and its one final response (RFC 3261 section 17.2.2)."""

    __slots__ = ("_endpoint", "located", "request", "to_tag")

    def __init__(self, endpoint: "Endpoint", request: Message) -> None:
        self.request = request
        self.to_tag = b""
        self.located: Outcome | None = None
        """Where its next hop is, once that was looked up (RFC 3263)."""
        self._endpoint = endpoint

    @property
    def origin(self) -> Origin:
        """Where the request came in."""
        origin: Origin = self.request.origin
        return origin

    def accept(self, lines: str) -> None:
        """Send the 200; `lines` are whole header lines of our own making."""
        self._endpoint.send(self, 200, "OK", lines)

    def reply(self, status: int, headers: Headers = (), reason: str = "") -> None:
        """Send the final response; it is kept for retransmissions of the request."""
        self._endpoint.answer(self, status, reason or REASONS.get(status, ""), headers)

    def refuse(self, error: Exception) -> None:
        """Send the failure response that an error deserves: the one place where errors become responses."""
        if isinstance(error, StoreError):
            error = Unavailable()
        elif not isinstance(error, SipError):
            # Ours: the peer hears 500, the operator the rest.
            self._endpoint.fault(self.request, error)
            error = SipError()
        headers = error.headers
        if isinstance(error, Unavailable) and not headers:
            # Spread, so that those refused together do not come back together.
            spread_s = crc32(self.request.call_id.encode("utf-8", "surrogateescape")) % RETRY_SPREAD_S
            headers = (("Retry-After", str(RETRY_AFTER_S + spread_s)),)
        self._endpoint.answer(self, error.status, error.reason, headers)


RETRY_AFTER_S, RETRY_SPREAD_S = 5, 6
"""What Retry-After of a 503 says: from the first on, among so many seconds."""

MAX_VIAS = 70
"""Hops a request may have come over (RFC 3261 section 8.1.1.6 has clients allow as many)."""

TOO_LARGE = "Message Too Large"
"""What the core says of a message above the limit of its transport."""

SCHEMES = frozenset({"sip", "sips", "tel", "pres", "im"})
"""URI schemes a Request-URI may have (RFC 3261 section 8.2.2.1, RFC 3859)."""

_ONE_LINE = {0: " ", 10: " ", 13: " "}

_OTHER_METHOD = "CSeq Method Does Not Match"

Handler = Callable[[ServerTransaction, float], None]


class Endpoint:
    """Takes each new request through the checks of RFC 3261 section 8.2 to the handler of its method."""

    def __init__(
        self,
        transactions: ServerTransactions,
        tally: Tally,
        *,
        software: str,
        allow_events: str,
        supported: str = "",
        dated: bool = False,
    ) -> None:
        self.transactions = transactions
        self._tally = tally
        self._handlers: dict[str, Handler] = {"OPTIONS": self._options, "CANCEL": self._cancel}
        self._supported = frozenset(tag.strip().lower() for tag in supported.split(",") if tag.strip())
        self._server = self._lines = f"Server: {software}\r\n" if software else ""
        self._dated = dated
        self._second = -1
        self._allow_events = allow_events
        self._supported_text = supported
        self._accept = ""
        self.now: float = 0.0
        self.observer: Observer | None = None
        self.draining = False
        """New requests are refused with 503."""
        self.identify: Callable[[Message, float], None] | None = None
        """Sets `identity` of a request or raises SipError, before anything else is looked at; None asks nobody."""

    @property
    def server_line(self) -> bytes:
        """The header lines every response begins with: Server, and Date when it is wanted; empty without both."""
        return self._common_lines().encode()

    def _common_lines(self) -> str:
        if self._dated and int(self.now) != self._second:
            self._second = int(self.now)
            self._lines = self._server + self._date_line()
        return self._lines

    def _date_line(self) -> str:
        """RFC 3261 section 20.17: always in GMT."""
        return f"Date: {formatdate(self.now, usegmt=True)}\r\n"

    @property
    def hurried(self) -> bool:
        """True while successes need not be told to anybody, so that they can be answered in batches."""
        return not self.draining and not (self.observer is not None and self.observer.verbose)

    def serve(self, method: str, handler: Handler) -> None:
        """Let `handler` take the requests of a method; it replies, now or after a commit, or raises SipError."""
        self._handlers[method] = handler

    def accept(self, content_types: str) -> None:
        """Say which bodies requests may carry, for OPTIONS."""
        self._accept = content_types

    @property
    def allow(self) -> str:
        """The value of Allow."""
        return ", ".join(sorted(self._handlers))

    def receive(self, request: Message, now: float) -> None:
        """Handle one request that is not a retransmission."""
        self.now = now
        method = request.method
        transaction = ServerTransaction(self, request)
        if request.plain and not self.draining and (self.identify is None or request.identity is not None):
            # Nothing of what `_guard` looks at is there, and the transactions have counted it.
            try:
                self._handlers[method](transaction, now)
            except Exception as error:
                transaction.refuse(error)
            return
        if not request.plain:
            self._tally.count_request(method)
        if method == "ACK":
            # No INVITE was ever accepted here: a stray ACK is never answered (RFC 3261 section 17).
            self.transactions.abandon(request.transaction)
            self._tally.drops["stray ACK"] += 1
            return
        if request.error and not request.answerable:
            self._tally.drops["malformed"] += 1
            return
        try:
            self._guard(request)
            self._handlers[method](transaction, now)
        except Exception as error:
            transaction.refuse(error)

    def _guard(self, request: Message) -> None:
        if request.bad_version:
            raise VersionNotSupported
        if request.error == TOO_LARGE:
            raise MessageTooLarge
        allow = (("Allow", self.allow),)
        if request.error == _OTHER_METHOD and request.method not in METHODS:
            # RFC 4475 section 3.1.2.18: how an unknown method fills CSeq is not ours to judge.
            raise UnknownMethod(headers=allow)
        if request.error:
            raise BadRequest(request.error)
        parse_uri(request.uri)
        if request.method == "CANCEL":
            # Nor are its credentials or Require looked at (RFC 3261 section 9.2).
            return
        # RFC 3261 section 8.2.1: the method is inspected before the headers.
        if request.method not in self._handlers:
            raise (MethodNotAllowed if request.method in METHODS else UnknownMethod)(headers=allow)
        if self.identify is not None and not request.merged:
            # RFC 3261 section 8.2: authentication comes first. (A request that came before used up its nonce-count.)
            self.identify(request, self.now)
        # RFC 4475 section 3.3.11: who is asked what it can do answers at the last hop too.
        if request.max_forwards == 0 and request.method != "OPTIONS":
            raise TooManyHops
        self._check_sizes(request)
        if request.merged:
            raise LoopDetected
        # RFC 5627 section 14.1: of a registrar `gruu` demands that it makes GRUUs, which ours does not.
        understood = self._supported if request.method != "REGISTER" else frozenset[str]()
        unknown = [tag for tag in request.values("Require") if tag.lower() not in understood]
        if unknown:
            raise BadExtension(headers=(("Unsupported", ", ".join(unknown)),))
        if request.uri.partition(":")[0].lower() not in SCHEMES:
            raise UnsupportedUriScheme
        if self.draining:
            raise Unavailable("Shutting Down")

    def _check_sizes(self, request: Message) -> None:
        uri_bytes, body_bytes = self.transactions.bounds
        if len(request.uri.encode("utf-8", "surrogateescape")) > uri_bytes:
            raise UriTooLong
        if len(request.body) > body_bytes:
            raise BodyTooLarge
        if len(request.values("Via")) > MAX_VIAS:
            raise TooManyHops

    def turn_away(self, request: Message, error: SipError) -> None:
        """Answer a request that is not even looked at."""
        if not request.plain:
            self._tally.count_request(request.method)
        ServerTransaction(self, request).refuse(error)

    def answer(self, transaction: ServerTransaction, status: int, reason: str, headers: Headers) -> None:
        """Build and send the final response of a transaction."""
        # What is echoed from the peer must not become a header field of its own.
        lines = ""
        for name, value in headers:
            lines += f"{name}: {value if value.isprintable() else value.translate(_ONE_LINE)}\r\n"
        self.send(transaction, status, reason, lines)

    def send(self, transaction: ServerTransaction, status: int, reason: str, lines: str) -> None:
        """Send the final response of a transaction with these header lines, and keep it for retransmissions."""
        request = transaction.request
        method = request.method
        self._tally.count_response(method, status)
        observer = self.observer
        if observer is not None and (status >= 300 or observer.verbose):
            try:
                observer.answered(method, status, reason, request.call_id, request.uri, request.event)
            except Exception:
                # Whoever asked gets the answer, and what waits behind it its turn.
                self._tally.drops["internal error"] += 1
        phrase = reason.encode("utf-8", "surrogateescape")
        if method == "REGISTER" and status < 300 and not self._dated:
            # RFC 3261 section 10.3, step 8: by it a client without a clock sets its own.
            lines = self._date_line() + lines
        fields = (self._common_lines() + lines).encode("utf-8", "surrogateescape")
        self.transactions.answer(request, status, phrase, transaction.to_tag, fields, self.now)

    def fault(self, request: Message, error: Exception) -> None:
        """Note an error nobody expected."""
        self._tally.drops["internal error"] += 1
        if self.observer is not None:
            with suppress(Exception):
                self.observer.faulted(error, request.call_id)

    def _cancel(self, transaction: ServerTransaction, now: float) -> None:
        """RFC 3261 section 9.2: what is no INVITE is not cancelled, and whoever asks for it is told that we heard."""
        index = self.transactions.cancelled(transaction.request)
        if not index:
            raise UnknownSubscription("Call/Transaction Does Not Exist")
        response = self.transactions.response(index)
        if response:
            transaction.to_tag = parse(response).to_tag.encode("utf-8", "surrogateescape")
        transaction.reply(200)

    def _options(self, transaction: ServerTransaction, now: float) -> None:
        """RFC 3261 section 11.2, RFC 3903 section 7, RFC 6665 section 4.4.4."""
        refuse_body(transaction.request)
        transaction.reply(
            200,
            (
                ("Allow", self.allow),
                ("Accept", self._accept),
                ("Accept-Encoding", "identity"),
                ("Accept-Language", "*"),
                ("Allow-Events", self._allow_events),
                ("Supported", self._supported_text),
            ),
        )
