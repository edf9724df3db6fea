"""Procedure calls over HTTP on loopback, by the clients operators have and by hostile ones."""

import asyncio
import json
import threading
import xmlrpc.client
from collections.abc import Awaitable, Callable, Iterator
from ipaddress import ip_network

import httpx
import pytest
from starlette.applications import Starlette
from starlette.types import Receive, Scope, Send

from presence.errors import StoreError
from presence.http.app import HttpServer
from presence.http.procedures import list_procedures
from presence.http.rpc import BODY_BYTES_MAX, Rpc
from presence.values import Aor

ALICE = Aor("alice", "example.com")
CALL = (
    "<?xml version='1.0'?><methodCall><methodName>{name}</methodName><params>"
    "<param><value><string>sip:alice@example.com</string></value></param>"
    "<param><value><string>presence</string></value></param>"
    "<param><value><int>0</int></value></param></params></methodCall>"
)
XML = {"content-type": "text/xml"}


class Desk:
    """What was called, and what it answers."""

    def __init__(self) -> None:
        self.calls: list[tuple[object, ...]] = []
        self.failure: Exception | None = None

    def refresh_watchers(self, presentity: Aor, event: str, kind: int) -> None:
        if self.failure is not None:
            raise self.failure
        if event not in ("presence", "dialog"):
            raise KeyError(event)
        self.calls.append((presentity, event, kind))

    def refresh_document(self, doc_uri: str, port: int) -> bool:
        self.calls.append((doc_uri, port))
        return port != 404

    def cleanup(self) -> None:
        self.calls.append(("cleanup",))


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
def address(desk: Desk) -> Iterator[str]:
    """The URL of a server in a thread of its own."""
    started, stop = threading.Event(), asyncio.Event()
    ports: list[int] = []
    loops: list[asyncio.AbstractEventLoop] = []

    async def run() -> None:
        server = HttpServer("127.0.0.1", 0, Starlette(routes=build(desk).routes()))
        await server.start()
        ports.append(server.port)
        loops.append(asyncio.get_running_loop())
        started.set()
        await stop.wait()
        await server.stop()

    thread = threading.Thread(target=lambda: asyncio.run(run()))
    thread.start()
    assert started.wait(20)
    yield f"http://127.0.0.1:{ports[0]}"
    loops[0].call_soon_threadsafe(stop.set)
    thread.join()


def build(desk: Desk, *allow: str) -> Rpc:
    procedures = list_procedures(desk.refresh_watchers, desk.refresh_document, desk.cleanup)
    return Rpc(procedures, tuple(map(ip_network, allow)))


def ask(desk: Desk, talk: Callable[[httpx.AsyncClient], Awaitable[None]]) -> None:
    async def run() -> None:
        server = HttpServer("127.0.0.1", 0, Starlette(routes=build(desk).routes()))
        await server.start()
        try:
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}", trust_env=False) as client:
                await talk(client)
        finally:
            await server.stop()

    asyncio.run(run())


# XML-RPC


@pytest.mark.parametrize("kind", [0, "0", 1])
def test_refresh_watchers_as_openxcap_called_it(desk: Desk, address: str, kind: object) -> None:
    with xmlrpc.client.ServerProxy(f"{address}/RPC2") as proxy:
        assert proxy.refreshWatchers("sip:alice@example.com", "presence", kind) == "OK"
        assert proxy.refreshWatchers("alice@Example.COM", "dialog", kind) == "OK"
        assert proxy.cleanup() == "OK"
    assert desk.calls == [(ALICE, "presence", int(str(kind))), (ALICE, "dialog", int(str(kind))), ("cleanup",)]


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (("", "presence", 0), 404, "Empty presentity URI"),
        (("sip:alice@example.com", "", 0), 400, "Empty event parameter"),
        (("sip:alice@example.com", "presence", "soon"), 400, "Invalid refresh_type"),
        (("sip:alice@example.com", "presence", True), 400, "Invalid refresh_type"),
        (("sip:ali ce@", "presence", 0), 400, "Invalid presentity URI"),
        (("sip:alice@example.com", "weather", 0), 500, "Unknown event"),
        (("sip:alice@example.com", "presence"), 400, "Too few or too many arguments"),
        (("sip:alice@example.com", "presence", 0, 0), 400, "Too few or too many arguments"),
    ],
)
def test_what_is_wrong_with_a_call_is_a_fault(
    desk: Desk, address: str, arguments: tuple[object, ...], code: int, text: str
) -> None:
    with xmlrpc.client.ServerProxy(f"{address}/RPC2") as proxy, pytest.raises(xmlrpc.client.Fault) as caught:
        proxy.refreshWatchers(*arguments)
    assert (caught.value.faultCode, caught.value.faultString) == (code, text)
    assert desk.calls == []


