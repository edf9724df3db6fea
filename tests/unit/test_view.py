"""What of a presence document is shown (RFC 5025 section 3.3), byte for byte what its publisher wrote."""

from pyexpat import ParserCreate

import pytest
import sip
from rulesets import ask, rule, ruleset

from presence.document.compose import closed, compose
from presence.document.pidf import parse_pidf
from presence.policy.permission import Permissions
from presence.policy.view import Shown, show

SERVICES = "<provide-services><all-services/></provide-services>"
PERSONS = "<provide-persons><all-persons/></provide-persons>"
DEVICES = "<provide-devices><all-devices/></provide-devices>"
ALL = SERVICES + PERSONS + DEVICES
EVERY = "<provide-all-attributes/>"

HEAD = (
    b'<?xml version="1.0" encoding="UTF-8"?>\n<presence xmlns="urn:ietf:params:xml:ns:pidf"'
    b' xmlns:dm="urn:ietf:params:xml:ns:pidf:data-model" xmlns:r="urn:ietf:params:xml:ns:pidf:rpid"'
    b' xmlns:op="urn:oma:xml:prs:pidf:oma-pres" xmlns:x="urn:x" entity="sip:alice@example.com">'
)
UUID = b"urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6"


def document(*children: bytes) -> bytes:
    return HEAD + b"".join(children) + b"</presence>"


def service(*children: bytes, id: bytes = b"s1") -> bytes:
    return b'<tuple id="%b"><status><basic>open</basic></status>%b</tuple>' % (id, b"".join(children))


def person(*children: bytes, id: bytes = b"p1") -> bytes:
    return b'<dm:person id="%b">%b</dm:person>' % (id, b"".join(children))


def device(*children: bytes, id: bytes = b"d1") -> bytes:
    return b'<dm:device id="%b">%b<dm:deviceID>%b</dm:deviceID></dm:device>' % (id, b"".join(children), UUID)


def permissions(transformations: str) -> Permissions:
    return ask(ruleset(rule(None, "allow", transformations))).permissions


def view(body: bytes, transformations: str) -> bytes:
    shown = show(body, permissions(transformations))
    ParserCreate("utf-8", "\f").Parse(shown, True)
    return shown


# Components


def test_nothing_is_shown_that_nothing_provides() -> None:
    body = document(service(), b"<note>n</note>", person(), device(), b"<x:y/>")
    assert view(body, "") == document()
    assert view(body, EVERY) == document()
    assert view(body, "<provide-note>true</provide-note><provide-user-input>full</provide-user-input>") == document()


def test_who_is_shown_everything_gets_the_document_itself() -> None:
    body = document(b"<!-- c -->", service(b' text <x:y z="1"/>'), b"<x:y/>", b"<note>n</note>", person(b"<dm:note/>"))
    assert permissions(ALL + EVERY) == Permissions.everything
    assert show(body, permissions(ALL + EVERY)) == body


@pytest.mark.parametrize(
    ("granted", "children"),
    [
        (SERVICES, [service()]),
        (PERSONS, [person()]),
        (DEVICES, [device()]),
        (SERVICES + DEVICES, [service(), device()]),
    ],
)
def test_rfc5025_3_3_1_components_are_granted_by_kind(granted: str, children: list[bytes]) -> None:
    assert view(document(service(), person(), device()), granted) == document(*children)


