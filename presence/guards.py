"""Who is let in, and for how much: the gate, proof of identity, rates and quotas, built from the settings."""

import secrets

from presence._fastcore import Buckets, Fanout, Gate, Networks
from presence.config import Config
from presence.identity.step import Demands, IdentityStep
from presence.identity.subscribers import Subscribers
from presence.publication import quota as publication
from presence.settings import Limits
from presence.sip.digest import DigestAuthority
from presence.sip.endpoint import Endpoint
from presence.sip.identity import TrustedPeers
from presence.sip.rates import UserRates
from presence.store.base import Store
from presence.subscription import quota as subscription
from presence.tally import Tally


def build_identity(config: Config, store: Store, endpoint: Endpoint, tally: Tally) -> IdentityStep | None:
    """Return what proves senders, None where they are believed."""
    auth = config.auth
    if not auth.required and not auth.trusted:
        return None
    subscribers = Subscribers(store)
    authority = DigestAuthority(
        subscribers,
        # A new one at each start: which nonce-counts were used up is not remembered either.
        secrets.token_bytes(32),
        algorithms=auth.algorithms,
        nonce_expire_s=auth.nonce_expire,
        allow_no_qop=auth.allow_no_qop,
    )
    demands = Demands(
        auth.required,
        auth.realm,
        TrustedPeers(auth.trusted_networks),
        auth.trust_domain_certificates,
        auth.publisher_names,
        frozenset(config.server.domain),
    )
    return IdentityStep(demands, authority, subscribers, endpoint, tally)


def build_gate(limits: Limits, now: float) -> Gate:
    """Return what keeps networks out and holds sources back."""
    return Gate(
        secrets.token_bytes(16),
        now,
        allow=limits.allowed,
        deny=limits.denied,
        trusted=limits.trusted_networks,
        source_rate=limits.source_rate,
        source_burst=limits.source_burst,
        source_prefix=limits.source_prefix,
    )


def count_gate(gate: Gate, tally: Tally) -> None:
    """Bring what the gate has counted into the tally."""
    counts = gate.counters()
    for name, reason in (("denied", "denied address"), ("over_rate", "over rate"), ("held_back", "held back")):
        tally.drops[reason] = counts[name]


def build_user_rates(config: Config, endpoint: Endpoint, now: float) -> UserRates | None:
    """Return what holds users back, None where nothing does; to be built after what proves them."""
    limits = config.limits
    if not limits.user_rate:
        return None
    buckets = Buckets(secrets.token_bytes(16), now, limits.user_rate, limits.user_burst)
    return UserRates(buckets, endpoint, proven_only=config.auth.required)


def build_publication_quota(limits: Limits) -> publication.Quota:
    """Return how many publications there may be."""
    most = publication.Most(limits.publications, limits.publications_per_user, limits.publications_per_source)
    return publication.Quota(most, Networks(limits.trusted_networks))


def build_subscription_quota(limits: Limits, table: Fanout) -> subscription.Quota:
    """Return how many subscriptions there may be."""
    most = subscription.Most(
        limits.subscriptions,
        limits.subscriptions_per_watcher,
        limits.subscriptions_per_source,
        limits.subscriptions_per_presentity,
    )
    return subscription.Quota(table, most, Networks(limits.trusted_networks))
