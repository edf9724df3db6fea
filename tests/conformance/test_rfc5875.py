"""The event package xcap-diff: who is told what of which documents (RFC 5875)."""

from collections.abc import Iterator
from itertools import pairwise

import pytest
from diffs import ROOT, SETTING, Diff, canonical, delete, listed, same, write
from lxml import etree
from net import Agent, Network, Publication

from presence.document.xml import escape
from presence.values import Aor
from presence.xcap.documents import Key

ALICE_URI = "sip:alice@example.com"
ALICE, BOB = "users/sip:alice@example.com", "users/sip:bob@example.com"
LISTS, PIDF, TEST = (f"{auid}/{ALICE}/index" for auid in ("resource-lists", "pidf-manipulation", "test-app"))
LISTS_NS = "urn:ietf:params:xml:ns:resource-lists"
PAUSE_S = 5.1
"""Until the next change is told."""


def lists(*names: str, more: str = "") -> str:
    """Write a document whose patches are worth it."""
    entries = "".join(f'\n  <list name="{name}"><entry uri="sip:{name}@example.com"/></list>' for name in names)
    return f'<resource-lists xmlns="{LISTS_NS}">{entries}{more}\n</resource-lists>'


@pytest.fixture
def net() -> Iterator[Network]:
    network = Network(SETTING)
    yield network
    network.close()


def ask(agent: Agent, *uris: str, mode: str = "", **fields: str) -> Diff:
    watch = Diff(agent, *uris, mode=mode, **fields)
    assert watch.ask() == 200
    return watch


def change(net: Network, sel: str, etag: str, document: str) -> None:
    write(net, sel, etag, document)
    net.advance(PAUSE_S)


# ---- 4.1, 4.4: what can be asked for ----


def test_rfc5875_4_7_the_first_notify_lists_the_documents_there_are(net: Network, alice: Agent) -> None:
    write(net, LISTS, "1", lists("a"))
    write(net, PIDF, "2", "<presence/>")
    watch = ask(alice, LISTS, TEST, PIDF)
    assert watch.names() == [(LISTS, None, "1"), (PIDF, None, "2")]
    assert watch.newest.header("Content-Type") == "application/xcap-diff+xml"
    assert watch.newest.header("Event") == "xcap-diff"
    assert etree.fromstring(watch.newest.body).get("xcap-root") == f"{ROOT}/"


def test_rfc5875_4_1_a_collection_is_all_documents_below_it(net: Network, alice: Agent) -> None:
    deep = f"test-app/{ALICE}/a/b/c"
    for sel in (LISTS, TEST, deep):
        write(net, sel, "1", "<a/>")
    for uri, expected in {
        f"test-app/{ALICE}/": {TEST, deep},
        f"test-app/{ALICE}/a/": {deep},
        f"test-app/{ALICE}/a/b/": {deep},
        f"test-app/{ALICE}/b/": set(),
        "test-app/": {TEST, deep},
        "test-app/users/": {TEST, deep},
        "test-app/global/": set(),
        f"{ROOT}/": {LISTS, TEST, deep},
    }.items():
        assert {sel for sel, _, _ in ask(alice, uri).names()} == expected, uri


def test_rfc5875_4_6_documents_of_a_collection_are_named_as_it_is(net: Network, alice: Agent) -> None:
    write(net, f"test-app/{ALICE}/a name", "1", "<a/>")
    watch = ask(alice, "test-app/users/sip%3Aalice@example.com/")
    assert watch.names() == [("test-app/users/sip%3Aalice@example.com/a%20name", None, "1")]


def test_rfc5875_4_6_selectors_are_those_of_the_list_octet_by_octet(net: Network, alice: Agent) -> None:
    write(net, LISTS, "1", lists("a"))
    document = "resource-lists/users/sip%3aalice%40example.com/index"
    element = "resource-lists/users/alice@example.com/index/~~/resource-lists/list%5b@name=%22a%22%5d"
    watch = ask(alice, document, element)
    assert [part.attributes["sel"] for part in watch.told[-1]] == [document, element]


def test_rfc5875_4_7_what_is_asked_for_twice_is_told_once(net: Network, alice: Agent) -> None:
    write(net, LISTS, "1", lists("a"))
    other = "resource-lists/users/alice@example.com/index"
    watch = ask(alice, "resource-lists/", LISTS, other, f"{ROOT}/{LISTS}", "resource-lists/users/")
    assert watch.names() == [(LISTS, None, "1")]
    change(net, LISTS, "2", lists("b"))
    assert watch.names() == [(LISTS, "1", "2")]


