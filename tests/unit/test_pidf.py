"""Reading published presence documents: what is kept, what is refused, and how fast it is refused."""

import time

import pytest
from cut import read

from presence._fastcore import outline
from presence.document.pidf import MAX_DECLARATIONS, MAX_FRAGMENTS, Kind, parse_pidf
from presence.document.xml import MAX_BODY_BYTES, MAX_DEPTH, escape, parse_xml
from presence.errors import BadRequest

BARESIP = b"""<?xml version="1.0" encoding="UTF-8"?>
<presence xmlns="urn:ietf:params:xml:ns:pidf"
    xmlns:dm="urn:ietf:params:xml:ns:pidf:data-model"
    xmlns:rpid="urn:ietf:params:xml:ns:pidf:rpid" entity="sip:alice@example.com">
  <dm:person id="p4159"><rpid:activities><rpid:busy/></rpid:activities></dm:person>
  <tuple id="t4109">
    <status>
      <basic>unknown</basic>
    </status>
    <contact>sip:alice@example.com</contact>
  </tuple>
</presence>
"""


def pidf(children: str, attributes: str = "") -> bytes:
    return f'<presence xmlns="urn:ietf:params:xml:ns:pidf" {attributes}>{children}</presence>'.encode()


def test_baresip_person_before_tuple_and_unknown_basic_are_accepted_verbatim() -> None:
    person, tuple_ = read(BARESIP)
    assert (person.kind, person.id) == (Kind.PERSON, "p4159")
    assert person.text == (b'<dm:person id="p4159"><rpid:activities><rpid:busy/></rpid:activities></dm:person>')
    assert person.declarations == {
        "dm": b' xmlns:dm="urn:ietf:params:xml:ns:pidf:data-model"',
        "rpid": b' xmlns:rpid="urn:ietf:params:xml:ns:pidf:rpid"',
    }
    assert (tuple_.kind, tuple_.id, tuple_.head) == (Kind.TUPLE, "t4109", b"<tuple")
    assert b"<basic>unknown</basic>" in tuple_.text
    assert not tuple_.declarations


def test_zoiper_entity_with_a_parameter_and_tuples_without_id_are_accepted() -> None:
    body = pidf("<tuple><status/></tuple><tuple id=' a '/>", 'entity="sip:alice@example.com;transport=TCP"')
    assert [f.id for f in read(body)] == ["", "a"]


def test_kinds_follow_the_namespace_not_the_prefix() -> None:
    body = (
        b'<p:presence xmlns:p="urn:ietf:params:xml:ns:pidf" xmlns="urn:ietf:params:xml:ns:pidf:data-model">'
        b"<person id='1'/><p:note>x</p:note><p:tuple id='2'/><device id='3'/><note/>"
        b'<tuple xmlns="urn:example" id="4"/></p:presence>'
    )
    kinds = [fragment.kind for fragment in read(body)]
    assert kinds == [Kind.PERSON, Kind.NOTE, Kind.TUPLE, Kind.DEVICE, Kind.OTHER, Kind.OTHER]


def test_a_foreign_default_namespace_is_kept_on_the_fragment() -> None:
    body = b'<p:presence xmlns:p="urn:ietf:params:xml:ns:pidf" xmlns="urn:example?a&amp;b"><x/></p:presence>'
    (fragment,) = read(body)
    assert fragment.text == b'<x xmlns="urn:example?a&amp;b"/>'


def test_a_child_without_namespace_says_so_itself_only_where_it_must() -> None:
    root = b'<p:presence xmlns:p="urn:ietf:params:xml:ns:pidf">%s</p:presence>'
    (bare,) = read(root % b"<x><p:note/></x>")
    assert bare.text == b'<x xmlns=""><p:note/></x>'
    (prefixed,) = read(root % b"<p:note>hi</p:note>")
    assert prefixed.text == b"<p:note>hi</p:note>"


def test_declarations_of_a_child_stay_where_they_are_and_are_not_inherited() -> None:
    body = pidf('<tuple xmlns:e="urn:b" id="t"><e:x/></tuple><note>e:y</note>', 'xmlns:e="urn:a"')
    tuple_, note = read(body)
    assert tuple_.text == b'<tuple xmlns:e="urn:b" id="t"><e:x/></tuple>'
    assert not tuple_.declarations
    assert note.declarations == {"e": b' xmlns:e="urn:a"'}