@pytest.mark.parametrize(
    ("kind", "member", "shown"),
    [
        ("services", "<class>biz</class>", True),
        ("services", "<class> biz </class>", True),
        ("services", "<class>Biz</class>", False),
        ("services", "<occurrence-id>s1</occurrence-id>", True),
        ("services", "<occurrence-id>S1</occurrence-id>", False),
        ("services", "<service-uri>sip:alice@192.0.2.1;transport=tcp</service-uri>", True),
        ("services", "<service-uri>SIP:%61lice@192.0.2.1;TRANSPORT=tcp;lr</service-uri>", True),
        ("services", "<service-uri>sip:alice@192.0.2.1</service-uri>", False),
        ("services", "<service-uri>sips:alice@192.0.2.1;transport=tcp</service-uri>", False),
        ("services", "<service-uri>sip:alice@192.0.2.1;transport=tcp;gr=b</service-uri>", False),
        ("services", "<service-uri>sip:alice@192.0.2.1:5060;transport=tcp</service-uri>", False),
        ("services", "<service-uri-scheme>sip</service-uri-scheme>", True),
        ("services", "<service-uri-scheme>SIP</service-uri-scheme>", False),
        ("services", "<service-uri-scheme>mailto</service-uri-scheme>", False),
        ("services", "<opr:service-id>org.example:chat</opr:service-id>", True),
        ("services", "<opr:service-id>org.example:talk</opr:service-id>", False),
        ("services", "<deviceID>urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6</deviceID>", False),
        ("services", "<all-persons/>", False),
        ("services", "<x:other/>", False),
        ("services", "", False),
        ("persons", "<class>home</class>", True),
        ("persons", "<class>biz</class>", False),
        ("persons", "<occurrence-id>p1</occurrence-id>", True),
        ("persons", "<occurrence-id>s1</occurrence-id>", False),
        ("persons", "<service-uri-scheme>sip</service-uri-scheme>", False),
        ("devices", "<class>pc</class>", True),
        ("devices", "<class>phone</class>", False),
        ("devices", "<deviceID>URN:UUID:F81D4FAE-7DEC-11D0-A765-00A0C91E6BF6</deviceID>", True),
        ("devices", "<deviceID>urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf7</deviceID>", False),
        ("devices", "<occurrence-id>d1</occurrence-id>", True),
        ("devices", "<occurrence-id>p1</occurrence-id>", False),
    ],
)
def test_rfc5025_3_3_1_members_of_the_sets(kind: str, member: str, shown: bool) -> None:
    described = b"<op:service-description><op:service-id>org.example:chat</op:service-id></op:service-description>"
    contact = b"<contact>\n sip:alice@192.0.2.1;transport=tcp;gr=a </contact>"
    body = document(
        service(b"<r:class>biz</r:class>", contact, described),
        person(b"<r:class>home</r:class>"),
        device(b"<r:class>pc</r:class>"),
    )
    shown_body = view(body, f"<provide-{kind}>{member}</provide-{kind}>")
    alone = {"services": service(contact), "persons": person(), "devices": device()}
    assert shown_body == document(*([alone[kind]] if shown else []))


def test_rfc5025_3_3_1_3_a_service_without_contact_has_no_uri() -> None:
    members = "<service-uri-scheme>sip</service-uri-scheme><service-uri>sip:a@b.example</service-uri>"
    granted = f"<provide-services>{members}</provide-services>"
    assert view(document(service()), granted) == document()


def test_a_class_may_be_written_in_any_way_xml_has() -> None:
    granted = "<provide-persons><class>biz</class></provide-persons><provide-class>true</provide-class>"
    for written in (b"<![CDATA[biz]]>", b"b&#105;z", b"b<!-- c -->iz", b"\n biz\r\n"):
        body = document(person(b'<r:class a=">">%b</r:class>' % written))
        assert view(body, granted) == body, written


# Attributes

FOREIGN = b'<x:foo a="1"><x:bar>t</x:bar></x:foo>'
ALWAYS_OF_SERVICES = (
    b'<contact priority="0.8">sip:alice@192.0.2.1</contact>',
    b"<r:service-class><r:electronic/><r:note>n</r:note></r:service-class>",
    b"<timestamp>2005-10-27T16:49:29Z</timestamp>",
)
TIMESTAMP = b"<dm:timestamp>2005-10-27T16:49:29Z</dm:timestamp>"


def test_rfc5025_3_3_2_what_is_always_reported() -> None:
    body = document(service(*ALWAYS_OF_SERVICES), person(TIMESTAMP), device(TIMESTAMP))
    assert view(body, ALL) == body
    hidden = document(
        service(*ALWAYS_OF_SERVICES, FOREIGN, b"<note>n</note>"),
        person(FOREIGN, TIMESTAMP, b"<r:mood/>"),
        device(b"<r:user-input>idle</r:user-input>", TIMESTAMP),
    )
    assert view(hidden, ALL) == body


