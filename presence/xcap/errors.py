"""What an XCAP request may be refused with, and the conflict reports of RFC 4825 section 11.

The phrase of a report is for a person: it says what to do, not only what is wrong.
"""

from collections.abc import Sequence
from typing import ClassVar, Final, NamedTuple

from presence.document.xml import escape
from presence.errors import Headers, PresenceError

NAMESPACE: Final = "urn:ietf:params:xml:ns:xcap-error"
CONTENT_TYPE: Final = "application/xcap-error+xml"


class XcapError(PresenceError):
    """A request that deserves a failure response; `reason` is its body, one line of plain text."""

    status: int = 500

    def __init__(self, reason: str, headers: Headers = ()) -> None:
        self.reason, self.headers = reason, headers
        super().__init__(f"{self.status} {reason}")


class BadSelector(XcapError):
    """The node selector or its namespace bindings cannot be read (RFC 4825 section 8)."""

    status = 400


class NotAllowed(XcapError):
    """Understood, and this user may not (RFC 4825 section 5.7)."""

    status = 403


class NoResource(XcapError):
    """Nothing is there (RFC 4825 sections 8, 8.3 and 8.4)."""

    status = 404


class MethodNotAllowed(XcapError):
    """The resource does not serve the method; carries Allow (RFC 4825 sections 8.1, 8.2 and 8.4)."""

    status = 405

    def __init__(self, reason: str, allow: str) -> None:
        super().__init__(reason, (("Allow", allow),))


class PreconditionFailed(XcapError):
    """If-Match or If-None-Match does not hold (RFC 4825 section 8.2.6); carries the ETag there is."""

    status = 412


class TooLarge(XcapError):
    """The body or the document it would make is larger than is taken."""

    status = 413


class UnsupportedType(XcapError):
    """The body is of another type than the resource (RFC 4825 section 8.2.2)."""

    status = 415


class Conflict(XcapError):
    """The request would leave something that must not be: 409 with a report (RFC 4825 section 11)."""

    status = 409
    element: ClassVar[str]
    """Name of the error element."""

    def __init__(self, phrase: str) -> None:
        super().__init__(phrase)
        self.phrase = phrase

    def _attributes(self) -> str:
        return f' phrase="{escape(self.phrase)}"' if self.phrase else ""

    def _content(self) -> str:
        return ""

    def _path_content(self) -> str:
        """The content with places in a document as XPath expressions."""
        return self._content()

    def report(self, *, as_path: bool = False) -> bytes:
        """Return the document that says what is wrong, valid for the schema of section 11.2.

        With `as_path` it names fields by XPath expressions.
        """
        start, content = f"{self.element}{self._attributes()}", self._path_content() if as_path else self._content()
        element = f"<{start}>{content}</{self.element}>" if content else f"<{start}/>"
        return (
            f'<?xml version="1.0" encoding="UTF-8"?>\n<xcap-error xmlns="{NAMESPACE}">{element}</xcap-error>\n'
        ).encode()


class NotWellFormed(Conflict):
    """The body is no well-formed XML document."""

    element = "not-well-formed"


class NotXmlFragment(Conflict):
    """The body is not exactly one element."""

    element = "not-xml-frag"


class NotXmlAttributeValue(Conflict):
    """The body is no value an attribute can have (XML 1.0, AttValue)."""

    element = "not-xml-att-value"


class NotUtf8(Conflict):
    """The document would not be encoded in UTF-8."""

    element = "not-utf-8"


class NoParent(Conflict):
    """Where something was to be put is not there; `ancestor` is the URI of the closest place that is."""

    element = "no-parent"

    def __init__(self, phrase: str, ancestor: str = "") -> None:
        super().__init__(phrase)
        self.ancestor = ancestor

    def _content(self) -> str:
        return f"<ancestor>{escape(self.ancestor)}</ancestor>" if self.ancestor else ""


class CannotInsert(Conflict):
    """A GET after the PUT would not give what was PUT."""

    element = "cannot-insert"


class CannotDelete(Conflict):
    """After the DELETE its URI would select something else."""

    element = "cannot-delete"


class SchemaValidationError(Conflict):
    """The document would not comply with the schema of its application usage."""

    element = "schema-validation-error"


class ConstraintFailure(Conflict):
    """A constraint of the application usage that its schema cannot express does not hold."""

    element = "constraint-failure"


class Exists(NamedTuple):
    """A value that must be unique and is not."""

    field: str
    """Where: a node selector, percent-encoded, relative to the document, so that it begins with the root element."""
    alternatives: Sequence[str] = ()
    """Values that nobody has by now."""
    path: str = ""
    """The same place as an XPath expression, for those who evaluate the field as one."""


class UniquenessFailure(Conflict):
    """Values that the application usage wants unique are not; at least one is named."""

    element = "uniqueness-failure"

    def __init__(self, phrase: str, exists: Sequence[Exists]) -> None:
        super().__init__(phrase)
        self.exists = exists

    def _content(self) -> str:
        return self._name([entry.field for entry in self.exists])

    def _path_content(self) -> str:
        return self._name([entry.path or entry.field for entry in self.exists])

    def _name(self, fields: Sequence[str]) -> str:
        return "".join(
            f'<exists field="{escape(field)}">'
            + "".join(f"<alt-value>{escape(value)}</alt-value>" for value in entry.alternatives)
            + "</exists>"
            for entry, field in zip(self.exists, fields, strict=True)
        )


class Extension(Conflict):
    """A condition that an extension of XCAP defines; the schema gives it no phrase, only content of any kind."""

    element = "extension"

    def __init__(self, phrase: str, content: str = "") -> None:
        super().__init__(phrase)
        self.content = content
        """Well-formed XML of a namespace of its own."""

    def _attributes(self) -> str:
        return ""

    def _content(self) -> str:
        return self.content
