"""The notifier (RFC 6665 section 4.2): subscriptions made, refreshed and ended, each answered after its commit."""

from functools import partial
from typing import NamedTuple

from presence._fastcore import CSEQ_STRIDE, Fanout, Message
from presence.errors import (
    BadEvent,
    Forbidden,
    IntervalTooBrief,
    NotAcceptable,
    NotFound,
    OutOfOrder,
    SipError,
    StoreError,
    Unavailable,
    UnknownSubscription,
    UnsupportedMediaType,
)
from presence.events.package import EventPackage
from presence.events.registry import Registry
from presence.policy.decision import ALLOW, BLOCK, Decision, Policy
from presence.sip.endpoint import ServerTransaction
from presence.sip.headers import parse_accept, parse_uri
from presence.sip.lanes import Lanes
from presence.store.base import Store, Write
from presence.subscription.dialog import (
    Dialog,
    Network,
    Target,
    choose_target,
    read_contact,
    read_dialog,
    watcher_of,
)
from presence.subscription.machine import Input, decide_transition
from presence.subscription.notify import Notify, Resource
from presence.subscription.rows import Key, key_of
from presence.values import Aor, SubscriptionStatus

HOUR_S = 3600


class Limits(NamedTuple):
    """What a subscription may be."""

    min_expires_s: int
    max_expires_s: int
    expires_offset_s: int
    allowed_targets: tuple[Network, ...]
    domains: frozenset[str]


class Draft(NamedTuple):
    """A subscription on its way through the commit."""

    transaction: ServerTransaction
    package: EventPackage
    presentity: Aor
    dialog: Dialog
    decision: Decision
    target: Target
    slot: int
    owner: int
    expires_s: int
    now: float


