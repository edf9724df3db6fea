"""The documents of table `xcap`: read, changed when nobody else did meanwhile, and watched for changes by others.

The database's triggers keep a log of changes, whoever makes them. It is the one source of what listeners are
told: a change of ours comes by the same way as one of another XCAP server's, once and in order.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from presence.errors import PresenceError, StoreError
from presence.store.base import Store, Value, Write
from presence.values import Aor
from presence.xcap.doctypes import NUMBERS, auid_of, name_in, number_of, other_name
from presence.xcap.shelf import Key, Place, Shelf, Shelves, Stored

__all__ = ["Change", "Conflict", "Documents", "Key", "Stored"]

LOOK_EVERY_S = 0.25
"""How long a change of somebody else's may go unseen."""

AT_ONCE = 1000
"""Entries of the log read in one look; what is beyond them comes with the next."""

SHELVES_KEPT, BYTES_KEPT = 100_000, 64 << 20


class Conflict(PresenceError):
    """The document is not the one the change was meant for."""


class Change(NamedTuple):
    """What became of a document."""

    key: Key
    before: Stored | None
    """None: there was none. Its body is empty when it was not in memory; the etag is right."""
    after: Stored | None
    """None: it is gone."""


class _Note(NamedTuple):
    seq: int
    name: str
    old_etag: str | None


Done = Callable[[Exception | None], None]


