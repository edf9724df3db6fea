"""GET, DELETE, conditions, entity-tags and what is refused whatever it is for (RFC 4825 sections 7, 8, 9 and 10)."""

import pytest
from xcap import ALICE, ROOT, Site

from presence.errors import StoreError
from presence.xcap.documents import Conflict
from presence.xcap.server import Limits
from presence.xcap.tree import Bounds

DOC = f"test-app/{ALICE}/index"
ROWS = '<root xmlns="test-app"><a n="1"/> <b n="1">x</b>\n<!-- c --><a n="2" m="3"/><a n="3"/></root>'


@pytest.fixture
def rows(site: Site) -> Site:
    assert site.put(DOC, ROWS).status == 201
    return site


# 8 Server Behavior


def test_rfc4825_8_an_unknown_application_usage_is_404(site: Site) -> None:
    for method in ("GET", "PUT", "DELETE"):
        assert site.ask(method, f"no-such-app/{ALICE}/index", b"<a/>").status == 404


def test_rfc4825_8_an_unknown_user_is_404() -> None:
    with Site(is_known=lambda aor: aor.username == "alice") as site:
        assert site.put(DOC, "<a/>").status == 201
        for method in ("GET", "PUT", "DELETE"):
            assert site.ask(method, "test-app/users/sip:eve@example.com/index", b"<a/>").status == 404


def test_rfc4825_12_7_there_is_no_instance_in_the_users_tree(site: Site) -> None:
    assert site.get(f"xcap-caps/{ALICE}/index").status == 404
    assert site.put(f"xcap-caps/{ALICE}/index", "<a/>").status == 404
    assert site.get("test-app/global/index").status == 404


# 8.1 POST Handling


@pytest.mark.parametrize("method", ["POST", "PATCH", "XXX", "TRACE", "PROPFIND"])
def test_rfc4825_8_1_other_methods_are_405(rows: Site, method: str) -> None:
    for target in (DOC, f"{DOC}/~~/root/a[1]", "", "xxx", "test-app"):
        answer = rows.ask(method, target, b"<a/>")
        assert answer.status == 405
        assert answer.headers["allow"] == "GET, HEAD, PUT, DELETE, OPTIONS"
    assert rows.get(DOC).body.decode() == ROWS


def test_rfc9110_9_3_7_options_says_what_is_allowed(rows: Site) -> None:
    allows = {
        DOC: "GET, HEAD, PUT, DELETE, OPTIONS",
        f"{DOC}/~~/root/namespace::*": "GET, HEAD, OPTIONS",
        "xcap-caps/global/index": "GET, HEAD, OPTIONS",
    }
    for target, allow in allows.items():
        answer = rows.ask("OPTIONS", target)
        assert (answer.status, answer.headers["allow"], answer.body) == (200, allow, b"")


def test_what_is_read_only_is_405(site: Site) -> None:
    for method in ("PUT", "DELETE"):
        answer = site.ask(method, "xcap-caps/global/index", b"<a/>", content_type="application/xcap-caps+xml")
        assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD, OPTIONS")


# 8.3 GET Handling


def test_rfc4825_8_3_a_document_has_the_type_of_its_usage(rows: Site) -> None:
    answer = rows.get(DOC)
    assert (answer.status, answer.headers["content-type"]) == (200, "application/test-app+xml")
    assert answer.body.decode() == ROWS


def test_rfc4825_8_3_a_document_that_is_not_there_is_404(site: Site) -> None:
    for target in (DOC, f"{DOC}/~~/root", f"{DOC}/~~/root/@a", f"{DOC}/~~/root/namespace::*"):
        answer = site.get(target)
        assert (answer.status, answer.headers["content-type"]) == (404, "text/plain; charset=utf-8")


def test_rfc4825_8_3_an_element_is_an_xml_fragment(rows: Site) -> None:
    answer = rows.get(f"{DOC}/~~/root/b")
    assert (answer.status, answer.headers["content-type"]) == (200, "application/xcap-el+xml")
    assert answer.body == b'<b n="1">x</b>'