@pytest.mark.parametrize("uri", [f"{ROOT}/{LISTS}", f"/root/{LISTS}", f"HTTP://XCAP.example.com/root/{LISTS}"])
def test_rfc5875_4_4_uris_may_be_absolute(net: Network, alice: Agent, uri: str) -> None:
    write(net, LISTS, "1", lists("a"))
    # RFC 5874 section 3: selectors are relative to the root.
    assert ask(alice, uri).names() == [(LISTS, None, "1")]


@pytest.mark.parametrize(
    "uri",
    [
        f"http://other.example.com/root/{LISTS}",
        f"http://xcap.example.com/other/{LISTS}",
        f"http://xcap.example.com/rooted/{LISTS}",
        *(f"//xcap.example.com/root/{LISTS}", f"/{LISTS}", "sip:alice@example.com", "resource-lists", "/", "~~/a"),
        *(f"resource-lists/other/{ALICE}/index", "resource-lists/users/%zz/index", "resource-lists/users//index"),
        *("resource-lists/users/nobody/", "unknown-usage/", f"{LISTS}/~~/a[", f"{LISTS}/~~/p:a", "a//"),
        f"{LISTS}/~~/{'*/' * 200}a",
    ],
)
def test_rfc5875_4_7_what_is_not_here_is_no_error(net: Network, alice: Agent, uri: str) -> None:
    write(net, LISTS, "1", lists("a"))
    watch = ask(alice, uri)
    assert watch.told == [[]]
    assert watch.state == "active"


def test_rfc5875_4_1_nobody_subscribes_to_namespaces(net: Network, alice: Agent) -> None:
    write(net, LISTS, "1", lists("a"))
    watch = ask(alice, f"{LISTS}/~~/resource-lists/namespace::*")
    change(net, LISTS, "2", lists("b"))
    assert watch.told == [[]]


def test_without_a_body_all_own_documents_are_told(net: Network, alice: Agent, bob: Agent) -> None:
    write(net, LISTS, "1", lists("a"))
    write(net, f"resource-lists/{BOB}/index", "2", lists("b"))
    assert ask(alice).names() == [(LISTS, None, "1")]
    # Those of who asks, whoever is asked.
    watch = ask(bob, uri="sip:alice@example.com")
    assert watch.names() == [(f"resource-lists/{BOB}/index", None, "2")]
    write(net, f"pidf-manipulation/{BOB}/index", "3", "<presence/>")
    net.advance(PAUSE_S)
    assert watch.names() == [(f"pidf-manipulation/{BOB}/index", None, "3")]


def test_a_usage_that_is_switched_off_is_not_told() -> None:
    net = Network(SETTING, "xcap.disabled_applications=test-app")
    write(net, LISTS, "1", lists("a"))
    write(net, TEST, "2", "<t/>")
    alice = net.agent("alice")
    assert ask(alice).names() == [(LISTS, None, "1")]
    assert ask(alice, TEST).names() == []


def test_rfc5875_4_4_the_request_uri_may_be_any(net: Network, alice: Agent) -> None:
    write(net, LISTS, "1", lists("a"))
    for uri in ("sip:tests@xcap.example.com", "sip:xcap.example.com", "sip:alice@example.com"):
        assert ask(alice, LISTS, uri=uri).names() == [(LISTS, None, "1")]


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        ("application/xcap-diff+xml", 200),
        ("text/plain, application/xcap-diff+xml", 200),
        ("application/pidf+xml", 406),
        ("", 406),
    ],
)
def test_rfc5875_4_4_accept_has_the_type(net: Network, alice: Agent, accept: str, status: int) -> None:
    assert Diff(alice, LISTS).ask(f"Accept: {accept}") == status


def test_rfc5875_4_5_the_default_is_an_hour(net: Network, alice: Agent) -> None:
    watch = Diff(alice, LISTS, expires=None)
    assert watch.ask() == 200
    assert watch.response is not None
    assert watch.response.header("Expires") == "3600"


def test_a_body_of_another_type_is_415(net: Network, alice: Agent) -> None:
    watch = Diff(alice, LISTS)
    watch.content_type = "application/simple-filter+xml"
    assert watch.ask() == 415
    assert watch.response is not None
    assert watch.response.header("Accept") == "application/resource-lists+xml"
    assert watch.ask("Content-Disposition: filter;handling=optional") == 200
    watch = Diff(alice, LISTS)
    watch.content_type = "Application/Resource-Lists+XML ; charset=utf-8"
    assert watch.ask() == 200
    assert Diff(alice, LISTS).ask("Content-Encoding: gzip") == 415


