"""Who is on a list that rules refer to, through all references (RFC 4826 sections 3.1 and 4.5, OMA external lists)."""

import pytest
import xcap_examples as examples
from xcap_memory import ALICE, BOB, ROOT, Memory

from presence.values import Aor
from presence.xcap.documents import Key
from presence.xcap.references import DOCUMENTS_MOST, Lists
from presence.xcap.services import read_services

HOME = f"{ROOT}/resource-lists/users/sip:alice@example.com"
INDEX = Key("resource-lists", ALICE, "index")


def lists(inside: str) -> str:
    return f'<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists">{inside}</resource-lists>'


def names(*users: str) -> frozenset[Aor]:
    return frozenset(Aor(user, "example.com") for user in users)


def by_name(name: str, document: str = "index") -> str:
    return f"{HOME}/{document}/~~/resource-lists/list%5B@name=%22{name}%22%5D"


@pytest.fixture
def memory() -> Memory:
    return Memory()


@pytest.fixture
def blink(memory: Memory) -> Lists:
    memory.write(INDEX, examples.BLINK_LISTS.replace("{root}", ROOT).replace("{user}", "alice@example.com"))
    return Lists(memory, (ROOT,))


# Blink's lists


@pytest.mark.parametrize(
    ("name", "members"),
    [
        ("friends", ("carol", "dan", "erin")),
        ("oma_buddylist", ("carol", "dan", "erin")),
        ("oma_grantedcontacts", ("bob", "carol", "dan", "erin")),
        ("oma_blockedcontacts", ("mallory",)),
        ("oma_allcontacts", ("bob", "carol", "dan", "erin", "mallory")),
        ("sipsimple_addressbook", ()),
        ("nothing", ()),
    ],
)
def test_lists_of_blink_are_resolved(blink, name, members):
    assert blink.members(by_name(name), ALICE) == names(*members)
    assert blink.depends_on(by_name(name), ALICE) == {INDEX}


@pytest.mark.parametrize(
    "anchor",
    [
        f"{HOME}/index/~~/resource-lists/list[@name='friends']",
        f'{HOME}/index/~~/resource-lists/list[@name="friends"]',
        f"{HOME}/index/~~/resource-lists/list%5b%40name%3D%22friends%22%5d",
        f"{HOME}/index/~~/resource-lists/list%5B6%5D",
        f"{HOME}/index/~~/resource-lists/*%5B@name=%22friends%22%5D",
        f"{HOME}/index/~~/r:resource-lists/r:list%5B6%5D?xmlns(r=urn:ietf:params:xml:ns:resource-lists)",
        f"{HOME}/index/%7E%7E/resource-lists/list%5B6%5D",
        f"{ROOT}/resource-lists/users/alice@example.com/index/~~/resource-lists/list%5B6%5D",
        f"{ROOT}/resource-lists/users/sip%3Aalice%40example.com/index/~~/resource-lists/list%5B6%5D",
        f"{ROOT}/resource-lists/users/sip:%61lice@EXAMPLE.COM/index/~~/resource-lists/list%5B6%5D",
        "https://xcap.example.com/resource-lists/users/sip:alice@example.com/index/~~/resource-lists/list%5B6%5D",
        "http://XCAP.example.com:80/resource-lists/users/sip:alice@example.com/index/~~/resource-lists/list%5B6%5D",
        "https://proxy.example.net/resource-lists/users/sip:alice@example.com/index/~~/resource-lists/list%5B6%5D",
    ],
)
def test_an_anchor_counts_in_all_its_spellings(blink, anchor):
    assert blink.members(anchor, ALICE) == names("carol", "dan", "erin")


@pytest.mark.parametrize(
    "anchor",
    [
        "",
        "sip:alice@example.com",
        "http://[",
        f"{HOME}",
        f"{HOME}/other",
        f"{HOME}/index/~~/resource-lists/list",  # of several
        f"{HOME}/index/~~/resource-lists/list%5B6%5D/@name",
        f"{HOME}/index/~~/resource-lists/list%5B6%5D/namespace::*",
        f"{HOME}/index/~~/resource-lists/list%5B",
        f"{HOME}/index/~~/x:list",
        f"{ROOT}/pres-rules/users/sip:alice@example.com/index",
        f"{ROOT}/resource-lists/global/index",
        f"{ROOT}/elsewhere/resource-lists/users/sip:alice@example.com/index",
        f"{HOME}/index/~~/resource-lists/list%5B1%5D/" + "x/" * 10_000,
    ],
)
def test_what_is_no_anchor_names_nobody(blink, anchor):
    flat = blink.flat(anchor, ALICE)
    assert (flat.members, flat.broken) == (frozenset(), (anchor,))


