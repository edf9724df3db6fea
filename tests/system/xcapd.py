"""An XCAP server of the tests: real HTTP on loopback, told what to answer, stopped and started on its port."""

import asyncio
from collections.abc import AsyncIterator
from hashlib import md5

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from presence.http.app import HttpServer

ROOT = "/xcap-root"


def path_of(user: str, auid: str = "pres-rules", name: str = "index") -> str:
    return f"{ROOT}/{auid}/users/sip:{user}/{name}"


class Xcapd:
    """Serves what is in `documents` with entity-tags, unless `answers` has something else for a path."""

    def __init__(self) -> None:
        self.documents: dict[str, tuple[bytes, str]] = {}
        self.answers: dict[str, Response] = {}
        self.credentials: dict[str, str] = {}
        """User and password; empty lets everybody in."""
        self.scheme = "digest"
        self.asked: list[tuple[str, str]] = []
        """Path and If-None-Match of each request."""
        self.slow = asyncio.Event()
        self.slow.set()
        self.most_at_once = self.at_once = 0
        self.port = 0
        self._server: HttpServer | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}{ROOT}"

    def put(self, user: str, body: str, auid: str = "pres-rules") -> None:
        content = body.encode()
        self.documents[path_of(user, auid)] = (content, md5(content, usedforsecurity=False).hexdigest())

    async def start(self) -> None:
        app = Starlette(routes=[Route("/{path:path}", self._serve)])
        self._server = HttpServer("127.0.0.1", self.port, app)
        await self._server.start()
        self.port = self._server.port

    async def stop(self) -> None:
        if self._server is not None:
            await self._server.stop()
            self._server = None

    async def _serve(self, request: Request) -> Response:
        path = request.url.path
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await self.slow.wait()
        finally:
            self.at_once -= 1
        given = request.headers.get("if-none-match", "")
        self.asked.append((path, given))
        if (challenge := self._challenge(request)) is not None:
            return challenge
        if path in self.answers:
            return self.answers[path]
        if path not in self.documents:
            return Response("No such document\n", 404)
        body, etag = self.documents[path]
        if given == f'"{etag}"':
            return Response(status_code=304, headers={"etag": given})
        return Response(body, media_type="application/auth-policy+xml", headers={"etag": f'"{etag}"'})

    def _challenge(self, request: Request) -> Response | None:
        """RFC 7616 with MD5 and qop=auth, or RFC 7617, checked as a server does."""
        if not self.credentials:
            return None
        ((user, password),) = self.credentials.items()
        given = request.headers.get("authorization", "")
        scheme, _, rest = given.partition(" ")
        if scheme == "Basic" and self.scheme == "basic":
            import base64

            if base64.b64decode(rest).decode() == f"{user}:{password}":
                return None
        if scheme == "Digest" and self.scheme == "digest":
            fields = {k.strip(): v.strip().strip('"') for k, _, v in (part.partition("=") for part in rest.split(","))}
            ha1 = hash_of(f"{user}:xcap:{password}")
            ha2 = hash_of(f"GET:{request.url.path}")
            parts = (ha1, fields["nonce"], fields["nc"], fields["cnonce"], "auth", ha2)
            if fields["response"] == hash_of(":".join(parts)) and fields["uri"] == request.url.path:
                return None
        value = 'Basic realm="xcap"' if self.scheme == "basic" else 'Digest realm="xcap", nonce="n1", qop="auth"'
        return Response("who are you?\n", 401, headers={"www-authenticate": value})


def hash_of(text: str) -> str:
    return md5(text.encode(), usedforsecurity=False).hexdigest()


def endless(chunk: bytes) -> Response:
    """A body without end."""

    async def body() -> AsyncIterator[bytes]:
        while True:
            yield chunk
            await asyncio.sleep(0)

    return StreamingResponse(body())
