"""Responses that go to one address leave in one system call (UDP GSO): whole, each once, padded in one place only."""

import socket
from collections.abc import Iterator

import pytest
import sip

from presence._fastcore import Fanout, Message, ServerTransactions, UdpSocket, parse
from presence.sip.endpoint import Endpoint, ServerTransaction
from presence.tally import Tally

pytestmark = pytest.mark.system

NOW = 1_700_000_000.0
SECRET = bytes(range(16))
SOFTWARE = "presence/test"
SEGMENT_BYTES_MAX = 1452
"""What a path of Ethernet takes: a longer segment has the kernel refuse all of them."""


class Listener:
    """A server with nothing but its socket and its endpoint."""

    link, flow, transport, local = 0, 0, "UDP", "udp:127.0.0.1:5060"

    def __init__(self, *, segmenting: bool = True, software: str = SOFTWARE) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self.address = self.socket.getsockname()
        table = Fanout(SECRET, NOW, user_agent=b"test", segmenting=segmenting)
        self.transactions = ServerTransactions(SECRET, NOW)
        table.add_link(self.socket.fileno(), reliable=False, via=b"UDP 127.0.0.1", contact=b"127.0.0.1")
        self.core = UdpSocket(self.socket.fileno(), table, self.transactions, self)
        self.endpoint = Endpoint(self.transactions, Tally(), software=software, allow_events="presence")
        self.endpoint.serve("PUBLISH", self.publish)

    def publish(self, transaction: ServerTransaction, now: float) -> None:
        transaction.accept(f"Expires: {len(transaction.request.body)}\r\nSIP-ETag: {transaction.request.call_id}\r\n")

    def serve(self) -> list[Message]:
        requests: list[Message] = []
        more = True
        while more:
            batch, more = self.core.receive(NOW)
            requests += batch
            for request in batch:
                self.endpoint.receive(request, NOW)
        self.core.flush()
        return requests


@pytest.fixture
def clients() -> Iterator[list[socket.socket]]:
    sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(3)]
    for client in sockets:
        client.bind(("127.0.0.1", 0))
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        client.settimeout(5)
    yield sockets
    for client in sockets:
        client.close()


def ask(client: socket.socket, listener: Listener, number: int, *, length: int, method: str = "PUBLISH") -> str:
    """Send one request whose response has that many bytes more than the shortest."""
    call_id = f"c{number}x" + "y" * length
    via = f"SIP/2.0/UDP 127.0.0.1:{client.getsockname()[1]};rport"
    client.sendto(
        sip.request(method, "sip:alice@example.com", "Event: presence", via=via, call_id=call_id), listener.address
    )
    return call_id


def silent(client: socket.socket) -> bool:
    client.setblocking(False)
    try:
        client.recv(65536)
    except BlockingIOError:
        return True
    return False


def check(data: bytes, software: str) -> Message:
    response = parse(data)
    assert response.error == ""
    assert response.status in (200, 405)
    assert data.endswith(b"\r\n\r\n")
    for line in data.split(b"\r\n"):
        assert line == line.rstrip() or (line.startswith(b"Server: ") and len(data) <= SEGMENT_BYTES_MAX)
    assert response.header("Server") == (software or None)
    if response.status == 200:
        assert response.header("SIP-ETag") == response.call_id
    return response


LENGTHS = {
    "equal": lambda n: 7,
    "near": lambda n: n % 40,
    "far": lambda n: 97 * n % 1000,
    "beyond": lambda n: 1000 + 7 * n,
}


@pytest.mark.parametrize("software", [SOFTWARE, ""])
@pytest.mark.parametrize("segmenting", [True, False])
@pytest.mark.parametrize("lengths", LENGTHS)
@pytest.mark.parametrize("hops", [1, 3])
def test_every_response_arrives_once_and_whole(
    clients, hops: int, lengths: str, segmenting: bool, software: str
) -> None:
    listener = Listener(segmenting=segmenting, software=software)
    count = 300
    asked: list[set[str]] = [set() for _ in range(hops)]
    for number in range(count):
        method = "PUBLISH" if number % 7 else "MESSAGE"
        asked[number % hops].add(
            ask(clients[number % hops], listener, number, length=LENGTHS[lengths](number), method=method)
        )
    assert len(listener.serve()) == count
    for client, expected in zip(clients, asked, strict=False):
        heard = [check(client.recv(65536), software).call_id for _ in expected]
        assert len(set(heard)) == len(heard)
        assert set(heard) == expected
        assert silent(client)
    assert listener.core.counters()["unsent"] == 0
    listener.socket.close()


def test_a_repeated_request_gets_its_response_again_without_blanks(clients) -> None:
    listener = Listener()
    client = clients[0]
    via = f"SIP/2.0/UDP 127.0.0.1:{client.getsockname()[1]};rport"
    requests = [sip.request("PUBLISH", "sip:alice@example.com", via=via, call_id="c" * (1 + n)) for n in range(20)]
    for request in requests:
        client.sendto(request, listener.address)
    listener.serve()
    first = {parse(data).call_id: data for data in (client.recv(65536) for _ in requests)}
    for request in requests:
        client.sendto(request, listener.address)
    assert listener.serve() == []
    for _ in requests:
        again = client.recv(65536)
        padded = first[parse(again).call_id]
        assert again == padded.replace(SOFTWARE.encode() + b" " * (len(padded) - len(again)), SOFTWARE.encode())
    assert {len(data) for data in first.values()} == {max(map(len, first.values()))}
    listener.socket.close()


def test_responses_keep_their_order_where_nothing_is_padded(clients) -> None:
    listener = Listener(segmenting=False)
    asked = [ask(clients[0], listener, number, length=number % 50) for number in range(100)]
    listener.serve()
    assert [check(clients[0].recv(65536), SOFTWARE).call_id for _ in asked] == asked
    listener.socket.close()
