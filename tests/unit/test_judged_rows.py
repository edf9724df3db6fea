"""Rows of the watcher table that wait for a decision, and their filtered views."""

import random

import pytest
from test_watcher_table import BODY, NOW, SECRET, answer, response, sent, subscribe

from presence._fastcore import Fanout
from presence.policy.permission import Permissions
from presence.policy.view import Shown
from presence.subscription import views
from presence.subscription.views import Views
from presence.tally import Tally

FIRST = 16


@pytest.fixture
def table() -> Fanout:
    table = Fanout(SECRET, NOW)
    table.add_link(-1, reliable=False, via=b"UDP 127.0.0.1:5060", contact=b"127.0.0.1:5060")
    return table


def group(table: Fanout, *numbers: int) -> int:
    gid = table.add_group(b"presence")
    for number in (1, *numbers):
        table.set_body(gid, number, BODY + b"%02d" % number)
    return gid


def test_nothing_leaves_for_a_row_that_waits_for_a_decision(table):
    gid = group(table)
    slot = subscribe(table, gid)
    table.notify(slot)
    table.hold_group(gid)
    assert sent(table) == []
    table.notify_group(gid)
    assert sent(table) == []
    assert table.awaits(slot, gid) == slot
    table.let_go(slot)
    assert [notify.body for notify in sent(table)] == [b"01"]
    assert table.awaits(slot, gid) == 0


def test_no_retransmission_leaves_while_a_row_waits_and_it_goes_on_behind(table):
    gid = group(table)
    slot = subscribe(table, gid)
    table.notify(slot)
    assert len(sent(table)) == 1
    table.hold(slot)
    for tenth in range(1, 20):
        table.tick(NOW + tenth / 10)
        assert sent(table, NOW + tenth / 10) == []
    table.let_go(slot)
    assert [notify.cseq for notify in sent(table, NOW + 2)] == [1]


def test_a_notify_in_flight_is_given_up_when_the_view_is_another(table):
    gid = group(table, FIRST)
    slot = subscribe(table, gid)
    table.notify(slot)
    (first,) = sent(table)
    table.hold(slot)
    table.admit(slot, pending=False, view=FIRST)
    (second,) = sent(table)
    assert (second.cseq, second.body) == (first.cseq + 1, b"16")
    # The answer to the first one is nobody's any more.
    assert table.match(response(first), NOW)
    assert table.counters()["stray"] == 1
    answer(table, second)
    assert table.counters()["in_flight"] == 0


def test_who_becomes_active_keeps_the_order_of_its_notifies(table):
    gid = group(table, 3)
    slot = subscribe(table, gid, pending=True, view=3)
    table.notify(slot)
    (first,) = sent(table)
    table.admit(slot, pending=False, view=1)
    table.notify(slot)
    assert sent(table) == []
    answer(table, first)
    assert [notify.body for notify in sent(table)] == [b"01"]


def test_an_end_says_nothing_that_may_not_be_seen_any_more(table):
    gid = group(table)
    slot = subscribe(table, gid)
    table.notify(slot)
    (first,) = sent(table)
    table.hold(slot)
    table.withdraw(slot)
    table.finish(slot, b"rejected", body=True)
    (final,) = sent(table)
    assert (final.cseq, final.body) == (first.cseq + 1, b"")
    answer(table, final)
    assert table.state(slot) == "free"


def test_a_final_notify_that_has_not_left_loses_its_document(table):
    gid = group(table)
    slot = subscribe(table, gid)
    table.finish(slot, b"timeout", body=True)
    table.withdraw(slot)
    assert [notify.body for notify in sent(table)] == [b""]


def test_a_final_notify_in_flight_is_followed_by_one_without_a_document(table):
    gid = group(table)
    slot = subscribe(table, gid)
    table.finish(slot, b"timeout", body=True)
    assert [notify.body for notify in sent(table)] == [b"01"]
    table.withdraw(slot)
    (last,) = sent(table)
    assert last.body == b""
    answer(table, last)
    assert table.state(slot) == "free"


