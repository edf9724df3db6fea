"""The RLS services of all users: which document defines which URI (RFC 4826 section 4.4.5)."""

from collections.abc import Callable, Iterable, Iterator
from typing import Final

from presence.document.xml import escape
from presence.xcap.canonical import canonical_uri
from presence.xcap.documents import Change, Key, Stored
from presence.xcap.errors import ConstraintFailure
from presence.xcap.tree import Bounds, Element, Malformed, expand, qualified_name, read_tree

AUID: Final = "rls-services"
NAMESPACE: Final = "urn:ietf:params:xml:ns:rls-services"

_BOUNDS: Final = Bounds(depth=64, elements=50_000)
_ROOT, _SERVICE = expand(NAMESPACE, "rls-services"), expand(NAMESPACE, "service")


class Services:
    """An index of services by canonical URI. `every` yields all documents of rls-services, once, when first asked.

    `note` must be told of every change of a document from before the first question on, and `forget` when changes
    were missed.
    """

    def __init__(self, every: Callable[[], Iterable[Stored]]) -> None:
        self._every = every
        self._by_uri: dict[str, set[Key]] = {}
        self._by_key: dict[Key, frozenset[str]] = {}
        self._loaded = False

    def find(self, uri: str) -> frozenset[Key]:
        """Return the documents that define a service of this URI: one at most, unless others wrote them."""
        self._load()
        return frozenset(self._by_uri.get(canonical_uri(uri), ()))

    def documents(self) -> Iterator[Stored]:
        """Yield the documents there are, for the global index (section 4.4.7)."""
        return iter(self._every())

    def note(self, change: Change) -> None:
        """Take a change of a document into account."""
        if change.key.auid == AUID and self._loaded:
            self._put(change.key, change.after)

    def forget(self) -> None:
        """Read everything anew when asked next."""
        self._by_uri, self._by_key, self._loaded = {}, {}, False

    def _load(self) -> None:
        if not self._loaded:
            self._loaded = True
            for stored in self._every():
                self._put(stored.key, stored)

    def _put(self, key: Key, stored: Stored | None) -> None:
        for uri in self._by_key.pop(key, frozenset()):
            owners = self._by_uri[uri]
            owners.discard(key)
            if not owners:
                del self._by_uri[uri]
        if stored is not None:
            self._by_key[key] = uris = frozenset(canonical_uri(uri) for uri in service_uris(stored.body))
            for uri in uris:
                self._by_uri.setdefault(uri, set()).add(key)


def read_services(body: bytes) -> list[Element]:
    """Return the service elements of a document, none when it cannot be read."""
    try:
        root = read_tree(body, _BOUNDS)
    except (Malformed, ConstraintFailure):
        return []
    return [child for child in root.children if child.name == _SERVICE] if root.name == _ROOT else []


def write_alone(body: bytes, element: Element) -> bytes:
    """Return an element of a document with the namespaces it inherits declared on itself, else byte for byte."""
    name_end = element.start + 1 + len(qualified_name(body, element))
    inherited = "".join(
        f' xmlns{":" if prefix else ""}{prefix}="{escape(uri)}"'
        for prefix, uri in element.scope().items()
        if prefix not in element.declared
    )
    return body[element.start : name_end] + inherited.encode() + body[name_end : element.end]


def service_uris(body: bytes) -> list[str]:
    """Return the URIs of the services of a document, as it spells them."""
    return [service.attributes.get("uri", "") for service in read_services(body)]
