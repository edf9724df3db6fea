"""The compiled reader takes nothing that expat refuses, and reads and composes to the same bytes."""

from collections.abc import Sequence
from random import Random

import pytest
from cut import Fragment, fragments
from hypothesis import given, settings
from hypothesis import strategies as st
from published import bodies, break_body

from presence.document.compose import compose
from presence.document.pidf import PIDF, VOCABULARY, Kind, PidfDocument, parse_odd_pidf, parse_pidf
from presence.document.xml import MAX_BODY_BYTES, escape
from presence.errors import BadRequest

ENTITY = "sip:alice@example.com"
XML_NAMESPACE = "http://www.w3.org/XML/1998/namespace"
ROOT = f'<presence xmlns="{PIDF}" xmlns:p="urn:p" xmlns:q="urn:q" entity="{ENTITY}">'
USUAL = f"""<?xml version="1.0" encoding="UTF-8"?>
<presence xmlns="{PIDF}"
    xmlns:dm="urn:ietf:params:xml:ns:pidf:data-model"
    xmlns:rpid="urn:ietf:params:xml:ns:pidf:rpid" entity="{ENTITY}">
  <tuple id="desk">
    <status><basic>open</basic></status>
    <rpid:class>desk</rpid:class><!-- a comment -->
    <contact priority="0.8">sip:alice@192.0.2.17:5060;transport=udp</contact>
    <note xml:lang='en'>In a meeting &amp; caf\u00e9 until &#51;</note>
  </tuple>
  <dm:person id="person"><rpid:activities><rpid:meeting/></rpid:activities></dm:person>
</presence>
""".encode()


def within(children: str) -> bytes:
    return f"{ROOT}{children}</presence>".encode()


def merged(documents: Sequence[Sequence[Fragment]]) -> bytes:
    """Composition in plain words, as `presence.document.compose` promises it."""
    root: dict[str, bytes] = {}
    texts: tuple[list[bytes], ...] = ([], [], [], [], [])
    taken: set[str] = set()
    said: set[bytes] = set()
    for document in reversed(documents):
        conflicts = {
            prefix
            for fragment in document
            for prefix, declaration in fragment.declarations.items()
            if root.setdefault(prefix, declaration) != declaration
        }
        for kind, identity, declarations, head, text in document:
            repeated = b"".join(declarations[prefix] for prefix in declarations if prefix in conflicts)
            text = head + repeated + text[len(head) :]
            if kind in (Kind.NOTE, Kind.OTHER):
                if text in said:
                    continue
                said.add(text)
            elif identity:
                if identity in taken:
                    continue
                taken.add(identity)
            texts[kind].append(text)
    start = f'<?xml version="1.0" encoding="UTF-8"?>\n<presence xmlns="{PIDF}"'.encode()
    entity = f' entity="{escape(ENTITY)}">'.encode()
    return b"".join((start, *root.values(), entity, *(t for kind in texts for t in kind), b"</presence>"))


def is_taken(body: bytes) -> bool:
    """Say whether the compiled reader takes a body; expat must then find the same in it."""
    document = VOCABULARY.cut(body)
    if document is None:
        return False
    odd = parse_odd_pidf(body)
    assert fragments(document) == fragments(odd)
    assert compose(ENTITY, [document]) == compose(ENTITY, [odd]) == merged([fragments(odd)])
    return True


@settings(max_examples=300, deadline=None)
@given(bodies())
def test_what_the_compiled_reader_takes_expat_reads_the_same(body: bytes) -> None:
    is_taken(body)


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.just(USUAL), bodies()), st.integers(0, 2**64))
def test_of_broken_bodies_too(body: bytes, seed: int) -> None:
    is_taken(break_body(Random(seed), body))


@settings(max_examples=200, deadline=None)
@given(st.lists(bodies(), max_size=5), st.booleans())
def test_documents_compose_to_the_same_whoever_read_them(published: list[bytes], mixed: bool) -> None:
    documents: list[PidfDocument] = [parse_pidf(body) for body in published]
    odd = [parse_odd_pidf(body) for body in published]
    wanted = merged([fragments(document) for document in odd])
    assert compose(ENTITY, documents) == wanted
    assert compose(ENTITY, odd) == wanted
    assert compose(ENTITY, (documents[:2] if mixed else []) + odd[2 if mixed else 0 :]) == wanted


