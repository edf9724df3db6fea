"""NOTIFY: what is sent when, and what an answer or none does (RFC 6665 section 4.2.2, RFC 3261 section 17.1.2)."""

import pytest
import sip
from net import EPOCH, Agent, Network


def arrival_times(agent: Agent, since: float) -> list[float]:
    return [round(at - since, 1) for at, message in agent.arrivals if message.is_request and at >= since]


def busy(net: Network) -> int:
    return net.node.table.counters()["in_flight"]


def running(net: Network) -> int:
    return sum(net.node.notify.counts().values())


def test_rfc3261_8_1_1_7_no_branch_is_used_twice(bob: Agent) -> None:
    """Also not when a new subscription takes the place of an ended one, with CSeq 1 again."""
    for _ in range(5):
        fetched = bob.subscribe(expires=0)
        assert fetched.state == "terminated;timeout"
    branches = [message.branch for _, message in bob.arrivals if message.is_request]
    assert len(set(branches)) == 5


# ---- retransmission and timeout ----


def test_rfc3261_17_1_2_unanswered_notify_is_retransmitted_until_timer_f(net: Network, bob: Agent) -> None:
    bob.status = None
    watch = bob.subscribe()
    net.advance(31.9, step_s=0.01)
    expected = [0, 0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]
    assert arrival_times(bob, EPOCH) == pytest.approx(expected, abs=0.1)
    copies = {message.raw for _, message in bob.arrivals if message.is_request}
    assert len(copies) == 1
    assert watch.state == "active"
    assert running(net) == 1


def test_rfc6665_4_2_2_timeout_removes_the_subscription_without_a_word(net: Network, bob: Agent) -> None:
    bob.status = None
    bob.subscribe()
    net.advance(33)
    assert (running(net), net.rows("SELECT count(*) FROM active_watchers")) == (0, [(0,)])
    bob.arrivals.clear()
    net.advance(60)
    assert bob.notifies == []


def test_end_sub_on_timeout_off_keeps_the_subscription_for_the_next_change(bob_keeps: tuple[Network, Agent]) -> None:
    net, bob = bob_keeps
    bob.status = None
    watch = bob.subscribe()
    net.advance(33)
    assert running(net) == 1
    bob.status = 200
    net.agent("alice").publication().publish(body=sip.pidf("back"))
    assert "back" in watch.body


@pytest.fixture
def bob_keeps() -> tuple[Network, Agent]:
    net = Network("presence.end_sub_on_timeout=false")
    return net, net.agent("bob")


def test_rfc3261_17_1_2_provisional_response_slows_retransmission(net: Network, bob: Agent) -> None:
    bob.status = None
    bob.subscribe()
    bob.answer(bob.notifies[0], 100)
    net.advance(15, step_s=0.01)
    # The armed timer E still fires; from then on every T2 (section 17.1.2.2, Proceeding).
    assert arrival_times(bob, EPOCH) == pytest.approx([0, 0.5, 4.5, 8.5, 12.5], abs=0.1)
    net.advance(18)
    assert running(net) == 0


def test_rfc3261_17_1_2_2_reliable_transport_sends_once(net: Network) -> None:
    carol = net.agent("carol", transport="TCP")
    carol.status = None
    carol.subscribe()
    net.advance(31)
    assert len([1 for _, message in carol.arrivals if message.is_request]) == 1
    assert running(net) == 1
    net.advance(2)
    assert running(net) == 0


# ---- failures ----

REMOVING = (404, 405, 410, 416, 480, 481, 482, 483, 484, 485, 489, 501, 604)


@pytest.mark.parametrize("status", REMOVING)
def test_rfc6665_4_2_2_failure_removes_the_subscription(net: Network, bob: Agent, status: int) -> None:
    bob.status = status
    watch = bob.subscribe()
    assert running(net) == 0
    assert net.rows("SELECT count(*) FROM active_watchers") == [(0,)]
    bob.status = 200
    assert watch.refresh().status == 481
    net.agent("alice").publication().publish(body=sip.pidf())
    assert len(bob.notifies) == 1


@pytest.mark.parametrize("status", REMOVING)
def test_rfc6665_4_2_2_these_failures_remove_whatever_retry_after_says(net: Network, bob: Agent, status: int) -> None:
    bob.status, bob.extra = status, ("Retry-After: 5",)
    bob.subscribe()
    assert running(net) == 0


@pytest.mark.parametrize("status", [302, 400, 486, 488, 500, 503, 603])
def test_rfc6665_4_2_2_other_failures_keep_the_subscription(net: Network, bob: Agent, status: int) -> None:
    bob.status = status
    watch = bob.subscribe()
    assert running(net) == 1
    bob.status = 200
    net.agent("alice").publication().publish(body=sip.pidf("next"))
    assert "next" in watch.body