class Documents:
    """All documents, with what was read last kept in memory.

    The database is read in the caller's thread. Raises StoreError where it cannot be.
    """

    def __init__(self, store: Store, *, shelves_kept: int = SHELVES_KEPT, bytes_kept: int = BYTES_KEPT) -> None:
        self._store = store
        self._shelves = Shelves(shelves_kept, bytes_kept)
        self.listeners: list[Callable[[Change], None]] = []
        """Told of every change after its commit, once, whoever made it."""
        self.resets: list[Callable[[], None]] = []
        """Told that everything may have changed, in place of changes too many to be listed."""
        self.wake: Callable[[], None] = _nothing
        """Called when there is something to hand to the writer before the next tick."""
        self.hinted: Callable[[list[Key] | Aor], None] | None = None
        """Told what `look_again` was asked for."""
        self.faulted: Callable[[Exception], None] = _raise
        """Told what a listener raised."""
        self.missed: Callable[[Aor, str, bool], None] | None = None
        """Told who asked for what, and whether it was fetched, where there are none of our own."""
        self._seen = self._trimmed = self._read_position()
        self._told: dict[Place, int] = {}
        """Up to which entry of the log changes of a place are told already, where that is beyond `_seen`."""
        self._untold: deque[Change | None] = deque()
        self._telling = False
        self._look_at = 0.0

    # ---- reading ----

    def get(self, key: Key) -> Stored | None:
        """Return a document, None when there is none."""
        return self._shelf(Place(key.owner, key.auid)).documents.get(name_in(key.auid, key.name))

    def of(self, owner: Aor | None, auid: str) -> list[Stored]:
        """Return all documents of one user (None: the global tree) and application usage."""
        return list(self._shelf(Place(owner, auid)).documents.values())

    def all_of(self, owner: Aor | None) -> list[Stored]:
        """Return all documents of one user (None: the global tree), without their bodies; nothing of it is kept."""
        found: dict[Key, Stored] = {}
        for doc_type, *row in self._store.read("xcap_names", _names_owner(owner)):
            auid = auid_of(doc_type)
            if auid is not None:
                row_id, doc_uri, *rest = row
                stored = _stored(Place(owner, auid), row_id, doc_uri, b"", *rest)
                found[stored.key] = _newer(found.get(stored.key), stored)
        return list(found.values())

    def owners(self, auid: str) -> Iterator[Aor]:
        """Return the users that have documents of an application usage."""
        for username, domain in self._store.read("xcap_owners", (number_of(auid),)):
            owner = _owner(username, domain)
            if owner is not None:
                yield owner

    @property
    def kept(self) -> tuple[int, int]:
        """How many users' documents are in memory (by application usage), and their bytes."""
        return len(self._shelves), self._shelves.size

    def _shelf(self, place: Place) -> Shelf:
        shelf = self._shelves.get(place)
        if shelf is None:
            shelf = self._read(place)
            self._shelves.put(place, shelf)
        if self.missed is not None and place.owner is not None and shelf.elsewhere:
            self.missed(place.owner, place.auid, bool(shelf.documents))
        return shelf

    def _read(self, place: Place) -> Shelf:
        number = NUMBERS.get(place.auid)
        if number is None:  # a usage whose documents nobody stores
            return Shelf(self._seen, {})
        documents: dict[str, Stored] = {}
        position = 0
        for seen, row_id, *row in self._store.read("xcap_of", (*_names_owner(place.owner), number)):
            position = _number(seen)
            if row_id is not None:
                stored = _stored(place, row_id, *row)
                name = stored.key.name
                documents[name] = _newer(documents.get(name), stored)
        return Shelf(position, documents)

    # ---- changing ----

    def put(
        self, key: Key, body: bytes, etag: str, expected: str | None, done: Done, *, content_type: str = ""
    ) -> None:
        """Store a document when its etag is still `expected` (None: it must not be there).

        `done` gets None after the commit, `Conflict` when it is another, `StoreError` when the change was refused.
        """
        kept_type = content_type or None
        stored = self._look_up(key, expected, done)
        if isinstance(stored, Exception):
            return
        if stored is None:
            name = name_in(key.auid, key.name)
            where = (*_names_owner(key.owner), number_of(key.auid), name, other_name(key.auid, name))
            write: Write = ("xcap_insert", (*where, body, etag, kept_type))
        else:
            # A path stood there when the document was fetched; now it is ours.
            doc_uri = stored.key.name if stored.doc_uri.startswith("/") else stored.doc_uri
            write = ("xcap_update", (stored.row_id, expected, doc_uri, body, etag, kept_type))
        self._submit([write, ("xcap_changes_demand", ())], key, expected, done)

    def delete(self, key: Key, expected: str, done: Done) -> None:
        """Delete a document when its etag is still `expected`; `done` as with `put`."""
        stored = self._look_up(key, expected, done)
        if stored is None or isinstance(stored, Exception):
            return
        name = stored.key.name
        where = (*_names_owner(key.owner), number_of(key.auid), name, other_name(key.auid, name))
        deletion: Write = ("xcap_delete", (stored.row_id, expected))
        self._submit([deletion, ("xcap_changes_demand", ()), ("xcap_delete_others", where)], key, expected, done)

    def _look_up(self, key: Key, expected: str | None, done: Done) -> Stored | Exception | None:
        """Return the document that is to be changed, or why it cannot be, which `done` is told."""
        try:
            self._look()
            stored = self.get(key)
        except StoreError as error:
            done(error)
            return error
        self._tell()
        if _tag(stored) == expected:
            return stored
        conflict = Conflict(f"{key.auid}: the document is another by now")
        done(conflict)
        return conflict

    def _submit(self, writes: list[Write], key: Key, expected: str | None, done: Done) -> None:
        # Each statement says what it expects: another writer may be between us and the tables.
        self.submit(writes, lambda error: done(error and self._explain(error, key, expected)))

    def _explain(self, error: Exception, key: Key, expected: str | None) -> Exception:
        """Return why a change was refused."""
        try:
            stored = self.get(key)
        except StoreError as unread:
            return unread
        return error if _tag(stored) == expected else Conflict(f"{key.auid}: the document is another by now")

    def submit(self, writes: list[Write], done: Done) -> None:
        """Make any change of the tables of documents; what `done` reads then is what listeners are told next."""

        def settled(error: StoreError | None) -> None:
            try:
                self._look()
            except StoreError:  # the next tick tells
                self._shelves.clear()
            try:
                done(error)
            finally:
                self._tell()

        try:
            self._store.submit(writes, settled)
        except StoreError as error:
            settled(error)
        self.wake()

    # ---- changes of others ----

    def tick(self, now: float) -> None:
        """Look for changes that others made, now and then."""
        if now < self._look_at:
            return
        try:
            self._look_at = now if self._look() else now + LOOK_EVERY_S
        except StoreError:
            self._look_at = now + LOOK_EVERY_S
        if self._trimmed < self._seen:
            self._trimmed = self._seen
            self._store.submit([("xcap_changes_trim", (self._seen,))], _ignore)
        self._tell()

    def look_again(self, what: Aor | Iterable[Key]) -> None:
        """Read the documents of a user, or those of the places named, anew at once, and tell what is different."""
        self._look()
        if isinstance(what, Aor):
            places = [Place(what, auid) for auid in NUMBERS]
        else:
            what = list(what)
            places = list(dict.fromkeys(Place(key.owner, key.auid) for key in what))
        if self.hinted is not None:
            self.hinted(what)
        for place in places:
            old = self._shelves.get(place)
            if old is not None:
                shelf = self._read(place)
                self._untold += _differences(old, shelf)
                self._shelves.put(place, shelf)
                self._told[place] = shelf.position
        self._tell()

    def _read_position(self) -> int:
        return max((_number(seq) for (seq,) in self._store.read("xcap_changes_position")), default=0)

    def _look(self) -> bool:
        """Take over what the log has beyond what was seen; return whether there may be more."""
        rows = list(self._store.read("xcap_changes_after", (self._seen, AT_ONCE)))
        if not rows:
            return False
        if _number(rows[0][0]) > self._seen + 1:  # the log is bounded, and this is more than it holds
            self._seen = self._read_position()
            self._shelves.clear()
            self._told.clear()
            self._untold.append(None)
            return False
        noted: dict[Place, list[_Note]] = {}
        for seq, username, domain, doc_type, doc_uri, old_etag in rows:
            auid = auid_of(doc_type)
            if auid is None:
                continue
            place = Place(_owner(username, domain), auid)
            if _number(seq) > self._told.get(place, 0):
                old = None if old_etag is None else _text(old_etag)
                noted.setdefault(place, []).append(_Note(_number(seq), name_in(auid, _text(doc_uri)), old))
        # Read everything before anything is taken for told: the database may fail at any of them.
        fresh = {place: self._read(place) for place in noted}
        self._seen = _number(rows[-1][0])
        for place, notes in noted.items():
            self._untold += self._compare(place, notes, fresh[place])
            self._told[place] = fresh[place].position
        self._told = {place: position for place, position in self._told.items() if position > self._seen}
        return len(rows) == AT_ONCE

    def _compare(self, place: Place, notes: list[_Note], shelf: Shelf) -> list[Change]:
        old = self._shelves.get(place)
        if old is not None:
            self._shelves.put(place, shelf)
            if old.position < notes[0].seq:
                return _differences(old, shelf)
        # What memory holds has the change in it already, or nothing is held.
        before: dict[str, Stored | None] = {}
        for note in notes:
            before.setdefault(note.name, _remembered(place, note))
        return [
            Change(Key(place.auid, place.owner, name), stored, shelf.documents.get(name))
            for name, stored in before.items()
            if stored is not None or name in shelf.documents
        ]

    def _tell(self) -> None:
        """Tell what there is to tell, in order; a listener that raises does not silence the others."""
        if self._telling:  # a listener came back here: what it caused is told after what it was told
            return
        self._telling = True
        failure: Exception | None = None
        while self._untold:
            change = self._untold.popleft()
            calls: list[Callable[[], None]] = (
                list(self.resets) if change is None else [_telling(tell, change) for tell in self.listeners]
            )
            for call in calls:
                try:
                    call()
                except Exception as raised:
                    failure = failure or raised
        self._telling = False
        if failure is not None:
            self.faulted(failure)


