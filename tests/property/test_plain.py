"""The compiled readers of plain addresses against the careful ones: what is plain means the same to both."""

import os
from types import SimpleNamespace

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from presence._fastcore import Message, parse
from presence.errors import BadRequest
from presence.settings import Server
from presence.sip.headers import parse_uri, read_aor
from presence.subscription.aiming import Aiming, choose_target
from presence.subscription.dialog import AllowedTargets, Target, read_contact, read_dialog, watcher_of

EXAMPLES = int(os.environ.get("PRESENCE_EXAMPLES", "1500"))
THOROUGH = settings(max_examples=EXAMPLES, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))

NASTY = "\u00a0\u0085\u2028\u3000\x7f\x01\u00e4\udcff\udcc2\udca0"
fuzz = st.text("abAB09-._~+!%*'`@:;=?,/[]<>\"\\ \t" + NASTY, max_size=6)
space = st.sampled_from(["", "", "", "", " ", "\t", "\r\n ", "\u00a0"])
scheme = st.sampled_from(["sip:", "sip:", "sip:", "sips:", "SIP:", "sipx:", "tel:", "pres:", "sip", "sip::"])
user = st.sampled_from(
    ["bob", "bob", "Bob", "b+1", "b.c_d~e-f", "b:pw", "%62ob", "b%40c", "b@c", "", "b;x", "b&c", "b\u00e4", "*"]
)
host = st.sampled_from([
    "127.0.0.1", "127.0.0.1", "127.0.0.1", "example.com", "EXAMPLE.com", "[::1]", "[::ffff:127.0.0.1]", "127.0.0.01",
    "127.1", "1.2.3.4.5", "256.1.1.1", "localhost", "0177.0.0.1", "127.0.0.1.", "-", "..", "a_b", "",
    "255.255.255.255", "1" * 17,
])  # fmt: skip
port = st.sampled_from(
    [
        "",
        "",
        "",
        ":5070",
        ":05070",
        ":" + "0" * 9 + "5070",
        ":" + "0" * 80 + "1",
        ":0",
        ":65535",
        ":65536",
        ":",
        ":x",
        " :5",
    ]
)
name = st.sampled_from(
    ["transport", "Transport", "transport", "maddr", "lr", "ob", "x", "%74ransport", "tag", "", "a b"]
)
value = st.sampled_from(
    [
        "",
        "=",
        "=udp",
        "=UDP",
        "=tcp",
        "=tls",
        "=127.0.0.9",
        '="udp"',
        "=<y>",
        "=a?b",
        "= udp",
        "=\u00a0",
        "=\x7f",
        "=a,b",
        "=a\r\n b",
    ]
)
params = st.lists(
    st.builds("{}{}{}{}{}".format, space, st.sampled_from([";", ";", ";", ",", "?"]), space, name, value), max_size=2
).map("".join)
uris = st.one_of(
    st.builds("{}{}@{}{}{}".format, scheme, user, host, port, st.one_of(st.just(""), st.just(""), params, fuzz)),
    st.builds("{}{}{}{}".format, scheme, host, port, params),
    st.builds("sip:{}@{}".format, fuzz, fuzz),
    st.builds("sip:{}@127.0.0.1".format, st.integers(490, 520).map(lambda n: "b" * n)),
    fuzz,
)
display = st.sampled_from(
    [
        "",
        "",
        "",
        '"Bob" ',
        '"Bob"',
        '"Bob"  ',
        '"Bob"\t',
        '"Bob"\r\n ',
        '"B\\"b" ',
        '"" ',
        "Bob ",
        '"B<b>;tag=x" ',
        '"\u00e4" ',
        '"B',
        '"B\x01" ',
        "\u00a0",
    ]
)
tagged = st.sampled_from(
    [
        "",
        ";tag=x",
        ";tag=x",
        ";tag=x",
        ";TAG=x",
        ";tag = x",
        ";tag=x;y=z",
        ";y;tag=x",
        ';tag="x"',
        ";tag=",
        ";tag=a/b",
        ";tag=x ",
        ";tag=x;tag=y",
        ";tag=<x>",
        ";xtag=x",
        ";tag=x\u00a0",
    ]
)
addresses = st.one_of(
    st.builds("{}<{}>{}".format, display, uris, tagged),
    st.builds("{}{}".format, uris, tagged),
    st.builds("{}<{}{}{}>{}".format, display, fuzz, uris, fuzz, fuzz),
)
contacts = st.one_of(
    st.builds("{}<{}>{}".format, display, uris, params),
    st.builds("<{}>{}".format, uris, st.one_of(st.just(""), params, fuzz)),
    st.builds("<{}>, <{}>".format, uris, uris),
    uris,
    st.just("*"),
)
nearly = st.one_of(st.just(""), params, fuzz)
near = st.builds("<sip:bob@127.0.0.1:5070{}>{}".format, nearly, nearly)
near_address = st.builds("{}<{}>{}".format, display, st.one_of(st.just("sip:bob@example.com"), uris), tagged)
routes = st.sampled_from(
    ["", "", "", "", "Record-Route: <sip:127.0.0.1;lr>\r\n", "Record-Route:\r\n", "Contact: <sip:x@127.0.0.1>\r\n"]
)

