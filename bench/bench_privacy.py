"""Rules over the whole server: real sockets, a process of its own, rules written as others write them.

    python bench/bench_privacy.py                     # all of it: 10,000 watchers in 5 classes, two minutes
    python bench/bench_privacy.py --watchers 1000     # in small
    python bench/bench_privacy.py views change edit   # by name

views: one PUBLISH for a presentity whose watchers are in five classes; what /metrics counts, and the time until the
last NOTIFY. change: new rules for all of them, from the PUT until the last NOTIFY, and how long anybody else had to
wait meanwhile. edit: new rules for one watcher by each of the ways documents come, from their being written to the
NOTIFY.
"""

import argparse
import contextlib
import http.client
import json
import re
import socket
import sqlite3
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from presence.loadtool.peers import DOMAIN, Presence, Running
from presence.loadtool.traffic import DISTINCT_HOPS, MODIFY, Traffic

CLASSES = 5
SHOWS = (("activities",), ("class",), ("deviceID",), ("activities", "class"), ("activities", "deviceID"))
"""What each class is shown beside notes; all of it is in the document."""
LARGEST = 4 * 1024 * 1024
PATIENCE_S = 30.0
ARGUMENTS = (
    *("--policy", "rules", "--set", "limits.trusted=127.0.0.0/8", "--set", "presence_xml.default_policy=allow"),
    *("--set", "xcap.authentication=none", "--set", f"xcap.max_document_bytes={LARGEST}"),
)
PATH = f"/xcap-root/pres-rules/users/sip:u{{user:08}}@{DOMAIN}/index"
PING_S = 0.002


class Site(NamedTuple):
    """A server under test, and its load."""

    server: Running
    http: str
    database: Path
    traffic: Traffic

    def count(self) -> int:
        """Return how many NOTIFYs have come."""
        counters = self.traffic.peer.counters()
        return int(counters["notifies"] - counters["duplicates"])

    def wait_for(self, count: int, look_s: float) -> None:
        """Answer NOTIFYs until there are so many."""
        until = time.monotonic() + PATIENCE_S
        while self.count() < count:
            if time.monotonic() > until:
                raise SystemExit(f"{count - self.count()} of {count} NOTIFYs did not come")
            self.traffic.peer.rest(look_s)

    def metrics(self, name: str) -> dict[str, float]:
        """Return the counters of a name as a scrape shows them."""
        text = ask(self.http, "GET", "/metrics").decode()
        return {label: float(value) for label, value in re.findall(rf"^{name}\{{(.*?)\}} (\S+)$", text, re.MULTILINE)}


@contextlib.contextmanager
def served(folder: Path | None) -> Iterator[Site]:
    """Start a server under policy `rules`."""
    with tempfile.TemporaryDirectory(prefix="presence-bench-", dir=folder) as name:
        server = Presence("commit", "", ARGUMENTS).start(Path(name))
        try:
            http = json.loads((Path(name) / "ready.json").read_text())["http"][0]
            yield Site(server, http, Path(name) / "presence.db", Traffic(server, DISTINCT_HOPS))
        finally:
            server.stop()


def ask(address: str, method: str, path: str, body: bytes | None = None, kind: str = "") -> bytes:
    """Make one request over HTTP; raises SystemExit for an answer that is no success."""
    connection = http.client.HTTPConnection(address, timeout=PATIENCE_S)
    try:
        connection.request(method, path, body, {"Content-Type": kind} if kind else {})
        answer = connection.getresponse()
        text = answer.read()
    finally:
        connection.close()
    if answer.status >= 300:
        raise SystemExit(f"{method} {path}: {answer.status} {text[:500]!r}")
    return text


