"""The ways out: which of the listeners NOTIFYs to a target leave by."""

from presence.subscription.dialog import Target

# A connection is made from a fresh socket, so any listener of its kind may be named in it as ours.
_KINDS = {
    ("UDP", False): "UDP/4",
    ("UDP", True): "UDP/6",
    **{(token, v6): token for token in ("TCP", "TLS", "WS", "WSS") for v6 in (False, True)},
}


class Ways:
    """Listeners by the number the watcher table knows them by."""

    def __init__(self) -> None:
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
        kind = _KINDS[target.transport, ":" in target.host]
        return link if link is not None and self._kinds.get(link) == kind else self._first.get(kind)
