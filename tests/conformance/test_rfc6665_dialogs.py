"""What dialogs are made of: Allow-Events, GRUU, sharing, 202 (RFC 6665 sections 4.4.4, 4.5 and 8.3.1)."""

import re
from collections.abc import Callable

import pytest
import sip
from net import Agent, Network, Subscription

from presence._fastcore import Message

PACKAGES = ("presence", "message-summary", "dialog", "xcap-diff")
SERVED = {name + suffix for name in PACKAGES for suffix in ("", ".winfo", ".winfo.winfo")}


def gruu(message: Message) -> str:
    contact = (message.header("Contact") or "").strip("<>")
    assert re.fullmatch(r"sip:~[0-9a-f]{10}\.presence@127\.0\.0\.1:5060(;transport=tcp)?;gr=[0-9a-f]{8}", contact)
    return contact


def accepted(watch: Subscription) -> Message:
    assert watch.response is not None
    assert watch.response.status == 200
    return watch.response


@pytest.mark.parametrize("transport", ["UDP", "TCP"])
def test_rfc6665_4_4_4_allow_events_where_a_dialog_begins(net: Network, transport: str) -> None:
    bob = net.agent("bob", transport=transport)
    watch = bob.subscribe()
    assert set(accepted(watch).values("Allow-Events")) == SERVED
    assert set(watch.newest.values("Allow-Events")) == SERVED
    watch.refresh()
    assert watch.newest.header("Allow-Events") is None


@pytest.mark.parametrize("event", sorted(SERVED))
def test_rfc6665_4_4_4_whatever_is_advertised_is_served(bob: Agent, event: str) -> None:
    watch = bob.subscribe(event=event)
    assert accepted(watch).header("Expires") == "600"
    assert watch.state == "active"
    assert watch.newest.event == event


@pytest.mark.parametrize("transport", ["UDP", "TCP"])
def test_rfc6665_4_5_1_contact_is_a_gruu(net: Network, transport: str) -> None:
    bob = net.agent("bob", transport=transport)
    watch = bob.subscribe()
    contact = gruu(accepted(watch))
    assert gruu(watch.newest) == contact
    assert gruu(watch.refresh()) == contact
    assert gruu(watch.unsubscribe()) == contact
    assert gruu(watch.newest) == contact


def test_rfc5627_4_4_supported_gruu_in_requests_and_responses(bob: Agent) -> None:
    watch = bob.subscribe()
    assert accepted(watch).values("Supported") == ["gruu"]
    assert watch.newest.values("Supported") == ["gruu"]
    assert watch.refresh().values("Supported") == ["gruu"]
    assert bob.ask(bob.request("OPTIONS", "sip:example.com")).values("Supported") == ["gruu"]


def test_rfc5627_3_2_a_gruu_is_the_same_after_a_restart(net: Network, bob: Agent) -> None:
    watch = bob.subscribe()
    before = gruu(watch.newest)
    net.restart()
    assert gruu(watch.newest) == before
    assert watch.newest.cseq > 1


def test_rfc6665_4_5_1_a_new_dialog_by_gruu_is_about_the_same_presentity(
    net: Network, alice: Agent, bob: Agent
) -> None:
    first = bob.subscribe(uri="sip:carol@example.com", event="message-summary")
    second = bob.subscribe(uri=gruu(first.newest), event="presence")
    assert accepted(second).to_tag != accepted(first).to_tag
    alice.publication("sip:carol@example.com").publish(body=sip.pidf("here", entity="sip:carol@example.com"))
    assert "here" in second.body
    assert gruu(second.newest) != gruu(first.newest)
    # It is a dialog of its own.
    first.unsubscribe()
    assert second.refresh().status == 200


@pytest.mark.parametrize(
    "change",
    [
        lambda uri: uri[:-1] + ("0" if uri[-1] != "0" else "1"),
        lambda uri: uri.replace("~0000000001", "~0000000002"),
        lambda uri: uri.replace("~0000000001", "~00ffffffff"),
        lambda uri: uri.partition(";gr=")[0] + ";gr=",
    ],
)
def test_rfc5627_5_1_a_gruu_nobody_has_is_404(bob: Agent, change: Callable[[str], str]) -> None:
    response = bob.subscribe(uri=change(gruu(bob.subscribe().newest))).response
    assert response is not None
    assert response.status == 404


