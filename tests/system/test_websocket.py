"""SIP over WebSocket (RFC 7118): with the `websockets` library as the browser, and with bytes by hand."""

import base64
import os
import re
import socket
import ssl
import struct
from collections.abc import Iterator

import pytest
from process import until
from secure import Lab, Listeners, WebSocketAgent, open_websocket
from websockets.exceptions import ConnectionClosed, InvalidStatus
from wire import PATIENCE_S, UdpAgent, Watcher, hear, notes, pidf, request

pytestmark = pytest.mark.system

OPTIONS = ("OPTIONS", "sip:example.com")
VIA = "WS df7jal23ls0d.invalid"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return Lab(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def server(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Listeners]:
    entries = ("ws:127.0.0.1:0", "wss:127.0.0.1:0", "ws:[::1]:0", "udp:127.0.0.1:0", "tcp:127.0.0.1:0")
    limits = ("handshake_timeout_s=4", "message_timeout_s=2", "max_message_bytes=20000")
    options = (*lab.options(), *(f"--set=server.{limit}" for limit in limits))
    with Listeners(tmp_path_factory.mktemp("server"), *entries, options=options) as server:
        yield server
        server.assert_calm()


def drops(server: Listeners, reason: str) -> float:
    return server.metric(f'presence_drops_total{{reason="{reason}"}}')


# ---- the main job ----


@pytest.mark.parametrize("kind", ["ws", "wss"])
@pytest.mark.parametrize("binary", [False, True], ids=["text", "binary"])
def test_publish_watch_notified(lab: Lab, server: Listeners, kind: str, binary: bool) -> None:
    """RFC 7118 section 5: the token of Via is WS or WSS, the URI parameter ws for both."""
    context = lab.trusting() if kind == "wss" else None
    user = f"{kind}-{binary}"
    with WebSocketAgent(server.at(kind), context, binary=binary) as agent:
        watcher = Watcher(agent, user)
        heard = watcher.subscribe()
        assert heard.status == 200
        port = server.at(kind)[1]
        assert f"@127.0.0.1:{port};transport=ws" in heard["Contact"]
        assert agent.notify()["Via"].startswith(f"SIP/2.0/{kind.upper()} 127.0.0.1:{port};")
        assert agent.publish(user, pidf(user, ("t", "open", "here"))).status == 200
        assert notes(agent.notify().body) == {"t": "here"}
        assert watcher.subscribe(0).status == 200
        assert agent.notify()["Subscription-State"].startswith("terminated")
        assert isinstance(agent, WebSocketAgent)
        # RFC 7118 section 4.2: both kinds are understood; the answer is of the same.
        assert set(agent.kinds) == {bytes if binary else str}


def test_rfc7118_5_2_a_sips_dialog_has_a_sips_contact_with_transport_ws(lab: Lab, server: Listeners) -> None:
    with WebSocketAgent(server.at("wss"), lab.trusting()) as agent:
        watcher = Watcher(agent, "secure", scheme="sips")
        contact = watcher.subscribe()["Contact"]
        assert contact.startswith("<sips:~")
        assert f"@127.0.0.1:{server.at('wss')[1]};transport=ws;gr=" in contact
        assert agent.notify()["Contact"] == contact
        assert watcher.subscribe(0)["Contact"] == contact
        agent.notify()


def test_over_ipv6(server: Listeners) -> None:
    with WebSocketAgent(server.at("ws", "::1")) as agent:
        assert agent.ask(*OPTIONS).status == 200


def test_rfc7118_5_each_message_is_one_websocket_message(server: Listeners) -> None:
    """Twenty subscriptions of one connection: their NOTIFYs of one turn come one by one."""
    with WebSocketAgent(server.at("ws")) as agent, UdpAgent(server.at("udp")[1]) as publisher:
        for _ in range(20):
            assert Watcher(agent, "crowd").subscribe().status == 200
            agent.notify()
        publisher.publish("crowd", pidf("crowd", ("t", "open", "all")))
        found = [agent.notify() for _ in range(20)]
        assert len({heard["Call-ID"] for heard in found}) == 20
        assert [notes(heard.body) for heard in found] == [{"t": "all"}] * 20


def test_rfc7118_5_content_length_is_not_needed(server: Listeners) -> None:
    document = pidf("bare", ("t", "open", "bare"))
    headers = "Event: presence\r\nExpires: 600\r\nContent-Type: application/pidf+xml\r\n"
    message = request("PUBLISH", "sip:bare@example.com", via=VIA, to="bare", headers=headers, body=document)
    with WebSocketAgent(server.at("ws")) as agent:
        agent.send(re.sub(rb"Content-Length: \d+\r\n", b"", message))
        assert agent.response().status == 200


def test_a_lost_connection_is_not_opened_anew(server: Listeners) -> None:
    """RFC 7118: only clients connect. The NOTIFY counts as failed, and the subscription ends with it."""
    failed = server.metric('presence_notifies_total{result="failed"}')
    with WebSocketAgent(server.at("ws")) as agent:
        Watcher(agent, "gone").subscribe()
        agent.notify()
    with UdpAgent(server.at("udp")[1]) as publisher:
        publisher.publish("gone", pidf("gone", ("t", "open", "nobody hears")))
    until("it is given up", lambda: server.metric('presence_notifies_total{result="failed"}') == failed + 1)


def test_a_watcher_that_connects_again_and_refreshes_is_told_there(server: Listeners) -> None:
    with WebSocketAgent(server.at("ws")) as first, WebSocketAgent(server.at("ws")) as second:
        watcher = Watcher(first, "roaming")
        watcher.subscribe()
        first.notify()
        watcher.agent = second
        assert watcher.subscribe().status == 200
        second.notify()
        first.close()
        assert second.publish("roaming", pidf("roaming", ("t", "open", "moved"))).status == 200
        assert notes(second.notify().body) == {"t": "moved"}


# ---- the handshake ----


@pytest.mark.parametrize("protocols", [(), ("xmpp",)])
def test_rfc7118_4_1_without_the_subprotocol_there_is_no_connection(
    server: Listeners, protocols: tuple[str, ...]
) -> None:
    with pytest.raises(InvalidStatus) as refused, open_websocket(server.at("ws"), protocols=protocols):
        pass
    assert refused.value.response.status_code == 400
    assert b"must offer sip" in (refused.value.response.body or b"")


def test_sip_is_chosen_of_several_subprotocols(server: Listeners) -> None:
    with open_websocket(server.at("ws"), protocols=("xmpp", "sip")) as connection:
        assert connection.subprotocol == "sip"


def shake(**changes: str) -> bytes:
    """A handshake as a browser sends it; a change to nothing leaves the header field out."""
    fields = {
        "Host": "example.com",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec_WebSocket_Key": base64.b64encode(bytes(16)).decode(),
        "Sec_WebSocket_Protocol": "sip",
        "Sec_WebSocket_Version": "13",
        **changes,
    }
    start = fields.pop("start", "GET / HTTP/1.1")
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in fields.items() if value]
    return "\r\n".join([start, *lines, "", ""]).encode()


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"Upgrade": "", "Connection": ""}, 426),
        ({"Sec_WebSocket_Version": "8"}, 400),
        ({"Sec_WebSocket_Key": "short"}, 400),
        ({"start": "POST / HTTP/1.1"}, 405),
        ({"X": "y" * 9000}, 431),
        ({"start": f"GET /{'y' * 9000} HTTP/1.1"}, 414),
    ],
)
def test_rfc6455_4_2_a_wrong_handshake_is_refused(server: Listeners, changes: dict[str, str], status: int) -> None:
    before = drops(server, "handshake refused")
    with socket.create_connection(server.at("ws"), PATIENCE_S) as plain:
        plain.sendall(shake(**changes))
        heard = b""
        while data := plain.recv(4096):
            heard += data
    assert heard.startswith(b"HTTP/1.1 %d " % status)
    assert drops(server, "handshake refused") == before + 1


