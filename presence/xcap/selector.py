"""Node selectors: their grammar, and what they select (RFC 4825 sections 6.3 and 6.4)."""

import re
from collections.abc import Mapping, Sequence
from html import unescape
from typing import Final, NamedTuple

from presence.xcap.errors import BadSelector, NoResource
from presence.xcap.tree import Element, expand

POSITION_DIGITS: Final = 9
STEPS_MOST: Final = 128

XML_NAMESPACE: Final = "http://www.w3.org/XML/1998/namespace"

# XML 1.0 section 2.3, without the colon (Namespaces in XML, NCName).
_START = (
    "A-Z_a-z\xc0-\xd6\xd8-\xf6\xf8-\u02ff\u0370-\u037d\u037f-\u1fff\u200c\u200d\u2070-\u218f\u2c00-\u2fef"
    "\u3001-\ud7ff\uf900-\ufdcf\ufdf0-\ufffd\U00010000-\U000effff"
)
_NCNAME = rf"[{_START}][{_START}\-.0-9\xb7\u0300-\u036f\u203f\u2040]*+"
_QNAME = rf"(?:({_NCNAME}):)?+({_NCNAME})"
_STEP = re.compile(rf"""(?:{_QNAME}|\*)(?:\[([0-9]++)\])?+(?:\[@{_QNAME}=("[^"<]*+"|'[^'<]*+')\])?+""")
_ATTRIBUTE = re.compile(f"@{_QNAME}")
_LIKE_A_STEP = re.compile(rf"(?:(?:{_NCNAME}:)?+(?:{_NCNAME}|\*))?+[\[\]]|@")
_REFERENCE = re.compile(r"&(?:#[0-9]{1,7}|#x[0-9A-Fa-f]{1,6}|amp|lt|gt|quot|apos);")
_BINDING = re.compile(rf"\s*({_NCNAME})\s*=\s*(\S.*?)\s*", re.DOTALL)
_SCHEME = re.compile(rf"\s*((?:{_NCNAME}:)?+{_NCNAME})\(")


class Name(NamedTuple):
    """A name of a selector."""

    namespace: str | None
    """None for the default document namespace."""
    local: str

    def expand(self, default: str) -> str:
        """Return the expanded name as documents have it."""
        return expand(default if self.namespace is None else self.namespace, self.local)


class Step(NamedTuple):
    """One step of an element selector."""

    name: Name | None
    """None for the wildcard."""
    position: int | None
    test: tuple[str, str] | None
    """Expanded name of an attribute, and its value."""
    text: str


class Selector(NamedTuple):
    """What a node selector says."""

    steps: tuple[Step, ...]
    attribute: str | None
    """Expanded name of the attribute it ends with, None when it selects an element or bindings."""
    attribute_text: str
    """The same as written, without the @."""
    bindings: bool
    """It ends with namespace::*."""


def read_selector(text: str, bindings: Mapping[str, str]) -> Selector:
    """Read a decoded node selector; raises `BadSelector`, and `NoResource` for an extension (section 8)."""
    pieces = _split(text.removeprefix("/"))
    if len(pieces) > STEPS_MOST:
        raise _unparsable(text, f"it has more than {STEPS_MOST} steps")
    last = pieces[-1]
    attribute, selects_bindings = None, last == "namespace::*"
    if last.startswith("@"):
        found = _ATTRIBUTE.fullmatch(last)
        if found is None:
            raise _unparsable(last, "after @ comes the name of an attribute")
        attribute = expand(_resolve(found[1], bindings) or "", found[2])
    if attribute is not None or selects_bindings:
        pieces.pop()
    if not pieces:
        raise _unparsable(text, "say of which element")
    steps = tuple(_read_step(piece, bindings) for piece in pieces)
    return Selector(steps, attribute, last[1:] if attribute is not None else "", selects_bindings)


def read_bindings(query: str) -> dict[str, str]:
    """Return the prefixes that the xmlns() parts of a decoded query define; other schemes are ignored (section 6.4)."""
    bindings = {"xml": XML_NAMESPACE}
    at = 0
    while at < len(query) and query[at:].strip():
        scheme = _SCHEME.match(query, at)
        if scheme is None:
            raise BadSelector("Write the query as XPointer expressions such as xmlns(prefix=namespace)")
        data, at = _read_pointer(query, scheme.end())
        if scheme[1] != "xmlns":
            continue
        found = _BINDING.fullmatch(data)
        if found is None:
            raise BadSelector(f"Write a namespace binding as xmlns(prefix=namespace), not xmlns({_shown(data)})")
        # XPointer xmlns() section 3: these two cannot be bound to anything else.
        if found[1] not in ("xml", "xmlns"):
            bindings[found[1]] = found[2]
    return bindings


