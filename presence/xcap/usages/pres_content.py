"""org.openmobilealliance.pres-content: pictures of users (OMA-TS-Presence_SIMPLE_Content_XDM-V1_0)."""

import binascii
import re
from base64 import b64decode
from typing import Final

from lxml import etree

from presence.xcap.errors import ConstraintFailure
from presence.xcap.schema import SchemaUsage

PICTURE_BYTES_MOST: Final = 300 * 1024

_STARTS: Final = {
    "image/jpeg": (b"\xff\xd8\xff",),
    "image/gif": (b"GIF87a", b"GIF89a"),
    "image/png": (b"\x89PNG\r\n\x1a\n",),
}
_SPACE = re.compile(r"[ \t\r\n]+")


class PresContent(SchemaUsage):
    """Contacts fetch them by the URI in a presence document, so everybody may read them: they must be pictures."""

    auid = "org.openmobilealliance.pres-content"
    content_type = "application/vnd.oma.pres-content+xml"
    namespace = "urn:oma:xml:prs:pres-content"
    root = "content"
    directories = frozenset(("", "oma_status-icon/"))
    readable_by_all = True
    # In base64, with a line break behind each 64 of its characters, and some for what stands around it.
    body_bytes = PICTURE_BYTES_MOST * 4 // 3 * 66 // 64 + 4096

    def validate(self, tree: etree._Element) -> None:
        """Raise a `Conflict` unless it holds one picture of a type browsers show, in base64, and not too large."""
        super().validate(tree)
        kind = self._only(tree, "mime-type").lower()
        if kind not in _STARTS:
            raise ConstraintFailure(f"Let mime-type be one of {', '.join(_STARTS)}")
        if self._only(tree, "encoding").lower() != "base64":
            raise ConstraintFailure("Let encoding be base64")
        try:
            data = b64decode(_SPACE.sub("", self._only(tree, "data")), validate=True)
        except (binascii.Error, ValueError):
            raise ConstraintFailure("Let data be base64") from None
        if len(data) > PICTURE_BYTES_MOST:
            raise ConstraintFailure(f"Keep the picture to {PICTURE_BYTES_MOST} bytes: it has {len(data)}")
        if not data.startswith(_STARTS[kind]):
            raise ConstraintFailure(f"Let data be a picture of type {kind}: it does not begin like one")

    def _only(self, tree: etree._Element, name: str) -> str:
        found = tree.findall(f"{{{self.namespace}}}{name}")
        if len(found) != 1:
            raise ConstraintFailure(f"Give the content one {name}: it has {len(found)}")
        return (found[0].text or "").strip()
