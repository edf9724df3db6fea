"""Dialogs of several publishers, merged and told, against a plain reading of RFC 4235."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from dialoginfo import dialog, info, remote
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from presence.document.dialoginfo import (
    PROGRESS,
    DialogInfo,
    ReportedDialog,
    merge_dialogs,
    parse_dialog_info,
    write_dialog_info,
)
from presence.events.dialog import Calls, DialogOptions
from presence.events.package import Listener
from presence.policy.decision import WHOLE
from presence.values import Aor, Publication

EXAMPLES = int(os.environ.get("PRESENCE_EXAMPLES", "400"))

NS = "{urn:ietf:params:xml:ns:dialog-info}"
ALICE = Aor("alice", "example.com")
CONTACTS = tuple(f"sip:w@127.0.0.{n}" for n in range(3))
STATES = (*PROGRESS, "odd")

dialogs = st.builds(
    dialog,
    st.sampled_from(("1", "2", "3")),
    st.sampled_from(STATES),
    call_id=st.sampled_from(("", "", "c", "d")),
    local_tag=st.sampled_from(("", "l", "m")),
    remote_tag=st.sampled_from(("", "r", "s")),
    more=st.sampled_from(("", "", "<duration>1</duration>", "<duration>2</duration>", *map(remote, CONTACTS))),
)
documents = st.lists(dialogs, max_size=4).map(lambda some: parse_dialog_info(info(*some).encode()))


def same(one: ReportedDialog, other: ReportedDialog) -> bool:
    pairs = list(zip(one[1:4], other[1:4], strict=True))
    if all(left and right for left, right in pairs) and all(left == right for left, right in pairs):
        return True
    return one.id == other.id and all(left == right or not left or not right for left, right in pairs)


@dataclass
class Entry:
    named: ReportedDialog
    shown: ReportedDialog


def merged(published: list[DialogInfo], *, latest: bool) -> list[ReportedDialog]:
    """The newest document speaks first; what a dialog was before does not count, unless it had ended."""
    entries: list[Entry] = []
    for document in reversed(published):
        known = list(entries)
        for one in document.dialogs:
            entry = next((entry for entry in known if same(entry.named, one)), None)
            if entry is None:
                entries.append(Entry(one, one))
            elif one.call_id and entry.shown.call_id and (latest or one.state == "terminated"):
                entry.shown = max(entry.shown, one, key=lambda dialog: PROGRESS.get(dialog.state, -1))
    return [entry.shown for entry in entries]


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.lists(documents, max_size=5), st.booleans())
def test_dialogs_are_merged_as_a_plain_reading_has_it(published: list[DialogInfo], latest: bool) -> None:
    assert merge_dialogs(published, latest_state=latest) == merged(published, latest=latest)


def test_many_dialogs_of_one_id_take_no_time() -> None:
    published = [
        parse_dialog_info(info(*(dialog("1", call_id=f"c{n}", local_tag=str(m)) for m in range(500))).encode())
        for n in range(60)
    ]
    assert len(merge_dialogs(published)) == 30_000


# ---- what subscribers are told ----


@dataclass
class Subscriber:
    """Follows section 4.3; `lost` documents never came, which the notifier hears of."""

    contact: str
    reached: object | None = None
    told: int = -1
    version: int = -1
    rows: dict[tuple[str, ...], str] = field(default_factory=dict)
    ended: list[tuple[str, ...]] = field(default_factory=list)

    @property
    def listener(self) -> Listener:
        return Listener(1, WHOLE, lambda: ALICE, contact=lambda: self.contact)

    def take(self, calls: Calls, *, lost: bool) -> None:
        if not calls.has_news(self.reached, self.listener):
            return
        body, self.reached = calls.tell(self.reached, self.told + 1, self.listener, 0.0)
        self.told += 1
        if lost:
            self.reached = None
            return
        root = etree.fromstring(body)
        version, whole = int(root.get("version", "")), root.get("state") == "full"
        assert whole or version == self.version + 1
        assert version > self.version
        self.version = version
        if whole:
            self.rows = {}
        for one in root:
            names = tuple(one.get(name, "") for name in ("id", "call-id", "local-tag", "remote-tag"))
            if not whole:
                # Its table is by id alone: a half dialog becomes a whole one.
                self.rows = {row: state for row, state in self.rows.items() if row[0] != names[0] or row == names}
            state = one.findtext(f"{NS}state") or ""
            if state == "terminated":
                self.ended.append(names)
                self.rows.pop(names, None)
            else:
                self.rows[names] = state


steps = st.tuples(
    st.integers(0, 2),
    st.one_of(st.none(), documents),
    st.lists(st.sampled_from(("now", "later", "lost", "refresh")), min_size=3, max_size=3),
)


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.lists(steps, min_size=1, max_size=12), st.booleans(), st.booleans())
def test_every_subscriber_knows_the_calls_in_the_end(
    history: list[tuple[int, DialogInfo | None, list[str]]], partial: bool, single: bool
) -> None:
    held: dict[int, Publication] = {}

    def source() -> list[Publication]:
        return sorted(held.values(), key=lambda publication: publication.order)

    calls = Calls(ALICE.uri, source, DialogOptions(partial=partial, single=single))
    subscribers = [Subscriber(contact) for contact in CONTACTS]
    for order, (number, document, moods) in enumerate(history):
        held.pop(number, None)
        if document is not None:
            held[number] = Publication(0.0, order, "", b"", document, number=number)
        for subscriber, mood in zip(subscribers, moods, strict=True):
            if mood == "refresh":
                subscriber.reached = None
            if mood != "later":
                subscriber.take(calls, lost=mood == "lost")
    expected = merged([p.document for p in source()], latest=single)  # type: ignore[misc]
    if single and expected:
        interest = ("terminated", "trying", "proceeding", "confirmed", "early")
        expected = [max(expected, key=lambda one: interest.index(one.state) if one.state in interest else 0)]
    for subscriber in subscribers:
        theirs = [one for one in expected if one.remote_target != subscriber.contact]
        live = {one.names: one.state for one in theirs if one.state != "terminated"}
        subscriber.take(calls, lost=False)
        assert subscriber.rows == live
        assert not calls.has_news(subscriber.reached, subscriber.listener)


@settings(max_examples=EXAMPLES // 4, deadline=None)
@given(documents)
def test_what_is_written_is_read_again_to_the_same(document: DialogInfo) -> None:
    body = write_dialog_info(ALICE.uri, 7, "full", [one.text for one in document.dialogs])
    assert parse_dialog_info(body) == document
