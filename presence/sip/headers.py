"""Header field values off the hot path: addresses, URIs, parameters (RFC 3261 sections 19.1, 20 and 25.1)."""

import ipaddress
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Final, NamedTuple
from urllib.parse import quote, unquote_to_bytes

from presence._fastcore import Message
from presence.errors import BadRequest
from presence.sip.telephone import canonical_subscriber, read_number
from presence.values import Aor

Params = Mapping[str, str]

KEPT: Final = 4096
"""Addresses kept as they were parsed last."""
KEPT_LENGTH: Final = 256
"""Longer ones are parsed each time, so that what is kept has a bound in bytes."""

# Possessive quantifiers throughout: a hostile value is read once, never tried again from the middle.
_TOKEN = r"[A-Za-z0-9\-.!%*_+`'~]++"
_SCHEME_NAME = r"[A-Za-z][A-Za-z0-9+.\-]*+"
_QUOTED = r'"(?:[^"\\]|\\.)*+"'
_PARAM = re.compile(rf'\s*+;\s*+({_TOKEN})\s*+(?:=\s*+({_QUOTED}|[^\s;,"<>]*+))?+', re.DOTALL)
_PLAIN_ADDRESS = re.compile(rf'(?:"([^"\\]*+)"\s*+)?+<({_SCHEME_NAME}:[!#-;=?-~]++)>(?:;tag=({_TOKEN}))?+')
"""What most From, To and Contact values are; `parse_name_addr` reads all others by and by."""
_DISPLAY = re.compile(rf'\s*+({_QUOTED}|[^<"]*+)\s*+<', re.DOTALL)
_VIA = re.compile(rf"SIP\s*+/\s*+2\.0\s*+/\s*+({_TOKEN})\s++([^\s;]++(?:\s*+:\s*+[0-9]++)?+)", re.IGNORECASE)
_TYPE = re.compile(rf"\s*+({_TOKEN}(?:\s*+/\s*+{_TOKEN})?+)")
_QVALUE = re.compile(r"0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?")
_URI_TEXT = re.compile(r"[!-~]++")
_BARE_URI_TEXT = re.compile(r"[!#-;=?-~]++")
"""The same without `"`, `<` and `>`."""
_SCHEME = re.compile(rf"({_SCHEME_NAME}):")
_HOST_PORT = re.compile(r"(\[[0-9A-Fa-f:.]++\]|[A-Za-z0-9._\-]++)\s*+(?::\s*+([0-9]{1,9}))?+")
_THREE_COLONS = re.compile(r":::(?=[0-9]++\.)")
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_CONTROLS = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")

_USER_SAFE = "!*'()&=+$,;?/"
_PLAIN_USER = re.compile(rf"[A-Za-z0-9\-_.~{re.escape(_USER_SAFE)}]*+")
_HOST_SCHEMES = frozenset({"sip", "sips", "pres", "im"})


class NameAddr(NamedTuple):
    """An address with its display name and the parameters of the header field."""

    display: str
    uri: str
    params: Params


class Uri(NamedTuple):
    """A URI in its parts, as written (user and parameters keep their escapes)."""

    scheme: str
    user: str
    host: str
    """In lower case; an IPv6 address in its brackets; '' for a scheme without hosts, such as tel."""
    port: int | None
    params: Params
    headers: Params

    def aor(self) -> Aor:
        """Return the canonical address of record (RFC 3261 section 19.1.4).

        Escapes of what may stand in a user part are undone and all others are kept, in capitals: so
        `%61lice` is alice, and no `%40` can move the boundary between user and host.
        """
        if self.scheme == "tel":
            return read_number(self.user, self.params)
        if not self.host:
            raise BadRequest("URI Without a Host")
        user = self.user
        if self.params.get("user", "").lower() == "phone":
            user = canonical_subscriber(user)
        return Aor(canonical_user(user), self.host)


class Via(NamedTuple):
    """One Via value (RFC 3261 section 20.42)."""

    transport: str
    host: str
    port: int | None
    params: Params


