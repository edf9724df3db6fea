"""What application usages take, and what they say of what they do not take (RFC 4826, RFC 4827, RFC 5025, OMA)."""

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import unquote

import pytest
import xcap_examples as examples
from lxml import etree
from xcap_memory import ALICE, BOB, JOE, ROOT, Memory, judge, make_world

from presence.xcap.canonical import canonical_uri
from presence.xcap.documents import Key
from presence.xcap.errors import Conflict, UniquenessFailure
from presence.xcap.usages import usages

LISTS = "urn:ietf:params:xml:ns:resource-lists"
POLICY = "urn:ietf:params:xml:ns:common-policy"
XSI = "http://www.w3.org/2001/XMLSchema-instance"
WHO = {"root": ROOT, "user": "alice@example.com", "name": "alice"}


def lists(inside: str) -> str:
    return f'<resource-lists xmlns="{LISTS}">{inside}</resource-lists>'


def services(inside: str) -> str:
    return f'<rls-services xmlns="urn:ietf:params:xml:ns:rls-services" xmlns:rl="{LISTS}">{inside}</rls-services>'


def service(
    uri: str, reference: str = f"{ROOT}/resource-lists/users/sip:alice@example.com/index/~~/resource-lists/list"
):
    return f'<service uri="{uri}"><resource-list>{reference}</resource-list></service>'


def rules(conditions: str, rest: str = "") -> str:
    return (
        f'<ruleset xmlns="{POLICY}" xmlns:pr="urn:ietf:params:xml:ns:pres-rules"'
        f' xmlns:ocp="urn:oma:xml:xdm:common-policy"><rule id="a"><conditions>{conditions}</conditions>{rest}</rule>'
        "</ruleset>"
    )


def presence(inside: str, entity: str = "sip:alice@example.com") -> str:
    return (
        f'<presence xmlns="urn:ietf:params:xml:ns:pidf" xmlns:rpid="urn:ietf:params:xml:ns:pidf:rpid"'
        f' xmlns:dm="urn:ietf:params:xml:ns:pidf:data-model" entity="{entity}">{inside}</presence>'
    )


def picture(kind: str = "image/png", data: str = examples.PNG, encoding: str = "base64") -> str:
    return (
        f'<content xmlns="urn:oma:xml:prs:pres-content"><mime-type>{kind}</mime-type><encoding>{encoding}</encoding>'
        f"<data>{data}</data></content>"
    )


def conflict(auid: str, body: bytes | str, owner=ALICE, memory: Memory | None = None, **world) -> Conflict | None:
    return judge(make_world(memory or Memory(), **world), Key(auid, owner, "index"), body)


def fields(found: Conflict | None) -> list[str]:
    assert isinstance(found, UniquenessFailure)
    return [unquote(entry.field) for entry in found.exists]


# Documents that must be taken


@pytest.mark.parametrize("section", examples.COMMON_POLICY)
@pytest.mark.parametrize("auid", ["pres-rules", "org.openmobilealliance.pres-rules", "dialog-rules"])
def test_rfc4745_examples_are_taken(section, auid):
    assert conflict(auid, examples.COMMON_POLICY[section]) is None


def test_rfc5025_6_example_is_taken():
    assert conflict("pres-rules", examples.PRES_RULES) is None


def test_rfc4826_3_3_example_is_taken():
    assert conflict("resource-lists", examples.RESOURCE_LISTS) is None


def test_rfc4826_4_3_example_is_taken():
    assert conflict("rls-services", examples.RLS_SERVICES, JOE) is None


def test_rfc4827_11_example_is_taken():
    assert conflict("pidf-manipulation", examples.PIDF) is None


