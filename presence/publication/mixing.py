"""Calls that show in presence: publications of the package dialog join those of presence."""

from collections.abc import Sequence

from presence.document.dialoginfo import DialogInfo, merge_dialogs
from presence.document.on_the_phone import show_calls
from presence.document.pidf import parse_pidf
from presence.publication.composing import Composing
from presence.values import Aor, Publication


class CallsInPresence:
    """Adds what is published of a presentity's calls, as the newest of its presence."""

    def __init__(self, composing: Composing, package: str) -> None:
        self._composing = composing
        self._package = package

    def join(self, presentity: Aor, publications: Sequence[Publication]) -> Sequence[Publication]:
        """Return the publications with one more while there is a call."""
        published = self._composing.publications((self._package, presentity))
        documents = [p.document for p in published if isinstance(p.document, DialogInfo)]
        body = show_calls(presentity.uri, merge_dialogs(documents)) if documents else None
        if body is None:
            return publications
        return (*publications, Publication(0.0, 0, "", body, parse_pidf(body)))
