"""PUT: locating the parent, verifying the body, creation, replacement, validation (RFC 4825 sections 7 and 8.2)."""

import pytest
from xcap import ALICE, ROOT, Answer, Site

DOC = f"test-app/{ALICE}/index"
LISTS = f"resource-lists/{ALICE}/index"

ROOT_DOCUMENT = """<?xml version="1.0"?>
<root xmlns="test-app">
 <el1 att="first"/>
 <el1 att="second"/>
 <!-- comment -->
 <el2 att="first"/>
</root>"""
"""The document of section 8.2.3, in the namespace of the usage."""


def put_node(site: Site, document: str, selector: str, body: str, **headers: str) -> tuple[Answer, str]:
    """PUT a document, then a node of it; return the answer, and what the document is then."""
    site.put(DOC, document)
    answer = site.put(f"{DOC}/~~/{selector}", body, **headers)
    return answer, site.get(DOC).body.decode()


def inserted(site: Site, document: str, selector: str, body: str) -> str:
    """Create a node and prove that it is there, that doing so again changes nothing, and that DELETE undoes it."""
    answer, after = put_node(site, document, selector, body)
    assert answer.status == 201
    assert site.get(f"{DOC}/~~/{selector}").body.decode() == body
    assert site.put(f"{DOC}/~~/{selector}", body).status == 200
    assert site.get(DOC).body.decode() == after
    assert site.delete(f"{DOC}/~~/{selector}").status == 200
    assert site.get(f"{DOC}/~~/{selector}").status == 404
    assert site.delete(f"{DOC}/~~/{selector}").status == 404
    return after


def conflict(site: Site, document: str, selector: str, body: str | bytes) -> str:
    """PUT a node that cannot be; return the error, the document being what it was."""
    before = document
    site.put(DOC, document)
    answer = site.put(f"{DOC}/~~/{selector}", body)
    assert site.get(DOC).body.decode() == before
    return answer.error


# 7.1 Create or Replace a Document


def test_rfc4825_7_1_a_document_is_created_and_replaced(site: Site) -> None:
    created = site.put(DOC, "<a/>")
    replaced = site.put(DOC, "<b/>")
    assert [created.status, replaced.status] == [201, 200]
    assert [created.body, replaced.body] == [b"", b""]
    assert site.get(DOC).body == b"<b/>"


def test_rfc4825_7_1_a_document_is_kept_as_it_came(site: Site) -> None:
    for body in (
        "\ufeff<?xml version='1.0' encoding='utf-8'?>\r\n<!-- a -->\n"
        "<a  b = 'c' ><![CDATA[<]]>\t&#x20ac;</a >\n<?pi?>\n",
        "<a/>",
    ):
        site.put(DOC, body)
        assert site.get(DOC).body == body.encode()


# 8.2 namespace selectors


def test_rfc4825_8_2_put_to_a_namespace_selector_is_405(site: Site) -> None:
    site.put(DOC, "<root xmlns='test-app'/>")
    answer = site.ask("PUT", f"{DOC}/~~/root/namespace::*", b"<a/>", content_type="application/xcap-ns+xml")
    assert answer.status == 405
    assert "GET" in answer.headers["allow"].split(", ")
    assert "PUT" not in answer.headers["allow"]


# 8.2.1 Locating the Parent


def test_rfc4825_8_2_1_a_directory_that_is_not_there_is_no_parent(site: Site) -> None:
    answer = site.put(f"test-app/{ALICE}/elsewhere/index", "<a/>")
    assert answer.error == "no-parent"
    assert answer.conflict[0].text == f"{ROOT}/test-app/{ALICE}/"


@pytest.mark.parametrize("node", ["root/a", "root/@a"])
def test_rfc4825_8_2_1_a_document_that_is_not_there_is_no_parent(site: Site, node: str) -> None:
    answer = site.put(f"{DOC}/~~/{node}", '"a"')
    assert answer.error == "no-parent"
    assert answer.conflict[0].text == f"{ROOT}/test-app/{ALICE}/"


