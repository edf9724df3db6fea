"""The compiled watcher table: rows, groups, NOTIFYs in flight, timers. No sockets: links without a descriptor."""

import random

import pytest

from presence._fastcore import CSEQ_STRIDE, Fanout, Framer, parse

NOW = 1_700_000_000.0
SECRET = bytes(range(16))
BODY = b"Content-Type: text/plain\r\nContent-Length: 2\r\n\r\n"


@pytest.fixture
def table():
    table = Fanout(SECRET, NOW, user_agent=b"test", contact_user=b"presence")
    table.add_link(-1, reliable=False, via=b"UDP 127.0.0.1:5060", contact=b"127.0.0.1:5060")
    table.add_link(-1, reliable=True, via=b"TCP 127.0.0.1:5060", contact=b"127.0.0.1:5060;transport=tcp")
    return table


def dialog(number=1, *, event_id=b"", local_tag=b"", local_contact=b"", route=b""):
    return (
        b"sip:bob@127.0.0.1:5070",
        route,
        b"<sip:alice@example.com>",
        b'"Bob" <sip:bob@example.com>',
        b"from%d" % number,
        b"call%d" % number,
        event_id,
        local_tag,
        local_contact,
    )


def subscribe(table, gid, number=1, *, expires_s=600, link=0, **more):
    slot = table.reserve()
    table.fill(slot, gid, dialog(number), remote_cseq=1, cseq_mark=CSEQ_STRIDE, expires_at=int(NOW) + expires_s, **more)
    table.set_target(slot, link, "127.0.0.1", 5070)
    return slot


def sent(table, now=NOW):
    table.pump(now)
    messages = [message for entry in table.outbox for message in Framer().feed(entry[4])]
    table.outbox.clear()
    return messages


def answer(table, notify, status=200, now=NOW, extra=""):
    assert table.match(response(notify, status, extra), now)


def response(notify, status=200, extra="", cseq=None, branch=None):
    via = notify.header("Via")
    if branch is not None:
        via = via.replace(notify.branch, branch)
    return parse(
        f"SIP/2.0 {status} X\r\nVia: {via}\r\nFrom: {notify.header('From')}\r\nTo: {notify.header('To')}\r\n"
        f"Call-ID: {notify.call_id}\r\nCSeq: {cseq or notify.cseq} NOTIFY\r\n{extra}Content-Length: 0\r\n\r\n".encode()
    )


def test_a_notify_is_rendered_as_rfc6665_4_2_2_asks(table):
    gid = table.add_group(b"presence")
    table.set_body(gid, 1, BODY + b"hi")
    slot = subscribe(table, gid)
    table.notify(slot)
    (notify,) = sent(table)
    assert notify.error == ""
    assert notify.method == "NOTIFY"
    assert notify.uri == "sip:bob@127.0.0.1:5070"
    assert notify.header("From") == f"<sip:alice@example.com>;tag={table.to_tag(slot).decode()}"
    assert notify.header("To") == '"Bob" <sip:bob@example.com>;tag=from1'
    assert notify.header("Contact") == f"<sip:~{slot:010x}.presence@127.0.0.1:5060>"
    assert notify.header("Event") == "presence"
    assert notify.header("Subscription-State") == "active;expires=600"
    assert notify.header("User-Agent") == "test"
    assert notify.cseq == 1
    assert notify.body == b"hi"


def test_one_notify_in_flight_and_the_newest_state_after_it(table):
    gid = table.add_group(b"presence")
    table.set_body(gid, 1, BODY + b"v0")
    slot = subscribe(table, gid)
    table.notify(slot)
    (first,) = sent(table)
    for version in range(1, 6):
        table.set_body(gid, 1, BODY + b"v%d" % version)
        table.notify_group(gid)
        assert sent(table) == []
    answer(table, first)
    (second,) = sent(table)
    assert (second.cseq, second.body) == (2, b"v5")
    answer(table, second)
    assert sent(table) == []
    assert table.flight(slot) == "idle"