@pytest.mark.parametrize(
    "body", ["x", "<resource-lists/>", listed("a b"), listed("ä"), listed("").replace('uri=""', "")]
)
def test_a_list_that_cannot_be_read_is_400_and_no_subscription(net: Network, alice: Agent, body: str) -> None:
    assert Diff(alice, body=body).ask() == 400
    assert len(net.node.table) == 0
    assert net.rows("SELECT * FROM subscribe_bodies") == []


def test_rfc5875_7_lists_have_a_bound(net: Network, alice: Agent) -> None:
    assert Diff(alice, *(f"test-app/{ALICE}/{number}" for number in range(200))).ask() == 200
    assert Diff(alice, *(f"test-app/{ALICE}/{number}" for number in range(201))).ask() == 413
    assert Diff(alice, *(f"test-app/{ALICE}/{'x' * 100}{number}" for number in range(150))).ask() == 413
    assert Diff(alice, *(f"test-app/{ALICE}/{number}/~~/a" for number in range(20))).ask() == 200
    assert Diff(alice, *(f"test-app/{ALICE}/{number}/~~/a" for number in range(21))).ask() == 413


# ---- 4.3, 4.7: changes ----


def test_rfc5875_4_3_without_the_parameter_etags_alone_are_told(net: Network, alice: Agent) -> None:
    write(net, LISTS, "1", lists("a"))
    watches = [ask(alice, LISTS, mode=mode) for mode in ("", "no-patching", "whatever")]
    write(net, LISTS, "2", lists("a", "b"))
    net.advance(0.5)
    for etag in "34":
        write(net, LISTS, etag, lists("a", "b", etag))
        net.advance(0.3)
    net.advance(PAUSE_S)
    for watch in watches:
        assert [watch.names(at) for at in range(3)] == [[(LISTS, None, "1")], [(LISTS, "1", "2")], [(LISTS, "2", "4")]]
        assert watch.patches() == [[]]


def test_rfc5875_4_3_xcap_patching_tells_every_version(net: Network, alice: Agent) -> None:
    write(net, LISTS, "1", lists("a"))
    watch = ask(alice, LISTS, mode="xcap-patching")
    change(net, LISTS, "2", lists("a", "b"))
    # What comes at once waits, and is told in its order.
    write(net, LISTS, "3", lists("a", "b", "c"))
    net.advance(0.3)
    for etag, document in (("4", lists("a")), ("5", lists("a", "b"))):
        write(net, LISTS, etag, document)
        net.advance(0.3)
    net.advance(PAUSE_S)
    assert watch.names(1) == [(LISTS, "1", "2")]
    assert [step for at in range(2, len(watch.told)) for step in watch.names(at)] == [
        (LISTS, "2", "3"),
        (LISTS, "3", "4"),
        (LISTS, "4", "5"),
    ]
    assert same(watch.held[LISTS], lists("a", "b").encode())
    assert watch.fetched == 1, "patches did the rest"


def test_rfc5875_4_3_aggregate_tells_one_change_for_several(net: Network, alice: Agent) -> None:
    write(net, LISTS, "1", lists("a"))
    watch = ask(alice, LISTS, mode="aggregate")
    change(net, LISTS, "2", lists("a", "b"))
    write(net, LISTS, "3", lists("a", "b", "c"))
    net.advance(0.3)
    before = len(watch.told)
    for etag in "456":
        write(net, LISTS, etag, lists("a", "b", "c", etag))
        net.advance(0.3)
    net.advance(PAUSE_S)
    assert [watch.names(at) for at in range(before, len(watch.told))] == [[(LISTS, "3", "6")]]
    assert watch.patches() == [["add"]]
    assert same(watch.held[LISTS], lists("a", "b", "c", "6").encode())
    assert watch.fetched == 1


def test_rfc5874_6_what_came_and_went_between_two_documents_is_not_told(net: Network, alice: Agent) -> None:
    write(net, LISTS, "1", lists("a"))
    watch = ask(alice, "resource-lists/", "test-app/", mode="aggregate")
    change(net, LISTS, "2", lists("b"))
    write(net, LISTS, "3", lists("c"))
    net.advance(0.3)
    heard = len(watch.told)
    write(net, TEST, "x", "<a/>")
    net.advance(0.3)
    delete(net, TEST)
    write(net, LISTS, "4", lists("d"))
    net.advance(0.3)
    write(net, LISTS, "3", lists("c"))
    net.advance(PAUSE_S)
    assert len(watch.told) == heard


