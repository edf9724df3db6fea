"""The typed face of the compiled core."""

from array import array
from collections.abc import Callable, Collection, Container, Iterable, Mapping, Sequence
from ipaddress import IPv4Network, IPv6Network
from typing import Any, NamedTuple, final

_Value = str | bytes | int | float | None

@final
class Message:
    """One SIP message. Header values come unfolded and trimmed, decoded as UTF-8 with surrogateescape."""

    origin: Any
    """The listener or connection it came in on."""
    @property
    def socket(self) -> UdpSocket | None:
        """The compiled socket it came in on, None for a stream."""
    transaction: int
    """Index of its server transaction, 0 without one."""
    merged: bool
    """The same request came before in another transaction, that is by another path (RFC 3261 section 8.2.2.2)."""
    received_at: float
    """Epoch seconds."""
    identity: Any
    """Who sent it as far as that is proven (an `Identity`), None when it is not."""
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
        """True when Via is good enough to send a response, be it a 400 saying that other fields are missing."""
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
    def via_port(self) -> int:
        """The port of the top Via's sent-by, 0 without one."""
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
    def plain(self) -> bool:
        """True when none of the general checks of RFC 3261 section 8.2 could refuse this SUBSCRIBE or PUBLISH."""
    @property
    def address(self) -> tuple[str, str] | None:
        """User and host of a Request-URI that is its own canonical form; None when it takes a closer look."""
    @property
    def if_match(self) -> str | None:
        """The entity-tag of SIP-If-Match; None without the field, '' when it holds anything but one entity-tag."""
    def subscriber(self) -> tuple[str, str, str, str, str, str, str, str, str, int] | None:
        """Return what of a SUBSCRIBE makes its dialog and its target, None when that takes a closer look.

        (To and From without their tags, From tag, Contact URI, user and host of From, user and host of To, IPv4
        address and port of the Contact); None for a route, a host name, a transport that is not UDP and so on.
        """
    @property
    def raw(self) -> bytes:
        """The whole message as received."""
    @property
    def rport(self) -> bool:
        """Whether the top Via asks for responses to where the request came from (RFC 3581)."""
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

def receive_whole(data: bytes, table: Fanout | None = None, now: float = 0.0) -> Message | None:
    """Scan one whole message of a transport that keeps messages apart; None when it went to the table.

    That does a response to one of its NOTIFYs. Bytes behind the body are dropped (RFC 3261 section 18.3).
    """

@final
class Framer:
    """Cuts a byte stream into messages by Content-Length (RFC 3261 section 18.3)."""

    def __init__(self, max_message: int = ...) -> None: ...
    def feed(self, data: bytes, table: Fanout | None = None, now: float = 0.0) -> list[Message]:
        """Messages complete with these bytes. A message with `error` set may end the stream (`broken`).

        Responses to NOTIFYs of the table go to it at once and are not among them.
        """
    @property
    def answers(self) -> int:
        """Responses that went to the table since last asked."""
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

def hash_hex(kind: int, text: bytes) -> str:
    """Return a hash in small hex digits; `kind` is 0 for MD5, 1 for SHA-256, 2 for SHA-512/256."""

@final
class NonceUse:
    """One nonce: which counts came, and who last proved with it to be whom."""