def test_rfc3261_17_1_2_retransmissions_are_the_same_bytes_at_the_right_times(table):
    gid = table.add_group(b"presence")
    table.set_body(gid, 1, BODY + b"hi")
    slot = subscribe(table, gid)
    table.notify(slot)
    (first,) = sent(table)
    table.set_body(gid, 1, BODY + b"yo")
    table.notify_group(gid)
    times = []
    for step in range(1, 3400):
        now = NOW + step / 100
        table.tick(now)
        for again in sent(table, now):
            assert again.raw == first.raw
            times.append(now - NOW)
    expected = [0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]
    assert len(times) == len(expected)
    assert all(0 <= at - due < 0.05 for at, due in zip(times, expected, strict=True))
    assert table.take_events() == [(slot, "failed", 408, 0)]
    assert table.flight(slot) == "failed"


def test_rfc3261_17_1_2_2_no_retransmission_on_a_reliable_transport(table):
    gid = table.add_group(b"presence")
    slot = subscribe(table, gid, link=1)
    table.notify(slot)
    assert len(sent(table)) == 1
    for step in range(1, 330):
        now = NOW + step / 10
        table.tick(now)
        assert sent(table, now) == []
    assert table.take_events() == [(slot, "failed", 408, 0)]


def test_a_provisional_response_slows_retransmission_to_t2(table):
    gid = table.add_group(b"presence")
    slot = subscribe(table, gid)
    table.notify(slot)
    (first,) = sent(table)
    answer(table, first, 100)
    times = []
    for step in range(1, 1000):
        now = NOW + step / 100
        table.tick(now)
        times += [now - NOW for _ in sent(table, now)]
    assert [round(at, 1) for at in times] == [0.5, 4.5, 8.5]


def test_responses_nobody_asked_for_change_nothing(table):
    gid = table.add_group(b"presence")
    slot = subscribe(table, gid)
    table.notify(slot)
    (first,) = sent(table)
    branch = first.branch
    good = branch[:19]
    for wrong in (
        good + "00000000",
        branch[:11] + "ffffffff" + branch[19:],
        branch[:11] + "00000000" + branch[19:],
        branch[:11] + "7fffffff" + branch[19:],
        branch.upper(),
        branch[:-1],
        branch + "0",
        "z9hG4bKpr" + "g" * 18,
        "z9hG4bK",
    ):
        table.match(response(first, 481, branch=wrong), NOW)
        assert table.flight(slot) == "flying"
    table.match(response(first, 481, cseq=first.cseq + 1), NOW)
    assert table.flight(slot) == "flying"
    answer(table, first)
    # Once more, late: the transaction is over.
    table.match(response(first, 481), NOW)
    assert table.take_events() == []
    assert table.state(slot) == "active"


def test_a_final_notify_frees_the_row_and_tells_its_group(table):
    gid = table.add_group(b"presence")
    table.set_body(gid, 1, BODY + b"hi")
    slot = subscribe(table, gid)
    table.finish(slot, b"timeout", body=True)
    assert table.group_size(gid) == 0
    assert not table.drop_group(gid)
    (final,) = sent(table)
    assert final.header("Subscription-State") == "terminated;reason=timeout"
    assert final.body == b"hi"
    answer(table, final)
    assert table.take_events() == [(slot, "ended", 200, gid)]
    assert table.state(slot) == "free"
    assert table.drop_group(gid)
    assert len(table) == 0


def test_a_subscription_that_ends_while_a_notify_is_in_flight_says_so_afterwards(table):
    gid = table.add_group(b"presence")
    slot = subscribe(table, gid)
    table.notify(slot)
    (first,) = sent(table)
    table.finish(slot, b"rejected")
    assert sent(table) == []
    answer(table, first, 500)
    (final,) = sent(table)
    assert final.header("Subscription-State") == "terminated;reason=rejected"
    assert final.header("Content-Length") == "0"
    assert final.cseq == first.cseq + 1


def test_cseq_numbers_are_reserved_before_they_run_out_and_never_passed(table):
    gid = table.add_group(b"presence")
    slot = subscribe(table, gid)
    reserved_at = None
    for number in range(1, CSEQ_STRIDE + 1):
        table.notify(slot)
        (notify,) = sent(table)
        assert notify.cseq == number
        answer(table, notify)
        if table.take_events() == [(slot, "reserve", 0, 0)]:
            assert reserved_at is None
            reserved_at = number
    assert reserved_at is not None
    assert reserved_at < CSEQ_STRIDE
    table.notify(slot)
    assert sent(table) == []
    assert table.flight(slot) == "held"
    table.reserved(slot, 2 * CSEQ_STRIDE)
    (notify,) = sent(table)
    assert notify.cseq == CSEQ_STRIDE + 1


