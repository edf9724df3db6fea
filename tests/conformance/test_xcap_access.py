"""Who may read and write which documents, and how users prove who they are (RFC 4825 sections 5.7, 8 and 14)."""

import asyncio
import base64
from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path

import httpx
import pytest
from xcap import ALICE, Answer, Site

from presence.sip.digest import hash_account
from presence.sip.identity import TrustedPeers
from presence.store.sqlite import SqliteStore
from presence.store.users import Hashes, add_user
from presence.values import Aor

DOC = f"test-app/{ALICE}/index"
ICON = f"org.openmobilealliance.pres-content/{ALICE}/oma_status-icon/index"
ROOT = Aor("root", "example.com")
PASSWORD = "pass:w\xf6rd"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    path = str(tmp_path / "presence.db")
    for name in ("alice", "bob", "root"):
        md5 = hash_account("MD5", name, "example.com", PASSWORD)
        full = hash_account("MD5", f"{name}@example.com", "example.com", PASSWORD)
        add_user(path, Aor(name, "example.com"), Hashes(md5, full, "", ""))
    opened = SqliteStore(path)
    yield opened
    opened.close()


@pytest.fixture
def guarded(store: SqliteStore) -> Iterator[Site]:
    with Site(store=store, authentication="digest", administrators=[ROOT], home="example.com") as site:
        yield site


def ask(
    site: Site, user: str, method: str, target: str, body: str = "", *, password: str = PASSWORD, **headers: str
) -> httpx.Response:
    """Ask as a user whose client answers challenges by itself; '' is somebody without credentials."""

    async def run() -> httpx.Response:
        transport = httpx.ASGITransport(app=site.app)
        auth = httpx.DigestAuth(user, password) if user else None
        async with httpx.AsyncClient(transport=transport, base_url="http://xcap.example.com/xcap-root") as client:
            return await client.request(method, f"/{target}", content=body, headers=headers, auth=auth)

    return asyncio.run(run())


def put(site: Site, user: str, target: str, body: str = "<a/>", kind: str = "application/test-app+xml") -> int:
    return ask(site, user, "PUT", target, body, **{"content-type": kind}).status_code


# Digest


def test_rfc4825_8_a_user_is_challenged_with_md5_in_the_realm_of_the_sip_domain(guarded: Site) -> None:
    for method in ("GET", "PUT", "DELETE", "HEAD"):
        answer = guarded.ask(method, DOC)
        assert answer.status == 401
        challenge = answer.headers["www-authenticate"]
        assert challenge.startswith('Digest realm="example.com", ')
        assert "algorithm=MD5" in challenge
        assert 'qop="auth"' in challenge


def test_rfc4825_5_7_users_read_and_write_their_own_documents(guarded: Site) -> None:
    for user in ("alice", "alice@example.com"):
        assert put(guarded, user, DOC) in (200, 201)
        assert ask(guarded, user, "GET", DOC).text == "<a/>"
        assert ask(guarded, user, "GET", f"{DOC}/~~/*[1]").text == "<a/>"
    assert ask(guarded, "alice", "DELETE", DOC).status_code == 200


def test_rfc4825_5_7_nobody_else_does(guarded: Site) -> None:
    put(guarded, "alice", DOC)
    for method in ("GET", "HEAD", "PUT", "DELETE"):
        response = ask(guarded, "bob", method, DOC, "<b/>", **{"content-type": "application/test-app+xml"})
        assert response.status_code == 403
    assert ask(guarded, "alice", "GET", DOC).text == "<a/>"


def test_a_wrong_password_is_401_whatever_is_asked_for(guarded: Site) -> None:
    for target in (DOC, f"no-such-app/{ALICE}/index", f"xcap-caps/{ALICE}/index", f"{DOC}/~~/a"):
        for user, password in (("alice", "x"), ("eve", PASSWORD), ("bob", "y")):
            assert ask(guarded, user, "GET", target, password=password).status_code == 401
            assert ask(guarded, user, "PUT", target, "<a/>", password=password).status_code == 401
    assert ask(guarded, "alice", "GET", f"no-such-app/{ALICE}/index").status_code == 404


def test_what_is_no_xcap_uri_is_refused_without_a_password(guarded: Site) -> None:
    for target, status in (("", 404), ("xxx", 404), ("test-app/users", 404), (f"{DOC}/~~/a[]", 400)):
        assert guarded.get(target).status == status
    assert guarded.ask("POST", DOC).status == 405


def test_rfc4825_8_a_user_who_is_none_is_404(store: SqliteStore) -> None:
    known = {"alice", "bob"}
    with Site(store=store, authentication="digest", is_known=lambda aor: aor.username in known) as site:
        assert ask(site, "bob", "GET", "test-app/users/sip:eve@example.com/index").status_code == 404
        assert ask(site, "bob", "GET", DOC).status_code == 403


def test_rfc4825_5_7_all_read_global_documents_without_a_password(guarded: Site) -> None:
    assert guarded.get("xcap-caps/global/index").status == 200
    assert guarded.get("xcap-caps/global/index/~~/xcap-caps/auids/auid[1]").status == 200
    assert guarded.get("test-app/global/index").status == 404


def test_rfc4825_5_7_only_administrators_write_global_documents(guarded: Site) -> None:
    document, kind = "com.example.named/global/index", "application/named+xml"
    assert guarded.put(document, "<a/>").status == 401
    assert put(guarded, "alice", document, kind=kind) == 403
    assert put(guarded, "root", document, kind=kind) == 201
    assert guarded.get(document).body == b"<a/>"
    assert ask(guarded, "alice", "DELETE", document).status_code == 403
    assert ask(guarded, "root", "DELETE", document).status_code == 200
    assert put(guarded, "root", "xcap-caps/global/index", kind="application/xcap-caps+xml") == 405


