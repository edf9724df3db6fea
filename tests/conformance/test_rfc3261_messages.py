"""RFC 3261 sections 7, 19, 20 and 21, one statement a test: how messages read and are written."""

import pytest
import sip
from net import Agent, Network, Wire

from presence._fastcore import Message, parse
from presence.sip.headers import parse_name_addr, parse_uri

ALICE = "sip:alice@example.com"


def options(agent: Agent, *extra: str, **fields: str) -> Message:
    return agent.ask(agent.request("OPTIONS", "sip:example.com", *extra, **fields))


def raw_answers(net: Network, agent: Agent, data: bytes) -> list[Message]:
    return Wire(net, *agent.address, "UDP").answers(data)


def publish(agent: Agent, *extra: str, body: str = "", **fields: str) -> Message:
    return agent.ask(agent.request("PUBLISH", ALICE, "Event: presence", *extra, body=body or sip.pidf(), **fields))


# ---- 7: messages ----


def test_rfc3261_7_lines_end_with_crlf_and_the_head_with_an_empty_line(bob: Agent) -> None:
    bob.subscribe()
    for _, message in bob.arrivals:
        head, gap, _ = message.raw.partition(b"\r\n\r\n")
        assert gap
        assert head.count(b"\n") == head.count(b"\r\n")


def test_rfc3261_7_the_empty_line_must_be_there_also_without_a_body(net: Network, bob: Agent) -> None:
    (response,) = raw_answers(net, bob, bob.request("OPTIONS", "sip:example.com")[:-2])
    assert (response.status, response.reason) == (400, "Header Does Not End")


@pytest.mark.parametrize(
    "uri", ["<sip:alice@example.com>", "sip:al ice@example.com", "sip:al\x07ice@example.com", "sip:al\tice@example.com"]
)
def test_rfc3261_7_1_request_uri_has_no_space_control_or_brackets(net: Network, bob: Agent, uri: str) -> None:
    data = bob.request("SUBSCRIBE", ALICE, "Event: presence", f"Contact: {bob.contact}")
    (response,) = raw_answers(net, bob, data.replace(ALICE.encode(), uri.encode(), 1))
    assert response.status == 400


@pytest.mark.parametrize("version", ["SIP/2.0", "sip/2.0", "SiP/2.0"])
def test_rfc3261_7_1_version_is_read_in_any_case_and_sent_in_capitals(bob: Agent, version: str) -> None:
    data = bob.request("OPTIONS", "sip:example.com")
    response = bob.ask(data.replace(b" SIP/2.0\r\n", f" {version}\r\n".encode(), 1))
    assert response.status == 200
    assert response.raw.startswith(b"SIP/2.0 200 OK\r\n")


@pytest.mark.parametrize(
    "lines",
    [
        ("Require: a", "Require: b", "Require: c"),
        ("Require: a, b, c",),
        ("Require: a ,b", "require:c"),
        ("REQUIRE:a,\r\n b", "Require: c"),
    ],
)
def test_rfc3261_7_3_1_rows_and_commas_mean_the_same(bob: Agent, lines: tuple[str, ...]) -> None:
    response = options(bob, *lines)
    assert (response.status, response.values("Unsupported")) == (420, ["a", "b", "c"])


def test_rfc3261_7_3_1_authorization_rows_are_kept_apart() -> None:
    lines = ("OPTIONS sip:a@b SIP/2.0", 'Authorization: Digest a="1", b=2', "Authorization: Other c=3")
    message = parse(sip.lines(*lines))
    assert message.headers("Authorization") == ['Digest a="1", b=2', "Other c=3"]


@pytest.mark.parametrize("place", ["From", "To", "Via", "Event"])
def test_rfc3261_7_3_1_a_parameter_may_stand_once(net: Network, bob: Agent, place: str) -> None:
    twice = {
        "From": (b";tag=b\r\n", b";tag=b;tag=b\r\n"),
        "To": (b"To: <sip:alice@example.com>", b"To: <sip:alice@example.com>;tag=1;tag=1"),
        "Via": (b";branch=", b";branch=z9hG4bKfirst;branch="),
        "Event": (b"Event: presence", b"Event: presence;id=1;id=1"),
    }
    old, new = twice[place]
    data = bob.request("SUBSCRIBE", ALICE, "Event: presence", f"Contact: {bob.contact}")
    assert old in data
    (response,) = raw_answers(net, bob, data.replace(old, new))
    assert (response.status, response.reason) == (400, f"Bad {place} Header Field")