@pytest.mark.parametrize("mode", ["no-patching", "xcap-patching", "aggregate"])
def test_rfc5875_4_7_documents_come_change_and_go(net: Network, alice: Agent, mode: str) -> None:
    watch = ask(alice, LISTS, "pidf-manipulation/", mode=mode)
    assert watch.told == [[]]
    change(net, LISTS, "1", lists("a"))
    assert watch.names() == [(LISTS, None, "1")]
    change(net, PIDF, "p", "<presence/>")
    assert watch.names() == [(PIDF, None, "p")]
    change(net, LISTS, "2", lists("a", "b"))
    assert watch.names() == [(LISTS, "1", "2")]
    delete(net, LISTS)
    net.advance(PAUSE_S)
    assert watch.names() == [(LISTS, "2", None)]
    assert list(watch.held) == [PIDF]
    change(net, LISTS, "9", lists("a"))
    assert watch.names() == [(LISTS, None, "9")]


def test_rfc5874_3_a_new_etag_of_the_same_content(net: Network, alice: Agent) -> None:
    write(net, LISTS, "1", lists("a"))
    watch = ask(alice, LISTS, mode="xcap-patching")
    change(net, LISTS, "2", lists("a").replace("<list", "<list "))
    assert (watch.names(), watch.patches()) == ([(LISTS, "1", "2")], [["body-not-changed"]])


def test_rfc5875_4_7_several_documents_are_told_in_the_order_of_their_changes(net: Network, alice: Agent) -> None:
    watch = ask(alice, mode="xcap-patching")
    element = ask(alice, f"{LISTS}/~~/resource-lists/list", TEST, mode="xcap-patching")
    change(net, PIDF, "0", "<presence/>")
    net.advance(PAUSE_S)
    steps = [(TEST, "1"), (LISTS, "1"), (TEST, "2"), (PIDF, "1"), (LISTS, "2")]
    write(net, PIDF, "00", "<presence/>")
    net.advance(0.5)
    heard = len(watch.told), len(element.told)
    for sel, etag in steps:
        write(net, sel, etag, lists(etag))
        net.advance(0.3)
    net.advance(PAUSE_S)
    told = [(sel, new) for at in range(heard[0], len(watch.told)) for sel, _, new in watch.names(at)]
    assert told == steps
    parts = [part.attributes["sel"] for at in range(heard[1], len(element.told)) for part in element.told[at]]
    assert parts == [TEST, TEST, f"{LISTS}/~~/resource-lists/list"]


@pytest.mark.parametrize("mode", ["no-patching", "aggregate"])
def test_rfc5875_4_7_documents_told_once_stand_where_they_changed_last(net: Network, alice: Agent, mode: str) -> None:
    write(net, LISTS, "1", lists("a"))
    write(net, PIDF, "1", "<presence/>")
    watch = ask(alice, LISTS, PIDF, mode=mode)
    alice.status = None
    for sel, etag in ((LISTS, "2"), (LISTS, "3"), (PIDF, "2"), (LISTS, "4")):
        write(net, sel, etag, lists(etag))
        net.advance(0.3)
    alice.status = 200
    net.advance(2 * PAUSE_S)
    assert [watch.names(at) for at in (1, 2)] == [[(LISTS, "1", "2")], [(PIDF, "1", "2"), (LISTS, "2", "4")]]


def test_rfc5875_4_3_the_mode_may_change_with_a_refresh(net: Network, alice: Agent) -> None:
    write(net, LISTS, "1", lists("a"))
    watch = ask(alice, LISTS, mode="xcap-patching")
    watch.mode = "no-patching"
    watch.ask()
    change(net, LISTS, "2", lists("a", "b"))
    assert watch.patches() == [[]]
    watch.mode = "aggregate"
    watch.choose().ask()
    # The list stays where a refresh has none.
    assert watch.names() == [(LISTS, None, "2")]
    change(net, LISTS, "3", lists("a"))
    assert watch.patches() == [["remove"]]
    assert same(watch.held[LISTS], lists("a").encode())


def test_rfc5875_4_4_a_new_list_is_used(net: Network, alice: Agent) -> None:
    write(net, LISTS, "1", lists("a"))
    write(net, PIDF, "2", "<presence/>")
    watch = ask(alice, LISTS)
    watch.choose(PIDF).ask()
    assert watch.names() == [(PIDF, None, "2")]
    heard = len(watch.told)
    change(net, LISTS, "2", lists("b"))
    assert len(watch.told) == heard
    change(net, PIDF, "3", "<presence a='1'/>")
    assert watch.names() == [(PIDF, "2", "3")]


