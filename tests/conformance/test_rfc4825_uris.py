"""XCAP URIs: root, document selector, node selector and namespace bindings (RFC 4825 section 6)."""

import pytest
from xcap import ALICE, ESCAPES, Site

from presence.values import Aor
from presence.xcap.documents import Key

DOC = f"test-app/{ALICE}/index"

WATCHERS = """<?xml version="1.0"?>
<watcherinfo xmlns="urn:ietf:params:xml:ns:watcherinfo"
             version="0" state="full">
  <watcher-list resource="sip:professor@example.net"
                package="presence">
    <watcher status="active"
             id="8ajksjda7s"
             duration-subscribed="509"
             event="approved">sip:userA@example.net</watcher>
    <watcher status="pending"
             id="hh8juja87s997-ass7"
             display-name="Mr. Subscriber"
             event="subscribe">sip:userB@example.org</watcher>
  </watcher-list>
</watcherinfo>"""
"""Figure 3."""

FOO = """<?xml version="1.0"?>
<foo xmlns="urn:test:default-namespace">
  <ns1:bar xmlns:ns1="urn:test:namespace1-uri"
           xmlns="urn:test:namespace1-uri">
    <baz/>
    <ns2:baz xmlns:ns2="urn:test:namespace2-uri"/>
  </ns1:bar>
  <ns3:hi xmlns:ns3="urn:test:namespace3-uri">
    <there/>
  </ns3:hi>
</foo>"""
"""Section 6.4."""

ROWS = (
    '<root xmlns="test-app" xmlns:x="urn:x"><a n="1"/><b n="1"/><a n="2" x:n="3"/><x:a n="1"/><!-- a --><?pi a?>'
    "text<a n='3'><c/></a></root>"
)


@pytest.fixture
def rows(site: Site) -> Site:
    assert site.put(DOC, ROWS).status == 201
    return site


def selected(site: Site, selector: str) -> str | int:
    answer = site.get(f"{DOC}/~~/{selector}")
    return answer.body.decode() if answer.status == 200 else answer.status


# 6 URI Construction


def test_rfc4825_6_the_separator_may_be_percent_encoded(rows: Site) -> None:
    for separator in ("~~", "%7E%7E", "%7e~", "~%7E"):
        answer = rows.get(f"{DOC}/{separator}/root/b")
        assert (answer.status, answer.body) == (200, b'<b n="1"/>')


def test_rfc4825_6_the_first_separator_counts(site: Site) -> None:
    site.put(DOC, '<root xmlns="test-app"><a n="~~"/></root>')
    assert selected(site, 'root/a[@n="~~"]') == '<a n="~~"/>'
    assert selected(site, "root/~~/a") == 404


def test_rfc4825_6_the_slash_before_the_separator_may_be_missing(rows: Site) -> None:
    assert rows.get(f"{DOC}~~/root/b").body == b'<b n="1"/>'


# 6.1 XCAP Root


def test_rfc4825_6_1_the_root_is_no_resource(site: Site) -> None:
    for path in ("", "/xcap-root", "/xcap-root/"):
        answer = site.get(path)
        assert answer.status == 404
        assert b"XCAP Root" in answer.body


def test_rfc4825_6_1_a_root_for_each_domain(site: Site) -> None:
    document = "/xcap-root@example.com/test-app/users/alice/index"
    assert site.ask("PUT", document, b"<a/>", content_type="application/test-app+xml").status == 201
    assert site.documents.get(Key("test-app", Aor("alice", "example.com"), "index")) is not None
    assert site.get(DOC).body == b"<a/>"


# 6.2 Document Selector


@pytest.mark.parametrize("path", ["test-app/user/sip:alice@example.com/index", "test-app", "test-app/", "xxx/Users/a"])
def test_rfc4825_6_2_what_follows_the_auid_is_users_or_global(site: Site, path: str) -> None:
    answer = site.get(path)
    assert answer.status == 404
    assert b"context" in answer.body


@pytest.mark.parametrize("path", ["test-app/users", "test-app/users/", "test-app/users//index"])
def test_rfc4825_6_2_users_is_followed_by_an_xui(site: Site, path: str) -> None:
    answer = site.get(path)
    assert answer.status == 404
    assert b"user id" in answer.body


@pytest.mark.parametrize(
    "xui", ["alice", "sip:", "sip:example.com", "sip:a b@c", "mailto:a@b", "a@b:5060", "sip:a@b?c=d"]
)
def test_rfc4825_6_2_an_xui_that_is_no_address_is_404(site: Site, xui: str) -> None:
    answer = site.get(f"test-app/users/{xui.translate(ESCAPES).replace('?', '%3F')}/index")
    assert answer.status == 404
    assert b"user id" in answer.body


