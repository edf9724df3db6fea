"""RFC 3261 sections 8.2, 9.2, 10.3, 11 and 16, one statement a test: the server of requests that are no INVITE."""

import pytest
import sip
from net import Agent, Network, Wire

from presence._fastcore import Message

ALICE = "sip:alice@example.com"
METHODS = ("OPTIONS", "PUBLISH", "REGISTER", "SUBSCRIBE")


def ask(agent: Agent, method: str, *extra: str, uri: str = ALICE, **fields: str) -> Message:
    heads = ("Event: presence", f"Contact: {agent.contact}") if method != "OPTIONS" else ()
    return agent.ask(agent.request(method, uri, *heads, *extra, **fields))


def register(agent: Agent, *contacts: str, **fields: str) -> Message:
    return agent.ask(agent.request("REGISTER", "sip:example.com", *contacts, **fields))


# ---- 8.2: in which order, and what is refused ----


def test_rfc3261_8_2_a_refused_request_changes_nothing(net: Network, bob: Agent) -> None:
    ask(bob, "SUBSCRIBE", "Require: x")
    ask(bob, "SUBSCRIBE", "Accept: text/plain")
    ask(bob, "PUBLISH", "Content-Type: text/plain", body="x")
    ask(bob, "REGISTER", "Require: x")
    for table in ("presentity", "active_watchers", "bindings"):
        assert net.rows(f"SELECT count(*) FROM {table}") == [(0,)]
    assert len(net.node.table) == 0


@pytest.mark.parametrize(
    ("method", "uri", "extra", "status"),
    [
        ("MESSAGE", "urn:x", ("Require: x",), 405),
        ("BREW", "urn:x", ("Require: x",), 501),
        ("PUBLISH", "urn:x", ("Require: x",), 420),
        ("PUBLISH", "urn:x", ("Content-Type: text/plain",), 416),
        ("PUBLISH", "sip:alice@[::g]", ("Content-Type: text/plain",), 400),
        ("PUBLISH", ALICE, ("Content-Type: text/plain",), 415),
    ],
)
def test_rfc3261_8_2_of_several_faults_the_first_step_answers(
    bob: Agent, method: str, uri: str, extra: tuple[str, ...], status: int
) -> None:
    assert ask(bob, method, *extra, uri=uri, body="x").status == status


def test_rfc3261_8_2_1_allow_lists_what_is_served() -> None:
    net = Network("server.registrar=false")
    response = ask(net.agent("bob"), "INVITE")
    assert (response.status, response.values("Allow")) == (405, ["CANCEL", "OPTIONS", "PUBLISH", "SUBSCRIBE"])
    net.close()


@pytest.mark.parametrize("method", METHODS)
def test_rfc3261_8_2_2_unknown_fields_are_ignored(bob: Agent, method: str) -> None:
    extra = ("X-Unknown: ,;,", "P-Odd-Thing:", "%65vent: other")
    body = {"body": sip.pidf()} if method == "PUBLISH" else {}
    types = ("Content-Type: application/pidf+xml",) if body else ()
    assert ask(bob, method, *extra, *types, **body).status == 200


def test_rfc3261_8_2_2_1_to_may_name_anybody(bob: Agent) -> None:
    """The presentity is the Request-URI; To may hold a scheme nobody here knows."""
    assert ask(bob, "SUBSCRIBE", to="<sip:other@elsewhere.example>").status == 200
    assert ask(bob, "OPTIONS", to="<urn:service:sos>").status == 200


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("uri", ["http://example.com", "urn:alice", "nobodyknows:x", "mailto:alice@example.com"])
def test_rfc3261_8_2_2_1_other_schemes_are_416(bob: Agent, method: str, uri: str) -> None:
    assert ask(bob, method, uri=uri).status == 416


@pytest.mark.parametrize("method", ["PUBLISH", "SUBSCRIBE", "REGISTER"])
def test_rfc3261_8_2_2_1_an_address_of_nobody_here_is_404(method: str) -> None:
    net = Network("server.domain=example.com")
    to = "<sip:alice@example.net>"
    assert ask(net.agent("bob"), method, uri="sip:alice@example.net", to=to).status == 404
    net.close()


def test_rfc3261_8_2_2_2_a_request_with_a_to_tag_is_never_merged(net: Network, bob: Agent) -> None:
    watch = bob.subscribe()
    data = watch.request(expires=600)
    assert bob.ask(data).status == 200
    # The same in another transaction is out of order (section 12.2.2), not merged.
    other = data.replace(b"branch=z9hG4bK", b"branch=z9hG4bKother")
    assert bob.ask(other).status == 500


