"""What may be called from outside: names, parameters, and the errors of OpenSIPS's management interface."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from presence.errors import BadRequest, StoreError
from presence.sip.headers import parse_uri
from presence.values import Aor

Argument = str | int | float | bool | None


class Fault(Exception):
    """A call that failed: a number and a phrase, for the caller to read."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{code} {message}")
        self.code, self.message = code, message


class BadArguments(Fault):
    """Too many, too few, or others than the procedure has."""

    def __init__(self) -> None:
        super().__init__(400, "Too few or too many arguments")


class Procedure(NamedTuple):
    """Something that may be called."""

    parameters: tuple[str, ...]
    call: Callable[..., None]
    """Takes the parameters in order; raises `Fault`."""

    def run(self, arguments: Sequence[Argument] | Mapping[str, Argument]) -> str:
        """Call it with arguments by position or by name, and return what it says; raises `Fault`."""
        if isinstance(arguments, Mapping):
            if arguments.keys() != set(self.parameters):
                raise BadArguments
            arguments = [arguments[name] for name in self.parameters]
        elif len(arguments) != len(self.parameters):
            raise BadArguments
        try:
            self.call(*arguments)
        except StoreError:
            raise Fault(503, "Database Unavailable") from None
        return "OK"


RefreshWatchers = Callable[[Aor, str, int], None]
"""Hears whose rules (0) or documents (another number) for an event package changed; raises KeyError for an unknown
package."""

RefreshDocument = Callable[[str, int], bool]
"""Hears the `doc_uri` and port of a document that is to be fetched again; False when nobody has it."""


def list_procedures(
    refresh_watchers: RefreshWatchers, refresh_document: RefreshDocument, cleanup: Callable[[], None]
) -> dict[str, Procedure]:
    """Return every procedure under each of its names: of OpenSIPS 1.6, of OpenSIPS today and of Kamailio."""

    def refresh(presentity_uri: Argument, event: Argument, refresh_type: Argument) -> None:
        presentity, kind = _presentity(presentity_uri), _number(refresh_type, "refresh_type")
        if not isinstance(event, str) or not event.strip():
            raise Fault(400, "Empty event parameter")
        try:
            refresh_watchers(presentity, event.strip(), kind)
        except KeyError:
            raise Fault(500, "Unknown event") from None

    def fetch(doc_uri: Argument, port: Argument) -> None:
        if not isinstance(doc_uri, str) or not doc_uri.strip():
            raise Fault(400, "Empty document URL")
        if not refresh_document(doc_uri.strip(), _number(port, "port")):
            raise Fault(404, "No such document")

    watchers = Procedure(("presentity_uri", "event", "refresh_type"), refresh)
    updated = Procedure(("presentity_uri", "event"), lambda uri, event: refresh(uri, event, 0))
    document = Procedure(("doc_uri", "port"), fetch)
    clean = Procedure((), cleanup)
    return {
        **dict.fromkeys(("refreshWatchers", "presence:refresh_watchers", "presence.refreshWatchers"), watchers),
        "presence.updateWatchers": updated,
        **dict.fromkeys(
            ("refreshXcapDoc", "xcap_client:refreshXcapDoc", "xcap_client.refreshXcapDoc"),
            document,
        ),
        **dict.fromkeys(("cleanup", "presence:cleanup", "presence.cleanup"), clean),
    }


def _presentity(argument: Argument) -> Aor:
    if not isinstance(argument, str) or not argument.strip():
        raise Fault(404, "Empty presentity URI")
    text = argument.strip()
    try:
        return parse_uri(text if ":" in text.partition("@")[0] else f"sip:{text}").aor()
    except BadRequest:
        raise Fault(400, "Invalid presentity URI") from None


def _number(argument: Argument, name: str) -> int:
    text = str(argument).strip()
    if isinstance(argument, bool | float) or not text.isascii() or not text.isdigit() or len(text) > 9:
        raise Fault(400, f"Invalid {name}")
    return int(text)
