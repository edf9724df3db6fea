"""What operators say of XCAP and what stands in the database, seen by a client of a server process."""

from base64 import b64encode
from collections.abc import Iterator
from contextlib import closing
from email.utils import formatdate, parsedate_to_datetime
from pathlib import Path
from time import time

import apsw
import httpx
import pytest
from process import ServerProcess, run_serve

from presence.sip.digest import hash_account
from presence.store.users import Hashes, add_user
from presence.values import Aor

pytestmark = pytest.mark.system

HOME = "users/sip:alice@example.com"
DOC = f"/test-app/{HOME}/index"
ICON = f"/org.openmobilealliance.pres-content/{HOME}/oma_status-icon/me"
APP = {"content-type": "application/test-app+xml"}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    process = ServerProcess(tmp_path, "--set=xcap.disabled_applications=rls-services,org.openxcap.dialog-rules")
    for name in ("alice", "bob"):
        md5 = hash_account("MD5", name, "example.com", f"{name}'s")
        add_user(str(process.database), Aor(name, "example.com"), Hashes(md5, "", "", ""))
    with process:
        yield process


def client_of(server: ServerProcess, user: str = "", password: str = "") -> httpx.Client:
    auth = httpx.DigestAuth(user, password or f"{user}'s") if user else None
    url = f"http://127.0.0.1:{server.http_port}/xcap-root"
    return httpx.Client(base_url=url, auth=auth, timeout=30, trust_env=False)


def test_what_is_switched_off_is_not_there(server: ServerProcess) -> None:
    with client_of(server, "alice") as alice:
        caps = alice.get("/xcap-caps/global/index").text
        assert "<auid>resource-lists</auid>" in caps
        assert "rls-services" not in caps
        assert alice.get(f"/rls-services/{HOME}/index").status_code == 404
        assert alice.put(f"/rls-services/{HOME}/index", content="<a/>").status_code == 404


def test_what_cannot_be_switched_off_is_told(tmp_path: Path) -> None:
    done = run_serve("--set=xcap.disabled_applications=rls-service", "--listen=udp:127.0.0.1:0", folder=tmp_path)
    assert done.returncode == 2
    assert "xcap.disabled_applications in --set: there is no rls-service here" in done.stderr


def picture(size: int) -> bytes:
    data = b64encode(b"\x89PNG\r\n\x1a\n" + bytes(size - 8)).decode()
    lines = "\n".join(data[start : start + 76] for start in range(0, len(data), 76))
    return (
        '<content xmlns="urn:oma:xml:prs:pres-content"><mime-type>image/png</mime-type><encoding>base64</encoding>'
        f"<data>\n{lines}\n</data></content>"
    ).encode()


def test_the_largest_picture_fits_and_nothing_else_of_its_size(server: ServerProcess) -> None:
    kind = {"content-type": "application/vnd.oma.pres-content+xml"}
    with client_of(server, "alice") as alice, client_of(server) as anybody:
        body = picture(300 * 1024)
        assert len(body) > 400 * 1024
        assert alice.put(ICON, content=body, headers=kind).status_code == 201
        assert anybody.get(ICON).content == body
        assert alice.put(ICON, content=picture(300 * 1024 + 1), headers=kind).status_code == 409
        assert alice.put(ICON, content=picture(400 * 1024), headers=kind).status_code == 413
        assert alice.put(DOC, content=b"<a>%b</a>" % body, headers=APP).status_code == 413


def test_odd_rows_in_the_database_harm_nobody(server: ServerProcess) -> None:
    profile = '<user-profiles xmlns="urn:oma:xml:xdm:user-profile"/>'
    with closing(apsw.Connection(str(server.database))) as database:
        database.set_busy_timeout(10_000)
        for name, status in (("bob", 1), ("carol", 77), ("dan", "?"), ("erin", None), ("frank", 2), ("gina", "1")):
            database.execute(
                "INSERT OR REPLACE INTO watchers (presentity_uri, watcher_username, watcher_domain, event, status, "
                "reason, inserted_time) VALUES ('sip:alice@example.com', ?, 'example.com', 'presence', "
                "coalesce(?, -1), '', 1)",
                (name, status),
            )
        database.execute(
            "INSERT INTO xcap (username, domain, doc, doc_type, etag, source, doc_uri, port) "
            "VALUES ('alice', 'example.com', ?, 1024, 'e', 0, 'index', 0)",
            (profile,),
        )
    with client_of(server, "alice") as alice:
        answer = alice.get(f"/org.openxcap.watchers/{HOME}/index")
        assert answer.status_code == 200
        shown = [name for name in ("bob", "carol", "dan", "erin", "frank", "gina") if name in answer.text]
        assert shown == ["bob", "frank", "gina"]
        locked = f"/org.openmobilealliance.locked-user-profile/{HOME}/index"
        assert alice.get(locked).text == profile
        assert alice.put(locked, content=profile).status_code == 405


def test_who_is_not_let_through_is_counted(server: ServerProcess) -> None:
    with client_of(server, "alice", "wrong") as eve, client_of(server, "bob") as bob, client_of(server) as nobody:
        assert nobody.get(DOC).status_code == 401
        assert eve.get(DOC).status_code == 401
        assert bob.get(DOC).status_code == 403
    metrics = server.get("/metrics")[1]
    for reason, count in (("no credentials", 3), ("wrong response", 1), ("forbidden", 1)):
        assert f'presence_auth_failures_total{{reason="{reason}"}} {count}.0' in metrics


def test_rfc9110_8_8_2_documents_say_when_they_were_changed(server: ServerProcess) -> None:
    began = int(time())
    with client_of(server, "alice") as alice:
        assert alice.put(DOC, content="<a/>", headers=APP).status_code == 201
        answer = alice.get(DOC)
        changed = parsedate_to_datetime(answer.headers["last-modified"]).timestamp()
        assert began - 1 <= changed <= time() + 1
        before, after = formatdate(changed - 60, usegmt=True), formatdate(changed + 60, usegmt=True)
        for fields, status in (
            ({"If-Modified-Since": after}, 304),
            ({"If-Modified-Since": before}, 200),
            ({"If-Modified-Since": "yesterday"}, 200),
            ({"If-Modified-Since": after, "If-None-Match": '"other"'}, 200),
            ({"If-Unmodified-Since": after}, 200),
            ({"If-Unmodified-Since": before}, 412),
            ({"If-Unmodified-Since": before, "If-Match": "*"}, 200),
        ):
            assert (fields, alice.get(DOC, headers=fields).status_code) == (fields, status)
        refused = alice.put(DOC, content="<b/>", headers={**APP, "If-Unmodified-Since": before})
        assert (refused.status_code, alice.get(DOC).text) == (412, "<a/>")
        assert alice.delete(DOC, headers={"If-Unmodified-Since": before}).status_code == 412
        assert alice.delete(DOC, headers={"If-Unmodified-Since": after}).status_code == 200
