"""Where the NOTIFYs of a dialog go: back on the flow of the SUBSCRIBE, or to where the route set or Contact leads."""

from typing import NamedTuple

from presence._fastcore import Message
from presence.errors import Forbidden
from presence.sip.endpoint import Origin
from presence.sip.headers import parse_uri, parse_via
from presence.sip.location import PORTS, Hop, is_address
from presence.subscription.dialog import AllowedTargets, Dialog, Target

FLOW_ONLY = frozenset({"WS", "WSS"})
"""Nobody can connect to a WebSocket client (RFC 7118 section 5)."""


class Aiming(NamedTuple):
    """What the configuration says of targets."""

    allowed: AllowedTargets
    names: bool = True
    """Whether host names are looked up; else they stand for where the request came from."""
    nat: bool = True
    """Whether a watcher behind a NAT is sent its NOTIFYs to where its SUBSCRIBE came from."""


def choose_target(dialog: Dialog, request: Message, aiming: Aiming) -> Target | Hop:
    """Decide where NOTIFYs go, or which hop has to be looked up for that.

    Raises Forbidden when the configuration does not let us send there, BadRequest for a URI that leads nowhere.
    """
    hop, origin, source = dialog.hop(), request.origin, request.source
    if origin.flow:
        if source[0] not in aiming.allowed:
            raise Forbidden("Contact Address Not Allowed")
        return _on_flow(dialog, hop, origin, source, aiming)
    if origin.transport == "UDP" and _goes_back(dialog, hop, request, aiming):
        target = Target("UDP", *source, explicit=True)
    elif hop.is_address:
        target = at_address(hop, hop.host)
    elif hop.host == "localhost":
        target = at_address(hop, "127.0.0.1")
    elif aiming.names:
        return hop
    else:
        target = at_address(hop, source[0])
    if target.host not in aiming.allowed:
        raise Forbidden("Contact Address Not Allowed")
    return target


def at_address(hop: Hop, host: str) -> Target:
    """Return the target of a hop whose address is known."""
    port = hop.port or PORTS.get(hop.fallback, 5060)
    return Target(hop.fallback, host, port, explicit=hop.transport == "UDP" or hop.outbound)


def is_flow_only(dialog: Dialog, transport: str) -> bool:
    """Whether the watcher can be reached on a flow of its own making only, and never by a new connection.

    RFC 5626 section 4.3 has it say so with `ob` in its Contact. With a route set the flow is the proxy's affair.
    """
    if dialog.route:
        return False
    return transport in FLOW_ONLY or "ob" in parse_uri(dialog.contact).params


def _on_flow(dialog: Dialog, hop: Hop, origin: Origin, source: tuple[str, int], aiming: Aiming) -> Target:
    """RFC 5626 section 5.3: the connection the SUBSCRIBE came in on, and behind it where a new one would go.

    That is looked up when it is needed only. Without an address that fits the transport the port is 0.
    """
    host = "127.0.0.1" if hop.host == "localhost" else hop.host
    if not is_address(host) and not aiming.names:
        host = source[0]
    if (
        is_flow_only(dialog, origin.transport)
        or hop.fallback != origin.transport
        or not is_address(host)
        or host not in aiming.allowed
    ):
        return Target(origin.transport, source[0], 0, origin.flow)
    return Target(origin.transport, host, at_address(hop, host).port, origin.flow)


def _goes_back(dialog: Dialog, hop: Hop, request: Message, aiming: Aiming) -> bool:
    """Whether NOTIFYs over UDP go to where the SUBSCRIBE came from, the flow of RFC 5626 section 3.1.

    Either `ob` in Contact asks for it, or a NAT is seen at work: the request did not come from the address that its
    Via and its Contact name, and `rport` asks for the answer there (RFC 3581). Behind a proxy neither is the case.
    """
    if dialog.route or request.source == (hop.host, hop.port or 5060):
        return False
    if len(request.values("Via")) != 1:
        return False
    if hop.outbound:
        return True
    if not aiming.nat or not request.rport or hop.fallback != "UDP" or request.source[0] == hop.host:
        return False
    via = parse_via(request.values("Via")[0])
    return (via.host.strip("[]"), via.port or 5060) == (hop.host, hop.port or 5060)
