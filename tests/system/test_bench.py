"""`presence bench` against our own server: what it counts is what happened."""

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from presence.cli import main
from presence.loadtool.course import Settings, run
from presence.loadtool.peers import Presence
from presence.loadtool.scenarios import SCENARIOS, Options
from presence.loadtool.traffic import MODIFY, REFRESH, RESUBSCRIBE, Hops, Traffic

pytestmark = pytest.mark.system

FEW = Options(count=200, notifies=500, scale=0.01, seconds=0.4, rate_per_s=100.0, minutes=1, rest_s=0.0)
HOPS = Hops(2, 20)


@pytest.fixture
def traffic(tmp_path: Path) -> Iterator[Traffic]:
    server = Presence("commit").start(tmp_path)
    yield Traffic(server, HOPS, loss=0.05)
    server.stop()


@pytest.mark.parametrize(
    "name",
    [
        name
        for name in SCENARIOS
        if name not in ("long", "max-rate", "fanout-1x10000", "fanout-10000x10", "table-1000000")
    ],
)
def test_every_scenario_loses_nothing(tmp_path: Path, name: str):
    said: list[str] = []
    settings = Settings(FEW, runs=1, hops=HOPS, folder=tmp_path, raw=False)
    result = run(SCENARIOS[name], [Presence("commit")], settings, said.append)
    (outcome,) = result.outcomes
    (measure,) = outcome.measures
    assert outcome.failure == ""
    assert said
    assert measure.operations > 0
    assert measure.cpu_s > 0
    assert (measure.lost, measure.failed) == (0, 0)
    assert measure.counters["out_of_order"] == measure.counters["went_back"] == 0


def test_with_datagrams_lost_both_ways_all_watchers_end_with_the_last_version(traffic: Traffic):
    users = traffic.published(20)
    watchers = traffic.watched(users, 3)
    streams = [(MODIFY, users, 0.5), (REFRESH, users, 0.2), (RESUBSCRIBE, watchers, 0.3)]
    measure = traffic.measure(streams, operations=300)
    assert measure.counters["dropped"] > 0
    assert measure.operations == 300
    assert (measure.lost, measure.failed) == (0, 0)
    assert measure.counters["went_back"] == 0


@pytest.mark.parametrize("algorithm", ["MD5", "SHA-256", "SHA-512-256"])
def test_every_request_is_proven_where_the_server_asks_for_it(tmp_path: Path, algorithm: str):
    server = Presence("commit", auth=algorithm).start(tmp_path)
    try:
        traffic = Traffic(server, HOPS)
        users = traffic.published(20)
        watchers = traffic.watched(users, 3)
        streams = [(MODIFY, users, 0.4), (REFRESH, users, 0.3), (RESUBSCRIBE, watchers, 0.3)]
        measure = traffic.measure(streams, operations=300)
        assert measure.operations == 300
        assert (measure.lost, measure.failed) == (0, 0)
    finally:
        server.stop()


def test_rules_decide_where_the_server_asks_for_them(tmp_path: Path):
    server = Presence("commit", policy="rules").start(tmp_path)
    try:
        traffic = Traffic(server, HOPS)
        users = traffic.published(20)
        watchers = traffic.watched(users, 3)
        streams = [(MODIFY, users, 0.4), (REFRESH, users, 0.3), (RESUBSCRIBE, watchers, 0.3)]
        measure = traffic.measure(streams, operations=300)
        assert measure.operations == 300
        assert (measure.lost, measure.failed) == (0, 0)
        with sqlite3.connect(tmp_path / "presence.db") as connection:
            assert connection.execute("SELECT DISTINCT status, by_rules FROM watchers").fetchall() == [(1, 1)]
    finally:
        server.stop()


def test_the_command_knows_its_policies(capsys: pytest.CaptureFixture[str]):
    assert main(["bench", "publish", "--policy", "closed"]) == 2
    assert "--policy closed" in capsys.readouterr().err


def test_the_command_knows_its_algorithms(capsys: pytest.CaptureFixture[str]):
    assert main(["bench", "publish", "--auth", "off,SHA-1"]) == 2
    assert "--auth SHA-1" in capsys.readouterr().err


def test_the_command_measures_writes_and_compares(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    written, stored = tmp_path / "run.json", tmp_path / "baseline.json"
    small = [
        "bench",
        "fanout-100x100",
        "--runs",
        "1",
        "--notifies",
        "10000",
        "--folder",
        str(tmp_path),
        "--hops",
        "100",
    ]
    assert main([*small, "--json", str(written), "--save-baseline", str(stored)]) == 0
    shown = capsys.readouterr()
    assert "presence-commit" in shown.out
    assert "raw exchange" in shown.out
    assert "run 1" in shown.err
    facts = json.loads(written.read_text())
    assert facts["machine"]["cores"]
    assert facts["versions"]["presence-commit"].startswith("presence ")
    assert facts["scenarios"]["fanout-100x100"]["servers"]["presence-commit"]["runs"][0]["notifies"] >= 10_000
    ratios = json.loads(stored.read_text())
    ratios["fanout-100x100"]["presence-commit / raw"] *= 10
    stored.write_text(json.dumps(ratios))
    assert main([*small, "--check", str(stored)]) == 1
    assert "fell: fanout-100x100" in capsys.readouterr().err
