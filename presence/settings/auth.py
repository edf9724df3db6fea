"""Settings of who must prove to be whom, and how."""

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network

from presence.settings.setting import HOUR_S, key
from presence.shape import ALGORITHM, NETWORK, REALM_OR_NOTHING, USER, parse_user
from presence.values import Aor


@dataclass(frozen=True, slots=True, kw_only=True)
class Auth:
    """Who must prove to be whom, and how."""

    required: bool = key(
        False,
        "Serve SUBSCRIBE, PUBLISH and REGISTER only when their sender is proven: by digest, TLS certificate or "
        "a trusted peer. Watchers are who they prove to be; only the presentity and auth.publishers publish.",
    )
    realm: str = key(
        "",
        "Realm of digest challenges; empty is the domain of the sender's address. The hashes of `presence user` hold "
        "for one realm only.",
        shape=REALM_OR_NOTHING,
    )
    algorithms: tuple[str, ...] = key(
        ("MD5",),
        "Digest algorithms offered, strongest first, one challenge each. Some clients fail on more than one challenge "
        "or know MD5 only.",
        shape=ALGORITHM,
    )
    nonce_expire: int = key(
        HOUR_S,
        "How long a nonce may be used, in seconds; after that the client is told that it is stale.",
        within=(5, 24 * HOUR_S),
    )
    allow_no_qop: bool = key(
        False, "Accept digest answers without qop (RFC 2069); each of their nonces then serves for one request only."
    )
    trusted: tuple[str, ...] = key(
        (), "Networks of peers whose P-Asserted-Identity is believed (RFC 3325).", shape=NETWORK
    )
    trust_domain_certificates: bool = key(
        False, "Let a TLS client certificate of a whole domain speak for each user of that domain (RFC 5922)."
    )
    publishers: tuple[str, ...] = key((), "Users who may publish for every presentity.", shape=USER)

    @property
    def trusted_networks(self) -> tuple[IPv4Network | IPv6Network, ...]:
        """The networks of `trusted`."""
        return tuple(ip_network(entry) for entry in self.trusted)

    @property
    def publisher_names(self) -> frozenset[Aor]:
        """The addresses of record of `publishers`."""
        return frozenset(parse_user(entry) for entry in self.publishers)
