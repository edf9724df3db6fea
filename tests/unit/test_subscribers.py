"""Accounts as they are kept, and how long."""

from collections.abc import Iterator

import pytest

from presence.identity.subscribers import ACCOUNTS_KEPT, Subscribers
from presence.store.sqlite import SqliteStore

NOW = 1_700_000_000.0


@pytest.fixture
def store() -> Iterator[SqliteStore]:
    opened = SqliteStore(":memory:")
    yield opened
    opened.close()


def write(store: SqliteStore, sql: str) -> None:
    store._connection.execute(sql)


def test_what_was_found_is_kept_until_the_table_changes(store: SqliteStore) -> None:
    write(store, "INSERT INTO subscriber (username, domain, ha1) VALUES ('bob', 'example.com', ' ABC ')")
    users, told = Subscribers(store), []
    users.changed.append(lambda: told.append(1))
    users.refresh(NOW)
    found = users.find("bob", "example.com")
    assert found is not None
    assert found.ha1["MD5"] == "abc"
    assert users.find("eve", "example.com") is None
    write(store, "UPDATE subscriber SET ha1 = 'def'")
    write(store, "INSERT INTO subscriber (username, domain, ha1) VALUES ('eve', 'example.com', 'e')")
    users.refresh(NOW + 0.4)
    assert users.find("bob", "example.com") is found
    assert users.find("eve", "example.com") is None
    users.refresh(NOW + 0.6)
    again = users.find("bob", "example.com")
    assert again is not None
    assert again.ha1["MD5"] == "def"
    assert users.find("eve", "example.com") is not None
    users.refresh(NOW + 10)
    assert users.find("bob", "example.com") is again
    assert len(told) == 2


def test_what_is_kept_is_bounded(store: SqliteStore) -> None:
    users = Subscribers(store)
    users._known = {(str(n), "x"): None for n in range(ACCOUNTS_KEPT)}
    assert users.find("one more", "x") is None
    assert len(users._known) == 1
    assert users.find("long" * 100, "x") is None
    assert len(users._known) == 1


def test_a_table_that_cannot_be_read_lets_nobody_stay_in(store: SqliteStore) -> None:
    users, told = Subscribers(store), []
    users.refresh(NOW)
    users.changed.append(lambda: told.append(1))
    write(store, "DELETE FROM settings WHERE name = 'subscriber_changes'")
    users.refresh(NOW + 1)
    users.refresh(NOW + 2)
    assert len(told) == 2