def test_very_many_pieces_compose_as_few_do() -> None:
    child = "<tuple id='{0}'/><note>{1}</note><p:x id='{0}'/>"
    children = ["".join(child.format(f"t{i * n}", i % 7) for i in range(40)) for n in range(20)]
    documents = [parse_pidf(within(c).replace(b"urn:p", b"urn:%d" % (i % 3))) for i, c in enumerate(children)]
    assert compose(ENTITY, documents) == merged([fragments(document) for document in documents])


TAKEN = {
    "as usual": USUAL,
    "single quotes": USUAL.replace(b'"', b"'").replace(b"xml:lang='en'", b'xml:lang="en"'),
    "no declaration": USUAL.partition(b"\n")[2],
    "lower case encoding": USUAL.replace(b"UTF-8", b"utf-8"),
    "declaration alone with version": b"<?xml version='1.0'?>" + within(""),
    "standalone": b'<?xml version = "1.0"\tstandalone="yes" ?>' + within(""),
    "comments around": b"<!-- a -->" + within("<!-- - - -->") + b"\n<!---->\n",
    "no children": within(""),
    "empty root": f'<presence xmlns="{PIDF}"/>'.encode(),
    "prefixed root": f'<p:presence xmlns:p="{PIDF}"><p:tuple id="a"/><p:note>b</p:note></p:presence>'.encode(),
    "own default, prefixed root": f'<p:presence xmlns:p="{PIDF}"><x xmlns="urn:x"><y/></x></p:presence>'.encode(),
    "own default": within("<x xmlns='urn:x'><y/></x>"),
    "no default in a child": within("<x xmlns=''><y/></x>"),
    "prefix bound anew": within("<p:x xmlns:p='urn:r' p:a=''/><p:x/>"),
    "same local name": within("<x a='' p:a=''/>"),
    "id with blanks": within("<tuple id = ' a '\n></tuple\n>"),
    "references": within("<note>&lt;&gt;&amp;&quot;&apos;&#9;&#10;&#x10FFFF;&#x00041;</note>"),
    "brackets": within("<note a='>]]>'>> ] ] ></note>"),
    "characters": within("<note>\t\r\n\x7f\x80\u00e9\u20ac\ud7ff\ue000\ufffd\U00010000\U0010ffff</note>"),
    "the deepest": within("<a>" * 63 + "</a>" * 63),
    "the most children": within("<note/>" * 64),
}


@pytest.mark.parametrize("name", TAKEN)
def test_a_usual_document_needs_no_expat(name: str) -> None:
    assert is_taken(TAKEN[name])


