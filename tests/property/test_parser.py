"""The compiled parser against the slow one: both see the same message, or both refuse it."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from presence._fastcore import Framer, Message, build_response, parse
from tests.slow_parser import Malformed, Slow, parse_slowly

FIELDS = (
    "is_request", "method", "uri", "status", "reason", "from_tag", "to_tag", "branch", "via_transport",
    "via_host", "call_id", "cseq", "event", "event_id", "expires", "max_forwards", "content_length", "body",
)  # fmt: skip
QUICK = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])

token = st.text("abcXYZ019-.!%*_+`'~", min_size=1, max_size=12)
space = st.sampled_from(["", " ", "  ", "\t", "\r\n ", " \r\n\t", "\n "])
gap = st.sampled_from([" ", "\t", "\r\n ", "  \r\n  "])
display = st.one_of(
    st.just(""),
    st.sampled_from(
        ["Alice", "Alice Smith ", "Smith, Alice ", '"Alice" ', '"a;b<sip:c>,\\"d\\\\"', '"\\\x07\\\x00"', '"']
    ),
)
uri = st.sampled_from([
    "sip:alice@example.com", "sips:bob@example.com:5061;transport=tls", "tel:+1201", "sip:[2001:db8::1]",
    "pres:carol@example.com", "sip:a@b?x=y", "sip:a?b@c", "sip:a,b@c", "sip:", "alice", "",
])  # fmt: skip
host = st.sampled_from(["192.0.2.1", "example.com", "[2001:db8::9:1]", "a_b", "", "[x]", "a b"])
port = st.sampled_from(["", ":5060", " : 5070", ":0", ":65536", ":", ":1x"])
parameter = st.one_of(
    token,
    st.builds("{}={}".format, token, token),
    st.sampled_from(['x="a;b,c"', 'x="', "x=", "lr", "rport", "rport=9"]),
)  # fmt: skip


@st.composite
def params(draw: st.DrawFn, own: str) -> str:
    items = draw(st.lists(parameter, max_size=2))
    mark = draw(st.sampled_from(["normal", "normal", "normal", "absent", "twice", "empty", "quoted"]))
    values = {"normal": [draw(token)], "absent": [], "twice": ["a", "b"], "empty": [""], "quoted": ['"a"']}[mark]
    name = draw(st.sampled_from([own, own.upper()]))
    items += [f"{name}{draw(space)}={draw(space)}{value}" for value in values]
    return "".join(f"{draw(space)};{draw(space)}{item}" for item in draw(st.permutations(items)))


@st.composite
def address(draw: st.DrawFn) -> str:
    target = draw(uri)
    if draw(st.booleans()):
        target = f"{draw(display)}<{target}>"
    return target + draw(params("tag"))


@st.composite
def via(draw: st.DrawFn) -> str:
    protocol = draw(st.sampled_from(["SIP/2.0/UDP", "SIP / 2.0 / tcp", "sip/2.0/X", "SIP/3.0/UDP", "SIP/2.0"]))
    more = draw(st.sampled_from(["", "", ", SIP/2.0/UDP other", ",;,;"]))
    return f"{protocol}{draw(gap)}{draw(host)}{draw(port)}{draw(params('branch'))}{more}"


digits = st.one_of(
    st.integers(0, 70).map(str),
    st.sampled_from(["2147483647", "2147483648", "4294967296", "9" * 30, "-1", "1 2", "", "007"]),
)  # fmt: skip


@st.composite
def good_or(draw: st.DrawFn, good: str, other: st.SearchStrategy[str]) -> str:
    """Mostly a good value, so that one fault at a time is common."""
    return draw(other) if draw(st.integers(0, 3)) == 0 else good


def spelled(draw: st.DrawFn, name: str, compact: str) -> str:
    forms = [name, name.lower(), name.upper()] + ([compact, compact.upper()] if compact else [])
    return draw(st.sampled_from(forms)) + draw(st.sampled_from(["", "", " ", "\t "]))


@st.composite
def message(draw: st.DrawFn) -> bytes:
    method = draw(st.sampled_from(["SUBSCRIBE", "PUBLISH", "NOTIFY", "FOO.bar"]))
    start = draw(good_or(f"{method} sip:alice@example.com SIP/2.0", st.sampled_from([
        "SIP/2.0 200 OK", "SIP/2.0 404", "sip/2.0 180 ", "SIP/2.0 99 No", "SIP/2.0 2000 No", "SIP/2.0 700 No",
        f"{method} <sip:a@b> SIP/2.0", f"{method}  sip:a@b SIP/2.0", f"{method} sip:a@b SIP/7.0",
        f"{method} sip:a@b SIP/2.0 ", f"{method} sip:a@b?c=d SIP/2.0", f"{method} sip:a?b@c SIP/2.0",
        f"{method} SIP/2.0", "\x00", "a:b",
    ])))  # fmt: skip
    cseq = st.builds("{}{}{}".format, digits, gap, st.sampled_from([method, "OTHER", ""]))
    lines = [
        ("Via", "v", draw(good_or("SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1", via()))),
        ("From", "f", draw(good_or("<sip:bob@example.com>;tag=1", address()))),
        ("To", "t", draw(good_or("<sip:alice@example.com>", address()))),
        ("Call-ID", "i", draw(good_or("a@b", st.sampled_from(["x", "a b", "", "\u00e9", "<>"])))),
        ("CSeq", "", draw(good_or(f"7 {method}", cseq))),
    ]
    event = st.builds("{}{}".format, st.one_of(token, st.just("")), params("id"))
    extra = st.sampled_from([
        ("Event", "o", draw(event)), ("Expires", "", draw(digits)), ("Max-Forwards", "", draw(digits)),
        ("Content-Length", "l", draw(st.one_of(digits, st.just("4")))), ("Content-Length", "l", "4"),
        ("Subject", "s", "lunch"), ("X y", "", "bad name"), ("To", "t", "<sip:alice@example.com>"),
        ("Content-Type", "c", "text/plain"), ("Via", "v", "SIP/2.0/UDP example.com"), ("Allow", "", "\x01"),
    ])  # fmt: skip
    lines += draw(st.lists(extra, max_size=3))
    if draw(st.integers(0, 5)) == 0:
        lines.pop(draw(st.integers(0, len(lines) - 1)))
    end = draw(st.sampled_from(["\r\n", "\r\n", "\n"]))
    text = draw(st.sampled_from(["", "\r\n\r\n", "\n"])) + start + end
    for name, compact, value in draw(st.permutations(lines)):
        text += f"{spelled(draw, name, compact)}:{draw(space)}{value}{draw(space)}{end}"
    return (text + end + draw(st.sampled_from(["", "body", "long body"]))).encode("latin-1")


delimiter = st.sampled_from([b"\r", b"\n", b"\t", b" ", b'"', b";", b"<", b">", b":", b",", b"\\", b"\0"])


def slow_or_none(data: bytes) -> Slow | None:
    try:
        return parse_slowly(data)
    except Malformed:
        return None


def assert_agree(data: bytes) -> None:
    fast, slow = parse(data), slow_or_none(data)
    assert (fast.error == "") == (slow is not None), (fast.error, data)
    if slow is not None:
        assert [getattr(fast, name) for name in FIELDS] == [getattr(slow, name) for name in FIELDS]
        assert len(fast.header_items()) == len(slow.lines)
    exercise(fast)


def exercise(message: Message) -> None:
    """Ask everything of a message: nothing raises, nothing is longer than what came in."""
    for name in dir(message):
        getattr(message, name)
    for name in ("via", "Contact", "subject", "X-Unknown", "s", ""):
        assert message.header(name) == (message.headers(name) or [None])[0]
        message.values(name)
    message.set_source("192.0.2.9", 5060)
    if message.answerable:
        response = build_response(message, 400, message.error.encode() or b"Bad Request", b"tag")
        assert parse(response).status == 400
        assert parse(response).call_id == message.call_id
        assert len(response) < len(message.raw) + 1000


@QUICK
@given(message())
def test_structured_messages_agree(data: bytes) -> None:
    assert_agree(data)


@QUICK
@given(message(), st.data())
def test_mutated_messages_agree(data: bytes, draws: st.DataObject) -> None:
    mutant = bytearray(data)
    for _ in range(draws.draw(st.integers(1, 3))):
        at = draws.draw(st.integers(0, len(mutant)))
        cut = draws.draw(st.integers(0, 3))
        mutant[at : at + cut] = draws.draw(st.one_of(st.binary(max_size=3), delimiter))
    assert_agree(bytes(mutant))


@QUICK
@given(st.binary(max_size=80))
def test_garbage_never_raises(data: bytes) -> None:
    assert_agree(data)
    framer = Framer()
    for message in framer.feed(data) + framer.feed(b"\r\n\r\n"):
        exercise(message)


@QUICK
@given(st.lists(message(), max_size=3), st.lists(st.integers(1, 400), max_size=12))
def test_framing_does_not_depend_on_the_cuts(messages: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(messages)
    whole, pieces = Framer(), Framer()
    expected = [message.raw for message in whole.feed(stream)]
    got, at = [], 0
    for cut in [*cuts, len(stream)]:
        got += [message.raw for message in pieces.feed(stream[at : at + cut])]
        at += cut
    assert (got, pieces.broken, pieces.buffered) == (expected, whole.broken, whole.buffered)
    assert pieces.pings == whole.pings