def test_a_root_with_a_path_is_told_from_others():
    memory = Memory()
    memory.write(INDEX, lists('<list><entry uri="sip:bob@example.com"/></list>'))
    found = Lists(memory, ("http://a.example.com:8080/xcap-root", "https://b.example.com/services"))
    for root in ("http://a.example.com:8080/xcap-root", "https://b.example.com/services", "http://proxy/xcap-root"):
        assert found.members(f"{root}/resource-lists/users/sip:alice@example.com/index", ALICE) == names("bob")
    named = "http://a.example.com:8080/xcap-root@example.com/resource-lists/users/alice/index"
    assert found.members(named, ALICE) == names("bob")
    for root in ("http://a.example.com:8080", "http://a.example.com:8080/xcap-root/x", "http://a/xcap-rooted"):
        assert found.members(f"{root}/resource-lists/users/sip:alice@example.com/index", ALICE) == frozenset()


# What lists consist of


def test_a_whole_document_is_all_its_lists(blink):
    assert blink.members(f"{HOME}/index", ALICE) == names("bob", "carol", "dan", "erin", "mallory")
    assert blink.members(f"{HOME}/index/~~/resource-lists", ALICE) == names("bob", "carol", "dan", "erin", "mallory")


def test_rfc4826_4_5_uris_come_once_each_in_the_order_of_the_document(memory):
    memory.write(
        INDEX,
        lists(
            '<list name="a"><entry uri="sip:z@example.com"/><list><entry uri="sip:y@example.com"/></list>'
            f'<external anchor="{by_name("b")}"/><entry uri="sip:a@example.com"/></list>'
            '<list name="b"><entry uri="sip:x@example.com"/><entry uri="sip:z@example.com"/></list>'
        ),
    )
    flat = Lists(memory, (ROOT,)).flat(by_name("a"), ALICE)
    assert flat.uris == tuple(f"sip:{user}@example.com" for user in "zyxa")


def test_rfc4826_3_1_entry_ref_is_relative_to_the_root(memory):
    other = memory.write(
        Key("resource-lists", ALICE, "other"), lists('<list><entry uri="sip:bob@example.com"/></list>')
    )
    ref = "resource-lists/users/sip:alice@example.com/other/~~/resource-lists/list/entry%5b@uri=%22sip:bob@example.com%22%5d"  # noqa: E501
    memory.write(INDEX, lists(f'<list name="a"><entry-ref ref="{ref}"/></list>'))
    found = Lists(memory, (ROOT,))
    assert found.members(by_name("a"), ALICE) == names("bob")
    assert found.depends_on(by_name("a"), ALICE) == {INDEX, other}


@pytest.mark.parametrize(
    "ref", ["", "x", "resource-lists/users/sip:alice@example.com/index/~~/resource-lists/list", "%"]
)
def test_rfc4826_4_5_entry_ref_to_anything_but_an_entry_is_broken(memory, ref):
    memory.write(INDEX, lists(f'<list name="a"><entry-ref ref="{ref}"/><entry uri="sip:bob@example.com"/></list>'))
    flat = Lists(memory, (ROOT,)).flat(by_name("a"), ALICE)
    assert (flat.members, flat.broken) == (names("bob"), (ref,))


def test_entries_are_addresses_of_record_whatever_their_spelling(memory):
    memory.write(
        INDEX,
        lists(
            '<list name="a"><entry uri="sips:%62ob@EXAMPLE.com;transport=tls"/><entry uri="pres:carol@example.com"/>'
            '<entry uri="tel:+1-555-0100"/><entry uri="mailto:dan@example.com"/><entry uri="nobody"/><entry uri=""/>'
            "</list>"
        ),
    )
    members = Lists(memory, (ROOT,)).members(by_name("a"), ALICE)
    assert members == names("bob", "carol") | {Aor("+15550100", "")}


def test_elements_of_other_namespaces_are_no_entries(memory):
    memory.write(INDEX, lists('<list name="a"><x:entry xmlns:x="urn:x" uri="sip:bob@example.com"/></list>'))
    assert Lists(memory, (ROOT,)).members(by_name("a"), ALICE) == frozenset()


def test_rfc4826_4_1_a_list_within_a_service_is_resolved_too(memory):
    memory.write(INDEX, lists('<list name="b"><entry uri="sip:carol@example.com"/></list>'))
    body = (
        '<rls-services xmlns="urn:ietf:params:xml:ns:rls-services" xmlns:rl="urn:ietf:params:xml:ns:resource-lists">'
        '<service uri="sip:friends@example.com"><list><rl:entry uri="sip:bob@example.com"/>'
        f'<rl:external anchor="{by_name("b")}"/></list></service></rls-services>'
    )
    [service] = read_services(body.encode())
    flat = Lists(memory, (ROOT,)).expand(service.children[0], ALICE)
    assert (flat.members, set(flat.versions)) == (names("bob", "carol"), {INDEX})


# Bounds


