"""The torture messages through the whole server: exact octets in, response octets out."""

from pathlib import Path

import pytest
import sip
from net import Address, Network, Wire
from torture import messages
from torture.cases import RFC4475, RFC5118, SILENCE, Case, paper

from presence._fastcore import Message, parse

ROOT = Path(__file__).resolve().parents[2]
SENDER = "192.0.2.77"


def send(net: Network, data: bytes) -> tuple[list[Address], list[Message]]:
    """Send octets over the transport they name; return where responses went, and the responses."""
    transport = parse(data).via_transport
    wire = Wire(net, SENDER, 5999, "UDP" if transport in ("UDP", "") else "TCP")
    net.unreachable.clear()
    net.post_to_node(wire, data)
    net.settle()
    # Over UDP nobody lives at the address, so that a response to any port is seen.
    went = [address for address, _ in net.unreachable]
    return went, [parse(response) for response in [*wire.heard, *(response for _, response in net.unreachable)]]


def check(net: Network, case: Case, data: bytes) -> Message | None:
    request = parse(data)
    went, responses = send(net, data)
    if case.status == SILENCE:
        assert responses == []
        assert net.tally.drops["stray response"] == 1
        return None
    (response,) = responses
    assert response.status == case.status
    assert response.reason == (case.reason or response.reason)
    assert response.reason
    for name in ("From", "Call-ID", "CSeq"):
        assert response.header(name) == request.header(name)
    assert response.values("Via")[1:] == request.values("Via")[1:]
    if "Via" not in request.error:
        assert sip.param(response.values("Via")[0], "received") == SENDER
    if request.header("To"):
        assert request.to_tag or response.to_tag or response.error
        assert (response.header("To") or "").startswith(request.header("To") or "")
    if request.via_transport == "UDP":
        assert went == [request_address(request)]
    if case.status in (405, 501):
        assert response.values("Allow") == ["CANCEL", "OPTIONS", "PUBLISH", "REGISTER", "SUBSCRIBE"]
    return response


def request_address(request: Message) -> Address:
    request.set_source(SENDER, 5999)
    address: Address = request.reply_address
    return address


@pytest.mark.parametrize("case", RFC4475, ids=lambda case: case.tag)
def test_rfc4475(net: Network, case: Case) -> None:
    check(net, case, messages("rfc4475")[case.tag])
    assert ("internal error" in net.tally.drops) is False


@pytest.mark.parametrize("case", RFC5118, ids=lambda case: case.tag)
def test_rfc5118(net: Network, case: Case) -> None:
    check(net, case, messages("rfc5118")[case.tag])
    assert ("internal error" in net.tally.drops) is False


def test_every_message_has_its_case() -> None:
    """The archive of RFC 4475 holds one more, `test`, which its text does not speak of."""
    assert {case.tag for case in RFC4475} == set(messages("rfc4475")) - {"test"}
    assert {case.tag for case in RFC5118} == set(messages("rfc5118"))
    assert (len(RFC4475), len(RFC5118)) == (49, 12)


def test_the_paper_is_fresh() -> None:
    assert (ROOT / "docs" / "torture.md").read_text() == paper()


# ---- what the answers must say beside their status ----


def contacts(net: Network, tag: str) -> list[str]:
    _, (response,) = send(net, messages("rfc4475")[tag])
    return [value.partition(">")[0].strip("<") for value in response.values("Contact")]


def test_rfc4475_3_1_1_4_escaped_nulls_bind_two_contacts(net: Network) -> None:
    assert contacts(net, "escnull") == ["sip:%00@host5.example.com", "sip:%00%00@host5.example.com"]
    assert net.rows("SELECT DISTINCT username FROM bindings") == [("null-%00-null",)]


def test_rfc4475_3_3_5_unsupported_names_what_was_required(net: Network) -> None:
    _, (response,) = send(net, messages("rfc4475")["bext01"])
    assert response.values("Unsupported") == ["nothingSupportsThis", "nothingSupportsThisEither"]


def test_rfc4475_3_3_12_header_parameter_is_none_of_the_uri(net: Network) -> None:
    assert contacts(net, "cparam01") == ["sip:+19725552222@gw1.example.net"]


def test_rfc4475_3_3_13_uri_parameter_stays(net: Network) -> None:
    assert contacts(net, "cparam02") == ["sip:+19725552222@gw1.example.net;unknownparam"]


def test_rfc4475_3_3_14_escaped_header_stays(net: Network) -> None:
    assert contacts(net, "regescrt") == ["sip:user@example.com?Route=%3Csip:sip.example.com%3E"]


def test_rfc4475_3_1_2_15_a_comma_in_an_unquoted_name_is_400(net: Network) -> None:
    _, (response,) = send(net, messages("rfc4475")["baddn"] + b"\r\n")
    assert (response.status, response.reason) == (400, "Bad From Header Field")


@pytest.mark.parametrize("tag", ["ncl", "mcl01", "clerr"])
def test_rfc4475_3_1_2_3_a_stream_that_cannot_be_framed_is_closed(net: Network, tag: str) -> None:
    data = messages("rfc4475")[tag].replace(b"SIP/2.0/UDP", b"SIP/2.0/TCP")
    wire = Wire(net, SENDER, 5999, "TCP")
    net.post_to_node(wire, data)
    net.settle()
    assert wire.connection is not None
    if tag == "clerr":
        # It waits for the rest, which never comes; the idle timeout closes the connection.
        assert (wire.heard, wire.connection.framer.broken) == ([], False)
        return
    (response,) = wire.heard
    assert parse(response).status == 400
    assert wire.connection.framer.broken


def test_rfc4475_3_2_1_the_cookie_alone_is_no_transaction(net: Network) -> None:
    """Two requests whose branch is the bare cookie are two transactions, each answered."""
    data = messages("rfc4475")["badbranch"]
    other = data.replace(b"CSeq: 8", b"CSeq: 9")
    statuses = [[response.status for response in send(net, octets)[1]] for octets in (data, other)]
    assert statuses == [[200], [200]]
    assert len(net.node.transactions) == 2
    (again,) = send(net, data)[1]
    assert (again.status, again.cseq) == (200, 8), "a retransmission is matched by the fields of RFC 2543"
    assert len(net.node.transactions) == 2


def test_rfc4475_3_1_1_8_what_follows_in_the_datagram_is_no_request(net: Network) -> None:
    send(net, messages("rfc4475")["dblreq"])
    assert net.tally.requests == {"REGISTER": 1}