@pytest.mark.parametrize(
    "line", ["SIP-ETag: abc", "Unsupported: x", "Server: you", "Min-Expires: 9", "Retry-After: soon"]
)
def test_rfc3261_7_3_2_response_fields_in_a_request_are_ignored(bob: Agent, line: str) -> None:
    assert options(bob, line).status == 200


def test_rfc3261_7_3_2_request_fields_in_a_response_are_ignored(net: Network, bob: Agent) -> None:
    bob.extra = ("Require: x", "Max-Forwards: 0", "Event: other")
    watch = bob.subscribe()
    net.advance(40)
    assert len(watch.notifies) == 1
    assert watch.refresh().status == 200


@pytest.mark.parametrize("short", [False, True])
def test_rfc3261_7_3_3_long_and_short_names_are_the_same(bob: Agent, short: bool) -> None:
    data = bob.request("SUBSCRIBE", ALICE, "Event: presence", f"Contact: {bob.contact}", "Supported: path")
    forms = {"Via": "v", "From": "f", "To": "t", "Call-ID": "i", "Contact": "m", "Event": "o", "Content-Length": "l"}
    for name, form in forms.items() if short else ():
        data = data.replace(f"\r\n{name}:".encode(), f"\r\n{form}:".encode())
    assert bob.ask(data).status == 200
    assert len(bob.notifies) == 1


@pytest.mark.parametrize("line", ["Content-Type: application/pidf+xml", "c: application/pidf+xml"])
def test_rfc3261_7_4_1_content_type_names_the_type_of_a_body(net: Network, bob: Agent, line: str) -> None:
    assert publish(bob, line).status == 200
    watch = bob.subscribe()
    assert watch.newest.header("Content-Type") == "application/pidf+xml"
    assert watch.newest.header("Content-Encoding") is None


def test_rfc3261_7_5_line_ends_before_the_start_line_are_ignored(net: Network, bob: Agent) -> None:
    (response,) = raw_answers(net, bob, b"\r\n\r\n\r\n" + bob.request("OPTIONS", "sip:example.com"))
    assert response.status == 200
    carol = net.agent("carol", transport="TCP")
    # Two line ends on a stream are a keep-alive too (RFC 5626 section 4.4.1), hence one here.
    net.post_to_node(carol, b"\r\n" + carol.request("OPTIONS", "sip:example.com"))
    net.settle()
    assert [message.status for _, message in carol.arrivals] == [200]


# ---- 19: URIs and tags ----


@pytest.mark.parametrize("uri", ["sip:@example.com", "sip::pw@example.com"])
def test_rfc3261_19_1_1_with_an_at_sign_there_is_a_user(bob: Agent, uri: str) -> None:
    response = bob.ask(bob.request("SUBSCRIBE", uri, "Event: presence", f"Contact: {bob.contact}"))
    assert response.status == 400


def test_rfc3261_19_1_1_unknown_uri_parameters_are_ignored_and_kept(bob: Agent) -> None:
    contact = bob.contact.replace(">", ";strange=1;flag>")
    watch = bob.subscribe(uri="sip:alice@example.com;unknown;other=x", contact=contact)
    assert watch.response is not None
    assert watch.response.status == 200
    assert watch.newest.uri == contact.strip("<>")


def test_rfc3261_19_1_1_headers_in_a_request_uri_are_400(net: Network, bob: Agent) -> None:
    data = bob.request("SUBSCRIBE", "sip:alice@example.com?Subject=x", "Event: presence", f"Contact: {bob.contact}")
    (response,) = raw_answers(net, bob, data)
    assert (response.status, response.reason) == (400, "Bad Request-URI")


