"""Rules documents: conditions, actions, and how they combine (RFC 4745 sections 6 to 10, RFC 5025 section 3.2)."""

from itertools import permutations

import pytest
from rulesets import ask, identity, matches, one, rule, ruleset

from presence.errors import BadRequest
from presence.policy.permission import Permissions
from presence.policy.rules import MAX_BYTES, MAX_ELEMENTS, MAX_RULES, MAX_URIS, Handling, compile_rules, join_rules
from presence.policy.validity import read_date_time

BOB, CAROL = "sip:bob@example.com", "sip:carol@example.com"
RFC_5025_6 = b"""<?xml version="1.0" encoding="UTF-8"?>
<cr:ruleset xmlns="urn:ietf:params:xml:ns:pres-rules"
 xmlns:pr="urn:ietf:params:xml:ns:pres-rules"
 xmlns:cr="urn:ietf:params:xml:ns:common-policy">
 <cr:rule id="a">
  <cr:conditions>
   <cr:identity>
    <cr:one id="sip:user@example.com"/>
   </cr:identity>
  </cr:conditions>
  <cr:actions>
   <pr:sub-handling>allow</pr:sub-handling>
  </cr:actions>
  <cr:transformations>
   <pr:provide-services>
     <pr:service-uri-scheme>sip</pr:service-uri-scheme>
     <pr:service-uri-scheme>mailto</pr:service-uri-scheme>
   </pr:provide-services>
   <pr:provide-persons>
     <pr:all-persons/>
   </pr:provide-persons>
   <pr:provide-activities>true</pr:provide-activities>
   <pr:provide-user-input>bare</pr:provide-user-input>
    <pr:provide-unknown-attribute
     ns="urn:vendor-specific:foo-namespace"
     name="foo">true</pr:provide-unknown-attribute>
  </cr:transformations>
 </cr:rule>
</cr:ruleset>
"""


def ietf(rules: str) -> bytes:
    """A document as RFC 4745 writes its examples."""
    return f'<ruleset xmlns="urn:ietf:params:xml:ns:common-policy">{rules}</ruleset>'.encode()


# Documents


def test_rfc5025_6_the_example_document() -> None:
    outcome = ask(RFC_5025_6, "sip:user@example.com")
    assert (outcome.handling, outcome.matched) == (Handling.ALLOW, True)
    assert outcome.permissions.services == {("service-uri-scheme", "sip"), ("service-uri-scheme", "mailto")}
    assert not outcome.permissions.devices
    assert not ask(RFC_5025_6, BOB).matched


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<ruleset/>",
        b'<ruleset xmlns="urn:ietf:params:xml:ns:pres-rules"/>',
        b'<rules xmlns="urn:ietf:params:xml:ns:common-policy"/>',
        b'<ruleset xmlns="urn:ietf:params:xml:ns:common-policy">',
        b'<!DOCTYPE r><ruleset xmlns="urn:ietf:params:xml:ns:common-policy"/>',
    ],
)
def test_what_is_no_rules_document_is_refused(body: bytes) -> None:
    with pytest.raises(BadRequest):
        compile_rules(body)


def test_documents_are_bounded() -> None:
    assert len(compile_rules(ruleset(rule() * MAX_RULES))) == MAX_RULES
    uris = "".join(f"<service-uri>sip:{number}@example.com</service-uri>" for number in range(MAX_URIS + 1))
    for body in (
        ruleset('<cp:rule id="a"/>' * (MAX_RULES + 1)),
        ruleset("<x:y/>" * MAX_ELEMENTS),
        ruleset(" " * MAX_BYTES),
        ruleset("<x:y>" * 70 + "</x:y>" * 70),
        ruleset(f"<x:{'y' * 2000}/>"),
        ruleset(rule(None, "allow", f"<provide-services>{uris}</provide-services>")),
    ):
        with pytest.raises(BadRequest):
            compile_rules(body)


def test_rfc4745_6_a_rule_set_may_be_empty() -> None:
    outcome = ask(ruleset())
    assert outcome == (Handling.BLOCK, Permissions.nothing, False)


