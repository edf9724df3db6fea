"""What a person starts: the command `presence` and its subcommands."""

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

from presence import __version__
from presence.errors import ConfigError, PresenceError

COMMANDS = {
    "serve": "presence.cli.serve",
    "config": "presence.cli.configuration",
    "db": "presence.cli.db",
    "user": "presence.cli.user",
    "publish": "presence.cli.publish",
    "watch": "presence.cli.watch",
    "bench": "presence.cli.bench",
}
"""Each module has `add_parser(subparsers)`, which adds the command, and `run(args)`, its exit status."""

EXIT_FAILED = 1
EXIT_MISUSED = 2
EXIT_INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand and return the exit status: 2 when what the operator said is wrong."""
    parser = argparse.ArgumentParser(prog="presence", description="A SIP presence server.")
    parser.add_argument("--version", action="version", version=f"presence {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    modules = {name: import_module(path) for name, path in COMMANDS.items()}
    for module in modules.values():
        module.add_parser(subparsers)
    args = parser.parse_args(argv)
    try:
        status: int = modules[args.command].run(args)
    except ConfigError as error:
        return _complain(error, EXIT_MISUSED)
    except PresenceError as error:
        return _complain(error, EXIT_FAILED)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    return status


def _complain(error: PresenceError, status: int) -> int:
    line = " ".join(str(error).splitlines())
    print(f"presence: error: {line}", file=sys.stderr)
    return status
