"""Dialog information documents (RFC 4235 section 4): read, merged over several publishers, written.

Each <dialog> stays byte for byte what its publisher wrote, but for session descriptions, which nobody is told without
being authorised to (section 3.3). Nothing is validated beyond what a watcher's table needs: an id and a state
(section 4.3).
"""

import re
from collections.abc import Iterable, Sequence
from pyexpat import ParserCreate
from typing import Final, Literal, NamedTuple

from presence.document.cutter import Reader, standing_alone
from presence.document.xml import escape, prepare_xml
from presence.errors import BadRequest

DIALOG_INFO: Final = "urn:ietf:params:xml:ns:dialog-info"

TERMINATED: Final = "terminated"

PROGRESS: Final = {state: at for at, state in enumerate(("trying", "proceeding", "early", "confirmed", TERMINATED))}
"""How far the state machine of a dialog is, which never goes back (section 3.7.1)."""

_PART = "\f"
_INFO, _DIALOG, _STATE, _REMOTE, _TARGET, _IDENTITY, _SESSION = (
    f"{DIALOG_INFO}{_PART}{name}"
    for name in ("dialog-info", "dialog", "state", "remote", "target", "identity", "session-description")
)
_IS_DIALOG, _IS_OTHER = 0, 1
_READER = Reader(
    (DIALOG_INFO, b"dialog-info"),
    {(DIALOG_INFO, b"dialog"): _IS_DIALOG},
    other=_IS_OTHER,
    called=("Dialog Information Document", "Dialog Information"),
)
_XML_DECLARATION = re.compile(rb"<\?xml\s.*?\?>", re.DOTALL)
_HEAD = b'<?xml version="1.0" encoding="UTF-8"?>\n'
_ATTRIBUTE = re.compile(rb"""\s+([^\s=/>]++)\s*=\s*("[^"]*"|'[^']*')""")
_NAME = re.compile(rb"<[^\s/>]++")


class ReportedDialog(NamedTuple):
    """One <dialog> of a document."""

    id: str
    call_id: str
    local_tag: str
    remote_tag: str
    state: str
    """The word of the state machine, in lower case."""
    remote_target: str
    """Contact URI of the other party, '' when it is not told."""
    text: bytes
    """The element, with all declarations it needs."""
    sender: str = ""
    """Contact URI of who published it, where that is to hear nothing of it."""

    @property
    def terminated(self) -> bool:
        """Whether the dialog is over."""
        return self.state == TERMINATED

    @property
    def names(self) -> tuple[str, str, str, str]:
        """What names it."""
        return self[:4]


class DialogInfo(NamedTuple):
    """A published document."""

    partial: bool
    """Whether it tells only of dialogs that changed."""
    dialogs: tuple[ReportedDialog, ...]
    others: tuple[bytes, ...]
    """Elements of other namespaces."""


class _Found:
    """What is to be known of one <dialog>."""

    def __init__(self, attributes: dict[str, str]) -> None:
        self.attributes = attributes
        self.state: str | None = None
        self.target: str | None = None
        self.target_at = -1
        self.identity: str | None = None


