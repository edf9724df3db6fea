"""dialog-rules: who may see a user's dialogs, in the form of RFC 4745; no RFC defines it, OpenXCAP has it."""

from presence.xcap.usages.pres_rules import COMMON_POLICY, OMA_COMMON_POLICY, RulesUsage


class DialogRules(RulesUsage):
    """Under the name an RFC would give it."""

    auid = "dialog-rules"
    content_type = "application/auth-policy+xml"
    namespace = "urn:ietf:params:xml:ns:dialog-rules"
    namespaces = (COMMON_POLICY, OMA_COMMON_POLICY)
    root, root_namespace = "ruleset", COMMON_POLICY


class OpenXcapDialogRules(DialogRules):
    """Under the name that OpenXCAP and Blink know."""

    auid = "org.openxcap.dialog-rules"
    namespace = "http://openxcap.org/ns/dialog-rules"
