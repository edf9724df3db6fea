"""Who takes part in a history: publishers with what was acknowledged to them, watchers with what they saw."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field

import sip
from lxml import etree
from net import Agent, Publication, Subscription

from presence._fastcore import Message

WATCHERINFO = "{urn:ietf:params:xml:ns:watcherinfo}"


def texts(notify: Message) -> set[str]:
    """The publications a document shows, each as `name:number`."""
    if notify.event == "message-summary":
        found = re.findall(rb"Message-Account: sip:(\w+)@example.com\r\nVoice-Message: (\d+)/0\r\n", notify.body)
        return {f"{name.decode()}:{number.decode()}" for name, number in found}
    return set(re.findall(r"<note>(\w+:\d+)</note>", notify.body.decode()))


def write(event: str, text: str) -> str:
    """Write the document that shows `name:number`."""
    name, _, number = text.partition(":")
    if event == "message-summary":
        return f"Messages-Waiting: yes\r\nMessage-Account: sip:{name}@example.com\r\nVoice-Message: {number}/0\r\n"
    return sip.pidf(text, tuple_id=name)


@dataclass
class Device:
    """A publisher: it publishes `<name>:<number>` and remembers what was acknowledged.

    Each publication begun has a name of its own, so that one of which the device lost track (what it asked for when
    the server crashed may be done or not, or twice) is told from the next.
    """

    publication: Publication
    kind: str
    number: int = 0
    begun: int = 0
    name: str = ""
    stands: str = ""
    """What the server has of it, as far as the device was told."""
    until: tuple[float, float] = (0.0, 0.0)
    """When it ends: not before the first, not after the second."""
    asked: tuple[str, int, float] | None = None
    doubtful: bool = False
    """Whether the server crashed since it asked."""
    strays: dict[str, float] = field(default_factory=dict)
    """Names of publications it lost track of, and when the last of each has ended."""

    @property
    def event(self) -> str:
        return self.publication.event

    def ready(self) -> bool:
        return self.publication.agent.idle and self.asked is None

    def publish(self, expires: int) -> None:
        if not self.publication.etag:
            self.begun += 1
            self.name = f"{self.kind}{self.begun}"
        self.number += 1
        text = f"{self.name}:{self.number}"
        self._ask(text, expires, write(self.event, text))

    def refresh(self, expires: int) -> None:
        self._ask(self.stands, expires, "")

    def remove(self) -> None:
        self._ask("", 0, "")

    def _ask(self, text: str, expires: int, body: str) -> None:
        self.asked = (text, expires, self.publication.agent.net.clock.at)
        self.publication.send(body=body, expires=expires)

    def settle(self) -> None:
        """Take in what was answered, or that nothing was."""
        if self.asked is None or not self.publication.agent.idle:
            return
        text, expires, asked_at = self.asked
        response, self.publication.response, self.asked = self.publication.response, None, None
        now = self.publication.agent.net.clock.at
        if self.doubtful or response is None:
            assert self.doubtful, "a request over UDP was never answered"
            self.strays[self.name] = max(now + expires, self.until[1])
            self.doubtful = False
            self._forget()
        elif response.status == 200:
            self.stands, self.until = text, (asked_at + expires, self.publication.answered_at + expires)
            if not text:
                self._forget()
        elif response.status == 412:
            # What was acknowledged and has not run out is there.
            assert now >= self.until[0] - 1, f"{self.stands} is lost"
            self._forget()
        else:
            assert response.status == 503, response.reason

    def _forget(self) -> None:
        self.stands, self.publication.etag = "", ""
        self.until = (0.0, 0.0)


@dataclass
class WatcherInfo:
    """The table of a winfo subscriber (RFC 3858 section 4), from the NOTIFYs of one subscription in their order."""

    watchers: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Id to status and URI."""
    version: int = -1

    @classmethod
    def of(cls, watch: Subscription, *, may_miss: bool) -> WatcherInfo:
        info = cls()
        # What was not answered comes again.
        unique = {notify.branch: notify for notify in watch.notifies}
        for notify in sorted(unique.values(), key=lambda notify: notify.cseq):
            if notify.body:
                info.take(notify, may_miss=may_miss)
        return info

    def take(self, notify: Message, *, may_miss: bool) -> None:
        root = etree.fromstring(notify.body)
        version = int(root.get("version"))
        full = root.get("state") == "full"
        # Who missed that it ran out asked for another subscription in the same dialog, which counts anew.
        assert version > self.version or (may_miss and full), f"version {version} after {self.version}"
        if full:
            self.watchers.clear()
        else:
            assert may_miss or version == self.version + 1, f"partial version {version} after {self.version}"
        self.version = version
        for watcher in root.iter(f"{WATCHERINFO}watcher"):
            if watcher.get("status") == "terminated":
                self.watchers.pop(watcher.get("id"), None)
            else:
                self.watchers[watcher.get("id")] = (watcher.get("status"), watcher.text)

    def running(self) -> Counter[tuple[str, str]]:
        """How many active and pending subscriptions each watcher has."""
        return Counter(watcher for watcher in self.watchers.values() if watcher[0] in ("active", "pending"))


def check_order(agent: Agent, strays: set[str], *, withdrawn: bool = False) -> None:
    """What holds of the NOTIFYs of every subscription, in the order they were sent.

    No CSeq is used for two of them in a dialog, a higher one never carries an older state, and none follows the one
    that says it is over: but where rules changed before its answer, it may be `withdrawn` for one without a document.
    """
    least: dict[tuple[str, ...], int] = {}
    before: dict[tuple[str, ...], set[str]] = {}
    used: set[tuple[str, str, int]] = set()
    over: set[tuple[str, ...]] = set()
    for notify in sorted(agent.notifies, key=lambda notify: notify.cseq):
        number = (notify.call_id, notify.from_tag, notify.cseq)
        assert number not in used, f"CSeq {notify.cseq} twice"
        used.add(number)
        usage = (notify.call_id, notify.from_tag, notify.event, notify.event_id)
        state = notify.header("Subscription-State") or ""
        ends = state.startswith("terminated")
        assert usage not in over or (withdrawn and ends and not notify.body), f"NOTIFY {notify.cseq} after the end"
        if ends:
            over.add(usage)
        if state.startswith("pending"):
            # Nobody has let it see anything; what it saw before may come back.
            assert not texts(notify), "a pending watcher sees something"
            continue
        shown = {text for text in texts(notify) if text.partition(":")[0] not in strays}
        for text in before.get(usage, set()) - shown:
            # What went does not come back.
            name, _, count = text.partition(":")
            least[(*usage, name)] = int(count) + 1
        for text in shown:
            name, _, count = text.partition(":")
            assert int(count) >= least.get((*usage, name), 0), f"{text} came back"
        before[usage] = shown
