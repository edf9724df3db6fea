"""Calls and answers of XML-RPC (xmlrpc.com/spec.md), read with the bounds every XML body has here.

The parser of the standard library resolves entities, so it is not used.
"""

from lxml import etree

from presence.document.xml import escape, parse_xml
from presence.errors import BadRequest
from presence.http.procedures import Argument, Fault

PARAMETERS_MAX = 16


def parse_call(body: bytes) -> tuple[str, list[Argument]]:
    """Return the name and the arguments of a call; raises BadRequest for what is none."""
    root = parse_xml(body)
    name = root.find("methodName")
    if root.tag != "methodCall" or name is None:
        raise BadRequest("Not an XML-RPC Call")
    values = root.findall("params/param/value")
    if len(values) > PARAMETERS_MAX:
        raise BadRequest("Too Many Parameters")
    return _text(name), [_argument(value) for value in values]


def _argument(value: etree._Element) -> Argument:
    if len(value) == 0:
        return "".join(map(str, value.itertext()))
    kind, text = value[0].tag, _text(value[0])
    try:
        if kind in ("int", "i4", "i8"):
            return int(text)
        if kind == "double":
            return float(text)
    except ValueError:
        raise BadRequest("Not a Number") from None
    if kind == "boolean" and text in ("0", "1"):
        return text == "1"
    if kind == "string":
        return "".join(map(str, value[0].itertext()))
    if kind == "nil":
        return None
    raise BadRequest("Parameters Are Strings and Numbers")


def _text(element: etree._Element) -> str:
    return "".join(map(str, element.itertext())).strip()


def write_answer(text: str) -> bytes:
    """Return the answer to a call that was served."""
    return _document(f"<params><param><value><string>{escape(text)}</string></value></param></params>")


def write_fault(fault: Fault) -> bytes:
    """Return the answer to a call that failed."""
    return _document(
        "<fault><value><struct>"
        f"<member><name>faultCode</name><value><int>{fault.code}</int></value></member>"
        f"<member><name>faultString</name><value><string>{escape(fault.message)}</string></value></member>"
        "</struct></value></fault>"
    )


def _document(content: str) -> bytes:
    return f'<?xml version="1.0"?>\n<methodResponse>{content}</methodResponse>\n'.encode()
