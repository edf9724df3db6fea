"""The event package presence (RFC 3856)."""

from collections.abc import Sequence

from presence.document import compose
from presence.document.pidf import PidfDocument, parse_pidf
from presence.values import Aor, Publication

_CLOSED_TUPLE_ID = "closed"

_PENDING_NOTE = "Waiting for approval"


class PresencePackage:
    """Presence: PIDF in, composed PIDF out, shown to whom the presentity allows (RFC 3856 section 6)."""

    name = "presence"
    content_type = "application/pidf+xml"
    publishable: tuple[str, ...] = ("application/pidf+xml",)
    default_expires_s = 3600
    authorised = True
    watches = ""

    def read(self, content_type: str, body: bytes) -> PidfDocument:
        """Cut the published document into its fragments."""
        return parse_pidf(body)

    def compose(self, presentity: Aor, publications: Sequence[Publication]) -> bytes:
        """Merge what the user agents say; a presentity that says nothing is closed, never without a body."""
        documents = [p.document for p in publications if isinstance(p.document, PidfDocument)]
        if not documents:
            return compose.closed(presentity.uri, _CLOSED_TUPLE_ID)
        return compose.compose(presentity.uri, documents)

    def withhold(self, presentity: Aor, *, pending: bool) -> bytes:
        """Say that approval is pending (RFC 3856 section 6.6.2), or look like a presentity that says nothing."""
        if pending:
            return compose.closed(presentity.uri, _CLOSED_TUPLE_ID, _PENDING_NOTE)
        return self.compose(presentity, ())
