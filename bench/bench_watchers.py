"""Rules with many watchers: one presentity, 10,000 watchers in five view classes.

Run: python -m pytest bench/bench_watchers.py --benchmark-only. The node alone, on a real file: what is measured is the
processor time it takes until the last NOTIFY has left, and its longest turn, in which nothing else is served.
"""

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from bench_start import BATCH, document, subscription
from conftest import Note
from pytest_benchmark.fixture import BenchmarkFixture

from presence._fastcore import parse
from presence.assembly import Node, count_start
from presence.clock import SystemClock
from presence.config import load
from presence.store.sqlite import SqliteStore
from presence.tally import Tally
from presence.values import Aor
from presence.xcap.documents import Key

WATCHERS = 10_000
CLASSES = (
    "",
    "<pr:provide-services><pr:all-services/></pr:provide-services>",
    "<pr:provide-persons><pr:all-persons/></pr:provide-persons>",
    "<pr:provide-services><pr:all-services/></pr:provide-services><pr:provide-note>true</pr:provide-note>",
    "<pr:provide-services><pr:all-services/></pr:provide-services><pr:provide-all-attributes/>",
)
USER = Aor("user0", "example.com")
KEY = Key("pres-rules", USER, "index")
SOURCE = ("127.0.0.1", 5070)


def rules(handling: str = "allow", shift: int = 0) -> bytes:
    """Each class of watchers by name, as buddy lists are written by clients."""
    texts = []
    for number, shown in enumerate(CLASSES):
        names = "".join(
            f'<cp:one id="sip:w{100_000 + watcher}@example.com"/>'
            for watcher in range((number + shift) % len(CLASSES), WATCHERS, len(CLASSES))
        )
        texts.append(
            f'<cp:rule id="r{number}"><cp:conditions><cp:identity>{names}</cp:identity></cp:conditions><cp:actions>'
            f"<pr:sub-handling>{handling}</pr:sub-handling></cp:actions><cp:transformations>{shown}"
            "</cp:transformations></cp:rule>"
        )
    return (
        '<cp:ruleset xmlns:cp="urn:ietf:params:xml:ns:common-policy" xmlns:pr="urn:ietf:params:xml:ns:pres-rules">'
        f"{''.join(texts)}</cp:ruleset>"
    ).encode()


class Served:
    """A node with its watchers, which answer everything at once."""

    def __init__(self, folder: Path) -> None:
        self.clock, self.tally = SystemClock(), Tally()
        expires = int(self.clock.now()) + 3600
        config = load(assignments=("server.policy=rules", "presence.end_sub_on_timeout=false"))
        self.store = SqliteStore(str(folder / "rules.db"))
        for first in range(0, WATCHERS, BATCH):
            rows = [subscription(number, 1, expires) for number in range(first, first + BATCH)]
            self.store.submit(rows, lambda error: None)
            self.store.flush()
        self.etags = 0
        self.store.close()
        self.store = SqliteStore(str(folder / "rules.db"))
        self.node = Node(config, self.store, self.clock, self.tally, boot=count_start(self.store))
        link = self.node.table.add_link(-1, reliable=False, via=b"UDP 127.0.0.1:5060", contact=b"127.0.0.1:5060")
        self.node.ways.add("udp:127.0.0.1:5060", link)
        self.link = link
        self.write(rules())
        self.node.load()
        self.settle()

    def write(self, body: bytes) -> None:
        stored = self.node.documents.get(KEY)
        self.etags += 1
        expected = None if stored is None else stored.etag
        self.node.documents.put(KEY, body, f"e{self.etags}", expected, lambda error: None)

    def settle(self) -> tuple[float, float, int]:
        """Let turns happen until all is quiet; return seconds in the node, its longest turn and NOTIFYs sent."""
        total = longest = 0.0
        sent = idle = 0
        while idle < 3:
            began = time.thread_time()
            self.node.tick(self.clock.now())
            left = self.node.pump(self.clock.now())
            took = time.thread_time() - began
            total, longest = total + took, max(longest, took)
            posts = [data for *_, data, _ in self.node.table.outbox]
            self.node.table.outbox.clear()
            sent += len(posts)
            answers = [parse(answer(data)) for data in posts]
            began = time.thread_time()
            self.node.receive(answers, self.clock.now())
            total += time.thread_time() - began
            idle = 0 if posts or left or self.node.pending() else idle + 1
        return total, longest, sent


