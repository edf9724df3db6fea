"""XCAP by the whole server: a process, a real client over loopback, users of the table, several writers, a kill."""

import re
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import apsw
import httpx
import pytest
from certificates import Authority
from process import ServerProcess, run_serve

from presence.sip.digest import hash_account
from presence.store.users import Hashes, add_user
from presence.values import Aor

pytestmark = pytest.mark.system

WRITERS = 8
APP = "application/test-app+xml"
LISTS = "application/resource-lists+xml"
LIST = '<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists"><list name="a"/></resource-lists>'
ALICE = "users/sip:alice@example.com"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    """A server with two users."""
    process = ServerProcess(tmp_path)
    for name in ("alice", "bob"):
        add_user(
            str(process.database),
            Aor(name, "example.com"),
            Hashes(hash_account("MD5", name, "example.com", f"{name}'s"), "", "", ""),
        )
    with process:
        yield process


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[ServerProcess]:
    """A server that asks nobody who they are."""
    with ServerProcess(tmp_path, "--set=xcap.authentication=none") as process:
        yield process


def client_of(server: ServerProcess, user: str = "", **options: object) -> httpx.Client:
    auth = httpx.DigestAuth(user, f"{user}'s") if user else None
    url = f"http://127.0.0.1:{server.http_port}/xcap-root"
    return httpx.Client(base_url=url, auth=auth, timeout=30, trust_env=False, **options)  # type: ignore[arg-type]


def put(client: httpx.Client, path: str, body: str, kind: str = APP, **headers: str) -> httpx.Response:
    fields = {"content-type": kind, **{name.replace("_", "-"): value for name, value in headers.items()}}
    return client.put(path, content=body.encode(), headers=fields)


def test_a_user_keeps_a_list_by_way_of_digest(server: ServerProcess) -> None:
    path = f"/resource-lists/{ALICE}/index"
    with client_of(server, "alice") as alice, client_of(server, "bob") as bob, client_of(server) as nobody:
        assert nobody.get(path).status_code == 401
        created = put(alice, path, LIST, LISTS)
        assert (created.status_code, created.headers["content-length"]) == (201, "0")
        entry = f'{path}/~~/resource-lists/list[@name="a"]/entry[@uri="sip:bob@example.com"]'
        assert put(alice, entry, '<entry uri="sip:bob@example.com"/>', "application/xcap-el+xml").status_code == 201
        got = alice.get(path)
        assert got.text == LIST.replace('"a"/>', '"a"><entry uri="sip:bob@example.com"/></list>')
        assert got.headers["content-type"] == LISTS
        assert alice.get(path, headers={"if-none-match": got.headers["etag"]}).status_code == 304
        assert alice.get(f"{entry}/@uri").text == '"sip:bob@example.com"'
        assert bob.get(path).status_code == 403
        assert put(bob, path, LIST, LISTS).status_code == 403
        assert bob.get("/resource-lists/users/sip:eve@example.com/index").status_code == 404
        assert alice.delete(entry).status_code == 200
        assert alice.delete(path).status_code == 200
        assert alice.get(path).status_code == 404
    server.assert_calm()


def test_capabilities_are_there_for_everybody(server: ServerProcess) -> None:
    with client_of(server) as nobody:
        answer = nobody.get("/xcap-caps/global/index")
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "application/xcap-caps+xml"
        assert "<auid>xcap-caps</auid>" in answer.text
        assert nobody.get("/test-app/global/index").status_code == 404


def test_every_body_has_its_length_and_head_none(lab: ServerProcess) -> None:
    with client_of(lab) as client:
        put(client, f"/test-app/{ALICE}/index", "<a/>")
        for method in ("GET", "HEAD", "OPTIONS", "POST", "XXX", "DELETE"):
            for path in (f"/test-app/{ALICE}/index", "/", "/xxx", "/xcap-caps/global/index"):
                answer = client.request(method, path)
                assert "transfer-encoding" not in answer.headers
                expected = int(answer.headers["content-length"])
                assert len(answer.content) == (0 if method == "HEAD" else expected)


def test_what_a_client_of_openxcap_finds_in_the_reasons(lab: ServerProcess) -> None:
    with client_of(lab) as client:
        for path, status, part in (
            ("", 404, "XCAP Root"),
            ("/", 404, "XCAP Root"),
            ("/xxx", 404, "context"),
            ("/resource-lists/user/alice@example.com/index.xml", 404, "context"),
            ("/resource-lists/users", 404, "user id"),
            ("/resource-lists/users/alice@example.com", 404, "not contain "),
            ("/resource-lists/users/alice@example.com/", 404, "not contain "),
            ("/resource-lists/users/alice@example.com/index.xml~~", 400, "to parse node"),
        ):
            answer = client.get(path)
            assert (answer.status_code, part in answer.text) == (status, True), (path, answer.text)


