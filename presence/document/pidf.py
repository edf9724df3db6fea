"""Reading a published PIDF into fragments that composition can join as bytes (RFC 3863, RFC 4479).

A published document is cut, not rebuilt: each child of <presence> stays byte for byte what its publisher
wrote, because watchers look for literal text (baresip for `<basic>` and `<rpid:busy/>`). The namespace
declarations a child inherits from its root are remembered beside it. Nothing is validated: baresip sends a
person before the tuple and `<basic>unknown</basic>`, and the schema is not meant for that (RFC 3863
section 4.4).

Reading is done with expat, which gives byte positions and, unlike lxml, forgets the names it has met.
"""

import re
from collections.abc import Mapping
from enum import IntEnum
from pyexpat import ExpatError, ParserCreate, errors
from typing import Final, NamedTuple

from presence.document.xml import MAX_BODY_BYTES, MAX_DEPTH, escape, malformed, prepare_xml
from presence.errors import BadRequest

PIDF: Final = "urn:ietf:params:xml:ns:pidf"
DATA_MODEL: Final = "urn:ietf:params:xml:ns:pidf:data-model"
MAX_FRAGMENTS: Final = 512
MAX_DECLARATIONS: Final = 64


class Kind(IntEnum):
    """What a child of <presence> is; the numbers are the order of composition."""

    TUPLE = 0
    NOTE = 1
    PERSON = 2
    DEVICE = 3
    OTHER = 4


class Fragment(NamedTuple):
    """One child of <presence>, as published."""

    kind: Kind
    id: str
    """The attribute `id`, '' when there is none."""
    declarations: Mapping[str, bytes]
    """Prefix to declaration (` xmlns:p="uri"`) inherited from the root, of those the text mentions."""
    head: bytes
    """`<` and the element's name: inherited declarations go right behind it."""
    text: bytes
    """The whole element, beginning with `head`."""


class PidfDocument(NamedTuple):
    """A published PIDF, cut once."""

    fragments: tuple[Fragment, ...]
    declarations: Mapping[str, bytes]
    """The union of what the fragments inherit; they were cut from one root, so they agree."""


# A form feed cannot occur in XML, so it parts namespace and name without doubt.
_PART = "\f"
_KINDS = {
    f"{PIDF}{_PART}tuple": Kind.TUPLE,
    f"{PIDF}{_PART}note": Kind.NOTE,
    f"{DATA_MODEL}{_PART}person": Kind.PERSON,
    f"{DATA_MODEL}{_PART}device": Kind.DEVICE,
}
_ROOT = f"{PIDF}{_PART}presence"
_START_TAG = re.compile(rb"""(<[^\s/>]++)(?:[^"'>]++|"[^"]*+"|'[^']*+')*+>""")
# What is no URI makes stricter readers refuse the whole document a watcher gets.
_NAMESPACE_NAME = re.compile(r"(?:[\w.~:/?#@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*", re.ASCII)
_UNPREFIXED = re.compile(rb"<[^\s/>:!?]+[\s/>]")


def parse_pidf(body: bytes) -> PidfDocument:
    """Cut a published body; raises `BadRequest` when it is not well-formed or not a presence document."""
    return _Cutter(prepare_xml(body)).cut()


class _Cutter:
    """One pass over one body."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._depth = 0
        self._fragments: list[Fragment] = []
        self._root: dict[str, str] = {}
        self._own: set[str] = set()
        self._name = self._id = ""
        self._start = 0
        self._declared: dict[str, bytes] = {}
        self._inherited_bytes = 0
        self._expat = ParserCreate("utf-8", _PART)
        self._expat.StartElementHandler = self._on_start
        self._expat.EndElementHandler = self._on_end
        self._expat.StartNamespaceDeclHandler = self._on_declaration

    def cut(self) -> PidfDocument:
        expat = self._expat
        try:
            expat.Parse(self._body, True)
        except ExpatError as error:
            raise malformed(error.lineno, errors.messages[error.code]) from None
        except UnicodeError:
            raise BadRequest("XML Body Is Not Valid UTF-8") from None
        finally:
            # The handlers are bound to this object, which holds the parser: untie the knot.
            expat.StartElementHandler = expat.EndElementHandler = expat.StartNamespaceDeclHandler = None
        return PidfDocument(tuple(self._fragments), self._declared)

    def _on_declaration(self, prefix: str | None, uri: str | None) -> None:
        if uri and _NAMESPACE_NAME.fullmatch(uri) is None:
            raise BadRequest("Namespace Name Is Not a URI")
        if self._depth == 0:
            if len(self._root) >= MAX_DECLARATIONS:
                raise BadRequest("Too Many Namespace Declarations")
            self._root[prefix or ""] = uri or ""
        elif self._depth == 1:
            self._own.add(prefix or "")

    def _on_start(self, name: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if self._depth == 2:
            if len(self._fragments) >= MAX_FRAGMENTS:
                raise BadRequest(f"More than {MAX_FRAGMENTS} Elements in Presence Document")
            self._name = name
            # An xs:ID is compared after its white space is collapsed.
            self._id = attributes.get("id", "").strip()
            self._start = self._expat.CurrentByteIndex
        elif self._depth == 1:
            if name != _ROOT:
                raise BadRequest("Body Is Not a PIDF Document")
            # Reported or not, this prefix is bound everywhere.
            self._root.pop("xml", None)
        elif self._depth > MAX_DEPTH:
            raise BadRequest(f"XML Nested Deeper than {MAX_DEPTH} Elements")

    def _on_end(self, name: str) -> None:
        self._depth -= 1
        if self._depth == 1:
            self._fragments.append(self._fragment())
            if self._own:
                self._own = set()

    def _fragment(self) -> Fragment:
        body, start = self._body, self._start
        tag = _START_TAG.match(body, start)
        assert tag is not None, "expat has seen a start tag here"
        end = tag.end()
        # An end tag holds no `>` but its last; an empty element ends with its start tag.
        if body[end - 2] != 0x2F:
            end = body.index(b">", self._expat.CurrentByteIndex) + 1
        head, text = tag[1], body[start:end]
        default = self._inherited_default(text)
        if default is not None:
            text = head + default + text[len(head) :]
            head += default
        declarations = self._inherited_prefixes(text)
        return Fragment(_KINDS.get(self._name, Kind.OTHER), self._id, declarations, head, text)

    def _inherited_default(self, text: bytes) -> bytes | None:
        """The declaration that keeps unprefixed names what they were: composed roots default to PIDF."""
        inherited = self._root.get("", "")
        if "" in self._own or inherited == PIDF or (not inherited and not _UNPREFIXED.search(text)):
            return None
        declaration = f' xmlns="{escape(inherited)}"'.encode()
        self._account(declaration)
        return declaration

    def _inherited_prefixes(self, text: bytes) -> dict[str, bytes]:
        """The prefixes the text may use: as text, for they may stand in values and content as well."""
        inherited: dict[str, bytes] = {}
        for prefix, uri in self._root.items():
            if prefix and prefix not in self._own and prefix.encode() in text:
                declaration = self._declared.get(prefix)
                if declaration is None:
                    declaration = self._declared[prefix] = f' xmlns:{prefix}="{escape(uri)}"'.encode()
                self._account(declaration)
                inherited[prefix] = declaration
        return inherited

    def _account(self, declaration: bytes) -> None:
        # Each may have to be repeated on its fragment: a small body must not compose to a huge one.
        self._inherited_bytes += len(declaration)
        if self._inherited_bytes > MAX_BODY_BYTES:
            raise BadRequest("Too Many Namespace Declarations")
