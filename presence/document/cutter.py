"""Reading an XML document into the children of its root, each byte for byte what its publisher wrote.

The namespace declarations a child inherits from its root are remembered beside it. Nothing is validated.

Most bodies are read by the compiled core in one pass (`Vocabulary.cut`). What it does not know for certain to be a
document goes to expat, which unlike lxml forgets the names it has met, and which alone says what is wrong. Expat is
asked for the declarations only: a call for every element costs more than the reading, so `outline` finds the children,
and expat says whether that was a document.
"""

import re
from collections.abc import Collection, Mapping
from pyexpat import ParserCreate
from typing import Final

from presence._fastcore import CutDocument, Vocabulary, outline
from presence.document.xml import MAX_BODY_BYTES, MAX_DEPTH, escape, prepare_xml, run_expat
from presence.errors import BadRequest

MAX_FRAGMENTS: Final = 512
MAX_DECLARATIONS: Final = 64

# A form feed cannot occur in XML, so it parts namespace and name without doubt.
_PART = "\f"
# What is no URI makes stricter readers refuse the whole document a watcher gets.
_NAMESPACE_NAME = re.compile(r"(?:[\w.~:/?#@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*", re.ASCII)
_NORMALISED = re.compile(rb"[&\t\r\n]")
_UNPREFIXED = re.compile(rb"<[^\s/>:!?]+[\s/>]")

Name = tuple[str, bytes]
"""Namespace name and local part of an element's name."""

Scope = dict[str, str]
"""Prefix ('' for the default) to namespace name."""

Piece = tuple[int, bytes, int, bytes, int, bool]
"""Kind, id, size of the head, text, a bit for each declaration inherited, whether its kind is identified."""


class Reader:
    """Cuts the documents of one vocabulary."""

    def __init__(
        self,
        root: Name,
        kinds: Mapping[Name, int],
        *,
        other: int,
        identified: Collection[int] = (),
        usual: Collection[str] = (),
        called: tuple[str, str],
    ) -> None:
        """`kinds` says of a child's name which kind that is, `other` of which all others are.

        Children of the `identified` kinds have an `id` that stands once in a composed document; the namespaces in
        `usual` are known to be URIs; `called` is the document in a reason phrase, long and short.
        """
        self.root = root
        self.kinds = kinds
        self.other = other
        self.identified = frozenset(identified)
        self.vocabulary = Vocabulary(root, kinds, other=other, identified=self.identified, usual=tuple(usual))
        """What the compiled reader knows of these documents."""
        self._known = frozenset((root[0], *(space for space, _ in kinds), *usual))
        self._called, self._called_short = called

    def read(self, body: bytes) -> CutDocument:
        """Cut a published body; raises `BadRequest` when it is not well-formed or of another vocabulary."""
        document = self.vocabulary.cut(body)
        return self.read_odd(body) if document is None else document

    def read_odd(self, body: bytes) -> CutDocument:
        """Cut any body with expat, to the same result."""
        text = prepare_xml(body)
        depth, elements = outline(text)
        if depth > MAX_DEPTH:
            raise BadRequest(f"XML Nested Deeper than {MAX_DEPTH} Elements")
        if len(elements) - 1 > MAX_FRAGMENTS:
            raise BadRequest(f"More than {MAX_FRAGMENTS} Elements in {self._called}")
        scopes = self._read_declarations(text)
        (start, name_end, *_), *children = elements
        cutter = _Cutter(self, text, scopes.get(start, {}))
        if cutter.expand(text[start + 1 : name_end], {}) != self.root:
            raise BadRequest(f"Body Is Not a {self._called_short} Document")
        pieces = [cutter.cut(*child, scopes.get(child[0], {})) for child in children]
        return CutDocument(cutter.declared, pieces)

    def _read_declarations(self, text: bytes) -> dict[int, Scope]:
        """Read a document to its end; return what its elements declare, by where they begin."""
        scopes: dict[int, Scope] = {}
        expat = ParserCreate("utf-8", _PART)

        def declare(prefix: str | None, uri: str | None) -> None:
            if uri and uri not in self._known and _NAMESPACE_NAME.fullmatch(uri) is None:
                raise BadRequest("Namespace Name Is Not a URI")
            scopes.setdefault(expat.CurrentByteIndex, {})[prefix or ""] = uri or ""

        expat.StartNamespaceDeclHandler = declare
        try:
            run_expat(expat, text)
        finally:
            # The handler holds the parser, which holds the handler: untie the knot.
            expat.StartNamespaceDeclHandler = None
        return scopes


