"""Conditional requests, on the one entity-tag of a document and the time of its last change (RFC 4825 section 7.11)."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime

from presence.xcap.documents import Stored
from presence.xcap.errors import PreconditionFailed

_ENTITY_TAG = re.compile(r'\s*(W/)?("[^"]*"|[^\s,"]+)\s*(?:,|$)')


def check_preconditions(headers: Mapping[str, str], stored: Stored | None) -> None:
    """Raise PreconditionFailed when a change must not be made (section 8.2.6, RFC 9110 section 13.2.2).

    The conditions of an element or attribute that is not there yet are on its document, so If-None-Match: * fails.
    """
    etag = None if stored is None else stored.etag
    since = 0.0 if stored is None else stored.changed_at
    if not if_match(headers, etag) or not if_none_match(headers, etag) or not if_unmodified(headers, since):
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


def if_unmodified(headers: Mapping[str, str], changed_at: float) -> bool:
    """Whether If-Unmodified-Since holds; the change that was last is in epoch seconds, 0 when that is not known.

    If-Match says the same better (RFC 9110 section 13.1.4).
    """
    given = None if "if-match" in headers else read_date(headers.get("if-unmodified-since", ""))
    return given is None or not changed_at or int(changed_at) <= given


def if_modified(headers: Mapping[str, str], changed_at: float) -> bool:
    """Whether If-Modified-Since holds; If-None-Match says the same better (RFC 9110 section 13.1.3)."""
    given = None if "if-none-match" in headers else read_date(headers.get("if-modified-since", ""))
    return given is None or not changed_at or int(changed_at) > given


def read_date(text: str) -> float | None:
    """Return the epoch seconds of an HTTP date (RFC 9110 section 5.6.7), None for what is none."""
    try:
        date = parsedate_to_datetime(text)
    except ValueError:
        return None
    return (date if date.tzinfo is not None else date.replace(tzinfo=UTC)).timestamp()


def write_date(at: float) -> str:
    """Write epoch seconds as an HTTP date."""
    return format_datetime(datetime.fromtimestamp(int(at), UTC), usegmt=True)


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
