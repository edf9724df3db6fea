"""A client of xcap-diff: what it asks for, and the documents it holds by following NOTIFYs alone (RFC 5874 section 6).

It fetches a document, as over HTTP, only when a NOTIFY says that there is one and gives no patch it can apply.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from lxml import etree
from net import Agent, Network, Subscription
from patching import apply_operations

from presence._fastcore import Message
from presence.document.nodes import Element, enter, local_of, namespace, parse_tree, write_tree
from presence.document.xml import escape

SCHEMAS = Path(__file__).parent / "schemas"
NS = "urn:ietf:params:xml:ns:xcap-diff"
TYPES = {"resource-lists": 4, "pidf-manipulation": 16, "test-app": 0, "pres-rules": 2, "pres-content": 64}
ROOT = "http://xcap.example.com/root"
SETTING = f"xcap.uris={ROOT}"

Fetch = Callable[[str], tuple[str, bytes] | None]


class _Schemas(etree.Resolver):
    def resolve(self, system_url: str, public_id: str, context: Any) -> Any:
        if system_url.endswith("urn:ietf:params:xml:schema:patch-ops"):
            return self.resolve_filename(str(SCHEMAS / "patch-ops.xsd"), context)
        return None


def _schema() -> etree.XMLSchema:
    # Our own files: the entities of RFC 5261 section 8 are meant to be resolved.
    parser = etree.XMLParser(resolve_entities=True, load_dtd=True)
    parser.resolvers.add(_Schemas())
    return etree.XMLSchema(etree.parse(str(SCHEMAS / "xcap-diff.xsd"), parser))


SCHEMA = _schema()


def same(one: bytes, other: bytes) -> bool:
    """Whether two documents have the same canonical form, comments included (RFC 5261 section 3)."""
    return canonical(one) == canonical(other)


def canonical(document: bytes) -> bytes:
    return etree.tostring(etree.fromstring(document).getroottree(), method="c14n", with_comments=True)


def listed(*uris: str) -> str:
    """Write the body of a SUBSCRIBE."""
    entries = "".join(f'<entry uri="{escape(uri)}"/>' for uri in uris)
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists"><list>{entries}</list></resource-lists>'
    )


class Diff(Subscription):
    """A subscription to xcap-diff, and what its watcher holds."""

    def __init__(
        self, agent: Agent, *uris: str, mode: str = "", uri: str = "", body: str | None = None, **fields: Any
    ) -> None:
        super().__init__(agent, uri or agent.uri, event="xcap-diff", **fields)
        self.mode = mode
        self.list_body = listed(*uris) if uris and body is None else body or ""
        self.content_type = "application/resource-lists+xml"
        self.fetch: Fetch = lambda sel: fetch(agent.net, sel)
        self.etags: dict[str, str] = {}
        self.held: dict[str, bytes] = {}
        self.components: dict[str, str] = {}
        self.refused = 0
        """Elements and attributes that exist, as told."""
        self.fetched = 0
        self.told: list[list[Element]] = []
        """The parts of each document told."""
        self._heard = 0

    def request(self, *extra: str, expires: int | None = None, contact: str | None = None) -> bytes:
        dialog = self.dialog
        dialog.cseq += 1
        event = f"xcap-diff;diff-processing={self.mode}" if self.mode else "xcap-diff"
        event += f";id={self.event_id}" if self.event_id else ""
        heads = [f"Event: {event}", f"Contact: {self.contact if contact is None else contact}"]
        heads += [f"Expires: {expires}"] if expires is not None else []
        heads += [f"Content-Type: {self.content_type}"] if self.list_body else []
        return self.agent.request(
            "SUBSCRIBE",
            dialog.target or self.uri,
            *heads,
            *extra,
            sender=self.sender,
            from_tag=dialog.local_tag,
            to=f"<{self.uri}>",
            to_tag=dialog.remote_tag,
            call_id=dialog.call_id,
            cseq=dialog.cseq,
            body=self.list_body,
        )

    def ask(self, *extra: str, expires: int | None = None) -> int:
        """Send a SUBSCRIBE and return the status of its response."""
        return self.refresh(*extra, expires=expires).status

    def choose(self, *uris: str) -> Diff:
        """Ask for something else with the next SUBSCRIBE; for nothing: send no body."""
        self.list_body = listed(*uris) if uris else ""
        return self

    # ---- what a client does with NOTIFYs ----

    def take(self, notify: Message) -> None:
        super().take(notify)
        if self.agent.status == 200 and notify.body:
            self.apply(notify.body)
        elif notify.body:
            self.refused += 1

    def apply(self, body: bytes) -> None:
        """Take in what a NOTIFY tells."""
        SCHEMA.assertValid(etree.fromstring(body))
        root = parse_tree(body).root
        scope = enter({}, root)
        parts = [child for child in root.children if isinstance(child, Element)]
        self.told.append(parts)
        for part in parts:
            assert namespace(part.name, enter(scope, part)) == NS
            kind, sel = local_of(part.name), part.attributes["sel"]
            if kind == "document":
                self._document(sel, part, scope)
            elif part.attributes.get("exists") in ("0", "false"):
                # Only what was told may be said to be gone; the server cannot know what of a refused NOTIFY was taken.
                assert sel in self.components or self.refused
                self.components.pop(sel, None)
            else:
                self.components[sel] = "".join(etree.fromstring(body).xpath(f'string(//*[@sel="{sel}"])'))

    def _document(self, sel: str, part: Element, scope: Any) -> None:
        previous, new = part.attributes.get("previous-etag"), part.attributes.get("new-etag")
        if new is None:
            # Figure 1 of RFC 5874: gone.
            assert previous is not None
            self.etags.pop(sel, None)
            self.held.pop(sel, None)
            return
        patched = [child for child in part.children if isinstance(child, Element)]
        if previous is not None and self.etags.get(sel) == previous and sel in self.held and patched:
            if local_of(patched[0].name) != "body-not-changed":
                tree = apply_operations(parse_tree(self.held[sel]), part, scope)
                self.held[sel] = write_tree(tree)
            self.etags[sel] = new
            return
        if self.etags.get(sel) == new and sel in self.held:
            return
        self.fetched += 1
        found = self.fetch(sel)
        if found is None:
            self.etags.pop(sel, None)
            self.held.pop(sel, None)
        else:
            self.etags[sel], self.held[sel] = found

    def names(self, at: int = -1) -> list[tuple[str, str | None, str | None]]:
        """What a NOTIFY told of documents: selector, previous and new entity-tag."""
        return [
            (part.attributes["sel"], part.attributes.get("previous-etag"), part.attributes.get("new-etag"))
            for part in self.told[at]
            if local_of(part.name) == "document"
        ]

    def patches(self, at: int = -1) -> list[list[str]]:
        """The names of the operations each document of a NOTIFY has."""
        return [
            [local_of(child.name) for child in part.children if isinstance(child, Element)] for part in self.told[at]
        ]


def place(sel: str) -> str:
    """Return where a document is in the table."""
    auid, _, rest = unquote(sel).partition("/users/")
    user, _, name = rest.removeprefix("sip:").partition("/")
    username, _, domain = user.partition("@")
    return f"username = '{username}' AND domain = '{domain}' AND doc_type = {TYPES[auid]} AND doc_uri = '{name}'"


def fetch(net: Network, sel: str) -> tuple[str, bytes] | None:
    """Get a document as over HTTP."""
    rows = net.rows(f"SELECT etag, doc FROM xcap WHERE {place(sel)}")
    return rows[0] if rows else None


def write(net: Network, sel: str, etag: str, doc: str) -> None:
    """Write a document as another XCAP server does in integrated mode."""
    text = doc.replace("'", "''")
    where = place(sel)
    if net.rows(f"SELECT id FROM xcap WHERE {where}"):
        net.rows(f"UPDATE xcap SET doc = CAST('{text}' AS BLOB), etag = '{etag}' WHERE {where}")
        return
    columns, values = zip(*(entry.split(" = ") for entry in where.split(" AND ")), strict=True)
    net.rows(
        f"INSERT INTO xcap ({', '.join(columns)}, doc, etag, source, port)"
        f" VALUES ({', '.join(values)}, CAST('{text}' AS BLOB), '{etag}', 0, 0)"
    )


def delete(net: Network, sel: str) -> None:
    """Delete a document as another XCAP server does."""
    net.rows(f"DELETE FROM xcap WHERE {place(sel)}")
