"""Which document a path below an XCAP root names (RFC 4825 section 6)."""

import pytest

from presence.values import Aor
from presence.xcap.paths import key_of
from presence.xcap.shelf import Key

ALICE = Aor("alice", "example.com")


@pytest.mark.parametrize(
    ("path", "key"),
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
def test_rfc4825_6_a_path_names_a_document(path: str, key: Key | None) -> None:
    assert key_of(path) == key