@pytest.mark.parametrize(
    "uri",
    [
        "sip:alice@example.com;gr=urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6",
        "sip:alice@example.com;gr",
        "sip:alice@example.com;gr=0a9a8f53",
    ],
)
def test_rfc5627_3_1_a_gruu_of_a_user_agent_is_about_its_user(alice: Agent, bob: Agent, uri: str) -> None:
    watch = bob.subscribe(uri=uri)
    assert accepted(watch)
    alice.publication().publish(body=sip.pidf("alice is here"))
    assert "alice is here" in watch.body


@pytest.mark.parametrize("event", ["presence", "message-summary"])
def test_rfc5627_a_gruu_is_no_way_around_the_policy(event: str) -> None:
    net = Network("server.policy=rules")
    alice, mallory = net.agent("alice"), net.agent("mallory")
    alice.publication().publish(body=sip.pidf("secret"))
    watch = mallory.subscribe(uri=gruu(alice.subscribe(event=event).newest))
    assert watch.state == "pending"
    assert "secret" not in watch.body


def test_rfc5627_a_gruu_ends_with_its_dialog_and_is_not_given_again(bob: Agent) -> None:
    first = bob.subscribe()
    old = gruu(first.newest)
    first.unsubscribe()
    again = bob.subscribe()
    new = gruu(again.newest)
    assert old.partition(";gr=")[0] == new.partition(";gr=")[0], "the place is used again"
    assert old != new
    response = bob.subscribe(uri=old).response
    assert response is not None
    assert response.status == 404


def test_gruu_off_is_a_plain_contact() -> None:
    net = Network("presence.gruu=false")
    bob = net.agent("bob")
    watch = bob.subscribe()
    assert ";gr" not in (accepted(watch).header("Contact") or "")
    assert ";gr" not in (watch.newest.header("Contact") or "")
    assert accepted(watch).header("Supported") is None
    assert watch.newest.header("Supported") is None
    assert bob.ask(bob.request("OPTIONS", "sip:example.com")).header("Supported") == ""


def test_rfc6665_4_5_2_dialogs_may_be_shared_all_the_same(bob: Agent) -> None:
    """Clients of RFC 3265 know nothing of GRUUs."""
    watch = bob.subscribe()
    beside = watch.beside(event="message-summary")
    assert beside.state == "active"
    assert accepted(beside).to_tag == accepted(watch).to_tag
    assert gruu(beside.newest) == gruu(watch.newest)


def status(watch: Subscription) -> tuple[int, str]:
    assert watch.response is not None
    return watch.response.status, watch.response.reason


@pytest.mark.parametrize(
    ("answer_202", "pending", "active"), [("never", 200, 200), ("pending", 202, 200), ("always", 202, 202)]
)
def test_rfc6665_8_3_1_202_only_where_configured(answer_202: str, pending: int, active: int) -> None:
    net = Network("server.policy=rules", f"presence.answer_202={answer_202}")
    alice, bob = net.agent("alice"), net.agent("bob")
    waits, own = bob.subscribe(), alice.subscribe()
    assert (waits.state, own.state) == ("pending", "active")
    reasons = {200: "OK", 202: "Accepted"}
    assert (status(waits), status(own)) == ((pending, reasons[pending]), (active, reasons[active]))
    # The test's watcher takes 202 for a failure, as the oldest of clients did.
    waits.dialog.remote_tag = waits.newest.from_tag
    own.dialog.remote_tag = own.newest.from_tag
    assert waits.refresh(expires=60).status == pending
    assert waits.response is not None
    assert waits.response.header("Expires") == "60"
    assert own.refresh().status == active


@pytest.mark.parametrize(("answer_202", "expected"), [("never", 200), ("pending", 200), ("always", 202)])
def test_rfc6665_8_3_1_ordinary_requests_are_no_exception(answer_202: str, expected: int) -> None:
    net = Network(f"presence.answer_202={answer_202}")
    watch = net.agent("bob").subscribe()
    assert status(watch)[0] == expected
    watch.dialog.remote_tag = watch.newest.from_tag
    assert watch.refresh().status == expected
    assert watch.unsubscribe().status == expected