def test_rfc4745_7_1_3_documents_come_in_utf_8_or_utf_16() -> None:
    text = ruleset(rule(identity('<cp:many domain="b\u00fccher.example"/>'))).decode()
    for body in (text.encode(), text.replace("UTF-8", "UTF-16").encode("utf-16"), b"\xef\xbb\xbf" + text.encode()):
        assert ask(body, "sip:bob@xn--bcher-kva.example").matched


# Conditions


def test_rfc4745_7_1_1_without_conditions_a_rule_matches_everybody() -> None:
    for conditions in (None, ""):
        assert matches(conditions)
        assert matches(conditions, anonymous=True)


@pytest.mark.parametrize(
    "unknown", ["<x:weather>fine</x:weather>", "<cp:weather/>", "<opr:other-identity/>", "<identity/>"]
)
def test_rfc4745_7_an_unknown_condition_is_false(unknown: str) -> None:
    assert not matches(unknown)
    assert not matches(one(BOB) + unknown)
    assert not matches(unknown, anonymous=True)


def test_rfc4745_6_2_an_unknown_part_of_a_rule_is_false_too() -> None:
    assert not ask(ruleset(rule().replace("<cp:actions>", "<conditions/><cp:actions>"))).matched


def test_rfc4745_7_1_1_children_of_identity_are_alternatives() -> None:
    both = identity(f'<cp:one id="{BOB}"/><cp:one id="{CAROL}"/>')
    assert matches(both, BOB)
    assert matches(both, CAROL)
    assert not matches(both, "sip:dave@example.com")
    assert matches(identity(f'<x:unknown/><cp:one id="{BOB}"/>'), BOB)
    assert not matches(identity("<x:unknown/>"), BOB)


def test_rfc4745_7_1_1_only_authenticated_entities_match_an_identity() -> None:
    for condition in (one(BOB), identity("<cp:many/>"), identity('<cp:many domain="example.com"/>')):
        assert matches(condition, BOB)
        assert not matches(condition, BOB, anonymous=True)


def test_an_identity_without_children_matches_nobody() -> None:
    """RFC 4745 section 7.1.1: one of its children has to be true; RFC 5025 section 3.1.1.2 says other."""
    assert not matches(identity(""))
    assert not matches(identity(""), anonymous=True)


def test_rfc4745_7_1_2_one_by_the_example() -> None:
    ids = ["sip:alice@example.com", "tel:+1-212-555-1234", "mailto:bob@example.net"]
    rules = ietf(
        '<rule id="f3g44r1"><conditions><identity>'
        + "".join(f'<one id="{uri}"/>' for uri in ids)
        + "</identity></conditions><actions/><transformations/></rule>"
    )
    assert ask(rules, "sip:alice@example.com").matched
    assert ask(rules, "tel:+12125551234").matched
    assert not ask(rules, "sip:bob@example.net").matched


@pytest.mark.parametrize(
    "uri",
    [
        *("sips:bob@example.com", "sip:bob@EXAMPLE.com", "sip:%62ob@example.com", "sip:bob@example.com:5070"),
        *("sip:bob@example.com;transport=tcp", "pres:bob@example.com", "im:bob@example.com", " sip:bob@example.com "),
        *("SIP:bob@example.com", "bob@example.com", "sip:bob@example.com."),
    ],
)
def test_rfc4745_7_2_an_id_is_compared_as_an_address_of_record(uri: str) -> None:
    assert matches(one(uri), BOB)
    assert not matches(identity(f'<cp:many><cp:except id="{uri}"/></cp:many>'), BOB)


@pytest.mark.parametrize(
    "uri",
    [
        *("sip:Bob@example.com", "sip:bob@example.org", "sip:bob@sub.example.com", "mailto:bob@example.com", ""),
        *("sip:example.com", "sip:bob%40example.com", "xmpp:bob@example.com", "sip:bob@example.com@example.org", "bob"),
    ],
)
def test_rfc4745_7_2_another_id_is_another_entity(uri: str) -> None:
    assert not matches(one(uri), BOB)
    assert matches(identity(f'<cp:many><cp:except id="{uri}"/></cp:many>'), BOB)


