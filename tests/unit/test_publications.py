"""Entity-tags and times of publications: a tag names one state of one publication and is never given again."""

from __future__ import annotations

import random

import pytest
import sip
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from presence._fastcore import Message, Publications, ServerTransactions, parse

NOW = 1_700_000_000.0
PREFIX = "0123456789ab"
HORIZON_S = 4000


def make(**limits: int) -> Publications:
    limits = {"min_expires_s": 0, "max_expires_s": 3600, "expires_offset_s": 0, **limits}
    return Publications(ServerTransactions(bytes(16), NOW), bytes(8), PREFIX, NOW, **limits)


def publish(tag: str, *, uri: str = "sip:alice@example.com", event: str = "presence", expires: int = 600) -> Message:
    return parse(sip.request("PUBLISH", uri, f"Event: {event}", f"SIP-If-Match: {tag}", f"Expires: {expires}"))


def hold(tags: Publications, expires_at: float = NOW + 600, **more: bool) -> tuple[int, str]:
    number = tags.reserve()
    tag = tags.next_tag(number)
    tags.hold(number, "presence", "alice", "example.com", 1000 + number, expires_at, **more)
    return number, tag


@pytest.fixture
def tags() -> Publications:
    return make()


def test_a_tag_names_its_publication(tags: Publications) -> None:
    number, tag = hold(tags)
    assert tags.find(publish(tag)) == number
    assert tags.find(publish(tag, uri="sips:alice@example.com:5061")) == number


@pytest.mark.parametrize(
    "change",
    [
        lambda tag: tag.upper(),
        lambda tag: "f" + tag[1:],
        lambda tag: tag[1:],
        lambda tag: tag + "0",
        lambda tag: tag + ".1",
        lambda tag: tag[:-1],
        lambda tag: tag[:-2],
        lambda tag: tag[:-1] + "2",
        lambda tag: tag[:-1] + "0",
        lambda tag: tag[:-1] + "01",
        lambda tag: tag[:13] + "0" + tag[13:],
        lambda tag: tag[:13] + "0" + tag[14:],
        lambda tag: tag[:13] + "2" + tag[14:],
        lambda tag: tag[:13] + "100000001" + tag[14:],
        lambda tag: tag[:13] + "ffffffff.ffffffff",
        lambda tag: tag[:13] + "ffffffffff.1",
        lambda tag: tag[:12] + "-" + tag[13:],
        lambda tag: tag[:12],
        lambda tag: tag[:12] + "..",
        lambda tag: tag[:12] + "....",
        lambda tag: tag + "!" * 500,
        lambda tag: "",
    ],
)
def test_no_other_tag_does(tags: Publications, change) -> None:
    _, tag = hold(tags)
    other = change(tag)
    if other != tag:
        assert tags.find(publish(other)) == 0


def test_nor_one_of_another_resource(tags: Publications) -> None:
    _, tag = hold(tags)
    for uri in ("sip:bob@example.com", "sip:alice@example.org", "sip:alicee@xample.com"):
        assert tags.find(publish(tag, uri=uri)) == 0
    assert tags.find(publish(tag, event="message-summary")) == 0
    assert tags.find(publish(tag, event="presenc")) == 0


def test_a_tag_is_old_after_the_next(tags: Publications) -> None:
    number, tag = hold(tags)
    assert tags.take(number)
    assert not tags.take(number)
    assert tags.find(publish(tag)) == number
    new = tags.next_tag(number)
    tags.renew(number, NOW + 600)
    assert (tags.find(publish(tag)), tags.find(publish(new))) == (0, number)


def test_a_change_that_came_to_nothing_leaves_the_tag(tags: Publications) -> None:
    number, tag = hold(tags)
    tags.take(number)
    tags.give(number)
    assert tags.find(publish(tag)) == number


def test_a_foreign_tag_is_not_found_here_until_ours_follows(tags: Publications) -> None:
    number, tag = hold(tags, foreign=True)
    assert tags.find(publish(tag)) == 0
    assert tags.find(publish(f"{PREFIX}.{number:x}.0")) == 0
    new = tags.next_tag(number)
    tags.renew(number, NOW + 600)
    assert tags.find(publish(new)) == number


class Tags(RuleBasedStateMachine):
    """Publications come, go on and go, and no tag that was ever given is given again, or found when it is old."""

    def __init__(self) -> None:
        super().__init__()
        self.tags = make()
        self.held: dict[int, str] = {}
        self.given: set[str] = set()

    def give(self, number: int) -> str:
        tag = self.tags.next_tag(number)
        assert tag not in self.given
        self.given.add(tag)
        return tag

    @rule(foreign=st.booleans())
    def insert(self, foreign: bool) -> None:
        number = self.tags.reserve()
        assert number not in self.held
        tag = "" if foreign else self.give(number)
        self.tags.hold(number, "presence", "alice", "example.com", number, NOW + 60, foreign=foreign)
        self.held[number] = tag

    @rule(told=st.booleans())
    def insert_for_nothing(self, told: bool) -> None:
        """Expires: 0 gives a tag away; a refused commit does not."""
        number = self.tags.reserve()
        if told:
            self.give(number)
        self.tags.release(number)

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def renew(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted(self.held)))
        assert self.tags.take(number)
        tag = self.give(number)
        self.tags.renew(number, NOW + 60)
        self.held[number] = tag

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted(self.held)))
        self.give(number)
        self.tags.release(number)
        del self.held[number]

    @rule()
    def find_all(self) -> None:
        current = {tag: number for number, tag in self.held.items() if tag}
        for tag in self.given:
            assert self.tags.find(publish(tag)) == current.get(tag, 0)
        assert len(self.tags) == len(self.held)