ERRORS = {
    "unbound prefix": within("<r:x/>"),
    "unbound prefix of an attribute": within("<x r:a=''/>"),
    "prefix of a sibling": within("<x xmlns:r='urn:r'/><r:x/>"),
    "prefix of a child": within("<r:x><y xmlns:r='urn:r'/></r:x>"),
    "attribute twice": within("<x a='' a=''/>"),
    "declaration twice": within("<x xmlns:r='urn:r' xmlns:r='urn:r'/>"),
    "default twice": within("<x xmlns='urn:r' xmlns='urn:r'/>"),
    "expanded attribute twice": within("<x xmlns:r='urn:p' p:a='' r:a=''/>"),
    "expanded attribute twice, declared behind": within("<x p:a='' r:a='' xmlns:r='urn:p'/>"),
    "less than in a value": within('<a b="<"/>'),
    "undefined entity": within("&undefined;"),
    "undefined entity in a value": within("<a b='&undefined;'/>"),
    "entity of HTML": within("&nbsp;"),
    "bare ampersand": within("a & b"),
    "entity without end": within("&amp"),
    "reference to NUL": within("&#0;"),
    "reference to U+FFFE": within("&#xFFFE;"),
    "reference to U+FFFF": within("<a b='&#65535;'/>"),
    "reference to a surrogate": within("&#xD800;"),
    "reference to a control": within("&#x1F;"),
    "reference beyond Unicode": within("&#x110000;"),
    "reference that wraps around": within("&#4294967361;&#x100000041;"),
    "reference to nothing": within("&#;&#x;"),
    "reference with X": within("&#X41;"),
    "end of CDATA in text": within("a ]]> b"),
    "two hyphens in a comment": within("<!-- a -- b -->"),
    "three hyphens end a comment": within("<!-- a --->"),
    "comment of one hyphen": within("<!-->"),
    "comment without end": within("<!-- ") + b"\n",
    "control in a comment": within("<!-- \x01 -->"),
    "bad UTF-8 in a comment": within("<!-- e -->").replace(b"e --", b"\xe9 --"),
    "deep": within("<a>" * 64 + "</a>" * 64),
    "deep and open": ROOT.encode() + b"<a>" * 40_000,
    "xml bound to another": within("<x xmlns:xml='urn:x'/>"),
    "another bound to xml": within(f"<x xmlns:r='{XML_NAMESPACE}'/>"),
    "default bound to xml": within(f"<x xmlns='{XML_NAMESPACE}'/>"),
    "xmlns bound": within("<x xmlns:xmlns='http://www.w3.org/2000/xmlns/'/>"),
    "another bound to xmlns": within("<x xmlns:r='http://www.w3.org/2000/xmlns/'/>"),
    "prefix undeclared": within("<x xmlns:p=''/>"),
    "element of xmlns": within("<xmlns:x/>"),
    "namespace with a blank": within("<x xmlns:r='urn: r'/>"),
    "namespace with a line end": within("<x xmlns:r='urn:&#10;'/>"),
    "root undeclared": b"<presence xmlns=''/>",
    "root of another namespace": within("").replace(b"ns:pidf", b"ns:other"),
    "other root": within("").replace(b"presence", b"present"),
    "no namespace": b"<presence><tuple id='a'/></presence>",
    "two roots": within("") + within(""),
    "garbage behind": within("") + b"x",
    "NUL behind": within("") + b"\x00",
    "reference behind": within("") + b"&#32;",
    "end tag behind": within("") + b"</presence>",
    "garbage before": b"x" + within(""),
    "declaration behind a blank": b" <?xml version='1.0'?>" + within(""),
    "declaration inside": within("<?xml version='1.0'?>"),
    "no version": b"<?xml encoding='UTF-8'?>" + within(""),
    "version behind encoding": b"<?xml encoding='UTF-8' version='1.0'?>" + within(""),
    "declaration without blanks": b"<?xml version='1.0'encoding='UTF-8'?>" + within(""),
    "standalone maybe": b"<?xml version='1.0' standalone='maybe'?>" + within(""),
    "declaration of one mark": b"<?xml version='1.0'>" + within(""),
    "document type": b"<!DOCTYPE presence>" + within(""),
    "document type inside": within("<!DOCTYPE x>"),
    "NUL in text": within("a\x00b"),
    "NUL in a value": within("<a b='\x00'/>"),
    "NUL in a tag": within("<a \x00/>"),
    "NUL in a name": within("<a\x00/>"),
    "control in text": within("\x0b"),
    "control in a value": within("<a b='\x1f'/>"),
    "U+FFFE": within("\ufffe"),
    "U+FFFF in a value": within("<a b='\uffff'/>"),
    "surrogate": within("x").replace(b">x<", b">\xed\xa0\x80<"),
    "too long 2": within("x").replace(b">x<", b">\xc0\xaf<"),
    "too long 3": within("x").replace(b">x<", b">\xe0\x80\xaf<"),
    "too long 4": within("x").replace(b">x<", b">\xf0\x80\x80\xaf<"),
    "beyond Unicode": within("x").replace(b">x<", b">\xf4\x90\x80\x80<"),
    "five bytes": within("x").replace(b">x<", b">\xf8\x88\x80\x80\x80<"),
    "half a character": within("x").replace(b">x<", b">\xe2\x82<"),
    "continuation alone": within("<a b='x'/>").replace(b"'x'", b"'\x80'"),
    "other end tag": within("<a></b>"),
    "end tag that begins alike": within("<ab></a>"),
    "end tag that goes on": within("<a></ab>"),
    "end tag of another prefix": within("<p:a xmlns:r='urn:p'></r:a>"),
    "end tag with attribute": within("<a></a b=''>"),
    "end tag too many": within("</a>"),
    "crossed tags": within("<a><b></a></b>"),
    "attribute without value": within("<a b/>"),
    "attribute without quotes": within("<a b=c/>"),
    "attribute without name": within("<a ='c'/>"),
    "attributes without blank": within("<a b='c'd='e'/>"),
    "attribute of two colons": within("<a p:b:c='d'/>"),
    "attribute of a colon first": within("<a :b='c'/>"),
    "declaration of nothing": within("<a xmlns:='c'/>"),
    "quotes that differ": within("<a b='c\"/>"),
    "blank before the name": within("< a/>"),
    "blank inside the end": within("<a / >"),
    "name of a digit": within("<1/>"),
    "name of a hyphen": within("<-a/>"),
    "prefix of a digit": within("<1:a/>"),
    "local name of a digit": within("<p:1/>"),
    "local name of nothing": within("<p:/>"),
    "two colons": within("<p:q:a/>"),
    "tag of nothing": within("<>"),
    "nothing": b"",
    "a blank": b" ",
    "a mark": b"<",
}