S, P, D = "service", "person", "device"
ATTRIBUTES = [
    (
        "provide-activities",
        b'<r:activities from="2005-05-30T12:00:00Z"><r:note>Far</r:note><r:away/></r:activities>',
        P,
    ),
    ("provide-class", b"<r:class>biz</r:class>", S + P + D),
    ("provide-deviceID", b"<dm:deviceID>%b</dm:deviceID>" % UUID, S),
    ("provide-device-id", b"<dm:deviceID>%b</dm:deviceID>" % UUID, S),
    ("provide-mood", b"<r:mood><r:angry/><r:other>brooding</r:other></r:mood>", P),
    ("provide-place-is", b"<r:place-is><r:audio><r:noisy/></r:audio></r:place-is>", P),
    ("provide-place-type", b"<r:place-type><x:residence/></r:place-type>", P),
    ("provide-privacy", b"<r:privacy><r:unknown/></r:privacy>", S + P),
    ("provide-relationship", b"<r:relationship><r:friend/></r:relationship>", S),
    ("provide-sphere", b"<r:sphere><r:work/></r:sphere>", P),
    ("provide-status-icon", b"<r:status-icon>http://example.com/i.gif</r:status-icon>", S + P),
    ("provide-time-offset", b'<r:time-offset description="x">-300</r:time-offset>', P),
    ("provide-note", b'<note xml:lang="en">Do not disturb</note>', S + P + D),
    ("provide-note", b"<dm:note>PC</dm:note>", S + P + D),
    ("opr:provide-willingness", b"<op:willingness><op:basic>open</op:basic></op:willingness>", S + P),
    ("opr:provide-willingness", b"<op:overriding-willingness/>", S + P),
    (
        "opr:provide-network-availability",
        b'<op:network-availability><op:network id="IMS"/></op:network-availability>',
        D,
    ),
    ("opr:provide-session-participation", b"<op:session-participation/>", S),
    ("opr:provide-registration-state", b"<op:registration-state/>", S),
    ("opr:provide-barring-state", b"<op:barring-state/>", S),
]


def with_everywhere(attribute: bytes, places: str = S + P + D) -> bytes:
    parts = [(S, service), (P, person), (D, device)]
    return document(*(make(attribute) if kind in places else make() for kind, make in parts))


@pytest.mark.parametrize(("permission", "attribute", "places"), ATTRIBUTES)
def test_rfc5025_3_3_2_an_attribute_is_shown_by_its_permission(permission: str, attribute: bytes, places: str) -> None:
    # RFC 5025 says of each permission in which components; the deviceID of a device is always there.
    body = with_everywhere(attribute, S + P if b"deviceID" in attribute else S + P + D)
    for true in ("true", "1", " true "):
        assert view(body, f"{ALL}<{permission}>{true}</{permission}>") == with_everywhere(attribute, places)
    for false in ("false", "0", "TRUE", "yes", ""):
        assert view(body, f"{ALL}<{permission}>{false}</{permission}>") == with_everywhere(attribute, "")


@pytest.mark.parametrize(("permission", "attribute", "places"), ATTRIBUTES)
def test_rfc5025_3_3_2_an_attribute_is_shown_by_no_other_permission(
    permission: str, attribute: bytes, places: str
) -> None:
    others = {name for name, element, _ in ATTRIBUTES if element.split(b">")[0] != attribute.split(b">")[0]}
    others -= {permission, "provide-deviceID" if permission == "provide-device-id" else "provide-device-id"}
    if permission in ("provide-note", "opr:provide-willingness"):
        others.discard(permission)
    granted = "".join(f"<{name}>true</{name}>" for name in others)
    namespace, name = name_of(attribute)
    granted += f'<provide-unknown-attribute ns="{namespace}" name="{name}">true</provide-unknown-attribute>'
    assert view(with_everywhere(attribute, places), ALL + granted) == with_everywhere(attribute, "")


def name_of(element: bytes) -> tuple[str, str]:
    names: list[str] = []
    expat = ParserCreate("utf-8", "\f")
    expat.StartElementHandler = lambda name, _: names.append(name)
    expat.Parse(HEAD + element + b"</presence>", True)
    namespace, _, name = names[1].partition("\f")
    return namespace, name


