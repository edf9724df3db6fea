import pytest

from presence._fastcore import Message, parse

LINES = (
    "SUBSCRIBE sip:alice@example.com SIP/2.0",
    "Via: SIP/2.0/UDP 192.0.2.10:5070;branch=z9hG4bK1;rport",
    "Max-Forwards: 70",
    'From: "Bob" <sip:bob@example.com>;tag=b1',
    "To: <sip:alice@example.com>",
    "Call-ID: c1@example.com",
    "CSeq: 7 SUBSCRIBE",
    "Event: presence;id=e1",
    "Expires: 600",
    "Content-Length: 4",
)


def build(replace: dict[str, str | None] | None = None, add: tuple[str, ...] = (), body: bytes = b"body") -> Message:
    """Parse the message above with fields replaced (None: left out) and lines added."""
    lines = []
    for line in LINES:
        name = line.split(":")[0]
        if line == LINES[0]:
            name = "start"
        new = (replace or {}).get(name, line)
        if new is not None:
            lines.append(new)
    return parse("\r\n".join([*lines, *add]).encode("utf-8", "surrogateescape") + b"\r\n\r\n" + body)


def test_fields_of_a_request() -> None:
    message = build()
    assert (message.error, message.answerable, message.bad_version) == ("", True, False)
    assert message.is_request
    assert (message.method, message.uri) == ("SUBSCRIBE", "sip:alice@example.com")
    assert (message.status, message.reason) == (0, "")
    assert (message.call_id, message.from_tag, message.to_tag) == ("c1@example.com", "b1", "")
    assert (message.cseq, message.branch) == (7, "z9hG4bK1")
    assert (message.event, message.event_id, message.expires) == ("presence", "e1", 600)
    assert (message.max_forwards, message.content_length, message.body) == (70, 4, b"body")
    assert (message.via_transport, message.via_host) == ("UDP", "192.0.2.10")
    assert message.raw.startswith(b"SUBSCRIBE sip:alice@example.com SIP/2.0\r\n")


def test_fields_of_a_response() -> None:
    message = build({"start": "SIP/2.0 202 Accepted  today"})
    assert (message.error, message.is_request, message.answerable) == ("", False, False)
    assert (message.status, message.reason, message.method) == (202, "Accepted  today", "SUBSCRIBE")
    assert message.uri == ""


def test_absent_fields() -> None:
    message = build({"Event": None, "Expires": None, "Max-Forwards": None, "Content-Length": None})
    assert message.error == ""
    assert (message.event, message.event_id, message.expires, message.max_forwards) == ("", "", None, None)
    assert (message.content_length, message.body) == (None, b"body")


def test_empty_message_object_is_harmless() -> None:
    message = Message()
    for name in dir(message):
        getattr(message, name)
    assert (message.raw, message.body, message.header_items(), message.answerable) == (b"", b"", [], False)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("Via", "Missing Via Header Field"),
        ("From", "Missing From Header Field"),
        ("To", "Missing To Header Field"),
        ("Call-ID", "Missing Call-ID Header Field"),
        ("CSeq", "Missing CSeq Header Field"),
    ],
)
def test_rfc3261_8_1_1_mandatory_field_missing_or_empty(name: str, reason: str) -> None:
    missing, empty = build({name: None}), build({name: f"{name}:"})
    # Without a Via nobody can be answered; a 400 can do without the others.
    assert (missing.error, missing.answerable) == (reason, name != "Via")
    assert (empty.error, empty.answerable) == (reason.replace("Missing", "Bad"), name != "Via")


@pytest.mark.parametrize(
    "line",
    [
        "From: <sip:bob@example.com>;tag=",
        "From: <sip:bob@example.com>;tag",
        'From: <sip:bob@example.com>;tag="b1"',
        "From: <sip:bob@example.com>;tag=a;tag=b",
        "From: <sip:bob@example.com>;tag=a<b",
        "From: <sip:bob@example.com",
        "From: <>;tag=1",
        "From: bob;tag=1",
        "From: sip:bob@example.com, sip:carol@example.com;tag=1",
        'From: "Bob" sip:bob@example.com;tag=1',
        'From: "Bob <sip:bob@example.com>;tag=1',
        'From: "Bob\\',
        "From: <sip:b\xf6b@example.com>;tag=1",
    ],
)
def test_bad_from_is_400(line: str) -> None:
    message = build({"From": line})
    assert (message.error, message.answerable) == ("Bad From Header Field", True)


