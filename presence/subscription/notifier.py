"""The notifier (RFC 6665 section 4.2): subscriptions made, refreshed and ended, each answered after its commit."""

from functools import partial

from presence._fastcore import CSEQ_STRIDE, Fanout
from presence.errors import (
    BadEvent,
    Forbidden,
    NotFound,
    OutOfOrder,
    StoreError,
    Unavailable,
    UnknownSubscription,
)
from presence.events.package import EventPackage
from presence.events.registry import Registry
from presence.policy.decision import ALLOW, BLOCK, OPEN, Decision, Policy
from presence.sip.endpoint import ServerTransaction
from presence.sip.headers import read_address, read_aor
from presence.store.base import Store, Write
from presence.subscription.book import Book
from presence.subscription.dialog import (
    Dialog,
    Target,
    choose_target,
    read_contact,
    read_dialog,
    watcher_of,
)
from presence.subscription.ending import Ending
from presence.subscription.machine import Input
from presence.subscription.notify import Notify, Resource
from presence.subscription.request import (
    Draft,
    Limits,
    Renewal,
    check_bodies,
    granted_s,
    until_at,
)
from presence.values import Aor, SubscriptionStatus, WatcherEvent


class Notifier:
    """Takes SUBSCRIBE requests and keeps the rows of the watcher table and of the database in step."""

    def __init__(
        self,
        registry: Registry,
        table: Fanout,
        store: Store,
        policy: Policy,
        notify: Notify,
        book: Book,
        ending: Ending,
        limits: Limits,
    ) -> None:
        self._registry = registry
        self._table = table
        self._store = store
        self._policy = policy
        self._notify = notify
        self._book = book
        self._ending = ending
        self._limits = limits

    # ---- requests ----

    def handle_subscribe(self, transaction: ServerTransaction, now: float) -> None:
        """Serve a SUBSCRIBE (RFC 6665 section 4.2.1)."""
        request = transaction.request
        package = self._registry.get(request.event)
        if package is None:
            raise BadEvent(headers=(("Allow-Events", ", ".join(self._registry.names)),))
        if request.to_tag:
            self._inside_dialog(transaction, package, now)
            return
        presentity = read_address(request)
        if self._limits.domains and presentity.domain not in self._limits.domains:
            raise NotFound
        self._begin(transaction, package, presentity, read_dialog(request), 0, now)

    def _inside_dialog(self, transaction: ServerTransaction, package: EventPackage, now: float) -> None:
        owner = self._book.find(transaction.request)
        if not owner:
            raise UnknownSubscription
        self._book.lanes.run(owner, partial(self._attempt, transaction, package, owner, now))

    def _attempt(self, transaction: ServerTransaction, package: EventPackage, owner: int, now: float) -> None:
        try:
            self._continue(transaction, package, owner, now)
        except Exception as error:
            transaction.refuse(error)
            self._book.lanes.leave(owner)

    def _continue(self, transaction: ServerTransaction, package: EventPackage, owner: int, now: float) -> None:
        """Serve a SUBSCRIBE inside a dialog; the lane is left when its commit is done."""
        request = transaction.request
        # The dialog may have ended while this request waited for its turn.
        usages = self._table.usages(owner) if self._book.find(request) == owner else []
        if not usages:
            raise UnknownSubscription
        # RFC 3261 section 12.2.2; an equal number in a new transaction is no newer request either.
        if request.cseq <= self._table.facts(owner).remote_cseq:
            raise OutOfOrder
        slot = self._table.usage(owner, package.name.encode(), request.event_id.encode("utf-8", "surrogateescape"))
        if not slot:
            if request.expires == 0:
                raise UnknownSubscription
            resource = self._notify.resource_of(usages[0])
            dialog = self._book.dialog(owner, read_contact(request))
            self._begin(transaction, package, resource.presentity, dialog, owner, now)
            return
        if granted_s(request, package, self._limits) == 0:
            self._unsubscribe(transaction, slot, owner)
        else:
            self._refresh(transaction, package, slot, owner, now)

    def _decide(self, package: EventPackage, presentity: Aor, watcher: Aor) -> Decision:
        if package.authorised:
            return self._policy.decide(presentity, watcher, package.name)
        if package.watches and self._policy is not OPEN and presentity != watcher:
            # RFC 3857 section 4.6: who watches is told to the presentity only.
            return BLOCK
        return ALLOW

    def _target(self, dialog: Dialog, transaction: ServerTransaction) -> Target:
        dialog.check_size(transaction.request.event_id)
        source = transaction.request.source
        target = choose_target(dialog, transaction.origin, source, self._limits.allowed_targets)
        self._book.way(transaction.origin.link, target)
        return target

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
        expires_s = granted_s(request, package, self._limits)
        check_bodies(request, package)
        watcher = watcher_of(dialog)
        decision = self._decide(package, presentity, watcher)
        if decision.status is SubscriptionStatus.TERMINATED:
            raise Forbidden
        target = self._target(dialog, transaction)
        row_id = 0
        if expires_s:
            row_id = self._store.new_id("shared_watchers" if owner else "active_watchers")
        slot = self._table.reserve()
        until = until_at(now, expires_s, self._limits)
        draft = Draft(
            transaction,
            package,
            presentity,
            dialog,
            watcher,
            decision,
            target,
            slot,
            owner,
            expires_s,
            row_id,
            until,
            now,
        )
        # The first row of a dialog names it.
        transaction.to_tag = self._table.to_tag(owner or slot)
        if expires_s == 0:
            # A fetch (RFC 6665 section 4.4.3): nothing to store, nothing to wait for.
            self._begun(draft, None)
            return
        try:
            self._store.submit(self._rows(draft), partial(self._begun, draft))
        except Exception:
            # A To without a host, for one.
            self._table.release(slot)
            transaction.to_tag = b""
            raise

    def _rows(self, draft: Draft) -> tuple[Write, ...]:
        request, origin = draft.transaction.request, draft.transaction.origin
        dialog, watcher, to = draft.dialog, draft.watcher, read_aor(draft.dialog.local)
        insert = (
            "shared_watchers_insert" if draft.owner else "active_watchers_insert",
            (
                draft.row_id,
                draft.presentity.uri,
                watcher.username,
                watcher.domain,
                to.username,
                to.domain,
                draft.package.name,
                request.event_id,
                draft.transaction.to_tag.decode(),
                dialog.remote_tag,
                dialog.call_id,
                CSEQ_STRIDE,
                request.cseq,
                dialog.contact,
                ", ".join(dialog.route) or None,
                draft.until,
                int(draft.decision.status),
                draft.decision.reason,
                0,
                origin.local,
                self._table.contact(draft.slot, origin.link).decode(),
                dialog.remote,
                dialog.local,
                int(draft.now),
                str(draft.target),
                self._book.boot,
            ),
        )
        if not draft.package.authorised or self._policy is OPEN:
            return (insert,)
        asked = (draft.presentity.uri, watcher.username, watcher.domain, draft.package.name)
        put = ("watchers_put", (*asked, int(draft.decision.status), draft.decision.reason, int(draft.now)))
        return (insert, put)

    def _begun(self, draft: Draft, error: StoreError | None) -> None:
        """Answer a new subscription after its commit."""
        transaction, slot = draft.transaction, draft.slot
        resource = self._notify.resource(draft.package, draft.presentity)
        if error is None:
            try:
                self._fill(draft, resource)
            except ValueError as too_long:
                error = StoreError(str(too_long))
        if error is not None:
            self._table.release(slot)
            self._notify.release_unused(resource)
            transaction.to_tag = b""
            transaction.refuse(Unavailable(headers=(("Retry-After", "5"),)))
        else:
            self._accept(transaction, slot, draft.expires_s)
            if draft.expires_s == 0:
                self._notify.finish(slot, resource, "timeout", body=draft.decision.view > 0)
                self._book.forget(slot, slot)
                self._notify.release_unused(resource)
            else:
                self._notify.watcher_changed(resource, slot)
                self._notify.tell(slot, resource)
        if draft.owner:
            self._book.lanes.leave(draft.owner)

    def _fill(self, draft: Draft, resource: Resource) -> None:
        request, dialog, slot = draft.transaction.request, draft.dialog, draft.slot
        local_tag = self._book.foreign_tag(draft.owner) if draft.owner else ""
        self._table.fill(
            slot,
            resource.gid,
            dialog.parts(request.event_id, local_tag),
            owner=draft.owner,
            remote_cseq=request.cseq,
            # A fetch is not in the database: it never has to reserve CSeq numbers.
            cseq_mark=CSEQ_STRIDE if draft.expires_s else 0x7FFFFFFF,
            expires_at=draft.until,
            pending=draft.decision.status is SubscriptionStatus.PENDING,
            view=draft.decision.view,
            subscribed_at=int(draft.now),
            row_id=draft.row_id,
        )
        self._book.aim(slot, draft.transaction.origin.link, draft.target)
        self._book.note(slot, dialog, shared=bool(draft.owner))

    def _accept(self, transaction: ServerTransaction, slot: int, expires_s: int) -> None:
        contact = self._table.contact(slot, transaction.origin.link).decode("utf-8", "surrogateescape")
        if contact.isprintable():
            transaction.accept(f"Expires: {expires_s}\r\nContact: <{contact}>\r\n")
        else:
            # Another server's, out of the database.
            transaction.reply(200, (("Expires", str(expires_s)), ("Contact", f"<{contact}>")))

    # ---- refresh, unsubscribe ----

    def _refresh(
        self, transaction: ServerTransaction, package: EventPackage, slot: int, owner: int, now: float
    ) -> None:
        request = transaction.request
        expires_s = granted_s(request, package, self._limits)
        check_bodies(request, package)
        dialog = self._book.dialog(owner, read_contact(request))
        target = self._target(dialog, transaction)
        resource = self._notify.resource_of(slot)
        # RFC 6665 section 4.2.1.4: "assuming that the subscriber is still authorized".
        decision = self._decide(package, resource.presentity, watcher_of(dialog))
        if decision.status is SubscriptionStatus.TERMINATED:
            self._store.submit(self._book.removal(slot), partial(self._expelled, transaction, slot, owner))
            return
        facts = self._table.facts(slot)
        until = until_at(now, expires_s, self._limits)
        # Never below what is reserved: the dialog's other subscriptions may have used of it.
        mark = max(facts.cseq + CSEQ_STRIDE, facts.cseq_mark)
        write = self._book.key(slot).refresh(
            expires_at=until,
            remote_cseq=request.cseq,
            cseq_mark=mark,
            contact=dialog.contact,
            status=decision.status,
            reason=decision.reason,
            boot=self._book.boot,
            target=target,
        )
        others = [usage for usage in self._table.usages(owner) if usage != slot]
        writes = [write, *(self._book.key(usage).reserve(mark, self._book.boot) for usage in others)]
        self._store.submit(
            writes,
            partial(
                self._refreshed,
                Renewal(transaction, slot, owner, dialog, target, decision, expires_s, until, mark),
            ),
        )

    def _expelled(self, transaction: ServerTransaction, slot: int, owner: int, error: StoreError | None) -> None:
        if error is not None:
            transaction.refuse(Unavailable(headers=(("Retry-After", "5"),)))
        else:
            transaction.refuse(Forbidden())
            self._ending.terminate(slot, Input.REJECTED)
        self._book.lanes.leave(owner)

    def _admit(self, slot: int, decision: Decision) -> None:
        """Let a running subscription have what the policy says now, and tell the presentity of an approval."""
        was_pending = self._table.facts(slot).pending
        pending = decision.status is SubscriptionStatus.PENDING
        self._table.admit(slot, pending=pending, view=decision.view)
        if was_pending and not pending:
            resource = self._notify.resource_of(slot)
            self._notify.watcher_changed(resource, slot, SubscriptionStatus.ACTIVE, WatcherEvent.APPROVED)

    def _refreshed(self, renewal: Renewal, error: StoreError | None) -> None:
        transaction, slot, owner = renewal.transaction, renewal.slot, renewal.owner
        if error is not None:
            transaction.refuse(Unavailable(headers=(("Retry-After", "5"),)))
        else:
            self._table.refresh(
                slot,
                expires_at=renewal.until,
                remote_cseq=transaction.request.cseq,
                cseq_mark=renewal.mark,
            )
            self._admit(slot, renewal.decision)
            # A NOTIFY that failed meanwhile ends nothing: who refreshes is there.
            self._table.settle(slot)
            self._retarget(owner, renewal.dialog, renewal.target, transaction.origin.link)
            self._accept(transaction, slot, renewal.expires_s)
            self._notify.tell(slot, self._notify.resource_of(slot))
        self._book.lanes.leave(owner)

    def _retarget(self, owner: int, dialog: Dialog, target: Target, link: int) -> None:
        """Move the dialog's NOTIFYs to its new remote target (RFC 3261 section 12.2.2)."""
        uri, route = (text.encode("utf-8", "surrogateescape") for text in dialog.request_line())
        for usage in self._table.usages(owner):
            self._table.retarget(usage, uri, route)
            self._book.aim(usage, link, target)

    def _unsubscribe(self, transaction: ServerTransaction, slot: int, owner: int) -> None:
        moved = None
        if transaction.request.values("Contact"):
            dialog = self._book.dialog(owner, read_contact(transaction.request))
            moved = (dialog, self._target(dialog, transaction))
        writes = self._book.removal(slot)
        self._store.submit(writes, partial(self._unsubscribed, transaction, slot, owner, moved))

    def _unsubscribed(
        self,
        transaction: ServerTransaction,
        slot: int,
        owner: int,
        moved: tuple[Dialog, Target] | None,
        error: StoreError | None,
    ) -> None:
        if error is not None:
            transaction.refuse(Unavailable(headers=(("Retry-After", "5"),)))
        else:
            if moved is not None:
                self._retarget(owner, *moved, transaction.origin.link)
            expires_at = self._table.facts(slot).expires_at
            self._table.refresh(slot, expires_at=expires_at, remote_cseq=transaction.request.cseq, cseq_mark=0)
            self._accept(transaction, slot, 0)
            self._ending.terminate(slot, Input.UNSUBSCRIBED)
        self._book.lanes.leave(owner)
