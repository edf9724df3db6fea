"""Settings of documents that are fetched from XCAP servers elsewhere, and of who may call procedures."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import ClassVar, Final
from urllib.parse import urlsplit

from presence.errors import BadRequest
from presence.settings.setting import HOUR_S, key
from presence.shape import NETWORK, PATH_OR_NOTHING, Listener, Shape, parse_listener, write_address
from presence.sip.headers import parse_uri
from presence.sip.location import PORTS, next_hop

OBSOLETE_XCAP: Final[Mapping[str, str]] = {
    "integrated_xcap_server": "what others write into the table xcap is always seen; see presence_xml.xcap_server",
    "db_url": "the database is database.path",
    "xcap_table": "the tables have fixed names",
}
"""Parameters that several modules of OpenSIPS have."""

XCAP_ROOT = "/xcap-root"
"""The path of a server that is named without one, as OpenSIPS names them."""


def _server(text: str) -> str:
    if re.fullmatch(r"[!-~]+", text) is None:  # `urlsplit` leaves line breaks out
        raise ValueError(text)
    given = text if "://" in text else f"http://{text}"
    parts = urlsplit(given)
    if parts.scheme not in ("http", "https") or parts.query or parts.fragment or parts.username is not None:
        raise ValueError(text)
    host, port = parts.hostname or "", parts.port
    if ":" in host:
        host = f"[{ip_address(host)}]"
    elif re.fullmatch(r"[a-z0-9_]([a-z0-9_.-]{0,251}[a-z0-9.])?", host) is None:
        raise ValueError(text)
    path = parts.path.rstrip("/") if "://" in text else parts.path.rstrip("/") or XCAP_ROOT
    if re.fullmatch(r"(/[A-Za-z0-9._~@%:-]+)*", path) is None:
        raise ValueError(text)
    return f"{parts.scheme}://{host}{f':{port}' if port else ''}{path}"


XCAP_SERVER = Shape("HOST, HOST:PORT or the XCAP root URI, such as https://xcap.example.com/xcap-root", _server)

APPLICATION = Shape("an application usage (AUID) such as pres-rules", lambda text: _auid(text))


SIP_URI_OR_NOTHING = Shape("a SIP URI such as sip:xcap-diff@xcap.example.com, or empty", lambda text: _sip_uri(text))

NEXT_HOP_OR_NOTHING = Shape(
    "udp:ADDRESS:PORT or tcp:ADDRESS:PORT with an IP address, IPv6 in brackets, or empty", lambda text: _next_hop(text)
)


def _sip_uri(text: str) -> str:
    try:
        if text and (parse_uri(text).scheme != "sip" or re.fullmatch(r"[!-;=?-~]+", text) is None):
            raise ValueError(text)
    except BadRequest:
        raise ValueError(text) from None
    return text


def _next_hop(text: str) -> str:
    if not text:
        return text
    transport, host, port = parse_listener(text)
    if transport not in ("udp", "tcp") or not port:
        raise ValueError(text)
    return f"{transport}:{write_address(host, port)}"


def _auid(text: str) -> str:
    if re.fullmatch(r"[A-Za-z0-9._-]{1,100}", text) is None:
        raise ValueError(text)
    return text


@dataclass(frozen=True, slots=True, kw_only=True)
class XcapClient:
    """How documents are fetched from the XCAP servers of `presence_xml.xcap_server`."""

    applications: tuple[str, ...] = key(
        ("pres-rules", "resource-lists", "pidf-manipulation"),
        "Application usages whose documents are fetched, each when it is needed first.",
        shape=APPLICATION,
    )
    periodical_query: bool = key(
        True, "Ask again for the documents of presentities that are watched, and for those that were not there."
    )
    query_period: int = key(
        100,
        "How long a document, or that there is none, is believed before it is asked for again, in seconds.",
        within=(1, 24 * HOUR_S),
    )
    user: str = key("", "Name by which to authenticate; empty is not at all.")
    password: str = key(
        "", "Password of xcap_client.user, for Digest; for Basic over TLS or to this machine only, never in clear."
    )
    timeout_ms: int = key(5000, "Longest wait for one answer, all of it.", within=(10, 60_000))
    max_connections: int = key(8, "Requests under way at once.", within=(1, 1000))
    max_waiting: int = key(10_000, "Documents waiting to be fetched; more are left for later.", within=(1, 1_000_000))
    max_document_bytes: int = key(
        128 * 1024, "Largest document taken; a larger one counts as a failure.", within=(1024, 128 * 1024)
    )
    ca_file: str = key(
        "", "Certificates that vouch for XCAP servers, PEM; empty is those of the system.", shape=PATH_OR_NOTHING
    )
    verify: bool = key(True, "Check the certificates of XCAP servers; false is for labs.")
    diff_uri: str = key(
        "",
        "SIP URI to subscribe to for xcap-diff (RFC 5875), as xcap_client.user: changes of documents of presentities "
        "who are watched are fetched at once. Empty is not at all.",
        shape=SIP_URI_OR_NOTHING,
    )
    diff_next_hop: str = key(
        "",
        "Where those SUBSCRIBEs are sent. Empty is what xcap_client.diff_uri says, which must name an IP address then. "
        "Prefer tcp: over udp few documents fit into a request.",
        shape=NEXT_HOP_OR_NOTHING,
    )

    @property
    def diff_listener(self) -> Listener | None:
        """Where the SUBSCRIBEs to `diff_uri` are sent; None when the settings do not say."""
        if self.diff_next_hop:
            return parse_listener(self.diff_next_hop)
        hop = next_hop(parse_uri(self.diff_uri))
        if not hop.is_address or hop.fallback not in ("UDP", "TCP"):
            return None
        return Listener(hop.fallback.lower(), hop.host, hop.port or PORTS[hop.fallback])

    OBSOLETE: ClassVar[Mapping[str, str]] = {name: OBSOLETE_XCAP[name] for name in ("db_url", "xcap_table")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Management:
    """Procedures called over HTTP (refreshWatchers and others)."""

    allow: tuple[str, ...] = key(
        (),
        "Networks besides this machine that may call procedures at /RPC2 and /jsonrpc of http.listen, and see its "
        "/metrics (which server.allow_unauthenticated shows to all).",
        shape=NETWORK,
    )

    @property
    def allowed(self) -> tuple[IPv4Network | IPv6Network, ...]:
        """The networks of `allow`."""
        return tuple(map(ip_network, self.allow))