@pytest.mark.parametrize(
    ("node", "ancestor"),
    [
        ("root/none/a", "/~~/root"),
        ('root/el1[@att="first"]/b/c/@d', "/~~/root/el1%5B@att=%22first%22%5D"),
        ("none/a", ""),
        ("root/el1/a", "/~~/root"),
        ("root/el1[5]/a", "/~~/root"),
    ],
)
def test_rfc4825_8_2_1_an_element_that_is_not_there_is_no_parent(site: Site, node: str, ancestor: str) -> None:
    site.put(DOC, ROOT_DOCUMENT)
    body = '"a"' if "/@" in node else "<a/>"
    answer = site.put(f"{DOC}/~~/{node}", body)
    assert answer.error == "no-parent"
    assert answer.conflict[0].text == f"{ROOT}/{DOC}{ancestor}"


def test_rfc4825_11_1_the_ancestor_is_a_uri_that_can_be_asked_for(site: Site) -> None:
    site.put(DOC, '<x:root xmlns:x="urn:x"><x:a n="\xe4 /"/></x:root>')
    node = 'p:root/p:a[@n="%C3%A4%20%2F"]/p:b/p:c?xmlns(p=urn:x)'
    answer = site.put(f"{DOC}/~~/{node}", "<c/>")
    ancestor = answer.conflict[0].text
    assert ancestor == f"{ROOT}/{DOC}/~~/p:root/p:a%5B@n=%22%C3%A4%20%2F%22%5D?xmlns(p=urn:x)"
    assert site.get(ancestor.removeprefix("http://xcap.example.com")).status == 200


def test_rfc4825_8_2_1_the_parent_is_located_before_the_body_is_verified(site: Site) -> None:
    assert conflict(site, ROOT_DOCUMENT, "root/none/a", "<a>") == "no-parent"


def test_rfc4825_8_2_1_a_document_somebody_else_broke_takes_no_nodes(site: Site) -> None:
    site.put(DOC, "<root/>")
    (key,) = site.documents.kept
    site.documents.kept[key] = site.documents.kept[key]._replace(body=b"<root")
    assert site.put(f"{DOC}/~~/root/a", "<a/>").error == "no-parent"
    assert site.get(f"{DOC}/~~/root").status == 404
    assert site.put(DOC, "<root/>").status == 200


# 8.2.2 Verifying Document Content


@pytest.mark.parametrize(
    "body",
    [
        "",
        "xxx",
        "<a>",
        "<a></b>",
        "<a/><b/>",
        "<a>&b;</a>",
        "<a b='1' b='2'/>",
        "<x:a/>",
        "<a>\x01</a>",
        " <?xml version='1.0'?><a/>",
    ],
)
def test_rfc4825_8_2_2_a_document_that_is_not_well_formed(site: Site, body: str) -> None:
    assert site.put(DOC, body).error == "not-well-formed"
    assert site.get(DOC).status == 404


@pytest.mark.parametrize(
    "body",
    [
        "<?xml version='1.0' encoding='iso-8859-1'?><a>\xe4</a>".encode("latin-1"),
        b"<?xml version='1.0' encoding='ISO-8859-15'?><a/>",
        b"<?xml version='1.0' encoding='shift_jis'?><a/>",
        b"<?xml version='1.0' encoding='of-my-own'?><a/>",
        "<a>\xe4</a>".encode("latin-1"),
        "<a/>".encode("utf-16"),
        "<?xml version='1.0' encoding='utf-16'?><a/>".encode("utf-16"),
    ],
)
def test_rfc4825_8_2_2_a_document_that_is_not_utf_8(site: Site, body: bytes) -> None:
    assert site.put(DOC, body).error == "not-utf-8"


def test_rfc4825_8_2_2_not_well_formed_comes_before_not_utf_8(site: Site) -> None:
    assert site.put(DOC, "<?xml version='1.0' encoding='iso-8859-1'?><a>").error == "not-well-formed"


@pytest.mark.parametrize(
    "content_type",
    ["", "application/xml", "text/xml", "application/xcap-el+xml", "application/resource-lists+xml", "test-app"],
)
def test_rfc4825_8_2_2_a_document_of_another_type_is_415(site: Site, content_type: str) -> None:
    answer = site.put(DOC, "<a/>", content_type=content_type)
    assert answer.status == 415
    assert answer.headers["accept"] == "application/test-app+xml"


