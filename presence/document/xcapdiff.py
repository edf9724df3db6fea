"""XCAP diff documents (RFC 5874): written part by part, and read as other servers publish them."""

from collections.abc import Mapping, Sequence
from pyexpat import ParserCreate
from types import MappingProxyType
from typing import Final, NamedTuple

from presence.document.nodes import escape_text, write_declarations
from presence.document.patch import PREFIX
from presence.document.xml import MAX_DEPTH, escape, prepare_xml, run_expat
from presence.errors import BadRequest

CONTENT_TYPE: Final = "application/xcap-diff+xml"
NAMESPACE: Final = "urn:ietf:params:xml:ns:xcap-diff"

MAX_NAMED: Final = 1000
"""Most documents that are read of a published one."""


class DocumentPart(NamedTuple):
    """A document that exists, has changed or is gone, as Figure 1 of RFC 5874 has it."""

    sel: str
    previous: str | None
    """Its entity-tag before; None: it exists, or is new."""
    new: str | None
    """Its entity-tag now; None: it is gone."""
    patch: str | None = None
    """Operations (`document.patch`), '' when the content is equivalent; None is for a client that fetches it."""

    @property
    def size(self) -> int:
        """The length of the patch."""
        return len(self.patch or "")

    def write(self, prefix: str, *, terse: bool) -> str:
        """Return the element `document`; `terse` leaves the patch out."""
        start = f'{prefix}document sel="{escape(self.sel)}"'
        if self.previous is not None:
            start += f' previous-etag="{escape(self.previous)}"'
        if self.new is not None:
            start += f' new-etag="{escape(self.new)}"'
        if self.patch is None or (terse and self.patch):
            return f"<{start}/>"
        return f"<{start}>{self.patch or f'<{prefix}body-not-changed/>'}</{prefix}document>"


class ElementPart(NamedTuple):
    """An element of a document, or that there is none."""

    sel: str
    content: str | None
    """As it stands in its document; None: it does not exist."""
    scope: tuple[tuple[str, str], ...] = ()
    """Namespaces by prefix that are declared around it there."""

    @property
    def size(self) -> int:
        """The length of the content."""
        return len(self.content or "")

    def write(self, prefix: str, *, terse: bool) -> str:
        """Return the element `element`; without content it says that there is one, no more."""
        start = f'element sel="{escape(self.sel)}"'
        if self.content is None:
            return f'<{prefix}{start} exists="0"/>'
        if terse:
            return f"<{prefix}{start}/>"
        declared, own = dict(self.scope), ""
        while prefix.removesuffix(":") in declared:
            # A prefix of the document's: ours has to be another.
            prefix = f"{PREFIX}{prefix}"
            own = write_declarations({prefix.removesuffix(":"): NAMESPACE})
        start += own + write_declarations(declared)
        return f"<{prefix}{start}>{self.content}</{prefix}element>"


class AttributePart(NamedTuple):
    """The value of an attribute, or that there is none."""

    sel: str
    value: str | None

    @property
    def size(self) -> int:
        """Nothing that can be left out."""
        return 0

    def write(self, prefix: str, *, terse: bool) -> str:
        """Return the element `attribute`."""
        start = f'{prefix}attribute sel="{escape(self.sel)}"'
        if self.value is None:
            return f'<{start} exists="0"/>'
        return f"<{start}>{escape_text(self.value)}</{prefix}attribute>"


Part = DocumentPart | ElementPart | AttributePart
"""What a document says of one resource: `size` is what can be left out, `write` takes a prefix with its colon."""


def write_xcap_diff(root: str, parts: Sequence[Part], most: int) -> bytes:
    """Return a document about resources below an XCAP root.

    When it would be larger than `most` bytes, patches and elements are left out, the largest first: their clients fetch
    them (RFC 5875 section 4.7).
    """
    # Without a default namespace where names of documents stand (RFC 5261 section 4.2.1).
    prefix = f"{PREFIX}:" if any(part.size for part in parts) else ""
    written = [part.write(prefix, terse=False).encode() for part in parts]
    total = sum(map(len, written))
    for at in sorted(range(len(parts)), key=lambda at: -parts[at].size):
        if total <= most or not parts[at].size:
            break
        total -= len(written[at])
        written[at] = parts[at].write(prefix, terse=True).encode()
        total += len(written[at])
    name = f"{prefix}xcap-diff"
    declared = write_declarations({prefix.removesuffix(":"): NAMESPACE})
    start = f'<?xml version="1.0" encoding="UTF-8"?>\n<{name}{declared} xcap-root="{escape(root)}"'.encode()
    if not written:
        return start + b"/>\n"
    return b"".join((start, b">", *(b"\n" + text for text in written), f"\n</{name}>\n".encode()))


class Notice(NamedTuple):
    """What a published document names."""

    root: str
    sels: tuple[str, ...]
    """Selectors of documents, elements and attributes."""
    etags: Mapping[str, str | None] = MappingProxyType({})
    """Of the documents among them: the entity-tag now, None for one that is gone."""


def read_notice(body: bytes) -> Notice:
    """Read which resources a document is about; raises BadRequest."""
    reader = _Reader()
    expat = ParserCreate("utf-8", " ")
    expat.StartElementHandler = reader.start
    expat.EndElementHandler = reader.end
    run_expat(expat, prepare_xml(body))
    return Notice(reader.root, tuple(reader.sels), reader.etags)


class _Reader:
    def __init__(self) -> None:
        self.root = ""
        self.sels: dict[str, None] = {}
        self.etags: dict[str, str | None] = {}
        self._depth = 0

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if self._depth >= MAX_DEPTH:
            raise BadRequest(f"XML Nested Deeper than {MAX_DEPTH} Elements")
        if not self._depth:
            if name != f"{NAMESPACE} xcap-diff" or not attributes.get("xcap-root"):
                raise BadRequest("Body Is No XCAP Diff Document")
            self.root = attributes["xcap-root"]
        elif self._depth == 1 and name.startswith(f"{NAMESPACE} "):
            sel = attributes.get("sel")
            if not sel:
                raise BadRequest("A Resource of the XCAP Diff Document Has No Selector")
            self.sels[sel] = None
            if name == f"{NAMESPACE} document":
                # The last change of one that is named several times (RFC 5875 section 4.7).
                self.etags[sel] = attributes.get("new-etag")
            if len(self.sels) > MAX_NAMED:
                raise BadRequest("Too Many Resources")
        self._depth += 1

    def end(self, name: str) -> None:
        self._depth -= 1
