"""What a subscription and a stored response take: growth of the resident set, and what a burst gives back.

Run: python -m pytest bench/bench_memory.py --benchmark-only, or python bench/bench_memory.py for a million rows.
Nothing is sent: the table and the transactions alone, in this process, with strings as phones and proxies write them.
"""

import ctypes
import gc
import os
import random
import socket
import sys
import time
from array import array
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from conftest import Note
from pytest_benchmark.fixture import BenchmarkFixture

from presence._fastcore import CSEQ_STRIDE, Fanout, Message, ServerTransactions, parse
from presence.assembly import Node, load_packages
from presence.clock import SystemClock
from presence.config import load
from presence.loadtool.traffic import DOCUMENT
from presence.store.base import Done, Value, Write
from presence.subscription.notify import Notify
from presence.tally import Tally
from presence.values import Aor

QUICK = 100_000
FULL = 1_000_000
SLICE = 256
WATCHERS = 100
"""Subscriptions of one presentity."""

NOW = 1_700_000_000.0
SECRET = bytes(range(16))
LIFETIME_S = 32.0
REQUEST = (
    "SUBSCRIBE sip:user{n}@example.com SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:5070;branch=z9hG4bK{n}\r\n"
    "From: <sip:w{n}@example.com>;tag=t{n}\r\nTo: <sip:user{n}@example.com>\r\nCall-ID: c{n}\r\n"
    "CSeq: 1 SUBSCRIBE\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
)
TAIL = b"Content-Type: application/pidf+xml\r\nContent-Length: 900\r\n\r\n" + b"x" * 900


