"""Subscriptions to xcap-diff at another XCAP server, put before the fetcher that asks for what has changed."""

from collections.abc import Callable
from itertools import islice
from random import SystemRandom
from typing import TYPE_CHECKING
from urllib.parse import quote

from presence import logbook
from presence.agents.follower import MAX_SUBSCRIPTIONS, MAX_URIS, Changed, Event, Follower, Terms
from presence.assembly import Node
from presence.config import Config
from presence.errors import BadRequest, ConfigError, StoreError
from presence.sip.headers import parse_uri
from presence.subscription.dialog import AllowedTargets
from presence.tally import Tally
from presence.transport.lasting import Lasting
from presence.xcap.documents import Documents, Key

if TYPE_CHECKING:
    from presence.http.fetching import Fetcher

LOOK_EVERY_S = 3.0
"""How often it is looked who is watched: what comes and goes meanwhile is one change of the lists."""

NEXT_S = 0.1
"""When many come at once, how soon those are named who could not be in this turn."""

_USER = "-_.!~*'()&=+$,;?/"
"""What may stand in the user part of a SIP URI as it is (RFC 3261 section 25.1)."""


class Following:
    """Names the documents of those who are watched to the notifier, and has fetched what it says has changed."""

    def __init__(self, config: Config, node: Node, fetcher: "Fetcher", tally: Tally, now: Callable[[], float]) -> None:
        """Begin; raises ConfigError when the settings do not say where to, or forbid it."""
        terms, address = read_terms(config)
        documents = node.documents
        self._log = logbook.open_log()
        self._uri, self._presentities, self._now = terms.uri, node.notify.presentities, now
        self._fetcher = fetcher
        self._follower = Follower(terms, SystemRandom(), lambda key: held_etag(documents, key))
        self._lasting = Lasting[Event](self._follower, *address, now, self._heard, self._lost)
        self._most = MAX_SUBSCRIPTIONS * MAX_URIS // max(1, len(terms.applications))
        self._look_at = 0.0
        tally.gauges["xcap_diff_subscriptions"] = lambda: {
            (state,): float(count) for state, count in self._follower.counts().items()
        }

    def tick(self, now: float) -> None:
        """Let time pass."""
        if now >= self._look_at:
            # No more than there is room for; who is watched longest comes first, and so stays named.
            watched = islice(self._presentities(), self._most)
            more = self._follower.follow(watched, now)
            self._look_at = now + (NEXT_S if more else LOOK_EVERY_S)
            self._lasting.settle()
        self._lasting.tick(now)

    async def close(self) -> None:
        """End the subscriptions, without waiting for answers."""
        self._follower.leave(self._now())
        await self._lasting.close()

    def _heard(self, event: Event) -> bool:
        if isinstance(event, Changed):
            self._fetcher.heed(event.keys)
            return True
        if not event.again:
            self._log.warning("xcap-diff subscription lost", uri=self._uri, why=event.reason, again_s=event.wait_s)
        return not event.silent

    def _lost(self, why: str) -> None:
        if not self._follower.losses:
            self._log.warning("no connection for xcap-diff", uri=self._uri, why=why)


def read_terms(config: Config) -> tuple[Terms, tuple[str, str, int]]:
    """Return how to subscribe, and where by transport, address and port; raises ConfigError."""
    client = config.xcap_client
    origin = config.origin("xcap_client", "diff_uri")
    address = client.diff_listener
    if address is None:
        raise ConfigError(
            f"xcap_client.diff_uri = {client.diff_uri} in {origin} names no IP address reached over UDP or TCP: "
            "say xcap_client.diff_next_hop"
        )
    if address.host not in AllowedTargets(config.server.target_networks):
        raise ConfigError(
            f"xcap_client.diff_uri = {client.diff_uri} in {origin} is to be sent to {address.host}, which is not in "
            "server.allowed_targets"
        )
    watcher = client.diff_uri
    if client.user:
        user, _, domain = client.user.rpartition("@")
        if not user:
            user, domain = client.user, parse_uri(client.diff_uri).host
        watcher = f"sip:{quote(user, safe=_USER)}@{domain}"
        try:
            parse_uri(watcher)
        except BadRequest:
            raise ConfigError(
                f"xcap_client.user in {config.origin('xcap_client', 'user')} is nobody who can subscribe to "
                "xcap_client.diff_uri: a name, or a name with its domain"
            ) from None
    terms = Terms(
        client.diff_uri,
        watcher,
        client.user,
        client.password,
        client.applications,
        config.presence_xml.pres_rules_filename,
        datagrams=address.transport == "udp",
    )
    return terms, (address.transport, address.host, address.port)


def held_etag(documents: Documents, key: Key) -> str | None:
    """Return the entity-tag of the document that was fetched, None when there is none; '' when nobody can say."""
    assert key.owner is not None
    try:
        # `of` would have the fetcher ask for what is not there.
        held = documents.all_of(key.owner)
    except StoreError:
        return ""
    return next((stored.etag for stored in held if stored.source == 1 and stored.key == key), None)
