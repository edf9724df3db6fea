"""Ways of OpenXCAP that are not those of RFC 4825, and whose clients get them.

Its client library sends whole documents without a type of its own (what it is built on then says that they are a
form), takes and gives the values of attributes without quotes, changes attributes that its URI selects by, evaluates
the field of a uniqueness-failure as an XPath expression, and writes lists of others into rls-services. Each is against
the letter of RFC 4825 or RFC 4826, so nobody else gets it.
"""

import re
from collections.abc import Mapping
from typing import Final, Literal

Mode = Literal["auto", "always", "never"]
"""Who gets the ways of OpenXCAP: its clients, everybody or nobody."""

FILLED_IN: Final = frozenset(("", "application/x-www-form-urlencoded"))
"""Types that were not said but filled in."""

_AGENT = re.compile(r"python3?-xcaplib\b|xcapclient\b", re.IGNORECASE)
_FILLING = re.compile(r"Python-urllib\b", re.IGNORECASE)
"""Says that a body is a form whenever it is not told what it is. That is all that is known of who uses it."""


def is_openxcap_client(headers: Mapping[str, str], mode: Mode = "auto") -> bool:
    """Whether a request is to be served as OpenXCAP would; `headers` are by name in small letters."""
    if mode == "auto":
        return _AGENT.match(headers.get("user-agent", "")) is not None
    return mode == "always"


def says_no_type(headers: Mapping[str, str], *, openxcap: bool) -> bool:
    """Whether the type of a body is nobody's word."""
    value = headers.get("content-type")
    if value is None:
        return True
    fills = openxcap or _FILLING.match(headers.get("user-agent", "")) is not None
    return fills and value.partition(";")[0].strip().lower() in FILLED_IN
