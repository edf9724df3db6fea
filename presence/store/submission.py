"""What waits for the writer: atomic changes, gathered into groups that share one commit."""

from collections.abc import Iterator
from typing import NamedTuple

from presence.errors import StoreError
from presence.store.base import Done, Value
from presence.store.queries import Query

GROUP_LIMIT = 2000  # writes in one commit: more gain no throughput and delay the first answer


class Submission(NamedTuple):
    """One atomic change and whom to tell about it."""

    writes: tuple[tuple[Query, tuple[Value, ...]], ...]
    done: Done


class Outcome(NamedTuple):
    """What became of a submission; None is committed."""

    submission: Submission
    error: StoreError | None


class Finished(NamedTuple):
    """One group when the writer is through with it."""

    outcomes: list[Outcome]
    rows: int
    seconds: float


def refuse(group: list[Submission], error: StoreError) -> list[Outcome]:
    """Return the outcomes of a group of which nothing was applied."""
    return [Outcome(submission, error) for submission in group]


def cut_groups(submissions: list[Submission]) -> Iterator[list[Submission]]:
    """Cut into groups of at most GROUP_LIMIT writes; a submission is never cut."""
    group: list[Submission] = []
    size = 0
    for submission in submissions:
        if group and size + len(submission.writes) > GROUP_LIMIT:
            yield group
            group, size = [], 0
        group.append(submission)
        size += len(submission.writes)
    if group:
        yield group


_PRIVATE_USE = {surrogate: 0x100000 + surrogate for surrogate in range(0xD800, 0xE000)}


def storable(params: tuple[Value, ...]) -> tuple[Value, ...]:
    """Return parameters whose text SQLite can hold.

    A peer's bytes that are no UTF-8 arrive as lone surrogates. They are kept as private-use characters: a
    broken display name refuses nothing, and distinct keys stay distinct.
    """
    return tuple(value.translate(_PRIVATE_USE) if isinstance(value, str) else value for value in params)
