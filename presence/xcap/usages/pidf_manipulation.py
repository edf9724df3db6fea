"""pidf-manipulation: presence that stays until it is changed (RFC 4827)."""

import re

from lxml import etree

from presence.document.pidf import PIDF, parse_pidf
from presence.errors import BadRequest
from presence.xcap.documents import Key
from presence.xcap.errors import ConstraintFailure
from presence.xcap.schema import SchemaUsage
from presence.xcap.usage import World

_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:\S+")


class PidfManipulation(SchemaUsage):
    """One document a user, which is composed with what is published (sections 3 and 9)."""

    auid = "pidf-manipulation"
    content_type = "application/pidf+xml"
    namespace = PIDF
    namespaces = tuple(f"{PIDF}:{name}" for name in ("data-model", "rpid", "cipid", "timed-status", "caps"))
    root = "presence"
    names = frozenset(("index",))

    def check(self, tree: etree._Element, body: bytes, key: Key, world: World) -> None:
        """Raise `ConstraintFailure` for a document that could not be composed (RFC 3863 sections 4.1.1 and 4.1)."""
        entity = tree.get("entity", "")
        if not _URI.fullmatch(entity):
            raise ConstraintFailure("Let entity be the URI of the presentity, such as pres:alice@example.com")
        try:
            parse_pidf(body)
        except BadRequest as error:
            raise ConstraintFailure(f"This document cannot be composed with others: {error.reason}") from None
