"""Rules and what they show of a document (pytest bench/bench_rules.py)."""

import itertools

import pytest
from bench_compose import body
from pytest_benchmark.fixture import BenchmarkFixture

from presence.document.compose import compose
from presence.document.pidf import parse_pidf
from presence.document.sphere import sphere_of
from presence.policy.permission import Permissions
from presence.policy.rules import Circumstances, Rules, Watcher, compile_rules
from presence.policy.view import Shown
from presence.values import Aor

HEAD = (
    '<?xml version="1.0" encoding="UTF-8"?><cr:ruleset xmlns:pr="urn:ietf:params:xml:ns:pres-rules" '
    'xmlns:ocp="urn:oma:xml:xdm:common-policy" xmlns:cr="urn:ietf:params:xml:ns:common-policy">'
)
GRANTED = (
    "<pr:provide-services><pr:service-uri-scheme>sip</pr:service-uri-scheme></pr:provide-services>"
    "<pr:provide-persons><pr:all-persons/></pr:provide-persons><pr:provide-activities>true</pr:provide-activities>"
    "<pr:provide-user-input>bare</pr:provide-user-input>"
)
NOW = Circumstances(1.7e9, None, lambda anchor, aor: anchor.endswith("granted"))


def rule(conditions: str) -> str:
    return (
        f'<cr:rule id="a"><cr:conditions>{conditions}</cr:conditions><cr:actions><pr:sub-handling>allow'
        f"</pr:sub-handling></cr:actions><cr:transformations>{GRANTED}</cr:transformations></cr:rule>"
    )


def document(count: int) -> bytes:
    """Rules of about 450 bytes, each for an address."""
    rules = (rule(f'<cr:identity><cr:one id="sip:user{at}@example.com"/></cr:identity>') for at in range(count))
    return f"{HEAD}{''.join(rules)}</cr:ruleset>".encode()


def lists() -> bytes:
    """Rules as Blink writes them: by lists, and for all others."""
    conditions = [
        f'<ocp:external-list><ocp:entry anc="{name}"/></ocp:external-list>' for name in ("granted", "blocked")
    ]
    return f"{HEAD}{''.join(map(rule, [*conditions, '<ocp:other-identity/>']))}</cr:ruleset>".encode()


@pytest.mark.parametrize("count", [1, 10, 1000])
def test_compile(benchmark: BenchmarkFixture, count: int) -> None:
    text = document(count)
    assert len(benchmark(compile_rules, text)) == count


def watchers(count: int) -> list[Watcher]:
    return [Watcher(Aor(f"user{at}", "example.com")) for at in range(count)]


@pytest.mark.parametrize("count", [1, 10, 1000])
def test_evaluate(benchmark: BenchmarkFixture, count: int) -> None:
    rules, asking = compile_rules(document(count)), itertools.cycle(watchers(count))
    outcome = benchmark(lambda: rules.evaluate(next(asking), NOW))
    assert outcome.matched


def test_evaluate_nobody(benchmark: BenchmarkFixture) -> None:
    rules = compile_rules(document(1000))
    assert not benchmark(rules.evaluate, Watcher(Aor("eve", "example.com")), NOW).matched


def test_evaluate_lists(benchmark: BenchmarkFixture) -> None:
    rules = compile_rules(lists())
    assert benchmark(rules.evaluate, Watcher(Aor("bob", "example.com")), NOW).matched


def composed(publications: int) -> bytes:
    documents = [parse_pidf(body(device)) for device in ("desk", "mobile", "web")[:publications]]
    return compose("sip:alice@example.com", documents)


def permissions() -> Permissions:
    rules: Rules = compile_rules(document(1))
    return rules.evaluate(watchers(1)[0], NOW).permissions


@pytest.mark.parametrize("publications", [1, 3])
def test_view(benchmark: BenchmarkFixture, publications: int) -> None:
    shown, shows = Shown(composed(publications)), permissions()
    assert benchmark(shown.render, shows).count(b"<basic>") == publications


@pytest.mark.parametrize("publications", [1, 3])
def test_read_and_view(benchmark: BenchmarkFixture, publications: int) -> None:
    text, shows = composed(publications), permissions()
    assert benchmark(lambda: Shown(text).render(shows)).count(b"<basic>") == publications


def test_sphere(benchmark: BenchmarkFixture) -> None:
    text = body("desk").replace(b"<dm:note>", b"<rpid:sphere><rpid:work/></rpid:sphere><dm:note>")
    assert benchmark(sphere_of, [text]) == "work"