@pytest.mark.parametrize("path", [f"test-app/{ALICE}", f"test-app/{ALICE}/", f"test-app/{ALICE}//a", "test-app/global"])
def test_rfc4825_6_2_a_document_has_a_name(site: Site, path: str) -> None:
    answer = site.get(path)
    assert answer.status == 404
    assert b"not contain " in answer.body


@pytest.mark.parametrize(
    "xui",
    [
        "sip:alice@example.com",
        "alice@example.com",
        "sip:alice%40example.com",
        "sip%3Aalice%40EXAMPLE.com",
        "%61lice@example.com",
        "sips:alice@example.com",
    ],
)
def test_rfc4825_6_2_spellings_of_one_user_are_one(site: Site, xui: str) -> None:
    site.put(DOC, "<a/>")
    assert site.get(f"test-app/users/{xui}/index").body == b"<a/>"


def test_rfc4825_6_2_question_mark_and_slash_in_an_xui_are_percent_encoded(site: Site) -> None:
    assert site.put("test-app/users/sip:a%3Fb%2Fc@example.com/index", "<a/>").status == 201
    assert [key.owner for key in site.documents.kept] == [Aor("a?b/c", "example.com")]


def test_rfc4825_6_2_documents_of_two_users_are_two(site: Site) -> None:
    site.put(DOC, "<a/>")
    site.put("test-app/users/sip:bob@example.com/index", "<b/>")
    assert [site.get(DOC).body, site.get("test-app/users/sip:bob@example.com/index").body] == [b"<a/>", b"<b/>"]


def test_rfc4825_6_2_subdirectories_of_a_usage_and_names_with_blanks(site: Site) -> None:
    for name in ("folder/index", "My%20presrules", "index.xml"):
        assert site.put(f"test-app/{ALICE}/{name}", "<a/>").status == 201
    assert [key.name for key in site.documents.kept] == ["folder/index", "My presrules", "index.xml"]


def test_rfc4825_6_2_no_document_has_the_name_of_a_directory(site: Site) -> None:
    assert site.put(f"test-app/{ALICE}/folder", "<a/>").error == "constraint-failure"


@pytest.mark.parametrize("name", ["a%2Fb", "..", "%2e%2e", ".", "a%00b", "a%0D%0Ab", "x" * 256])
def test_rfc4825_6_2_names_that_are_none_are_404(site: Site, name: str) -> None:
    assert site.put(f"test-app/{ALICE}/{name}", "<a/>").status == 404


@pytest.mark.parametrize("path", [f"test-app/{ALICE}/%", f"test-app/{ALICE}/%zz", "test-app/users/%ff@a/index"])
def test_rfc4825_6_2_bad_percent_encoding_is_400(site: Site, path: str) -> None:
    assert site.get(path).status == 400


# 6.3 Node Selector


@pytest.mark.parametrize(
    ("selector", "found"),
    [
        ("root/b", '<b n="1"/>'),
        ("/root/b", '<b n="1"/>'),
        ("*/b", '<b n="1"/>'),
        ("root/a[1]", '<a n="1"/>'),
        ("root/a[2]", '<a n="2" x:n="3"/>'),
        ("root/a[002]", '<a n="2" x:n="3"/>'),
        ("root/*[2]", '<b n="1"/>'),
        ("root/*[4]", '<x:a n="1"/>'),
        ('root/a[@n="2"]', '<a n="2" x:n="3"/>'),
        ("root/a[@n='2']", '<a n="2" x:n="3"/>'),
        ('root/a[2][@n="2"]', '<a n="2" x:n="3"/>'),
        ('root/*[3][@n="2"]', '<a n="2" x:n="3"/>'),
        ("root/a[3]/c", "<c/>"),
        ("root/a[3]/*", "<c/>"),
        ("root/a[3]", "<a n='3'><c/></a>"),
        ("root/a[2]/@n", '"2"'),
        ("root/a[3]/@n", "'3'"),
    ],
)
def test_rfc4825_6_3_each_kind_of_step(rows: Site, selector: str, found: str) -> None:
    assert selected(rows, selector) == found


@pytest.mark.parametrize(
    "selector",
    [
        "root/a",
        "root/*",
        'root/*[@n="1"]',
        "root/a[4]",
        "root/a[0]",
        "root/*[99999999999999999999999]",
        'root/a[@n="4"]',
        'root/a[1][@n="2"]',
        "root/c",
        "b",
        "root/a/c",
        "root/a[1]/@m",
        "root[2]",
        'root/a[@m="1"]/@n',
    ],
)
def test_rfc4825_6_3_each_step_selects_one_element_or_it_is_404(rows: Site, selector: str) -> None:
    assert selected(rows, selector) == 404