@pytest.mark.parametrize(
    ("auid", "body"),
    [
        ("resource-lists", examples.BLINK_LISTS),
        ("org.openmobilealliance.pres-rules", examples.BLINK_RULES),
        ("pres-rules", examples.BLINK_RULES),
        ("rls-services", examples.BLINK_SERVICES),
        ("pidf-manipulation", examples.BLINK_OFFLINE),
        ("org.openxcap.dialog-rules", examples.BLINK_DIALOG_RULES),
        ("resource-lists", examples.JITSI_LISTS),
        ("pres-rules", examples.JITSI_RULES),
        ("org.openmobilealliance.pres-content", examples.JITSI_PICTURE),
        ("test-app", '<root xmlns="test-app"><el1 att="first"/><el1 att="second"/><el2 att="first"/></root>'),
        (
            "org.openmobilealliance.user-profile",
            '<user-profiles xmlns="urn:oma:xml:xdm:user-profile"><user-profile uri="sip:alice@example.com">'
            "<display-name>Alice</display-name></user-profile></user-profiles>",
        ),
    ],
)
def test_what_clients_write_is_taken(auid, body):
    for name, value in WHO.items():
        body = body.replace(f"{{{name}}}", value)
    assert conflict(auid, body) is None


# Schemas (RFC 4825 section 8.2.5)


@pytest.mark.parametrize(
    ("auid", "body", "phrase"),
    [
        ("resource-lists", lists('<entry uri="sip:a@b"/>'), "Line 1: Element 'entry': This element is not expected"),
        ("resource-lists", lists("<list><entry/></list>"), "The attribute 'uri' is required but missing"),
        ("resource-lists", f'<list xmlns="{LISTS}"/>', "The root element must be resource-lists of namespace urn:ietf"),
        ("resource-lists", "<resource-lists/>", "The root element must be resource-lists of namespace urn:ietf"),
        ("rls-services", services('<service uri="sip:a@b"/>'), "Missing child element"),
        ("pres-rules", rules("<identity/>"), "Missing child element"),
        ("pres-rules", rules("", "<actions><pr:sub-handling>may</pr:sub-handling></actions>"), "'may'"),
        ("pres-rules", f'<ruleset xmlns="{POLICY}"><rule id="a"/><rule id="a"/></ruleset>', "xs:ID"),
        ("dialog-rules", f'<ruleset xmlns="{POLICY}"><rule/></ruleset>', "'id' is required"),
        (
            "org.openxcap.dialog-rules",
            rules("", '<actions><x:sub-handling xmlns:x="http://openxcap.org/ns/dialog-rules">no</x:sub-handling></actions>'),
            "'no'",
        ),
        ("org.openmobilealliance.pres-rules", rules("<ocp:external-list><ocp:x/></ocp:external-list>"), "'x'"),
        ("pidf-manipulation", presence("<tuple><status/></tuple>"), "'id' is required"),
        ("pidf-manipulation", presence("<dm:person/>"), "'id' is required"),
        ("pidf-manipulation", presence('<dm:person id="p"><rpid:mood>x</rpid:mood></dm:person>'), "'mood'"),
        ("org.openmobilealliance.pres-content", '<content xmlns="urn:oma:xml:prs:pres-content"><x/></content>', "'x'"),
        ("org.openmobilealliance.user-profile", '<x xmlns="urn:oma:xml:xdm:user-profile"/>', "must be user-profiles"),
    ],
)  # fmt: skip
def test_rfc4825_8_2_5_what_breaks_the_schema_is_refused_with_the_validators_words(auid, body, phrase):
    found = conflict(auid, body)
    assert found is not None
    assert found.element == "schema-validation-error"
    assert phrase in found.phrase


def test_rfc4825_8_2_5_unknown_namespaces_are_let_pass():
    assert (
        conflict("resource-lists", lists('<list><entry uri="sip:a@b"><x xmlns="urn:x" y="1"/></entry></list>')) is None
    )


def test_rfc4825_8_2_5_an_unknown_element_of_a_known_namespace_is_refused():
    found = conflict("pidf-manipulation", presence('<tuple id="t"><status/></tuple><rpid:nothing/>'))
    assert found is not None
    assert (found.element, found.phrase) == (
        "schema-validation-error",
        "Line 1: Element 'nothing': urn:ietf:params:xml:ns:pidf:rpid has no such element",
    )


def test_a_schema_the_document_names_is_not_read(tmp_path):
    other = tmp_path / "other.xsd"
    xs = "http://www.w3.org/2001/XMLSchema"
    other.write_text(f'<xs:schema xmlns:xs="{xs}" targetNamespace="urn:x"><xs:element name="y"/></xs:schema>')
    body = lists(f'<list><z xmlns="urn:x" xmlns:xsi="{XSI}" xsi:schemaLocation="urn:x {other.as_uri()}"/></list>')
    assert conflict("resource-lists", body) is None


