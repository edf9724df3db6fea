"""pres-rules: who may see what of a user's presence (RFC 5025 section 9)."""

from typing import Final

from presence.xcap.schema import SchemaUsage

COMMON_POLICY: Final = "urn:ietf:params:xml:ns:common-policy"
OMA_COMMON_POLICY: Final = "urn:oma:xml:xdm:common-policy"
OMA_PRES_RULES: Final = "urn:oma:xml:prs:pres-rules"


class PresRules(SchemaUsage):
    """All documents of a user count together, whatever their names (section 9.7)."""

    auid = "pres-rules"
    content_type = "application/auth-policy+xml"
    namespace = "urn:ietf:params:xml:ns:pres-rules"
    namespaces = (COMMON_POLICY, OMA_COMMON_POLICY, OMA_PRES_RULES)
    root, root_namespace = "ruleset", COMMON_POLICY
