"""XCAP diff documents (RFC 5874): the examples word for word, what is written, and what strangers publish."""

import pytest
from diffs import NS, SCHEMA, same
from examples import documents, sections
from lxml import etree
from patching import apply_operations

from presence.document.nodes import Element, enter, parse_tree, write_tree
from presence.document.patch import compute_patch
from presence.document.uri_list import read_uri_list, write_uri_list
from presence.document.xcapdiff import (
    AttributePart,
    DocumentPart,
    ElementPart,
    read_notice,
    write_xcap_diff,
)
from presence.errors import BadRequest

A = sections("rfc5874_a.txt")
ROOT = "http://xcap.example.com/"
INDEX = "tests/users/sip:joe@example.com/index"
OTHER = "tests/users/sip:joe@example.com/another_document"
MUCH = 100_000


def written(*parts: DocumentPart | ElementPart | AttributePart, root: str = ROOT, most: int = MUCH) -> etree._Element:
    body = write_xcap_diff(root, parts, most)
    assert body.startswith(b'<?xml version="1.0" encoding="UTF-8"?>')
    tree = etree.fromstring(body)
    SCHEMA.assertValid(tree)
    return tree


def told(tree: etree._Element) -> list[tuple[str, dict[str, str], bytes]]:
    """What a document says, whatever prefixes and white space it has between its parts."""
    return [
        (
            etree.QName(part).localname,
            {str(name): str(value) for name, value in part.attrib.items()},
            b"".join(etree.tostring(child, method="c14n", exclusive=True, with_tail=True) for child in part)
            + (part.text or "").strip().encode(),
        )
        for part in tree
    ]


def example(text: str) -> etree._Element:
    tree = etree.fromstring(text.encode())
    SCHEMA.assertValid(tree)
    return tree


DIFFS = [
    text
    for name in ("rfc5874_5.txt", "rfc5874_a.txt", "rfc5875_a.txt", "rfc5875_figures.txt")
    for text in documents(name)
    if "xcap-diff" in text
]


@pytest.mark.parametrize("text", DIFFS)
def test_rfc5874_4_each_example_is_valid_and_names_its_resources(text: str) -> None:
    notice = read_notice(text.encode())
    assert notice.root == example(text).get("xcap-root")
    assert set(notice.sels) == {" ".join((part.get("sel") or "").split()) for part in example(text)} or "\n" in text


def test_rfc5874_there_are_examples() -> None:
    assert len(DIFFS) == 19


@pytest.mark.parametrize(
    ("number", "parts"),
    [
        (
            0,
            (
                DocumentPart(INDEX, None, "7ahggs"),
                DocumentPart("tests/users/sip:john@example.com/index", None, "terteer"),
            ),
        ),
        (1, (DocumentPart(OTHER, None, "terteer"),)),
        (2, (DocumentPart(OTHER, "terteer", "huwiias"),)),
        (3, (DocumentPart(OTHER, "huwiias", None),)),
    ],
)
def test_rfc5874_a1_documents_that_exist_change_and_go(number: int, parts: tuple[DocumentPart, ...]) -> None:
    texts = [text for text in A["A.1"] if "xcap-diff" in text]
    assert told(written(*parts)) == told(example(texts[number]))


DOC = b'<?xml version="1.0" encoding="UTF-8"?>\n<doc id="bar">\n  <note>This is a sample document</note>\n</doc>\n'
FOO = b"<foo>this is a new element</foo>"


def patch(before: bytes, after: bytes) -> str:
    found = compute_patch(before, after, NS)
    assert found is not None
    return found


def test_rfc5874_a2_one_patch_for_several_changes() -> None:
    (text, _) = [text for text in A["A.2"] if "xcap-diff" in text]
    new = b"<foo>this is a new element</foo><bar>this is a bar element\n</bar><foobar>this is a foobar element</foobar>"
    part = DocumentPart(INDEX, "7ahggs3", "63hjjsll", patch(DOC, DOC.replace(b"</doc>", new + b"</doc>")))
    assert told(written(part)) == told(example(text))