def test_rfc5025_3_1_1_2_a_tel_uri_is_no_sip_uri() -> None:
    tel, sip = "tel:+12125551234", "sip:+12125551234@example.com;user=phone"
    assert matches(one("tel:+1-212-555-1234"), tel)
    assert matches(one(sip), "sip:+12125551234@example.com")
    assert not matches(one(tel), sip)
    assert not matches(one(sip), tel)
    assert not matches(one("tel:1234;phone-context=example.com"), "sip:1234@example.com")
    assert matches(identity(f'<cp:many><cp:except id="{tel}"/></cp:many>'), sip)


def test_rfc5025_3_1_1_an_iri_is_the_uri_it_stands_for() -> None:
    assert matches(one("sip:bob@b\u00fccher.example"), "sip:bob@xn--bcher-kva.example")
    assert matches(one("sip:j\u00f6rg@b\u00fccher.example"), "sip:j%C3%B6rg@xn--bcher-kva.example")


def test_rfc4745_7_1_3_1_many_is_everybody_authenticated() -> None:
    assert matches(identity("<cp:many/>"), BOB)
    assert matches(identity("<cp:many/>"), "tel:+12125551234")


def test_rfc4745_7_1_3_2_many_by_the_example() -> None:
    rules = ietf(
        '<rule id="f3g44r1"><conditions><sphere value="work"/><identity><many>'
        '<except domain="example.com"/><except domain="example.org"/><except id="sip:alice@bad.example.net"/>'
        '<except id="sip:bob@good.example.net"/><except id="tel:+1-212-555-1234"/><except id="sip:alice@example.com"/>'
        "</many></identity><validity><from>2003-12-24T17:00:00+01:00</from><until>2003-12-24T19:00:00+01:00</until>"
        "</validity></conditions><actions/><transformations/></rule>"
    )
    now = read_date_time("2003-12-24T17:30:00+01:00")
    assert now is not None

    def match(watcher: str, sphere: str = "work", now: float = now) -> bool:
        return ask(rules, watcher, sphere=sphere, now=now).matched

    assert match("sip:carol@bad.example.net")
    assert match("sip:alice@good.example.net")
    for excluded in ("bob@example.com", "bob@example.org", "alice@bad.example.net", "bob@good.example.net"):
        assert not match(f"sip:{excluded}")
    assert not match("tel:+12125551234")
    assert not match("sip:carol@bad.example.net", sphere="home")
    assert not match("sip:carol@bad.example.net", now=now + 86400)


def test_rfc4745_7_1_3_3_many_of_a_domain_by_the_example() -> None:
    condition = identity(
        '<cp:many domain="example.com"><cp:except id="sip:alice@example.com"/>'
        '<cp:except id="sip:bob@example.com"/></cp:many>'
    )
    assert matches(condition, CAROL)
    assert not matches(condition, BOB)
    assert not matches(condition, "sip:alice@example.com")
    assert not matches(condition, "sip:carol@example.org")
    assert not matches(condition, "sip:carol@sub.example.com")


def test_rfc4745_7_1_3_one_except_is_enough() -> None:
    condition = identity('<cp:many><cp:except domain="example.org"/><cp:except id="sip:bob@example.com"/></cp:many>')
    assert not matches(condition, BOB)
    assert not matches(condition, "sip:bob@example.org")
    assert matches(condition, CAROL)
    assert not matches(identity('<cp:many domain="example.com"><cp:except domain="example.com"/></cp:many>'), BOB)


@pytest.mark.parametrize(
    ("written", "domain"),
    [
        *(("EXAMPLE.com", "example.com"), ("ex%61mple.com", "example.com"), ("example.com.", "example.com")),
        *(("b\u00fccher.example", "xn--bcher-kva.example"), ("XN--BCHER-KVA.example", "xn--bcher-kva.example")),
        *(("B%C3%BCCHER.example", "xn--bcher-kva.example"), ("[2001:db8::1]", "[2001:db8::1]")),
    ],
)
def test_rfc4745_7_1_3_domains_are_compared_in_ascii_without_escapes(written: str, domain: str) -> None:
    assert matches(identity(f'<cp:many domain="{written}"/>'), f"sip:bob@{domain}")
    assert not matches(identity(f'<cp:many><cp:except domain="{written}"/></cp:many>'), f"sip:bob@{domain}")
    assert not matches(identity(f'<cp:many domain="{written}"/>'), "sip:bob@example.net")


