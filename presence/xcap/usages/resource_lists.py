"""resource-lists: lists of users (RFC 4826 section 3)."""

import re
from collections import Counter
from typing import Final

from lxml import etree

from presence.xcap.anchor import is_http
from presence.xcap.errors import ConstraintFailure, Exists, UniquenessFailure
from presence.xcap.place import field, path
from presence.xcap.schema import SchemaUsage

NAMESPACE: Final = "urn:ietf:params:xml:ns:resource-lists"

_KEYS: Final = {"list": "name", "entry": "uri", "entry-ref": "ref", "external": "anchor"}
EXISTS_MOST: Final = 20
"""Values that one report names: to find where they stand takes time."""
_ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:|/|\?|#|$")
"""How a reference begins that is no relative path (RFC 3986 section 4.2)."""


class ResourceLists(SchemaUsage):
    """Whether references lead anywhere is not this server's to say (section 3.4.5)."""

    auid = "resource-lists"
    content_type = "application/resource-lists+xml"
    namespace = NAMESPACE
    root = "resource-lists"

    def validate(self, tree: etree._Element) -> None:
        """Raise a `Conflict` for what breaks the schema or the constraints of section 3.4.5."""
        super().validate(tree)
        check_unique(tree, self.namespace)
        check_references(tree)


def check_unique(tree: etree._Element, namespace: str) -> None:
    """Raise `UniquenessFailure` unless names, uris, refs and anchors differ among siblings (section 3.4.5).

    Compared as they are written, case counts. `namespace` is the default document namespace.
    """
    exists: list[Exists] = []
    for parent in tree.iter("{*}*"):
        for name, attribute in _KEYS.items() if len(parent) > 1 else ():
            exists += _repeated(parent, name, attribute, namespace)
        if len(exists) >= EXISTS_MOST:
            break
    if exists:
        raise UniquenessFailure("Values that name siblings must differ: see the fields", exists[:EXISTS_MOST])


def _repeated(parent: etree._Element, name: str, attribute: str, namespace: str) -> list[Exists]:
    siblings = parent.findall(f"{{{NAMESPACE}}}{name}")
    count = Counter(child.get(attribute) for child in siblings)
    if len(count) == len(siblings):
        return []
    seen: set[str] = set()
    found: list[Exists] = []
    for child in siblings:
        value = child.get(attribute)
        if value in seen and len(found) < EXISTS_MOST:
            # Another URI would be another thing; another name is as good.
            others = _other_names(value, count) if name == "list" else ()
            found.append(Exists(field(child, attribute, namespace), others, path(child, attribute)))
        elif value is not None:
            seen.add(value)
    return found


def _other_names(name: str, taken: Counter[str | None]) -> tuple[str, ...]:
    candidates = (f"{name}-{number}" for number in range(2, len(taken) + 4))
    return tuple([candidate for candidate in candidates if candidate not in taken][:2])


def check_references(tree: etree._Element) -> None:
    """Raise `ConstraintFailure` unless refs are relative paths and anchors absolute HTTP URIs (section 3.4.5)."""
    for element in tree.iter(f"{{{NAMESPACE}}}entry-ref"):
        ref = element.get("ref", "").strip()
        if _ABSOLUTE.match(ref):
            raise ConstraintFailure(f"Let ref be a path relative to the XCAP root, not {ref or 'nothing'}")
    for element in tree.iter(f"{{{NAMESPACE}}}external"):
        anchor = element.get("anchor", "").strip()
        if not is_http(anchor):
            raise ConstraintFailure(f"Give external an anchor that is an absolute HTTP URI, not {anchor or 'none'}")