def test_rfc5025_3_3_2_3_the_device_id_of_a_device_is_always_shown() -> None:
    body = document(device())
    assert view(body, DEVICES + "<provide-deviceID>false</provide-deviceID>") == body


FULL = b'<r:user-input idle-threshold="600"\n last-input="2004-10-21T13:20:00-05:00" since="x">idle</r:user-input>'


@pytest.mark.parametrize(
    ("level", "shown"),
    [
        ("false", b""),
        ("bare", b"<r:user-input>idle</r:user-input>"),
        ("thresholds", b'<r:user-input idle-threshold="600">idle</r:user-input>'),
        ("full", FULL),
        ("most", b""),
    ],
)
def test_rfc5025_3_3_2_12_user_input(level: str, shown: bytes) -> None:
    body = with_everywhere(FULL)
    assert view(body, f"{ALL}<provide-user-input>{level}</provide-user-input>") == with_everywhere(shown)


def test_rfc5025_3_3_2_12_of_several_levels_the_greatest_counts() -> None:
    body = document(person(b'<r:user-input idle-threshold="600" last-input="x">idle</r:user-input>'))
    levels = "".join(f"<provide-user-input>{level}</provide-user-input>" for level in ("thresholds", "bare", "false"))
    assert view(body, PERSONS + levels) == document(person(b'<r:user-input idle-threshold="600">idle</r:user-input>'))


def test_user_input_keeps_the_namespaces_it_declares() -> None:
    body = document(person(b'<u:user-input xmlns:u="urn:ietf:params:xml:ns:pidf:rpid" u:a="1" since="x"/>'))
    bare = document(person(b'<u:user-input xmlns:u="urn:ietf:params:xml:ns:pidf:rpid"/>'))
    assert view(body, PERSONS + "<provide-user-input>bare</provide-user-input>") == bare


def test_rfc5025_3_3_2_13_notes_within_attributes_are_theirs() -> None:
    activities = b"<r:activities><r:note>Far away</r:note><r:away/></r:activities>"
    body = document(person(activities, b"<dm:note>Scoring 120</dm:note>"))
    assert view(body, PERSONS + "<provide-activities>true</provide-activities>") == document(person(activities))
    notes = document(person(b"<dm:note>Scoring 120</dm:note>"))
    assert view(body, PERSONS + "<provide-note>true</provide-note>") == notes


def unknown(namespace: str, name: str, value: str = "true") -> str:
    return f'<provide-unknown-attribute ns="{namespace}" name="{name}">{value}</provide-unknown-attribute>'


def test_rfc5025_3_3_2_14_unknown_attributes_are_shown_by_their_expanded_name() -> None:
    body = with_everywhere(FOREIGN)
    assert view(body, ALL + unknown("urn:x", "foo")) == body
    for granted in (
        unknown("urn:x", "foo", "false"),
        unknown("urn:x", "bar"),
        unknown("urn:y", "foo"),
        unknown("urn:x", ""),
    ):
        assert view(body, ALL + granted) == with_everywhere(b"")
    other_prefix = with_everywhere(b'<y:foo xmlns:y="urn:x"/>')
    assert view(other_prefix, ALL + unknown("urn:x", "foo")) == other_prefix
    none = with_everywhere(b'<foo xmlns=""/>')
    assert view(none, ALL + unknown("", "foo")) == with_everywhere(b"")


def test_rfc5025_3_3_2_14_what_has_a_permission_of_its_own_is_not_unknown() -> None:
    body = document(person(b"<r:mood/>"), service(b"<r:mood/>"))
    assert view(body, ALL + unknown("urn:ietf:params:xml:ns:pidf:rpid", "mood")) == document(person(), service())


def test_rfc5025_3_3_2_14_unknown_is_about_children_of_components_only() -> None:
    body = document(b"<x:foo/>", b'<tuple id="s"><status><basic>open</basic><x:foo/></status></tuple>')
    shown = document(b'<tuple id="s"><status><basic>open</basic></status></tuple>')
    assert view(body, ALL + unknown("urn:x", "foo")) == shown


