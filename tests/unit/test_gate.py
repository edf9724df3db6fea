"""Networks, token buckets and the gate, each against a simple model."""

from ipaddress import ip_address, ip_network

import pytest
import sip
from hypothesis import given
from hypothesis import strategies as st

from presence._fastcore import Buckets, Gate, Message, Networks, parse
from presence.sip.who import who_of
from presence.values import Aor

SECRET = bytes(range(16))
NOW = 1_700_000_000.0


def gate(**settings: object) -> Gate:
    networks = {
        name: tuple(map(ip_network, value)) if isinstance(value, tuple) else value for name, value in settings.items()
    }
    return Gate(SECRET, NOW, **networks)  # type: ignore[arg-type]


ADDRESSES = st.one_of(
    st.integers(0, 2**32 - 1).map(ip_address),
    st.integers(0x0A000000, 0x0A0000FF).map(ip_address),
    st.integers(0, 2**128 - 1).map(ip_address).filter(lambda a: a.version == 6 and a.ipv4_mapped is None),
    st.integers(0x20010DB8 << 96, (0x20010DB8 << 96) + 300).map(ip_address),
)


@st.composite
def networks(draw: st.DrawFn) -> object:
    address = draw(ADDRESSES)
    return ip_network((address, draw(st.integers(0, address.max_prefixlen))), strict=False)


@given(st.lists(networks(), max_size=12), st.lists(ADDRESSES, max_size=12))
def test_networks_hold_what_ipaddress_says(nets, addresses) -> None:
    known = Networks(tuple(nets))
    edges = [edge for net in nets for edge in (net.network_address, net.broadcast_address)]
    for address in [*addresses, *edges]:
        if getattr(address, "ipv4_mapped", None) is None:
            assert (str(address) in known) == any(address in net for net in nets), address


def test_what_is_no_address_is_in_no_network() -> None:
    assert "example.com" not in Networks((ip_network("0.0.0.0/0"), ip_network("::/0")))
    assert len(Networks(())) == 0


class Model:
    """A bucket as the books have it: tokens that come back with time."""

    def __init__(self, rate: int, burst: int) -> None:
        self.rate, self.burst, self.tokens, self.at = rate, burst, float(burst), NOW

    def take(self, now: float) -> bool:
        self.tokens = min(self.burst, self.tokens + (now - self.at) * self.rate)
        self.at = now
        if self.tokens < 1 - 1e-6:
            return False
        self.tokens -= 1
        return True


@given(
    st.integers(1, 50),
    st.integers(1, 20),
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3_000)), max_size=200),
)
def test_buckets_are_the_model_for_each_key(rate, burst, steps) -> None:
    buckets, now = Buckets(SECRET, NOW, rate, burst), NOW
    models = {key: Model(rate, burst) for key in range(4)}
    for key, wait_ms in steps:
        now += wait_ms / 1000
        wait = buckets.take(b"%d" % key, now)
        expected = models[key].take(now)
        assert (wait == 0.0) == expected
        if wait:
            # After that time, and not before, there is one.
            assert wait <= 1 / rate + 1e-6
            assert models[key].tokens + wait * rate == pytest.approx(1.0, abs=1e-4)


def test_a_million_sources_take_no_more_memory_and_forget_only_what_is_fullest() -> None:
    buckets = Buckets(SECRET, NOW, 1, 3)
    assert [buckets.take(b"greedy", NOW) == 0.0 for _ in range(5)] == [True] * 3 + [False] * 2
    for number in range(20_000):
        buckets.take(b"other %d" % number, NOW)
    assert buckets.take(b"greedy", NOW) > 0.0


def test_deny_wins_and_allow_is_all_there_is() -> None:
    both = gate(allow=("192.0.2.0/24", "2001:db8::/32"), deny=("192.0.2.128/25",))
    expected = {"192.0.2.1": True, "192.0.2.129": False, "198.51.100.1": False, "2001:db8::1": True, "::1": False}
    assert {host: both.admits(host) for host in expected} == expected
    assert both.counters()["denied"] == 3
    assert gate(deny=("::/0",)).admits("127.0.0.1")
    assert not gate().active
    assert gate().admits("127.0.0.1")


