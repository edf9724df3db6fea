"""Running servers whose documents others write, and that fetch documents from each other."""

import http.client
import sqlite3
import xmlrpc.client
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from process import PATIENCE_S, ServerProcess, until
from wire import UdpAgent, Watcher, pidf

pytestmark = pytest.mark.system

INSERT = (
    "INSERT INTO xcap (username, domain, doc, doc_type, etag, source, doc_uri, port) VALUES (?, ?, ?, ?, ?, 0, ?, 0)"
)
RULES = (
    '<?xml version="1.0" encoding="UTF-8"?>'
    '<ruleset xmlns="urn:ietf:params:xml:ns:common-policy"><rule id="{name}"/></ruleset>'
)
PATH = "/xcap-root/pres-rules/users/sip:alice@example.com/index"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path) as running:
        yield running
        running.assert_calm()


def ask(server: ServerProcess, sql: str, *params: object) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(server.database, timeout=20, isolation_level=None)) as connection:
        return connection.execute(sql, params).fetchall()


def call(server: ServerProcess) -> xmlrpc.client.ServerProxy:
    return xmlrpc.client.ServerProxy(f"http://127.0.0.1:{server.http_port}/RPC2")


def put(server: ServerProcess, body: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", server.http_port, timeout=PATIENCE_S)
    with closing(connection):
        connection.request("PUT", PATH, body.encode(), {"content-type": "application/auth-policy+xml"})
        return connection.getresponse().status


def get(server: ServerProcess) -> tuple[int, str]:
    return server.get(PATH)


# The table is written by others


def test_a_running_server_sees_what_another_process_writes(tmp_path: Path) -> None:
    """As OpenXCAP in front of our database, which tells nobody."""
    with ServerProcess(tmp_path, "--set=xcap.authentication=none") as server:
        for number, name in enumerate(("first", "second")):
            if number == 0:
                ask(server, INSERT, "alice", "example.com", RULES.format(name=name), 2, name, "index.xml")
            else:
                ask(server, "UPDATE xcap SET doc = ?, etag = ?", RULES.format(name=name), name)
            until("the change is seen", lambda name=name: get(server) == (200, RULES.format(name=name)))  # type: ignore[misc]
        ask(server, "DELETE FROM xcap")
        until("the deletion is seen", lambda: get(server)[0] == 404)
        until("the log is trimmed", lambda: ask(server, "SELECT count(*) FROM xcap_changes") == [(1,)])
        server.assert_calm()


def test_a_million_rows_written_by_a_script_are_no_burden(server: ServerProcess) -> None:
    """Bounded: 50,000 stand for the million here, five times what the log holds."""
    with closing(sqlite3.connect(server.database, timeout=20)) as connection:
        rows = ((f"user{number}", "example.com", "<a/>", 2, "x", "index") for number in range(50_000))
        connection.executemany(INSERT, rows)
        connection.commit()
    until("the log is trimmed", lambda: ask(server, "SELECT count(*) FROM xcap_changes") == [(1,)])
    with UdpAgent(server.port) as udp:
        assert udp.publish("alice", pidf("alice", ("desk", "open", "here"))).status == 200


# Others say that something changed


def test_refresh_watchers_tells_everybody_again_when_the_content_changed(server: ServerProcess) -> None:
    with UdpAgent(server.port) as udp, call(server) as proxy:
        assert Watcher(udp).subscribe().status == 200
        first = udp.notify()
        assert proxy.refreshWatchers("sip:alice@example.com", "presence", 1) == "OK"
        again = udp.notify()
        assert again.body == first.body
        assert again.cseq == first.cseq + 1
        assert proxy.refreshWatchers("sip:nobody@example.com", "presence", 1) == "OK"
        assert proxy.refreshWatchers("sip:alice@example.com", "presence", 0) == "OK"
        with pytest.raises(xmlrpc.client.Fault, match="Unknown event"):
            proxy.refreshWatchers("sip:alice@example.com", "weather", 0)
        with pytest.raises(xmlrpc.client.Fault, match="No such document"):
            proxy.refreshXcapDoc(PATH, 80)


def test_cleanup_removes_what_is_over_at_once(server: ServerProcess) -> None:
    binding = (
        "INSERT INTO bindings (username, domain, contact, callid, cseq, expires) VALUES ('a', 'b', 'c', 'd', 1, ?)"
    )
    with call(server) as proxy:
        # The server cleans up when it starts, and every minute.
        until("started", lambda: server.get("/readyz")[0] == 200)
        ask(server, binding, 1)
        assert proxy.cleanup() == "OK"
        until("it is gone", lambda: ask(server, "SELECT count(*) FROM bindings") == [(0,)])


def test_cleanup_gives_up_who_has_waited_for_too_long(tmp_path: Path) -> None:
    row = (
        "INSERT INTO watchers (presentity_uri, watcher_username, watcher_domain, event, status, reason, inserted_time)"
        " VALUES ('sip:alice@example.com', 'bob', 'example.com', 'presence', 2, '', ?)"
    )
    with ServerProcess(tmp_path, "--policy=rules") as server, call(server) as proxy:
        until("started", lambda: server.get("/readyz")[0] == 200)
        ask(server, row, 1)
        assert proxy.cleanup() == "OK"
        until("it is gone", lambda: ask(server, "SELECT count(*) FROM watchers") == [(0,)])


# General mode


def test_rules_of_who_is_not_watched_are_fetched_again_when_they_are_needed(tmp_path: Path) -> None:
    """Who is blocked has no subscription, so no round asks for the rules that block."""
    homes = [tmp_path / name for name in ("xcap", "presence")]
    for home in homes:
        home.mkdir()
    with ServerProcess(homes[0], "--set=xcap.authentication=none") as xcap:
        root = f"http://127.0.0.1:{xcap.http_port}/xcap-root"
        settings = ("server.policy=rules", f"presence_xml.xcap_server={root}", "xcap_client.query_period=1")
        with ServerProcess(homes[1], *(f"--set={setting}" for setting in settings)) as presence:
            assert put(xcap, ruleset("block")) == 201
            with UdpAgent(presence.port) as udp, call(presence) as proxy:
                assert proxy.refreshXcapDoc(PATH, xcap.http_port) == "OK"
                until("it is fetched", lambda: held(presence) == ruleset("block"))
                until("blocked", lambda: Watcher(udp).subscribe(expires=0).status == 403)
                assert put(xcap, ruleset("allow")) == 200
                until("let in", lambda: Watcher(udp).subscribe(expires=0).status == 200)


def test_documents_of_our_own_server_killed_and_restarted_in_the_middle(tmp_path: Path) -> None:
    """Acceptance: rules stay in force while their server is dead, SIP goes on, and what is new comes by itself."""
    homes = [tmp_path / name for name in ("xcap", "presence")]
    for home in homes:
        home.mkdir()
    with ServerProcess(homes[0], "--set=xcap.authentication=none") as xcap:
        root = f"http://127.0.0.1:{xcap.http_port}/xcap-root"
        settings = (f"presence_xml.xcap_server={root}", "xcap_client.query_period=1", "xcap_client.timeout_ms=1000")
        with ServerProcess(homes[1], *(f"--set={setting}" for setting in settings)) as presence:
            assert put(xcap, RULES.format(name="first")) == 201
            with UdpAgent(presence.port) as udp, call(presence) as proxy:
                assert Watcher(udp).subscribe().status == 200
                udp.notify()
                assert proxy.refreshXcapDoc(PATH, xcap.http_port) == "OK"
                until("it is fetched", lambda: held(presence) == RULES.format(name="first"))
                assert ask(presence, "SELECT source, doc_uri, port FROM xcap") == [(1, PATH, xcap.http_port)]
                assert presence.metric("presence_xcap_server_up") == 1
                xcap.kill()
                until("it is known to be down", lambda: presence.metric("presence_xcap_server_up") == 0)
                assert held(presence) == RULES.format(name="first")
                assert udp.publish("alice", pidf("alice", ("desk", "open", "here"))).status == 200
                udp.notify()
                xcap.start()
                assert put(xcap, RULES.format(name="second")) == 200
                until("the new one comes by itself", lambda: held(presence) == RULES.format(name="second"))
                assert presence.metric("presence_xcap_server_up") == 1
            presence.kill()
            xcap.kill()
            presence.start()
            assert held(presence) == RULES.format(name="second")
            presence.assert_calm()


def held(server: ServerProcess) -> object:
    rows = ask(server, "SELECT doc FROM xcap")
    return bytes(rows[0][0]).decode() if rows and isinstance(rows[0][0], bytes) else rows


# Rules that act


def ruleset(handling: str, who: str = "bob") -> str:
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        '<cr:ruleset xmlns:cr="urn:ietf:params:xml:ns:common-policy" xmlns:pr="urn:ietf:params:xml:ns:pres-rules">'
        f'<cr:rule id="a"><cr:conditions><cr:identity><cr:one id="sip:{who}@example.com"/></cr:identity>'
        "</cr:conditions>"
        f"<cr:actions><pr:sub-handling>{handling}</pr:sub-handling></cr:actions>"
        "<cr:transformations><pr:provide-services><pr:all-services/></pr:provide-services></cr:transformations>"
        "</cr:rule></cr:ruleset>"
    )


