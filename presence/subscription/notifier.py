"""The notifier (RFC 6665 section 4.2): subscriptions made, refreshed and ended, each answered after its commit."""

import re
from functools import partial

from presence._fastcore import CSEQ_STRIDE, Fanout, Message
from presence.errors import (
    BadEvent,
    Forbidden,
    NotFound,
    OutOfOrder,
    StoreError,
    Unavailable,
    UnknownSubscription,
)
from presence.events.package import EventPackage, addressing
from presence.events.registry import Registry
from presence.policy.decision import Policy
from presence.sip.endpoint import ServerTransaction
from presence.sip.headers import parse_uri, read_address
from presence.sip.location import Trouble
from presence.sip.resolution import Resolver
from presence.store.base import Store, Write
from presence.subscription.admission import Admission, NotLocated
from presence.subscription.beginning import Beginning
from presence.subscription.book import Book
from presence.subscription.dialog import (
    Dialog,
    Target,
    read_contact,
    read_dialog,
)
from presence.subscription.ending import Ending
from presence.subscription.machine import Input
from presence.subscription.notify import Notify
from presence.subscription.proof import Proof
from presence.subscription.quota import Quota
from presence.subscription.request import (
    Limits,
    Renewal,
    granted_s,
    read_selection,
    until_at,
)
from presence.subscription.verdicts import Verdicts
from presence.values import Aor, SubscriptionStatus

