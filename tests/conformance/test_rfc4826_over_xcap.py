"""The application usages through the XCAP server: RFC 4826, RFC 4827, RFC 5025, and the usages without an RFC."""

from collections.abc import Iterator

import pytest
import xcap_examples as examples
from lxml import etree
from xcap import Site

from presence.xcap.services import Services
from presence.xcap.usages import usages

ALICE, BOB, JOE = (f"users/sip:{name}@example.com" for name in ("alice", "bob", "joe"))
LISTS = f"resource-lists/{ALICE}/index"
HOST = "xcap.example.com"
TYPES = {auid: usage.content_type for auid, usage in usages().items()}


@pytest.fixture
def site() -> Iterator[Site]:
    services = Services(lambda: [each for each in made.documents.kept.values() if each.key.auid == "rls-services"])
    made = Site(usages=usages(services=services))
    made.documents.listeners.append(services.note)
    with made:
        yield made


def put(site: Site, target: str, body: bytes | str):
    if "~~" in target:
        return site.put(target, body)
    return site.put(target, body, content_type=TYPES[target.partition("/")[0]])


def put_lists(site: Site) -> None:
    assert put(site, LISTS, examples.RESOURCE_LISTS).status == 201


def at_root(body: bytes, name: bytes = b"http://xcap.example.com/xcap-root") -> bytes:
    return body.replace(b"http://xcap.example.com", name)


# Types and names


@pytest.mark.parametrize(
    ("target", "body", "content_type"),
    [
        (LISTS, examples.RESOURCE_LISTS, "application/resource-lists+xml"),
        (f"rls-services/{JOE}/index", at_root(examples.RLS_SERVICES), "application/rls-services+xml"),
        (f"pidf-manipulation/{ALICE}/index", examples.PIDF, "application/pidf+xml"),
        (f"pres-rules/{ALICE}/index", examples.PRES_RULES, "application/auth-policy+xml"),
    ],
)
def test_the_examples_of_the_rfcs_are_stored_and_come_back_byte_for_byte(site, target, body, content_type):
    assert site.put(target, body, content_type=content_type).status == 201
    answer = site.get(target)
    assert (answer.status, answer.headers["content-type"], answer.body) == (200, content_type, body)
    assert site.put(target, body, content_type="text/xml").status == 415


def test_rfc4826_3_1_a_document_is_well_formed(site):
    assert put(site, LISTS, examples.RESOURCE_LISTS[:-3]).error == "not-well-formed"


def test_rfc4826_3_1_a_document_is_in_utf8(site):
    latin = '<?xml version="1.0" encoding="ISO-8859-1"?><resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists"/>'
    assert put(site, LISTS, latin).error == "not-utf-8"


def test_rfc4827_9_other_names_than_index_are_refused(site):
    assert put(site, f"pidf-manipulation/{ALICE}/other", examples.PIDF).error == "constraint-failure"


# Elements of resource lists (RFC 4826 section 3.4)


def test_rfc4826_3_4_4_unprefixed_names_of_a_selector_are_of_its_namespace(site):
    put_lists(site)
    answer = site.get(
        f'{LISTS}/~~/resource-lists/list[@name="friends"]/list/entry[@uri="sip:joe@example.com"]/display-name'
    )
    assert answer.body == b"<display-name>Joe Smith</display-name>"


def test_rfc4826_3_4_7_an_entry_is_put_and_removed_by_its_uri(site):
    put_lists(site)
    entry = f'{LISTS}/~~/resource-lists/list/entry[@uri="sip:new@example.com"]'
    assert put(site, entry, '<entry uri="sip:new@example.com"/>').status == 201
    assert site.get(entry).body == b'<entry uri="sip:new@example.com"/>'
    assert site.delete(entry).status == 200
    assert site.get(LISTS).body == examples.RESOURCE_LISTS


def test_rfc4826_3_4_5_a_second_entry_of_a_uri_is_reported_where_it_is(site):
    put_lists(site)
    found = put(site, f"{LISTS}/~~/resource-lists/list/list/entry[2]", '<entry uri="sip:joe@example.com"/>').conflict
    assert etree.QName(found).localname == "uniqueness-failure"
    assert found[0].get("field") == "resource-lists/list/list/entry%5B2%5D/@uri"
    assert site.get(LISTS).body == examples.RESOURCE_LISTS


def test_the_schema_is_asked_for_changes_of_elements_too(site):
    put_lists(site)
    assert put(site, f"{LISTS}/~~/resource-lists/list/entry[1]", "<entry/>").error == "schema-validation-error"
    assert site.delete(f"{LISTS}/~~/resource-lists/list/entry[1]/@uri").error == "schema-validation-error"
    assert site.get(LISTS).body == examples.RESOURCE_LISTS


