"""What clients made for OpenXCAP get that RFC 4825 does not have, and that nobody else gets it."""

from collections.abc import Iterator

import pytest
from lxml import etree
from xcap import ALICE, Site

from presence.xcap.openxcap import is_openxcap_client
from presence.xcap.services import Services
from presence.xcap.usages import usages

DOC = f"test-app/{ALICE}/index"
LISTS = f"resource-lists/{ALICE}/index"
SERVICES = f"rls-services/{ALICE}/index"
FORM = "application/x-www-form-urlencoded"
OPENXCAP = {"user_agent": "python-xcaplib/1.0.17"}
OTHERS = ({}, {"user_agent": "Python-urllib/3.11"}, {"user_agent": "Blink not python-xcaplib"})

TWICE = """<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists">
 <!-- x --><list name="a"/><list name="b"><entry uri="sip:a@b"/></list><list name="a"/>
</resource-lists>"""
FOREIGN = """<rls-services xmlns="urn:ietf:params:xml:ns:rls-services"><service uri="sip:friends@example.com">
<resource-list>http://elsewhere.example.com/resource-lists/users/sip:joe@example.com/index/~~/resource-lists/list</resource-list>
<packages><package>presence</package></packages></service></rls-services>"""


@pytest.fixture
def site() -> Iterator[Site]:
    with Site(usages=usages(services=Services(lambda: ()))) as made:
        made.put(DOC, "<root xmlns='test-app' n='1'/>")
        yield made


@pytest.mark.parametrize("agent", ["python-xcaplib/1.2", "Python3-Xcaplib/2.0.1", "xcapclient/1", "xcapclient.py"])
def test_values_come_and_go_without_quotes(site: Site, agent: str) -> None:
    target = f"{DOC}/~~/root/@n"
    for body, shown in (("coworkers", "coworkers"), ('a"b&c', "a&quot;b&amp;c"), ('"x"', "x"), ("'y'", "y"), ("", "")):
        assert site.put(target, body, user_agent=agent).status == 200
        assert site.get(target, user_agent=agent).body.decode() == shown
        assert site.get(target).body.decode()[1:-1] == shown
    assert site.put(target, "<", user_agent=agent).error == "not-xml-att-value"


@pytest.mark.parametrize("client", OTHERS)
def test_for_others_they_are_in_quotes(site: Site, client: dict[str, str]) -> None:
    assert site.put(f"{DOC}/~~/root/@n", "bare", **client).error == "not-xml-att-value"
    assert site.get(f"{DOC}/~~/root/@n", **client).body == b"'1'"


def test_a_document_that_is_called_a_form_by_a_library_is_taken(site: Site) -> None:
    for client in (OPENXCAP, {"user_agent": "Python-urllib/3.11"}):
        assert site.put(DOC, "<root/>", content_type=FORM, **client).status == 200
        assert site.put(DOC, "<root/>", content_type="text/xml", **client).status == 415
        assert site.put(f"{DOC}/~~/*", "<root/>", content_type=FORM, **client).status == 415
        assert site.put(f"{DOC}/~~/*", "<root/>", content_type="", **client).status == 415
    assert site.put(DOC, "", content_type=FORM, **OPENXCAP).error == "not-well-formed"
    assert site.put(DOC, "<root/>", content_type=FORM).status == 415


def test_a_client_without_a_name_is_known_by_its_carelessness() -> None:
    agent, other = {"user-agent": "Python-urllib/3.11"}, {"user-agent": "curl/8.0"}
    form = {"content-type": FORM}
    assert is_openxcap_client(agent, "/x/~~/a[1]/@b")
    assert is_openxcap_client(agent | form, "/x")
    assert not is_openxcap_client(agent, "/x/~~/a%5B1%5D/@b")
    assert not is_openxcap_client(agent | {"content-type": "application/xcap-el+xml"}, "/x")
    assert not is_openxcap_client(other | form, "/x/~~/a[1]/@b")
    assert not is_openxcap_client({}, "/x/~~/a[1]/@b")


def test_a_document_of_no_type_at_all_is_taken_from_everybody(site: Site) -> None:
    assert site.ask("PUT", DOC, b"<root/>").status == 200
    assert site.put(DOC, "<root/>", content_type="").status == 415
    assert site.ask("PUT", f"{DOC}/~~/*", b"<root/>").status == 415


def test_the_attribute_a_uri_selects_by_may_be_changed(site: Site) -> None:
    target = f'{DOC}/~~/root[@n="1"]/@n'
    assert site.put(target, '"2"').error == "cannot-insert"
    assert site.put(target, "2", **OPENXCAP).status == 200
    assert site.get(f"{DOC}/~~/root/@n").body == b'"2"'
    assert site.put(target, "3", **OPENXCAP).error == "no-parent"


@pytest.mark.parametrize("client", [OPENXCAP, {}])
def test_what_else_would_not_come_back_is_refused_to_them_too(site: Site, client: dict[str, str]) -> None:
    site.put(DOC, '<root xmlns="test-app"><a b="1" c="2"/></root>')
    assert site.put(f'{DOC}/~~/root/a[@b="1"]', '<a b="2"/>', **client).error == "cannot-insert"
    assert site.put(f'{DOC}/~~/root/a[@b="1"]/@c', '"3"', **client).status == 200


def test_the_field_of_a_report_is_an_xpath_expression(site: Site) -> None:
    report = site.put(LISTS, TWICE, content_type=FORM, **OPENXCAP).conflict
    (exists,) = report
    assert etree.fromstring(TWICE).xpath(exists.get("field")) == ["a"]
    (exists,) = site.put(LISTS, TWICE).conflict
    assert exists.get("field") == "resource-lists/list%5B3%5D/@name"


def test_lists_of_others_may_be_named(site: Site) -> None:
    kind = {"content_type": "application/rls-services+xml"}
    assert site.put(SERVICES, FOREIGN, **kind).error == "constraint-failure"
    assert site.put(SERVICES, FOREIGN, **kind, **OPENXCAP).status == 201


def test_a_selector_may_follow_the_separator_without_a_slash(site: Site) -> None:
    assert site.get(f"{DOC}/~~root/@n").body == b"'1'"
    assert site.get(f"{DOC}/%7e~*").body == site.get(f"{DOC}/~~/root").body


def test_always_and_never() -> None:
    with Site(openxcap_clients="always") as site:
        site.put(DOC, "<root n='1'/>", content_type=FORM)
        assert site.get(f"{DOC}/~~/*/@n").body == b"1"
    with Site(openxcap_clients="never") as site:
        assert site.put(DOC, "<root n='1'/>", content_type=FORM, **OPENXCAP).status == 415
        site.put(DOC, "<root n='1'/>")
        assert site.get(f"{DOC}/~~/*/@n", **OPENXCAP).body == b"'1'"
