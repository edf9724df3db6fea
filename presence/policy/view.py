"""A composed presence document as a watcher may see it (RFC 5025 section 3.3): what is kept, is kept byte for byte.

Privacy filtering takes elements out and nothing else, so views of one document differ only where permissions do.
Outside of what is shown, white space goes with the element behind it; comments, processing instructions and
attributes that no permission speaks of are not shown. Where nothing is left there is <presence> without children, which
is a valid document (RFC 3863 section 4.4: any number of tuples) and stands for a presentity that shows nothing.

A <note> of <presence> is about the persons that have none of their own (RFC 4479 section 5): it is shown with
`provide-note` to who is shown one of those, or would be shown any person where there is none. Other foreign
children of <presence> belong to no component; they are shown to who is shown everything.
"""

import re
from collections.abc import Callable
from itertools import groupby
from typing import Final

from presence.document.markup import OUTERMOST, Part, Whole, keep_attributes, read_text, read_value, read_whole
from presence.document.pidf import DATA_MODEL, PIDF, Kind
from presence.policy.attributes import (
    OMA_PRESENCE,
    RPID,
    STATUS,
    USER_INPUT,
    Key,
    Name,
    UserInput,
    key_of,
    key_of_status,
)
from presence.policy.equivalence import Address, is_equivalent, read_address
from presence.policy.permission import ALL, Member, Permissions

Segment = tuple[Key, bytes]
"""A piece of a component, and what has to be granted for it to be shown."""

_KINDS: Final = {
    (PIDF, "tuple"): Kind.TUPLE,
    (DATA_MODEL, "person"): Kind.PERSON,
    (DATA_MODEL, "device"): Kind.DEVICE,
    (PIDF, "note"): Kind.NOTE,
}
_DECLARATION = re.compile(rb"<\?xml\s[^>]*+>\s*+")
_END = re.compile(rb"((?:[^<]++|<!--(?>.*?-->)|<\?(?>.*?\?>)|<!\[CDATA\[(?>.*?\]\]>))*+)(</[^>]*+>)", re.DOTALL)
"""What stands behind the last child of <presence>, and its end tag."""


class _Component:
    """A tuple, person or device of a document."""

    __slots__ = ("kind", "members", "segments", "uris", "whole")

    def __init__(self, kind: Kind, gap: bytes, text: bytes, part: Part) -> None:
        self.kind = kind
        self.whole = gap + text
        self.members: set[Member] = {("occurrence-id", read_value(part.id).strip(" \t\r\n"))} if part.id else set()
        self.uris: list[tuple[str, Address]] = []
        """Type and value of the URIs it is named by, for those are not compared by their letters."""
        self.segments: list[Segment] = [(None, gap)]
        whole = read_whole(text, part.scope)
        if whole is not None:
            self._read(whole)

    def _read(self, whole: Whole) -> None:
        def read_child(child: Part, gap: bytes, text: bytes) -> None:
            name = (child.namespace, child.name)
            key = key_of(self.kind, name)
            if name == STATUS and self.kind is Kind.TUPLE:
                status = read_whole(text, child.scope)
                if status is not None:
                    self.segments.append((None, gap))
                    self._cut(status, b"", self._read_status)
                return
            if key == USER_INPUT:
                self.segments += _user_inputs(gap, text)
                return
            self.segments.append((key, gap + text))
            self._identify(name, text, child)

        self._cut(whole, b"id", read_child)
        self.segments = _joined(self.segments)

    def _read_status(self, child: Part, gap: bytes, text: bytes) -> None:
        self.segments.append((key_of_status((child.namespace, child.name)), gap + text))

    def _cut(self, whole: Whole, kept: bytes, read_child: Callable[[Part, bytes, bytes], None]) -> None:
        """Cut an element into its start tag, its children and its end tag."""
        text, at = whole.text, whole.tag_end
        self.segments.append((None, keep_attributes(text[:at], whole.name_end, kept)))
        for child in whole.parts:
            read_child(child, _blank(text[at : child.start]), text[child.start : child.end])
            at = child.end
        if not text.endswith(b"/>") or whole.tag_end < len(text):
            close = text.rfind(b"</")
            self.segments.append((None, _blank(text[at:close]) + text[close:]))

    def _identify(self, name: Name, text: bytes, part: Part) -> None:
        """Note what a child names its component by (RFC 5025 section 3.3.1)."""
        if name == (RPID, "class"):
            self.members.add(("class", read_text(text)))
        elif name == (PIDF, "contact") and self.kind is Kind.TUPLE:
            uri = read_text(text)
            self.uris.append(("service-uri", read_address(uri)))
            scheme, colon, _ = uri.partition(":")
            if colon:
                self.members.add(("service-uri-scheme", scheme))
        elif name == (DATA_MODEL, "deviceID") and self.kind is Kind.DEVICE:
            self.uris.append(("deviceID", read_address(read_text(text))))
        elif name == (OMA_PRESENCE, "service-description") and self.kind is Kind.TUPLE:
            described = read_whole(text, part.scope)
            for child in described.parts if described is not None else ():
                if (child.namespace, child.name) == (OMA_PRESENCE, "service-id"):
                    self.members.add(("service-id", read_text(text[child.start : child.end])))

    @property
    def has_note(self) -> bool:
        """Whether it has a note of its own."""
        return any(key == "note" for key, _ in self.segments)

    def is_granted(self, members: frozenset[Member]) -> bool:
        """Return whether one of these names it."""
        if not members:
            return False
        if ALL in members or not members.isdisjoint(self.members):
            return True
        for kind, uri in self.uris:
            if any(given == kind and is_equivalent(uri, read_address(value)) for given, value in members):
                return True
        return False