def test_retry_after_waits_even_beyond_the_wheels_horizon(table):
    gid = table.add_group(b"presence")
    slot = subscribe(table, gid)
    table.notify(slot)
    (first,) = sent(table)
    answer(table, first, 503, extra="Retry-After: 100\r\n")
    assert table.take_events() == [(slot, "failed", 503, 100)]
    table.retry(slot, NOW + 100)
    for step in range(1, 1000):
        table.tick(NOW + step / 10)
        assert sent(table, NOW + step / 10) == []
    table.tick(NOW + 100.2)
    (again,) = sent(table, NOW + 100.2)
    assert again.cseq == 2


def test_two_usages_of_one_dialog_share_tag_and_cseq(table):
    gid, other = table.add_group(b"presence"), table.add_group(b"message-summary")
    owner = subscribe(table, gid)
    usage = table.reserve()
    table.fill(usage, other, dialog(event_id=b"7"), owner=owner, remote_cseq=2, expires_at=int(NOW) + 60)
    table.set_target(usage, 0, "127.0.0.1", 5070)
    assert table.to_tag(usage) == table.to_tag(owner)
    assert table.usage(owner, b"message-summary", b"7") == usage
    assert table.usage(owner, b"presence", b"") == owner
    assert table.usage(owner, b"presence", b"7") == 0
    table.notify(owner)
    table.notify(usage)
    one, two = sent(table)
    assert [one.cseq, two.cseq] == [1, 2]
    assert two.header("Event") == "message-summary;id=7"
    # The first may end: the dialog goes on, with its numbers.
    answer(table, one)
    answer(table, two)
    table.release(owner)
    assert table.state(owner) == "gone"
    assert table.usages(owner) == [usage]
    table.notify(usage)
    (three,) = sent(table)
    assert three.cseq == 3
    answer(table, three)
    table.release(usage)
    assert table.state(owner) == table.state(usage) == "free"
    assert len(table) == 0


def test_a_row_is_found_by_its_dialog_only(table):
    gid = table.add_group(b"presence")
    slot = subscribe(table, gid)
    tag = table.to_tag(slot)
    assert table.find_tag(tag, b"call1", b"from1") == slot
    wrong = [b"", tag[:-1], tag + b"0", b"%018x" % 0, b"01" + tag[2:], tag[:2] + b"7fffffff" + tag[10:], tag.upper()]
    assert [table.find_tag(w, b"call1", b"from1") for w in wrong if w != tag] == [0] * sum(w != tag for w in wrong)
    assert table.find_tag(tag, b"call2", b"from1") == 0
    assert table.find_tag(tag, b"call1", b"from2") == 0
    table.release(slot)
    assert table.find_tag(tag, b"call1", b"from1") == 0
    again = subscribe(table, gid)
    assert again == slot
    assert table.to_tag(again) != tag
    assert table.find_tag(tag, b"call1", b"from1") == 0


def test_rows_come_back_to_their_own_slots_after_a_restart(table):
    gid = table.add_group(b"presence")
    slots = [subscribe(table, gid, n) for n in range(50)]
    tags = [table.to_tag(slot) for slot in slots]
    fresh = Fanout(SECRET[::-1], NOW)
    kept = tags[::-3]
    for tag in kept:
        assert fresh.reserve_tagged(tag)
        assert fresh.reserve_tagged(tag) == 0
    assert fresh.reserve_tagged(b"someone-elses-tag") == 0
    assert fresh.reserve_tagged(b"00ffffffff00000000") == 0
    taken = {int(tag[2:10], 16) for tag in kept}
    new = [fresh.reserve() for _ in range(60)]
    assert len(set(new) | taken) == 60 + len(taken)


def test_rfc6665_4_2_1_4_expiry_is_reported_once_and_not_after_a_refresh(table):
    gid = table.add_group(b"presence")
    slot = subscribe(table, gid, expires_s=10)
    for step in range(1, 9):
        table.tick(NOW + step)
    table.refresh(slot, expires_at=int(NOW) + 7000, remote_cseq=2, cseq_mark=CSEQ_STRIDE)
    for step in range(9, 6998):
        table.tick(NOW + step)
    assert table.take_events() == []
    table.refresh(slot, expires_at=int(NOW) + 7010, remote_cseq=3, cseq_mark=CSEQ_STRIDE)
    for step in range(6998, 7200):
        table.tick(NOW + step)
    assert table.take_events() == [(slot, "expired", 0, 0)]