@pytest.mark.parametrize(
    "garbage",
    [
        request(*OPTIONS, via="TCP 127.0.0.1:5060"),
        b"\x16\x03\x01\x02\x00\x01",
        b"".join(b"X-%d: %s\r\n" % (n, b"y" * 4000) for n in range(10)),
        shake() + b"\x89\x80\0\0\0\0",
        shake() + b"\x88\x80\0\0\0\0",
        shake(Upgrade="") + b"\x88\x80\0\0\0\0",
        shake() + b"\xff\xff",
        shake() + b"\x81\x01x",
        shake(Content_Length="5") + b"hello",
    ],
)
def test_what_is_no_handshake_ends_the_connection(server: Listeners, garbage: bytes) -> None:
    before = drops(server, "handshake refused") + drops(server, "handshake timeout")
    with socket.create_connection(server.at("ws"), PATIENCE_S) as plain:
        plain.sendall(garbage)
        try:
            while plain.recv(4096):
                pass
        except ConnectionResetError:
            pass
    assert drops(server, "handshake refused") + drops(server, "handshake timeout") == before + 1


def test_a_handshake_that_trickles_in_ends(server: Listeners) -> None:
    before = drops(server, "handshake timeout")
    with socket.create_connection(server.at("ws"), PATIENCE_S) as plain:
        plain.settimeout(0.1)
        closed = False
        for byte in shake()[:-2]:
            try:
                plain.sendall(bytes((byte,)))
                closed = plain.recv(1) == b""
            except TimeoutError:
                continue
            except ConnectionError:
                closed = True
            if closed:
                break
        assert closed
    assert drops(server, "handshake timeout") == before + 1