@pytest.mark.parametrize("suffix", ["; charset=utf-8", ';charset="UTF-8"', " ; a=b", ""])
def test_rfc4825_8_2_2_parameters_of_the_type_are_allowed(site: Site, suffix: str) -> None:
    assert site.put(DOC, "<root xmlns='test-app'/>", content_type=f"Application/Test-App+XML{suffix}").status == 201
    assert site.put(f"{DOC}/~~/root/a", "<a/>", content_type=f"application/xcap-el+xml{suffix}").status == 201
    assert site.put(f"{DOC}/~~/root/@a", '"a"', content_type=f"application/xcap-att+xml{suffix}").status == 201


def test_rfc4825_8_2_2_a_charset_parameter_counts(site: Site) -> None:
    answer = site.put(DOC, "<a>\xe4</a>", content_type="application/test-app+xml; charset=iso-8859-1")
    assert answer.error == "not-utf-8"


def test_jitsi_says_utf_8_in_content_encoding(site: Site) -> None:
    assert site.put(DOC, "<a/>", content_encoding="UTF-8").status == 201


@pytest.mark.parametrize("coding", ["gzip", "deflate", "identity, BR"])
def test_rfc9110_8_4_a_body_that_is_really_encoded_is_415(site: Site, coding: str) -> None:
    answer = site.put(DOC, "<a/>", content_encoding=coding)
    assert (answer.status, answer.headers["accept-encoding"]) == (415, "identity")


@pytest.mark.parametrize(
    "body",
    [
        "",
        "text",
        "<tag></bag>",
        "<ta g></ta g>",
        "<tag1/><tag2/>",
        "<tag\\></tag\\>",
        "<a/>text",
        "text<a/>",
        "<!-- c --><a/>",
        "<a/><!-- c -->",
        "<?pi?><a/>",
        "<a/><?pi?>",
        "<?xml version='1.0'?><a/>",
        "<!DOCTYPE a><a/>",
        "<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>",
        "<a>&b;</a>",
        "<a></a></root><root>",
        "<a/></root><!--",
        "<x:a/>",
        "<a x:b='c'/>",
        "<a>]]></a>",
    ],
)
def test_rfc4825_8_2_2_a_body_that_is_not_one_element(site: Site, body: str) -> None:
    assert conflict(site, ROOT_DOCUMENT, "root/a", body) == "not-xml-frag"


def test_rfc4825_8_2_2_the_phrase_says_what_is_wrong(site: Site) -> None:
    site.put(DOC, ROOT_DOCUMENT)
    for body, says in (
        ("<tag></bag>", "mismatched tag"),
        ("<ta g></ta g>", "not well-formed (invalid token)"),
        ("<tag1/><tag2/>", "junk after document element"),
    ):
        assert says in site.put(f"{DOC}/~~/root/tag", body).conflict.get("phrase")


def test_rfc4825_8_2_2_white_space_around_the_element_is_none_of_it(site: Site) -> None:
    answer, after = put_node(site, "<root xmlns='test-app'/>", "root/a", "\ufeff \n<a/>\r\n")
    assert (answer.status, after) == (201, "<root xmlns='test-app'><a/></root>")


@pytest.mark.parametrize("body", ["<a>\xe4</a>".encode("latin-1"), "<a/>".encode("utf-16"), "<a/>".encode("utf-16-le")])
def test_rfc4825_8_2_2_an_element_that_is_not_utf_8(site: Site, body: bytes) -> None:
    assert conflict(site, ROOT_DOCUMENT, "root/a", body) == "not-utf-8"


@pytest.mark.parametrize("content_type", ["", "application/test-app+xml", "application/xcap-att+xml", "text/xml"])
def test_rfc4825_8_2_2_an_element_of_another_type_is_415(site: Site, content_type: str) -> None:
    answer, after = put_node(site, ROOT_DOCUMENT, "root/a", "<a/>", content_type=content_type)
    assert (answer.status, answer.headers["accept"], after) == (415, "application/xcap-el+xml", ROOT_DOCUMENT)


@pytest.mark.parametrize(
    "body", ["", "a", '"', '"a', "'a\"", '"a"b', '"<"', '"&"', '"&b;"', '"a"b"', '"\x02"', '"&#1;"', '"a" c="d"']
)
def test_rfc4825_8_2_2_a_body_that_is_no_attribute_value(site: Site, body: str) -> None:
    assert conflict(site, ROOT_DOCUMENT, "root/@a", body) == "not-xml-att-value"