@pytest.mark.parametrize("status", [302, 400, 486, 488, 500, 503, 603])
def test_notify_failure_remove_ends_the_subscription(status: int) -> None:
    net = Network("presence.notify_failure=remove")
    bob = net.agent("bob")
    bob.status = status
    bob.subscribe()
    assert running(net) == 0


def test_rfc6665_4_2_2_retry_after_is_heeded(net: Network, bob: Agent) -> None:
    bob.status, bob.extra = 503, ("Retry-After: 10",)
    watch = bob.subscribe()
    bob.status = 200
    alice = net.agent("alice").publication()
    alice.publish(body=sip.pidf("meanwhile"))
    net.advance(9)
    assert len(watch.notifies) == 1
    net.advance(2)
    assert "meanwhile" in watch.body
    assert len(watch.notifies) == 2, "what changed meanwhile is in the repeated NOTIFY and needs no other"


def test_rfc6665_4_2_2_retry_after_beyond_the_timer_wheel(net: Network, bob: Agent) -> None:
    bob.status, bob.extra = 503, ("Retry-After: 120",)
    watch = bob.subscribe()
    bob.status = 200
    net.advance(118)
    assert len(watch.notifies) == 1
    net.advance(4)
    assert len(watch.notifies) == 2


def test_rfc6665_4_2_2_unsubscribe_during_retry_after_ends_at_once(net: Network, bob: Agent) -> None:
    bob.status, bob.extra = 503, ("Retry-After: 100",)
    watch = bob.subscribe()
    bob.status = 200
    watch.unsubscribe()
    assert watch.state == "terminated;timeout"
    assert len(net.node.table) == 0


def test_failed_notify_does_not_swallow_a_change_that_came_meanwhile(net: Network, bob: Agent) -> None:
    """The subscription is kept, so the state that waited behind the failed NOTIFY is told."""
    bob.status = None
    watch = bob.subscribe()
    net.agent("alice").publication().publish(body=sip.pidf("waiting"))
    bob.status = 200
    bob.answer(bob.notifies[0], 500)
    assert "waiting" in watch.body


def test_failed_final_notify_is_not_repeated(net: Network, bob: Agent) -> None:
    watch = bob.subscribe()
    bob.status = 500
    watch.unsubscribe()
    assert len(watch.notifies) == 2
    assert len(net.node.table) == 0
    net.advance(40)
    assert len(watch.notifies) == 2


def test_subscription_that_ends_behind_a_failing_notify_is_told_its_end(net: Network, bob: Agent) -> None:
    bob.status = None
    watch = bob.subscribe()
    assert watch.unsubscribe().status == 200
    bob.status = 200
    bob.answer(bob.notifies[0], 500)
    assert watch.state == "terminated;timeout"
    assert len(net.node.table) == 0


# ---- one NOTIFY in flight ----


def test_rfc6665_4_2_2_five_changes_in_flight_make_one_more_notify(net: Network, bob: Agent) -> None:
    bob.status = None
    watch = bob.subscribe()
    alice = net.agent("alice").publication()
    for number in range(5):
        alice.publish(body=sip.pidf(f"change {number}"))
    assert len(watch.notifies) == 1
    bob.status = 200
    bob.answer(bob.notifies[0], 200)
    assert len(watch.notifies) == 2
    assert "change 4" in watch.body
    net.advance(5)
    assert len(watch.notifies) == 2
    assert busy(net) == 0


def test_publication_that_changes_nothing_sends_no_notify(net: Network, bob: Agent) -> None:
    watch = bob.subscribe()
    alice = net.agent("alice").publication()
    alice.publish(body=sip.pidf("same"))
    alice.publish(body=sip.pidf("same"))
    assert len(watch.notifies) == 2


# ---- responses that are not the answer ----


def test_wrong_responses_change_nothing(net: Network, bob: Agent) -> None:
    bob.status = None
    bob.subscribe()
    notify = bob.notifies[0]
    text = sip.answer(notify, 481).decode()
    branch, cseq = notify.branch, f"CSeq: {notify.cseq} NOTIFY"
    wrong_key = branch[:-1] + ("0" if branch[-1] != "0" else "1")
    wrong = [
        text.replace(branch, wrong_key),
        text.replace(branch, branch[:11] + "00000002" + branch[19:]),
        text.replace(branch, branch[:11] + "ffffffff" + branch[19:]),
        text.replace(branch, branch[:9] + "ff" + branch[11:]),
        text.replace(branch, branch.upper()),
        text.replace(branch, branch + "0"),
        text.replace(branch, "z9hG4bKpr"),
        text.replace(cseq, f"CSeq: {notify.cseq + 1} NOTIFY"),
        text.replace(cseq, f"CSeq: {notify.cseq} SUBSCRIBE"),
    ]
    for response in wrong:
        assert response != text
        net.post_to_node(bob, response.encode())
        net.settle()
        assert (busy(net), running(net)) == (1, 1)
    net.post_to_node(bob, text.encode())
    net.settle()
    assert (busy(net), running(net)) == (0, 0)


