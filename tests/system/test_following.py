"""Two running servers: one has the documents, the other fetches them and follows them by xcap-diff (RFC 5875)."""

import http.client
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from process import PATIENCE_S, ServerProcess, run_serve, until
from wire import UdpAgent, Watcher

from presence.sip.digest import hash_account
from presence.store.users import Hashes, add_user
from presence.values import Aor

pytestmark = pytest.mark.system

PATH = "/xcap-root/pres-rules/users/sip:alice@example.com/index"
DOMAIN = "--set=server.domain=example.com"
NO_PROOF = "--set=xcap.authentication=none"
STATES = "presence_xcap_diff_subscriptions"


def ruleset(handling: str) -> str:
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        '<cr:ruleset xmlns:cr="urn:ietf:params:xml:ns:common-policy" xmlns:pr="urn:ietf:params:xml:ns:pres-rules">'
        '<cr:rule id="a"><cr:conditions><cr:identity><cr:one id="sip:bob@example.com"/></cr:identity></cr:conditions>'
        f"<cr:actions><pr:sub-handling>{handling}</pr:sub-handling></cr:actions></cr:rule></cr:ruleset>"
    )


def write(server: ServerProcess, handling: str = "", path: str = PATH) -> int:
    """Put alice's rules there, or take them away."""
    connection = http.client.HTTPConnection("127.0.0.1", server.http_port, timeout=PATIENCE_S)
    headers = {"content-type": "application/auth-policy+xml"}
    with closing(connection):
        connection.request("PUT" if handling else "DELETE", path, ruleset(handling).encode(), headers)
        return connection.getresponse().status


@contextmanager
def documents(folder: Path, *options: str) -> Iterator[ServerProcess]:
    """A server whose user `presence` may read everybody's documents."""
    folder.mkdir()
    process = ServerProcess(folder, NO_PROOF, DOMAIN, "--set=xcap.administrators=presence@example.com", *options)
    hashes = Hashes(hash_account("MD5", "presence", "example.com", "secret"), "", "", "")
    add_user(str(process.database), Aor("presence", "example.com"), hashes)
    with process:
        yield process
        process.assert_calm()


@contextmanager
def follower(folder: Path, xcap: ServerProcess, transport: str = "tcp", **settings: str) -> Iterator[ServerProcess]:
    """A server that fetches its rules from there once in an hour."""
    folder.mkdir()
    values = {
        "presence_xml.xcap_server": f"http://127.0.0.1:{xcap.http_port}/xcap-root",
        "server.policy": "rules",
        "xcap_client.query_period": "3600",
        "xcap_client.diff_uri": "sip:xcap-diff@example.com",
        "xcap_client.diff_next_hop": f"{transport}:127.0.0.1:{xcap.port}",
        "xcap_client.user": "presence",
        **settings,
    }
    with ServerProcess(folder, *(f"--set={name}={value}" for name, value in values.items())) as process:
        yield process
        process.assert_calm()


def subscriptions(server: ServerProcess, state: str) -> float:
    return server.metric(f'{STATES}{{state="{state}"}}')


def next_state(udp: UdpAgent) -> str:
    return udp.notify()["Subscription-State"].partition(";expires")[0]


def watch(server: ServerProcess, udp: UdpAgent, state: str) -> None:
    """Have bob watch alice, and wait until her documents are followed."""
    assert Watcher(udp).subscribe().status in (200, 202)
    while next_state(udp) != state:
        pass
    until("her documents are followed", lambda: subscriptions(server, "active") == 1)


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_a_change_at_another_xcap_server_reaches_watchers_at_once(tmp_path: Path, transport: str) -> None:
    with documents(tmp_path / "xcap") as xcap, follower(tmp_path / "presence", xcap, transport) as presence:
        assert presence.metric(STATES) == 0
        with UdpAgent(presence.port) as udp:
            watch(presence, udp, "pending")
            assert write(xcap, "allow") == 201
            assert next_state(udp) == "active"
            assert write(xcap) == 200
            assert next_state(udp) == "pending"


