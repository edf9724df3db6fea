"""The dialog a SUBSCRIBE creates, seen from the notifier (RFC 3261 section 12.1.1)."""

import ipaddress
import re
from functools import lru_cache
from typing import NamedTuple

from presence._fastcore import Message
from presence.errors import BadRequest
from presence.sip.headers import cut_tag, parse_name_addr, parse_uri, read_aor
from presence.sip.identity import Identity
from presence.sip.location import Hop, Place, next_hop
from presence.sip.route import address_request, request_uri
from presence.values import Aor

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

MAX_ROUTES = 16

KEPT = 65_536
"""Addresses that are remembered as allowed or not."""

MAX_DIALOG_BYTES = 10_000
"""Header fields of one dialog together; the watcher table holds some more, for our own tag and Contact."""

MAX_EVENT_ID_BYTES = 1000

_BARE_OTHER = re.compile(r"(?!sips?:)[a-z][a-z0-9+.-]*:", re.IGNORECASE)
"""The beginning of a URI that is no SIP one and stands without brackets."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")

_TOKEN = re.compile(r"[A-Za-z0-9.!%*_+`'~-]+")


class Target(NamedTuple):
    """Where NOTIFYs are sent: an address and how, on a connection that stands (`flow`) when there is one."""

    transport: str
    host: str
    port: int
    """0 when no address is known: only the flow leads there, or the host's name is still to be looked up."""
    flow: int = 0
    explicit: bool = False
    """Whether UDP was asked for by name: then no size makes it TCP."""
    others: tuple[Place, ...] = ()
    """Where to try next (RFC 3263 section 4.3)."""
    name: str = ""
    """The host that was looked up, '' for an address: who a TLS server there must prove to be (RFC 5922)."""
    source: str = ""
    """Whose request named the address, when that is not its own and nothing shows that NOTIFYs are wanted there."""
    asker: str = ""
    """Whose request named `others`: what is not its own address there is believed no more than `source` is."""

    def __str__(self) -> str:
        address = f"{self.transport.lower()}:{self.host}:{self.port}"
        return f"{address};from={self.source}" if self.source else address

    @property
    def place(self) -> Place:
        """The address alone."""
        return Place(self.transport, self.host, self.port)

    @classmethod
    def parse(cls, text: str) -> "Target":
        """Read back what `str` wrote; raises ValueError."""
        address, _, source = text.partition(";from=")
        transport, host_port = address.split(":", 1)
        host, _, port = host_port.rpartition(":")
        return cls(transport.upper(), host, int(port), source=source)


class Dialog(NamedTuple):
    """What of a SUBSCRIBE makes the dialog, as text."""

    call_id: str
    local: str
    """To of the SUBSCRIBE without its tag: From of our NOTIFYs."""
    remote: str
    """From of the SUBSCRIBE without its tag: To of our NOTIFYs."""
    remote_tag: str
    contact: str
    """The watcher's Contact URI as a Request-URI has it: the remote target."""
    route: tuple[str, ...]
    """Record-Route of the SUBSCRIBE, in its order (RFC 3261 section 12.1.1)."""

    def hop(self) -> Hop:
        """Return where requests in the dialog go first; raises BadRequest."""
        return next_hop(parse_uri(parse_name_addr(self.route[0]).uri if self.route else self.contact))

    def is_secure(self, request_uri: str) -> bool:
        """Whether our Contact must be a SIPS URI (RFC 3261 section 12.1.1)."""
        first = parse_name_addr(self.route[0]).uri if self.route else self.contact
        return any(uri[:5].lower() == "sips:" for uri in (request_uri, first))

    def request_line(self) -> tuple[str, str]:
        """Return Request-URI and the value of Route (RFC 3261 section 12.2.1.1)."""
        return address_request(self.contact, self.route)

    def check_size(self, event_id: str) -> None:
        """Raise BadRequest when the watcher table cannot keep it: that must be known before the commit."""
        sizes = [len(part) for part in self.parts(event_id)]
        if sum(sizes) - sizes[6] > MAX_DIALOG_BYTES or sizes[6] > MAX_EVENT_ID_BYTES:
            raise BadRequest("Dialog Header Fields Too Long")

    def parts(self, event_id: str, local_tag: str = "", local_contact: str = "") -> tuple[bytes, ...]:
        """Return the strings the watcher table keeps (`WatcherTable.fill`)."""
        uri, route = self.request_line()
        own = (event_id, local_tag, local_contact)
        texts = (uri, route, self.local, self.remote, self.remote_tag, self.call_id, *own)
        return tuple([text.encode("utf-8", "surrogateescape") for text in texts])


