"""The shapes a text among the settings may have: addresses, listeners, domains, networks."""

import re
from collections.abc import Callable
from ipaddress import ip_address, ip_network
from typing import NamedTuple

from presence.errors import BadRequest
from presence.sip.headers import parse_uri
from presence.values import Aor

TRANSPORTS = ("udp", "tcp", "tls", "ws", "wss")


class Listener(NamedTuple):
    """Where SIP is received: transport, IP address without brackets, port."""

    transport: str
    host: str
    port: int


class Shape(NamedTuple):
    """What is allowed, in words, and the function that returns the canonical text or raises `ValueError`."""

    allowed: str
    canonical: Callable[[str], str]


def parse_address(text: str) -> tuple[str, int]:
    """Return host (an IP address without brackets) and port of ADDRESS:PORT."""
    found = re.fullmatch(r"(?:\[([^\[\]]*:[^\[\]]*)\]|([^\[\]:]*)):([0-9]{1,5})", text)
    if found is None or int(found[3]) > 65535:
        raise ValueError(text)
    host = "127.0.0.1" if found[2] == "localhost" else found[1] or found[2]
    return str(ip_address(host)), int(found[3])


def write_address(host: str, port: int) -> str:
    """Return ADDRESS:PORT with an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def parse_listener(text: str) -> Listener:
    """Return the parts of TRANSPORT:ADDRESS:PORT."""
    transport, _, address = text.partition(":")
    if transport.lower() not in TRANSPORTS:
        raise ValueError(text)
    return Listener(transport.lower(), *parse_address(address))


def is_loopback(host: str) -> bool:
    """Return whether only programs of this machine can reach that IP address."""
    return ip_address(host).is_loopback


def parse_user(text: str) -> Aor:
    """Return the address of record of user@domain or of its SIP URI."""
    try:
        uri = parse_uri(text if ":" in text else f"sip:{text}")
        aor = uri.aor()
    except BadRequest:
        raise ValueError(text) from None
    if not aor.username or uri.scheme not in ("sip", "sips") or uri.port or uri.params or uri.headers:
        raise ValueError(text)
    return aor


def _user(text: str) -> str:
    return "@".join(parse_user(text))


def _listener(text: str) -> str:
    transport, host, port = parse_listener(text)
    return f"{transport}:{write_address(host, port)}"


def _address(text: str) -> str:
    return write_address(*parse_address(text))


def _domain(text: str) -> str:
    """Host of RFC 3261 section 25.1, in lower case as every comparison wants it."""
    if text.startswith("[") and text.endswith("]") and ":" in text:
        return f"[{ip_address(text[1:-1])}]"
    return _matching(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9.])?", text).lower().rstrip(".")


def _matching(pattern: str, text: str) -> str:
    if re.fullmatch(pattern, text) is None:
        raise ValueError(text)
    return text


def _or_nothing(shape: Shape) -> Shape:
    return Shape(f"{shape.allowed}, or empty", lambda text: shape.canonical(text) if text else text)


LISTENER = Shape(
    "udp:ADDRESS:PORT, or tcp, tls, ws or wss in place of udp, with an IP address, IPv6 in brackets", _listener
)
ADDRESS_OR_NOTHING = _or_nothing(Shape("ADDRESS:PORT with an IP address, IPv6 in brackets", _address))
DOMAIN = Shape("a host name or an IP address, without port", _domain)
HOST_OR_NOTHING = _or_nothing(DOMAIN)
NETWORK = Shape("a network such as 192.0.2.0/24 or 2001:db8::/32", lambda text: str(ip_network(text)))
USER = Shape("a user such as alice@example.com", _user)
ALGORITHM = Shape("MD5, SHA-256 or SHA-512-256", lambda text: _matching("MD5|SHA-256|SHA-512-256", text.upper()))
REALM_OR_NOTHING = _or_nothing(
    Shape("1 to 200 printable ASCII characters", lambda text: _matching(r"[!-~]([ -~]{0,198}[!-~])?", text))
)
PATH = Shape(
    "a file name in UTF-8 without control characters",
    lambda text: _matching(r"[^\x00-\x1f\x7f-\x9f\ud800-\udfff]{1,4096}", text),
)
PATH_OR_NOTHING = _or_nothing(PATH)
XCAP_ROOT_OR_NOTHING = _or_nothing(
    Shape(
        "a path such as /xcap-root, without a slash at the end",
        lambda text: _matching(r"(/[A-Za-z0-9\-._]+)+", text),
    )
)
XCAP_URI = Shape(
    "an http or https URI without query, such as https://xcap.example.com/xcap-root",
    lambda text: _matching(r"https?://[A-Za-z0-9.\-_\[\]:]+(/[A-Za-z0-9\-._~!$&'()*+,;=:@%]+)*", text.rstrip("/")),
)
PRODUCT = Shape("1 to 200 printable ASCII characters", lambda text: _matching(r"[!-~]([ -~]{0,198}[!-~])?", text))
DOCUMENT_NAME = Shape(
    "letters, digits and -_.~ only", lambda text: _matching(r"(?!\.{1,2}$)[A-Za-z0-9._~-]{1,100}", text)
)
RULES_USAGE = Shape(
    "pres-rules or org.openmobilealliance.pres-rules",
    lambda text: _matching("pres-rules|org[.]openmobilealliance[.]pres-rules", text),
)
ORIGIN = Shape(
    "an origin such as https://phone.example.com",
    lambda text: _matching(r"[a-z][a-z0-9+.-]*://[!-~]+", text.rstrip("/").lower()),
)
"""What a browser says a page came from (RFC 6454 section 6.2)."""
CONTACT_USER = Shape(
    # RFC 3261 section 25.1, `user` without escapes, which nothing here would undo.
    "letters, digits and -_.!~*'()&=+$,;?/ only, or empty",
    lambda text: _matching(r"[A-Za-z0-9\-_.!~*'()&=+$,;?/]{0,200}", text),
)