@pytest.mark.parametrize("uri", ["sip:alice@ex%61mple.com", "sip:alice@%65xample.com"])
def test_rfc3261_19_1_2_escapes_in_the_host_are_not_undone(bob: Agent, uri: str) -> None:
    response = bob.ask(bob.request("SUBSCRIBE", uri, "Event: presence", f"Contact: {bob.contact}"))
    assert response.status == 400


@pytest.mark.parametrize("uri", [
    "sip:%61lice@example.com", "sip:al%69ce@EXAMPLE.com", "SIP:alice@example.com", "sips:alice@example.com",
    "pres:alice@example.com", "im:alice@example.com", "sip:alice@example.com:5060", "sip:alice@example.com;x=y",
    "sip:alice:secret@example.com", "sip:alice@example.com;user=ip",
])  # fmt: skip
def test_rfc3261_19_1_4_spellings_of_one_presentity(net: Network, uri: str) -> None:
    publisher, watcher = net.agent("alice"), net.agent("bob")
    publisher.publication().publish(body=sip.pidf("here I am"))
    assert "here I am" in watcher.subscribe(uri=uri).body


@pytest.mark.parametrize(
    "uri", ["sip:Alice@example.com", "sip:alice@example.org", "sip:alice%2f@example.com", "sip:example.com"]
)
def test_rfc3261_19_1_4_other_presentities(net: Network, uri: str) -> None:
    publisher, watcher = net.agent("alice"), net.agent("bob")
    publisher.publication().publish(body=sip.pidf("here I am"))
    assert "here I am" not in watcher.subscribe(uri=uri).body


@pytest.mark.parametrize("uri", [
    "tel:+1-201-555-0123", "tel:+1.201.555.0123", "tel:+12015550123;isub=1", "sip:+12015550123@example.com",
    "sip:+1-201-555-0123@example.com;user=phone", "tel:2015550123;phone-context=example.com",
])  # fmt: skip
def test_rfc3261_19_1_6_a_number_is_a_presentity_of_the_home_domain(uri: str) -> None:
    net = Network("server.domain=example.com")
    number = "2015550123" if "context" in uri else "+12015550123"
    note = net.agent("phone").publication(f"sip:{number}@example.com")
    assert note.publish(body=sip.pidf("rings")).status == 200
    watch = net.agent("bob").subscribe(uri=uri)
    assert "rings" in watch.body
    assert f'entity="sip:{number}@example.com"' in watch.body
    net.close()


def test_rfc3966_a_number_of_no_domain_is_its_own_presentity(net: Network) -> None:
    phone, bob = net.agent("phone"), net.agent("bob")
    watch = bob.subscribe(uri="tel:+1-201-555-0123")
    answer = phone.publication("tel:+12015550123").publish(body=sip.pidf("rings"))
    assert answer.status == 200
    assert "rings" in watch.body
    assert 'entity="tel:+12015550123"' in watch.body
    net.restart()
    assert watch.refresh().status == 200
    assert "rings" in watch.body


def test_rfc3261_19_3_tags_are_unique_and_random(bob: Agent) -> None:
    tags = {options(bob).to_tag for _ in range(200)} | {bob.subscribe().dialog.remote_tag for _ in range(50)}
    assert len(tags) == 250
    # At least 32 bits of each are random: no half is shared by many.
    assert all(len(tag) >= 16 for tag in tags)
    assert len({tag[-8:] for tag in tags}) > 240


# ---- 20: header fields ----


def test_rfc3261_20_14_content_length_is_sent_and_0_without_a_body(bob: Agent) -> None:
    watch = bob.subscribe()
    assert options(bob).header("Content-Length") == "0"
    assert watch.newest.header("Content-Length") == str(len(watch.newest.body))


