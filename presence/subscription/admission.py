"""Whether a SUBSCRIBE may have what it asks for, where its NOTIFYs go, and the 200 it gets."""

from collections.abc import Callable

from presence._fastcore import Fanout
from presence.errors import BadRequest, Forbidden, PresenceError, SipError, Unavailable
from presence.events.package import EventPackage
from presence.events.winfo import WINFO
from presence.policy.decision import ALLOW, BLOCK, OPEN, OWN_STATE, Decision, Policy
from presence.policy.watcherinfo import WatcherAccess
from presence.sip.endpoint import ServerTransaction
from presence.sip.location import Hop, Outcome, Trouble
from presence.sip.resolution import Resolver
from presence.subscription.aiming import choose_target
from presence.subscription.book import Book
from presence.subscription.dialog import Dialog, Target
from presence.subscription.proof import Proof
from presence.subscription.request import Limits
from presence.values import Aor, SubscriptionStatus

DEFAULT_ACCESS = WatcherAccess()


def decide(
    policy: Policy, package: EventPackage, presentity: Aor, watcher: Aor, access: WatcherAccess = DEFAULT_ACCESS
) -> Decision:
    """Return what a policy lets a watcher have of a package."""
    if package.authorised:
        return policy.decide(presentity, watcher, package.name)
    if package.watches and presentity != watcher and not (policy is OPEN and access.everybody):
        # RFC 3857 section 4.6: the presentity alone is told who watches; others how they stand themselves.
        if package.watches.endswith(WINFO):
            return BLOCK
        if watcher in access.administrators:
            return ALLOW
        known = policy.decide(presentity, watcher, package.watches).status is SubscriptionStatus.ACTIVE
        return OWN_STATE if known else BLOCK
    return ALLOW


UNRESOLVED: dict[Trouble, Callable[[], SipError]] = {
    # No RFC names an answer: whoever names a host that does not exist wrote a request nobody can serve, so 400; a name
    # server that is silent may speak again, and is no reason for a proxy to leave this server alone as with 503.
    Trouble.UNKNOWN: lambda: BadRequest("Contact Host Does Not Exist"),
    Trouble.SILENT: lambda: SipError("Contact Host Cannot Be Looked Up", (("Retry-After", "30"),)),
    Trouble.BUSY: lambda: Unavailable("Too Many Lookups", (("Retry-After", "5"),)),
}


class NotLocated(PresenceError):
    """A request cannot be served before the host of its next hop has been looked up."""

    def __init__(self, hop: Hop) -> None:
        super().__init__(hop.host)
        self.hop = hop


class Admission:
    """What a new subscription and a refresh have in common."""

    def __init__(
        self,
        table: Fanout,
        policy: Policy,
        book: Book,
        limits: Limits,
        proof: Proof,
        resolver: Resolver | None = None,
    ) -> None:
        self._proof = proof
        self._resolver = resolver
        self.policy = policy
        self.limits = limits
        self._table = table
        self._book = book

    def decide(self, package: EventPackage, presentity: Aor, watcher: Aor) -> Decision:
        """Return what the policy lets the watcher have of a package."""
        return decide(self.policy, package, presentity, watcher, self.limits.access)

    def target(self, dialog: Dialog, transaction: ServerTransaction, slot: int = 0, *, begins: bool = False) -> Target:
        """Return where NOTIFYs go, those of `slot` when the dialog has a subscription; with `begins` for one more.

        Raises SipError, and NotLocated before anything has changed when a host has to be looked up first.
        """
        request = transaction.request
        dialog.check_size(request.event_id)
        chosen = choose_target(dialog, request, self.limits.aiming)
        if isinstance(chosen, Hop):
            if transaction.located is None:
                raise NotLocated(chosen)
            chosen = self._locate(chosen, transaction.located, 0 if begins else slot)
        self._book.way(transaction.origin.link, chosen)
        return self._proof.ask(request, chosen, slot, begins=begins)

    def _locate(self, hop: Hop, located: Outcome, slot: int) -> Target:
        current = self._book.target(slot) if slot and self._book.hop(slot) == hop else None
        if isinstance(located, Trouble):
            if current is None or not current.port:
                raise UNRESOLVED[located]()
            # What worked so far goes on working.
            return current
        targets = self._book.targets(hop, located)
        if not targets:
            raise Forbidden("Contact Address Not Allowed")
        first = next(
            (target for target in targets if current is not None and target.place == current.place), targets[0]
        )
        return first._replace(others=tuple(other.place for other in targets if other is not first))

    def look_up(self, missing: NotLocated, transaction: ServerTransaction, again: Callable[[float], None]) -> None:
        """Look up what a request could not be served without, then serve it `again` from the start."""

        def located(outcome: Outcome, now: float) -> None:
            transaction.located = outcome
            again(now)

        assert self._resolver is not None
        self._resolver.locate(missing.hop, self._book.reaches, transaction.request.source[0], located)

    def accept(self, transaction: ServerTransaction, slot: int, expires_s: int) -> None:
        """Answer 200 (202, where an old client wants it) with the interval granted and our Contact."""
        contact = self._table.contact(slot, transaction.origin.link).decode("utf-8", "surrogateescape")
        begun, lines, answer_202 = self.limits.acceptance
        if not transaction.request.to_tag:
            lines = begun
        if answer_202 == "always" or (answer_202 == "pending" and self._table.facts(slot).pending):
            transaction.reply(202, (("Expires", str(expires_s)), ("Contact", f"<{contact}>")))
        elif contact.isprintable():
            transaction.accept(f"{lines}Expires: {expires_s}\r\nContact: <{contact}>\r\n")
        else:
            # Another server's, out of the database.
            transaction.reply(200, (("Expires", str(expires_s)), ("Contact", f"<{contact}>")))