def test_origins_may_be_restricted(tmp_path_factory: pytest.TempPathFactory) -> None:
    options = ("--set=ws.origins=https://Phone.example.com",)
    with Listeners(tmp_path_factory.mktemp("origins"), "ws:127.0.0.1:0", options=options) as server:
        with open_websocket(server.at("ws"), origin="https://phone.example.com") as connection:
            assert connection.subprotocol == "sip"
        for origin in ("https://elsewhere.example.com", None):
            with pytest.raises(InvalidStatus) as refused, open_websocket(server.at("ws"), origin=origin):
                pass
            assert refused.value.response.status_code == 403


# ---- frames ----


class Raw:
    """A connection whose frames are made by hand."""

    def __init__(self, server: Listeners, context: ssl.SSLContext | None = None) -> None:
        self.socket = socket.create_connection(server.at("ws"), PATIENCE_S)
        self.socket.sendall(shake())
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += self.socket.recv(1)
        assert head.startswith(b"HTTP/1.1 101 ")
        assert b"\r\nSec-WebSocket-Protocol: sip\r\n" in head
        assert b"Sec-WebSocket-Extensions" not in head

    def __enter__(self) -> "Raw":
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, first: int, data: bytes = b"", *, masked: bool = True, length: int = -1) -> None:
        self.socket.sendall(self.frame(first, data, masked=masked, length=length))

    @staticmethod
    def frame(first: int, data: bytes, *, masked: bool = True, length: int = -1) -> bytes:
        size = len(data) if length < 0 else length
        mask = os.urandom(4)
        if size < 126:
            head = struct.pack("!BB", first, size | masked << 7)
        elif size < 65536:
            head = struct.pack("!BBH", first, 126 | masked << 7, size)
        else:
            head = struct.pack("!BBQ", first, 127 | masked << 7, size)
        body = bytes(byte ^ mask[at % 4] for at, byte in enumerate(data)) if masked else data
        return head + (mask if masked else b"") + body

    def receive(self) -> tuple[int, bytes]:
        """Return the first byte of a frame and its payload, zero at the end of the stream."""
        head = self._exactly(2)
        if not head:
            return 0, b""
        size = head[1] & 0x7F
        if size == 126:
            size = int.from_bytes(self._exactly(2), "big")
        return head[0], self._exactly(size)

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size and (more := self.socket.recv(size - len(data))):
            data += more
        return data

    def assert_closed(self, code: int) -> None:
        first, payload = self.receive()
        assert (first, int.from_bytes(payload[:2], "big")) == (0x88, code)
        assert self.receive() == (0, b"")


def test_a_message_in_fragments_with_a_ping_between_them(server: Listeners) -> None:
    message = request(*OPTIONS, via=VIA)
    with Raw(server) as raw:
        raw.send(0x01, message[:100])
        raw.send(0x00, message[100:150])
        raw.send(0x89, b"are you there")
        assert raw.receive() == (0x8A, b"are you there")
        raw.send(0x80, message[150:])
        first, heard = raw.receive()
        assert (first, hear(heard).status) == (0x81, 200)


def test_rfc7118_4_2_what_is_not_utf8_goes_out_as_binary(server: Listeners) -> None:
    """Also to a peer whose last word was text: here both requests are in one segment."""
    odd = request(*OPTIONS, via=VIA).replace(b"<sip:bob@", b'"\xff" <sip:bob@')
    with Raw(server) as raw:
        raw.socket.sendall(raw.frame(0x82, odd) + raw.frame(0x81, request(*OPTIONS, via=VIA)))
        first, heard = raw.receive()
        assert (first, b'From: "\xff" <sip:bob@' in heard) == (0x82, True)
        assert raw.receive()[0] == 0x81


