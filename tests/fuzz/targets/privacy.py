"""Rules and what they show: whatever the bytes, an outcome or a 400, and views as the reference evaluator has them.

An input is a rules document, two zero bytes, a presence document. The views are made under the rules of the
input, and under some of our own, which the reference evaluator reads as well: of strange rules two readers may
think differently, of what a document shows they may not.
"""

import random
from collections.abc import Iterable
from pyexpat import ParserCreate

import reference
import sip
from lxml.etree import XMLSyntaxError
from reference import generators
from rulesets import ask, one, rule, ruleset

from presence.document.compose import compose
from presence.document.pidf import parse_pidf
from presence.document.sphere import sphere_of
from presence.errors import BadRequest
from presence.policy.permission import Permissions
from presence.policy.rules import compile_rules
from presence.policy.view import Shown

PART = b"\0\0"
ENTITY = "sip:alice@example.com"
GRANTS = (
    "",
    "<provide-services><all-services/></provide-services><provide-note>true</provide-note>",
    "<provide-services><class>biz</class><service-uri-scheme>sip</service-uri-scheme></provide-services>"
    "<provide-persons><all-persons/></provide-persons><provide-devices><all-devices/></provide-devices>"
    "<provide-mood>true</provide-mood><provide-class>true</provide-class>"
    "<provide-user-input>thresholds</provide-user-input>"
    '<provide-unknown-attribute ns="urn:x-foo" name="foo">true</provide-unknown-attribute>',
    "<provide-persons><occurrence-id>p0</occurrence-id></provide-persons><provide-all-attributes/>",
)
OWN_RULES = [ruleset(rule(None, "allow", grant)) for grant in GRANTS]
OWN = [ask(text).permissions for text in OWN_RULES]


def evaluate(text: bytes) -> list[Permissions]:
    """What rules of the input permit to some watchers."""
    rules, refused = None, ""
    try:
        rules = compile_rules(text)
    except BadRequest as error:
        refused = error.reason
    if rules is None:
        assert refused.isascii()
        assert refused.isprintable()
        return []
    change = rules.next_change(generators.NOW)
    assert change is None or change > generators.NOW
    outcomes = [ask(rules, watcher, sphere="work") for watcher in generators.WATCHERS]
    outcomes.append(ask(rules, anonymous=True))
    assert all(outcome.matched or outcome == ask(ruleset()) for outcome in outcomes)
    return [outcome.permissions for outcome in outcomes]


def run(data: bytes) -> None:
    text, _, body = data.partition(PART)
    permitted = evaluate(text)
    try:
        document = compose(ENTITY, [parse_pidf(body)])
    except BadRequest:
        return
    sphere_of([body])
    shown = Shown(document)
    for permissions in {*permitted, *OWN}:
        view = shown.render(permissions)
        ParserCreate("utf-8", "\f").Parse(view, True)
        left = iter(document)
        assert all(byte in left for byte in view)
    try:
        reference.content(document)
    except XMLSyntaxError:
        # lxml knows fewer URIs as names of namespaces than expat and we do.
        return
    for rules, permissions in zip(OWN_RULES, OWN, strict=True):
        expected = reference.visible(document, [rules], "sip:bob@example.com", False, 0.0, None, {})
        assert reference.content(shown.render(permissions)) == expected


def seeds() -> Iterable[bytes]:
    yield ruleset(rule(one("sip:bob@example.com"), "allow", GRANTS[2])) + PART + sip.pidf("n").encode()
    for seed in range(30):
        rng = random.Random(seed)
        made = generators.random_rules(rng, most=2) + PART + generators.random_document(rng)
        if len(made) <= 6000:
            yield made