@pytest.mark.parametrize("written", ["exa mple..com", "", "a" * 64 + ".com", "%FF", "a." * 200, "com", ".example.com"])
def test_rfc4745_7_1_3_what_cannot_be_converted_is_no_domain(written: str) -> None:
    assert not matches(identity(f'<cp:many domain="{written}"/>'), BOB)
    assert matches(identity(f'<cp:many><cp:except domain="{written}"/></cp:many>'), BOB)


def test_what_narrows_a_one_or_many_in_a_way_we_do_not_know_makes_it_false() -> None:
    assert not matches(identity(f'<cp:one id="{BOB}"><x:at-night/></cp:one>'), BOB)
    assert not matches(identity("<cp:many><x:but-for-some/></cp:many>"), BOB)


def test_rfc4745_7_3_sphere_by_the_example() -> None:
    rules = ietf(
        "".join(
            f'<rule id="r{number}"><conditions><sphere value="{value}"/><identity><one id="sip:{user}"/></identity>'
            "</conditions></rule>"
            for number, (value, user) in enumerate(
                (("work", "andrew@example.com"), ("home", "allison@example.com"), ("home work", "john@doe.example.com"))
            )
        )
    )
    assert ask(rules, "sip:andrew@example.com", sphere="work").matched
    assert not ask(rules, "sip:andrew@example.com", sphere="home").matched
    assert ask(rules, "sip:allison@example.com", sphere="home").matched
    assert ask(rules, "sip:john@doe.example.com", sphere="home").matched
    assert ask(rules, "sip:john@doe.example.com", sphere="work").matched
    assert not ask(rules, "sip:john@doe.example.com", sphere="travel").matched


def test_rfc4745_7_3_tokens_are_compared_without_regard_to_case() -> None:
    assert matches('<cp:sphere value="Work"/>', sphere="wORK")
    assert matches('<cp:sphere value="home  \n WORK"/>', sphere="work")
    assert not matches('<cp:sphere value="workshop"/>', sphere="work")


def test_rfc5025_3_1_2_an_undefined_sphere_matches_no_condition() -> None:
    assert not matches('<cp:sphere value="work"/>', sphere=None)
    assert not matches('<cp:sphere value=""/>', sphere=None)
    assert not matches('<cp:sphere value=""/>', sphere="")


@pytest.mark.parametrize(
    "written",
    ["<cp:sphere><cp:work/></cp:sphere>", "<cp:sphere> work </cp:sphere>", "<cp:sphere><x:home/><x:work/></cp:sphere>"],
)
def test_a_sphere_may_be_written_as_rfc4480_does(written: str) -> None:
    assert matches(written, sphere="work")
    assert not matches(written, sphere="travel")
    assert compile_rules(ruleset(rule(written))).uses_sphere


def validity(*instants: str) -> str:
    pairs = zip(instants[::2], instants[1::2], strict=True)
    return (
        "<cp:validity>"
        + "".join(f"<cp:from>{a}</cp:from><cp:until>{b}</cp:until>" for a, b in pairs)
        + "</cp:validity>"
    )


def test_rfc4745_7_4_from_is_within_and_until_is_not() -> None:
    condition = validity("2003-08-15T10:20:00.000-05:00", "2003-09-15T10:20:00.000-05:00")
    begin, end = (read_date_time(f"2003-{month}-15T15:20:00Z") for month in ("08", "09"))
    assert begin is not None
    assert end is not None
    assert matches(condition, now=begin)
    assert not matches(condition, now=begin - 0.001)
    assert matches(condition, now=end - 0.001)
    assert not matches(condition, now=end)


