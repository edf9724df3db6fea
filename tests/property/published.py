"""Presence documents as publishers may write them, and ways to break them."""

from random import Random

from hypothesis import strategies as st

from presence.document.pidf import DATA_MODEL, PIDF

URIS = [PIDF, DATA_MODEL, "urn:example:a", "urn:example:b", "http://example.com/?a=1&amp;b=2"]
PREFIXES = ["", "p", "q", "dm", "rpid", "ns0"]
NAMES = ["tuple", "note", "person", "device", "basic", "x"]
IDS = ["t1", "t2", "p1", ""]


@st.composite
def elements(draw: st.DrawFn, scope: dict[str, str], depth: int) -> str:
    scope = dict(scope)
    declarations = ""
    for prefix in draw(st.lists(st.sampled_from(PREFIXES), max_size=2, unique=True)):
        uri = draw(st.sampled_from(URIS if prefix else [*URIS, ""]))
        scope[prefix] = uri
        declarations += f' xmlns:{prefix}="{uri}"' if prefix else f" xmlns='{uri}'"
    prefix = draw(st.sampled_from(sorted({*scope, ""})))
    name = f"{prefix}:{draw(st.sampled_from(NAMES))}" if prefix else draw(st.sampled_from(NAMES))
    attributes = ""
    if identity := draw(st.sampled_from(IDS)):
        attributes += f' id="{identity}"'
    bound = sorted(prefix for prefix in scope if prefix)
    if bound and draw(st.booleans()):
        attributes += f" {draw(st.sampled_from(bound))}:y='{draw(st.sampled_from(bound))}:z > \"'"
    tag = f"{name}{attributes}{declarations}" if draw(st.booleans()) else f"{name}{declarations}{attributes}"
    content = draw(st.lists(contents(scope, depth + 1), max_size=3 if depth < 3 else 0))
    return f"<{tag}>{''.join(content)}</{name}>" if content else f"<{tag}/>"


def contents(scope: dict[str, str], depth: int) -> st.SearchStrategy[str]:
    texts = st.sampled_from(["text", "/>", "&lt;&#13;", "<![CDATA[</tuple>]]>", "<!-- <y/> -->", "\u00e9\r\n"])
    return st.one_of(texts, elements(scope, depth))


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    root_prefix = draw(st.sampled_from(["", "pidf"]))
    scope = {root_prefix: PIDF}
    others = [prefix for prefix in PREFIXES if prefix != root_prefix]
    scope |= draw(st.dictionaries(st.sampled_from(others), st.sampled_from(URIS), max_size=4))
    declarations = "".join(f' xmlns{":" if p else ""}{p}="{uri}"' for p, uri in scope.items())
    children = draw(st.lists(contents(scope, 1), max_size=5))
    name = "pidf:presence" if root_prefix else "presence"
    return f'<{name}{declarations} entity="sip:alice@example.com">{"".join(children)}</{name}>'.encode()