def test_a_target_that_did_not_ask_gets_no_second_notify(table):
    gid = group(table, FIRST)
    slot = subscribe(table, gid)
    table.doubt(slot)
    table.notify(slot)
    (first,) = sent(table)
    table.admit(slot, pending=False, view=FIRST)
    assert sent(table) == []
    answer(table, first)
    table.notify(slot)
    assert [notify.body for notify in sent(table)] == [b"16"]


def test_rows_of_a_filtered_view_are_counted_until_their_last_notify_is_done(table):
    gid = group(table, FIRST, FIRST + 1)
    one, other = subscribe(table, gid, 1, view=FIRST), subscribe(table, gid, 2, view=FIRST)
    assert table.view_rows(gid, FIRST) == 2
    table.admit(one, pending=False, view=FIRST + 1)
    assert (table.view_rows(gid, FIRST), table.view_rows(gid, FIRST + 1)) == (1, 1)
    table.finish(other, b"timeout", body=True)
    assert table.view_rows(gid, FIRST) == 1
    for notify in sent(table):
        answer(table, notify)
    assert table.view_rows(gid, FIRST) == 0
    table.release(one)
    assert table.view_rows(gid, FIRST + 1) == 0
    assert table.drop_group(gid)


def test_a_view_nobody_has_made_is_refused(table):
    gid = group(table)
    slot = subscribe(table, gid)
    with pytest.raises(ValueError, match="no view 16"):
        table.admit(slot, pending=False, view=FIRST)
    with pytest.raises(ValueError, match="no view 16"):
        subscribe(table, gid, 2, view=FIRST)


def test_only_watchers_whose_view_changed_are_told(table):
    gid = group(table, FIRST, FIRST + 1)
    one, other = subscribe(table, gid, 1, view=FIRST), subscribe(table, gid, 2, view=FIRST + 1)
    whole = subscribe(table, gid, 3)
    assert not table.set_body(gid, FIRST, BODY + b"16")
    assert table.set_body(gid, FIRST + 1, BODY + b"xx")
    assert table.notify_fresh(gid) == 1
    assert [notify.body for notify in sent(table)] == [b"xx"]
    assert table.notify_fresh(gid) == 0
    assert table.shows_same(gid, FIRST, FIRST)
    assert not table.shows_same(gid, FIRST, FIRST + 1)
    assert {one, other, whole} == set(table.group_slots(gid))


# ---- numbers ----


def permissions(number: int) -> Permissions:
    return Permissions(services=frozenset({("class", str(number))}))


DOCUMENT = Shown(b'<presence xmlns="urn:ietf:params:xml:ns:pidf" entity="sip:a@b"/>')


def test_numbers_are_given_again_only_when_no_row_has_them(table):
    gid = table.add_group(b"presence")
    kept = Views(table, Tally(), gid, "application/pidf+xml")
    random.seed(1)
    shown: dict[int, int] = {}
    for number in range(300):
        view = kept.add(permissions(number), DOCUMENT)
        assert view >= FIRST
        assert view not in shown.values()
        slot = subscribe(table, gid, number, view=view)
        shown[slot] = view
        if number % 3:
            gone = random.choice(list(shown))
            table.release(gone)
            del shown[gone]
        if number % 20 == 0:
            kept.sweep()
            assert len(kept) == len(set(shown.values()))


def test_who_needs_one_view_too_many_is_shown_nothing(table, monkeypatch):
    monkeypatch.setattr(views, "MOST", FIRST + 3)
    gid = table.add_group(b"presence")
    kept = Views(table, Tally(), gid, "application/pidf+xml")
    slots = [subscribe(table, gid, n, view=kept.add(permissions(n), DOCUMENT)) for n in range(3)]
    assert kept.add(permissions(3), DOCUMENT) == views.NOTHING
    slot = subscribe(table, gid, 9, view=views.NOTHING)
    table.notify(slot)
    assert [notify.body for notify in sent(table)] == [b""]
    table.release(slots[1])
    assert kept.add(permissions(3), DOCUMENT) == FIRST + 1


def test_where_there_is_no_document_a_view_has_none(table):
    gid = table.add_group(b"presence")
    kept = Views(table, Tally(), gid, "application/pidf+xml")
    slot = subscribe(table, gid, view=kept.add(permissions(1), None))
    table.notify(slot)
    assert [notify.body for notify in sent(table)] == [b""]
    assert not kept.render(b"")
