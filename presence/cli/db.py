"""`presence db`: look after the database file."""

import argparse
import os.path
from typing import Any

from presence.errors import ConfigError


def add_parser(subparsers: Any) -> None:
    """Add the command."""
    parser = subparsers.add_parser("db", help="look after the database", description="Look after the database.")
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    check = actions.add_parser("check", help="look for damage", description="Look for damage in a database.")
    check.add_argument("file", metavar="FILE", help="the SQLite database, as in database.path")


def run(args: argparse.Namespace) -> int:
    """Print what is wrong with the database, or ok; the exit status says which."""
    # SQLite would make an empty database of a name mistyped.
    if not os.path.isfile(args.file):
        raise ConfigError(f"no database at {args.file}")
    from presence.store.check import check

    problems = check(args.file)
    print("\n".join(problems) or "ok")
    return 1 if problems else 0
