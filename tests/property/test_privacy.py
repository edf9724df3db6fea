"""Rules and views against the reference evaluator, and what must hold of any rules (RFC 4745 section 4).

`python -m pytest tests/property/test_privacy.py` plays 300 cases; PRESENCE_PRIVACY=20000 as many as that.
"""

import os
import random
from pyexpat import ParserCreate

import pytest
import reference
from reference import generators

from presence.policy.permission import Permissions
from presence.policy.rules import Circumstances, Outcome, Rules, Watcher, compile_rules, join_rules
from presence.policy.view import Shown, show
from presence.sip.headers import parse_uri
from presence.values import Aor

CASES = int(os.environ.get("PRESENCE_PRIVACY", "300"))


class Case:
    """Rules, a watcher, what is the matter, and a document."""

    def __init__(self, seed: int) -> None:
        rng = random.Random(seed)
        oma = rng.random() < 0.4
        self.rules = [generators.random_rules(rng, oma=oma) for _ in range(rng.choice((1, 1, 1, 2)))]
        self.watcher = generators.random_watcher(rng)
        self.anonymous = rng.random() < 0.1
        self.now, self.sphere = generators.random_now(rng), generators.random_sphere(rng)
        self.lists = generators.random_lists(rng)
        self.document = generators.random_document(rng)

    @property
    def asked(self) -> tuple:
        return self.rules, self.watcher, self.anonymous, self.now, self.sphere, self.lists

    def in_list(self, anchor: str, aor: Aor) -> bool:
        return aor in [parse_uri(uri).aor() for uri in self.lists.get(anchor, ())]

    def evaluate(self, rules: Rules) -> Outcome:
        who = Watcher(parse_uri(self.watcher).aor(), self.anonymous)
        return rules.evaluate(who, Circumstances(self.now, self.sphere, self.in_list))


def is_subsequence(part: bytes, whole: bytes) -> bool:
    left = iter(whole)
    return all(byte in left for byte in part)


def test_rules_and_views_are_those_of_the_reference() -> None:
    handlings: set[str] = set()
    for seed in range(CASES):
        case = Case(seed)
        outcome = case.evaluate(join_rules([compile_rules(text) for text in case.rules]))
        handling = outcome.handling.name.lower().replace("_", "-") if outcome.matched else "none"
        handlings.add(handling)
        assert handling == reference.evaluate(*case.asked, default="none"), seed
        body = show(case.document, outcome.permissions)
        assert reference.content(body) == reference.visible(case.document, *case.asked), seed
        assert is_subsequence(body, case.document), seed
    assert handlings == {"block", "confirm", "polite-block", "allow", "none"}


def test_rfc4745_4_the_order_of_rules_means_nothing() -> None:
    for seed in range(CASES):
        case = Case(seed)
        parts = [compile_rules(text) for text in case.rules]
        forward, backward = case.evaluate(join_rules(parts)), case.evaluate(join_rules(parts[::-1]))
        assert forward == backward
        twice = case.evaluate(join_rules([*parts, *parts]))
        assert twice == forward


def shows_no_less(document: bytes, more: Permissions, less: Permissions) -> bool:
    said = reference.content(show(document, more))
    for one in reference.content(show(document, less)):
        if one not in said:
            return False
        said.remove(one)
    return True


def test_rfc4745_4_more_rules_never_show_less() -> None:
    for seed in range(CASES):
        rng = random.Random(seed)
        case = Case(seed)
        parts = [compile_rules(generators.random_rules(rng, oma=False)) for _ in range(3)]
        one, two, three = (case.evaluate(join_rules(parts[:count])) for count in (1, 2, 3))
        assert one.handling <= two.handling <= three.handling
        assert shows_no_less(case.document, two.permissions, one.permissions), seed
        assert shows_no_less(case.document, three.permissions, two.permissions), seed
        grouped = join_rules([parts[0], join_rules(parts[1:])])
        assert case.evaluate(grouped) == three


def test_rfc5025_4_filtering_twice_changes_nothing() -> None:
    """Unless a component is granted by its class, and its class is not shown: RFC 5025 contradicts itself there."""
    played = 0
    for seed in range(CASES):
        case = Case(seed)
        permissions = case.evaluate(join_rules([compile_rules(text) for text in case.rules])).permissions
        members = permissions.services | permissions.persons | permissions.devices
        if any(kind in ("class", "service-id") for kind, _ in members):
            continue
        once = show(case.document, permissions)
        assert show(once, permissions) == once, seed
        played += 1
    assert played > CASES / 3


def test_equal_permissions_show_the_same_and_everything_is_the_document() -> None:
    for seed in range(CASES):
        document = Case(seed).document
        shown = Shown(document)
        assert shown.render(Permissions.everything) == document
        nothing = shown.render(Permissions.nothing)
        assert len(reference.content(nothing)) == 2
        ParserCreate("utf-8", "\f").Parse(nothing, True)


def test_permissions_that_show_the_same_are_equal() -> None:
    """Their form is the only one: what grants nothing more is not in it."""
    documents = [generators.random_document(random.Random(seed)) for seed in range(400)]
    shown = [Shown(document) for document in documents]
    by_views: dict[tuple[bytes, ...], Permissions] = {}
    for seed in range(CASES // 2):
        case = Case(seed)
        rules = generators.random_rules(random.Random(seed), oma=False, most=2)
        permissions = case.evaluate(compile_rules(rules)).permissions
        members = permissions.services | permissions.persons | permissions.devices
        # What is named otherwise need not be in any of these documents.
        if all(kind == "all" for kind, _ in members):
            views = tuple(one.render(permissions) for one in shown)
            assert by_views.setdefault(views, permissions) == permissions, seed
    assert len(by_views) > 10


@pytest.mark.parametrize("seed", range(20))
def test_an_outcome_changes_only_when_next_change_says_so(seed: int) -> None:
    case = Case(seed)
    rules = join_rules([compile_rules(text) for text in case.rules])
    now, instants = 0.0, []
    while (change := rules.next_change(now)) is not None:
        assert change > now
        instants.append(change)
        now = change
    for begin, end in zip([0.0, *instants], [*instants, 4e9], strict=True):
        outcomes = []
        for case.now in (begin, (begin + end) / 2, end - 1e-3):
            outcomes.append(case.evaluate(rules))
        assert outcomes[0] == outcomes[1] == outcomes[2]
