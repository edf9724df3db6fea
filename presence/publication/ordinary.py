"""The PUBLISH requests that most are, in batches: a publication that goes on, refreshed or modified.

What they lead to is what `compositor` does with all; `tests/property/test_ordinary.py` compares the two.
"""

from collections.abc import Callable
from functools import partial
from sys import intern

from presence._fastcore import Message, Renewals
from presence.errors import StoreError
from presence.events.package import Absorbing, Heeding, Sparing
from presence.events.registry import Registry
from presence.publication.holding import Holding, Resource
from presence.sip.endpoint import Endpoint, ServerTransaction
from presence.sip.lanes import Lanes
from presence.store.base import Store
from presence.values import Aor, Publication

News = tuple[Resource, Publication, Publication]
"""A modification: whose it is, the publication, and what it will be."""


class Ordinary:
    """Refreshes and modifies publications, many at a time."""

    def __init__(
        self,
        registry: Registry,
        store: Store,
        endpoint: Endpoint,
        holding: Holding,
        lanes: Lanes,
        changed: Callable[[str, Aor, float], None],
    ) -> None:
        self._store = store
        self._endpoint = endpoint
        self._holding = holding
        self._tags = holding.tags
        self._lanes = lanes
        self._changed = changed
        self._documents: dict[str, Callable[[str, bytes], object]] = {}
        self._senders: dict[str, Callable[[Message], str]] = {}
        for package in map(registry.get, registry.names):
            # What is to be heeded goes the general way, as does what changes what is held.
            if package is not None and not isinstance(package, Absorbing | Heeding):
                if isinstance(package, Sparing):
                    self._senders[package.name] = package.sender
                self._documents[package.name] = package.read
                for content_type in package.publishable:
                    self._tags.serve(package.name, intern(content_type))
        self._waiting: dict[int, list[Callable[[], None]]] = {}

    def wait(self, number: int, change: Callable[[], None]) -> None:
        """Run a change of a publication of which a refresh is on its way after that."""
        self._waiting.setdefault(number, []).append(change)

    @property
    def waiting(self) -> int:
        """How many changes wait so."""
        return sum(map(len, self._waiting.values()))

    def handle(self, requests: list[Message], now: float) -> list[Message]:
        """Serve the requests of a tick that go on with a publication as most do; return the others."""
        if not self._endpoint.hurried:
            return requests
        others, batch, modifications = self._tags.gather(requests, now)
        if batch is None:
            return others
        news: list[News] = []
        for request, number, granted, content_type in modifications:
            resource, old = self._holding.numbered(number)
            if resource in self._lanes.taken:
                # After what came before it: the newest publication is the one received last.
                self._tags.give(number)
                self._endpoint.receive(request, now)
                continue
            body = request.body
            try:
                document = old.document
                if body != old.body or content_type != old.content_type:
                    document = self._documents[resource[0]](content_type, body)
                order = self._holding.next_order()
                self._tags.modify(batch, request, number, granted, now, order, content_type, body)
            except Exception as error:
                self._tags.give(number)
                ServerTransaction(self._endpoint, request).refuse(error)
                continue
            new = Publication(now, order, content_type, body, document)
            if resource[0] in self._senders:
                new.sender = self._senders[resource[0]](request)
            news.append((resource, old, new))
        if batch.requests:
            try:
                self._store.submit(batch.writes, partial(self._renewed, batch, news, now))
            except StoreError as error:
                self._renewed(batch, news, now, error)
        return others

    def _renewed(self, batch: Renewals, news: list[News], began: float, error: StoreError | None) -> None:
        endpoint = self._endpoint
        try:
            if error is None:
                for resource, old, new in news:
                    old.adopt(new)
                    self._changed(*resource, began)
                self._tags.renewed(batch, endpoint.server_line, began, endpoint.now)
            else:
                self._tags.give_back(batch)
                for request in batch.requests:
                    ServerTransaction(endpoint, request).refuse(error)
        finally:
            if self._waiting:
                for number in self._tags.numbers(batch):
                    for attempt in self._waiting.pop(number, ()):
                        attempt()