@pytest.mark.parametrize("line", [
    "Alert-Info: <http://x>", "Call-Info: <http://x>;purpose=icon", "In-Reply-To: a@b", "Organization: x",
    "Priority: emergency", "Reply-To: <sip:x@y>", "Subject:", "Warning: 399 a b", "X-Unknown: ;;,,\"", "Date: never",
    "MIME-Version: 7", "Content-Language: xx", "User-Agent: (((", "Error-Info: <>",
    "Contact: <sip:bob@127.0.0.1>;x=\"y\"",
])  # fmt: skip
def test_rfc3261_20_what_is_not_needed_is_ignored(bob: Agent, line: str) -> None:
    assert options(bob, line).status == 200


@pytest.mark.parametrize("line", [
    "Contact: <sip:carol@127.0.0.1:5099>;strange", "Event: presence;strange=x",
    "Accept: application/pidf+xml;strange=1",
])  # fmt: skip
def test_rfc3261_20_unknown_parameters_are_ignored(bob: Agent, line: str) -> None:
    heads = {"Event": "Event: presence", "Contact": f"Contact: {bob.contact}"}
    heads[line.partition(":")[0]] = line
    assert bob.ask(bob.request("SUBSCRIBE", ALICE, *heads.values())).status == 200


@pytest.mark.parametrize("value", ["sip:bob@127.0.0.1?x=y", "sip:bob,x@127.0.0.1"])
@pytest.mark.parametrize("name", ["From", "To", "Contact"])
def test_rfc3261_20_a_uri_with_comma_or_question_mark_needs_brackets(
    net: Network, bob: Agent, name: str, value: str
) -> None:
    data = bob.request("SUBSCRIBE", ALICE, "Event: presence", f"Contact: {bob.contact}")
    lines = [f"{name}: {value};tag=q".encode() if line.startswith(f"{name}:".encode()) else line
             for line in data.split(b"\r\n")]  # fmt: skip
    (response,) = raw_answers(net, bob, b"\r\n".join(lines))
    assert response.status == 400
    assert len(net.node.table) == 0


def test_rfc3261_20_a_semicolon_outside_brackets_is_a_header_parameter(bob: Agent) -> None:
    contact = bob.contact.strip("<>") + ";transport=tcp"
    watch = bob.subscribe(contact=contact)
    assert watch.newest.uri == bob.contact.strip("<>")
    assert parse_name_addr(contact).params == {"transport": "tcp"}


@pytest.mark.parametrize("accept", [("Accept: application/pidf+xml",), ("Accept: */*",), ()])
def test_rfc3261_20_1_absent_accept_is_the_default_of_the_package(bob: Agent, accept: tuple[str, ...]) -> None:
    """RFC 6665 section 3.1.3 has the package say what is meant, in place of application/sdp."""
    watch = bob.subscribe(*accept)
    assert watch.newest.header("Content-Type") == "application/pidf+xml"


@pytest.mark.parametrize(
    "line", ["Accept-Encoding: gzip", "Accept-Encoding:", "Accept-Language: fi", "Accept-Language:"]
)
def test_rfc3261_20_2_bodies_leave_unencoded_in_any_language(bob: Agent, line: str) -> None:
    watch = bob.subscribe(line)
    assert watch.newest.header("Content-Encoding") is None
    assert b"<presence" in watch.newest.body


@pytest.mark.parametrize(
    ("disposition", "status"),
    [
        ("", 415),
        ("Content-Disposition: render", 415),
        ("Content-Disposition: render;handling=required", 415),
        ("Content-Disposition: x;handling=odd", 415),
        ("Content-Disposition: render; handling=optional", 200),
        ("Content-Disposition: render ; Handling = OPTIONAL", 200),
    ],
)
@pytest.mark.parametrize("method", ["OPTIONS", "REGISTER", "SUBSCRIBE"])
def test_rfc3261_20_11_handling_is_required_unless_optional(
    bob: Agent, method: str, disposition: str, status: int
) -> None:
    heads = ["Content-Type: text/plain", "Event: presence", f"Contact: {bob.contact}"]
    heads += [disposition] if disposition else []
    response = bob.ask(bob.request(method, ALICE, *heads, body="hello"))
    assert response.status == status
    if status == 415:
        assert response.header("Accept") is not None


