"""What is journalled and not yet in the tables: changes of one row are brought down to what has to be done.

Which change supersedes which is declared in `sql/queries`. Keys are never moved from one living row to another
(entity-tags and dialog identifiers are given once), so rows may be changed in any order: removals first, which
makes room, then by query and row.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from presence.store.base import Value
from presence.store.queries import Query

Params = tuple[Value, ...]
Change = tuple[str, Params]
"""A query's name and its parameters."""

Gone = tuple[str, int]
"""A query's name and the number of the row that it did not find."""

_Rows = dict[object, Params]
_Put = Callable[[Params], None]


class Batch(NamedTuple):
    """Changes of one query, for different rows."""

    query: Query
    rows: list[Params]


class Window:
    """Changes gathered for one fold, by query and row."""

    def __init__(self, queries: Mapping[str, Query]) -> None:
        journalled = sorted((query for query in queries.values() if query.journalled), key=lambda query: query.order)
        self._queries = {query.name: query for query in journalled}
        self._rows: dict[str, _Rows] = {query.name: {} for query in journalled}
        self._simple: dict[str, tuple[_Rows, tuple[_Rows, ...]]] = {}
        self._special: dict[str, _Put] = {}
        self._orders: dict[str, list[object]] = {}
        for query in journalled:
            others = tuple(self._rows[name] for name in query.supersedes if name != query.name)
            if query.key == ("id",) and not query.highest and not query.yields_to:
                self._simple[query.name] = (self._rows[query.name], others)
            else:
                self._special[query.name] = self._special_put(query, others)

    def _special_put(self, query: Query, others: tuple[_Rows, ...]) -> _Put:
        rows, size = self._rows[query.name], len(query.key)
        if query.yields_to:
            assert query.yields_to == (query.name,)

            def put_first(params: Params) -> None:
                rows.setdefault(params[:size], params)

            return put_first
        ours = [query.parameters.index(name) for name in query.highest]
        first = [query.parameters.index(name) for name in query.first]
        by_id = query.key == ("id",)
        superseded = [(self._rows[name], _places(self._queries[name], query.highest)) for name in query.supersedes]

        def put_highest(params: Params) -> None:
            key = params[0] if by_id else params[:size]
            for earlier, theirs in superseded:
                old = earlier.pop(key, None)
                if old is None:
                    continue
                if theirs:
                    params = _raise_to(params, ours, old, theirs)
                if first and earlier is rows:
                    params = tuple(old[column] if column in first else value for column, value in enumerate(params))
            rows[key] = params

        return put_highest

    def absorb(self, changes: Iterable[Change]) -> None:
        """Add changes in the order they were acknowledged."""
        self._orders.clear()
        simple, special = self._simple, self._special
        for name, params in changes:
            found = simple.get(name)
            if found is None:
                special[name](params)
                continue
            rows, others = found
            key = params[0]
            for other in others:
                if other:
                    other.pop(key, None)
            rows[key] = params

    def __len__(self) -> int:
        return sum(map(len, self._rows.values()))

    def take(self, limit: int) -> list[Batch]:
        """Remove and return up to `limit` changes in the order they are to be made, near rows together."""
        batches: list[Batch] = []
        for name, rows in self._rows.items():
            if limit <= 0:
                break
            if not rows:
                continue
            order = self._orders.get(name)
            if not order:
                order = self._orders[name] = _sorted(rows)
            part, order[-limit:] = order[-limit:][::-1], []
            batches.append(Batch(self._queries[name], [rows.pop(key) for key in part]))
            if not order:
                del self._orders[name]
            limit -= len(part)
        return batches

    def put_back(self, batches: list[Batch]) -> None:
        """Return what `take` gave and nothing was done about; nothing was absorbed meanwhile."""
        self._orders.clear()
        for query, changes in batches:
            size = len(query.key)
            for params in changes:
                self._rows[query.name][params[0] if query.key == ("id",) else params[:size]] = params


def _sorted(rows: _Rows) -> list[object]:
    """Return the keys, highest first; what cannot be compared is left for SQLite to refuse."""
    try:
        return sorted(rows, reverse=True)  # type: ignore[type-var]
    except TypeError:
        return list(rows)


def _places(query: Query, names: tuple[str, ...]) -> list[int]:
    """Return where parameters are, none of them when the query does not have them."""
    return [query.parameters.index(name) for name in names] if set(names) <= set(query.parameters) else []


def _raise_to(params: Params, ours: list[int], old: Params, theirs: list[int]) -> Params:
    """Return the parameters with the higher of each pair."""
    raised = list(params)
    for here, there in zip(ours, theirs, strict=True):
        mine, before = params[here], old[there]
        if isinstance(mine, int) and isinstance(before, int) and before > mine:
            raised[here] = before
    return tuple(raised)