def test_rfc5025_3_3_2_15_all_attributes_show_all_of_what_is_granted() -> None:
    rich = (FOREIGN, b"<r:mood/>", b"<note>n</note>", b'<r:user-input since="x"/>', b"<!-- c -->")
    body = document(service(*rich), person(*rich), device(*rich), b"<x:foo/>")
    assert view(body, EVERY + SERVICES) == document(service(*rich))
    assert view(body, EVERY + PERSONS + DEVICES) == document(person(*rich), device(*rich))
    assert view(body, SERVICES + "<provide-all-attributes>false</provide-all-attributes>") == document(service())


def test_rfc4119_locations_are_shown_by_the_permission_of_oma() -> None:
    location = b'<g:geopriv xmlns:g="urn:ietf:params:xml:ns:pidf:geopriv10"><g:method>GPS</g:method></g:geopriv>'
    inside = b'<tuple id="s"><status><basic>open</basic>%b</status>%b</tuple>'
    body = document(inside % (location, location), person(location))
    assert view(body, ALL + "<opr:provide-geopriv>full</opr:provide-geopriv>") == body
    assert view(body, ALL + "<opr:provide-geopriv>false</opr:provide-geopriv>") == document(
        inside % (b"", b""), person()
    )


def test_rfc4479_5_a_note_of_presence_is_that_of_persons_without_one() -> None:
    note, own = b"<note>In Tokyo</note>", b"<dm:note>own</dm:note>"
    granted = "<provide-note>true</provide-note>"
    assert view(document(service(), note, person()), ALL + granted) == document(service(), note, person())
    assert view(document(service(), note, person()), ALL) == document(service(), person())
    assert view(document(service(), note, person()), SERVICES + granted) == document(service())
    assert view(document(service(), note, person(own)), ALL + granted) == document(service(), person(own))
    assert view(document(service(), note), ALL + granted) == document(service(), note)
    assert view(document(service(), note), SERVICES + granted) == document(service())
    first = "<provide-persons><occurrence-id>p1</occurrence-id></provide-persons>" + granted
    assert view(document(note, person(own), person(id=b"p2")), first) == document(person(own))


# Bytes


def test_bytes_between_elements_go_with_what_they_hold() -> None:
    body = document(
        b"\n  ",
        b'<tuple id="s1">\n    <status>\n      <basic>open</basic>\n      <x:y/>\n    </status><!-- c -->\n'
        b"    <x:foo/>\n"
        b"    <contact>sip:a@b.example</contact>\n  secret  </tuple>\n  <!-- c -->",
        b"<x:foo/>\n",
    )
    shown = document(
        b"\n  ",
        b'<tuple id="s1">\n    <status>\n      <basic>open</basic>\n    </status>\n'
        b"    <contact>sip:a@b.example</contact></tuple>\n",
    )
    assert view(body, SERVICES) == shown


def test_attributes_that_nothing_provides_are_not_shown() -> None:
    body = document(
        b"<tuple x:secret='1' xmlns:z='urn:z' id='s1'><status x:s='1'><basic z:b='1'>open</basic></status></tuple>"
    )
    shown = document(b"<tuple xmlns:z='urn:z' id='s1'><status><basic z:b='1'>open</basic></status></tuple>")
    assert view(body, SERVICES) == shown
    assert view(body, SERVICES + EVERY) == body


def test_empty_elements_and_other_spellings() -> None:
    body = document(b'<tuple id="s1" />', b"<dm:person id='p' x:y='z'/>", b"<dm:device\n id = 'd' ></dm:device >")
    shown = document(b'<tuple id="s1"/>', b"<dm:person id='p'/>", b"<dm:device\n id = 'd'></dm:device >")
    assert view(body, ALL) == shown


def test_prefixes_may_be_any_and_bound_anywhere() -> None:
    body = (
        b'<p:presence xmlns:p="urn:ietf:params:xml:ns:pidf" entity="pres:a@b.example"><p:tuple id="t">'
        b'<p:status><p:basic>open</p:basic></p:status><note xmlns="urn:ietf:params:xml:ns:pidf">n</note></p:tuple>'
        b'<person xmlns="urn:ietf:params:xml:ns:pidf:data-model" id="p"><p:note>n</p:note>'
        b'<mood xmlns="urn:ietf:params:xml:ns:pidf&#58;rpid"/></person></p:presence>'
    )
    shown = view(body, ALL + "<provide-mood>true</provide-mood>")
    assert shown == body.replace(b'<note xmlns="urn:ietf:params:xml:ns:pidf">n</note>', b"").replace(
        b"<p:note>n</p:note>", b""
    )
    assert view(body, ALL + "<provide-note>true</provide-note>") == body.replace(
        b'<mood xmlns="urn:ietf:params:xml:ns:pidf&#58;rpid"/>', b""
    )


