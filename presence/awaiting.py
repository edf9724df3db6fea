"""Who waits for a decision: kept, told, given up, decided about by others; put together from the settings."""

from functools import partial

from presence._fastcore import Fanout
from presence.config import Config
from presence.events.registry import Registry
from presence.policy.decision import OPEN, Policy
from presence.policy.watcherinfo import WatcherAccess
from presence.store.base import Store
from presence.subscription.admission import decide
from presence.subscription.book import Book
from presence.subscription.decided import Decided
from presence.subscription.ending import Ending
from presence.subscription.machine import Input
from presence.subscription.notify import Notify
from presence.subscription.waiting import Waiting
from presence.values import SubscriptionStatus

DAY_S = 86_400


def build_access(config: Config) -> WatcherAccess:
    """Return who may have watcher information of others."""
    return WatcherAccess(config.presence.winfo_open, config.presence.winfo_administrator_names)


class Awaiting:
    """Nothing under policy `open`, where nobody waits, but for the rows of earlier times that are given up."""

    def __init__(
        self,
        config: Config,
        table: Fanout,
        store: Store,
        notify: Notify,
        book: Book,
        registry: Registry,
        policy: Policy,
        ending: Ending,
    ) -> None:
        self._decide = partial(decide, policy)
        self._table = table
        self._notify = notify
        self._book = book
        self._ending = ending
        self.waiting = Waiting(table, store, notify, book, registry, self._decide, policy)
        give_up_s = config.presence.waiting_subs_daysno * DAY_S
        self.decided = Decided(store, self.waiting, give_up_s=give_up_s)
        ending.lost_rule = Input(config.presence_xml.lost_rule)
        if policy is not OPEN:
            ending.waiting = self.waiting
            notify.waiting = self.waiting.records

    def tick(self, now: float) -> None:
        """Let time pass."""
        self._ending.giveup.now = now
        for slot in self._ending.giveup.take(now):
            resource = self._notify.resource_of(slot)
            watcher = self._book.watcher(self._table.facts(slot).owner)
            if self._decide(resource.package, resource.presentity, watcher).status is SubscriptionStatus.PENDING:
                self._ending.end(slot, Input.GAVE_UP, now)
        self.decided.tick(now)
