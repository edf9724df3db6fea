"""The documents there are, and their changes."""

from collections.abc import Callable
from typing import NamedTuple, Protocol

from presence.errors import PresenceError
from presence.values import Aor


class Conflict(PresenceError):
    """The document is another than was expected; nothing was changed."""


class Key(NamedTuple):
    """Names one document."""

    auid: str
    owner: Aor | None
    """None: the global tree."""
    name: str
    """Path below the home directory, "index" for most."""


class Stored(NamedTuple):
    """A document as it is kept."""

    key: Key
    body: bytes
    etag: str
    content_type: str
    changed_at: float
    """0 when unknown."""
    row_id: int
    source: int


class Change(NamedTuple):
    """What a committed change made of a document."""

    key: Key
    before: Stored | None
    after: Stored | None


class Documents(Protocol):
    """What the XCAP server asks of the documents."""

    listeners: list[Callable[[Change], None]]

    def get(self, key: Key) -> Stored | None: ...

    def of(self, owner: Aor, auid: str) -> list[Stored]: ...

    def all_of(self, owner: Aor) -> list[Stored]: ...

    def put(
        self, key: Key, body: bytes, etag: str, expected: str | None, done: Callable[[Exception | None], None]
    ) -> None: ...

    def delete(self, key: Key, expected: str, done: Callable[[Exception | None], None]) -> None: ...

    def tick(self, now: float) -> None: ...
