"""`presence db`: look after the database file."""

import argparse
import os.path
from typing import Any

from presence.errors import ConfigError, StoreError


def add_parser(subparsers: Any) -> None:
    """Add the command."""
    parser = subparsers.add_parser("db", help="look after the database", description="Look after the database.")
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    check = actions.add_parser("check", help="look for damage", description="Look for damage in a database.")
    fold = actions.add_parser(
        "fold",
        help="bring the journal into the tables",
        description="Bring what a server that ended without a word left in its journal into the tables.",
    )
    for action in (check, fold):
        action.add_argument("file", metavar="FILE", help="the SQLite database, as in database.path")


def run(args: argparse.Namespace) -> int:
    """Do what is asked of the database; the exit status says whether it is fine."""
    # SQLite would make an empty database of a name mistyped.
    if not os.path.isfile(args.file):
        raise ConfigError(f"no database at {args.file}")
    return _fold(args.file) if args.action == "fold" else _check(args.file)


def _check(path: str) -> int:
    from presence.store.check import check, count_unfolded

    problems = check(path)
    print("\n".join(problems) or "ok")
    if not problems and (waiting := count_unfolded(path)):
        print(
            f"note: {waiting} changes are in the journal, not yet in the tables; a start or db fold brings them there"
        )
    return 1 if problems else 0


def _fold(path: str) -> int:
    from presence.store.sqlite import SqliteStore

    try:
        SqliteStore(path, on_trouble=print).close()
    except StoreError as error:
        print(error)
        return 1
    print("ok")
    return 0