def test_a_database_that_fails_is_a_fault(desk: Desk, address: str) -> None:
    desk.failure = StoreError("locked")
    with xmlrpc.client.ServerProxy(f"{address}/RPC2") as proxy, pytest.raises(xmlrpc.client.Fault) as caught:
        proxy.refreshWatchers("sip:alice@example.com", "presence", 0)
    assert caught.value.faultCode == 503


def test_an_unknown_method_is_a_fault(address: str) -> None:
    with xmlrpc.client.ServerProxy(f"{address}/RPC2") as proxy, pytest.raises(xmlrpc.client.Fault) as caught:
        proxy.system.listMethods()
    assert (caught.value.faultCode, caught.value.faultString) == (500, "Unknown method")


def test_a_document_is_fetched_again(desk: Desk, address: str) -> None:
    path = "/xcap-root/pres-rules/users/sip:alice@example.com/index"
    with xmlrpc.client.ServerProxy(f"{address}/RPC2") as proxy:
        assert proxy.refreshXcapDoc(path, 8000) == "OK"
        with pytest.raises(xmlrpc.client.Fault, match="No such document"):
            proxy.refreshXcapDoc(path, "404")
    assert desk.calls == [(path, 8000), (path, 404)]


BOMB = (
    "<?xml version='1.0'?><!DOCTYPE x [<!ENTITY a 'aaaaaaaaaa'>"
    + "".join(f"<!ENTITY {chr(98 + n)} '{('&' + chr(97 + n) + ';') * 10}'>" for n in range(10))
    + "]><methodCall><methodName>&k;</methodName></methodCall>"
)
OUTSIDE = "<!DOCTYPE x [<!ENTITY f SYSTEM 'file:///etc/passwd'>]><methodCall><methodName>&f;</methodName></methodCall>"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (BOMB, 400),
        (OUTSIDE, 400),
        ("", 400),
        ("<methodCall/>", 400),
        ("<methodResponse><methodName>cleanup</methodName></methodResponse>", 400),
        ("<methodCall><methodName>cleanup", 400),
        ("<a>" * 1000 + "</a>" * 1000, 400),
        ("x" * (BODY_BYTES_MAX + 1), 413),
        (CALL.format(name="refreshWatchers").replace("<int>0</int>", "<int>many</int>"), 400),
        (CALL.format(name="refreshWatchers").replace("<int>0</int>", "<array><data/></array>"), 400),
        (CALL.format(name="cleanup").replace("</params>", "<param><value>x</value></param>" * 20 + "</params>"), 400),
        (b"\xff\xfe\x00", 400),
    ],
)
def test_hostile_xml_is_refused(desk: Desk, body: str | bytes, status: int) -> None:
    async def talk(client: httpx.AsyncClient) -> None:
        answer = await client.post("/RPC2", content=body, headers=XML)
        assert answer.status_code == status
        assert "root:" not in answer.text
        assert (await client.post("/RPC2", content=CALL.format(name="refreshWatchers"), headers=XML)).status_code == 200

    ask(desk, talk)
    assert desk.calls == [(ALICE, "presence", 0)]


# JSON-RPC


def rpc(method: str, params: object = None, **more: object) -> dict[str, object]:
    call: dict[str, object] = {"jsonrpc": "2.0", "method": method, "id": 1, **more}
    return call if params is None else {**call, "params": params}


@pytest.mark.parametrize("method", ["presence:refresh_watchers", "refreshWatchers", "presence.refreshWatchers"])
@pytest.mark.parametrize(
    "params",
    [
        ["sip:alice@example.com", "presence", 1],
        {"refresh_type": "1", "event": "presence", "presentity_uri": "sip:alice@example.com"},
    ],
)
def test_refresh_watchers_by_position_and_by_name(desk: Desk, method: str, params: object) -> None:
    async def talk(client: httpx.AsyncClient) -> None:
        answer = await client.post("/jsonrpc", json=rpc(method, params, id="seven"))
        assert answer.json() == {"jsonrpc": "2.0", "result": "OK", "id": "seven"}
        assert answer.headers["content-type"] == "application/json"

    ask(desk, talk)
    assert desk.calls == [(ALICE, "presence", 1)]


