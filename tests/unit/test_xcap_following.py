"""Following documents where changes are heard later than documents are read, and where storage fails."""

from collections.abc import Iterable

import pytest

from presence.document.xcapdiff import DocumentPart
from presence.errors import StoreError
from presence.events.package import Listener
from presence.events.xcap_changes import Account, Changes, Version
from presence.events.xcap_diff import XcapDiffPackage
from presence.events.xcap_following import Following
from presence.events.xcap_selection import Choice, Library, Mode, choose, places_of, read_mode
from presence.values import Aor
from presence.xcap.documents import Change, Key, Stored

ALICE = Aor("alice", "example.com")
KEY = Key("test-app", ALICE, "index")
SEL = "test-app/users/sip:alice@example.com/index"
LISTS = b"urn:ietf:params:xml:ns:resource-lists"
ROOT = "http://xcap.example.com/root"


class Shelf:
    """Documents in memory, whose changes are told when a test says so."""

    def __init__(self) -> None:
        self.held: dict[Key, Stored] = {}
        self.broken = False

    def version(self, etag: str, body: bytes = b"") -> Stored:
        return Stored(KEY, body or b"<a><b>%s</b></a>" % etag.encode(), etag, "", 0.0, 0, 0)

    def get(self, key: Key) -> Stored | None:
        if self.broken:
            raise StoreError("disk")
        return self.held.get(key)

    def of(self, owner: Aor | None, auid: str) -> list[Stored]:
        return [stored for key, stored in self.held.items() if (key.owner, key.auid) == (owner, auid)]

    def all_of(self, owner: Aor | None) -> list[Stored]:
        return [stored for key, stored in self.held.items() if key.owner == owner]

    def look_again(self, what: Iterable[Key]) -> None:
        """Nothing is found by looking."""


def make(mode: Mode, *uris: str) -> tuple[Shelf, XcapDiffPackage, Listener]:
    shelf, package = Shelf(), XcapDiffPackage()
    package.serve(Library(shelf, {}, (ROOT,)))
    kept = Choice(mode, ROOT, uris or (SEL,)).pack()
    return shelf, package, Listener(1, 1, lambda: ALICE, kept)


def test_a_version_read_before_its_change_was_heard_is_not_told_again() -> None:
    shelf, package, listener = make(Mode.XCAP_PATCHING)
    narrator = package.narrate(ALICE, list)
    one, two, three = map(shelf.version, "123")
    shelf.held[KEY] = two
    body, reached = narrator.tell(None, 0, listener, 0.0)
    assert b'new-etag="2"' in body
    package.changes.heard(Change(KEY, one, two))
    assert not narrator.has_news(reached, listener)
    # Two changes in one: the patch from a version the watcher never had would be a wrong one.
    shelf.held[KEY] = three
    package.changes.heard(Change(KEY, one, three))
    assert narrator.has_news(reached, listener)
    body, _ = narrator.tell(reached, 1, listener, 0.0)
    assert f'<document sel="{SEL}" previous-etag="2" new-etag="3"/>'.encode() in body


def test_what_cannot_be_read_is_told_when_it_can() -> None:
    shelf, package, listener = make(Mode.NO_PATCHING, SEL, f"{SEL}/~~/a/b")
    narrator = package.narrate(ALICE, list)
    shelf.held[KEY] = shelf.version("1")
    shelf.broken = True
    body, reached = narrator.tell(None, 0, listener, 0.0)
    assert b"<document" not in body
    assert not narrator.has_news(reached, listener)
    shelf.broken = False
    assert narrator.has_news(reached, listener)
    body, reached = narrator.tell(reached, 1, listener, 0.0)
    assert b'new-etag="1"' in body
    assert b"<b>1</b>" in body