def test_changes_are_heard_after_the_other_server_was_killed(tmp_path: Path) -> None:
    """Also those that nobody could tell of: its database is another one when it comes back."""
    with documents(tmp_path / "xcap") as xcap, follower(tmp_path / "presence", xcap) as presence:
        assert write(xcap, "allow") == 201
        with UdpAgent(presence.port) as udp:
            watch(presence, udp, "active")
            xcap.kill()
            until("the loss is seen", lambda: subscriptions(presence, "active") == 0)
            until("it is said", lambda: presence.says("no connection for xcap-diff"))
            xcap.start()
            assert write(xcap, "confirm") == 200
            assert next_state(udp) == "pending"
            until("her documents are followed", lambda: subscriptions(presence, "active") == 1)
            assert write(xcap, "allow") == 200
            assert next_state(udp) == "active"


def test_who_subscribes_proves_who_it_is(tmp_path: Path) -> None:
    with (
        documents(tmp_path / "xcap", "--set=auth.required=true", "--set=auth.realm=example.com") as xcap,
        follower(tmp_path / "presence", xcap, **{"xcap_client.password": "secret"}) as presence,
        UdpAgent(presence.port) as udp,
    ):
        watch(presence, udp, "pending")
        assert write(xcap, "allow") == 201
        assert next_state(udp) == "active"


def test_a_wrong_password_is_seen_and_the_period_goes_on(tmp_path: Path) -> None:
    with (
        documents(tmp_path / "xcap", "--set=auth.required=true") as xcap,
        follower(
            tmp_path / "presence",
            xcap,
            **{"xcap_client.password": "wrong", "xcap_client.query_period": "1"},
        ) as presence,
        UdpAgent(presence.port) as udp,
    ):
        assert Watcher(udp).subscribe().status in (200, 202)
        assert next_state(udp) == "pending"
        until("it is refused", lambda: presence.says("xcap-diff subscription lost"))
        assert (subscriptions(presence, "active"), subscriptions(presence, "terminated")) == (0, 1)
        assert write(xcap, "allow") == 201
        assert next_state(udp) == "active"


def test_nobody_is_followed_who_is_not_watched_and_the_end_is_said(tmp_path: Path) -> None:
    held = 'presence_subscriptions{package="xcap-diff",status="active"}'
    with (
        documents(tmp_path / "xcap") as xcap,
        follower(tmp_path / "presence", xcap) as presence,
        UdpAgent(presence.port) as udp,
    ):
        bob = Watcher(udp)
        assert bob.subscribe().status in (200, 202)
        udp.notify()
        until("her documents are followed", lambda: xcap.metric(held) == 1)
        assert bob.subscribe(0).status in (200, 202)
        udp.notify()
        until("nobody is followed any more", lambda: presence.metric(STATES) == 0)
        until("it was unsubscribed", lambda: xcap.metric(held) == 0)
        assert Watcher(udp).subscribe().status in (200, 202)
        udp.notify()
        until("her documents are followed", lambda: xcap.metric(held) == 1)
        presence.terminate()
        assert presence.wait() == 0
        until("a server that stops unsubscribes", lambda: xcap.metric(held) == 0)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (("diff_uri=sip:xcap-diff@xcap.example.com",), "xcap_client.diff_next_hop"),
        (("diff_uri=sip:xcap-diff@192.0.2.1",), "server.allowed_targets"),
        (("diff_uri=sip:xcap-diff@127.0.0.1;transport=tls",), "xcap_client.diff_next_hop"),
        (("diff_uri=sips:xcap-diff@127.0.0.1",), "expected a SIP URI"),
        (("diff_uri=sip:xcap-diff@example.com", "diff_next_hop=tcp:xcap.example.com:5060"), "expected udp:ADDRESS"),
        (("diff_uri=sip:xcap-diff@127.0.0.1", "user=presence@no domain"), "xcap_client.user"),
        (("diff_uri=sip:xcap-diff@example.com", "diff_next_hop=udp:192.0.2.1:5060"), "server.allowed_targets"),
    ],
    ids=range(7),
)
def test_settings_that_lead_nowhere_refuse_the_start(tmp_path: Path, settings: tuple[str, ...], said: str) -> None:
    options = [
        "--set=presence_xml.xcap_server=127.0.0.1:9",
        "--set=server.listen=udp:127.0.0.1:0",
        "--set=http.listen=",
    ]
    ended = run_serve(*options, *(f"--set=xcap_client.{setting}" for setting in settings), folder=tmp_path)
    assert ended.returncode == 2
    assert said in ended.stderr
