"""Reading a published document and composing publications (pytest bench/bench_compose.py)."""

import itertools

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from presence.document.compose import compose
from presence.document.pidf import parse_pidf


def body(device: str) -> bytes:
    """A published document of about 900 bytes: a tuple, a note, a person and a device."""
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<presence xmlns="urn:ietf:params:xml:ns:pidf"
    xmlns:dm="urn:ietf:params:xml:ns:pidf:data-model"
    xmlns:rpid="urn:ietf:params:xml:ns:pidf:rpid" entity="sip:alice@example.com">
  <tuple id="t{device}">
    <status><basic>open</basic></status>
    <rpid:class>{device}</rpid:class>
    <dm:deviceID>urn:uuid:48662e19-5fbf-43fc-a2fd-d23002787599</dm:deviceID>
    <contact priority="0.8">sip:alice@192.0.2.17:5060;transport=tcp</contact>
    <note xml:lang="en">In a meeting until three, then back at the desk</note>
    <timestamp>2024-05-01T12:00:00Z</timestamp>
  </tuple>
  <note>{device}</note>
  <dm:person id="p{device}">
    <rpid:activities><rpid:meeting/></rpid:activities>
    <dm:note>Out</dm:note>
  </dm:person>
  <dm:device id="d{device}">
    <dm:deviceID>urn:uuid:48662e19-5fbf-43fc-a2fd-d23002787599</dm:deviceID>
  </dm:device>
</presence>
""".encode()


NEW = [body(f"{number:04}") for number in range(1000)]
"""Bodies that differ, so that none is in a cache for having just been read."""


def test_read(benchmark: BenchmarkFixture) -> None:
    published = itertools.cycle(NEW)
    assert 850 < len(NEW[0]) < 1100
    document = benchmark(lambda: parse_pidf(next(published)))
    assert document.text in NEW
    assert len(document) == 4


def test_read_odd(benchmark: BenchmarkFixture) -> None:
    """A processing instruction is nothing for the compiled reader: expat reads such a body."""
    published = itertools.cycle([text.replace(b"<note>", b"<?go on?><note>") for text in NEW])
    assert len(benchmark(lambda: parse_pidf(next(published)))) == 4


@pytest.mark.parametrize("publications", [1, 2, 3])
def test_compose(benchmark: BenchmarkFixture, publications: int) -> None:
    documents = [parse_pidf(body(device)) for device in ("desk", "mobile", "web")[:publications]]
    document = benchmark(compose, "sip:alice@example.com", documents)
    assert document.count(b"<basic>open</basic>") == publications


def test_compose_with_conflicting_prefixes(benchmark: BenchmarkFixture) -> None:
    bodies = [body("desk"), body("mobile").replace(b':rpid"', b':other"'), body("web")]
    documents = [parse_pidf(published) for published in bodies]
    document = benchmark(compose, "sip:alice@example.com", documents)
    assert document.count(b"xmlns:rpid=") > 1
