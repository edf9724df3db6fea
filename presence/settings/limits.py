"""Settings of who may send, how fast, how much may be held for one of them, and how large a request may be."""

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network

from presence.settings.setting import key
from presence.shape import NETWORK

MANY = 1_000_000_000

Networks = tuple[IPv4Network | IPv6Network, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Who may send, how fast, how much may be held for one of them, and how large a request may be."""

    allow: tuple[str, ...] = key(
        (),
        "Networks SIP is taken from; with none given it is taken from everywhere. What comes from others is dropped "
        "unread, a connection is closed.",
        shape=NETWORK,
    )
    deny: tuple[str, ...] = key(
        (), "Networks SIP is not taken from, whatever limits.allow says; dropped and closed likewise.", shape=NETWORK
    )
    trusted: tuple[str, ...] = key(
        (),
        "Networks of proxies and other peers that speak for many: no limits.source_rate, no limit per source, and "
        "they may name any Contact address.",
        shape=NETWORK,
    )
    source_rate: int = key(
        0,
        "Requests taken from one source address in a second, over time; what is above is dropped unread over UDP, "
        "and waits unread in the connection on a stream. Responses are not counted. 0 is no limit, since behind a "
        "proxy all users share its address.",
        within=(0, 1_000_000),
    )
    source_burst: int = key(
        100, "Requests one source may send at once before limits.source_rate holds it back.", within=(1, 1_000_000)
    )
    source_prefix: int = key(64, "Bits of an IPv6 address that make one source; of IPv4 all 32 do.", within=(32, 128))
    user_rate: int = key(
        0,
        "Requests served for one user (who is proven, else From) in a second, over time; above that the answer is "
        "500 with Retry-After. 0 is no limit.",
        within=(0, 1_000_000),
    )
    user_burst: int = key(
        50, "Requests one user may send at once before limits.user_rate holds it back.", within=(1, 1_000_000)
    )
    subscriptions: int = key(0, "Most subscriptions held; more get 503. 0 is no limit.", within=(0, MANY))
    subscriptions_per_watcher: int = key(
        0, "Most subscriptions held for one watcher; more get 403. 0 is no limit.", within=(0, MANY)
    )
    subscriptions_per_source: int = key(
        0, "Most subscriptions held for one source address; more get 403. 0 is no limit.", within=(0, MANY)
    )
    subscriptions_per_presentity: int = key(
        0, "Most subscriptions to one presentity and package; more get 403. 0 is no limit.", within=(0, MANY)
    )
    publications: int = key(0, "Most publications held; more get 503. 0 is no limit.", within=(0, MANY))
    publications_per_user: int = key(
        64, "Most publications of one presentity and package; more get 403. 0 is no limit.", within=(0, MANY)
    )
    publications_per_source: int = key(
        0, "Most publications held for one source address; more get 403. 0 is no limit.", within=(0, MANY)
    )
    unproven_per_target: int = key(
        10,
        "Most subscriptions at once whose NOTIFYs go to one address that neither sent the SUBSCRIBE nor has answered "
        "yet; more get 403. Each gets one NOTIFY datagram until it is answered.",
        within=(1, MANY),
    )
    overload_ms: int = key(
        5000,
        "How long a change may wait for its commit before new changes get 503 with Retry-After; 0 is for ever.",
        within=(0, 60_000),
    )
    body_bytes: int = key(65535, "Largest body of a request; a larger one gets 413.", within=(0, 65535))
    uri_bytes: int = key(2048, "Longest Request-URI; a longer one gets 414.", within=(64, 65535))

    @property
    def allowed(self) -> Networks:
        """The networks of `allow`."""
        return tuple(map(ip_network, self.allow))

    @property
    def denied(self) -> Networks:
        """The networks of `deny`."""
        return tuple(map(ip_network, self.deny))

    @property
    def trusted_networks(self) -> Networks:
        """The networks of `trusted`."""
        return tuple(map(ip_network, self.trusted))
