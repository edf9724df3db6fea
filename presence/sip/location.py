"""Where the server of a SIP URI is (RFC 3263): which questions to ask the domain name system, and what follows.

Pure: `locate` is a generator that yields questions and is sent their answers. Who asks them, and what is remembered,
is `resolution`'s part.
"""

import ipaddress
import re
from collections.abc import Callable, Generator, Iterable, Sequence
from enum import Enum
from functools import lru_cache
from typing import Final, Literal, NamedTuple

from presence.sip.headers import Uri

MAX_SERVICES: Final = 3
"""NAPTR records that are followed."""
MAX_SERVERS: Final = 4
"""Hosts whose addresses are looked up; with the above this bounds the questions of one location to 12."""
MAX_PLACES: Final = 6
"""Addresses that are tried one after the other."""

PORTS: Final = {"UDP": 5060, "TCP": 5060, "TLS": 5061, "WS": 80, "WSS": 443}

_SECURE: Final = {"": "TLS", "TCP": "TLS", "TLS": "TLS", "WS": "WSS", "WSS": "WSS"}
_SERVICES: Final = {"sip+d2u": "UDP", "sip+d2t": "TCP", "sips+d2t": "TLS", "sip+d2w": "WS", "sips+d2w": "WSS"}
"""RFC 3263 section 4.1 and RFC 7118 section 6."""
_LABELS: Final = {"UDP": "_sip._udp", "TCP": "_sip._tcp", "TLS": "_sips._tcp", "WS": "_sip._ws", "WSS": "_sips._ws"}
_LABEL: Final = r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)"
_NAME: Final = re.compile(rf"(?:{_LABEL}\.)*+(?=[A-Za-z]){_LABEL}")
_NEVER: Final = ("invalid", "onion", "alt")
"""Top labels nobody may look up (RFC 6761 section 6.4, RFC 7686, RFC 9476); RFC 7118 clients name them in Contact."""


class Hop(NamedTuple):
    """The next hop that a URI names."""

    host: str
    """In lower case, an IPv6 address without its brackets."""
    port: int | None
    transport: str
    """Token of Via as the URI asks for it, '' when it leaves that to the domain."""
    secure: bool
    """Whether it must be TLS (a `sips` URI)."""
    outbound: bool = False
    """Whether the URI asks for the flow that its request came on (`ob`, RFC 5626 section 4.3)."""

    @property
    def is_address(self) -> bool:
        """True when the host is an IP address."""
        return is_address(self.host)

    @property
    def fallback(self) -> str:
        """The transport of a hop nothing else is known of (RFC 3263 section 4.1)."""
        return self.transport or ("TLS" if self.secure else "UDP")


class Place(NamedTuple):
    """An address and how it is reached."""

    transport: str
    host: str
    port: int


class Question(NamedTuple):
    """A name, and which of its records are wanted."""

    name: str
    kind: Literal["NAPTR", "SRV", "A", "AAAA"]


class Naptr(NamedTuple):
    """What matters of a NAPTR record (RFC 3403)."""

    order: int
    preference: int
    flags: str
    service: str
    replacement: str


class Srv(NamedTuple):
    """An SRV record (RFC 2782)."""

    priority: int
    weight: int
    port: int
    target: str


Records = Sequence[Naptr | Srv | str] | None
"""Of a name: empty when it has none, None when nobody could say."""


class Trouble(Enum):
    """Why a host was not found."""

    UNKNOWN = "no such host"
    SILENT = "no answer"
    BUSY = "too many lookups"


Outcome = tuple[Place, ...] | Trouble
Reaches = Callable[[str, bool], bool]
"""Whether there is a way out by a transport, over IPv6 or not."""
Asking = Generator[tuple[Question, ...], Sequence[Records], Outcome]


def next_hop(uri: Uri) -> Hop:
    """Return where a URI leads, `maddr` before the host (RFC 3263 section 4)."""
    secure = uri.scheme == "sips"
    transport = uri.params.get("transport", "").upper()
    if secure:
        # RFC 3261 section 26.2.2: TLS, whatever is beneath; over UDP there is none here.
        transport = _SECURE.get(transport, f"TLS-{transport}") if transport else ""
    host = plain_host((uri.params.get("maddr") or uri.host).lower().strip("[]"))
    return Hop(host, uri.port, transport, secure, "ob" in uri.params)


@lru_cache(4096)
def plain_host(text: str) -> str:
    """Return an IPv4 address that is mapped into IPv6 as such (RFC 5118 section 4.10), other hosts as they are."""
    try:
        mapped = ipaddress.IPv6Address(text).ipv4_mapped
    except ValueError:
        return text
    return text if mapped is None else str(mapped)