def test_rfc5875_4_7_a_refresh_is_told_everything_again(net: Network, alice: Agent) -> None:
    write(net, LISTS, "1", lists("a"))
    write(net, PIDF, "2", "<presence/>")
    watch = ask(alice, LISTS, PIDF, mode="aggregate")
    change(net, LISTS, "3", lists("b"))
    watch.ask()
    assert watch.names() == [(LISTS, None, "3"), (PIDF, None, "2")]


def test_rfc5875_a2_a_fetch_lists_the_documents(net: Network, alice: Agent) -> None:
    write(net, LISTS, "1", lists("a"))
    watch = Diff(alice, "resource-lists/", expires=0)
    assert watch.ask() == 200
    assert (watch.names(), watch.state) == ([(LISTS, None, "1")], "terminated;timeout")
    assert len(net.node.table) == 0
    assert net.rows("SELECT * FROM subscribe_bodies") == []


def test_rfc5875_4_10_no_more_than_every_five_seconds(net: Network, alice: Agent) -> None:
    watch = ask(alice, LISTS)
    net.advance(PAUSE_S)
    for number in range(40):
        write(net, LISTS, str(number), lists(str(number)))
        net.advance(0.5)
    times = [at for at, message in alice.arrivals if message.is_request][1:]
    assert all(later - at >= 5.0 for at, later in pairwise(times))
    assert len(times) == 4
    net.advance(PAUSE_S)
    assert watch.etags[LISTS] == "39"


def test_rfc5875_4_7_a_document_that_is_too_large_for_a_patch_is_fetched(net: Network, alice: Agent) -> None:
    write(net, LISTS, "1", lists("a"))
    watch = ask(alice, LISTS, mode="xcap-patching")
    change(net, LISTS, "2", lists("a", more="x" * 70_000))
    assert watch.patches() == [[]]
    change(net, LISTS, "3", lists("a"))
    assert watch.patches() == [[]]
    # And goes on with patches as soon as it can.
    change(net, LISTS, "4", lists("a", "b"))
    assert watch.patches() == [["add"]]
    assert same(watch.held[LISTS], lists("a", "b").encode())


def test_what_was_written_by_others_and_is_no_xml_is_told_without_patches(net: Network, alice: Agent) -> None:
    write(net, LISTS, "1", lists("a"))
    watch = ask(alice, LISTS, f"{LISTS}/~~/resource-lists/list", mode="xcap-patching")
    change(net, LISTS, "2", "no XML at all")
    assert (watch.names(), watch.components) == ([(LISTS, "1", "2")], {})
    change(net, LISTS, "3", lists("b"))
    assert watch.names() == [(LISTS, "2", "3")]
    assert len(watch.components) == 1


# ---- elements and attributes ----

ELEMENT = f"{LISTS}/~~/resource-lists/list%5b@name=%22b%22%5d"
ATTRIBUTE = f"{LISTS}/~~/resource-lists/list%5b2%5d/@name"


@pytest.mark.parametrize("mode", ["no-patching", "xcap-patching", "aggregate"])
def test_rfc5875_a5_elements_and_attributes_come_change_and_go(net: Network, alice: Agent, mode: str) -> None:
    watch = ask(alice, ELEMENT, ATTRIBUTE, mode=mode)
    assert watch.told == [[]]
    change(net, LISTS, "1", lists("a"))
    assert len(watch.told) == 1, "nothing it asked for"
    change(net, LISTS, "2", lists("a", "b"))
    assert watch.components == {ELEMENT: "", ATTRIBUTE: "b"}
    root = etree.fromstring(watch.newest.body)
    content = root[0][0]
    assert content.tag == f"{{{LISTS_NS}}}list"
    assert content[0].get("uri") == "sip:b@example.com"
    change(net, LISTS, "3", lists("a", "c"))
    assert watch.components == {ATTRIBUTE: "c"}
    delete(net, LISTS)
    net.advance(PAUSE_S)
    assert watch.components == {}
    assert [part.attributes.get("exists") for part in watch.told[-1]] == ["0"]


def test_rfc5875_4_6_names_without_prefix_are_of_the_default_document_namespace(net: Network, alice: Agent) -> None:
    document = f'<s:resource-lists xmlns:s="{LISTS_NS}"><s:list name="b"/></s:resource-lists>'
    write(net, LISTS, "1", document)
    watch = ask(alice, ELEMENT)
    (part,) = etree.fromstring(watch.newest.body)
    assert (part[0].prefix, part[0].tag) == ("s", f"{{{LISTS_NS}}}list")


