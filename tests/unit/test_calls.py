"""What one subscriber of a presentity's calls is told, beside what the server's own tests show (RFC 4235)."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from dialoginfo import dialog, info
from lxml import etree

from presence.document.dialoginfo import parse_dialog_info
from presence.errors import BadRequest
from presence.events.dialog import DialogOptions, DialogPackage
from presence.events.package import Listener
from presence.events.shared_line import SharedLinePackage
from presence.policy.decision import POLITE, UNDECIDED, WHOLE
from presence.values import Aor, Publication

ALICE = Aor("alice", "example.com")
FILTERED = 7
"""A view that a policy numbers."""


class Phone:
    """One publisher, as the narrator sees it."""

    def __init__(self) -> None:
        self.held: list[Publication] = []
        self.order = 0

    def publish(self, *dialogs: str) -> None:
        self.order += 1
        document = parse_dialog_info(info(*dialogs).encode())
        self.held = [Publication(0.0, self.order, "", b"", document, number=1)]


def listener(view: int = WHOLE, selection: bytes = b"") -> Listener:
    return Listener(1, view, lambda: ALICE, selection)


def ids(body: bytes) -> dict[str, str]:
    return {one.get("id", ""): "".join(one.itertext()) for one in etree.fromstring(body)}


@pytest.mark.parametrize("package", [DialogPackage(), SharedLinePackage()])
def test_rfc4235_3_7_2_who_may_know_no_more_sees_one_call_without_a_name(package: DialogPackage) -> None:
    phone = Phone()
    calls = package.narrate(ALICE, lambda: phone.held)
    somebody = listener(FILTERED)
    body, reached = calls.tell(None, 0, somebody, 0.0)
    assert ids(body) == {}
    phone.publish(dialog("secret", "trying", call_id="c"))
    assert calls.has_news(reached, somebody)
    body, reached = calls.tell(reached, 1, somebody, 0.0)
    assert ids(body) == {"1": "confirmed"}
    assert b"secret" not in body
    # Neither how many there are nor how far is told.
    phone.publish(dialog("secret", "confirmed", call_id="c"), dialog("other"))
    assert not calls.has_news(reached, somebody)
    phone.publish(dialog("secret", "terminated", call_id="c"))
    assert ids(calls.tell(reached, 2, somebody, 0.0)[0]) == {}


@pytest.mark.parametrize("view", [0, POLITE, UNDECIDED])
def test_who_may_know_nothing_sees_what_is_there_without_publications(view: int) -> None:
    for options in (DialogOptions(), DialogOptions(dummy=True), DialogOptions(partial=True, single=True)):
        package, phone = DialogPackage(options), Phone()
        phone.publish(dialog())
        calls = package.narrate(ALICE, lambda held=phone: held.held)  # type: ignore[misc]
        body, reached = calls.tell(None, 0, listener(view), 0.0)
        assert body == package.compose(ALICE, ()) == package.withhold(ALICE, pending=True)
        phone.publish(dialog(state="terminated"))
        assert not calls.has_news(reached, listener(view))


def test_a_subscriber_whose_view_became_another_is_told_that_whole() -> None:
    phone = Phone()
    phone.publish(dialog("d"))
    calls = DialogPackage(DialogOptions(partial=True)).narrate(ALICE, lambda: phone.held)
    _, reached = calls.tell(None, 0, listener(FILTERED), 0.0)
    assert calls.has_news(reached, listener())
    body, reached = calls.tell(reached, 1, listener(), 0.0)
    assert (etree.fromstring(body).get("state"), ids(body)) == ("full", {"d": "confirmed"})
    assert calls.has_news(reached, listener(FILTERED))


# ---- dialogs that are asked for by name ----


@pytest.mark.parametrize(
    ("parameters", "shown"),
    [
        ({}, {"1", "2", "3", "4"}),
        ({"include-session-description": ""}, {"1", "2", "3", "4"}),
        ({"call-id": 'a"b@c', "to-tag": "l", "from-tag": "r"}, {"1"}),
        ({"call-id": 'a"b@c', "to-tag": "l"}, {"1", "2"}),
        ({"call-id": "x", "to-tag": "l"}, {"4"}),
        ({"call-id": "none", "to-tag": "l"}, set()),
    ],
)
def test_rfc4235_3_2_event_names_the_dialogs(parameters: Mapping[str, str], shown: set[str]) -> None:
    phone = Phone()
    phone.publish(
        dialog("1", call_id="a&quot;b@c", local_tag="l", remote_tag="r"),
        dialog("2", call_id="a&quot;b@c", local_tag="l", remote_tag="s"),
        dialog("3", call_id="a&quot;b@c", local_tag="m", remote_tag="r"),
        dialog("4", call_id="x", local_tag="l"),
    )
    package = DialogPackage(DialogOptions(partial=True))
    calls = package.narrate(ALICE, lambda: phone.held)
    chosen = listener(selection=package.select(parameters, b"", b""))
    body, reached = calls.tell(None, 0, chosen, 0.0)
    assert set(ids(body)) == shown
    phone.publish(
        *(dialog(i, call_id="a&quot;b@c", local_tag="l", remote_tag=r) for i, r in (("1", "r"), ("2", "s"))),
        dialog("3", "terminated", call_id="a&quot;b@c", local_tag="m", remote_tag="r"),
        dialog("4", call_id="x", local_tag="l"),
    )
    assert calls.has_news(reached, chosen) == ("3" in shown)


def test_rfc4235_3_2_a_call_id_needs_a_tag() -> None:
    with pytest.raises(BadRequest):
        DialogPackage().select({"call-id": "a"}, b"", b"")


def test_rfc4235_3_2_who_asks_for_a_dialog_by_name_is_told_though_it_is_its_own() -> None:
    phone = Phone()
    phone.publish(dialog("1", call_id="c", local_tag="l", more='<remote><target uri="sip:b@192.0.2.1"/></remote>'))
    package = DialogPackage()
    calls = package.narrate(ALICE, lambda: phone.held)
    own = listener()._replace(contact=lambda: "sip:b@192.0.2.1:5060;ob")
    assert ids(calls.tell(None, 0, own, 0.0)[0]) == {}
    chosen = own._replace(selection=package.select({"call-id": "c", "to-tag": "l"}, b"", b""))
    assert ids(calls.tell(None, 0, chosen, 0.0)[0]) == {"1": "confirmed"}


# ---- the schema (section 4.4) ----

SCHEMA = etree.XMLSchema(etree.parse(str(Path(__file__).parents[1] / "schemas" / "dialog-info.xsd")))
WHOLE_DIALOG = (
    '<duration>274</duration><replaces call-id="hg" local-tag="6" remote-tag="0"/>'
    '<referred-by display-name="Bob">sip:bob@example.com</referred-by><route-set><hop>sip:h</hop></route-set>'
    '<local><identity display-name="Alice">sip:alice@example.com</identity><target uri="sip:alice@pc33.example.com">'
    '<param pname="isfocus" pval="true"/></target><cseq>7</cseq></local><remote><target uri="sip:b@c"/></remote>'
    '<x:more xmlns:x="urn:x:y"/>'
)


@pytest.mark.parametrize("options", [DialogOptions(), DialogOptions(partial=True), DialogOptions(dummy=True)])
def test_rfc4235_4_what_subscribers_get_is_well_formed_valid_and_utf8(options: DialogOptions) -> None:
    phone = Phone()
    calls = DialogPackage(options).narrate(Aor('al"i<ce', "example.com"), lambda: phone.held)
    bodies, reached = [], None
    for state in ("", "trying", "terminated", ""):
        phone.publish(*([dialog("a&quot;\u00e9", state, direction="initiator", more=WHOLE_DIALOG)] if state else []))
        if calls.has_news(reached, listener()):
            body, reached = calls.tell(reached, len(bodies), listener(), 0.0)
            bodies.append(body)
    bodies += [calls.tell(None, 0, listener(view), 0.0)[0] for view in (POLITE, FILTERED)]
    assert len(bodies) >= 5
    for body in bodies:
        assert body.startswith(b'<?xml version="1.0" encoding="UTF-8"?>')
        body.decode("utf-8")
        SCHEMA.assertValid(etree.fromstring(body))
        assert etree.fromstring(body).get("entity") == 'sip:al"i<ce@example.com'


def test_the_schema_refuses_what_lacks_an_attribute() -> None:
    assert not SCHEMA.validate(etree.fromstring(info().replace(' version="0"', "")))


def test_rfc4235_3_7_2_whatever_changes_of_a_dialog_is_news() -> None:
    phone = Phone()
    calls = DialogPackage(DialogOptions(partial=True)).narrate(ALICE, lambda: phone.held)
    _, reached = calls.tell(None, 0, listener(), 0.0)
    for more in (WHOLE_DIALOG, WHOLE_DIALOG.replace("true", "false"), WHOLE_DIALOG.replace("sip:b@c", "sip:d@e")):
        phone.publish(dialog("1", more=more), dialog("2"))
        assert calls.has_news(reached, listener())
        body, reached = calls.tell(reached, 1, listener(), 0.0)
        assert "1" in ids(body)
        phone.publish(dialog("1", more=more), dialog("2"))
        assert not calls.has_news(reached, listener())
