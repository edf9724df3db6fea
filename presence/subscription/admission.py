"""Whether a SUBSCRIBE may have what it asks for, where its NOTIFYs go, and the 200 it gets."""

from presence._fastcore import Fanout, Message, Networks
from presence.errors import Forbidden
from presence.events.package import EventPackage
from presence.policy.decision import ALLOW, BLOCK, OPEN, Decision, Policy
from presence.sip.endpoint import ServerTransaction
from presence.subscription.book import Book
from presence.subscription.dialog import Dialog, Target, choose_target, same_host
from presence.subscription.request import Limits
from presence.values import Aor


class Admission:
    """What a new subscription and a refresh have in common."""

    def __init__(self, table: Fanout, policy: Policy, book: Book, limits: Limits) -> None:
        self.policy = policy
        self.limits = limits
        self.trusted = Networks(limits.trusted)
        self._table = table
        self._book = book

    def decide(self, package: EventPackage, presentity: Aor, watcher: Aor) -> Decision:
        """Return what the policy lets the watcher have of a package."""
        if package.authorised:
            return self.policy.decide(presentity, watcher, package.name)
        if package.watches and self.policy is not OPEN and presentity != watcher:
            # RFC 3857 section 4.6: who watches is told to the presentity only.
            return BLOCK
        return ALLOW

    def target(self, dialog: Dialog, transaction: ServerTransaction, known: int = 0, *, begins: bool = False) -> Target:
        """Return where NOTIFYs go; raises BadRequest and Forbidden.

        `known` is a subscription of the dialog: what is proven of its target need not be proven again. With
        `begins` there will be one more.
        """
        dialog.check_size(transaction.request.event_id)
        source = transaction.request.source
        target = choose_target(dialog, transaction.origin, source, self.limits.allowed_targets)
        self._book.way(transaction.origin.link, target)
        return self._ask_for_proof(transaction.request, target, known, begins=begins)

    def _ask_for_proof(self, request: Message, target: Target, known: int, *, begins: bool) -> Target:
        """Note who named an address that is not his own: it gets one NOTIFY until it answers (`Fanout.doubt`).

        RFC 3261 section 26.1.5: otherwise a SUBSCRIBE with somebody else's Contact, for which the sender needs not
        even show his own address, makes the server send many times what it got.
        """
        source = request.source[0]
        if target.flow or not source or same_host(source, target.host) or source in self.trusted:
            return target
        if getattr(request, "identity", None) is not None:
            return target
        stays = known and same_host(self._table.target(known)[0], target.host)
        if stays and not self._table.unproven(known):
            return target
        if (begins or not stays) and self._table.doubts(target.host) >= self.limits.unproven_per_target:
            raise Forbidden("Too Many Subscriptions for an Address Without Answer")
        return target._replace(source=source)

    def accept(self, transaction: ServerTransaction, slot: int, expires_s: int) -> None:
        """Answer 200 with the interval granted and our Contact."""
        contact = self._table.contact(slot, transaction.origin.link).decode("utf-8", "surrogateescape")
        if contact.isprintable():
            transaction.accept(f"Expires: {expires_s}\r\nContact: <{contact}>\r\n")
        else:
            # Another server's, out of the database.
            transaction.reply(200, (("Expires", str(expires_s)), ("Contact", f"<{contact}>")))
