"""Requests leave no reference cycles behind: the collector is told to look rarely (`server.GC_THRESHOLDS`)."""

import gc
import time
from collections.abc import Callable

import pytest
from xcap import ALICE, Site

from presence._fastcore import Message, build_response, parse
from presence.assembly import Node
from presence.boot import count_start
from presence.clock import SystemClock
from presence.config import load
from presence.store.sqlite import MEMORY, SqliteStore
from presence.tally import Tally

PIDF = (
    '<presence xmlns="urn:ietf:params:xml:ns:pidf" entity="sip:alice@example.com">'
    '<tuple id="a"><status><basic>open</basic></status></tuple></presence>'
)


class Bob:
    """A user agent that the node takes for a listener: what it sends is answered here."""

    flow = 0
    local = "udp:127.0.0.1:5060"
    transport = "UDP"

    def __init__(self) -> None:
        store = SqliteStore(MEMORY, durability="os")
        self.node = Node(load([], {}, [], []), store, SystemClock(), Tally(), boot=count_start(store))
        address = b"127.0.0.1:5060"
        self.link = self.node.table.add_link(-1, reliable=False, via=b"UDP " + address, contact=address)
        self.node.ways.add(self.local, self.link)
        self._answers: list[bytes] = []
        self._cseq = 0

    def respond(self, request: Message, response: bytes) -> None:
        self._answers.append(response)

    def ask(self, method: str, headers: str, body: str = "", *, to_tag: str = "") -> Message:
        """Send a request, answer the NOTIFYs that follow, return the response."""
        self._cseq += 1
        request = parse(
            f"{method} sip:alice@example.com SIP/2.0\r\n"
            f"Via: SIP/2.0/UDP 127.0.0.1:5070;rport;branch=z9hG4bK{self._cseq}\r\nMax-Forwards: 70\r\n"
            f"From: <sip:bob@example.com>;tag=b\r\nTo: <sip:alice@example.com>{to_tag and ';tag='}{to_tag}\r\n"
            f"Call-ID: {method}\r\nCSeq: {self._cseq} {method}\r\nEvent: presence\r\n{headers}"
            f"Content-Length: {len(body)}\r\n\r\n{body}".encode()
        )
        request.origin = self
        request.set_source("127.0.0.1", 5070)
        request.transaction = self.node.transactions.begin(request)[0]
        now = time.time()
        self.node.receive([request], now)
        self.node.tick(now)
        self.node.pump(now)
        for *_, notify, _ in self.node.table.outbox:
            self.node.table.match(parse(build_response(parse(notify), 200, b"OK")), now)
        self.node.table.outbox.clear()
        return parse(self._answers.pop())


@pytest.fixture
def bob() -> Bob:
    return Bob()


def cycles_of(act: Callable[[], None]) -> int:
    """Return how many objects only the collector can free after `act`; what others left before is not counted."""
    act()
    gc.collect()
    gc.disable()
    try:
        act()
        return gc.collect()
    finally:
        gc.enable()


def publish(bob: Bob, headers: str = "", body: str = PIDF, *, status: int = 200) -> str:
    response = bob.ask("PUBLISH", f"Content-Type: application/pidf+xml\r\n{headers}", body)
    assert response.status == status
    return response.header("SIP-ETag") or ""


def test_publishing_leaves_no_cycles(bob: Bob) -> None:
    def act() -> None:
        tag = publish(bob)
        tag = publish(bob, f"SIP-If-Match: {tag}\r\n", PIDF.replace("open", "closed"))
        publish(bob, f"SIP-If-Match: {tag}\r\nExpires: 0\r\n", "")

    assert cycles_of(act) == 0


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ("", PIDF[:-5], 400),
        ("", PIDF.replace("urn:ietf:params:xml:ns:pidf", "urn:other"), 400),
        ("SIP-If-Match: unknown\r\n", PIDF, 412),
        ("Content-Encoding: gzip\r\n", PIDF, 415),
        ("Require: teleport\r\n", PIDF, 420),
    ],
)
def test_refused_publishing_leaves_no_cycles(bob: Bob, headers: str, body: str, status: int) -> None:
    def act() -> None:
        publish(bob, headers, body, status=status)

    assert cycles_of(act) == 0


def test_watching_leaves_no_cycles(bob: Bob) -> None:
    contact = "Contact: <sip:bob@127.0.0.1:5070>\r\n"

    def act() -> None:
        tag = bob.ask("SUBSCRIBE", contact).to_tag
        publish(bob)
        for expires in ("Expires: 600\r\n", "Expires: 0\r\n"):
            assert bob.ask("SUBSCRIBE", contact + expires, to_tag=tag).status == 200
        assert bob.ask("SUBSCRIBE", contact, to_tag=tag).status == 481

    assert cycles_of(act) == 0


@pytest.mark.parametrize(
    ("node", "body", "status"),
    [
        ("", "<root xmlns='test-app'><a/></root>", 200),
        ("", "<root>", 409),
        ("/~~/root/b", "<b><c/></b>", 201),
        ("/~~/root/a", "<a></b>", 409),
        ("/~~/root/a/@n", '"1"', 201),
        ("/~~/root/a/@n", "<", 409),
        ("/~~/root/c/d", "<d/>", 409),
        ("/~~/root/a[]", "<a/>", 400),
    ],
)
def test_xcap_leaves_no_cycles(node: str, body: str, status: int) -> None:
    document = f"test-app/{ALICE}/index"
    with Site() as site:

        def act() -> None:
            site.put(document, "<root xmlns='test-app' xmlns:x='urn:x'><a/></root>")
            assert site.put(f"{document}{node}", body).status == status
            site.get(f"{document}{node}")
            site.delete(f"{document}{node}")

        assert cycles_of(act) == 0