def test_rfc4825_8_2_2_an_attribute_value_that_is_not_utf_8(site: Site) -> None:
    assert conflict(site, ROOT_DOCUMENT, "root/@a", '"\xe4"'.encode("latin-1")) == "not-utf-8"


@pytest.mark.parametrize("content_type", ["", "text/plain", "application/xcap-el+xml"])
def test_rfc4825_8_2_2_an_attribute_of_another_type_is_415(site: Site, content_type: str) -> None:
    answer, after = put_node(site, ROOT_DOCUMENT, "root/@a", '"a"', content_type=content_type)
    assert (answer.status, answer.headers["accept"], after) == (415, "application/xcap-att+xml", ROOT_DOCUMENT)


# 8.2.3 Creation: the examples


@pytest.mark.parametrize("selector", ['root/el1[@att="third"]', 'root/el1[3][@att="third"]', 'root/*[3][@att="third"]'])
def test_rfc4825_8_2_3_example_third(site: Site, selector: str) -> None:
    after = inserted(site, ROOT_DOCUMENT, selector, '<el1 att="third"/>')
    assert after == ROOT_DOCUMENT.replace('<el1 att="second"/>', '<el1 att="second"/><el1 att="third"/>')


def test_rfc4825_8_2_3_example_el3(site: Site) -> None:
    after = inserted(site, ROOT_DOCUMENT, "root/el3", '<el3 att="first"/>')
    assert after == ROOT_DOCUMENT.replace("</root>", '<el3 att="first"/></root>')


@pytest.mark.parametrize("selector", ['root/el2[@att="2"]', 'root/el2[2][@att="2"]'])
def test_rfc4825_8_2_3_example_second_el2(site: Site, selector: str) -> None:
    after = inserted(site, ROOT_DOCUMENT, selector, '<el2 att="2"/>')
    assert after == ROOT_DOCUMENT.replace('<el2 att="first"/>', '<el2 att="first"/><el2 att="2"/>')


def test_rfc4825_8_2_3_example_second_of_all(site: Site) -> None:
    after = inserted(site, ROOT_DOCUMENT, 'root/*[2][@att="2"]', '<el2 att="2"/>')
    assert after == ROOT_DOCUMENT.replace('<el1 att="first"/>', '<el1 att="first"/><el2 att="2"/>')


def test_rfc4825_8_2_3_example_first_el2(site: Site) -> None:
    after = inserted(site, ROOT_DOCUMENT, 'root/el2[1][@att="2"]', '<el2 att="2"/>')
    assert after == ROOT_DOCUMENT.replace('<el2 att="first"/>', '<el2 att="2"/><el2 att="first"/>')


# 8.2.3 Creation: the three ways

TEXT = "<root xmlns='test-app'>a<b n='1'/>c<!-- d --><?e?></root>"


@pytest.mark.parametrize("selector", ["root/n", "root/n[1]", 'root/n[@k="1"]', 'root/n[1][@k="1"]', 'root/*[@k="1"]'])
def test_rfc4825_8_2_3_the_first_of_its_name_is_last_behind_text_comments_and_instructions(
    site: Site, selector: str
) -> None:
    assert inserted(site, TEXT, selector, '<n k="1"/>') == TEXT.replace("</root>", '<n k="1"/></root>')


@pytest.mark.parametrize("selector", ["root/*", "root/*[1]", 'root/*[@k="1"]', 'root/*[1][@k="1"]', "root/n"])
@pytest.mark.parametrize(
    ("start", "end"), [("<root xmlns='test-app'>", "</root >"), ("<root xmlns='test-app'> <!-- a -->", "</root>")]
)
def test_rfc4825_8_2_3_the_first_child_of_all(site: Site, selector: str, start: str, end: str) -> None:
    assert inserted(site, start + end, selector, '<n k="1"/>') == f'{start}<n k="1"/>{end}'


@pytest.mark.parametrize(
    ("tag", "opened"),
    [
        ("<root xmlns='test-app'/>", "<root xmlns='test-app'>"),
        ("<root xmlns='test-app' />", "<root xmlns='test-app' >"),
    ],
)
def test_rfc4825_8_2_3_an_empty_element_tag_is_opened(site: Site, tag: str, opened: str) -> None:
    assert inserted(site, tag, "root/n", "<n/>") == f"{opened}<n/></root>"


