"""Keeps table `xcap` in step with XCAP servers elsewhere: what is fetched, when, and from whom.

Nobody waits for it. A decision that lacks a document is made from what is known; what comes later is a change of the
documents like any other. What is known stays when a server does not answer.
"""

import asyncio
import heapq
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple, Protocol

from presence.errors import StoreError
from presence.http.xcap_client import Answer, Outcome, Place, place_of
from presence.store.base import Store, Write
from presence.tally import Tally
from presence.values import Aor
from presence.xcap.doctypes import auid_of, name_in, number_of
from presence.xcap.documents import Documents, Key, Stored
from presence.xcap.paths import key_of

KNOWN_MOST = 100_000
"""Documents of which is remembered when they were asked for."""

SLICE = 500
"""Documents looked at in one turn when all are asked for again."""

HEED_S = 1.0
"""How often at most a document is asked for because somebody says that it changed."""

BACK_OFF_S, BACK_OFF_MAX_S = 1.0, 60.0
"""How long a server that fails is left alone at first and at most; it doubles each time."""


class Client(Protocol):
    """Who asks."""

    async def get(self, place: Place, etag: str = "") -> Answer:
        """Ask for a document."""


class Job(NamedTuple):
    """A document that may be fetched."""

    owner: Aor
    auid: str


class Course(NamedTuple):
    """What is fetched and how often."""

    applications: frozenset[str]
    filename: str
    period_s: float
    periodical: bool
    connections: int
    waiting: int


