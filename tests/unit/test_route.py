"""Where a request inside a dialog is addressed (RFC 3261 sections 12.2.1.1 and 19.1.1)."""

import pytest

from presence.sip.route import request_uri


@pytest.mark.parametrize(
    ("uri", "rest"),
    [
        ("sip:bob@h", "sip:bob@h"),
        ("sip:h?Subject=x", "sip:h"),
        ("sip:bob@h:5070;method=INVITE", "sip:bob@h:5070"),
        ("sip:bob@h;METHOD=INVITE;lr?a=b", "sip:bob@h;lr"),
        ("sip:bob@h;methods=x;x=method", "sip:bob@h;methods=x;x=method"),
        ("sip:bob?x;method=y@h;method", "sip:bob?x;method=y@h"),
        ("sip:[2001:db8::1];method=A;method=B;maddr=h", "sip:[2001:db8::1];maddr=h"),
    ],
)
def test_rfc3261_19_1_1_a_request_uri_has_no_headers_and_no_method(uri: str, rest: str) -> None:
    assert request_uri(uri) == rest
