"""Publishers and watchers that remember what was acknowledged to them, and check what they are told."""

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from time import monotonic

from paths import Paths
from wire import Heard, answer, notes, parameter, pidf, request, unique

RESEND_S = 0.5
EXPIRES = "Expires: 3600\r\n"


@dataclass
class World:
    """What all actors share."""

    random: Random
    going_on: bool = True
    """Whether an answered actor asks for the next thing."""
    asked: int = 0
    acknowledged: int = 0
    calls: dict[str, "Publisher | Watching"] = field(default_factory=dict)
    """Whose a Call-ID is, for good."""
    floor: dict[str, int] = field(default_factory=dict)
    """The highest version of each tuple that any watcher was told: it must outlive a crash."""
    gone: set[str] = field(default_factory=set)
    """Tuples that a watcher was told of and then no more."""
    wrong: list[str] = field(default_factory=list)


class Actor:
    """Asks for one thing at a time and resends what is not answered (RFC 3261 section 17.1.2.2)."""

    def __init__(self, world: World, paths: Paths, path: int) -> None:
        self.world = world
        self.paths = paths
        self.path = path
        self.cseq = 0
        self.call_id = ""
        self.pending = ""
        """What was asked for and is not answered yet."""
        self._message = b""
        self._sent_at = 0.0
        self._then: Callable[[Heard], None] = self.answered

    @property
    def via(self) -> str:
        return f"{self.paths.transport(self.path)} 127.0.0.1:{self.paths.port(self.path)}"

    def ask(self, what: str, message: bytes, then: Callable[[Heard], None] | None = None) -> None:
        self.pending, self._message, self._sent_at = what, message, monotonic()
        self._then = then or self.answered
        self.world.asked += 1
        self.paths.send(self.path, message)

    def resend(self) -> None:
        if self.pending and monotonic() - self._sent_at > RESEND_S:
            self._sent_at = monotonic()
            if self.paths.transport(self.path) == "UDP":
                self.paths.send(self.path, self._message)

    def abandon(self) -> None:
        """Wait no more for an answer that died with the server; what was asked for stays in `pending`."""
        self._sent_at = float("inf")
        self.cseq += 1

    def heard_response(self, heard: Heard) -> None:
        if not self.pending or heard.cseq != self.cseq:
            return
        self._then(heard)
        if not self.pending and self.world.going_on:
            self.go_on()

    def answered(self, heard: Heard) -> None:
        raise NotImplementedError

    def go_on(self) -> None:
        raise NotImplementedError


class Publisher(Actor):
    """Keeps one publication: a tuple of its own whose note is a version that only grows."""

    def __init__(self, world: World, paths: Paths, path: int, user: str) -> None:
        super().__init__(world, paths, path)
        self.user = user
        self.call_id = unique("publisher")
        world.calls[self.call_id] = self
        self.name = ""
        self.version = 0
        """What was acknowledged last."""
        self.asked_version = 0
        self.etag = ""
        self.old_etag = ""

    def go_on(self) -> None:
        if not self.etag:
            self.name, self.version, self.asked_version = unique("tuple"), 0, 1
            self._publish("initial", body=True)
            return
        what = self.world.random.choices(("modify", "refresh", "remove"), (6, 2, 1))[0]
        self.asked_version = self.version + (what == "modify")
        self._publish(what, etag=self.etag, body=what == "modify")

    def _publish(
        self, what: str, *, etag: str = "", body: bool = False, then: Callable[[Heard], None] | None = None
    ) -> None:
        self.cseq += 1
        headers = "Event: presence\r\n" + ("Expires: 0\r\n" if what == "remove" else EXPIRES)
        headers += f"SIP-If-Match: {etag}\r\n" if etag else ""
        headers += "Content-Type: application/pidf+xml\r\n" if body else ""
        document = pidf(self.user, (self.name, "open", str(self.asked_version))) if body else b""
        message = request(
            "PUBLISH",
            f"sip:{self.user}@example.com",
            via=self.via,
            to=self.user,
            sender=self.user,
            call_id=self.call_id,
            cseq=self.cseq,
            headers=headers,
            body=document,
        )
        self.ask(what, message, then)

    def answered(self, heard: Heard) -> None:
        what, self.pending = self.pending, ""
        if heard.status != 200:
            self.world.wrong.append(f"{what} was answered {heard.start}")
            return
        self.world.acknowledged += 1
        self.version = self.asked_version
        self.old_etag, self.etag = self.etag, heard["SIP-ETag"]
        if what == "remove":
            self.forget()

    def forget(self) -> None:
        self.name = self.etag = self.old_etag = ""
        self.version = 0

    # ---- after a crash ----

    def allowed(self) -> set[int]:
        """The versions the document may have of the tuple, 0 for none."""
        if not self.name or self.name in self.world.gone:
            return {0}
        allowed = {self.version}
        if self.pending in ("initial", "modify"):
            allowed.add(self.asked_version)
        # What a watcher was told must not be taken back.
        allowed = {version for version in allowed if version >= self.world.floor.get(self.name, 0)}
        return allowed | {0} if self.pending == "remove" else allowed

    def settle(self, found: int, orphans: dict[str, int]) -> None:
        """Find out whether the entity-tag still is what the document says it is, and go on from there."""
        what, self.pending = self.pending, ""
        lost = bool(self.name) and found > 0 and (what == "initial" or found != self.version)
        if lost:
            # The change was committed and its answer, with the new entity-tag, died with the server.
            orphans[self.name] = found
        if self.etag:
            works = {200, 412} if what == "refresh" else {200} if found and not lost else {412}
            self._publish("check", etag=self.etag, then=lambda heard: self._checked(heard, works, found, orphans))
        else:
            self.forget()

    def _checked(self, heard: Heard, works: set[int], found: int, orphans: dict[str, int]) -> None:
        self.pending = ""
        if heard.status not in works:
            self.world.wrong.append(f"version {found} of {self.name}: {heard.start} instead of {works}")
        if heard.status != 200:
            if found:
                orphans[self.name] = found
            self.forget()
            return
        self.old_etag, self.etag = self.etag, heard["SIP-ETag"]
        self._publish("check old", etag=self.old_etag, then=self._checked_old)

    def _checked_old(self, heard: Heard) -> None:
        self.pending = ""
        if heard.status != 412:
            self.world.wrong.append(f"a replaced entity-tag of {self.name}: {heard.start}")


