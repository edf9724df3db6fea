"""The SUBSCRIBE requests that most are, without the detours of the others.

An ordinary one comes over UDP where everybody may watch, has plain addresses and no route, and asks for one usage
in its dialog. What it leads to is the same as in `notifier`; a test compares the two.
"""

from functools import partial

from presence._fastcore import CSEQ_STRIDE, Fanout
from presence.errors import Forbidden, StoreError, Unavailable
from presence.events.package import EventPackage
from presence.policy.decision import ALLOW
from presence.sip.endpoint import ServerTransaction
from presence.store.base import Store
from presence.subscription.book import Book
from presence.subscription.notify import Notify
from presence.subscription.request import Limits, check_bodies, granted_s, until_at
from presence.values import Aor

_ACTIVE = int(ALLOW.status)


class Ordinary:
    """Begins and extends subscriptions without looking twice."""

    def __init__(self, table: Fanout, store: Store, notify: Notify, book: Book, limits: Limits) -> None:
        self._table = table
        self._store = store
        self._notify = notify
        self._book = book
        self._limits = limits

    # ---- a new subscription ----

    def begin(self, transaction: ServerTransaction, package: EventPackage, presentity: Aor, now: float) -> bool:
        """Serve a SUBSCRIBE outside a dialog; False when it is not ordinary."""
        request = transaction.request
        origin = request.origin
        plain = None if origin.flow or request.expires == 0 else request.subscriber()
        if plain is None:
            return False
        local, remote, tag, contact, user, domain, to_user, to_domain, host, port = plain
        expires_s = granted_s(request, package, self._limits)
        check_bodies(request, package)
        if host not in self._limits.allowed_targets:
            raise Forbidden("Contact Address Not Allowed")
        way = self._book.way_to_ipv4(origin.link)
        until = until_at(now, expires_s, self._limits)
        table = self._table
        row_id = self._store.new_id("active_watchers")
        slot = table.reserve()
        # Told with the answer: the To-tag names the row.
        transaction.to_tag = table.to_tag(slot)
        insert = (
            "active_watchers_insert",
            (
                *(row_id, presentity.uri, user, domain, to_user, to_domain, package.name, request.event_id),
                *(transaction.to_tag.decode(), tag, request.call_id, CSEQ_STRIDE, request.cseq, contact, None),
                *(until, _ACTIVE, "", 0, origin.local, table.contact(slot, origin.link).decode(), remote, local),
                *(int(now), f"udp:{host}:{port}", self._book.boot),
            ),
        )
        done = partial(self._begun, transaction, package, presentity, slot, way, row_id, expires_s, until, now)
        self._store.submit((insert,), done)
        return True

    def _begun(
        self,
        transaction: ServerTransaction,
        package: EventPackage,
        presentity: Aor,
        slot: int,
        way: int,
        row_id: int,
        expires_s: int,
        until: int,
        now: float,
        error: StoreError | None,
    ) -> None:
        """Answer a new subscription after its commit."""
        if error is not None:
            self._table.release(slot)
            transaction.to_tag = b""
            transaction.refuse(Unavailable(headers=(("Retry-After", "5"),)))
            return
        resource = self._notify.resource(package, presentity)
        self._table.begin(slot, resource.gid, transaction.request, way, until, int(now), row_id)
        self._accept(transaction, slot, expires_s)
        self._notify.watcher_changed(resource, slot)
        self._notify.tell(slot, resource)

    def _accept(self, transaction: ServerTransaction, slot: int, expires_s: int) -> None:
        contact = self._table.contact(slot, transaction.request.origin.link).decode()
        transaction.accept(f"Expires: {expires_s}\r\nContact: <{contact}>\r\n")

    # ---- a refresh ----

    def extend(self, transaction: ServerTransaction, package: EventPackage, now: float) -> bool:
        """Serve a SUBSCRIBE inside a dialog that changes nothing but the time; False when it is not ordinary."""
        request, lanes = transaction.request, self._book.lanes
        renewal = self._table.renewal(request, request.origin.link) if request.expires != 0 else None
        if renewal is None or not lanes.enter(renewal[0]):
            return False
        slot, group, mark, row_id = renewal
        try:
            expires_s = granted_s(request, package, self._limits)
            check_bodies(request, package)
            until = until_at(now, expires_s, self._limits)
            write = ("active_watchers_extend", (row_id, until, request.cseq, mark, self._book.boot))
            self._store.submit((write,), partial(self._extended, transaction, slot, group, expires_s, until, mark))
        except Exception:
            lanes.leave(slot)
            raise
        return True

    def _extended(
        self,
        transaction: ServerTransaction,
        slot: int,
        group: int,
        expires_s: int,
        until: int,
        mark: int,
        error: StoreError | None,
    ) -> None:
        if error is not None:
            transaction.refuse(Unavailable(headers=(("Retry-After", "5"),)))
        else:
            self._table.refresh(slot, expires_at=until, remote_cseq=transaction.request.cseq, cseq_mark=mark)
            # A NOTIFY that failed meanwhile ends nothing: who refreshes is there.
            self._table.settle(slot)
            self._accept(transaction, slot, expires_s)
            self._notify.tell(slot, self._notify.resource_by(group))
        self._book.lanes.leave(slot)