def test_rfc4826_4_5_circles_end(memory):
    memory.write(
        INDEX,
        lists(
            f'<list name="a"><entry uri="sip:bob@example.com"/><external anchor="{by_name("b")}"/></list>'
            f'<list name="b"><entry uri="sip:carol@example.com"/><external anchor="{by_name("a")}"/>'
            f'<external anchor="{by_name("b")}"/></list>'
        ),
    )
    assert Lists(memory, (ROOT,)).members(by_name("a"), ALICE) == names("bob", "carol")


def test_a_chain_of_documents_is_followed_only_so_far(memory):
    for number in range(100):
        following = f'<external anchor="{HOME}/d{number + 1}"/>'
        memory.write(
            Key("resource-lists", ALICE, f"d{number}"),
            lists(f'<list><entry uri="sip:u{number}@example.com"/>{following}</list>'),
        )
    flat = Lists(memory, (ROOT,)).flat(f"{HOME}/d0", ALICE)
    assert len(flat.members) == len(flat.versions) == DOCUMENTS_MOST
    assert flat.broken == (f"{HOME}/d{DOCUMENTS_MOST}",)


def test_doubling_references_do_not_multiply(memory):
    refer = [f'<external anchor="{by_name(f"l{n + 1}")}"/>' for n in range(40)]
    anchors = [f'<list name="l{n}">{each}<list>{each}</list></list>' for n, each in enumerate(refer)]
    memory.write(INDEX, lists("".join(anchors) + '<list name="l40"><entry uri="sip:bob@example.com"/></list>'))
    assert Lists(memory, (ROOT,)).members(by_name("l0"), ALICE) == names("bob")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<broken",
        b"\xff",
        b'<!DOCTYPE x [<!ENTITY a "b">]><x>&a;</x>',
        lists("<list>" * 500 + "</list>" * 500).encode(),
        b'<x xmlns="urn:x"/>',
    ],
)
def test_documents_that_cannot_be_read_have_nobody_on_them(memory, body):
    memory.write(INDEX, body)
    found = Lists(memory, (ROOT,))
    assert found.members(f"{HOME}/index", ALICE) == frozenset()
    assert found.depends_on(f"{HOME}/index", ALICE) == {INDEX}


# Whose lists


def test_rfc4826_3_4_9_lists_of_others_are_not_looked_into_unless_allowed(memory):
    bobs = memory.write(Key("resource-lists", BOB, "index"), lists('<list><entry uri="sip:carol@example.com"/></list>'))
    anchor = f"{ROOT}/resource-lists/users/sip:bob@example.com/index"
    memory.write(INDEX, lists(f'<list name="a"><external anchor="{anchor}"/></list>'))
    strict, open_ = Lists(memory, (ROOT,)), Lists(memory, (ROOT,), allow_others=True)
    assert strict.members(by_name("a"), ALICE) == frozenset() == strict.members(anchor, ALICE)
    assert open_.members(by_name("a"), ALICE) == names("carol") == open_.members(anchor, ALICE)
    assert open_.depends_on(by_name("a"), ALICE) == {INDEX, bobs}
    assert strict.members(anchor, BOB) == names("carol")
    # Of others only what is certainly here.
    assert open_.members(anchor.replace("xcap.", "proxy."), ALICE) == frozenset()


# Memory


def test_a_change_of_a_document_is_seen_and_nothing_is_read_twice(blink, memory):
    assert blink.members(by_name("oma_blockedcontacts"), ALICE) == names("mallory")
    kept = blink.flat(by_name("oma_blockedcontacts"), ALICE)
    assert blink.flat(by_name("oma_blockedcontacts"), ALICE) is kept
    memory.write(INDEX, lists('<list name="oma_blockedcontacts"><entry uri="sip:bob@example.com"/></list>'))
    assert blink.members(by_name("oma_blockedcontacts"), ALICE) == names("bob")


def test_a_document_written_without_a_new_etag_is_seen_too(blink, memory):
    assert blink.members(by_name("oma_blockedcontacts"), ALICE) == names("mallory")
    stored = memory.stored[INDEX]
    memory.stored[INDEX] = stored._replace(body=stored.body.replace(b"mallory", b"trudy"))
    assert blink.members(by_name("oma_blockedcontacts"), ALICE) == names("trudy")


def test_what_is_not_there_yet_is_depended_on(memory):
    found = Lists(memory, (ROOT,))
    assert found.members(by_name("a"), ALICE) == frozenset()
    assert found.depends_on(by_name("a")) == {INDEX}
    assert found.depends_on("nothing") == frozenset()
    memory.write(INDEX, lists('<list name="a"><entry uri="sip:bob@example.com"/></list>'))
    assert found.members(by_name("a"), ALICE) == names("bob")
    memory.remove(INDEX)
    assert found.members(by_name("a"), ALICE) == frozenset()