def test_rfc3261_8_2_2_2_a_retransmission_is_not_merged(bob: Agent) -> None:
    data = bob.request("OPTIONS", "sip:example.com")
    assert {bob.ask(data).status for _ in range(3)} == {200}


@pytest.mark.parametrize("method", METHODS)
def test_rfc3261_8_2_2_3_require_is_never_ignored(bob: Agent, method: str) -> None:
    response = ask(bob, method, "Require: Nothing", "Require: More")
    assert (response.status, response.values("Unsupported")) == (420, ["Nothing", "More"])


@pytest.mark.parametrize("method", METHODS)
def test_rfc3261_20_29_proxy_require_is_for_proxies(bob: Agent, method: str) -> None:
    body = {"body": sip.pidf()} if method == "PUBLISH" else {}
    types = ("Content-Type: application/pidf+xml",) if body else ()
    assert ask(bob, method, "Proxy-Require: privacy", *types, **body).status == 200


@pytest.mark.parametrize("method", ["OPTIONS", "SUBSCRIBE"])
def test_rfc3261_8_2_2_3_what_supported_names_may_be_required(bob: Agent, method: str) -> None:
    """Unsupported lists what was not understood, and nothing else."""
    accepted = ask(bob, method, "Require: gruu")
    assert (accepted.status, accepted.values("Supported")) == (200, ["gruu"])
    refused = ask(bob, method, "Require: gruu, nothing")
    assert (refused.status, refused.values("Unsupported")) == (420, ["nothing"])


def test_rfc5627_14_1_a_registrar_that_makes_no_gruus_refuses_who_requires_them(bob: Agent) -> None:
    refused = ask(bob, "REGISTER", "Require: gruu", uri="sip:example.com")
    assert (refused.status, refused.values("Unsupported")) == (420, ["gruu"])


@pytest.mark.parametrize(("method", "status"), [("CANCEL", [481]), ("ACK", [])])
def test_rfc3261_8_2_2_3_require_is_ignored_in_cancel_and_ack(
    net: Network, bob: Agent, method: str, status: list[int]
) -> None:
    data = bob.request(method, ALICE, "Require: x", "Proxy-Require: y")
    answers = Wire(net, *bob.address, "UDP").answers(data)
    assert [answer.status for answer in answers] == status


@pytest.mark.parametrize(
    ("lines", "field", "value"),
    [
        (("Content-Type: text/plain",), "Accept", "application/pidf+xml"),
        (("Content-Type: application/pidf+xml", "Content-Encoding: gzip"), "Accept-Encoding", "identity"),
        (("Content-Type: multipart/mixed;boundary=x",), "Accept", "application/pidf+xml"),
        (("Content-Type: application/pkcs7-mime",), "Accept", "application/pidf+xml"),
    ],
)
def test_rfc3261_8_2_3_a_body_not_understood_is_415_with_what_is(
    net: Network, bob: Agent, lines: tuple[str, ...], field: str, value: str
) -> None:
    response = ask(bob, "PUBLISH", *lines, body=sip.pidf())
    assert (response.status, response.header(field)) == (415, value)
    assert net.rows("SELECT count(*) FROM presentity") == [(0,)]


@pytest.mark.parametrize("line", ["Content-Language: fi", "Content-Encoding: identity", "Content-Encoding:"])
def test_rfc3261_8_2_3_every_language_is_understood(bob: Agent, line: str) -> None:
    assert ask(bob, "PUBLISH", "Content-Type: application/pidf+xml", line, body=sip.pidf()).status == 200


@pytest.mark.parametrize("method", METHODS)
def test_rfc3261_8_2_4_no_extension_is_applied_that_was_not_offered(bob: Agent, method: str) -> None:
    body = {"body": sip.pidf()} if method == "PUBLISH" else {}
    types = ("Content-Type: application/pidf+xml",) if body else ()
    response = ask(bob, method, *types, "Supported: 100rel, path, gruu, eventlist", **body)
    assert response.status == 200
    assert response.header("Require") is None


def test_rfc3261_8_2_6_1_no_provisional_response_to_what_is_no_invite(net: Network, bob: Agent) -> None:
    bob.subscribe()
    for method in METHODS:
        ask(bob, method)
    net.advance(5)
    assert all(message.is_request or message.status >= 200 for _, message in bob.arrivals)