def test_a_shorter_refresh_expires_earlier(table):
    gid = table.add_group(b"presence")
    slot = subscribe(table, gid, expires_s=3000)
    table.refresh(slot, expires_at=int(NOW) + 20, remote_cseq=2, cseq_mark=CSEQ_STRIDE)
    for step in range(1, 25):
        table.tick(NOW + step)
    assert table.take_events() == [(slot, "expired", 0, 0)]


def test_individual_bodies_are_asked_for_and_never_lost(table):
    gid = table.add_group(b"presence.winfo", individual=True)
    slot = subscribe(table, gid)
    table.notify(slot)
    assert sent(table) == []
    assert table.take_events() == [(slot, "want", 0, 0)]
    table.notify_row(slot, BODY + b"v0")
    (first,) = sent(table)
    assert first.body == b"v0"
    assert not table.ready(slot)
    with pytest.raises(ValueError, match="in flight"):
        table.notify_row(slot, BODY + b"v1")
    answer(table, first)
    assert table.take_events() == [(slot, "want", 0, 0)]
    table.settle(slot)
    table.notify(slot)
    assert table.take_events() == [(slot, "want", 0, 0)]


def test_what_is_too_long_or_wrong_is_refused_and_nothing_is_lost(table):
    gid = table.add_group(b"presence")
    slot = table.reserve()
    with pytest.raises(ValueError, match="too long"):
        table.fill(slot, gid, (b"x" * 20000, *dialog()[1:]))
    with pytest.raises(ValueError, match="nine parts"):
        table.fill(slot, gid, dialog()[:8])
    with pytest.raises(KeyError):
        table.fill(slot, gid + 1, dialog())
    with pytest.raises(KeyError):
        table.notify(12345)
    with pytest.raises(ValueError, match="no such link"):
        table.set_target(slot, 9, "127.0.0.1", 1)
    with pytest.raises(ValueError, match="not an IP address"):
        table.set_target(slot, 0, "example.com", 1)
    table.release(slot)
    assert len(table) == 0


