"""The event package message-summary (RFC 3842)."""

import pytest
from net import Agent, Network, Publication

KIND = "application/simple-message-summary"
TWO = "Messages-Waiting: yes\r\nMessage-Account: sip:alice@vmail.example.com\r\nVoice-Message: 2/8 (0/2)\r\n"


@pytest.fixture
def mailbox(alice: Agent) -> Publication:
    return alice.publication(event="message-summary", content_type=KIND)


def test_rfc3842_3_3_nothing_published_says_no_messages_wait(bob: Agent) -> None:
    watch = bob.subscribe(event="message-summary")
    assert watch.body == "Messages-Waiting: no\r\nMessage-Account: sip:alice@example.com\r\n"
    assert watch.newest.header("Content-Type") == KIND
    assert watch.newest.header("Event") == "message-summary"


def test_rfc3842_3_8_summary_reaches_the_subscriber(bob: Agent, mailbox: Publication) -> None:
    watch = bob.subscribe(event="message-summary")
    assert mailbox.publish(body=TWO).status == 200
    assert watch.body == TWO
    mailbox.publish(expires=0)
    assert watch.body.startswith("Messages-Waiting: no")


def test_rfc3842_3_5_newest_publication_is_the_state(bob: Agent, alice: Agent, mailbox: Publication) -> None:
    watch = bob.subscribe(event="message-summary")
    mailbox.publish(body=TWO)
    other = alice.publication(event="message-summary", content_type=KIND)
    other.publish(body="Messages-Waiting: no\r\n")
    assert watch.body.startswith("Messages-Waiting: no")
    other.publish(expires=0)
    assert watch.body == TWO, "the older one stands again"


def test_rfc3842_3_4_default_duration_is_one_hour(bob: Agent, mailbox: Publication) -> None:
    response = bob.subscribe(event="message-summary", expires=None).response
    assert response is not None
    assert response.expires == 3600
    assert mailbox.publish(body=TWO).expires == 3600


def test_rfc3842_3_6_other_bodies_are_refused(alice: Agent, mailbox: Publication, bob: Agent) -> None:
    wrong = alice.publication(event="message-summary").publish(body="<presence/>")
    assert (wrong.status, wrong.header("Accept")) == (415, KIND)
    assert mailbox.publish(body="Voice-Message: 2/8\r\n").status == 400
    watch = bob.subscribe("Accept: application/pidf+xml", event="message-summary")
    assert watch.response is not None
    assert (watch.response.status, watch.response.header("Accept")) == (406, KIND)


def test_summary_outlives_a_restart(net: Network, bob: Agent, mailbox: Publication) -> None:
    watch = bob.subscribe(event="message-summary")
    mailbox.publish(body=TWO)
    net.restart()
    assert watch.body == TWO
    assert bob.subscribe(event="message-summary").body == TWO
