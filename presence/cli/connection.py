"""What `presence publish` and `presence watch` have in common: the options about the server, and what went wrong."""

import argparse
import asyncio
import os
import ssl
import sys
from collections.abc import Callable, Coroutine
from datetime import datetime
from random import SystemRandom
from typing import Any

from presence.agents.display import CONTENT_TYPES, clean
from presence.errors import BadRequest, ConfigError, PresenceError
from presence.shape import Listener, parse_listener, write_address
from presence.sip.challenge import Answerer, realm_of
from presence.sip.headers import parse_uri
from presence.sip.transaction import Answer
from presence.transport.client import Unreachable, Untrusted, trusting

DEFAULT_SERVER = "udp:127.0.0.1:5060"
DEFAULT_TIMEOUT_S = 5.0
DEFAULT_EXPIRES_S = 3600

PASSWORD_VARIABLE = "PRESENCE_PASSWORD"
"""Where the password is, so that it need not stand on the command line, which everybody on the machine can read."""

_MAX_EXPIRES_S = 2**32 - 1
_PASSWORD_LONGEST = 1024
_HINT = "is the server running? start it with `make run`"


class Failed(PresenceError):
    """What was asked of the server did not happen."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options about the server, the package and the form of the output."""
    parser.add_argument("presentity", metavar="URI", type=sip_uri, help="such as sip:alice@example.com")
    parser.add_argument(
        "--server",
        type=server,
        default=server(DEFAULT_SERVER),
        metavar="udp|tcp|tls:ADDRESS:PORT",
        help=f"where the server listens (default {DEFAULT_SERVER})",
    )
    parser.add_argument("--ca", default="", metavar="FILE", help="who vouches for a tls server (PEM)")
    parser.add_argument("--insecure", action="store_true", help="take any certificate of a tls server")
    parser.add_argument(
        "--expires",
        type=_whole(1, _MAX_EXPIRES_S),
        default=DEFAULT_EXPIRES_S,
        metavar="SECONDS",
        help=f"how long it is to last (default {DEFAULT_EXPIRES_S}); the server may shorten it",
    )
    parser.add_argument(
        "--timeout",
        type=_seconds,
        default=DEFAULT_TIMEOUT_S,
        metavar="SECONDS",
        help=f"how long to wait for an answer (default {DEFAULT_TIMEOUT_S:g})",
    )
    parser.add_argument("--user", metavar="NAME", help="answer challenges as this user (default: that of the URI)")
    parser.add_argument(
        "--password-file",
        metavar="FILE",
        help=f"file whose first line is the password (default: environment variable {PASSWORD_VARIABLE})",
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print JSON, one line each")
    form.add_argument("--raw", action="store_true", help="print every message as it is sent and received")


def add_event_argument(parser: argparse.ArgumentParser, events: tuple[str, ...]) -> None:
    """Add the option for the event package."""
    parser.add_argument("--event", choices=events, default=events[0], help=f"the event package (default {events[0]})")


def make_answerer(args: argparse.Namespace, uri: str) -> Answerer:
    """Return what answers challenges, as --user or else the user of `uri`; raises ConfigError.

    Without a password none is answered.
    """
    password = os.environ.get(PASSWORD_VARIABLE, "")
    if args.password_file:
        try:
            with open(args.password_file, encoding="utf-8") as file:
                password = file.readline(_PASSWORD_LONGEST).rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "not in UTF-8"
            raise ConfigError(f"cannot read {args.password_file}: {reason}") from None
    if args.user and not password:
        raise ConfigError(f"--user needs a password, by --password-file or {PASSWORD_VARIABLE}")
    user = args.user or parse_uri(uri).user
    return Answerer(user if password else "", password, SystemRandom())


def sip_uri(text: str) -> str:
    """Return a SIP URI as it is; the argument type of presentities and watchers."""
    try:
        scheme = parse_uri(text).scheme
    except BadRequest:
        raise argparse.ArgumentTypeError(f"{text!r} is not a SIP URI such as sip:alice@example.com") from None
    if scheme not in ("sip", "sips"):
        raise argparse.ArgumentTypeError(f"unknown scheme {scheme!r}: say sip:, as in sip:alice@example.com")
    return text


def server(text: str) -> Listener:
    """Return where the server listens."""
    try:
        listener = parse_listener(text)
    except ValueError:
        listener = Listener("", "", 0)
    if not listener.port or listener.transport not in ("udp", "tcp", "tls"):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not udp:ADDRESS:PORT, or tcp or tls in place of udp, such as {DEFAULT_SERVER}"
        )
    return listener


