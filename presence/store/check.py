"""Looks a database over without changing it: what an operator runs before trusting a file."""

from collections.abc import Callable, Iterator

from presence.errors import StoreError
from presence.store.base import Value
from presence.store.journal import Recovery
from presence.store.opening import MEMORY, inspecting
from presence.store.queries import load_migrations
from presence.store.submission import decode
from presence.store.tables import MARK, parse_mark

Ask = Callable[[str], list[tuple[Value, ...]]]
_Shape = dict[str, dict[str, str]]

SHOWN = 5  # rows named in one line
_TIMES = ("expires", "received_time", "inserted_time", "subscribed_at")


def check(path: str) -> list[str]:
    """Return what is wrong with a database file, one line each; nothing when it is fine."""
    try:
        with inspecting(path) as ask:
            return list(_problems(ask))
    except StoreError as error:
        return [str(error)]


def count_unfolded(path: str) -> int:
    """Return how many changes a database's journal holds that are not in its tables yet."""
    with inspecting(path) as ask:
        identity, mark = parse_mark(ask(f"SELECT value FROM settings WHERE name = '{MARK}'"))
    try:
        return sum(len(decode(record)) for record in Recovery(path, identity, mark))
    except FileNotFoundError:  # a running server is folding it this moment
        return 0


def _problems(ask: Ask) -> Iterator[str]:
    for (verdict,) in ask("PRAGMA integrity_check(20)"):
        if verdict != "ok":
            yield "damaged: " + str(verdict)
    ((version,),) = ask("PRAGMA user_version")
    if version != (known := len(load_migrations())):
        yield f"schema version is {version!r}; this server knows {known}"
    with inspecting(MEMORY) as ask_ours:
        columns, indexes, triggers = _columns(ask_ours), _unique_indexes(ask_ours), _triggers(ask_ours)
    there = _columns(ask)
    for table, wanted in columns.items():
        if table not in there:
            yield f"table {table} is missing"
        elif missing := [column for column in wanted if column not in there[table]]:
            yield f"table {table} lacks the column {', '.join(missing)}"
        else:
            yield from _unreadable_rows(ask, table, wanted)
    indexes_there = _unique_indexes(ask)
    for name, key in indexes.items():
        if indexes_there.get(name) != key:
            yield f"unique index {name} on {key} is missing"
    triggers_there = _triggers(ask)
    for name, table in triggers.items():
        if table in there and name not in triggers_there:
            yield f"trigger {name} is missing: a running server does not see what others change"


def _columns(ask: Ask) -> _Shape:
    """Return table → column → what it must hold ('' when anything goes)."""
    shape: _Shape = {}
    rows = ask(
        'SELECT t.name, c.name, c.type, c."notnull" FROM sqlite_schema AS t, pragma_table_info(t.name) AS c '
        "WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite%'"
    )
    for table, column, kind, required in rows:
        holds = str(kind) if required else ""
        shape.setdefault(str(table), {})[str(column)] = holds
    return shape


def _unique_indexes(ask: Ask) -> dict[str, str]:
    rows = ask(
        "SELECT i.name, "
        "t.name || ' (' || (SELECT group_concat(name, ', ') FROM pragma_index_info(i.name)) || ')' "
        "FROM sqlite_schema AS t, pragma_index_list(t.name) AS i "
        "WHERE t.type = 'table' AND i.\"unique\" AND i.origin = 'c'"
    )
    return {str(name): str(key) for name, key in rows}


def _triggers(ask: Ask) -> dict[str, str]:
    """Return trigger → its table."""
    rows = ask("SELECT name, tbl_name FROM sqlite_schema WHERE type = 'trigger' ORDER BY name")
    return {str(name): str(table) for name, table in rows}


def _unreadable_rows(ask: Ask, table: str, columns: dict[str, str]) -> Iterator[str]:
    """Find what an INSERT by hand may have left: numbers that are none, text that is absent or binary."""
    for column, holds in columns.items():
        if column in _TIMES or holds == "INTEGER":
            fault, wrong = "is not a number", f"typeof({column}) NOT IN ('integer', 'real')"
            if not holds:
                wrong += f" AND {column} IS NOT NULL"
        elif holds == "TEXT":
            fault, wrong = "is not text", f"typeof({column}) <> 'text'"
        else:
            continue
        rowids = [str(rowid) for (rowid,) in ask(f"SELECT rowid FROM {table} WHERE {wrong} LIMIT {SHOWN}")]
        if rowids:
            more = " and more" if len(rowids) == SHOWN else ""
            yield f"table {table}: {column} {fault} in row {', '.join(rowids)}{more}"
