"""org.openmobilealliance.pres-rules: the rules of RCS clients and Blink (OMA-TS-Presence_SIMPLE_XDM-V1_1)."""

from lxml import etree

from presence.xcap.anchor import read_anchor
from presence.xcap.documents import Key
from presence.xcap.errors import ConstraintFailure
from presence.xcap.references import AUID as LISTS
from presence.xcap.usage import World
from presence.xcap.usages.pres_rules import COMMON_POLICY, OMA_COMMON_POLICY, PresRules

_WHO = (
    f"{{{COMMON_POLICY}}}identity",
    *(f"{{{OMA_COMMON_POLICY}}}{name}" for name in ("external-list", "other-identity", "anonymous-request")),
)


class OmaPresRules(PresRules):
    """As pres-rules, with conditions that name lists, and one condition about the watcher's identity a rule."""

    auid = "org.openmobilealliance.pres-rules"
    namespace = COMMON_POLICY
    namespaces = (PresRules.namespace, *PresRules.namespaces[1:])

    def check(self, tree: etree._Element, body: bytes, key: Key, world: World) -> None:
        """Raise `ConstraintFailure` for rules that OMA does not allow or that could never match anybody."""
        super().check(tree, body, key, world)
        check_conditions(tree)
        check_external_lists(tree, key, world)


def check_conditions(tree: etree._Element) -> None:
    """Raise `ConstraintFailure` for a rule with more than one condition about the identity."""
    for conditions in tree.iter(f"{{{COMMON_POLICY}}}conditions"):
        if sum(child.tag in _WHO for child in conditions) > 1:
            rule = conditions.getparent()
            name = "" if rule is None else rule.get("id", "")
            raise ConstraintFailure(
                f"Complex rules are not allowed: give rule {name} one of identity, external-list, other-identity and "
                "anonymous-request, and write a rule for each of the others"
            )


def check_external_lists(tree: etree._Element, key: Key, world: World) -> None:
    """Raise `ConstraintFailure` for a reference to anything but the user's own lists, unless others are allowed."""
    for entry in tree.iter(f"{{{OMA_COMMON_POLICY}}}entry"):
        uri = entry.get("anc", "").strip()
        anchor = read_anchor(uri, world.roots)
        if world.allow_external_references:
            continue
        if anchor is None or anchor.key.auid != LISTS:
            raise ConstraintFailure(f"Let anc be the URI of a list below {world.roots[0]}/{LISTS}/, not {uri}")
        if anchor.key.owner != key.owner:
            raise ConstraintFailure(f"Let anc name a list of your own: {uri} is another user's")
