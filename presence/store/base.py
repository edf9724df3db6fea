"""What the roles ask of a database: atomic changes, acknowledged in order, and reading."""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from presence.errors import StoreError

Value = str | bytes | int | float | None


PRIVATE_USE = {surrogate: 0x100000 + surrogate for surrogate in range(0xD800, 0xE000)}
"""What stands in the tables for a peer's bytes that are no UTF-8."""

_RECEIVED = {kept: surrogate for surrogate, kept in PRIVATE_USE.items()}

_KEPT = re.compile("[\U0010d800-\U0010dfff]")


def as_received(value: Value) -> Value:
    """Return a value of the tables with a peer's bytes that are no UTF-8 as they came."""
    return value.translate(_RECEIVED) if isinstance(value, str) and _KEPT.search(value) else value


Write = tuple[str, tuple[Value, ...]]
"""One statement of `sql/queries`, by name, with its parameters in order."""


Done = Callable[[StoreError | None], None]

Missing = Callable[[str, int], None]
"""Told in the caller's thread that the row a query changed is not there: its name, and the row's number."""


class Store(Protocol):
    """A database that acknowledges changes in groups.

    There are two kinds of writing queries, and `sql/queries` says which is which. A *journalled* change is
    acknowledged when it is written down, and is in the tables within a second; whoever submits it knows the
    state, and reads it from the tables at the start only. A *direct* change is in the tables before it is
    acknowledged. One submission holds changes of one kind.
    """

    def new_id(self, table: str) -> int:
        """Return the number of a row to be inserted, which nobody else has or will ever have; raises StoreError."""

    def submit(self, writes: Sequence[tuple[str, tuple[Value, ...]]], done: Done) -> None:
        """Queue one atomic change; `Write` or a plain pair names each statement.

        `done` is called in the caller's thread, for changes of one kind in the order of submission: with None
        when the change is as safe as the setting of durability promises, or with the `StoreError` that refused
        it (then nothing of it was applied). A journalled change that finds no row, because somebody took it out
        of the table, is acknowledged all the same, and the store's `on_missing` hears of it when it is folded.
        """

    def flush(self) -> None:
        """Hand what was submitted since the last call to the writer (the end of a tick)."""

    @property
    def progress(self) -> tuple[int, int]:
        """How many journalled changes were acknowledged since the start, and how many of them are in the tables.

        They come into the tables in the order they were acknowledged in.
        """

    def read(self, query: str, params: tuple[Value, ...] = ()) -> Iterator[tuple[Value, ...]]:
        """Run a reading query of `sql/queries`; sees what is in the tables."""

    def close(self) -> None:
        """Write what is queued, bring it into the tables, call every `done`, release the file."""
