"""Whether a SUBSCRIBE may have what it asks for, where its NOTIFYs go, and the 200 it gets."""

from presence._fastcore import Fanout
from presence.events.package import EventPackage
from presence.events.winfo import WINFO
from presence.policy.decision import ALLOW, BLOCK, OPEN, OWN_STATE, Decision, Policy
from presence.sip.endpoint import ServerTransaction
from presence.subscription.book import Book
from presence.subscription.dialog import Dialog, Target, choose_target
from presence.subscription.request import Limits
from presence.values import Aor, SubscriptionStatus


def decide(policy: Policy, package: EventPackage, presentity: Aor, watcher: Aor) -> Decision:
    """Return what a policy lets a watcher have of a package."""
    if package.authorised:
        return policy.decide(presentity, watcher, package.name)
    if package.watches and policy is not OPEN and presentity != watcher:
        # RFC 3857 section 4.6: the presentity alone is told who watches; others how they stand themselves.
        if package.watches.endswith(WINFO):
            return BLOCK
        known = policy.decide(presentity, watcher, package.watches).status is SubscriptionStatus.ACTIVE
        return OWN_STATE if known else BLOCK
    return ALLOW


class Admission:
    """What a new subscription and a refresh have in common."""

    def __init__(self, table: Fanout, policy: Policy, book: Book, limits: Limits) -> None:
        self.policy = policy
        self.limits = limits
        self._table = table
        self._book = book

    def decide(self, package: EventPackage, presentity: Aor, watcher: Aor) -> Decision:
        """Return what the policy lets the watcher have of a package."""
        return decide(self.policy, package, presentity, watcher)

    def target(self, dialog: Dialog, transaction: ServerTransaction) -> Target:
        """Return where NOTIFYs go; raises BadRequest and Forbidden."""
        dialog.check_size(transaction.request.event_id)
        source = transaction.request.source
        target = choose_target(dialog, transaction.origin, source, self.limits.allowed_targets)
        self._book.way(transaction.origin.link, target)
        return target

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
