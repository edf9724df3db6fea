"""Who must answer a NOTIFY before more is sent: an address that somebody else has named.

RFC 3261 section 26.1.5: otherwise a SUBSCRIBE with somebody else's Contact, for which the sender needs not even show
his own address, makes the server send many times what it got.
"""

from presence._fastcore import Fanout, Message, Networks
from presence.errors import Forbidden
from presence.subscription.dialog import Network, Target, same_host

NOWHERE = frozenset({"", "0.0.0.0", "::"})


class Proof:
    """Marks targets that get one NOTIFY until they answer it (`Fanout.doubt`)."""

    def __init__(self, table: Fanout, trusted: tuple[Network, ...], most: int) -> None:
        self._table = table
        self._trusted = Networks(trusted)
        self._most = most

    def ask(self, request: Message, target: Target, known: int, *, begins: bool) -> Target:
        """Note who named an address that is not his own; raises Forbidden when too many of such lead there.

        `known` is a subscription of the dialog: what is proven of its target need not be proven again. With
        `begins` there will be one more. Who is trusted, or has proven who he is, may name any address.
        """
        source = request.source[0]
        if target.flow or source in NOWHERE or source in self._trusted or request.identity is not None:
            return target
        if target.others:
            target = target._replace(asker=source)
        if same_host(source, target.host):
            return target
        stays = known and same_host(self._table.target(known)[0], target.host)
        if stays and not self._table.unproven(known):
            return target
        if (begins or not stays) and self._table.doubts(target.host) >= self._most:
            raise Forbidden("Too Many Subscriptions for an Address Without Answer")
        return target._replace(source=source)

    def suspect(self, target: Target, source: str) -> Target | None:
        """Note the same of a target found later, for who subscribed from `source`; None when too many lead there."""
        if source in NOWHERE or source in self._trusted:
            return target
        if target.others:
            target = target._replace(asker=source)
        if same_host(source, target.host):
            return target
        return target._replace(source=source) if self._table.doubts(target.host) < self._most else None
