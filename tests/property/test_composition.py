"""Composition neither changes nor loses what was published, whatever namespaces the publishers use."""

import re
from collections.abc import Callable

from cut import read
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree
from published import bodies

from presence.document.compose import compose
from presence.document.pidf import DATA_MODEL, PIDF, parse_pidf
from presence.document.xml import parse_xml
from presence.errors import BadRequest


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
    order = [f.kind for f in read(document)]
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
    assert [f.text for f in read(again)] == [f.text for f in read(once)]


def refusal(reader: Callable[[bytes], object], body: bytes) -> str:
    try:
        reader(body)
    except BadRequest as error:
        return error.reason
    return "accepted"


@settings(max_examples=100, deadline=None)
@given(bodies(), st.integers(0, 400), st.integers(0, 40), st.binary(max_size=8))
def test_a_damaged_body_is_read_or_refused_with_a_bad_request(body: bytes, at: int, length: int, put: bytes) -> None:
    damaged = body[:at] + put + body[at + length :]
    for reader in (parse_pidf, parse_xml):
        reason = refusal(reader, damaged)
        assert reason.isascii()
        assert reason.isprintable()
        assert len(reason) <= 100
    if refusal(parse_pidf, damaged) == "accepted":
        etree.fromstring(compose("sip:alice@example.com", [parse_pidf(damaged), parse_pidf(body)]))