def test_frames_in_one_segment_are_answered_in_order(server: Listeners) -> None:
    with open_websocket(server.at("ws")) as connection:
        for number in range(30):
            connection.send(request(*OPTIONS, via=VIA, call_id=f"c{number}"), text=True)
        found = [hear(str(connection.recv(timeout=PATIENCE_S)).encode())["Call-ID"] for _ in range(30)]
    assert found == [f"c{number}@127.0.0.1" for number in range(30)]


@pytest.mark.parametrize("how", ["one frame", "fragments", "length alone"])
def test_a_message_that_is_too_large_is_closed_with_1009(server: Listeners, how: str) -> None:
    before = drops(server, "unframeable stream")
    with Raw(server) as raw:
        if how == "one frame":
            raw.send(0x81, bytes(20001))
        elif how == "length alone":
            raw.send(0x82, b"", length=1 << 40)
        else:
            raw.send(0x01, bytes(15000))
            raw.send(0x00, bytes(5001))
        raw.assert_closed(1009)
    assert drops(server, "unframeable stream") == before + 1


def test_rfc6455_5_1_an_unmasked_frame_is_closed_with_1002(server: Listeners) -> None:
    with Raw(server) as raw:
        raw.send(0x81, request(*OPTIONS, via=VIA), masked=False)
        raw.assert_closed(1002)


@pytest.mark.parametrize("first", [0x80, 0xC1, 0x83, 0x09, 0x8B | 0x10])
def test_frames_that_are_none_are_closed_with_1002(server: Listeners, first: int) -> None:
    with Raw(server) as raw:
        raw.send(first, b"x")
        raw.assert_closed(1002)


def test_rfc6455_8_1_text_that_is_not_utf8_is_closed_with_1007(server: Listeners) -> None:
    with Raw(server) as raw:
        raw.send(0x81, b"\xff" + request(*OPTIONS, via=VIA))
        raw.assert_closed(1007)


def test_rfc6455_5_5_1_a_close_is_answered(server: Listeners) -> None:
    with Raw(server) as raw:
        raw.send(0x88, struct.pack("!H", 1000) + b"bye")
        raw.assert_closed(1000)


def test_rfc5626_4_4_1_keep_alives_may_come_as_messages(server: Listeners) -> None:
    """RFC 7118 section 6 has them usable; JsSIP and SIP.js send them."""
    with Raw(server) as raw:
        raw.send(0x81, b"\r\n\r\n")
        assert raw.receive() == (0x81, b"\r\n")
        raw.send(0x81, b"\r\n")
        raw.send(0x81)
        raw.send(0x81, request(*OPTIONS, via=VIA))
        assert hear(raw.receive()[1]).status == 200


def test_malformed_sip_is_400_and_ends_nothing(server: Listeners) -> None:
    with WebSocketAgent(server.at("ws")) as agent:
        agent.send(request(*OPTIONS, via=VIA).replace(b"Max-Forwards: 70", b"Max-Forwards: many"))
        assert agent.response().status == 400
        agent.send(b"no SIP at all")
        assert agent.ask(*OPTIONS).status == 200


def test_a_message_in_fragments_that_never_end_is_closed(server: Listeners) -> None:
    """Neither fragments without a byte nor pings between them buy time."""
    before = drops(server, "message timeout")
    with open_websocket(server.at("ws")) as connection:
        connection.send(request(*OPTIONS, via=VIA), text=True)
        connection.recv(timeout=PATIENCE_S)

        def trickle() -> Iterator[bytes]:
            yield b"OPTIONS "
            while True:
                connection.ping().wait(0.05)
                yield b""

        with pytest.raises(ConnectionClosed) as closed:
            connection.send(trickle(), text=True)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1001
    assert drops(server, "message timeout") == before + 1


def test_websocket_clients_are_told_when_the_server_stops(tmp_path_factory: pytest.TempPathFactory) -> None:
    with Listeners(tmp_path_factory.mktemp("stopping"), "ws:127.0.0.1:0") as server:
        with open_websocket(server.at("ws")) as connection:
            connection.send(request(*OPTIONS, via=VIA), text=True)
            connection.recv(timeout=PATIENCE_S)
            server.terminate()
            with pytest.raises(ConnectionClosed) as closed:
                connection.recv(timeout=PATIENCE_S)
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1001
        assert server.wait() == 0
