"""TLS over loopback: what is served, who is let in, and what is reloaded (RFC 3261 section 26, RFC 5922)."""

import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from certificates import Authority
from process import ROOT, run_serve, until
from secure import Lab, Listeners, StreamAgent, tls_agent
from wire import PATIENCE_S, Stream, UdpAgent, Watcher, notes, parameter, pidf, request

pytestmark = pytest.mark.system

OPTIONS = ("OPTIONS", "sip:example.com")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return Lab(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def server(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Listeners]:
    folder = tmp_path_factory.mktemp("server")
    options = (*lab.options(), "--set=server.handshake_timeout_s=4")
    with Listeners(folder, "tls:127.0.0.1:0", "tls:[::1]:0", "udp:127.0.0.1:0", options=options) as server:
        yield server
        server.assert_calm()


def publish_watch_notified(server: Listeners, agent: StreamAgent, user: str) -> None:
    watcher = Watcher(agent, user)
    heard = watcher.subscribe()
    assert heard.status == 200
    host, port = agent.stream.socket.getpeername()[:2]
    literal = f"[{host}]" if ":" in host else host
    assert f"@{literal}:{port};transport=tls" in heard["Contact"]
    notify = agent.notify()
    assert notify["Via"].startswith(f"SIP/2.0/TLS {literal}:{port};")
    assert agent.publish(user, pidf(user, ("t", "open", "here"))).status == 200
    assert notes(agent.notify().body) == {"t": "here"}
    assert watcher.subscribe(0).status == 200
    agent.notify()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
def test_publish_watch_notified_over_tls(lab: Lab, server: Listeners, version: ssl.TLSVersion) -> None:
    context = lab.trusting()
    context.minimum_version = context.maximum_version = version
    with tls_agent(server.at("tls"), context) as agent:
        assert isinstance(agent, StreamAgent)
        publish_watch_notified(server, agent, f"alice-{version.name.lower()}")


def test_publish_watch_notified_over_tls_and_ipv6(lab: Lab, server: Listeners) -> None:
    with tls_agent(server.at("tls", "::1"), lab.trusting()) as agent:
        assert isinstance(agent, StreamAgent)
        publish_watch_notified(server, agent, "alice-v6")


def test_tls_1_1_is_refused(lab: Lab, server: Listeners) -> None:
    context = lab.trusting()
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.raises(ssl.SSLError):
        tls_agent(server.at("tls"), context)


def test_many_messages_in_one_record_and_one_in_many(lab: Lab, server: Listeners) -> None:
    with tls_agent(server.at("tls"), lab.trusting()) as agent:
        agent.send(b"".join(request(*OPTIONS, via=agent.via) for _ in range(50)))
        assert [agent.response().status for _ in range(50)] == [200] * 50
        for byte in request(*OPTIONS, via=agent.via):
            agent.send(bytes((byte,)))
        assert agent.response().status == 200


def test_a_document_larger_than_a_record_comes_whole(lab: Lab, server: Listeners) -> None:
    with tls_agent(server.at("tls"), lab.trusting()) as agent:
        Watcher(agent, "large").subscribe()
        agent.notify()
        note = "x" * 40_000
        assert agent.publish("large", pidf("large", ("t", "open", note))).status == 200
        assert notes(agent.notify().body) == {"t": note}


def test_rfc5626_4_4_1_keep_alive_is_answered_over_tls(lab: Lab, server: Listeners) -> None:
    with tls_agent(server.at("tls"), lab.trusting()) as agent:
        agent.send(b"\r\n\r\n")
        assert agent.stream.socket.recv(100) == b"\r\n"


def test_the_end_is_said_before_the_connection_closes(lab: Lab, server: Listeners) -> None:
    """An unframeable stream is closed with close_notify: the peer's library raises when the end was cut off."""
    with tls_agent(server.at("tls"), lab.trusting()) as agent:
        connection = agent.stream.socket
        assert isinstance(connection, ssl.SSLSocket)
        connection.suppress_ragged_eofs = False
        agent.send(request(*OPTIONS, via=agent.via).replace(b"Content-Length: 0", b"X: y"))
        assert agent.response().status == 400
        assert connection.recv(100) == b""


@pytest.mark.parametrize("garbage", [b"OPTIONS sip:example.com SIP/2.0\r\n", b"GET / HTTP/1.1\r\n\r\n", bytes(500)])
def test_what_is_not_tls_is_dropped_and_counted(server: Listeners, garbage: bytes) -> None:
    before = server.metric('presence_drops_total{reason="TLS failure"}')
    with socket.create_connection(server.at("tls"), PATIENCE_S) as plain:
        plain.sendall(garbage)
        while plain.recv(100):
            pass
    assert server.metric('presence_drops_total{reason="TLS failure"}') == before + 1


@pytest.mark.parametrize("begun", [b"", b"\x16\x03\x01\x02\x00\x01"])
def test_a_handshake_that_is_never_finished_ends(server: Listeners, begun: bytes) -> None:
    before = server.metric('presence_drops_total{reason="handshake timeout"}')
    with socket.create_connection(server.at("tls"), PATIENCE_S) as silent:
        silent.sendall(begun)
        assert silent.recv(100) == b""
    assert server.metric('presence_drops_total{reason="handshake timeout"}') == before + 1


def test_rfc3261_18_1_1_a_lost_connection_is_opened_anew_over_tls(lab: Lab, server: Listeners) -> None:
    """The certificate at the Contact is checked against tls.server_ca."""
    home = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    home.load_cert_chain(lab.server)
    with socket.create_server(("127.0.0.1", 0)) as listener, UdpAgent(server.at("udp")[1]) as publisher:
        listener.settimeout(PATIENCE_S)
        contact = f"<sip:bob@127.0.0.1:{listener.getsockname()[1]};transport=tls>"
        with tls_agent(server.at("tls"), lab.trusting()) as agent:
            Watcher(agent, "moved").subscribe(contact=contact)
            agent.notify()
        publisher.publish("moved", pidf("moved", ("t", "open", "found")))
        connection, _ = listener.accept()
        with home.wrap_socket(connection, server_side=True) as secured:
            agent.stream = Stream(secured)
            heard = agent.notify()
            assert notes(heard.body) == {"t": "found"}
            assert heard["Via"].startswith("SIP/2.0/TLS ")


def test_rfc5922_7_3_a_server_of_another_name_gets_no_notify(lab: Lab, server: Listeners) -> None:
    home = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    home.load_cert_chain(lab.authority.issue("other.pem", dns="other.example.com", address="127.0.0.2"))
    with socket.create_server(("127.0.0.1", 0)) as listener, UdpAgent(server.at("udp")[1]) as publisher:
        listener.settimeout(PATIENCE_S)
        contact = f"<sip:bob@127.0.0.1:{listener.getsockname()[1]};transport=tls>"
        with tls_agent(server.at("tls"), lab.trusting()) as agent:
            Watcher(agent, "impostor").subscribe(contact=contact)
            agent.notify()
        publisher.publish("impostor", pidf("impostor", ("t", "open", "secret")))
        connection, _ = listener.accept()
        with home.wrap_socket(connection, server_side=True) as secured:
            assert secured.recv(100) == b""


def test_rfc3261_12_1_1_a_dialog_begun_with_sips_has_sips_contacts_and_its_notifies_go_over_tls(
    lab: Lab, server: Listeners
) -> None:
    home = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    home.load_cert_chain(lab.server)
    with socket.create_server(("127.0.0.1", 0)) as listener, UdpAgent(server.at("udp")[1]) as publisher:
        listener.settimeout(PATIENCE_S)
        contact = f"<sips:bob@127.0.0.1:{listener.getsockname()[1]}>"
        with tls_agent(server.at("tls"), lab.trusting()) as agent:
            watcher = Watcher(agent, "secure", scheme="sips")
            heard = watcher.subscribe(contact=contact)
            ours = heard["Contact"]
            assert heard.status == 200
            assert ours.startswith("<sips:~")
            assert f"@127.0.0.1:{server.at('tls')[1]};gr=" in ours
            assert agent.notify()["Contact"] == ours
            assert watcher.subscribe(contact=contact)["Contact"] == ours
            agent.notify()
        publisher.publish("secure", pidf("secure", ("t", "open", "found")))
        connection, _ = listener.accept()
        with home.wrap_socket(connection, server_side=True) as secured:
            agent.stream = Stream(secured)
            notify = agent.notify()
            assert (notify["Contact"], notify["Via"][:12]) == (ours, "SIP/2.0/TLS ")


def test_rfc3858_7_watcher_information_goes_over_tls(lab: Lab, server: Listeners) -> None:
    with tls_agent(server.at("tls"), lab.trusting()) as agent:
        assert Watcher(agent, "private", "presence.winfo", scheme="sips").subscribe().status == 200
        notify = agent.notify()
        assert notify["Via"].startswith("SIP/2.0/TLS ")
        assert b"<watcherinfo" in notify.body


# ---- client certificates ----


@pytest.fixture(scope="module")
def strict(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Listeners]:
    options = lab.options(client_ca=lab.authority.path, client_certificates="require")
    with Listeners(tmp_path_factory.mktemp("strict"), "tls:127.0.0.1:0", options=options) as server:
        yield server


def test_rfc5922_7_4_client_with_a_certificate_is_served(lab: Lab, strict: Listeners) -> None:
    own = lab.authority.issue("client.pem", uri="sip:proxy.example.com")
    with tls_agent(strict.at("tls"), lab.trusting(own)) as agent:
        assert agent.ask(*OPTIONS).status == 200


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
@pytest.mark.parametrize("own", ["none", "of a stranger"])
def test_client_without_a_certificate_we_trust_is_refused(
    lab: Lab, strict: Listeners, tmp_path: Path, own: str, version: ssl.TLSVersion
) -> None:
    certificate = Authority(tmp_path, "stranger").issue("mallory.pem", dns="mallory.example.com")
    context = lab.trusting(None if own == "none" else certificate)
    context.minimum_version = context.maximum_version = version
    before = strict.metric('presence_drops_total{reason="TLS failure"}')
    # With TLS 1.3 the client learns of it only after its handshake.
    with pytest.raises((ssl.SSLError, ConnectionError)), tls_agent(strict.at("tls"), context) as agent:
        agent.ask(*OPTIONS)
    until("it is counted", lambda: strict.metric('presence_drops_total{reason="TLS failure"}') == before + 1)


# ---- certificates over time ----


def served(server: Listeners, trusted: Path) -> bytes:
    """Return the certificate a new connection is shown."""
    context = ssl.create_default_context(cafile=trusted)
    with tls_agent(server.at("tls"), context) as agent:
        assert isinstance(agent.stream.socket, ssl.SSLSocket)
        assert agent.ask(*OPTIONS).status == 200
        return agent.stream.socket.getpeercert(binary_form=True) or b""


def test_sighup_reloads_the_certificate_and_drops_no_connection(lab: Lab, tmp_path: Path) -> None:
    first = lab.authority.issue("first.pem", dns="localhost", address="127.0.0.1")
    second = lab.authority.issue("second.pem", dns="localhost", address="127.0.0.1")
    shown = shutil.copy(first, tmp_path / "shown.pem")
    with Listeners(tmp_path, "tls:127.0.0.1:0", options=lab.options(certificate=shown)) as server:
        with tls_agent(server.at("tls"), lab.trusting()) as standing:
            before = served(server, lab.authority.path)
            shutil.copy(second, shown)
            os.kill(server.pid, signal.SIGHUP)
            until("it is reloaded", lambda: server.says("certificates reloaded"))
            after = served(server, lab.authority.path)
            assert before != after
            shown.write_text("no certificate")
            os.kill(server.pid, signal.SIGHUP)
            until("it is refused", lambda: server.says("certificates not reloaded, the old ones stay in force"))
            assert served(server, lab.authority.path) == after
            assert standing.ask(*OPTIONS).status == 200
        assert server.alive


def test_sighup_without_certificates_ends_nothing(tmp_path: Path) -> None:
    with Listeners(tmp_path, "udp:127.0.0.1:0") as server, UdpAgent(server.at("udp")[1]) as agent:
        os.kill(server.pid, signal.SIGHUP)
        until("it is taken", lambda: server.says("there are no certificates to reload"))
        assert agent.ask(*OPTIONS).status == 200


def test_a_changed_certificate_is_reloaded_by_itself(lab: Lab, tmp_path: Path) -> None:
    shown = shutil.copy(lab.server, tmp_path / "shown.pem")
    with Listeners(tmp_path, "tls:127.0.0.1:0", options=lab.options(certificate=shown)) as server:
        before = served(server, lab.authority.path)
        shutil.copy(lab.authority.issue("third.pem", dns="localhost", address="127.0.0.1"), shown)
        until("it is reloaded", lambda: server.says("certificates reloaded"))
        assert served(server, lab.authority.path) != before


@pytest.mark.parametrize("by", ["setting", "environment"])
def test_secrets_of_sessions_are_logged_for_labs(
    lab: Lab, tmp_path: Path, by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Made first: it heeds that variable too.
    context = lab.trusting()
    log = tmp_path / "keys.txt"
    options = lab.options(key_log=log) if by == "setting" else lab.options()
    if by == "environment":
        monkeypatch.setenv("SSLKEYLOGFILE", str(log))
    own = tmp_path / "own.txt"
    context.keylog_filename = str(own)
    with Listeners(tmp_path, "tls:127.0.0.1:0", options=options) as server:
        with tls_agent(server.at("tls"), context) as agent:
            assert agent.ask(*OPTIONS).status == 200
        assert server.says("TLS secrets are logged: whoever reads the file can read everything")
    assert log.stat().st_mode & 0o777 == 0o600
    ours = {line for line in log.read_text().splitlines() if not line.startswith("#")}
    theirs = {line for line in own.read_text().splitlines() if not line.startswith("#")}
    assert theirs
    assert theirs <= ours


# ---- settings that are wrong ----


def test_a_start_without_what_tls_needs_says_what_to_do(lab: Lab, tmp_path: Path) -> None:
    other = lab.authority.issue("unlike.pem", dns="localhost")
    empty = tmp_path / "empty.pem"
    empty.touch()
    missing = tmp_path / "missing.pem"
    for settings, expected in (
        ({"certificate": ""}, "needs a certificate: say tls.certificate and tls.key"),
        ({"certificate": missing}, f"tls.certificate: cannot read {missing}: No such file or directory"),
        ({"key": missing}, f"tls.key: cannot read {missing}"),
        ({"key": other}, f"the key in {other} is not the key of the first certificate in {lab.server}"),
        ({"certificate": empty}, f"tls.certificate: {empty} must hold our certificate"),
        ({"client_certificates": "require"}, "needs tls.client_ca"),
        ({"client_ca": empty, "client_certificates": "require"}, f"tls.client_ca: {empty} must hold certificates"),
        ({"key_log": tmp_path / "no" / "folder"}, "tls.key_log: cannot write"),
    ):
        ended = run_serve("--listen=tls:127.0.0.1:0", "--http=", *lab.options(**settings), folder=tmp_path)
        assert (ended.returncode, expected in ended.stderr) == (2, True), ended.stderr
        assert "Traceback" not in ended.stderr


def present(*argv: str, server: Listeners) -> subprocess.CompletedProcess[str]:
    where = ":".join(("tls", *map(str, server.at("tls"))))
    command = [sys.executable, "-m", "presence", *argv, "--server", where, "--timeout", "30"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=2 * PATIENCE_S)


def test_our_own_clients_speak_tls(lab: Lab, server: Listeners) -> None:
    alice = ("publish", "sip:clients@example.com", "--status", "open", "--note", "hello")
    refused = present(*alice, server=server)
    assert refused.returncode == 1
    assert "its certificate is not trusted" in refused.stderr
    assert "is the server running" not in refused.stderr
    missing = present(*alice, "--ca", "/nonexistent.pem", server=server)
    assert (missing.returncode, "--ca: cannot read certificates" in missing.stderr) == (1, True)
    assert present(*alice, "--ca", str(lab.authority.path), server=server).returncode == 0
    seen = present("watch", "sip:clients@example.com", "--once", "--insecure", server=server)
    assert "hello" in seen.stdout


def test_rfc3903_14_4_our_own_clients_take_sips_uris(lab: Lab, server: Listeners) -> None:
    trust = ("--ca", str(lab.authority.path))
    secret = "sips:secret@example.com"
    published = present("publish", secret, "--status", "open", "--note", "hush", *trust, server=server)
    assert published.returncode == 0, published.stderr
    seen = present("watch", secret, "--once", *trust, server=server)
    assert (seen.returncode, "hush" in seen.stdout) == (0, True), seen.stderr


def test_the_contact_says_tls(lab: Lab, server: Listeners) -> None:
    with tls_agent(server.at("tls"), lab.trusting()) as agent:
        contact = Watcher(agent, "contact").subscribe()["Contact"]
        assert parameter(contact, "transport") == "tls"
        agent.notify()
