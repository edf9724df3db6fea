"""`presence serve`: run the server until it is told to stop."""

import argparse
from typing import Any

from presence import logbook
from presence.cli.configuration import add_arguments, load_config
from presence.config import Config
from presence.errors import ConfigError


def add_parser(subparsers: Any) -> None:
    """Add the command."""
    parser = subparsers.add_parser("serve", help="run the server", description="Run the presence server.")
    add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Run the server in the foreground and return its exit status."""
    config = load_config(args)
    logbook.configure(config.log.level, config.log.format)
    log = logbook.open_log()
    for warning in config.warnings:
        log.warning(warning)
    # The one heavy import; the other commands do without the server.
    from presence import server

    try:
        return server.run(config)
    except OSError as failure:
        raise explain(failure, config) from failure


def explain(failure: OSError, config: Config) -> ConfigError:
    """Return what the operating system refused, in the words of the settings."""
    reason = failure.strerror or str(failure)
    if failure.filename is not None:
        return ConfigError(f"cannot open {failure.filename}: {reason}")
    listeners = ", ".join(config.server.listen)
    return ConfigError(f"server.listen in {config.origin('server', 'listen')}: {listeners}: {reason}")
