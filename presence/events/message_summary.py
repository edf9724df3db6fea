"""The event package message-summary (RFC 3842)."""

from collections.abc import Sequence

from presence.document import message_summary
from presence.values import Aor, Publication


class MessageSummaryPackage:
    """Message waiting indication: the newest publication is the state of the account."""

    name = "message-summary"
    content_type = "application/simple-message-summary"
    publishable: tuple[str, ...] = ("application/simple-message-summary",)
    # RFC 3842 section 3.4: the default duration is one hour.
    default_expires_s = 3600
    # RFC 3842 section 3.6: it is nobody's business but the account's owner's.
    authorised = True
    watches = ""

    def read(self, content_type: str, body: bytes) -> bytes:
        """Check the published summary."""
        return message_summary.check(body)

    def compose(self, presentity: Aor, publications: Sequence[Publication]) -> bytes:
        """Return the newest summary; without any, that no message waits."""
        if publications and isinstance(publications[-1].document, bytes):
            return publications[-1].document
        return message_summary.empty(presentity.uri)
