"""How many connections, and how long for what."""

import pytest

from presence.transport.bounds import Bounds, Patience, source_of


def test_connections_are_bounded_in_all_and_by_source() -> None:
    bounds = Bounds(3, 2)
    assert [bounds.take("192.0.2.1"), bounds.take("192.0.2.1")] == [1, 2]
    assert bounds.refusal("192.0.2.1") == "too many connections from one source"
    assert bounds.refusal("192.0.2.2") == ""
    assert bounds.take("192.0.2.2") == 3
    assert bounds.refusal("192.0.2.3") == "too many connections"
    bounds.drop("192.0.2.1")
    assert bounds.refusal("192.0.2.1") == ""
    assert bounds.take("192.0.2.1") == 4, "no number is given twice in a row"
    for host in ("192.0.2.1", "192.0.2.1", "192.0.2.2"):
        bounds.drop(host)
    assert (len(bounds), dict(bounds._by_source)) == (0, {})


@pytest.mark.parametrize(
    ("host", "source"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("2001:db8:1:2::", "2001:db8:1:2::"),
        ("::1", "::"),
        ("fe80::1%eth0", "fe80::"),
    ],
)
def test_an_ipv6_source_is_its_network(host: str, source: str) -> None:
    assert source_of(host) == source


def test_who_owes_for_too_long_is_told_once() -> None:
    patience: Patience[str] = Patience(10)
    for at, who in enumerate(("alice", "bob", "carol")):
        patience.begin(who, float(at))
    patience.end("bob")
    patience.end("nobody")
    assert patience.take_late(9.9) == []
    patience.begin("alice", 10.0)
    assert patience.take_late(12.0) == ["carol"]
    assert patience.take_late(12.0) == []
    assert patience.take_late(20.0) == ["alice"]
    assert len(patience) == 0