SPLICES = (
    *(b"<", b">", b"/>", b"</", b"</a>", b"<a>", b"<a/>", b"<a b='c'/>", b"<a b='c' b='d'/>", b"<a b=c/>", b"<a b/>"),
    *(b'"', b"'", b"=", b"/", b":", b"-", b"]", b"]]", b"]]>", b"--", b"!", b"?", b"\x00", b"\x01", b"\x0b", b"\x7f"),
    *(b"&", b"&amp;", b"&lt;", b"&quot;", b"&#38;", b"&#x3c;", b"&#0;", b"&#xFFFE;", b"&#xd800;", b"&#x110000;"),
    *(b"&undefined;", b"&amp", b"&#;", b"&#x;", b"&#9;", b"&#x1;", b"&;", b"&#4294967337;", b"&#X41;"),
    *(b"<!-- c -->", b"<!-- a -- b -->", b"<!-->", b"<!--->", b"<!---->", b"<!-- c --->", b"<!--\xc3\xa9-->", b"<!--"),
    *(b"<![CDATA[x]]>", b"<![CDATA[", b"<?do it?>", b"<?xml version='1.0'?>", b"<?xml", b"<!DOCTYPE a>", b"<!ELEMENT"),
    *(b"\xc3\xa9", b"\xe2\x82\xac", b"\xf0\x9f\x98\x80", b"\xc3", b"\xe2\x82", b"\xed\xa0\x80", b"\xc0\xaf"),
    *(
        b"\xef\xbf\xbe",
        b"\xef\xbf\xbf",
        b"\xf4\x90\x80\x80",
        b"\xf8\x88\x80\x80",
        b"\xff",
        b"\xef\xbb\xbf",
        b"\xe0\x80\xaf",
    ),
    *(b" xmlns=''", b' xmlns="urn:x"', b" xmlns:p=''", b" xmlns:p='urn:x'", b" xmlns:q='urn:x'", b" p:a='' q:a=''"),
    *(b" xmlns:xml='http://www.w3.org/XML/1998/namespace'", b" xmlns:p='http://www.w3.org/XML/1998/namespace'"),
    *(b" xmlns:xmlns='urn:x'", b" xmlns:p='http://www.w3.org/2000/xmlns/'", b" xmlns='http://www.w3.org/2000/xmlns/'"),
    *(b" xmlns:p='no uri'", b" xmlns:p='urn:%41'", b" xmlns:p='a&amp;b'", b" xmlns:Xml='urn:x'", b" xmlns:p=' '"),
    *(
        b" xml:lang='en'",
        b" xmlns:='a'",
        b" :a='b'",
        b" a:b:c='d'",
        b" id='x'",
        b" id=' y '",
        b" id='&#65;'",
        b" p:id='z'",
    ),
    *(
        b"<p:x/>",
        b"<p:x xmlns:p='urn:y'/>",
        b"<:x/>",
        b"<x:/>",
        b"<1x/>",
        b"<xml:x/>",
        b"<\xc3\xa9/>",
        b"<a.b-c_d/>",
        b" ",
        b"\r\n",
    ),
)
"""Pieces that change what a document means, or end it."""


def break_body(random: Random, body: bytes) -> bytes:
    """Return the body with one to three things done to it."""
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        at = random.randrange(len(body) + 1)
        length = random.choice((0, 0, 0, 1, 1, 3, 20))
        way = random.randrange(8)
        if way < 4:
            splice = random.choice(SPLICES)
            if way < 3:
                # Attributes where one may stand, other pieces where a tag is over: most of it would be noise elsewhere.
                places = [i for i, c in enumerate(body) if c in (b" />" if splice.startswith(b" ") else b"<")]
                at, length = random.choice(places or [at]), random.choice((0, 0, 0, 0, 1))
            body = body[:at] + splice + body[at + length :]
        elif way == 4 and body:
            at = min(at, len(body) - 1)
            body = body[:at] + bytes((body[at] ^ 1 << random.randrange(8),)) + body[at + 1 :]
        elif way == 5:
            body = body[:at] + body[at + max(1, length) :]
        elif way == 6:
            start = random.randrange(len(body) + 1)
            body = body[:at] + body[start : start + random.randrange(1, 80)] + body[at:]
        elif random.random() < 0.2:
            body = body[:at]
        else:
            body = body.replace(*random.choice(SWAPS))
    return body


SWAPS = (
    (b'"', b"'"),
    (b"dm", b"xml"),
    (b"rpid", b"dm"),
    (b"xmlns=", b"xmlns:p="),
    (b"xmlns:", b"xmlns"),
    (b":pidf", b":other"),
    (b" ", b"\n"),
    (b"=", b" = "),
    (b"/>", b" / >"),
    (b"UTF-8", b"utf-8"),
    (b"UTF-8", b"ISO-8859-1"),
    (b"1.0", b"1.1"),
    (b"rpid", b"\xc3\xa9"),
    (b"e", b"p"),
)