def test_schemas_refer_to_nothing_outside_their_folder():
    folder = Path(__file__).parents[2] / "presence" / "xcap" / "schemas"
    for path in folder.glob("*.xsd"):
        for place in etree.parse(str(path)).xpath("//@schemaLocation"):
            assert re.fullmatch(r"[\w-]+\.xsd", place), path
            assert (folder / place).is_file(), path


def test_threads_get_the_errors_of_their_own_documents():
    names = [f"wrong{number}" for number in range(40)]

    def refuse(name: str) -> bool:
        found = conflict("resource-lists", lists(f"<{name}/>"))
        return found is not None and f"'{name}'" in found.phrase

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(refuse, names))


# resource-lists (RFC 4826 section 3.4.5)


@pytest.mark.parametrize(
    ("inside", "field"),
    [
        ('<list name="a"/><list name="a"/>', "resource-lists/list[2]/@name"),
        ('<list><list name="a"/><list name="b"/><list name="a"/></list>', "resource-lists/list/list[3]/@name"),
        ('<list><entry uri="sip:a@b"/><entry uri="sip:a@b"/></list>', "resource-lists/list/entry[2]/@uri"),
        ('<list><entry-ref ref="r/x"/><entry-ref ref="r/x"/></list>', "resource-lists/list/entry-ref[2]/@ref"),
        (
            '<list/><list><external anchor="http://a/b"/><external anchor="http://a/b"/></list>',
            "resource-lists/list[2]/external[2]/@anchor",
        ),
    ],
)
def test_rfc4826_3_4_5_names_and_uris_are_unique_among_siblings(inside, field):
    found = conflict("resource-lists", lists(inside))
    assert fields(found) == [field]
    assert found is not None
    assert "%5B" in found.report().decode()


@pytest.mark.parametrize(
    "inside",
    [
        '<list name="a"/><list name="A"/>',
        "<list/><list/>",
        '<list name="a"><list name="a"/></list>',
        '<list><entry uri="sip:a@b"/><entry uri="sip:A@b"/></list>',
        '<list><entry uri="sip:a@b"/><list><entry uri="sip:a@b"/></list></list>',
    ],
)
def test_rfc4826_3_4_5_others_than_siblings_and_other_spellings_are_not_the_same(inside):
    assert conflict("resource-lists", lists(inside)) is None


def test_rfc4825_11_1_another_name_is_suggested_that_nobody_has():
    found = conflict("resource-lists", lists('<list name="a"/><list name="a"/><list name="a-2"/>'))
    assert isinstance(found, UniquenessFailure)
    assert found.exists[0].alternatives == ("a-3", "a-4")


@pytest.mark.parametrize(
    "ref", ["http://xcap.example.com/x", "/resource-lists/x", "//host/x", "", "sip:bob@example.com", "?a", "#a"]
)
def test_rfc4826_3_4_5_ref_is_a_relative_path(ref):
    found = conflict("resource-lists", lists(f'<list><entry-ref ref="{ref}"/></list>'))
    assert found is not None
    assert found.element == "constraint-failure"
    assert "relative to the XCAP root" in found.phrase


@pytest.mark.parametrize("anchor", ["resource-lists/users/x", "/x", "sip:bob@example.com", "http:///x", ""])
def test_rfc4826_3_4_5_anchor_is_an_absolute_http_uri(anchor):
    found = conflict("resource-lists", lists(f'<list><external anchor="{anchor}"/></list>'))
    assert found is not None
    assert found.element == "constraint-failure"
    assert "absolute HTTP URI" in found.phrase


def test_rfc4826_3_1_external_has_an_anchor():
    found = conflict("resource-lists", lists("<list><external/></list>"))
    assert found is not None
    assert found.element == "constraint-failure"


def test_rfc4826_3_1_an_anchor_is_percent_encoded():
    anchor = f"{ROOT}/resource-lists/users/sip:alice@example.com/index/~~/resource-lists/list[@name=&quot;a&quot;]"
    found = conflict("resource-lists", lists(f'<list><external anchor="{anchor}"/></list>'))
    assert found is not None
    assert found.element == "schema-validation-error"
    assert "xs:anyURI" in found.phrase