@lru_cache(4096)
def is_address(host: str) -> bool:
    """Return True for an IP address without brackets."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def is_name(host: str) -> bool:
    """Return True for what may be looked up (RFC 3261 section 25.1: hostname)."""
    host = host.removesuffix(".")
    return len(host) <= 253 and _NAME.fullmatch(host) is not None and host.rpartition(".")[2].lower() not in _NEVER


def locate(hop: Hop, reaches: Reaches, draw: Callable[[int], int]) -> Asking:
    """Find the places of a hop, the best first; `draw(n)` returns a random number below n.

    Yields questions that may be asked side by side, is sent their records in the same order, and returns the places
    or why there are none.
    """
    if hop.is_address:
        return _reached([Place(hop.fallback, hop.host, hop.port or PORTS.get(hop.fallback, 5060))], reaches)
    if hop.host.rstrip(".").split(".")[-1] == "localhost":
        # RFC 6761 section 6.3.
        port = hop.port or PORTS.get(hop.fallback, 5060)
        return _reached([Place(hop.fallback, host, port) for host in ("127.0.0.1", "::1")], reaches)
    if not is_name(hop.host):
        return Trouble.UNKNOWN
    found = _Found(reaches)
    if hop.port is None:
        yield from _find_services(hop, found, draw)
    if not found.servers and not found.denied:
        # RFC 3263 section 4.2: no SRV records, or a port that rules them out.
        found.servers = [(hop.fallback, hop.host, hop.port or PORTS.get(hop.fallback, 5060))]
    yield from _find_addresses(found)
    return _reached(found.places, reaches) if found.places else found.trouble


class _Found:
    """What is known by now."""

    def __init__(self, reaches: Reaches) -> None:
        self.reaches = reaches
        self.servers: list[tuple[str, str, int]] = []
        self.places: list[Place] = []
        self.denied = False
        """The domain says that it has no such service (RFC 2782: a target of ".")."""
        self.trouble = Trouble.UNKNOWN

    def offers(self, transport: str) -> bool:
        return self.reaches(transport, False) or self.reaches(transport, True)

    def note(self, records: Records) -> Sequence[Naptr | Srv | str]:
        if records is None:
            self.trouble = Trouble.SILENT
        return records or ()


def _find_services(
    hop: Hop, found: _Found, draw: Callable[[int], int]
) -> Generator[tuple[Question, ...], Sequence[Records], None]:
    """RFC 3263 section 4.1: by NAPTR, else by the SRV names of the transports there are."""
    asked: list[tuple[str, str]] = []
    if not hop.transport:
        (records,) = yield (Question(hop.host, "NAPTR"),)
        asked = _services(hop, found, [record for record in found.note(records) if isinstance(record, Naptr)])
    by_domain = bool(asked)
    if not asked:
        wanted = [hop.transport] if hop.transport else ["TLS"] if hop.secure else ["UDP", "TCP", "TLS"]
        asked = [(way, f"{_LABELS[way]}.{hop.host}") for way in wanted if way in _LABELS and found.offers(way)]
    if not asked:
        return
    answers = yield tuple(Question(name, "SRV") for _, name in asked)
    for (transport, _), records in zip(asked, answers, strict=True):
        servers = [record for record in found.note(records) if isinstance(record, Srv)]
        found.denied = found.denied or any(server.target in ("", ".") for server in servers)
        found.servers += [
            (transport, server.target.rstrip(".").lower(), server.port)
            for server in order_servers(servers, draw)
            if is_name(server.target) and server.port
        ]
    if by_domain and not found.servers:
        # What the domain points at does not exist: its own address is no substitute for it.
        found.denied = True


def _services(hop: Hop, found: _Found, records: list[Naptr]) -> list[tuple[str, str]]:
    """Transport and SRV name of the NAPTR records that can be used, in their order."""
    usable = []
    for record in sorted(records, key=lambda record: (record.order, record.preference)):
        transport = _SERVICES.get(record.service.lower(), "")
        if record.flags.lower() != "s" or not found.offers(transport) or not is_name(record.replacement):
            continue
        if hop.secure and not record.service.lower().startswith("sips"):
            continue
        usable.append((transport, record.replacement.rstrip(".").lower()))
    return usable[:MAX_SERVICES]


def order_servers(servers: Iterable[Srv], draw: Callable[[int], int]) -> list[Srv]:
    """Return SRV records in the order they are to be tried: by priority, then at random by weight (RFC 2782)."""
    ordered: list[Srv] = []
    left = sorted(servers, key=lambda server: (server.priority, server.weight))[:64]
    while left:
        same = [server for server in left if server.priority == left[0].priority]
        number, chosen = draw(sum(server.weight for server in same) + 1), same[-1]
        for server in same:
            number -= server.weight
            if number <= 0:
                chosen = server
                break
        left.remove(chosen)
        ordered.append(chosen)
    return ordered


def _find_addresses(found: _Found) -> Generator[tuple[Question, ...], Sequence[Records], None]:
    servers = found.servers[:MAX_SERVERS]
    asked: dict[Question, None] = {}
    for transport, host, _ in servers:
        if found.reaches(transport, False):
            asked[Question(host, "A")] = None
        if found.reaches(transport, True):
            asked[Question(host, "AAAA")] = None
    if not asked:
        return
    answers = dict(zip(asked, (yield tuple(asked)), strict=True))
    for transport, host, port in servers:
        for kind, more in (("A", False), ("AAAA", True)):
            if found.reaches(transport, more):
                records = found.note(answers[Question(host, kind)])  # type: ignore[arg-type]
                found.places += [Place(transport, text, port) for text in records if isinstance(text, str)]


def _reached(places: Iterable[Place], reaches: Reaches) -> Outcome:
    kept = tuple(place for place in dict.fromkeys(places) if reaches(place.transport, ":" in place.host))
    return kept[:MAX_PLACES] or Trouble.UNKNOWN
