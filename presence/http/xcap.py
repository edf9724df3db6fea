"""XCAP over HTTP: who asks, for what, and the writing of changes (RFC 4825 sections 7 and 8)."""

import asyncio
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

from starlette.datastructures import Headers
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Receive, Scope, Send

from presence.errors import SipError, StoreError
from presence.http.basic import BasicGuard
from presence.http.digest import DigestGuard
from presence.http.reading import ReadingThread
from presence.identity.subscribers import Subscribers
from presence.sip.digest import DigestAuthority
from presence.sip.headers import parse_name_addr, parse_uri
from presence.sip.identity import Identity, TrustedPeers
from presence.values import Aor
from presence.xcap import documents
from presence.xcap.documents import Documents, Key
from presence.xcap.errors import NotAllowed, TooLarge, XcapError
from presence.xcap.openxcap import Mode, is_openxcap_client
from presence.xcap.server import METHODS, Reply, Request, Work, Write, XcapServer, answer, check_request
from presence.xcap.uri import Target, find_root, read_target

THREAD_ABOVE: Final = 32 * 1024
"""Bytes of a document of which a node is read in the loop; larger ones are left to the thread."""
TRIES: Final = 16
"""How often a change is made anew because somebody else was faster."""
BODY_S: Final = 30.0
"""How long a body may take to come."""

_ASSERTED = ("x-3gpp-asserted-identity", "x-xcap-asserted-identity")
_NOT_NOW = Reply(503, (("Retry-After", "5"),), b"Try again later\n", "text/plain; charset=utf-8")
_LATE = Reply(408, (("Connection", "close"),), b"The body did not come in time\n", "text/plain; charset=utf-8")
_FAULT = Reply(500, (), b"Internal Server Error\n", "text/plain; charset=utf-8")
_COMMAS = re.compile(r'("[^"]*"|<[^>]*>|[^,"<>])+')


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteOptions:
    """What an operator has said about the site."""

    root: str
    """Path of the XCAP root, such as /xcap-root."""
    uris: tuple[str, ...] = ()
    """URIs of the XCAP root that clients know; the first is put into answers in place of the one asked for."""
    authentication: Literal["digest", "basic", "none"] = "digest"
    basic: bool = False
    """Basic authentication beside Digest, over TLS."""
    realm: str = ""
    """Empty is the SIP domain of the user."""
    home: str = ""
    """Domain of user ids that name none, and realm for the global tree."""
    openxcap_clients: Mode = "auto"


class Doorkeeper(NamedTuple):
    """What proves users."""

    authority: DigestAuthority
    subscribers: Subscribers
    trusted: TrustedPeers
    now: Callable[[], float]
    failed: Callable[[str], None] = lambda why: None
    """Hears why somebody was not let through."""


class Below(BaseRoute):
    """Routes to an application whatever is below a path, and the path with `@domain` behind it."""

    def __init__(self, root: str, app: ASGIApp) -> None:
        self._root, self._app = root, app

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Match by the path as it came, whose escapes are the application's matter."""
        found = scope["type"] == "http" and find_root(_raw_path(scope), self._root) is not None
        return (Match.FULL if found else Match.NONE), {}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        await self._app(scope, receive, send)


