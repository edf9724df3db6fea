"""What the compiled loader asks once for all rows that have it in common."""

from presence.errors import SipError
from presence.events.package import EventPackage, Narrating
from presence.events.registry import Registry
from presence.policy.decision import Policy
from presence.sip.headers import parse_uri, split_values
from presence.sip.route import address_request
from presence.subscription.dialog import AllowedTargets, Target
from presence.subscription.notify import Notify
from presence.subscription.ways import Ways

ROUTES_KEPT = 10_000

ANY_TARGET = Target("UDP", "127.0.0.1", 5060)


class Presentities(dict[str, tuple[int, bool] | None]):
    """The resources of one package by the URI in the database, made when a row needs them."""

    def __init__(self, notify: Notify, package: EventPackage, *, let_in: bool) -> None:
        self._notify = notify
        self._package = package
        self._let_in = let_in

    def __missing__(self, uri: str) -> tuple[int, bool] | None:
        """Return the group and whether every watcher is let in, None when the URI cannot be read."""
        try:
            presentity = parse_uri(uri).aor()
        except (SipError, ValueError):
            return None
        known = self[uri] = (self._notify.resource(self._package, presentity).gid, self._let_in)
        return known


class Resources(dict[str, Presentities | None]):
    """Packages whose rows are ordinary: nothing is decided, and nothing kept, for each of them in Python."""

    def __init__(self, notify: Notify, registry: Registry, policy: Policy) -> None:
        self._notify = notify
        self._registry = registry
        self._everybody = policy.name == "open"

    def __missing__(self, event: str) -> Presentities | None:
        """Return the package's resources, None when its rows take a closer look."""
        package = self._registry.get(event)
        known = None
        if (
            package is not None
            and not package.watches
            and not isinstance(package, Narrating)
            and (self._everybody or not package.authorised)
        ):
            known = Presentities(self._notify, package, let_in=package.authorised)
        self[event] = known
        return known


class Links(dict[str, int | None]):
    """Which listener a row's NOTIFYs leave by, towards an IPv4 address over UDP, by its `socket_info`."""

    def __init__(self, ways: Ways) -> None:
        self._ways = ways

    def __missing__(self, socket_info: str) -> int | None:
        """Return the number of the link, None when no listener reaches such a target."""
        link = self[socket_info] = self._ways.choose(self._ways.find(socket_info), ANY_TARGET)
        return link


class Routes(dict[str, bytes | None]):
    """The value of Route by the column `record_route`."""

    def __missing__(self, record_route: str) -> bytes | None:
        """Return it, None for a strict route and for what cannot be read."""
        if len(self) >= ROUTES_KEPT:
            self.clear()
        try:
            uri, route = address_request("", tuple(split_values(record_route)))
            known = None if uri else route.encode("utf-8", "surrogateescape")
        except (SipError, ValueError):
            known = None
        self[record_route] = known
        return known


def read_networks(allowed: AllowedTargets) -> tuple[tuple[int, int], ...]:
    """Return address and mask of the IPv4 networks."""
    return tuple((int(n.network_address), int(n.netmask)) for n in allowed.networks if n.version == 4)
