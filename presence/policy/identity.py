"""The identity condition: who the watcher is (RFC 4745 sections 7.1 and 7.2, RFC 5025 section 3.1.1)."""

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final, NamedTuple
from urllib.parse import quote, unquote

from presence.document.tree import Element
from presence.errors import BadRequest
from presence.sip.headers import KEPT, parse_uri
from presence.values import Aor

COMMON_POLICY: Final = "urn:ietf:params:xml:ns:common-policy"
MAX_DOMAIN: Final = 253
MAX_LABEL: Final = 63
MAX_INTERNATIONALISED: Final = 256
"""Domain names of a document that are not plain ASCII."""
_ASCII: Final = "".join(map(chr, range(0x21, 0x7F)))

_PLAIN_ID = re.compile(r"(?:sip|sips|pres|im):([A-Za-z0-9\-_.~!*'()&=+$,/]++)@([a-z0-9._\-]++)")
"""What most identities are: nothing in it has to be undone. `parse_uri` reads the others, at ten times the cost."""


class Watcher(NamedTuple):
    """Who asks."""

    aor: Aor
    anonymous: bool = False
    """Nobody knows who it is: nothing proved an identity (RFC 5025 section 3.1.1.2). `aor` says nothing then."""


class Many(NamedTuple):
    """A <many>: everybody, or everybody of a domain, but for some."""

    domain: str
    """'' for all domains."""
    except_ids: frozenset[Aor]
    except_domains: frozenset[str]

    def has(self, who: Aor, domain: str) -> bool:
        """Return whether it is true of a watcher in a domain, as `plain_domain` spells it."""
        return (
            (not self.domain or self.domain == domain)
            and who not in self.except_ids
            and domain not in self.except_domains
        )


class Identity(NamedTuple):
    """An <identity>: true when one of its children is."""

    ones: frozenset[Aor]
    manies: tuple[Many, ...]

    def has(self, who: Aor, domain: str) -> bool:
        """Return whether it is true of an authenticated watcher in a domain, as `plain_domain` spells it."""
        return who in self.ones or any(many.has(who, domain) for many in self.manies)


class Domains:
    """Reads the domains of one document, of which few may be internationalised: to convert one costs a millisecond."""

    def __init__(self) -> None:
        self._left = MAX_INTERNATIONALISED

    def read(self, text: str) -> str:
        """Return a domain as `read_domain` does; raises BadRequest when there were too many."""
        if "%" in text or not text.isascii():
            self._left -= 1
            if self._left < 0:
                raise BadRequest(f"More than {MAX_INTERNATIONALISED} Internationalised Domain Names")
            return read_domain(text)
        return _recall_domain(text) if len(text) <= MAX_DOMAIN else read_domain(text)


def read_identity(element: Element, domains: Domains) -> Identity:
    """Read an <identity>. What is unknown in it is false, and so is an empty one (RFC 4745 section 7.1.1).

    RFC 5025 section 3.1.1.2 speaks of an empty one that unauthenticated watchers match. RFC 4745 has none: its schema
    wants a child, and <identity> has to be absent for everybody to match. A client that removes the last of its
    contacts must not let everybody in.
    """
    ones: set[Aor] = set()
    manies: list[Many] = []
    for child in element.children:
        if child.namespace != COMMON_POLICY or not _is_understood(child):
            continue
        if child.name == "one":
            aor = read_id(child.attributes.get("id", ""), domains)
            if aor is not None:
                ones.add(aor)
        elif child.name == "many" and (many := _read_many(child, domains)) is not None:
            manies.append(many)
    return Identity(frozenset(ones), tuple(manies))


def _is_understood(element: Element) -> bool:
    """What we do not know may narrow what we do: a <one> or <many> with such a child is false as a whole."""
    if not element.children:
        return True
    known = ("except",) if element.name == "many" else ()
    return all(child.namespace == COMMON_POLICY and child.name in known for child in element.children)


def _read_many(element: Element, domains: Domains) -> Many | None:
    domain = element.attributes.get("domain")
    plain = "" if domain is None else domains.read(domain)
    if domain is not None and not plain:
        return None
    excepted = (child.attributes.get("domain") for child in element.children)
    return Many(
        plain,
        frozenset(_read_ids(element.children, domains)),
        frozenset(filter(None, (domains.read(text) for text in excepted if text is not None))),
    )


def _read_ids(elements: Iterable[Element], domains: Domains) -> Iterable[Aor]:
    for element in elements:
        aor = read_id(element.attributes.get("id", ""), domains)
        if aor is not None:
            yield aor


def read_id(text: str, domains: Domains) -> Aor | None:
    """Return whom an `id` names, None when no watcher has such an identity (RFC 4745 section 7.2).

    sip, sips, pres and im name the same user; a tel URI is never equal to a SIP URI with that number in its user part
    (RFC 5025 section 3.1.1.2). user@domain without a scheme is taken for a SIP URI.
    """
    text = text.strip(" \t\r\n")
    if ":" not in text:
        text = f"sip:{text}"
    plain = _PLAIN_ID.fullmatch(text)
    if plain is not None:
        return Aor(plain[1], plain[2].removesuffix("."))
    if not text.isascii():
        text = _plain_iri(text, domains)
    try:
        uri = parse_uri(text)
        aor = uri.aor()
    except (BadRequest, ValueError):
        return None
    if uri.scheme == "tel" and aor.domain:
        return None
    return Aor(aor.username, aor.domain.removesuffix("."))


def _plain_iri(text: str, domains: Domains) -> str:
    """Return an IRI as the URI it stands for (RFC 5025 section 3.1.1, RFC 3987 section 3.1)."""
    user, at, rest = text.rpartition("@")
    host, mark, tail = rest.partition(";")
    return f"{quote(user, safe=_ASCII)}{at}{domains.read(host)}{mark}{quote(tail, safe=_ASCII)}"


def read_domain(text: str) -> str:
    """Return a `domain` as `plain_domain` spells those of watchers; '' when it cannot be one.

    RFC 4745 section 7.1.3: without percent-encoding, then ToASCII of RFC 3490, which also writes small letters.
    """
    try:
        domain = unquote(text.strip(" \t\r\n"), errors="strict")
        if len(domain) > MAX_DOMAIN or len(max(domain.split("."), key=len)) > MAX_LABEL:
            return ""
        return domain.encode("idna").decode().lower().removesuffix(".")
    except UnicodeError:
        return ""


def plain_domain(domain: str) -> str:
    """Return the domain of a watcher as it is compared."""
    return (_recall_domain(domain) if len(domain) <= MAX_DOMAIN else "") or domain


_recall_domain = lru_cache(KEPT)(read_domain)