def test_what_is_no_http_is_400(lab: ServerProcess) -> None:
    with socket.create_connection(("127.0.0.1", lab.http_port), timeout=30) as connection:
        connection.sendall(b"\r\r\r\n\r\n")
        assert b"400 Bad Request" in connection.recv(4096)


def test_bodies_are_bounded_while_they_are_read(lab: ServerProcess) -> None:
    path = f"/test-app/{ALICE}/index"
    with client_of(lab) as client:
        assert put(client, path, "<a>" + "x" * 300_000 + "</a>").status_code == 413

        def endless() -> Iterator[bytes]:
            yield b"<a>"
            for _ in range(400):
                yield b"x" * 1024

        answer = client.put(path, content=endless(), headers={"content-type": APP})
        assert answer.status_code == 413
        large = "<root xmlns='test-app'>" + "<a>x</a>" * 15_000 + "</root>"
        assert put(client, path, large).status_code == 201
        assert put(client, f"{path}/~~/root/b", "<b/>", "application/xcap-el+xml").status_code == 201
        assert client.get(f"{path}/~~/root/a[15000]").text == "<a>x</a>"
        assert client.delete(f"{path}/~~/root/a[15000]").status_code == 200
    lab.assert_calm()


def test_documents_outlive_a_restart_with_their_tags(lab: ServerProcess) -> None:
    path = f"/test-app/{ALICE}/index"
    with client_of(lab) as client:
        etag = put(client, path, "<root xmlns='test-app'/>").headers["etag"]
        lab.terminate()
        assert lab.wait() == 0
        lab.start()
        answer = client.get(path)
        assert (answer.text, answer.headers["etag"]) == ("<root xmlns='test-app'/>", etag)
        assert put(client, f"{path}/~~/root/a", "<a/>", "application/xcap-el+xml", if_match=etag).status_code == 201


def counted(client: httpx.Client, path: str) -> tuple[int, str]:
    answer = client.get(f"{path}/~~/root/n")
    return int(re.fullmatch("<n>([0-9]+)</n>", answer.text)[1]), answer.headers["etag"]  # type: ignore[index]


def test_eight_writers_with_if_match_lose_no_update(lab: ServerProcess) -> None:
    path = f"/test-app/{ALICE}/index"
    with client_of(lab) as client:
        put(client, path, "<root xmlns='test-app'><n>0</n></root>")

    wins: list[int] = []
    refused: list[int] = []

    def write() -> None:
        with client_of(lab) as writer:
            for _ in range(20):
                number, etag = counted(writer, path)
                body = f"<n>{number + 1}</n>"
                answer = put(writer, f"{path}/~~/root/n", body, "application/xcap-el+xml", if_match=etag)
                assert answer.status_code in (200, 412)
                (wins if answer.status_code == 200 else refused).append(number)

    in_threads(write)
    with client_of(lab) as client:
        assert counted(client, path)[0] == len(wins)
    # Each number was counted on by one writer only.
    assert sorted(wins) == list(range(len(wins)))
    assert len(wins) + len(refused) == 20 * WRITERS
    lab.assert_calm()


def test_eight_writers_of_different_nodes_are_all_served(lab: ServerProcess) -> None:
    path = f"/test-app/{ALICE}/index"
    with client_of(lab) as client:
        put(client, path, "<root xmlns='test-app'/>")
    numbers = iter(range(WRITERS))

    def write() -> None:
        number = next(numbers)
        with client_of(lab) as writer:
            for count in range(10):
                node = f'{path}/~~/root/n[@w="{number}.{count}"]'
                answer = put(writer, node, f'<n w="{number}.{count}"/>', "application/xcap-el+xml")
                assert answer.status_code == 201

    in_threads(write)
    with client_of(lab) as client:
        assert client.get(path).text.count("<n ") == 10 * WRITERS