@pytest.mark.parametrize(
    ("line", "tag"),
    [
        ("From: <sip:bob@example.com>", ""),
        ("From: sip:bob@example.com;TAG=b2", "b2"),
        ("F:sip:bob@example.com ; x ; tag = b2", "b2"),
        ('f : "x;tag=no\\">" <sip:bob@example.com;tag=no>;x=";tag=no";tag=b2', "b2"),
        ("From: Bob the Builder <sip:bob@example.com>;tag=b2", "b2"),
        ("From: tel:+12015550123;tag=YWJj/w==", "YWJj/w=="),
    ],
)
def test_tag_in_every_form_of_address(line: str, tag: str) -> None:
    message = build({"From": line})
    assert (message.error, message.from_tag) == ("", tag)


@pytest.mark.parametrize(
    ("via", "host", "branch", "reply"),
    [
        ("SIP/2.0/UDP h.example.com", "h.example.com", "", ("192.0.2.99", 5060)),
        ("SIP/2.0/UDP 192.0.2.10:5070;branch=z1", "192.0.2.10", "z1", ("192.0.2.99", 5070)),
        ("SIP/2.0/UDP [2001:db8::1]:5070;rport;branch=z1", "2001:db8::1", "z1", ("192.0.2.99", 40000)),
        ("SIP/2.0/UDP [2001:db8::1];branch=z1;received=192.0.2.1", "2001:db8::1", "z1", ("192.0.2.99", 5060)),
        (
            "SIP/2.0/UDP a;branch=z1;maddr=192.0.2.55, SIP/2.0/UDP b;branch=z2",
            "a",
            "z1",
            ("192.0.2.99", 5060),
        ),
    ],
)
def test_rfc3581_4_reply_address(via: str, host: str, branch: str, reply: tuple[str, int]) -> None:
    message = build({"Via": f"Via: {via}"})
    assert (message.error, message.via_host, message.branch) == ("", host, branch)
    assert message.reply_address == ("", 0)
    message.set_source("192.0.2.99", 40000)
    assert message.reply_address == reply


@pytest.mark.parametrize(
    "via",
    [
        "SIP/2.0/UDP",
        "SIP/2.0 192.0.2.1",
        "SIP/2.0/UDP ;branch=1",
        "SIP/2.0/UDP a:0",
        "SIP/2.0/UDP a:70000",
        "SIP/2.0/UDP a:b",
        "SIP/2.0/UDP [::1",
        "SIP/2.0/UDP [x]",
        "SIP/2.0/UDP a b",
        "SIP/2.0/UDP a;branch=",
        "SIP/2.0/UDP a;branch=1;branch=2",
        "SIP/2.0/UDP a;;branch=1",
        "HTTP/2.0/UDP a",
        ", SIP/2.0/UDP a",
    ],
)
def test_bad_via_is_400(via: str) -> None:
    message = build({"Via": f"Via: {via}"})
    assert (message.error, message.branch) == ("Bad Via Header Field", "")


@pytest.mark.parametrize(
    ("host", "shown"),
    [("192.0.2.1", "192.0.2.1"), ("::ffff:192.0.2.1", "192.0.2.1"), ("2001:DB8:0::1", "2001:db8::1"),
     ("fe80::1%eth0", "fe80::1")],
)  # fmt: skip
def test_source(host: str, shown: str) -> None:
    message = build()
    assert message.source == ("", 0)
    message.set_source(host, 5061)
    assert message.source == (shown, 5061)


