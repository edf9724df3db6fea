"""Memory of the compiled core: what a burst took is given back or used again, and nothing is mixed up by that."""

import random
from collections.abc import Iterable

import pytest

from presence._fastcore import CSEQ_STRIDE, Fanout, ServerTransactions, parse

NOW = 1_700_000_000.0
SECRET = bytes(range(16))
CHUNK_BYTES = 1 << 18
SPARE_BYTES = 8 * CHUNK_BYTES
"""What is kept of chunks that fell empty."""

LOCAL = b"<sip:alice@example.com>"


@pytest.fixture
def table():
    table = Fanout(SECRET, NOW, user_agent=b"test", contact_user=b"presence")
    for number in range(3):
        table.add_link(-1, reliable=False, via=b"UDP 127.0.0.1:%d" % number, contact=b"127.0.0.1:%d" % number)
    return table


def dialog(number=1, *, uri=b"sip:bob@127.0.0.1:5070", route=b"", local=LOCAL, event_id=b""):
    return (uri, route, local, b"<sip:bob@example.com>", b"from%d" % number, b"call%d" % number, event_id, b"", b"")


def subscribe(table, gid, strings, **more):
    slot = table.reserve()
    table.fill(slot, gid, strings, cseq_mark=CSEQ_STRIDE, expires_at=int(NOW) + 600, **more)
    return slot


def kept(table, slot):
    """The strings a row was filled with."""
    return table.dialog(slot)[:7]


def burst(table, gid, count) -> list[int]:
    return [subscribe(table, gid, dialog(number, uri=b"sip:" + b"u" * (number % 90))) for number in range(count)]


# ---- strings ----


@pytest.mark.parametrize("part", range(9))
@pytest.mark.parametrize("size", [0, 1, 6, 7, 8, 254, 255, 256, 257, 500, 4095, 11_900])
def test_a_string_of_any_length_is_kept(table, part, size):
    gid = table.add_group(b"presence")
    strings = [b"%d" % number for number in range(9)]
    strings[part] = bytes(random.Random(size).randbytes(size))
    slots = [subscribe(table, gid, tuple(strings)) for _ in range(30)]
    for slot in slots:
        got = list(table.dialog(slot))
        if part >= 7 and size == 0:
            # Our own, made from the row.
            got[part] = b""
        assert got == strings


def test_every_sum_of_lengths_is_kept(table):
    gid = table.add_group(b"presence")
    slots = {subscribe(table, gid, dialog(uri=b"u" * size)): size for size in range(3000)}
    for slot, size in slots.items():
        assert kept(table, slot) == dialog(uri=b"u" * size)[:7]


def test_the_longest_dialog_is_kept_and_a_longer_one_refused(table):
    gid = table.add_group(b"presence")
    rest = sum(map(len, dialog()[1:]))
    slot = subscribe(table, gid, dialog(uri=b"u" * (12_000 - rest)))
    assert kept(table, slot) == dialog(uri=b"u" * (12_000 - rest))[:7]
    with pytest.raises(ValueError, match="too long"):
        table.retarget(slot, b"u" * (12_001 - rest), b"")
    with pytest.raises(ValueError, match="too long"):
        table.retarget(slot, b"u" * (1 << 20), b"")
    assert kept(table, slot) == dialog(uri=b"u" * (12_000 - rest))[:7]
    table.retarget(slot, b"short", b"<sip:127.0.0.1;lr>")
    assert kept(table, slot) == dialog(uri=b"short", route=b"<sip:127.0.0.1;lr>")[:7]


def test_the_strings_of_a_burst_are_given_back(table):
    gid = table.add_group(b"presence")
    empty = table.memory()
    slots = burst(table, gid, 40_000)
    full = table.memory()
    assert full["texts"] > SPARE_BYTES + CHUNK_BYTES
    assert full["rows"] > 10 * empty["rows"]
    random.Random(1).shuffle(slots)
    for slot in slots:
        table.release(slot)
    after = table.memory()
    assert after["texts"] <= SPARE_BYTES
    assert after["rows"] <= empty["rows"] * 6
    assert after["targets"] == empty["targets"]


def test_subscriptions_that_come_and_go_for_months_take_no_more_room(table):
    gid = table.add_group(b"presence")
    chance = random.Random(2)
    slots = burst(table, gid, 5000)
    sizes = []
    for _ in range(12):
        for _ in range(5000):
            at = chance.randrange(len(slots))
            table.release(slots[at])
            slots[at] = subscribe(table, gid, dialog(uri=b"u" * chance.randrange(200)))
        sizes.append(table.memory()["texts"])
    assert max(sizes) <= min(sizes) * 1.4
    assert table.memory()["rows"] <= 96 * 7000


