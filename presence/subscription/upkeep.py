"""What time and the network do to subscriptions: expiry, failed NOTIFYs, CSeq numbers running out, a restart."""

from collections.abc import Iterator
from functools import partial
from itertools import islice
from typing import NamedTuple

from presence._fastcore import CSEQ_STRIDE, Fanout, restore
from presence.errors import SipError, StoreError
from presence.events.registry import Registry
from presence.policy.decision import ALLOW, Decision, Policy
from presence.store.base import Store, Value
from presence.subscription.admission import decide
from presence.subscription.aiming import Aiming, at_address
from presence.subscription.book import Book
from presence.subscription.dialog import Dialog, Target
from presence.subscription.ending import RETRY_S, Ending
from presence.subscription.machine import REMOVING_RESPONSES, Input
from presence.subscription.notify import Notify, Resource
from presence.subscription.relocating import Relocating
from presence.subscription.restoring import Links, Resources, Routes, read_networks
from presence.subscription.rows import StoredSubscription, read_rows
from presence.subscription.ways import Ways
from presence.values import Aor, SubscriptionStatus

NEVER_ENDS = 0x7FFFFFFF

Row = tuple[Value, ...]

BATCH = 2000
"""Rows read from the database at once."""


class FailurePolicy(NamedTuple):
    """What a failed NOTIFY does to its subscription (RFC 6665 section 4.2.2)."""

    remove_on_timeout: bool
    remove_on_any_failure: bool

    def removes(self, status: int) -> bool:
        """Whether a final response, or 408 for none, ends the subscription."""
        # 430: the flow is gone (RFC 5626 section 11.5), ours to the watcher or an edge proxy's.
        if status in (408, 430):
            return self.remove_on_timeout
        return self.remove_on_any_failure or status in REMOVING_RESPONSES


class Upkeep:
    """Turns what the watcher table reports into changes of subscriptions."""

    def __init__(
        self,
        table: Fanout,
        store: Store,
        notify: Notify,
        book: Book,
        ending: Ending,
        failures: FailurePolicy,
        relocating: Relocating,
    ) -> None:
        self._table = table
        self._store = store
        self._notify = notify
        self._book = book
        self._ending = ending
        self._failures = failures
        self._relocating = relocating
        self._unreserved: list[int] = []
        self._reserve_again_at = 0.0

    def tick(self, now: float) -> None:
        """Handle what the table reported since the last call."""
        # The fourth value is Retry-After in seconds, for "ended" the group the row was in.
        for slot, kind, status, retry_after in self._table.take_events():
            if kind == "ended":
                self._notify.individual.forget(slot)
                self._notify.ended(slot, retry_after)
            elif self._table.state(slot) == "free":
                continue
            elif kind == "want":
                self._notify.offer_wanted(slot, now)
            elif kind == "expired":
                self._ending.end(slot, Input.EXPIRED, now)
            elif kind == "failed":
                self._failed(slot, status, retry_after, now)
            elif kind == "reserve":
                self._reserve(slot)
        self._ending.tick(now)
        if self._unreserved and now >= self._reserve_again_at:
            self._reserve_again_at = now + RETRY_S
            unreserved, self._unreserved = self._unreserved, []
            for slot in unreserved:
                if self._table.state(slot) != "free":
                    self._reserve(slot)

    def _failed(self, slot: int, status: int, retry_after: int, now: float) -> None:
        if self._table.flight(slot) != "failed":
            return
        self._notify.individual.lost(slot)
        if self._table.unproven(slot):
            self._lost_unproven(slot, status, now)
        elif retry_after and status not in REMOVING_RESPONSES:
            self._table.retry(slot, now + retry_after)
        elif self._relocating.try_elsewhere(slot, status, now):
            return
        elif self._failures.removes(status):
            self._ending.end(slot, Input.NOTIFY_FAILED, now)
        else:
            self._table.settle(slot)

    def _lost_unproven(self, slot: int, status: int, now: float) -> None:
        """Go on with who did not ask for the NOTIFY that failed."""
        if not self._table.asked(slot) and status == 408:
            # It went to the target before this one.
            self._table.settle(slot)
        elif self._table.asked(slot) or not self._relocating.try_elsewhere(slot, status, now):
            # Its one NOTIFY got no answer, and there is no other.
            self._ending.end(slot, Input.NOTIFY_FAILED, now)

    def _reserve(self, slot: int) -> None:
        facts = self._table.facts(slot)
        mark = facts.cseq + 2 * CSEQ_STRIDE
        writes = [self._book.key(usage).reserve(mark, self._book.boot) for usage in self._table.usages(facts.owner)]
        if writes:
            self._store.submit(writes, partial(self._reserved, slot, self._table.to_tag(slot), mark))
        else:
            # Only final NOTIFYs are left in this dialog; their rows are gone already.
            self._table.reserved(slot, NEVER_ENDS)

    def _reserved(self, slot: int, to_tag: bytes, mark: int, error: StoreError | None) -> None:
        if self._table.state(slot) == "free" or self._table.to_tag(slot) != to_tag:
            # Nothing was reserved for the dialog that has the slot by now.
            return
        if error is None:
            self._table.reserved(slot, mark)
        else:
            # Its NOTIFYs are held back until a restart could go on above them.
            self._unreserved.append(slot)


