"""The table of users as an operator changes it, also while a server runs."""

from typing import NamedTuple

from presence.errors import StoreError
from presence.store.opening import beside
from presence.store.queries import load_queries
from presence.values import Aor


class Hashes(NamedTuple):
    """What stands for a password: H(A1) in hex, by the columns of `subscriber`."""

    ha1: str
    ha1b: str
    ha1_sha256: str
    ha1_sha512t256: str


class User(NamedTuple):
    """A user, and by which algorithms they can prove themselves."""

    aor: Aor
    algorithms: tuple[str, ...]


class UnknownUser(StoreError):
    """There is no such user."""


class KnownUser(StoreError):
    """There is such a user already."""


def add_user(path: str, aor: Aor, hashes: Hashes) -> None:
    """Add a user; raises KnownUser."""
    with beside(path) as connection:
        if list(connection.execute(load_queries()["subscriber_get"].sql, aor)):
            raise KnownUser(f"{'@'.join(aor)} is a user already")
        connection.execute(load_queries()["subscriber_insert"].sql, (*aor, *hashes))


def change_password(path: str, aor: Aor, hashes: Hashes) -> None:
    """Change a user's password; raises UnknownUser."""
    _change(path, "subscriber_update", aor, (*aor, *hashes))


def remove_user(path: str, aor: Aor) -> None:
    """Remove a user; raises UnknownUser."""
    _change(path, "subscriber_delete", aor, tuple(aor))


def list_users(path: str) -> list[User]:
    """Return every user."""
    with beside(path) as connection:
        rows = list(connection.execute(load_queries()["subscriber_list"].sql))
    names = ("MD5", "SHA-256", "SHA-512-256")
    return [
        User(Aor(user, domain), tuple(name for name, ha1 in zip(names, hashes, strict=True) if ha1))
        for user, domain, *hashes in rows
    ]


def _change(path: str, query: str, aor: Aor, values: tuple[str, ...]) -> None:
    with beside(path) as connection:
        connection.execute(load_queries()[query].sql, values)
        if not connection.changes():
            raise UnknownUser(f"{'@'.join(aor)} is no user")
