"""Numbers for rows to come, so that a row has its name before it is in the table."""

from collections.abc import Callable

from presence.errors import StoreError


class Numbers:
    """Hands out the row numbers of one table, a block reserved ahead."""

    __slots__ = ("_ahead", "_ask", "_end", "_next", "_size", "table")

    def __init__(self, table: str, size: int, ask: Callable[["Numbers"], None]) -> None:
        self.table = table
        self._size, self._ask = size, ask
        self._next = self._end = 0
        self._ahead = 0

    def reserved(self, first: int) -> None:
        """Take a block for when the present one is used up; any thread may call."""
        self._ahead = first

    def take(self) -> int:
        """Return the next number; raises StoreError when the database has given none for a whole block's time."""
        number = self._next
        if number == self._end:
            number = self._turn()
        self._next = number + 1
        return number

    def _turn(self) -> int:
        if not self._ahead:
            self._ask(self)  # in the caller's thread it is there at once
            if not self._ahead:
                raise StoreError(f"no numbers are reserved for {self.table}")
        first, self._ahead = self._ahead, 0
        self._end = first + self._size
        self._ask(self)
        return first