class XcapSite:
    """The ASGI application: XCAP for whoever is proven."""

    def __init__(
        self,
        server: XcapServer,
        shelf: Documents,
        options: SiteOptions,
        doorkeeper: Doorkeeper,
        *,
        wake: Callable[[], None] = lambda: None,
        faulted: Callable[[Exception], None] = lambda error: None,
    ) -> None:
        """`wake` has what was submitted written; `faulted` hears of what nobody expected."""
        self._server, self._documents, self._options = server, shelf, options
        self._trusted, self._failed = doorkeeper.trusted, doorkeeper.failed
        self._wake, self._faulted = wake, faulted
        self._thread = ReadingThread()
        self._locks: dict[Key, tuple[asyncio.Lock, int]] = {}
        guarded = DigestGuard(
            self._serve_proven,
            doorkeeper.authority,
            doorkeeper.subscribers,
            doorkeeper.now,
            self._domain_of,
            options.realm,
            failed=doorkeeper.failed,
        )
        self._guard = BasicGuard(
            self._serve_proven,
            None if options.authentication == "basic" else guarded,
            doorkeeper.subscribers,
            doorkeeper.now,
            self._domain_of,
            options.realm,
            offered=options.basic or options.authentication == "basic",
            failed=doorkeeper.failed,
        )
        self.requests: Counter[tuple[str, int]] = Counter()
        """Served, by method and status."""

    def close(self) -> None:
        """End the thread."""
        self._thread.close()

    # ---- who asks for what ----

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        send = self._counting(scope, send)
        method = scope["method"]
        try:
            found = find_root(_raw_path(scope), self._options.root)
            domain, rest = found if found is not None else ("", "")
            headers = _join(Headers(scope=scope))
            if method not in METHODS:
                check_request(method, headers)
            target = read_target(rest, scope.get("query_string", b"").decode("latin-1"), domain or self._options.home)
            check_request(method, headers)
        except XcapError as error:
            await _send(answer(error), send)
            return
        base = self._base(scope, headers, domain)
        openxcap = is_openxcap_client(headers, _raw_path(scope), self._options.openxcap_clients)
        scope = {**scope, "xcap": Request(method, target, base, headers, openxcap=openxcap), "identity": None}
        proving = self._options.authentication != "none" and self._server.needs_proof(method, target)
        asserted = self._asserted(scope, headers) if proving else None
        if not proving or asserted is not None:
            await self._serve_proven({**scope, "identity": asserted}, receive, send)
        else:
            await self._guard(scope, receive, send)

    def _counting(self, scope: Scope, send: Send) -> Send:
        method = scope["method"] if scope["method"] in METHODS else "other"

        async def counted(message: Any) -> None:
            if message["type"] == "http.response.start":
                self.requests[method, message["status"]] += 1
            await send(message)

        return counted

    def _asserted(self, scope: Scope, headers: Mapping[str, str]) -> Identity | None:
        """Return whom a trusted peer says the user is (3GPP TS 24.109 section 5.2.3)."""
        client = scope.get("client")
        if client is None or client[0] not in self._trusted:
            return None
        for name in _ASSERTED:
            for value in _COMMAS.finditer(headers.get(name, "")):
                text = value[0].strip()
                try:
                    aor = parse_uri(text.strip('"') if text.startswith('"') else parse_name_addr(text).uri).aor()
                except SipError:
                    continue
                if aor.username:
                    return Identity(aor, "asserted")
        return None

    def _domain_of(self, scope: Scope) -> str:
        target: Target = scope["xcap"].target
        return target.key.owner.domain if target.key.owner is not None else self._options.home

    def _base(self, scope: Scope, headers: Mapping[str, str], domain: str) -> str:
        """Return the URI of the XCAP root as the client knows it."""
        if self._options.uris:
            root = self._options.uris[0]
        else:
            host = headers.get("host") or "{}:{}".format(*(scope.get("server") or ("localhost", 80)))
            root = f"{scope['scheme']}://{host}{self._options.root}"
        return f"{root}@{domain}" if domain else root

    # ---- serving ----

    async def _serve_proven(self, scope: Scope, receive: Receive, send: Send) -> None:
        request: Request = scope["xcap"]
        identity: Identity | None = scope["identity"]
        try:
            reply = await self._serve(request, None if identity is None else identity.aor, receive)
        except XcapError as error:
            if isinstance(error, NotAllowed):
                self._failed("forbidden")
            reply = answer(error, request)
        except StoreError:
            reply = _NOT_NOW
        except TimeoutError:
            reply = _LATE
        except Exception as error:
            self._faulted(error)
            reply = _FAULT
        await _send(reply, send)

    async def _serve(self, request: Request, who: Aor | None, receive: Receive) -> Reply:
        self._server.authorize(request.method, request.target, who)
        if request.method == "PUT":
            self._server.check_put(request)
            async with asyncio.timeout(BODY_S):
                request = request._replace(body=await self._read_body(request, receive))
        if request.method not in ("PUT", "DELETE"):
            reply = await self._plan(request)
            assert isinstance(reply, Reply)
            return reply
        async with self._alone(request.target.key):
            for _ in range(TRIES):
                outcome = await self._plan(request)
                if isinstance(outcome, Reply):
                    return outcome
                if await self._commit(outcome):
                    return outcome.reply
        return _NOT_NOW

    async def _read_body(self, request: Request, receive: Receive) -> bytes:
        most = self._server.body_bytes(request.target)
        too_large = TooLarge(f"Keep bodies to {most} bytes")
        length = request.headers.get("content-length", "")
        if length.isdigit() and (len(length) > 12 or int(length) > most):
            raise too_large
        chunks, size = [], 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise TimeoutError
            chunks.append(message.get("body", b""))
            size += len(chunks[-1])
            if size > most:
                raise too_large
            if not message.get("more_body", False):
                return b"".join(chunks)

    async def _plan(self, request: Request) -> Reply | Write:
        """Go the steps of the server; those that read XML where it holds nobody up."""
        outcome = self._server.begin(request)
        if isinstance(outcome, Reply):
            return outcome
        if request.method in ("GET", "HEAD"):
            result = outcome.run() if outcome.size <= THREAD_ABOVE else await self._thread.run(outcome.run)
            return self._server.finish(outcome, result)
        return await self._plan_change(outcome)

    async def _plan_change(self, work: Work) -> Reply | Write:
        async with self._thread.lock:
            result = await self._thread.run(work.run)
            return self._server.finish(work, result)

    async def _commit(self, write: Write) -> bool:
        """Return whether the change is made, False when somebody else was faster; raises StoreError."""
        settled: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()

        def done(error: Exception | None) -> None:
            if not settled.done():
                settled.set_result(error)

        if write.body is None:
            assert write.expected is not None
            self._documents.delete(write.key, write.expected, done)
        else:
            self._documents.put(write.key, write.body, write.etag, write.expected, done)
        self._wake()
        error = await settled
        if isinstance(error, documents.Conflict):
            return False
        if error is not None:
            raise error
        return True

    @asynccontextmanager
    async def _alone(self, key: Key) -> Any:
        """Let one change of a document go after the other; what comes from elsewhere is found out at the commit."""
        lock, waiting = self._locks.get(key, (asyncio.Lock(), 0))
        self._locks[key] = lock, waiting + 1
        try:
            async with lock:
                yield
        finally:
            lock, waiting = self._locks[key]
            if waiting == 1:
                del self._locks[key]
            else:
                self._locks[key] = lock, waiting - 1


def _raw_path(scope: Scope) -> str:
    path: bytes = scope.get("raw_path") or scope["path"].encode()
    return path.partition(b"?")[0].decode("latin-1")


def _join(headers: Headers) -> dict[str, str]:
    joined: dict[str, str] = {}
    for name, value in headers.items():
        joined[name] = f"{joined[name]}, {value}" if name in joined else value
    return joined


async def _send(reply: Reply, send: Callable[[Any], Awaitable[None]]) -> None:
    headers = [(name.lower().encode(), value.encode("latin-1", "replace")) for name, value in reply.headers]
    if reply.content_type:
        headers.append((b"content-type", reply.content_type.encode()))
    if reply.status != 304:
        headers.append((b"content-length", str(len(reply.body)).encode()))
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})
