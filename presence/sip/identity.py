"""Who sent a request, as far as that is proven (RFC 3261 section 22, RFC 3325, RFC 5922)."""

import ipaddress
from functools import lru_cache
from typing import Literal, NamedTuple

from presence._fastcore import Message
from presence.errors import SipError
from presence.sip.headers import parse_name_addr, parse_uri
from presence.values import Aor

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

KEPT = 4096


class Identity(NamedTuple):
    """A proven sender."""

    aor: Aor
    source: Literal["digest", "asserted", "certificate"]
    private: bool = False
    """The sender wants to be anonymous to users (RFC 3325 section 7: Privacy with "id")."""


class TrustedPeers:
    """The networks whose P-Asserted-Identity is believed: the Trust Domain of RFC 3325 section 2.3."""

    def __init__(self, networks: tuple[Network, ...]) -> None:
        self._networks = networks
        self._known = lru_cache(KEPT)(self._has)

    def __bool__(self) -> bool:
        return bool(self._networks)

    def __contains__(self, host: str) -> bool:
        return self._known(host)

    def _has(self, host: str) -> bool:
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return False
        address = getattr(address, "ipv4_mapped", None) or address
        return any(address in network for network in self._networks)


def read_asserted(request: Message) -> Identity | None:
    """Return whom a trusted peer asserts the sender to be (RFC 3325 section 9.1); None when it names nobody.

    Of two values one is a tel URI; the SIP one counts.
    """
    for value in request.values("P-Asserted-Identity")[:2]:
        try:
            uri = parse_uri(parse_name_addr(value).uri)
            if uri.scheme in ("sip", "sips") and uri.user:
                return Identity(uri.aor(), "asserted", _wants_privacy(request))
        except SipError:
            continue
    return None


def _wants_privacy(request: Message) -> bool:
    value = ";".join(request.headers("Privacy"))
    return "id" in {token.strip().lower() for token in value.replace(",", ";").split(";")}


def read_certified(entries: tuple[str, ...], claimed: Aor, *, domains: bool) -> Identity | None:
    """Return the sender a verified certificate vouches for; None when it says nothing of `claimed`.

    A SIP URI with a user names that user. One without, or a host name, is a domain's own (RFC 5922 section 7.1),
    which vouches for its users when `domains` are trusted to.
    """
    for entry in entries:
        text = entry if ":" in entry else f"sip:{entry}"
        try:
            uri = parse_uri(text)
            named = uri.aor()
        except SipError:
            continue
        if named == claimed or (domains and not named.username and named.domain == claimed.domain):
            return Identity(claimed, "certificate")
    return None