class XcapServer:
    """Who is asked, and whether it is worth it at the moment."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.failures = 0
        self.closed_until = 0.0

    def failed(self, now: float) -> None:
        """Leave it alone for a while, longer each time."""
        if now >= self.closed_until:  # what was under way when it failed fails with it
            self.closed_until = now + min(BACK_OFF_MAX_S, BACK_OFF_S * 2.0 ** min(self.failures, 20))
            self.failures += 1

    def answered(self) -> None:
        """Trust it again."""
        self.failures, self.closed_until = 0, 0.0


class _Known:
    """What is remembered of a document."""

    __slots__ = ("ask_at", "checked_at", "failures", "present")

    def __init__(self) -> None:
        self.ask_at = self.checked_at = 0.0
        self.failures = 0
        self.present = False


class Fetcher:
    """Fetches documents in the background, some at once. All methods belong to the loop's thread."""

    def __init__(
        self,
        client: Client,
        roots: Sequence[str],
        course: Course,
        store: Store,
        documents: Documents,
        tally: Tally,
        now: Callable[[], float],
        watched: Callable[[Aor], bool],
    ) -> None:
        self._client, self._course = client, course
        self.servers = [XcapServer(root) for root in roots]
        self._store, self._documents, self._tally = store, documents, tally
        self._now, self._watched = now, watched
        self._known: OrderedDict[Job, _Known] = OrderedDict()
        self._queue: dict[Job, None] = {}
        self._busy: dict[Job, asyncio.Task[None]] = {}
        self._again: set[Job] = set()
        self._retries: list[tuple[float, Job]] = []
        self._round: Iterator[Job] | None = None
        self._round_at = 0.0
        self._closed = False
        tally.fetches.update(dict.fromkeys((*(outcome.value for outcome in Outcome), "left out", "not stored"), 0))
        tally.gauges["xcap_server_up"] = self._up
        tally.gauges["xcap_oldest_seconds"] = lambda: {(): self.oldest_s()}
        tally.gauges["xcap_fetches_waiting"] = lambda: {(): float(len(self._queue) + len(self._busy))}

    # ---- for callers ----

    def want(self, owner: Aor, auid: str, held: bool) -> None:
        """Hear that a document is needed; it is asked for unless that was done a short time ago.

        One that is `held` too: who fetches or is blocked has no subscription, so the round leaves it out.
        """
        if auid in self._course.applications and (self._course.periodical or not held):
            known = self._known.get(job := Job(owner, auid))
            if known is None or self._now() >= known.ask_at:
                self._enqueue(job)

    def refresh(self, doc_uri: str, port: int) -> bool:
        """Fetch the document of a URL or its path again at once (`refreshXcapDoc`); False when it can be none."""
        key = self._key(doc_uri, port)
        if key is None or key.owner is None or key.auid not in self._course.applications:
            return False
        if key.name != name_in(key.auid, self._course.filename):
            return False
        self._fetch_again(Job(key.owner, key.auid))
        return True

    def heed(self, hint: Sequence[Key] | Aor) -> None:
        """Hear that documents, or those of a user, are said to have changed: fetch those that matter here again.

        Anybody may say so, so each is asked for once in a second at most.
        """
        if isinstance(hint, Aor):
            jobs = [Job(hint, auid) for auid in self._course.applications]
        else:
            jobs = [Job(key.owner, key.auid) for key in hint if key.owner is not None]
        now = self._now()
        for job in jobs:
            if job.auid not in self._course.applications or not (job in self._known or self._watched(job.owner)):
                continue
            known = self._remember(job)
            if now >= known.checked_at + HEED_S or job in self._busy:
                self._fetch_again(job)
            elif known.ask_at > known.checked_at + HEED_S:
                self._retry_at(job, known, known.checked_at + HEED_S)

    def tick(self, now: float) -> None:
        """Ask again for what failed, and from time to time for all that somebody watches."""
        while self._retries and self._retries[0][0] <= now:
            _, job = heapq.heappop(self._retries)
            # Whoever asked may be gone; the next who comes asks anew.
            known = self._known.get(job)
            if known is not None and known.ask_at <= now and self._watched(job.owner):
                self._enqueue(job)
        if self._course.periodical and self._round is None and now >= self._round_at:
            self._round_at = now + self._course.period_s
            self._round = self._all()
        if self._round is not None:
            self._go_round(self._round, now)

    async def close(self) -> None:
        """Stop asking."""
        self._closed = True
        tasks = list(self._busy.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def oldest_s(self) -> float:
        """Return how long ago the document was confirmed that was not confirmed for the longest time; 0 for none."""
        checked = [known.checked_at for known in self._known.values() if known.present and known.checked_at]
        return max(0.0, self._now() - min(checked)) if checked else 0.0

    def _up(self) -> dict[tuple[str, ...], float]:
        return {(server.root,): float(server.failures == 0) for server in self.servers}

    def _key(self, doc_uri: str, port: int) -> Key | None:
        path = doc_uri
        if "://" in doc_uri:
            path = "/" + doc_uri.partition("://")[2].partition("/")[2]
        for server in self.servers:
            place = place_of(server.root, "", Aor("", ""), "")
            root = place.path.partition("//users/")[0]
            if port in (0, place.port) and path.startswith(f"{root}/"):
                return key_of(path[len(root) :])
        return None

    # ---- the round ----

    def _all(self) -> Iterator[Job]:
        """Yield every document that was fetched, then those that were not there."""
        last = 0
        while True:
            rows = list(self._store.read("xcap_fetched_after", (last, SLICE)))
            for row_id, username, domain, doc_type, changed_at in rows:
                last = int(str(row_id))
                auid = auid_of(doc_type)
                if auid is None:
                    continue
                job = Job(Aor(str(username), str(domain)), auid)
                known = self._remember(job)
                if not known.present:  # of an earlier start
                    known.present = True
                    known.checked_at = float(changed_at) if isinstance(changed_at, int | float) else 0.0
                yield job
            if len(rows) < SLICE:
                break
        yield from [job for job, known in self._known.items() if not known.present]

    def _go_round(self, jobs: Iterator[Job], now: float) -> None:
        for _ in range(SLICE):
            if len(self._queue) >= self._course.waiting:
                return  # go on when there is room
            try:
                job = next(jobs, None)
            except StoreError:
                job = None
            if job is None:
                self._round = None
                return
            if job.auid in self._course.applications and self._watched(job.owner):
                known = self._known.get(job)
                if known is None or now >= known.ask_at:
                    self._enqueue(job)

    # ---- one document ----

    def _remember(self, job: Job) -> _Known:
        known = self._known.get(job)
        if known is None:
            known = self._known[job] = _Known()
            if len(self._known) > KNOWN_MOST:
                self._known.popitem(last=False)
        else:
            self._known.move_to_end(job)
        return known

    def _fetch_again(self, job: Job) -> None:
        if job in self._busy:  # what is under way may have been read before the change
            self._again.add(job)
        else:
            self._enqueue(job)

    def _enqueue(self, job: Job) -> None:
        if job in self._queue or job in self._busy or self._closed:
            return
        if len(self._queue) >= self._course.waiting:
            self._tally.fetches["left out"] += 1
            self._remember(job)  # its turn comes with the next round
            return
        self._queue[job] = None
        self._begin()

    def _begin(self) -> None:
        while self._queue and len(self._busy) < self._course.connections and not self._closed:
            job = next(iter(self._queue))
            del self._queue[job]
            task = self._busy[job] = asyncio.get_running_loop().create_task(self._run(job))
            task.add_done_callback(partial(self._done, job))

    def _done(self, job: Job, task: asyncio.Task[None]) -> None:
        del self._busy[job]
        if not task.cancelled() and (fault := task.exception()) is not None:
            self._retry(job, self._remember(job))
            asyncio.get_running_loop().call_exception_handler({"message": "fetching failed", "exception": fault})
        if job in self._again:
            self._again.discard(job)
            self._enqueue(job)
        self._begin()

    async def _run(self, job: Job) -> None:
        """Ask the servers in turn until one has the document (as OpenSIPS does)."""
        known = self._remember(job)
        try:
            held = next((stored for stored in self._documents.of(*job) if stored.source == 1), None)
        except StoreError:
            self._retry(job, known)
            return
        unsure = False
        for server in self.servers:
            if self._now() < server.closed_until:
                unsure = True
                continue
            place = place_of(server.root, job.auid, job.owner, self._course.filename)
            same = held is not None and (held.doc_uri, held.port) == (place.path, place.port)
            answer = await self._client.get(place, held.etag if same and held is not None else "")
            self._tally.fetches[answer.outcome.value] += 1
            if answer.outcome is Outcome.UNREACHABLE:
                server.failed(self._now())
            else:
                server.answered()
            if answer.outcome is Outcome.FOUND or (answer.outcome is Outcome.UNCHANGED and same):
                await self._keep(job, known, held, place, answer)
                return
            unsure = unsure or answer.outcome is not Outcome.ABSENT
        if unsure:
            self._retry(job, known)
        else:
            await self._drop(job, known, held)

    def _retry(self, job: Job, known: _Known) -> None:
        """Leave what is known as it is, and ask again later."""
        now = self._now()
        wait_s = min(self._course.period_s, BACK_OFF_MAX_S, BACK_OFF_S * 2.0 ** min(known.failures, 20))
        known.failures += 1
        opens_at = max((server.closed_until for server in self.servers), default=now)
        self._retry_at(job, known, max(now + wait_s, min(opens_at, now + BACK_OFF_MAX_S)))

    def _retry_at(self, job: Job, known: _Known, at: float) -> None:
        known.ask_at = at
        if len(self._retries) < self._course.waiting:
            heapq.heappush(self._retries, (at, job))

    async def _keep(self, job: Job, known: _Known, held: Stored | None, place: Place, answer: Answer) -> None:
        new = answer.outcome is Outcome.FOUND
        if held is not None and new:
            was = (held.body, held.etag, held.doc_uri, held.port)
            new = was != (answer.body, answer.etag, place.path, place.port)
        if new:
            owner = (*job.owner, number_of(job.auid))
            row = (*owner, place.path, place.port, answer.body, answer.etag, answer.content_type or None)
            writes: list[Write] = [("xcap_fetched_put", row), ("xcap_fetched_delete", (*owner, place.path))]
            if not await self._write(writes):
                self._retry(job, known)
                return
        self._confirm(known, present=True)

    async def _drop(self, job: Job, known: _Known, held: Stored | None) -> None:
        if held is not None:
            deletion: Write = ("xcap_fetched_delete", (*job.owner, number_of(job.auid), ""))
            if not await self._write([deletion]):
                self._retry(job, known)
                return
        self._confirm(known, present=False)

    def _confirm(self, known: _Known, *, present: bool) -> None:
        now = self._now()
        known.failures, known.present, known.checked_at = 0, present, now
        # A round that begins when the period is over must find it due.
        known.ask_at = now + 0.9 * self._course.period_s

    async def _write(self, writes: list[Write]) -> bool:
        """Change the table; return whether it took the change."""
        settled: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

        def done(error: Exception | None) -> None:
            if not settled.done():
                settled.set_result(error is None)

        self._documents.submit(writes, done)
        stored = await settled
        self._tally.fetches["not stored"] += not stored
        return stored
