"""What the roles ask of a database: atomic changes, acknowledged in order, and reading."""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from presence.errors import StoreError

Value = str | bytes | int | float | None


Write = tuple[str, tuple[Value, ...]]
"""One statement of `sql/queries`, by name, with its parameters in order."""


Done = Callable[[StoreError | None], None]


class Store(Protocol):
    """A database with one writer and group commit."""

    def submit(self, writes: Sequence[Write], done: Done) -> None:
        """Queue one atomic change.

        `done` is called in the caller's thread, in the order of submission: with None after the commit that
        holds the change, or with the `StoreError` that refused it (then nothing of it was applied).
        """

    def flush(self) -> None:
        """Hand what was submitted since the last call to the writer (the end of a tick)."""

    def read(self, query: str, params: tuple[Value, ...] = ()) -> Iterator[tuple[Value, ...]]:
        """Run a reading query of `sql/queries` on a connection of its own; sees committed changes only."""

    def close(self) -> None:
        """Write what is queued, call every `done`, release the file."""