def test_rfc4745_7_4_several_periods_are_alternatives_and_several_validities_are_not() -> None:
    year = {number: (f"20{number}-01-01T00:00:00Z", f"20{number + 1}-01-01T00:00:00Z") for number in (10, 20, 30)}
    in_ten, in_twenty = read_date_time("2010-05-05T00:00:00Z"), read_date_time("2020-05-05T00:00:00Z")
    assert in_ten is not None
    assert in_twenty is not None
    assert matches(validity(*year[10], *year[20]), now=in_ten)
    assert matches(validity(*year[10], *year[20]), now=in_twenty)
    assert not matches(validity(*year[10], *year[30]), now=in_twenty)
    assert not matches(validity(*year[10]) + validity(*year[20]), now=in_twenty)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "<cp:from>2000-01-01T00:00:00Z</cp:from>",
        "<cp:until>2100-01-01T00:00:00Z</cp:until>",
        "<cp:until>2100-01-01T00:00:00Z</cp:until><cp:from>2000-01-01T00:00:00Z</cp:from>",
        "<cp:from>2000-01-01T00:00:00Z</cp:from><cp:until>soon</cp:until>",
        "<cp:from/><cp:until/>",
        "<from>2000-01-01T00:00:00Z</from><until>2100-01-01T00:00:00Z</until>",
    ],
)
def test_rfc4745_7_4_what_is_no_pair_is_never_valid(content: str) -> None:
    assert not matches(f"<cp:validity>{content}</cp:validity>")


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("1970-01-01T00:00:00Z", 0.0),
        ("1970-01-01T00:00:00", 0.0),
        ("1970-01-01T00:00:00.25Z", 0.25),
        ("1970-01-01T01:00:00+01:00", 0.0),
        ("1969-12-31T10:00:00-14:00", 0.0),
        ("1970-01-01T05:45:00+05:45", 0.0),
        ("1969-12-31T24:00:00Z", 0.0),
        ("2000-02-29T12:00:00Z", 951_825_600.0),
        ("2016-12-31T23:59:60Z", 1_483_228_800.0),
        ("2003-12-24T17:00:00+01:00", 1_072_281_600.0),
        ("9999-12-31T24:00:00Z", 253_402_300_800.0),
        ("10000-01-01T00:00:00Z", 253_402_300_800.0),
        ("12023-11-14T22:13:20Z", 317_269_520_000.0),
        ("0001-01-01T00:00:00Z", -62_135_596_800.0),
        ("-0004-01-01T00:00:00Z", -62_293_449_600.0),
    ],
)
def test_date_times_of_xml_schema(text: str, instant: float) -> None:
    assert read_date_time(text) == pytest.approx(instant, abs=0)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "2003-12-24",
            "2003-12-24 17:00:00Z",
            "2003-02-29T00:00:00Z",
            "2003-13-01T00:00:00Z",
            "03-12-24T17:00:00Z",
        ),
        *("2003-12-24T24:00:01Z", "2003-12-24T25:00:00Z", "2003-12-24T17:60:00Z", "2003-12-24T17:00:61Z"),
        *("2003-12-24T17:00Z", "2003-12-24T17:00:00.Z", "2003-12-24T17:00:00+15:00", "2003-12-24T17:00:00+01:60"),
        *("2003-12-24T17:00:00+1:00", "+2003-12-24T17:00:00Z", "02003-12-24T17:00:00Z", "2003-12-24T17:00:00ZZ"),
        *("\u0662\u0660\u0660\u0663-12-24T17:00:00Z", "1" * 10 + "-01-01T00:00:00Z"),
    ],
)
def test_what_is_no_date_time_of_xml_schema(text: str) -> None:
    assert read_date_time(text) is None


def test_next_change_is_the_next_beginning_or_end_of_any_rule() -> None:
    rules = compile_rules(
        ruleset(
            rule(one(BOB) + validity("1970-01-01T00:00:10Z", "1970-01-01T00:00:30Z")),
            rule(validity("1970-01-01T00:00:20Z", "1970-01-01T00:00:30Z", "1970-01-01T00:01:00Z", "bad")),
        )
    )
    assert [rules.next_change(now) for now in (0, 9.5, 10, 20, 29, 30)] == [10, 10, 20, 30, 30, None]
    assert compile_rules(ruleset(rule())).next_change(0) is None


# Actions