def test_rfc4825_6_3_predicates_are_evaluated_in_order(rows: Site) -> None:
    # The second of the elements called a, when it has that attribute: not the second of those that have it.
    assert selected(rows, 'root/a[2][@n="2"]') == '<a n="2" x:n="3"/>'
    assert selected(rows, 'root/a[1][@n="2"]') == 404


@pytest.mark.parametrize(
    "selector",
    [
        "root/a[]",
        "root/a[]/@n",
        "root/a[-1]",
        'root/a[@n="1"][1]',
        "root/a[1][2]",
        "root/a[@n=1]",
        'root/a[@n="1]',
        "root/a[n]",
        "root//a",
        "root/a/",
        "",
        "@n",
        "root/@n/a",
        "root/@",
        "root/@*",
        "namespace::*",
        "root/x:*[1]",
        'root/a[@n="<"]',
        "/".join(["a"] * 200),
    ],
)
def test_rfc4825_6_3_what_is_like_a_step_and_is_none_is_400(rows: Site, selector: str) -> None:
    answer = rows.get(f"{DOC}/~~/{selector}")
    assert answer.status == 400
    assert b"to parse node" in answer.body


@pytest.mark.parametrize(
    "selector", ["root/text()", "root/id(5)", "root/..", "root/a%20b", "root/parent::a", "root/x:*"]
)
def test_rfc4825_8_extensions_that_nobody_knows_are_404(rows: Site, selector: str) -> None:
    answer = rows.get(f"{DOC}/~~/{selector}")
    assert answer.status == 404
    assert b"extension" in answer.body


def test_rfc4825_6_3_characters_are_percent_encoded_from_utf8(site: Site) -> None:
    site.put(DOC, '<root xmlns="test-app"><\xe0 n="\u30a2 ]/\'"/></root>')
    target = f"{DOC}/~~/root/%C3%A0%5B@n=%22%E3%82%A2%20%5D%2F'%22%5D"
    assert site.get(target).body.decode() == '<\xe0 n="\u30a2 ]/\'"/>'


def test_rfc4825_6_3_a_slash_in_an_attribute_value_parts_no_steps(site: Site) -> None:
    site.put(DOC, '<root xmlns="test-app"><a n="http://a/b"><c/></a></root>')
    for value in ("http://a/b", "http:%2F%2Fa%2Fb"):
        assert selected(site, f'root/a[@n="{value}"]/c') == "<c/>"


def test_rfc4825_6_3_references_in_attribute_values_are_what_they_stand_for(site: Site) -> None:
    site.put(DOC, '<root xmlns="test-app"><a n="1&amp;2&#60;&quot;"/><a n="x&#10;y"/><a n="p\nq"/></root>')
    for value in ("1&amp;2&lt;&quot;", "1%262&#60;&#x22;", "1&2&lt;&quot;"):
        assert selected(site, f'root/a[@n="{value}"]') == '<a n="1&amp;2&#60;&quot;"/>'.replace("%26", "&")
    assert selected(site, 'root/a[@n="x&#10;y"]') == '<a n="x&#10;y"/>'
    assert selected(site, 'root/a[@n="p q"]') == '<a n="p\nq"/>'


def test_rfc4825_6_3_a_namespace_declaration_is_no_attribute(rows: Site) -> None:
    assert selected(rows, 'root[@xmlns="test-app"]') == 404
    assert selected(rows, "root/@xmlns") == 404
    assert rows.get(f"{DOC}/~~/root/@x:xmlns?xmlns(x=http://www.w3.org/2000/xmlns/)").status == 404


def test_rfc4825_6_3_comments_text_and_instructions_are_kept_and_not_selected(rows: Site) -> None:
    assert selected(rows, "root") == ROWS
    assert selected(rows, "root/*[5]") == "<a n='3'><c/></a>"


def test_rfc4825_6_3_an_unprefixed_attribute_is_in_no_namespace(rows: Site) -> None:
    assert selected(rows, 'root/a[@n="3"]') == "<a n='3'><c/></a>"
    answer = rows.get(f'{DOC}/~~/root/a[@p:n="3"]?xmlns(p=urn:x)')
    assert answer.body == b'<a n="2" x:n="3"/>'
    assert rows.get(f"{DOC}/~~/root/a[2]/@p:n?xmlns(p=urn:x)").body == b'"3"'