def test_administrators_read_and_write_everybodys_documents(guarded: Site) -> None:
    assert put(guarded, "root", DOC) == 201
    assert ask(guarded, "root", "GET", DOC).text == "<a/>"
    assert ask(guarded, "alice", "GET", DOC).text == "<a/>"
    assert ask(guarded, "root", "DELETE", DOC).status_code == 200


def test_what_everybody_may_see_everybody_sees_and_only_the_owner_writes(guarded: Site) -> None:
    kind = "application/vnd.oma.pres-content+xml"
    assert put(guarded, "alice", ICON, kind=kind) == 201
    assert guarded.get(ICON).body == b"<a/>"
    assert ask(guarded, "bob", "GET", ICON).status_code == 200
    assert put(guarded, "bob", ICON, kind=kind) == 403
    assert guarded.delete(ICON).status == 401


def test_options_asks_for_no_password(guarded: Site) -> None:
    assert guarded.ask("OPTIONS", DOC).status == 200


def test_the_password_is_asked_for_before_the_body_is_read(guarded: Site) -> None:
    body = b"x" * (300 * 1024)
    assert guarded.put(DOC, body).status == 401
    assert ask(guarded, "bob", "PUT", DOC, body.decode()).status_code == 403
    assert ask(guarded, "alice", "PUT", DOC, body.decode(), **{"content-type": "text/xml"}).status_code == 415
    assert put(guarded, "alice", DOC, body.decode()) == 413


def test_a_realm_for_all(store: SqliteStore) -> None:
    with Site(store=store, authentication="digest", realm="one for all") as site:
        assert 'realm="one for all"' in site.get(DOC).headers["www-authenticate"]


# Basic


def basic(site: Site, user: str, password: str, scheme: str = "https", target: str = DOC) -> Answer:
    given = base64.b64encode(f"{user}:{password}".encode()).decode()
    return site._runner.run(site.asking("GET", target, scheme=scheme, authorization=f"Basic {given}"))


def test_rfc4825_14_basic_is_taken_over_tls_only(store: SqliteStore) -> None:
    for options in ({"authentication": "basic"}, {"authentication": "digest", "basic": True}):
        with Site(store=store, **options) as site:
            assert basic(site, "alice", PASSWORD).status == 404
            assert basic(site, "alice@example.com", PASSWORD).status == 404
            assert basic(site, "bob", PASSWORD).status == 403
            for user, password in (("alice", "x"), ("eve", PASSWORD), ("", ""), ("alice", "")):
                answer = basic(site, user, password)
                assert answer.status == 401
                assert answer.headers["www-authenticate"] == 'Basic realm="example.com", charset="UTF-8"'
            clear = basic(site, "alice", PASSWORD, scheme="http")
            assert clear.status == (403 if options["authentication"] == "basic" else 401)
            assert "Basic" not in clear.headers.get("www-authenticate", "")


def test_rfc7617_what_is_malformed_proves_nothing(store: SqliteStore) -> None:
    with Site(store=store, authentication="basic") as site:
        for value in ("Basic", "Basic ???", "Basic YWxpY2U=", "Basic /w==", "Bearer x", "Basic " + "A" * 9000):
            answer = site._runner.run(site.asking("GET", DOC, scheme="https", authorization=value))
            assert answer.status == 401


def test_basic_is_not_taken_where_it_is_not_wanted(guarded: Site) -> None:
    answer = basic(guarded, "alice", PASSWORD)
    assert answer.status == 401
    assert answer.headers["www-authenticate"].startswith("Digest")


# Trusted peers


@pytest.fixture
def behind_proxy(store: SqliteStore) -> Iterator[Site]:
    trusted = TrustedPeers((ip_network("192.0.2.0/24"),))
    with Site(store=store, authentication="digest", trusted=trusted) as site:
        yield site


@pytest.mark.parametrize("name", ["x_3gpp_asserted_identity", "x_xcap_asserted_identity"])
@pytest.mark.parametrize(
    "value",
    ['"sip:alice@example.com"', "sip:alice@example.com", "<sip:alice@EXAMPLE.com>"],
)
def test_3gpp_24_109_a_trusted_peer_says_who_asks(behind_proxy: Site, name: str, value: str) -> None:
    answer = behind_proxy.get(DOC, **{name: value})
    assert answer.status == 404
    other = behind_proxy.get("test-app/users/sip:bob@example.com/index", **{name: value})
    assert other.status == 403


def test_3gpp_24_109_from_anybody_else_it_is_ignored(behind_proxy: Site, guarded: Site) -> None:
    asserted = '"sip:alice@example.com"'
    assert behind_proxy.ask("GET", DOC, client="198.51.100.1", x_3gpp_asserted_identity=asserted).status == 401
    assert guarded.get(DOC, x_3gpp_asserted_identity=asserted).status == 401


@pytest.mark.parametrize("value", ["", '""', "alice", '"sip:example.com"', "<", "\xff"])
def test_a_trusted_peer_that_names_nobody_is_asked(behind_proxy: Site, value: str) -> None:
    assert behind_proxy.get(DOC, x_3gpp_asserted_identity=value).status == 401


# No authentication


def test_without_authentication_all_is_open_but_the_global_tree() -> None:
    with Site() as site:
        assert site.put(DOC, "<a/>").status == 201
        assert site.delete(DOC).status == 200
        assert site.put("com.example.named/global/index", "<a/>").status == 403
