"""The typed face of the compiled core."""

from array import array
from typing import NamedTuple, final

@final
class Message:
    """One SIP message. Header values come unfolded and trimmed, decoded as UTF-8 with surrogateescape."""

    origin: object
    """The listener or connection it came in on."""
    transaction: int
    """Index of its server transaction, 0 without one."""
    merged: bool
    """The same request came before in another transaction, that is by another path (RFC 3261 section 8.2.2.2)."""
    received_at: float
    """Epoch seconds."""
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

@final
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
        """CRLFCRLF keep-alives since last asked; each is answered with a CRLF (RFC 5626 section 4.4.1)."""
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

EVENT_KINDS: tuple[str, ...]
FLIGHTS: tuple[str, ...]
ROW_STATES: tuple[str, ...]
CSEQ_STRIDE: int
"""CSeq numbers reserved in the database at once."""

class Wheel:
    """Deadlines of numbered items, in ticks of `tick_s` seconds."""

    def __init__(self, tick_s: float, now: float, size: int = ...) -> None: ...
    def add(self, item: int, at: float) -> None:
        """Let `item` come up in `due` once `at` (epoch seconds) has passed, or at the wheel's horizon."""
    def due(self, now: float) -> list[int]:
        """Items whose deadline (or the horizon) has passed; an item added twice comes twice."""
    def __len__(self) -> int: ...

class ServerTransactions:
    """Non-INVITE server transactions over unreliable transports (RFC 3261 section 17.2.2)."""

    def __init__(self, secret: bytes, now: float, lifetime_s: float = ...) -> None: ...
    def begin(self, request: Message) -> tuple[int, bool]:
        """(index, retransmission): the transaction of a request, and whether it is known already; sets `merged`."""
    def complete(self, index: int, response: bytes, now: float) -> None:
        """Keep the final response until timer J fires."""
    def response(self, index: int) -> bytes | None: ...
    def abandon(self, index: int) -> None: ...
    def tick(self, now: float) -> None: ...
    def __len__(self) -> int: ...

class SubscriptionFacts(NamedTuple):
    """The numbers of one row."""

    group: int
    link: int
    flow: int
    owner: int
    """Slot of the dialog's first subscription."""
    view: int
    pending: bool
    cseq: int
    cseq_mark: int
    """CSeq numbers up to this one are reserved in the database."""
    remote_cseq: int
    expires_at: int
    subscribed_at: int

class SubscriptionSlab:
    """Rows of subscriptions, named by slot (0 means none), and the links they are reached by."""

    segmenting: bool
    """NOTIFYs that share a next hop leave in one system call; turned off when the kernel refuses."""

    outbox: list[tuple[int, int, str, int, bytes, int]]
    """(link, flow, host, port, message, slot) of NOTIFYs for links without a descriptor."""
    def __init__(
        self,
        secret: bytes,
        now: float,
        *,
        t1_ms: int = ...,
        t2_ms: int = ...,
        user_agent: bytes = ...,
        contact_user: bytes = ...,
        expires_offset_s: int = ...,
        segmenting: bool = ...,
        shard: int = ...,
    ) -> None: ...
    def add_link(self, fd: int, *, reliable: bool, via: bytes, contact: bytes) -> int: ...
    def reserve(self) -> int: ...
    def reserve_tagged(self, to_tag: bytes) -> int: ...
    def to_tag(self, slot: int) -> bytes: ...
    def contact(self, slot: int, link: int) -> bytes: ...
    def set_target(self, slot: int, link: int, host: str, port: int, flow: int = ...) -> None: ...
    def retarget(self, slot: int, uri: bytes, route: bytes) -> None: ...
    def find(self, request: Message) -> int: ...
    def find_tag(self, to_tag: bytes, call_id: bytes, from_tag: bytes) -> int: ...
    def usages(self, owner: int) -> list[int]: ...
    def state(self, slot: int) -> str: ...
    def flight(self, slot: int) -> str: ...
    def dialog(self, slot: int) -> tuple[bytes, ...]: ...
    def facts(self, slot: int) -> SubscriptionFacts: ...
    def target(self, slot: int) -> tuple[str, int]: ...
    def __len__(self) -> int: ...

