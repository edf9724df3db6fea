"""The ways out: which of the listeners NOTIFYs to a target leave by."""

from collections.abc import MutableMapping

from presence.subscription.dialog import Target

# A connection is made from a fresh socket, so any listener of its kind may be named in it as ours.
_KINDS = {
    ("UDP", False): "UDP/4",
    ("UDP", True): "UDP/6",
    **{(token, v6): token for token in ("TCP", "TLS", "WS", "WSS") for v6 in (False, True)},
}


SECURE = frozenset({"TLS", "WSS"})

NAMES_KEPT = 10_000


class Ways:
    """Listeners by the number the watcher table knows them by."""

    def __init__(self) -> None:
        self.names: dict[int, MutableMapping[tuple[str, int], str]] = {}
        """By link, where a listener looks up who the server at an address must prove to be (RFC 5922 section 4)."""
        self._links: dict[str, int] = {}
        self._kinds: dict[int, str] = {}
        self._first: dict[str, int] = {}

    def add(self, local: str, link: int) -> None:
        """Know a listener; `local` is `proto:host:port`, IPv6 in brackets."""
        self._links[local] = link
        kind = _KINDS[local.partition(":")[0].upper(), "[" in local]
        self._kinds[link] = kind
        self._first.setdefault(kind, link)

    def find(self, local: str) -> int | None:
        """Return the listener of that name, as the column `socket_info` has it."""
        return self._links.get(local)

    def choose(self, link: int | None, target: Target) -> int | None:
        """Return the way out for a target when the request came in on `link`; None when there is none.

        It is the socket the SUBSCRIBE came to where that can reach the target, else the first listener that can.
        """
        if target.flow:
            return link
        kind = _KINDS.get((target.transport, ":" in target.host), "")
        return link if link is not None and self._kinds.get(link) == kind else self._first.get(kind)

    def secure(self, link: int) -> int | None:
        """Return the listener a SIPS URI of ours names, None when none speaks TLS.

        It is the one the request came to where that does, else the first.
        """
        if self._kinds[link] in SECURE:
            return link
        return self._first.get("TLS", self._first.get("WSS"))

    def reaches(self, transport: str, more: bool) -> bool:
        """Return whether there is a way out by a transport, over IPv6 when `more`."""
        return _KINDS.get((transport, more)) in self._first

    def transport(self, link: int) -> str:
        """Return the transport of a listener, as Via has it."""
        return self._kinds[link].partition("/")[0]

    def name(self, link: int, target: Target) -> None:
        """Tell the listener whose name it is that a connection to the target is opened for."""
        names = self.names.get(link)
        if names is None or not target.name:
            return
        if len(names) >= NAMES_KEPT:
            names.clear()
        names[target.host, target.port] = target.name

    def streams(self) -> list[tuple[int, int]]:
        """Return for each UDP listener the TCP listener that large requests leave by in its place, if there is one.

        It is the one on the same address and port where that exists (RFC 3261 section 18.1.1).
        """
        first = self._first.get("TCP")
        if first is None:
            return []
        udp = {local: link for local, link in self._links.items() if self.transport(link) == "UDP"}
        return [(link, self._links.get(f"tcp:{local.partition(':')[2]}", first)) for local, link in udp.items()]