def filter_children(children: Sequence[Element], step: Step, default: str) -> list[Element]:
    """Return which of some siblings a step selects: one for a valid selector (section 6.3)."""
    found: list[Element] = list(children)
    if step.name is not None:
        wanted = step.name.expand(default)
        found = [child for child in found if child.name == wanted]
    if step.position is not None:
        found = found[step.position - 1 : step.position] if step.position else []
    if step.test is not None:
        name, value = step.test
        found = [child for child in found if child.attributes.get(name) == value]
    return found


def descend(root: Element, steps: Sequence[Step], default: str) -> list[Element]:
    """Return the elements the steps lead through, as far as each selects exactly one."""
    trail: list[Element] = []
    children = [root]
    for step in steps:
        found = filter_children(children, step, default)
        if len(found) != 1:
            break
        trail.append(found[0])
        children = found[0].children
    return trail


def select(root: Element, steps: Sequence[Step], default: str) -> Element | None:
    """Return the one element selected, None when the selector is a no-match or invalid."""
    trail = descend(root, steps, default)
    return trail[-1] if len(trail) == len(steps) else None


def _read_step(text: str, bindings: Mapping[str, str]) -> Step:
    found = _STEP.fullmatch(text)
    if found is None:
        if not text or _LIKE_A_STEP.match(text):
            raise _unparsable(text, 'write a step as name, name[position] or name[@attribute="value"]')
        # RFC 4825 section 8: whatever else stands between slashes is an extension, and none is known here.
        raise NoResource(f"The extension {_shown(text)} of node selectors is not known here")
    prefix, local, position, test_prefix, test_local, value = found.groups()
    name = None if local is None else Name(_resolve(prefix, bindings), local)
    number = (
        None if position is None else int(position[-POSITION_DIGITS:] if _fits(position) else "9" * POSITION_DIGITS)
    )
    test = None
    if test_local is not None:
        test = expand(_resolve(test_prefix, bindings) or "", test_local), _read_value(value)
    return Step(name, number, test, text)


def _fits(digits: str) -> bool:
    return len(digits.lstrip("0")) <= POSITION_DIGITS


def _resolve(prefix: str | None, bindings: Mapping[str, str]) -> str | None:
    if prefix is None:
        return None
    namespace = bindings.get(prefix)
    if namespace is None:
        # RFC 4825 section 8.
        raise BadSelector(
            f"Bind the prefix {prefix} with xmlns({prefix}=...) in the query: unable to parse node selector"
        )
    return namespace


def _read_value(quoted: str) -> str:
    """Return the value of an AttValue (XML 1.0 section 3.3.3); an ampersand that begins no reference is itself."""
    value = re.sub("\r\n?|[\t\n]", " ", quoted[1:-1])
    return _REFERENCE.sub(lambda reference: unescape(reference[0]), value)


def _split(text: str) -> list[str]:
    """Split at slashes that do not stand in the quotes of a predicate."""
    pieces, start, quote, inside = [], 0, "", False
    for at, character in enumerate(text):
        if quote:
            if character == quote:
                quote = ""
        elif inside:
            if character in "\"'":
                quote = character
            elif character == "]":
                inside = False
        elif character == "[":
            inside = True
        elif character == "/":
            pieces.append(text[start:at])
            start = at + 1
    pieces.append(text[start:])
    return pieces


def _read_pointer(text: str, start: int) -> tuple[str, int]:
    """Return the data of a pointer part and where it ends (XPointer Framework section 3.1)."""
    data: list[str] = []
    depth, at = 1, start
    while at < len(text):
        character = text[at]
        if character == "^" and text[at + 1 : at + 2] in ("(", ")", "^"):
            at += 1
            character = text[at]
        elif character == "(":
            depth += 1
        elif character == ")":
            depth -= 1
            if not depth:
                return "".join(data), at + 1
        data.append(character)
        at += 1
    raise BadSelector("Close each parenthesis of the query's XPointer expressions")


def _unparsable(text: str, advice: str) -> BadSelector:
    return BadSelector(f"Unable to parse node selector {_shown(text)}: {advice}")


def _shown(text: str) -> str:
    """Cut for a message, and safe in one."""
    return "".join(character if character.isprintable() else "?" for character in text[:80])