@pytest.mark.parametrize("method", [*METHODS, "MESSAGE"])
def test_rfc3261_8_2_6_2_fields_come_back_as_they_were(bob: Agent, method: str) -> None:
    sender = '"Bob; \\"B\\"" <sip:bob@example.com;x=y>;p="q;r"'
    data = bob.request(method, ALICE, sender=sender, call_id="odd.%*@x", to='"Al" <sip:alice@example.com;z>;w=1')
    response = bob.ask(data)
    assert response.header("From") == f"{sender};tag=b"
    assert response.header("Call-ID") == "odd.%*@x"
    assert response.header("CSeq") == f"1 {method}"
    assert response.header("To") == f'"Al" <sip:alice@example.com;z>;w=1;tag={response.to_tag}'
    assert response.to_tag


@pytest.mark.parametrize("method", METHODS)
def test_rfc3261_8_2_6_2_a_to_tag_stays(bob: Agent, method: str) -> None:
    response = bob.ask(bob.request(method, ALICE, "Event: presence", f"Contact: {bob.contact}", to_tag="given"))
    assert response.headers("To") == ["<sip:alice@example.com>;tag=given"]


def test_rfc3261_8_2_7_a_malformed_request_gets_the_same_tag_again(net: Network, bob: Agent) -> None:
    """It has no transaction, so the tag is made of what the request says."""
    wire = Wire(net, *bob.address, "UDP")
    data = bob.request("OPTIONS", "sip:example.com", "Expires: x")
    (first,) = wire.answers(data)
    net.advance(5)
    assert len(wire.heard) == 1, "nothing is retransmitted by itself"
    (second,) = wire.answers(data)
    assert (first.status, first.to_tag) == (400, second.to_tag)
    (other,) = wire.answers(bob.request("OPTIONS", "sip:example.com", "Expires: x"))
    assert other.to_tag != first.to_tag


# ---- 9.2, 16: what is for others ----


def test_rfc3261_9_2_the_481_to_cancel_has_a_tag_of_its_own(bob: Agent) -> None:
    response = bob.ask(bob.request("CANCEL", ALICE))
    assert (response.status, bool(response.to_tag)) == (481, True)


@pytest.mark.parametrize("route", [
    "<sip:127.0.0.1:5060;lr>", "<sip:proxy.example.com;lr>, <sip:127.0.0.1;lr>", "<sip:elsewhere.example.net>",
])  # fmt: skip
def test_rfc3261_16_4_a_route_that_ends_here_is_of_no_importance(net: Network, bob: Agent, route: str) -> None:
    """A preloaded route brought the request; nothing is forwarded along it."""
    net.agent("alice").publication().publish(body=sip.pidf("home"))
    watch = bob.subscribe(f"Route: {route}")
    assert "home" in watch.body
    assert watch.newest.header("Route") is None
    assert net.unreachable == []


def test_rfc3261_16_4_a_strict_router_leaves_the_target_in_the_last_route(net: Network, bob: Agent) -> None:
    publisher = net.agent("alice")
    route = "Route: <sip:other.example.com;lr>, <sip:%61lice@example.com>"
    data = publisher.request(
        "PUBLISH", "sip:127.0.0.1:5060", "Event: presence", "Content-Type: application/pidf+xml", route,
        body=sip.pidf("behind a strict router"),
    )  # fmt: skip
    assert publisher.ask(data).status == 200
    assert net.rows("SELECT username, domain FROM presentity") == [("alice", "example.com")]
    heads = ("Event: presence", f"Contact: {bob.contact}", "Route: <sip:alice@example.com>")
    assert bob.ask(bob.request("SUBSCRIBE", "sip:127.0.0.1;lr", *heads)).status == 200
    assert b"behind a strict router" in bob.notifies[-1].body


# ---- 10.3: registrar ----


def test_rfc3261_10_3_record_route_is_ignored_and_not_returned(bob: Agent) -> None:
    response = register(bob, f"Contact: {bob.contact}", "Record-Route: <sip:edge.example.com;lr>")
    assert response.status == 200
    assert response.header("Record-Route") is None


def test_rfc3261_10_3_require_is_processed_as_elsewhere(bob: Agent) -> None:
    response = register(bob, f"Contact: {bob.contact}", "Require: path")
    assert (response.status, response.values("Unsupported")) == (420, ["path"])


