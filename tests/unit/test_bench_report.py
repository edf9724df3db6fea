"""Statistics, ratios and the guard of `presence bench`, without a server."""

import json
import os
import time
from pathlib import Path

import pytest

from presence.cli import main
from presence.loadtool import process, report
from presence.loadtool.course import Outcome, Result
from presence.loadtool.scenarios import GROUPS, SCENARIOS, expand
from presence.loadtool.traffic import Latency, Measure, cut


def measure(cpu_s: float, operations: int = 100, notifies: int = 1_000) -> Measure:
    counters = {"duplicates": 1, "out_of_order": 0, "went_back": 2, "coalesced": 3, "notify_bytes": 0, "reply_bytes": 0}
    latencies = {"modify": Latency(operations, 1_000.0, 2_000.0, 3_000.0, 4_000.0)}
    return Measure(operations, 2.0, cpu_s, 0.1, notifies, 0, 0, counters, latencies, 5_000_000)


def result(scenario: str, **cpu_s: list[float]) -> Result:
    outcomes = [Outcome(name.replace("_", "-"), [measure(each) for each in all_]) for name, all_ in cpu_s.items()]
    return Result(SCENARIOS[scenario], outcomes, [2.0, 4.0, 3.0])


def test_the_median_is_quoted_with_its_range():
    assert str(report.spread([3.0, 1.0, 2.0])) == "2.00 [1.00..3.00]"
    assert report.spread([]) == (0.0, 0.0, 0.0)


def test_a_cost_is_counted_for_requests_or_for_notifies():
    one = result("publish-modify", presence_commit=[0.002, 0.001, 0.003])
    assert report.cost_us(one, one.outcomes[0]).median == pytest.approx(20.0)
    assert report.rate(one, one.outcomes[0]).median == pytest.approx(50.0)
    many = result("fanout-100x100", presence_commit=[0.002, 0.001, 0.003])
    assert report.cost_us(many, many.outcomes[0]).median == pytest.approx(2.0)
    assert report.rate(many, many.outcomes[0]).median == pytest.approx(500.0)


def test_ratios_take_the_better_of_a_peer():
    found = report.ratios(
        result("fanout-100x100", presence_commit=[0.004], kamailio_memory_1=[0.03], kamailio_memory_2=[0.02])
    )
    assert found == {"presence-commit / raw": 0.75, "presence-commit / kamailio-memory": 5.0}


def test_a_peer_that_failed_is_no_denominator():
    failed = result("publish-modify", presence_commit=[0.002], kamailio_durable_1=[0.01])
    failed.outcomes[1].failure = "database is locked"
    assert report.ratios(failed) == {"presence-commit / raw": 0.15}
    assert "failed: database is locked" in report.table([failed])


def test_the_table_names_every_server_and_ratio():
    shown = report.table([result("publish-modify", presence_commit=[0.002, 0.004], kamailio_memory_1=[0.006])])
    assert "presence-commit    request     30.00 [20.00..40.00]" in shown
    assert "raw exchange" in shown
    assert "presence-commit / kamailio-memory" in shown


def test_a_ratio_that_fell_by_more_than_a_quarter_is_reported():
    stored = report.baseline([result("publish-modify", presence_commit=[0.002])])
    assert report.fallen([result("publish-modify", presence_commit=[0.0026])], stored) == []
    assert report.fallen([result("publish-modify", presence_commit=[0.0028])], stored) == [
        "publish-modify: presence-commit / raw was 0.15 and is 0.11"
    ]
    assert report.fallen([result("publish-modify", presence_os=[0.0028])], stored) == []


def test_results_are_json():
    written = json.dumps(report.as_json([result("publish-modify", presence_commit=[0.002])], {"at": "now"}))
    read = json.loads(written)["scenarios"]["publish-modify"]
    assert read["servers"]["presence-commit"]["runs"][0]["latencies"]["modify"]["p99_us"] == 3_000.0
    assert read["raw_us"] == [2.0, 4.0, 3.0]


def test_a_document_is_cut_at_its_numbers():
    text, users, versions = cut("a{user}b{version}c{user}")
    assert text == b"a00000000b00000000c00000000"
    assert (users, versions) == ((1, 19), (10,))


def test_groups_name_scenarios_that_exist():
    for name in GROUPS:
        assert [scenario.name for scenario in expand([name])] == list(GROUPS[name])
    with pytest.raises(KeyError):
        expand(["nonsense"])


def test_processor_time_and_memory_are_read_of_the_whole_tree():
    before = process.cpu_s(os.getpid())
    # The kernel brings the count up to date at its ticks and when it switches tasks.
    worked = time.process_time()
    while process.cpu_s(os.getpid()) == before and time.process_time() < worked + 2.0:
        pass
    assert process.cpu_s(os.getpid()) > before > 0
    assert process.memory_bytes(os.getpid()) > 1_000_000
    assert process.machine(Path("/"))["cores"] == os.cpu_count()


def test_a_program_that_is_not_there_has_no_version():
    assert process.version_of("/nonexistent/program") == ""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nonsense"], "no scenario 'nonsense'"),
        (["publish", "--check", "/nonexistent.json"], "no baseline in /nonexistent.json"),
        (["publish", "--no-own"], "nothing to measure"),
        (["publish", "--hops", "0"], "--hops must be at least 1"),
    ],
)
def test_what_cannot_be_measured_is_said(capsys: pytest.CaptureFixture[str], arguments: list[str], said: str):
    assert main(["bench", *arguments]) == 2
    assert said in capsys.readouterr().err


def test_the_list_shows_scenarios_and_groups(capsys: pytest.CaptureFixture[str]):
    assert main(["bench", "--list"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in (*SCENARIOS, *GROUPS))
