"""Watcher information: the document (RFC 3858), and what a subscriber is told when (RFC 3857 section 4.7)."""

from pathlib import Path

import pytest
from lxml import etree

from presence.document.watcherinfo import write
from presence.events.package import Listener
from presence.events.winfo import MAX_JOURNAL, WatcherList
from presence.policy.decision import WHOLE
from presence.values import Aor, SubscriptionStatus, WatcherEvent, WatcherRecord

SCHEMA = etree.XMLSchema(etree.parse(str(Path(__file__).parents[1] / "schemas" / "watcherinfo.xsd")))
ALICE = "sip:alice@example.com"
NOW = 1_700_000_000.0
ACTIVE, PENDING, TERMINATED, WAITING = (
    SubscriptionStatus.ACTIVE,
    SubscriptionStatus.PENDING,
    SubscriptionStatus.TERMINATED,
    SubscriptionStatus.WAITING,
)


def watcher(
    id: str,
    status: SubscriptionStatus = ACTIVE,
    event: WatcherEvent = WatcherEvent.SUBSCRIBE,
    *,
    uri: str = "sip:bob@example.com",
    display_name: str = "",
    subscribed_at: float = NOW - 90.7,
    expires_at: float = NOW + 509.2,
) -> WatcherRecord:
    return WatcherRecord(id, uri, display_name, status, event, subscribed_at, expires_at)


def read(document: bytes) -> etree._Element:
    root = etree.fromstring(document)
    SCHEMA.assertValid(root)
    return root


LISTENER = Listener(1, WHOLE, lambda: Aor("alice", "example.com"))


def told(watchers: WatcherList, since: int | None, now: tuple[WatcherRecord, ...] = ()) -> tuple[str, list[str], int]:
    """The state, the watchers as `id status`, and the number of the next document."""
    watchers._watchers_now = lambda: now
    document, sequence = watchers.tell(since, 0, LISTENER, NOW)
    root = read(document)
    names = [f"{w.get('id')} {w.get('status')}" for w in root.iter("{*}watcher")]
    return root.get("state") or "", names, sequence


def test_rfc3858_3_all_attributes_of_a_document() -> None:
    record = watcher("w1", PENDING, display_name="Bob")
    assert write(ALICE, "presence", 7, "partial", [record], NOW) == (
        b'<?xml version="1.0" encoding="UTF-8"?>\n'
        b'<watcherinfo xmlns="urn:ietf:params:xml:ns:watcherinfo" version="7" state="partial">'
        b'<watcher-list resource="sip:alice@example.com" package="presence">'
        b'<watcher id="w1" status="pending" event="subscribe" display-name="Bob" expiration="509"'
        b' duration-subscribed="90">sip:bob@example.com</watcher></watcher-list></watcherinfo>'
    )


@pytest.mark.parametrize("status", SubscriptionStatus)
@pytest.mark.parametrize("event", WatcherEvent)
def test_every_status_and_event_is_valid_and_only_the_living_expire(
    status: SubscriptionStatus, event: WatcherEvent
) -> None:
    (element,) = read(write(ALICE, "presence", 0, "full", [watcher("w", status, event)], NOW)).iter("{*}watcher")
    assert element.get("status") == status.name.lower()
    assert element.get("event") == event.name.lower()
    assert (element.get("expiration") is not None) == (status in {ACTIVE, PENDING})


def test_hostile_names_and_uris_are_escaped_and_control_characters_dropped() -> None:
    record = watcher("<w>", uri="sip:b\x00<&>@example.com", display_name='"]]>\x1b\n\udcff\u00e9')
    (element,) = read(write(ALICE, "presence", 0, "full", [record], NOW)).iter("{*}watcher")
    assert element.text == "sip:b<&>@example.com"
    assert element.get("display-name") == '"]]>\n\u00e9'
    assert element.get("id") == "<w>"