def next_state(udp: UdpAgent) -> str:
    return udp.notify()["Subscription-State"].partition(";expires")[0]


@pytest.mark.parametrize("told", [False, True])
def test_rules_another_xcap_server_writes_reach_running_watchers(tmp_path: Path, *, told: bool) -> None:
    """Integrated mode: with a call of `refreshWatchers` after each change, as OpenXCAP did, or without."""
    with ServerProcess(tmp_path, "--set=server.policy=rules") as server, UdpAgent(server.port) as udp:

        def tell() -> None:
            if told:
                with call(server) as proxy:
                    proxy.refreshWatchers("sip:alice@example.com", "presence", 0)

        assert Watcher(udp).subscribe().status == 200
        assert next_state(udp) == "pending"
        ask(server, INSERT, "alice", "example.com", ruleset("allow"), 2, "x1", "index.xml")
        tell()
        assert next_state(udp) == "active"
        update = "UPDATE xcap SET doc = ?, etag = ? WHERE username = 'alice' AND domain = 'example.com' AND etag = ?"
        ask(server, update, ruleset("confirm"), "x2", "x1")
        tell()
        assert next_state(udp) == "pending"
        ask(server, update, ruleset("allow"), "x3", "x2")
        tell()
        assert next_state(udp) == "active"
        # Neither OpenSIPS nor Kamailio notices that rules are gone.
        ask(server, "DELETE FROM xcap WHERE username = 'alice' AND etag = 'x3'")
        tell()
        assert next_state(udp) == "pending"
        ask(server, INSERT, "alice", "example.com", ruleset("block"), 2, "x4", "index.xml")
        tell()
        assert next_state(udp).startswith("terminated;reason=rejected")
        server.assert_calm()


