"""The sphere of a presentity, from its published documents (RFC 5025 section 3.1.2, RFC 4480 section 3.11)."""

import pytest

from presence.document.pidf import parse_pidf
from presence.document.sphere import sphere_of


def published(*spheres: str, inside: str = "dm:person") -> bytes:
    body = (
        '<presence xmlns="urn:ietf:params:xml:ns:pidf" xmlns:dm="urn:ietf:params:xml:ns:pidf:data-model" '
        'xmlns:r="urn:ietf:params:xml:ns:pidf:rpid" xmlns:x="urn:x" entity="sip:alice@example.com">'
        + "".join(f'<{inside} id="i{at}">{sphere}</{inside}>' for at, sphere in enumerate(spheres))
        + "</presence>"
    ).encode()
    parse_pidf(body)
    return body


@pytest.mark.parametrize(
    ("written", "sphere"),
    [
        ("<r:sphere><r:work/></r:sphere>", "work"),
        ('<r:sphere from="2005-05-30T12:00:00Z" until="2005-05-30T17:00:00Z"><r:home/></r:sphere>', "home"),
        ("<r:sphere>bowling league</r:sphere>", "bowling league"),
        ("<r:sphere>\n work\n</r:sphere>", "work"),
        ("<r:sphere><x:scouting/></r:sphere>", "scouting"),
        ('<s:sphere xmlns:s="urn:ietf:params:xml:ns:pidf:rpid"><s:work/></s:sphere>', "work"),
        ("<r:sphere><!-- c --><r:work/></r:sphere>", "work"),
        ("<r:sphere/>", None),
        ("<x:sphere><x:work/></x:sphere>", None),
        ("<r:mood/>", None),
        ("", None),
    ],
)
def test_rfc4480_3_11_spheres_as_they_are_written(written: str, sphere: str | None) -> None:
    assert sphere_of([published(written)]) == sphere


WORK, HOME = "<r:sphere><r:work/></r:sphere>", "<r:sphere><r:home/></r:sphere>"


def test_rfc5025_3_1_2_one_document_with_a_sphere_is_enough() -> None:
    assert sphere_of([published(), published(WORK), published("<r:mood/>")]) == "work"
    assert sphere_of(iter([published(WORK), published(WORK.replace("work", "Work"))])) in ("work", "Work")


def test_rfc5025_3_1_2_spheres_that_differ_are_undefined() -> None:
    assert sphere_of([published(WORK), published(HOME)]) is None
    assert sphere_of([published(WORK, HOME)]) is None


def test_rfc5025_3_1_2_without_a_sphere_it_is_undefined() -> None:
    assert sphere_of([]) is None
    assert sphere_of([published()]) is None


def test_rfc5025_3_1_2_only_spheres_of_persons_count() -> None:
    assert sphere_of([published(WORK, inside="dm:device")]) is None
    assert sphere_of([published(WORK, inside="tuple")]) is None


def test_a_document_may_come_in_utf_16() -> None:
    body = published(WORK).decode().encode("utf-16")
    parse_pidf(body)
    assert sphere_of([body]) == "work"