def test_random_lives_keep_groups_and_rows_consistent(table):
    chance = random.Random(11)
    groups = [table.add_group(b"presence") for _ in range(5)]
    for gid in groups:
        table.set_body(gid, 1, BODY + b"hi")
    alive: dict[int, int] = {}
    flying = []
    now = NOW
    for step in range(6000):
        choice = chance.random()
        if choice < 0.3:
            gid = chance.choice(groups)
            alive[subscribe(table, gid, step, expires_s=100_000)] = gid
        elif choice < 0.4 and alive:
            slot = chance.choice(list(alive))
            table.release(slot)
            del alive[slot]
        elif choice < 0.5 and alive:
            slot = chance.choice(list(alive))
            table.finish(slot, b"timeout", body=True)
            del alive[slot]
        elif choice < 0.7:
            table.notify_group(chance.choice(groups))
        elif choice < 0.8:
            now += chance.random()
            table.tick(now)
        else:
            flying += sent(table, now)
            chance.shuffle(flying)
            for notify in flying[: len(flying) // 2]:
                table.match(response(notify, chance.choice((200, 200, 200, 100, 481))), now)
            del flying[: len(flying) // 2]
        for slot, kind, _status, _more in table.take_events():
            if kind == "failed" and table.state(slot) != "free":
                table.settle(slot)
            elif kind == "reserve" and table.state(slot) != "free":
                table.reserved(slot, table.facts(slot)[6] + 2 * CSEQ_STRIDE)
        if step % 100 == 0:
            for gid in groups:
                assert sorted(table.group_slots(gid)) == sorted(s for s, g in alive.items() if g == gid)
    for _ in range(400):
        now += 0.5
        table.tick(now)
        for notify in sent(table, now):
            table.match(response(notify), now)
        for slot, kind, _status, _more in table.take_events():
            if kind == "failed" and table.state(slot) != "free":
                table.settle(slot)
    assert len(table) == len(alive)
    assert table.counters()["in_flight"] == 0


@pytest.mark.parametrize("behind_s", [0.0, 0.7, 15.0, 31.9])
def test_rfc3261_17_1_2_timers_do_not_mind_milliseconds_that_wrap(table, behind_s):
    """A row counts 32 bits of milliseconds since the start of the table: 49.7 days."""
    begin = NOW + 2**32 / 1000 - behind_s
    gid = table.add_group(b"presence")
    table.set_body(gid, 1, BODY + b"hi")
    table.tick(begin)
    slot = subscribe(table, gid, expires_s=60 * 86400)
    table.notify(slot)
    (first,) = sent(table, begin)
    at, waits = begin, []
    while table.flight(slot) == "flying":
        at += 0.01
        table.tick(at)
        again = sent(table, at)
        assert all(message.raw == first.raw for message in again)
        waits += [round(at - begin, 1)] * len(again)
    assert waits == [0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]
    assert round(at - begin, 1) == 32.0
    assert table.take_events() == [(slot, "failed", 408, 0)]


def test_rfc6665_4_2_2_retry_after_does_not_mind_milliseconds_that_wrap(table):
    begin = NOW + 2**32 / 1000 - 3600
    gid = table.add_group(b"presence")
    table.set_body(gid, 1, BODY + b"hi")
    table.tick(begin)
    slot = subscribe(table, gid, expires_s=60 * 86400)
    table.notify(slot)
    (notify,) = sent(table, begin)
    answer(table, notify, 503, begin, "Retry-After: 7200\r\n")
    assert table.take_events() == [(slot, "failed", 503, 7200)]
    table.retry(slot, begin + 7200)
    for at in range(10, 7200, 10):
        table.tick(begin + at)
        assert sent(table, begin + at) == []
    table.tick(begin + 7201)
    assert len(sent(table, begin + 7201)) == 1


def test_what_goes_over_one_connection_is_handed_over_together(table):
    """Each next hop in the order of the queue, in pieces of bounded size, a body of any size by itself."""
    gid = table.add_group(b"presence")
    table.set_body(gid, 1, b"Content-Type: text/plain\r\nContent-Length: 1000\r\n\r\n" + b"x" * 1000)
    link = table.add_link(-1, reliable=True, via=b"TCP 127.0.0.1:5060", contact=b"127.0.0.1:5060;transport=tcp")
    slots = [subscribe(table, gid, number, link=link) for number in range(200)]
    for slot in slots:
        table.set_target(slot, link, "127.0.0.1", 5070, 1 + slot % 2)
        table.notify(slot)
    table.pump(NOW)
    entries, table.outbox[:] = list(table.outbox), []
    assert len({entry[1] for entry in entries}) == 2 < len(entries) < 10
    for flow in (1, 2):
        named = [slot for entry in entries if entry[1] == flow for slot in entry[5]]
        assert named == [slot for slot in slots if 1 + slot % 2 == flow]
    for *_, data, named in entries:
        assert len(data) <= 65536
        assert len(Framer().feed(data)) == len(named)
    large = b"Content-Type: text/plain\r\nContent-Length: 400000\r\n\r\n" + b"x" * 400_000
    one, two = (subscribe(table, gid, number, link=link) for number in (201, 202))
    table.set_body(gid, 1, large)
    table.notify(one)
    table.notify(two)
    table.pump(NOW)
    assert [entry[5] for entry in table.outbox] == [[one], [two]]
    assert all(entry[4].endswith(large) for entry in table.outbox)


def test_a_contact_of_ours_has_a_bound():
    """What a response or a NOTIFY says is written into buffers of one size."""
    with pytest.raises(ValueError, match="too long"):
        Fanout(SECRET, NOW, contact_user=b"u" * 256)
    table = Fanout(SECRET, NOW, contact_user=b"u" * 255)
    with pytest.raises(ValueError, match="too long"):
        table.add_link(-1, reliable=False, via=b"UDP 127.0.0.1", contact=b"h" * 601)
    table.add_link(-1, reliable=False, via=b"UDP 127.0.0.1", contact=b"h" * 600)
    slot = table.reserve()
    assert table.contact(slot, 0) == b"sip:~%010x.%b@%b" % (slot, b"u" * 255, b"h" * 600)
