import pytest

from presence.errors import BadRequest
from presence.sip.headers import (
    NameAddr,
    canonical_user,
    cut_tag,
    parse_accept,
    parse_name_addr,
    parse_params,
    parse_token_params,
    parse_uri,
    parse_via,
)
from presence.values import Aor


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("<sip:alice@example.com>", NameAddr("", "sip:alice@example.com", {})),
        ("sip:alice@example.com;tag=1", NameAddr("", "sip:alice@example.com", {"tag": "1"})),
        ("sip:alice@example.com", NameAddr("", "sip:alice@example.com", {})),
        (
            '"Alice \\"A;<>, \\\\ B" <sip:alice@example.com;lr>;tag=x;q=0.5',
            NameAddr('Alice "A;<>, \\ B', "sip:alice@example.com;lr", {"tag": "x", "q": "0.5"}),
        ),
        ("Alice Smith <sip:alice@example.com>", NameAddr("Alice Smith", "sip:alice@example.com", {})),
        (
            '<sip:alice@example.com> ; Expires = 60 ; note = "a;b"',
            NameAddr("", "sip:alice@example.com", {"expires": "60", "note": "a;b"}),
        ),
        ('"\\\x00NUL\\\x07" <sip:alice@example.com>', NameAddr("NUL", "sip:alice@example.com", {})),
    ],
)
def test_name_addr(value: str, expected: NameAddr) -> None:
    assert parse_name_addr(value) == expected


@pytest.mark.parametrize(
    "value",
    [
        "",
        "*",
        "<>",
        "<sip:alice@example.com",
        "alice",
        '"Alice <sip:alice@example.com>',
        "<sip:alice@example.com>tag=1",
        "<sip:alice@example.com>;;tag=1",
        '<sip:alice@example.com>;tag="1',
        "<sip:alice smith@example.com>",
        "sip:al\u00e9@example.com",
        "a;b <sip:alice@example.com>",
    ],
)
def test_bad_name_addr_is_400(value: str) -> None:
    with pytest.raises(BadRequest):
        parse_name_addr(value)


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ("<sip:a@b>;tag=1", "<sip:a@b>"),
        ("sip:a@b;tag=1", "sip:a@b"),
        ("sip:a@b", "sip:a@b"),
        ("A B <sip:a@b;tag=2> ; x ; TAG = 1 ; Y=2", "A B <sip:a@b;tag=2> ; x  ; Y=2"),
        ('"a;tag=1<" <sip:a@b>;q=";tag=3";tag=4', '"a;tag=1<" <sip:a@b>;q=";tag=3"'),
        ("<sip:a@b>;tagged=1;tag=2;tag2=3", "<sip:a@b>;tagged=1;tag2=3"),
    ],
)
def test_the_tag_is_cut_and_nothing_else(value: str, kept: str) -> None:
    assert cut_tag(value) == kept
    assert "tag" not in parse_name_addr(kept).params


def test_uri_in_its_parts() -> None:
    uri = parse_uri("SIPS:alice:secret@Example.COM:5061;transport=TCP;LR?Subject=x&Priority=urgent")
    assert uri == (
        "sips",
        "alice",
        "example.com",
        5061,
        {"transport": "TCP", "lr": ""},
        {"subject": "x", "priority": "urgent"},
    )


def test_rfc4475_3_1_1_2_unusual_user_part() -> None:
    user = "1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*"
    uri = parse_uri(f"sip:{user}:&it+has=1,weird!*pas$wo~d_too.(doesn't-it)@example.com")
    assert (uri.user, uri.host) == (user, "example.com")


def test_ipv6_host_has_one_spelling() -> None:
    uri = parse_uri("sip:alice@[2001:DB8:0:0::1]:5070;lr")
    assert (uri.host, uri.port) == ("[2001:db8::1]", 5070)


def test_tel_has_no_host() -> None:
    uri = parse_uri("tel:+1-201-555-0123;phone-context=example.com")
    assert (uri.scheme, uri.user, uri.host) == ("tel", "+1-201-555-0123", "")


@pytest.mark.parametrize(
    ("text", "aor", "spelled"),
    [
        ("tel:+1-201-555-0123", Aor("+12015550123", ""), "tel:+12015550123"),
        ("TEL:+1(201)555.0123;isub=12", Aor("+12015550123", ""), "tel:+12015550123"),
        ("tel:7042;phone-context=Example.com", Aor("7042", "example.com"), "sip:7042@example.com"),
        ("tel:70-42;phone-context=+1-201", Aor("7042;phone-context=+1201", ""), "tel:7042;phone-context=+1201"),
        ("sip:+1-201-555-0123@example.com;user=phone", Aor("+12015550123", "example.com"), ""),
        ("sip:+12015550123;isub=1@example.com;user=PHONE", Aor("+12015550123", "example.com"), ""),
        ("sip:alice@example.com;user=phone", Aor("alice", "example.com"), ""),
        ("sip:+1-201-555-0123@example.com", Aor("+1-201-555-0123", "example.com"), ""),
    ],
)
def test_rfc3966_5_one_number_however_it_is_written(text: str, aor: Aor, spelled: str) -> None:
    assert parse_uri(text).aor() == aor
    assert aor.uri == (spelled or f"sip:{aor.username}@{aor.domain}")
    assert parse_uri(aor.uri).aor() == aor, "it is read back from the database"


