"""Where the server of a URI is (RFC 3263), against zones in memory."""

from collections import Counter
from random import Random

import pytest
from zone import Names, Zone, naptr, srv

from presence.sip.headers import parse_uri
from presence.sip.location import MAX_PLACES, Outcome, Question, Trouble, next_hop, order_servers
from presence.sip.resolution import LEAST_S, MISSING_S, MOST_S, SILENT_S, WAITING

EVERY = ("UDP", "TCP", "TLS")


def find(
    uri: str, names: Names, *, transports: tuple[str, ...] = EVERY, families: str = "46", source: str = "s"
) -> list[Outcome]:
    outcomes: list[Outcome] = []
    names.resolver.locate(
        next_hop(parse_uri(uri)),
        lambda transport, more: transport in transports and ("6" if more else "4") in families,
        source,
        lambda outcome, now: outcomes.append(outcome),
    )
    return outcomes


def places(uri: str, zone: Zone, **kinds: object) -> Outcome:
    (outcome,) = find(uri, Names(zone), **kinds)  # type: ignore[arg-type]
    return outcome


FULL: Zone = {
    ("example.com", "NAPTR"): [
        naptr("SIP+D2U", "_sip._udp.example.com.", 50, 20),
        naptr("SIP+D2T", "_sip._tcp.example.com.", 50, 10),
        naptr("SIPS+D2T", "_sips._tcp.example.com.", 90, 50),
        naptr("E2U+sip", "example.net.", 1, 1, "u"),
    ],
    ("_sip._tcp.example.com", "SRV"): [srv("two.example.com.", 5072, 2), srv("one.example.com.", 5071, 1)],
    ("_sip._udp.example.com", "SRV"): [srv("one.example.com.", 5060)],
    ("_sips._tcp.example.com", "SRV"): [srv("one.example.com.", 5061)],
    ("one.example.com", "A"): ["192.0.2.1"],
    ("two.example.com", "A"): ["192.0.2.2", "192.0.2.3"],
    ("example.com", "A"): ["192.0.2.9"],
    ("example.com", "AAAA"): ["2001:db8::9"],
}


def test_rfc3263_4_naptr_then_srv_then_a() -> None:
    assert places("sip:bob@example.com", FULL) == (
        ("TCP", "192.0.2.1", 5071),
        ("TCP", "192.0.2.2", 5072),
        ("TCP", "192.0.2.3", 5072),
        ("UDP", "192.0.2.1", 5060),
        ("TLS", "192.0.2.1", 5061),
    )


def test_rfc3263_4_1_a_transport_without_a_listener_is_no_choice() -> None:
    assert places("sip:bob@example.com", FULL, transports=("UDP",)) == (("UDP", "192.0.2.1", 5060),)


def test_rfc3263_4_1_sips_takes_secure_services_only() -> None:
    assert places("sips:bob@example.com", FULL) == (("TLS", "192.0.2.1", 5061),)


def test_rfc3263_4_1_a_transport_that_is_named_skips_naptr() -> None:
    names = Names(FULL)
    assert find("sip:bob@example.com;transport=udp", names) == [(("UDP", "192.0.2.1", 5060),)]
    assert names.questions[0] == Question("_sip._udp.example.com", "SRV")


def test_rfc3263_4_1_without_naptr_the_srv_names_are_asked() -> None:
    zone = {known: records for known, records in FULL.items() if known[1] != "NAPTR"}
    outcome = places("sip:bob@example.com", zone, transports=("UDP", "TCP"))
    assert isinstance(outcome, tuple)
    assert [place[:2] for place in outcome[:2]] == [("UDP", "192.0.2.1"), ("TCP", "192.0.2.1")]


@pytest.mark.parametrize(
    ("uri", "place"),
    [
        ("sip:bob@example.com:5099", ("UDP", "192.0.2.9", 5099)),
        ("sips:bob@example.com:5099", ("TLS", "192.0.2.9", 5099)),
        ("sip:bob@example.com:5099;transport=tcp", ("TCP", "192.0.2.9", 5099)),
    ],
)
def test_rfc3263_4_2_a_port_rules_out_srv(uri: str, place: tuple[str, str, int]) -> None:
    names = Names(FULL)
    assert find(uri, names, families="4") == [(place,)]
    assert [question.kind for question in names.questions] == ["A"]


def test_rfc3263_4_2_without_srv_the_addresses_of_the_host_count() -> None:
    zone: Zone = {("h.example.com", "A"): ["192.0.2.5"], ("h.example.com", "AAAA"): ["2001:db8::5"]}
    assert places("sip:bob@h.example.com", zone) == (("UDP", "192.0.2.5", 5060), ("UDP", "2001:db8::5", 5060))
    assert places("sip:bob@h.example.com", zone, families="6") == (("UDP", "2001:db8::5", 5060),)


@pytest.mark.parametrize(
    ("uri", "place"),
    [
        ("sip:bob@192.0.2.7", ("UDP", "192.0.2.7", 5060)),
        ("sip:bob@[2001:db8::7]:5071;transport=tcp", ("TCP", "2001:db8::7", 5071)),
        ("sip:bob@localhost:5071", ("UDP", "127.0.0.1", 5071)),
    ],
)
def test_rfc3263_4_numeric_hosts_and_localhost_ask_nobody(uri: str, place: tuple[str, str, int]) -> None:
    names = Names()
    assert find(uri, names, families="4" if "[" not in uri else "6") == [(place,)]
    assert names.questions == []