@pytest.mark.parametrize(
    "child",
    [
        '<tuple id="t"/>',
        "<tuple\n id = '>' />",
        "<tuple a='/>'></tuple >",
        "<tuple>/></tuple>",
        "<tuple><tuple/></tuple>",
        "<tuple><![CDATA[</tuple>]]><!-- </tuple> --><?x </tuple> ?></tuple>",
        "<tuple>&lt;&#38;\r\n\u00e9\U0001f600</tuple>",
    ],
)
@pytest.mark.parametrize("around", ["", " \n", "text", "<!-- > -->"])
def test_a_child_is_cut_byte_for_byte(child: str, around: str) -> None:
    (fragment, last) = read(pidf(f"{around}{child}{around}<note/>"))
    assert fragment.text == child.encode()
    assert last.text == b"<note/>"


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "iso-8859-1"])
def test_other_encodings_are_cut_as_utf_8(encoding: str) -> None:
    declared = {"utf-8-sig": "UTF-8", "iso-8859-1": "ISO-8859-1"}.get(encoding, "UTF-16")
    text = f'<?xml version="1.0" encoding="{declared}"?>' + pidf("<note>\u00e9t\u00e9</note>").decode()
    (note,) = read(text.encode(encoding))
    assert note.text.decode() == "<note>\u00e9t\u00e9</note>"


BOMB = b"""<?xml version="1.0"?><!-- x --> <!DOCTYPE presence [<!ENTITY a "aaaaaaaaaa">
<!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;">
<!ENTITY d "&c;&c;&c;&c;&c;&c;&c;&c;"><!ENTITY e "&d;&d;&d;&d;&d;&d;&d;&d;">]>
<presence xmlns="urn:ietf:params:xml:ns:pidf"><note>&e;</note></presence>"""
EXTERNAL = b"""<!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/hostname">]>
<presence xmlns="urn:ietf:params:xml:ns:pidf"><note>&f;</note></presence>"""
MANY = " ".join(f'a{i}=""' for i in range(100_000))
DECLARED = " ".join(f'xmlns:a{i}="u"' for i in range(MAX_DECLARATIONS + 1))
LONG_NAMESPACE = f'xmlns:a="{"u" * 4096}"'

