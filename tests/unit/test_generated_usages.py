"""Documents that nobody wrote: capabilities, directories, watchers, and what only the operator writes."""

import pytest
from lxml import etree
from xcap_memory import ALICE, BOB, ROOT, Memory, make_world

from presence.values import Aor, SubscriptionStatus, WatcherEvent, WatcherRecord
from presence.xcap.documents import Key
from presence.xcap.usages import usages

CAPS = "{urn:ietf:params:xml:ns:xcap-caps}"


def generate(world, auid, owner, name="index"):
    usage = world.usages[auid]
    body = usage.generate(Key(auid, owner, name), world)
    if body is None:
        return None
    tree = etree.fromstring(body)
    usage.validate(tree)
    return tree


def record(uri: str, status: SubscriptionStatus, expires_at: float = 0.0) -> WatcherRecord:
    return WatcherRecord("1", uri, "", status, WatcherEvent.SUBSCRIBE, 0.0, expires_at)


# xcap-caps (RFC 4825 section 12)


def test_rfc4825_12_capabilities_are_those_that_are_served():
    tree = generate(make_world(Memory()), "xcap-caps", None)
    auids = [each.text for each in tree.iter(f"{CAPS}auid")]
    namespaces = [each.text for each in tree.iter(f"{CAPS}namespace")]
    assert auids == sorted(usages())
    assert [each.tag for each in tree] == [f"{CAPS}auids", f"{CAPS}extensions", f"{CAPS}namespaces"]
    # What Blink wants before it shows presence at all.
    assert {"resource-lists", "rls-services", "org.openmobilealliance.pres-rules", "xcap-caps"} <= set(auids)
    # RFC 5025 section 8: also the namespaces of permissions and conditions.
    assert {
        "urn:ietf:params:xml:ns:xcap-caps",
        "urn:ietf:params:xml:ns:pres-rules",
        "urn:ietf:params:xml:ns:common-policy",
        "urn:ietf:params:xml:ns:pidf:rpid",
        "urn:oma:xml:xdm:common-policy",
    } <= set(namespaces)
    assert "test-app" not in namespaces
    assert len(set(namespaces)) == len(namespaces)


def test_rfc4825_12_what_is_switched_off_is_no_capability():
    memory = Memory()
    tree = generate(make_world(memory, served=usages(["rls-services", "pidf-manipulation"])), "xcap-caps", None)
    assert "rls-services" not in [each.text for each in tree.iter(f"{CAPS}auid")]
    assert "urn:ietf:params:xml:ns:pidf:rpid" not in [each.text for each in tree.iter(f"{CAPS}namespace")]


def test_rfc4825_12_7_there_is_one_document_in_the_global_tree():
    world = make_world(Memory())
    usage = world.usages["xcap-caps"]
    assert (usage.global_tree, usage.users_tree, usage.read_only) == (True, False, True)
    assert generate(world, "xcap-caps", None, "other") is None
    assert generate(world, "xcap-caps", ALICE) is None


# The directory


def test_oma_directory_lists_a_users_documents():
    memory = Memory()
    memory.write(Key("resource-lists", ALICE, "index"), b"<a/>")
    memory.write(Key("resource-lists", ALICE, "my list"), b"<abc/>")
    memory.write(Key("pres-rules", ALICE, "index"), b"<ab/>")
    memory.write(Key("pres-rules", BOB, "index"), b"<ab/>")
    old = memory.stored[Key("pres-rules", ALICE, "index")]
    memory.stored[old.key] = old._replace(changed_at=0.0, etag='x"&')
    tree = generate(make_world(memory), "org.openmobilealliance.xcap-directory", ALICE, "directory.xml")
    found = {folder.get("auid"): [dict(entry.attrib) for entry in folder] for folder in tree}
    home = f"{ROOT}/resource-lists/users/sip:alice@example.com"
    date = "2026-07-01T12:00:00Z"
    assert found == {
        "pres-rules": [{"uri": f"{ROOT}/pres-rules/users/sip:alice@example.com/index", "etag": 'x"&', "size": "5"}],
        "resource-lists": [
            {"uri": f"{home}/index", "etag": "e1", "last-modified": date, "size": "4"},
            {"uri": f"{home}/my%20list", "etag": "e1", "last-modified": date, "size": "6"},
        ],
    }


def test_oma_directory_of_a_user_without_documents_is_empty():
    tree = generate(make_world(Memory()), "org.openmobilealliance.xcap-directory", ALICE)
    assert len(tree) == 0
    assert generate(make_world(Memory()), "org.openmobilealliance.xcap-directory", ALICE, "other") is None
    assert generate(make_world(Memory()), "org.openmobilealliance.xcap-directory", None) is None


# Watchers


def test_watchers_are_shown_as_openxcap_does():
    rows = [
        record("sip:carol@example.com", SubscriptionStatus.PENDING),
        record("sip:bob@example.com", SubscriptionStatus.ACTIVE, 5.0),
        record("sip:dan@example.com", SubscriptionStatus.TERMINATED),
        record("sip:erin@example.com", SubscriptionStatus.WAITING),
        record("tel:+15550100", SubscriptionStatus.ACTIVE),
        record("sip:bob@example.com", SubscriptionStatus.ACTIVE),
        record("<&>", SubscriptionStatus.ACTIVE),
    ]
    tree = generate(make_world(Memory(), watchers=rows), "org.openxcap.watchers", ALICE)
    assert [tuple(each.text for each in watcher) for watcher in tree] == [
        ("+15550100", "allow", "false"),
        ("<&>", "allow", "false"),
        ("bob@example.com", "allow", "true"),
        ("carol@example.com", "confirm", "false"),
        ("dan@example.com", "deny", "false"),
        ("erin@example.com", "confirm", "false"),
    ]
    assert [etree.QName(child).localname for child in tree[0]] == ["id", "status", "online"]


def test_who_has_no_watchers_has_an_empty_document():
    tree = generate(make_world(Memory()), "org.openxcap.watchers", ALICE)
    assert tree.tag == "{http://openxcap.org/ns/watchers}watchers"
    assert len(tree) == 0
    assert generate(make_world(Memory()), "org.openxcap.watchers", ALICE, "other") is None
    assert generate(make_world(Memory()), "org.openxcap.watchers", None) is None


# What only the operator writes


def test_a_locked_profile_is_what_is_stored():
    memory = Memory()
    world = make_world(memory)
    auid = "org.openmobilealliance.locked-user-profile"
    assert generate(world, auid, ALICE) is None
    memory.write(Key(auid, ALICE, "index"), '<user-profiles xmlns="urn:oma:xml:xdm:user-profile"/>')
    assert len(generate(world, auid, ALICE)) == 0
    assert generate(world, auid, Aor("bob", "example.com")) is None


@pytest.mark.parametrize(
    "auid",
    [
        "xcap-caps",
        "org.openmobilealliance.xcap-directory",
        "org.openxcap.watchers",
        "org.openmobilealliance.locked-user-profile",
    ],
)
def test_what_is_generated_is_written_by_nobody(auid):
    assert usages()[auid].read_only