def _telling(tell: Callable[[Change], None], change: Change) -> Callable[[], None]:
    return lambda: tell(change)


def _differences(old: Shelf, new: Shelf) -> list[Change]:
    changes = []
    for name in dict.fromkeys((*old.documents, *new.documents)):
        before, after = old.documents.get(name), new.documents.get(name)
        if _content(before) != _content(after):
            key = (before or after).key  # type: ignore[union-attr]
            changes.append(Change(key, before, after))
    return changes


def _tag(stored: Stored | None) -> str | None:
    return None if stored is None else stored.etag


def _content(stored: Stored | None) -> tuple[str, bytes, str] | None:
    return None if stored is None else (stored.etag, stored.body, stored.content_type)


def _remembered(place: Place, note: _Note) -> Stored | None:
    if note.old_etag is None:
        return None
    return Stored(Key(place.auid, place.owner, note.name), b"", note.old_etag, "", 0.0, 0, 0)


def _newer(one: Stored | None, other: Stored) -> Stored:
    """Return which of two rows counts that stand for one document: the one written last."""
    if one is None or (one.changed_at, one.row_id) <= (other.changed_at, other.row_id):
        return other
    return one


def _stored(
    place: Place,
    row_id: Value,
    doc_uri: Value,
    doc: Value,
    etag: Value,
    source: Value,
    port: Value,
    content_type: Value,
    changed_at: Value,
) -> Stored:
    """Read a row, whoever wrote it: TEXT where others want a BLOB, numbers as text."""
    path = _text(doc_uri)
    body = doc if isinstance(doc, bytes) else _text(doc).encode("utf-8", "surrogatepass")
    key = Key(place.auid, place.owner, name_in(place.auid, path))
    since = float(changed_at) if isinstance(changed_at, int | float) else 0.0
    kind = _text(content_type)
    return Stored(key, body, _text(etag), kind, since, _number(row_id), _number(source), path, _number(port))


def _number(value: Value) -> int:
    return int(value) if isinstance(value, int | float) else 0


def _text(value: Value) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return "" if value is None else str(value)


def _owner(username: Value, domain: Value) -> Aor | None:
    aor = Aor(_text(username), _text(domain))
    return aor if any(aor) else None


def _names_owner(owner: Aor | None) -> tuple[str, str]:
    return ("", "") if owner is None else (owner.username, owner.domain)


def _nothing() -> None:
    """Nobody has to be woken."""


def _raise(error: Exception) -> None:
    raise error


def _ignore(_error: StoreError | None) -> None:
    """The next time will do."""