def test_rfc4825_8_2_3_an_empty_element_tag_with_a_prefix_is_opened(site: Site) -> None:
    site.put(DOC, "<?xml version='1.0'?>\n<x:root xmlns:x='test-app' a='/>'\n/>\n")
    assert site.put(f"{DOC}/~~/root/n", "<x:n/>").status == 201
    assert site.get(DOC).body == b"<?xml version='1.0'?>\n<x:root xmlns:x='test-app' a='/>'\n><x:n/></x:root>\n"


def test_rfc4825_8_2_3_without_a_position_it_is_in_the_earliest_last_place(site: Site) -> None:
    document = "<root xmlns='test-app'><a n='1'/><b/><a n='2'/> <!-- c --><b/></root>"
    for selector in ('root/a[@n="3"]', 'root/*[@n="3"]'):
        after = inserted(site, document, selector, '<a n="3"/>')
        assert after == document.replace("<a n='2'/>", "<a n='2'/><a n=\"3\"/>")


@pytest.mark.parametrize(
    ("selector", "before", "body"),
    [
        ("root/a[3]", " <!-- c -->", '<a k="1"/>'),
        ('root/a[3][@k="1"]', " <!-- c -->", '<a k="1"/>'),
        ('root/a[2][@k="1"]', "<b/><a n='2'/>", '<a k="1"/>'),
        ('root/*[2][@k="1"]', "<b/><a n='2'/>", '<a k="1"/>'),
        ('root/*[3][@k="1"]', "<a n='2'/>", '<a k="1"/>'),
        ('root/*[1][@k="1"]', "<a n='1'/>", '<z k="1"/>'),
        ('root/a[1][@k="1"]', "<a n='1'/>", '<a k="1"/>'),
        ('root/b[1][@k="1"]', "<b/><a n='2'/>", '<b k="1"/>'),
        ("root/*[5]", "z</root>", "<z/>"),
        ('root/*[5][@k="1"]', "z</root>", '<a k="1"/>'),
        ('root/b[3][@k="1"]', "z</root>", '<b k="1"/>'),
    ],
)
def test_rfc4825_8_2_3_with_a_position_it_is_in_the_earliest_nth_place(
    site: Site, selector: str, before: str, body: str
) -> None:
    document = "<root xmlns='test-app'>x<a n='1'/><b/><a n='2'/> <!-- c --><b/>z</root>"
    assert inserted(site, document, selector, body) == document.replace(before, body + before, 1)


# 8.2.3 Creation: what cannot be inserted


@pytest.mark.parametrize(
    ("selector", "body"),
    [
        ("root/el1", '<el1 att="third"/>'),
        ("root/*", "<el4/>"),
        ("root/el1[4]", "<el1/>"),
        ('root/el1[4][@att="third"]', '<el1 att="third"/>'),
        ("root/el3[2]", "<el3/>"),
        ("root/*[5]", "<el4/>"),
        ('root/*[5][@att="third"]', '<el1 att="third"/>'),
        ('root/*[0][@att="third"]', '<el1 att="third"/>'),
        ('root/el1[@att="third"]', '<el1 att="fourth"/>'),
        ('root/el1[3][@att="third"]', '<el1 att="fourth"/>'),
        ('root/*[3][@att="third"]', '<el1 att="fourth"/>'),
        ('root/el1[@att="third"]', "<el1/>"),
        ('root/el1[@att="third"]', '<el2 att="third"/>'),
        ("root/el3", "<el4/>"),
        ("root/el3", '<el3 xmlns="urn:other"/>'),
        ("other", "<other/>"),
        ('root[@a="1"]', '<root xmlns="test-app" a="1"/>'),
        ("root[2]", '<root xmlns="test-app"/>'),
    ],
)
def test_rfc4825_8_2_3_what_the_uri_would_not_select_cannot_be_inserted(site: Site, selector: str, body: str) -> None:
    assert conflict(site, ROOT_DOCUMENT, selector, body) == "cannot-insert"


def test_rfc4825_7_4_the_example_whose_attribute_does_not_match(site: Site) -> None:
    document = "rls-services/users/sip:bill@example.com/index"
    site.put(document, '<rls-services xmlns="urn:ietf:params:xml:ns:rls-services"/>')
    answer = site.put(
        f"{document}/~~/rls-services/service%5b@uri=%22sip:good-friends@example.com%22%5d",
        '<service uri="sip:mybuddies@example.com"><packages><package>presence</package></packages></service>',
    )
    assert answer.error == "cannot-insert"