def test_rfc4826_3_4_5_references_need_not_resolve():
    anchor = "https://elsewhere.example.net/xcap/resource-lists/users/sip:x@example.net/index/~~/resource-lists/list"
    assert conflict("resource-lists", lists(f'<list><external anchor="{anchor}"/></list>')) is None


def test_rfc4825_8_2_5_uniqueness_is_looked_at_before_other_constraints():
    found = conflict("resource-lists", lists('<list name="a"><external/></list><list name="a"/>'))
    assert fields(found) == ["resource-lists/list[2]/@name"]
    found = conflict("rls-services", services(service("sip:alice@example.com", "x")))
    assert fields(found) == ["rls-services/service/@uri"]


@pytest.mark.parametrize(
    ("auid", "body"),
    [
        ("resource-lists", lists('<list name="a"/>' * 1000)),
        ("resource-lists", lists('<list><entry uri="sip:a@b"/><entry uri="sip:a@b"/></list>' * 1000)),
        ("rls-services", services('<service uri="sip:alice@example.com"><list/></service>' * 500)),
    ],
)
def test_a_report_of_very_many_is_bounded(auid, body):
    assert len(fields(conflict(auid, body))) == 20


# rls-services (RFC 4826 section 4.4.5)


def test_rfc4826_4_4_5_a_service_uri_is_nobody_elses():
    memory = Memory()
    memory.write(Key("rls-services", BOB, "other"), services(service("sip:friends@example.com")))
    found = conflict("rls-services", services(service("sip:friends@example.com")), memory=memory)
    assert fields(found) == ["rls-services/service/@uri"]
    assert isinstance(found, UniquenessFailure)
    assert found.exists[0].alternatives == ("sip:friends-2@example.com", "sip:friends-3@example.com")


def test_rfc4826_5_service_uris_are_compared_as_sip_uris():
    memory = Memory()
    memory.write(Key("rls-services", BOB, "index"), services(service("sip:%66riends@EXAMPLE.com;b=2;A=1")))
    found = conflict("rls-services", services(service("sip:friends@example.com;a=1;b=2")), memory=memory)
    assert fields(found) == ["rls-services/service/@uri"]


def test_rfc4826_4_4_5_a_user_may_write_its_own_service_again():
    memory = Memory()
    memory.write(Key("rls-services", ALICE, "index"), services(service("sip:friends@example.com")))
    assert conflict("rls-services", services(service("sip:friends@example.com")), memory=memory) is None


def test_rfc4826_4_4_5_a_service_uri_is_free_again_when_it_is_gone():
    memory = Memory()
    key = memory.write(Key("rls-services", BOB, "index"), services(service("sip:friends@example.com")))
    assert conflict("rls-services", services(service("sip:friends@example.com")), memory=memory) is not None
    memory.write(key, services(service("sip:mates@example.com")))
    assert conflict("rls-services", services(service("sip:friends@example.com")), memory=memory) is None
    assert conflict("rls-services", services(service("sip:mates@example.com")), memory=memory) is not None
    memory.remove(key)
    assert conflict("rls-services", services(service("sip:mates@example.com")), memory=memory) is None


def test_changes_that_were_missed_are_found_after_forgetting():
    memory = Memory()
    assert conflict("rls-services", services(service("sip:friends@example.com")), memory=memory) is None
    other = Memory()
    key = other.write(Key("rls-services", BOB, "index"), services(service("sip:friends@example.com")))
    memory.stored[key] = other.stored[key]
    assert conflict("rls-services", services(service("sip:friends@example.com")), memory=memory) is None
    memory.services.forget()
    assert conflict("rls-services", services(service("sip:friends@example.com")), memory=memory) is not None


def test_rfc4826_4_4_5_service_uris_differ_within_a_document():
    found = conflict("rls-services", services(service("sip:a@example.com") + service("sip:A@example.com") * 2))
    assert fields(found) == ["rls-services/service[3]/@uri"]


def test_rfc4826_4_4_5_a_service_uri_is_no_users_address():
    memory = Memory()
    memory.write(Key("pres-rules", BOB, "index"), rules("<identity><many/></identity>"))
    for uri in ("sip:alice@example.com", "sip:bob@example.com"):
        assert fields(conflict("rls-services", services(service(uri)), memory=memory)) == ["rls-services/service/@uri"]


