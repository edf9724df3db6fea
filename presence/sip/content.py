"""Bodies nobody asked for (RFC 3261 section 8.2.3)."""

from presence._fastcore import Message
from presence.errors import UnsupportedMediaType
from presence.sip.headers import parse_token_params


def refuse_body(request: Message) -> None:
    """Raise UnsupportedMediaType for a body where none is understood, unless it is optional."""
    if not request.body:
        return
    disposition = request.header("Content-Disposition")
    if disposition is not None and parse_token_params(disposition)[1].get("handling", "").lower() == "optional":
        return
    headers = [("Accept", "")]
    if (request.header("Content-Encoding") or "identity").strip().lower() != "identity":
        headers.append(("Accept-Encoding", "identity"))
    raise UnsupportedMediaType(headers=tuple(headers))