def test_rfc4825_8_3_no_declarations_of_ancestors_are_added(site: Site) -> None:
    site.put(DOC, '<root xmlns="test-app" xmlns:x="urn:x"><x:a x:n="1"><b/></x:a></root>')
    assert site.get(f"{DOC}/~~/root/x:a?xmlns(x=urn:x)").body == b'<x:a x:n="1"><b/></x:a>'


def test_rfc4825_7_6_all_of_an_element_is_returned(site: Site) -> None:
    element = "<a \n n='1' xmlns:x='urn:x'  >t<!-- c --><?p i?><![CDATA[<b>]]>&#x20;<c /></a  >"
    site.put(DOC, f"<root xmlns='test-app'>{element}</root>")
    assert site.get(f"{DOC}/~~/root/a").body.decode() == element


def test_rfc4825_8_3_an_attribute_is_its_value(rows: Site) -> None:
    answer = rows.get(f"{DOC}/~~/root/a[2]/@m")
    assert (answer.status, answer.headers["content-type"]) == (200, "application/xcap-att+xml")
    assert answer.body == b'"3"'


def test_rfc4825_7_9_an_attribute_is_formatted_as_att_value(site: Site) -> None:
    site.put(DOC, "<root xmlns='test-app' a='&lt;\"&amp;'/>")
    assert site.get(f"{DOC}/~~/root/@a").body == b"'&lt;\"&amp;'"


def test_rfc9110_9_3_2_head_has_the_fields_of_get(rows: Site) -> None:
    # Without its body on the wire: that is the HTTP server's part (tests/system/test_xcap.py).
    got, head = rows.get(DOC), rows.ask("HEAD", DOC)
    assert (head.status, head.headers) == (200, got.headers)
    assert rows.ask("HEAD", f"{DOC}/~~/root/c").status == 404


# 10 Namespace Binding Format

FOO = (
    '<foo xmlns="urn:test:default-namespace"><ns1:bar xmlns:ns1="urn:test:namespace1-uri" '
    'xmlns="urn:test:namespace1-uri"><baz/><ns2:baz xmlns:ns2="urn:test:namespace2-uri"/></ns1:bar></foo>'
)


def test_rfc4825_10_the_example(site: Site) -> None:
    document = f"test/{ALICE}/index"
    site.put(document, FOO)
    query = "xmlns(df=urn:test:default-namespace)xmlns(df2=urn:test:namespace1-uri)"
    answer = site.get(f"{document}/~~/df:foo/df2:bar/df2:baz/namespace::*?{query}")
    assert (answer.status, answer.headers["content-type"]) == (200, "application/xcap-ns+xml")
    assert answer.body == b'<baz xmlns="urn:test:namespace1-uri" xmlns:ns1="urn:test:namespace1-uri"/>'


def test_rfc4825_10_the_element_has_the_name_and_prefix_of_the_document(site: Site) -> None:
    document = f"test/{ALICE}/index"
    site.put(document, FOO)
    query = "xmlns(a=urn:test:namespace1-uri)xmlns(b=urn:test:namespace2-uri)"
    assert site.get(f"{document}/~~/foo/a:bar/b:baz/namespace::*?{query}").body == (
        b'<ns2:baz xmlns="urn:test:namespace1-uri" xmlns:ns1="urn:test:namespace1-uri" '
        b'xmlns:ns2="urn:test:namespace2-uri"/>'
    )


def test_rfc4825_10_without_a_default_namespace_none_is_declared(site: Site) -> None:
    document = f"com.example.plain/{ALICE}/index"
    site.put(document, '<root><x:a xmlns:x="urn:a&amp;b" xmlns="urn:c"><b xmlns=""/></x:a></root>')
    assert site.get(f"{document}/~~/root/namespace::*").body == b"<root/>"
    assert site.get(f"{document}/~~/root/p:a/b/namespace::*?xmlns(p=urn:a%26b)").body == b'<b xmlns:x="urn:a&amp;b"/>'


def test_rfc4825_7_10_bindings_of_no_element_are_404(rows: Site) -> None:
    assert rows.get(f"{DOC}/~~/root/c/namespace::*").status == 404


