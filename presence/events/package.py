"""What the framework asks of an event package (RFC 6665 section 5); it knows none by name."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from presence.values import Aor, Publication


class EventPackage(Protocol):
    """An event package whose state is published and composed."""

    name: str
    """The token of the Event header."""
    content_type: str
    """The type of NOTIFY bodies, and the default of Accept."""
    publishable: tuple[str, ...]
    """Body types PUBLISH may carry, lower case, best first; empty when nobody may publish."""
    default_expires_s: int
    authorised: bool
    """True when the privacy policy decides about each watcher (`Withholding`)."""
    watches: str
    """For a template package such as presence.winfo the package whose watchers are its state, else ''."""

    def read(self, content_type: str, body: bytes) -> object:
        """Check a published body and return what `compose` wants to have of it.

        Raises `BadRequest` (with a reason phrase that says what is wrong) when the body is malformed.
        """

    def compose(self, presentity: Aor, publications: Sequence[Publication]) -> bytes:
        """Return the document of a presentity; `publications` are oldest first and may be empty."""


@runtime_checkable
class Withholding(Protocol):
    """What an event package has beside when it has something to say to watchers that may not see the document."""

    def withhold(self, presentity: Aor, *, pending: bool) -> bytes:
        """Return what a watcher is shown that waits for approval (`pending`), or that must not know it is blocked."""
