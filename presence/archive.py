"""The documents' wiring: procedures others call, XCAP servers elsewhere, and what follows from either."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from starlette.routing import Route

from presence.assembly import Node
from presence.config import Config
from presence.following import Following
from presence.http.procedures import Fault, list_procedures
from presence.http.rpc import Rpc
from presence.store.base import Store
from presence.tally import Tally
from presence.values import Aor

if TYPE_CHECKING:
    from presence.http.fetching import Fetcher
    from presence.http.xcap_client import XcapClient


class Archive:
    """What is done for documents besides reading them; `attach` comes before anything but `routes`."""

    def __init__(self, config: Config, tally: Tally, now: Callable[[], float]) -> None:
        """Read what the settings name; raises ConfigError."""
        self._config, self._tally, self._now = config, tally, now
        self._node: Node | None = None
        self._wake: Callable[[], None] = lambda: None
        self._client: XcapClient | None = None
        self._fetcher: Fetcher | None = None
        self._following: Following | None = None
        if config.presence_xml.xcap_server:
            self._client = self._build_client()

    def routes(self) -> list[Route]:
        """Return what the HTTP server serves for it."""
        procedures = list_procedures(self.refresh_watchers, self.refresh_document, self._clean_up)
        return Rpc(procedures, self._config.management.allowed).routes()

    def attach(self, node: Node, store: Store, wake: Callable[[], None]) -> None:
        """Begin, now that the documents are there; raises ConfigError for settings that do not fit together."""
        self._node, self._wake = node, wake
        documents = node.documents
        documents.wake = wake
        units = ("users", "bytes")
        self._tally.gauges["xcap_kept"] = lambda: {
            (unit,): float(count) for unit, count in zip(units, documents.kept, strict=True)
        }
        if self._client is not None:
            self._fetcher = self._build_fetcher(self._client, node, store)
            documents.missed, documents.hinted = self._fetcher.want, self._fetcher.heed
            if self._config.xcap_client.diff_uri:
                self._following = Following(self._config, node, self._fetcher, self._tally, self._now)
            node.privacy.ask_elsewhere()

    def tick(self, now: float) -> None:
        """Let time pass."""
        if self._fetcher is not None:
            self._fetcher.tick(now)
        if self._following is not None:
            self._following.tick(now)

    async def close(self) -> None:
        """Stop asking others."""
        if self._following is not None:
            await self._following.close()
        if self._fetcher is not None:
            await self._fetcher.close()
        if self._client is not None:
            await self._client.close()

    # ---- what others tell ----

    def refresh_watchers(self, presentity: Aor, event: str, kind: int) -> None:
        """Read a presentity's documents anew; then decide anew about its watchers (0), or tell all of them (others).

        Raises KeyError for an unknown event package, StoreError when nothing can be read.
        """
        node = self._serving()
        if not node.notify.serves(event):
            raise KeyError(event)
        node.documents.look_again(presentity)
        if kind:
            node.notify.tell_again(event, presentity, self._now())
        else:
            node.privacy.decide_again(presentity, event)
        self._wake()

    def refresh_document(self, doc_uri: str, port: int) -> bool:
        """Fetch a document again; False when it is on none of our servers."""
        self._serving()
        return self._fetcher is not None and self._fetcher.refresh(doc_uri, port)

    def _clean_up(self) -> None:
        self._serving().clean_up()

    def _serving(self) -> Node:
        if self._node is None:
            raise Fault(503, "Not Ready")
        return self._node

    # ---- inside ----

    def _build_client(self) -> "XcapClient":
        # The one import of a library that most do not need.
        from presence.http.xcap_client import Bounds, Credentials, XcapClient, trust

        client = self._config.xcap_client
        credentials = Credentials(client.user, client.password) if client.user else None
        bounds = Bounds(client.timeout_ms / 1000, client.max_document_bytes, client.max_connections)
        return XcapClient(bounds, credentials, trust(client.ca_file, verify=client.verify))

    def _build_fetcher(self, client: "XcapClient", node: Node, store: Store) -> "Fetcher":
        from presence.http.fetching import Course, Fetcher

        xml, settings = self._config.presence_xml, self._config.xcap_client
        course = Course(
            frozenset(settings.applications),
            xml.pres_rules_filename,
            settings.query_period,
            settings.periodical_query,
            settings.max_connections,
            settings.max_waiting,
        )
        return Fetcher(
            client, xml.xcap_server, course, store, node.documents, self._tally, self._now, node.notify.watched
        )