# 8.4 DELETE Handling


def test_rfc4825_8_4_a_namespace_selector_is_405_with_get_allowed(rows: Site) -> None:
    answer = rows.delete(f"{DOC}/~~/root/namespace::*")
    assert answer.status == 405
    assert "GET" in answer.headers["allow"].split(", ")


def test_rfc4825_7_2_a_document_is_deleted(rows: Site) -> None:
    answer = rows.delete(DOC)
    assert (answer.status, answer.body) == (200, b"")
    assert "etag" not in answer.headers
    assert [rows.delete(DOC).status, rows.get(DOC).status] == [404, 404]


def test_rfc4825_8_4_an_element_is_deleted_without_the_white_space_around_it(rows: Site) -> None:
    assert rows.delete(f"{DOC}/~~/root/b").status == 200
    assert rows.get(DOC).body.decode() == ROWS.replace('<b n="1">x</b>', "")


@pytest.mark.parametrize("selector", ["root/c", "root/a", "root/*", "root/a[4]", "root/@n", "root/a[1]/@m", "x"])
def test_rfc4825_8_4_what_is_not_one_node_is_404(rows: Site, selector: str) -> None:
    assert rows.delete(f"{DOC}/~~/{selector}").status == 404
    assert rows.get(DOC).body.decode() == ROWS


@pytest.mark.parametrize("selector", ["root/a[1]", "root/a[2]", "root/*[1]", "root/*[3]"])
def test_rfc4825_8_4_what_would_select_another_element_cannot_be_deleted(rows: Site, selector: str) -> None:
    assert rows.delete(f"{DOC}/~~/{selector}").error == "cannot-delete"
    assert rows.get(DOC).body.decode() == ROWS


@pytest.mark.parametrize(
    "selector", ["root/a[3]", "root/*[4]", 'root/a[1][@n="1"]', 'root/*[3][@n="2"]', 'root/*[@m="3"]', "root/b[1]"]
)
def test_rfc4825_7_5_positional_deletion_where_it_is_idempotent(rows: Site, selector: str) -> None:
    gone = rows.get(f"{DOC}/~~/{selector}").body.decode()
    assert [rows.delete(f"{DOC}/~~/{selector}").status, rows.delete(f"{DOC}/~~/{selector}").status] == [200, 404]
    assert rows.get(DOC).body.decode() == ROWS.replace(gone, "")


def test_rfc4825_8_4_the_root_element_stays(rows: Site) -> None:
    # What is left would be no document: it fails the validation of section 8.2.5.
    assert rows.delete(f"{DOC}/~~/root").error == "schema-validation-error"
    assert rows.get(DOC).body.decode() == ROWS


@pytest.mark.parametrize(
    ("tag", "name", "left"),
    [
        ("<a n='1'/>", "n", "<a/>"),
        ("<a\n n = '1' m='2' />", "n", "<a m='2' />"),
        ("<a m='2'  n='/>' k='3'>", "n", "<a m='2' k='3'>"),
        ("<a xmlns:n='urn:n' n:n='2' n='1'>", "n", "<a xmlns:n='urn:n' n:n='2'>"),
    ],
)
def test_rfc4825_7_8_an_attribute_is_deleted(site: Site, tag: str, name: str, left: str) -> None:
    end = "" if tag.endswith("/>") else "</a>"
    site.put(DOC, f"<root xmlns='test-app'><!-- n='1' -->{tag}{end}</root>")
    assert site.delete(f"{DOC}/~~/root/a/@{name}").status == 200
    assert site.get(DOC).body.decode() == f"<root xmlns='test-app'><!-- n='1' -->{left}{end}</root>"
    assert site.delete(f"{DOC}/~~/root/a/@{name}").status == 404


# 7.11 Conditional Operations, 8.2.6, 8.5

NODES = (DOC, f"{DOC}/~~/root/b", f"{DOC}/~~/root/a[2]/@m")