_OUR_USER = re.compile(r"sips?:~[0-9a-f]{10}[.@]", re.IGNORECASE)
"""How our Contact begins; other GRUUs name their user (RFC 5627 section 3.1)."""


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
        quota: Quota,
        proof: Proof,
        resolver: Resolver | None = None,
    ) -> None:
        self._registry = registry
        self._table = table
        self._store = store
        self._notify = notify
        self._book = book
        self._ending = ending
        self._limits = limits
        self._verdicts = Verdicts(table, notify, ending.giveup)
        self._admission = Admission(table, policy, book, limits, proof, resolver)
        self._beginning = Beginning(table, store, notify, book, self._admission, quota, ending)

    # ---- requests ----

    def handle_subscribe(self, transaction: ServerTransaction, now: float) -> None:
        """Serve a SUBSCRIBE (RFC 6665 section 4.2.1)."""
        request = transaction.request
        package = self._registry.get(request.event)
        if package is None:
            raise BadEvent(headers=(("Allow-Events", ", ".join(self._registry.allowed)),))
        if request.to_tag:
            self._inside_dialog(transaction, package, now)
            return
        presentity = self._presentity(request, package)
        try:
            self._beginning.begin(transaction, package, presentity, read_dialog(request), 0, now)
        except NotLocated as missing:
            self._admission.look_up(missing, transaction, partial(self._resume, transaction))

    def _resume(self, transaction: ServerTransaction, now: float) -> None:
        try:
            self.handle_subscribe(transaction, now)
        except Exception as error:
            transaction.refuse(error)

    def _presentity(self, request: Message, package: EventPackage) -> Aor:
        """Return whom a SUBSCRIBE outside a dialog asks about; raises NotFound and BadRequest."""
        if ";gr=" in request.uri and _OUR_USER.match(request.uri):
            # Our Contact of another dialog: the same device, so the same resource (RFC 6665 section 4.5.1).
            uri = parse_uri(request.uri)
            key = uri.params.get("gr", "")
            slot = self._table.find_gruu(uri.user.encode(), key.encode("utf-8", "surrogateescape"))
            if not slot:
                raise NotFound
            return self._notify.resource_of(slot).presentity
        asks = addressing(package)
        home = self._limits.home
        presentity = read_address(request, home) if asks is None else asks.subscribed(request, home)
        if self._limits.domains and presentity.domain not in self._limits.domains:
            raise NotFound
        return presentity

    def _inside_dialog(self, transaction: ServerTransaction, package: EventPackage, now: float) -> None:
        owner = self._book.find(transaction.request)
        if not owner:
            raise UnknownSubscription
        self._book.lanes.run(owner, partial(self._attempt, transaction, package, owner, now))

    def _attempt(self, transaction: ServerTransaction, package: EventPackage, owner: int, now: float) -> None:
        try:
            self._continue(transaction, package, owner, now)
        except NotLocated as missing:
            # The lane stays taken: what came later waits.
            self._admission.look_up(missing, transaction, partial(self._attempt, transaction, package, owner))
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
        watcher, identity = self._book.watcher(owner), request.identity
        if identity is not None and identity.aor != watcher:
            raise Forbidden("Not the Watcher of This Dialog")
        # RFC 3261 section 12.2.2; an equal number in a new transaction is no newer request either.
        if request.cseq <= self._table.facts(owner).remote_cseq:
            raise OutOfOrder
        slot = self._table.usage(owner, package.name.encode(), request.event_id.encode("utf-8", "surrogateescape"))
        if not slot:
            if request.expires == 0:
                raise UnknownSubscription
            resource = self._notify.resource_of(usages[0])
            dialog = self._book.dialog(owner, read_contact(request))
            self._beginning.begin(transaction, package, resource.presentity, dialog, owner, now)
            return
        if granted_s(request, package, self._limits) == 0:
            self._unsubscribe(transaction, slot, owner)
        else:
            self._refresh(transaction, package, slot, owner, now)

    # ---- refresh, unsubscribe ----

    def _refresh(
        self, transaction: ServerTransaction, package: EventPackage, slot: int, owner: int, now: float
    ) -> None:
        request = transaction.request
        expires_s = granted_s(request, package, self._limits)
        kept = self._notify.individual.selections.get(slot, b"")
        selection = read_selection(request, package, kept)
        dialog = self._book.dialog(owner, read_contact(request))
        target = self._admission.target(dialog, transaction, slot)
        resource = self._notify.resource_of(slot)
        # RFC 6665 section 4.2.1.4: "assuming that the subscriber is still authorized".
        decision = self._admission.decide(package, resource.presentity, self._book.watcher(owner))
        facts = self._table.facts(slot)
        over = None
        if decision.status is SubscriptionStatus.TERMINATED:
            over = self._ending.refusal(decision)
        elif facts.pending and decision.status is SubscriptionStatus.PENDING and self._ending.giveup.is_over(slot, now):
            over = Input.GAVE_UP
        known: list[Write] = []
        if package.authorised and not self._verdicts.stands(slot, decision):
            policy = self._admission.policy
            known = policy.record(resource.presentity, self._book.watcher(owner), package.name, decision, now)
        if over is not None:
            writes = [*self._ending.removal(slot, over), *known]
            self._store.submit(writes, partial(self._expelled, transaction, slot, owner, over))
            return
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
        writes = [write, *known, *(self._book.key(usage).reserve(mark, self._book.boot) for usage in others)]
        if selection != kept:
            writes.append(self._book.key(slot).keep(selection))
        self._store.submit(
            writes,
            partial(
                self._refreshed,
                Renewal(transaction, slot, owner, dialog, target, decision, expires_s, until, mark, selection),
            ),
        )

    def _expelled(
        self, transaction: ServerTransaction, slot: int, owner: int, happened: Input, error: StoreError | None
    ) -> None:
        if error is not None:
            transaction.refuse(Unavailable())
        else:
            if happened is Input.REJECTED:
                transaction.refuse(Forbidden())
            else:
                # RFC 6665 section 3.1.1: the duration may be shortened to zero.
                self._admission.accept(transaction, slot, 0)
            self._table.withdraw(slot)
            self._ending.terminate(slot, happened)
        self._book.lanes.leave(owner)

    def _refreshed(self, renewal: Renewal, error: StoreError | None) -> None:
        transaction, slot, owner = renewal.transaction, renewal.slot, renewal.owner
        if error is not None:
            transaction.refuse(Unavailable())
        else:
            self._table.refresh(
                slot,
                expires_at=renewal.until,
                remote_cseq=transaction.request.cseq,
                cseq_mark=renewal.mark,
            )
            if renewal.selection:
                self._notify.individual.selections[slot] = renewal.selection
            self._verdicts.apply(slot, renewal.decision)
            self._notify.on_admitted(slot)
            # A NOTIFY that failed meanwhile ends nothing: who refreshes is there.
            self._table.settle(slot)
            self._retarget(owner, renewal.dialog, renewal.target, transaction.origin.link)
            self._admission.accept(transaction, slot, renewal.expires_s)
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
        # It ends even if nobody can say where its new Contact is.
        if transaction.request.values("Contact") and not isinstance(transaction.located, Trouble):
            dialog = self._book.dialog(owner, read_contact(transaction.request))
            moved = (dialog, self._admission.target(dialog, transaction, slot))
        writes = self._ending.removal(slot, Input.UNSUBSCRIBED)
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
            transaction.refuse(Unavailable())
        else:
            if moved is not None:
                self._retarget(owner, *moved, transaction.origin.link)
            expires_at = self._table.facts(slot).expires_at
            self._table.refresh(slot, expires_at=expires_at, remote_cseq=transaction.request.cseq, cseq_mark=0)
            self._admission.accept(transaction, slot, 0)
            self._ending.terminate(slot, Input.UNSUBSCRIBED)
        self._book.lanes.leave(owner)
