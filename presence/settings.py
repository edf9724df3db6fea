"""The one table of settings: each section a frozen dataclass, each field a key with default, limits and help.

Sections and keys that OpenSIPS has keep its names (module, parameter), so that what an operator knows stays
true. Reading the sources (file, environment, command line) is `config`'s part.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any, ClassVar, Literal, NamedTuple, cast, get_args, get_origin, get_type_hints

from presence import __version__
from presence.shape import (
    ADDRESS_OR_NOTHING,
    CONTACT_USER,
    DOMAIN,
    HOST_OR_NOTHING,
    LISTENER,
    NETWORK,
    PATH,
    PATH_OR_NOTHING,
    PRODUCT,
    Listener,
    Shape,
    is_loopback,
    parse_address,
    parse_listener,
)

Value = bool | int | str | tuple[str, ...]

INTERVAL_MAX_S = 2**31 - 1
HOUR_S = 3600

LOOPBACK = ("127.0.0.0/8", "::1/128")
EVERYWHERE = ("0.0.0.0/0", "::/0")


class Rule(NamedTuple):
    """What is allowed for a key besides its type, and how a person meets it."""

    help: str
    minimum: int = 0
    maximum: int = 0
    shape: Shape | None = None
    flag: str = ""


def key(
    default: Value, help: str, *, within: tuple[int, int] = (0, 0), shape: Shape | None = None, flag: str = ""
) -> Any:
    """Declare a key of a section; `flag` is its own command line option, when it has one."""
    return field(default=default, metadata={"rule": Rule(help, *within, shape, flag)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Presence:
    """Publications, subscriptions and their NOTIFYs, for every event package."""

    max_expires_subscribe: int = key(
        3600,
        "Longest subscription granted, in seconds; a longer request is shortened to it.",
        within=(1, INTERVAL_MAX_S),
    )
    max_expires_publish: int = key(
        3600,
        "Longest publication granted, in seconds; a longer request is shortened to it.",
        within=(1, INTERVAL_MAX_S),
    )
    min_expires_subscribe: int = key(
        0,
        "Shortest subscription granted, in seconds; a shorter request gets 423. RFC 6665 section 4.2.1.1 "
        "allows that below one hour only.",
        within=(0, HOUR_S),
    )
    min_expires_publish: int = key(
        0,
        "Shortest publication granted, in seconds; a shorter request gets 423 (RFC 3903 section 6).",
        within=(0, INTERVAL_MAX_S),
    )
    expires_offset: int = key(
        0,
        "Seconds by which peers are told a shorter interval than is kept, so that a refresh comes in time.",
        within=(0, HOUR_S),
    )
    contact_user: str = key("presence", "User part of our Contact in responses and NOTIFYs.", shape=CONTACT_USER)
    end_sub_on_timeout: bool = key(True, "End a subscription when its NOTIFY is not answered at all.")
    notify_failure: Literal["remove", "keep"] = key(
        "keep",
        "What becomes of a subscription whose NOTIFY got a failure without Retry-After that is not among those "
        "for which RFC 6665 section 4.2.2 demands removal (404, 405, 410, 416, 480-485, 489, 501, 604).",
    )
    waiting_subs_daysno: int = key(
        3, "Days a subscription nobody decided about is remembered as waiting.", within=(1, 30)
    )

    OBSOLETE: ClassVar[Mapping[str, str]] = {
        "db_url": "the database is database.path",
        "presentity_table": "the tables have fixed names",
        "active_watchers_table": "the tables have fixed names",
        "watchers_table": "the tables have fixed names",
        "clean_period": "what expires is removed when it expires",
        "db_update_period": "every change is written before it is answered, see database.durability",
        "fallback2db": "every change is written before it is answered, see database.durability",
        "subs_htable_size": "the table of subscriptions grows by itself",
        "pres_htable_size": "the table of presentities grows by itself",
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class PresenceXml:
    """The packages presence and presence.winfo."""

    force_active: bool = key(False, "Accept every watcher; true is the same as server.policy = open.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """Where SIP is served, for whom, and within what limits."""

    listen: tuple[str, ...] = key(
        ("udp:127.0.0.1:5060", "tcp:127.0.0.1:5060"),
        "Where SIP is received; port 0 takes a free one.",
        shape=LISTENER,
        flag="--listen",
    )
    advertised_host: str = key(
        "",
        "Host named in our Via and Contact in place of the listener's own. With none given a listener on all "
        "addresses (0.0.0.0 or ::) names the address this machine would send from.",
        shape=HOST_OR_NOTHING,
    )
    domain: tuple[str, ...] = key((), "Domains served; with none given every domain is.", shape=DOMAIN, flag="--domain")
    policy: Literal["open", "rules"] = key(
        "open",
        "Who may watch: open is everybody, rules is whom the table `watchers` names (others are pending).",
        flag="--policy",
    )
    registrar: bool = key(True, "Serve REGISTER; without it the answer is 405.")
    allow_unauthenticated: bool = key(
        False,
        "Serve other machines although nobody proves who they are; needed for listening beyond loopback.",
    )
    allowed_targets: tuple[str, ...] = key(
        (),
        "Networks requests of ours may go to. With none given: loopback alone while every listener is on "
        "loopback, otherwise everywhere.",
        shape=NETWORK,
    )
    software: str = key(f"presence/{__version__}", "Text of the Server and User-Agent header fields.", shape=PRODUCT)
    ready_file: str = key(
        "",
        "File written when every listener is open, with their addresses; empty is none.",
        shape=PATH_OR_NOTHING,
        flag="--ready-file",
    )
    drain_timeout_s: int = key(
        10, "Longest wait for answers that are under way when the server is stopped.", within=(0, HOUR_S)
    )
    max_message_bytes: int = key(
        65535, "Largest SIP message taken on a stream; a datagram is never larger than 65535.", within=(1500, 65535)
    )
    max_connections: int = key(10000, "Most stream connections held at once.", within=(1, 1_000_000))
    idle_timeout_s: int = key(900, "A connection silent for this long is closed.", within=(1, 30 * 24 * HOUR_S))
    udp_segmentation: bool = key(
        True,
        "Let the kernel cut NOTIFYs that share a next hop from one buffer (UDP GSO); a capture on the sending "
        "machine may then show them as one large packet.",
    )
    timer_t1_ms: int = key(500, "Estimate of the round trip time, T1 of RFC 3261 section 17.1.1.1.", within=(1, 60_000))
    timer_t2_ms: int = key(
        4000, "Longest pause between retransmissions, T2 of RFC 3261 section 17.1.2.2.", within=(1, 600_000)
    )

    def __post_init__(self) -> None:
        """Choose the networks nobody chose: who listens on loopback alone has no reason to send elsewhere."""
        if not self.allowed_targets:
            inside = all(is_loopback(listener.host) for listener in self.listeners)
            object.__setattr__(self, "allowed_targets", LOOPBACK if inside else EVERYWHERE)

    @property
    def listeners(self) -> tuple[Listener, ...]:
        """The entries of `listen`, taken apart."""
        return tuple(parse_listener(entry) for entry in self.listen)

    @property
    def target_networks(self) -> tuple[IPv4Network | IPv6Network, ...]:
        """The networks of `allowed_targets`."""
        return tuple(ip_network(entry) for entry in self.allowed_targets)


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
    """Health, readiness and metrics."""

    listen: str = key(
        "127.0.0.1:8080",
        "Where HTTP is served; port 0 takes a free one, empty is nowhere.",
        shape=ADDRESS_OR_NOTHING,
        flag="--http",
    )

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


SECTIONS: Mapping[str, type] = {
    "presence": Presence,
    "presence_xml": PresenceXml,
    "server": Server,
    "database": Database,
    "http": Http,
    "log": Log,
}

RESERVED = ("presence_mwi", "xcap", "xcap_client", "pua", "rls", "auth")
"""Sections that have no key yet; an empty one is accepted."""

_TRUTHS = {
    "true": True,
    "yes": True,
    "on": True,
    "1": True,
    "false": False,
    "no": False,
    "off": False,
    "0": False,
}


class Refused(ValueError):
    """A value that a key does not take; the argument is the part at fault."""


_FREE = Rule("")


@dataclass(frozen=True, slots=True)
class Setting:
    """One key of one section: what it takes, what it means, or why it is without effect."""

    section: str
    key: str
    type: object = str
    default: Value = ""
    rule: Rule = _FREE
    obsolete: str = ""

    @property
    def name(self) -> str:
        """The key as messages and `--set` spell it."""
        return f"{self.section}.{self.key}"

    @property
    def choices(self) -> tuple[str, ...]:
        """The words allowed, empty when it is no choice of words."""
        return get_args(self.type) if get_origin(self.type) is Literal else ()

    @property
    def repeated(self) -> bool:
        """True when the value is a list."""
        return get_origin(self.type) is tuple

    @property
    def allowed(self) -> str:
        """What the key takes, or each entry of its list, in words."""
        if self.type is bool:
            return "true or false"
        if self.type is int:
            return f"a whole number from {self.rule.minimum} to {self.rule.maximum}"
        return " or ".join(self.choices) or (self.rule.shape.allowed if self.rule.shape else "text")

    def read(self, raw: object) -> Value:
        """Return the value a source gave as text or as a TOML value; raises `Refused`."""
        if self.type is bool:
            return self._read_bool(raw)
        if self.type is int:
            return self._read_number(raw)
        if self.repeated:
            items = [item.strip() for item in raw.split(",")] if isinstance(raw, str) else raw
            if not isinstance(items, list | tuple):
                raise Refused(raw)
            return tuple(self._read_text(item) for item in items if item != "")
        return self._read_text(raw)

    def _read_bool(self, raw: object) -> bool:
        truth = _TRUTHS.get(str(raw).lower()) if isinstance(raw, bool | int | str) else None
        if truth is None:
            raise Refused(raw)
        return truth

    def _read_number(self, raw: object) -> int:
        if isinstance(raw, str) and raw.isascii() and raw.isdigit() and len(raw) < 20:
            raw = int(raw)
        if type(raw) is not int or not self.rule.minimum <= raw <= self.rule.maximum:
            raise Refused(raw)
        return raw

    def _read_text(self, raw: object) -> str:
        if not isinstance(raw, str) or (self.choices and raw not in self.choices):
            raise Refused(raw)
        try:
            return self.rule.shape.canonical(raw) if self.rule.shape else raw
        except ValueError:
            raise Refused(raw) from None


def _settings() -> tuple[Setting, ...]:
    table: list[Setting] = []
    for section, declared in SECTIONS.items():
        types = get_type_hints(declared)
        for entry in fields(declared):
            rule, default = entry.metadata["rule"], cast(Value, entry.default)
            table.append(Setting(section, entry.name, types[entry.name], default, rule))
        for name, reason in getattr(declared, "OBSOLETE", {}).items():
            table.append(Setting(section, name, obsolete=reason))
    return tuple(table)


SETTINGS = _settings()
