"""`presence serve`: run the server until it is told to stop."""

import argparse
import errno
from typing import Any

from presence import logbook
from presence.cli.configuration import add_arguments, load_config
from presence.config import Config
from presence.errors import ConfigError

_UNAVAILABLE = (errno.EADDRINUSE, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EACCES, errno.EPERM)


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
        explained = explain(failure, config)
        if explained is None:
            raise
        raise explained from failure


def explain(failure: OSError, config: Config) -> ConfigError | None:
    """Return what the operating system refused in the words of the settings; None when none is to blame."""
    reason = failure.strerror or str(failure)
    if failure.filename is not None:
        return ConfigError(f"cannot open {failure.filename}: {reason}")
    if failure.errno not in _UNAVAILABLE:
        return None
    listeners = ", ".join(config.server.listen)
    return ConfigError(f"server.listen in {config.origin('server', 'listen')}: {listeners}: {reason}")
