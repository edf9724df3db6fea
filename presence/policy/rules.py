"""Rules documents, compiled once and evaluated for each watcher (RFC 4745, RFC 5025, OMA-TS-Presence_SIMPLE_XDM).

Where conditions of OMA are used, a watcher whom an <identity> names is judged by those rules alone, else one who is
in an <external-list> by those, else by <other-identity>; rules that name nobody count for all. So no more rules
can mean fewer permissions there. Without conditions of OMA all rules that match count (RFC 4745 section 10).
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from presence.document.tree import Element, read_tree
from presence.errors import BadRequest
from presence.policy.conditions import Circumstances as Circumstances
from presence.policy.conditions import Conditions, Rank, read_conditions
from presence.policy.identity import COMMON_POLICY, plain_domain
from presence.policy.identity import Watcher as Watcher
from presence.policy.permission import Permissions, Transformations, combine
from presence.policy.transformations import Handling as Handling
from presence.policy.transformations import read_actions, read_transformations
from presence.values import Aor

MAX_BYTES: Final = 900 * 1024
MAX_RULES: Final = 5000
MAX_ELEMENTS: Final = 50_000
MAX_URIS: Final = 256
"""Of services and devices in a document; each is compared with those in a presence document."""

_COMBINATIONS_KEPT: Final = 256


class Outcome(NamedTuple):
    """What the rules say of a watcher."""

    handling: Handling
    permissions: Permissions
    matched: bool
    """Whether there is a rule that matches; without one the handling is the lowest."""


_UNMATCHED: Final = Outcome(Handling.BLOCK, Permissions.nothing, False)


class Rule(NamedTuple):
    """One rule."""

    conditions: Conditions
    handling: Handling
    transformations: Transformations

    def names(self, aor: Aor, domain: str, circumstances: Circumstances) -> bool:
        """Return whether its conditions about who the watcher is are true, <other-identity> aside."""
        return all(identity.has(aor, domain) for identity in self.conditions.identities) and all(
            any(circumstances.in_list(anchor, aor) for anchor in anchors) for anchors in self.conditions.lists
        )


class Rules:
    """The rules of a presentity. They do not change."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = tuple(rules)
        self._by_address: dict[Aor, list[Rule]] = {}
        self._by_domain: dict[str, list[Rule]] = {}
        self._unindexed: list[Rule] = []
        """Those that may match whoever has an identity."""
        self._open: list[Rule] = []
        """Those that may match who has none."""
        for rule in self._rules:
            self._file(rule)
        possible = [rule.conditions for rule in self._rules if not rule.conditions.impossible]
        self._is_ranked = any(conditions.is_oma for conditions in possible)
        self.uses_sphere = any(conditions.spheres for conditions in possible)
        """Whether the outcome may depend on the sphere of the presentity."""
        lists = [anchors for rule in self._rules for anchors in rule.conditions.lists]
        self.lists = frozenset(anchor for anchors in lists for anchor in anchors)
        """The anchors that `in_list` is asked about."""
        periods = [period for one in possible for validity in one.validities for period in validity.periods]
        self._changes = sorted({instant for period in periods for instant in period})
        self._combined: dict[frozenset[Transformations], Permissions] = {}

    def __len__(self) -> int:
        return len(self._rules)

    def _file(self, rule: Rule) -> None:
        conditions = rule.conditions
        if conditions.rank is Rank.ANYBODY:
            self._open.append(rule)
        if not conditions.identities:
            self._unindexed.append(rule)
            return
        first = conditions.identities[0]
        if all(many.domain for many in first.manies):
            for aor in first.ones:
                self._by_address.setdefault(aor, []).append(rule)
            for domain in {many.domain for many in first.manies}:
                self._by_domain.setdefault(domain, []).append(rule)
        else:
            self._unindexed.append(rule)

    def evaluate(self, who: Watcher, circumstances: Circumstances) -> Outcome:
        """Return what the rules that match say together (RFC 4745 section 10)."""
        if who.anonymous:
            # RFC 5025 section 3.1.1.2: no condition about an identity is true.
            return self._sum_up(
                [rule for rule in self._open if not rule.conditions.impossible and rule.conditions.hold(circumstances)]
            )
        matching = self._match(who.aor, circumstances)
        if self._is_ranked and matching:
            highest = max(rule.conditions.rank for rule in matching)
            matching = [rule for rule in matching if rule.conditions.rank in (Rank.ANYBODY, highest)]
        return self._sum_up(matching)

    def _match(self, aor: Aor, circumstances: Circumstances) -> list[Rule]:
        domain = plain_domain(aor.domain)
        if aor.domain[-1:] == ".":
            aor = Aor(aor.username, aor.domain[:-1])
        candidates = list(self._unindexed)
        candidates += self._by_address.get(aor, ())
        candidates += self._by_domain.get(domain, ())
        matching = []
        named: bool | None = None
        for rule in candidates:
            conditions = rule.conditions
            if conditions.impossible or conditions.anonymous or not conditions.hold(circumstances):
                continue
            if conditions.others:
                if named is None:
                    named = any(
                        other.conditions.rank > Rank.OTHER and other.names(aor, domain, circumstances)
                        for other in candidates
                    )
                if named:
                    continue
            if rule.names(aor, domain, circumstances):
                matching.append(rule)
        return matching

    def _sum_up(self, matching: list[Rule]) -> Outcome:
        if not matching:
            return _UNMATCHED
        given = frozenset(rule.transformations for rule in matching)
        permissions = self._combined.get(given)
        if permissions is None:
            if len(self._combined) >= _COMBINATIONS_KEPT:
                self._combined.clear()
            permissions = self._combined[given] = combine(given)
        return Outcome(max(rule.handling for rule in matching), permissions, True)

    def next_change(self, now: float) -> float | None:
        """Return the next instant (epoch seconds) at which a validity begins or ends, None when there is none."""
        at = bisect_right(self._changes, now)
        return self._changes[at] if at < len(self._changes) else None


