"""XCAP: URIs and bodies of any kind are refused in order, and what is put is what is got.

An input is path, query, body and document, parted by two zero bytes.
"""

from collections.abc import Iterable
from contextlib import suppress
from pyexpat import ParserCreate

from lxml import etree

from presence.xcap.editing import NodeEditor, read_attribute_value, read_fragment
from presence.xcap.errors import CannotDelete, Conflict, ConstraintFailure, NoResource, SchemaValidationError, XcapError
from presence.xcap.reading import read_document
from presence.xcap.tree import Bounds
from presence.xcap.uri import Target, read_target

PART = b"\0\0"
BOUNDS = Bounds(16, 300)
NAMESPACE = "urn:t"
DOCUMENT = (
    b"<?xml version='1.0'?><!-- a --><root xmlns='urn:t' xmlns:x='urn:x'>t<a n='1'/> <x:b n='1' x:n=\"2\" >"
    b"<![CDATA[<]]></x:b><?p i?><a n='2'><c/></a></root>"
)


def run(data: bytes) -> None:
    path, query, body, document = (*data.split(PART, 3), b"", b"", b"", b"")[:4]
    try:
        target = read_target(path.decode("latin-1"), query.decode("latin-1"))
    except XcapError as error:
        _check_refusal(error)
        return
    with suppress(XcapError):
        read_document(body, BOUNDS)
        etree.fromstring(body, etree.XMLParser(recover=True))
    with suppress(XcapError):
        read_document(document, BOUNDS)
        _edit(target, body, document)
    _edit(target, body, DOCUMENT)


def _edit(target: Target, body: bytes, document: bytes) -> None:
    if target.selector is None or target.selector.bindings:
        return
    editor = NodeEditor(target.selector, NAMESPACE, BOUNDS)
    gone: bytes | None = None
    with suppress(NoResource):
        gone, _ = editor.get(document)
        assert gone in document
    try:
        left = editor.delete(document, lambda: None)
    except (NoResource, CannotDelete, SchemaValidationError):
        pass
    else:
        assert gone is not None
        _is_well_formed(left)
        try:
            editor.get(left)
            raise AssertionError("it is there still")
        except NoResource:
            pass
    try:
        edited = editor.put(document, body)
    except Conflict as error:
        _check_refusal(error)
        return
    assert edited.created == (gone is None)
    _is_well_formed(edited.text)
    kept, _ = editor.get(edited.text)
    if target.selector.attribute is None:
        assert kept == read_fragment(body).text
    else:
        assert kept == read_attribute_value(body, bare=False)[0]
    assert editor.put(edited.text, body).text == edited.text
    assert len(edited.text) - len(document) < len(body) + len(target.query) * 3 + 200


def _is_well_formed(text: bytes) -> None:
    ParserCreate("utf-8", "\f").Parse(text, True)


def _check_refusal(error: XcapError) -> None:
    assert error.status in (400, 404, 409), error
    if isinstance(error, ConstraintFailure | Conflict):
        etree.fromstring(error.report())


def seeds() -> Iterable[bytes]:
    paths = [
        b"test-app/users/sip:alice@example.com/index",
        b"/a/users/a%40b/i/~~/root/a%5b1%5d",
        b"a/users/a@b/i/~~/root/a%5B@n=%221%22%5D/@n",
        b"a/global/i~~/*/x:b%5B2%5D%5B@x:n='2'%5D",
        b"a/users/a@b/i/%7e~/root/a%5b2%5d/namespace::*",
        b"a/users/a@b/i/~~/root/*%5b2%5d%5b@m=%22%26lt;/%22%5d",
        b"a/users/a@b/i/~~/root/@x:m",
    ]
    bodies = [
        b"<a n='1'/>",
        b'<x:b m="&lt;/">t<!-- c --></x:b>',
        b'"1"',
        b"'&#20;\"'",
        b" <z xmlns='urn:x'><y/></z>\n",
        b"<a>",
    ]
    for number, path in enumerate(paths):
        for body in bodies:
            query = b"xmlns(x=urn:x)" if number % 2 else b"xmlns(x=urn:%2578^))other(a)xmlns(y = b)"
            yield PART.join((path, query, body, DOCUMENT))
    yield PART.join((paths[1], b"", b"<a n='9'/>", "\ufeff<root xmlns='urn:t'\n/>\r\n<!---->".encode()))
