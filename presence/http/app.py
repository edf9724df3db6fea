"""One ASGI application for health, readiness, metrics and what else is given, and the server that carries it."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable, Iterator, Sequence

import uvicorn
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from presence.errors import ConfigError
from presence.http.admission import Networks, may_call
from presence.http.metrics import build_registry
from presence.tally import Tally

HEADER_BYTES_MAX = 16 * 1024
CONNECTIONS_MAX = 100
KEEP_ALIVE_S = 5
STOP_S = 2


def build_app(
    tally: Tally,
    ready: Callable[[], bool],
    *collectors: Collector,
    routes: Sequence[BaseRoute] = (),
    metrics_for: Networks | None = None,
) -> Starlette:
    """Return the application; `ready` says whether SIP is served, `collectors` are shown beside the tally.

    `routes` are what else is served. Metrics are for this machine and the networks of `metrics_for`; None: for all.
    """
    registry = build_registry(tally, collectors)

    async def healthz(_request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(_request: Request) -> Response:
        return PlainTextResponse("ready\n") if ready() else PlainTextResponse("not ready\n", status_code=503)

    async def metrics(request: Request) -> Response:
        if metrics_for is not None and not may_call(request, metrics_for):
            return PlainTextResponse("Forbidden\n", 403)
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(registry), headers={"content-type": content_type})

    return Starlette(
        routes=[Route("/healthz", healthz), Route("/readyz", readyz), Route("/metrics", metrics), *routes],
    )


class HttpServer:
    """Serves the application from the event loop that runs already, until told to stop."""

    def __init__(self, host: str, port: int, app: Starlette, *, certificate: str = "", key: str = "") -> None:
        """`certificate` is a PEM file; with one HTTP is served over TLS (RFC 2818)."""
        self._host = host
        self._certificate, self._key = certificate, key or certificate
        self.port = port
        """The port served; the one taken, once started, when 0 was asked for."""
        self._server = _QuietServer(
            uvicorn.Config(
                app,
                lifespan="off",
                http="h11",
                ws="none",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                limit_concurrency=CONNECTIONS_MAX,
                timeout_keep_alive=KEEP_ALIVE_S,
                timeout_graceful_shutdown=STOP_S,
                h11_max_incomplete_event_size=HEADER_BYTES_MAX,
                ssl_certfile=certificate or None,
                ssl_keyfile=self._key or None,
            )
        )
        self._serving: asyncio.Task[None] | None = None

        self._listener: socket.socket | None = None

    def bind(self) -> None:
        """Take the address before anything else is begun; raises `ConfigError` when it cannot be had."""
        self._check_certificate()
        self._listener = self._bind()
        self.port = self._listener.getsockname()[1]

    async def start(self) -> None:
        """Listen; raises `ConfigError` when the address is not taken yet and cannot be had."""
        if self._listener is None:
            self.bind()
        assert self._listener is not None
        self._serving = asyncio.create_task(self._server.serve(sockets=[self._listener]))
        listening = asyncio.create_task(self._server.listening.wait())
        await asyncio.wait((self._serving, listening), return_when=asyncio.FIRST_COMPLETED)
        listening.cancel()

    def reload(self) -> None:
        """Read the certificate anew; connections that stand keep what they have."""
        context = self._server.config.ssl if self._certificate else None
        if context is not None:
            # What cannot be read now leaves the certificate there is.
            with contextlib.suppress(OSError, ConfigError):
                self._check_certificate()
                context.load_cert_chain(self._certificate, self._key)

    def _check_certificate(self) -> None:
        if self._certificate:
            try:
                ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(self._certificate, self._key)
            except OSError as failure:
                raise ConfigError(f"http.certificate: cannot use {self._certificate}: {failure}") from None

    async def stop(self) -> None:
        """Finish the responses under way, for a moment, and close everything."""
        if self._serving is not None:
            self._server.should_exit = True
            await self._serving
            self._serving = None
        self.close()

    def close(self) -> None:
        """Release the address."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    def _bind(self) -> socket.socket:
        """Bind here and not in uvicorn, which would end the process when the port is taken."""
        listener = socket.socket(socket.AF_INET6 if ":" in self._host else socket.AF_INET)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((self._host, self.port))
            # Until it listens another socket could still take the address too.
            listener.listen()
        except OSError as failure:
            listener.close()
            raise ConfigError(
                f"http.listen: cannot listen on {self._host} port {self.port}: {failure.strerror}"
            ) from None
        return listener


class _QuietServer(uvicorn.Server):
    """uvicorn that leaves signals to the process and says when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self.listening.set()
