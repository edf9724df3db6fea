"""What the parser reads out of the torture messages, octet for octet (RFC 4475 and RFC 5118)."""

from urllib.parse import unquote

import pytest
from torture import messages

from presence._fastcore import Message, build_response, parse
from presence.sip.headers import parse_name_addr, parse_uri, parse_via

FAULTY = {
    "badinv01", "clerr", "ncl", "scalar02", "scalarlg", "quotbal", "ltgtruri", "lwsruri", "lwsstart", "escruri",
    "badaspec", "baddn", "badvers", "mismatch01", "mismatch02", "bigcode", "insuf", "multi01", "mcl01", "test",
}  # fmt: skip
"""Messages the scanner itself finds fault with; the archive's `test` is in no section."""


def read(tag: str, rfc: str = "rfc4475") -> Message:
    return parse(messages(rfc)[tag])


def address(message: Message, name: str) -> tuple[str, str]:
    value = parse_name_addr(message.header(name) or "")
    return value.display, value.uri


@pytest.mark.parametrize("tag", sorted(messages("rfc4475")))
def test_rfc4475_faults_are_found_and_nothing_else(tag: str) -> None:
    message = read(tag)
    assert bool(message.error) == (tag in FAULTY), message.error
    # A response cannot be answered, nor can what has no request line.
    assert message.answerable == (message.is_request and tag != "test")


@pytest.mark.parametrize("tag", sorted(messages("rfc5118")))
def test_rfc5118_messages_are_well_formed_to_the_scanner(tag: str) -> None:
    message = read(tag, "rfc5118")
    assert (message.error, message.answerable) == ("", True)
    assert len(message.body) == message.content_length


def test_rfc4475_3_1_1_1_short_tortuous_invite() -> None:
    message = read("wsinv")
    assert (message.method, message.cseq, message.max_forwards) == ("INVITE", 9, 68)
    assert (message.to_tag, message.from_tag) == ("1918181833n", "98asjd8")
    assert (message.branch, message.via_host, message.via_transport) == ("390skdjuw", "192.0.2.2", "UDP")
    assert (message.content_length, len(message.body)) == (150, 150)
    assert address(message, "From") == ('J Rosenberg \\"', "sip:jdrosen@example.com")
    assert message.header("NEWFANGLEDHEADER") == "newfangled value continued newfangled value"
    assert message.header("UnknownHeaderWithUnusualValue") == ";;,,;;,;"
    assert message.header("subject") == ""
    vias = [parse_via(value) for value in message.values("via")]
    assert [(via.transport, via.host) for via in vias] == [
        ("UDP", "192.0.2.2"),
        ("TCP", "spindle.example.com"),
        ("UDP", "192.168.255.111"),
    ]
    assert [via.params["branch"] for via in vias] == ["390skdjuw", "z9hG4bK9ikj8", "z9hG4bK30239"]
    contact = parse_name_addr(message.values("Contact")[0])
    assert contact.display == 'Quoted string ""'
    assert contact.params == {"newparam": "newvalue", "secondparam": "", "q": "0.33"}
    route = parse_uri(parse_name_addr(message.values("Route")[0]).uri)
    assert route.params == {"lr": "", "unknownwith": "value", "unknown-no-value": ""}
    assert "unknownparam" in parse_uri(message.uri).params


def test_rfc4475_3_1_1_2_wide_range_of_valid_characters() -> None:
    message = read("intmeth")
    assert message.method == "!interesting-Method0123456789_*+`.%indeed'~"
    assert message.call_id == "intmeth.word%ZK-!.*_+'@word`~)(><:\\/\"][?}{"
    assert message.branch == "z9hG4bK-.!%66*_+`'~"
    assert (message.cseq, message.max_forwards) == (139122385, 255)
    assert message.header("extensionHeader-!.%*+_`'~") == "\ufeff大停電"
    user = "1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*"
    assert parse_uri(message.uri)[:3] == ("sip", user, "example.com")
    assert address(message, "To") == ("BEL: NUL: DEL:", f"sip:{user}@example.com")
    sender = parse_name_addr(message.header("From") or "")
    assert sender.display == "token1~` token2'+_ token3*%!.-"
    assert sender.params == {"fromparam''~+*_!.-%": "работающий", "tag": "_token~1'+`*%!-."}


def test_rfc4475_3_1_1_3_percent_escapes() -> None:
    message = read("esc01")
    assert parse_uri(message.uri).aor() == ("sips%3Auser%40example.com", "example.net")
    assert parse_uri(address(message, "To")[1]).aor() == ("user", "example.com")
    assert unquote(parse_uri(address(message, "From")[1]).user) == "I have spaces"
    contact = parse_uri(address(message, "Contact")[1])
    assert contact.aor().username == "caller"
    assert contact.params == {"%6c%72": "", "n%61me": "v%61lue%25%34%31"}, "unescaped once, if at all"


