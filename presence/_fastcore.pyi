"""The typed face of the compiled core."""

from collections.abc import Iterable

class Message:
    """One SIP message. Header values come unfolded and trimmed, decoded as UTF-8 with surrogateescape."""

    origin: object
    """The listener or connection it came in on."""
    @property
    def is_request(self) -> bool: ...
    @property
    def method(self) -> str:
        """The method; for a response that of CSeq."""
    @property
    def uri(self) -> str:
        """The Request-URI, '' for a response."""
    @property
    def status(self) -> int: ...
    @property
    def reason(self) -> str: ...
    @property
    def error(self) -> str:
        """'' or what is malformed, as a reason phrase for a 400."""
    @property
    def bad_version(self) -> bool:
        """True when it is not SIP/2.0, which is answered 505 (RFC 3261 section 21.5.6)."""
    @property
    def answerable(self) -> bool:
        """True when Via, From, To, Call-ID and CSeq are good enough to build a response."""
    @property
    def call_id(self) -> str: ...
    @property
    def from_tag(self) -> str: ...
    @property
    def to_tag(self) -> str: ...
    @property
    def cseq(self) -> int: ...
    @property
    def branch(self) -> str: ...
    @property
    def via_transport(self) -> str:
        """The transport of the top Via, as sent."""
    @property
    def via_host(self) -> str:
        """The host of the top Via's sent-by, an IPv6 address without its brackets."""
    @property
    def event(self) -> str: ...
    @property
    def event_id(self) -> str: ...
    @property
    def expires(self) -> int | None: ...
    @property
    def max_forwards(self) -> int | None: ...
    @property
    def content_length(self) -> int | None: ...
    @property
    def body(self) -> bytes: ...
    @property
    def raw(self) -> bytes:
        """The whole message as received."""
    @property
    def source(self) -> tuple[str, int]:
        """Host and port the message came from ('' and 0 before `set_source`)."""
    @property
    def reply_address(self) -> tuple[str, int]:
        """Where a response over UDP goes: RFC 3581 section 4, else RFC 3261 section 18.2.2."""
    def set_source(self, host: str, port: int) -> None:
        """Say where the message came from; the host is an address, not a name."""
    def header(self, name: str) -> str | None:
        """The first header field line of that name (any case, compact or long form)."""
    def headers(self, name: str) -> list[str]:
        """All header field lines of that name, in order."""
    def values(self, name: str) -> list[str]:
        """All values of that name, comma-joined lines split (quotes and <> respected)."""
    def header_items(self) -> list[tuple[str, str]]:
        """All header fields as sent, in order."""

def parse(data: bytes) -> Message:
    """Scan one whole message (a datagram). Never raises: see `error` and `answerable`."""

def _scan_many(data: bytes, times: int) -> int:
    """Scan the same bytes many times, for the benchmark; return the last error."""

class Framer:
    """Cuts a byte stream into messages by Content-Length (RFC 3261 section 18.3)."""

    def __init__(self, max_message: int = ...) -> None: ...
    def feed(self, data: bytes) -> list[Message]:
        """Messages complete with these bytes. A message with `error` set may end the stream (`broken`)."""
    @property
    def broken(self) -> bool:
        """True when the stream can no longer be framed and the connection must be closed."""
    @property
    def pings(self) -> int:
        """CRLFCRLF keep-alives seen since last asked; each is answered with a CRLF (RFC 5626 section 4.4.1)."""
    @property
    def buffered(self) -> int:
        """Bytes held of an incomplete message, bounded by max_message."""

def build_response(
    request: Message,
    status: int,
    reason: bytes,
    to_tag: bytes = b"",
    headers: bytes = b"",
    body: bytes = b"",
) -> bytes:
    """Build a response (RFC 3261 section 8.2.6).

    Copies every Via (received and rport set on the top one, RFC 3581), From, To (with `to_tag` when it has
    none), Call-ID, CSeq, Record-Route for 2xx, Timestamp; then `headers` (whole lines), Content-Length, body.
    """