@pytest.mark.parametrize(
    ("host", "port"), [("example.com", 1), ("", 1), ("1.2.3", 1), ("192.0.2.1", 65536), ("\u0661", 1)]
)
def test_source_must_be_an_address(host: str, port: int) -> None:
    with pytest.raises(ValueError, match="no address"):
        build().set_source(host, port)


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("CSeq: 2147483647 SUBSCRIBE", ""),
        ("CSeq: 2147483648 SUBSCRIBE", "Bad CSeq Header Field"),
        ("CSeq: -1 SUBSCRIBE", "Bad CSeq Header Field"),
        ("CSeq: SUBSCRIBE", "Bad CSeq Header Field"),
        ("CSeq: 7SUBSCRIBE", "Bad CSeq Header Field"),
        ("CSeq: 7", "Bad CSeq Header Field"),
        ("CSeq: 7 SUBSCRIBE x", "Bad CSeq Header Field"),
        ("CSeq: 7 subscribe", "CSeq Method Does Not Match"),
        ("CSeq: 7 PUBLISH", "CSeq Method Does Not Match"),
    ],
)
def test_rfc3261_8_1_1_5_cseq(line: str, error: str) -> None:
    assert build({"CSeq": line}).error == error


@pytest.mark.parametrize(
    ("line", "event", "event_id", "error"),
    [
        ("o: presence.winfo", "presence.winfo", "", ""),
        ("Event: presence ; ID = 7 ; x", "presence", "7", ""),
        ("Event:", "", "", "Bad Event Header Field"),
        ("Event: presence, dialog", "presence", "", "Bad Event Header Field"),
        ("Event: dialog;sla", "dialog;sla", "", ""),
        ("o: dialog \r\n ; SLA;\r\n id=7", "dialog;sla", "7", ""),
        ('Event: dialog;call-id="a\\"@b;sla";to-tag=x;sla', "dialog;sla", "", ""),
        ('Event: dialog;call-id="a;sla"', "dialog", "", ""),
        ("Event: dialog;sla=", "dialog", "", ""),
        ("Event: dialog;slab", "dialog", "", ""),
        ("Event: dialog;sla;sla", "dialog;sla", "", ""),
        ("Event: dialog;sla;", "dialog;sla", "", "Bad Event Header Field"),
        ("Event: dialog;sla, dialog", "dialog;sla", "", "Bad Event Header Field"),
        ("Event: presence;sla", "presence", "", ""),
        ("Event: dialog.winfo;sla", "dialog.winfo", "", ""),
        ("Event: Dialog;sla", "Dialog", "", ""),
        ('Event: dialog;call-id="a', "dialog", "", "Bad Event Header Field"),
        ("Event: presence;id=a;id=b", "presence", "a", "Bad Event Header Field"),
        ("Event: presence\u00e9", "presence", "", "Bad Event Header Field"),
    ],
)
def test_rfc6665_8_2_1_event(line: str, event: str, event_id: str, error: str) -> None:
    message = build({"Event": line})
    assert (message.event, message.event_id, message.error) == (event, event_id, error)


@pytest.mark.parametrize("value", ["-1", "1.5", "0x10", "1 2", "", "\u0661", "+1"])
@pytest.mark.parametrize("name", ["Expires", "Max-Forwards"])
def test_numbers_are_digits_only(name: str, value: str) -> None:
    message = build({name: f"{name}: {value}"})
    assert message.error == f"Bad {name} Header Field"
    assert (message.expires, message.max_forwards)[name == "Max-Forwards"] is None


@pytest.mark.parametrize("name", ["To", "From", "Call-ID", "CSeq", "Max-Forwards", "Event", "Expires"])
def test_field_that_may_stand_once_only(name: str) -> None:
    line = next(line for line in LINES if line.startswith(name + ":"))
    assert build(add=(line,)).error == f"Repeated {name} Header Field"


def test_rfc3261_18_3_body_of_a_datagram() -> None:
    assert build(body=b"body and more").body == b"body"
    short = build(body=b"bod")
    assert (short.error, short.body, short.answerable) == ("Content-Length Exceeds the Datagram", b"", True)
    assert build({"Content-Length": None}, body=b"all of it").body == b"all of it"


def test_folded_values_come_unfolded() -> None:
    message = build(add=("Subject: I know you're there,", "\t pick up", "  the phone  ", "Accept:", " a/b ,", " c/d"))
    assert message.header("subject") == "I know you're there, pick up the phone"
    assert message.values("Accept") == ["a/b", "c/d"]


