"""Where a request inside a dialog is addressed (RFC 3261 section 12.2.1.1)."""

from presence.sip.headers import parse_name_addr, parse_uri


def address_request(target: str, route: tuple[str, ...]) -> tuple[str, str]:
    """Return the Request-URI and the value of Route ('' for none) for a remote target and a route set."""
    if not route:
        return target, ""
    first = parse_name_addr(route[0]).uri
    if "lr" in parse_uri(first).params:
        return target, ", ".join(route)
    # A strict router gets its own URI as Request-URI; the remote target goes last.
    return first, ", ".join((*route[1:], f"<{target}>"))