def test_kamailio_names(desk: Desk) -> None:
    async def talk(client: httpx.AsyncClient) -> None:
        for call in (rpc("presence.updateWatchers", ["sip:alice@example.com", "presence"]), rpc("presence.cleanup")):
            assert (await client.post("/jsonrpc", json=call)).json()["result"] == "OK"
        call = rpc("xcap_client.refreshXcapDoc", ["/doc", 80])
        assert (await client.post("/jsonrpc", json=call)).json()["result"] == "OK"

    ask(desk, talk)
    assert desk.calls == [(ALICE, "presence", 0), ("cleanup",), ("/doc", 80)]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("{", -32700),
        ("[" * 100_00, -32700),
        (b"\xff", -32700),
        ("[]", -32600),
        ("7", -32600),
        (json.dumps([rpc("cleanup")] * 101), -32600),
        (json.dumps(rpc("cleanup", "text")), -32600),
        (json.dumps(rpc("cleanup", jsonrpc="1.0")), -32600),
        (json.dumps(rpc("cleanup", id=[1])), -32600),
        (json.dumps({"jsonrpc": "2.0", "method": 7, "id": 1}), -32600),
        (json.dumps(rpc("presence:nothing")), -32601),
        (json.dumps(rpc("cleanup", ["more"])), -32602),
        (json.dumps(rpc("refreshWatchers", {"presentity_uri": "sip:alice@example.com"})), -32602),
        (json.dumps(rpc("refreshWatchers", ["", "presence", 0])), 404),
        (json.dumps(rpc("refreshWatchers", ["sip:alice@example.com", " ", 0])), 400),
        (json.dumps(rpc("refreshWatchers", ["sip:alice@example.com", "presence", [0]])), 400),
        (json.dumps(rpc("refreshWatchers", [{}, "presence", 0])), 404),
        (json.dumps(rpc("refreshWatchers", ["sip:alice@example.com", "weather", 0])), 500),
    ],
)
def test_errors_of_json_rpc(desk: Desk, body: str | bytes, code: int) -> None:
    async def talk(client: httpx.AsyncClient) -> None:
        answer = await client.post("/jsonrpc", content=body, headers={"content-type": "application/json"})
        assert answer.status_code == 200
        assert answer.json()["error"]["code"] == code

    ask(desk, talk)
    assert desk.calls == []


def test_a_batch_is_answered_but_for_its_notifications(desk: Desk) -> None:
    notification = rpc("cleanup")
    del notification["id"]

    async def talk(client: httpx.AsyncClient) -> None:
        answer = await client.post("/jsonrpc", json=[rpc("cleanup", id=1), notification, 7, rpc("none", id=2)])
        assert [entry.get("id") for entry in answer.json()] == [1, None, 2]
        answer = await client.post("/jsonrpc", json=notification)
        assert (answer.status_code, answer.content) == (204, b"")
        answer = await client.post("/jsonrpc", json=[notification] * 2)
        assert (answer.status_code, answer.content) == (204, b"")

    ask(desk, talk)
    assert desk.calls == [("cleanup",)] * 5


# Who may call


@pytest.mark.parametrize("path", ["/RPC2", "/jsonrpc"])
def test_neither_a_page_in_a_browser_nor_somebody_behind_a_proxy_may_call(desk: Desk, path: str) -> None:
    async def talk(client: httpx.AsyncClient) -> None:
        body = CALL.format(name="refreshWatchers")
        for kind in ("text/plain", "application/x-www-form-urlencoded", ""):
            assert (await client.post(path, content=body, headers={"content-type": kind})).status_code == 415
        kind = "text/xml" if path == "/RPC2" else "application/json"
        headers = {"content-type": kind, "origin": "https://evil.example.org"}
        assert (await client.post(path, content=body, headers=headers)).status_code == 403
        for name in ("Forwarded", "X-Forwarded-For", "X-Real-IP"):
            headers = {"content-type": kind, name: "192.0.2.1"}
            assert (await client.post(path, content=body, headers=headers)).status_code == 403
        assert (await client.options(path)).status_code == 405
        assert (await client.get(path)).status_code == 405

    ask(desk, talk)
    assert desk.calls == []


@pytest.mark.parametrize(
    ("host", "may"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("192.0.2.7", True),
        ("::ffff:192.0.2.7", True),
        ("192.0.3.7", False),
        ("2001:db8::1", False),
        ("localhost", False),
    ],
)
def test_only_this_machine_and_networks_that_are_allowed_may_call(desk: Desk, host: str, may: bool) -> None:
    """Asked below the sockets: the tests have no other machine."""
    (route, _) = build(desk, "192.0.2.0/24").routes()
    statuses: list[int] = []

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": CALL.format(name="refreshWatchers").encode()}

    async def send(message: dict[str, object]) -> None:
        if message["type"] == "http.response.start":
            statuses.append(int(str(message["status"])))

    async def run(scope: Scope, receive: Receive, send: Send) -> None:
        await route.handle(scope, receive, send)

    headers = [(b"content-type", b"text/xml")]
    scope = {"type": "http", "method": "POST", "path": "/RPC2", "headers": headers, "client": (host, 7)}
    asyncio.run(run(scope, receive, send))  # type: ignore[arg-type]
    assert statuses == [200 if may else 403]
    assert len(desk.calls) == may