@pytest.mark.parametrize(
    ("reference", "phrase"),
    [
        ("resource-lists/users/sip:alice@example.com/index/~~/resource-lists/list", "absolute HTTP URI"),
        (
            "http://other.example.com/resource-lists/users/sip:alice@example.com/index/~~/resource-lists/list",
            "XCAP root",
        ),
        (f"{ROOT}:81/resource-lists/users/sip:alice@example.com/index/~~/resource-lists/list", "XCAP root"),
        (f"{ROOT}/pres-rules/users/sip:alice@example.com/index/~~/resource-lists/list", "resource-lists/users/"),
        (f"{ROOT}/resource-lists/global/index/~~/resource-lists/list", "resource-lists/users/"),
        (f"{ROOT}/resource-lists/users/sip:bob@example.com/index/~~/resource-lists/list", "another user's"),
        (f"{ROOT}/resource-lists/users/sip:alice@example.com/index", "name an element"),
        (f"{ROOT}/resource-lists/users/sip:alice@example.com/index/~~/resource-lists/list/@name", "name an element"),
    ],
)
def test_rfc4826_4_4_5_a_reference_is_a_list_below_the_owners_home(reference, phrase):
    found = conflict("rls-services", services(service("sip:friends@example.com", reference)))
    assert found is not None
    assert found.element == "constraint-failure"
    assert phrase in found.phrase


@pytest.mark.parametrize(
    "xui", ["sip:alice@example.com", "sip:%61lice@EXAMPLE.com", "alice@example.com", "sips%3Aalice%40example.com"]
)
def test_rfc4826_4_4_5_an_xui_counts_in_all_its_spellings(xui):
    reference = f"https://XCAP.example.com:443/resource-lists/users/{xui}/index/~~/resource-lists/list%5B1%5D"
    assert conflict("rls-services", services(service("sip:friends@example.com", reference))) is None


def test_references_to_elsewhere_can_be_allowed():
    reference = "http://other.example.com/resource-lists/users/sip:joe@example.com/index/~~/resource-lists/list"
    body = services(service("sip:friends@example.com", reference))
    assert conflict("rls-services", body, allow_external_references=True) is None


def test_a_document_has_so_many_services_at_most():
    def some(number: int) -> str:
        return services("".join(service(f"sip:s{each}@example.com") for each in range(number)))

    assert conflict("rls-services", some(500)) is None
    found = conflict("rls-services", some(501))
    assert found is not None
    assert (found.element, found.phrase) == ("constraint-failure", "Keep the document to 500 services")


def test_rfc4826_4_4_5_lists_within_services_have_the_constraints_of_lists():
    twice = '<rl:entry uri="sip:a@b"/><rl:entry uri="sip:a@b"/>'
    found = conflict("rls-services", services(f'<service uri="sip:x@example.com"><list>{twice}</list></service>'))
    assert fields(found) == [f"rls-services/service/list/rl:entry[2]/@uri?xmlns(rl={LISTS})"]
    found = conflict(
        "rls-services", services('<service uri="sip:x@example.com"><list><rl:external anchor="x"/></list></service>')
    )
    assert found is not None
    assert found.element == "constraint-failure"


def test_rfc4826_4_4_7_the_global_index_is_the_union_of_all_documents_named_index():
    memory = Memory()
    memory.write(Key("rls-services", JOE, "index"), examples.RLS_SERVICES)
    prefixed = (
        f'<x:rls-services xmlns:x="urn:ietf:params:xml:ns:rls-services" xmlns:l="{LISTS}">'
        '<x:service uri="sip:b@example.com"><x:list><l:entry uri="sip:a@b"/></x:list></x:service></x:rls-services>'
    )
    memory.write(Key("rls-services", BOB, "index"), prefixed)
    memory.write(Key("rls-services", BOB, "other"), services(service("sip:c@example.com")))
    memory.write(Key("rls-services", ALICE, "index"), b"<broken")
    world = make_world(memory, served=usages(services=memory.services, rls_index=True))
    usage = world.usages["rls-services"]
    assert usage.global_tree
    body = usage.generate(Key("rls-services", None, "index"), world)
    assert body is not None
    tree = etree.fromstring(body)
    usage.validate(tree)
    assert [each.get("uri") for each in tree] == [
        "sip:mybuddies@example.com",
        "sip:marketing@example.com",
        "sip:b@example.com",
    ]
    assert usage.generate(Key("rls-services", None, "other"), world) is None
    assert usage.generate(Key("rls-services", BOB, "index"), world) is None