TestTags = Tags.TestCase
TestTags.settings = settings(max_examples=60, stateful_step_count=40, deadline=None, derandomize=True)


# ---- time ----


def test_a_publication_is_due_once_its_time_is_over_and_again_when_it_stays(tags: Publications) -> None:
    number, _ = hold(tags, NOW + 60)
    assert tags.due(NOW + 59) == []
    assert not tags.is_over(number, NOW + 59)
    assert tags.due(NOW + 62) == [number]
    assert tags.is_over(number, NOW + 62)
    assert tags.due(NOW + 64) == []
    assert tags.due(NOW + 70) == [number]


def test_the_next_to_have_a_number_has_a_time_of_its_own(tags: Publications) -> None:
    for first_s, second_s in ((60, 600), (600, 60), (60, 60)):
        tags = make()
        number, _ = hold(tags, NOW + first_s)
        tags.release(number)
        again, _ = hold(tags, NOW + second_s)
        assert again == number
        assert tags.due(NOW + second_s - 1) == []
        assert tags.due(NOW + second_s + 2) == [number]
        tags.release(number)
        assert tags.due(NOW + 4000) == []


def test_a_publication_that_is_gone_is_never_due(tags: Publications) -> None:
    number, _ = hold(tags, NOW + 60)
    tags.release(number)
    tags.reserve()
    assert tags.due(NOW + 4000) == []


@pytest.mark.parametrize("expires_s", [4090, 4095, 4096, 4097, 10_000, 2**31 - 1])
def test_a_time_beyond_the_horizon_comes_in_time(expires_s: int) -> None:
    tags = make(max_expires_s=2**31 - 1)
    number, _ = hold(tags, NOW + expires_s)
    at = 0
    while at + HORIZON_S < min(expires_s, 20_000):
        at += HORIZON_S
        assert tags.due(NOW + at) == []
    if expires_s < 20_000:
        assert tags.due(NOW + expires_s - 1) == []
        assert tags.due(NOW + expires_s + 2) == [number]


def test_times_against_a_model() -> None:
    chance = random.Random(20260101)
    for _ in range(60):
        tags, ends, now = make(), {}, NOW
        for _ in range(120):
            act = chance.random()
            if act < 0.4 or not ends:
                end = now + chance.choice((1, 5, 60, 3600, 9000))
                ends[hold(tags, end)[0]] = end
            elif act < 0.6:
                number = chance.choice(sorted(ends))
                ends[number] = now + chance.choice((1, 5, 60, 3600, 9000))
                tags.renew(number, ends[number])
            elif act < 0.7:
                number = chance.choice(sorted(ends))
                tags.release(number)
                del ends[number]
            now += chance.choice((0, 0.5, 3, 50, 3000, 9000))
            due = tags.due(now)
            assert len(due) == len(set(due))
            assert all(ends[number] <= now for number in due)
            for number in due:
                tags.release(number)
                del ends[number]
            # The wheel looks once in a second.
            assert all(end > now - 2 for end in ends.values())


# ---- batches ----


def test_many_refreshes_of_one_tick_and_only_the_first_of_each() -> None:
    transactions = ServerTransactions(bytes(16), NOW)
    tags = Publications(transactions, bytes(8), PREFIX, NOW, min_expires_s=0, max_expires_s=3600, expires_offset_s=0)
    held = [hold(tags) for _ in range(1000)]
    requests = [publish(tag, expires=4_294_967_295) for _, tag in held for _ in range(2)]
    for request in requests:
        transactions.begin(request)
    others, batch, modifications = tags.gather(requests, NOW)
    assert batch is not None
    assert (len(others), len(batch.requests), modifications) == (1000, 1000, [])
    assert tags.numbers(batch) == [number for number, _ in held]
    assert len({params[1] for _, params in batch.writes}) == 1000
    assert {params[2] for _, params in batch.writes} == {int(NOW) + 3600}
    tags.give_back(batch)
    assert all(tags.take(number) for number, _ in held)


def test_nothing_is_ordinary_while_an_earlier_request_waits(tags: Publications) -> None:
    transactions = ServerTransactions(bytes(16), NOW)
    number, tag = hold(tags)
    request = publish(tag)
    transactions.begin(request)
    for waiting in (1, 1):
        tags.defer(number, waiting)
    assert tags.gather([request], NOW)[1] is None
    tags.defer(number, -1)
    assert tags.gather([request], NOW)[1] is None
    tags.defer(number, -1)
    assert tags.gather([request], NOW)[1] is not None
    with pytest.raises(KeyError):
        tags.defer(99, 1)
