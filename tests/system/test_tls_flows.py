"""What a TLS listener tells the house of a peer, and how it opens connections by name (RFC 5922)."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from certificates import Authority
from secure import Lab
from wire import request

from presence._fastcore import CSEQ_STRIDE, Fanout, Message
from presence.tally import Tally
from presence.transport.bounds import Bounds
from presence.transport.connection import Connection
from presence.transport.stream import Limits, StreamListener
from presence.transport.tls import Files, Security

NOW = 1_700_000_000.0
PATIENCE_S = 20.0
NAME = "home.example.com"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return Lab(tmp_path_factory.mktemp("certificates"))


class Rim:
    """A TLS listener with the watcher table behind it."""

    def __init__(self, lab: Lab, demand: str = "none") -> None:
        ca = str(lab.authority.path)
        self.security = Security(Files(str(lab.server), "", ca, demand, "1.2", "", ca))
        self.table = Fanout(bytes(range(16)), NOW)
        self.tally = Tally()
        self.requests: list[Message] = []
        self.listener = StreamListener("tls", "127.0.0.1", 0, Limits(), Bounds(10, 10))
        self.listener.security = self.security
        self.listener.accept = lambda listener: Connection(listener, self.security.accept())
        self.listener.attach(self.table, self.tally, self.requests.extend, lambda: NOW)
        self.gid = self.table.add_group(b"presence")

    def notify(self, port: int) -> int:
        """Send a NOTIFY to a peer that has no connection."""
        slot = self.table.reserve()
        texts = (b"sip:bob@127.0.0.1", b"", b"<sip:alice@example.com>", b"<sip:bob@example.com>", b"b", b"c")
        until = int(NOW) + 600
        self.table.fill(slot, self.gid, (*texts, b"", b"", b""), cseq_mark=CSEQ_STRIDE, expires_at=until)
        self.table.set_target(slot, self.listener.link, "127.0.0.1", port)
        self.table.notify(slot)
        self.table.pump(NOW)
        for _, flow, host, to, data, slots in self.table.outbox:
            self.listener.deliver(flow, host, to, data, slots)
        self.table.outbox.clear()
        return slot


@asynccontextmanager
async def started(lab: Lab, demand: str = "none") -> AsyncIterator[Rim]:
    rim = Rim(lab, demand)
    await rim.listener.start()
    try:
        yield rim
    finally:
        rim.listener.close()
        async with asyncio.timeout(PATIENCE_S):
            while len(rim.listener):
                await asyncio.sleep(0)


class Home:
    """A TLS server at the watcher's Contact: what came in, and whose certificate was shown."""

    def __init__(self, lab: Lab, certificate: Path) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate)
        self._context.load_verify_locations(lab.authority.path)
        self._context.verify_mode = ssl.CERT_REQUIRED
        self.heard: asyncio.Queue[bytes] = asyncio.Queue()
        self.shown: list[object] = []
        self.port = 0

    @asynccontextmanager
    async def listening(self) -> AsyncIterator["Home"]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._context)
        self.port = server.sockets[0].getsockname()[1]
        yield self
        server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.shown.append(writer.get_extra_info("peercert"))
        self.heard.put_nowait(await reader.read(4096))
        writer.close()


def test_the_certificate_is_asked_for_the_name_that_was_resolved(lab: Lab) -> None:
    """The target is an address; its certificate names the domain that the address was found by."""
    certificate = lab.authority.issue("home.pem", uri=f"sip:{NAME}")

    async def scenario() -> None:
        async with started(lab) as rim, Home(lab, certificate).listening() as home:
            rim.listener.names["127.0.0.1", home.port] = NAME
            rim.notify(home.port)
            async with asyncio.timeout(PATIENCE_S):
                assert (await home.heard.get()).startswith(b"NOTIFY sip:bob@127.0.0.1 SIP/2.0\r\n")
            # We show our own certificate to who asks for one.
            assert home.shown[0]

    asyncio.run(scenario())


@pytest.mark.parametrize("name", ["", "home.example.org", "example.com"])
def test_rfc5922_7_3_another_name_is_no_name(lab: Lab, name: str) -> None:
    certificate = lab.authority.issue("home.pem", uri=f"sip:{NAME}", dns="*.example.com")

    async def scenario() -> None:
        async with started(lab) as rim, Home(lab, certificate).listening() as home:
            if name:
                rim.listener.names["127.0.0.1", home.port] = name
            slot = rim.notify(home.port)
            async with asyncio.timeout(PATIENCE_S):
                while rim.table.flight(slot) != "failed":
                    await asyncio.sleep(0)
            assert rim.table.take_events() == [(slot, "failed", 503, 0)]
            assert rim.tally.drops["TLS failure"] == 1
            assert not rim.listener._opened_to

    asyncio.run(scenario())


@pytest.mark.parametrize(("demand", "shows"), [("request", True), ("request", False), ("require", True)])
def test_rfc5922_7_1_a_connection_says_who_its_peer_is(lab: Lab, demand: str, shows: bool) -> None:
    own = lab.authority.issue("peer.pem", uri="sip:example.com sip:alice@example.com", dns="Proxy.example.com")

    async def scenario() -> None:
        async with started(lab, demand) as rim:
            context = lab.trusting(own if shows else None)
            address = ("127.0.0.1", rim.listener.port)
            _, writer = await asyncio.open_connection(*address, ssl=context)
            writer.write(request("OPTIONS", "sip:example.com", via="TLS 127.0.0.1:1"))
            async with asyncio.timeout(PATIENCE_S):
                while not rim.requests:
                    await asyncio.sleep(0)
            origin = rim.requests[0].origin
            assert (origin.transport, origin.secure) == ("TLS", True)
            expected = ("sip:example.com", "sip:alice@example.com", "proxy.example.com")
            assert origin.certified == (expected if shows else ())
            writer.close()

    asyncio.run(scenario())


def test_a_stranger_with_a_certificate_is_refused_also_where_none_is_required(lab: Lab, tmp_path: Path) -> None:
    own = Authority(tmp_path, "stranger").issue("mallory.pem", uri="sip:example.com")

    async def scenario() -> None:
        async with started(lab, "request") as rim:
            address = ("127.0.0.1", rim.listener.port)
            # With TLS 1.3 the client learns of it only after its handshake.
            reader, _ = await asyncio.open_connection(*address, ssl=lab.trusting(own))
            with pytest.raises((ssl.SSLError, ConnectionError)):
                await reader.readexactly(1)
            assert rim.tally.drops["TLS failure"] == 1

    asyncio.run(scenario())
