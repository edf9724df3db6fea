"""Who gets at what asks nobody for a password: programs of this machine, and of networks that are allowed."""

from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address

from starlette.requests import Request

Networks = tuple[IPv4Network | IPv6Network, ...]


def may_call(request: Request, allow: Networks) -> bool:
    """Whether a request comes from this machine or one of the networks."""
    try:
        address = ip_address(request.client.host if request.client is not None else "")
    except ValueError:
        return False
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return address.is_loopback or any(address in network for network in allow)
