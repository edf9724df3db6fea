"""Who may watch the watchers of others (RFC 3857 section 4.6)."""

from typing import NamedTuple

from presence.values import Aor


class WatcherAccess(NamedTuple):
    """What the operator allows beyond the RFC, which lets the presentity alone see who watches it."""

    everybody: bool = True
    """Whether policy `open` opens watcher information too, as with OpenSIPS."""
    administrators: frozenset[Aor] = frozenset()
    """Who is told the watchers of every presentity, though not who watches those."""