def test_rfc3261_10_3_a_refused_update_changes_no_other_binding(net: Network, bob: Agent) -> None:
    first = register(bob, "Contact: <sip:bob@192.0.2.1>, <sip:bob@192.0.2.2>", call_id="r", cseq="5")
    assert first.status == 200
    rows = net.rows("SELECT contact, cseq FROM bindings ORDER BY contact")
    both = "Contact: <sip:bob@192.0.2.3>, <sip:bob@192.0.2.1>"
    assert register(bob, both, call_id="r", cseq="4").status == 500
    assert register(bob, "Contact: <sip:bob@192.0.2.3>, <sip:[>", call_id="r", cseq="6").status == 400
    assert net.rows("SELECT contact, cseq FROM bindings ORDER BY contact") == rows


@pytest.mark.parametrize(("to", "user"), [
    ("<sip:%61lice@EXAMPLE.com;user=phone;x=y>", "alice"), ("<sips:alice@example.com>", "alice"),
    ('"Al" <sip:alice:pw@example.com:5070?Subject=x>', "alice"),
])  # fmt: skip
def test_rfc3261_10_3_the_address_of_record_is_canonical(net: Network, bob: Agent, to: str, user: str) -> None:
    assert register(bob, f"Contact: {bob.contact}", to=to).status == 200
    assert net.rows("SELECT username, domain FROM bindings") == [(user, "example.com")]


@pytest.mark.parametrize("to", ["<tel:+12015550123>", "<urn:x>", "<pres:alice@example.com>"])
def test_rfc3261_10_2_the_address_of_record_is_a_sip_uri(bob: Agent, to: str) -> None:
    assert register(bob, f"Contact: {bob.contact}", to=to).status == 400


def test_rfc3261_10_3_expires_of_the_contact_comes_before_that_of_the_request(bob: Agent) -> None:
    contacts = "Contact: <sip:a@192.0.2.1>;expires=100, <sip:b@192.0.2.2>, <sip:c@192.0.2.3>;expires=soon"
    response = register(bob, contacts, "Expires: 200")
    shown = {value.partition(">")[0].strip("<"): sip.param(value, "expires") for value in response.values("Contact")}
    assert shown == {"sip:a@192.0.2.1": "100", "sip:b@192.0.2.2": "200", "sip:c@192.0.2.3": "3600"}
    default = register(bob, "Contact: <sip:d@192.0.2.4>").values("Contact")[-1]
    assert sip.param(default, "expires") == "3600"


def test_rfc3261_10_3_another_call_id_updates_and_removes(net: Network, bob: Agent) -> None:
    assert register(bob, "Contact: <sip:a@192.0.2.1>", call_id="one", cseq="9").status == 200
    assert register(bob, "Contact: <sip:a@192.0.2.1>;q=0.5", call_id="two", cseq="1").status == 200
    assert net.rows("SELECT callid, cseq FROM bindings") == [("two", 1)]
    assert register(bob, "Contact: *", "Expires: 0", call_id="three", cseq="1").values("Contact") == []


def test_rfc3261_10_3_the_answer_has_a_date(bob: Agent) -> None:
    assert register(bob, f"Contact: {bob.contact}").headers("Date") == ["Tue, 14 Nov 2023 22:13:20 GMT"]
    assert register(bob, f"Contact: {bob.contact}", "Require: x").header("Date") is None


# ---- 11: OPTIONS ----


@pytest.mark.parametrize(
    "uri", ["sip:example.com", ALICE, "sips:alice@example.com", "tel:+12015550123", "sip:127.0.0.1"]
)
def test_rfc3261_11_options_is_answered_whomever_it_asks(bob: Agent, uri: str) -> None:
    response = ask(bob, "OPTIONS", uri=uri)
    assert response.status == 200
    assert response.body == b""


@pytest.mark.parametrize("name", ["Allow", "Accept", "Accept-Encoding", "Accept-Language", "Supported"])
def test_rfc3261_11_2_the_200_to_options_has(bob: Agent, name: str) -> None:
    assert ask(bob, "OPTIONS", uri="sip:example.com").header(name) is not None


def test_rfc3261_11_2_options_begins_no_dialog(net: Network, bob: Agent) -> None:
    response = ask(bob, "OPTIONS", "Record-Route: <sip:edge.example.com;lr>", uri="sip:example.com")
    assert response.header("Record-Route") is None
    assert len(net.node.table) == 0