def tls_context(args: argparse.Namespace) -> ssl.SSLContext | None:
    """Return whom the options say to trust as a server, None without TLS; raises ConfigError and Failed."""
    if args.server.transport != "tls":
        if args.presentity[:5].lower() == "sips:":
            # RFC 3261 section 26.2.2: every hop is secured, the first one too.
            raise ConfigError(f"{args.presentity} is reached over TLS only: say --server tls:ADDRESS:PORT")
        return None
    try:
        return trusting(args.ca, insecure=args.insecure)
    except OSError as error:
        raise Failed(f"--ca: cannot read certificates from {args.ca}: {error.strerror or error}") from None


def write_server(listener: Listener) -> str:
    """Return the server's address as it is given on the command line."""
    return f"{listener.transport}:{write_address(listener.host, listener.port)}"


def unreachable(listener: Listener, reason: str) -> Failed:
    """Return the error for a server that is not there."""
    return Failed(f"cannot reach {write_server(listener)}: {reason}: {_HINT}")


def run_client(work: Coroutine[Any, Any, None], listener: Listener) -> int:
    """Run a command that talks to a server, to its end; return the exit status, raise Failed."""
    try:
        asyncio.run(work)
    except Untrusted as error:
        raise Failed(f"{write_server(listener)}: {error}") from None
    except Unreachable as error:
        raise unreachable(listener, str(error)) from None
    except BrokenPipeError:
        # Who reads our output, such as head, has seen enough; Python's own flush at exit must not complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def failure(answer: Answer, args: argparse.Namespace, reason: str) -> Failed:
    """Return the error for a request that failed; `reason` is why nothing could be sent."""
    where = write_server(args.server)
    if answer.response is not None:
        hint = ""
        if answer.status == 412:
            hint = ": nothing is published under this entity-tag"
        elif answer.status == 489 and (known := answer.response.header("Allow-Events")):
            hint = f": the server knows {clean(known)}"
        elif answer.status in (401, 407):
            # RFC 3261 section 22.1: whoever has to find the password is told which one.
            realm = realm_of(answer.response)
            hint = f" for {clean(realm)}" if realm else ""
            hint += f": is --user right, and the password of --password-file or {PASSWORD_VARIABLE}?"
        return Failed(f"{where} answered {answer.status} {clean(answer.reason)}{hint}")
    if answer.status == 503:
        return unreachable(args.server, reason or "Service Unavailable")
    return Failed(f"no answer from {where} within {args.timeout:g} s: {_HINT}")


def trace(direction: str, data: bytes) -> None:
    """Print one message of the wire trace."""
    mark = {"sent": ">>>", "received": "<<<"}[direction]
    # The text of strangers must not steer the terminal.
    text = data.decode("utf-8", "backslashreplace").replace("\r\n", "\n").rstrip("\n")
    lines = ["".join(c if c == "\t" or c.isprintable() else repr(c)[1:-1] for c in line) for line in text.split("\n")]
    print(f"{mark} {clock_time(datetime.now().timestamp())} {direction}", *lines, "", sep="\n", flush=True)


def clock_time(at: float) -> str:
    """Return an instant as local time of day."""
    return datetime.fromtimestamp(at).strftime("%H:%M:%S")


def warn(text: str) -> None:
    """Say on standard error what went wrong and does not end the command."""
    print(f"presence: {' '.join(text.splitlines())}", file=sys.stderr, flush=True)


def positive(text: str) -> int:
    """Return a count of at least one."""
    return _whole(1, _MAX_EXPIRES_S)(text)


def _whole(least: int, most: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not (text.isascii() and text.isdigit()) or len(text) > 10 or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {least} to {most}")
        return int(text)

    return read


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.1 <= value <= 3600:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds from 0.1 to 3600")
    return value


EVENTS = tuple(CONTENT_TYPES)
"""The event packages there are, presence first."""
