"""Procedure calls of operators and other servers: XML-RPC at /RPC2, JSON-RPC 2.0 at /jsonrpc."""

import asyncio
from collections.abc import Mapping, Sequence

from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from presence.errors import BadRequest
from presence.http import jsonrpc, xmlrpc
from presence.http.admission import Networks, may_call
from presence.http.procedures import Argument, Fault, Procedure

BODY_BYTES_MAX = 64 * 1024
BODY_S = 10.0
"""How long a request may take to arrive."""

_FOREIGN = frozenset({"origin", "forwarded", "x-forwarded-for", "x-real-ip"})


class Refused(Exception):
    """A request that is no call; carries the answer."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.response = PlainTextResponse(f"{text}\n", status)


class Rpc:
    """Serves procedures to programs of this machine and of networks that are allowed."""

    def __init__(self, procedures: Mapping[str, Procedure], allow: Networks = ()) -> None:
        self._procedures = procedures
        self._allow = allow

    def routes(self) -> list[Route]:
        """Return where it is served."""
        return [
            Route("/RPC2", self._xml, methods=["POST"]),
            Route("/jsonrpc", self._json, methods=["POST"]),
        ]

    async def _xml(self, request: Request) -> Response:
        try:
            body = await self._receive(request, ("text/xml", "application/xml"))
            try:
                name, arguments = xmlrpc.parse_call(body)
                answer = xmlrpc.write_answer(self._run(name, arguments))
            except KeyError:
                answer = xmlrpc.write_fault(Fault(500, "Unknown method"))
            except Fault as fault:
                answer = xmlrpc.write_fault(fault)
            except BadRequest as error:
                raise Refused(400, error.reason) from None
        except Refused as refused:
            return refused.response
        return Response(answer, media_type="text/xml")

    async def _json(self, request: Request) -> Response:
        try:
            body = await self._receive(request, ("application/json", "application/json-rpc"))
        except Refused as refused:
            return refused.response
        answer = jsonrpc.serve(body, self._run)
        return Response(status_code=204) if answer is None else Response(answer, media_type="application/json")

    def _run(self, name: str, arguments: Sequence[Argument] | Mapping[str, Argument]) -> str:
        return self._procedures[name].run(arguments)

    async def _receive(self, request: Request, types: tuple[str, ...]) -> bytes:
        """Return the body of a request from somebody who may call; raises `Refused`."""
        # A browser names the page that sends it. With a type that no form can have it needs leave to send at all.
        # Behind a proxy everybody seems to be on this machine.
        if not may_call(request, self._allow) or not _FOREIGN.isdisjoint(request.headers.keys()):
            raise Refused(403, "Forbidden")
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() not in types:
            raise Refused(415, "Unsupported Media Type")
        body = bytearray()
        try:
            async with asyncio.timeout(BODY_S):
                async for chunk in request.stream():
                    body += chunk
                    if len(body) > BODY_BYTES_MAX:
                        raise Refused(413, "Content Too Large")
        except (TimeoutError, ClientDisconnect):
            raise Refused(408, "Request Timeout") from None
        return bytes(body)
