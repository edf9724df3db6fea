"""A planned shutdown with `presence.deactivate_at_shutdown_s`, as watchers and an operator see it."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from process import ServerProcess, until
from wire import Heard, UdpAgent, Watcher

pytestmark = pytest.mark.system


def end_of(agent: UdpAgent) -> Heard:
    while not (heard := agent.notify())["Subscription-State"].startswith("terminated"):
        pass
    return heard


def rows(server: ServerProcess) -> int:
    with closing(sqlite3.connect(server.database)) as script:
        return int(script.execute("SELECT count(*) FROM active_watchers").fetchone()[0])


def test_a_planned_shutdown_deactivates_every_subscription(tmp_path: Path):
    option = "--set=presence.deactivate_at_shutdown_s=1"
    with ServerProcess(tmp_path, option) as server, UdpAgent(server.port) as agent, UdpAgent(server.port) as other:
        for number in range(5):
            Watcher(agent, user=f"p{number}").subscribe()
            agent.notify()
        server.terminate()
        until("draining", lambda: server.says("draining"))
        refused = Watcher(other).subscribe()
        assert refused.status == 503
        assert int(refused["Retry-After"]) > 0
        ends = [end_of(agent) for _ in range(5)]
        assert {end["Subscription-State"] for end in ends} == {"terminated;reason=deactivated"}
        assert len({end["Call-ID"] for end in ends}) == 5
        assert server.wait() == 0
        server.assert_calm()
        assert rows(server) == 0


def test_without_the_setting_subscriptions_wait_for_the_next_start(tmp_path: Path):
    with ServerProcess(tmp_path) as server, UdpAgent(server.port) as agent:
        Watcher(agent).subscribe()
        agent.notify()
        server.terminate()
        assert server.wait() == 0
        assert rows(server) == 1
        server.start()
        assert agent.notify()["Subscription-State"].startswith("active")


def test_a_second_sigterm_ends_at_once(tmp_path: Path):
    options = ("--set=presence.deactivate_at_shutdown_s=3600", "--set=server.drain_timeout_s=3600")
    with ServerProcess(tmp_path, *options) as server, UdpAgent(server.port) as agent:
        for number in range(3):
            Watcher(agent, user=f"p{number}").subscribe()
            agent.notify()
        server.terminate()
        until("draining", lambda: server.says("draining"))
        assert server.alive
        server.terminate()
        assert server.wait() == 0
        server.assert_calm()
        assert rows(server) == 3