@pytest.mark.parametrize("name", ERRORS)
def test_an_error_is_left_to_expat_which_names_it(name: str) -> None:
    assert VOCABULARY.cut(ERRORS[name]) is None
    with pytest.raises(BadRequest) as caught:
        parse_pidf(ERRORS[name])
    with pytest.raises(BadRequest) as odd:
        parse_odd_pidf(ERRORS[name])
    assert caught.value.reason == odd.value.reason


DOUBTS = {
    "version 2": b"<?xml version='2.0'?>" + within(""),
    "CDATA": within("<![CDATA[x]]>"),
    "instruction": within("<?do it?>"),
    "instruction before": b"<?do it?>" + within(""),
    "byte order mark": b"\xef\xbb\xbf" + within(""),
    "UTF-16": within("").decode().encode("utf-16"),
    "other encoding": b"<?xml version='1.0' encoding='ISO-8859-1'?>" + within(""),
    "brackets in text": within("]]"),
    "letters of the world": within("<\u00e9/>"),
    "two prefixes, one local name": within("<x p:a='' q:a=''/>"),
    "prefix like xml": within("<x xmlns:xmlish='urn:x'/>"),
    "xml bound as it is": within(f"<x xmlns:xml='{XML_NAMESPACE}'/>"),
    "namespace escaped": within("<x xmlns:r='urn:a?b&amp;c'/>"),
    "namespace with percent": within("<x xmlns:r='urn:%41'/>"),
    "id by reference": within("<tuple id='&#65;'/>"),
    "id beyond ASCII": within("<tuple id='\u00e9'/>"),
    "id of two lines": within("<tuple id='a\nb'/>"),
    "foreign default": f'<p:presence xmlns:p="{PIDF}" xmlns="urn:x"><y/></p:presence>'.encode(),
    "no default": f'<p:presence xmlns:p="{PIDF}"><y/></p:presence>'.encode(),
    "no default, a comment": f'<p:presence xmlns:p="{PIDF}"><p:y><!-- <y/> --></p:y></p:presence>'.encode(),
    "many attributes": within("<a " + " ".join(f"a{i}=''" for i in range(10_000)) + "/>"),
    "many declarations": within("<a " + " ".join(f"xmlns:a{i}='urn:a'" for i in range(1_000)) + "/>"),
    "many children": within("<note/>" * 65),
}


@pytest.mark.parametrize("name", DOUBTS)
def test_a_doubt_is_left_to_expat_which_reads_it(name: str) -> None:
    assert VOCABULARY.cut(DOUBTS[name]) is None
    assert len(fragments(parse_pidf(DOUBTS[name]))) < 100


def test_a_body_too_large_is_not_taken() -> None:
    padding = " " * (MAX_BODY_BYTES - len(within("")))
    assert is_taken(within(padding))
    assert VOCABULARY.cut(within(padding + " ")) is None


def test_what_children_inherit_is_bounded_alike() -> None:
    # A declaration of 4096 bytes, with what stands around the namespace's name.
    body = f'{ROOT[:-1]} xmlns:r="{"u" * 4085}">{{}}</presence>'
    assert is_taken(body.format("<r:x/>" * (MAX_BODY_BYTES // 4096)).encode())
    too_many = body.format("<r:x/>" * (MAX_BODY_BYTES // 4096 + 1)).encode()
    assert VOCABULARY.cut(too_many) is None
    with pytest.raises(BadRequest, match="Too Many Namespace Declarations"):
        parse_pidf(too_many)


@pytest.mark.parametrize("name", ["as usual", "references", "comments around", "standalone", "characters"])
def test_no_beginning_of_a_document_is_one(name: str) -> None:
    body = TAKEN[name].rstrip()
    if name == "comments around":
        body = body[: body.rindex(b"<!--")].rstrip()
    for size in range(len(body)):
        assert VOCABULARY.cut(body[:size]) is None
        # A character behind the end is not looked at, only whether there is none.
        assert VOCABULARY.cut(body[:size] + b"\x00" + body[size:]) is None