def test_rfc4825_7_4_the_example_of_a_positional_insertion(site: Site) -> None:
    document = f"com.example.watcherinfo/{ALICE}/index"
    text = (
        '<watcherinfo xmlns="urn:ietf:params:xml:ns:watcherinfo"><watcher-list><watcher id="8ajksjda7s"/>'
        '<watcher id="hh8juja87s997-ass7"/></watcher-list></watcherinfo>'
    )
    site.put(document, text)
    # Without the attribute it would be a replacement.
    node = f'{document}/~~/watcherinfo/watcher-list/*[2][@id="hhggff"]'
    assert site.put(node, '<watcher id="hhggff"/>').status == 201
    assert site.get(document).body.decode() == text.replace(
        '<watcher id="hh8', '<watcher id="hhggff"/><watcher id="hh8'
    )


# 8.2.3 Creation: namespaces


def test_rfc4825_8_2_3_declarations_of_the_body_are_kept_even_if_redundant(site: Site) -> None:
    body = '<a xmlns="test-app" xmlns:x="urn:x" xmlns:y="urn:y"><x:b xmlns:x="urn:x"/></a>'
    assert inserted(site, '<root xmlns="test-app" xmlns:x="urn:x"></root>', "root/a", body) == (
        f'<root xmlns="test-app" xmlns:x="urn:x">{body}</root>'
    )


def test_rfc4825_8_2_3_the_body_may_use_what_the_document_declares(site: Site) -> None:
    document = '<root xmlns="test-app" xmlns:gm="urn:gm"><list xmlns:x="urn:x"/></root>'
    after = inserted(site, document, "root/list/entry", '<entry x:a="1"><gm:group>Foo</gm:group></entry>')
    assert after == document.replace("/></root>", '><entry x:a="1"><gm:group>Foo</gm:group></entry></list></root>')


def test_rfc4825_8_2_3_names_are_compared_expanded(site: Site) -> None:
    document = '<root xmlns="test-app" xmlns:p="urn:p" xmlns:q="urn:p"><p:a/><a n="1"/><q:a/><b/></root>'
    site.put(DOC, document)
    assert site.put(f'{DOC}/~~/root/z:a[@n="1"]?xmlns(z=urn:p)', '<y:a xmlns:y="urn:p" n="1"/>').status == 201
    assert site.get(DOC).body.decode() == document.replace("<q:a/>", '<q:a/><y:a xmlns:y="urn:p" n="1"/>')
    # The wildcard: siblings of the body's own name count.
    assert site.put(f'{DOC}/~~/root/*[@m="1"]', '<p:a m="1"/>').status == 201
    assert site.get(DOC).body.decode() == document.replace("<q:a/>", '<q:a/><y:a xmlns:y="urn:p" n="1"/><p:a m="1"/>')


# 8.2.3 Creation: attributes


@pytest.mark.parametrize("value", ['"b"', "'b'", "'b\"c'", '"&lt;&#x20ac;&amp;"', '""', '"a\tb"', "'&quot;'", '"\xe4"'])
def test_rfc4825_8_2_3_an_attribute_is_inserted(site: Site, value: str) -> None:
    document = "<?xml version='1.0'?>\n<root xmlns='test-app' ><!-- a --><x n = '1'\n/></root>"
    after = inserted(site, document, "root/x/@m", value)
    assert after == document.replace("n = '1'", f"n = '1' m={value}")
    assert inserted(site, document, "root/@m", value) == document.replace("'test-app'", f"'test-app' m={value}")
    assert inserted(site, "<root xmlns='test-app'><x/></root>", "root/x/@m", value) == (
        f"<root xmlns='test-app'><x m={value}/></root>"
    )


def test_rfc4825_8_2_3_a_prefixed_attribute_gets_a_prefix_of_the_document(site: Site) -> None:
    site.put(DOC, '<root xmlns="test-app" xmlns:doc="urn:x"><a/></root>')
    node = f"{DOC}/~~/root/a/@mine:n?xmlns(mine=urn:x)"
    assert site.put(node, '"1"', content_type="application/xcap-att+xml").status == 201
    assert site.get(DOC).body == b'<root xmlns="test-app" xmlns:doc="urn:x"><a doc:n="1"/></root>'
    assert site.get(node).body == b'"1"'
    assert site.put(node, '"2"', content_type="application/xcap-att+xml").status == 200
    assert site.delete(node).status == 200
    assert site.get(DOC).body == b'<root xmlns="test-app" xmlns:doc="urn:x"><a/></root>'


