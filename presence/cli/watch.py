"""`presence watch`: see the state of a presentity as it changes."""

import argparse
import asyncio
import json
import signal
import sys
from collections import deque
from datetime import UTC, datetime
from random import SystemRandom
from typing import Any, Protocol

from presence.agents.display import CONTENT_TYPES, clean, describe, summarise
from presence.agents.watcher import NO_NOTIFY, Ended, Notified, Subscribed, Watcher, WatcherEvent
from presence.cli.connection import (
    EVENTS,
    Failed,
    add_arguments,
    add_event_argument,
    clock_time,
    failure,
    make_answerer,
    positive,
    run_client,
    sip_uri,
    tls_context,
    trace,
    warn,
    write_server,
)
from presence.transport.client import Driver, Flow, connect

_HISTORY = 10


def add_parser(subparsers: Any) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "watch",
        help="see the state of a presentity as it changes",
        description="Subscribe to the state of a presentity and show each NOTIFY, until Ctrl-C.",
    )
    add_arguments(parser)
    add_event_argument(parser, EVENTS)
    parser.add_argument(
        "--from", dest="watcher", type=sip_uri, metavar="URI", help="who watches (default: the presentity itself)"
    )
    ending = parser.add_mutually_exclusive_group()
    ending.add_argument("--once", action="store_true", help="fetch the state and end")
    ending.add_argument("--count", type=positive, metavar="N", help="end after N NOTIFYs")


def run(args: argparse.Namespace) -> int:
    """Watch until the person, the count or the server says stop."""
    return run_client(_watch(args), args.server)


class View(Protocol):
    """A way to show what happens."""

    def show(self, event: WatcherEvent, now: float) -> None:
        """Show an event."""

    def close(self) -> None:
        """Leave the terminal as it was."""


class JsonView:
    """One JSON line for each NOTIFY."""

    def show(self, event: WatcherEvent, now: float) -> None:
        """Print a NOTIFY."""
        if isinstance(event, Notified):
            line = {
                "time": datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds"),
                "cseq": event.cseq,
                "subscription_state": event.subscription.state,
                "reason": event.subscription.reason,
                "expires_s": event.subscription.expires_s,
                "content_type": event.content_type,
                "body": event.body.decode("utf-8", "replace"),
                "summary": summarise(event.content_type, event.body),
            }
            print(json.dumps(line), flush=True)

    def close(self) -> None:
        """Nothing to put back."""


class PlainView:
    """Lines with the time of day."""

    def show(self, event: WatcherEvent, now: float) -> None:
        """Print an event."""
        first, *others = write_lines(event)
        print(f"{clock_time(now)} {first}", *(f"         {line}" for line in others), sep="\n", flush=True)

    def close(self) -> None:
        """Nothing to put back."""


class LiveView:
    """The current state with the last changes under it, redrawn in place."""

    def __init__(self, title: str) -> None:
        # Only a person at a terminal pays for loading it.
        from rich.live import Live

        self._title = title
        self._state = "subscribing"
        self._lines: list[str] = []
        self._history: deque[str] = deque(maxlen=_HISTORY)
        self._live = Live(self._draw(), auto_refresh=False)
        self._live.start()

    def show(self, event: WatcherEvent, now: float) -> None:
        """Redraw with what is new."""
        lines = write_lines(event)
        if isinstance(event, Notified):
            self._state = _write_state(event)
            self._lines = describe(summarise(event.content_type, event.body))
        elif isinstance(event, Ended):
            self._state = lines[0]
        self._history.append(f"{clock_time(now)} {lines[0]}")
        self._live.update(self._draw(), refresh=True)

    def close(self) -> None:
        """Leave the last picture where it is."""
        self._live.stop()

    def _draw(self) -> Any:
        from rich.console import Group
        from rich.panel import Panel
        from rich.text import Text

        current = Text("\n".join([self._state, "", *self._lines]))
        history = Text("\n".join(self._history), style="dim")
        return Group(Panel(current, title=Text(self._title), title_align="left"), history)


