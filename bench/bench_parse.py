"""Parsing, in `parse` (the copy and the Python object) and in the scanner alone.

Run with `python -m pytest bench/bench_parse.py`; a row of the `scan` group is SCANS scans.
"""

from typing import Any

import pytest

from presence._fastcore import _scan_many, build_response, parse

SCANS = 1000

SUBSCRIBE = (
    b"SUBSCRIBE sip:alice@example.com SIP/2.0\r\n"
    b"Via: SIP/2.0/UDP 192.0.2.10:5060;branch=z9hG4bK776asdhds2983;rport\r\n"
    b"Max-Forwards: 70\r\n"
    b"To: <sip:alice@example.com>\r\n"
    b'From: "Bob Builder" <sip:bob@example.com>;tag=1928301774\r\n'
    b"Call-ID: a84b4c76e66710@pc33.example.com\r\n"
    b"CSeq: 314159 SUBSCRIBE\r\n"
    b"Contact: <sip:bob@192.0.2.10:5060;transport=udp>\r\n"
    b"Event: presence\r\n"
    b"Expires: 3600\r\n"
    b"Accept: application/pidf+xml, application/rlmi+xml, multipart/related\r\n"
    b"Supported: eventlist, path\r\n"
    b"Allow: INVITE, ACK, CANCEL, OPTIONS, BYE, REFER, NOTIFY, MESSAGE, SUBSCRIBE, INFO\r\n"
    b"User-Agent: ExamplePhone/1.2\r\n"
    b"Content-Length: 0\r\n\r\n"
)
BODY = (
    b'<?xml version="1.0" encoding="UTF-8"?>\r\n'
    b'<presence xmlns="urn:ietf:params:xml:ns:pidf" entity="pres:alice@example.com">\r\n'
    b'<tuple id="t1"><status><basic>open</basic></status>'
    b'<contact priority="0.8">sip:alice@192.0.2.10</contact>'
    b"<note>in a meeting</note><timestamp>2024-01-01T12:00:00Z</timestamp></tuple>\r\n</presence>"
).ljust(433)
PUBLISH = (
    b"PUBLISH sip:alice@example.com SIP/2.0\r\n"
    b"Via: SIP/2.0/UDP 192.0.2.10:5060;branch=z9hG4bK776asdhds2983;rport\r\n"
    b"Max-Forwards: 70\r\n"
    b"To: <sip:alice@example.com>\r\n"
    b"From: <sip:alice@example.com>;tag=1928301774\r\n"
    b"Call-ID: a84b4c76e66710@pc33.example.com\r\n"
    b"CSeq: 314159 PUBLISH\r\n"
    b"Event: presence\r\n"
    b"SIP-If-Match: dx200xyz\r\n"
    b"Expires: 3600\r\n"
    b"Content-Type: application/pidf+xml\r\n"
    b"Content-Length: 433\r\n\r\n"
) + BODY
RESPONSE = (
    b"SIP/2.0 200 OK\r\n"
    b"Via: SIP/2.0/UDP 192.0.2.10:5060;branch=z9hG4bK776asdhds2983;rport=5060;received=192.0.2.10\r\n"
    b"To: <sip:alice@example.com>;tag=abcdef01\r\n"
    b"From: <sip:bob@example.com>;tag=1928301774\r\n"
    b"Call-ID: a84b4c76e66710@pc33.example.com\r\n"
    b"CSeq: 314159 NOTIFY\r\n"
    b"Contact: <sip:alice@192.0.2.10:5060>\r\n"
    b"Content-Length: 0\r\n\r\n"
)

messages = pytest.mark.parametrize("data", [SUBSCRIBE, PUBLISH, RESPONSE], ids=["subscribe", "publish", "response"])


@messages
@pytest.mark.benchmark(group="scan")
def test_scan(benchmark: Any, data: bytes) -> None:
    assert benchmark(_scan_many, data, SCANS) == 0


@messages
@pytest.mark.benchmark(group="parse")
def test_parse(benchmark: Any, data: bytes) -> None:
    assert benchmark(parse, data).error == ""


@pytest.mark.benchmark(group="build")
def test_build_response(benchmark: Any) -> None:
    request = parse(SUBSCRIBE)
    request.set_source("192.0.2.10", 5060)
    assert parse(benchmark(build_response, request, 200, b"OK", b"abcdef01", b"Expires: 3600\r\n")).error == ""
