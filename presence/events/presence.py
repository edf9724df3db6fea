"""The event package presence (RFC 3856)."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from presence.document import compose
from presence.document.pidf import Kind, PidfDocument, parse_pidf
from presence.values import Aor, Publication

_CLOSED_TUPLE_ID = "closed"

_PENDING_NOTE = "Waiting for approval"


class PresenceOptions(NamedTuple):
    """The settings."""

    closed_body: bool = True
    """Whether a presentity that says nothing is told as closed, or by no body at all."""
    farewell: bool = False
    """Whether the end of a publication is told once with its tuple, closed."""
    one_person: bool = False
    """Whether the newest publication with a person is the only one that says who that is."""


DEFAULTS: Final = PresenceOptions()


class PresencePackage:
    """Presence: PIDF in, composed PIDF out, shown to whom the presentity allows (RFC 3856 section 6)."""

    name = "presence"
    content_type = "application/pidf+xml"
    publishable: tuple[str, ...] = ("application/pidf+xml",)
    default_expires_s = 3600
    authorised = True
    watches = ""

    def __init__(self, options: PresenceOptions = DEFAULTS) -> None:
        self._options = options

    def read(self, content_type: str, body: bytes) -> PidfDocument:
        """Cut the published document into its fragments."""
        return parse_pidf(body)

    def compose(self, presentity: Aor, publications: Sequence[Publication]) -> bytes:
        """Merge what the user agents say; who says nothing is closed, or has no document where that is configured."""
        documents = [p.document for p in publications if isinstance(p.document, PidfDocument)]
        if not documents:
            return compose.closed(presentity.uri, _CLOSED_TUPLE_ID) if self._options.closed_body else b""
        return compose.compose(presentity.uri, documents, one_person=self._options.one_person)

    def withhold(self, presentity: Aor, *, pending: bool) -> bytes:
        """Say that approval is pending (RFC 3856 section 6.6.2), or look like a presentity that says nothing."""
        if pending:
            return compose.closed(presentity.uri, _CLOSED_TUPLE_ID, _PENDING_NOTE)
        return self.compose(presentity, ())

    def parting(self, presentity: Aor, document: object) -> PidfDocument | None:
        """Return the first tuple of a publication that has ended, closed, and nothing else of it."""
        if not self._options.farewell or not isinstance(document, PidfDocument):
            return None
        for number in range(len(document)):
            kind, identity, *_ = document.piece(number)
            if kind == Kind.TUPLE and identity:
                return parse_pidf(compose.closed(presentity.uri, identity.decode()))
        return None
