"""URIs of XCAP resources that stand in documents: references to lists (RFC 4826 section 3.1, OMA external lists)."""

from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit

from presence.xcap.documents import Key
from presence.xcap.errors import XcapError
from presence.xcap.selector import Selector
from presence.xcap.uri import find_root, read_target

_PORTS = {"http": 80, "https": 443}
_USERS_LISTS = "/resource-lists/users/"


class Anchor(NamedTuple):
    """What a reference names."""

    key: Key
    selector: Selector | None
    """None: the whole document."""
    at_home: bool
    """Its XCAP root is one of ours."""


def is_http(uri: str) -> bool:
    """Whether a text is an absolute HTTP URI."""
    return _split(uri) is not None


def read_anchor(uri: str, roots: Sequence[str]) -> Anchor | None:
    """Read an absolute URI, percent-encoded or not; None when it names nothing that could be here.

    The root may be another than ours, as behind a proxy or when another server writes our documents: `at_home` says
    so, and only lists of users are read then.
    """
    parts = _split(uri)
    if parts is None:
        return None
    for root in roots:
        own = _split(root)
        below = own and find_root(parts.path, own.path.rstrip("/"))
        if own and below and _place(parts) == _place(own):
            return _read(below[1], parts.query, below[0], at_home=True)
    _, tree, rest = parts.path.partition(_USERS_LISTS)
    return _read(tree + rest, parts.query, "", at_home=False) if tree else None


def _read(path: str, query: str, domain: str, *, at_home: bool) -> Anchor | None:
    try:
        target = read_target(path, query, domain)
    except XcapError:
        return None
    return Anchor(target.key, target.selector, at_home)


def read_reference(ref: str) -> Anchor | None:
    """Read the relative path of an entry-ref, whose base is the XCAP root; None when it names nothing."""
    path, _, query = ref.partition("?")
    return _read(f"/{path}", query, "", at_home=True)


def _split(uri: str) -> SplitResult | None:
    try:
        parts = urlsplit(uri)
        parts.port  # noqa: B018  (raises for what is no port)
    except ValueError:
        return None
    return parts if parts.scheme in _PORTS and parts.hostname else None


def _place(parts: SplitResult) -> tuple[str | None, int]:
    """Host and port; http and https count as the same where each uses its own (a proxy may speak TLS for us)."""
    port = parts.port
    return parts.hostname, 0 if port in (None, _PORTS[parts.scheme]) else port or 0