def test_header_by_any_name() -> None:
    message = build(add=("k: path, eventlist", "Supported: gruu", "s: lunch", "R: <sip:x@example.com>", "X-Thing: 1"))
    assert message.header("SUPPORTED") == message.header("K") == "path, eventlist"
    assert message.headers("k") == ["path, eventlist", "gruu"]
    assert message.values("supported") == ["path", "eventlist", "gruu"]
    assert message.header("Subject") == message.header("s") == "lunch"
    assert message.header("refer-to") == "<sip:x@example.com>"
    assert message.header("x-thing") == "1"
    assert (message.header("X"), message.headers("Contact"), message.values("Route")) == (None, [], [])
    assert message.header_items()[-1] == ("X-Thing", "1")


def test_values_respect_quotes_and_brackets() -> None:
    message = build(add=('Contact: "a,\\",b" <sip:a,b@example.com>;q=1, , <sip:c@example.com>,', "m: *"))
    assert message.values("contact") == ['"a,\\",b" <sip:a,b@example.com>;q=1', "<sip:c@example.com>", "*"]


def test_bytes_that_are_no_utf_8_survive() -> None:
    message = build(add=("Subject: caf\udce9",))
    assert (message.error, message.header("Subject")) == ("", "caf\udce9")


@pytest.mark.parametrize("line", ["no colon", ": no name", "bad name: x", "b\u00e9d: x", "(x): y"])
def test_bad_header_line_is_400(line: str) -> None:
    message = build(add=(line,))
    assert (message.error, message.answerable) == ("Bad Header Line", True)


@pytest.mark.parametrize("text", ["a\rb", "a\x00b", "\x1b[2J", "a\r", "\r\ra", '"\\\r"'])
def test_control_characters_are_refused(text: str) -> None:
    """A lone CR ends a line for some readers: it must not come through into what we send."""
    assert build(add=(f"Subject: x{text}x",)).error == "Control Character in the Header"


def test_tab_and_quoted_control_characters_are_allowed() -> None:
    assert build(add=('Subject: a\tb "\\\x00"',)).error == ""


def test_too_many_header_lines() -> None:
    assert build(add=("X: y",) * (128 - len(LINES) + 1)).error == ""
    message = build(add=("X: y",) * (128 - len(LINES) + 2))
    assert (message.error, message.answerable, len(message.header_items())) == (
        "Too Many Header Fields",
        True,
        128,
    )


def test_too_large() -> None:
    message = build({"Content-Length": None}, body=b"x" * 70_000)
    assert (message.error, message.answerable) == ("Message Too Large", False)


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", "Empty Message"),
        (b"\r\n\r\n", "Empty Message"),
        (b"\0\0\0\0", "Bad Start Line"),
        (b"GET / HTTP/1.1\r\n\r\n", "Bad Start Line"),
        (b"SUBSCRIBE sip:a@b\r\n\r\n", "Bad Start Line"),
        (b" SUBSCRIBE sip:a@b SIP/2.0\r\n\r\n", "Bad Start Line"),
        (b"SUBSCRIBE sip:a@b SIP/2.0\r\n", "Header Does Not End"),
        (b"SUBSCRIBE sip:a@b SIP/2.0\r\nVia: SIP/2.0\r\n", "Header Does Not End"),
        (b"SUBSCRIBE sip:a@b SIP/2.0\r\n folded: x\r\n\r\n", "Bad Header Line"),
        (b"SIP/2.0 99 Low\r\n\r\n", "Bad Start Line"),
        (b"SIP/2.0 200OK\r\n\r\n", "Bad Start Line"),
    ],
)
def test_not_a_message(data: bytes, error: str) -> None:
    message = parse(data)
    assert (message.error, message.answerable) == (error, False)


def test_line_ends_before_the_start_line_and_bare_line_feeds() -> None:
    text = "\n".join(LINES).encode() + b"\n\nbody"
    message = parse(b"\r\n\r\n\n" + text)
    assert (message.error, message.body, len(message.header_items())) == ("", b"body", len(LINES) - 1)


def test_cut_message_never_raises() -> None:
    data = build().raw
    for at in range(len(data)):
        assert parse(data[:at]).error
    assert parse(data).error == ""