@final
class Nonces:
    """The nonces that proofs came with, each with the counts that are used up.

    Nothing is kept of a nonce that was only given out. What no longer fits goes, oldest first, and a nonce that is
    not known counts as used up when it is no younger than one that went.
    """

    def __init__(self, capacity: int) -> None: ...
    def __len__(self) -> int: ...
    def use(self, nonce: bytes, count: int, issued_at: float, expires_at: float, now: float) -> bool:
        """Use up one count of a nonce of ours; False when it is used up or was forgotten."""
    def remember(
        self,
        nonce: bytes,
        kind: int,
        username: bytes,
        realm: bytes,
        ha1: bytes,
        user: str,
        host: str,
        identity: Any,
        anyone: bool,
    ) -> None:
        """Know who proved something with a nonce, so that `screen` recognises the next proof.

        `kind` is that of `hash_hex`; `ha1` its H(A1) in hex; `user` and `host` are the address of record; `anyone`
        says that they may publish for others.
        """
    def forget_users(self) -> None:
        """Let every next proof be checked against what the table of users says now."""
    def recognise(self, message: Message, now: float) -> Any:
        """Return the identity that a request is proven to have with the next count of a nonce that served before.

        None when that takes a closer look; the count is used up only when it is proven.
        """
    def screen(self, messages: list[Message], now: float) -> list[Message]:
        """Set `identity` of the plain requests that are proven with the next count of a nonce that served before.

        Returns the plain ones of which more must be known: who sent them, or whether they may send that.
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
    bounds: tuple[int, int]
    """Most bytes of a Request-URI and of a body."""
    def bound(self, uri_bytes: int, body_bytes: int) -> None:
        """Say how long a Request-URI and how large a body may be; what is beyond is not plain."""
    def begin(self, request: Message) -> tuple[int, bool]:
        """(index, retransmission): the transaction of a request, and whether it is known already; sets `merged`."""
    def complete(self, index: int, response: bytes, now: float) -> None:
        """Keep the final response until timer J fires."""
    def to_tag(self, request: Message) -> bytes:
        """Return the tag that responses outside a dialog give the To of a request."""
    def answer(self, request: Message, status: int, reason: bytes, to_tag: bytes, headers: bytes, now: float) -> None:
        """Build the final response of a request (`build_response`), keep it for retransmissions, and send it.

        Without `to_tag` the To gets one that is the same for every copy of the request.
        """
    def ordinary(self) -> dict[str, tuple[int, int]]:
        """Return for SUBSCRIBE and PUBLISH how many plain requests came, and how many of them were accepted."""
    def look_closer(self, request: Message) -> None:
        """Let a request that looked plain take the general way."""
    def response(self, index: int) -> bytes | None: ...
    def cancelled(self, request: Message) -> int:
        """Return the transaction that a CANCEL means, 0 when there is none (RFC 3261 section 9.2)."""
    def abandon(self, index: int) -> None: ...
    def tick(self, now: float) -> None: ...
    def memory(self) -> dict[str, int]:
        """The bytes held by entries and responses."""
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
    row_id: int
    explicit: bool
    """Whether UDP was asked for by name (see `set_target`)."""
    """Names the subscription's row in the database; 0 for a fetch."""

class SubscriptionSlab:
    """Rows of subscriptions, named by slot (0 means none), and the links they are reached by."""

    segmenting: bool
    """NOTIFYs that share a next hop leave in one system call; turned off when the kernel refuses."""

    outbox: list[tuple[int, int, str, int, bytes, list[int]]]
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
        datagram_most: int = ...,
        shard: int = ...,
        allow_events: bytes = ...,
        gruu: bool = ...,
    ) -> None: ...
    def add_link(self, fd: int, *, reliable: bool, via: bytes, contact: bytes) -> int: ...
    def pair_links(self, link: int, stream: int) -> None: ...
    def reserve(self) -> int: ...
    def reserve_tagged(self, to_tag: bytes) -> int: ...
    def to_tag(self, slot: int) -> bytes: ...
    def contact(self, slot: int, link: int) -> bytes: ...
    def retarget(self, slot: int, uri: bytes, route: bytes) -> None: ...
    def find(self, request: Message) -> int: ...
    def find_tag(self, to_tag: bytes, call_id: bytes, from_tag: bytes) -> int: ...
    def usages(self, owner: int) -> list[int]: ...
    def state(self, slot: int) -> str: ...
    def flight(self, slot: int) -> str: ...
    def dialog(self, slot: int) -> tuple[bytes, ...]: ...
    def facts(self, slot: int) -> SubscriptionFacts: ...
    def slots_of(self, row_ids: set[int]) -> list[int]:
        """Return the slots of the subscriptions with those row numbers, in either of the two tables."""
    def target(self, slot: int) -> tuple[str, int]: ...
    def memory(self) -> dict[str, int]:
        """The bytes held by rows, groups, targets and texts."""
    def __len__(self) -> int: ...

