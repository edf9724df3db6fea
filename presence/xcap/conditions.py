"""Conditional requests: If-Match and If-None-Match on the one entity-tag of a document (RFC 4825 section 7.11)."""

import re
from collections.abc import Mapping

from presence.xcap.documents import Stored
from presence.xcap.errors import PreconditionFailed

_ENTITY_TAG = re.compile(r'\s*(W/)?("[^"]*"|[^\s,"]+)\s*(?:,|$)')


def check_preconditions(headers: Mapping[str, str], stored: Stored | None) -> None:
    """Raise PreconditionFailed when a change must not be made (section 8.2.6).

    The conditions of an element or attribute that is not there yet are on its document, so If-None-Match: * fails.
    """
    etag = None if stored is None else stored.etag
    if not if_match(headers, etag) or not if_none_match(headers, etag):
        raise failed(etag)


def failed(etag: str | None) -> PreconditionFailed:
    """Return the 412, which says the ETag there is."""
    headers = () if etag is None else (("ETag", quote_tag(etag)),)
    return PreconditionFailed("The document is another by now: fetch it again", headers)


def if_match(headers: Mapping[str, str], etag: str | None) -> bool:
    """Whether If-Match holds; the comparison is the strong one (RFC 9110 section 13.1.1)."""
    value = headers.get("if-match")
    if value is None:
        return True
    if value.strip() == "*":
        return etag is not None
    return etag is not None and (False, quote_tag(etag)) in _read_tags(value)


def if_none_match(headers: Mapping[str, str], etag: str | None) -> bool:
    """Whether If-None-Match holds; the comparison is the weak one (RFC 9110 section 13.1.2)."""
    value = headers.get("if-none-match")
    if value is None or etag is None:
        return True
    return value.strip() != "*" and quote_tag(etag) not in {tag for _, tag in _read_tags(value)}


def quote_tag(etag: str) -> str:
    """Write an ETag as header fields have it."""
    return etag if etag.startswith('"') else f'"{etag}"'


def _read_tags(value: str) -> list[tuple[bool, str]]:
    """Return the entity-tags of a list, whether weak and in quotes; what is no tag matches none."""
    tags, at = [], 0
    while found := _ENTITY_TAG.match(value, at):
        tags.append((found[1] is not None, found[2]))
        at = found.end()
        if at >= len(value):
            break
    return tags
