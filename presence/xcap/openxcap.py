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

_FORM: Final = "application/x-www-form-urlencoded"
_AGENT = re.compile(r"python3?-xcaplib\b|xcapclient\b", re.IGNORECASE)
_LIBRARY = re.compile(r"Python-urllib\b", re.IGNORECASE)
"""What that library is built on, as others are: for those who name no client."""


def is_openxcap_client(headers: Mapping[str, str], target: str, mode: Mode = "auto") -> bool:
    """Whether a request is to be served as OpenXCAP would.

    `headers` are by name in small letters, `target` is the path as it came.
    """
    if mode != "auto":
        return mode == "always"
    agent = headers.get("user-agent", "")
    if _AGENT.match(agent) is not None:
        return True
    # Without a name it is known by what nobody does who goes by the RFC: node selectors as they are, forms.
    careless = '"' in target or "[" in target or _type(headers) == _FORM
    return careless and _LIBRARY.match(agent) is not None


def says_no_type(headers: Mapping[str, str], *, openxcap: bool) -> bool:
    """Whether the type of a body is nobody's word."""
    return "content-type" not in headers or (openxcap and _type(headers) in ("", _FORM))


def _type(headers: Mapping[str, str]) -> str:
    return headers.get("content-type", "").partition(";")[0].strip().lower()
