"""The one table of settings: each section a frozen dataclass, each field a key with default, limits and help.

Sections and keys that OpenSIPS has keep its names (module, parameter), so that what an operator knows stays
true. Reading the sources (file, environment, command line) is `config`'s part.
"""

from collections.abc import Mapping
from dataclasses import fields
from typing import cast, get_type_hints

from presence.settings.auth import Auth
from presence.settings.dialoginfo import PresenceDialoginfo
from presence.settings.dns import Dns
from presence.settings.limits import Limits
from presence.settings.operation import Database, Http, Log
from presence.settings.presence import Presence, PresenceXml
from presence.settings.server import Server
from presence.settings.setting import Refused, Setting, Value
from presence.settings.tls import Tls, Ws
from presence.settings.xcap import Xcap
from presence.settings.xcap_client import Management, XcapClient

SECTIONS: Mapping[str, type] = {
    "presence": Presence,
    "presence_xml": PresenceXml,
    "presence_dialoginfo": PresenceDialoginfo,
    "server": Server,
    "limits": Limits,
    "tls": Tls,
    "ws": Ws,
    "dns": Dns,
    "auth": Auth,
    "database": Database,
    "http": Http,
    "xcap": Xcap,
    "xcap_client": XcapClient,
    "management": Management,
    "log": Log,
}

RESERVED = ("presence_mwi", "pua", "rls")
"""Sections that have no key yet; an empty one is accepted."""


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

__all__ = [
    "RESERVED",
    "SECTIONS",
    "SETTINGS",
    "Auth",
    "Database",
    "Dns",
    "Http",
    "Limits",
    "Log",
    "Management",
    "Presence",
    "PresenceDialoginfo",
    "PresenceXml",
    "Refused",
    "Server",
    "Setting",
    "Tls",
    "Value",
    "Ws",
    "Xcap",
    "XcapClient",
]