def test_rfc5875_4_6_prefixes_are_bound_by_the_query(net: Network, alice: Agent) -> None:
    write(net, LISTS, "1", lists("a", more='<x:e xmlns:x="urn:x" x:q="1">t</x:e>'))
    query = "?xmlns(p=urn:x)"
    element, attribute = f"{LISTS}/~~/*/p:e{query}", f"{LISTS}/~~/*/p:e/@p:q{query}"
    assert ask(alice, element, attribute).components == {element: "t", attribute: "1"}
    other = f"{LISTS}/~~/*/p:e?xmlns(p=urn:y)"
    assert ask(alice, other).components == {}


def test_rfc5875_a5_the_removal_of_what_is_around_is_a_removal(net: Network, alice: Agent) -> None:
    write(net, LISTS, "1", lists("a", "b"))
    sel = f"{LISTS}/~~/resource-lists/list%5b2%5d/entry/@uri"
    watch = ask(alice, sel)
    assert watch.components == {sel: "sip:b@example.com"}
    change(net, LISTS, "2", lists("a"))
    assert watch.components == {}


def test_rfc5875_4_7_elements_that_are_too_large_are_empty(net: Network, alice: Agent) -> None:
    write(net, LISTS, "1", lists("a", more=f"<list name='b'>{'x' * 60_000}</list>"))
    watch = ask(alice, LISTS, ELEMENT)
    (_, part) = etree.fromstring(watch.newest.body)
    assert (part.get("sel"), part.text, len(part), part.get("exists")) == (ELEMENT, None, 0, None)


# ---- 4.7, 7: who may read ----


def test_rfc5875_7_documents_of_others_are_not_told(net: Network, alice: Agent, bob: Agent) -> None:
    write(net, LISTS, "1", lists("a"))
    theirs = [LISTS, f"resource-lists/{ALICE}/", f"{LISTS}/~~/*/list", f"{LISTS}/~~/*/list/@name"]
    watch = ask(bob, *theirs, "resource-lists/", "resource-lists/users/", f"{ROOT}/", uri="sip:alice@example.com")
    change(net, LISTS, "2", lists("b"))
    assert watch.told == [[]], "RFC 5875 section 4.7: it is not included, and that is no error"


def test_icons_are_told_to_everybody(net: Network, alice: Agent, bob: Agent) -> None:
    icon = f"pres-content/{ALICE}/oma_status-icon/index"
    auid = "org.openmobilealliance."
    net.rows(
        "INSERT INTO xcap (username, domain, doc, doc_type, etag, source, doc_uri, port)"
        " VALUES ('alice', 'example.com', '<icon/>', 64, '1', 0, 'oma_status-icon/index', 0)"
    )
    watch = Diff(bob, f"{auid}{icon}", uri="sip:alice@example.com")
    watch.fetch = lambda sel: ("1", b"<icon/>")
    assert watch.ask() == 200
    assert watch.names() == [(f"{auid}{icon}", None, "1")]


def test_global_documents_are_told_to_everybody(net: Network, bob: Agent) -> None:
    net.rows(
        "INSERT INTO xcap (username, domain, doc, doc_type, etag, source, doc_uri, port)"
        " VALUES ('', '', '<a/>', 0, '1', 0, 'index', 0)"
    )
    watch = Diff(bob, "test-app/")
    watch.fetch = lambda sel: ("1", b"<a/>")
    assert watch.ask() == 200
    assert watch.names() == [("test-app/global/index", None, "1")]


def test_administrators_are_told_of_all_documents(alice: Agent) -> None:
    net = Network(SETTING, "xcap.administrators=bob@example.com")
    write(net, LISTS, "1", lists("a"))
    watch = ask(net.agent("bob"), f"resource-lists/{ALICE}/")
    change(net, LISTS, "2", lists("b"))
    assert watch.names() == [(LISTS, "1", "2")]
    net.close()


def test_rfc5875_7_who_watches_is_who_was_proven() -> None:
    net = Network(SETTING, "auth.trusted=127.0.0.1/32")
    write(net, LISTS, "1", lists("a"))
    proxy = net.agent("proxy")
    watch = Diff(proxy, LISTS, uri="sip:alice@example.com", sender="<sip:anonymous@anonymous.invalid>")
    assert watch.ask("P-Asserted-Identity: <sip:alice@example.com>") == 200
    assert watch.names() == [(LISTS, None, "1")]
    other = Diff(proxy, LISTS, uri="sip:alice@example.com", sender="<sip:alice@example.com>")
    assert other.ask("P-Asserted-Identity: <sip:mallory@example.com>") == 200
    assert other.told == [[]]
    net.restart()
    change(net, LISTS, "2", lists("b"))
    assert watch.names() == [(LISTS, "1", "2")]
    assert [part for parts in other.told for part in parts] == []
    net.close()


