"""Why a patch cannot be applied, and the document that says so (RFC 5261 section 5)."""

from typing import Final

from presence.document.nodes import Element, Scope, free_prefixes, write_declarations, write_node
from presence.document.xml import escape
from presence.errors import PresenceError

NAMESPACE: Final = "urn:ietf:params:xml:ns:patch-ops-error"
CONTENT_TYPE: Final = "application/patch-ops-error+xml"

CONDITIONS: Final = frozenset(
    (
        "invalid-attribute-value",
        "invalid-diff-format",
        "invalid-namespace-prefix",
        "invalid-namespace-uri",
        "invalid-node-types",
        "invalid-patch-directive",
        "invalid-root-element-operation",
        "invalid-xml-prolog-operation",
        "invalid-whitespace-directive",
        "unlocated-node",
        "unsupported-id-function",
    )
)
"""The error elements of section 5.1 that can come up here."""


class PatchError(PresenceError):
    """An operation that cannot be fulfilled; what comes behind it is not applied either."""

    def __init__(self, condition: str, phrase: str) -> None:
        super().__init__(f"{condition}: {phrase}")
        assert condition in CONDITIONS
        self.condition = condition
        """Name of the error element."""
        self.phrase = phrase
        self.operation: tuple[Element, Scope] | None = None
        """The operation that failed, and the namespaces around it."""

    def report(self) -> bytes:
        """Return the document of section 5.1."""
        content = ""
        if self.operation is not None and self.condition != "invalid-diff-format":
            element, scope = self.operation
            known = {prefix: scope[prefix] for prefix in sorted(free_prefixes(element)) if prefix in scope}
            copy = Element(element.name, element.attributes, {"": "", **known, **element.declared})
            copy.children = element.children
            content = write_node(copy)
        start = f'{self.condition} phrase="{escape(self.phrase)}"'
        error = f"<{start}>{content}</{self.condition}>" if content else f"<{start}/>"
        declared = write_declarations({"": NAMESPACE})
        return (
            f'<?xml version="1.0" encoding="UTF-8"?>\n<patch-ops-error{declared}>{error}</patch-ops-error>\n'.encode()
        )
