"""The server process: sockets, the loop, signals, and the order in which a tick does its work."""

import asyncio
import contextlib
import gc
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from presence import logbook
from presence._fastcore import Message
from presence.archive import Archive
from presence.assembly import Node
from presence.boot import count_start
from presence.clock import SystemClock
from presence.config import Config
from presence.errors import ConfigError
from presence.http.app import HttpServer, build_app
from presence.listening import Listening
from presence.site import build_site, route_to
from presence.store.fold import FOLD_AFTER_S
from presence.store.sqlite import SqliteStore
from presence.subscription.dialog import AllowedTargets
from presence.tally import Tally
from presence.transport.resolve import NameClient
from presence.transport.stream import StreamListener
from presence.transport.udp import host_text

TICK_S = 0.01
"""How often timers are looked at: the resolution of retransmissions."""

IDLE_CHECK_S = 10.0

GC_THRESHOLDS = (10_000, 5, 5_000)
"""When the collector looks: after more new objects than one tick makes, and hardly ever at all there are."""

Result = TypeVar("Result")

LATE_CHECK_S = 1.0
"""How often connections are looked at that owe a handshake or a message, and certificates that may have changed."""


class Server:
    """One process on one event loop: the dry node with its sockets."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.tally = Tally()
        self.clock = SystemClock()
        self.ready = False
        self.hurried = False
        """Told a second time to stop: nothing is waited for any more."""
        self._log = logbook.open_log()
        self._loop = asyncio.get_running_loop()
        self._http: HttpServer | None = None
        self._due = False
        self._readers: list[Callable[[], None]] = []
        self._idle_check_at = self._late_check_at = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._listening = Listening(config, self._log)
        self._udp, self._streams = self._listening.udp, self._listening.streams
        self._by_link: dict[int, StreamListener] = {}
        self.archive = Archive(config, self.tally, self.clock.now)
        self._bind_http()
        self._store = self._open_store()
        self._names = self._open_names() if config.dns.enabled else None
        resolver = None if self._names is None else self._names.resolver
        self.node = Node(config, self._store, self.clock, self.tally, boot=self._boot, resolver=resolver)
        self.archive.attach(self.node, self._store, self._wake)
        journal = logbook.Journal(self._log, self.clock.now)
        self.node.observe(journal)
        self.node.documents.faulted = lambda error: journal.faulted(error, "")
        self.node.privacy.elsewhere = self._call_elsewhere
        self._serve_xcap(lambda error: journal.faulted(error, ""))
        self.tally.refreshers.append(self._count)
        self.tally.gauges["unfolded"] = lambda: {(): float(self._store.unfolded)}
        self.tally.gauges["commit_lag_seconds"] = lambda: {(): self._store.lag.seconds}

    # ---- start ----

    def _bind_http(self) -> None:
        if self.config.http.address is None:
            return
        try:
            host, port = self.config.http.address
            settings = self.config.http
            near = None if self.config.server.allow_unauthenticated else self.config.management.allowed
            self._app = build_app(self.tally, lambda: self.ready, routes=self.archive.routes(), metrics_for=near)
            self._http = HttpServer(host, port, self._app, certificate=settings.certificate, key=settings.key)
            self._http.bind()
        except (OSError, ConfigError):
            self._close_listeners()
            raise

    def _serve_xcap(self, faulted: Callable[[Exception], None]) -> None:
        documents = self.node.documents
        self._site = build_site(
            self.config,
            self._store,
            documents,
            self.clock,
            wake=self._wake,
            faulted=faulted,
            failed=self.tally.count_auth_failure,
        )
        if self._http is not None and self._site is not None:
            self._app.router.routes.append(route_to(self._site, self.config))
            self.tally.xcap = self._site.requests

    def _open_store(self) -> SqliteStore:
        database = self.config.database
        first = SqliteStore(database.path, durability=database.durability)
        try:
            self._boot = count_start(first)
        finally:
            first.close()
        periodic = database.durability == "periodic"
        return SqliteStore(
            database.path,
            durability=database.durability,
            call_soon=self._loop.call_soon_threadsafe,
            on_commit=self._committed,
            on_missing=self._missing,
            on_trouble=self._log.warning,
            overload_s=self.config.limits.overload_ms / 1000,
            fold_after_s=database.write_interval_ms / 1000 if periodic else FOLD_AFTER_S,
        )

    def _open_names(self) -> NameClient:
        settings = self.config.dns
        names = NameClient(
            self.clock.now,
            servers=settings.addresses,
            timeout_s=settings.timeout_ms / 1000,
            most=settings.max_lookups,
            kept=settings.cache_size,
            hosts_file=settings.hosts_file,
        )
        names.answered = self._wake
        return names

    async def start(self) -> None:
        """Take over what the database holds, then open for requests."""
        node = self.node
        for udp in self._udp:
            udp.attach(node.table, node.transactions, self.config.server.advertised_host)
            node.ways.add(udp.local, udp.link)
            udp.guard(node.gate)
        allowed = AllowedTargets(self.config.server.target_networks)
        for stream in self._streams:
            stream.advertised_host = self.config.server.advertised_host
            stream.attach(node.table, self.tally, self._streamed, self.clock.now)
            stream.wake = self._wake
            stream.allows = allowed.__contains__
            stream.gate = node.gate if node.gate.active else None
            node.ways.add(stream.local, stream.link)
            # Who a server must prove to be, for those that ask.
            node.ways.names[stream.link] = stream.names
            self._by_link[stream.link] = stream
        node.open_ways()
        taken, refused = self._load()
        self._log.info("loaded", subscriptions=taken, refused=refused, **node.compositor.counts())
        # Requests leave no cycles behind (a test sees to it), and a look at 30,000 publications takes 0.2 s.
        gc.set_threshold(*GC_THRESHOLDS)
        for udp in self._udp:
            readable = udp.serve(self.clock.now, self.node.receive, self._wake)
            self._loop.add_reader(udp.socket.fileno(), readable)
            self._readers.append(readable)
        for stream in self._streams:
            await stream.start()
        if self._http is not None:
            await self._http.start()
        self.ready = True
        self._tick()

    def _load(self) -> tuple[int, int]:
        # What is loaded is not to be looked at by the collector, now or later: it holds no cycles, and a look at
        # 200,000 publications takes a third of the time that loading them does.
        gc.collect()
        gc.disable()
        try:
            return self.node.load()
        finally:
            gc.freeze()
            gc.enable()

    def listeners(self) -> dict[str, list[str]]:
        """Return what is listened on, by kind."""
        http = []
        if self._http is not None and self.config.http.address is not None:
            http.append(f"{host_text(self.config.http.address[0])}:{self._http.port}")
        return {"sip": self._listening.names(), "http": http}

    # ---- work ----

    def _streamed(self, messages: list[Message]) -> None:
        self.node.receive(messages, self.clock.now())
        self._wake()

    def _committed(self, seconds: float, rows: int) -> None:
        """Answers and NOTIFYs follow from this commit: they leave in this turn of the loop."""
        self.tally.commit.observe(seconds)
        self._wake()

    def _missing(self, query: str, row_id: int) -> None:
        self.node.missing(query, row_id)
        self._wake()

    def _call_elsewhere(self, call: Callable[[], Result], done: Callable[[Result], None]) -> None:
        def called(future: "asyncio.Future[Result]") -> None:
            if not future.cancelled():
                done(future.result())
                self._wake()

        self._loop.run_in_executor(None, call).add_done_callback(called)

    def _wake(self) -> None:
        """Do the rest of the work at the end of this turn of the loop, once."""
        if not self._due:
            self._due = True
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        """Plan what follows from the requests and commits of this turn, and send a slice of it."""
        self._due = False
        now = self.clock.now()
        self.node.tick(now)
        # A 200 leaves before the NOTIFY that follows from it.
        self._flush()
        left = self.node.pump(now)
        self._deliver()
        if left:
            # The answers come as fast as NOTIFYs leave, and the loop may run several turns between two looks at its
            # sockets (uvloop: eight), in which they would fill the receive buffer.
            for readable in self._readers:
                readable()
            self._wake()

    def _deliver(self) -> None:
        outbox = self.node.table.outbox
        if not outbox:
            return
        for link, flow, host, port, data, slots in outbox:
            listener = self._by_link.get(link)
            if listener is not None:
                listener.deliver(flow, host, port, data, slots)
        outbox.clear()
        for stream in self._streams:
            stream.flush()

    def _flush(self) -> None:
        for udp in self._udp:
            udp.flush()
        for stream in self._streams:
            stream.flush()

    def _tick(self) -> None:
        now = self.clock.now()
        if now >= self._idle_check_at:
            self._idle_check_at = now + IDLE_CHECK_S
            for stream in self._streams:
                stream.close_idle(now - self.config.server.idle_timeout_s)
        if now >= self._late_check_at:
            self._late_check_at = now + LATE_CHECK_S
            for stream in self._streams:
                stream.close_late()
            self._listening.reload_changed()
        self.archive.tick(now)
        self._turn()
        self._timer = self._loop.call_later(TICK_S, self._tick)

    def reload(self) -> None:
        """Read the certificates anew; connections that stand keep what they have."""
        self._listening.reload()
        if self._http is not None:
            self._http.reload()

    # ---- the end ----

    async def drain(self) -> None:
        """Stop accepting, finish what is in flight, write everything, close."""
        self.ready = False
        self.node.endpoint.draining = True
        for stream in self._streams:
            stream.stop_accepting()
        over_s = self.config.presence.deactivate_at_shutdown_s
        if over_s:
            self.node.migration.begin(self.clock.now(), over_s)
            await self._wait(over_s + self.config.server.drain_timeout_s, lambda: not self.node.migration.done)
        await self._wait(self.config.server.drain_timeout_s, self._busy)
        self._readers.clear()
        for udp in self._udp:
            self._loop.remove_reader(udp.socket.fileno())
        if self._timer is not None:
            self._timer.cancel()
        if self._http is not None:
            await self._http.stop()
        await self.archive.close()
        if self._site is not None:
            self._site.close()
        if self._names is not None:
            self._names.close()
        self._store.close()
        self._flush()
        self._close_listeners()

    async def _wait(self, seconds: float, goes_on: Callable[[], bool]) -> None:
        until = self.clock.now() + seconds
        while not self.hurried and self.clock.now() < until and goes_on():
            await asyncio.sleep(TICK_S)

    def _close_listeners(self) -> None:
        self._listening.close()
        if self._http is not None:
            self._http.close()

    def _count(self) -> None:
        for name in ("strays", "retransmissions", "unsent", "keepalives", "overflows"):
            self.tally.drops[f"udp {name}"] = sum(udp.counters()[name] for udp in self._udp)
        self.tally.folds = self._store.count_folds()

    def _busy(self) -> bool:
        counts = self.node.table.counters()
        return bool(counts["in_flight"] or counts["queued"] or self.node.pending())


def run(config: Config) -> int:
    """Run the server until SIGTERM or SIGINT; return the exit status."""
    # The writer thread must get its turn while the loop is busy: limits of the GIL, measured.
    sys.setswitchinterval(0.0005)
    loop_factory = None
    with contextlib.suppress(ImportError):
        import uvloop

        loop_factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        return runner.run(_serve(config))


async def _serve(config: Config) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    server = Server(config)
    await server.start()

    def stopping() -> None:
        server.hurried = stop.is_set()
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping)
    loop.add_signal_handler(signal.SIGHUP, server.reload)
    _announce(server)
    await stop.wait()
    server._log.info("draining")
    await server.drain()
    server._log.info("stopped")
    return 0


def _announce(server: Server) -> None:
    """Print what a person needs to go on, and write the ready file."""
    config, listening = server.config, server.listeners()
    first = listening["sip"][0]
    scheme = "https" if config.http.certificate else "http"
    lines = [
        f"presence listens on {', '.join(listening['sip'])}",
        *(f"http     {scheme}://{address}/healthz /readyz /metrics" for address in listening["http"]),
        *(f"xcap     {scheme}://{address}{config.xcap.root}" for address in listening["http"] if config.xcap.root),
        f"policy   {server.node.policy.name}",
        f"data     {os.path.abspath(config.database.path)}",
        "try next",
        f"  presence watch sip:alice@example.com --server {first}",
        f"  presence publish sip:alice@example.com --status open --note 'Hello' --server {first}",
        *(f"  curl {scheme}://{address}/metrics" for address in listening["http"]),
    ]
    print("\n".join(lines), flush=True)
    if config.server.ready_file:
        path = Path(config.server.ready_file)
        temporary = path.with_name(path.name + ".new")
        temporary.write_text(json.dumps({"pid": os.getpid(), **listening}) + "\n")
        temporary.replace(path)
