"""Errors that carry the answer they deserve.

Three roots say whose fault it is: the peer's (`SipError`, answered with its status), the operator's
(`ConfigError`, exit status 2) and the storage's (`StoreError`, answered 503 and undone).
"""

Headers = tuple[tuple[str, str], ...]


class PresenceError(Exception):
    """Anything this project raises on purpose."""


class ConfigError(PresenceError):
    """The configuration is wrong; the text names the key and what is allowed."""


class StoreError(PresenceError):
    """The database refused a change; nothing of it was applied."""


class SipError(PresenceError):
    """A request that deserves a failure response (RFC 3261 section 21)."""

    status = 500
    reason = "Server Internal Error"

    def __init__(self, reason: str | None = None, headers: Headers = ()) -> None:
        self.reason = reason or type(self).reason
        self.headers = headers
        super().__init__(f"{self.status} {self.reason}")


class BadRequest(SipError):
    """The request is malformed; the reason phrase says what is wrong (RFC 3261 section 21.4.1)."""

    status, reason = 400, "Bad Request"


class Unauthorized(SipError):
    """Nobody knows who sent it; carries the challenges (RFC 3261 section 21.4.2)."""

    status, reason = 401, "Unauthorized"

    def __init__(self, why: str, headers: Headers) -> None:
        super().__init__(headers=headers)
        self.why = why
        """For the operator: what was wrong, in a constant word or two."""


class Forbidden(SipError):
    """Understood and refused (RFC 3261 section 21.4.4)."""

    status, reason = 403, "Forbidden"


class NotFound(SipError):
    """The domain or the user is not served here (RFC 3261 section 21.4.5)."""

    status, reason = 404, "Not Found"


class MethodNotAllowed(SipError):
    """The method is not served; carries Allow (RFC 3261 section 21.4.6)."""

    status, reason = 405, "Method Not Allowed"


class NotAcceptable(SipError):
    """Nothing in Accept fits the package (RFC 3261 section 21.4.7)."""

    status, reason = 406, "Not Acceptable"


class UnknownEntityTag(SipError):
    """SIP-If-Match names no publication (RFC 3903 section 11.2.1)."""

    status, reason = 412, "Conditional Request Failed"


class BodyTooLarge(SipError):
    """The body is larger than is taken (RFC 3261 section 21.4.11)."""

    status, reason = 413, "Request Entity Too Large"


class UriTooLong(SipError):
    """The Request-URI is longer than is taken (RFC 3261 section 21.4.12)."""

    status, reason = 414, "Request-URI Too Long"


class UnsupportedMediaType(SipError):
    """The body's type is not one the package takes; carries Accept (RFC 3903 section 6, step 4)."""

    status, reason = 415, "Unsupported Media Type"


class UnsupportedUriScheme(SipError):
    """The Request-URI is of a scheme not served (RFC 3261 section 8.2.2.1)."""

    status, reason = 416, "Unsupported URI Scheme"


class BadExtension(SipError):
    """Require names an extension we lack; carries Unsupported (RFC 3261 section 8.2.2.3)."""

    status, reason = 420, "Bad Extension"


class IntervalTooBrief(SipError):
    """Expires is below the minimum; carries Min-Expires (RFC 6665 section 4.2.1.1)."""

    status, reason = 423, "Interval Too Brief"


class UnknownSubscription(SipError):
    """The request is in a dialog that is not ours (RFC 6665 section 4.2.1)."""

    status, reason = 481, "Subscription Does Not Exist"


class LoopDetected(SipError):
    """The same request came before, by another path (RFC 3261 section 8.2.2.2)."""

    status, reason = 482, "Loop Detected"


class TooManyHops(SipError):
    """Max-Forwards is used up (RFC 3261 section 16.3)."""

    status, reason = 483, "Too Many Hops"


class BadEvent(SipError):
    """The event package is not served; carries Allow-Events (RFC 6665 section 8.3.2)."""

    status, reason = 489, "Bad Event"


class OutOfOrder(SipError):
    """CSeq is lower than one already seen in the dialog (RFC 3261 section 12.2.2)."""

    status, reason = 500, "CSeq Out of Order"


class TooManyRequests(SipError):
    """The user sends faster than is served; carries Retry-After (RFC 3261 section 21.5.1)."""

    status, reason = 500, "Too Many Requests"


class UnknownMethod(SipError):
    """A method nobody here has heard of; carries Allow (RFC 3261 section 21.5.2)."""

    status, reason = 501, "Not Implemented"


class VersionNotSupported(SipError):
    """Not SIP/2.0 (RFC 3261 section 21.5.6)."""

    status, reason = 505, "Version Not Supported"


class Unavailable(SipError):
    """Nothing was changed; try again: it gets a Retry-After when it has none (RFC 3261 section 21.5.4)."""

    status, reason = 503, "Service Unavailable"


class MessageTooLarge(SipError):
    """The message is larger than is taken (RFC 3261 section 21.5.7)."""

    status, reason = 513, "Message Too Large"
