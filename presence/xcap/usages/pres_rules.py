"""pres-rules: who may see what of a user's presence (RFC 5025 section 9)."""

from typing import Final

from lxml import etree

from presence.errors import BadRequest
from presence.policy.rules import compile_rules
from presence.xcap.documents import Key
from presence.xcap.errors import ConstraintFailure
from presence.xcap.schema import SchemaUsage
from presence.xcap.usage import World

COMMON_POLICY: Final = "urn:ietf:params:xml:ns:common-policy"
OMA_COMMON_POLICY: Final = "urn:oma:xml:xdm:common-policy"
OMA_PRES_RULES: Final = "urn:oma:xml:prs:pres-rules"


class RulesUsage(SchemaUsage):
    """What is more than the policy reads would be stored, and let in nobody."""

    def check(self, tree: etree._Element, body: bytes, key: Key, world: World) -> None:
        """Raise `ConstraintFailure` for rules beyond a bound."""
        try:
            compile_rules(body, (self.namespace,))
        except BadRequest as error:
            raise ConstraintFailure(error.reason) from None


class PresRules(RulesUsage):
    """All documents of a user count together, whatever their names (section 9.7)."""

    auid = "pres-rules"
    content_type = "application/auth-policy+xml"
    namespace = "urn:ietf:params:xml:ns:pres-rules"
    namespaces = (COMMON_POLICY, OMA_COMMON_POLICY, OMA_PRES_RULES)
    root, root_namespace = "ruleset", COMMON_POLICY
