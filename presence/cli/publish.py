"""`presence publish`: publish the state of a presentity."""

import argparse
import asyncio
import json
import secrets
import signal
from pathlib import Path
from random import SystemRandom
from typing import Any

from presence.agents.display import CONTENT_TYPES, clean
from presence.agents.publisher import (
    ACTIVITIES,
    Published,
    Publisher,
    PublisherEvent,
    PublishFailed,
    Removed,
    write_presence,
)
from presence.cli.connection import (
    DEFAULT_SERVER,
    add_arguments,
    add_event_argument,
    clock_time,
    failure,
    make_answerer,
    run_client,
    tls_context,
    trace,
    warn,
    write_server,
)
from presence.errors import ConfigError
from presence.transport.client import Driver, Flow, connect

MAX_BODY_BYTES = 60_000
"""What fits into a datagram with its header fields."""


def add_parser(subparsers: Any) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "publish",
        help="publish the state of a presentity",
        description="Publish the state of a presentity. It stays until it expires, unless --keep is given.",
    )
    add_arguments(parser)
    add_event_argument(parser, ("presence", "message-summary"))
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--status", choices=("open", "closed"), help="available for communication, or not")
    what.add_argument("--body", metavar="FILE", type=Path, help="publish this document")
    what.add_argument("--remove", metavar="ETAG", type=_entity_tag, help="withdraw what has this entity-tag")
    parser.add_argument("--note", default="", metavar="TEXT", help="a word about it, with --status")
    parser.add_argument(
        "--activity", choices=ACTIVITIES, default="", metavar="ACTIVITY", help=f"one of {', '.join(ACTIVITIES)}"
    )
    parser.add_argument("--content-type", metavar="TYPE", help="of --body; default: that of the event package")
    parser.add_argument("--keep", action="store_true", help="refresh it until Ctrl-C, then withdraw it")


def run(args: argparse.Namespace) -> int:
    """Publish once, or until the person says stop."""
    return run_client(_publish(args, read_body(args)), args.server)


def read_body(args: argparse.Namespace) -> bytes:
    """Return what is to be published, b'' for a removal; raises ConfigError when the options do not fit."""
    if (args.note or args.activity) and not args.status:
        raise ConfigError("--note and --activity go with --status")
    if args.content_type and not args.body:
        raise ConfigError("--content-type goes with --body")
    if args.remove:
        if args.keep:
            raise ConfigError("--remove and --keep exclude each other")
        return b""
    if args.status:
        if args.event != "presence":
            raise ConfigError(f"--status is for the event package presence; {args.event} needs --body FILE")
        return write_presence(
            args.presentity,
            f"t{secrets.token_hex(4)}",
            args.status,
            note=clean(args.note),
            activity=args.activity,
        )
    if not args.body:
        raise ConfigError("say what to publish: --status open, --status closed, --body FILE or --remove ETAG")
    return _read_file(args.body)


def _read_file(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            body = file.read(MAX_BODY_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror or error}") from None
    if not 0 < len(body) <= MAX_BODY_BYTES:
        raise ConfigError(f"{path} must have from 1 to {MAX_BODY_BYTES} bytes")
    return body


def _entity_tag(text: str) -> str:
    if not text or not text.isascii() or not all("!" <= c <= "~" for c in text):
        raise argparse.ArgumentTypeError(f"{text!r} is not an entity-tag")
    return text


async def _publish(args: argparse.Namespace, body: bytes) -> None:
    where = args.server
    tracer = trace if args.raw else None
    async with connect(*where, timeout_s=args.timeout, trace=tracer, tls=tls_context(args)) as flow:
        publisher = Publisher(
            args.presentity,
            args.event,
            args.content_type or CONTENT_TYPES[args.event],
            flow.local,
            SystemRandom(),
            expires_s=args.expires,
            etag=args.remove or "",
            timeout_s=args.timeout,
            answerer=make_answerer(args, args.presentity),
        )
        driver = Driver[PublisherEvent](flow, publisher)
        if args.remove:
            publisher.remove(driver.now())
        else:
            publisher.publish(body, driver.now())
        driver.settle()
        if args.keep:
            _remove_on_signal(publisher, driver)
        while not _report(await driver.next_event(), args, flow, driver.now()):
            pass


def _remove_on_signal(publisher: Publisher, driver: Driver[PublisherEvent]) -> None:
    loop = asyncio.get_running_loop()

    def stop() -> None:
        # A second Ctrl-C does not wait for the answer.
        loop.remove_signal_handler(signal.SIGINT)
        publisher.remove(driver.now())
        driver.settle()

    loop.add_signal_handler(signal.SIGINT, stop)
    loop.add_signal_handler(signal.SIGTERM, stop)


def _report(event: PublisherEvent, args: argparse.Namespace, flow: Flow, now: float) -> bool:
    """Print what happened and return whether it was the last thing; raises Failed."""
    if isinstance(event, PublishFailed):
        error = failure(event.answer, args, flow.failure)
        if event.retry_s is None:
            raise error
        warn(f"{error}; trying again in {event.retry_s} s")
        return False
    if args.json:
        print(json.dumps(_as_json(event)), flush=True)
    else:
        print("\n".join(_as_text(event, args, now)), flush=True)
    return isinstance(event, Removed) or not args.keep


def _as_json(event: Published | Removed) -> dict[str, Any]:
    answer = event.answer
    said = {"status": answer.status, "reason": answer.reason} if answer else {}
    if isinstance(event, Removed):
        return {"event": "removed", **said}
    return {"event": "published", **said, "etag": event.etag, "expires_s": event.expires_s}


def _as_text(event: Published | Removed, args: argparse.Namespace, now: float) -> list[str]:
    if isinstance(event, Removed):
        return [f"{clock_time(now)} withdrawn"]
    line = f"{clock_time(now)} {event.answer.status} {clean(event.answer.reason)}: "
    line += f"entity-tag {clean(event.etag)}, granted {event.expires_s} s"
    if args.keep:
        return [f"{line}; kept until Ctrl-C"]
    options = "" if args.event == "presence" else f" --event {args.event}"
    where = write_server(args.server)
    options += "" if where == DEFAULT_SERVER else f" --server {where}"
    return [
        line,
        f"It stays until {clock_time(now + event.expires_s)}; withdraw it before with",
        f"  presence publish {args.presentity}{options} --remove {clean(event.etag)}",
    ]
