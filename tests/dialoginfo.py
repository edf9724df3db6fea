"""Dialog information as publishers write it, and what a subscriber makes of it (RFC 4235 section 4.3)."""

from __future__ import annotations

from lxml import etree
from net import Agent, Subscription

NS = "{urn:ietf:params:xml:ns:dialog-info}"
KIND = "application/dialog-info+xml"
ALICE = "sip:alice@example.com"


def dialog(
    id: str = "d1",
    state: str = "confirmed",
    *,
    call_id: str = "",
    local_tag: str = "",
    remote_tag: str = "",
    more: str = "",
    event: str = "",
    direction: str = "",
) -> str:
    names = {"call-id": call_id, "local-tag": local_tag, "remote-tag": remote_tag, "direction": direction}
    attributes = "".join(f' {name}="{value}"' for name, value in names.items() if value)
    because = f' event="{event}"' if event else ""
    return f'<dialog id="{id}"{attributes}><state{because}>{state}</state>{more}</dialog>'


def info(*dialogs: str, state: str = "full", version: int = 0, entity: str = ALICE, more: str = "") -> str:
    return (
        f'<?xml version="1.0"?>\n<dialog-info xmlns="urn:ietf:params:xml:ns:dialog-info" version="{version}"'
        f' state="{state}" entity="{entity}">{"".join(dialogs)}{more}</dialog-info>'
    )


def remote(target: str, identity: str = "") -> str:
    named = f"<identity>{identity}</identity>" if identity else ""
    return f'<remote>{named}<target uri="{target}"/></remote>'


class Lamp:
    """A subscription to dialogs and the table built from it, as section 4.3 builds it."""

    def __init__(
        self, agent: Agent, *extra: str, uri: str = ALICE, event: str = "dialog", accept: str = KIND, **fields: object
    ) -> None:
        self.version = -1
        self.rows: dict[str, str] = {}
        """State by id."""
        self.gaps = 0
        """How often partial state came that was not the next version."""
        self._seen = 0
        self.watch: Subscription = agent.subscribe(f"Accept: {accept}", *extra, uri=uri, event=event, **fields)

    def news(self) -> list[tuple[str, dict[str, str]]]:
        """Take what came since last asked: state and dialogs of each document, with the state of each dialog."""
        came = {notify.branch: notify.body for notify in self.watch.notifies}
        documents = [self._take(body) for body in list(came.values())[self._seen :]]
        self._seen = len(came)
        return documents

    def _take(self, body: bytes) -> tuple[str, dict[str, str]]:
        root = etree.fromstring(body)
        assert root.tag == f"{NS}dialog-info"
        version, state = int(root.get("version", "")), root.get("state", "")
        assert state in ("full", "partial")
        assert root.get("entity")
        assert version > self.version
        self.gaps += state == "partial" and version != self.version + 1
        self.version = version
        told = {one.get("id", ""): (one.findtext(f"{NS}state") or "").strip() for one in root.iter(f"{NS}dialog")}
        if state == "full":
            self.rows = {}
        self.rows |= told
        return state, told

    @property
    def lit(self) -> dict[str, str]:
        """The calls that are going on."""
        self.news()
        return {id: state for id, state in self.rows.items() if state != "terminated"}

    @property
    def body(self) -> bytes:
        return self.watch.newest.body


def publish_calls(agent: Agent, uri: str = ALICE, event: str = "dialog"):  # type: ignore[no-untyped-def]
    """Prepare a publication of dialogs."""
    return agent.publication(uri, event, content_type=KIND)