def test_everything_may_have_changed() -> None:
    shelf, package, listener = make(Mode.XCAP_PATCHING)
    heard: list[Aor] = []
    package.changes.told = heard.append
    narrator = package.narrate(ALICE, list)
    shelf.held[KEY] = shelf.version("1")
    _, reached = narrator.tell(None, 0, listener, 0.0)
    package.changes.reset()
    assert heard == [ALICE]
    assert not narrator.has_news(reached, listener), "nothing has"
    shelf.held[KEY] = shelf.version("2")
    package.changes.reset()
    assert narrator.has_news(reached, listener)
    body, _ = narrator.tell(reached, 1, listener, 0.0)
    assert b'previous-etag="1" new-etag="2"' in body


def test_who_has_ended_is_followed_no_more() -> None:
    shelf, package, listener = make(Mode.AGGREGATE)
    narrator = package.narrate(ALICE, list)
    _, reached = narrator.tell(None, 0, listener, 0.0)
    assert isinstance(reached, Following)
    assert narrator.concerned() is None, "at a start it may be anybody"
    package.changes.heard(Change(KEY, None, shelf.version("1")))
    assert narrator.concerned() == [1]
    assert narrator.concerned() == []
    del reached
    package.changes.heard(Change(KEY, None, shelf.version("1")))
    assert (narrator.concerned(), len(package.changes)) == ([], 0)


def test_what_is_kept_of_versions_has_a_bound() -> None:
    shelf, account = Shelf(), Account(100)
    one, two = shelf.version("1", b"<a>" + b"x" * 20 + b"</a>"), shelf.version("2", b"<a>" + b"y" * 20 + b"</a>")
    first = Version(Change(KEY, one, two), account)
    assert (account.kept, first.patch_from(first) is not None) == (54, True)
    second = Version(Change(KEY, two, one), account)
    assert (account.kept, second.patch_from(second)) == (54, None)
    del first
    assert account.kept == 0
    third = Version(Change(KEY, two, one), account)
    assert (account.kept, third.patch_from(third) is not None) == (54, True)


def test_nobody_pays_for_what_nobody_follows() -> None:
    changes = Changes(Account())
    changes.heard(Change(KEY, None, Shelf().version("1")))
    assert changes.account.kept == 0
    changes.reset()


def test_a_document_is_in_all_folders_above_it() -> None:
    key = Key("test-app", ALICE, "a/b/c")
    assert [getattr(place, "folder", None) for place in places_of(key)] == [None, "", "", "a/", "a/b/"]


@pytest.mark.parametrize("uris", [None, (), ("a",), ("a", "b/c?xmlns(p=urn:x)")])
@pytest.mark.parametrize("mode", Mode)
def test_what_is_kept_of_a_choice_is_all_of_it(mode: Mode, uris: tuple[str, ...] | None) -> None:
    choice = Choice(mode, ROOT, uris)
    assert Choice.unpack(choice.pack(), "other") == choice
    assert Choice.unpack(b"", ROOT) == Choice(Mode.NO_PATCHING, ROOT, None)


@pytest.mark.parametrize(
    ("text", "mode"), [("AGGREGATE", Mode.AGGREGATE), ("", Mode.NO_PATCHING), ("x", Mode.NO_PATCHING)]
)
def test_rfc5875_4_3_modes_are_tokens(text: str, mode: Mode) -> None:
    assert read_mode({"diff-processing": text}) is mode


def test_where_clients_call_us_as_they_like_their_root_is_the_root() -> None:
    body = b"<r:resource-lists xmlns:r='%s'><r:list><r:entry uri='%%s'/></r:list></r:resource-lists>" % LISTS
    library = Library(Shelf(), {}, ("http://127.0.0.1:8080/xcap-root",), any_host=True)
    choice = choose(library, Mode.AGGREGATE, body % f"https://lab:8443/xcap-root/{SEL}".encode())
    assert choice == Choice(Mode.AGGREGATE, "https://lab:8443/xcap-root", (SEL,))


def test_a_part_says_what_has_become_of_a_document() -> None:
    assert DocumentPart(SEL, "1", None).write("", terse=False) == f'<document sel="{SEL}" previous-etag="1"/>'