# ---- reliability ----


def test_rfc5875_4_7_no_second_notify_before_the_first_is_answered(net: Network, alice: Agent) -> None:
    watch = ask(alice, LISTS, mode="xcap-patching")
    alice.status = None
    change(net, LISTS, "1", lists("a"))
    write(net, LISTS, "2", lists("b"))
    net.advance(PAUSE_S)
    assert len({notify.cseq for notify in watch.notifies}) == 2
    alice.status = 200
    net.advance(PAUSE_S)
    assert watch.etags == {LISTS: "2"}


def test_rfc5875_4_7_a_timeout_ends_the_subscription(net: Network, alice: Agent) -> None:
    watch = ask(alice, LISTS)
    alice.status = None
    write(net, LISTS, "1", lists("a"))
    net.advance(40.0)
    assert len(net.node.table) == 0
    assert net.rows("SELECT * FROM subscribe_bodies") == []
    alice.status = 200
    assert watch.ask() == 481


@pytest.mark.parametrize("status", [401, 407, 413, 500])
def test_rfc5875_4_7_after_a_lost_document_all_is_told_again(net: Network, alice: Agent, status: int) -> None:
    for sel in (LISTS, PIDF, TEST):
        write(net, sel, "1", lists("a", "b"))
    watch = ask(alice, LISTS, PIDF, TEST, ELEMENT, mode="xcap-patching")
    alice.status = status
    write(net, LISTS, "2", lists("a"))
    delete(net, TEST)
    net.advance(PAUSE_S)
    assert net.node.table
    alice.status = 200
    change(net, PIDF, "3", "<presence/>")
    assert watch.names() == [(TEST, "1", None), (LISTS, None, "2"), (PIDF, None, "3")]
    assert watch.components == {}, "and what is gone"
    assert canonical(watch.held[LISTS]) == canonical(lists("a").encode())
    # From here on patches again.
    change(net, LISTS, "3", lists("a", "c"))
    assert watch.patches() == [["add"]]


def test_several_subscribers_are_told_each_what_it_lacks(net: Network, alice: Agent) -> None:
    write(net, LISTS, "1", lists("a"))
    early, slow = ask(alice, LISTS, mode="xcap-patching"), net.agent("alice")
    behind = ask(slow, LISTS, mode="aggregate")
    slow.status = None
    change(net, LISTS, "2", lists("a", "b"))
    late = ask(alice, LISTS, mode="aggregate")
    change(net, LISTS, "3", lists("a", "b", "c"))
    slow.status = 200
    net.advance(PAUSE_S)
    assert early.names() == late.names() == [(LISTS, "2", "3")]
    assert {watch.etags[LISTS] for watch in (early, late, behind)} == {"3"}
    assert all(same(watch.held[LISTS], lists("a", "b", "c").encode()) for watch in (early, late, behind))


def test_many_changes_at_once_are_told_without_patches(net: Network, alice: Agent) -> None:
    write(net, LISTS, "0", lists("a"))
    watch = ask(alice, LISTS, mode="xcap-patching")
    alice.status = None
    for number in range(1, 80):
        write(net, LISTS, str(number), lists("a", str(number)))
        net.advance(0.3)
    alice.status = 200
    net.advance(2 * PAUSE_S)
    assert watch.names() == [(LISTS, "1", "79")]
    change(net, LISTS, "80", lists("a", "b"))
    assert watch.patches() == [["replace", "replace"]]


def test_a_subscription_outlives_a_restart_with_what_it_selects(alice: Agent, tmp_path: object) -> None:
    net = Network(SETTING, path=f"{tmp_path}/presence.db")
    write(net, LISTS, "1", lists("a"))
    write(net, PIDF, "2", "<presence/>")
    agent = net.agent("alice")
    watch = ask(agent, LISTS, mode="xcap-patching")
    beside = Diff(agent, PIDF, dialog=watch.dialog, event_id="7")
    assert beside.ask() == 200
    watch.choose(LISTS, ELEMENT).ask()
    net.restart()
    assert (watch.names(), beside.names()) == ([(LISTS, None, "1")], [(PIDF, None, "2")])
    change(net, LISTS, "2", lists("a", "b"))
    assert watch.patches() == [["add"], ["list"]]
    assert same(watch.held[LISTS], lists("a", "b").encode())
    assert beside.unsubscribe().status == watch.unsubscribe().status == 200
    net.restart()
    assert net.rows("SELECT * FROM subscribe_bodies") == []
    net.close()