class Writing:
    """Writers that count a number up until their server is gone."""

    def __init__(self, server: ServerProcess, path: str) -> None:
        self._server, self._path = server, path
        self.acknowledged: dict[int, str] = {}
        self.tried: set[int] = set()
        self.enough = threading.Event()
        self._threads = [threading.Thread(target=self._write) for _ in range(WRITERS)]
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        for thread in self._threads:
            thread.join(60)

    def _write(self) -> None:
        with client_of(self._server) as writer, suppress(httpx.HTTPError):
            while True:
                number, etag = counted(writer, self._path)
                self.tried.add(number + 1)
                body = f"<n>{number + 1}</n>"
                answer = put(writer, f"{self._path}/~~/root/n", body, "application/xcap-el+xml", if_match=etag)
                if answer.status_code == 200:
                    self.acknowledged[number + 1] = answer.headers["etag"]
                if len(self.acknowledged) >= 20:
                    self.enough.set()


def test_a_kill_between_writes_leaves_documents_and_tags_as_they_were_acknowledged(lab: ServerProcess) -> None:
    path = f"/test-app/{ALICE}/index"
    with client_of(lab) as client:
        put(client, path, "<root xmlns='test-app'><n>0</n></root>")
    for _ in range(3):
        writing = Writing(lab, path)
        assert writing.enough.wait(60)
        lab.kill()
        writing.join()
        lab.start()
        with client_of(lab) as client:
            number, etag = counted(client, path)
        acknowledged = writing.acknowledged
        # Nothing acknowledged is lost; one that was under way may have been written.
        assert number in (max(acknowledged), max(acknowledged) + 1)
        assert number in writing.tried
        if number in acknowledged:
            assert etag == acknowledged[number]
    with closing(apsw.Connection(str(lab.database))) as database:
        (count, body, stored) = database.execute("SELECT count(*), doc, etag FROM xcap").fetchone()  # type: ignore[misc]
    assert (count, bytes(body)) == (1, b"<root xmlns='test-app'><n>%d</n></root>" % number)
    assert etag == f'"{stored}"'


def in_threads(work: object) -> None:
    failures: list[BaseException] = []

    def guarded() -> None:
        try:
            work()  # type: ignore[operator]
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=guarded) for _ in range(WRITERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(90)
    assert not failures, failures


# TLS (RFC 2818)


def test_rfc4825_8_over_tls_with_digest_and_basic(tmp_path: Path) -> None:
    authority = Authority(tmp_path, "ca")
    pem = authority.issue("server", address="127.0.0.1")
    process = ServerProcess(tmp_path, f"--set=http.certificate={pem}", "--set=xcap.basic=true")
    hashes = Hashes(hash_account("MD5", "alice", "example.com", "alice's"), "", "", "")
    add_user(str(process.database), Aor("alice", "example.com"), hashes)
    with process:
        trust = ssl.create_default_context(cafile=str(authority.path))
        url = f"https://127.0.0.1:{process.http_port}/xcap-root"
        for auth in (httpx.DigestAuth("alice", "alice's"), httpx.BasicAuth("alice", "alice's")):
            with httpx.Client(base_url=url, verify=trust, auth=auth, trust_env=False) as client:
                assert put(client, f"/test-app/{ALICE}/index", "<a/>").status_code in (200, 201)
                answer = put(client, f"/test-app/{ALICE}/index/~~/a/b/c", "<c/>", "application/xcap-el+xml")
                assert f"<ancestor>https://127.0.0.1:{process.http_port}/xcap-root/" in answer.text
        with httpx.Client(verify=trust, auth=("alice", "x"), trust_env=False) as client:
            assert client.get(f"{url}/test-app/{ALICE}/index").status_code == 401
        with pytest.raises(httpx.HTTPError):
            httpx.get(f"http://127.0.0.1:{process.http_port}/healthz", trust_env=False)
        process.assert_calm()


def test_a_certificate_that_cannot_be_used_is_said_at_once(tmp_path: Path) -> None:
    done = run_serve(
        "--listen=udp:127.0.0.1:0", "--http=127.0.0.1:0", "--set=http.certificate=none.pem", folder=tmp_path
    )
    assert done.returncode == 2
    assert "http.certificate" in done.stderr


def test_there_may_be_no_xcap_server(tmp_path: Path) -> None:
    with ServerProcess(tmp_path, "--set=xcap.root=") as process:
        assert process.get("/xcap-root/xcap-caps/global/index")[0] == 404
        assert process.get("/healthz")[0] == 200


def test_the_root_may_be_elsewhere(tmp_path: Path) -> None:
    with ServerProcess(tmp_path, "--set=xcap.root=/services/xcap") as process:
        assert process.get("/services/xcap/xcap-caps/global/index")[0] == 200
        assert process.get("/services/xcap@example.com/xcap-caps/global/index")[0] == 200
        assert process.get("/services/xcapx/xcap-caps/global/index")[0] == 404
        assert process.metric("presence_xcap_requests_total") == 2
