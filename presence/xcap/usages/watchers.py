"""org.openxcap.watchers: the watchers of a user, as OpenXCAP shows them."""

from typing import Final

from presence.document.xml import escape
from presence.errors import BadRequest
from presence.sip.headers import parse_uri
from presence.values import SubscriptionStatus, WatcherRecord
from presence.xcap.documents import Key
from presence.xcap.schema import SchemaUsage
from presence.xcap.usage import World

_STATUS: Final = {
    SubscriptionStatus.ACTIVE: "allow",
    SubscriptionStatus.PENDING: "confirm",
    SubscriptionStatus.TERMINATED: "deny",
    SubscriptionStatus.WAITING: "confirm",
}


class Watchers(SchemaUsage):
    """Made from the table of watchers when it is asked for."""

    auid = "org.openxcap.watchers"
    content_type = "application/xml"
    namespace = "http://openxcap.org/ns/watchers"
    root = "watchers"
    names = frozenset(("index", "index.xml"))
    read_only = True

    def generate(self, key: Key, world: World) -> bytes | None:
        """Return the list of watchers, sorted, each once: allowed, to be confirmed or denied."""
        if key.owner is None or key.name not in self.names:
            return None
        found: dict[str, tuple[str, bool]] = {}
        for record in world.watchers(key.owner):
            name, online = _name(record), record.expires_at > 0
            found[name] = _STATUS[record.status], online or found.get(name, ("", False))[1]
        rows = "".join(
            f"  <watcher><id>{escape(name)}</id><status>{status}</status><online>{'true' if online else 'false'}"
            "</online></watcher>\n"
            for name, (status, online) in sorted(found.items())
        )
        return (
            f'<?xml version="1.0" encoding="UTF-8"?>\n<watchers xmlns="{self.namespace}">\n{rows}</watchers>\n'
        ).encode()


def _name(record: WatcherRecord) -> str:
    """Return user@domain, as OpenXCAP has it, of a URI."""
    try:
        aor = parse_uri(record.uri).aor()
    except BadRequest:
        return record.uri
    return f"{aor.username}@{aor.domain}" if aor.domain else aor.username
