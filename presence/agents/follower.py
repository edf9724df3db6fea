"""Follows documents at another XCAP server by subscriptions to xcap-diff (RFC 5875), without I/O.

An agent that outlives its connections: `follow` says whose documents matter, `opened` and `closed` that there is a flow
to the notifier and none any more, `take_events` what is to be fetched again. What is missed in between comes out when a
subscription stands again, for its first NOTIFY tells the entity-tags of everything there is.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from random import Random
from typing import Final, NamedTuple

from presence._fastcore import Message, build_response, parse
from presence.agents.usage import State
from presence.agents.watcher import Ended, Notified, Watcher, WatcherEvent
from presence.document import uri_list
from presence.document.xcapdiff import CONTENT_TYPE, read_notice
from presence.errors import BadRequest, UnknownSubscription
from presence.sip.build import SentBy, make_token
from presence.sip.challenge import Answerer
from presence.values import Aor
from presence.xcap.doctypes import canonical_name
from presence.xcap.documents import Key
from presence.xcap.paths import key_of
from presence.xcap.uri import escape_segment

MAX_URIS: Final = 200
"""In one subscription."""
MAX_LIST_BYTES: Final = 16_000
"""Of its list."""
MAX_DATAGRAM_LIST_BYTES: Final = 280
"""The same over UDP, where a request with proof must stay below 1300 bytes (RFC 3261 section 18.1.1)."""
MAX_SUBSCRIPTIONS: Final = 64
"""What is beyond is asked for by period alone."""

ADDED_AT_ONCE: Final = 200
"""Presentities whose documents are named in one turn, so that nobody waits for it."""

EXPIRES_S: Final = 600
"""A notifier that lost a subscription without a word is found out at the refresh."""

CONNECT_S, CONNECT_MAX_S = 1.0, 60.0
"""Wait before another connection, at first and at most; it doubles."""
RETRY_S, RETRY_MAX_S = 10.0, 600.0
"""The same before another subscription."""
REFUSED_S: Final = 3600.0
"""Before one that the notifier rejected for good (RFC 6665 section 4.1.3): it takes a person to change that."""

_ENTRY_BYTES: Final = len('<entry uri=""/>')


class Terms(NamedTuple):
    """Where and as whom to subscribe, and to which documents of a presentity."""

    uri: str
    watcher: str
    user: str
    password: str
    applications: tuple[str, ...]
    filename: str
    datagrams: bool = False
    """Whether it goes over UDP."""


class Changed(NamedTuple):
    """Documents that are others than those held."""

    keys: Sequence[Key]


class Lost(NamedTuple):
    """A subscription failed or was refused, and is tried again."""

    reason: str
    wait_s: float
    again: bool
    """Whether it is not the first time in a row."""
    silent: bool
    """Whether nobody answered, so that the connection is worth nothing."""


Event = Changed | Lost


class _Group:
    """What one subscription names."""

    def __init__(self) -> None:
        self.uris: dict[Key, str] = {}
        self.size = 0
        self.unconfirmed: set[Key] = set()
        """Documents of which the present subscription has not told whether they are there."""
        self.watcher: Watcher | None = None
        self.failures = 0
        self.retry_at: float | None = None

    @property
    def content(self) -> tuple[str, bytes]:
        return uri_list.CONTENT_TYPE, uri_list.write_uri_list(self.uris.values())


class Follower:
    """Keeps subscriptions that together name the documents of those who are watched."""

    def __init__(self, terms: Terms, random: Random, held: Callable[[Key], str | None]) -> None:
        """`held` returns the entity-tag of the document that was fetched, None when there is none."""
        self._terms, self._random, self._held = terms, random, held
        self._most = MAX_DATAGRAM_LIST_BYTES if terms.datagrams else MAX_LIST_BYTES
        self._local: SentBy | None = None
        self._groups: list[_Group] = []
        self._named: dict[Aor, list[Key]] = {}
        self._where: dict[Key, _Group] = {}
        self._leaving: list[Watcher] = []
        self._outgoing: list[bytes] = []
        self._events: list[Event] = []
        self._connect_at = 0.0
        self.losses = 0
        """How often a flow was lost, or not had, since the last NOTIFY."""
        self._tag = make_token(random)

    # ---- who is watched ----

    def follow(self, owners: Iterable[Aor], now: float) -> bool:
        """Name the documents of these presentities, and no others, from now on; of too many the first.

        Return whether it has to be called again for the rest.
        """
        wanted = dict.fromkeys(owners)
        touched: dict[_Group, None] = {}
        for owner in self._named.keys() - wanted.keys():
            touched.update((self._remove(key), None) for key in self._named.pop(owner))
        added = 0
        for owner in wanted:
            if owner in self._named:
                continue
            if added == ADDED_AT_ONCE or not self._add(owner, touched):
                break
            added += 1
        for group in touched:
            self._ask(group, now)
        self._settle(now)
        return added == ADDED_AT_ONCE

    def counts(self) -> dict[str, int]:
        """Return how many subscriptions are in each state."""
        counts = dict.fromkeys((state.value for state in (*_SHOWN, State.TERMINATED)), 0)
        for group in self._groups:
            state = State.TERMINATED if group.watcher is None else group.watcher.state
            counts[state.value if state in _SHOWN else State.TERMINATED.value] += 1
        return counts

    def leave(self, now: float) -> None:
        """End every subscription, and make none until `follow` names somebody."""
        self.follow((), now)

    # ---- the flow ----

    def wants_flow(self, now: float) -> bool:
        """Whether it is time to connect."""
        return self._local is None and bool(self._groups) and now >= self._connect_at

    def opened(self, local: SentBy, now: float) -> None:
        """Subscribe, for there is a flow."""
        self._local = local
        for group in self._groups:
            self._subscribe(group, now)

    def closed(self, now: float) -> None:
        """Give up what is on a flow that is none any more, or never was one; ask for another later."""
        self._local = None
        self._leaving.clear()
        self._outgoing.clear()
        for group in self._groups:
            group.watcher, group.retry_at = None, None
            group.unconfirmed.update(group.uris)
        self._connect_at = now + min(CONNECT_MAX_S, CONNECT_S * 2.0 ** min(self.losses, 20))
        self.losses += 1

    def receive(self, data: bytes, now: float) -> None:
        """Take one message from the notifier."""
        message = parse(data)
        watcher = next((watcher for watcher in self._watchers() if watcher.call_id == message.call_id), None)
        if watcher is not None:
            watcher.receive(data, now)
            self._settle(now)
        elif message.is_request and message.answerable and message.method != "ACK":
            self._outgoing.append(self._refuse(message))

    def handle_timer(self, now: float) -> None:
        """Let time pass."""
        for watcher in self._watchers():
            watcher.handle_timer(now)
        for group in self._groups:
            if group.retry_at is not None and group.retry_at <= now:
                self._subscribe(group, now)
        self._settle(now)

    def handle_transport_error(self, now: float) -> None:
        """Learn that nothing reaches the notifier."""
        for watcher in self._watchers():
            watcher.handle_transport_error(now)
        self._settle(now)

    def next_deadline(self) -> float | None:
        """Return when `handle_timer` wants to be called."""
        deadlines = [watcher.next_deadline() for watcher in self._watchers()]
        deadlines += [group.retry_at for group in self._groups]
        return min((at for at in deadlines if at is not None), default=None)

    def take_outgoing(self) -> list[bytes]:
        """Return the messages to be sent now."""
        outgoing, self._outgoing = self._outgoing, []
        for watcher in self._watchers():
            outgoing += watcher.take_outgoing()
        return outgoing

    def take_events(self) -> list[Event]:
        """Return what has happened since last asked."""
        events, self._events = self._events, []
        return events

    # ---- documents ----

    def _add(self, owner: Aor, touched: dict[_Group, None]) -> bool:
        """Name the documents of a presentity, and note where; return False when there is no room."""
        keys = self._named[owner] = []
        for auid in self._terms.applications:
            # Relative to the XCAP root (RFC 5875 section 4.4), whatever the notifier calls that.
            uri = "/".join(map(escape_segment, (auid, "users", owner.uri, self._terms.filename)))
            size = len(uri) + _ENTRY_BYTES
            if size > self._most:
                continue
            group = self._find_room(size)
            if group is None:
                if not keys:
                    del self._named[owner]
                return False
            key = Key(auid, owner, canonical_name(auid, self._terms.filename))
            keys.append(key)
            group.uris[key], self._where[key] = uri, group
            group.size += size
            group.unconfirmed.add(key)
            touched[group] = None
        return True

    def _find_room(self, size: int) -> _Group | None:
        """Return a subscription that has room, perhaps a new one; None when there is no room at all."""
        for group in self._groups:
            if len(group.uris) < MAX_URIS and group.size + size <= self._most:
                return group
        if len(self._groups) >= MAX_SUBSCRIPTIONS:
            return None
        self._groups.append(_Group())
        return self._groups[-1]

    def _remove(self, key: Key) -> _Group:
        group = self._where.pop(key)
        group.size -= len(group.uris.pop(key)) + _ENTRY_BYTES
        group.unconfirmed.discard(key)
        return group

    def _ask(self, group: _Group, now: float) -> None:
        """Have the notifier know what a group names by now."""
        watcher = group.watcher
        if not group.uris:
            self._groups.remove(group)
            if watcher is not None:
                self._leaving.append(watcher)
                watcher.unsubscribe(now)
        elif watcher is not None:
            watcher.ask_for(group.content, now)
        elif group.retry_at is None:
            self._subscribe(group, now)

    # ---- subscriptions ----

    def _watchers(self) -> Iterator[Watcher]:
        yield from [group.watcher for group in self._groups if group.watcher is not None]
        yield from self._leaving

    def _subscribe(self, group: _Group, now: float) -> None:
        group.retry_at = None
        if self._local is None:
            return
        terms = self._terms
        group.unconfirmed.update(group.uris)
        group.watcher = Watcher(
            terms.uri,
            "xcap-diff",
            CONTENT_TYPE,
            self._local,
            self._random,
            watcher=terms.watcher,
            expires_s=EXPIRES_S,
            answerer=Answerer(terms.user, terms.password, self._random),
            parameters=";diff-processing=no-patching",
            content=group.content,
        )
        group.watcher.subscribe(now)

    def _settle(self, now: float) -> None:
        for group in self._groups:
            for event in group.watcher.take_events() if group.watcher is not None else ():
                self._heard(group, event, now)
        for watcher in self._leaving[:]:
            if any(isinstance(event, Ended) for event in watcher.take_events()):
                self._leaving.remove(watcher)
                self._outgoing += watcher.take_outgoing()

    def _heard(self, group: _Group, event: WatcherEvent, now: float) -> None:
        if isinstance(event, Notified):
            self.losses = 0
            if event.subscription.state != "terminated":
                group.failures = 0
            changed = self._compare(group, event)
            if changed:
                self._events.append(Changed(changed))
        elif isinstance(event, Ended):
            # What changes from here on is told by the next subscription.
            group.unconfirmed.update(group.uris)
            answer = event.answer
            silent = answer is not None and answer.response is None
            wait_s = self._wait_s(group, event) if event.retry_s is None else float(event.retry_s)
            self._events.append(Lost(event.reason, wait_s, group.failures > 0, silent))
            group.failures += 1
            if event.retry_s is None and group.watcher is not None:
                # The answer to the NOTIFY that ended it is still with it.
                self._outgoing += group.watcher.take_outgoing()
                group.watcher, group.retry_at = None, now + wait_s

    def _wait_s(self, group: _Group, ended: Ended) -> float:
        wait_s = min(RETRY_MAX_S, RETRY_S * 2.0 ** min(group.failures, 20))
        if ended.answer is not None:
            return max(wait_s, ended.answer.seconds("Retry-After") or 0)
        return REFUSED_S if ended.reason in _FOR_GOOD else wait_s

    def _compare(self, group: _Group, notified: Notified) -> list[Key]:
        """Return what a NOTIFY tells of that is not what we hold, also by not telling of it when it should."""
        etags: dict[Key, str | None] = {}
        if notified.content_type.partition(";")[0].strip().lower() == CONTENT_TYPE:
            try:
                notice = read_notice(notified.body)
            except BadRequest:
                return []
            for sel, etag in notice.etags.items():
                key = key_of(sel)
                if key is not None and key in group.uris:
                    etags[key] = None if etag is None else etag.strip('"')
        if notified.subscription.state == "active":
            # Section 4.7: what is not in the first NOTIFY does not exist, or is not for us.
            etags.update((key, None) for key in sorted(group.unconfirmed - etags.keys()))
            group.unconfirmed.clear()
        return [key for key, etag in etags.items() if self._held(key) != etag]

    def _refuse(self, request: Message) -> bytes:
        # RFC 6665 section 4.1.3; other requests have no place here either.
        gone = UnknownSubscription()
        return build_response(request, gone.status, gone.reason.encode(), self._tag.encode(), b"")


_SHOWN: Final = (State.NOTIFY_WAIT, State.PENDING, State.ACTIVE)
_FOR_GOOD: Final = ("rejected", "noresource", "invariant")
