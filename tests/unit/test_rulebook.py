"""What decides about a watcher, in which order, and how often documents are read for it."""

from typing import NamedTuple

import pytest
import ruling

from presence.policy.decision import ALLOW, BLOCK, CONFIRM, FILTERED, POLITE_BLOCK, Decision
from presence.policy.rulebook import KEPT, Guard, Rulebook
from presence.store.sqlite import SqliteStore
from presence.values import Aor

ALICE, BOB = Aor("alice", "example.com"), Aor("bob", "example.com")
NOW = 1_700_000_000.0
DIALOGS = "http://openxcap.org/ns/dialog-rules"


class Text(NamedTuple):
    body: bytes


class Shelf:
    """Documents in memory."""

    def __init__(self) -> None:
        self.texts: dict[tuple[Aor | None, str], bytes] = {}
        self.asked = 0

    def of(self, owner: Aor | None, auid: str) -> list[Text]:
        self.asked += 1
        body = self.texts.get((owner, auid))
        return [] if body is None else [Text(body)]


class Book(NamedTuple):
    rules: Rulebook
    shelf: Shelf
    store: SqliteStore

    def write(self, body: bytes, auid: str = "pres-rules") -> None:
        self.shelf.texts[ALICE, auid] = body
        self.rules.forget(ALICE)


def make(default: Decision = CONFIRM, unmatched: Decision = BLOCK) -> Book:
    shelf, store = Shelf(), SqliteStore(":memory:")
    guards = {
        "presence": Guard(("pres-rules",), filtered=True, default=default),
        "dialog": Guard(("dialog-rules",), default=default, namespaces=(DIALOGS,)),
        "message-summary": Guard(default=BLOCK, always=frozenset({Aor("gate", "example.com")})),
    }
    published = [b""]
    rules = Rulebook(
        guards, shelf, store, lambda: NOW, default=default, unmatched=unmatched, published=lambda presentity: published
    )
    return Book(rules, shelf, store)


@pytest.fixture
def book() -> Book:
    return make()


def operator(book: Book, status: int, reason: str = "", package: str = "presence") -> None:
    row = (ALICE.uri, *BOB, package, status, reason, 0, None, 0)
    book.store.submit([("watchers_judge", row)], lambda error: None)
    book.store.flush()


def test_the_presentity_sees_itself_whatever_its_rules_say(book):
    book.write(ruling.ruleset())
    assert book.rules.decide(ALICE, ALICE, "presence") == ALLOW


@pytest.mark.parametrize(
    ("handling", "decision"), [("block", BLOCK), ("confirm", CONFIRM), ("polite-block", POLITE_BLOCK), ("allow", ALLOW)]
)
def test_rfc5025_3_2_1_each_handling(book, handling, decision):
    book.write(ruling.ruleset(ruling.rule(handling)))
    assert book.rules.decide(ALICE, BOB, "presence") == decision


def test_permissions_are_a_view_for_presence_alone(book):
    text = ruling.ruleset(ruling.allow("bob", show=ruling.SHOW_SERVICES))
    book.write(text)
    book.write(about_dialogs(text), "dialog-rules")
    decision = book.rules.decide(ALICE, BOB, "presence")
    assert decision.view == FILTERED
    assert decision.permissions == book.rules.decide(ALICE, BOB, "presence").permissions
    assert book.rules.decide(ALICE, BOB, "dialog") == ALLOW


def about_dialogs(text: bytes) -> bytes:
    return text.replace(b"<pr:sub-handling>", b'<sub-handling xmlns="%b">' % DIALOGS.encode()).replace(
        b"</pr:sub-handling>", b"</sub-handling>"
    )


def test_rules_about_dialogs_say_nothing_of_presence_and_the_other_way_round(book):
    text = ruling.ruleset(ruling.allow("bob"))
    book.write(about_dialogs(text))
    book.write(text, "dialog-rules")
    assert [book.rules.decide(ALICE, BOB, package) for package in ("presence", "dialog")] == [BLOCK, BLOCK]


@pytest.mark.parametrize(
    ("status", "reason", "decision"),
    [(1, "", ALLOW), (1, "polite-block", POLITE_BLOCK), (2, "", CONFIRM), (3, "x", BLOCK), (9, "", CONFIRM)],
)
def test_without_a_document_an_operator_decides(book, status, reason, decision):
    operator(book, status, reason)
    assert book.rules.decide(ALICE, BOB, "presence") == decision
    book.write(ruling.ruleset(ruling.allow("bob")))
    assert book.rules.decide(ALICE, BOB, "presence") == ALLOW


def test_what_the_server_wrote_itself_decides_nothing(book):
    (write,) = book.rules.record(ALICE, BOB, "presence", ALLOW, NOW)
    book.store.submit([write], lambda error: None)
    book.store.flush()
    assert list(book.store.read("watchers_decided", (ALICE.uri, "presence", 0, 9))) == [(1, *BOB, 1, "")]
    assert book.rules.decide(ALICE, BOB, "presence") == CONFIRM


def test_the_default_yields_to_an_operator_and_rules_do_not(book):
    operator(book, 1)
    for write in book.rules.record(ALICE, BOB, "presence", CONFIRM, NOW):
        book.store.submit([write], lambda error: None)
    book.store.flush()
    assert book.rules.decide(ALICE, BOB, "presence") == ALLOW
    book.write(ruling.ruleset(ruling.rule("block")))
    for write in book.rules.record(ALICE, BOB, "presence", BLOCK, NOW):
        book.store.submit([write], lambda error: None)
    book.store.flush()
    assert [row[3:] for row in book.store.read("watchers_decided", (ALICE.uri, "presence", 0, 9))] == [(3, "rejected")]


def test_an_account_is_its_owners(book):
    assert book.rules.decide(ALICE, BOB, "message-summary") == BLOCK
    assert book.rules.decide(ALICE, Aor("gate", "example.com"), "message-summary") == ALLOW
    assert book.rules.decide(ALICE, ALICE, "message-summary") == ALLOW
    operator(book, 1, package="message-summary")
    assert book.rules.decide(ALICE, BOB, "message-summary") == ALLOW


def test_packages_nobody_has_rules_for_have_the_default():
    book = make(POLITE_BLOCK)
    assert book.rules.decide(ALICE, BOB, "weather") == POLITE_BLOCK


def test_a_document_is_compiled_once_per_version(book):
    book.write(ruling.ruleset(ruling.allow("bob")))
    first = book.rules.rules(ALICE, "presence")
    asked = book.shelf.asked
    for _ in range(5):
        book.rules.decide(ALICE, BOB, "presence")
    assert book.rules.rules(ALICE, "presence") is first
    assert book.shelf.asked == asked
    book.write(ruling.ruleset())
    assert book.rules.decide(ALICE, BOB, "presence") == BLOCK


def test_compiled_rules_are_bounded(book, monkeypatch):
    monkeypatch.setattr("presence.policy.rulebook.KEPT", 10)
    text = ruling.ruleset(ruling.allow("bob"))
    for number in range(50):
        owner = Aor(f"u{number}", "example.com")
        book.shelf.texts[owner, "pres-rules"] = text
        assert book.rules.decide(owner, BOB, "presence") == ALLOW
    assert len(book.rules._compiled) == 10
    assert KEPT > 1000


def test_who_is_anonymous_has_no_identity(book):
    book.write(ruling.ruleset(ruling.rule("allow", "<cp:identity><cp:many/></cp:identity>")))
    assert book.rules.decide(ALICE, BOB, "presence") == ALLOW
    assert book.rules.decide(ALICE, Aor("anonymous", "anonymous.invalid"), "presence") == BLOCK