def test_rfc4475_3_1_1_4_escaped_nulls() -> None:
    message = read("escnull")
    assert parse_uri(address(message, "To")[1]).aor() == ("null-%00-null", "example.com")
    assert [parse_uri(parse_name_addr(v).uri).user for v in message.values("contact")] == ["%00", "%00%00"]


def test_rfc4475_3_1_1_5_percent_is_no_escape_in_names() -> None:
    message = read("esc02")
    assert message.method == "RE%47IST%45R"
    assert [parse_name_addr(v).uri for v in message.values("contact")] == [
        "sip:alias1@host1.example.com",
        "sip:alias3@host3.example.com",
    ]
    assert message.header("C%6Fntact") == "<sip:alias2@host2.example.com>"
    assert address(message, "To") == ("%Z%45", "sip:resource@example.com")


def test_rfc4475_3_1_1_6_no_space_before_the_bracket() -> None:
    message = read("lwsdisp")
    assert address(message, "From") == ("caller", "sip:caller@example.com")
    assert message.from_tag == "323"


def test_rfc4475_3_1_1_7_long_values() -> None:
    message = read("longreq")
    assert message.from_tag == "12" + "982" * 50 + "424"
    assert message.call_id == "longreq.one" + "really" * 20 + "longcallid"
    assert len(message.values("Via")) == 34
    assert message.via_host == "sip33.example.com"
    assert parse_via(message.values("Via")[-1]).params["branch"] == "very" + "long" * 50 + "branchvalue"
    display, uri = address(message, "To")
    assert display == "I have a user name of " + "extreme" * 10 + " proportion"
    assert parse_uri(uri).port == 6000
    assert len(message.body) == message.content_length == 150


def test_rfc4475_3_1_1_8_extra_octets_of_a_datagram_are_discarded() -> None:
    message = read("dblreq")
    assert (message.method, message.body) == ("REGISTER", b"")
    assert message.raw.endswith(b"Content-Length: 0\r\n\r\n")


def test_rfc4475_3_1_1_9_parameter_in_the_user_part() -> None:
    uri = parse_uri(read("semiuri").uri)
    assert (unquote(uri.user), uri.host, uri.params) == ("user;par=u@example.net", "example.com", {})
    assert len(read("semiuri").values("Accept")) == 6


def test_rfc4475_3_1_1_10_transports() -> None:
    transports = [parse_via(value).transport for value in read("transports").values("Via")]
    assert transports == ["UDP", "SCTP", "TLS", "UNKNOWN", "TCP"]


def test_rfc4475_3_1_1_11_binary_body_is_framed() -> None:
    message = read("mpart01")
    assert len(message.body) == message.content_length == 553
    assert b"\x00" in message.body
    assert message.body.rstrip().endswith(b"--7a9cbec02ceef655--")


def test_rfc4475_3_1_1_12_reason_phrase() -> None:
    message = read("unreason")
    assert message.reason == "= 2**3 * 5**2 но сто девяносто девять - простое"
    assert (message.status, message.method, len(message.body)) == (200, "INVITE", 154)


def test_rfc4475_3_1_1_13_empty_reason_phrase() -> None:
    message = read("noreason")
    assert (message.status, message.reason, message.cseq) == (100, "", 35)
    assert parse(message.raw.replace(b"100 \r\n", b"100\r\n")).status == 100, "also without the space"


def test_rfc4475_3_1_2_4_overlarge_scalars_are_taken_as_the_largest() -> None:
    message = read("scalar02")
    assert message.error == "Bad CSeq Header Field"
    mended = parse(message.raw.replace(b"36893488147419103232", b"1"))
    assert (mended.error, mended.expires, mended.max_forwards) == ("", 2**32 - 1, 255)


@pytest.mark.parametrize(("tag", "error"), [
    ("badinv01", "Bad Via Header Field"), ("clerr", "Content-Length Exceeds the Datagram"),
    ("ncl", "Bad Content-Length"), ("scalarlg", "Bad CSeq Header Field"), ("quotbal", "Bad To Header Field"),
    ("ltgtruri", "Bad Request-URI"), ("lwsruri", "Bad Request-URI"), ("lwsstart", "Bad Request-URI"),
    ("escruri", "Bad Request-URI"), ("badaspec", "Bad To Header Field"), ("badvers", "Unsupported SIP Version"),
    ("mismatch01", "CSeq Method Does Not Match"), ("mismatch02", "CSeq Method Does Not Match"),
    ("bigcode", "Bad Start Line"), ("insuf", "Missing From Header Field"), ("multi01", "Repeated CSeq Header Field"),
    ("mcl01", "Repeated Content-Length Header Field"),
])  # fmt: skip
def test_rfc4475_3_1_2_what_is_wrong(tag: str, error: str) -> None:
    assert read(tag).error == error


def test_rfc4475_3_1_2_10_spaces_behind_the_version() -> None:
    message = read("trws")
    assert (message.error, message.uri) == ("", "sip:remote-target@example.com")