class WatcherTable(SubscriptionSlab):
    """Subscriptions by resource."""

    def add_group(self, event: bytes, *, individual: bool = ...) -> int: ...
    def group_size(self, gid: int) -> int: ...
    def group_pending(self, gid: int) -> int: ...
    def group_slots(self, gid: int) -> list[int]: ...
    def drop_group(self, gid: int) -> bool: ...
    def set_body(self, gid: int, view: int, tail: bytes | None) -> None: ...
    def fill(
        self,
        slot: int,
        gid: int,
        dialog: tuple[bytes, ...],
        *,
        owner: int = ...,
        remote_cseq: int = ...,
        cseq: int = ...,
        cseq_mark: int = ...,
        expires_at: int = ...,
        pending: bool = ...,
        view: int = ...,
        subscribed_at: int = ...,
    ) -> None: ...
    def usage(self, owner: int, event: bytes, event_id: bytes) -> int: ...
    def refresh(self, slot: int, *, expires_at: int, remote_cseq: int, cseq_mark: int) -> None: ...
    def admit(self, slot: int, *, pending: bool, view: int) -> None: ...
    def release(self, slot: int) -> None: ...

class NotifyFlights(WatcherTable):
    """What shall be sent, and what became of what was sent."""

    def notify_group(self, gid: int) -> int: ...
    def notify(self, slot: int) -> None: ...
    def notify_row(self, slot: int, tail: bytes) -> None: ...
    def ready(self, slot: int) -> bool: ...
    def finish(self, slot: int, reason: bytes, *, body: bool = ...) -> None: ...
    def settle(self, slot: int) -> None: ...
    def retry(self, slot: int, at: float) -> None: ...
    def resend(self, slot: int) -> bool: ...
    def reserved(self, slot: int, cseq_mark: int) -> None: ...
    def has_work(self) -> bool: ...
    def take_events(self) -> list[tuple[int, str, int, int]]: ...
    def match(self, response: Message, now: float) -> bool: ...
    def fail_flight(self, slot: int, status: int) -> None: ...
    def tick(self, now: float) -> None: ...
    def counters(self) -> dict[str, int]: ...

class Fanout(NotifyFlights):
    """The watcher table with its way out."""

    def pump(self, now: float, budget: int = ...) -> int: ...

class UdpSocket:
    """A bound UDP socket read and written in batches."""

    def __init__(self, fd: int, table: Fanout, transactions: ServerTransactions, origin: object) -> None: ...
    def receive(self, now: float) -> tuple[list[Message], bool]: ...
    def respond(self, request: Message, response: bytes) -> None: ...
    def flush(self) -> None: ...
    def counters(self) -> dict[str, int]: ...

def outline(document: bytes) -> tuple[int, list[tuple[int, int, int, int, int]]]:
    """Find the root and its children in a document that a reader has found well-formed and without document type.

    Returns the greatest depth and, root first, what there is of each in bytes: its start, the end of its name, its
    attribute `id` with the quotes (start and end, 0 and 0 without one), its end (0 for the root).
    """

class LoadPlaces:
    """Presentities and watchers of a load peer by number, and the sockets they are reached by."""

    def add_presentities(self, count: int) -> int: ...
    def add_watchers(self, presentities: array[int]) -> int: ...
    def behind(self) -> int: ...
    def active(self) -> int: ...
    def kernel_drops(self) -> int: ...
    def hop(self, watcher: int) -> str: ...

class LoadFlights(LoadPlaces):
    """Requests in flight and what is known of the NOTIFYs that came."""

class LoadPeer(LoadFlights):
    """Requests of publishers and subscribers kept in flight, and watchers that answer and check every NOTIFY."""

    def __init__(
        self,
        port: int,
        run: bytes,
        domain: bytes,
        body: bytes,
        user_at: tuple[int, ...],
        version_at: tuple[int, ...],
        mark: bytes,
        *,
        sockets: int = ...,
        addresses: int = ...,
        expires_s: int = ...,
        t1_s: float = ...,
        t2_s: float = ...,
        loss: float = ...,
        seed: int = ...,
    ) -> None: ...
    def run(
        self,
        streams: list[tuple[int, int, int, float]],
        *,
        window: int,
        operations: int = ...,
        rate_per_s: float = ...,
        seconds: float = ...,
        await_watchers: bool = ...,
        patience_s: float = ...,
    ) -> tuple[float, bool]: ...
    def rest(self, seconds: float) -> None: ...
    def abandon(self) -> int: ...
    def reset(self) -> None: ...
    def counts(self, kind: int) -> tuple[int, int, int]: ...
    def counters(self) -> dict[str, int]: ...
    def latency(self, kind: int) -> tuple[int, float, float, float, float]: ...

class RawSender:
    """In the server's place: sends datagrams to next hops in turn and takes what comes back."""

    def __init__(self, ports: list[int], addresses: int, size: int) -> None: ...
    def run(self, count: int, window: int) -> tuple[float, int]: ...

class RawAnswerer:
    """In the watchers' place: answers each datagram with one of a given size."""

    def __init__(self, sockets: int, addresses: int, size: int) -> None: ...
    def ports(self) -> list[int]: ...
    def answer(self, seconds: float) -> int: ...
