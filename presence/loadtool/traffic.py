"""Traffic against one server under test: what is sent, what came of it, what it cost."""

import os
import re
import time
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from presence._fastcore import LoadPeer
from presence.errors import PresenceError
from presence.loadtool.peers import DOMAIN, Running
from presence.sip.digest import ALGORITHMS

PUBLISH, REFRESH, MODIFY, REMOVE, SUBSCRIBE, RESUBSCRIBE, UNSUBSCRIBE, PUBLISH_TO_NOTIFY = range(8)
"""Kinds of requests, as the compiled core numbers them, and the latency behind them."""

KINDS = ("publish", "refresh", "modify", "remove", "subscribe", "resubscribe", "unsubscribe")

MARK = b"bench-v"
"""Stands before the version in a published document."""

LONGEST_S = 10.0
"""A measured part stops sending after this time, however slow the server is, unless it is told otherwise."""

SETTLE_S = 10.0
"""How long watchers may take to see the last version when nothing more is published."""

DEFERRED_S, LONGEST_DEFERRED_S = 0.8, 6.0
"""What a server puts off (ours its journal, by half a second) belongs to what put it there, up to so long."""

USERS_SEEN_S = 0.7
"""After this time a server has seen new users."""

IDLE_SHARE = 0.02
"""Of a core: a server that uses less has nothing more to do."""

DOCUMENT = """<?xml version="1.0" encoding="UTF-8"?>
<presence xmlns="urn:ietf:params:xml:ns:pidf"
    xmlns:dm="urn:ietf:params:xml:ns:pidf:data-model"
    xmlns:rpid="urn:ietf:params:xml:ns:pidf:rpid" entity="sip:u{user}@example.com">
  <tuple id="desk">
    <status><basic>open</basic></status>
    <rpid:class>desk</rpid:class>
    <dm:deviceID>urn:uuid:48662e19-5fbf-43fc-a2fd-d23002787599</dm:deviceID>
    <contact priority="0.8">sip:u{user}@192.0.2.17:5060;transport=udp</contact>
    <note xml:lang="en">In meeting bench-v{version}, then at the desk</note>
    <timestamp>2024-05-01T12:00:00Z</timestamp>
  </tuple>
  <dm:person id="person">
    <rpid:activities><rpid:meeting/></rpid:activities>
    <dm:note>Out</dm:note>
  </dm:person>
  <dm:device id="device">
    <dm:deviceID>urn:uuid:48662e19-5fbf-43fc-a2fd-d23002787599</dm:deviceID>
  </dm:device>
</presence>
"""


class Stalled(PresenceError):
    """A server under test stopped answering."""


class Span(NamedTuple):
    """Presentities or watchers with consecutive numbers."""

    first: int
    size: int


class Latency(NamedTuple):
    """Percentiles in microseconds."""

    number: int
    p50_us: float
    p90_us: float
    p99_us: float
    max_us: float


@dataclass(frozen=True)
class Hops:
    """How many next hops the watchers are reached by: the product of both."""

    sockets: int
    addresses: int


DISTINCT_HOPS = Hops(4, 4_096)
"""More than any presentity has watchers, but for the largest."""


@dataclass
class Measure:
    """One measured part: counts, costs and latencies."""

    operations: int
    """Requests that were answered as they should, of all kinds."""
    wall_s: float
    cpu_s: float
    """Of the server's whole process tree."""
    generator_cpu_s: float
    notifies: int
    """Without repeated ones."""
    failed: int
    lost: int
    """Watchers that never saw the last version, and requests never answered."""
    counters: dict[str, int]
    latencies: dict[str, Latency]
    memory_bytes: int
    extra: dict[str, float] = field(default_factory=dict)

    @property
    def request_us(self) -> float:
        """Server processor time for one request and all it leads to."""
        return self.cpu_s / max(self.operations, 1) * 1e6

    @property
    def notify_us(self) -> float:
        """Server processor time for one NOTIFY, its 200 and its share of the request."""
        return self.cpu_s / max(self.notifies, 1) * 1e6

    @property
    def notify_size(self) -> tuple[int, int]:
        """Mean bytes of a NOTIFY and of the 200 to it; those of a usual one when there was none."""
        came = self.notifies + self.counters["duplicates"]
        if not came:
            return 1300, 320
        return self.counters["notify_bytes"] // came, self.counters["reply_bytes"] // came


def cut(document: str) -> tuple[bytes, tuple[int, ...], tuple[int, ...]]:
    """Return a document with zeros in place of its numbers, and where user and version stand in it."""
    text, places = b"", {"{user}": [], "{version}": []}  # type: tuple[bytes, dict[str, list[int]]]
    for part in re.split(r"(\{user\}|\{version\})", document):
        if part in places:
            places[part].append(len(text))
            part = "0" * 8
        text += part.encode()
    return text, tuple(places["{user}"]), tuple(places["{version}"])


