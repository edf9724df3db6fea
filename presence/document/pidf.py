"""Reading a published PIDF into fragments that composition can join as bytes (RFC 3863, RFC 4479).

A published document is cut, not rebuilt (`cutter`): each child of <presence> stays byte for byte what its publisher
wrote, because watchers look for literal text (baresip for `<basic>` and `<rpid:busy/>`). Nothing is validated: baresip
sends a person before the tuple and `<basic>unknown</basic>`, and the schema is not meant for that (RFC 3863
section 4.4).
"""

from enum import IntEnum
from typing import Final

from presence._fastcore import CutDocument
from presence.document.cutter import MAX_DECLARATIONS, MAX_FRAGMENTS, Reader

__all__ = [
    "DATA_MODEL",
    "MAX_DECLARATIONS",
    "MAX_FRAGMENTS",
    "PIDF",
    "VOCABULARY",
    "Kind",
    "PidfDocument",
    "parse_odd_pidf",
    "parse_pidf",
]

PIDF: Final = "urn:ietf:params:xml:ns:pidf"
DATA_MODEL: Final = "urn:ietf:params:xml:ns:pidf:data-model"


class Kind(IntEnum):
    """What a child of <presence> is; the numbers are the order of composition."""

    TUPLE = 0
    NOTE = 1
    PERSON = 2
    DEVICE = 3
    OTHER = 4


PidfDocument = CutDocument
"""A published PIDF, cut once: places in the body, which is not held twice."""

_READER = Reader(
    (PIDF, b"presence"),
    {
        (PIDF, b"tuple"): Kind.TUPLE,
        (PIDF, b"note"): Kind.NOTE,
        (DATA_MODEL, b"person"): Kind.PERSON,
        (DATA_MODEL, b"device"): Kind.DEVICE,
    },
    other=Kind.OTHER,
    identified=(Kind.TUPLE, Kind.PERSON, Kind.DEVICE),
    usual=(f"{PIDF}:rpid",),
    called=("Presence Document", "PIDF"),
)

VOCABULARY = _READER.vocabulary
"""What the compiled reader knows of presence documents."""


def parse_pidf(body: bytes) -> PidfDocument:
    """Cut a published body; raises `BadRequest` when it is not well-formed or not a presence document."""
    return _READER.read(body)


def parse_odd_pidf(body: bytes) -> PidfDocument:
    """Cut any body with expat, to the same result."""
    return _READER.read_odd(body)
