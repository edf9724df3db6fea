"""CANCEL (RFC 3261 section 9.2): heard when it means a request that is known, and without effect on any but INVITE."""

import pytest
import sip
from net import Agent, Network, Subscription

from presence._fastcore import Message

ALICE = "sip:alice@example.com"


def cancel_of(data: bytes) -> bytes:
    """Write the CANCEL of a request: the same but for the method and what describes the body (section 9.1)."""
    head = data.partition(b"\r\n\r\n")[0].split(b"\r\n")
    method = head[0].split(b" ")[0]
    head[0] = head[0].replace(method, b"CANCEL", 1)
    kept = [line for line in head if not line.lower().startswith((b"content-", b"event:", b"contact:", b"expires:"))]
    kept = [line.replace(b" " + method, b" CANCEL") if line.startswith(b"CSeq:") else line for line in kept]
    return b"\r\n".join([*kept, b"Content-Length: 0", b"", b""])


def responses(agent: Agent) -> dict[str, Message]:
    return {message.method: message for _, message in agent.arrivals if not message.is_request}


REQUESTS = {
    "PUBLISH": (ALICE, ("Event: presence", "Content-Type: application/pidf+xml"), sip.pidf("home")),
    "REGISTER": ("sip:example.com", ("Contact: <sip:bob@127.0.0.1:5070>",), ""),
    "OPTIONS": ("sip:example.com", (), ""),
    "INVITE": (ALICE, ("Contact: <sip:bob@127.0.0.1:5070>",), ""),
    "MESSAGE": (ALICE, (), ""),
}


@pytest.mark.parametrize("method", REQUESTS)
def test_rfc3261_9_2_a_cancel_that_means_a_request_is_200_with_its_tag(bob: Agent, method: str) -> None:
    uri, extra, body = REQUESTS[method]
    data = bob.request(method, uri, *extra, body=body)
    answer = bob.ask(data)
    cancel = bob.ask(cancel_of(data))
    assert (cancel.status, cancel.method) == (200, "CANCEL")
    assert cancel.to_tag == answer.to_tag != ""


def test_rfc3261_9_2_the_tag_of_a_dialog_is_that_of_its_cancel(bob: Agent) -> None:
    watch = Subscription(bob, ALICE)
    data = watch.request(expires=600)
    answer = bob.ask(data)
    cancel = bob.ask(cancel_of(data))
    assert (cancel.status, cancel.to_tag) == (200, answer.to_tag)
    assert watch.refresh().status == 200
    assert watch.state == "active"


def test_rfc3261_9_2_a_cancel_before_the_answer_is_200_and_cancels_nothing(net: Network, bob: Agent) -> None:
    """The request waits for its commit meanwhile."""
    data = bob.request("PUBLISH", ALICE, "Event: presence", "Content-Type: application/pidf+xml", body=sip.pidf("home"))
    net.post_to_node(bob, data)
    net.post_to_node(bob, cancel_of(data))
    net.settle()
    assert {method: answer.status for method, answer in responses(bob).items()} == {"PUBLISH": 200, "CANCEL": 200}
    assert responses(bob)["CANCEL"].to_tag == responses(bob)["PUBLISH"].to_tag
    assert "home" in bob.subscribe().body


def test_rfc3261_9_2_a_retransmitted_cancel_gets_the_same_bytes(net: Network, bob: Agent) -> None:
    data = bob.request("OPTIONS", "sip:example.com")
    bob.ask(data)
    for _ in range(2):
        net.post_to_node(bob, cancel_of(data))
        net.settle()
    first, second = (message for _, message in bob.arrivals if message.method == "CANCEL")
    assert (first.status, first.to_tag) == (second.status, second.to_tag) == (200, first.to_tag)


def test_rfc3261_9_2_a_cancel_after_timer_j_is_481(net: Network, bob: Agent) -> None:
    data = bob.request("OPTIONS", "sip:example.com")
    bob.ask(data)
    net.advance(34)
    assert bob.ask(cancel_of(data)).status == 481


@pytest.mark.parametrize(("old", "new"), [(b";branch=z9hG4bK", b";branch=z9hG4bKx"), (b"127.0.0.1:", b"127.0.0.9:")])
def test_rfc3261_17_2_3_another_branch_or_sent_by_means_another_request(bob: Agent, old: bytes, new: bytes) -> None:
    data = bob.request("OPTIONS", "sip:example.com")
    bob.ask(data)
    via = next(line for line in data.split(b"\r\n") if line.startswith(b"Via:"))
    other = cancel_of(data).replace(via, via.replace(old, new))
    assert other != cancel_of(data)
    assert bob.ask(other).status == 481


def test_rfc3261_17_2_3_without_the_cookie_the_old_fields_decide(bob: Agent) -> None:
    data = bob.request("OPTIONS", "sip:example.com", branch="1")
    bob.ask(data)
    assert bob.ask(cancel_of(data)).status == 200
    assert bob.ask(cancel_of(bob.request("OPTIONS", "sip:example.com", branch="1"))).status == 481
