"""Every statement fits the schema, says what its parameters are, and finds its rows by an index."""

import re
from collections.abc import Iterator

import apsw
import apsw.ext
import pytest

from presence.store.queries import Query, load_migrations, load_queries, parse_query

SCANS = {"presentity_load", "active_watchers_load", "shared_watchers_load", "active_watchers_asserted"}  # at the start
SCANS |= {"watchers_last_change"}  # of a table with a few rows
SCANS |= {"subscribe_bodies_load"}
SCANS |= {"subscriber_list"}  # for an operator
SCANS |= {"xcap_owners"}  # after changes too many to be listed
SCANS |= {"xcap_every"}  # once, when the first service is written
NO_TABLES = ("SCAN CONSTANT ROW", "SCAN log")  # one row each, the second the position of the log of changes
QUERIES = load_queries()


@pytest.fixture(scope="module")
def schema() -> Iterator[apsw.Connection]:
    connection = apsw.Connection(":memory:")
    for migration in load_migrations():
        connection.execute(migration.sql)
    yield connection
    connection.close()


@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES.keys())
def test_each_statement_fits_the_schema_and_names_its_parameters(schema: apsw.Connection, query: Query) -> None:
    details = apsw.ext.query_info(schema, query.sql)
    assert details.query_remaining is None, "one whole statement"
    assert details.bindings_count == len(query.parameters)
    assert query.sql.startswith(("SELECT", "INSERT", "UPDATE", "DELETE"))
    assert details.is_readonly == query.sql.startswith("SELECT")


@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES.keys())
def test_each_lookup_uses_an_index(schema: apsw.Connection, query: Query) -> None:
    values = (None,) * len(query.parameters)
    plan = [row[3] for row in schema.execute(f"EXPLAIN QUERY PLAN {query.sql}", values)]
    scans = any(step.startswith("SCAN") and step not in NO_TABLES for step in plan)
    assert scans == (query.name in SCANS), plan


def test_names_are_noun_and_verb_of_a_table(schema: apsw.Connection) -> None:
    tables = tuple(name for (name,) in schema.execute("SELECT name FROM sqlite_schema WHERE type = 'table'"))
    assert all(name.startswith(tuple(f"{table}_" for table in tables)) for name in QUERIES)


def test_the_unique_keys_have_the_names_scripts_know(schema: apsw.Connection) -> None:
    rows = schema.execute(
        "SELECT name, tbl_name || sql FROM sqlite_schema WHERE type = 'index' AND sql LIKE 'CREATE UNIQUE%'"
    )
    keys = {name: sql[sql.rindex("(") :] for name, sql in rows}
    assert keys["presentity_idx"] == "(username, domain, event, etag)"
    assert keys["active_watchers_idx"] == "(presentity_uri, callid, to_tag, from_tag)"
    assert keys["watcher_idx"] == "(presentity_uri, watcher_username, watcher_domain, event)"
    assert keys["account_doc_type_idx"] == "(username, domain, doc_type, doc_uri)"


def test_a_statement_without_its_parameters_is_a_fault_of_ours() -> None:
    with pytest.raises(ValueError, match="Parameters"):
        parse_query("presentity_forget", "DELETE FROM presentity;")


def test_which_queries_are_journalled() -> None:
    journalled = {name for name, query in QUERIES.items() if query.journalled}
    tables = {"presentity": ("insert", "modify", "refresh", "delete")}
    tables |= dict.fromkeys(("active_watchers", "shared_watchers"), ("insert", "refresh", "reserve", "judge", "delete"))
    others = {"watchers_wait", "watchers_judge", "active_watchers_extend"}
    others |= {"subscribe_bodies_put", "subscribe_bodies_delete"}
    assert journalled == {f"{table}_{verb}" for table, verbs in tables.items() for verb in verbs} | others
    assert {name for name, query in QUERIES.items() if query.needs_row} == {
        name
        for name in journalled - {"watchers_judge"}
        if name.endswith(("modify", "refresh", "extend", "reserve", "judge"))
    }


@pytest.mark.parametrize(
    "query", [query for query in QUERIES.values() if query.journalled], ids=lambda query: query.name
)
def test_journalled_queries_begin_with_what_names_the_row(query: Query) -> None:
    assert query.parameters[: len(query.key)] == query.key
    assert query.key == ("id",) or query.table == "watchers"
    related = [QUERIES[name] for name in (*query.supersedes, *query.yields_to)]
    assert all(other.table == query.table and other.key == query.key for other in related)
    # What a change keeps of another is something that other has, or has nothing of.
    kept = set(query.highest)
    assert all(kept <= set(other.parameters) or not kept & set(other.parameters) for other in related)
    assert kept | set(query.first) <= set(query.parameters)


@pytest.mark.parametrize(
    "query", [query for query in QUERIES.values() if query.journalled], ids=lambda query: query.name
)
def test_a_statement_for_many_rows_takes_as_many_times_the_parameters(schema: apsw.Connection, query: Query) -> None:
    sql = query.for_many(50)
    details = apsw.ext.query_info(schema, sql)
    assert details.query_remaining is None
    assert details.bindings_count == 50 * len(query.parameters)
    plan = [row[3] for row in schema.execute(f"EXPLAIN QUERY PLAN {sql}", (None,) * details.bindings_count)]
    own = ("given", "CONSTANT", "VALUES")
    assert not any(step.startswith("SCAN") and not any(word in step for word in own) for step in plan), plan


def test_what_a_fold_does_later_came_later_or_is_superseded() -> None:
    """A fold makes changes in the order of queries: an earlier change that would be made later must be void by then."""
    journalled = [query for query in QUERIES.values() if query.journalled]
    for earlier in journalled:
        for later in journalled:
            if earlier.table != later.table or later.sql.startswith("INSERT") or earlier.sql.startswith("DELETE"):
                continue  # a row is inserted once, first, and never changed after its removal
            if not changed(earlier) & changed(later):
                continue
            assert earlier.order < later.order or earlier.name in later.supersedes, (earlier.name, later.name)


def changed(query: Query) -> set[str]:
    """The columns an update sets, all for a removal."""
    return set(re.findall(r"^    (\w+) +=", query.sql, re.MULTILINE)) if query.sql.startswith("UPDATE") else {"id"}