class Restorer:
    """Takes over the subscriptions the database holds, also those that expired while the server was down."""

    def __init__(
        self,
        table: Fanout,
        store: Store,
        notify: Notify,
        book: Book,
        registry: Registry,
        policy: Policy,
        ending: Ending,
        *,
        ways: Ways,
        aiming: Aiming,
    ) -> None:
        self._table = table
        self._store = store
        self._notify = notify
        self._book = book
        self._registry = registry
        self._policy = policy
        self._ending = ending
        self._ways = ways
        self._aiming = aiming
        self.sources: dict[int, str] = {}
        """Who asked for the subscriptions whose target is another, by slot."""

    def load(self, now: float) -> tuple[int, int]:
        """Load every row and queue a NOTIFY for each; return how many were taken and how many could not be."""
        taken = refused = 0
        ordinary = partial(
            restore,
            self._table,
            groups=Resources(self._notify, self._registry, self._policy),
            links=Links(self._ways),
            routes=Routes(),
            networks=read_networks(self._aiming.allowed),
            boot=self._book.boot,
        )
        for query, shared in (("active_watchers_load", False), ("shared_watchers_load", True)):
            rows = self._store.read(query)
            while batch := list(islice(rows, BATCH)):
                left = batch if shared else ordinary(batch)
                taken += len(batch) - len(left)
                for row in read_rows(iter(left) if shared else self._read_whole(left)):
                    try:
                        self._restore(row, now, shared=shared)
                        taken += 1
                    except (SipError, ValueError, TypeError, AttributeError, OverflowError):
                        refused += 1
        self._notify.changed_all(now)
        return taken, refused

    def load_asserted(self) -> None:
        """Know again for whom trusted peers subscribed where From names another (RFC 3325)."""
        for callid, to_tag, from_tag, username, domain in self._store.read("active_watchers_asserted"):
            owner = self._book.find_dialog(str(callid), str(to_tag), str(from_tag))
            watcher = Aor(str(username), str(domain))
            named = self._book.watcher(owner) if owner else watcher
            if named != watcher:
                # RFC 3323 section 4.1.1.3: the From of who wants to be anonymous to users.
                self._book.adopt_watcher(owner, watcher, private=named.domain == "anonymous.invalid")

    def _read_whole(self, left: list[Row]) -> Iterator[Row]:
        """Read all columns of the rows that the compiled loader left: most often there are none, so it asks for few."""
        if not left:
            return iter(())
        wanted = {row[0] for row in left}
        rows = self._store.read("active_watchers_get", (left[0][0], left[-1][0]))
        return (row for row in rows if row[0] in wanted)

    def _restore(self, row: StoredSubscription, now: float, *, shared: bool) -> None:
        package = self._registry.get(row.event)
        if package is None or row.status not in (SubscriptionStatus.ACTIVE, SubscriptionStatus.PENDING):
            raise ValueError("not a running subscription of a package served here")
        dialog, target, presentity = row.dialog(), self._target(row), row.presentity
        link = self._ways.choose(self._ways.find(row.socket_info), target)
        if link is None:
            raise ValueError("no listener reaches the target")
        owner = self._book.find_dialog(row.callid, row.to_tag, row.from_tag) if shared else 0
        slot = self._table.reserve() if owner else self._table.reserve_tagged(row.to_tag.encode())
        foreign = slot == 0 or self._book.foreign_tag(owner) != ""
        slot = slot or self._table.reserve()
        resource = self._notify.resource(package, presentity)
        # Decided anew: who was let in meanwhile is in, who was not is told so.
        decision = decide(self._policy, package, presentity, Aor(row.watcher_username, row.watcher_domain))
        try:
            self._fill(slot, resource, row, dialog, owner, decision, foreign=foreign)
        except Exception:
            self._table.release(slot)
            self._notify.release_unused(resource)
            raise
        self._book.aim(slot, link, target)
        if target.source:
            self.sources[slot] = target.source
        if foreign and not owner:
            self._book.adopt(slot, row.callid, row.to_tag, row.from_tag)
        self._book.note(slot, dialog, shared=shared)
        if resource.narrator is not None:
            self._notify.individual.restore_version(slot, row.reached_cseq(self._book.boot))
        if decision.status is SubscriptionStatus.TERMINATED:
            self._ending.end(slot, Input.REJECTED, now)
        elif package.authorised and row.status != decision.status:
            # The server went down between two decisions, or the rules were changed meanwhile.
            self._store.submit([self._book.key(slot).judge(decision.status, decision.reason)], lambda error: None)

    def _fill(
        self,
        slot: int,
        resource: Resource,
        row: StoredSubscription,
        dialog: Dialog,
        owner: int,
        decision: Decision,
        *,
        foreign: bool,
    ) -> None:
        reached = row.reached_cseq(self._book.boot)
        # The table makes no SIPS URI.
        kept_contact = row.local_contact if foreign or row.local_contact.startswith("sips:") else ""
        pending = row.status == SubscriptionStatus.PENDING
        if resource.package.authorised or decision != ALLOW:
            pending = decision.status is not SubscriptionStatus.ACTIVE
        self._table.fill(
            slot,
            resource.gid,
            dialog.parts(row.event_id, row.to_tag if foreign else "", kept_contact),
            owner=owner,
            remote_cseq=row.remote_cseq,
            cseq=reached,
            cseq_mark=reached + CSEQ_STRIDE,
            # The table takes 0 for "has expired already".
            expires_at=max(1, row.expires),
            pending=pending,
            view=self._notify.show(resource, decision),
            subscribed_at=row.subscribed_at or 0,
            row_id=row.id,
        )

    def _target(self, row: StoredSubscription) -> Target:
        hop = row.dialog().hop()
        if row.target:
            target = Target.parse(row.target)
        elif hop.is_address:
            # Another server's row.
            target = at_address(hop, hop.host)
        elif not self._aiming.names:
            raise ValueError("a host name, and names are not looked up")
        else:
            # Looked up when there is something to send.
            target = Target(hop.fallback, "0.0.0.0" if self._ways.reaches(hop.fallback, False) else "::", 0)
        if target.port and target.host not in self._aiming.allowed:
            raise ValueError("the target's address is not allowed")
        if not 0 <= target.port <= 0xFFFF:
            raise ValueError("no such port")
        name = "" if hop.is_address else hop.host
        return target._replace(explicit=at_address(hop, target.host).explicit, name=name)