def test_what_is_left_of_a_burst_moves_to_the_lowest_rows(table):
    gid = table.add_group(b"presence")
    slots = burst(table, gid, 20_000)
    for slot in slots:
        table.release(slot)
    assert sorted(burst(table, gid, 100)) == list(range(1, 101))


# ---- rows ----


def test_a_row_that_was_given_back_is_nobodys(table):
    gid = table.add_group(b"presence")
    slots = burst(table, gid, 20_000)
    tags = {slot: table.to_tag(slot) for slot in slots}
    for slot in slots:
        table.release(slot)
    for slot in slots[::97]:
        assert table.state(slot) == "free"
        number = slots.index(slot)
        assert table.find_tag(tags[slot], b"call%d" % number, b"from%d" % number) == 0
        with pytest.raises(KeyError):
            table.facts(slot)
    again = burst(table, gid, 20_000)
    assert sorted(again) == sorted(slots)
    assert all(table.to_tag(slot) != tags[slot] for slot in again)
    for number, slot in enumerate(slots[:2000]):
        assert table.find_tag(tags[slot], b"call%d" % number, b"from%d" % number) == 0


def test_a_tag_takes_its_row_out_of_the_free_ones(table):
    gid = table.add_group(b"presence")
    for slot in burst(table, gid, 300):
        table.release(slot)
    assert table.reserve_tagged(b"00%08x%08x" % (7, 1)) == 7
    assert table.reserve_tagged(b"00%08x%08x" % (5000, 2)) == 5000
    assert [table.reserve() for _ in range(8)] == [1, 2, 3, 4, 5, 6, 8, 9]
    assert table.reserve_tagged(b"00%08x%08x" % (9, 1)) == 0
    assert table.reserve_tagged(b"00%08x%08x" % (0, 1)) == 0


def test_a_tag_of_the_highest_row_takes_no_memory_for_those_below(table):
    slot = 0x3FFFFFFF
    assert table.reserve_tagged(b"00%08x%08x" % (slot, 1)) == slot
    assert table.memory()["rows"] == 2 * 96 * 1024
    assert table.reserve() == 1
    table.release(slot)
    assert table.state(slot) == "free"


def test_the_number_in_the_database_is_kept(table):
    gid = table.add_group(b"presence")
    slot = subscribe(table, gid, dialog(), row_id=1 << 40)
    assert table.facts(slot).row_id == 1 << 40
    assert table.facts(subscribe(table, gid, dialog(2))).row_id == 0


# ---- targets ----


def test_rows_share_their_next_hop_and_the_last_one_takes_it_away(table):
    gid = table.add_group(b"presence")
    slots = burst(table, gid, 4000)
    one = table.memory()["targets"]
    for number, slot in enumerate(slots):
        table.set_target(slot, number % 3, f"127.0.{number % 7}.1", 5060 + number % 5, number % 2)
    for number, slot in enumerate(slots):
        assert table.target(slot) == (f"127.0.{number % 7}.1", 5060 + number % 5)
        assert table.facts(slot)[1:3] == (number % 3, number % 2)
    assert table.memory()["targets"] == one
    for number, slot in enumerate(slots):
        table.set_target(slot, 0, f"127.1.{number // 250}.{number % 250}", 5060)
    assert table.memory()["targets"] > one
    for number, slot in enumerate(slots):
        assert table.target(slot) == (f"127.1.{number // 250}.{number % 250}", 5060)
        table.release(slot)
    assert table.memory()["targets"] <= 5 * one


def test_a_row_without_a_target_has_the_first_link(table):
    gid = table.add_group(b"presence")
    slot = subscribe(table, gid, dialog())
    assert table.facts(slot)[1:3] == (0, 0)
    table.set_target(slot, 1, "::1", 5062)
    assert table.target(slot) == ("::1", 5062)
    table.set_target(slot, 2, "", 0, 77)
    assert table.target(slot) == ("::1", 0)
    assert table.facts(slot)[1:3] == (2, 77)


# ---- From, once for a resource ----


def test_rows_with_another_from_than_their_resource_keep_it(table):
    gid = table.add_group(b"presence")
    other = [LOCAL, b"<sip:Alice@example.com>", b"", b"x" * 300, LOCAL]
    slots = [subscribe(table, gid, dialog(number, local=local)) for number, local in enumerate(other)]
    assert [kept(table, slot)[2] for slot in slots] == other
    table.retarget(slots[4], b"sip:elsewhere", b"")
    table.release(slots[0])
    assert [kept(table, slot)[2] for slot in slots[1:]] == other[1:]


