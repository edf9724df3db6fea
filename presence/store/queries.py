"""The statements of `sql/queries` and the migrations of `sql/schema`, read from where they ship."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from types import MappingProxyType

_NUMBERED = re.compile(r"\?(\d+)")
_PARAMETERS = "-- Parameters: "
_JOURNALLED = "-- Journalled by: "
_SUPERSEDES = "-- Supersedes: "
_HIGHEST = "-- Keeps the highest: "
_FIRST = "-- Keeps the first: "
_YIELDS = "-- Yields to: "


@dataclass(frozen=True, slots=True)
class Query:
    """One named statement."""

    name: str
    sql: str
    parameters: tuple[str, ...]
    """What ?1, ?2, … stand for."""
    key: tuple[str, ...] = ()
    """The first parameters, which name the row it changes, when it goes through the journal; else empty."""
    supersedes: tuple[str, ...] = ()
    """Queries whose earlier changes of the same row need not be made when this one is."""
    highest: tuple[str, ...] = ()
    """Parameters that keep the highest value of what is superseded."""
    first: tuple[str, ...] = ()
    """Parameters that keep the value of the earliest of what is superseded."""
    yields_to: tuple[str, ...] = ()
    """Queries whose earlier change of the same row makes this one void."""

    @property
    def journalled(self) -> bool:
        """True when its changes are acknowledged from the journal and made in the tables a little later."""
        return bool(self.key)

    @property
    def table(self) -> str:
        """The table a journalled change is made in."""
        return self.name.rpartition("_")[0]

    @property
    def needs_row(self) -> bool:
        """True when finding no row means that somebody took it out."""
        return self.journalled and self.sql.startswith("UPDATE")

    def for_many(self, count: int) -> str:
        """Return one statement that makes the change for `count` rows, parameters of one behind those of the other.

        It takes no notice of REPLACE and fails on a conflict: a statement for many rows that could be undone as a
        whole keeps a copy of each page it changes.
        """
        row = f"({', '.join('?' * len(self.parameters))})"
        sql = self.sql.strip().removesuffix(";")
        verb, _, rest = sql.partition(" ")
        rest = rest.removeprefix("OR REPLACE ")
        if verb == "DELETE":
            return sql.replace("= ?1", f"IN ({', '.join('?' * count)})")
        if verb == "INSERT":
            head, _, tail = rest.partition("VALUES (")
            return f"INSERT OR FAIL {head}VALUES {', '.join([row] * count)}{tail.partition(')')[2]}"
        head, _, where = _NUMBERED.sub(r"given.p\1", rest).rpartition("WHERE")
        names = ", ".join(f"p{number + 1}" for number in range(len(self.parameters)))
        values = f"WITH given ({names}) AS (VALUES {', '.join([row] * count)})"
        return f"{values} UPDATE OR FAIL {head}FROM given WHERE{where}"

    @property
    def order(self) -> tuple[int, int, str]:
        """When a fold makes its changes: room first, then rows, then what is changed of them.

        Of two updates the one that supersedes the other goes first, for had it come later it would stand alone.
        """
        kind = ("DELETE", "INSERT", "UPDATE").index(self.sql[:6])
        return kind, -len(self.supersedes), self.name


@dataclass(frozen=True, slots=True)
class Migration:
    """One step of the schema; `number` is the user_version it leads to."""

    number: int
    name: str
    sql: str


def _folder() -> Traversable:
    try:
        return resources.files("presence.sql")
    except ModuleNotFoundError:  # run from the source tree, where sql/ stands beside presence/
        return Path(__file__).parents[2] / "sql"


def _sources(folder: str) -> Iterator[tuple[str, str]]:
    files = [file for file in (_folder() / folder).iterdir() if file.name.endswith(".sql")]
    for file in sorted(files, key=lambda file: file.name):
        yield file.name.removesuffix(".sql"), file.read_text(encoding="utf-8")


def parse_query(name: str, text: str) -> Query:
    """Read one statement file: comment lines that say what it takes and how it is folded, then the statement."""
    lines = text.splitlines()

    def declared(mark: str) -> tuple[str, ...]:
        named = next((line.removeprefix(mark) for line in lines if line.startswith(mark)), "")
        return tuple(named.split(", ")) if named else ()

    parameters = declared(_PARAMETERS)
    if not parameters:
        raise ValueError(f"{name}.sql has no line '{_PARAMETERS}…'")
    return Query(
        name=name,
        sql="\n".join(line for line in lines if not line.startswith("--")),
        parameters=() if parameters == ("none",) else parameters,
        key=declared(_JOURNALLED),
        supersedes=declared(_SUPERSEDES),
        highest=declared(_HIGHEST),
        first=declared(_FIRST),
        yields_to=declared(_YIELDS),
    )


@cache
def load_queries() -> MappingProxyType[str, Query]:
    """Return every named statement."""
    return MappingProxyType({name: parse_query(name, text) for name, text in _sources("queries")})


@cache
def load_migrations() -> tuple[Migration, ...]:
    """Return the migrations in order; their numbers are 1, 2, 3, … without a gap."""
    found = tuple(Migration(int(name.split("_")[0]), name, text) for name, text in _sources("schema"))
    if [migration.number for migration in found] != list(range(1, len(found) + 1)):
        raise ValueError(f"sql/schema is not numbered without gaps: {[m.name for m in found]}")
    return found
