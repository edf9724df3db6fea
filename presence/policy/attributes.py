"""The presence attributes that permissions speak of, and where they may stand (RFC 5025 section 3.3.2).

A **key** is what has to be granted for an element to be shown: None for what is always shown, the name of an
attribute, the expanded name of an element nobody here knows, or NEVER.
"""

from enum import IntEnum
from typing import Final

from presence.document.pidf import DATA_MODEL, PIDF, Kind
from presence.document.sphere import RPID as RPID

PRES_RULES: Final = "urn:ietf:params:xml:ns:pres-rules"
OMA_PRES_RULES: Final = "urn:oma:xml:prs:pres-rules"
OMA_PRESENCE: Final = "urn:oma:xml:prs:pidf:oma-pres"
GEOPRIV: Final = "urn:ietf:params:xml:ns:pidf:geopriv10"

Name = tuple[str, str]
"""Namespace and local name of an element."""

USER_INPUT: Final = "user-input"
NEVER: Final = "never"
"""No permission is called so: shown only to who is shown everything of the component."""


class UserInput(IntEnum):
    """How much of <user-input> is shown; the numbers are those of RFC 5025 section 3.3.2.12."""

    FALSE = 0
    BARE = 10
    THRESHOLDS = 20
    FULL = 30


Key = str | Name | UserInput | None

_SERVICE, _PERSON, _DEVICE = Kind.TUPLE, Kind.PERSON, Kind.DEVICE
_ALL = (_SERVICE, _PERSON, _DEVICE)


def _rpid(*names: str) -> tuple[Name, ...]:
    return tuple((RPID, name) for name in names)


def _both(name: str) -> tuple[Name, ...]:
    # A tuple has those of PIDF, persons and devices those of the data model; clients mix them up.
    return (PIDF, name), (DATA_MODEL, name)


_ELEMENTS: Final[dict[str, tuple[tuple[Kind, ...], tuple[Name, ...]]]] = {
    "activities": ((_PERSON,), _rpid("activities")),
    "class": (_ALL, _rpid("class")),
    "deviceID": ((_SERVICE,), ((DATA_MODEL, "deviceID"), (RPID, "deviceID"))),
    "mood": ((_PERSON,), _rpid("mood")),
    "place-is": ((_PERSON,), _rpid("place-is")),
    "place-type": ((_PERSON,), _rpid("place-type")),
    "privacy": ((_PERSON, _SERVICE), _rpid("privacy")),
    "relationship": ((_SERVICE,), _rpid("relationship")),
    "sphere": ((_PERSON,), _rpid("sphere")),
    "status-icon": ((_PERSON, _SERVICE), _rpid("status-icon")),
    "time-offset": ((_PERSON,), _rpid("time-offset")),
    USER_INPUT: (_ALL, _rpid("user-input")),
    "note": (_ALL, _both("note")),
    # OMA-TS-Presence_SIMPLE_XDM: elements of the OMA presence data extensions.
    "willingness": ((_PERSON, _SERVICE), ((OMA_PRESENCE, "willingness"), (OMA_PRESENCE, "overriding-willingness"))),
    "network-availability": ((_DEVICE,), ((OMA_PRESENCE, "network-availability"),)),
    "session-participation": ((_SERVICE,), ((OMA_PRESENCE, "session-participation"),)),
    "registration-state": ((_SERVICE,), ((OMA_PRESENCE, "registration-state"),)),
    "barring-state": ((_SERVICE,), ((OMA_PRESENCE, "barring-state"),)),
    "geopriv": (_ALL, ((GEOPRIV, "geopriv"),)),
}
"""Attribute: the components it is an attribute of, and its elements. Elsewhere they are nobody's to grant."""

_ALWAYS: Final[dict[Kind, tuple[Name, ...]]] = {
    _SERVICE: ((PIDF, "contact"), (RPID, "service-class"), *_both("timestamp")),
    _PERSON: _both("timestamp"),
    _DEVICE: (*_both("timestamp"), (DATA_MODEL, "deviceID")),
}
"""RFC 5025 section 3.3.2: reported to whoever is shown the component. Basic status is beneath `STATUS`."""

STATUS: Final = (PIDF, "status")
BASIC: Final = (PIDF, "basic")

PLACES: Final = {attribute: frozenset(places) for attribute, (places, _) in _ELEMENTS.items()}
OMA_ATTRIBUTES: Final = frozenset(
    (
        *("willingness", "network-availability", "session-participation"),
        *("registration-state", "barring-state", "geopriv"),
    )
)
"""Those whose permission is in the namespace of OMA."""

_KNOWN: Final = frozenset(
    (
        *(name for _, names in _ELEMENTS.values() for name in names),
        *(name for names in _ALWAYS.values() for name in names),
        STATUS,
        BASIC,
    )
)


def _keys(kind: Kind) -> dict[Name, Key]:
    keys: dict[Name, Key] = {
        name: attribute for attribute, (places, names) in _ELEMENTS.items() if kind in places for name in names
    }
    return keys | dict.fromkeys(_ALWAYS[kind])


_KEYS: Final = {kind: _keys(kind) for kind in _ALL}


def is_known(name: Name) -> bool:
    """Return whether a permission of its own governs an element (RFC 5025 section 3.3.2.14)."""
    return name in _KNOWN


def key_of(kind: Kind, name: Name) -> Key:
    """Return what has to be granted for a child of a component to be shown."""
    keys = _KEYS[kind]
    if name in keys:
        return keys[name]
    return NEVER if name in _KNOWN else name


def key_of_status(name: Name) -> Key:
    """Return the same for a child of <status>; `provide-unknown-attribute` is about children of <tuple> alone."""
    if name == BASIC:
        return None
    return "geopriv" if name == (GEOPRIV, "geopriv") else NEVER
