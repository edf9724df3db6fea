"""The guard of HTTP, asked by a client of another make (httpx) that answers challenges by itself."""

import asyncio
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from presence.http.digest import DigestGuard
from presence.identity.subscribers import Subscribers
from presence.sip.digest import DigestAuthority, hash_account, hash_text
from presence.store.sqlite import SqliteStore
from presence.store.users import Hashes, add_user
from presence.values import Aor

NOW = 1_700_000_000.0


async def whoami(request: Request) -> Response:
    return PlainTextResponse(f"{request.scope['identity'].aor.uri} {request.method} {len(await request.body())}")


@pytest.fixture
def store(tmp_path: Path):
    path = str(tmp_path / "presence.db")
    hashes = [hash_account(name, "bob", "example.com", "zanzibar") for name in ("MD5", "SHA-256", "SHA-512-256")]
    add_user(path, Aor("bob", "example.com"), Hashes(hashes[0], "", *hashes[1:]))
    opened = SqliteStore(path)
    yield opened
    opened.close()


def guard(store: SqliteStore, *algorithms: str) -> DigestGuard:
    app = Starlette(routes=[Route("/{rest:path}", whoami, methods=["GET", "PUT"])])
    subscribers = Subscribers(store)
    authority = DigestAuthority(subscribers, b"h" * 32, algorithms=algorithms or ("MD5",))
    return DigestGuard(app, authority, subscribers, lambda: NOW, lambda scope: "example.com")


def ask(
    app: DigestGuard, *requests: tuple[str, str], auth: httpx.Auth | None = None, **fields: object
) -> list[httpx.Response]:
    async def run() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
            return [await client.request(*request, auth=auth, **fields) for request in requests]  # type: ignore[arg-type]

    return asyncio.run(run())


@pytest.mark.parametrize("algorithm", ["MD5", "SHA-256"])
def test_a_client_that_knows_the_password_is_let_through(store: SqliteStore, algorithm: str) -> None:
    requests = (("GET", "/a?b=c%20d"), ("PUT", "/users/sip:bob@example.com/x~~/y%5b1%5d"), ("GET", "/a"))
    responses = ask(guard(store, algorithm), *requests, auth=httpx.DigestAuth("bob", "zanzibar"))
    assert [response.status_code for response in responses] == [200, 200, 200]
    assert [response.text.split()[0] for response in responses] == ["sip:bob@example.com"] * 3
    # The second and third went with the nonce of the first.
    assert [len(response.history) for response in responses] == [1, 0, 0]


def test_everybody_else_is_asked(store: SqliteStore) -> None:
    for auth in (None, httpx.DigestAuth("bob", "x"), httpx.DigestAuth("eve", "zanzibar"), httpx.BasicAuth("bob", "x")):
        (response,) = ask(guard(store, "SHA-256", "MD5"), ("GET", "/"), auth=auth)
        assert response.status_code == 401
        offered = response.headers.get_list("www-authenticate")
        assert ["SHA-256" in offered[0], "MD5" in offered[1]] == [True, True]
        assert all('realm="example.com"' in value for value in offered)


def test_rfc7616_3_4_6_credentials_for_another_target_are_400(store: SqliteStore) -> None:
    app = guard(store)
    (response,) = ask(app, ("GET", "/a"), auth=httpx.DigestAuth("bob", "zanzibar"))
    used = response.request.headers["authorization"]
    (other,) = ask(app, ("GET", "/b"), headers={"authorization": used})
    assert other.status_code == 400
    (again,) = ask(app, ("GET", "/a"), headers={"authorization": used})
    assert (again.status_code, "stale=true" in again.headers["www-authenticate"]) == (401, True)
    (garbage,) = ask(app, ("GET", "/a"), headers={"authorization": 'Digest "'})
    assert garbage.status_code == 400


def test_a_node_selector_in_credentials_need_not_be_escaped(store: SqliteStore) -> None:
    path = '/users/sip:bob@example.com/index/~~/lists/list[@name="friends"]/@name'
    app = guard(store)
    (asked,) = ask(app, ("GET", "/"))
    nonce = asked.headers["www-authenticate"].partition('nonce="')[2].partition('"')[0]
    ha1, ha2 = hash_account("MD5", "bob", "example.com", "zanzibar"), hash_text("MD5", f"GET:{path}")
    response = hash_text("MD5", f"{ha1}:{nonce}:00000001:c:auth:{ha2}")
    for uri, status in ((path, 200), (path[:-4] + "uri", 400), (path + '", nc="2', 400)):
        given = (
            f'Digest username="bob", realm="example.com", nonce="{nonce}", uri="{uri}", response="{response}", '
            'qop=auth, nc=00000001, cnonce="c"'
        )
        assert serve_raw(app, path, given) == status


def serve_raw(app: DigestGuard, path: str, authorization: str) -> int:
    """Return the status of a GET whose target comes as it is, which httpx would escape."""
    sent: list[dict[str, object]] = []

    async def run() -> None:
        async def receive() -> dict[str, object]:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: object) -> None:
            sent.append(message)  # type: ignore[arg-type]

        scope = {"type": "http", "method": "GET", "path": path, "raw_path": path.encode(), "query_string": b""}
        await app({**scope, "headers": [(b"authorization", authorization.encode())]}, receive, send)  # type: ignore[arg-type]

    asyncio.run(run())
    return int(sent[0]["status"])  # type: ignore[call-overload]


def test_a_database_that_cannot_be_read_lets_nobody_in(store: SqliteStore) -> None:
    app = guard(store)
    store._reader.close()
    (response,) = ask(app, ("GET", "/"), auth=httpx.DigestAuth("bob", "zanzibar"))
    assert response.status_code == 503