def test_rfc4825_8_5_there_is_one_entity_tag_for_all_of_a_document(rows: Site) -> None:
    tags = {rows.get(target).etag for target in (*NODES, f"{DOC}/~~/root/namespace::*")}
    assert tags == {'"tag1"'}


def test_rfc4825_8_5_each_change_gives_a_new_one(rows: Site) -> None:
    tags = [
        rows.get(DOC).etag,
        rows.put(f"{DOC}/~~/root/b", "<b/>").etag,
        rows.put(f"{DOC}/~~/root/c", "<c/>").etag,
        rows.put(f"{DOC}/~~/root/c/@n", '"1"').etag,
        rows.delete(f"{DOC}/~~/root/c/@n").etag,
        rows.delete(f"{DOC}/~~/root/c").etag,
        rows.put(DOC, "<root xmlns='test-app'/>").etag,
    ]
    assert len(set(tags)) == len(tags)
    assert rows.get(DOC).etag == tags[-1]


def test_rfc4825_8_5_a_generated_document_has_one_too(site: Site) -> None:
    answer = site.get("xcap-caps/global/index")
    assert site.get("xcap-caps/global/index", if_none_match=answer.etag).status == 304
    assert site.get("xcap-caps/global/index/~~/xcap-caps/auids", if_none_match=answer.etag).status == 304


@pytest.mark.parametrize("target", [*NODES, f"{DOC}/~~/root/namespace::*"])
@pytest.mark.parametrize(
    ("if_none_match", "status"),
    [
        ('"tag1"', 304),
        ('W/"tag1"', 304),
        ('"x", "tag1"', 304),
        ('"x",W/"tag1" ,"y"', 304),
        ("*", 304),
        ('"x"', 200),
        ("tag1", 200),
        ('"tag1x"', 200),
        ('"a,\\"tag1"', 200),
    ],
)
def test_rfc4825_7_11_a_get_that_is_not_needed_is_304(rows: Site, target: str, if_none_match: str, status: int) -> None:
    for method in ("GET", "HEAD"):
        answer = rows.ask(method, target, if_none_match=if_none_match)
        assert (answer.status, answer.etag) == (status, '"tag1"')
        assert (answer.body == b"") is (status == 304)


@pytest.mark.parametrize("target", NODES)
@pytest.mark.parametrize(
    ("if_match", "holds"),
    [
        ('"tag1"', True),
        ("*", True),
        ('"x" , "tag1"', True),
        ('W/"tag1"', False),
        ('"x"', False),
        ("another-etag", False),
    ],
)
def test_rfc4825_7_11_if_match_on_every_level(rows: Site, target: str, if_match: str, holds: bool) -> None:
    assert rows.get(target, if_match=if_match).status == (200 if holds else 412)
    body = {NODES[0]: ROWS, NODES[1]: "<b/>", NODES[2]: '"5"'}[target]
    answer = rows.put(target, body, if_match=if_match)
    assert answer.status == (200 if holds else 412)
    if not holds:
        assert answer.etag == '"tag1"'
        assert rows.delete(target, if_match=if_match).status == 412
        assert rows.get(DOC).body.decode() == ROWS
    else:
        assert rows.delete(target, if_match="*").status == 200


def test_rfc4825_7_11_if_match_holds_for_creation_by_the_tag_of_the_document(rows: Site) -> None:
    assert rows.put(f"{DOC}/~~/root/c", "<c/>", if_match='"x"').status == 412
    answer = rows.put(f"{DOC}/~~/root/c", "<c/>", if_match='"tag1"')
    assert answer.status == 201
    assert rows.put(f"{DOC}/~~/root/c/@n", '"1"', if_match='"tag1"').status == 412
    assert rows.put(f"{DOC}/~~/root/c/@n", '"1"', if_match=answer.etag).status == 201


@pytest.mark.parametrize("node", ["root/b", "root/c", "root/b/@n", "root/b/@m"])
def test_rfc4825_8_2_6_if_none_match_star_always_fails_for_nodes(rows: Site, node: str) -> None:
    body = '"1"' if "@" in node else f"<{node.rpartition('/')[2]}/>"
    assert rows.put(f"{DOC}/~~/{node}", body, if_none_match="*").status == 412
    assert rows.get(DOC).body.decode() == ROWS