class Watching(Actor):
    """Subscribes, refreshes and ends, and answers its NOTIFYs."""

    def __init__(self, world: World, paths: Paths, path: int, user: str) -> None:
        super().__init__(world, paths, path)
        self.user = user
        self.subscribed = False
        self.told: dict[str, int] | None = None
        """The last document, None when there was none since the last start of the server."""
        self.ended: set[str] = set()
        """Call-IDs of subscriptions whose end was acknowledged before the last start of the server."""
        self._ended_now: set[str] = set()
        self._new_dialog()

    def _new_dialog(self) -> None:
        self.subscribed = False
        self.call_id = unique("watching")
        self.world.calls[self.call_id] = self
        self.cseq = self.highest = 0
        self._tag = unique("from")
        self._to_tag = ""
        self._uri = f"sip:{self.user}@example.com"
        self._seen: dict[str, int] = {}
        self._gone: set[str] = set()
        self._branches: set[str] = set()

    def go_on(self) -> None:
        if self.subscribed:
            self.subscribe(self.world.random.choices(("refresh", "end"), (3, 1))[0])
        else:
            self._new_dialog()
            self.subscribe("begin")

    def fetch(self) -> None:
        """Ask once (RFC 6665 section 4.4.3)."""
        self._new_dialog()
        self.subscribe("fetch")

    def subscribe(self, what: str, then: Callable[[Heard], None] | None = None) -> None:
        self.cseq += 1
        transport, port = self.paths.transport(self.path).lower(), self.paths.port(self.path)
        headers = f"Event: presence\r\nContact: <sip:bob@127.0.0.1:{port};transport={transport}>\r\n"
        message = request(
            "SUBSCRIBE",
            self._uri,
            via=self.via,
            to=self.user,
            to_tag=self._to_tag,
            tag=self._tag,
            call_id=self.call_id,
            cseq=self.cseq,
            headers=headers + ("Expires: 0\r\n" if what in ("end", "fetch") else EXPIRES),
        )
        self.ask(what, message, then)

    def answered(self, heard: Heard) -> None:
        what, self.pending = self.pending, ""
        if heard.status != 200:
            self.world.wrong.append(f"{what} was answered {heard.start}")
            return
        self.world.acknowledged += what != "fetch"
        self._to_tag = parameter(heard["To"], "tag")
        self._uri = heard["Contact"].strip("<>")
        self.subscribed = what in ("begin", "refresh")
        if what == "end":
            self._ended_now.add(self.call_id)

    def heard_notify(self, heard: Heard, reply: Callable[[bytes], None]) -> None:
        call_id = heard["Call-ID"].partition("@")[0]
        if call_id != self.call_id:
            active = heard["Subscription-State"].startswith("active")
            if active and call_id in self.ended:
                self.world.wrong.append("an ended subscription came back")
            reply(answer(heard, "200 OK" if call_id in self._ended_now else "481 Subscription Does Not Exist"))
            return
        reply(answer(heard))
        if heard.branch in self._branches:
            return
        self._branches.add(heard.branch)
        if heard.cseq <= self.highest:
            self.world.wrong.append(f"CSeq {heard.cseq} after {self.highest}")
        self.highest = heard.cseq
        self._learn(notes(heard.body))

    def _learn(self, told: dict[str, str]) -> None:
        """No later NOTIFY of a dialog tells an earlier state."""
        self.told = {name: int(version) for name, version in told.items()}
        for name in self._seen.keys() - self.told.keys():
            self._gone.add(name)
            self.world.gone.add(name)
        for name, version in self.told.items():
            if name in self._gone or version < self._seen.get(name, 0):
                self.world.wrong.append(f"{name} went back to {version} from {self._seen.get(name)}")
            self.world.floor[name] = max(version, self.world.floor.get(name, 0))
        self._seen = self.told

    # ---- after a crash ----

    def crashed(self) -> None:
        """Forget what the server cannot know any more."""
        self.ended |= self._ended_now
        self._ended_now = set()
        self.told = None
        if self.pending == "begin":
            self.pending = ""
            self._new_dialog()

    def settle(self) -> None:
        """Find out whether the subscription stands, as it must unless its end was under way."""
        if self.subscribed:
            works = {481, 200} if self.pending == "end" else {200}
            self.subscribe("check", lambda heard: self._checked(heard, works))
        else:
            self.pending = ""

    def _checked(self, heard: Heard, works: set[int]) -> None:
        self.pending = ""
        if heard.status not in works:
            self.world.wrong.append(f"a subscription acknowledged before the crash: {heard.start}")
        if (heard.status == 200) != (self.told is not None):
            self.world.wrong.append(f"told {self.told} after the crash and answered {heard.start}")
        self.subscribed = heard.status == 200
