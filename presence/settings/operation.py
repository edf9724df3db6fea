"""Settings of the database, HTTP and the log."""

from dataclasses import dataclass
from typing import Literal

from presence.settings.setting import key
from presence.shape import ADDRESS_OR_NOTHING, PATH, PATH_OR_NOTHING, parse_address


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """Where everything is kept."""

    path: str = key("var/presence.db", "File of the SQLite database.", shape=PATH, flag="--database")
    durability: Literal["commit", "os", "periodic", "memory"] = key(
        "commit",
        "What a success response promises: commit survives a power cut, os a crash of the server only, "
        "periodic what came before the last database.write_interval_ms, memory nothing: not even a restart.",
    )
    write_interval_ms: int = key(
        500,
        "How often changes are written under durability periodic, in milliseconds.",
        within=(100, 1000),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Http:
    """HTTP: health, readiness, metrics, and XCAP below xcap.root."""

    listen: str = key(
        "127.0.0.1:8080",
        "Where HTTP is served; port 0 takes a free one, empty is nowhere.",
        shape=ADDRESS_OR_NOTHING,
        flag="--http",
    )
    certificate: str = key(
        "",
        "PEM file with our certificate and those of its issuers behind it: HTTP is then served over TLS, and not "
        "without. Read anew at SIGHUP.",
        shape=PATH_OR_NOTHING,
    )
    key: str = key("", "PEM file with the key of the certificate; empty is the same file.", shape=PATH_OR_NOTHING)

    @property
    def address(self) -> tuple[str, int] | None:
        """Host and port of `listen`, None when HTTP is off."""
        return parse_address(self.listen) if self.listen else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """What is written to the standard error output."""

    level: Literal["debug", "info", "warning", "error"] = key(
        "info", "Least important messages written.", flag="--log-level"
    )
    format: Literal["auto", "human", "json"] = key(
        "auto", "How lines look: auto is human on a terminal and JSON elsewhere."
    )
