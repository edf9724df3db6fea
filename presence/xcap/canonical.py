"""Canonical SIP URIs (RFC 4826 section 5)."""

from typing import Final
from urllib.parse import quote, unquote_to_bytes

from presence.errors import BadRequest
from presence.sip.headers import canonical_user, parse_uri

_PARAMETER: Final = "-_.!~*'()[]/:&+$"
"""What may stand in a parameter beside letters and digits (RFC 3261 section 25.1, param-unreserved and unreserved)."""


def canonical_uri(uri: str) -> str:
    """Return a SIP URI in the one spelling of those equal to it; anything else as it is."""
    try:
        parsed = parse_uri(uri)
    except BadRequest:
        return uri
    if parsed.scheme not in ("sip", "sips"):
        return uri
    port = "" if parsed.port is None else f":{parsed.port}"
    params = sorted((_token(name).lower(), _token(value).lower()) for name, value in parsed.params.items())
    tail = "".join(f";{name}={value}" if value else f";{name}" for name, value in params)
    user = f"{canonical_user(parsed.user)}@" if parsed.user else ""
    return f"{parsed.scheme}:{user}{parsed.host}{port}{tail}"


def _token(text: str) -> str:
    return quote(unquote_to_bytes(text.encode("utf-8", "surrogateescape")), safe=_PARAMETER)