def answer(notify: bytes) -> bytes:
    wanted = (b"Via:", b"From:", b"To:", b"Call-ID:", b"CSeq:")
    lines = [line for line in notify.split(b"\r\n\r\n")[0].split(b"\r\n") if line.startswith(wanted)]
    return b"SIP/2.0 200 OK\r\n" + b"\r\n".join(lines) + b"\r\nContent-Length: 0\r\n\r\n"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Served:
    return Served(tmp_path_factory.mktemp("rules"))


def measure(benchmark: BenchmarkFixture, note: Note, served: Served, change: Callable[[], None], expected: int) -> None:
    figures: list[tuple[float, float, int]] = []

    def run() -> None:
        change()
        figures.append(served.settle())

    benchmark.pedantic(run, rounds=3)
    total, longest, sent = min(figures)
    assert sent == expected
    note(node_ms=round(total * 1e3, 1), longest_turn_ms=round(longest * 1e3, 1), notifies=sent)


def test_publish_to_watchers_in_five_views(benchmark: BenchmarkFixture, note: Note, served: Served) -> None:
    versions = iter(range(1, 100))
    before = dict(served.tally.bodies)

    def publish() -> None:
        body = document(0).replace(b"00000001", b"%08d" % next(versions))
        request = (
            b"PUBLISH sip:user0@example.com SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:5070;branch=z9hG4bK%d\r\n"
            b"Max-Forwards: 70\r\nFrom: <sip:user0@example.com>;tag=a\r\nTo: <sip:user0@example.com>\r\n"
            b"Call-ID: c%d\r\nCSeq: 1 PUBLISH\r\nEvent: presence\r\nContent-Type: application/pidf+xml\r\n"
            b"Content-Length: %d\r\n\r\n%b" % (served.etags, served.etags, len(body), body)
        )
        served.etags += 1
        message = parse(request)
        message.set_source(*SOURCE)
        message.origin, message.received_at = Origin(served.link), served.clock.now()
        message.transaction, _ = served.node.transactions.begin(message)
        served.node.receive([message], served.clock.now())

    figures: list[tuple[float, float, int]] = []

    def run() -> None:
        publish()
        figures.append(served.settle())

    benchmark.pedantic(run, rounds=3)
    made = {kind: (count - before[kind]) // 3 for kind, count in served.tally.bodies.items()}
    assert made == {"composed": 1, "filtered": len(CLASSES)}
    total, longest, sent = min(figures)
    note(node_ms=round(total * 1e3, 1), longest_turn_ms=round(longest * 1e3, 1), notifies=sent, **made)


class Origin:
    transport, flow, local = "UDP", 0, "udp:127.0.0.1:5060"

    def __init__(self, link: int) -> None:
        self.link = link

    def respond(self, request: object, response: bytes) -> None:
        pass


def test_rules_that_change_nothing(benchmark: BenchmarkFixture, note: Note, served: Served) -> None:
    measure(benchmark, note, served, lambda: served.write(rules()), 0)


def test_rules_that_give_everybody_another_view(benchmark: BenchmarkFixture, note: Note, served: Served) -> None:
    shifts = iter(range(1, 100))
    measure(benchmark, note, served, lambda: served.write(rules(shift=next(shifts))), WATCHERS)


def test_rules_that_have_everybody_wait_or_not(benchmark: BenchmarkFixture, note: Note, served: Served) -> None:
    handlings = iter(("confirm", "allow") * 50)
    measure(benchmark, note, served, lambda: served.write(rules(next(handlings))), WATCHERS)