@pytest.mark.parametrize("tag", ["ncl", "mcl01"])
def test_rfc4475_3_1_2_3_a_length_that_is_none_is_no_length(tag: str) -> None:
    assert read(tag).content_length is None
    assert read(tag).body == b""


@pytest.mark.parametrize("field", [b"From", b"To", b"Call-ID", b"CSeq"])
def test_rfc4475_3_3_1_the_400_lacks_what_the_request_lacks(field: bytes) -> None:
    lines = messages("rfc4475")["zeromf"].split(b"\r\n")
    request = parse(b"\r\n".join(line for line in lines if not line.startswith(field + b":")))
    assert request.error == f"Missing {field.decode()} Header Field"
    response = build_response(request, 400, request.error.encode(), b"tag")
    assert response.startswith(b"SIP/2.0 400 Missing ")
    kept = {b"From", b"To", b"Call-ID", b"CSeq", b"Via"} - {field}
    assert {line.partition(b":")[0] for line in response.split(b"\r\n")[1:-2]} == kept | {b"Content-Length"}


def test_rfc4475_3_3_1_insufficient_fields() -> None:
    response = build_response(read("insuf"), 400, b"Missing From Header Field")
    assert response == (
        b"SIP/2.0 400 Missing From Header Field\r\n"
        b"Via: SIP/2.0/UDP 192.0.2.95;branch=z9hG4bKkdj.insuf\r\n"
        b"CSeq: 193942 INVITE\r\n"
        b"Content-Length: 0\r\n\r\n"
    )


def test_rfc4475_3_3_2_opaque_scheme() -> None:
    assert read("unkscm").uri == "nobodyKnowsThisScheme:totallyopaquecontent"
    assert read("novelsc").uri == "soap.beep://192.0.2.103:3002"


def test_rfc4475_3_3_4_unknown_schemes_in_fields() -> None:
    message = read("unksm2")
    assert [address(message, name)[1] for name in ("To", "From", "Contact")] == [
        "isbn:2983792873",
        "http://www.example.com",
        "name:John_Smith",
    ]


def test_rfc4475_3_3_10_response_with_a_broadcast_via() -> None:
    message = read("bcast")
    assert (message.status, message.via_host) == (200, "192.0.2.198")
    assert parse_via(message.values("Via")[1]).host == "255.255.255.255"


def test_rfc4475_3_4_1_rfc2543_syntax() -> None:
    message = read("inv2543")
    assert (message.branch, message.from_tag, message.max_forwards, message.content_length) == ("", "", None, None)
    assert message.body.startswith(b"v=0")
    assert parse_uri(parse_name_addr(message.values("Record-Route")[0]).uri).params == {"maddr": "ss1.example.com"}


# ---- RFC 5118 ----


@pytest.mark.parametrize(("tag", "host", "port"), [
    ("ipv6-good", "[2001:db8::10]", None),
    ("port-ambiguous", "[2001:db8::10:5070]", None),
    ("port-unambiguous", "[2001:db8::10]", 5070),
    ("ipv6-bug-abnf-3-colons", "[2001:db8::c000:201]", None),
    ("ipv6-correct-abnf-2-colons", "[2001:db8::c000:201]", None),
])  # fmt: skip
def test_rfc5118_4_hosts_and_ports(tag: str, host: str, port: int | None) -> None:
    uri = parse_uri(read(tag, "rfc5118").uri)
    assert (uri.host, uri.port) == (host, port)


@pytest.mark.parametrize("tag", ["via-received-param-with-delim", "via-received-param-no-delim"])
def test_rfc5118_4_5_received_with_and_without_brackets(tag: str) -> None:
    message = read(tag, "rfc5118")
    assert message.via_host == "2001:db8::9:1"
    assert message.branch.startswith("z9hG4bKas3")
    via = parse_via(message.header("Via") or "")
    assert via.params["received"].strip("[]") == "2001:db8::9:255"
    # What is sent has none, whatever came.
    message.set_source("2001:db8::9:255", 5060)
    response = parse(build_response(message, 200, b"OK"))
    assert ";received=2001:db8::9:255" in (response.header("Via") or "")
    assert (response.header("Via") or "").count("received") == 1


def test_rfc5118_4_7_vias_of_both_kinds() -> None:
    vias = [parse_via(value) for value in read("mult-ip-in-header", "rfc5118").values("Via")]
    assert [(via.host, via.port) for via in vias] == [
        ("[2001:db8::9:1]", 6050),
        ("192.0.2.1", None),
        ("[2001:db8::9:255]", None),
    ]


def test_rfc5118_4_9_mapped_addresses() -> None:
    message = read("ipv4-mapped-ipv6", "rfc5118")
    assert message.via_host == "::ffff:192.0.2.10"
    message.set_source("192.0.2.10", 19823)
    response = parse(build_response(message, 200, b"OK"))
    assert "received" not in response.headers("Via")[0], "the address it names is the one it came from"
    assert parse_uri(address(message, "Contact")[1]).host in ("[::ffff:192.0.2.2]", "[::ffff:c000:202]")