ALLOWED = AllowedTargets(Server(allowed_targets=("0.0.0.0/0", "::/0")).target_networks)
UDP = SimpleNamespace(flow=0, transport="UDP")


def subscribe(uri: str, sender: str, to: str, contact: str, more: str) -> Message:
    text = (
        f"SUBSCRIBE {uri} SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:5070;branch=z9hG4bK1\r\nFrom: {sender}\r\nTo: {to}\r\n"
        f"Call-ID: c\r\nCSeq: 1 SUBSCRIBE\r\nEvent: presence\r\n{more}Contact: {contact}\r\nContent-Length: 0\r\n\r\n"
    )
    return parse(text.encode("utf-8", "surrogateescape"))


@THOROUGH
@given(uris)
def test_an_address_read_here_is_its_own_canonical_form(uri: str) -> None:
    request = subscribe(uri, "<sip:a@example.com>;tag=x", "<sip:a@example.com>", "<sip:a@127.0.0.1>", "")
    if not request.error and request.address is not None:
        assert request.address == tuple(parse_uri(request.uri).aor())


GOOD_URI = st.just("sip:bob@127.0.0.1:5070")
GOOD = st.builds("{}<{}>{}".format, st.sampled_from(["", '"Bob" ']), GOOD_URI, st.just(";tag=x"))


@THOROUGH
@given(
    st.one_of(GOOD, GOOD, near_address, addresses),
    st.one_of(GOOD, GOOD, near_address, addresses),
    st.one_of(GOOD_URI.map("<{}>".format), near, contacts),
    routes,
)
def test_a_subscriber_read_here_is_what_the_careful_readers_say(sender: str, to: str, contact: str, more: str) -> None:
    request = subscribe("sip:alice@example.com", sender, to, contact, more)
    request.set_source("127.0.0.7", 5099)
    request.origin = UDP
    plain = None if request.error else request.subscriber()
    if plain is None:
        return
    local, remote, tag, uri, user, domain, to_user, to_domain, host, port = plain
    try:
        dialog = read_dialog(request)
        target = choose_target(dialog, request, Aiming(ALLOWED))
    except BadRequest as error:
        raise AssertionError(f"plain, but {error.reason}: {request.raw!r}") from error
    assert (local, remote, tag, uri) == (dialog.local, dialog.remote, dialog.remote_tag, dialog.contact)
    assert dialog.request_line() == (uri, "")
    assert (user, domain) == tuple(watcher_of(dialog))
    assert (to_user, to_domain) == tuple(read_aor(dialog.local))
    assert isinstance(target, Target)
    if "ob" in parse_uri(uri).params:
        # Left to the careful readers where it makes a difference.
        assert target.place == ("UDP", "127.0.0.7", 5099)
    else:
        assert target.place == ("UDP", host, port)


@THOROUGH
@given(st.one_of(near, contacts), routes)
def test_the_contact_of_a_plain_refresh_is_the_one_that_counts(contact: str, more: str) -> None:
    request = subscribe("sip:alice@example.com", "<sip:bob@example.com>;tag=x", "<sip:a@example.com>", contact, more)
    plain = None if request.error else request.subscriber()
    if plain is not None:
        assert plain[3] == read_contact(request)
        assert plain[3].isascii()
        assert plain[3].isprintable()
        assert " " not in plain[3]


@THOROUGH
@given(
    st.one_of(
        st.sampled_from(["abc", "a.b-c!%*_+`'~", "a b", '"a"', "a, b", "", "\u00e4", " a ", "a\r\n b", "a;b=c"]), fuzz
    )
)
def test_if_match_is_one_token_or_nothing(value: str) -> None:
    head = (
        "PUBLISH sip:a@example.com SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=x\r\n"
    )
    head += f"To: <sip:a@b>\r\nCall-ID: c\r\nCSeq: 1 PUBLISH\r\nSIP-If-Match:{value}\r\nContent-Length: 0\r\n\r\n"
    request = parse(head.encode("utf-8", "surrogateescape"))
    if request.error:
        return
    text = request.header("SIP-If-Match")
    assert text is not None
    token = text.isascii() and text and all(c.isalnum() or c in "-.!%*_+`'~" for c in text)
    assert request.if_match == (text if token else "")
