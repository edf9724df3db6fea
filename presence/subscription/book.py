"""What is known of running subscriptions beside the watcher table: the odd ones, and their rows in the database."""

from collections.abc import Callable
from functools import lru_cache

from presence._fastcore import Fanout, Message
from presence.errors import Forbidden
from presence.sip.headers import parse_name_addr, parse_uri, read_aor, split_values
from presence.sip.lanes import Lanes
from presence.sip.location import Hop, Place, next_hop
from presence.store.base import Write
from presence.subscription.aiming import FLOW_ONLY
from presence.subscription.dialog import AllowedTargets, Dialog, Target
from presence.subscription.notify import Notify
from presence.subscription.rows import Key
from presence.subscription.ways import Ways
from presence.values import Aor

PART_REMOTE, PART_LOCAL_CONTACT = 3, 8
"""Where `Fanout.dialog` has the watcher's From, and our Contact."""


@lru_cache(1 << 14)
def _read_watcher(address: bytes) -> Aor:
    """Return whom a From names; rules are changed again and again for the same watchers."""
    return read_aor(address.decode("utf-8", "surrogateescape"))


class Book:
    """Kept by slot. Only the exceptions are here: an ordinary subscription lives in the table alone."""

    def __init__(self, table: Fanout, notify: Notify, ways: Ways, allowed: AllowedTargets, *, boot: int) -> None:
        self.boot = boot
        """Counts the starts of the server on this database: CSeq numbers are reserved per start."""
        self.lanes = Lanes()
        """One change at a time for each dialog, by its first slot."""
        self._table = table
        self._notify = notify
        self._ways = ways
        self._allowed = allowed
        self._others: dict[int, Target] = {}
        self.reaches = ways.reaches
        """Whether there is a way out by a transport, over IPv6 or not."""
        self._foreign: dict[tuple[str, str, str], int] = {}
        self._foreign_tags: dict[int, tuple[str, str, str]] = {}
        self.shared: set[int] = set()
        """Slots whose rows are in the table for second usages of a dialog, also when the first has ended."""
        self._strict: dict[int, tuple[str, ...]] = {}
        self.on_forget: Callable[[int], None] = lambda slot: None
        """Hears of each subscription that has ended."""
        self.asserted: dict[int, Aor] = {}
        """By first slot of a dialog: the watcher that a trusted peer named, where From names another."""

    def find(self, request: Message) -> int:
        """Return the first slot of the dialog a request belongs to, 0 when it is none of ours."""
        slot = self._table.find(request)
        if slot or not self._foreign:
            return slot
        return self._foreign.get((request.call_id, request.to_tag, request.from_tag), 0)

    def adopt(self, slot: int, call_id: str, to_tag: str, from_tag: str) -> None:
        """Know a dialog whose To-tag another server made."""
        self._foreign_tags[slot] = (call_id, to_tag, from_tag)
        self._foreign[call_id, to_tag, from_tag] = slot

    def find_dialog(self, call_id: str, to_tag: str, from_tag: str) -> int:
        """Return the first slot of a dialog named by its identifiers, as rows of the database name it."""
        slot = self._table.find_tag(to_tag.encode(), call_id.encode(), from_tag.encode())
        return slot or self._foreign.get((call_id, to_tag, from_tag), 0)

    def foreign_tag(self, slot: int) -> str:
        """Return the dialog's To-tag when it is not one of the table's own, else ''."""
        key = self._foreign_tags.get(slot)
        return key[1] if key else ""

    def note(self, slot: int, dialog: Dialog, *, shared: bool) -> None:
        """Remember what is unusual about a new subscription."""
        if shared:
            self.shared.add(slot)
        if dialog.route and dialog.request_line()[0] != dialog.contact:
            self._strict[self._table.facts(slot).owner] = dialog.route

    def forget(self, slot: int, owner: int) -> None:
        """Drop what is known about a subscription that has ended, and about its dialog when it was the last."""
        self.shared.discard(slot)
        self.on_forget(slot)
        self._others.pop(slot, None)
        if self._table.state(owner) == "free" or not self._table.usages(owner):
            self._strict.pop(owner, None)
            if self.asserted.pop(owner, None):
                self._notify.watching.shown.pop(owner, None)
            key = self._foreign_tags.pop(owner, None)
            if key:
                del self._foreign[key]

    def dialog(self, owner: int, contact: str) -> Dialog:
        """Return the dialog as it stands, with `contact` as its remote target."""
        parts = [part.decode("utf-8", "surrogateescape") for part in self._table.dialog(owner)]
        route = self._strict.get(owner) or tuple(split_values(parts[1]))
        return Dialog(parts[5], parts[2], parts[3], parts[4], contact, route)

    def watcher(self, owner: int) -> Aor:
        """Return who watches in a dialog."""
        return self.asserted.get(owner) or _read_watcher(self._table.dialog(owner)[PART_REMOTE])

    def adopt_watcher(self, owner: int, watcher: Aor, *, private: bool) -> None:
        """Know that a dialog's watcher is not who From names; with `private` the presentity is shown From."""
        self.asserted[owner] = watcher
        if not private:
            self._notify.watching.shown[owner] = watcher

    def aim(self, slot: int, link: int, target: Target) -> None:
        """Send the subscription's NOTIFYs to `target` from now on; `link` is where the request came in."""
        way = self._ways.choose(link, target)
        way = link if way is None else way
        before, host = self._table.facts(slot).flow, self._table.target(slot)[0]
        self._table.set_target(slot, way, target.host, target.port, target.flow, explicit=target.explicit)
        if not target.source:
            self._table.believe(slot)
        elif self._table.target(slot)[0] != host:
            self._table.doubt(slot)
        self._ways.name(way, target)
        if target.others:
            self._others[slot] = target
        elif self._others:
            self._others.pop(slot, None)
        if before != target.flow:
            # The connection a NOTIFY in flight went out on may be dead without anybody having said so.
            self._table.resend(slot)

    def kept_contact(self, owner: int) -> str:
        """Return our Contact of a dialog where that is a SIPS URI, which the table does not make, else ''."""
        contact = self._table.dialog(owner)[PART_LOCAL_CONTACT].decode("utf-8", "surrogateescape")
        return contact if contact.startswith("sips:") else ""

    def secure_contact(self, slot: int, link: int) -> str:
        """Return our Contact as a SIPS URI, '' where nobody listens for TLS.

        A request with such a URI that came over UDP or TCP is served all the same: a proxy in front may end TLS, and
        the last hop is the domain's own matter (RFC 3261 section 26.2.2). `transport=tls` says nothing there any more.
        """
        way = self._ways.secure(link)
        if way is None:
            return ""
        contact = self._table.contact(slot, way).decode("utf-8", "surrogateescape")
        return contact.replace("sip:", "sips:", 1).replace(";transport=tls", "", 1)

    def way(self, link: int, target: Target) -> int:
        """Return the listener by which the target is reached; raises Forbidden when there is none."""
        way = self._ways.choose(link, target)
        if way is None:
            raise Forbidden("No Listener Reaches the Contact Address")
        return way

    def target(self, slot: int) -> Target:
        """Return where the subscription's NOTIFYs go now."""
        facts = self._table.facts(slot)
        return Target(self._ways.transport(facts.link), *self._table.target(slot), facts.flow, facts.explicit)

    def hop(self, slot: int) -> Hop:
        """Return where requests in the subscription's dialog go first; raises BadRequest."""
        return next_hop(parse_uri(self._first_uri(slot)[0]))

    def is_flow_only(self, slot: int) -> bool:
        """Whether the watcher is never connected to (see `aiming.is_flow_only`)."""
        uri, routed = self._first_uri(slot)
        if routed:
            return False
        return self._ways.transport(self._table.facts(slot).link) in FLOW_ONLY or next_hop(parse_uri(uri)).outbound

    def _first_uri(self, slot: int) -> tuple[str, bool]:
        """The URI of the next hop, and whether it is a route's."""
        uri, route = (part.decode("utf-8", "surrogateescape") for part in self._table.dialog(slot)[:2])
        strict = self._table.facts(slot).owner in self._strict
        if route and not strict:
            uri = parse_name_addr(split_values(route)[0]).uri
        return uri, strict or bool(route)

    def targets(self, hop: Hop, places: tuple[Place, ...]) -> list[Target]:
        """Return the targets at the places of a hop that may be sent to, the best first."""
        explicit = hop.transport == "UDP" or hop.outbound
        return [Target(*place, 0, explicit, (), hop.host) for place in places if place.host in self._allowed]

    def take_other(self, slot: int) -> Target | None:
        """Return where to try next when the target does not answer, each place once; None when there is none left."""
        target = self._others.pop(slot, None)
        if target is None:
            return None
        first, *others = target.others
        return Target(*first, 0, target.explicit, tuple(others), target.name, asker=target.asker)

    def key(self, slot: int) -> Key:
        """Return what names the subscription's row in the database."""
        return Key(self._table.facts(slot).row_id, slot in self.shared)

    def find_rows(self, keys: set[Key]) -> list[int]:
        """Return the slots of the subscriptions whose rows these are."""
        return [slot for slot in self._table.slots_of({key.row_id for key in keys}) if self.key(slot) in keys]

    def removal(self, slot: int) -> list[Write]:
        """Return what removes a subscription from the database."""
        writes = [self.key(slot).delete()]
        # The dialog's other subscriptions go on with its CSeq: what was reserved must outlive this row.
        facts = self._table.facts(slot)
        others = [usage for usage in self._table.usages(facts.owner) if usage != slot]
        return writes + [self.key(usage).reserve(facts.cseq_mark, self.boot) for usage in others]
