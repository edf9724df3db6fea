"""What an XCAP server tells by publishing an xcap-diff document (RFC 5874): which documents changed.

OpenXCAP does so after each change. It is a hint where to look: what changed to what is read from the documents.
"""

from collections.abc import Collection
from typing import NamedTuple
from urllib.parse import unquote

from lxml import etree

from presence.document.xml import parse_xml
from presence.errors import BadRequest
from presence.sip.headers import parse_uri
from presence.values import Aor
from presence.xcap.doctypes import name_in
from presence.xcap.shelf import Key

NAMESPACE = "urn:ietf:params:xml:ns:xcap-diff"
DOCUMENTS_MAX = 1000
_NODE = "/~~"


class _Path(NamedTuple):
    auid: str
    owner: Aor | None
    name: str


def documents_named(body: bytes, roots: Collection[str] = ()) -> list[Key]:
    """Return the documents an xcap-diff document is about, each once; raises BadRequest when it is none.

    With `roots` given, a document of another XCAP root says nothing.
    """
    tree = parse_xml(body)
    if tree.tag != f"{{{NAMESPACE}}}xcap-diff":
        raise BadRequest("Not an xcap-diff Document")
    if roots and tree.get("xcap-root", "").rstrip("/") not in {root.rstrip("/") for root in roots}:
        return []
    found: dict[Key, None] = {}
    for child in tree.iterchildren(etree.Element):
        # RFC 5874 section 4: document, element and attribute each say by `sel` where they are.
        key = key_of(str(child.get("sel", "")))
        if key is not None and len(found) < DOCUMENTS_MAX:
            found[key] = None
    return list(found)


def key_of(selector: str) -> Key | None:
    """Return the document of a path below an XCAP root (RFC 4825 section 6), None when it names none."""
    auid, _, rest = unquote(selector.partition(_NODE)[0].strip("/")).partition("/")
    tree, _, rest = rest.partition("/")
    if tree == "global" and rest:
        return Key(auid, None, name_in(auid, rest))
    user, _, name = rest.partition("/")
    owner = owner_of(user) if tree == "users" else None
    return Key(auid, owner, name_in(auid, name)) if owner is not None and name else None


def owner_of(user: str) -> Aor | None:
    """Return whom an XCAP User Identifier names, None when it is no address of ours."""
    try:
        return parse_uri(user if ":" in user else f"sip:{user}").aor()
    except BadRequest:
        return None