class SubscriptionHops(SubscriptionSlab):
    """Rows with their next hops."""

    def set_target(
        self, slot: int, link: int, host: str, port: int, flow: int = ..., *, explicit: bool = ...
    ) -> None: ...
    def doubt(self, slot: int) -> None:
        """Send a row's target (`set_target` first) one NOTIFY and nothing more until it answers that."""
    def believe(self, slot: int) -> None:
        """Know that a row's target asked for its NOTIFYs itself."""
    def unproven(self, slot: int) -> bool:
        """Return True while a row's target has neither asked for its NOTIFYs itself nor answered one."""
    def asked(self, slot: int) -> bool:
        """Return True when such a target has got its one NOTIFY."""
    def doubts(self, host: str) -> int:
        """Return how many rows without proof have NOTIFYs sent to an address."""

class WatcherTable(SubscriptionHops):
    """Subscriptions by resource."""

    def add_group(self, event: bytes, *, individual: bool = ...) -> int: ...
    def group_size(self, gid: int) -> int: ...
    def group_pending(self, gid: int) -> int: ...
    def group_slots(self, gid: int) -> list[int]: ...
    def drop_group(self, gid: int) -> bool: ...
    def find_gruu(self, user: bytes, key: bytes) -> int: ...
    def set_body(self, gid: int, view: int, tail: bytes | None) -> bool: ...
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
        row_id: int = ...,
    ) -> None: ...
    def begin(
        self, slot: int, gid: int, request: Message, link: int, expires_at: int, subscribed_at: int, row_id: int
    ) -> None:
        """Make a reserved row the active subscription that a plain SUBSCRIBE (`Message.subscriber`) asks for.

        It sees the whole document, and is told at its Contact's address over `link`. Raises ValueError when the
        request is not plain or the row in use.
        """
    def usage(self, owner: int, event: bytes, event_id: bytes) -> int: ...
    def refresh(self, slot: int, *, expires_at: int, remote_cseq: int, cseq_mark: int) -> None: ...
    def release(self, slot: int) -> None: ...

class NotifyFlights(WatcherTable):
    """What shall be sent, and what became of what was sent."""

    def notify_group(self, gid: int, view: int = ...) -> int: ...
    def notify(self, slot: int) -> None: ...
    def notify_row(self, slot: int, tail: bytes) -> None: ...
    def ready(self, slot: int) -> bool: ...
    def settle(self, slot: int) -> None: ...
    def retry(self, slot: int, at: float) -> None: ...
    def resend(self, slot: int) -> bool: ...
    def reserved(self, slot: int, cseq_mark: int) -> None: ...
    def has_work(self) -> bool: ...
    def take_events(self) -> list[tuple[int, str, int, int]]: ...
    def match(self, response: Message, now: float) -> bool: ...
    def tick(self, now: float) -> None: ...
    def counters(self) -> dict[str, int]: ...

class JudgedFlights(NotifyFlights):
    """NOTIFYs that wait for a decision, and what a decision changes about them."""

    def hold_group(self, gid: int) -> None:
        """Let nothing leave for the resource's watchers before each is decided about (`admit`) or let go."""
    def hold(self, slot: int) -> None: ...
    def withheld(self, slot: int) -> bool: ...
    def let_go(self, slot: int) -> None: ...
    def admit(self, slot: int, *, pending: bool, view: int) -> None:
        """Set what the policy decided about the watcher; what it may not see any more is not sent again."""
    def withdraw(self, slot: int) -> None: ...
    def finish(self, slot: int, reason: bytes, *, body: bool = ...) -> None: ...
    def view_rows(self, gid: int, view: int) -> int: ...
    def notify_fresh(self, gid: int) -> int:
        """Queue a NOTIFY for each watcher whose filtered view is another than it was told; return how many."""
    def shows_same(self, gid: int, one: int, other: int) -> bool: ...
    def guard_group(self, gid: int, guarded: bool) -> None: ...

class SwitchingFlights(JudgedFlights):
    """NOTIFYs that leave by another link than their target's, for their size alone."""

    def switched(self, slot: int) -> bool: ...
    def fail_flight(self, slot: int, status: int, *, carried: bool = ...) -> None: ...