def compile_rules(body: bytes) -> Rules:
    """Compile a rules document; raises BadRequest when it is malformed, none at all or beyond a bound.

    What is odd within a rule makes that rule match nobody, or grant less.
    """
    root = read_tree(body, MAX_BYTES, MAX_ELEMENTS)
    if (root.namespace, root.name) != (COMMON_POLICY, "ruleset"):
        raise BadRequest("Body Is Not a Rules Document")
    children = [child for child in root.children if (child.namespace, child.name) == (COMMON_POLICY, "rule")]
    if len(children) > MAX_RULES:
        raise BadRequest(f"More than {MAX_RULES} Rules")
    rules = [_read_rule(child) for child in children]
    if sum(map(_count_uris, {rule.transformations for rule in rules})) > MAX_URIS:
        raise BadRequest(f"More than {MAX_URIS} URIs of Services and Devices in Rules")
    return Rules(rules)


def join_rules(given: Iterable[Rules]) -> Rules:
    """Return the rules of all documents of a user as one rule set (RFC 5025 section 9.7)."""
    parts = list(given)
    return parts[0] if len(parts) == 1 else Rules([rule for rules in parts for rule in rules._rules])


def _read_rule(element: Element) -> Rule:
    conditions, handling = Conditions(), Handling.BLOCK
    granting: list[Element] = []
    for child in element.children:
        name = child.name if child.namespace == COMMON_POLICY else ""
        if name == "conditions":
            read_conditions(child, conditions)
        elif name == "actions":
            handling = max(handling, read_actions(child))
        elif name == "transformations":
            granting += child.children
        else:
            # A rule has nothing else (RFC 4745 section 6.2), and this may be conditions with a wrong prefix.
            conditions.impossible = True
    return Rule(conditions, handling, read_transformations(granting))


def _count_uris(transformations: Transformations) -> int:
    members = (*transformations.services, *transformations.devices)
    return sum(kind in ("service-uri", "deviceID") for kind, _ in members)