@pytest.mark.parametrize(
    ("written", "handling"),
    [
        *(("block", Handling.BLOCK), ("confirm", Handling.CONFIRM), ("polite-block", Handling.POLITE_BLOCK)),
        *(("allow", Handling.ALLOW), (" allow\n", Handling.ALLOW), ("Allow", Handling.BLOCK), ("", Handling.BLOCK)),
        *(("permit", Handling.BLOCK), (None, Handling.BLOCK)),
    ],
)
def test_rfc5025_3_2_1_sub_handling(written: str | None, handling: Handling) -> None:
    outcome = ask(ruleset(rule(None, written)))
    assert (outcome.handling, outcome.matched) == (handling, True)


def test_rfc5025_3_2_1_values_are_the_integers_of_the_rfc() -> None:
    assert [int(handling) for handling in Handling] == [0, 10, 20, 30]


def test_rfc5025_3_2_1_block_does_not_deny_what_another_rule_allows() -> None:
    values = ["block", "confirm", "polite-block", "allow"]
    for order in permutations(values):
        for count in range(1, 5):
            outcome = ask(ruleset(*(rule(one(BOB), value) for value in order[:count])))
            assert outcome.handling == max(values.index(value) for value in order[:count]) * 10


def test_rfc4745_8_actions_of_rules_that_do_not_match_count_for_nothing() -> None:
    rules = ruleset(rule(one(CAROL), "allow"), rule(one(BOB), "confirm"))
    assert ask(rules, BOB).handling == Handling.CONFIRM
    assert ask(rules, CAROL).handling == Handling.ALLOW


def test_an_action_of_another_namespace_is_ignored() -> None:
    assert ask(ruleset(rule().replace("sub-handling", "x:sub-handling"))).handling == Handling.BLOCK


# Combining


def test_rfc4745_10_3_the_example() -> None:
    """Rules 3 and 5 fire: of an integer the maximum stands, of booleans one that is true is enough."""
    a1, a2, a3 = "2003-12-24T17:00:00+01:00", "2003-12-24T21:00:00+01:00", "2003-12-24T23:30:00+01:00"
    b1, b2 = "2003-12-22T17:00:00+01:00", "2003-12-23T17:00:00+01:00"
    table = [
        ("bob", "home", a1, a2, "true", "confirm", "thresholds"),
        ("alice", "work", a1, a2, "false", "block", "full"),
        ("bob", "work", a1, a2, "true", "block", "bare"),
        ("tom", "work", a1, a2, "true", "block", "full"),
        ("bob", "work", a1, a3, None, "polite-block", "thresholds"),
        ("bob", "work", b1, b2, "false", "confirm", "bare"),
    ]
    rules = []
    for who, sphere, begin, end, x, y, z in table:
        granted = f"<provide-persons><all-persons/></provide-persons><provide-user-input>{z}</provide-user-input>"
        granted += "" if x is None else f"<provide-mood>{x}</provide-mood>"
        conditions = one(f"sip:{who}@example.com") + f'<cp:sphere value="{sphere}"/>' + validity(begin, end)
        rules.append(rule(conditions, y, granted))
    now = read_date_time("2003-12-24T17:15:00+01:00")
    assert now is not None
    for order in (rules, rules[::-1]):
        outcome = ask(ruleset(*order), sphere="work", now=now)
        assert outcome.handling == Handling.POLITE_BLOCK
        assert outcome.permissions.attributes == {"mood"}
        assert outcome.permissions.user_input == 20


def test_rfc4745_10_2_each_permission_is_combined_by_itself() -> None:
    """One rule provides persons, another an attribute of theirs: together they show it."""
    persons = rule(None, "allow", "<provide-persons><all-persons/></provide-persons>")
    mood = rule(None, None, "<provide-mood>true</provide-mood>")
    assert ask(ruleset(mood)).permissions == Permissions.nothing
    assert ask(ruleset(persons, mood)).permissions.attributes == {"mood"}
    assert ask(ruleset(persons, mood.replace("true", "false"))).permissions.attributes == frozenset()


def test_rfc5025_3_3_1_1_sets_are_united_by_the_example() -> None:
    uuid = "urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6"
    first = f"<provide-devices><deviceID>{uuid}</deviceID><class>biz</class></provide-devices>"
    second = "<provide-devices><class>home</class><class>biz</class></provide-devices>"
    permissions = ask(ruleset(rule(None, "allow", first), rule(None, "allow", second))).permissions
    assert permissions.devices == {("class", "home"), ("class", "biz"), ("deviceID", uuid)}


