"""xcap-caps: what this server can do (RFC 4825 section 12)."""

from collections.abc import Iterable

from presence.document.xml import escape
from presence.xcap.documents import Key
from presence.xcap.schema import SchemaUsage
from presence.xcap.usage import World


class XcapCaps(SchemaUsage):
    """One global document, made of what is served (section 12.7)."""

    auid = "xcap-caps"
    content_type = "application/xcap-caps+xml"
    namespace = "urn:ietf:params:xml:ns:xcap-caps"
    root = "xcap-caps"
    users_tree, global_tree = False, True
    names = frozenset(("index",))
    read_only = True

    def generate(self, key: Key, world: World) -> bytes | None:
        """Return the capabilities: namespaces are those of which there are schemas."""
        if key.owner is not None or key.name not in self.names:
            return None
        served = [usage for usage in world.usages.values() if isinstance(usage, SchemaUsage)]
        namespaces = {self.namespace, *(name for usage in served for name in (usage.namespace, *usage.namespaces))}
        auids = _elements("auid", {self.auid, *world.usages})
        return (
            f'<?xml version="1.0" encoding="UTF-8"?>\n<xcap-caps xmlns="{self.namespace}">\n'
            f" <auids>\n{auids} </auids>\n <extensions/>\n"
            f" <namespaces>\n{_elements('namespace', namespaces)} </namespaces>\n</xcap-caps>\n"
        ).encode()


def _elements(name: str, values: Iterable[str]) -> str:
    return "".join(f"  <{name}>{escape(value)}</{name}>\n" for value in sorted(values))