def write_rules(classes: list[list[str]], turn: int) -> bytes:
    """Write a document with a rule for each class; what it shows goes round with `turn`."""
    rules = []
    for number, watchers in enumerate(classes):
        ones = "".join(f'<cr:one id="{uri}"/>' for uri in watchers)
        names = SHOWS[(number + turn) % len(SHOWS)]
        shows = "".join(f"<pr:provide-{name}>true</pr:provide-{name}>" for name in names)
        rules.append(
            f'<cr:rule id="class{number}"><cr:conditions><cr:identity>{ones}</cr:identity></cr:conditions>'
            "<cr:actions><pr:sub-handling>allow</pr:sub-handling></cr:actions><cr:transformations>"
            "<pr:provide-devices><pr:all-devices/></pr:provide-devices>"
            "<pr:provide-persons><pr:all-persons/></pr:provide-persons>"
            "<pr:provide-services><pr:all-services/></pr:provide-services>"
            f"{shows}<pr:provide-note>true</pr:provide-note></cr:transformations></cr:rule>"
        )
    return (
        '<?xml version="1.0" encoding="UTF-8"?><cr:ruleset xmlns:pr="urn:ietf:params:xml:ns:pres-rules" '
        f'xmlns:cr="urn:ietf:params:xml:ns:common-policy">{"".join(rules)}</cr:ruleset>'
    ).encode()


class Watched(NamedTuple):
    """One presentity and its watchers by class."""

    user: int
    classes: list[list[str]]

    @property
    def path(self) -> str:
        """Where its rules are."""
        return PATH.format(user=self.user)


def prepare(site: Site, count: int) -> tuple[Watched, Callable[[], float]]:
    """Have a presentity watched under rules for all classes; return it, and what publishes for it once."""
    users = site.traffic.published(1)
    watchers = site.traffic.watchers(users, count)
    uris = [f"sip:w{number:08}@{DOMAIN}" for number in range(watchers.first, watchers.first + count)]
    watched = Watched(users.first, [uris[at::CLASSES] for at in range(min(CLASSES, count))])
    put(site, watched, 0)
    site.traffic.drive([(4, watchers)], count)
    site.traffic.finish_deferred()

    def publish() -> float:
        measure = site.traffic.measure([(MODIFY, users, 1.0)], operations=1, window=1, await_watchers=True)
        if measure.lost or measure.notifies != count:
            raise SystemExit(f"{measure.notifies} NOTIFYs for {count} watchers, {measure.lost} lost")
        return measure.wall_s

    publish()
    return watched, publish


def put(site: Site, watched: Watched, turn: int) -> None:
    """Write the rules over HTTP."""
    body = write_rules(watched.classes, turn)
    ask(site.http, "PUT", watched.path, body, "application/auth-policy+xml")


# ---- views ----


def measure_views(site: Site, count: int, runs: int) -> None:
    """One PUBLISH, many watchers, few classes."""
    _, publish = prepare(site, count)
    took = []
    for _ in range(runs):
        before = {**site.metrics("presence_bodies_total"), **site.metrics("presence_notifies_total")}
        took.append(publish())
        after = {**site.metrics("presence_bodies_total"), **site.metrics("presence_notifies_total")}
    changed = ", ".join(f"{label} +{after[label] - was:.0f}" for label, was in before.items() if after[label] != was)
    show(f"views: {count} watchers in {CLASSES} classes, one PUBLISH until the last NOTIFY", took)
    print(f"    /metrics over the last one: {changed}")


# ---- change ----


