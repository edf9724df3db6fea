"""org.openmobilealliance.xcap-directory: the documents a user has (OMA-TS-XDM_Core-V1_1, section 6.7.2)."""

from datetime import UTC, datetime

from presence.document.xml import escape
from presence.xcap.documents import Key, Stored
from presence.xcap.schema import SchemaUsage
from presence.xcap.uri import escape_segment
from presence.xcap.usage import World


class XcapDirectory(SchemaUsage):
    """Made when it is asked for."""

    auid = "org.openmobilealliance.xcap-directory"
    content_type = "application/vnd.oma.xcap-directory+xml"
    namespace = "urn:oma:xml:xdm:xcap-directory"
    root = "xcap-directory"
    names = frozenset(("directory.xml", "index"))
    read_only = True

    def generate(self, key: Key, world: World) -> bytes | None:
        """Return a folder for each usage the user has documents of, and in it where they are, their etags and sizes."""
        if key.owner is None or key.name not in self.names:
            return None
        folders = []
        for auid, usage in sorted(world.usages.items()):
            stored = world.documents.of(key.owner, auid) if usage.users_tree else []
            if stored:
                home = f"{world.roots[0]}/{auid}/users/{escape_segment(key.owner.uri)}"
                entries = "".join(_entry(home, document) for document in sorted(stored, key=lambda each: each.key.name))
                folders.append(f' <folder auid="{escape(auid)}">\n{entries} </folder>\n')
        return (
            f'<?xml version="1.0" encoding="UTF-8"?>\n<xcap-directory xmlns="{self.namespace}">\n{"".join(folders)}'
            "</xcap-directory>\n"
        ).encode()


def _entry(home: str, stored: Stored) -> str:
    path = "/".join(escape_segment(part) for part in stored.key.name.split("/"))
    changed = ""
    if stored.changed_at > 0:
        changed = f' last-modified="{datetime.fromtimestamp(stored.changed_at, UTC):%Y-%m-%dT%H:%M:%SZ}"'
    return (
        f'  <entry uri="{escape(f"{home}/{path}")}" etag="{escape(stored.etag)}"{changed} size="{len(stored.body)}"/>\n'
    )