def write_lines(event: WatcherEvent) -> list[str]:
    """Return an event in words, the first line for itself."""
    if isinstance(event, Subscribed):
        return [f"subscribed for {event.expires_s} s"]
    if isinstance(event, Ended):
        again = "" if event.retry_s is None else f"; again in {event.retry_s} s"
        return [f"ended: {clean(event.reason)}{again}"]
    first, *others = describe(summarise(event.content_type, event.body))
    return [f"{_write_state(event)}: {first}", *others]


def _write_state(event: Notified) -> str:
    state = clean(event.subscription.state)
    return f"{state} ({clean(event.subscription.reason)})" if event.subscription.reason else state


def _choose_view(args: argparse.Namespace) -> View:
    if args.json:
        return JsonView()
    if sys.stdout.isatty() and not args.raw and not args.once:
        return LiveView(f"{args.event} of {args.presentity}")
    return PlainView()


async def _watch(args: argparse.Namespace) -> None:
    tracer = trace if args.raw else None
    async with connect(*args.server, timeout_s=args.timeout, trace=tracer, tls=tls_context(args)) as flow:
        watcher = Watcher(
            args.presentity,
            args.event,
            CONTENT_TYPES[args.event],
            flow.local,
            SystemRandom(),
            watcher=args.watcher or "",
            expires_s=args.expires,
            timeout_s=args.timeout,
            answerer=make_answerer(args, args.watcher or args.presentity),
        )
        driver = Driver[WatcherEvent](flow, watcher)
        if args.once:
            watcher.fetch(driver.now())
        else:
            watcher.subscribe(driver.now())
        driver.settle()
        view = _choose_view(args)
        try:
            await _Session(args, flow, watcher, driver, view).follow()
        finally:
            view.close()


class _Session:
    """What the person asked for, carried out."""

    def __init__(
        self, args: argparse.Namespace, flow: Flow, watcher: Watcher, driver: Driver[WatcherEvent], view: View
    ) -> None:
        self._args = args
        self._flow = flow
        self._watcher = watcher
        self._driver = driver
        self._view = view
        self._left: int | None = args.count
        self._leaving = bool(args.once)

    async def follow(self) -> None:
        """Show what happens until the end; raises Failed when it is not the end that was asked for."""
        self._leave_on_signal()
        while True:
            event = await self._driver.next_event()
            is_last = isinstance(event, Ended) and event.retry_s is None
            if isinstance(event, Ended):
                if is_last:
                    self._judge(event)
                elif self._args.json:
                    warn(write_lines(event)[0])
            if self._is_shown(event):
                self._view.show(event, self._driver.now())
            if is_last:
                return
            if isinstance(event, Notified) and self._left:
                self._left -= 1
                if not self._left:
                    self._leave()

    def _is_shown(self, event: WatcherEvent) -> bool:
        if isinstance(event, Notified):
            return self._left != 0
        # Who asked for the state alone wants to read nothing else.
        return not self._args.once and not (isinstance(event, Subscribed) and not event.expires_s)

    def _leave_on_signal(self) -> None:
        loop = asyncio.get_running_loop()

        def stop() -> None:
            # A second Ctrl-C does not wait for the final NOTIFY.
            loop.remove_signal_handler(signal.SIGINT)
            self._leave()

        loop.add_signal_handler(signal.SIGINT, stop)
        loop.add_signal_handler(signal.SIGTERM, stop)

    def _leave(self) -> None:
        self._leaving = True
        self._watcher.unsubscribe(self._driver.now())
        self._driver.settle()

    def _judge(self, ended: Ended) -> None:
        if ended.answer is not None:
            raise failure(ended.answer, self._args, self._flow.failure)
        if ended.reason == NO_NOTIFY:
            where = write_server(self._args.server)
            raise Failed(f"no NOTIFY from {where} within {self._args.timeout:g} s")
        # To be let go is no failure; to be refused is one, whoever speaks first.
        if not self._leaving or ended.reason in ("rejected", "noresource"):
            raise Failed(f"the subscription ended: {clean(ended.reason)}")
