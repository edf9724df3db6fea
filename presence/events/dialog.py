"""The event package dialog (RFC 4235), and what each subscriber of it is told."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from presence._fastcore import Message
from presence.document.dialoginfo import (
    DialogInfo,
    ReportedDialog,
    merge_dialogs,
    parse_dialog_info,
    write_dialog_info,
)
from presence.errors import BadRequest, SipError
from presence.events.package import Listener
from presence.policy.decision import POLITE, UNDECIDED, WHOLE
from presence.sip.headers import Uri, parse_name_addr, parse_uri
from presence.values import Aor, Publication

# Some phones cannot read a document without a dialog (kamailio#55).
DUMMY: Final = b'<dialog id="none" direction="recipient"><state>terminated</state></dialog>'

# RFC 4235 section 3.6: that there is a call, and nothing else of it.
VIRTUAL: Final = b'<dialog id="1"><state>confirmed</state></dialog>'

# Which of several to show when only one may be: who could be picked up comes first.
_INTEREST: Final = {state: at for at, state in enumerate(("terminated", "trying", "proceeding", "confirmed", "early"))}

SENDER_HEADER: Final = "Sender"


class DialogOptions(NamedTuple):
    """The settings."""

    partial: bool = False
    """Tell changes as partial state (section 3.3); else full state each time."""
    single: bool = False
    """Show the one dialog that interests most."""
    dummy: bool = False
    """Show a dialog that is terminated when there is none."""
    own_calls: bool = False
    """Tell a subscriber also of its own dialogs with the presentity, against section 3.3."""
    authorised: bool = False
    """Whether the policy decides about each watcher."""


DEFAULTS: Final = DialogOptions()


class DialogPackage:
    """The calls of a presentity: dialog information in, merged over its publishers, one document each out."""

    name = "dialog"
    content_type = "application/dialog-info+xml"
    publishable: tuple[str, ...] = ("application/dialog-info+xml",)
    # Section 3.4: one hour for all dialogs of a user.
    default_expires_s = 3600
    watches = ""
    selectable: tuple[str, ...] = ()

    def __init__(self, options: DialogOptions = DEFAULTS) -> None:
        self.authorised = options.authorised
        self._options = options

    def read(self, content_type: str, body: bytes) -> DialogInfo:
        """Cut the published document into its dialogs."""
        return parse_dialog_info(body)

    def compose(self, presentity: Aor, publications: Sequence[Publication]) -> bytes:
        """Return the full state as the first document of a subscription has it."""
        calls = Calls(presentity.uri, lambda: publications, self._options)
        body, _ = calls.tell(None, 0, Listener(0, WHOLE, lambda: presentity), 0.0)
        return body

    def select(self, parameters: Mapping[str, str], body: bytes, kept: bytes) -> bytes:
        """Keep which dialogs are asked for (section 3.2): all, those of one INVITE, or one."""
        if "call-id" not in parameters:
            return b""
        if "to-tag" not in parameters:
            raise BadRequest("Event Names a Call-ID without To Tag")
        # The names are the subscriber's view: its To is the observed user.
        return json.dumps([parameters.get(name, "") for name in ("call-id", "to-tag", "from-tag")]).encode()

    def withhold(self, presentity: Aor, *, pending: bool) -> bytes:
        """Look like a presentity that is in no call, whether approval is pending or never comes."""
        return self.compose(presentity, ())

    def narrate(self, presentity: Aor, source: Callable[[], Iterable[Publication]]) -> "Calls":
        """Return the calls of a presentity as its subscribers learn of them."""
        return Calls(presentity.uri, source, self._options)

    def sender(self, request: Message) -> str:
        """Return whom the header field Sender names: it published this and needs no NOTIFY of it."""
        value = request.header(SENDER_HEADER)
        if not value:
            return ""
        try:
            return parse_name_addr(value).uri
        except (SipError, ValueError):
            return ""


class _Row(NamedTuple):
    dialog: ReportedDialog
    changed: int
    """The number of the change that made it what it is."""
    moved: int
    """The number of the change since which its remote target is the one it has, 0 for the first one."""


_Reached = int | str
"""The number of the last change told of; for who may only know that there is a call, what it was told."""


class Calls:
    """The dialogs of one presentity as its subscribers have to learn of them (section 4.3).

    Changes are numbered. A dialog that ends is told once to everybody who has not heard of it, and to nobody after.
    """

    def __init__(self, uri: str, source: Callable[[], Iterable[Publication]], options: DialogOptions) -> None:
        self._uri = uri
        self._source = source
        self._options = options
        self._read: object = None
        """Which publications this is made of."""
        self._rows: dict[tuple[str, str, str, str], _Row] = {}
        self._others: tuple[bytes, ...] = ()
        self._sequence = 0
        self._whole = 0
        """Who has not heard of this change needs full state: no partial one could take away what is gone."""
        self._renew()

    # ---- state ----

    def _renew(self) -> None:
        publications = tuple(self._source())
        read = [(p.number, p.order) for p in publications]
        if read == self._read:
            return
        first, self._read = self._read is None, read
        documents = [_sent(p.document, p.sender) for p in publications if isinstance(p.document, DialogInfo)]
        merged = merge_dialogs(documents, latest_state=self._options.single)
        others = tuple(dict.fromkeys(other for document in reversed(documents) for other in document.others))
        self._take(self._chosen(merged), others, first=first)

    def _chosen(self, merged: list[ReportedDialog]) -> list[ReportedDialog]:
        if not self._options.single or not merged:
            return merged
        return [max(merged, key=lambda dialog: _INTEREST.get(dialog.state, 0))]

    def _take(self, dialogs: list[ReportedDialog], others: tuple[bytes, ...], *, first: bool) -> None:
        number = 0 if first else self._sequence + 1
        by_id = {row.dialog.id: row for row in self._rows.values()}
        rows = {}
        for dialog in dialogs:
            old = self._rows.get(dialog.names)
            if old is None or old.dialog.text != dialog.text:
                # A half dialog has become a whole one.
                before = old or by_id.get(dialog.id)
                moved = before is not None and before.dialog.remote_target != dialog.remote_target
                old = _Row(dialog, number, number if moved else before.moved if before else 0)
            rows[dialog.names] = old
        told = {row.dialog.id for row in rows.values() if row.changed == number}
        whole = self._whole
        for names, row in self._rows.items():
            if names not in rows and row.dialog.terminated:
                # Whoever has not heard of its end yet must not go on to show it.
                whole = max(whole, row.changed)
            elif names not in rows and row.dialog.id not in told:
                whole = number
        # An id that stands for several (section 6.1 has one) says too little in a table by id.
        if others != self._others or (told and len({dialog.id for dialog in dialogs}) < len(rows)):
            whole = number
        news = whole > self._whole or any(row.changed == number for row in rows.values())
        self._rows, self._others, self._whole = rows, others, whole
        if news and not first:
            self._sequence = number

    # ---- what the framework asks ----

    def has_news(self, reached: object | None, listener: Listener) -> bool:
        """True when something changed that the subscriber may see and has not been told."""
        self._renew()
        if listener.view in _NOTHING:
            return reached is None
        if listener.view != WHOLE:
            return reached != self._virtual()
        if not isinstance(reached, int) or reached < self._whole or self._hides(reached, listener):
            return True
        return any(self._news(reached, listener))

    def tell(self, reached: object | None, version: int, listener: Listener, now: float) -> tuple[bytes, _Reached]:
        """Return the next document: full state for None, or where partial state is not wanted or says too little."""
        self._renew()
        if listener.view in _NOTHING:
            return self._full(version, ()), self._sequence
        if listener.view != WHOLE:
            virtual = self._virtual()
            return self._full(version, (VIRTUAL,) if virtual else ()), virtual
        known = reached if isinstance(reached, int) else self._sequence
        news = self._news(known, listener)
        whole = not isinstance(reached, int) or known < self._whole or self._hides(known, listener)
        if self._options.partial and not self._options.single and not whole and news:
            body = write_dialog_info(self._uri, version, "partial", [row.dialog.text for row in news])
            return body, self._sequence
        shown = [row for row in self._seen_by(listener) if not row.dialog.terminated or row.changed > known]
        return self._full(version, (*(row.dialog.text for row in shown), *self._others)), self._sequence

    def forget(self, reached: Iterable[object | None]) -> None:
        """Nothing is kept for who is behind: what is gone by then, full state takes away."""

    # ---- what a subscriber sees ----

    def _full(self, version: int, texts: tuple[bytes, ...]) -> bytes:
        return write_dialog_info(self._uri, version, "full", texts or ((DUMMY,) if self._options.dummy else ()))

    def _virtual(self) -> str:
        return "" if all(row.dialog.terminated for row in self._rows.values()) else "call"

    def _news(self, reached: int, listener: Listener) -> list[_Row]:
        fresh = [row for row in self._rows.values() if row.changed > reached]
        if not fresh:
            return fresh
        seen = self._seen_by(listener, fresh)
        if all(not row.dialog.sender for row in seen):
            return seen
        contact = _place(listener.contact())
        return [row for row in seen if contact is None or _place(row.dialog.sender) != contact]

    def _hides(self, reached: int, listener: Listener) -> bool:
        """Whether a dialog that a subscriber may have been told of has become its own."""
        moved = [row for row in self._rows.values() if row.moved > reached]
        return len(moved) > len(self._seen_by(listener, moved)) if moved and not listener.selection else False

    def _seen_by(self, listener: Listener, rows: Iterable[_Row] | None = None) -> list[_Row]:
        """Leave out the dialogs that the subscriber has not asked for, or is party to itself (section 3.3)."""
        seen = list(self._rows.values() if rows is None else rows)
        if listener.selection:
            chosen = json.loads(listener.selection)
            return [
                row
                for row in seen
                if all(not one or one == of for one, of in zip(chosen, row.dialog[1:4], strict=True))
            ]
        if self._options.own_calls or not any(row.dialog.remote_target for row in seen):
            return seen
        contact = _place(listener.contact())
        return [row for row in seen if contact is None or _place(row.dialog.remote_target) != contact]


_NOTHING: Final = frozenset((0, POLITE, UNDECIDED))
"""Views that show no call."""


def _sent(document: DialogInfo, sender: str) -> DialogInfo:
    if not sender:
        return document
    return document._replace(dialogs=tuple([dialog._replace(sender=sender) for dialog in document.dialogs]))


def _place(uri: str) -> tuple[str, str, int | None] | None:
    """Return what makes two Contact URIs lead to one user agent, None for what is no URI."""
    if not uri:
        return None
    try:
        parsed: Uri = parse_uri(uri)
    except (SipError, ValueError):
        return None
    return parsed.user, parsed.host, parsed.port or (5061 if parsed.scheme == "sips" else 5060)
