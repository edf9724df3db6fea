"""Equivalence of the URIs that name services and devices (RFC 3986 section 6.2.2, RFC 3261 section 19.1.4)."""

from functools import lru_cache
from typing import Final, NamedTuple

from presence.errors import BadRequest
from presence.sip.headers import Params, canonical_user, parse_uri

_DECISIVE: Final = ("user", "ttl", "method", "maddr", "transport")
"""Parameters that count where one URI has them and the other has not."""
_SIP: Final = ("sip", "sips")


class Address(NamedTuple):
    """A URI: those with another `form` are never equivalent, those with the same are when `params` agree."""

    form: tuple[object, ...]
    params: Params


@lru_cache(1024)
def read_address(text: str) -> Address:
    """Read a URI; what cannot be read is equivalent to itself only."""
    scheme, colon, rest = text.partition(":")
    scheme = scheme.lower()
    try:
        if scheme == "tel":
            return Address((scheme, parse_uri(text).aor()), {})
        if scheme in _SIP:
            uri = parse_uri(text)
            decisive = tuple(uri.params.get(name, "").lower() for name in _DECISIVE)
            headers = frozenset((name, value) for name, value in uri.headers.items())
            form = (scheme, canonical_user(uri.user), uri.host, uri.port, decisive, headers)
            return Address(form, {k: v.lower() for k, v in uri.params.items() if k not in _DECISIVE})
    except BadRequest:
        return Address((text,), {})
    if not colon:
        return Address((text,), {})
    return Address((scheme, _normalise(scheme, rest)), {})


def _normalise(scheme: str, rest: str) -> str:
    if scheme == "urn":
        # RFC 8141 section 3.1; a UUID is compared without regard to case (RFC 4122 section 3).
        kind, _, name = rest.partition(":")
        return f"{kind.lower()}:{name.lower() if kind.lower() == 'uuid' else name}"
    if rest.startswith("//"):
        authority, slash, path = rest[2:].partition("/")
        user, at, host = authority.rpartition("@")
        return f"//{user}{at}{host.lower()}{slash}{path}"
    if scheme in ("pres", "im", "mailto", "xmpp"):
        user, at, host = rest.rpartition("@")
        return f"{user}{at}{host.lower()}"
    return rest


def is_equivalent(one: Address, other: Address) -> bool:
    """Return whether two URIs are equivalent."""
    if one.form != other.form:
        return False
    return all(other.params.get(name, value) == value for name, value in one.params.items())