class Fanout(SwitchingFlights):
    """The watcher table with its way out."""

    def pump(self, now: float, budget: int = ...) -> int: ...

class Networks:
    """Networks of both IP versions, found by bisection among the ranges they come to."""

    def __init__(self, networks: tuple[IPv4Network | IPv6Network, ...]) -> None: ...
    def __len__(self) -> int: ...
    def __contains__(self, host: str) -> bool:
        """Whether an IP address is in one of them; False for what is no address."""

class Buckets:
    """Token buckets by key, in a table that never grows."""

    def __init__(self, secret: bytes, now: float, rate: int, burst: int) -> None: ...
    def take(self, key: bytes, now: float) -> float:
        """Take a token from the bucket of a key; return 0.0, or the seconds until there is one."""
    def sift(
        self, requests: list[Message], who: Callable[[Message], str], now: float, proven_only: bool = ...
    ) -> tuple[list[Message], list[tuple[Message, float]]]:
        """Return (the requests of users who have a token, [(request, seconds to wait)] of the others).

        A user is `identity` when proven, else what `who(request)` says, which is asked for the odd ones only. With
        `proven_only` requests that ask for proof are not counted without it.
        """

class Gate:
    """Whose datagrams and connections are taken, and how many requests of one source address."""

    def __init__(
        self,
        secret: bytes,
        now: float,
        *,
        allow: tuple[IPv4Network | IPv6Network, ...] = ...,
        deny: tuple[IPv4Network | IPv6Network, ...] = ...,
        trusted: tuple[IPv4Network | IPv6Network, ...] = ...,
        source_rate: int = ...,
        source_burst: int = ...,
        source_prefix: int = ...,
    ) -> None: ...
    @property
    def active(self) -> bool:
        """Whether anything at all is kept out or held back."""
    def admits(self, host: str) -> bool:
        """Whether connections of an address are taken; counted when not. What is no IP address is not denied."""
    def trusts(self, host: str) -> bool:
        """Whether an address is a trusted peer's."""
    def hold(self, host: str, requests: int, now: float) -> float:
        """Count requests that came on a stream; return how long nothing more shall be read from it, in seconds."""
    def counters(self) -> dict[str, int]:
        """Return how many datagrams and connections were denied, datagrams over the rate, streams held back."""

class UdpSocket:
    """A bound UDP socket read and written in batches."""

    def __init__(self, fd: int, table: Fanout, transactions: ServerTransactions, origin: object) -> None: ...
    def receive(self, now: float) -> tuple[list[Message], bool]: ...
    def serve(
        self, clock: Callable[[], float], handle: Callable[[list[Message], float], None], wake: Callable[[], None]
    ) -> None:
        """Say what `readable` does: `handle(requests, now)` with new requests, `wake()` when something follows."""
    def guard(self, gate: Gate) -> None:
        """Take only what passes the gate; one that lets everything pass costs nothing."""
    def readable(self) -> None:
        """Read what has arrived, some batches at the most: the callback of the event loop."""
    def respond(self, request: Message, response: bytes) -> None: ...
    def flush(self) -> None: ...
    def counters(self) -> dict[str, int]: ...

class Renewals:
    """PUBLISH requests of one tick that refresh or modify publications, on their way through one commit."""

    @property
    def requests(self) -> list[Message]: ...
    @property
    def writes(self) -> list[tuple[str, tuple[int | str | bytes, ...]]]: ...