def test_rfc5874_a2_the_whole_history() -> None:
    (_, text) = [text for text in A["A.2"] if "xcap-diff" in text]
    additions = (FOO, b"<bar>this is a bar element\n</bar>", b"<foobar>this is a foobar element</foobar>")
    etags = ("7ahggs", "fgherhryt3", "dgdgdfgrrr", "63hjjsll")
    parts, before = [], DOC
    for at, addition in enumerate(additions):
        after = before.replace(b"</doc>", addition + b"</doc>")
        parts.append(DocumentPart(INDEX, etags[at], etags[at + 1], patch(before, after)))
        before = after
    assert told(written(*parts)) == told(example(text))


def test_rfc5874_a3_elements_and_attributes() -> None:
    texts = [text for text in A["A.3"] if "xcap-diff" in text]
    attribute = AttributePart(f"{INDEX}/~~/doc/@id", "bar")
    assert told(written(attribute, ElementPart(f"{INDEX}/~~/*/foo", FOO.decode()))) == told(example(texts[0]))
    assert told(written(attribute._replace(value=None))) == told(example(texts[1]))


def test_rfc5874_3_namespaces_of_an_element_are_declared() -> None:
    scope = (("", "urn:none"), ("rl", "urn:rl"), ("d", "urn:theirs"))
    content = '<service uri="x"><rl:entry/><d:e/></service>'
    tree = written(ElementPart("sel", content, scope))
    (element,) = tree
    assert element.tag == f"{{{NS}}}element"
    assert [child.tag for child in element[0]] == ["{urn:rl}entry", "{urn:theirs}e"]
    assert element[0].tag == "{urn:none}service"
    assert content.encode() in write_xcap_diff(ROOT, (ElementPart("sel", content, scope),), MUCH), (
        "prefixes as they were"
    )


def test_rfc5874_3_the_etag_alone_can_change() -> None:
    (part,) = written(DocumentPart(INDEX, "a", "b", ""))
    assert [child.tag for child in part] == [f"{{{NS}}}body-not-changed"]


def test_rfc5874_3_without_resources_there_is_the_root_alone() -> None:
    tree = written()
    assert (tree.get("xcap-root"), len(tree)) == (ROOT, 0)


def test_rfc5874_3_every_value_can_be_written() -> None:
    tree = written(DocumentPart('a&"<', "x\n", "&lt;"), AttributePart("s", '<&"\r\n'), root="http://x/?a=1&b=2")
    assert tree[0].attrib == {"sel": 'a&"<', "previous-etag": "x\n", "new-etag": "&lt;"}
    assert tree[1].text == '<&"\r\n'


def test_rfc5875_4_7_what_is_too_large_is_left_out_the_largest_first() -> None:
    small, large = "<d:add sel='*'>x</d:add>", f"<d:add sel='*'>{'x' * 5000}</d:add>"
    element = ElementPart("e", f"<e>{'x' * 3000}</e>")
    tree = written(DocumentPart("a", "1", "2", small), DocumentPart("b", "1", "2", large), element, most=4000)
    assert [len(part) for part in tree] == [1, 0, 1]
    tree = written(DocumentPart("a", "1", "2", small), DocumentPart("b", "1", "2", large), element, most=1000)
    assert [len(part) for part in tree] == [1, 0, 0]
    assert [part.get("new-etag") for part in tree] == ["2", "2", None]
    assert tree[2].attrib == {"sel": "e"}, "it exists: an empty element says so"


def test_a_patch_that_was_written_can_be_applied() -> None:
    before = b'<a:l xmlns:a="urn:a" xmlns="urn:b"><a:e/></a:l>'
    after = b'<a:l xmlns:a="urn:a" xmlns="urn:b"><f a:x="1"/><a:e q="2"/></a:l>'
    root = parse_tree(write_xcap_diff(ROOT, (DocumentPart(INDEX, "1", "2", patch(before, after)),), MUCH)).root
    (part,) = (child for child in root.children if isinstance(child, Element))
    assert same(write_tree(apply_operations(parse_tree(before), part, enter({}, root))), after)