HOSTILE = {
    "empty": (b"", "Malformed XML at Line 1: no element found"),
    "not XML": (b"Messages-Waiting: no", "Malformed XML at Line 1"),
    "cut short": (BARESIP[:-20], "Malformed XML at Line 1"),
    "no space between attributes": (b'<presence xmlns="urn:x"entity="a"/>', "Malformed XML at Line 1"),
    "undeclared prefix": (pidf("<e:x/>"), "Malformed XML at Line 1: unbound prefix"),
    "namespace name": (pidf("<x xmlns='no uri'/>"), "Namespace Name Is Not a URI"),
    "undeclared entity": (pidf("&e;"), "Malformed XML at Line 1: undefined entity"),
    "bad UTF-8": (pidf("x").replace(b">x<", b">\xff<"), "Malformed XML at Line 1"),
    "bad UTF-16": (b"\xff\xfe<\0\x00", "XML Body Is Not Valid UTF-16"),
    "other root": (b"<presence/>", "Body Is Not a PIDF Document"),
    "other encoding": (b'<?xml version="1.0" encoding="UTF-7"?><a/>', "XML Character Encoding"),
    "entity bomb": (BOMB, "Document Type Declaration Not Allowed"),
    "entity bomb in UTF-16": (BOMB.decode().encode("utf-16"), "Document Type Declaration Not Allowed"),
    "external entity": (EXTERNAL, "Document Type Declaration Not Allowed"),
    "endless prolog": (b"<!---->" * 10_000 + b"<!DOCTYPE", "Document Type Declaration Not Allowed"),
    "deep": (pidf("<a>" * MAX_DEPTH + "</a>" * MAX_DEPTH), "XML Nested Deeper than 64"),
    "very deep": (pidf("<a>" * 30_000), "XML Nested Deeper than 64"),
    "attributes": (pidf(f"<tuple {MANY}/>"), f"XML Body Exceeds {MAX_BODY_BYTES} Bytes"),
    "doubled attribute": (pidf(f"<tuple {MANY[:100_000]} a0=''/>"), "Malformed XML at Line 1"),
    "declarations": (pidf("", DECLARED), "Too Many Namespace Declarations"),
    "repeated declarations": (pidf("<a:x/>" * 100, LONG_NAMESPACE), "Too Many Namespace Declarations"),
    "children": (pidf("<note/>" * (MAX_FRAGMENTS + 1)), f"More than {MAX_FRAGMENTS} Elements"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_bodies_are_refused_with_a_printable_reason_and_quickly(name: str) -> None:
    body, reason = HOSTILE[name]
    began = time.process_time()
    with pytest.raises(BadRequest) as caught:
        parse_pidf(body)
    assert time.process_time() - began < 0.5
    assert caught.value.status == 400
    assert caught.value.reason.startswith(reason)
    assert len(caught.value.reason) <= 100
    assert caught.value.reason.isascii()
    assert caught.value.reason.isprintable()


def test_a_document_type_in_text_is_text() -> None:
    (note,) = read(pidf("<note><![CDATA[<!DOCTYPE x>]]></note>"))
    assert note.text == b"<note><![CDATA[<!DOCTYPE x>]]></note>"


def test_the_deepest_allowed_body_is_read() -> None:
    depth = MAX_DEPTH - 1
    body = pidf("<a>" * depth + "</a>" * depth)
    assert len(read(body)) == 1
    assert len(parse_xml(body)) == 1


def test_as_many_attributes_as_a_body_can_hold_are_read() -> None:
    assert len(read(pidf(f"<tuple {MANY[:100_000].rpartition(' ')[0]}/>"))) == 1


@pytest.mark.parametrize("name", [n for n in HOSTILE if n not in {"other root", "declarations", "children"}])
def test_parse_xml_refuses_the_same_bodies(name: str) -> None:
    body = HOSTILE[name][0]
    if name == "repeated declarations":
        assert len(parse_xml(body)) == 100
        return
    with pytest.raises(BadRequest) as caught:
        parse_xml(body)
    assert len(caught.value.reason) <= 100
    assert caught.value.reason.isascii()
    assert caught.value.reason.isprintable()


def test_parse_xml_reads_utf_16_without_comments_and_instructions() -> None:
    text = '<?xml version="1.0" encoding="UTF-16"?><a><!-- c --><?p i?><b>\u00e9</b></a>'
    root = parse_xml(text.encode("utf-16"))
    assert [child.tag for child in root] == ["b"]
    assert root[0].text == "\u00e9"


def test_escape_drops_what_xml_cannot_carry() -> None:
    assert escape("plain text; x=1") == "plain text; x=1"
    assert escape("a\x00\x1b\udc80\uffffb") == "ab"
    assert escape("<\"&'>\r\n\t\u00e9") == "&lt;&quot;&amp;&apos;&gt;&#13;&#10;&#9;\u00e9"


@pytest.mark.parametrize(
    ("before", "child", "identity"),
    [
        ("", "<tuple id='&#116;&amp;1'/>", "t&1"),
        ("", "<tuple id='a\nb'/>", "a b"),
        ("", "<tuple\n id\t=\n'a' />", "a"),
        ("", """<tuple class="/> id='x'" id='a'></tuple >""", "a"),
        ("", "<tuple xmlns:x='urn:x' x:id='b'/>", ""),
        ("", "<tuple grid='b' ide='c'/>", ""),
        ("<!-- <tuple id='b'> -> --><!---->", "<tuple id='a'><!-- </tuple> --></tuple>", "a"),
        ("<?do <tuple id='b'> > ?>", "<tuple id='a'><?do </tuple>?></tuple>", "a"),
        ("", "<tuple id='a'><x id='b'/><![CDATA[]]><![CDATA[</tuple>]] > ]>]]></tuple>", "a"),
    ],
)
def test_ends_and_ids_are_found_past_what_only_looks_like_them(before: str, child: str, identity: str) -> None:
    (fragment,) = read(pidf(before + child + " <!-- > -->"))
    assert (fragment.kind, fragment.id, fragment.text.decode()) == (Kind.TUPLE, identity, child)


@pytest.mark.parametrize("body", [BARESIP, pidf("<!-- - --><?p ?><x id='a' b = \"c\"><![CDATA[]]]></x>")])
def test_an_outline_of_any_beginning_of_a_document_stays_inside_it(body: bytes) -> None:
    for size in range(len(body)):
        _, elements = outline(body[:size])
        assert all(0 <= place <= size for element in elements for place in element)