def test_rfc4825_8_2_3_a_prefix_that_the_document_lacks_is_declared(site: Site) -> None:
    site.put(DOC, '<root xmlns="test-app" xmlns:x="urn:other"><a/><b/></root>')
    for element, name in (("a", "y"), ("b", "x")):
        node = f"{DOC}/~~/root/{element}/@{name}:n?xmlns({name}=urn:new)"
        assert site.put(node, '"1"', content_type="application/xcap-att+xml").status == 201
        assert site.get(node).body == b'"1"'
    assert site.get(DOC).body == (
        b'<root xmlns="test-app" xmlns:x="urn:other"><a xmlns:y="urn:new" y:n="1"/>'
        b'<b xmlns:x1="urn:new" x1:n="1"/></root>'
    )


def test_rfc4825_8_2_3_the_default_namespace_gives_attributes_none(site: Site) -> None:
    site.put(DOC, '<root xmlns="test-app"/>')
    node = f"{DOC}/~~/root/@t:n?xmlns(t=test-app)"
    assert site.put(node, '"1"', content_type="application/xcap-att+xml").status == 201
    assert site.get(DOC).body == b'<root xmlns="test-app" xmlns:t="test-app" t:n="1"/>'


def test_rfc4825_7_10_namespace_declarations_are_not_put_as_attributes(site: Site) -> None:
    assert conflict(site, ROOT_DOCUMENT, "root/el2/@xmlns", '"urn:x"') == "cannot-insert"


def test_rfc4825_8_2_3_an_attribute_named_xml_lang(site: Site) -> None:
    document = '<root xmlns="test-app"/>'
    assert inserted(site, document, "root/@xml:lang", '"en"') == '<root xmlns="test-app" xml:lang="en"/>'


# 8.2.4 Replacement


@pytest.mark.parametrize(
    "selector",
    ["root/el1[1]", "root/*[1]"],
)
def test_rfc4825_8_2_4_an_element_is_replaced(site: Site, selector: str) -> None:
    answer, after = put_node(site, ROOT_DOCUMENT, selector, '<el1 att="third"> </el1>')
    assert (answer.status, answer.body) == (200, b"")
    assert after == ROOT_DOCUMENT.replace('<el1 att="first"/>', '<el1 att="third"> </el1>')


def test_rfc4825_7_4_replacement_is_complete(site: Site) -> None:
    document = '<root xmlns="test-app"><a n="1" m="2" xmlns:x="urn:x">b<!-- c --><?d?><e/></a></root>'
    answer, after = put_node(site, document, "root/a", "<a/>")
    assert (answer.status, after) == (200, '<root xmlns="test-app"><a/></root>')


def test_rfc4825_8_2_4_the_root_element_is_replaced(site: Site) -> None:
    document = "<?xml version='1.0'?>\n<!-- a --><root xmlns='test-app'><a/></root>\n<!-- b -->\n"
    answer, after = put_node(site, document, "root", '<root xmlns="test-app"/>')
    assert (answer.status, after) == (
        200,
        document.replace("<root xmlns='test-app'><a/></root>", '<root xmlns="test-app"/>'),
    )


@pytest.mark.parametrize(
    ("selector", "body"),
    [
        ('root/el1[@att="first"]', '<el1 att="third"/>'),
        ('root/el1[1][@att="first"]', '<el1 att="third"/>'),
        ('root/*[1][@att="first"]', '<el1 att="third"/>'),
        ('root/el1[@att="first"]', '<el1 att="second"/>'),
        ("root/el2", "<el1/>"),
        ("root/el2[1]", "<el1/>"),
        ("root", "<root/>"),
    ],
)
def test_rfc4825_8_2_4_what_the_uri_would_no_longer_select_cannot_be_put(site: Site, selector: str, body: str) -> None:
    assert conflict(site, ROOT_DOCUMENT, selector, body) == "cannot-insert"