# RLS services (RFC 4826 section 4.4)


def test_rfc4826_4_4_5_a_vanity_uri_that_is_taken_is_a_409_with_alternatives(site):
    body = '<rls-services xmlns="urn:ietf:params:xml:ns:rls-services"><service uri="sip:friends@example.com"><list/></service></rls-services>'  # noqa: E501
    assert put(site, f"rls-services/{BOB}/index", body).status == 201
    found = put(site, f"rls-services/{ALICE}/index", body).conflict
    assert etree.QName(found).localname == "uniqueness-failure"
    assert found[0].get("field") == "rls-services/service/@uri"
    other = found[0][0].text
    assert put(site, f"rls-services/{ALICE}/index", body.replace("sip:friends@example.com", other)).status == 201
    assert site.delete(f"rls-services/{BOB}/index").status == 200
    assert put(site, f"rls-services/{ALICE}/index", body).status == 200


def test_rfc4826_4_4_5_the_root_is_the_one_that_was_asked(site):
    target = f"rls-services/{JOE}/index"
    assert (
        put(site, target, at_root(examples.RLS_SERVICES, b"http://other.example.com/xcap-root")).error
        == "constraint-failure"
    )
    assert put(site, target, at_root(examples.RLS_SERVICES)).status == 201


def test_rfc4826_4_4_9_nobody_reads_the_global_index(site):
    assert site.get("rls-services/global/index").status == 404


# Hard state (RFC 4827)


def test_rfc4827_11_a_note_is_changed(site):
    target = f"pidf-manipulation/{ALICE}/index"
    put(site, target, examples.PIDF)
    note = b"<note>I'm reading mails on Tuesdays and Fridays</note>"
    assert put(site, f"{target}/~~/presence/tuple[@id='x8eg92n']/note", note).status == 200
    assert site.get(target).body == examples.PIDF.replace(
        b"<note>I'm reading mail a couple of times a week</note>", note
    )


# Generated documents


def test_rfc4825_12_capabilities_are_read_by_everybody(site):
    answer = site.get("xcap-caps/global/index")
    assert answer.headers["content-type"] == "application/xcap-caps+xml"
    usages()["xcap-caps"].validate(etree.fromstring(answer.body))
    auid = site.get("xcap-caps/global/index/~~/xcap-caps/auids/auid[1]")
    assert auid.body == b"<auid>dialog-rules</auid>"
    assert site.get("xcap-caps/global/index", if_none_match=answer.etag).status == 304


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
@pytest.mark.parametrize(
    "target",
    [
        f"org.openxcap.watchers/{ALICE}/index",
        f"org.openmobilealliance.xcap-directory/{ALICE}/directory.xml",
        f"org.openmobilealliance.locked-user-profile/{ALICE}/index",
    ],
)
def test_what_is_generated_cannot_be_written(site, method, target):
    assert site.ask(method, target, b"<x/>", content_type="application/xml").status == 405


def test_the_directory_and_the_watchers_are_there_for_users_only(site):
    put_lists(site)
    [folder] = etree.fromstring(site.get(f"org.openmobilealliance.xcap-directory/{ALICE}/directory.xml").body)
    assert folder.get("auid") == "resource-lists"
    assert folder[0].get("uri") == f"http://{HOST}/xcap-root/{LISTS}"
    assert folder[0].get("size") == str(len(examples.RESOURCE_LISTS))
    assert site.get(f"org.openxcap.watchers/{ALICE}/index").status == 200
    assert site.get(f"org.openxcap.watchers/{ALICE}/index/~~/watchers").status == 200
    assert site.get("org.openxcap.watchers/global/index").status == 404


def test_pictures_have_their_directory(site):
    target = f"org.openmobilealliance.pres-content/{ALICE}/oma_status-icon/rcs_status_icon"
    assert put(site, target, examples.JITSI_PICTURE).status == 201
    assert put(site, target.replace("oma_status-icon", "elsewhere"), examples.JITSI_PICTURE).error == "no-parent"
    assert put(site, target, examples.JITSI_PICTURE.replace("image/png", "text/html")).error == "constraint-failure"


def test_rfc4825_8_2_3_test_app_takes_its_examples(site):
    target = f"test-app/{ALICE}/index"
    assert put(site, target, '<root xmlns="test-app"><el1 att="first"/><el1 att="second"/></root>').status == 201
    assert put(site, f'{target}/~~/root/el1[@att="third"]', '<el1 att="third"/>').status == 201
    assert put(site, f'{target}/~~/root/el1[@att="third"]', '<el1 att="fourth"/>').error == "cannot-insert"
