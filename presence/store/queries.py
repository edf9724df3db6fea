"""The statements of `sql/queries` and the migrations of `sql/schema`, read from where they ship."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from types import MappingProxyType

_PARAMETERS = "-- Parameters: "
_CHANGES = "-- Changes: at least one row"


@dataclass(frozen=True, slots=True)
class Query:
    """One named statement."""

    name: str
    sql: str
    parameters: tuple[str, ...]
    """What ?1, ?2, … stand for."""
    must_change: bool
    """True when changing no row means that the row it speaks of is gone, and refuses the change."""


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
    """Read one statement file: comment lines that name the parameters, then the statement."""
    lines = text.splitlines()
    named = next((line.removeprefix(_PARAMETERS) for line in lines if line.startswith(_PARAMETERS)), None)
    if named is None:
        raise ValueError(f"{name}.sql has no line '{_PARAMETERS}…'")
    return Query(
        name=name,
        sql="\n".join(line for line in lines if not line.startswith("--")),
        parameters=() if named == "none" else tuple(named.split(", ")),
        must_change=_CHANGES in lines,
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