def test_fetched_rules_reach_a_watcher_who_came_before_them(tmp_path: Path) -> None:
    """General mode: decided at once from what is known, and again when the document is there; killed in the middle."""
    homes = [tmp_path / name for name in ("xcap", "presence")]
    for home in homes:
        home.mkdir()
    with ServerProcess(homes[0], "--set=xcap.authentication=none") as xcap:
        root = f"http://127.0.0.1:{xcap.http_port}/xcap-root"
        settings = ("server.policy=rules", f"presence_xml.xcap_server={root}", "xcap_client.query_period=1")
        with (
            ServerProcess(homes[1], *(f"--set={setting}" for setting in settings)) as presence,
            UdpAgent(presence.port) as udp,
        ):
            watcher = Watcher(udp)
            assert watcher.subscribe().status == 200
            assert next_state(udp) == "pending"
            assert put(xcap, ruleset("allow")) == 201
            assert next_state(udp) == "active"
            xcap.kill()
            until("it is known to be down", lambda: presence.metric("presence_xcap_server_up") == 0)
            assert watcher.subscribe().status == 200  # a refresh, answered from the last known rules
            assert next_state(udp) == "active"
            xcap.start()
            assert put(xcap, ruleset("block")) == 200
            assert next_state(udp).startswith("terminated;reason=rejected")
            presence.assert_calm()
