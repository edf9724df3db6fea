"""Where something stands in a document, as a conflict report names it (RFC 4825 section 11.1)."""

from typing import Final
from urllib.parse import quote

from lxml import etree

_SEGMENT: Final = "!$&'()*+,;=:@~"
_PREFIXES: Final = {"urn:ietf:params:xml:ns:resource-lists": "rl", "urn:ietf:params:xml:ns:common-policy": "cr"}


def field(element: etree._Element, attribute: str, namespace: str) -> str:
    """Return the node selector of an attribute, percent-encoded and relative to the document.

    `namespace` is the default document namespace. Prefixes for others are bound in the query component.
    """
    steps = [f"@{attribute}"]
    bindings: dict[str, str] = {}
    place: etree._Element | None = element
    while place is not None:
        steps.append(_step(place, namespace, bindings))
        place = place.getparent()
    path = "/".join(quote(step, safe=_SEGMENT) for step in reversed(steps))
    query = "".join(f"xmlns({prefix}={quote(uri, safe=_SEGMENT + '/?')})" for uri, prefix in bindings.items())
    return f"{path}?{query}" if query else path


def path(element: etree._Element, attribute: str) -> str:
    """Return an XPath expression for an attribute, of positions only, so that it needs no prefix."""
    steps = [f"@{attribute}"]
    place, parent = element, element.getparent()
    while parent is not None:
        steps.append(f"*[{parent.findall('*').index(place) + 1}]")
        place, parent = parent, parent.getparent()
    return "/".join(("", "*", *reversed(steps)))


def _step(element: etree._Element, namespace: str, bindings: dict[str, str]) -> str:
    name = etree.QName(element)
    uri = name.namespace or ""
    if uri == namespace:
        test, alike = name.localname, element.tag
    elif uri:
        prefix = bindings.setdefault(uri, _PREFIXES.get(uri) or f"n{len(bindings) + 1}")
        test, alike = f"{prefix}:{name.localname}", element.tag
    else:  # no prefix can stand for no namespace
        test, alike = "*", "*"
    parent = element.getparent()
    if parent is None:
        return test
    siblings = parent.findall(str(alike))
    return test if len(siblings) == 1 and test != "*" else f"{test}[{siblings.index(element) + 1}]"