def test_what_stands_around_the_root_is_not_shown() -> None:
    body = b"<!-- before -->" + document(person()) + b"<!-- </after> -->"
    assert view(body, PERSONS) == HEAD.partition(b"\n")[2] + person() + b"</presence>"
    assert view(document(), PERSONS) == document()
    assert view(HEAD.replace(b">", b"/>").replace(b"?/>", b"?>"), PERSONS).endswith(b'example.com"/>')


def test_a_composed_document_of_two_publishers() -> None:
    one = sip.pidf("one", tuple_id="a").encode()
    other = sip.pidf("two", tuple_id="b").replace("<presence ", '<presence xmlns:q="urn:q" ').encode()
    other = other.replace(b"</tuple>", b"<q:z/></tuple>")
    body = compose("sip:alice@example.com", [parse_pidf(one), parse_pidf(other)])
    shown = view(body, SERVICES)
    assert shown == body.replace(b"<note>one</note>", b"").replace(b"<note>two</note>", b"").replace(b"<q:z/>", b"")
    only_a = view(
        body, "<provide-services><occurrence-id>a</occurrence-id></provide-services><provide-note>1</provide-note>"
    )
    assert b"<note>one</note>" in only_a
    assert b'id="b"' not in only_a


def test_the_document_of_who_says_nothing_is_shown_like_any() -> None:
    body = closed("sip:alice@example.com", "t")
    assert view(body, SERVICES) == body


def test_one_reading_serves_all_permissions() -> None:
    shown = Shown(document(service(FOREIGN), person()))
    assert shown.render(permissions(SERVICES)) == document(service())
    assert shown.render(permissions(PERSONS)) == document(person())
    assert shown.render(permissions(SERVICES)) == document(service())


def test_rfc5025_6_the_example_document() -> None:
    """RFC 4480's document under RFC 5025's rules."""
    example = permissions(
        "<provide-services><service-uri-scheme>sip</service-uri-scheme>"
        "<service-uri-scheme>mailto</service-uri-scheme></provide-services>"
        f"{PERSONS}<provide-activities>true</provide-activities><provide-user-input>bare</provide-user-input>"
        + unknown("urn:vendor-specific:foo-namespace", "foo")
    )
    foo = b'<f:foo xmlns:f="urn:vendor-specific:foo-namespace">bar</f:foo>'
    mail = b'<contact priority="1.0">mailto:someone@example.com</contact>'
    activities = b"<r:activities><r:note>Far away</r:note><r:away/></r:activities>"
    body = document(
        service(b"<contact>im:someone@mobile.example.net</contact>", id=b"bs35r9"),
        service(b"<r:class>email</r:class>", foo, mail, id=b"eg92n8"),
        b"<note>I'll be in Tokyo next week</note>",
        device(b'<r:user-input idle-threshold="600">idle</r:user-input>'),
        person(activities, b"<r:mood/>", b'<r:user-input since="x">idle</r:user-input>'),
    )
    assert show(body, example) == document(
        service(foo, mail, id=b"eg92n8"), person(activities, b"<r:user-input>idle</r:user-input>")
    )


def test_equal_permissions_are_one_view() -> None:
    assert permissions(SERVICES) == permissions(SERVICES + "<provide-services><class>a</class></provide-services>")
    assert permissions(SERVICES) == permissions(SERVICES + "<provide-mood>true</provide-mood>")
    assert permissions(ALL + EVERY) == permissions(ALL + EVERY + "<provide-note>true</provide-note>")
    assert hash(permissions(ALL + EVERY)) == hash(Permissions.everything)
    assert permissions(PERSONS) != permissions(PERSONS + "<provide-mood>true</provide-mood>")