def canonical_user(user: str) -> str:
    """Return a user part with each character in its one spelling."""
    if _PLAIN_USER.fullmatch(user):
        return user
    return quote(unquote_to_bytes(user.encode("utf-8", "surrogateescape")), safe=_USER_SAFE)


def parse_uri(text: str) -> Uri:
    """Parse a SIP, SIPS, PRES, IM or TEL URI; another scheme keeps all behind the colon as its user."""
    return _recall_uri(text) if len(text) <= KEPT_LENGTH else _parse_uri(text)


def read_address(request: Message, home: str = "") -> Aor:
    """Return the address of record a request is for; raises BadRequest.

    `home` is the domain of telephone numbers that name none.
    """
    plain = request.address
    if plain:
        # Aor._make without its checks: each request passes here.
        return tuple.__new__(Aor, plain)
    uri = parse_uri(request.uri)
    address = (uri if uri.user else _strict_target(request) or uri).aor()
    return address if address.domain else Aor(address.username, home)


def _strict_target(request: Message) -> Uri | None:
    """Return whom a strict router meant that put our own URI into the Request-URI (RFC 3261 section 16.4)."""
    routes = request.values("Route")
    if not routes:
        return None
    last = parse_uri(parse_name_addr(routes[-1]).uri)
    return last if last.user and "lr" not in last.params else None


def _parse_uri(text: str) -> Uri:
    scheme_match = _SCHEME.match(text)
    if not scheme_match or not _BARE_URI_TEXT.fullmatch(text):
        raise BadRequest("Bad URI")
    scheme = scheme_match[1].lower()
    rest = text[scheme_match.end() :]
    if scheme not in _HOST_SCHEMES:
        user, *params = rest.split(";")
        return Uri(scheme, user, "", None, _read_pairs(params), MappingProxyType({}))
    userinfo, at, rest = rest.rpartition("@")
    user = userinfo.partition(":")[0]
    if "@" in userinfo or (at and not user):
        raise BadRequest("Bad URI")
    rest, _, header_text = rest.partition("?")
    host_port, *params = rest.split(";")
    host, port = _parse_host_port(host_port)
    return Uri(scheme, user, host, port, _read_pairs(params), _read_pairs(header_text.split("&")))


# A watched presentity and its watchers name the same few URIs again and again.
_recall_uri = lru_cache(KEPT)(_parse_uri)


def _parse_host_port(text: str) -> tuple[str, int | None]:
    match = _HOST_PORT.fullmatch(text)
    if not match:
        raise BadRequest("Bad Host")
    host, port = match[1].lower(), match[2]
    if port is not None and not 1 <= int(port) <= 65535:
        raise BadRequest("Bad Port")
    if host.startswith("["):
        try:
            # The grammar of RFC 3261 gives a colon too many (RFC 5118 section 4.10).
            host = f"[{ipaddress.IPv6Address(_THREE_COLONS.sub('::', host[1:-1])).compressed}]"
        except ValueError:
            raise BadRequest("Bad Host") from None
    return host, None if port is None else int(port)


def _read_pairs(items: Iterable[str]) -> Params:
    """Read `name=value` items; of a repeated name the first counts."""
    pairs: dict[str, str] = {}
    for item in items:
        name, _, value = item.partition("=")
        if name:
            pairs.setdefault(name.lower(), value)
    return MappingProxyType(pairs)


def parse_params(text: str) -> Params:
    """Parse `;name=value;flag`: names in lower case, values without quotes, the first of a name counts."""
    params: dict[str, str] = {}
    at, end = 0, len(text.rstrip())
    while at < end:
        match = _PARAM.match(text, at)
        if not match:
            raise BadRequest("Bad Parameters")
        params.setdefault(match[1].lower(), unquote_string(match[2] or ""))
        at = match.end()
    return params


def unquote_string(text: str) -> str:
    r"""Return the content of a quoted-string without control characters; another text as it is.

    Control characters may come escaped (RFC 4475 section 3.1.1.2), but no document can show them.
    """
    if text.startswith('"'):
        text = text[1:-1]
        if "\\" in text:
            text = _ESCAPED.sub(r"\1", text)
    return text if text.isprintable() else _CONTROLS.sub("", text)


