"""Paths below an XCAP root (RFC 4825 section 6), as other servers and operators spell them."""

from urllib.parse import unquote

from presence.errors import BadRequest
from presence.sip.headers import parse_uri
from presence.values import Aor
from presence.xcap.doctypes import name_in
from presence.xcap.shelf import Key

_NODE = "/~~"


def key_of(path: str) -> Key | None:
    """Return the document of a path, also when it names a node of it; None when it names none."""
    auid, _, rest = unquote(path.partition(_NODE)[0].strip("/")).partition("/")
    tree, _, rest = rest.partition("/")
    if tree == "global" and rest:
        return Key(auid, None, name_in(auid, rest))
    user, _, name = rest.partition("/")
    owner = _owner_of(user) if tree == "users" else None
    return Key(auid, owner, name_in(auid, name)) if owner is not None and name else None


def _owner_of(user: str) -> Aor | None:
    try:
        return parse_uri(user if ":" in user else f"sip:{user}").aor()
    except BadRequest:
        return None
