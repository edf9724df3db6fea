"""What follows when a NOTIFY does not reach its target: the next address of its host, or a look where that is."""

from functools import partial

from presence._fastcore import Fanout
from presence.errors import SipError
from presence.sip.location import Outcome, Trouble
from presence.sip.resolution import Resolver
from presence.subscription.aiming import at_address
from presence.subscription.book import Book
from presence.subscription.dialog import Target
from presence.subscription.proof import Proof

UNREACHED = frozenset({408, 430, 503})
"""No answer, no flow, no connection: another place may do better (RFC 3263 section 4.3)."""

LOOK_AGAIN_S = 30.0
"""When a host is looked up again that nobody could say the address of."""


class Relocating:
    """Tries places one after the other, each once until the next refresh."""

    def __init__(self, table: Fanout, book: Book, proof: Proof, resolver: Resolver | None) -> None:
        self._table = table
        self._proof = proof
        self._book = book
        self._resolver = resolver

    def try_elsewhere(self, slot: int, status: int, now: float) -> bool:
        """Take care of a failed NOTIFY; False when nothing else can be tried and the failure stands."""
        if status not in UNREACHED:
            return False
        while (target := self._book.take_other(slot)) is not None:
            if self._go(slot, target, now):
                return True
        # Without a port only a flow led there, and it is gone.
        return status == 430 and self._table.target(slot)[1] == 0 and self._find(slot, now)

    def _go(self, slot: int, target: Target, now: float) -> bool:
        suspected = self._proof.suspect(target, target.asker)
        if suspected is None:
            return False
        self._book.aim(slot, self._table.facts(slot).link, suspected)
        self._table.retry(slot, now)
        return True

    def _find(self, slot: int, now: float) -> bool:
        if self._book.is_flow_only(slot):
            if self._table.facts(slot).flow:
                return False
            # After a restart: the watcher connects anew and refreshes, and is told then.
            self._table.settle(slot)
            return True
        try:
            hop = self._book.hop(slot)
        except SipError:
            return False
        if hop.is_address:
            targets = self._book.targets(hop, (at_address(hop, hop.host).place,))
            return (
                bool(targets)
                and self._reachable(targets[0])
                and self._go(slot, targets[0]._replace(name="", asker=self._asker(slot)), now)
            )
        if self._resolver is None:
            return False
        host = self._asker(slot)
        found = partial(self._found, slot, self._table.to_tag(slot))
        self._resolver.locate(hop, self._book.reaches, host, found)
        return True

    def _asker(self, slot: int) -> str:
        """Who subscribed, of a subscription that only its flow led to."""
        host: str = self._table.target(slot)[0]
        return host

    def _reachable(self, target: Target) -> bool:
        return self._book.reaches(target.transport, ":" in target.host)

    def _found(self, slot: int, to_tag: bytes, outcome: Outcome, now: float) -> None:
        table = self._table
        if table.state(slot) == "free" or table.to_tag(slot) != to_tag or table.flight(slot) != "failed":
            # Ended, or told anew, while this was looked up.
            return
        if outcome is Trouble.SILENT or outcome is Trouble.BUSY:
            table.retry(slot, now + LOOK_AGAIN_S)
            return
        targets = [] if isinstance(outcome, Trouble) else self._book.targets(self._book.hop(slot), outcome)
        if targets:
            others = tuple(target.place for target in targets[1:])
            if not self._go(slot, targets[0]._replace(others=others, asker=self._asker(slot)), now):
                table.settle(slot)
        else:
            # Nobody is there; the next refresh may name another Contact.
            table.settle(slot)