@pytest.mark.parametrize("expires_at", [NOW - 5, float("inf"), float("-inf")])
def test_seconds_are_never_negative_nor_unbounded(expires_at: float) -> None:
    record = watcher("w", subscribed_at=NOW + 5, expires_at=expires_at)
    (element,) = read(write(ALICE, "presence", 0, "full", [record], NOW)).iter("{*}watcher")
    assert element.get("duration-subscribed") == "0"
    assert element.get("expiration") == ("4294967295" if expires_at > NOW else "0")


def test_rfc3857_4_7_2_full_state_first_then_only_what_changed() -> None:
    watchers = WatcherList(ALICE, "presence")
    watchers.changed(watcher("w1"))
    state, names, sequence = told(watchers, None, (watcher("w1"), watcher("w2", WAITING)))
    assert (state, names) == ("full", ["w1 active", "w2 waiting"])
    assert not watchers.has_news(sequence, LISTENER)
    watchers.changed(watcher("w3", PENDING))
    assert watchers.has_news(sequence, LISTENER)
    state, names, sequence = told(watchers, sequence)
    assert (state, names, sequence) == ("partial", ["w3 pending"], watchers.sequence)
    assert told(watchers, sequence) == ("partial", [], sequence)


def test_several_changes_of_a_watcher_are_told_once_with_the_newest() -> None:
    watchers = WatcherList(ALICE, "presence")
    *_, sequence = told(watchers, None)
    watchers.changed(watcher("w1", PENDING))
    watchers.changed(watcher("w2", PENDING))
    watchers.changed(watcher("w1", ACTIVE, WatcherEvent.APPROVED))
    assert told(watchers, sequence)[1] == ["w2 pending", "w1 active"]


def test_a_terminated_watcher_is_told_once_in_partial_and_never_in_full_state() -> None:
    watchers = WatcherList(ALICE, "presence")
    gone = watcher("w1", TERMINATED, WatcherEvent.TIMEOUT)
    *_, sequence = told(watchers, None, (watcher("w1"),))
    watchers.changed(gone)
    assert told(watchers, None, (gone,))[1] == []
    assert told(watchers, sequence) == ("partial", ["w1 terminated"], 1)
    assert told(watchers, 1)[1] == []


def test_rfc3857_4_7_2_transient_states_are_not_told() -> None:
    watchers = WatcherList(ALICE, "presence")
    *_, sequence = told(watchers, None)
    watchers.changed(watcher("fetch", ACTIVE))
    *_, between = told(watchers, sequence)
    watchers.changed(watcher("fetch", TERMINATED, WatcherEvent.TIMEOUT))
    watchers.changed(watcher("refused", TERMINATED, WatcherEvent.REJECTED))
    assert not watchers.has_news(sequence, LISTENER)
    assert told(watchers, sequence)[1] == []
    assert told(watchers, between)[1] == ["fetch terminated"]


def test_a_change_after_forgetting_is_still_told_of_a_known_watcher() -> None:
    watchers = WatcherList(ALICE, "presence")
    watchers.changed(watcher("w1"))
    watchers.forget_up_to(watchers.sequence)
    watchers.changed(watcher("w1"))
    watchers.changed(watcher("w1", TERMINATED, WatcherEvent.DEACTIVATED))
    assert told(watchers, 1)[1] == ["w1 terminated"]


def test_forgetting_keeps_what_is_later_and_gives_full_state_to_who_fell_behind() -> None:
    watchers = WatcherList(ALICE, "presence")
    for name in ("w1", "w2", "w3"):
        watchers.changed(watcher(name))
    watchers.forget_up_to(2)
    assert told(watchers, 2)[:2] == ("partial", ["w3 active"])
    assert watchers.has_news(1, LISTENER)
    assert told(watchers, 1, (watcher("w1"),))[:2] == ("full", ["w1 active"])
    watchers.forget_up_to(99)
    assert told(watchers, 3) == ("partial", [], 3)


def test_the_journal_is_bounded() -> None:
    watchers = WatcherList(ALICE, "presence")
    for number in range(MAX_JOURNAL + 10):
        watchers.changed(watcher(f"w{number}"))
    assert told(watchers, 9)[0] == "full"
    state, names, _ = told(watchers, 10)
    assert (state, len(names)) == ("partial", MAX_JOURNAL)
