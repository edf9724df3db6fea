"""A new subscription, or a fetch: from SUBSCRIBE through the commit to the first NOTIFY (RFC 6665 section 4.2.1)."""

from functools import partial

from presence._fastcore import CSEQ_STRIDE, Fanout
from presence.errors import Forbidden, StoreError, Unavailable
from presence.events.package import EventPackage
from presence.policy.decision import Decision
from presence.sip.endpoint import ServerTransaction
from presence.sip.headers import read_aor
from presence.store.base import Store, Write
from presence.subscription.admission import Admission
from presence.subscription.book import Book
from presence.subscription.dialog import Dialog, watcher_of
from presence.subscription.notify import Notify, Resource
from presence.subscription.quota import Quota
from presence.subscription.request import Draft, check_bodies, granted_s, until_at
from presence.values import Aor, SubscriptionStatus


class Beginning:
    """Makes subscriptions, each answered after its commit."""

    def __init__(
        self, table: Fanout, store: Store, notify: Notify, book: Book, admission: Admission, quota: Quota
    ) -> None:
        self._table = table
        self._store = store
        self._notify = notify
        self._book = book
        self._admission = admission
        self._quota = quota

    def begin(
        self,
        transaction: ServerTransaction,
        package: EventPackage,
        presentity: Aor,
        dialog: Dialog,
        owner: int,
        now: float,
    ) -> None:
        """Serve a SUBSCRIBE that makes a subscription, in its own dialog or in that of `owner`; raises SipError."""
        request = transaction.request
        expires_s = granted_s(request, package, self._admission.limits)
        check_bodies(request, package)
        watcher = self._book.watcher(owner) if owner else watcher_of(dialog, request.identity)
        decision = self._admission.decide(package, presentity, watcher)
        if decision.status is SubscriptionStatus.TERMINATED:
            self._store.submit(self._record(package, presentity, watcher, decision, now), lambda error: None)
            raise Forbidden
        target = self._admission.target(dialog, transaction, owner, begins=True)
        self._quota.check(request, package.name, *presentity)
        row_id = 0
        if expires_s:
            row_id = self._store.new_id("shared_watchers" if owner else "active_watchers")
        until = until_at(now, expires_s, self._admission.limits)
        who = (transaction, package, presentity, dialog, watcher, decision, target)
        slot = self._table.reserve()
        if owner:
            own_contact = self._book.kept_contact(owner)
        else:
            secure = dialog.is_secure(request.uri)
            own_contact = self._book.secure_contact(slot, transaction.origin.link) if secure else ""
        self._submit(Draft(*who, slot, owner, expires_s, row_id, until, now, own_contact))

    def _submit(self, draft: Draft) -> None:
        transaction, slot = draft.transaction, draft.slot
        self._quota.enter(slot, transaction.request, draft.package.name, *draft.presentity)
        if draft.target.source:
            # Counted before the commit: what comes meanwhile may name the same address.
            self._book.aim(slot, transaction.origin.link, draft.target)
        # The first row of a dialog names it.
        transaction.to_tag = self._table.to_tag(draft.owner or slot)
        if draft.expires_s == 0:
            # A fetch (RFC 6665 section 4.4.3): nothing to store, nothing to wait for.
            self._begun(draft, None)
            return
        try:
            self._store.submit(self._rows(draft), partial(self._begun, draft))
        except Exception:
            # A To without a host, for one.
            self._release(slot)
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
                draft.own_contact or self._table.contact(draft.slot, origin.link).decode(),
                dialog.remote,
                dialog.local,
                int(draft.now),
                str(draft.target),
                self._book.boot,
            ),
        )
        return (insert, *self._record(draft.package, draft.presentity, watcher, draft.decision, draft.now))

    def _record(
        self, package: EventPackage, presentity: Aor, watcher: Aor, decision: Decision, now: float
    ) -> list[Write]:
        """Return what table `watchers` is to say of a decision."""
        return (
            self._admission.policy.record(presentity, watcher, package.name, decision, now)
            if package.authorised
            else []
        )

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
            self._release(slot)
            self._notify.release_unused(resource)
            transaction.to_tag = b""
            transaction.refuse(Unavailable())
        else:
            self._admission.accept(transaction, slot, draft.expires_s)
            if draft.expires_s == 0:
                self._notify.finish(slot, resource, "timeout", body=draft.decision.view > 0)
                self._book.forget(slot, slot)
                self._notify.release_unused(resource)
            else:
                self._notify.watcher_changed(resource, slot)
                self._notify.tell(slot, resource)
                self._notify.on_admitted(slot)
        if draft.owner:
            self._book.lanes.leave(draft.owner)

    def _release(self, slot: int) -> None:
        self._quota.leave(slot)
        self._table.release(slot)

    def _fill(self, draft: Draft, resource: Resource) -> None:
        request, dialog, slot = draft.transaction.request, draft.dialog, draft.slot
        local_tag = self._book.foreign_tag(draft.owner) if draft.owner else ""
        self._table.fill(
            slot,
            resource.gid,
            dialog.parts(request.event_id, local_tag, draft.own_contact),
            owner=draft.owner,
            remote_cseq=request.cseq,
            # A fetch is not in the database: it never has to reserve CSeq numbers.
            cseq_mark=CSEQ_STRIDE if draft.expires_s else 0x7FFFFFFF,
            expires_at=draft.until,
            pending=draft.decision.status is SubscriptionStatus.PENDING,
            view=self._notify.show(resource, draft.decision),
            subscribed_at=int(draft.now),
            row_id=draft.row_id,
        )
        self._book.aim(slot, draft.transaction.origin.link, draft.target)
        self._book.note(slot, dialog, shared=bool(draft.owner))
        if request.identity is not None and not draft.owner and draft.watcher != watcher_of(dialog):
            self._book.adopt_watcher(slot, draft.watcher, private=request.identity.private)