def standing_alone(document: CutDocument, number: int) -> bytes:
    """Return a child with the declarations it inherits repeated on it, so that it means the same anywhere."""
    _, _, head, text, inherits, _ = document.piece(number)
    if not inherits:
        return text
    inherited = b"".join(
        _declaration(prefix, uri) for bit, (prefix, uri) in enumerate(document.inheritable()) if inherits >> bit & 1
    )
    return text[:head] + inherited + text[head:]


def _declaration(prefix: bytes, uri: bytes) -> bytes:
    return b' xmlns:%b="%b"' % (prefix, uri)


def _read_id(quoted: bytes) -> str:
    """Return the value of an attribute; an xs:ID is compared after its white space is collapsed."""
    if _NORMALISED.search(quoted) is None:
        return quoted[1:-1].decode().strip()
    values: list[str] = []
    expat = ParserCreate("utf-8")
    expat.StartElementHandler = lambda _, attributes: values.append(attributes["id"])
    expat.Parse(b"<x id=%b/>" % quoted, True)
    return values[0].strip()


class _Cutter:
    """Cuts the children out of one body."""

    def __init__(self, reader: Reader, body: bytes, root: Scope) -> None:
        if len(root) > MAX_DECLARATIONS:
            raise BadRequest("Too Many Namespace Declarations")
        # Reported or not, this prefix is bound everywhere.
        root.pop("xml", None)
        self._reader = reader
        self._body = body
        self._root = root
        self._default = root.get("", "")
        self.declared = [(p.encode(), escape(uri).encode()) for p, uri in root.items() if p]
        """Prefix and namespace name of what the children may inherit."""
        self._inherited_bytes = 0

    def expand(self, name: bytes, own: Scope) -> Name:
        """Return the namespace name and the local part of an element's name."""
        prefix, _, local = name.rpartition(b":")
        key = prefix.decode()
        return own.get(key, self._root.get(key, "")), local

    def cut(self, start: int, name_end: int, id_start: int, id_end: int, end: int, own: Scope) -> Piece:
        """Cut out one child with its own declarations."""
        body, reader = self._body, self._reader
        kind = reader.kinds.get(self.expand(body[start + 1 : name_end], own), reader.other)
        identity = _read_id(body[id_start:id_end]) if id_end else ""
        head, text = body[start:name_end], body[start:end]
        if self._default != reader.root[0] and "" not in own and (self._default or _UNPREFIXED.search(text)):
            # Keeps unprefixed names what they were: composed roots default to the namespace of the vocabulary.
            declaration = f' xmlns="{escape(self._default)}"'.encode()
            self._account(declaration)
            text = head + declaration + text[len(head) :]
            head += declaration
        inherits = 0
        for bit, (prefix, uri) in enumerate(self.declared):
            # As text, for a prefix may stand in values and content as well.
            if prefix in text and prefix.decode() not in own:
                inherits |= 1 << bit
                self._account(_declaration(prefix, uri))
        return kind, identity.encode(), len(head), text, inherits, kind in reader.identified

    def _account(self, declaration: bytes) -> None:
        # Each may have to be repeated on its fragment: a small body must not compose to a huge one.
        self._inherited_bytes += len(declaration)
        if self._inherited_bytes > MAX_BODY_BYTES:
            raise BadRequest("Too Many Namespace Declarations")
