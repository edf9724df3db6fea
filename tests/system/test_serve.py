"""`presence serve` as an operator meets it: start, refusal to start, health, and the end."""

import json
import os
import socket
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from process import ServerProcess, run_serve, until
from wire import TcpAgent, UdpAgent, Watcher, notes, pidf, request

pytestmark = pytest.mark.system

LOOPBACK = ("--listen=udp:127.0.0.1:0", "--http=127.0.0.1:0")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path, "--set=server.drain_timeout_s=60") as running:
        yield running
        running.assert_calm()


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server for tests that leave it as it is."""
    with ServerProcess(tmp_path_factory.mktemp("serve")) as running:
        yield running
        running.assert_calm()


def assert_refused(folder: Path, *options: str, status: int = 2) -> str:
    """Start where that must fail; return the one line that says why."""
    ended = run_serve(*options, folder=folder)
    assert ended.returncode == status, ended.stderr
    assert ended.stdout == ""
    lines = ended.stderr.splitlines()
    assert len(lines) == 1, ended.stderr
    assert lines[0].startswith("presence: error: ")
    return lines[0]


# ---- start ----


def test_the_ready_file_tells_process_and_addresses(standing: ServerProcess):
    assert standing.ready == {
        "pid": standing.pid,
        "sip": [f"udp:127.0.0.1:{standing.port}", f"tcp:127.0.0.1:{standing.port}"],
        "http": [f"127.0.0.1:{standing.http_port}"],
    }


def test_port_0_is_one_free_port_for_udp_and_tcp(standing: ServerProcess):
    assert standing.port > 0
    with UdpAgent(standing.port) as udp, TcpAgent(standing.port) as tcp:
        assert udp.ask("OPTIONS", "sip:example.com").status == 200
        assert tcp.ask("OPTIONS", "sip:example.com").status == 200


def test_the_first_lines_say_how_to_go_on(standing: ServerProcess):
    address = f"127.0.0.1:{standing.port}"
    lines = standing.output().splitlines()
    assert lines[0] == f"presence listens on udp:{address}, tcp:{address}"
    assert f"http     http://127.0.0.1:{standing.http_port}/healthz /readyz /metrics" in lines
    assert "policy   open" in lines
    assert f"data     {standing.database}" in lines
    assert any(f"--server udp:{address}" in line for line in lines)


def test_health_readiness_and_metrics(standing: ServerProcess):
    assert standing.get("/healthz") == (200, "ok\n")
    assert standing.get("/readyz") == (200, "ready\n")
    counted = ("publications", "subscriptions", "requests_total", "publish_to_notify_seconds_count")
    before = [standing.metric(f"presence_{name}") for name in counted]
    notifies = standing.metric("presence_notifies_total")
    with UdpAgent(standing.port) as udp:
        Watcher(udp, "carol").subscribe()
        udp.notify()
        udp.publish("carol", pidf("carol", ("desk", "open", "here")))
        udp.notify()
    until("both NOTIFYs are counted", lambda: standing.metric("presence_notifies_total") >= notifies + 2)
    after = [standing.metric(f"presence_{name}") for name in counted]
    assert [new - old for old, new in zip(before, after, strict=True)] == [1, 1, 2, 1]
    assert standing.metric("presence_commit_seconds_count") >= 2


def test_logs_are_lines_of_json(standing: ServerProcess):
    lines = [json.loads(line) for line in standing.log().splitlines()]
    assert lines[0]["message"] == "loaded"
    assert {"at", "level", "subscriptions"} <= lines[0].keys()


# ---- the end ----


def test_sigterm_ends_at_once_when_nothing_is_under_way(server: ServerProcess):
    server.terminate()
    assert server.wait() == 0
    assert server.says("stopped")
    with socket.socket() as again:
        again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        again.bind(("127.0.0.1", server.port))


@pytest.mark.parametrize("kind", [UdpAgent, TcpAgent])
def test_sigterm_waits_for_the_answer_to_a_notify(server: ServerProcess, kind: type[UdpAgent | TcpAgent]):
    with kind(server.port) as agent:
        Watcher(agent).subscribe()
        server.terminate()
        until("draining", lambda: server.says("draining"))
        assert server.alive
        assert server.get("/readyz")[0] == 503
        agent.notify()
        assert server.wait() == 0


@pytest.mark.parametrize("kind", [UdpAgent, TcpAgent])
def test_draining_refuses_new_requests_and_new_connections(server: ServerProcess, kind: type[UdpAgent | TcpAgent]):
    """What is open goes on to be heard, so that a client learns at once to try later (RFC 3261 section 21.5.4)."""
    with kind(server.port) as agent, kind(server.port) as other:
        assert other.ask("OPTIONS", "sip:example.com").status == 200
        Watcher(agent).subscribe()
        server.terminate()
        until("draining", lambda: server.says("draining"))
        refused = [other.ask("OPTIONS", "sip:example.com"), other.publish("alice", pidf("alice", ("a", "open", "x")))]
        assert [response.status for response in refused] == [503, 503]
        assert all(int(response["Retry-After"]) > 0 for response in refused)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", server.port), timeout=5).close()
        agent.notify()
        assert server.wait() == 0


def test_sigterm_waits_no_longer_than_the_drain_timeout(tmp_path: Path):
    with ServerProcess(tmp_path, "--set=server.drain_timeout_s=1") as server, UdpAgent(server.port) as agent:
        Watcher(agent).subscribe()
        agent.notify("")
        server.terminate()
        assert server.wait() == 0
        server.assert_calm()


@pytest.mark.parametrize(("kind", "method"), [(UdpAgent, "PUBLISH"), (TcpAgent, "PUBLISH"), (TcpAgent, "REGISTER")])
def test_sigterm_answers_what_waits_for_its_commit(server: ServerProcess, kind: type[UdpAgent | TcpAgent], method: str):
    body = pidf("alice", ("desk", "open", "here"))
    with kind(server.port) as agent, closing(sqlite3.connect(server.database, isolation_level=None)) as script:
        script.execute("BEGIN IMMEDIATE")
        if method == "PUBLISH":
            headers = "Event: presence\r\nContent-Type: application/pidf+xml\r\n"
            agent.send(request("PUBLISH", "sip:alice@example.com", via=agent.via, headers=headers, body=body))
        else:
            headers = f"Contact: {agent.contact}\r\n"
            agent.send(request("REGISTER", "sip:example.com", via=agent.via, headers=headers))
        until("the request has arrived", lambda: server.metric("presence_requests_total") == 1)
        server.terminate()
        until("draining", lambda: server.says("draining"))
        script.execute("ROLLBACK")
        assert agent.response().status == 200
        assert server.wait() == 0
        table = "presentity" if method == "PUBLISH" else "bindings"
        assert script.execute(f"SELECT count(*) FROM {table}").fetchone() == (1,)


def test_what_was_published_is_there_after_a_restart(server: ServerProcess):
    with UdpAgent(server.port) as udp:
        etag = udp.publish("alice", pidf("alice", ("desk", "open", "here")))["SIP-ETag"]
        server.terminate()
        assert server.wait() == 0
        server.start()
        Watcher(udp).subscribe(expires=0)
        assert notes(udp.notify().body) == {"desk": "here"}
        assert udp.publish("alice", etag=etag).status == 200
        assert udp.publish("alice", etag=etag).status == 412


@pytest.mark.parametrize("kind", [UdpAgent, TcpAgent])
def test_every_watcher_is_notified_after_a_restart(server: ServerProcess, kind: type[UdpAgent | TcpAgent]):
    with kind(server.port) as agent:
        watcher = Watcher(agent)
        watcher.subscribe()
        before = agent.notify()
        server.kill()
        server.start()
        if isinstance(agent, TcpAgent):
            agent.stream.socket.close()
            agent.accept()
        after = agent.notify()
        assert after.body == before.body
        assert after.cseq > before.cseq
        assert watcher.subscribe().status == 200


# ---- refusal to start ----


def test_an_unknown_key_is_named(tmp_path: Path):
    line = assert_refused(tmp_path, *LOOPBACK, "--set=server.lisen=udp:127.0.0.1:0")
    assert "unknown key server.lisen" in line
    assert "did you mean server.listen?" in line


def test_a_bad_value_is_named_with_what_is_allowed(tmp_path: Path):
    line = assert_refused(tmp_path, *LOOPBACK, "--set=presence.max_expires_publish=soon")
    assert 'presence.max_expires_publish = "soon" in --set: expected a whole number' in line


@pytest.mark.parametrize(
    ("options", "key"),
    [
        (("--listen=udp:0.0.0.0:0",), "server.listen"),
        ((LOOPBACK[0], "--http=0.0.0.0:0", "--set=xcap.authentication=none"), "http.listen"),
    ],
)
def test_reachable_from_elsewhere_needs_a_decision(tmp_path: Path, options: tuple[str, ...], key: str):
    line = assert_refused(tmp_path, *options)
    assert f"{key} = " in line
    assert "allow_unauthenticated" in line


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_a_port_in_use_is_named_by_its_key(tmp_path: Path, transport: str):
    kind = socket.SOCK_DGRAM if transport == "udp" else socket.SOCK_STREAM
    with socket.socket(socket.AF_INET, kind) as taken:
        taken.bind(("127.0.0.1", 0))
        if transport == "tcp":
            taken.listen()
        address = f"{transport}:127.0.0.1:{taken.getsockname()[1]}"
        line = assert_refused(tmp_path, f"--listen={address}", "--http=")
    assert "server.listen" in line
    assert f"{address}: Address already in use" in line


def test_an_http_port_in_use_is_named_by_its_key(tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = run_serve(LOOPBACK[0], f"--http=127.0.0.1:{port}", folder=tmp_path)
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert "Traceback" not in ended.stderr
    (line,) = ended.stderr.splitlines()
    assert f"http.listen: cannot listen on 127.0.0.1 port {port}" in line
    assert list(tmp_path.iterdir()) == [], "the database was not touched"


def test_a_newer_schema_is_left_alone(tmp_path: Path):
    path = tmp_path / "newer.db"
    with closing(sqlite3.connect(path)) as newer:
        newer.execute("PRAGMA user_version = 999")
    before = path.read_bytes()
    line = assert_refused(tmp_path, *LOOPBACK, f"--database={path}", status=1)
    assert "schema version 999" in line
    assert path.read_bytes() == before


def test_a_file_that_is_no_database_is_left_alone(tmp_path: Path):
    path = tmp_path / "letter.txt"
    path.write_text("Dear Bob, " * 1000)
    line = assert_refused(tmp_path, *LOOPBACK, f"--database={path}", status=1)
    assert f"{path} is not a SQLite database" in line
    assert path.read_text() == "Dear Bob, " * 1000


def test_a_second_server_on_the_same_database_is_refused(standing: ServerProcess, tmp_path: Path):
    line = assert_refused(tmp_path, *LOOPBACK, f"--database={standing.database}", status=1)
    assert "used by another presence server" in line
    with UdpAgent(standing.port) as udp:
        assert udp.publish("alice", pidf("alice", ("desk", "open", "here"))).status == 200


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path):
    (tmp_path / "sealed").mkdir(mode=0o500)
    line = assert_refused(tmp_path, *LOOPBACK, f"--database={tmp_path}/sealed/presence.db", status=1)
    assert "Permission denied" in line


def test_the_ready_file_in_a_missing_folder_is_named(tmp_path: Path):
    ended = run_serve(*LOOPBACK, f"--ready-file={tmp_path}/missing/ready.json", folder=tmp_path)
    assert ended.returncode == 2
    assert "Traceback" not in ended.stderr
    assert "ready.json" in ended.stderr.splitlines()[-1]