@pytest.mark.parametrize(
    "host",
    ["-a.example.com", "a-.example.com", "1.2.3.4.5", "x." + "a" * 64, "a.b.invalid", "a..b", f"{'a.' * 127}com"],
)
def test_what_is_no_host_name_is_not_looked_up(host: str) -> None:
    names = Names()
    assert find(f"sip:bob@{host}", names) == [Trouble.UNKNOWN]
    assert names.questions == []


def test_rfc2782_a_service_that_is_denied_is_not_sought_elsewhere() -> None:
    zone: Zone = {("_sip._udp.example.com", "SRV"): [srv(".")], ("example.com", "A"): ["192.0.2.9"]}
    assert places("sip:bob@example.com", zone, transports=("UDP",)) is Trouble.UNKNOWN


def test_rfc2782_priority_comes_before_weight_and_weight_is_a_share() -> None:
    servers = [srv("b", 1, 1, 30), srv("a", 2, 1, 10), srv("backup", 3, 2, 100), srv("never", 4, 1, 0)]
    draw = Random(7).randrange
    firsts = Counter(order_servers(servers, draw)[0].target for _ in range(4000))
    assert 2700 < firsts["b"] < 3250
    assert 750 < firsts["a"] < 1250
    assert firsts["backup"] == 0
    assert {server.target for server in order_servers(servers, draw)[:3]} == {"a", "b", "never"}


def test_a_domain_that_lists_hundreds_is_asked_about_a_few() -> None:
    zone: Zone = {
        ("big.example.com", "NAPTR"): [naptr("SIP+D2U", f"_sip{n}._udp.example.com", n) for n in range(300)],
        **{(f"_sip{n}._udp.example.com", "SRV"): [srv(f"h{k}.example.com") for k in range(300)] for n in range(300)},
        **{(f"h{k}.example.com", "A"): [f"192.0.2.{n}" for n in range(200)] for k in range(300)},
    }
    names = Names(zone)
    (outcome,) = find("sip:bob@big.example.com", names, transports=("UDP",))
    assert isinstance(outcome, tuple)
    assert len(outcome) == MAX_PLACES
    assert len(names.questions) <= 12


# ---- what is remembered, and the bounds ----


def test_answers_are_kept_for_their_time_within_bounds() -> None:
    for ttl_s, kept_s in ((0.0, LEAST_S), (60.0, 60.0), (1e6, MOST_S)):
        names, at = Names({("h.example.com", "A"): ["192.0.2.5"]}), [100.0]
        names.now, names.ttl_s = lambda at=at: at[0], ttl_s  # type: ignore[misc]
        for moment, questions in ((0.0, 1), (kept_s - 0.1, 1), (kept_s, 2)):
            at[0] = 100.0 + moment
            assert find("sip:bob@h.example.com:5060", names, families="4") == [(("UDP", "192.0.2.5", 5060),)]
            assert len(names.questions) == questions


@pytest.mark.parametrize(
    ("records", "trouble", "kept_s"), [((), Trouble.UNKNOWN, MISSING_S), (None, Trouble.SILENT, SILENT_S)]
)
def test_what_is_missing_is_remembered_too(records: tuple[str, ...] | None, trouble: Trouble, kept_s: float) -> None:
    names, at = Names({("h.example.com", "A"): records}), [0.0]
    names.now = lambda: at[0]
    for moment, questions in ((0.0, 1), (kept_s - 0.1, 1), (kept_s, 2)):
        at[0] = moment
        assert find("sip:bob@h.example.com:5060", names, families="4") == [trouble]
        assert len(names.questions) == questions


def test_a_name_asked_for_by_many_is_asked_once() -> None:
    names = Names({("h.example.com", "A"): ["192.0.2.5"]}, held=True)
    asked = [find("sip:bob@h.example.com:5060", names, families="4") for _ in range(20)]
    assert asked == [[]] * 20
    assert len(names.resolver) == 20
    names.release()
    assert asked == [[(("UDP", "192.0.2.5", 5060),)]] * 20
    assert len(names.questions) == 1
    assert len(names.resolver) == 0


def test_a_thousand_names_from_one_source_are_bounded() -> None:
    names = Names({("other.example.com", "A"): ["192.0.2.5"]}, held=True, most=8)
    outcomes = [find(f"sip:bob@h{n}.example.com:5060", names, families="4", source="hostile") for n in range(1000)]
    assert outcomes.count([Trouble.BUSY]) == 992
    assert len(names.questions) == 8
    other = find("sip:bob@other.example.com:5060", names, families="4", source="friend")
    names.release()
    names.release()
    assert other == [(("UDP", "192.0.2.5", 5060),)]
    assert outcomes.count([Trouble.UNKNOWN]) == 8


def test_questions_beyond_the_bound_wait_and_locations_beyond_it_are_refused() -> None:
    names = Names(held=True, most=4)
    outcomes = [find(f"sip:bob@h{n}.example.com:5060", names, families="4", source=str(n)) for n in range(100)]
    assert outcomes.count([Trouble.BUSY]) == 100 - 4 * WAITING
    assert len(names.questions) == 4
    while len(names.resolver):
        names.release()
    assert outcomes.count([Trouble.UNKNOWN]) == 4 * WAITING


def test_the_oldest_answers_make_room() -> None:
    names = Names(kept=10)
    for n in range(50):
        find(f"sip:bob@h{n}.example.com:5060", names, families="4")
    assert len(names.resolver._kept) == 10
    find("sip:bob@h49.example.com:5060", names, families="4")
    assert len(names.questions) == 50
