"""The privacy policy: rules documents decide about watchers (RFC 5025), and without one an operator or the default.

What decides is looked at anew with each question and costs microseconds: a document is compiled once per version.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple, Protocol

from presence.document.sphere import sphere_of
from presence.errors import SipError
from presence.policy.attributes import PRES_RULES
from presence.policy.decision import ALLOW, BLOCK, CONFIRM, FILTERED, POLITE_BLOCK, Decision
from presence.policy.permission import Permissions
from presence.policy.rules import Circumstances, Handling, Rules, Watcher, compile_rules, join_rules
from presence.policy.stored import StoredDecisions
from presence.store.base import Store, Write
from presence.values import Aor, SubscriptionStatus

KEPT = 20_000
"""Rule sets that are kept compiled."""

DEFAULTS: Mapping[str, Decision] = {
    "allow": ALLOW,
    "block": BLOCK,
    "confirm": CONFIRM,
    "polite-block": POLITE_BLOCK,
}
"""What a setting's words decide."""

_DECISIONS = {Handling.BLOCK: BLOCK, Handling.CONFIRM: CONFIRM, Handling.POLITE_BLOCK: POLITE_BLOCK}


class RulesDocument(Protocol):
    """A stored document of a user."""

    @property
    def body(self) -> bytes:
        """The document."""


class Library(Protocol):
    """Where the documents of users are."""

    def of(self, owner: Aor | None, auid: str) -> Iterable[RulesDocument]:
        """Return the documents of one user and application usage; raises StoreError."""


class Guard(NamedTuple):
    """Who watches an event package."""

    usages: tuple[str, ...] = ()
    """Application usages whose documents say so, all together; without one nobody is asked."""
    filtered: bool = False
    """Whether their transformations are about this package's documents."""
    default: Decision = CONFIRM
    """What holds where a presentity has no document and no operator decided."""
    always: frozenset[Aor] = frozenset()
    """Who may watch everybody."""
    namespaces: tuple[str, ...] = (PRES_RULES,)
    """Those of what the documents say is to be done."""


InList = Callable[[Aor, str, Aor], bool]
"""Whether an address is on the list that a document of a user refers to by an anchor."""


def no_lists(owner: Aor, anchor: str, aor: Aor) -> bool:
    """Have no list."""
    return False


