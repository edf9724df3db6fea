"""Telephone numbers as addresses of record (RFC 3966 sections 3 to 5, RFC 3261 section 19.1.6)."""

import re
from collections.abc import Mapping
from typing import Final

from presence.errors import BadRequest
from presence.values import Aor

_SEPARATORS: Final = str.maketrans("", "", "-.()")
_GLOBAL = re.compile(r"\+[0-9]++")
_LOCAL = re.compile(r"[0-9a-f*#]++")
_DOMAIN = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.)*[a-z](?:[a-z0-9-]*[a-z0-9])?\.?")


def read_number(number: str, params: Mapping[str, str]) -> Aor:
    """Return the address of record of a tel URI; raises BadRequest.

    Visual separators mean nothing (RFC 3966 section 5). A global number has no domain, and neither has a local one
    whose context is a global prefix; that of a domain is the domain's.
    """
    digits = strip_separators(number)
    if _GLOBAL.fullmatch(digits):
        return Aor(digits, "")
    context = params.get("phone-context", "").lower()
    if not _LOCAL.fullmatch(digits) or not context:
        # RFC 3966 section 5.1.5: a local number without its context is nobody's.
        raise BadRequest("Bad Telephone Number")
    prefix = strip_separators(context)
    if _GLOBAL.fullmatch(prefix):
        return Aor(f"{digits};phone-context={prefix}", "")
    if not _DOMAIN.fullmatch(context):
        raise BadRequest("Bad Telephone Number")
    return Aor(digits, context)


def strip_separators(number: str) -> str:
    """Return a number without its visual separators."""
    return number.lower().translate(_SEPARATORS)


def canonical_subscriber(user: str) -> str:
    """Return the user part of a SIP URI with user=phone in its one spelling; what is no number stays as it is."""
    digits = strip_separators(user.partition(";")[0])
    return digits if _GLOBAL.fullmatch(digits) or _LOCAL.fullmatch(digits) else user
