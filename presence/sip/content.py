"""Bodies of requests where one is optional (RFC 3261 section 8.2.3)."""

from collections.abc import Sequence

from presence._fastcore import Message
from presence.errors import UnsupportedMediaType
from presence.sip.headers import parse_token_params


def read_body(request: Message, types: Sequence[str]) -> bytes:
    """Return the body when it is of one of these types, b"" for none and for one that may be left unread.

    Raises UnsupportedMediaType for another body where it is not optional.
    """
    body: bytes = request.body
    if not body:
        return b""
    kind = (request.header("Content-Type") or "").partition(";")[0].strip().lower()
    encoded = (request.header("Content-Encoding") or "identity").strip().lower() != "identity"
    if kind in types and not encoded:
        return body
    disposition = request.header("Content-Disposition")
    if disposition is not None and parse_token_params(disposition)[1].get("handling", "").lower() == "optional":
        return b""
    headers = [("Accept", ", ".join(types))]
    if encoded:
        headers.append(("Accept-Encoding", "identity"))
    raise UnsupportedMediaType(headers=tuple(headers))


def refuse_body(request: Message) -> None:
    """Raise UnsupportedMediaType for a body where none is understood, unless it is optional."""
    read_body(request, ())