def test_rfc4825_7_11_if_none_match_star_creates_documents_only(site: Site) -> None:
    assert site.put(DOC, ROWS, if_none_match="*").status == 201
    assert site.put(DOC, ROWS, if_none_match="*").status == 412


def test_rfc4825_7_11_conditions_count_for_an_identical_put_too(rows: Site) -> None:
    for conditions in ({"if_match": '"old"'}, {"if_none_match": '"tag1"'}, {"if_none_match": "*"}):
        assert rows.put(DOC, ROWS, **conditions).status == 412
        assert rows.put(f"{DOC}/~~/root/b", '<b n="1">x</b>', **conditions).status == 412


def test_rfc4825_7_11_if_match_fails_where_nothing_is(site: Site) -> None:
    for if_match in ('"tag1"', "*", "12345asdf"):
        assert site.put(DOC, ROWS, if_match=if_match).status == 412


def test_rfc9110_13_2_1_what_is_not_there_is_404_whatever_the_conditions(rows: Site) -> None:
    assert rows.delete(f"{DOC}/~~/root/c", if_match='"x"').status == 404
    assert rows.get(f"{DOC}/~~/root/c", if_none_match="*").status == 404
    assert rows.delete(f"test-app/{ALICE}/other", if_match='"x"').status == 404


def test_rfc4825_7_11_a_changed_document_is_412_before_anything_else_about_it(rows: Site) -> None:
    # What is wrong with the request may only be so because the document is another.
    for node, body in (("root/c/d", "<d/>"), ("root/a", "<b/>"), ("root/b", "<b>")):
        assert rows.put(f"{DOC}/~~/{node}", body, if_match='"x"').status == 412
    assert rows.delete(f"{DOC}/~~/root/a[1]", if_match='"x"').status == 412


# 9 Cache Control


def test_rfc4825_9_nothing_is_taken_from_a_cache_unasked(rows: Site) -> None:
    for target in NODES:
        assert rows.get(target).headers["cache-control"] == "no-cache"
    assert rows.get(DOC, if_none_match="*").headers["cache-control"] == "no-cache"


# Several writers


def test_writers_at_the_same_time_with_if_match_never_lose_an_update(site: Site) -> None:
    site.put(DOC, '<root xmlns="test-app"><n>0</n></root>')
    node, wins, refused = f"{DOC}/~~/root/n", 0, 0

    async def write(_writer: int) -> None:
        nonlocal wins, refused
        for _ in range(10):
            now = await site.asking("GET", node)
            number = int(now.body[3:-4]) + 1
            answer = await site.asking(
                "PUT", node, b"<n>%d</n>" % number, content_type="application/xcap-el+xml", if_match=now.etag
            )
            wins += answer.status == 200
            refused += answer.status == 412

    site.together(*(write(number) for number in range(8)))  # type: ignore[arg-type]
    assert wins + refused == 80
    assert site.get(node).body == b"<n>%d</n>" % wins
    assert refused > 0


def test_writers_of_different_nodes_without_conditions_are_all_served(site: Site) -> None:
    site.put(DOC, '<root xmlns="test-app"/>')

    async def write(number: int) -> None:
        for count in range(5):
            target = f'{DOC}/~~/root/n[@w="{number}.{count}"]'
            body = b'<n w="%d.%d"/>' % (number, count)
            assert (await site.asking("PUT", target, body, content_type="application/xcap-el+xml")).status == 201

    site.together(*(write(number) for number in range(8)))  # type: ignore[arg-type]
    assert site.get(DOC).body.count(b"<n ") == 40


def test_who_is_overtaken_by_others_tries_again(rows: Site) -> None:
    (key,) = rows.documents.kept

    def overtake() -> None:
        before = rows.documents.kept[key]
        rows.documents.kept[key] = before._replace(body=before.body.replace(b"</root>", b"<z/></root>"), etag="theirs")

    rows.documents.meanwhile = [overtake]
    assert rows.put(f"{DOC}/~~/root/b", "<b/>").status == 200
    assert b"<z/>" in rows.get(DOC).body
    rows.documents.meanwhile = [overtake]
    assert rows.put(f"{DOC}/~~/root/b", "<b/>", if_match=rows.get(DOC).etag).status == 412


