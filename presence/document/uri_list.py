"""The flat lists of URIs that SUBSCRIBE bodies are (RFC 4826 section 3, RFC 5875 section 4.4).

Read with expat: who subscribes is a stranger, and lxml keeps every name it meets.
"""

from collections.abc import Iterable
from pyexpat import ParserCreate
from typing import Final

from presence.document.xml import MAX_DEPTH, escape, prepare_xml, run_expat
from presence.errors import BadRequest

CONTENT_TYPE: Final = "application/resource-lists+xml"
_NAMESPACE: Final = "urn:ietf:params:xml:ns:resource-lists"
_PATH: Final = tuple(f"{_NAMESPACE} {name}" for name in ("resource-lists", "list", "entry"))


def read_uri_list(body: bytes) -> list[str]:
    """Return the URIs of a list, each once, in order; raises BadRequest.

    What is not understood, lists in lists among it, is ignored (RFC 5875 section 4.4).
    """
    reader = _Reader()
    expat = ParserCreate("utf-8", " ")
    expat.StartElementHandler = reader.start
    expat.EndElementHandler = reader.end
    run_expat(expat, prepare_xml(body))
    if reader.root != _PATH[0]:
        raise BadRequest("Body Is No List of Resources")
    return list(reader.uris)


def write_uri_list(uris: Iterable[str]) -> bytes:
    """Return the list of these URIs."""
    entries = "".join(f'<entry uri="{escape(uri)}"/>' for uri in uris)
    start = f'<?xml version="1.0" encoding="UTF-8"?>\n<resource-lists xmlns="{_NAMESPACE}">'
    return f"{start}<list>{entries}</list></resource-lists>\n".encode()


class _Reader:
    def __init__(self) -> None:
        self.root = ""
        self.uris: dict[str, None] = {}
        self._path: list[str] = []

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if len(self._path) >= MAX_DEPTH:
            raise BadRequest(f"XML Nested Deeper than {MAX_DEPTH} Elements")
        self._path.append(name)
        self.root = self.root or name
        if tuple(self._path) == _PATH:
            uri = attributes.get("uri", "").strip()
            if not uri:
                raise BadRequest("An Entry of the List Names No URI")
            self.uris[uri] = None

    def end(self, name: str) -> None:
        self._path.pop()