def test_rfc4826_4_4_9_the_global_index_is_not_served_unless_wanted():
    assert not usages()["rls-services"].global_tree


@pytest.mark.parametrize(
    ("uri", "canonical"),
    [
        ("sip:%6aoe%20smith@Example.com", "sip:joe%20smith@example.com"),
        ("sip:a@b;Transport=UDP;lr;maddr=X?subject=1", "sip:a@b;lr;maddr=x;transport=udp"),
        ("sips:A@b:5061", "sips:A@b:5061"),
        ("tel:+1-2", "tel:+1-2"),
        ("not a uri", "not a uri"),
    ],
)
def test_rfc4826_5_canonical_uris(uri, canonical):
    assert canonical_uri(uri) == canonical


# pidf-manipulation (RFC 4827)


def test_rfc4827_9_there_is_one_document_called_index():
    assert usages()["pidf-manipulation"].names == {"index"}


@pytest.mark.parametrize("entity", ["", "alice", "sip:", "sip:alice smith@example.com"])
def test_rfc4827_7_entity_is_the_uri_of_a_presentity(entity):
    found = conflict("pidf-manipulation", presence('<tuple id="t"><status/></tuple>', entity))
    assert found is not None
    assert found.element == "constraint-failure"
    assert "entity" in found.phrase


def test_rfc4827_3_what_could_not_be_composed_is_refused():
    found = conflict("pidf-manipulation", presence("".join(f'<tuple id="t{n}"><status/></tuple>' for n in range(600))))
    assert found is not None
    assert found.element == "constraint-failure"
    assert "cannot be composed" in found.phrase


# OMA rules

IDENTITY = '<identity><one id="sip:bob@example.com"/></identity>'
OTHERS = ("<ocp:other-identity/>", "<ocp:anonymous-request/>", "<ocp:external-list/>")


@pytest.mark.parametrize("conditions", [IDENTITY + other for other in OTHERS] + [OTHERS[0] + OTHERS[1], IDENTITY * 2])
def test_oma_one_condition_about_the_identity_a_rule(conditions):
    found = conflict("org.openmobilealliance.pres-rules", rules(conditions))
    assert found is not None
    assert found.element == "constraint-failure"
    assert found.phrase.startswith("Complex rules are not allowed: give rule a one of identity")


def test_rfc5025_9_5_there_are_no_such_constraints_on_pres_rules():
    assert conflict("pres-rules", rules(IDENTITY + OTHERS[0])) is None


@pytest.mark.parametrize(
    "auid", ["pres-rules", "org.openmobilealliance.pres-rules", "dialog-rules", "org.openxcap.dialog-rules"]
)
def test_rules_that_cannot_be_compiled_are_not_taken(auid):
    """They would be stored, and let in nobody."""
    domains = "".join(f'<one id="sip:a@b{number}.\u00e9x"/>' for number in range(300))
    found = conflict(auid, rules(f"<identity>{domains}</identity>"))
    assert found is not None
    assert found.element == "constraint-failure"
    assert found.phrase == "More than 256 Internationalised Domain Names"


def test_oma_sphere_and_validity_may_stand_beside():
    assert conflict("org.openmobilealliance.pres-rules", rules(f'{IDENTITY}<sphere value="work"/>')) is None


@pytest.mark.parametrize(
    ("anchor", "phrase"),
    [
        (f"{ROOT}/resource-lists/users/sip:bob@example.com/index/~~/resource-lists/list", "another user's"),
        (f"{ROOT}/pres-rules/users/sip:alice@example.com/index", "below http://xcap.example.com/resource-lists/"),
        ("http://xcap.example.com/other/users/sip:alice@example.com/index", "below http://xcap"),
        ("sip:bob@example.com", "below http://xcap.example.com/resource-lists/"),
    ],
)
def test_oma_external_lists_are_ones_own(anchor, phrase):
    body = rules(f'<ocp:external-list><ocp:entry anc="{anchor}"/></ocp:external-list>')
    found = conflict("org.openmobilealliance.pres-rules", body)
    assert found is not None
    assert found.element == "constraint-failure"
    assert phrase in found.phrase
    assert conflict("org.openmobilealliance.pres-rules", body, allow_external_references=True) is None