class Traffic:
    """Publishers and watchers of one server under test."""

    def __init__(
        self, server: Running, hops: Hops, *, loss: float = 0.0, window: int = 256, most_in_flight: int = 1 << 20
    ) -> None:
        self.server, self.window, self.most = server, min(window, most_in_flight), most_in_flight
        body, users, versions = cut(DOCUMENT)
        run = os.urandom(4).hex().encode()
        self.peer = LoadPeer(
            *(server.port, run, DOMAIN.encode(), body, users, versions, MARK),
            sockets=hops.sockets,
            addresses=hops.addresses,
            expires_s=7200,
            proof=ALGORITHMS[server.auth] if server.auth else -1,
            loss=loss,
            seed=int.from_bytes(run, "big"),
        )

    # ---- preparing ----

    def users(self, count: int) -> Span:
        """Add presentities nobody has published for."""
        return self._known("u", Span(self.peer.add_presentities(count), count))

    def published(self, count: int) -> Span:
        """Add presentities and publish for each."""
        users = self.users(count)
        self.drive([(PUBLISH, users)], count)
        return users

    def watchers(self, users: Span, each: int) -> Span:
        """Add watchers, as many for each presentity, who have not subscribed."""
        watched = array("I", range(users.first, users.first + users.size))
        return self.watchers_of([user for user in watched for _ in range(each)])

    def watchers_of(self, users: Sequence[int]) -> Span:
        """Add a watcher for each presentity named."""
        return self._known("w", Span(self.peer.add_watchers(array("I", users)), len(users)))

    def _known(self, kind: str, places: Span) -> Span:
        """Let the server know users by whom it is to be sent something, and their rules, when it wants to."""
        if self.server.auth:
            self.server.add_users(kind, *places)
        if self.server.rules and kind == "u":
            self.server.add_rules(*places)
        if self.server.auth or self.server.rules:
            # It looks for changes now and then, and proves everybody anew after one.
            self.peer.rest(USERS_SEEN_S)
        return places

    def watched(self, users: Span, each: int) -> Span:
        """Add watchers and subscribe each."""
        watchers = self.watchers(users, each)
        self.drive([(SUBSCRIBE, watchers)], watchers.size)
        return watchers

    def drive(self, streams: Sequence[tuple[int, Span]], operations: int) -> None:
        """Send requests that are not measured."""
        self.peer.reset()
        listed = [(kind, *span, 1 / len(streams)) for kind, span in streams]
        _, complete = self.peer.run(listed, window=self.window, operations=operations)
        if not complete:
            self.peer.abandon()
        failed = sum(self.peer.counts(kind)[2] for kind in range(len(KINDS)))
        self.server.check()
        if failed or not complete:
            status = self.peer.counters()["last_status"] or 408
            raise Stalled(f"{failed or operations} of {operations} requests of the preparation failed ({status})")

    # ---- measuring ----

    def measure(
        self,
        streams: Sequence[tuple[int, Span, float]],
        *,
        operations: int = -1,
        window: int = 0,
        rate_per_s: float = 0.0,
        seconds: float = LONGEST_S,
        await_watchers: bool = False,
    ) -> Measure:
        """Run requests, wait until all watchers are up to date and return what it took; 0 seconds are no limit."""
        self.peer.reset()
        dropped = self.peer.kernel_drops()
        cpu_s, own_s = self.server.cpu_s(), time.thread_time()
        wall_s, complete = self.peer.run(
            [(kind, *span, share) for kind, span, share in streams],
            window=min(window or self.window, self.most),
            operations=operations,
            rate_per_s=rate_per_s,
            seconds=seconds,
            await_watchers=await_watchers,
        )
        lost = self.settle()
        self.finish_deferred()
        cpu_s, own_s = self.server.cpu_s() - cpu_s, time.thread_time() - own_s
        self.server.check()
        if not complete:
            self.peer.abandon()
        counts = [self.peer.counts(kind) for kind in range(len(KINDS))]
        counters = self.peer.counters()
        return Measure(
            operations=sum(done for _, done, _ in counts),
            wall_s=wall_s,
            cpu_s=cpu_s,
            generator_cpu_s=own_s,
            notifies=counters["notifies"] - counters["duplicates"],
            failed=sum(failed for _, _, failed in counts),
            lost=lost + counters["lost_requests"],
            counters={**counters, "kernel_drops": self.peer.kernel_drops() - dropped},
            latencies=self.latencies(),
            memory_bytes=self.server.memory_bytes(),
        )

    def settle(self) -> int:
        """Wait until every watcher has the last version; return how many have not."""
        until = time.monotonic() + SETTLE_S
        while (behind := self.peer.behind()) and time.monotonic() < until:
            self.peer.rest(0.005)
        return behind

    def finish_deferred(self) -> None:
        """Wait until the server has done what it put off, so that it is paid for by the part that caused it."""
        until = time.monotonic() + LONGEST_DEFERRED_S
        self.peer.rest(DEFERRED_S)
        before, busy = self.server.cpu_s(), True
        while busy and time.monotonic() < until:
            self.peer.rest(0.1)
            now = self.server.cpu_s()
            before, busy = now, now - before > IDLE_SHARE * 0.1

    def latencies(self) -> dict[str, Latency]:
        """Return the latency of each kind of request there was, and from PUBLISH to NOTIFY."""
        found = {}
        for kind, name in enumerate((*KINDS, "publish_to_notify")):
            latency = Latency(*self.peer.latency(kind))
            if latency.number:
                found[name] = latency
        return found