class _Facts:
    """What expat finds in a document that was cut already, so is well-formed and bounded."""

    def __init__(self, text: bytes) -> None:
        self.root: dict[str, str] = {}
        self.dialogs: list[_Found] = []
        self.sessions: list[tuple[int, int]] = []
        """Where session descriptions begin and end."""
        self._text = text
        self._path: list[str] = []
        self._words: list[str] | None = None
        self._session_at = -1
        self._expat = expat = ParserCreate("utf-8", _PART)
        expat.buffer_text = True
        expat.StartElementHandler, expat.EndElementHandler = self._start, self._end
        expat.CharacterDataHandler = self._say
        try:
            expat.Parse(text, True)
        finally:
            # The handlers hold the parser, which holds the handlers: untie the knot.
            expat.StartElementHandler = expat.EndElementHandler = expat.CharacterDataHandler = None
            del self._expat

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        path = self._path
        path.append(name)
        depth = len(path)
        if depth == 1:
            self.root = attributes
        elif depth == 2:
            if name == _DIALOG:
                self.dialogs.append(_Found(attributes))
        elif path[1] == _DIALOG:
            self._start_inside(depth, name, attributes)

    def _start_inside(self, depth: int, name: str, attributes: dict[str, str]) -> None:
        found = self.dialogs[-1]
        if depth == 3 and name == _STATE and found.state is None:
            self._words = []
        elif depth == 4 and name == _SESSION:
            self._session_at = self._expat.CurrentByteIndex
        elif depth == 4 and self._path[2] == _REMOTE:
            if name == _TARGET and found.target is None:
                found.target, found.target_at = attributes.get("uri", ""), self._expat.CurrentByteIndex
            elif name == _IDENTITY and found.identity is None:
                self._words = []

    def _end(self, name: str) -> None:
        depth = len(self._path)
        self._path.pop()
        if self._words is not None and depth <= 4 and name in (_STATE, _IDENTITY):
            words, self._words = "".join(self._words).strip(), None
            if name == _STATE:
                self.dialogs[-1].state = words.lower()
            else:
                self.dialogs[-1].identity = words
        elif depth == 4 and name == _SESSION and self._session_at >= 0:
            self.sessions.append((self._session_at, self._end_of(self._session_at)))
            self._session_at = -1

    def _say(self, words: str) -> None:
        if self._words is not None:
            self._words.append(words)

    def _end_of(self, start: int) -> int:
        """Return where an element ends whose end has just been met; an empty one has no end tag."""
        at = self._expat.CurrentByteIndex
        begun = _NAME.match(self._text, start)
        assert begun is not None
        end_tag = b"</" + begun[0][1:]
        if self._text.startswith(end_tag, at) and self._text[at + len(end_tag) : at + len(end_tag) + 1] in b"> \t\r\n":
            return self._text.index(b">", at) + 1
        return at


def parse_dialog_info(body: bytes) -> DialogInfo:
    """Read a published body; raises `BadRequest` when it is no dialog information a watcher could use."""
    document = _READER.read(body)
    facts = _Facts(prepare_xml(body))
    if facts.sessions:
        document = _READER.read(_edit(facts, [(start, end, b"") for start, end in facts.sessions]))
    dialogs, others, found = [], [], iter(facts.dialogs)
    for number in range(len(document)):
        if document.piece(number)[0] == _IS_DIALOG:
            dialogs.append(_report(next(found), standing_alone(document, number)))
        else:
            others.append(standing_alone(document, number))
    # What is said twice of a dialog is what was said last, as in the table of a subscriber (section 4.3).
    last = {dialog.names: dialog for dialog in dialogs}
    return DialogInfo(facts.root.get("state") == "partial", tuple(last.values()), tuple(others))


def _report(found: _Found, text: bytes) -> ReportedDialog:
    named = found.attributes
    if not named.get("id"):
        raise BadRequest("Dialog Without Id")
    if not found.state:
        raise BadRequest("Dialog Without State")
    tags = (named.get("local-tag", ""), named.get("remote-tag", ""))
    return ReportedDialog(named["id"], named.get("call-id", ""), *tags, found.state, found.target or "", text)


def _edit(facts: _Facts, edits: Iterable[tuple[int, int, bytes]]) -> bytes:
    """Return the document, as UTF-8 whatever it was, with some places replaced."""
    text = facts._text
    declaration = _XML_DECLARATION.match(text)
    parts, at = [_HEAD.rstrip()], declaration.end() if declaration else 0
    for start, end, new in sorted(edits):
        parts += (text[at:start], new)
        at = end
    return b"".join((*parts, text[at:]))


def fix_remote_targets(body: bytes) -> bytes:
    """Let the identity of each remote party stand for its target: Polycom phones call the target back.

    The body must have been read without error. A dialog that names one of them only stays as it is.
    """
    facts = _Facts(prepare_xml(body))
    edits = []
    for found in facts.dialogs:
        if not found.identity or found.target_at < 0 or found.target == found.identity:
            continue
        name = _NAME.match(facts._text, found.target_at)
        assert name is not None
        attribute = _ATTRIBUTE.match(facts._text, name.end())
        while attribute is not None and attribute[1] != b"uri":
            attribute = _ATTRIBUTE.match(facts._text, attribute.end())
        if attribute is not None:
            edits.append((attribute.start(2), attribute.end(2), f'"{escape(found.identity)}"'.encode()))
    return _edit(facts, edits) if edits else body