class Notifier:
    """Takes SUBSCRIBE requests and keeps the rows of the watcher table and of the database in step."""

    def __init__(
        self,
        registry: Registry,
        table: Fanout,
        store: Store,
        policy: Policy,
        notify: Notify,
        limits: Limits,
        *,
        boot: int,
    ) -> None:
        self._registry = registry
        self._table = table
        self._store = store
        self._policy = policy
        self._notify = notify
        self._limits = limits
        self._boot = boot
        self._lanes = Lanes()
        self.foreign: dict[tuple[str, str, str], int] = {}
        """Dialogs whose To-tag another server made: (Call-ID, To-tag, From-tag) to slot."""
        self.shared: set[int] = set()
        """Slots whose row is in `shared_watchers`."""
        self.strict: dict[int, tuple[str, ...]] = {}
        """Route sets that begin with a strict router, by the dialog's first slot."""

    # ---- requests ----

    def handle_subscribe(self, transaction: ServerTransaction, now: float) -> None:
        """Serve a SUBSCRIBE (RFC 6665 section 4.2.1)."""
        request = transaction.request
        package = self._registry.get(request.event)
        if package is None:
            raise BadEvent(headers=(("Allow-Events", ", ".join(self._registry.names)),))
        if request.to_tag:
            owner = self._find(request)
            if not owner:
                raise UnknownSubscription
            self._lanes.run(owner, partial(self._attempt, transaction, package, owner, now))
            return
        presentity = parse_uri(request.uri).aor()
        if self._limits.domains and presentity.domain not in self._limits.domains:
            raise NotFound
        self._begin(transaction, package, presentity, read_dialog(request), 0, now)

    def _find(self, request: Message) -> int:
        slot = self._table.find(request)
        return slot or self.foreign.get((request.call_id, request.to_tag, request.from_tag), 0)

    def _attempt(self, transaction: ServerTransaction, package: EventPackage, owner: int, now: float) -> None:
        try:
            self._continue(transaction, package, owner, now)
        except SipError as error:
            transaction.refuse(error)
            self._lanes.leave(owner)

    def _continue(self, transaction: ServerTransaction, package: EventPackage, owner: int, now: float) -> None:
        """Serve a SUBSCRIBE inside a dialog; the lane is left when its commit is done."""
        request = transaction.request
        # The dialog may have ended while this request waited for its turn.
        usages = self._table.usages(owner) if self._find(request) == owner else []
        if not usages:
            raise UnknownSubscription
        # RFC 3261 section 12.2.2; an equal number in a new transaction is no newer request either.
        if request.cseq <= self._table.facts(owner)[8]:
            raise OutOfOrder
        slot = self._table.usage(owner, package.name.encode(), request.event_id.encode("utf-8", "surrogateescape"))
        if not slot:
            if request.expires == 0:
                raise UnknownSubscription
            resource = self._notify.resource_of(usages[0])
            dialog = self._dialog(owner, request)
            self._begin(transaction, package, resource.presentity, dialog, owner, now)
            return
        if self._expires(request, package) == 0:
            self._unsubscribe(transaction, slot, owner)
        else:
            self._refresh(transaction, package, slot, owner, now)

    def _expires(self, request: Message, package: EventPackage) -> int:
        """The interval granted, in seconds (RFC 6665 section 4.2.1.1)."""
        asked = package.default_expires_s if request.expires is None else request.expires
        if 0 < asked < min(HOUR_S, self._limits.min_expires_s):
            raise IntervalTooBrief(headers=(("Min-Expires", str(self._limits.min_expires_s)),))
        return min(asked, self._limits.max_expires_s)

    def _check_bodies(self, request: Message, package: EventPackage) -> None:
        values = request.values("Accept")
        if values:
            kind = package.content_type.partition("/")[0]
            fits = {package.content_type, f"{kind}/*", "*/*"}
            if not any(media in fits and q > 0 for media, q in parse_accept(values)):
                raise NotAcceptable(headers=(("Accept", package.content_type),))
        # RFC 3261 section 8.2.3: a body that is not understood must not be ignored unless it is optional.
        if request.body and "handling=optional" not in (request.header("Content-Disposition") or "").lower():
            raise UnsupportedMediaType(headers=(("Accept", ""),))

    def _decide(self, package: EventPackage, presentity: Aor, watcher: Aor) -> Decision:
        if package.authorised:
            return self._policy.decide(presentity, watcher, package.name)
        if package.watches and self._policy.name != "open" and presentity != watcher:
            # RFC 3857 section 4.6: who watches is told to the presentity only.
            return BLOCK
        return ALLOW

    # ---- a new subscription ----

    def _begin(
        self,
        transaction: ServerTransaction,
        package: EventPackage,
        presentity: Aor,
        dialog: Dialog,
        owner: int,
        now: float,
    ) -> None:
        request = transaction.request
        expires_s = self._expires(request, package)
        self._check_bodies(request, package)
        watcher = watcher_of(dialog)
        decision = self._decide(package, presentity, watcher)
        if decision.status is SubscriptionStatus.TERMINATED:
            raise Forbidden
        target = choose_target(dialog, transaction.origin, request.source, self._limits.allowed_targets)
        slot = self._table.reserve()
        draft = Draft(
            transaction, package, presentity, dialog, decision, target, slot, owner, expires_s, now
        )
        if expires_s == 0:
            # A fetch (RFC 6665 section 4.4.3): nothing to store, nothing to wait for.
            self._begun(draft, None)
            return
        self._store.submit(self._rows(draft, watcher), partial(self._begun, draft))

    def _rows(self, draft: Draft, watcher: Aor) -> list[Write]:
        origin = draft.transaction.origin
        tagged = draft.owner or draft.slot
        key = Key(
            draft.presentity.uri,
            draft.dialog.call_id,
            self._table.to_tag(tagged).decode(),
            draft.dialog.remote_tag,
            draft.package.name,
            draft.transaction.request.event_id,
            shared=bool(draft.owner),
        )
        writes = [
            key.insert(
                draft.dialog,
                watcher=watcher,
                expires_at=int(draft.now) + draft.expires_s + self._limits.expires_offset_s,
                remote_cseq=draft.transaction.request.cseq,
                status=draft.decision.status,
                reason=draft.decision.reason,
                socket_info=origin.local,
                local_contact=self._table.contact(draft.slot, origin.link).decode(),
                subscribed_at=int(draft.now),
                target=draft.target,
                boot=self._boot,
            )
        ]
        if draft.package.authorised and self._policy.name != "open":
            asked = (draft.presentity.uri, watcher.username, watcher.domain, draft.package.name)
            writes.append(Write("watchers_put", (*asked, int(draft.decision.status), draft.decision.reason, int(draft.now))))
        return writes

    def _begun(self, draft: Draft, error: StoreError | None) -> None:
        """Answer a new subscription after its commit."""
        transaction, slot = draft.transaction, draft.slot
        if error is None:
            try:
                self._fill(draft)
            except ValueError as too_long:
                error = StoreError(str(too_long))
        if error is not None:
            self._table.release(slot)
            transaction.refuse(Unavailable(headers=(("Retry-After", "5"),)))
        else:
            transaction.to_tag = self._table.to_tag(slot)
            self._accept(transaction, slot, draft.expires_s)
            resource = self._notify.resource(draft.package, draft.presentity)
            if draft.expires_s == 0:
                self._notify.finish(slot, resource, "timeout", body=draft.decision.view > 0)
            else:
                self._notify.watcher_changed(resource, self._notify.record(slot))
                self._notify.tell(slot, resource)
        if draft.owner:
            self._lanes.leave(draft.owner)

    def _fill(self, draft: Draft) -> None:
        request = draft.transaction.request
        resource = self._notify.resource(draft.package, draft.presentity)
        local_tag = ""
        if draft.owner and self._table.dialog(draft.owner)[7] != b"" and draft.owner in self.foreign.values():
            local_tag = self._table.to_tag(draft.owner).decode()
        until = int(draft.now) + draft.expires_s + self._limits.expires_offset_s
        self._table.fill(
            draft.slot,
            resource.gid,
            draft.dialog.parts(request.event_id, local_tag),
            owner=draft.owner,
            remote_cseq=request.cseq,
            # A fetch is not in the database: it never has to reserve CSeq numbers.
            cseq_mark=CSEQ_STRIDE if draft.expires_s else 0x7FFFFFFF,
            expires_at=until,
            pending=draft.decision.status is SubscriptionStatus.PENDING,
            view=draft.decision.view,
            subscribed_at=int(draft.now),
        )
        self._aim(draft.slot, draft.transaction.origin.link, draft.target)
        if draft.owner:
            self.shared.add(draft.slot)
        if draft.dialog.request_line()[0] != draft.dialog.contact:
            self.strict[draft.slot] = draft.dialog.route

    def _aim(self, slot: int, link: int, target: Target) -> None:
        self._table.set_target(slot, self.link_for(link, target), target.host, target.port, target.flow)

    def link_for(self, link: int, target: Target) -> int:
        """Return the way out for a target when the request came in on `link`; set by who owns the links."""
        return link

    def _accept(self, transaction: ServerTransaction, slot: int, expires_s: int) -> None:
        contact = self._table.contact(slot, transaction.origin.link).decode()
        headers = [("Expires", str(expires_s)), ("Contact", f"<{contact}>")]
        # RFC 3261 section 12.1.1: the 2xx of a request that creates a dialog repeats its Record-Route.
        transaction.reply(200, tuple(headers))

    # ---- refresh, unsubscribe ----

    def _dialog(self, owner: int, request: Message) -> Dialog:
        """The dialog as it stands, with the remote target of this request (RFC 3261 section 12.2.2)."""
        parts = [part.decode("utf-8", "surrogateescape") for part in self._table.dialog(owner)]
        route = self.strict.get(owner) or (tuple(parts[1].split(", ")) if parts[1] else ())
        return Dialog(parts[5], parts[2], parts[3], parts[4], read_contact(request), route)

    def _refresh(
        self, transaction: ServerTransaction, package: EventPackage, slot: int, owner: int, now: float
    ) -> None:
        request = transaction.request
        expires_s = self._expires(request, package)
        self._check_bodies(request, package)
        dialog = self._dialog(owner, request)
        target = choose_target(dialog, transaction.origin, request.source, self._limits.allowed_targets)
        resource = self._notify.resource_of(slot)
        facts = self._table.facts(slot)
        until = int(now) + expires_s + self._limits.expires_offset_s
        write = self.key(slot, resource).refresh(
            expires_at=until,
            remote_cseq=request.cseq,
            cseq_mark=facts[6] + CSEQ_STRIDE,
            contact=dialog.contact,
            status=SubscriptionStatus.PENDING if facts[5] else SubscriptionStatus.ACTIVE,
            boot=self._boot,
            target=target,
        )
        self._store.submit(
            [write], partial(self._refreshed, transaction, slot, owner, dialog, target, expires_s, until)
        )

    def _refreshed(
        self,
        transaction: ServerTransaction,
        slot: int,
        owner: int,
        dialog: Dialog,
        target: Target,
        expires_s: int,
        until: int,
        error: StoreError | None,
    ) -> None:
        if error is not None:
            transaction.refuse(Unavailable(headers=(("Retry-After", "5"),)))
        else:
            facts = self._table.facts(slot)
            self._table.refresh(
                slot, expires_at=until, remote_cseq=transaction.request.cseq, cseq_mark=facts[6] + CSEQ_STRIDE
            )
            uri, route = dialog.request_line()
            for usage in self._table.usages(owner):
                self._table.retarget(usage, uri.encode("utf-8", "surrogateescape"), route.encode())
                self._aim(usage, transaction.origin.link, target)
            self._accept(transaction, slot, expires_s)
            self._notify.tell(slot, self._notify.resource_of(slot))
        self._lanes.leave(owner)

    def _unsubscribe(self, transaction: ServerTransaction, slot: int, owner: int) -> None:
        writes = self._removal(slot)
        self._store.submit(writes, partial(self._unsubscribed, transaction, slot, owner))

    def _unsubscribed(
        self, transaction: ServerTransaction, slot: int, owner: int, error: StoreError | None
    ) -> None:
        if error is not None:
            transaction.refuse(Unavailable(headers=(("Retry-After", "5"),)))
        else:
            expires_at = self._table.facts(slot)[9]
            self._table.refresh(
                slot, expires_at=expires_at, remote_cseq=transaction.request.cseq, cseq_mark=0
            )
            self._accept(transaction, slot, 0)
            self.terminate(slot, Input.UNSUBSCRIBED)
        self._lanes.leave(owner)

    # ---- the end ----

    def key(self, slot: int, resource: Resource) -> Key:
        """Return what names the subscription's row in the database."""
        return key_of(
            self._table, slot, resource.presentity, resource.package.name, shared=slot in self.shared
        )

    def _removal(self, slot: int) -> list[Write]:
        writes = [self.key(slot, self._notify.resource_of(slot)).delete()]
        # The dialog's other subscriptions go on with its CSeq: what was reserved must outlive this row.
        facts = self._table.facts(slot)
        for usage in self._table.usages(facts[3]):
            if usage != slot:
                writes.append(self.key(usage, self._notify.resource_of(usage)).reserve(facts[7], self._boot))
        return writes

    def end(self, slot: int, happened: Input) -> None:
        """End a subscription from our side: remove the row, and after the commit tell the watcher."""
        self._lanes.run(self._table.facts(slot)[3], partial(self._end, slot, happened))

    def _end(self, slot: int, happened: Input) -> None:
        owner = self._table.facts(slot)[3] if self._table.state(slot) != "free" else slot
        if self._table.state(slot) not in ("active", "pending"):
            self._lanes.leave(owner)
            return
        self._store.submit(self._removal(slot), partial(self._ended, slot, owner, happened))

    def _ended(self, slot: int, owner: int, happened: Input, error: StoreError | None) -> None:
        if error is None:
            self.terminate(slot, happened)
        else:
            # Not ended for the database, so not ended: tried again when it works.
            self.unfinished.append((slot, happened))
        self._lanes.leave(owner)

    unfinished: list[tuple[int, Input]]

    def terminate(self, slot: int, happened: Input) -> None:
        """Take the subscription out of the table after its row is gone; the watcher hears of it unless it is dead."""
        facts = self._table.facts(slot)
        state = SubscriptionStatus.PENDING if facts[5] else SubscriptionStatus.ACTIVE
        transition = decide_transition(state, happened)
        if transition is None:
            return
        status, event, reason = transition
        resource = self._notify.resource_of(slot)
        self._notify.watcher_changed(resource, self._notify.record(slot, status, event))
        self.strict.pop(slot, None)
        if reason:
            self._notify.finish(slot, resource, reason, body=happened is Input.UNSUBSCRIBED and facts[4] > 0)
        else:
            self._table.release(slot)
            self.forget(slot)
            self._notify.release_unused(resource)

    def forget(self, slot: int) -> None:
        """Drop what is known about a slot that is free again."""
        self.shared.discard(slot)
        self._notify.forget(slot)
        if self.foreign:
            self.foreign = {key: value for key, value in self.foreign.items() if value != slot}
