"""What waits for its answer: atomic changes, gathered by tick, and what became of them."""

import marshal
from typing import NamedTuple

from presence.errors import StoreError
from presence.store.base import PRIVATE_USE, Done, Value
from presence.store.window import Change, Gone

_FORMAT = 2  # of marshal: the first that every later Python reads and that writes each object out


class Tick(NamedTuple):
    """Journalled changes of one tick: all writes in order, and for each submission how many were its own."""

    writes: list[Change]
    dones: list[tuple[int, Done]]


class Finished(NamedTuple):
    """One group when it is through: whom to tell, and the error of each (None: of nobody)."""

    dones: list[tuple[int, Done]]
    errors: list[StoreError | None] | None = None
    rows: int = 0
    seconds: float = 0.0
    gone: tuple[Gone, ...] = ()
    """Rows a fold did not find."""


def refused(dones: list[tuple[int, Done]], error: StoreError) -> Finished:
    """Return the outcome of a group of which nothing was applied."""
    return Finished(dones, [error] * len(dones))


def encode(writes: list[Change]) -> bytes:
    """Return a record of the journal; raises ValueError when there is a value that is none of ours."""
    return marshal.dumps(writes, _FORMAT)


def decode(record: bytes) -> list[Change]:
    """Return what `encode` was given; raises ValueError."""
    try:
        writes: list[Change] = marshal.loads(record)
    except (EOFError, TypeError) as error:
        raise ValueError(str(error)) from error
    return writes


def sift(tick: Tick) -> tuple[list[Change], list[StoreError | None]]:
    """Return what can be written of a tick that as a whole cannot, and the error of each submission."""
    writes: list[Change] = []
    errors: list[StoreError | None] = []
    at = 0
    for count, _ in tick.dones:
        own = tick.writes[at : at + count]
        at += count
        try:
            encode(own)
        except ValueError as error:
            errors.append(StoreError(f"the change cannot be written: {error}"))
        else:
            writes += own
            errors.append(None)
    return writes, errors


def storable(params: tuple[Value, ...]) -> tuple[Value, ...]:
    """Return parameters whose text SQLite can hold.

    A peer's bytes that are no UTF-8 arrive as lone surrogates. They are kept as private-use characters: a
    broken display name refuses nothing, and distinct keys stay distinct.
    """
    return tuple(value.translate(PRIVATE_USE) if isinstance(value, str) else value for value in params)
