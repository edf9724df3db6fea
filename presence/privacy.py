"""Who may watch, and what follows when that changes: the policy built from the settings."""

from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial

from presence._fastcore import Fanout
from presence.awaiting import build_access
from presence.config import Config
from presence.errors import StoreError
from presence.events.registry import Registry
from presence.policy.decision import BLOCK, CONFIRM, NO_RULE, OPEN, Policy
from presence.policy.rulebook import DEFAULTS, Guard, Rulebook
from presence.policy.rules import Rules
from presence.store.base import Store
from presence.subscription.book import Book
from presence.subscription.ending import Ending
from presence.subscription.notify import Notify
from presence.subscription.reassessing import Reassessing
from presence.subscription.roster import Roster
from presence.subscription.triggers import Triggers
from presence.subscription.verdicts import Verdicts
from presence.values import Aor
from presence.xcap.documents import Change, Documents
from presence.xcap.references import Lists

DIALOG_RULES = ("org.openxcap.dialog-rules", "dialog-rules")
DIALOG_NAMESPACES = ("http://openxcap.org/ns/dialog-rules", "urn:ietf:params:xml:ns:dialog-rules")

ELSEWHERE_ABOVE = 32 * 1024
"""Bytes of a document that is compiled elsewhere: its rules take some milliseconds."""

Elsewhere = Callable[[Callable[[], Rules | None], Callable[[Rules | None], None]], None]


class Privacy:
    """The policy in force, and where rules decide what lets a change of them act at once."""

    def __init__(
        self,
        config: Config,
        registry: Registry,
        store: Store,
        documents: Documents,
        clock: Callable[[], float],
        published: Callable[[Aor], Iterable[bytes]],
    ) -> None:
        self._documents = documents
        self._access = build_access(config)
        self._clock = clock
        self._registry = registry
        self.elsewhere: Elsewhere | None = None
        """Calls what takes long in another thread and hands on what it returns, here; None where there is none."""
        self._reassessing: Reassessing | None = None
        self._rulebook: Rulebook | None = None
        if config.server.policy == "open" or config.presence_xml.force_active:
            self.policy: Policy = OPEN
            return
        self._lists = Lists(documents, config.xcap_roots, allow_others=config.xcap.allow_external_references)
        self.policy = self._rulebook = Rulebook(
            self._guards(config),
            documents,
            store,
            clock,
            default=DEFAULTS[config.presence_xml.default_policy],
            unmatched=CONFIRM if config.presence_xml.unmatched == "confirm" else NO_RULE,
            in_list=self._in_list,
            published=published if config.presence.enable_sphere_check else None,
        )

    def _guards(self, config: Config) -> dict[str, Guard]:
        xml = config.presence_xml
        default = DEFAULTS[xml.default_policy]
        guards = {
            "presence": Guard(xml.pres_rules_auid, filtered=True, default=default),
            # RFC 3842 section 3.6: the owner of an account alone, and whom the operator allows.
            "message-summary": Guard(default=BLOCK, always=config.auth.publisher_names),
        }
        for name in ("dialog", "dialog;sla"):
            package = self._registry.get(name)
            if package is not None and package.authorised:
                guards[name] = Guard(DIALOG_RULES, default=default, namespaces=DIALOG_NAMESPACES)
        return guards

    def _in_list(self, owner: Aor, anchor: str, aor: Aor) -> bool:
        return aor in self._lists.members(anchor, owner)

    def attach(self, table: Fanout, store: Store, notify: Notify, book: Book, ending: Ending) -> None:
        """Decide again about running subscriptions from now on."""
        if self._rulebook is None:
            return
        self._reassessing = Reassessing(
            self._registry,
            table,
            store,
            notify,
            book,
            ending,
            Verdicts(table, notify, ending.giveup),
            self._rulebook,
            Triggers(self._rulebook, self._lists.depends_on),
            Roster(store, self._rulebook),
            self._clock,
            self._access,
        )
        self._documents.listeners.append(self._changed)
        self._documents.resets.append(self._reassessing.everything_changed)

    def _changed(self, change: Change) -> None:
        if self._reassessing is None or self._rulebook is None:
            return
        (auid, owner, _), after = change.key, change.after
        large = after is not None and len(after.body) > ELSEWHERE_ABOVE and self._rulebook.packages_of(auid)
        if self.elsewhere is None or after is None or owner is None or not large:
            self._reassessing.document_changed(auid, owner, change.key)
            return
        # The old rules show nobody anything from now on; who asks meanwhile has the new ones compiled here.
        self._reassessing.hold(auid, owner)
        compiling = partial(self._rulebook.compile_ahead, after.body, auid)
        self.elsewhere(compiling, partial(self._compiled, change, after.body))

    def _compiled(self, change: Change, body: bytes, rules: Rules | None) -> None:
        if self._reassessing is not None and self._rulebook is not None:
            with self._rulebook.adopting(body, change.key.auid, rules):
                self._reassessing.document_changed(change.key.auid, change.key.owner, change.key)

    @property
    def busy(self) -> bool:
        """Whether there is more to decide in the next turn."""
        return self._reassessing is not None and self._reassessing.busy

    def ask_elsewhere(self) -> None:
        """Let the documents that a decision is made by be asked for again in time, those read before too."""
        if self._rulebook is not None:
            self._rulebook.used = self._used

    def _used(self, presentity: Aor, usages: tuple[str, ...], rules: Rules) -> None:
        # What cannot be read now is known all the same.
        with suppress(StoreError):
            for auid in (*usages, "resource-lists") if rules.lists else usages:
                self._documents.of(presentity, auid)

    def published(self, package: str, presentity: Aor) -> None:
        """Hear that a presentity's publications are others."""
        if self._reassessing is not None and package == "presence":
            self._reassessing.published(presentity)

    def row_changed(self, presentity: Aor, package: str) -> None:
        """Decide again about the watchers of a presentity: an operator changed table `watchers`."""
        if self._reassessing is not None:
            self._reassessing.decide_again(presentity, package)

    def decide_again(self, presentity: Aor, package: str) -> None:
        """Decide again about the watchers of a presentity, whatever has changed."""
        if self._reassessing is not None:
            self._reassessing.rules_changed(presentity, package)

    def tick(self, now: float) -> None:
        """Decide about a slice of those who wait for it."""
        if self._reassessing is not None:
            self._reassessing.tick(now)
