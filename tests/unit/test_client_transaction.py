"""The non-INVITE client transaction (RFC 3261 section 17.1.2) with a clock of its own."""

from random import Random

import pytest

from presence._fastcore import parse
from presence.sip.build import SentBy, make_branch, write_request
from presence.sip.transaction import (
    T4_S,
    TABLE,
    TIMER_F_S,
    Action,
    ClientTransaction,
    ClientTransactions,
    Input,
    State,
    refresh_after_s,
)

REQUEST = b"the request"


def begin(*, reliable: bool = False, timer_f_s: float = TIMER_F_S) -> ClientTransaction:
    return ClientTransaction("PUBLISH", "z9hG4bKa", REQUEST, 0.0, reliable=reliable, timer_f_s=timer_f_s)


def response(status: int, branch: str = "z9hG4bKa", method: str = "PUBLISH"):
    lines = (
        f"SIP/2.0 {status} Because",
        f"Via: SIP/2.0/UDP 127.0.0.1:5062;branch={branch}",
        "From: <sip:alice@example.com>;tag=a",
        "To: <sip:alice@example.com>;tag=b",
        "Call-ID: c",
        f"CSeq: 1 {method}",
        "Content-Length: 0",
    )
    return parse("\r\n".join([*lines, "", ""]).encode())


def sent_at(transaction: ClientTransaction) -> list[float]:
    """Let all timers fire until the end; return when the request was sent."""
    times = [0.0] * len(transaction.take_outgoing())
    while (now := transaction.next_deadline()) is not None:
        transaction.handle_timer(now)
        times += [now] * len(transaction.take_outgoing())
    return times


def test_rfc3261_17_1_2_2_retransmissions_double_up_to_t2():
    assert sent_at(begin()) == [0, 0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]


def test_rfc3261_17_1_2_2_over_tcp_nothing_is_repeated():
    assert sent_at(begin(reliable=True)) == [0]


def test_rfc3261_17_1_2_2_timer_f_is_answered_408():
    transaction = begin()
    answer = transaction.handle_timer(TIMER_F_S)
    assert (answer.status, answer.response, transaction.state) == (408, None, State.TERMINATED)
    assert transaction.next_deadline() is None


def test_a_person_waits_less_than_timer_f():
    transaction = begin(timer_f_s=2.0)
    assert transaction.handle_timer(1.9) is None
    assert transaction.handle_timer(2.0).status == 408


def test_rfc3261_17_1_2_2_in_proceeding_the_interval_is_t2():
    transaction = begin()
    transaction.take_outgoing()
    assert transaction.receive(response(100), 0.1).is_provisional
    assert sent_at(transaction) == [0.5, 4.5, 8.5, 12.5, 16.5, 20.5, 24.5, 28.5]
    assert transaction.state is State.TERMINATED


def test_rfc3261_17_1_2_2_a_final_response_is_handed_up_once():
    transaction = begin()
    assert transaction.receive(response(200), 1.0).is_success
    assert transaction.receive(response(200), 1.1) is None
    assert transaction.state is State.COMPLETED
    assert transaction.next_deadline() == 1.0 + T4_S
    transaction.handle_timer(1.0 + T4_S)
    assert transaction.state is State.TERMINATED


def test_rfc3261_17_1_2_2_timer_k_is_zero_over_tcp():
    transaction = begin(reliable=True)
    transaction.receive(response(404), 1.0)
    assert transaction.next_deadline() == 1.0


def test_rfc3261_17_1_4_a_transport_error_is_answered_503():
    transaction = begin()
    assert transaction.handle_transport_error(0.1).status == 503
    assert transaction.handle_transport_error(0.2) is None
    assert transaction.state is State.TERMINATED


@pytest.mark.parametrize(("branch", "method"), [("z9hG4bKb", "PUBLISH"), ("z9hG4bKa", "SUBSCRIBE")])
def test_rfc3261_17_1_3_a_stray_response_is_dropped(branch, method):
    transactions = ClientTransactions(reliable=False)
    transactions.begin("PUBLISH", "z9hG4bKa", REQUEST, 0.0)
    assert transactions.receive(response(200, branch, method), 0.1) == []
    (answer,) = transactions.receive(response(200), 0.2)
    assert answer.branch == "z9hG4bKa"


def test_finished_transactions_are_forgotten():
    transactions = ClientTransactions(reliable=False)
    transactions.begin("PUBLISH", "z9hG4bKa", REQUEST, 0.0)
    transactions.receive(response(200), 0.2)
    assert transactions.next_deadline() == 0.2 + T4_S
    transactions.handle_timer(0.2 + T4_S)
    assert transactions.next_deadline() is None


def test_the_table_leaves_terminated_by_nothing_and_reaches_every_state():
    assert {state for state, _ in TABLE} == set(State) - {State.TERMINATED}
    assert {after for after, _ in TABLE.values()} == set(State)
    assert {happened for _, happened in TABLE} == set(Input)
    assert {action for _, action in TABLE.values()} == set(Action)


@pytest.mark.parametrize(("granted_s", "after_s"), [(3600, 3560), (60, 30), (2, 1), (1, 0.5), (0, 0.5)])
def test_refresh_leaves_time_for_a_whole_transaction(granted_s, after_s):
    assert refresh_after_s(granted_s) == after_s


@pytest.mark.parametrize(
    ("text", "seconds"), [("60", 60), ("60 (in a minute);x=1", 60), ("", None), ("x", None), ("9" * 40, None)]
)
def test_delta_seconds_of_a_response(text, seconds):
    raw = response(423).raw.replace(b"Content-Length", f"Min-Expires: {text}\r\nContent-Length".encode())
    transaction = begin()
    assert transaction.receive(parse(raw), 0.1).seconds("Min-Expires") == seconds


def test_a_request_written_is_a_request_read():
    local = SentBy("TCP", "::1", 5062)
    branch = make_branch(Random(1))
    headers = (
        ("From", "<sip:alice@example.com>;tag=a"),
        ("To", "<sip:alice@example.com>"),
        ("Call-ID", "c"),
        ("CSeq", "7 PUBLISH"),
        ("Event", "presence"),
    )
    message = parse(write_request("PUBLISH", "sip:alice@example.com", local.via(branch), headers, b"body"))
    assert (message.error, message.method, message.uri) == ("", "PUBLISH", "sip:alice@example.com")
    assert (message.branch, message.via_host, message.via_transport) == (branch, "::1", "TCP")
    assert (message.cseq, message.event, message.max_forwards, message.body) == (7, "presence", 70, b"body")
    assert local.contact == "sip:[::1]:5062;transport=tcp"


def test_no_value_becomes_a_header_of_its_own():
    request = write_request("NOTIFY", "sip:a@example.com", "v", (("X", "a\r\nEvil: yes\0"),))
    assert b"X: a  Evil: yes \r\n" in request
