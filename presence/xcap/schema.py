"""Schemas of documents: compiled once, and found nowhere but in the folder beside (RFC 4825 section 8.2.5).

There is one schema for all namespaces that are known, so that an extension in a document is checked wherever it is
known and let pass where it is not.
"""

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from threading import Lock
from typing import ClassVar, Final

from lxml import etree

from presence.xcap.errors import SchemaValidationError
from presence.xcap.usage import Usage

SCHEMAS: Final = Path(__file__).parent / "schemas"
COMPLETE: Final = "urn:ietf:params:xml:ns:"
"""How namespaces begin of which the RFCs give every element: another one is a mistake, not an extension."""

_PHRASE_LENGTH = 300
_NAMESPACE = re.compile(r"\{[^{}]*\}")
_XSD = "{http://www.w3.org/2001/XMLSchema}"
_PARSER = etree.XMLParser(no_network=True, resolve_entities=False, load_dtd=False, remove_comments=True)
_validating = Lock()


class SchemaUsage(Usage):
    """An application usage whose documents have a schema."""

    root: ClassVar[str]
    """Local name of the root element."""
    root_namespace: ClassVar[str] = ""
    """Its namespace; empty: the default document namespace."""

    def validate(self, tree: etree._Element) -> None:
        """Raise `SchemaValidationError` unless the document complies with the schema."""
        validate(tree, f"{{{self.root_namespace or self.namespace}}}{self.root}")


def validate(tree: etree._Element, root: str) -> None:
    """Raise `SchemaValidationError` unless a document is valid and has this root element.

    The phrase is the validator's, with the line it speaks of. No schema that a document itself names is read.
    """
    if tree.tag != root:
        wanted = etree.QName(root)
        raise SchemaValidationError(f"The root element must be {wanted.localname} of namespace {wanted.namespace}")
    # The log of errors belongs to the schema, not to the thread.
    with _validating:
        if not _compiled().validate(tree):
            raise SchemaValidationError(_explain(_compiled().error_log))
    _refuse_unknown(tree)


def _explain(log: etree._ListErrorLog) -> str:
    error = log[0]
    text = f"Line {error.line}: {_NAMESPACE.sub('', error.message)}"
    return text if len(text) <= _PHRASE_LENGTH else text[:_PHRASE_LENGTH] + "…"


def _refuse_unknown(tree: etree._Element) -> None:
    """Raise for an element that a namespace known in full does not have (RFC 4825 section 8.2.5).

    The schemas let anything stand where extensions may: of what they have no declaration the validator says nothing.
    """
    known = _names()
    for element in tree.iter("{*}*"):
        namespace, _, name = str(element.tag)[1:].partition("}")
        if namespace in known and name not in known[namespace]:
            raise SchemaValidationError(f"Line {element.sourceline}: Element '{name}': {namespace} has no such element")


@cache
def _compiled() -> etree.XMLSchema:
    return etree.XMLSchema(etree.parse(str(SCHEMAS / "all.xsd"), _PARSER))


@cache
def _names() -> Mapping[str, frozenset[str]]:
    """Return what elements the namespaces have that are known in full."""
    names = {}
    for path in SCHEMAS.glob("*.xsd"):
        schema = etree.parse(str(path), _PARSER).getroot()
        namespace = schema.get("targetNamespace", "")
        if namespace.startswith(COMPLETE):
            names[namespace] = frozenset(element.get("name", "") for element in schema.iter(f"{_XSD}element"))
    return names