class Pings(threading.Thread):
    """Asks for OPTIONS again and again, and knows the longest wait for an answer: the longest stop of the loop."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.connect(("127.0.0.1", port))
        self._socket.settimeout(PATIENCE_S)
        self._own = self._socket.getsockname()[1]
        self.longest_s = 0.0
        self.ends = False

    def run(self) -> None:
        """Ask until the end."""
        number = 0
        while not self.ends:
            number += 1
            began = time.monotonic()
            self._socket.send(
                f"OPTIONS sip:{DOMAIN} SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:{self._own};branch=z9hG4bKping{number}\r\n"
                f"Max-Forwards: 70\r\nFrom: <sip:ping@{DOMAIN}>;tag=ping\r\nTo: <sip:{DOMAIN}>\r\n"
                f"Call-ID: ping-{number}\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n".encode()
            )
            self._socket.recv(4096)
            self.longest_s = max(self.longest_s, time.monotonic() - began)
            time.sleep(PING_S)
        self._socket.close()


def measure_change(site: Site, count: int, runs: int) -> None:
    """New rules for many watchers, whose views are all others by that."""
    watched, _ = prepare(site, count)
    took, stopped, cost = [], [], []
    for turn in range(1, runs + 1):
        site.traffic.finish_deferred()
        site.traffic.peer.reset()
        pings = Pings(site.server.port)
        pings.start()
        cpu_s, began = site.server.cpu_s(), time.monotonic()
        writer = threading.Thread(target=put, args=(site, watched, turn))
        writer.start()
        site.wait_for(count, 0.002)
        took.append(time.monotonic() - began)
        writer.join()
        pings.ends = True
        pings.join()
        stopped.append(pings.longest_s)
        site.traffic.finish_deferred()
        cost.append(site.server.cpu_s() - cpu_s)
    show(f"change: {count} watchers, from the PUT of new rules for all of them until the last NOTIFY", took)
    show("    the longest wait of another request meanwhile", stopped)
    print(f"    {statistics.median(cost) / count * 1e6:.1f} us of processor for each watcher")


# ---- edit ----


def refresh_watchers(site: Site, user: int) -> None:
    """Say that rules are others, as OpenXCAP does."""
    call = {"jsonrpc": "2.0", "id": 1, "method": "refreshWatchers"}
    call["params"] = [f"sip:u{user:08}@{DOMAIN}", "presence", 0]
    ask(site.http, "POST", "/jsonrpc", json.dumps(call).encode(), "application/json")


def measure_edit(site: Site, count: int, runs: int) -> None:
    """New rules for one watcher, until its NOTIFY."""
    watched, _ = prepare(site, 1)
    other = sqlite3.connect(site.database, timeout=PATIENCE_S, isolation_level=None, check_same_thread=False)
    turn = 0

    def write_row() -> None:
        row = (write_rules(watched.classes, turn), f"etag-{turn}", f"u{watched.user:08}", DOMAIN)
        other.execute("UPDATE xcap SET doc = ?, etag = ? WHERE username = ? AND domain = ? AND doc_type = 2", row)

    def write_and_say() -> None:
        write_row()
        refresh_watchers(site, watched.user)

    ways = {
        "PUT to our own XCAP server": lambda: put(site, watched, turn),
        "a row written by another process, then refreshWatchers": write_and_say,
        "a row written by another process, and nothing said": write_row,
    }
    for name, write in ways.items():
        took = []
        for _ in range(runs):
            turn += 1
            site.traffic.peer.reset()
            # Not in step with what looks for changes now and then.
            site.traffic.peer.rest(0.02 + turn * 0.0137 % 0.3)
            writer = threading.Thread(target=write)
            began = time.monotonic()
            writer.start()
            site.wait_for(1, 0.0002)
            took.append(time.monotonic() - began)
            writer.join()
        show(f"edit: {name}, until the watcher's NOTIFY", took)
    other.close()


def show(what: str, took: list[float]) -> None:
    """Print times: median, least, greatest."""
    numbers = " ".join(f"{number * 1e3:.1f}" for number in (statistics.median(took), min(took), max(took)))
    print(f"{what}: {numbers} ms (median, least, greatest of {len(took)})")


MEASURES = {"views": (measure_views, 5), "change": (measure_change, 5), "edit": (measure_edit, 100)}


def main() -> None:
    """Run what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(MEASURES)}; all when none is named")
    parser.add_argument("--watchers", type=int, default=10_000)
    parser.add_argument("--runs", type=int, default=0, help="how often each; default 5, and 100 edits")
    parser.add_argument("--folder", type=Path, help="where the database is made")
    arguments = parser.parse_args()
    for name in arguments.names or MEASURES:
        measure, runs = MEASURES[name]
        with served(arguments.folder) as site:
            measure(site, arguments.watchers, arguments.runs or runs)


if __name__ == "__main__":
    main()
