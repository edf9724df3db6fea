"""Our own XCAP server, built from the settings: the usages, what they may look at, and who proves users."""

import secrets
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Final

from presence.clock import Clock
from presence.config import Config
from presence.errors import ConfigError
from presence.http.xcap import Below, Doorkeeper, SiteOptions, XcapSite
from presence.identity.subscribers import Subscribers
from presence.sip.digest import DigestAuthority
from presence.sip.identity import TrustedPeers
from presence.store.base import Store, Value
from presence.values import Aor, SubscriptionStatus, WatcherEvent, WatcherRecord
from presence.xcap.documents import Documents
from presence.xcap.server import Limits, XcapServer
from presence.xcap.services import Services, stored_services
from presence.xcap.tree import Bounds
from presence.xcap.usage import Usage, World
from presence.xcap.usages import usages

_STATUSES: Final = frozenset(SubscriptionStatus)


def build_site(
    config: Config,
    store: Store,
    documents: Documents,
    clock: Clock,
    *,
    wake: Callable[[], None],
    faulted: Callable[[Exception], None],
    failed: Callable[[str], None] = lambda why: None,
) -> XcapSite | None:
    """Return the XCAP server, None where there is to be none."""
    xcap = config.xcap
    if not xcap.root:
        return None
    subscribers = Subscribers(store)
    trusted = TrustedPeers(config.auth.trusted_networks)
    services = Services(partial(stored_services, store))
    documents.listeners.append(services.note)
    documents.resets.append(services.forget)
    world = World(
        roots=xcap.uris,
        documents=documents,
        watchers=partial(_read_watchers, store),
        usages=_usages(config, services),
        allow_external_references=xcap.allow_external_references,
    )
    server = XcapServer(
        world,
        Limits(xcap.max_document_bytes, Bounds(xcap.max_depth, xcap.max_elements), xcap.documents_per_user),
        partial(secrets.token_hex, 16),
        administrators=xcap.administrator_names,
        is_known=partial(_is_known, config, subscribers, clock),
    )
    doorkeeper = Doorkeeper(_build_authority(config, subscribers), subscribers, trusted, clock.now, failed)
    return XcapSite(server, documents, _read_options(config), doorkeeper, wake=wake, faulted=faulted)


def route_to(site: XcapSite, config: Config) -> Below:
    """Return the route of the HTTP server that leads to the XCAP root."""
    return Below(config.xcap.root, site)


def _usages(config: Config, services: Services) -> Mapping[str, Usage]:
    disabled = config.xcap.disabled_applications
    served = usages(disabled, services)
    unknown = set(disabled) - usages(services=services).keys()
    if unknown:
        raise ConfigError(
            f"xcap.disabled_applications in {config.origin('xcap', 'disabled_applications')}: there is no "
            f"{', '.join(sorted(unknown))} here; there are {', '.join(sorted(usages(services=services)))}"
        )
    return served


def _read_options(config: Config) -> SiteOptions:
    xcap = config.xcap
    homes = [config.server.home, *(aor.domain for aor in sorted(xcap.administrator_names)), "localhost"]
    return SiteOptions(
        root=xcap.root,
        uris=xcap.uris,
        authentication=xcap.authentication,
        basic=xcap.basic,
        realm=xcap.realm or config.auth.realm,
        home=next(filter(None, homes)),
        openxcap_clients=xcap.openxcap_clients,
    )


def _build_authority(config: Config, subscribers: Subscribers) -> DigestAuthority:
    auth = config.auth
    return DigestAuthority(
        subscribers,
        secrets.token_bytes(32),
        # Some clients read the first challenge only, and know no other algorithm.
        algorithms=tuple(sorted(auth.algorithms, key=lambda algorithm: algorithm != "MD5")),
        nonce_expire_s=auth.nonce_expire,
        allow_no_qop=auth.allow_no_qop,
    )


def _is_known(config: Config, subscribers: Subscribers, clock: Clock, aor: Aor) -> bool:
    """Whether somebody may be a user here: who is proven by others need not be in the table of users."""
    if config.server.domain and aor.domain not in config.server.domain:
        return False
    if config.xcap.authentication == "none" or config.auth.trusted:
        return True
    subscribers.refresh(clock.now())
    return subscribers.find(aor.username, aor.domain) is not None


def _read_watchers(store: Store, owner: Aor) -> Iterator[WatcherRecord]:
    for username, domain, status, since, expires in store.read("watchers_of", (owner.uri,)):
        if _number(status) not in _STATUSES:  # whoever wrote that row, it says nothing
            continue
        yield WatcherRecord(
            "",
            Aor(str(username), str(domain)).uri,
            "",
            SubscriptionStatus(_number(status)),
            WatcherEvent.SUBSCRIBE,
            _number(since),
            _number(expires),
        )


def _number(value: Value) -> int:
    try:
        return int(value) if isinstance(value, int | float | str) else 0
    except (ValueError, OverflowError):
        return 0