# ---- several publishers ----


class _Seen:
    """Dialogs by what names them, where some of that may be missing."""

    def __init__(self) -> None:
        self._places: dict[tuple[object, ...], int] = {}
        self._masks: set[int] = set()

    def add(self, dialog: ReportedDialog, place: int) -> None:
        """Note a dialog."""
        mask, parts = _mask(dialog), dialog[1:4]
        if mask == 7:
            self._places.setdefault(parts, place)
        self._masks.add(mask)
        for common in range(8):
            if common & ~mask == 0:
                self._places.setdefault((mask, common, dialog.id, *_parts(parts, common)), place)

    def find(self, dialog: ReportedDialog) -> int | None:
        """Return the first place of the same dialog, None when it is not there.

        The same SIP dialog (Call-ID and both tags, RFC 3261 section 12) is the same under any id. Else ids are
        compared, and what else is there must not differ: forked calls have been seen to share an id.
        """
        mask, parts = _mask(dialog), dialog[1:4]
        keys: list[tuple[object, ...]] = [parts] if mask == 7 else []
        keys += [(other, mask & other, dialog.id, *_parts(parts, mask & other)) for other in self._masks]
        return min((self._places[key] for key in keys if key in self._places), default=None)


def _mask(dialog: ReportedDialog) -> int:
    return bool(dialog.call_id) | bool(dialog.local_tag) << 1 | bool(dialog.remote_tag) << 2


def _parts(parts: tuple[str, ...], mask: int) -> tuple[str, ...]:
    return tuple([part for bit, part in enumerate(parts) if mask >> bit & 1])


def merge_dialogs(documents: Sequence[DialogInfo], *, latest_state: bool = False) -> list[ReportedDialog]:
    """Return the dialogs of documents, oldest first, each once: what was published last of each, newest first.

    A dialog that is terminated does not come back, even if something older of it is published later (its state
    machine has no way out); with `latest_state` no state goes back. That needs a Call-ID: ids alone may be used again.
    """
    kept: list[ReportedDialog] = []
    seen = _Seen()
    for document in reversed(documents):
        fresh = []
        for dialog in document.dialogs:
            place = seen.find(dialog)
            if place is None:
                fresh.append(dialog)
            elif _outlives(dialog, kept[place], latest_state=latest_state):
                kept[place] = dialog
        # The dialogs of one document differ, whatever they are called.
        for dialog in fresh:
            seen.add(dialog, len(kept))
            kept.append(dialog)
    return kept


def _outlives(older: ReportedDialog, newer: ReportedDialog, *, latest_state: bool) -> bool:
    if not older.call_id or not newer.call_id or not (latest_state or older.terminated):
        return False
    return PROGRESS.get(older.state, -1) > PROGRESS.get(newer.state, -1)


def absorb(old: DialogInfo | None, body: bytes) -> bytes:
    """Return what is to be held of a publication that goes on with a body: partial state changes the dialogs it names.

    Raises `BadRequest` when the body cannot be read.
    """
    new = parse_dialog_info(body)
    if old is None or not new.partial:
        return body
    known = _Seen()
    for dialog in new.dialogs:
        known.add(dialog, 0)
    kept = [d for d in old.dialogs if not d.terminated and known.find(d) is None]
    root = _Facts(prepare_xml(body)).root
    return write_dialog_info(
        root.get("entity", ""), 0, "full", [*(d.text for d in new.dialogs), *(d.text for d in kept)]
    )


def write_dialog_info(
    entity_uri: str, version: int, state: Literal["full", "partial"], texts: Iterable[bytes]
) -> bytes:
    """Return a document (RFC 4235 section 4.1)."""
    return b'%b<dialog-info xmlns="%b" version="%d" state="%b" entity="%b">%b</dialog-info>' % (
        _HEAD,
        DIALOG_INFO.encode(),
        version,
        state.encode(),
        escape(entity_uri).encode(),
        b"".join(texts),
    )