@pytest.mark.parametrize("text", ["tel:", "tel:7042", "tel:+", "tel:+1x", "tel:12;phone-context=-", "isbn:2"])
def test_rfc3966_5_1_5_what_is_no_number_is_400(text: str) -> None:
    with pytest.raises(BadRequest):
        parse_uri(text).aor()


@pytest.mark.parametrize(
    "text",
    [
        "sip:alice@example.com",
        "sips:alice@EXAMPLE.com:5061;transport=tls",
        "pres:alice@example.com",
        "sip:%61l%69ce@example.com?Subject=x",
        "sip:alice:password@example.com",
    ],
)
def test_rfc3261_19_1_4_one_address_of_record(text: str) -> None:
    assert parse_uri(text).aor() == Aor("alice", "example.com")


@pytest.mark.parametrize(
    ("user", "canonical"),
    [
        ("sips%3Auser%40example.com", "sips%3Auser%40example.com"),
        ("a%2fb", "a/b"),
        ("null-%00-null", "null-%00-null"),
        ("%c3%a9", "%C3%A9"),
        ("%ff", "%FF"),
        ("100%", "100%25"),
        ("+12015550123", "+12015550123"),
        ("Alice", "Alice"),
        ("\u00e9", "%C3%A9"),
    ],
)
def test_user_part_is_ascii_and_keeps_its_boundary(user: str, canonical: str) -> None:
    assert canonical_user(user) == canonical
    assert canonical_user(canonical) == canonical


def test_uri_without_user_is_the_host() -> None:
    assert parse_uri("sip:example.com").aor() == Aor("", "example.com")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "alice@example.com",
        "sip:",
        "sip:@example.com",
        "sip:alice@",
        "sip:alice@example.org@example.com",
        "sip:alice@exa mple.com",
        "sip:alice@[::g]",
        "sip:alice@[1::2::3]",
        "sip:alice@example.com:0",
        "sip:alice@example.com:65536",
        "sip:alice@example.com:99999999999999999999",
        "sip:al\u0661ce@example.com",
        "<sip:alice@example.com>",
        "sip:alice@example.com\n",
    ],
)
def test_bad_uri_is_400(text: str) -> None:
    with pytest.raises(BadRequest):
        parse_uri(text)


def test_params_first_of_a_name_counts() -> None:
    assert parse_params(';A=1;b;a=2;c="x\\"y"') == {"a": "1", "b": "", "c": 'x"y'}
    assert parse_params("") == {}


def test_token_params() -> None:
    assert parse_token_params("presence;id=7") == ("presence", {"id": "7"})
    assert parse_token_params('application / pidf+xml;charset="UTF-8"') == (
        "application/pidf+xml",
        {"charset": "UTF-8"},
    )
    with pytest.raises(BadRequest):
        parse_token_params(";id=7")


def test_accept_with_q() -> None:
    assert parse_accept(["Application/PIDF+xml", "application/*;q=0.5", "text/plain;level=1;q=0"]) == [
        ("application/pidf+xml", 1.0),
        ("application/*", 0.5),
        ("text/plain", 0.0),
    ]
    for bad in ("text/plain;q=2", "text/plain;q=nan", "text/plain;q="):
        with pytest.raises(BadRequest):
            parse_accept([bad])


def test_via() -> None:
    via = parse_via("SIP / 2.0 / udp [2001:db8::9:1] : 5070 ; branch = z9hG4bK1;rport")
    assert via == ("UDP", "[2001:db8::9:1]", 5070, {"branch": "z9hG4bK1", "rport": ""})
    assert parse_via("SIP/2.0/TCP example.com") == ("TCP", "example.com", None, {})
    for bad in ("", "SIP/2.0/UDP", "SIP/3.0/UDP example.com", "SIP/2.0/UDP example.com:0", "SIP/2.0/UDP a b"):
        with pytest.raises(BadRequest):
            parse_via(bad)


@pytest.mark.parametrize("value", ['<sip:a@b>;x="' + "\\" * 60000, ";" * 60000, "<" * 60000, " " * 60000 + "x"])
@pytest.mark.timeout(5)
def test_hostile_value_is_read_in_linear_time(value: str) -> None:
    with pytest.raises(BadRequest):
        parse_name_addr(value)
