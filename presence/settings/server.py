"""Settings of where SIP is served, for whom, and within what limits."""

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Literal

from presence import __version__
from presence.settings.setting import HOUR_S, key
from presence.shape import (
    DOMAIN,
    HOST_OR_NOTHING,
    LISTENER,
    NETWORK,
    PATH_OR_NOTHING,
    PRODUCT,
    Listener,
    is_loopback,
    parse_listener,
)

LOOPBACK = ("127.0.0.0/8", "::1/128")
EVERYWHERE = ("0.0.0.0/0", "::/0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """Where SIP is served, for whom, and within what limits."""

    listen: tuple[str, ...] = key(
        ("udp:127.0.0.1:5060", "tcp:127.0.0.1:5060"),
        "Where SIP is received; port 0 takes a free one.",
        shape=LISTENER,
        flag="--listen",
    )
    advertised_host: str = key(
        "",
        "Host named in our Via and Contact in place of the listener's own. With none given a listener on all "
        "addresses (0.0.0.0 or ::) names the address this machine would send from.",
        shape=HOST_OR_NOTHING,
    )
    domain: tuple[str, ...] = key((), "Domains served; with none given every domain is.", shape=DOMAIN, flag="--domain")
    policy: Literal["open", "rules"] = key(
        "open",
        "Who may watch: open is everybody, rules is whom rules documents or the table `watchers` let in "
        "(presence_xml.default_policy says what becomes of the others).",
        flag="--policy",
    )
    registrar: bool = key(True, "Serve REGISTER; without it the answer is 405.")
    allow_unauthenticated: bool = key(
        False,
        "Serve other machines although nobody proves who they are; needed for listening beyond loopback without "
        "auth.required, and for HTTP there without proof for XCAP.",
    )
    allowed_targets: tuple[str, ...] = key(
        (),
        "Networks requests of ours may go to. With none given: loopback alone while every listener is on "
        "loopback, otherwise everywhere.",
        shape=NETWORK,
    )
    software: str = key(f"presence/{__version__}", "Text of the Server and User-Agent header fields.", shape=PRODUCT)
    date: bool = key(False, "Put Date into every response; that to a successful REGISTER has it anyway.")
    ready_file: str = key(
        "",
        "File written when every listener is open, with their addresses; empty is none.",
        shape=PATH_OR_NOTHING,
        flag="--ready-file",
    )
    drain_timeout_s: int = key(
        10, "Longest wait for answers that are under way when the server is stopped.", within=(0, HOUR_S)
    )
    max_message_bytes: int = key(
        65535, "Largest SIP message taken on a stream; a datagram is never larger than 65535.", within=(1500, 65535)
    )
    max_connections: int = key(10000, "Most stream connections held at once.", within=(1, 1_000_000))
    max_connections_per_source: int = key(
        10000,
        "Most stream connections held of one address, for IPv6 of one /64; lower it where clients come from "
        "addresses of their own.",
        within=(1, 1_000_000),
    )
    idle_timeout_s: int = key(900, "A connection silent for this long is closed.", within=(1, 30 * 24 * HOUR_S))
    handshake_timeout_s: int = key(
        10, "A connection whose TLS or WebSocket handshake takes longer is closed.", within=(1, HOUR_S)
    )
    message_timeout_s: int = key(
        30,
        "A connection is closed when a message begun on it, or the first message or keep-alive, is not complete "
        "after this long.",
        within=(1, HOUR_S),
    )
    udp_max_bytes: int = key(
        1300,
        "Largest NOTIFY sent over UDP: a larger one goes over TCP to the same address (RFC 3261 section 18.1.1) "
        "unless the Contact says transport=udp, and over UDP after all when TCP is refused there; 0 never does.",
        within=(0, 65535),
    )
    nat_targets: bool = key(
        True,
        "Send NOTIFYs to where a SUBSCRIBE came from over UDP when its Via asks for that (rport) and names, like its "
        "Contact, another address: the watcher is behind a NAT. Without it only `ob` in Contact does that.",
    )
    udp_segmentation: bool = key(
        True,
        "Let the kernel cut NOTIFYs that share a next hop from one buffer (UDP GSO); a capture on the sending "
        "machine may then show them as one large packet.",
    )
    timer_t1_ms: int = key(500, "Estimate of the round trip time, T1 of RFC 3261 section 17.1.1.1.", within=(1, 60_000))
    timer_t2_ms: int = key(
        4000, "Longest pause between retransmissions, T2 of RFC 3261 section 17.1.2.2.", within=(1, 600_000)
    )

    def __post_init__(self) -> None:
        """Choose the networks nobody chose: who listens on loopback alone has no reason to send elsewhere."""
        if not self.allowed_targets:
            inside = all(is_loopback(listener.host) for listener in self.listeners)
            object.__setattr__(self, "allowed_targets", LOOPBACK if inside else EVERYWHERE)

    @property
    def listeners(self) -> tuple[Listener, ...]:
        """The entries of `listen`, taken apart."""
        return tuple(parse_listener(entry) for entry in self.listen)

    @property
    def home(self) -> str:
        """The domain of telephone numbers that name none: the first one served, '' when all are."""
        return self.domain[0] if self.domain else ""

    @property
    def target_networks(self) -> tuple[IPv4Network | IPv6Network, ...]:
        """The networks of `allowed_targets`."""
        return tuple(ip_network(entry) for entry in self.allowed_targets)