def test_rfc4825_6_3_the_example_of_figure_3(site: Site) -> None:
    document = f"com.example.watcherinfo/{ALICE}/index"
    site.put(document, WATCHERS)
    answer = site.get(f'{document}/~~/watcherinfo/watcher-list/watcher[@id="8ajksjda7s"]')
    start, end = WATCHERS.index("<watcher status"), WATCHERS.index("</watcher>") + len("</watcher>")
    assert answer.body.decode() == WATCHERS[start:end]


# 6.4 Namespace Bindings for the Selector


@pytest.mark.parametrize(
    ("selector", "found"),
    [
        ("foo/a:bar/b:baz?xmlns(a=urn:test:namespace1-uri)xmlns(b=urn:test:namespace1-uri)", "<baz/>"),
        (
            "foo/a:bar/b:baz?xmlns(a=urn:test:namespace1-uri)xmlns(b=urn:test:namespace2-uri)",
            '<ns2:baz xmlns:ns2="urn:test:namespace2-uri"/>',
        ),
        (
            "d:foo/a:bar/b:baz?xmlns(a=urn:test:namespace1-uri)xmlns(b=urn:test:namespace2-uri)"
            "xmlns(d=urn:test:default-namespace)",
            '<ns2:baz xmlns:ns2="urn:test:namespace2-uri"/>',
        ),
        ("foo/a:hi/there?xmlns(a=urn:test:namespace3-uri)", "<there/>"),
    ],
)
def test_rfc4825_6_4_the_examples(site: Site, selector: str, found: str) -> None:
    document = f"test/{ALICE}/index"
    site.put(document, FOO)
    assert site.get(f"{document}/~~/{selector}").body.decode() == found


def test_rfc4825_6_4_without_a_query_only_the_default_document_namespace_is_defined(site: Site) -> None:
    site.put(DOC, '<x:root xmlns:x="test-app"><x:a/><a/></x:root>')
    assert selected(site, "root/a") == "<x:a/>"
    plain = f"com.example.plain/{ALICE}/index"
    site.put(plain, '<root><a/><a xmlns="urn:x"/></root>')
    assert site.get(f"{plain}/~~/root/a").body == b"<a/>"


def test_rfc4825_8_a_prefix_that_nothing_binds_is_400(rows: Site) -> None:
    for target in ("x:root", "root/a/@x:n", 'root/a[@x:n="1"]', "y:root?xmlns(x=urn:x)"):
        path, _, query = target.partition("?")
        assert rows.get(f"{DOC}/~~/{path}?{query}").status == 400
        assert rows.put(f"{DOC}/~~/{path}?{query}", "<a/>").status == 400


def test_rfc4825_6_4_expressions_of_other_schemes_are_ignored(rows: Site) -> None:
    query = "xpointer(id(a)/b[^(])element(/1)xmlns(p=urn:x)p:unknown(x(y)z)"
    assert rows.get(f"{DOC}/~~/root/p:a?{query}").body == b'<x:a n="1"/>'


def test_rfc4825_6_4_bindings_are_percent_encoded_spaced_and_the_last_counts(rows: Site) -> None:
    for query in (
        "xmlns(p=%75rn%3Ax)",
        "xmlns%28p%20=%20urn:x%20%29%20xmlns(q=urn:q)",
        "xmlns(p=urn:y)xmlns(p=urn:x)",
    ):
        assert rows.get(f"{DOC}/~~/root/p:a?{query}").status == 200


def test_rfc4825_6_4_a_circumflex_escapes_parentheses(site: Site) -> None:
    site.put(DOC, '<root xmlns="test-app"><a xmlns="urn:(x"/></root>')
    assert site.get(f"{DOC}/~~/root/p:a?xmlns(p=urn:^(x)").status == 200


def test_rfc4825_6_4_the_prefix_xml_is_bound_already(site: Site) -> None:
    site.put(DOC, '<root xmlns="test-app"><a xml:lang="de"/><a xml:lang="en"/></root>')
    assert selected(site, 'root/a[@xml:lang="en"]') == '<a xml:lang="en"/>'
    assert selected(site, "root/a[1]/@xml:lang") == '"de"'
    assert site.get(f"{DOC}/~~/root/xml:a?xmlns(xml=test-app)").status == 404


@pytest.mark.parametrize(
    "query", ["foo", "xmlns(p=urn:x", "xmlns()", "xmlns(p)", "xmlns(p=)", "xmlns(1=urn:x)", "a=b", "%zz"]
)
def test_rfc4825_6_4_a_query_that_is_no_xpointer_is_400(rows: Site, query: str) -> None:
    assert rows.get(f"{DOC}/~~/root/b?{query}").status == 400
