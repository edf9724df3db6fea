"""Everything that decides, put together without a socket: tests drive it with a clock and a network of their own."""

import secrets
from functools import partial
from typing import Any

from presence import differences, guards
from presence._fastcore import Fanout, Message, ServerTransactions
from presence.awaiting import Awaiting, build_access
from presence.boot import no_collection
from presence.clock import Clock
from presence.config import Config
from presence.contributing import compose_hard_state, mix
from presence.errors import SipError, StoreError
from presence.events.registry import Registry
from presence.observer import Observer
from presence.packages import load_packages
from presence.privacy import Privacy
from presence.publication.compositor import Compositor
from presence.publication.holding import Limits
from presence.registration.registrar import Registrar
from presence.sip.endpoint import Endpoint, ServerTransaction
from presence.sip.lanes import Lanes
from presence.sip.resolution import Resolver
from presence.store.base import Store
from presence.subscription.aiming import Aiming
from presence.subscription.book import Book
from presence.subscription.dialog import AllowedTargets
from presence.subscription.ending import Ending
from presence.subscription.migration import Migration
from presence.subscription.notifier import Notifier
from presence.subscription.notify import Notify
from presence.subscription.ordinary import Ordinary
from presence.subscription.proof import Proof
from presence.subscription.relocating import Relocating
from presence.subscription.request import Acceptance
from presence.subscription.request import Limits as SubscriptionLimits
from presence.subscription.upkeep import FailurePolicy, Restorer, Upkeep
from presence.subscription.ways import Ways
from presence.tally import Tally
from presence.values import Aor
from presence.xcap.documents import Documents

SLICE = 256
"""NOTIFYs sent in one turn, so that requests keep their latency during a large fan-out."""

BINDINGS_PURGE_S = 60.0

DAY_S = 86_400


