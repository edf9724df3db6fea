"""XCAP in memory: a site with documents and usages of its own, asked without a socket, byte for byte as it is told."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from lxml import etree

from presence.errors import StoreError
from presence.http.xcap import Doorkeeper, SiteOptions, XcapSite
from presence.identity.subscribers import Subscribers
from presence.sip.digest import DigestAuthority
from presence.sip.identity import TrustedPeers
from presence.store.base import Store
from presence.values import Aor
from presence.xcap import documents
from presence.xcap.documents import Change, Key, Stored
from presence.xcap.errors import Exists, SchemaValidationError, UniquenessFailure
from presence.xcap.server import Limits, XcapServer
from presence.xcap.tree import Bounds
from presence.xcap.usage import Usage, World

NOW = 1_700_000_000.0
ROOT = "http://xcap.example.com/xcap-root"
ALICE = "users/sip:alice@example.com"
ERROR = "urn:ietf:params:xml:ns:xcap-error"
SCHEMAS = Path(__file__).parent / "schemas"
ERROR_SCHEMA = etree.XMLSchema(etree.parse(SCHEMAS / "xcap-error.xsd"))


class MemoryDocuments:
    """Documents without a database, with the signatures and promises of the real ones."""

    def __init__(self) -> None:
        self.kept: dict[Key, Stored] = {}
        self.listeners: list[Callable[[Change], None]] = []
        self.refuses: Exception | None = None
        self.meanwhile: list[Callable[[], None]] = []
        """Run before a change is compared, once each: what others do at the same time."""

    def get(self, key: Key) -> Stored | None:
        return self.kept.get(key)

    def of(self, owner: Aor, auid: str) -> list[Stored]:
        return [stored for key, stored in self.kept.items() if key.owner == owner and key.auid == auid]

    def all_of(self, owner: Aor) -> list[Stored]:
        return [stored for key, stored in self.kept.items() if key.owner == owner]

    def put(self, key: Key, body: bytes, etag: str, expected: str | None, done: Any) -> None:
        self._settle(key, Stored(key, body, etag, "", NOW, len(self.kept) + 1, 0), expected, done)

    def delete(self, key: Key, expected: str, done: Any) -> None:
        self._settle(key, None, expected, done)

    def tick(self, now: float) -> None:
        pass

    def _settle(self, key: Key, after: Stored | None, expected: str | None, done: Any) -> None:
        asyncio.get_running_loop().call_soon(self._commit, key, after, expected, done)

    def _commit(self, key: Key, after: Stored | None, expected: str | None, done: Any) -> None:
        if self.meanwhile:
            self.meanwhile.pop(0)()
        before = self.kept.get(key)
        if self.refuses is not None:
            done(self.refuses)
            return
        if (None if before is None else before.etag) != expected:
            done(documents.Conflict())
            return
        if after is None:
            del self.kept[key]
        else:
            self.kept[key] = after
        for listener in self.listeners:
            listener(Change(key, before, after))
        done(None)


class TestApp(Usage):
    """Anything goes."""

    __test__ = False
    auid, content_type, namespace = "test-app", "application/test-app+xml", "test-app"
    directories = frozenset(("", "folder/"))


class Plain(Usage):
    """The default document namespace is none."""

    auid, content_type = "com.example.plain", "application/plain+xml"


class Lists(Usage):
    """Resource lists as far as the examples of RFC 4825 go: lists of entries, their names and URIs unique."""

    auid, content_type = "resource-lists", "application/resource-lists+xml"
    namespace = "urn:ietf:params:xml:ns:resource-lists"

    def validate(self, tree: Any) -> None:
        for element in tree.iter(f"{{{self.namespace}}}*"):
            name = etree.QName(element).localname
            if name not in ("resource-lists", "list", "entry", "display-name"):
                raise SchemaValidationError(f"There is no element {name}")
            if name == "entry" and "uri" not in element.attrib:
                raise SchemaValidationError("An entry needs a uri")
            if set(element.attrib) - {"uri", "name", "note"}:
                raise SchemaValidationError("There is no such attribute")

    def check(self, tree: Any, body: bytes, key: Key, world: World) -> None:
        for parent in tree.iter():
            uris = [child.get("uri") for child in parent if child.get("uri")]
            doubled = [uri for uri in uris if uris.count(uri) > 1]
            if doubled:
                exists = Exists("resource-lists/list/entry/@uri", [f"{doubled[0]};other"])
                raise UniquenessFailure("Name each entry once", [exists])


class Services(Usage):
    auid, content_type = "rls-services", "application/rls-services+xml"
    namespace = "urn:ietf:params:xml:ns:rls-services"


class Watcherinfo(Usage):
    auid, content_type = "com.example.watcherinfo", "application/watcherinfo+xml"
    namespace = "urn:ietf:params:xml:ns:watcherinfo"


class Foo(Usage):
    """The one of RFC 4825 section 6.4."""

    auid, content_type, namespace = "test", "application/test+xml", "urn:test:default-namespace"


class Caps(Usage):
    auid, content_type = "xcap-caps", "application/xcap-caps+xml"
    namespace = "urn:ietf:params:xml:ns:xcap-caps"
    users_tree, global_tree, read_only = False, True, True

    def generate(self, key: Key, world: World) -> bytes | None:
        auids = "".join(f"<auid>{auid}</auid>" for auid in sorted(world.usages))
        return f'<xcap-caps xmlns="{self.namespace}"><auids>{auids}</auids><namespaces/></xcap-caps>'.encode()


class Content(Usage):
    """Icons: everybody may see them."""

    auid, content_type = "org.openmobilealliance.pres-content", "application/vnd.oma.pres-content+xml"
    namespace, readable_by_all = "urn:oma:xml:prs:pres-content", True
    directories = frozenset(("oma_status-icon/",))


class Named(Usage):
    """Documents of one name, and global ones that administrators write."""

    auid, content_type = "com.example.named", "application/named+xml"
    global_tree, names = True, frozenset(("index",))


USAGES = {
    usage.auid: usage
    for usage in (TestApp(), Plain(), Lists(), Services(), Watcherinfo(), Foo(), Caps(), Content(), Named())
}


class Answer(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def etag(self) -> str:
        return self.headers["etag"]

    @property
    def conflict(self) -> Any:
        """The error element of a 409, its document valid for the schema of section 11.2."""
        assert self.status == 409, (self.status, self.body)
        assert self.headers["content-type"] == "application/xcap-error+xml"
        root = etree.fromstring(self.body)
        ERROR_SCHEMA.assertValid(root)
        return root[0]

    @property
    def error(self) -> str:
        return str(etree.QName(self.conflict).localname)


class NoStore:
    """A database without users."""

    def read(self, query: str, params: tuple[Any, ...] = ()) -> Iterable[tuple[Any, ...]]:
        return iter(())


class Site:
    """One XCAP server, and a client that writes its requests by hand."""

    __test__ = False

    def __init__(
        self,
        *,
        store: Store | None = None,
        administrators: Iterable[Aor] = (),
        trusted: TrustedPeers | None = None,
        is_known: Callable[[Aor], bool] = lambda aor: True,
        limits: Limits | None = None,
        new_etag: Callable[[], str] | None = None,
        usages: Mapping[str, Usage] = USAGES,
        **options: Any,
    ) -> None:
        self.documents = MemoryDocuments()
        self.faults: list[Exception] = []
        self._etags = 0
        subscribers = Subscribers(store or NoStore())  # type: ignore[arg-type]
        authority = DigestAuthority(subscribers, b"x" * 32)
        world = World(
            roots=(),
            documents=self.documents,
            watchers=lambda owner: (),
            usages=usages,  # type: ignore[arg-type]
        )
        limits = limits or Limits(256 * 1024, Bounds(64, 20_000), 100)
        self.server = XcapServer(
            world,
            limits,
            new_etag or self._new_etag,
            administrators=frozenset(administrators),
            is_known=is_known,
        )
        given: dict[str, Any] = {"root": "/xcap-root", "authentication": "none", **options}
        self.app = XcapSite(
            self.server,
            self.documents,  # type: ignore[arg-type]
            SiteOptions(**given),
            Doorkeeper(authority, subscribers, trusted or TrustedPeers(()), lambda: NOW),
            faulted=self.faults.append,
        )
        self._runner = asyncio.Runner()

    def __enter__(self) -> "Site":
        return self

    def __exit__(self, *_: object) -> None:
        self.app.close()
        self._runner.close()

    def _new_etag(self) -> str:
        self._etags += 1
        return f"tag{self._etags}"

    # ---- asking ----

    def ask(self, method: str, target: str, body: bytes = b"", client: str = "192.0.2.1", **headers: str) -> Answer:
        """Send one request; `target` is what follows the XCAP root, escaped already or not at all."""
        return self._runner.run(self.asking(method, target, body, client, **headers))

    async def asking(
        self,
        method: str,
        target: str,
        body: bytes = b"",
        client: str = "192.0.2.1",
        scheme: str = "http",
        **headers: str,
    ) -> Answer:
        path, _, query = target.partition("?")
        if not path.startswith("/xcap-root"):
            path = f"/xcap-root/{path}"
        raw = path.translate(ESCAPES).encode("ascii")
        named = {"host": "xcap.example.com", "content-length": str(len(body)), **headers}
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "method": method,
            "scheme": scheme,
            "path": path,
            "raw_path": raw,
            "query_string": query.encode(),
            "headers": [(n.lower().replace("_", "-").encode(), v.encode("latin-1")) for n, v in named.items()],
            "client": (client, 40000),
            "server": ("127.0.0.1", 8080),
        }
        pieces = [body[start : start + 4096] for start in range(0, len(body), 4096)] or [b""]
        sent: list[Any] = []

        async def receive() -> Any:
            piece = pieces.pop(0)
            return {"type": "http.request", "body": piece, "more_body": bool(pieces)}

        async def send(message: Any) -> None:
            sent.append(message)

        await self.app(scope, receive, send)
        start, *rest = sent
        answered = {name.decode(): value.decode("latin-1") for name, value in start["headers"]}
        content = b"".join(message.get("body", b"") for message in rest)
        if start["status"] != 304:
            assert int(answered["content-length"]) == len(content)
        if start["status"] == 409:
            assert Answer(409, answered, content).error
        assert not self.faults, self.faults
        return Answer(start["status"], answered, content)

    def together(self, *askings: Any) -> list[Answer]:
        """Serve several requests at the same time."""

        async def run() -> list[Answer]:
            return list(await asyncio.gather(*askings))

        return self._runner.run(run())

    def get(self, target: str, **headers: str) -> Answer:
        return self.ask("GET", target, **headers)

    def put(self, target: str, body: bytes | str, **headers: str) -> Answer:
        """PUT with the right type, unless another is given."""
        text = body.encode() if isinstance(body, str) else body
        return self.ask("PUT", target, text, **{"content_type": type_for(target), **headers})

    def delete(self, target: str, **headers: str) -> Answer:
        return self.ask("DELETE", target, **headers)


def type_for(target: str) -> str:
    path = target.partition("?")[0].removeprefix("/xcap-root/")
    _, separator, node = path.partition("~~")
    if separator:
        return "application/xcap-att+xml" if node.rpartition("/")[2].startswith("@") else "application/xcap-el+xml"
    usage = USAGES.get(path.partition("/")[0])
    return usage.content_type if usage is not None else "application/xml"


ESCAPES = str.maketrans({'"': "%22", "[": "%5B", "]": "%5D", " ": "%20", "<": "%3C", ">": "%3E"})

__all__ = ["ALICE", "ERROR", "NOW", "ROOT", "Answer", "MemoryDocuments", "Site", "StoreError"]
