"""Composition neither changes nor loses what was published, whatever namespaces the publishers use."""

import re
from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from presence.document.compose import compose
from presence.document.pidf import DATA_MODEL, PIDF, parse_pidf
from presence.document.xml import parse_xml
from presence.errors import BadRequest

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


def canonical(element: etree._Element) -> bytes:
    return etree.tostring(element, method="c14n", exclusive=True, with_tail=False)


def content_scope(element: etree._Element) -> list[tuple[str, str | None]]:
    """What each prefix that an attribute value mentions means where it is mentioned."""
    mentioned = (
        (value.partition(":")[0], e.nsmap) for e in element.iter("*") for value in e.attrib.values() if ":" in value
    )
    return [(prefix, scope.get(prefix)) for prefix, scope in mentioned]


def described(element: etree._Element) -> tuple[bytes, tuple[tuple[str, str | None], ...]]:
    return canonical(element), tuple(content_scope(element))


def expected(published: list[bytes]) -> set[tuple[bytes, tuple[tuple[str, str | None], ...]]]:
    """The children that must survive, found the slow way from the published trees."""
    identified = {f"{{{PIDF}}}tuple", f"{{{DATA_MODEL}}}person", f"{{{DATA_MODEL}}}device"}
    taken: set[str] = set()
    survivors = set()
    for body in reversed(published):
        for child in etree.fromstring(body).iterchildren("*"):
            identity = child.get("id") if child.tag in identified else None
            if identity is None or identity not in taken:
                survivors.add(described(child))
            if identity is not None:
                taken.add(identity)
    return survivors


@settings(max_examples=100, deadline=None)
@given(st.lists(bodies(), max_size=4))
def test_every_surviving_child_is_canonically_what_was_published(published: list[bytes]) -> None:
    documents = [parse_pidf(body) for body in published]
    document = compose("sip:alice@example.com", documents)
    root = etree.fromstring(document)
    assert root.tag == f"{{{PIDF}}}presence"
    assert {described(child) for child in root.iterchildren("*")} == expected(published)
    order = [f.kind for f in parse_pidf(document).fragments]
    assert order == sorted(order)


@settings(max_examples=60, deadline=None)
@given(st.lists(bodies(), max_size=4))
def test_no_prefix_is_invented_or_renamed(published: list[bytes]) -> None:
    tag = re.compile(rb"<([^\s/>!?=]+)[\s/>]")
    document = compose("sip:alice@example.com", [parse_pidf(body) for body in published])
    children = document.partition(b'.com">')[2]
    assert set(tag.findall(children)) <= {name for body in published for name in tag.findall(body)}


@settings(max_examples=60, deadline=None)
@given(bodies())
def test_composing_what_was_composed_changes_nothing(body: bytes) -> None:
    once = compose("sip:alice@example.com", [parse_pidf(body)])
    again = compose("sip:alice@example.com", [parse_pidf(once)])
    assert [f.text for f in parse_pidf(again).fragments] == [f.text for f in parse_pidf(once).fragments]


def refusal(read: Callable[[bytes], object], body: bytes) -> str:
    try:
        read(body)
    except BadRequest as error:
        return error.reason
    return "accepted"


@settings(max_examples=100, deadline=None)
@given(bodies(), st.integers(0, 400), st.integers(0, 40), st.binary(max_size=8))
def test_a_damaged_body_is_read_or_refused_with_a_bad_request(body: bytes, at: int, length: int, put: bytes) -> None:
    damaged = body[:at] + put + body[at + length :]
    for read in (parse_pidf, parse_xml):
        reason = refusal(read, damaged)
        assert reason.isascii()
        assert reason.isprintable()
        assert len(reason) <= 100
    if refusal(parse_pidf, damaged) == "accepted":
        etree.fromstring(compose("sip:alice@example.com", [parse_pidf(damaged), parse_pidf(body)]))