class Publications:
    """The publications that are held, by number: whose they are, their entity-tag and when they expire.

    An entity-tag is a prefix of this start, the number of the publication and how many it has had before, so it is
    found by index and is never given twice (RFC 3903 section 6, step 6).
    """

    def __init__(
        self,
        transactions: ServerTransactions,
        secret: bytes,
        prefix: str,
        now: float,
        *,
        min_expires_s: int,
        max_expires_s: int,
        expires_offset_s: int,
    ) -> None: ...
    def reserve(self) -> int:
        """Return a number for a publication to come."""
    def next_tag(self, number: int) -> str:
        """Return the entity-tag the publication will have after its next change."""
    def hold(
        self, number: int, package: str, user: str, host: str, row_id: int, expires_at: float, *, foreign: bool = ...
    ) -> None:
        """Hold a publication after its commit; one with a `foreign` entity-tag (another start's) is not found by it."""
    def find(self, request: Message) -> int:
        """Return the publication that SIP-If-Match names, when it is one of the Request-URI's; 0 when there is none."""
    def take(self, number: int) -> bool:
        """Begin a change of a publication; False while another is on its way."""
    def give(self, number: int) -> None:
        """End a change that came to nothing."""
    def defer(self, number: int, waiting: int) -> None:
        """Note that a request that names a publication begins (1) or ends (-1) to wait for its turn.

        Until then nothing is ordinary for that publication: it would come before what came before it.
        """
    def is_over(self, number: int, now: float) -> bool:
        """Return whether the time of a publication is over."""
    def renew(self, number: int, expires_at: float) -> None:
        """End a change: from now on the publication has its next entity-tag."""
    def release(self, number: int) -> None:
        """Forget a publication."""
    def due(self, now: float) -> list[int]:
        """Return the numbers of publications whose time is over; they come up again in 5 s if they stay."""
    def serve(self, event: str, content_type: str) -> None:
        """Take modifications of publications of a package whose body has this type."""
    def gather(
        self, requests: list[Message], now: float
    ) -> tuple[list[Message], Renewals | None, list[tuple[Message, int, int, str]]]:
        """Take the requests that refresh or modify a publication in the ordinary way out of those of a tick.

        Returns (the others, in their order; the `Renewals` with the refreshes, None without any request; the
        modifications as (request, number, seconds granted, content type), each of which is to be given to `modify` or
        back by `give`). All in the `Renewals` are answered by `renewed` after the commit.
        """
    def modify(
        self,
        batch: Renewals,
        request: Message,
        number: int,
        granted: int,
        now: float,
        order: int,
        content_type: str,
        body: bytes,
    ) -> None:
        """Let a modification go with the refreshes of its tick."""
    def renewed(self, batch: Renewals, server: bytes, began: float, now: float) -> None:
        """Answer what is committed; `server` is our Server header line, `began` when the requests came."""
    def give_back(self, batch: Renewals) -> None:
        """Let publications be as they were whose renewal the database refused."""
    def __len__(self) -> int: ...
    def numbers(self, batch: Renewals) -> list[int]:
        """Return which publications a batch renews."""

class Arrivals:
    """SUBSCRIBE requests of one tick on their way through one commit: new subscriptions, then refreshes."""

    @property
    def begun(self) -> list[Message]: ...
    @property
    def extended(self) -> list[Message]: ...
    @property
    def writes(self) -> list[tuple[str, tuple[Any, ...]]]: ...
    @property
    def resources(self) -> list[tuple[str, tuple[str, str]]]:
        """Package, and user and host of the presentity, of each that is begun."""

class Subscribing:
    """Recognises ordinary SUBSCRIBE requests, and does with them what `subscription/notifier.py` does with all."""

    def __init__(
        self,
        table: Fanout,
        transactions: ServerTransactions,
        allowed: Container[str],
        lanes: dict[Any, Any],
        min_expires_s: int,
        max_expires_s: int,
        expires_offset_s: int,
        boot: int,
        domains: frozenset[str],
        asserted: dict[int, Any],
        shared: set[int],
        nat: bool = ...,
        *,
        trusted: tuple[IPv4Network | IPv6Network, ...] = ...,
        unproven_per_target: int = ...,
        quota: Any = ...,
    ) -> None: ...
    def serve(
        self, event: str, content_type: str, default_expires_s: int, guarded: bool = ..., *, selecting: bool = False
    ) -> None:
        """Take subscriptions to an event package; where it is `guarded` refreshes alone, of who was let in.

        Where it is `selecting` by parameters of Event, none that has any.
        """
    def take(
        self, requests: list[Message], now: float, new_id: Callable[[str], int]
    ) -> tuple[list[Message], Arrivals | None]:
        """Take the ordinary requests out of those of a tick; return (the others, the `Arrivals` to submit or None).

        `new_id(table)` names a row to be inserted.
        """
    def begun(self, batch: Arrivals, gids: list[int], server: bytes, now: float) -> list[int]:
        """Fill and answer what the commit began, in the groups of `gids`; return the slots in the same order."""
    def extended(self, batch: Arrivals, server: bytes, now: float) -> tuple[list[int], set[int]]:
        """Refresh and answer what the commit extended; return (slots, their groups)."""
    def tell(self, slots: list[int]) -> None:
        """Queue a NOTIFY with the present state for each."""
    def extended_slots(self, batch: Arrivals) -> list[int]:
        """Return the lanes that a batch has taken."""
    def undo(self, batch: Arrivals) -> None:
        """Give back the rows of subscriptions that the database refused."""