def test_a_stream_is_held_back_for_as_long_as_it_is_ahead() -> None:
    limited = gate(source_rate=10, source_burst=5, trusted=("10.0.0.0/8",))
    assert limited.hold("192.0.2.1", 4, NOW) == 0.0
    assert limited.hold("192.0.2.1", 11, NOW) == pytest.approx(1.1, abs=1e-3)
    assert limited.hold("192.0.2.1", 0, NOW) == 0.0
    assert limited.hold("10.1.1.1", 1000, NOW) == 0.0
    assert gate().hold("192.0.2.1", 1000, NOW) == 0.0


def test_the_addresses_of_one_ipv6_network_are_one_source() -> None:
    limited = gate(source_rate=1, source_burst=1)
    assert limited.hold("2001:db8::1", 1, NOW) == pytest.approx(1.0, abs=1e-3)
    assert limited.hold("2001:db8::ffff:2", 1, NOW) == pytest.approx(2.0, abs=1e-3)
    assert limited.hold("2001:db8:0:1::1", 1, NOW) == pytest.approx(1.0, abs=1e-3)
    finer = gate(source_rate=1, source_burst=1, source_prefix=128)
    assert finer.hold("2001:db8::1", 1, NOW) == finer.hold("2001:db8::2", 1, NOW)


SPELLINGS = (
    "<sip:bob@example.com>",
    '"Bob" <sip:bob@example.com>',
    "<sip:bob@EXAMPLE.com>",
    "<sip:%62ob@example.com>",
    "<sips:bob@example.com>",
    "sip:bob@example.com",
    '"B\\"ob" <sip:bob@example.com;user=phone>;x=y',
)


def request(sender: str, method: str = "OPTIONS") -> Message:
    return parse(sip.request(method, "sip:alice@example.com", sender=sender))


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_user_is_the_same_however_spelled(spelling: str) -> None:
    buckets = Buckets(SECRET, NOW, 1, 1)
    first, second = request(SPELLINGS[0]), request(spelling)
    assert buckets.sift([first], who_of, NOW) == ([first], [])
    admitted, refused = buckets.sift([second], who_of, NOW)
    assert admitted == []
    assert refused == [(second, pytest.approx(1.0, abs=1e-3))]
    other = request("<sip:carol@example.com>")
    assert buckets.sift([other], who_of, NOW)[0] == [other]


def test_acks_and_malformed_requests_are_nobodys() -> None:
    buckets = Buckets(SECRET, NOW, 1, 1)
    odd = [request("<sip:bob@example.com>", "ACK"), parse(b"OPTIONS nonsense\r\n\r\n")] * 5
    assert buckets.sift(odd, who_of, NOW) == (odd, [])


@pytest.mark.parametrize("wrong", [{"rate": 0, "burst": 1}, {"rate": 1, "burst": 0}])
def test_a_bucket_needs_a_rate_and_a_burst(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="above 0"):
        Buckets(SECRET, NOW, **wrong)


class Proven:
    """A request as identities will make it: who has proven to have sent it is known."""

    def __init__(self, identity: object, sender: str) -> None:
        self.identity, self._sender = identity, sender

    def header(self, name: str) -> str:
        return self._sender


class Bob:
    aor = Aor("bob", "example.com")


def test_who_has_proven_to_be_somebody_is_that_one() -> None:
    assert who_of(Proven(Bob, "<sip:carol@example.com>")) == "bob@example.com"  # type: ignore[arg-type]
    assert who_of(Proven(None, "<sip:carol@EXAMPLE.com>")) == "carol@example.com"  # type: ignore[arg-type]
    assert who_of(Proven(None, "<<nonsense")) == ""  # type: ignore[arg-type]
