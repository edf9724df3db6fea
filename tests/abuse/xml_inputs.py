"""Every way in for XML: what `test_xml_bombs` throws at each. A new input adds one entry to `INPUTS`."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from dialoginfo import KIND
from net import Network
from xcap import ALICE, Site

from presence.document.dialoginfo import parse_dialog_info
from presence.document.pidf import parse_odd_pidf
from presence.document.xml import parse_xml
from presence.errors import SipError

Give = Callable[[bytes], int]
"""Hands a body in and returns the status it was answered."""


class Input(NamedTuple):
    """How documents get in, and what a harmless one looks like around `{content}` and `{attributes}`."""

    template: str
    """Begins behind the XML declaration, so that a document type can stand before it."""
    open: Callable[[], Give]


PIDF = (
    '<presence xmlns="urn:ietf:params:xml:ns:pidf" entity="sip:alice@example.com"><tuple id="a"{attributes}>'
    "<status><basic>open</basic></status><note>{content}</note></tuple></presence>"
)


DIALOG_INFO = (
    '<dialog-info xmlns="urn:ietf:params:xml:ns:dialog-info" version="0" state="partial" entity="sip:a@example.com">'
    '<dialog id="1"{attributes}><state>early</state><remote><identity>sip:b@example.com</identity>'
    '<target uri="sip:c@example.com"/></remote><x>{content}</x></dialog></dialog-info>'
)


def published(
    event: str = "presence",
    content_type: str = "application/pidf+xml",
    reader: Callable[[bytes], object] = parse_odd_pidf,
) -> Give:
    """A PUBLISH to a whole server, with a watcher that is told; over a stream, since some bodies are large."""
    net = Network()
    publisher, watcher = net.agent("alice", transport="TCP"), net.agent("bob", transport="TCP")
    # The line of dialog;sla is named by Contact.
    watcher.contact = watcher.contact.replace("bob@", "alice@")
    watch = watcher.subscribe(event=event)

    def give(body: bytes) -> int:
        # A stream that could not be framed is closed.
        net.disconnect(publisher)
        publication = publisher.publication(event=event, content_type=content_type)
        status = publication.publish(body=body, expires=60).status
        if status == 200:
            # What was let in must be a document to whoever is told, too.
            reader(watch.newest.body)
            publication.publish(expires=0)
        assert net.tally.drops["internal error"] == 0
        return status

    return give


def read_by(reader: Callable[[bytes], object]) -> Callable[[], Give]:
    """A reader alone: what it refuses is answered with the status of its error."""

    def give(body: bytes) -> int:
        try:
            reader(body)
        except SipError as error:
            return error.status
        return 200

    return lambda: give


def put(node: str = "") -> Callable[[], Give]:
    """A PUT over HTTP of a document or of a node; a conflict is XCAP's word for a bad request."""

    document = f"test-app/{ALICE}/index"

    def give(body: bytes) -> int:
        with Site() as site:
            site.put(document, "<r xmlns='test-app'/>")
            status = site.put(f"{document}{node}", body).status
            return {201: 200, 409: 400}.get(status, status)

    return lambda: give


INPUTS = {
    "PUBLISH of PIDF": Input(PIDF, published),
    "PUBLISH of dialogs": Input(DIALOG_INFO, partial(published, "dialog", KIND, parse_dialog_info)),
    "PUBLISH of a shared line": Input(DIALOG_INFO, partial(published, "dialog;sla", KIND, parse_dialog_info)),
    "PIDF by expat": Input(PIDF, read_by(parse_odd_pidf)),
    "PUT of an XCAP document": Input("<r{attributes}><a>{content}</a></r>", put()),
    "PUT of an XCAP element": Input("<b{attributes}><a>{content}</a></b>", put("/~~/r/b")),
    "XML by lxml": Input("<r{attributes}><a>{content}</a></r>", read_by(parse_xml)),
}
