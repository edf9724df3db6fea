"""Who a request is from, as limits and quotas count."""

from presence._fastcore import Message
from presence.errors import SipError
from presence.sip.headers import read_aor
from presence.values import Aor


def who_of(request: Message) -> str:
    """Return `user@host` of who has proven to have sent a request, else of its From; '' when that cannot be read."""
    try:
        aor: Aor = read_aor(request.header("From") or "") if request.identity is None else request.identity.aor
    except (SipError, ValueError):
        return ""
    return f"{aor.username}@{aor.domain}"
