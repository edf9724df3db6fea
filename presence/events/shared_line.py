"""The event package dialog with the parameter sla: bridged line appearance (draft-anil-sipping-bla-03)."""

from typing import Literal

from presence._fastcore import Message
from presence.document.dialoginfo import DialogInfo, absorb, fix_remote_targets
from presence.errors import BadRequest
from presence.events.dialog import DEFAULTS, DialogOptions, DialogPackage
from presence.sip.headers import parse_name_addr, parse_uri, read_address, read_aor
from presence.values import Aor

Naming = Literal["contact", "request-uri", "to"]
"""What names the line in a SUBSCRIBE."""


class SharedLinePackage(DialogPackage):
    """The calls of a line that several phones have in common, each phone told what the others do."""

    name = "dialog;sla"

    def __init__(
        self,
        options: DialogOptions = DEFAULTS,
        naming: Naming = "contact",
        *,
        fix_target: bool = True,
    ) -> None:
        super().__init__(options._replace(partial=True, single=False))
        self._naming = naming
        self._fix_target = fix_target

    def absorb(self, old: object | None, body: bytes) -> bytes:
        """Let partial state change the dialogs that it names, and no others."""
        held = absorb(old if isinstance(old, DialogInfo) else None, body)
        return fix_remote_targets(held) if self._fix_target else held

    def subscribed(self, request: Message, home: str) -> Aor:
        """Return the line: by default the user of Contact at the domain of From, as these phones have it."""
        if self._naming == "request-uri":
            return read_address(request, home)
        if self._naming == "to":
            return read_aor(request.header("To") or "")
        contact = request.values("Contact")
        if not contact:
            raise BadRequest("Missing Contact")
        user = parse_uri(parse_name_addr(contact[0]).uri).aor().username
        return Aor(user, read_aor(request.header("From") or "").domain)
