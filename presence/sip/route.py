"""Where a request inside a dialog is addressed (RFC 3261 section 12.2.1.1)."""

import re

from presence.sip.headers import parse_name_addr, parse_uri

_METHOD = re.compile(r";method(=[^;?]*)?(?=[;?]|$)", re.IGNORECASE)


def request_uri(uri: str) -> str:
    """Return a URI without what no Request-URI has (RFC 3261 section 19.1.1): its headers, and `method`."""
    if "?" not in uri and ";" not in uri:
        return uri
    # Both may stand in the user part, whose @ is the last there is.
    user, at, rest = uri.rpartition("@")
    return user + at + _METHOD.sub("", rest.partition("?")[0])


def address_request(target: str, route: tuple[str, ...]) -> tuple[str, str]:
    """Return the Request-URI and the value of Route ('' for none) for a remote target and a route set."""
    if not route:
        return target, ""
    first = parse_name_addr(route[0]).uri
    if "lr" in parse_uri(first).params:
        return target, ", ".join(route)
    # A strict router gets its own URI as Request-URI; the remote target goes last.
    return request_uri(first), ", ".join((*route[1:], f"<{target}>"))