def test_who_is_always_overtaken_is_told_to_come_later(rows: Site) -> None:
    rows.documents.refuses = Conflict()
    answer = rows.put(f"{DOC}/~~/root/b", "<b/>")
    assert (answer.status, answer.headers["retry-after"]) == (503, "5")


def test_what_the_database_refuses_is_503(rows: Site) -> None:
    rows.documents.refuses = StoreError("disk full")
    assert rows.put(DOC, ROWS).status == 503
    assert rows.delete(f"{DOC}/~~/root/b").status == 503
    rows.documents.refuses = None
    assert rows.get(DOC).etag == '"tag1"'


# Bounds


@pytest.fixture
def small() -> Site:
    return Site(limits=Limits(200, Bounds(4, 10), 2))


def test_a_body_that_is_too_large_is_413(small: Site) -> None:
    with small:
        assert small.put(DOC, "<root xmlns='test-app'>" + "x" * 200 + "</root>").status == 413
        # As it comes, when its length is not said.
        assert small.put(DOC, "<a>" + "x" * 200, content_length="").status == 413


def test_a_document_that_would_become_too_large_is_413(small: Site) -> None:
    with small:
        small.put(DOC, "<root xmlns='test-app'>" + "x" * 150 + "</root>")
        assert small.put(f"{DOC}/~~/root/a", "<a>" + "x" * 40 + "</a>").status == 413


def test_depth_and_number_of_elements_are_bounded(small: Site) -> None:
    with small:
        assert small.put(DOC, "<a><a><a><a/></a></a></a>").status == 201
        assert small.put(DOC, "<a><a><a><a><a/></a></a></a></a>").error == "constraint-failure"
        assert small.put(DOC, "<root xmlns='test-app'>" + "<a/>" * 9 + "</root>").status == 200
        assert small.put(f"{DOC}/~~/root/b", "<b/>").error == "constraint-failure"
        assert small.put(f"{DOC}/~~/root/a[1]", "<a><a><a><a/></a></a></a>").error == "constraint-failure"


def test_documents_of_a_user_are_bounded(small: Site) -> None:
    with small:
        for name, status in (("1", 201), ("2", 201), ("3", 409), ("2", 200)):
            assert small.put(f"test-app/{ALICE}/{name}", "<a/>").status == status
        assert small.put("test-app/users/sip:bob@example.com/1", "<a/>").status == 201
        small.delete(f"test-app/{ALICE}/1")
        assert small.put(f"test-app/{ALICE}/3", "<a/>").status == 201


def test_uris_are_bounded(site: Site) -> None:
    assert site.get(f"{DOC}/~~/" + "a" * 9000).status == 400


@pytest.mark.parametrize("node", ["", "/~~/root"])
def test_no_document_type_is_taken(site: Site, node: str) -> None:
    bomb = "<!DOCTYPE a [<!ENTITY b 'cc'><!ENTITY d '&b;&b;'>]><root xmlns='test-app'>&d;</root>"
    site.put(DOC, "<root xmlns='test-app'/>")
    assert site.put(f"{DOC}{node}", bomb).error == ("not-xml-frag" if node else "constraint-failure")


def test_rfc9110_14_4_parts_of_a_put_are_refused(site: Site) -> None:
    assert site.put(DOC, "<a/>", content_range="bytes 0-3/100").status == 400


def test_the_root_in_answers_is_the_one_clients_are_given() -> None:
    with Site(uris=("https://xcap.example.org",)) as site:
        answer = site.put(f"{DOC}/~~/a", "<a/>")
        assert answer.conflict[0].text == f"https://xcap.example.org/test-app/{ALICE}/"
    with Site() as site:
        answer = site.put(f"{DOC}/~~/a", "<a/>")
        assert answer.conflict[0].text == f"{ROOT}/test-app/{ALICE}/"
