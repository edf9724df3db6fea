"""XCAP URIs: root, document selector, node selector and namespace bindings (RFC 4825 section 6)."""

import re
from typing import Final, NamedTuple
from urllib.parse import quote, unquote_to_bytes

from presence.errors import BadRequest
from presence.sip.headers import parse_uri
from presence.values import Aor
from presence.xcap.documents import Key
from presence.xcap.errors import BadSelector, NoResource
from presence.xcap.selector import Selector, read_bindings, read_selector

NAME_LENGTH: Final = 255
PATH_LENGTH: Final = 8192

_PCHAR: Final = "!$&'()*+,;=:@~"
"""What may stand in a path segment beside letters, digits and -._ (RFC 3986 section 3.3)."""
_TILDE = re.compile("%7e", re.IGNORECASE)
_BAD_ESCAPE = re.compile("%(?![0-9A-Fa-f]{2})")


class Target(NamedTuple):
    """What a request is for."""

    key: Key
    selector: Selector | None
    """None: the document itself."""
    directory: str
    """Path of the home directory or global tree from the XCAP root on, in canonical escapes, with a slash behind."""
    query: str
    """As it came, without the question mark."""

    @property
    def path(self) -> str:
        """Path of the document, from the XCAP root on."""
        return self.directory + "/".join(escape_segment(part) for part in self.key.name.split("/"))

    def node(self, steps: int) -> str:
        """Return the path, with its query, of the element that the first steps of the selector lead to."""
        assert self.selector is not None
        if not steps:
            return self.path
        segments = "/".join(escape_segment(step.text) for step in self.selector.steps[:steps])
        return f"{self.path}/~~/{segments}" + (f"?{self.query}" if self.query else "")


def escape_segment(text: str) -> str:
    """Percent-encode what may not stand in a path segment (section 6.3)."""
    return quote(text, safe=_PCHAR)


def find_root(path: str, root: str) -> tuple[str, str] | None:
    """Return the domain that follows the root (`/xcap-root@example.com`), '' for none, and the rest of the path.

    None for a path that is not below the root.
    """
    if not path.startswith(root):
        return None
    rest = path[len(root) :]
    domain = ""
    if rest.startswith("@"):
        domain, slash, rest = rest[1:].partition("/")
        rest = slash + rest
        if not domain:
            return None
    if rest and not rest.startswith("/"):
        return None
    return domain.lower(), rest


def read_target(path: str, query: str, domain: str = "") -> Target:
    """Read what follows the XCAP root; raises `NoResource` and `BadSelector`.

    `domain` is that of users whose XUI names none.
    """
    if len(path) + len(query) > PATH_LENGTH:
        raise BadSelector(f"Keep the URI to {PATH_LENGTH} characters")
    document, node = _cut(path)
    segments = [decode(segment) for segment in document]
    directory, owner, names = _read_context(segments, domain)
    name = "/".join(names)
    if not all(names) or not names:
        raise NoResource("The document selector does not contain the name of a document after its directory")
    if len(name) > NAME_LENGTH or any(not _is_name(part) for part in names):
        raise NoResource("The document selector does not contain the name of a document that can be had here")
    key = Key(segments[0], owner, name)
    if node is None:
        return Target(key, None, directory, query)
    selector = read_selector(decode(node), read_bindings(decode(query)))
    return Target(key, selector, directory, query)


def read_xui(text: str, domain: str = "") -> Aor | None:
    """Return the address of record that a decoded XUI is, None when it is none (section 6.2)."""
    if "@" not in text and ":" not in text and domain:
        text = f"{text}@{domain}"
    try:
        # What was decoded in the URI's path may have to be written with an escape in a SIP URI.
        uri = parse_uri(text if ":" in text else f"sip:{text}")
        aor = uri.aor()
    except BadRequest:
        return None
    usual = uri.scheme in ("sip", "sips", "pres", "tel") and not uri.headers and uri.port is None
    return aor if usual and aor.username else None


def decode(text: str) -> str:
    """Undo percent-encoding; raises `BadSelector` for what is no such encoding of UTF-8."""
    if _BAD_ESCAPE.search(text):
        raise BadSelector("Write a percent sign of the URI as %25")
    try:
        return unquote_to_bytes(text).decode()
    except UnicodeError:
        raise BadSelector("Percent-encode the URI from UTF-8") from None


def _cut(path: str) -> tuple[list[str], str | None]:
    """Return the segments of the document selector and the node selector, both still encoded.

    %7E is the same as a tilde, and the first separator counts (section 6). Some clients leave out the slash before it,
    or behind it.
    """
    segments = path.lstrip("/").split("/")
    for index, segment in enumerate(segments):
        plain = _TILDE.sub("~", segment)
        if plain.endswith("~~"):
            glued = plain[:-2]
            return segments[:index] + ([glued] if glued else []), "/".join(segments[index + 1 :])
        if plain.startswith("~~"):
            return segments[:index], "/".join((plain[2:], *segments[index + 1 :]))
    return segments, None


def _read_context(segments: list[str], domain: str) -> tuple[str, Aor | None, list[str]]:
    """Return the directory, its owner (None for the global tree), and the names that follow (section 6.2)."""
    if not segments or not segments[0]:
        raise NoResource("The XCAP Root is no resource: name application usage, users or global, and a document")
    if len(segments) < 2 or segments[1] not in ("users", "global"):
        raise NoResource("The document selector needs a context, users or global, after the application usage")
    start = f"/{escape_segment(segments[0])}/{segments[1]}/"
    if segments[1] == "global":
        return start, None, segments[2:]
    if len(segments) < 3 or not segments[2]:
        raise NoResource("The document selector needs a user id after users, such as sip:alice@example.com")
    owner = read_xui(segments[2], domain)
    if owner is None:
        raise NoResource("The user id after users is no address such as sip:alice@example.com")
    return f"{start}{escape_segment(segments[2])}/", owner, segments[3:]


def _is_name(part: str) -> bool:
    return part.isprintable() and "/" not in part and part not in (".", "..")
