"""The validity condition: when a rule counts (RFC 4745 section 7.4).

Its times are xs:dateTime (XML Schema part 2 section 3.2.7).
"""

import re
from datetime import date
from typing import Final, NamedTuple

from presence.document.tree import Element
from presence.policy.identity import COMMON_POLICY

# A year may have more than four digits, or be before the first; a second may be the 60th where one is inserted.
_DATE_TIME = re.compile(
    r"(-?(?:[1-9][0-9]{4,8}|[0-9]{4}))-([0-9]{2})-([0-9]{2})T([0-9]{2}):([0-9]{2}):([0-9]{2})(\.[0-9]{1,30})?"
    r"(?:(Z)|([+-])([0-9]{2}):([0-9]{2}))?"
)
_EPOCH: Final = date(1970, 1, 1).toordinal()
_CYCLE_YEARS, _CYCLE_DAYS = 400, 146_097
_MOST_ZONE_S: Final = 14 * 3600


class Validity(NamedTuple):
    """A <validity>: true in each of its periods."""

    periods: tuple[tuple[float, float], ...]
    """From and until, epoch seconds: `from <= now < until`."""

    def holds(self, now: float) -> bool:
        """Return whether an instant is in a period."""
        return any(begin <= now < end for begin, end in self.periods)


def read_validity(element: Element) -> Validity:
    """Read a <validity>; one that is not of pairs of <from> and <until> is never true."""
    names = [child.name if child.namespace == COMMON_POLICY else "" for child in element.children]
    if len(names) % 2 or any(name != ("from", "until")[at % 2] for at, name in enumerate(names)):
        return Validity(())
    instants = [read_date_time(child.value()) for child in element.children]
    pairs = zip(instants[::2], instants[1::2], strict=True)
    return Validity(tuple((begin, end) for begin, end in pairs if begin is not None and end is not None))


def read_date_time(text: str) -> float | None:
    """Return an xs:dateTime as epoch seconds, None when it is none. Without a zone it is UTC."""
    match = _DATE_TIME.fullmatch(text)
    if match is None:
        return None
    year, month, day, hour, minute, second = (int(match[group]) for group in range(1, 7))
    # The calendar repeats, and `date` ends with the year 9999.
    cycles, plain_year = divmod(year - 2000, _CYCLE_YEARS)
    try:
        days = date(2000 + plain_year, month, day).toordinal() - _EPOCH + cycles * _CYCLE_DAYS
    except ValueError:
        return None
    fraction = float(match[7] or 0)
    midnight_after = (hour, minute, second, fraction) == (24, 0, 0, 0.0)
    if (hour > 23 and not midnight_after) or minute > 59 or second > 60:
        return None
    zone_hours, zone_minutes = int(match[10] or 0), int(match[11] or 0)
    zone_s = zone_hours * 3600 + zone_minutes * 60
    if zone_minutes > 59 or zone_s > _MOST_ZONE_S:
        return None
    instant = days * 86_400 + hour * 3600 + minute * 60 + second + fraction
    return instant + zone_s if match[9] == "-" else instant - zone_s
