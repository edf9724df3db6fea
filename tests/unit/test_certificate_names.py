"""Who a certificate says its holder is (RFC 5922 sections 7.1 and 7.2)."""

import pytest

from presence.transport.tls import is_named, read_names

SUBJECT = ((("countryName", "DE"),), (("commonName", "Alias.example.com"),))


def certificate(*alternatives: tuple[str, str]) -> dict[str, object]:
    return {"subject": SUBJECT, "subjectAltName": alternatives} if alternatives else {"subject": SUBJECT}


def test_rfc5922_7_1_identities_are_sip_uris_and_host_names() -> None:
    found = read_names(
        certificate(
            ("URI", "sip:example.com"),
            ("URI", "SIPS:alice@example.com"),
            ("URI", "im:example.com"),
            ("DNS", "Proxy.example.com"),
            ("IP Address", "192.0.2.1"),
            ("email", "alice@example.com"),
        )
    )
    assert found == ("sip:example.com", "SIPS:alice@example.com", "proxy.example.com")


def test_rfc5922_7_1_the_common_name_counts_without_alternatives_alone() -> None:
    assert read_names(certificate()) == ("alias.example.com",)
    assert read_names(certificate(("email", "alice@example.com"))) == ()
    assert read_names({}) == ()
    assert read_names({"subject": ((("commonName", "Lab phone, room 12"),),)}) == ()


@pytest.mark.parametrize(
    ("alternatives", "host", "same"),
    [
        ((("DNS", "example.com"),), "EXAMPLE.com", True),
        ((("DNS", "*.example.com"),), "sip.example.com", False),
        ((("DNS", "example.com"),), "sip.example.com", False),
        ((("URI", "sip:example.com"), ("DNS", "host.example.com")), "example.com", True),
        ((("URI", "sip:example.com"), ("DNS", "host.example.com")), "host.example.com", False),
        ((("URI", "sip:alice@example.com"), ("DNS", "host.example.com")), "host.example.com", True),
        ((("URI", "sip:alice@example.com"),), "example.com", False),
        ((("URI", "sips:example.com"),), "example.com", False),
        ((("IP Address", "192.0.2.1"),), "192.0.2.1", True),
        ((("IP Address", "2001:DB8:0:0:0:0:0:1"),), "2001:db8::1", True),
        ((("DNS", "192.0.2.1"),), "192.0.2.1", False),
        ((), "alias.example.com", True),
        ((), "192.0.2.1", False),
    ],
)
def test_rfc5922_7_2_names_are_compared_whole(alternatives: tuple[tuple[str, str], ...], host: str, same: bool) -> None:
    assert is_named(certificate(*alternatives), host) is same