class Node:
    """One presence server, dry: requests in, responses through their origin, NOTIFYs through the watcher table."""

    def __init__(
        self,
        config: Config,
        store: Store,
        clock: Clock,
        tally: Tally,
        *,
        boot: int,
        registry: Registry | None = None,
        resolver: Resolver | None = None,
    ) -> None:
        self.config = config
        self.clock, self.tally = clock, tally
        self._store, self.documents = store, Documents(store)
        self._registry = registry or load_packages(config)
        self._resolver = resolver
        self._purge_at = 0.0
        self._registrations = Lanes()
        now, serve = clock.now(), config.server
        self.transactions = ServerTransactions(secrets.token_bytes(16), now, 64 * serve.timer_t1_ms / 1000)
        self.table = self._build_table(now)
        self.endpoint = Endpoint(
            self.transactions,
            tally,
            software=serve.software,
            allow_events=", ".join(self._registry.allowed),
            dated=serve.date,
            supported="gruu" if config.presence.gruu else "",
        )
        self.transactions.bound(config.limits.uri_bytes, config.limits.body_bytes)
        self._identity = guards.build_identity(config, store, self.endpoint, tally)
        self.gate = guards.build_gate(config.limits, now)
        self._users = guards.build_user_rates(config, self.endpoint, now)
        self.compositor = self._build_compositor(now)
        self.privacy = Privacy(config, self._registry, store, self.documents, clock.now, self._bodies)
        self.policy = self.privacy.policy
        self.notify = self._build_notify()
        compose_hard_state(self, self._registry)
        self.ways = Ways()
        allowed = AllowedTargets(serve.target_networks)
        self._aiming = Aiming(allowed, names=resolver is not None, nat=serve.nat_targets)
        self.book = Book(self.table, self.notify, self.ways, allowed, boot=boot)
        self._build_notifier()
        self._serve(frozenset(serve.domain))
        self._show(tally)

    def _show(self, tally: Tally) -> None:
        """Have counted what the metrics show."""
        tally.gauges["publications"] = lambda: {(k,): float(v) for k, v in self.compositor.counts().items()}
        tally.gauges["subscriptions"] = lambda: {k: float(v) for k, v in self.notify.counts().items()}
        tally.refreshers += [self._count_notifies, self._count_ordinary, self._count_lookups]
        tally.refreshers.append(partial(guards.count_gate, self.gate, tally))
        self._counted = dict.fromkeys(self.transactions.ordinary(), (0, 0))

    def _build_table(self, now: float) -> Fanout:
        settings, serve = self.config.presence, self.config.server
        return Fanout(
            secrets.token_bytes(16),
            now,
            t1_ms=serve.timer_t1_ms,
            t2_ms=serve.timer_t2_ms,
            user_agent=serve.software.encode(),
            contact_user=settings.contact_user.encode(),
            expires_offset_s=settings.expires_offset,
            segmenting=serve.udp_segmentation,
            datagram_most=serve.udp_max_bytes,
            allow_events=", ".join(self._registry.allowed).encode(),
            gruu=settings.gruu,
        )

    def _build_compositor(self, now: float) -> Compositor:
        settings = self.config.presence
        compositor = Compositor(
            self._registry,
            self._store,
            Limits(settings.min_expires_publish, settings.max_expires_publish, settings.expires_offset),
            guards.build_publication_quota(self.config.limits),
            endpoint=self.endpoint,
            domains=frozenset(self.config.server.domain),
            home=self.config.server.home,
            now=now,
            changed=self._changed,
            composition=settings.composition,
        )
        self._mixed = mix(self.config, self._registry, compositor)
        return compositor

    def _build_notify(self) -> Notify:
        interval_s = self.config.presence.notify_interval_s
        documents, published = self.compositor.document, self.compositor.composing.publications
        return Notify(self.table, self._registry, documents, published, self.tally, interval_s=interval_s)

    def _build_notifier(self) -> None:
        settings, most = self.config.presence, self.config.limits
        give_up_s = settings.waiting_subs_daysno * DAY_S
        self._ending = ending = Ending(self.table, self._store, self.notify, self.book, give_up_s)
        parts = (self.table, self._store, self.notify, self.book, self._registry, self.policy, ending)
        self.awaiting = Awaiting(self.config, *parts)
        self.awaiting.decided.changed.append(self.privacy.row_changed)
        self.privacy.attach(self.table, self._store, self.notify, self.book, ending)
        limits = self._subscription_limits()
        self._quota = quota = guards.build_subscription_quota(most, self.table)
        proof = Proof(self.table, most.trusted_networks, most.unproven_per_target)
        self.book.on_forget = quota.leave
        self.notifier = Notifier(
            self._registry,
            self.table,
            self._store,
            self.policy,
            self.notify,
            self.book,
            ending,
            limits,
            quota,
            proof,
            self._resolver,
        )
        self._ordinary: Ordinary | None = None
        if settings.answer_202 != "always":
            self._ordinary = Ordinary(
                self._registry,
                self.table,
                self._store,
                self.notify,
                self.book,
                limits,
                self.endpoint,
                quota,
                self.policy,
            )
        failures = FailurePolicy(settings.end_sub_on_timeout, settings.notify_failure == "remove")
        relocating = Relocating(self.table, self.book, proof, self._resolver)
        self._upkeep = Upkeep(self.table, self._store, self.notify, self.book, ending, failures, relocating)
        self.migration = Migration(self.notify, ending)

    def _subscription_limits(self) -> SubscriptionLimits:
        settings, serve, most = self.config.presence, self.config.server, self.config.limits
        return SubscriptionLimits(
            settings.min_expires_subscribe,
            settings.max_expires_subscribe,
            settings.expires_offset,
            self._aiming,
            frozenset(serve.domain),
            serve.home,
            self._acceptance(),
            most.trusted_networks,
            most.unproven_per_target,
            build_access(self.config),
        )

    def _acceptance(self) -> Acceptance:
        settings = self.config.presence
        supported = "Supported: gruu\r\n" if settings.gruu else ""
        allow_events = f"Allow-Events: {', '.join(self._registry.allowed)}\r\n"
        return Acceptance(allow_events + supported, supported, settings.answer_202)

    def _serve(self, domains: frozenset[str]) -> None:
        differences.serve_differences(self._registry, self.documents, self.notify, self.config, self.clock)
        self.endpoint.serve("PUBLISH", self.compositor.handle_publish)
        self.endpoint.serve("SUBSCRIBE", self.notifier.handle_subscribe)
        if self.config.server.registrar:
            self._registrar = Registrar(self._store, domains=domains)
            self.endpoint.serve("REGISTER", self._register)
        kinds = {kind for name in self._registry.names for kind in self._published(name)}
        self.endpoint.accept(", ".join(sorted(kinds)))

    def _published(self, name: str) -> tuple[str, ...]:
        package = self._registry.get(name)
        return package.publishable if package is not None else ()

    # ---- what the rim calls ----

    def observe(self, observer: Observer) -> None:
        """Let somebody hear of answers, ends and faults."""
        self.endpoint.observer = self._ending.observer = observer

    def open_ways(self) -> None:
        """Know which listeners stand in for each other, now that all of them are there."""
        for link, stream in self.ways.streams():
            self.table.pair_links(link, stream)

    def load(self) -> tuple[int, int]:
        """Take over what the database holds and queue a NOTIFY for every watcher; return (taken, refused) rows."""
        now = self.clock.now()
        with no_collection():
            self.compositor.load(now)
            self.awaiting.decided.begin()
            return self._load_subscriptions(now)

    def _load_subscriptions(self, now: float) -> tuple[int, int]:
        restorer = Restorer(
            self.table,
            self._store,
            self.notify,
            self.book,
            self._registry,
            self.policy,
            self._ending,
            ways=self.ways,
            aiming=self._aiming,
            access=build_access(self.config),
        )
        counts = restorer.load(now)
        self._quota.restore(self.notify.all(), restorer.sources)
        if self.config.auth.trusted:
            restorer.load_asserted()
        if self.config.server.domain:
            self._ending.end_outside(frozenset(self.config.server.domain), now)
        return counts

    def receive(self, messages: list[Message], now: float) -> None:
        """Handle messages in the order they came."""
        # A slot may be free by now and given to a new subscription: what was reported of it comes first.
        self._upkeep.tick(now)
        self.endpoint.now = now
        if self._identity is not None:
            messages = self._identity.screen(messages, now)
        if self._users is not None:
            messages = self._users.sift(messages, now)
        messages = self.compositor.handle_ordinary(messages, now)
        if self._ordinary is not None:
            messages = self._ordinary.handle(messages, now)
        for message in messages:
            if message.is_request:
                self.endpoint.receive(message, now)
            elif message.error or not self.table.match(message, now):
                self.tally.drops["stray response"] += 1

    def missing(self, query: str, row_id: int) -> None:
        """Hear that a row is not in the database any more: what it stood for is over (a store's `on_missing`)."""
        table = query.rpartition("_")[0]
        if table == "presentity":
            self.compositor.missing(row_id)
        else:
            self._ending.missing(row_id, shared=table == "shared_watchers")

    def tick(self, now: float) -> None:
        """Let time pass: timers, expiries, then the NOTIFYs that follow from all that happened."""
        self.transactions.tick(now)
        self.table.tick(now)
        self.compositor.tick(now)
        self._upkeep.tick(now)
        self.migration.tick(now)
        self.documents.tick(now)
        self.privacy.tick(now)
        self.notify.flush(now)
        self.notify.outdate(self.compositor.composing.told())
        self.awaiting.tick(now)
        self._purge_bindings(now)
        self._store.flush()

    def clean_up(self) -> None:
        """Remove what has expired at the next tick, not only from time to time."""
        self._purge_at = 0.0
        self.awaiting.decided.purge_soon()

    def pump(self, now: float) -> int:
        """Send a slice of the queued NOTIFYs; return how many are still queued."""
        left: int = self.table.pump(now, SLICE)
        if not left:
            self.notify.observe_sent(now)
        return left or int(self.privacy.busy)

    def pending(self) -> int:
        """Return how many changes wait for their commit."""
        lookups = 0 if self._resolver is None else len(self._resolver)
        return len(self.compositor.lanes) + len(self.book.lanes) + len(self._registrations) + lookups

    # ---- inside ----

    def _changed(self, package: str, presentity: Any, received_at: float) -> None:
        self.privacy.published(package, presentity)
        self.notify.changed(package, presentity, received_at)
        for mixed in self._mixed.get(package, ()):
            self.notify.changed(mixed, presentity, received_at)

    def _bodies(self, presentity: Aor) -> list[bytes]:
        return [publication.body for publication in self.compositor.holding.publications(("presence", presentity))]

    def _register(self, transaction: ServerTransaction, now: float) -> None:
        aor = self._registrar.address_of_record(transaction.request)
        # RFC 3261 section 10.3: in the order received, each atomically.
        self._registrations.run(aor, partial(self._bind, transaction, aor, now))

    def _bind(self, transaction: ServerTransaction, aor: Aor, now: float) -> None:
        try:
            result = self._registrar.register(transaction.request, now)
        except Exception as error:
            transaction.refuse(error)
            self._registrations.leave(aor)
            return
        if not result.writes:
            transaction.reply(200, result.headers)
            self._registrations.leave(aor)
            return

        def committed(error: StoreError | None) -> None:
            if error is not None:
                # RFC 3261 section 10.3: it fails with 500, and no binding has changed.
                transaction.refuse(SipError(headers=(("Retry-After", "5"),)))
            else:
                transaction.reply(200, result.headers)
            self._registrations.leave(aor)

        try:
            self._store.submit(result.writes, committed)
        except StoreError as error:
            committed(error)

    def _purge_bindings(self, now: float) -> None:
        if now >= self._purge_at:
            self._purge_at = now + BINDINGS_PURGE_S
            days_s = self.config.presence.waiting_subs_daysno * DAY_S
            writes = [("bindings_purge", (int(now),)), ("watchers_purge_refused", (int(now) - days_s,))]
            self._store.submit(writes, lambda error: None)

    def _count_ordinary(self) -> None:
        for method, (came, accepted) in self.transactions.ordinary().items():
            came_before, accepted_before = self._counted[method]
            self.tally.requests[method] += came - came_before
            self.tally.responses[method, 200] += accepted - accepted_before
            self._counted[method] = (came, accepted)

    def _count_lookups(self) -> None:
        if self._resolver is not None:
            self.tally.lookups.update(self._resolver.counts())

    def _count_notifies(self) -> None:
        counts = self.table.counters()
        for name in ("sent", "retransmitted", "failed", "coalesced", "switched", "fallen_back"):
            self.tally.notifies[name] = counts[name]
