"""`presence config`, and the options by which every command that needs settings takes them."""

import argparse
import json
import os
from typing import Any

from presence.config import Config, Given, load
from presence.settings import RESERVED, SECTIONS, SETTINGS, Setting

MARKDOWN_HEAD = """\
# Configuration

Made by `presence config --markdown` from `presence/settings/`; a test fails when the two differ.

Values come from five sources, each over the one before: the defaults below; TOML files named by `--config`,
which may be repeated; environment variables `PRESENCE_SECTION__KEY`, with commas between the entries of a
list; `--set SECTION.KEY=VALUE`; and options of their own, listed below where there is one. `presence config`
takes the same sources and prints the values in force, each with its origin. A wrong key or value is an error:
one line, exit status 2.

Sections and keys that OpenSIPS has keep its names: its module is the section, its parameter the key.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options by which settings are given."""
    parser.add_argument(
        "--config",
        action="append",
        default=[],
        metavar="FILE",
        help="a file of settings in TOML; may be repeated",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        dest="assignments",
        metavar="SECTION.KEY=VALUE",
        help="one setting; may be repeated",
    )
    for setting in SETTINGS:
        if setting.rule.flag:
            repeats = ", may be repeated" if setting.repeated else ""
            parser.add_argument(
                setting.rule.flag,
                dest=setting.name,
                action="append" if setting.repeated else "store",
                metavar="|".join(setting.choices) or setting.key.upper(),
                help=f"{setting.rule.help} ({setting.name}{repeats})".replace("%", "%%"),
            )


def load_config(args: argparse.Namespace) -> Config:
    """Return the effective settings of a command line that has `add_arguments`, and of the environment."""
    given = {setting: getattr(args, setting.name, None) for setting in SETTINGS}
    flags = [Given(setting.name, raw, setting.rule.flag) for setting, raw in given.items() if raw is not None]
    return load(args.config, os.environ, args.assignments, flags)


def add_parser(subparsers: Any) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "config",
        help="print the settings in force",
        description="Print the settings in force as TOML, each with its origin.",
    )
    add_arguments(parser)
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print JSON instead")
    form.add_argument("--markdown", action="store_true", help="print the reference of all settings instead")


def run(args: argparse.Namespace) -> int:
    """Print the settings in force, or their reference."""
    if args.markdown:
        print(write_markdown(), end="")
    elif args.json:
        print(write_json(load_config(args)))
    else:
        print(write_toml(load_config(args)), end="")
    return 0


def write_toml(config: Config) -> str:
    """Return the settings in force as a file that would give the same ones."""
    lines: list[str] = []
    # JSON without its escapes for surrogate pairs, which TOML has not, is TOML for the values there are, but for DEL.
    for section in SECTIONS:
        lines += ["", f"[{section}]"]
        for setting in _effective(section):
            # JSON leaves DEL as it is, which TOML does not take.
            value = json.dumps(config.value(setting), ensure_ascii=False).replace("\x7f", "\\u007f")
            assignment = f"{setting.key} = {value}"
            lines.append(f"{assignment:<48}  # {config.origin(section, setting.key)}")
    return "\n".join([*lines[1:], ""])


def write_json(config: Config) -> str:
    """Return the settings in force as JSON: section, key, then value and origin."""
    document = {
        section: {
            setting.key: {"value": config.value(setting), "origin": config.origin(section, setting.key)}
            for setting in _effective(section)
        }
        for section in SECTIONS
    }
    return json.dumps(document, indent=2)


def write_markdown() -> str:
    """Return the reference of all settings."""
    parts = [MARKDOWN_HEAD]
    for section, declared in SECTIONS.items():
        parts += [f"## {section}\n", f"{declared.__doc__}\n"]
        parts += [_write_entry(setting) for setting in _effective(section)]
        obsolete = [setting for setting in SETTINGS if setting.section == section and setting.obsolete]
        if obsolete:
            parts.append("Accepted from OpenSIPS configurations, without effect, with a warning at the start:\n")
            parts.append("".join(f"- `{setting.key}`: {setting.obsolete}\n" for setting in obsolete))
    parts.append("## Reserved sections\n")
    parts.append(f"Accepted while they are empty: {', '.join(f'`{name}`' for name in RESERVED)}.\n")
    return "\n".join(parts)


def _effective(section: str) -> list[Setting]:
    return [setting for setting in SETTINGS if setting.section == section and not setting.obsolete]


def _write_entry(setting: Setting) -> str:
    lines = [
        f"### {setting.name}\n",
        f"{setting.rule.help}\n",
        f"- Default: `{json.dumps(setting.default)}`",
        f"- Allowed{', each entry' if setting.repeated else ''}: {setting.allowed}",
    ]
    if setting.rule.flag:
        lines.append(f"- Option: `{setting.rule.flag}`")
    return "\n".join([*lines, ""])
