"""Structured logging: one line an event on standard error, human on a terminal and JSON elsewhere.

Lines about a peer's message carry `call_id`, about a presentity `aor` (its URI) and `package`.
"""

import logging
import sys
from typing import TextIO, cast

import structlog
from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}

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
        logger_factory=structlog.WriteLoggerFactory(stream),
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