def resident_bytes() -> int:
    """Return the resident set of this process, without what the C library holds free at the top of its heap."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def make_table() -> Fanout:
    """Return a table whose one way out refuses everything at once, so that rendering is seen and not the kernel."""
    table = Fanout(SECRET, NOW, user_agent=b"presence", contact_user=b"presence")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as way, open(os.devnull) as nothing:
        fd = os.dup(way.fileno())
        table.add_link(fd, reliable=False, via=b"UDP 127.0.0.1:5060", contact=b"127.0.0.1:5060")
        os.dup2(nothing.fileno(), fd)
    return table


def subscribe(table: Fanout, gid: int, user: int, number: int) -> int:
    """Fill a row with the strings of an ordinary phone behind one of four proxies."""
    name = b"w%d" % (100_000 + number % 900_000)
    dialog = (
        b"sip:%s@127.0.0.1:5070" % name,
        b"",
        b"<sip:user%d@example.com>" % user,
        b"<sip:%s@example.com>" % name,
        (b"%x" % (0x1000000000 + number * 2654435761))[:10] + b"-watchers!"[: number % 11],
        b"%020x" % (number * 40503) + b"@watchers.example.com"[: number % 21],
        b"",
        b"",
        b"",
    )
    slot = table.reserve()
    table.fill(slot, gid, dialog, remote_cseq=1, cseq_mark=CSEQ_STRIDE, expires_at=int(NOW) + 3600)
    table.set_target(slot, 0, "127.0.0.1", 5070 + number % 4)
    return slot


def add_groups(table: Fanout, count: int) -> list[int]:
    groups = [table.add_group(b"presence") for _ in range(max(1, count // WATCHERS))]
    for gid in groups:
        table.set_body(gid, 1, TAIL)
    return groups


def users(groups: int, count: int) -> Iterator[int]:
    """Yield whom each subscription watches, in no order."""
    chance = random.Random(3)
    return (chance.randrange(groups) for _ in range(count))


def render(table: Fanout, queue: Callable[[int], object], what: Sequence[int], count: int) -> int:
    """Queue and render NOTIFYs, which the kernel refuses; return the nanoseconds of CPU one of the `count` takes."""
    spent = 0
    for start in range(0, len(what), SLICE):
        for number in what[start : start + SLICE]:
            queue(number)
        began = time.thread_time_ns()
        while table.pump(NOW, SLICE):
            pass
        spent += time.thread_time_ns() - began
    return round(spent / count)


def measure_table(count: int) -> dict[str, float]:
    """Subscriptions alone: what one takes, renders in, and leaves behind; then as many again."""
    slots = array("I", bytes(4 * count))
    before = resident_bytes()
    table = make_table()
    groups = add_groups(table, count)
    for number, user in enumerate(users(len(groups), count)):
        slots[number] = subscribe(table, groups[user], user, number)
    taken = resident_bytes() - before
    # Each row once: the second NOTIFY of one would wait for the answer to the first.
    ordered = render(table, table.notify, slots[: count // 2], count // 2)
    scattered = render(table, table.notify_group, groups, count - count // 2)
    for slot in slots:
        table.release(slot)
    # The timers of what was rendered come up.
    for step in range(80):
        table.tick(NOW + step)
    left = resident_bytes() - before
    for number, user in enumerate(users(len(groups), count)):
        slots[number] = subscribe(table, groups[user], user, number + 7)
    again = resident_bytes() - before
    return {
        "bytes_per_subscription": round(taken / count),
        "ns_per_notify_in_order_of_rows": ordered,
        "ns_per_notify_by_resource": scattered,
        "bytes_left_of_each": round(left / count),
        "bytes_when_filled_again": round(again / count),
    }


class Accepting:
    """A store that takes everything and keeps nothing, and the origin that hears the answers."""

    transport, link, flow, local = "UDP", 0, 0, "udp:127.0.0.1:5060"

    def __init__(self) -> None:
        self.rows = 0

    def new_id(self, table: str) -> int:
        self.rows += 1
        return self.rows

    def submit(self, writes: Sequence[Write], done: Done) -> None:
        done(None)

    def flush(self) -> None:
        """There is nothing to write."""

    def read(self, query: str, params: tuple[Value, ...] = ()) -> Iterator[tuple[Value, ...]]:
        return iter(())

    def respond(self, request: Message, response: bytes) -> None:
        assert response.startswith(b"SIP/2.0 200 ")


def publish(number: int) -> Message:
    name = f"user{number}"
    body = DOCUMENT.replace("{user}", f"{number:08}").replace("{version}", "00000001").encode()
    head = (
        f"PUBLISH sip:{name}@example.com SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:5070;branch=z9hG4bK{number}\r\n"
        f"From: <sip:{name}@example.com>;tag=t{number}\r\nTo: <sip:{name}@example.com>\r\nCall-ID: c{number}\r\n"
        "CSeq: 1 PUBLISH\r\nMax-Forwards: 70\r\nEvent: presence\r\nExpires: 3600\r\n"
        f"Content-Type: application/pidf+xml\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return parse(head.encode() + body)


def measure_publications(count: int) -> dict[str, float]:
    """Initial publications of 900 bytes, one of each presentity, from the endpoint on."""
    origin = Accepting()
    node = Node(load(assignments=("server.policy=open",)), origin, SystemClock(), Tally(), boot=1)
    before, began = resident_bytes(), 0
    for number in range(count):
        request = publish(number)
        request.origin = origin
        started = time.thread_time_ns()
        node.receive([request], NOW + number / 64)
        began += time.thread_time_ns() - started
    assert node.compositor.counts() == {"presence": count}
    taken = resident_bytes() - before
    return {"bytes_per_publication": round(taken / count), "us_per_publish": round(began / count / 1000, 1)}


def measure_resources(count: int) -> dict[str, float]:
    """Presentities that publish nothing, with one watcher each: the subscription, and all that is made for it."""
    table = make_table()
    registry = load_packages()
    package = registry.get("presence")
    assert package is not None
    notify = Notify(table, registry, lambda package, who: package.compose(who, ()), lambda resource: (), Tally())
    before = resident_bytes()
    for number in range(count):
        resource = notify.resource(package, Aor(f"user{number}", "example.com"))
        subscribe(table, resource.gid, number, number)
    rows = resident_bytes() - before
    notify.changed_all(NOW)
    notify.flush(NOW)
    told = resident_bytes() - before
    return {"bytes_per_resource_and_row": round(rows / count), "bytes_when_told": round(told / count)}


def measure_storm(count: int) -> dict[str, float]:
    """A login storm of half a minute: each SUBSCRIBE leaves a row and, for 32 s, its stored response."""
    before = resident_bytes()
    table, transactions = make_table(), ServerTransactions(SECRET, NOW, LIFETIME_S)
    groups = add_groups(table, count)
    for number, user in enumerate(users(len(groups), count)):
        index, _ = transactions.begin(parse(REQUEST.format(n=number).encode()))
        subscribe(table, groups[user], user, number)
        transactions.complete(index, b"r" * (400 + number % 200), NOW + 30 * number / count)
    held = resident_bytes() - before
    for step in range(4 * int(LIFETIME_S)):
        transactions.tick(NOW + step)
    left = resident_bytes() - before
    return {"bytes_at_its_height": round(held / count), "bytes_per_subscription_after": round(left / count)}


def measure_transactions(count: int) -> dict[str, float]:
    before = resident_bytes()
    transactions = ServerTransactions(SECRET, NOW, LIFETIME_S)
    for number in range(count):
        now = NOW + number / count
        index, _ = transactions.begin(parse(REQUEST.format(n=number).encode()))
        transactions.complete(index, b"r" * (400 + number % 200), now)
    held = (resident_bytes() - before) / count
    for step in range(int(LIFETIME_S) + 4):
        transactions.tick(NOW + step)
    left = (resident_bytes() - before) / count
    assert len(transactions) == 0
    return {"bytes_per_transaction": round(held), "bytes_left": round(left)}


MEASURES = (measure_table, measure_storm, measure_transactions, measure_publications, measure_resources)


@pytest.mark.parametrize("measure", MEASURES)
def bench_memory(benchmark: BenchmarkFixture, note: Note, measure: object) -> None:
    assert callable(measure)
    note(**benchmark.pedantic(measure, (QUICK,), rounds=1))


if __name__ == "__main__":
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else FULL
    for measured in MEASURES:
        if len(sys.argv) > 2 and sys.argv[2] != measured.__name__:
            continue
        print(f"{measured.__name__} {rows}: {measured(rows)}")
