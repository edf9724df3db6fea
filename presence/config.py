"""Read the settings: defaults, files, environment, `--set` and options of their own, each over the last."""

import json
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, NamedTuple

from presence.errors import ConfigError
from presence.settings import (
    RESERVED,
    SECTIONS,
    SETTINGS,
    Auth,
    Database,
    Dns,
    Http,
    Limits,
    Log,
    Management,
    Presence,
    PresenceDialoginfo,
    PresenceXml,
    Refused,
    Server,
    Setting,
    Tls,
    Ws,
    Xcap,
    XcapClient,
)
from presence.shape import is_loopback

ENVIRONMENT_PREFIX = "PRESENCE_"

_BY_NAME = {setting.name: setting for setting in SETTINGS}


class Given(NamedTuple):
    """A value that a source gave for a key, not yet checked."""

    name: str
    """section.key, as given: it may not exist."""
    raw: object
    origin: str
    """The source, in words that fit after `in`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The effective settings, section by section."""

    presence: Presence = field(default_factory=Presence)
    presence_xml: PresenceXml = field(default_factory=PresenceXml)
    presence_dialoginfo: PresenceDialoginfo = field(default_factory=PresenceDialoginfo)
    server: Server = field(default_factory=Server)
    limits: Limits = field(default_factory=Limits)
    tls: Tls = field(default_factory=Tls)
    ws: Ws = field(default_factory=Ws)
    dns: Dns = field(default_factory=Dns)
    auth: Auth = field(default_factory=Auth)
    database: Database = field(default_factory=Database)
    http: Http = field(default_factory=Http)
    xcap: Xcap = field(default_factory=Xcap)
    xcap_client: XcapClient = field(default_factory=XcapClient)
    management: Management = field(default_factory=Management)
    log: Log = field(default_factory=Log)
    origins: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Where each value that is not a default came from, by section.key."""
    warnings: tuple[str, ...] = ()
    """What the operator should hear once: settings that are accepted and have no effect."""

    @property
    def xcap_roots(self) -> tuple[str, ...]:
        """Our XCAP root URIs, without a slash at the end; the first is that of relative URIs."""
        if self.xcap.uris:
            return tuple(uri.rstrip("/") for uri in self.xcap.uris)
        host, port = self.http.address or ("localhost", 80)
        if ":" in host:
            host = f"[{host}]"
        return (f"http://{host}:{port}{self.xcap.root}",)

    def origin(self, section: str, key: str) -> str:
        """Return where the value came from: a file, an environment variable, an option, or `default`."""
        return self.origins.get(f"{section}.{key}", "default")

    def value(self, setting: Setting) -> Any:
        """Return the value of one line of the table."""
        return getattr(getattr(self, setting.section), setting.key)


def load(
    files: Sequence[str] = (),
    environ: Mapping[str, str] | None = None,
    assignments: Sequence[str] = (),
    flags: Sequence[Given] = (),
) -> Config:
    """Return the effective settings; raises `ConfigError` with one line that names the key and its origin."""
    given = [entry for path in files for entry in read_file(path)]
    given += read_environment(environ or {})
    given += read_assignments(assignments)
    given += flags
    values: dict[str, dict[str, Any]] = {section: {} for section in SECTIONS}
    origins: dict[str, str] = {}
    warnings: dict[str, str] = {}
    for entry in given:
        setting = _setting(entry)
        if setting.obsolete:
            warnings[entry.name] = f"{entry.name} in {entry.origin} has no effect: {setting.obsolete}"
            continue
        try:
            values[setting.section][setting.key] = setting.read(entry.raw)
        except Refused as refusal:
            raise ConfigError(
                f"{entry.name} = {quote(refusal.args[0])} in {entry.origin}: expected {setting.allowed}"
            ) from None
        origins[entry.name] = entry.origin
    _merge_force_active(values, origins)
    sections: dict[str, Any] = {name: section(**values[name]) for name, section in SECTIONS.items()}
    config = Config(**sections, origins=origins, warnings=tuple(warnings.values()))
    _check_together(config)
    return config


def read_file(path: str) -> Iterator[Given]:
    """Yield what a TOML file gives."""
    try:
        with open(path, "rb") as file:
            document = tomllib.load(file)
    except OSError as failure:
        raise ConfigError(f"cannot read {path}: {failure.strerror}") from None
    except ValueError as failure:
        raise ConfigError(f"cannot read {path}: {failure}") from None
    for section, table in document.items():
        if not isinstance(table, dict):
            raise _unknown(Given(section, table, path))
        if section not in SECTIONS and section not in RESERVED:
            raise ConfigError(f"unknown section {section} in {path}{_suggestion(section, SECTIONS)}")
        for key, raw in table.items():
            yield Given(f"{section}.{key}", raw, path)


def read_environment(environ: Mapping[str, str]) -> Iterator[Given]:
    """Yield what variables PRESENCE_SECTION__KEY give; others that start alike are none of ours."""
    for variable, raw in sorted(environ.items()):
        section, separator, key = variable.removeprefix(ENVIRONMENT_PREFIX).partition("__")
        if variable.startswith(ENVIRONMENT_PREFIX) and separator:
            yield Given(f"{section}.{key}".lower(), raw, f"environment variable {variable}")


def read_assignments(assignments: Iterable[str]) -> Iterator[Given]:
    """Yield what SECTION.KEY=VALUE of `--set` give."""
    for assignment in assignments:
        name, separator, raw = assignment.partition("=")
        if not separator:
            raise ConfigError(f"--set {quote(assignment)}: expected SECTION.KEY=VALUE")
        yield Given(name.strip(), raw.strip(), "--set")


def quote(value: object) -> str:
    """Return a value as TOML spells it, on one line, cut when it is long."""
    text = json.dumps(value, default=str)
    return text if len(text) <= 120 else f"{text[:120]}..."


def _setting(entry: Given) -> Setting:
    setting = _BY_NAME.get(entry.name)
    if setting is None:
        raise _unknown(entry)
    return setting


def _unknown(entry: Given) -> ConfigError:
    section, _, key = entry.name.partition(".")
    if section in RESERVED:
        return ConfigError(f"unknown key {entry.name} in {entry.origin}: section {section} has no keys yet")
    elsewhere = [setting.name for setting in SETTINGS if setting.key == (key or section)]
    return ConfigError(f"unknown key {entry.name} in {entry.origin}{_suggestion(entry.name, _BY_NAME, elsewhere)}")


def _suggestion(name: str, known: Iterable[str], first: Sequence[str] = ()) -> str:
    likely = [*first, *get_close_matches(name, list(known), n=1, cutoff=0.7)]
    return f"; did you mean {likely[0]}?" if likely else ""


def _merge_force_active(values: dict[str, dict[str, Any]], origins: dict[str, str]) -> None:
    """Let `presence_xml.force_active` be another spelling of `server.policy`."""
    if not values["presence_xml"].get("force_active"):
        return
    if values["server"].setdefault("policy", "open") != "open":
        raise ConfigError(
            f"server.policy = {quote(values['server']['policy'])} in {origins['server.policy']} contradicts "
            f"presence_xml.force_active = true in {origins['presence_xml.force_active']}"
        )
    origins.setdefault("server.policy", "presence_xml.force_active")


def _check_together(config: Config) -> None:
    """Refuse values that are allowed one by one and not together."""
    _check_reach(config)
    for what in ("subscribe", "publish"):
        _check_order(config, f"presence.min_expires_{what}", f"presence.max_expires_{what}")
    _check_order(config, "server.timer_t1_ms", "server.timer_t2_ms")
    if not config.server.listen:
        raise ConfigError(f"server.listen in {config.origin('server', 'listen')}: at least one listener is needed")
    fixed = [listener for listener in config.server.listeners if listener.port]
    if len(set(fixed)) < len(fixed):
        raise ConfigError(f"server.listen in {config.origin('server', 'listen')} names a listener twice")
    _check_tls(config)
    _check_xcap(config)
    # RFC 3261 section 22.1 wants a challenge in every 401, RFC 8760 section 2.3 no algorithm twice.
    algorithms = config.auth.algorithms
    if not algorithms or len(set(algorithms)) < len(algorithms):
        fault = "names an algorithm twice" if algorithms else "is empty: at least one algorithm is needed"
        raise ConfigError(f"auth.algorithms in {config.origin('auth', 'algorithms')} {fault}")


def _check_tls(config: Config) -> None:
    tls = config.tls
    if not tls.certificate:
        for entry, listener in zip(config.server.listen, config.server.listeners, strict=True):
            if listener.transport in ("tls", "wss"):
                raise ConfigError(
                    f"server.listen = {quote(entry)} in {config.origin('server', 'listen')} needs a certificate: "
                    "say tls.certificate and tls.key (docs/operation.md has how to make one)"
                )
    if tls.client_certificates != "none" and not tls.client_ca:
        raise ConfigError(
            f"tls.client_certificates = {quote(tls.client_certificates)} in "
            f"{config.origin('tls', 'client_certificates')} needs tls.client_ca: who vouches for clients"
        )


def _check_xcap(config: Config) -> None:
    """RFC 4825 section 14: no Basic authentication without TLS."""
    for name, wanted in (("authentication", config.xcap.authentication == "basic"), ("basic", config.xcap.basic)):
        if wanted and not config.http.certificate:
            raise ConfigError(
                f"xcap.{name} = {quote(getattr(config.xcap, name))} in {config.origin('xcap', name)} needs TLS, for "
                "passwords are sent as they are: say http.certificate and http.key"
            )


def _check_order(config: Config, low: str, high: str) -> None:
    low_setting, high_setting = _BY_NAME[low], _BY_NAME[high]
    if config.value(low_setting) > config.value(high_setting):
        raise ConfigError(
            f"{low} = {config.value(low_setting)} in {config.origins.get(low, 'default')} is above "
            f"{high} = {config.value(high_setting)} in {config.origins.get(high, 'default')}"
        )


def _check_reach(config: Config) -> None:
    """To serve other machines whose requests nobody has to prove must be somebody's decision."""
    if config.server.allow_unauthenticated:
        return
    for entry, listener in zip(config.server.listen, config.server.listeners, strict=True):
        if not config.auth.required and not is_loopback(listener.host):
            raise _reachable("server.listen", entry, config.origin("server", "listen"), "auth.required = true")
    # Over HTTP strangers get at health and XCAP alone, which asks for proof. The rest is for this machine.
    proven = config.xcap.root and config.xcap.authentication != "none"
    address = config.http.address
    if not proven and address is not None and not is_loopback(address[0]):
        demand = "xcap.root and xcap.authentication other than none"
        raise _reachable("http.listen", config.http.listen, config.origin("http", "listen"), demand)


def _reachable(name: str, entry: str, origin: str, demand: str) -> ConfigError:
    return ConfigError(
        f"{name} = {quote(entry)} in {origin} can be reached from other machines, whose requests are not "
        f"authenticated; listen on loopback, ask for proof ({demand}), or accept that with "
        "server.allow_unauthenticated = true"
    )
