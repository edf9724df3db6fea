"""URIs of XCAP resources that stand in documents: references to lists (RFC 4826 section 3.1, OMA external lists)."""

from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit

from presence.xcap.documents import Key
from presence.xcap.errors import XcapError
from presence.xcap.selector import Selector
from presence.xcap.uri import find_root, read_target

_PORTS = {"http": 80, "https": 443}


class Anchor(NamedTuple):
    """What a reference names."""

    key: Key
    selector: Selector | None
    """None: the whole document."""
    at_home: bool
    """Its XCAP root is one of ours, not only alike in its path."""


def is_http(uri: str) -> bool:
    """Whether a text is an absolute HTTP URI."""
    return _split(uri) is not None


def read_anchor(uri: str, roots: Sequence[str]) -> Anchor | None:
    """Read an absolute URI, percent-encoded or not; None when it names nothing that could be here.

    The path of the root has to be one of ours. Its host may be another, as behind a proxy: `at_home` says so.
    """
    parts = _split(uri)
    if parts is None:
        return None
    for root in roots:
        own = _split(root)
        below = own and find_root(parts.path, own.path.rstrip("/"))
        if not own or not below:
            continue
        domain, rest = below
        try:
            target = read_target(rest, parts.query, domain)
        except XcapError:
            continue
        at_home = any(_place(parts) == _place(other) for other in map(_split, roots) if other)
        return Anchor(target.key, target.selector, at_home)
    return None


def read_reference(ref: str) -> Anchor | None:
    """Read the relative path of an entry-ref, whose base is the XCAP root; None when it names nothing."""
    path, _, query = ref.partition("?")
    try:
        target = read_target(f"/{path}", query)
    except XcapError:
        return None
    return Anchor(target.key, target.selector, at_home=True)


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