def test_repeated_responses_are_harmless(net: Network, bob: Agent) -> None:
    watch = bob.subscribe()
    first = watch.notifies[0]
    bob.status = None
    net.agent("alice").publication().publish(body=sip.pidf())
    assert busy(net) == 1
    bob.answer(first, 200)
    bob.answer(first, 481)
    assert (busy(net), running(net)) == (1, 1)


def test_late_response_to_an_ended_subscription_is_harmless(net: Network, bob: Agent) -> None:
    ended = bob.subscribe()
    ended.unsubscribe()
    watch = bob.subscribe()
    for notify in ended.notifies:
        bob.answer(notify, 481)
    assert running(net) == 1
    assert watch.state == "active"


def test_response_for_a_method_we_never_send_is_dropped(net: Network, bob: Agent) -> None:
    bob.subscribe()
    net.post_to_node(
        bob,
        sip.lines(
            "SIP/2.0 200 OK",
            "Via: SIP/2.0/UDP 127.0.0.1:5060;branch=z9hG4bKpr",
            "From: <sip:alice@example.com>;tag=a",
            "To: <sip:bob@example.com>;tag=b",
            "Call-ID: nobody",
            "CSeq: 1 INVITE",
        ),
    )
    net.settle()
    assert running(net) == 1


# ---- the way out ----


def test_connection_that_broke_is_replaced(net: Network) -> None:
    """RFC 5626 section 5.3: without its flow a NOTIFY goes to the remote target."""
    carol = net.agent("carol", transport="TCP")
    watch = carol.subscribe()
    net.disconnect(carol)
    net.agent("alice").publication().publish(body=sip.pidf("again"))
    assert "again" in watch.body


def test_rfc3261_8_1_3_1_connection_refused_counts_as_503(net: Network) -> None:
    carol = net.agent("carol", transport="TCP")
    watch = carol.subscribe()
    net.disconnect(carol)
    carol.listening = False
    net.agent("alice").publication().publish(body=sip.pidf("unheard"))
    assert running(net) == 1
    carol.listening = True
    net.agent("alice").publication().publish(body=sip.pidf("heard", tuple_id="b"))
    assert "heard" in watch.body


def test_notify_failure_remove_also_ends_what_no_connection_leads_to() -> None:
    net = Network("presence.notify_failure=remove")
    carol = net.agent("carol", transport="TCP")
    carol.subscribe()
    net.disconnect(carol)
    carol.listening = False
    net.agent("alice").publication().publish(body=sip.pidf("unheard"))
    assert running(net) == 0
    net.close()


def test_cseq_grows_by_one_and_outlives_what_was_reserved(net: Network, bob: Agent) -> None:
    watch = bob.subscribe()
    alice = net.agent("alice").publication()
    for number in range(600):
        alice.publish(body=sip.pidf(str(number)))
    assert [notify.cseq for notify in watch.notifies] == list(range(1, 602))


def test_cseq_numbers_that_cannot_be_reserved_are_reserved_later(net: Network, bob: Agent) -> None:
    """No number is used that a restart could use again; when the database is well again the watcher is told."""
    watch = bob.subscribe()
    alice = net.agent("alice").publication()
    for number in range(180):
        alice.publish(body=sip.pidf(str(number)))
    bob.status = None
    alice.publish(body=sip.pidf("in flight"))
    (reserved,) = net.rows("SELECT local_cseq FROM active_watchers")[0]
    net.refuse_commits()
    table = net.node.table
    bob.status = 200
    slot = table.find_tag(
        watch.dialog.remote_tag.encode(), watch.dialog.call_id.encode(), watch.dialog.local_tag.encode()
    )
    for _ in range(int(reserved)):
        net.node.table.notify(slot)
        net.advance(1)
    assert watch.newest.cseq <= reserved
    net.refuse_commits(False)
    net.advance(30)
    told = len(watch.notifies)
    alice.publish(body=sip.pidf("well again"))
    assert "well again" in watch.body, told


def test_rfc3261_17_1_2_2_timer_f_fires_also_when_t1_is_long() -> None:
    net = Network("server.timer_t1_ms=2000")
    carol = net.agent("carol", transport="TCP")
    carol.status = None
    carol.subscribe()
    net.advance(125)
    assert running(net) == 1
    net.advance(5)
    assert running(net) == 0
