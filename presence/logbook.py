"""Structured logging: one line an event on standard error, human on a terminal and JSON elsewhere.

Lines about a peer's message carry `call_id`, about a presentity `aor` (its URI) and `package`.
"""

import logging
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import TextIO, cast

import structlog
from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}

LINES_PER_SECOND = 50

_CONTROL = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0))}


def configure(level: str = "info", form: str = "auto", stream: TextIO | None = None) -> None:
    """Send every log line, those of libraries included, to `stream` in one form from `level` up."""
    stream = stream or sys.stderr
    human = form == "human" or (form == "auto" and stream.isatty())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
    ]
    final = _human_end(stream) if human else _json_end()
    structlog.configure(
        processors=[*shared, *final],
        # Methods below the level are empty functions, so that a debug line costs a call and no more.
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=structlog.WriteLoggerFactory(cast(TextIO, _Patient(stream))),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *final],
        )
    )
    # Libraries tell of every connection at info; only their trouble is ours.
    logging.basicConfig(handlers=[handler], level=max(LEVELS[level], logging.WARNING), force=True)


def open_log(**fields: str) -> FilteringBoundLogger:
    """Return a log whose lines all carry these fields."""
    return cast(FilteringBoundLogger, structlog.get_logger(**fields))


class _Patient:
    """A stream that takes a line or leaves it out: a full disk must not stop whoever tells of it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        with suppress(OSError):
            self._stream.write(text)

    def flush(self) -> None:
        with suppress(OSError):
            self._stream.flush()


class Journal:
    """The `Observer` that logs: refusals and dead watchers at info (so many a second), all else at debug."""

    def __init__(self, log: FilteringBoundLogger, now: Callable[[], float]) -> None:
        # Bound here: an unbound log is bound anew for each line, also for one below the level.
        self._log: FilteringBoundLogger = log.bind()
        self.verbose: bool = self._log.is_enabled_for(logging.DEBUG)
        self._now = now
        self._second = 0.0
        self._written = 0

    def answered(self, method: str, status: int, reason: str, call_id: str, aor: str, package: str) -> None:
        """Log the final response to a request."""
        if status < 300:
            self._log.debug("answered", method=method, status=status, call_id=call_id, aor=aor, package=package)
        elif self._may_write():
            self._log.info(
                "refused", method=method, status=status, reason=reason, call_id=call_id, aor=aor, package=package
            )

    def ended(self, aor: str, package: str, call_id: str, why: str) -> None:
        """Log the end of a subscription."""
        if why != "notify failed":
            self._log.debug("subscription ended", aor=aor, package=package, call_id=call_id, why=why)
        elif self._may_write():
            self._log.info("subscription ended", aor=aor, package=package, call_id=call_id, why=why)

    def faulted(self, error: Exception, call_id: str) -> None:
        """Log a fault of ours with its traceback."""
        self._log.error("request failed", call_id=call_id, exc_info=error)

    def _may_write(self) -> bool:
        # A flood of bad requests must not become a flood of lines.
        now = self._now()
        if now - self._second >= 1.0:
            if self._written > LINES_PER_SECOND:
                self._log.info("lines left out", count=self._written - LINES_PER_SECOND)
            self._second, self._written = now, 0
        self._written += 1
        return self._written <= LINES_PER_SECOND


def _json_end() -> list[Processor]:
    return [
        structlog.processors.format_exc_info,
        structlog.processors.EventRenamer("message"),
        structlog.processors.JSONRenderer(),
    ]


def _human_end(stream: TextIO) -> list[Processor]:
    return [
        _escape_control,
        structlog.dev.ConsoleRenderer(
            colors=stream.isatty(),
            timestamp_key="at",
            exception_formatter=structlog.dev.plain_traceback,
        ),
    ]


def _escape_control(_logger: WrappedLogger, _method: str, line: EventDict) -> EventDict:
    """Take from peers the power to start lines of their own or to command the terminal."""
    return {name: value.translate(_CONTROL) if isinstance(value, str) else value for name, value in line.items()}