class Rulebook:
    """The rules of all presentities, as far as they were asked about lately."""

    name = "rules"

    def __init__(
        self,
        guards: Mapping[str, Guard],
        documents: Library,
        store: Store,
        clock: Callable[[], float],
        *,
        default: Decision = CONFIRM,
        unmatched: Decision = BLOCK,
        in_list: InList = no_lists,
        published: Callable[[Aor], Iterable[bytes]] | None = None,
    ) -> None:
        self._guards = guards
        self._other = Guard(default=default)
        self._documents = documents
        self._stored = StoredDecisions(store)
        self._clock = clock
        self._unmatched = unmatched
        self._in_list = in_list
        self._published = published
        self._compiled: dict[tuple[Aor, tuple[str, ...]], Rules] = {}
        self._ahead: dict[tuple[bytes, tuple[str, ...]], Rules] = {}
        """Large documents that were compiled elsewhere, until they are asked for."""
        self._spheres: dict[Aor, str | None] = {}
        """Of those presentities whose publications are followed."""
        self.used: Callable[[Aor, tuple[str, ...], Rules], None] | None = None
        """Told of rules that were read before and are needed again."""

    # ---- deciding ----

    def decide(self, presentity: Aor, watcher: Aor, package: str) -> Decision:
        """Return what the watcher may have of the presentity; raises StoreError."""
        guard = self._guards.get(package, self._other)
        # Nobody is shown less of themselves than there is.
        if presentity == watcher or watcher in guard.always:
            return ALLOW
        rules = self.rules(presentity, package)
        if rules is None:
            return self._stored.find(presentity, watcher, package) or guard.default
        circumstances = Circumstances(
            self._clock(),
            self.sphere(presentity) if rules.uses_sphere else None,
            lambda anchor, aor: self._in_list(presentity, anchor, aor),
        )
        # RFC 3323 section 4.1.1.3, RFC 5025 section 3.1.1.2.
        outcome = rules.evaluate(Watcher(watcher, watcher.domain == "anonymous.invalid"), circumstances)
        if not outcome.matched:
            return self._unmatched
        if outcome.handling is not Handling.ALLOW:
            return _DECISIONS[outcome.handling]
        if not guard.filtered or outcome.permissions == Permissions.everything:
            return ALLOW
        return Decision(SubscriptionStatus.ACTIVE, "", FILTERED, outcome.permissions)

    def record(self, presentity: Aor, watcher: Aor, package: str, decision: Decision, now: float) -> list[Write]:
        """Return what table `watchers` is to say of a decision."""
        by_rules = self.rules(presentity, package) is not None
        return [StoredDecisions.record(presentity, watcher, package, decision, now, by_rules=by_rules)]

    def rules(self, presentity: Aor, package: str) -> Rules | None:
        """Return the rules of a presentity, None when it has no document; raises StoreError."""
        guard = self._guards.get(package, self._other)
        usages = guard.usages
        if not usages:
            return None
        key = (presentity, usages)
        rules = self._compiled.get(key)
        if rules is None:
            rules = self._compile(presentity, guard)
            if rules is not None:
                if len(self._compiled) >= KEPT:
                    del self._compiled[next(iter(self._compiled))]
                self._compiled[key] = rules
        elif self.used is not None:
            self.used(*key, rules)
        return rules

    def _compile(self, presentity: Aor, guard: Guard) -> Rules | None:
        bodies = [document.body for auid in guard.usages for document in self._documents.of(presentity, auid)]
        if not bodies:
            return None
        compiled = []
        for body in bodies:
            ahead = self._ahead.get((body, guard.namespaces)) if self._ahead else None
            try:
                compiled.append(compile_rules(body, guard.namespaces) if ahead is None else ahead)
            except SipError:
                # Nobody can say whom it would have let in: it lets in nobody, and is a document all the same.
                continue
        return join_rules(compiled)

    def compile_ahead(self, body: bytes, auid: str) -> Rules | None:
        """Compile a document, in whatever thread, for `adopting`; None when that cannot be done."""
        try:
            return compile_rules(body, self._namespaces_of(auid))
        except SipError:
            return None

    @contextmanager
    def adopting(self, body: bytes, auid: str, rules: Rules | None) -> Iterator[None]:
        """Take what `compile_ahead` returned for what a document says, while that is asked for."""
        if rules is not None:
            self._ahead[body, self._namespaces_of(auid)] = rules
        try:
            yield
        finally:
            self._ahead.clear()

    def _namespaces_of(self, auid: str) -> tuple[str, ...]:
        return next((guard.namespaces for guard in self._guards.values() if auid in guard.usages), (PRES_RULES,))

    # ---- what changes ----

    @property
    def packages(self) -> list[str]:
        """The event packages that have rules documents."""
        return [name for name, guard in self._guards.items() if guard.usages]

    def packages_of(self, auid: str) -> list[str]:
        """Return the event packages that a usage's documents are about."""
        return [name for name, guard in self._guards.items() if auid in guard.usages]

    def forget(self, presentity: Aor) -> None:
        """Read a presentity's documents again: they are others."""
        for usages in {guard.usages for guard in self._guards.values()}:
            self._compiled.pop((presentity, usages), None)

    def forget_all(self) -> None:
        """Read all documents again."""
        self._compiled.clear()

    def sphere(self, presentity: Aor) -> str | None:
        """Return in which sphere a presentity is (RFC 4480 section 3.11), None when it does not say or nobody asks."""
        if presentity in self._spheres:
            return self._spheres[presentity]
        return self._read_sphere(presentity)

    def _read_sphere(self, presentity: Aor) -> str | None:
        return None if self._published is None else sphere_of(self._published(presentity))

    def follow(self, presentity: Aor, *, follows: bool) -> None:
        """Keep the sphere of a presentity, or not any more; `moved` says when it changes."""
        if not follows:
            self._spheres.pop(presentity, None)
        elif presentity not in self._spheres and self._published is not None:
            self._spheres[presentity] = self._read_sphere(presentity)

    def moved(self, presentity: Aor) -> bool:
        """Take note that a presentity's publications are others; return whether it is in another sphere by that."""
        if presentity not in self._spheres:
            return False
        before, now = self._spheres[presentity], self._read_sphere(presentity)
        self._spheres[presentity] = now
        return before != now