def restore(
    table: Fanout,
    rows: list[tuple[_Value, ...]],
    *,
    groups: Mapping[str, Mapping[str, tuple[int, bool] | None] | None],
    links: Mapping[str, int | None],
    routes: Mapping[str, bytes | None],
    networks: tuple[tuple[int, int], ...],
    boot: int,
) -> list[tuple[_Value, ...]]:
    """Make subscriptions of rows as `active_watchers_load` gives them; return those that take a closer look.

    `groups[event][presentity_uri]` is (group, whether every watcher is let in) or None for a resource that takes a
    closer look, `links[socket_info]` the number of the way out to an IPv4 address over UDP or None,
    `routes[record_route]` the value of Route or None. `networks` are the (address, mask) that may be sent to.
    """

def outline(document: bytes) -> tuple[int, list[tuple[int, int, int, int, int]]]:
    """Find the root and its children in a document that a reader has found well-formed and without document type.

    Returns the greatest depth and, root first, what there is of each in bytes: its start, the end of its name, its
    attribute `id` with the quotes (start and end, 0 and 0 without one), its end (0 for the root).
    """

@final
class Vocabulary:
    """The names that matter: of the root, and of those children that have a kind of their own."""

    def __init__(
        self,
        root: tuple[str, bytes],
        kinds: Mapping[tuple[str, bytes], int],
        other: int,
        identified: Collection[int],
        usual: Iterable[str] = ...,
    ) -> None:
        """`kinds` says of namespace and local name which kind that is, `other` of which all others are.

        Of the kinds in `identified` an id stands once in a merged document. The namespaces in `usual` are known to be
        URIs.
        """
    def cut(self, body: bytes) -> CutDocument | None:
        """Return a document cut into the children of its root; None when another reader must look at it.

        What is cut is well-formed, its root the one of the vocabulary, its namespaces are URIs, and every child stands
        as it came: the default namespace is that of the vocabulary, or no child has a name without prefix.
        """

@final
class CutDocument:
    """The children of an XML document, each a piece of `text`, and what they inherit from its root."""

    def __init__(
        self,
        declarations: Sequence[tuple[bytes, bytes]],
        pieces: Sequence[tuple[int, bytes, int, bytes, int, bool]],
    ) -> None:
        """Make it of what `inheritable` and `piece` tell."""
    @property
    def text(self) -> bytes: ...
    def __len__(self) -> int: ...
    def inheritable(self) -> list[tuple[bytes, bytes]]:
        """Return prefix and namespace name, as written between quotes, of each declaration of the root."""
    def piece(self, i: int) -> tuple[int, bytes, int, bytes, int, bool]:
        """Return of a child: kind, id, size of its head, text, a bit for each declaration inherited, if identified."""

def merge_xml(
    documents: Sequence[CutDocument], before: bytes, between: bytes, after: bytes, *, single: int = -1
) -> bytes:
    """Merge the pieces of documents, oldest first; their declarations stand between `before` and `between`.

    The newest document speaks first, and pieces are ordered by kind. Of those identified, the newest with an id
    stands, whatever kind it is of; without id all stand. Of the others equal ones stand once. Where a prefix
    means something else on the root already, its declaration is repeated on the pieces. Of the kind `single` only those
    of the newest document that has any stand.
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
        proof: int = ...,
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