def test_rfc5025_8_unknown_permissions_are_ignored() -> None:
    known = "<provide-persons><all-persons/><x:some/></provide-persons><provide-mood>true</provide-mood>"
    unknown = "<provide-dreams>true</provide-dreams><x:provide-note>true</x:provide-note>"
    unknown += "<opr:provide-note>1</opr:provide-note>"
    expected = ask(ruleset(rule(None, "allow", known))).permissions
    assert ask(ruleset(rule(None, "allow", known + unknown))).permissions == expected


def test_rfc5025_9_7_all_documents_of_a_user_count() -> None:
    """And a block in one takes nothing from what another grants (RFC 5025 section 10)."""
    allow = compile_rules(ruleset(rule(identity('<cp:many domain="example.com"/>'), "allow")))
    block = compile_rules(ruleset(rule(one(BOB), "block")))
    assert ask(join_rules([allow, block])).handling == Handling.ALLOW
    assert ask(join_rules([block, allow])).handling == Handling.ALLOW
    assert not ask(join_rules([])).matched
    sphere = compile_rules(
        ruleset(rule('<cp:sphere value="work"/>' + validity("1970-01-01T00:00:10Z", "1970-01-01T00:00:30Z")))
    )
    joined = join_rules([allow, sphere])
    assert joined.uses_sphere
    assert joined.next_change(0) == 10
    assert not allow.uses_sphere


# OMA

GRANTED, BLOCKED = "http://xcap.example.com/granted", "http://xcap.example.com/blocked"


def external(*anchors: str) -> str:
    entries = "".join(f'<ocp:entry anc="{anchor}"/>' for anchor in anchors)
    return f"<ocp:external-list>{entries}</ocp:external-list>"


OTHERS, ANONYMOUS = "<ocp:other-identity/>", "<ocp:anonymous-request/>"
LISTS = {GRANTED: (BOB,), BLOCKED: (CAROL,)}


def test_oma_external_list_matches_who_is_in_one_of_its_lists() -> None:
    assert matches(external(GRANTED), BOB, lists=LISTS)
    assert not matches(external(GRANTED), CAROL, lists=LISTS)
    assert matches(external(GRANTED, BLOCKED), CAROL, lists=LISTS)
    assert not matches(external("http://xcap.example.com/none"), BOB, lists=LISTS)
    assert not matches(external(), BOB, lists=LISTS)
    assert not matches(external(GRANTED), BOB, lists=LISTS, anonymous=True)
    assert compile_rules(ruleset(rule(external(GRANTED, BLOCKED)))).lists == {GRANTED, BLOCKED}


def test_oma_anonymous_request_matches_who_has_no_identity() -> None:
    assert matches(ANONYMOUS, anonymous=True)
    assert not matches(ANONYMOUS)
    assert not matches(ANONYMOUS + one(BOB), anonymous=True)


def test_oma_other_identity_matches_whom_no_rule_names() -> None:
    rules = ruleset(
        rule(one(BOB), "allow"),
        rule(external(BLOCKED), "polite-block"),
        rule(OTHERS, "confirm"),
        rule(ANONYMOUS, "block"),
    )
    assert ask(rules, BOB, lists=LISTS).handling == Handling.ALLOW
    assert ask(rules, CAROL, lists=LISTS).handling == Handling.POLITE_BLOCK
    assert ask(rules, "sip:dave@example.com", lists=LISTS).handling == Handling.CONFIRM
    assert ask(rules, "sip:dave@example.com", lists=LISTS, anonymous=True) == (
        Handling.BLOCK,
        Permissions.nothing,
        True,
    )
    assert not ask(ruleset(rule(OTHERS)), anonymous=True).matched


def test_oma_whom_a_rule_names_is_no_other_also_while_that_rule_does_not_match() -> None:
    rules = ruleset(rule(one(BOB) + '<cp:sphere value="work"/>', "polite-block"), rule(OTHERS, "allow"))
    assert ask(rules, BOB, sphere="work").handling == Handling.POLITE_BLOCK
    assert not ask(rules, BOB, sphere="home").matched
    assert ask(rules, CAROL, sphere="home").handling == Handling.ALLOW


