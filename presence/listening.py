"""The listeners the settings name, bound; the certificates they share; how many files they need open."""

import contextlib
import os
import resource

from structlog.typing import FilteringBoundLogger

from presence.config import Config
from presence.errors import ConfigError
from presence.shape import Listener
from presence.transport.bounds import Bounds
from presence.transport.connection import Connection
from presence.transport.stream import Limits, StreamListener
from presence.transport.tls import Files, Security, Session
from presence.transport.udp import UdpListener

PORT_TRIES = 20

FILES_BESIDE = 200
"""Open files that are no connection: the database, HTTP, listeners, whatever libraries want."""

_SECURE = ("tls", "wss")


class Listening:
    """Where SIP is received."""

    def __init__(self, config: Config, log: FilteringBoundLogger) -> None:
        """Bind; raises OSError and ConfigError."""
        self.udp: list[UdpListener] = []
        self.streams: list[StreamListener] = []
        self._log = log
        limits = config.server
        self._config = config
        self._limits = Limits(limits.max_message_bytes, limits.handshake_timeout_s, limits.message_timeout_s)
        self._bounds = Bounds(limits.max_connections, limits.max_connections_per_source)
        self.security = self._read_certificates()
        try:
            for group in _by_address(limits.listeners):
                self._bind_group(group)
        except OSError:
            self.close()
            raise
        if self.streams:
            self._raise_files(limits.max_connections)

    def names(self) -> list[str]:
        """Return `proto:host:port` of each, in the order of the settings."""
        return [listener.local for listener in self._all()]

    def close(self) -> None:
        """Close all sockets."""
        for listener in self._all():
            listener.close()

    def _all(self) -> list[UdpListener | StreamListener]:
        return [*self.udp, *self.streams]

    def _bind_group(self, group: list[Listener]) -> None:
        """Open the listeners of one address; with port 0 UDP and TCP take the same free one."""
        for attempt in range(PORT_TRIES):
            opened: list[UdpListener | StreamListener] = []
            port = group[0].port
            try:
                for entry in group:
                    opened.append(self._open(entry.transport, entry.host, port))
                    port = opened[-1].port
            except OSError:
                for taken in opened:
                    taken.close()
                if group[0].port or attempt == PORT_TRIES - 1:
                    raise
                continue
            self.udp += [entry for entry in opened if isinstance(entry, UdpListener)]
            self.streams += [entry for entry in opened if isinstance(entry, StreamListener)]
            return

    def _open(self, transport: str, host: str, port: int) -> UdpListener | StreamListener:
        if transport == "udp":
            return UdpListener(host, port)
        listener = StreamListener(transport, host, port, self._limits, self._bounds)
        security = listener.security = self.security if transport in _SECURE else None
        if transport in ("ws", "wss"):
            # The one import of a library that most do not need.
            from presence.transport.websocket import WebSocketConnection

            origins = self._config.ws.origins
            listener.accept = lambda which: WebSocketConnection(which, _session(security), origins)
        else:
            listener.accept = lambda which: Connection(which, _session(security))
        return listener

    # ---- certificates ----

    def _read_certificates(self) -> Security | None:
        if not any(listener.transport in _SECURE for listener in self._config.server.listeners):
            return None
        tls = self._config.tls
        key_log = tls.key_log or os.environ.get("SSLKEYLOGFILE", "")
        if key_log:
            self._log.warning("TLS secrets are logged: whoever reads the file can read everything", key_log=key_log)
        demand = (tls.client_ca, tls.client_certificates)
        return Security(Files(tls.certificate, tls.key, *demand, tls.minimum_version, key_log, tls.server_ca))

    def reload(self) -> None:
        """Read the certificates anew for connections to come; what was in force stays when a file is bad."""
        if self.security is None:
            self._log.info("there are no certificates to reload")
            return
        try:
            self.security.load()
        except ConfigError as error:
            self._log.error("certificates not reloaded, the old ones stay in force", reason=str(error))
        else:
            self._log.info("certificates reloaded", certificate=self._config.tls.certificate)

    def reload_changed(self) -> None:
        """Read the certificates anew when a file has changed."""
        if self.security is not None and self.security.look():
            self.reload()

    def _raise_files(self, connections: int) -> None:
        """Allow as many open files as connections may need, as far as the system lets us."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = connections + FILES_BESIDE
        if soft == resource.RLIM_INFINITY or soft >= wanted:
            return
        allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
        if allowed < wanted:
            self._log.warning(
                "fewer files may be open than server.max_connections needs: raise `ulimit -n`",
                allowed=allowed,
                needed=wanted,
            )


def _session(security: Security | None) -> Session | None:
    return security.accept() if security is not None else None


def _by_address(listeners: tuple[Listener, ...]) -> list[list[Listener]]:
    """Group listeners that share host and port, so that UDP and TCP get the same one; others need one each."""
    groups: dict[tuple[str, str, int], list[Listener]] = {}
    for listener in listeners:
        kind = "" if listener.transport in ("udp", "tcp") else listener.transport
        groups.setdefault((kind, listener.host, listener.port), []).append(listener)
    return list(groups.values())
