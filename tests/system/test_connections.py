"""Connections that are many, slow, silent or half open: what they cost and how they end."""

import resource
import socket
import ssl
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from process import ServerProcess, until
from secure import Lab, Listeners, StreamAgent
from wire import PATIENCE_S, Stream, TcpAgent, UdpAgent, request

pytestmark = pytest.mark.system

OPTIONS = ("OPTIONS", "sip:example.com")
IDLE = 5000
IDLE_BYTES = {"tcp": 6_000, "tls": 60_000}
"""Most of the server's memory that an idle connection may take."""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return Lab(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path_factory.mktemp("slow"), "--set=server.message_timeout_s=1") as server:
        yield server
        server.assert_calm()


def closed_by(data: socket.socket) -> bool:
    """Whether the server has closed the connection; waits a little for it."""
    data.settimeout(0.05)
    try:
        return data.recv(4096) == b""
    except TimeoutError:
        return False
    except ConnectionError:
        return True


def late(server: ServerProcess) -> float:
    return server.metric('presence_drops_total{reason="message timeout"}')


@pytest.mark.parametrize("begun", [b"", b"\r\n", b"OPTIONS sip:example.com SIP/2.0\r\nVia: "])
def test_a_connection_that_never_says_anything_whole_ends(slow: ServerProcess, begun: bytes) -> None:
    before = late(slow)
    with socket.create_connection(("127.0.0.1", slow.port), PATIENCE_S) as silent:
        silent.sendall(begun)
        assert silent.recv(100) == b""
    assert late(slow) == before + 1


@pytest.mark.parametrize("first", [True, False], ids=["first message", "later message"])
def test_slowloris_bytes_that_trickle_in_buy_no_time(slow: ServerProcess, first: bool) -> None:
    before = late(slow)
    with TcpAgent(slow.port) as agent:
        if not first:
            assert agent.ask(*OPTIONS).status == 200
        connection = agent.stream.socket
        trickled = 0
        for byte in request(*OPTIONS, via=agent.via, headers="X: y\r\n" * 1000):
            connection.sendall(bytes((byte,)))
            trickled += 1
            if closed_by(connection):
                break
        assert 5 < trickled < 100
    assert late(slow) == before + 1


def test_a_peer_that_speaks_in_whole_messages_stays(slow: ServerProcess) -> None:
    """Although at each moment it has begun one: each message is granted its time anew."""
    with TcpAgent(slow.port) as agent:
        message = request(*OPTIONS, via=agent.via)
        agent.send(message[:50])
        for _ in range(30):
            assert not closed_by(agent.stream.socket)
            assert not closed_by(agent.stream.socket)
            agent.stream.socket.settimeout(PATIENCE_S)
            agent.send(message[50:] + message[:50])
            assert agent.response().status == 200


def test_a_keep_alive_counts_as_the_first_word(slow: ServerProcess) -> None:
    with TcpAgent(slow.port) as early, TcpAgent(slow.port) as silent:
        early.send(b"\r\n\r\n")
        assert early.stream.socket.recv(2) == b"\r\n"
        assert silent.stream.socket.recv(1) == b""
        assert early.ask(*OPTIONS).status == 200


def test_a_source_holds_no_more_than_its_share(tmp_path: Path) -> None:
    options = ("--set=server.max_connections_per_source=3", "--set=server.max_connections=4")
    entries = ("tcp:127.0.0.1:0", "ws:127.0.0.1:0", "tcp:[::1]:0")
    with Listeners(tmp_path, *entries, options=options) as server, ExitStack() as held:
        for _ in range(3):
            agent = StreamAgent("TCP", socket.create_connection(server.at("tcp", "127"), PATIENCE_S))
            held.enter_context(agent)
            assert agent.ask(*OPTIONS).status == 200
        # Listeners share the bounds.
        for kind in ("ws", "tcp"):
            with socket.create_connection(server.at(kind, "127"), PATIENCE_S) as refused:
                assert refused.recv(1) == b""
        elsewhere = socket.create_connection(server.at("tcp", "127"), PATIENCE_S, ("127.0.0.2", 0))
        other = held.enter_context(StreamAgent("TCP", elsewhere))
        assert other.ask(*OPTIONS).status == 200
        with socket.create_connection(server.at("tcp", "::1"), PATIENCE_S) as refused:
            assert refused.recv(1) == b""
        assert server.metric('presence_drops_total{reason="too many connections from one source"}') == 2
        assert server.metric('presence_drops_total{reason="too many connections"}') == 1
        agent.close()
        until("its place is free", lambda: _takes_another(server))


def _takes_another(server: Listeners) -> bool:
    with StreamAgent("TCP", socket.create_connection(server.at("tcp", "127"), PATIENCE_S)) as agent:
        try:
            return agent.ask(*OPTIONS).status == 200
        except ConnectionError:
            return False


@pytest.fixture
def many_files() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = IDLE + 500
    if hard != resource.RLIM_INFINITY and hard < wanted:
        pytest.skip(f"no more than {hard} files may be open here, {wanted} are needed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("many_files")
@pytest.mark.parametrize("kind", ["tcp", "tls"])
def test_five_thousand_idle_connections_are_held_and_cost_little(lab: Lab, tmp_path: Path, kind: str) -> None:
    """While they stand others are served, and each of them is served when it speaks."""
    entries = (f"{kind}:127.0.0.1:0", "udp:127.0.0.1:0")
    context = lab.trusting()
    with Listeners(tmp_path, *entries, options=lab.options()) as server, ExitStack() as held:
        opened: list[socket.socket] = []
        empty = 0
        for number in range(IDLE):
            connection = socket.create_connection(server.at(kind), PATIENCE_S)
            if kind == "tls":
                connection = context.wrap_socket(connection, server_hostname="127.0.0.1")
            held.enter_context(connection)
            opened.append(connection)
            connection.sendall(b"\r\n\r\n")
            assert connection.recv(10) == b"\r\n"
            if number == 99:
                empty = server.rss_bytes()
        each = (server.rss_bytes() - empty) / (IDLE - 100)
        assert each < IDLE_BYTES[kind], f"{each:.0f} bytes"
        with UdpAgent(server.at("udp")[1]) as agent:
            assert agent.ask(*OPTIONS).status == 200
        for connection in opened[:: IDLE // 50]:
            connection.sendall(request(*OPTIONS, via=f"{kind.upper()} 127.0.0.1:1"))
            assert Stream(connection).receive().status == 200
        assert server.metric("presence_drops_total") == 0
        server.assert_calm()


def test_a_tls_peer_that_has_said_all_still_gets_its_answer(lab: Lab, tmp_path: Path) -> None:
    """Its close_notify may come with the request (RFC 8446 section 6.1); then the connection ends."""
    with Listeners(tmp_path, "tls:127.0.0.1:0", options=lab.options()) as server:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = lab.trusting().wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
        with socket.create_connection(server.at("tls"), PATIENCE_S) as connection:
            open_bio(tls, incoming, outgoing, connection)
            tls.write(request(*OPTIONS, via="TLS 127.0.0.1:1"))
            with pytest.raises(ssl.SSLWantReadError):
                tls.unwrap()
            connection.sendall(outgoing.read())
            while data := connection.recv(4096):
                incoming.write(data)
            assert tls.read(4096).startswith(b"SIP/2.0 200 OK\r\n")


def open_bio(tls: ssl.SSLObject, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO, connection: socket.socket) -> None:
    while True:
        try:
            tls.do_handshake()
        except ssl.SSLWantReadError:
            connection.sendall(outgoing.read())
            incoming.write(connection.recv(4096))
        else:
            connection.sendall(outgoing.read())
            return