def test_rfc4825_8_2_4_an_attribute_is_replaced(site: Site) -> None:
    document = "<root xmlns='test-app'><a k='&lt;' n = '1' m=\"2\"/></root>"
    answer, after = put_node(site, document, "root/a/@n", '"x\'"')
    assert (answer.status, answer.body) == (200, b"")
    assert after == document.replace("'1'", '"x\'"')


def test_rfc4825_7_7_the_example_whose_predicate_is_the_attribute(site: Site) -> None:
    document = "rls-services/users/sip:bill@example.com/index"
    site.put(
        document,
        '<rls-services xmlns="urn:ietf:params:xml:ns:rls-services"><service uri="sip:good-friends@example.com"/>'
        "</rls-services>",
    )
    node = f"{document}/~~/rls-services/service%5b@uri=%22sip:good-friends@example.com%22%5d/@uri"
    assert site.put(node, '"sip:bad-friends@example.com"').error == "cannot-insert"
    assert site.put(node, '"sip:good-friends@example.com"').status == 200
    assert site.put(f"{document}/~~/rls-services/service%5b1%5d/@uri", '"sip:bad-friends@example.com"').status == 200


def test_rfc4825_7_7_an_attribute_that_makes_another_element_selected(site: Site) -> None:
    document = '<root xmlns="test-app"><a n="1"/><a n="2"/></root>'
    assert conflict(site, document, 'root/a[@n="1"]/@n', '"2"') == "cannot-insert"


# 8.2.5 Validation

FRIENDS = (
    '<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists"><list name="f"><entry uri="sip:a@b"/></list>'
    "</resource-lists>"
)


def test_rfc4825_8_2_5_the_document_complies_with_the_schema_afterwards(site: Site) -> None:
    assert site.put(LISTS, FRIENDS.replace("entry", "friend")).error == "schema-validation-error"
    assert site.get(LISTS).status == 404
    site.put(LISTS, FRIENDS)
    assert site.put(f"{LISTS}/~~/resource-lists/list/friend", "<friend/>").error == "schema-validation-error"
    assert site.put(f"{LISTS}/~~/resource-lists/list/@age", '"5"').error == "schema-validation-error"
    assert site.delete(f"{LISTS}/~~/resource-lists/list/entry/@uri").error == "schema-validation-error"
    assert site.get(LISTS).body.decode() == FRIENDS


def test_rfc4825_8_2_5_elements_of_unknown_namespaces_are_taken(site: Site) -> None:
    site.put(LISTS, FRIENDS)
    assert site.put(f"{LISTS}/~~/resource-lists/list/x:y?xmlns(x=urn:x)", '<y xmlns="urn:x"/>').status == 201


def test_rfc4825_8_2_5_uniqueness_with_values_that_nobody_has(site: Site) -> None:
    site.put(LISTS, FRIENDS)
    failure = site.put(f"{LISTS}/~~/resource-lists/list/entry[2]", '<entry uri="sip:a@b"/>').conflict
    assert failure.tag.endswith("}uniqueness-failure")
    assert [child.get("field") for child in failure] == ["resource-lists/list/entry/@uri"]
    assert [child[0].text for child in failure] == ["sip:a@b;other"]
    assert site.get(LISTS).body.decode() == FRIENDS


def test_rfc4825_8_2_5_other_constraints(site: Site) -> None:
    assert site.put(f"com.example.named/{ALICE}/other", "<a/>").error == "constraint-failure"


def test_rfc4825_8_2_5_schema_compliance_plays_no_role_in_where_it_goes(site: Site) -> None:
    # The place follows from the URI alone, and only then the schema is asked.
    site.put(LISTS, FRIENDS)
    site.put(f'{LISTS}/~~/resource-lists/list/*[1][@name="g"]', '<list name="g"/>')
    assert site.get(LISTS).body.decode() == FRIENDS.replace("<entry", '<list name="g"/><entry')


# 8.2.7 Resource Interdependencies


def test_rfc4825_8_2_7_what_is_in_a_document_are_resources(site: Site) -> None:
    site.put(LISTS, FRIENDS)
    assert site.get(f"{LISTS}/~~/resource-lists/list/entry/@uri").body == b'"sip:a@b"'
    site.put(f"{LISTS}/~~/resource-lists/list", '<list name="g"/>')
    assert site.get(f"{LISTS}/~~/resource-lists/list/entry").status == 404
    assert site.get(f"{LISTS}/~~/resource-lists/list/@name").body == b'"g"'