# ---- what strangers send ----

DEEP = "<a>" * 80 + "</a>" * 80
MANY = "".join(f"<element sel='{number}'/>" for number in range(1001))
BOMB = '<!DOCTYPE a [<!ENTITY b "xxxxxxxxxx"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;">]>'


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"x", b"<a/>", b"<xcap-diff xcap-root='x'/>", b"\xff\xfe", b"<a>\xff</a>"),
        f"<xcap-diff xmlns='{NS}'/>".encode(),
        f"<xcap-diff xmlns='{NS}' xcap-root=''/>".encode(),
        f"<xcap-diff xmlns='{NS}' xcap-root='x'><document/></xcap-diff>".encode(),
        f"<xcap-diff xmlns='{NS}' xcap-root='x'>{DEEP}</xcap-diff>".encode(),
        f"{BOMB}<xcap-diff xmlns='{NS}' xcap-root='x'/>".encode(),
        f"<xcap-diff xmlns='{NS}' xcap-root='x'>{'x' * 200_000}</xcap-diff>".encode(),
        f"<xcap-diff xmlns='{NS}' xcap-root='x'>{MANY}</xcap-diff>".encode(),
    ],
)
def test_a_notice_that_cannot_be_read_is_400(body: bytes) -> None:
    with pytest.raises(BadRequest):
        read_notice(body)


LISTS = "urn:ietf:params:xml:ns:resource-lists"


@pytest.mark.parametrize(
    "body",
    [
        *("", "x", "<a/>", "<resource-lists/>", f"<list xmlns='{LISTS}'/>"),
        f"<resource-lists xmlns='{LISTS}'>{DEEP}</resource-lists>",
        f"{BOMB}<resource-lists xmlns='{LISTS}'/>",
        f"<resource-lists xmlns='{LISTS}'><list><entry/></list></resource-lists>",
    ],
)
def test_a_list_that_cannot_be_read_is_400(body: str) -> None:
    with pytest.raises(BadRequest):
        read_uri_list(body.encode())


def test_rfc5875_4_4_what_is_not_understood_in_a_list_is_ignored() -> None:
    body = (
        f"<r:resource-lists xmlns:r='{LISTS}' xmlns:x='urn:x' x:a='1'><r:list name='n'><x:entry uri='no'/>"
        "<r:entry uri='a' x:b='1'><r:display-name>n</r:display-name><x:y/></r:entry><r:entry-ref ref='no'/>"
        "<r:external anchor='no'/><r:list><r:entry uri='no'/></r:list><r:entry uri='a'/></r:list>"
        "<r:list><r:entry uri=' b '/></r:list></r:resource-lists>"
    )
    assert read_uri_list(body.encode()) == ["a", "b"]


def test_rfc5875_4_4_figure_1_is_a_list_of_three() -> None:
    (text,) = [text for text in documents("rfc5875_figures.txt") if "<resource-lists" in text]
    found = read_uri_list(text.encode())
    assert (found[0], found[2], len(found)) == (
        "resource-lists/users/sip:joe@example.com/index",
        "pidf-manipulation/",
        3,
    )


def test_a_list_that_is_written_is_read_again():
    uris = ["pres-rules/users/sip:alice@example.com/index", 'a?xmlns(b="<&>")', "http://xcap.example.com/é"]
    assert read_uri_list(write_uri_list(uris)) == uris
    assert read_uri_list(write_uri_list(())) == []


def test_rfc5874_4_a_notice_tells_the_entity_tag_of_each_document():
    parts = (
        DocumentPart("a", None, "1"),
        DocumentPart("b", "1", "2"),
        DocumentPart("b", "2", "3"),
        DocumentPart("c", "1", None),
        ElementPart("d/~~/e", "<e/>"),
    )
    notice = read_notice(write_xcap_diff("http://xcap.example.com/", parts, 10_000))
    assert notice.sels == ("a", "b", "c", "d/~~/e")
    assert notice.etags == {"a": "1", "b": "3", "c": None}
