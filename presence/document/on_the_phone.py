"""The presence of a person whose calls are known (RFC 4480 section 3.2, after OpenSIPS's mix_dialog_presence)."""

from collections.abc import Iterable
from typing import Final

from presence.document.dialoginfo import ReportedDialog
from presence.document.pidf import DATA_MODEL, PIDF
from presence.document.xml import escape

_RPID: Final = "urn:ietf:params:xml:ns:pidf:rpid"
_TALKING: Final = "On the phone"
_CALLING: Final = "Proceeding"


def show_calls(entity_uri: str, dialogs: Iterable[ReportedDialog]) -> bytes | None:
    """Return the document of who talks, or is about to; None of who has no call."""
    states = {dialog.state for dialog in dialogs if not dialog.terminated}
    if not states:
        return None
    # Whose phone rings is not on it yet.
    talking = "confirmed" in states
    note = _TALKING if talking else _CALLING
    activities = "<rpid:activities><rpid:on-the-phone/></rpid:activities>" if talking else ""
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<presence xmlns="{PIDF}" xmlns:dm="{DATA_MODEL}" '
        f'xmlns:rpid="{_RPID}" entity="{escape(entity_uri)}">'
        '<tuple id="tuple_mixingid"><status><basic>open</basic></status></tuple>'
        f"<note>{note}</note>"
        f'<dm:person id="pers_mixingid">{activities}<dm:note>{note}</dm:note></dm:person></presence>'
    ).encode()
