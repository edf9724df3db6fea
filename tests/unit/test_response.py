import pytest

from presence._fastcore import Message, build_response, parse

REQUEST = (
    b"SUBSCRIBE sip:alice@example.com SIP/2.0\r\n"
    b"Via: SIP/2.0/UDP 192.0.2.10:5070;branch=z9hG4bK1\r\n"
    b"v: SIP/2.0/UDP edge.example.com;branch=z9hG4bK0, SIP/2.0/TCP phone.example.com\r\n"
    b"f: <sip:bob@example.com>;tag=b1\r\n"
    b"Record-Route: <sip:edge.example.com;lr>\r\n"
    b"To: <sip:alice@example.com>\r\n"
    b"Timestamp: 54\r\n"
    b"i: c1@example.com\r\n"
    b"Record-Route: <sip:inner.example.com;lr>\r\n"
    b"CSeq: 7 SUBSCRIBE\r\n"
    b"Content-Length: 0\r\n\r\n"
)


def request(old: bytes = b"", new: bytes = b"", source: tuple[str, int] | None = ("192.0.2.10", 5070)) -> Message:
    message = parse(REQUEST.replace(old, new) if old else REQUEST)
    if source:
        message.set_source(*source)
    return message


def top_via(via: str, source: tuple[str, int]) -> str:
    message = request(b"SIP/2.0/UDP 192.0.2.10:5070;branch=z9hG4bK1", via.encode(), source)
    return parse(build_response(message, 200, b"OK")).headers("Via")[0]


def test_rfc3261_8_2_6_2_response_copies_the_request() -> None:
    response = build_response(request(), 200, b"OK", b"a1", b"Expires: 600\r\n", b"body")
    assert response == (
        b"SIP/2.0 200 OK\r\n"
        b"Via: SIP/2.0/UDP 192.0.2.10:5070;branch=z9hG4bK1\r\n"
        b"Via: SIP/2.0/UDP edge.example.com;branch=z9hG4bK0, SIP/2.0/TCP phone.example.com\r\n"
        b"From: <sip:bob@example.com>;tag=b1\r\n"
        b"To: <sip:alice@example.com>;tag=a1\r\n"
        b"Call-ID: c1@example.com\r\n"
        b"CSeq: 7 SUBSCRIBE\r\n"
        b"Record-Route: <sip:edge.example.com;lr>\r\n"
        b"Record-Route: <sip:inner.example.com;lr>\r\n"
        b"Timestamp: 54\r\n"
        b"Expires: 600\r\n"
        b"Content-Length: 4\r\n\r\n"
        b"body"
    )


def test_failure_response_has_no_record_route() -> None:
    response = parse(build_response(request(), 489, b"Bad Event", b"a1"))
    assert (response.status, response.reason, response.to_tag) == (489, "Bad Event", "a1")
    assert response.header("Record-Route") is None


def test_to_tag_of_the_request_stays() -> None:
    message = request(b"To: <sip:alice@example.com>", b"To: <sip:alice@example.com>;tag=old")
    assert parse(build_response(message, 200, b"OK", b"new")).header("To") == "<sip:alice@example.com>;tag=old"
    assert parse(build_response(request(), 100, b"Trying")).header("To") == "<sip:alice@example.com>"


@pytest.mark.parametrize(
    ("via", "source", "expected"),
    [
        ("SIP/2.0/UDP 192.0.2.10", ("192.0.2.10", 1024), "SIP/2.0/UDP 192.0.2.10"),
        ("SIP/2.0/UDP 192.0.2.10", ("192.0.2.99", 1024), "SIP/2.0/UDP 192.0.2.10;received=192.0.2.99"),
        (
            "SIP/2.0/UDP a.example.com;branch=z",
            ("192.0.2.1", 1),
            "SIP/2.0/UDP a.example.com;branch=z;received=192.0.2.1",
        ),
        (
            "SIP/2.0/UDP 192.0.2.10;rport;branch=z",
            ("192.0.2.10", 1024),
            "SIP/2.0/UDP 192.0.2.10;branch=z;rport=1024;received=192.0.2.10",
        ),
        (
            "SIP/2.0/UDP 192.0.2.10;rport=9;branch=z;received=198.51.100.1;rport",
            ("192.0.2.99", 1024),
            "SIP/2.0/UDP 192.0.2.10;branch=z;rport=1024;received=192.0.2.99",
        ),
        ("SIP/2.0/UDP 192.0.2.10;received=198.51.100.1", ("192.0.2.10", 1), "SIP/2.0/UDP 192.0.2.10"),
        (
            "SIP/2.0/UDP [2001:DB8::1]:5070;branch=z",
            ("2001:db8::1", 5070),
            "SIP/2.0/UDP [2001:DB8::1]:5070;branch=z",
        ),
        (
            "SIP/2.0/UDP [2001:db8::1]",
            ("2001:db8::2", 5070),
            "SIP/2.0/UDP [2001:db8::1];received=2001:db8::2",
        ),
        (
            "SIP / 2.0 / UDP\r\n 192.0.2.10 ; branch\r\n = z , SIP/2.0/UDP b",
            ("192.0.2.99", 1),
            "SIP / 2.0 / UDP 192.0.2.10; branch = z;received=192.0.2.99, SIP/2.0/UDP b",
        ),
    ],
)
def test_rfc3581_4_top_via_says_where_the_request_came_from(via: str, source: tuple[str, int], expected: str) -> None:
    assert top_via(via, source) == expected


def test_without_a_source_the_via_is_copied() -> None:
    message = request(b";branch=z9hG4bK1", b";branch=z9hG4bK1;rport", None)
    assert parse(build_response(message, 200, b"OK")).headers("Via")[0].endswith("z9hG4bK1;rport")


def test_malformed_but_answerable_request_gets_its_400() -> None:
    message = request(b"CSeq: 7 SUBSCRIBE", b"CSeq: 7 PUBLISH", ("192.0.2.99", 1))
    response = parse(build_response(message, 400, message.error.encode(), b"a1"))
    assert (response.error, response.reason) == ("", "CSeq Method Does Not Match")
    message = request(b";branch=z9hG4bK1\r\n", b";;,;\r\n", ("192.0.2.99", 1))
    response = parse(build_response(message, 400, message.error.encode(), b"a1"))
    assert response.headers("Via")[0] == "SIP/2.0/UDP 192.0.2.10:5070;;,;"


def test_unanswerable_request_is_a_programming_error() -> None:
    with pytest.raises(ValueError, match="answered"):
        build_response(parse(b"x"), 400, b"Bad Request")
    with pytest.raises(ValueError, match="status"):
        build_response(request(), 99, b"?")


def test_folded_fields_leave_unfolded() -> None:
    message = request(b"f: <sip:bob@example.com>;tag=b1", b"f: <sip:bob@example.com>\r\n  ;tag=b1")
    assert b"\r\nFrom: <sip:bob@example.com> ;tag=b1\r\n" in build_response(message, 200, b"OK")


def test_reason_phrase_cannot_carry_a_line_end() -> None:
    assert build_response(request(), 400, b"Bad\r\nX: y").startswith(b"SIP/2.0 400 Bad  X: y\r\n")


def test_many_rports_do_not_swell_the_response() -> None:
    message = request(b";branch=z9hG4bK1", b";rport" * 10_000, ("192.0.2.99", 65535))
    response = build_response(message, 200, b"OK")
    assert response.count(b"rport") == 1
    assert len(response) < len(message.raw)
