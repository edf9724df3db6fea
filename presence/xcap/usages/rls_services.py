"""rls-services: URIs that stand for lists, for the resource list server (RFC 4826 section 4)."""

from collections.abc import Iterable
from itertools import count, islice
from typing import Final

from lxml import etree

from presence.errors import BadRequest
from presence.sip.headers import parse_uri
from presence.values import Aor
from presence.xcap.anchor import is_http, read_anchor
from presence.xcap.canonical import canonical_uri
from presence.xcap.documents import Key
from presence.xcap.errors import ConstraintFailure, Exists, UniquenessFailure
from presence.xcap.place import field, path
from presence.xcap.schema import SchemaUsage
from presence.xcap.services import AUID, NAMESPACE, Services, read_services, write_alone
from presence.xcap.usage import World
from presence.xcap.usages.resource_lists import EXISTS_MOST, check_references, check_unique
from presence.xcap.usages.resource_lists import NAMESPACE as LISTS

_SERVICE: Final = f"{{{NAMESPACE}}}service"
SERVICES_MOST: Final = 500
"""Services of one document: for each is asked whose its URI is, while everything waits."""

_TRIES: Final = 100


class RlsServices(SchemaUsage):
    """The URI of a service is one of its kind on this server, and nobody's address (section 4.4.5)."""

    auid = AUID
    content_type = "application/rls-services+xml"
    namespace = NAMESPACE
    namespaces = (LISTS,)
    root = "rls-services"

    def __init__(self, services: Services, *, index: bool = False) -> None:
        self._services = services
        # On the object: the class says that there is none.
        self.global_tree = index  # type: ignore[misc]

    def validate(self, tree: etree._Element) -> None:
        """Raise a `Conflict` for what breaks the schema or is not unique within the document (section 4.4.5)."""
        super().validate(tree)
        check_unique(tree, self.namespace)

    def check(self, tree: etree._Element, body: bytes, key: Key, world: World) -> None:
        """Raise `UniquenessFailure` for URIs that are taken, `ConstraintFailure` for references that may not be."""
        self._check_uris(tree, key, world)
        check_references(tree)
        for element in tree.iterfind(f"{_SERVICE}/{{{NAMESPACE}}}resource-list"):
            check_resource_list((element.text or "").strip(), key, world)

    def _check_uris(self, tree: etree._Element, key: Key, world: World) -> None:
        if len(tree.findall(_SERVICE)) > SERVICES_MOST:
            raise ConstraintFailure(f"Keep the document to {SERVICES_MOST} services")
        exists = []
        own: set[str] = set()
        for service in tree.iterfind(_SERVICE):
            uri = canonical_uri(service.get("uri", "").strip())
            if uri in own or self._is_taken(uri, key, world):
                others = self._free_uris(uri, own, key, world)
                exists.append(Exists(field(service, "uri", self.namespace), others, path(service, "uri")))
            if len(exists) >= EXISTS_MOST:
                break
            own.add(uri)
        if exists:
            raise UniquenessFailure("The URI of a service must be nobody else's: choose another", exists)

    def _is_taken(self, uri: str, key: Key, world: World) -> bool:
        owners = self._services.find(uri)
        if owners:
            return owners != {key}
        try:
            parsed = parse_uri(uri)
            aor = parsed.aor()
        except BadRequest:
            return False
        # An existing resource of the domain (section 4.4.5): of users only those who have documents are known.
        return bool(aor.username) and (aor == key.owner or _is_user(aor, world))

    def _free_uris(self, uri: str, own: Iterable[str], key: Key, world: World) -> tuple[str, ...]:
        """Return URIs to choose from instead (RFC 4825 section 11.1)."""
        name, at, rest = uri.partition("@")
        if not at:
            return ()
        candidates = (f"{name}-{number}@{rest}" for number in islice(count(2), _TRIES))
        free = (each for each in candidates if each not in own and not self._is_taken(each, key, world))
        return tuple(islice(free, 2))

    def generate(self, key: Key, world: World) -> bytes | None:
        """Return the global index: all services of all documents named index (section 4.4.7)."""
        if key.owner is not None or key.name != "index":
            return None
        services = b"\n".join(
            write_alone(stored.body, service)
            for stored in self._services.documents()
            if stored.key.name == "index"
            for service in read_services(stored.body)
        )
        return b'<?xml version="1.0" encoding="UTF-8"?>\n<rls-services xmlns="%b">\n%b\n</rls-services>\n' % (
            NAMESPACE.encode(),
            services,
        )


def check_resource_list(uri: str, key: Key, world: World) -> None:
    """Raise `ConstraintFailure` unless a reference is a list below the owner's home here (sections 4.1 and 4.4.5)."""
    if not is_http(uri):
        raise ConstraintFailure(f"Let resource-list be an absolute HTTP URI, not {uri}")
    if world.allow_external_references:
        return
    anchor = read_anchor(uri, world.roots)
    if anchor is None or not anchor.at_home:
        raise ConstraintFailure(f"Let resource-list have the XCAP root {world.roots[0]}: {uri} has another")
    if anchor.key.auid != "resource-lists" or anchor.key.owner is None:
        raise ConstraintFailure(f"Let resource-list name a list below resource-lists/users/, not {uri}")
    if key.owner is not None and anchor.key.owner != key.owner:
        raise ConstraintFailure(f"Let resource-list name a list of your own: {uri} is another user's")
    if anchor.selector is None or anchor.selector.attribute is not None or anchor.selector.bindings:
        raise ConstraintFailure(f"Let resource-list name an element, by ~~ and a node selector, not {uri}")


def _is_user(aor: Aor, world: World) -> bool:
    return bool(world.documents.all_of(aor))
