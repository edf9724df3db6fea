"""The whole server, dry: nothing that comes is an error of ours, and all of it ends.

Datagrams are parted by two zero bytes; the words TAG and CONTACT in one become the To-tag and the Contact of the last
dialog the server made, ETAG the last entity-tag, so that what is in a dialog can be found by mutation. CALL is another
Call-ID in each input and BRANCH another branch in each datagram.
"""

from collections.abc import Iterable

import sip
from net import Agent, Network

from presence._fastcore import Message, parse

PART = b"\0\0"
AGAIN = 300
"""Inputs one server takes, then it must be empty."""
SETTINGS = ("presence.max_expires_publish=60", "presence.max_expires_subscribe=60")


class Lenient(Agent):
    """Knows that the answer to a malformed request repeats what was malformed."""

    def take(self, data: bytes) -> None:
        if parse(data).status not in (400, 505):
            super().take(data)


class Attacker:
    """Sends anything from one address, and remembers what it was told."""

    def __init__(self) -> None:
        self.net = Network(*SETTINGS, seed=1)
        self.agent = Lenient(self.net, "bob", "127.0.0.1", 5070, "UDP")
        self.net.agents[self.agent.address] = self.agent
        self.count = 0
        self.known = {b"TAG": b"x", b"CONTACT": b"sip:x@127.0.0.1", b"ETAG": b"x"}

    def send(self, data: bytes) -> None:
        self.count += 1
        self.known[b"BRANCH"] = b"%d" % self.count
        for word, value in self.known.items():
            data = data.replace(word, value)
        self.net.post_to_node(self.agent, data)
        self.net.settle()
        for _, message in self.agent.arrivals:
            self.learn(message)
        self.agent.arrivals.clear()
        self.agent._answered.clear()
        assert self.net.tally.drops["internal error"] == 0

    def learn(self, message: Message) -> None:
        values = {b"TAG": message.to_tag, b"CONTACT": (message.header("Contact") or "").strip("<>")}
        values[b"ETAG"] = message.header("SIP-ETag") or ""
        for word, value in values.items():
            if value and message.status == 200:
                self.known[word] = value.encode("utf-8", "surrogateescape")

    def end(self) -> None:
        """Let everything run out."""
        self.net.advance(200.0, 2.0)
        assert len(self.net.node.table) == 0
        assert self.net.node.pending() == 0
        for table in ("active_watchers", "shared_watchers", "presentity"):
            assert self.net.rows(f"SELECT count(*) FROM {table}") == [(0,)]
        self.net.close()


_attackers: list[Attacker] = []


def run(data: bytes) -> None:
    if not _attackers:
        _attackers.append(Attacker())
    attacker = _attackers[0]
    attacker.known[b"CALL"] = b"call%d" % attacker.count
    for datagram in data.split(PART)[:6]:
        attacker.send(datagram)
    if attacker.count >= AGAIN:
        attacker.end()
        _attackers.clear()


def seeds() -> Iterable[bytes]:
    uri = "sip:alice@example.com"
    presence = ("Event: presence", "Content-Type: application/pidf+xml")
    contact = "Contact: <sip:bob@127.0.0.1:5070>"

    def ask(method: str, *heads: str, cseq: int = 1, tag: str = "", to: str = uri, body: str = "") -> bytes:
        words = {"branch": "z9hG4bKBRANCH", "call_id": "CALL", "cseq": cseq, "to_tag": tag}
        return sip.request(method, to, *heads, body=body, **words)  # type: ignore[arg-type]

    begin = ask("SUBSCRIBE", "Event: presence", contact, "Expires: 600")
    publish = ask("PUBLISH", *presence, "Expires: 60", body=sip.pidf("here"))
    yield begin
    yield publish
    yield PART.join((begin, publish, ask("SUBSCRIBE", "Event: presence", contact, cseq=2, tag="TAG", to="CONTACT")))
    again = ("SIP-If-Match: ETAG",)
    yield PART.join((
        publish,
        ask("PUBLISH", "Event: presence", *again, cseq=2),
        ask("PUBLISH", *presence, *again, cseq=3, body=sip.pidf("away")),
        ask("PUBLISH", "Event: presence", *again, "Expires: 0", cseq=4),
    ))  # fmt: skip
    yield PART.join((
        ask("SUBSCRIBE", "Event: presence.winfo", contact),
        ask("SUBSCRIBE", "Event: presence.winfo;id=2", contact, "Expires: 0", cseq=2, tag="TAG", to="CONTACT"),
    ))  # fmt: skip
    yield ask("SUBSCRIBE", "Event: message-summary", contact, "Accept: application/simple-message-summary")
    summary = "Messages-Waiting: yes\r\nVoice-Message: 2/8 (0/2)\r\n"
    yield ask("PUBLISH", "Event: message-summary", "Content-Type: application/simple-message-summary", body=summary)
    yield ask("REGISTER", contact, "Expires: 60", to="sip:example.com")
    yield ask("OPTIONS", "Require: 100rel")
    yield ask("NOTIFY", "Event: presence", "Subscription-State: active", tag="TAG", to="CONTACT")
    yield ask("CANCEL") + PART + ask("ACK")
