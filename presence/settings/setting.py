"""One key of one section: how it is declared, what it takes and what it means."""

from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, get_args, get_origin

from presence.shape import Shape

Value = bool | int | str | tuple[str, ...]

INTERVAL_MAX_S = 2**31 - 1
HOUR_S = 3600


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