def test_oma_identity_comes_before_lists_and_lists_before_others() -> None:
    by_name, by_list = rule(one(BOB), "polite-block"), rule(external(GRANTED), "allow")
    assert ask(ruleset(by_name, by_list), BOB, lists=LISTS).handling == Handling.POLITE_BLOCK
    assert ask(ruleset(by_list), BOB, lists=LISTS).handling == Handling.ALLOW
    # Rules that name nobody count for everybody; and within one kind the union stands.
    assert ask(ruleset(by_name, rule(None, "allow"), by_list), BOB, lists=LISTS).handling == Handling.ALLOW
    assert ask(ruleset(by_name, rule(one(BOB), "allow"), by_list), BOB, lists=LISTS).handling == Handling.ALLOW


def test_without_conditions_of_oma_there_is_no_precedence() -> None:
    assert ask(ruleset(rule(one(BOB), "block"), rule(identity("<cp:many/>"), "allow"))).handling == Handling.ALLOW


def test_blinks_rules() -> None:
    """Grants and blocks by lists in resource-lists, as the clients of sipsimple write them."""
    root = "https://xcap.example.com/xcap-root/resource-lists/users/sip:alice@example.com/index/~~/resource-lists/list"
    granted, blocked = (f"{root}%5B@name=%22oma_{name}contacts%22%5D" for name in ("granted", "blocked"))
    everything = (
        "<pr:provide-services><pr:all-services/></pr:provide-services><pr:provide-persons><pr:all-persons/>"
        "</pr:provide-persons><pr:provide-devices><pr:all-devices/></pr:provide-devices><pr:provide-all-attributes/>"
    )
    document = f"""<?xml version='1.0' encoding='UTF-8'?>
<cp:ruleset xmlns:pr="urn:ietf:params:xml:ns:pres-rules" xmlns:ocp="urn:oma:xml:xdm:common-policy"
    xmlns:cp="urn:ietf:params:xml:ns:common-policy">
  <cp:rule id="wp_prs_grantedcontacts">
    <cp:conditions><ocp:external-list><ocp:entry anc="{granted}"/></ocp:external-list></cp:conditions>
    <cp:actions><pr:sub-handling>allow</pr:sub-handling></cp:actions>
    <cp:transformations>{everything}</cp:transformations>
  </cp:rule>
  <cp:rule id="wp_prs_blockedcontacts">
    <cp:conditions><ocp:external-list><ocp:entry anc="{blocked}"/></ocp:external-list></cp:conditions>
    <cp:actions><pr:sub-handling>polite-block</pr:sub-handling></cp:actions>
  </cp:rule>
</cp:ruleset>""".encode()
    rules = compile_rules(document)
    assert rules.lists == {granted, blocked}
    lists = {granted: (BOB,), blocked: (CAROL,)}
    assert ask(rules, BOB, lists=lists) == (Handling.ALLOW, Permissions.everything, True)
    assert ask(rules, CAROL, lists=lists) == (Handling.POLITE_BLOCK, Permissions.nothing, True)
    assert not ask(rules, "sip:dave@example.com", lists=lists).matched


# Speed


def test_only_rules_that_can_match_are_looked_at() -> None:
    """A thousand rules about others cost nothing: their conditions are not asked."""
    asked: list[float] = []

    class Instant(float):
        def __ge__(self, other: object) -> bool:
            asked.append(0)
            return float(self) >= float(other)  # type: ignore[arg-type]

    period = validity("2000-01-01T00:00:00Z", "2100-01-01T00:00:00Z")
    by_address = [rule(one(f"sip:user{number}@example.com") + period) for number in range(300)]
    by_domain = [rule(identity(f'<cp:many domain="d{number}.example.com"/>') + period) for number in range(300)]
    rules = compile_rules(ruleset(*by_address, *by_domain))
    assert ask(rules, "sip:user7@example.com", now=Instant(1.7e9)).matched
    assert ask(rules, "sip:user7@d7.example.com", now=Instant(1.7e9)).matched
    assert len(asked) == 2