def read_dialog(request: Message) -> Dialog:
    """Take the dialog from an initial SUBSCRIBE; raises BadRequest saying what is missing."""
    route = request.values("Record-Route")
    if len(route) > MAX_ROUTES:
        raise BadRequest("Too Many Record-Route Values")
    for value in route:
        parse_uri(parse_name_addr(value).uri)
    return Dialog(
        call_id=request.call_id,
        local=without_tag(request.header("To") or ""),
        remote=without_tag(request.header("From") or ""),
        remote_tag=request.from_tag,
        contact=read_contact(request),
        route=tuple(route),
    )


def read_contact(request: Message) -> str:
    """Return the one SIP or SIPS URI in Contact (RFC 6665 section 4.1.2.1, RFC 3261 section 8.1.1.8).

    Some clients name what else they are reached by beside it.
    """
    values = request.values("Contact")
    if not values:
        raise BadRequest("Missing Contact")
    addresses = [parse_name_addr(value).uri for value in values if _BARE_OTHER.match(value) is None]
    addresses = [uri for uri in addresses if uri.partition(":")[0].lower() in ("sip", "sips")]
    if len(addresses) > 1:
        raise BadRequest("More Than One Contact")
    for uri in addresses:
        parse_uri(uri)
        return request_uri(uri)
    raise BadRequest("Contact Is Not a SIP URI")


def without_tag(value: str) -> str:
    """Return a From or To with its display name and parameters as they came, all but the tag."""
    address = parse_name_addr(value)
    if value.isprintable() or not _CONTROL.search(value):
        return cut_tag(value)
    # Bytes that are no UTF-8 stay as they are. Control characters go no further, though a quoted-string may hold
    # them (RFC 4475 section 3.1.1.2).
    text = f"{_quote(address.display)} <{address.uri}>" if address.display else f"<{address.uri}>"
    for name, value in address.params.items():
        if name != "tag":
            text += f";{name}={value if _TOKEN.fullmatch(value) else _quote(value)}" if value else f";{name}"
    return text


def _quote(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def watcher_of(dialog: Dialog, identity: Identity | None = None) -> Aor:
    """Return who watches: who the sender has proven to be, else the address-of-record in From."""
    return read_aor(dialog.remote) if identity is None else identity.aor


class AllowedTargets:
    """The networks the configuration lets us send to."""

    def __init__(self, networks: tuple[Network, ...]) -> None:
        self.networks = networks
        self._known = lru_cache(KEPT)(self._has)

    def __contains__(self, host: object) -> bool:
        """Whether we may send to an IP address; raises ValueError for a name."""
        return self._known(host)

    def _has(self, host: str) -> bool:
        address = _read_address(host)
        return any(address in network for network in self.networks)


def same_host(one: str, other: str) -> bool:
    """Whether two texts are the same IP address; raises ValueError for what is none."""
    return one == other or _read_address(one) == _read_address(other)


@lru_cache(KEPT)
def _read_address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Return the address, as IPv4 when it is mapped into IPv6; raises ValueError for a name."""
    address = ipaddress.ip_address(text)
    return getattr(address, "ipv4_mapped", None) or address
