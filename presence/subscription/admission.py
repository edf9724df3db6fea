"""Whether a SUBSCRIBE may have what it asks for, where its NOTIFYs go, and the 200 it gets."""

from presence._fastcore import Fanout
from presence.events.package import EventPackage
from presence.policy.decision import ALLOW, BLOCK, OPEN, Decision, Policy
from presence.sip.endpoint import ServerTransaction
from presence.subscription.book import Book
from presence.subscription.dialog import Dialog, Target, choose_target
from presence.subscription.request import Limits
from presence.values import Aor


class Admission:
    """What a new subscription and a refresh have in common."""

    def __init__(self, table: Fanout, policy: Policy, book: Book, limits: Limits) -> None:
        self.policy = policy
        self.limits = limits
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

    def target(self, dialog: Dialog, transaction: ServerTransaction) -> Target:
        """Return where NOTIFYs go; raises BadRequest and Forbidden."""
        dialog.check_size(transaction.request.event_id)
        source = transaction.request.source
        target = choose_target(dialog, transaction.origin, source, self.limits.allowed_targets)
        self._book.way(transaction.origin.link, target)
        return target

    def accept(self, transaction: ServerTransaction, slot: int, expires_s: int) -> None:
        """Answer 200 with the interval granted and our Contact."""
        contact = self._table.contact(slot, transaction.origin.link).decode("utf-8", "surrogateescape")
        if contact.isprintable():
            transaction.accept(f"Expires: {expires_s}\r\nContact: <{contact}>\r\n")
        else:
            # Another server's, out of the database.
            transaction.reply(200, (("Expires", str(expires_s)), ("Contact", f"<{contact}>")))
