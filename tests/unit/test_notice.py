"""What an XCAP server publishes about changed documents (RFC 5874), read for where to look."""

import pytest

from presence.errors import BadRequest
from presence.values import Aor
from presence.xcap.notice import DOCUMENTS_MAX, documents_named
from presence.xcap.shelf import Key

ALICE = Aor("alice", "example.com")
ROOT = "http://xcap.example.com/xcap-root/"


def notice(*children: str, root: str = ROOT) -> bytes:
    inside = "".join(children)
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        f'<xcap-diff xmlns="urn:ietf:params:xml:ns:xcap-diff" xcap-root="{root}">{inside}</xcap-diff>'
    ).encode()


def document(selector: str) -> str:
    return f'<document new-etag="2" sel="{selector}" previous-etag="1"/>'


@pytest.mark.parametrize(
    ("selector", "key"),
    [
        ("pres-rules/users/sip:alice@example.com/index", Key("pres-rules", ALICE, "index")),
        ("pres-rules/users/sip:alice@example.com/index.xml", Key("pres-rules", ALICE, "index")),
        ("/resource-lists/users/alice@Example.com/index.xml", Key("resource-lists", ALICE, "index.xml")),
        ("pres-rules/users/sip%3Aalice%40example.com/a/b", Key("pres-rules", ALICE, "a/b")),
        ("test-app/users/sip:alice@example.com/index/~~/root/child[2]", Key("test-app", ALICE, "index")),
        ("resource-lists/global/index", Key("resource-lists", None, "index")),
        ("pres-rules/users/sip:alice@example.com/", None),
        ("pres-rules/users/sip:alice@example.com", None),
        ("pres-rules/users/sip:a b@/index", None),
        ("pres-rules/somewhere/index", None),
        ("pres-rules", None),
        ("", None),
    ],
)
def test_rfc5874_4_selectors_name_documents(selector: str, key: Key | None) -> None:
    assert documents_named(notice(document(selector))) == ([key] if key else [])


def test_rfc5874_4_elements_and_attributes_name_theirs_and_each_is_named_once() -> None:
    path = "pres-rules/users/sip:alice@example.com/index"
    body = notice(
        document(path),
        f'<d:element xmlns:d="urn:ietf:params:xml:ns:xcap-diff" sel="{path}/~~/ruleset"><x/></d:element>',
        f'<attribute sel="{path}/~~/ruleset/@id">v</attribute>',
        document(path.replace("alice", "bob")),
    )
    assert [key.owner for key in documents_named(body)] == [ALICE, Aor("bob", "example.com")]


def test_a_notice_of_another_root_says_nothing() -> None:
    body = notice(document("pres-rules/users/sip:alice@example.com/index"))
    assert len(documents_named(body, ["http://other.example.com", ROOT.rstrip("/")])) == 1
    assert documents_named(body, ["http://other.example.com"]) == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<xcap-diff/>",
        b"text",
        b"<!DOCTYPE a []>" + notice(),
        notice()[:-5],
        notice().replace(b"xcap-diff xm", b"x xm"),
    ],
)
def test_what_is_no_notice_is_refused(body: bytes) -> None:
    with pytest.raises(BadRequest):
        documents_named(body)


def test_a_notice_is_bounded() -> None:
    many = [document(f"t/users/u{number}@e/i") for number in range(DOCUMENTS_MAX + 10)]
    assert len(documents_named(notice(*many))) == DOCUMENTS_MAX