def parse_name_addr(value: str) -> NameAddr:
    """Parse a From, To, Contact or Route value: `"Name" <uri>;params`, or a bare URI with parameters."""
    plain = _PLAIN_ADDRESS.fullmatch(value)
    if plain:
        return NameAddr(unquote_string(plain[1] or ""), plain[2], {"tag": plain[3]} if plain[3] else {})
    match = _DISPLAY.match(value)
    if match and ";" not in _outside_quotes(match[1]):
        uri, closed, rest = value[match.end() :].partition(">")
        display = unquote_string(match[1].strip())
        if not closed:
            raise BadRequest("Bad Address")
    else:
        uri, semicolon, rest = value.partition(";")
        uri, rest, display = uri.strip(), semicolon + rest, ""
        if "?" in uri or "," in uri:
            # RFC 3261 section 20: such a URI must stand in brackets.
            raise BadRequest("Bad Address")
    if not _SCHEME.match(uri) or not _URI_TEXT.fullmatch(uri):
        raise BadRequest("Bad Address")
    return NameAddr(display, uri, parse_params(rest))


def cut_tag(value: str) -> str:
    """Return a From, To or Contact value that can be parsed as it is, all but its tag."""
    match = _DISPLAY.match(value)
    if match and ";" not in _outside_quotes(match[1]):
        end = value.index(">", match.end()) + 1
    else:
        end = value.find(";") if ";" in value else len(value)
    kept = value[:end].strip()
    while end < len(value.rstrip()):
        param = _PARAM.match(value, end)
        assert param is not None, "parse_name_addr has read it"
        if param[1].lower() != "tag":
            kept += param[0]
        end = param.end()
    return kept.rstrip()


def read_aor(value: str) -> Aor:
    """Return the address of record in a From or To value; best without its tag, which is of one dialog only."""
    return _recall_aor(value) if len(value) <= KEPT_LENGTH else _read_aor(value)


def _read_aor(value: str) -> Aor:
    return parse_uri(parse_name_addr(value).uri).aor()


_recall_aor = lru_cache(KEPT)(_read_aor)


def _outside_quotes(display: str) -> str:
    """A semicolon in a bare display name is the parameter mark of an addr-spec instead."""
    return "" if display.startswith('"') else display


def parse_token_params(value: str) -> tuple[str, Params]:
    """Parse a token or media type with parameters, such as Event, Subscription-State or Content-Type."""
    match = _TYPE.match(value)
    if not match:
        raise BadRequest("Bad Header Field")
    return re.sub(r"\s", "", match[1]), parse_params(value[match.end() :])


def parse_accept(values: Iterable[str]) -> list[tuple[str, float]]:
    """Parse Accept values into media types, lower case, each with its q (RFC 3261 section 20.1)."""
    accepted = []
    for value in values:
        media_type, params = parse_token_params(value)
        q = params.get("q", "1")
        if not _QVALUE.fullmatch(q):
            raise BadRequest("Bad q Value")
        accepted.append((media_type.lower(), float(q)))
    return accepted


def parse_via(value: str) -> Via:
    """Parse one Via value."""
    match = _VIA.match(value)
    if not match:
        raise BadRequest("Bad Via Header Field")
    host, port = _parse_host_port(match[2])
    return Via(match[1].upper(), host, port, parse_params(value[match.end() :]))


def split_values(text: str) -> list[str]:
    """Split a comma-joined header field; commas in quotes and in <> stay (RFC 3261 section 7.3.1)."""
    if not text:
        return []
    values, start, quoted, angle, escaped = [], 0, False, False, False
    for i, c in enumerate(text):
        if quoted:
            quoted = escaped or c != '"'
            escaped = c == "\\" and not escaped
        elif c == '"':
            quoted = True
        elif c in "<>":
            angle = c == "<"
        elif c == "," and not angle:
            values.append(text[start:i].strip())
            start = i + 1
    values.append(text[start:].strip())
    return [value for value in values if value]