def test_rfc3261_20_15_content_type_is_needed_with_a_body(bob: Agent) -> None:
    assert publish(bob).status == 400


@pytest.mark.parametrize(
    ("value", "status"), [("0", 200), ("2147483647", 200), ("2147483648", 400), ("4294967296", 400)]
)
def test_rfc3261_20_16_cseq_is_below_2_to_the_31(net: Network, bob: Agent, value: str, status: int) -> None:
    data = bob.request("OPTIONS", "sip:example.com").replace(b"CSeq: 1 ", f"CSeq: {value} ".encode())
    (response,) = raw_answers(net, bob, data)
    assert response.status == status


def test_rfc3261_20_17_date_is_configurable_and_in_gmt() -> None:
    net = Network("server.date=true")
    bob = net.agent("bob")
    shown = [options(bob), publish(bob, "Content-Type: application/pidf+xml"), bob.subscribe().response]
    refresh = bob.subscriptions[0].refresh()
    for response in [*shown, refresh]:
        assert response is not None
        assert response.headers("Date") == ["Tue, 14 Nov 2023 22:13:20 GMT"]
    net.advance(2)
    assert options(bob).headers("Date") == ["Tue, 14 Nov 2023 22:13:22 GMT"]
    assert bob.ask(bob.request("REGISTER", ALICE)).headers("Date") == ["Tue, 14 Nov 2023 22:13:22 GMT"]
    net.close()


def test_rfc3261_20_17_without_the_setting_no_date_is_sent(bob: Agent) -> None:
    assert options(bob).header("Date") is None


@pytest.mark.parametrize(
    ("setting", "shown"), [("server.software=Lab/1", "Lab/1"), ("server.software=A B (c)", "A B (c)")]
)
def test_rfc3261_20_35_server_and_user_agent_are_configurable(setting: str, shown: str) -> None:
    net = Network(setting)
    bob = net.agent("bob")
    watch = bob.subscribe()
    assert watch.response is not None
    assert watch.response.header("Server") == shown
    assert watch.newest.header("User-Agent") == shown
    net.close()


@pytest.mark.parametrize("stamp", ["54", "54.21", "1234.5 0.1", ".5"])
def test_rfc3261_20_38_timestamp_comes_back(bob: Agent, stamp: str) -> None:
    assert options(bob, f"Timestamp: {stamp}").headers("Timestamp") == [stamp]


# ---- 21: responses ----


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (b"Call-ID", b"X-Call-ID", "Missing Call-ID Header Field"),
        (b"From", b"X-From", "Missing From Header Field"),
        (b"CSeq: 1", b"CSeq: x", "Bad CSeq Header Field"),
        (b"Max-Forwards: 70", b"Max-Forwards: x", "Bad Max-Forwards Header Field"),
        (b"sip:example.com", b"sip:example.com:99999", "Bad Port"),
        (b"sip:example.com", b"sip:[::g]", "Bad Host"),
    ],
)
def test_rfc3261_21_4_1_reason_phrase_says_what_is_wrong(old: bytes, new: bytes, reason: str) -> None:
    net = Network()
    data = sip.request("OPTIONS", "sip:example.com", via="SIP/2.0/UDP 192.0.2.1").replace(old, new, 1)
    net.post_to_node(Agent(net, "wire", "192.0.2.1", 5060, "UDP"), data)
    net.settle()
    ((_, response),) = net.unreachable
    assert response.startswith(f"SIP/2.0 400 {reason}\r\n".encode())
    net.close()


def test_rfc3261_21_only_codes_of_the_rfcs_are_used() -> None:
    from presence import errors
    from presence.sip.status import REASONS

    statuses = {
        value.status
        for value in vars(errors).values()
        if isinstance(value, type) and issubclass(value, errors.SipError)
    }
    assert statuses <= set(REASONS)
    assert all(200 <= status < 600 for status in REASONS), "a registrar sends no 6xx (section 10.3)"


def test_rfc3261_19_1_1_a_repeated_uri_parameter_is_read_once() -> None:
    assert parse_uri("sip:a@b;x=1;X=2").params == {"x": "1"}