def test_from_outlives_the_resource_of_the_dialogs_first_subscription(table):
    gid, other = table.add_group(b"presence"), table.add_group(b"message-summary")
    owner = subscribe(table, gid, dialog())
    usage = table.reserve()
    table.fill(usage, other, dialog(event_id=b"7"), owner=owner, expires_at=int(NOW) + 60)
    table.release(owner)
    assert table.state(owner) == "gone"
    assert table.drop_group(gid)
    assert table.add_group(b"dialog") == gid
    subscribe(table, gid, dialog(2, local=b"<sip:somebody@example.com>"))
    assert kept(table, owner) == dialog()[:7]
    assert kept(table, usage) == dialog(event_id=b"7")[:7]
    table.release(usage)
    assert table.state(owner) == "free"


def test_groups_of_a_burst_are_given_back(table):
    empty = table.memory()["groups"]
    groups = [table.add_group(b"presence") for _ in range(20_000)]
    for gid in groups:
        table.set_body(gid, 1, b"\r\n")
        slot = subscribe(table, gid, dialog(gid))
        table.release(slot)
    assert table.memory()["groups"] > 10 * empty
    assert all(table.drop_group(gid) for gid in groups)
    assert table.memory()["groups"] <= 6 * empty
    assert table.add_group(b"presence") == 1


# ---- transactions ----


def request(number, tag=True):
    return parse(
        f"OPTIONS sip:example.com SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:5070;branch=z9hG4bK{number}\r\n"
        f"From: <sip:bob@example.com>{f';tag={number}' if tag else ''}\r\nTo: <sip:example.com>\r\n"
        f"Call-ID: {number}\r\nCSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n".encode()
    )


def begin(transactions, numbers: Iterable[int]) -> dict[int, int]:
    return {number: transactions.begin(request(number, number % 3 > 0))[0] for number in numbers}


def test_the_responses_of_a_storm_are_given_back():
    transactions = ServerTransactions(SECRET, NOW)
    empty = transactions.memory()
    for number, index in begin(transactions, range(20_000)).items():
        transactions.complete(index, b"%d" % number + b"r" * 400, NOW + number / 1000)
    full = transactions.memory()
    assert full["responses"] > SPARE_BYTES + CHUNK_BYTES
    assert full["entries"] > 10 * empty["entries"]
    for step in range(60):
        transactions.tick(NOW + step)
    assert len(transactions) == 0
    after = transactions.memory()
    assert after["responses"] <= SPARE_BYTES + CHUNK_BYTES
    assert after["entries"] <= 6 * max(1, empty["entries"])


def test_every_transaction_is_found_while_the_table_grows_and_shrinks():
    transactions = ServerTransactions(SECRET, NOW)
    known = begin(transactions, range(9000))
    chance = random.Random(4)
    for stay in (8000, 5000, 2500, 600, 50, 0):
        for number in chance.sample(sorted(known), len(known) - stay):
            transactions.abandon(known.pop(number))
        assert len(transactions) == stay
        for number, index in known.items():
            assert transactions.begin(request(number, number % 3 > 0)) == (index, True)
    # Every other path of a request that is known is still told apart.
    first = request(1)
    transactions.begin(first)
    again = parse(first.raw.replace(b"z9hG4bK1", b"z9hG4bKother"))
    transactions.begin(again)
    assert again.merged


def test_a_response_of_any_size_comes_back_and_none_that_no_datagram_carries():
    transactions = ServerTransactions(SECRET, NOW)
    sizes = [0, 1, 15, 16, 17, 511, 65_535, 65_536, 300_000]
    known = begin(transactions, range(len(sizes)))
    for number, size in enumerate(sizes):
        transactions.complete(known[number], b"%d" % number * size, NOW)
    for number, size in enumerate(sizes):
        expected = b"%d" % number * size if size <= 65_535 else b""
        assert transactions.response(known[number]) == expected


def test_an_entry_is_used_again_without_what_was_in_it():
    transactions = ServerTransactions(SECRET, NOW)
    (first,) = begin(transactions, [1]).values()
    transactions.complete(first, b"one", NOW)
    transactions.tick(NOW + 33)
    assert transactions.response(first) is None
    (second,) = begin(transactions, [2]).values()
    assert second == first
    assert transactions.response(second) is None
    transactions.complete(second, b"two", NOW + 33)
    assert transactions.response(second) == b"two"
