"""Composition: order, who wins, and documents that are valid whatever was published."""

from pathlib import Path

import pytest
from lxml import etree

from presence.document.compose import closed, compose
from presence.document.pidf import DATA_MODEL, PIDF, parse_pidf

SCHEMA = etree.XMLSchema(etree.parse(str(Path(__file__).parents[1] / "schemas" / "presence.xsd")))
DM = f'xmlns:dm="{DATA_MODEL}"'
ALICE = "sip:alice@example.com"


def pidf(children: str, declarations: str = DM) -> bytes:
    return f'<presence xmlns="{PIDF}" {declarations} entity="{ALICE}">{children}</presence>'.encode()


def tuple_(identity: str, basic: str = "open") -> str:
    return f'<tuple id="{identity}"><status><basic>{basic}</basic></status></tuple>'


def composed(*bodies: bytes) -> bytes:
    return compose(ALICE, [parse_pidf(body) for body in bodies])


def tags(document: bytes) -> list[str]:
    return [etree.QName(child).localname for child in etree.fromstring(document)]


def ids(document: bytes) -> list[str | None]:
    return [child.get("id") for child in etree.fromstring(document)]


def test_rfc3863_4_4_children_are_ordered_as_the_schema_wants() -> None:
    newest = '<dm:device id="d"><dm:deviceID>urn:x</dm:deviceID></dm:device><e:x xmlns:e="urn:e"/>'
    older = f'<dm:person id="p"/><note>hi</note>{tuple_("t")}'
    document = composed(pidf(older), pidf(newest))
    assert tags(document) == ["tuple", "note", "person", "device", "x"]
    SCHEMA.assertValid(etree.fromstring(document))


def test_the_root_is_made_anew_with_declaration_and_entity() -> None:
    assert composed(pidf(tuple_("t"), "")) == (
        b'<?xml version="1.0" encoding="UTF-8"?>\n'
        b'<presence xmlns="urn:ietf:params:xml:ns:pidf" entity="sip:alice@example.com">'
        b'<tuple id="t"><status><basic>open</basic></status></tuple></presence>'
    )


def test_the_newest_publication_wins_an_id_and_comes_first() -> None:
    document = composed(pidf(tuple_("a", "open") + tuple_("b")), pidf(tuple_("a", "closed")))
    assert ids(document) == ["a", "b"]
    assert document.count(b"<basic>closed</basic>") == 1
    assert document.count(b"<basic>open</basic>") == 1


def test_an_id_taken_by_another_kind_drops_the_older_element() -> None:
    document = composed(pidf('<dm:person id="a"/>'), pidf(tuple_("a")))
    assert tags(document) == ["tuple"]
    SCHEMA.assertValid(etree.fromstring(document))


def test_an_id_used_twice_in_one_publication_stands_once() -> None:
    assert ids(composed(pidf(tuple_("a") + tuple_("a", "closed")))) == ["a"]


def test_elements_without_id_are_all_kept() -> None:
    bare = "<tuple><status/></tuple><dm:person/>"
    assert tags(composed(pidf(bare), pidf(bare))) == ["tuple", "tuple", "person", "person"]


def test_equal_notes_and_foreign_elements_stand_once_unequal_ones_all() -> None:
    document = composed(
        pidf('<note>hi</note><e:x xmlns:e="urn:e"/>'),
        pidf('<note>hi</note><note>ho</note><e:x xmlns:e="urn:e"/><e:x xmlns:e="urn:f"/>'),
    )
    assert tags(document) == ["note", "note", "x", "x"]


def test_notes_that_look_alike_in_different_namespaces_are_different() -> None:
    document = composed(pidf("<e:x/>", 'xmlns:e="urn:a"'), pidf("<e:x/>", 'xmlns:e="urn:b"'))
    names = [child.tag for child in etree.fromstring(document)]
    assert names == ["{urn:b}x", "{urn:a}x"]
    assert document.count(b"<e:x") == 2


def test_the_literal_text_baresip_looks_for_survives_a_conflict_of_prefixes() -> None:
    rpid = "urn:ietf:params:xml:ns:pidf:rpid"
    person = '<dm:person id="{}"><rpid:activities><rpid:busy/></rpid:activities></dm:person>'
    document = composed(
        pidf(person.format("p"), f'{DM} xmlns:rpid="{rpid}"'),
        pidf(person.format("q") + tuple_("t"), f'{DM} xmlns:rpid="urn:other"'),
    )
    assert document.count(b"<rpid:busy/>") == 2
    assert b"<basic>open</basic>" in document
    root = etree.fromstring(document)
    assert [e.tag for e in root.iter("{*}busy")] == ["{urn:other}busy", f"{{{rpid}}}busy"]


def test_qualified_names_in_values_keep_their_meaning() -> None:
    xsi = "http://www.w3.org/2001/XMLSchema-instance"
    body = f'<e:x xmlns:e="urn:e" xmlns:xsi="{xsi}" xsi:type="q:T">q:U</e:x>'
    document = composed(pidf(body, 'xmlns:q="urn:a"'), pidf(body, 'xmlns:q="urn:b"'))
    assert [child.nsmap["q"] for child in etree.fromstring(document)] == ["urn:b", "urn:a"]


def test_publications_without_a_tuple_compose_to_a_valid_document() -> None:
    SCHEMA.assertValid(etree.fromstring(composed(pidf('<dm:person id="p"/>'))))
    SCHEMA.assertValid(etree.fromstring(composed(pidf(""))))


def test_nothing_published_is_one_closed_tuple() -> None:
    document = closed(ALICE, "closed")
    root = etree.fromstring(document)
    SCHEMA.assertValid(root)
    assert root.get("entity") == ALICE
    assert document.count(b"<basic>closed</basic>") == 1


@pytest.mark.parametrize("name", ["<&\"'>", "a\x00\r\nb", "\u00e9\udc80"])
def test_hostile_entities_are_escaped(name: str) -> None:
    entity = f"sip:{name}@example.com"
    for document in (compose(entity, []), closed(entity, "t")):
        kept = "".join(c for c in entity if c not in "\x00\udc80")
        assert etree.fromstring(document).get("entity") == kept