def test_what_a_vanished_row_selected_is_forgotten_at_the_next_start(tmp_path: object) -> None:
    net = Network(SETTING, path=f"{tmp_path}/presence.db")
    watch = ask(net.agent("alice"), LISTS)
    net.settle()
    net.rows("DELETE FROM active_watchers")
    net.restart()
    assert net.rows("SELECT * FROM subscribe_bodies") == []
    assert watch.ask() == 481
    net.close()


# ---- other ways to hear of changes ----


def test_our_own_xcap_server_is_heard_at_once(net: Network, alice: Agent) -> None:
    watch = ask(alice, LISTS, mode="xcap-patching")
    results: list[Exception | None] = []
    key = Key("resource-lists", Aor("alice", "example.com"), "index")
    net.node.documents.put(key, lists("a").encode(), "1", None, results.append)
    net.settle()
    assert (results, watch.names()) == ([None], [(LISTS, None, "1")])
    net.advance(PAUSE_S)
    net.node.documents.put(key, lists("a", "b").encode(), "2", "1", results.append)
    net.settle()
    assert (watch.names(), watch.patches()) == ([(LISTS, "1", "2")], [["add"]])


def notice(*sels: str, root: str = ROOT) -> str:
    parts = "".join(f'<document sel="{escape(sel)}" previous-etag="x" new-etag="y"/>' for sel in sels)
    return f'<xcap-diff xmlns="urn:ietf:params:xml:ns:xcap-diff" xcap-root="{root}/">{parts}</xcap-diff>'


@pytest.mark.parametrize("expires", [0, 600])
def test_a_published_notice_has_the_documents_looked_at_at_once(net: Network, alice: Agent, expires: int) -> None:
    watch = ask(alice, LISTS)
    publisher = Publication(net.agent("xcap"), ALICE_URI, "xcap-diff", "application/xcap-diff+xml")
    write(net, LISTS, "1", lists("a"))
    response = publisher.publish(body=notice(LISTS, root="http://openxcap.example.com/xcap-root"), expires=expires)
    assert response.status == 200
    assert response.header("SIP-ETag")
    assert watch.names() == [(LISTS, None, "1")], "from the table, not from the notice"


def test_a_notice_about_documents_that_are_elsewhere_is_passed_on(net: Network, alice: Agent, bob: Agent) -> None:
    watch, other = ask(alice, LISTS), ask(bob, LISTS, uri="sip:alice@example.com")
    publisher = Publication(net.agent("xcap"), ALICE_URI, "xcap-diff", "application/xcap-diff+xml")
    watch.fetch = lambda sel: ("y", b"<a/>")
    body = notice(LISTS)
    publisher.publish(body=body, expires=600)
    assert watch.body == body
    assert other.told == [[]], "bob may not read them"
    late = Diff(alice, LISTS)
    late.fetch = watch.fetch
    late.ask()
    assert late.body == body, "it is the state as long as it lasts"
    newer = notice(LISTS, PIDF)
    net.advance(PAUSE_S)
    other_server = Publication(net.agent("other"), ALICE_URI, "xcap-diff", "application/xcap-diff+xml")
    other_server.publish(body=newer, expires=0)
    assert watch.body == newer
    assert publisher.publish(expires=0).status == 200
    last = Diff(alice, LISTS)
    last.ask()
    assert last.told == [[]]


@pytest.mark.parametrize("body", ["x", "<xcap-diff/>", notice("")])
def test_a_notice_that_cannot_be_read_is_400(net: Network, body: str) -> None:
    publisher = Publication(net.agent("xcap"), ALICE_URI, "xcap-diff", "application/xcap-diff+xml")
    assert publisher.publish(body=body).status == 400


def test_a_notice_of_another_type_is_415(net: Network) -> None:
    publisher = Publication(net.agent("xcap"), ALICE_URI, "xcap-diff", "text/plain")
    assert publisher.publish(body=notice(LISTS)).status == 415


def test_only_documents_somebody_follows_are_kept(net: Network, alice: Agent) -> None:
    package = net.node._registry.get("xcap-diff")
    watch = ask(alice, LISTS, mode="xcap-patching")
    assert len(package.changes) == 1
    change(net, f"resource-lists/{BOB}/index", "1", lists("a"))
    change(net, LISTS, "1", lists("a"))
    change(net, LISTS, "2", lists("b"))
    assert package.changes.account.kept == 0, "all have been told"
    watch.unsubscribe()
    net.advance(1.0)
    assert len(package.changes) == 0
    assert not package.changes._followers