def test_oma_a_proxy_may_give_our_root_another_host():
    anchor = "https://xcap.provider.example/resource-lists/users/sip:alice@example.com/index/~~/resource-lists/list"
    body = rules(f'<ocp:external-list><ocp:entry anc="{anchor}"/></ocp:external-list>')
    assert conflict("org.openmobilealliance.pres-rules", body) is None


# Pictures and profiles


@pytest.mark.parametrize(
    ("kind", "data"), [("image/jpeg", "/9j/4AAQ"), ("IMAGE/GIF", "R0lGODlh\n AAAA"), ("image/png", examples.PNG)]
)
def test_pictures_are_taken(kind, data):
    assert conflict("org.openmobilealliance.pres-content", picture(kind, data)) is None


@pytest.mark.parametrize(
    ("body", "phrase"),
    [
        (picture("image/svg+xml"), "image/jpeg, image/gif, image/png"),
        (picture("text/html"), "image/jpeg, image/gif, image/png"),
        (picture("image/gif"), "a picture of type image/gif: it does not begin like one"),
        (picture(encoding="binary"), "Let encoding be base64"),
        (picture(data="!!!!"), "Let data be base64"),
        (picture(data="iVBORw0KGgo\u00e9"), "Let data be base64"),
        (picture(data=""), "does not begin like one"),
        (picture(data=examples.PNG[:16] + "A" * 409_600), "Keep the picture to 307200 bytes"),
        ('<content xmlns="urn:oma:xml:prs:pres-content"/>', "Give the content one mime-type: it has 0"),
    ],
)
def test_what_is_no_picture_is_refused(body, phrase):
    found = conflict("org.openmobilealliance.pres-content", body)
    assert found is not None
    assert found.element == "constraint-failure"
    assert phrase in found.phrase


def test_pictures_are_for_everybody_and_nothing_else_of_a_user_is():
    assert [auid for auid, usage in usages().items() if usage.readable_by_all] == [
        "org.openmobilealliance.pres-content"
    ]
    assert "oma_status-icon/" in usages()["org.openmobilealliance.pres-content"].directories


@pytest.mark.parametrize("uri", ["sip:bob@example.com", "", "nobody"])
def test_oma_a_profile_is_the_owners(uri):
    body = f'<user-profiles xmlns="urn:oma:xml:xdm:user-profile"><user-profile uri="{uri}"/></user-profiles>'
    found = conflict("org.openmobilealliance.user-profile", body)
    assert found is not None
    assert (found.element, found.phrase) == ("constraint-failure", "Wrong User Profile URI")


# Which there are


def test_usages_can_be_switched_off_but_for_the_capabilities():
    served = usages(["test-app", "xcap-caps", "unheard-of"])
    assert "test-app" not in served
    assert "xcap-caps" in served


def test_every_usage_is_named_and_typed():
    served = usages()
    assert len(served) == 14
    for auid, usage in served.items():
        assert usage.auid == auid
        assert usage.content_type == usage.content_type.lower()
        assert usage.content_type.startswith("application/")
        assert usage.namespace


def test_rfc5025_9_rfc4826_rfc4827_types_and_namespaces():
    served = usages()
    assert {auid: (served[auid].content_type, served[auid].namespace) for auid in
            ("pres-rules", "resource-lists", "rls-services", "pidf-manipulation", "xcap-caps")} == {
        "pres-rules": ("application/auth-policy+xml", "urn:ietf:params:xml:ns:pres-rules"),
        "resource-lists": ("application/resource-lists+xml", "urn:ietf:params:xml:ns:resource-lists"),
        "rls-services": ("application/rls-services+xml", "urn:ietf:params:xml:ns:rls-services"),
        "pidf-manipulation": ("application/pidf+xml", "urn:ietf:params:xml:ns:pidf"),
        "xcap-caps": ("application/xcap-caps+xml", "urn:ietf:params:xml:ns:xcap-caps"),
    }  # fmt: skip