def _user_inputs(gap: bytes, text: bytes) -> list[Segment]:
    """What is shown of <user-input> at each level (RFC 5025 section 3.3.2.12).

    Its `since` is `last-input` in RFC 4480. Of other attributes, which `thresholds` takes away, `bare` shows none
    either: a higher level never shows less.
    """
    whole = read_whole(text, OUTERMOST)
    if whole is None:
        return []
    tag, rest = text[: whole.tag_end], text[whole.tag_end :]
    bare = keep_attributes(tag, whole.name_end, b"")
    thresholds = keep_attributes(tag, whole.name_end, b"idle-threshold")
    return [
        (UserInput.BARE, gap + bare + rest),
        (UserInput.THRESHOLDS, gap + thresholds + rest),
        (UserInput.FULL, gap + text),
    ]


def _blank(gap: bytes) -> bytes:
    """White space between elements is kept; what else is there, nothing provides."""
    return b"" if gap.strip(b" \t\r\n") else gap


def _joined(segments: list[Segment]) -> list[Segment]:
    """Join what is always shown, for a view is made of fewer pieces then."""
    joined: list[Segment] = []
    for always, group in groupby(segments, lambda segment: segment[0] is None):
        if always:
            joined.append((None, b"".join(text for _, text in group)))
        else:
            joined += group
    return joined


class Shown:
    """A document, read once for as many permissions as there are."""

    def __init__(self, document: bytes) -> None:
        self._document = document
        self._head = self._tail = b""
        self._pieces: list[_Component | bytes] = []
        """Components, and the notes of <presence>."""
        self._is_read = False

    def _read(self) -> None:
        self._is_read = True
        document = self._document
        whole = read_whole(document, OUTERMOST)
        if whole is None:
            return
        declaration = _DECLARATION.match(document)
        at = whole.tag_end
        self._head = (b"" if declaration is None else declaration[0]) + document[whole.start : at]
        for part in whole.parts:
            gap, text = _blank(document[at : part.start]), document[part.start : part.end]
            at = part.end
            kind = _KINDS.get((part.namespace, part.name), Kind.OTHER)
            if kind is Kind.NOTE:
                self._pieces.append(gap + text)
            elif kind is not Kind.OTHER:
                self._pieces.append(_Component(kind, gap, text, part))
        end = _END.match(document, at)
        self._tail = b"" if end is None else _blank(end[1]) + end[2]

    def render(self, permissions: Permissions) -> bytes:
        """Return the document as the permissions show it."""
        if permissions == Permissions.everything:
            return self._document
        if not self._is_read:
            self._read()
        granted = {
            Kind.TUPLE: permissions.services,
            Kind.PERSON: permissions.persons,
            Kind.DEVICE: permissions.devices,
        }
        keys, whole = permissions.keys(), permissions.shows_every_attribute
        components = [piece for piece in self._pieces if isinstance(piece, _Component)]
        shown = {id(piece) for piece in components if piece.is_granted(granted[piece.kind])}
        notes = (whole or "note" in keys) and self._shows_notes(permissions, components, shown)
        out = [self._head]
        for piece in self._pieces:
            if not isinstance(piece, _Component):
                if notes:
                    out.append(piece)
            elif id(piece) in shown:
                if whole:
                    out.append(piece.whole)
                else:
                    out += [text for key, text in piece.segments if key in keys]
        out.append(self._tail)
        return b"".join(out)

    @staticmethod
    def _shows_notes(permissions: Permissions, components: list[_Component], shown: set[int]) -> bool:
        persons = [component for component in components if component.kind is Kind.PERSON]
        if not persons:
            return ALL in permissions.persons
        return any(id(person) in shown and not person.has_note for person in persons)


def show(document: bytes, permissions: Permissions) -> bytes:
    """Return a composed document as permissions show it."""
    return Shown(document).render(permissions)
