"""Detailed conflict reports (RFC 4825 section 11) and the examples of section 13."""

import pytest
from lxml import etree
from xcap import ERROR, ERROR_SCHEMA, SCHEMAS, Site

from presence.xcap import errors

REPORTS = [
    errors.NotWellFormed("a <b> & \"c\" 'd'\n"),
    errors.NotXmlFragment("a"),
    errors.NoParent("a"),
    errors.NoParent("a", "http://example.com/a%22?x&y"),
    errors.SchemaValidationError("a"),
    errors.NotXmlAttributeValue("a"),
    errors.CannotInsert("a"),
    errors.CannotDelete("a"),
    errors.UniquenessFailure("a", [errors.Exists("rls-services/service/@uri")]),
    errors.UniquenessFailure("a", [errors.Exists("a&b", ["<c>", "d"]), errors.Exists("e", ["f"])]),
    errors.ConstraintFailure("a"),
    errors.ConstraintFailure(""),
    errors.Extension("a", '<x:y xmlns:x="urn:x"/>'),
    errors.Extension("a"),
    errors.NotUtf8("\x00\x1b\ufffe\ud800a"),
]


@pytest.mark.parametrize("report", REPORTS, ids=lambda report: type(report).__name__)
def test_rfc4825_11_2_every_report_is_valid(report: errors.Conflict) -> None:
    root = etree.fromstring(report.report())
    ERROR_SCHEMA.assertValid(root)
    assert root.tag == f"{{{ERROR}}}xcap-error"
    assert [child.tag for child in root] == [f"{{{ERROR}}}{report.element}"]
    assert report.status == 409


def test_rfc4825_11_1_every_kind_of_error_has_its_element() -> None:
    declared = {
        str(element.get("name"))
        for element in etree.parse(SCHEMAS / "xcap-error.xsd").getroot()
        if element.get("substitutionGroup") == "error-element"
    }
    assert {report.element for report in REPORTS} == declared


def test_rfc4825_11_1_the_phrase_is_kept() -> None:
    phrase = "a <b> & \"c\" 'd' \u20ac"
    root = etree.fromstring(errors.CannotInsert(phrase).report())
    assert root[0].get("phrase") == phrase


def test_rfc4825_11_1_the_example_of_a_uniqueness_failure() -> None:
    exists = [errors.Exists("rls-services/service/@uri", ["sip:mybuddies@example.com"])]
    root = etree.fromstring(errors.UniquenessFailure("", exists).report())
    expected = etree.fromstring(
        b"""<xcap-error xmlns="urn:ietf:params:xml:ns:xcap-error"><uniqueness-failure>
        <exists field="rls-services/service/@uri"><alt-value>sip:mybuddies@example.com</alt-value></exists>
        </uniqueness-failure></xcap-error>""",
        etree.XMLParser(remove_blank_text=True),
    )
    assert etree.tostring(root, method="c14n") == etree.tostring(expected, method="c14n")


# 13 Examples

NEW = """<?xml version="1.0" encoding="UTF-8"?>
<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists">
  <list name="friends">
  </list>
</resource-lists>"""

SERVICES = """<?xml version="1.0" encoding="UTF-8"?>
<rls-services xmlns="urn:ietf:params:xml:ns:rls-services">
<service uri="sip:myfriends@example.com">
  <resource-list>http://xcap.example.com/resource-lists/users/sip:bill@example.com/index/~~/resource-lists/list%5b@name=%22friends%22%5d
</resource-list>
  <packages>
   <package>presence</package>
  </packages>
 </service>
</rls-services>"""

BOB = """<entry uri="sip:bob@example.com">
    <display-name>Bob Jones</display-name>
  </entry>"""

WITH_BOB = """<?xml version="1.0" encoding="UTF-8"?>
<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists">
  <list name="friends">
  <entry uri="sip:bob@example.com">
    <display-name>Bob Jones</display-name>
  </entry></list>
</resource-lists>"""

CLOSE = """<list name="close-friends">
   <entry uri="sip:joe@example.com">
     <display-name>Joe Smith</display-name>
   </entry>
   <entry uri="sip:nancy@example.com">
     <display-name>Nancy Gross</display-name>
   </entry>
   <entry uri="sip:petri@example.com">
     <display-name>Petri Aukia</display-name>
   </entry>
</list>"""


def test_rfc4825_13_the_examples_one_after_the_other(site: Site) -> None:
    lists = "resource-lists/users/sip:bill@example.com/index"
    friends = f"{lists}/~~/resource-lists/list%5b@name=%22friends%22%5d"
    assert site.put(lists, NEW).status == 201
    assert site.put("rls-services/users/sip:bill@example.com/index", SERVICES).status == 201
    assert site.put(f"{friends}/entry", BOB).status == 201
    fetched = site.get(lists)
    assert fetched.body.decode() == WITH_BOB
    assert fetched.headers["content-type"] == "application/resource-lists+xml"
    assert site.put(f"{friends}/list%5b@name=%22close-friends%22%5d", CLOSE).status == 201
    petri = f"{lists}/~~/resource-lists/list/list/entry%5b@uri=%22sip:petri@example.com%22%5d"
    assert [site.delete(petri).status, site.delete(petri).status] == [200, 404]
    nancy = site.get(f"{lists}/~~/resource-lists/list/list/entry%5b2%5d/@uri")
    assert (nancy.body, nancy.headers["content-type"]) == (b'"sip:nancy@example.com"', "application/xcap-att+xml")
