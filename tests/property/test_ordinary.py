"""The batches for ordinary requests against the general path: the same bytes, the same answers, NOTIFYs and rows.

How many NOTIFYs the requests of one tick come to, and what the first of them say, is nobody's promise: compared is what
each watcher was told last, and not what is in it where a fetch and a PUBLISH came together.

Two networks get the same requests in the same ticks. In one an observer wants to hear of every answer, which has
everything take the general path (`Endpoint.hurried`); in the other what is ordinary is done in batches.
"""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pytest
import sip
from dialoginfo import dialog, info, remote
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from net import Agent, Network
from ruling import SHOW_NOTES, SHOW_SERVICES, allow, one, rule, ruleset, write

from presence._fastcore import Message, parse

EXAMPLES = int(os.environ.get("PRESENCE_EXAMPLES", "150"))

DEVICES, DIALOGS = 3, 4

# ---- what is asked ----

URIS = (
    *("sip:alice@example.com",) * 8,
    *("sips:alice@example.com", "SIP:alice@example.com", "sip:alice@EXAMPLE.com", "sip:%61lice@example.com"),
    *("sip:alice@example.com:5060", "sip:alice@example.com;user=phone", "sip:alice:pw@example.com"),
    *("sip:carol@example.com", "sip:carol@example.com", "sip:al%40ice@example.com", "sip:example.com", "sip:alice@"),
    *("pres:alice@example.com", "tel:+123", "sip:alice@[::1]", "sip:alice@other.org", "http://example.com"),
)
PUBLISH_EVENTS = (
    *("Event: presence",) * 8,
    *("o: presence", "Event: presence;x=y", "event : presence", "Event: Presence", "Event: message-summary"),
    *("Event: presence.winfo", "Event: nonsense", ""),
    *("Event: dialog", "Event: dialog", "Event: dialog;sla", "Event: dialog; sla", "Event: dialog;x=y"),
)
SUBSCRIBE_EVENTS = (
    *("Event: presence",) * 8,
    *("o: presence", "Event: presence;id=7", "Event: presence;id=7", "Event: message-summary", "Event: presence.winfo"),
    *("Event: nonsense", "", "Event: presence;a=b;id=8"),
    *("Event: dialog", "Event: dialog", "Event: dialog;sla", "Event: dialog; sla", "Event: dialog;id=7", "o: dialog"),
)
EXPIRES = (
    *("Expires: 600",) * 6,
    *("", "Expires: 0", "Expires: 1", "Expires: 59", "Expires: 60", "Expires: 7200", "Expires: 4294967295"),
    *("Expires: 99999999999999999999", "Expires: x", "expires:  00600 ", "Expires:"),
)
SUMMARY = "Messages-Waiting: yes\r\n"
BODIES = (
    *("",) * 5,
    *(sip.pidf("one"), sip.pidf("two", tuple_id="b"), sip.pidf("three", tuple_id="c")),
    *(SUMMARY, "<presence", "x"),
    *(info(dialog("1", "early")), info(dialog("1"), dialog("2", "trying")), info(dialog("1", "terminated"))),
    *(info(dialog("3"), state="partial"), info(dialog("3", "terminated"), state="partial"), "<dialog-info/>"),
)
TYPES = (
    *("Content-Type: application/pidf+xml",) * 8,
    *(
        "c: application/pidf+xml",
        "Content-Type: application/PIDF+xml",
        "Content-Type: application/pidf+xml;charset=UTF-8",
    ),
    *("Content-Type: text/plain", "Content-Type: application/simple-message-summary", ""),
    *("Content-Type: application/dialog-info+xml", "Content-Type: application/dialog-info+xml"),
    *("Content-Type: application/pidf+xml\r\nContent-Encoding: gzip",),
    *(
        "Content-Type: application/pidf+xml\r\ne: identity",
        "Content-Type: application/pidf+xml\r\nContent-Disposition: x",
    ),
)
IF_MATCHES = (
    *("SIP-If-Match: {etag}",) * 10,
    *("", "", "", "sip-if-match :  {etag}  ", "SIP-If-Match: {old}", "SIP-If-Match: {old}", "SIP-If-Match: {other}"),
    *('SIP-If-Match: "{etag}"', "SIP-If-Match: {etag}0", "SIP-If-Match: x{etag}", "SIP-If-Match: nonsense"),
    *("SIP-If-Match:", "SIP-If-Match: {etag}, {etag}"),
)
CONTACTS = (
    *("Contact: <sip:{name}@127.0.0.1:{port}>",) * 12,
    *("m: <sip:{name}@127.0.0.1:{port}>", "Contact: <sip:{name}@127.0.0.1:{port};transport=udp>"),
    *(
        "Contact: <sip:{name}@127.0.0.1:{port};transport=UDP;ob>",
        "Contact: <sip:{name}@127.0.0.1:{port};transport=tcp>",
    ),
    *(
        "Contact: <sip:{name}@127.0.0.1:{port}>;expires=60;+sip.instance=x",
        'Contact: <sip:{name}@127.0.0.1:{port}>;a="b"',
    ),
    *("Contact: <sip:{name}@127.0.0.1:{port}>;a=<b>", "Contact: <sip:{name}@127.0.0.1:{port}> ; a = b"),
    *('Contact: "Bob" <sip:{name}@127.0.0.1:{port}>', "Contact: Bob <sip:{name}@127.0.0.1:{port}>"),
    *(
        "Contact: sip:{name}@127.0.0.1:{port}",
        "Contact: <sip:{name}@127.0.0.1>",
        "Contact: <sip:{name}@localhost:{port}>",
    ),
    *("Contact: <sip:{name}@watcher.example.com:{port}>", "Contact: <sip:{name}@[::1]:{port}>", "Contact: *", ""),
    *(
        "Contact: <sip:{name}@127.0.0.2:{port}>",
        "Contact: <sip:{name}@192.0.2.1:{port}>",
        "Contact: <sip:127.0.0.1:{port}>",
    ),
    *("Contact: <sip:{name}@127.0.0.1:{port}>, <sip:x@127.0.0.1>", "Contact: <sip:{name}@127.0.0.1:{port};\r\n x=y>"),
    *(
        "Contact: <sip:{name}@127.0.0.1:{port}>\r\nContact: <sip:x@127.0.0.1>",
        "Contact: <sips:{name}@127.0.0.1:{port}>",
    ),
    *(
        "Contact: <sip:{name}@127.0.0.1:{port};x=\u00a0>",
        "Contact: <sip:{name}@127.0.0.1:{port}>;x=\u00a0",
        "Contact: <tel:1>",
    ),
    *("Contact: <sip:{name}@127.0.0.1:{port};ob>", "Contact: <sip:{name}@127.0.0.2:{port};ob>"),
    *("Contact: <sip:{name}@10.9.9.9:{port};ob>", "Contact: <sip:{name}@10.9.9.9:{port}>"),
    *("Contact: <sip:{name}@127.0.0.1:{port};maddr=127.0.0.2>", "Contact: <sip:{name}@127.0.0.1:5999>"),
    *("Contact: <sip:{name}@127.0.0.1:0000000000{port}>", "Contact: <sip:{name}@127.0.0.1:{port};x=<y>"),
    *("Contact: <sip:{name}@127.0.0.1:{port};maddr=127.0.0.9?a=b>", "Contact: <sip:%62ob@127.0.0.1:{port}>"),
)
FROMS = (
    *("<sip:{name}@example.com>",) * 8,
    *('"Bob" <sip:{name}@example.com>', "Bob <sip:{name}@example.com>", "sip:{name}@example.com"),
    *('"B\\"b" <sip:{name}@example.com>', '"" <sip:{name}@example.com>', '"Bob"<sip:{name}@example.com>'),
    *(
        "<sip:{name}@EXAMPLE.com>",
        "<sip:{name}@example.com:5070>",
        "<sip:{name}@example.com;a=b>",
        '"B\u00f6b" <sip:b@example.com>',
    ),
    *("<tel:+1>", "<sip:%62ob@example.com>", "<sip:{name}@example.com>;a=b", "<sips:{name}@example.com>"),
)
TOS = (
    *("<sip:alice@example.com>",) * 8,
    *('"Alice" <sip:alice@example.com>', "sip:alice@example.com", "<sip:carol@example.com>", "<sip:example.com>"),
    "<tel:+1>",
)
ACCEPTS = (
    *("",) * 6,
    *("Accept: application/pidf+xml", "Accept: application/pidf+xml, text/plain", "Accept: text/plain", "Accept: */*"),
    *("Accept: text/plain\r\nAccept: application/pidf+xml", "Accept: application/pidf+xml\r\nAccept: text/plain"),
    *(
        "Accept: application/dialog-info+xml",
        "Accept: application/pidf+xml;q=0",
        "Accept:",
        "Accept: application/simple-message-summary",
    ),
)
EXTRAS = (
    *("",) * 12,
    *(
        "Require: 100rel",
        "Require: eventlist",
        "Proxy-Require: x",
        "Supported: eventlist",
        "Record-Route: <sip:127.0.0.1:5099;lr>",
    ),
    *(
        "Max-Forwards: 0",
        "Timestamp: 54",
        "Subject: a\r\n b",
        "X: \u00e4",
        "Contact: <sip:x@127.0.0.1>",
        "Route: <sip:127.0.0.1;lr>",
    ),
    *("Sender: <sip:w0@127.0.0.1:5073>", "Record-Route: nonsense", "Via: SIP/2.0/UDP 127.0.0.9:9;branch=z9hG4bKother"),
)


class Ask(NamedTuple):
    """One request as a template; what only one side knows (tags, entity-tags, our Contact) is filled in there."""

    method: str
    of: int
    """Which publication, or which dialog."""
    fresh: bool
    """A new one: without what ties it to what was before."""
    lines: tuple[str, ...]
    body: str
    uri: str
    sender: str
    to: str
    odd: str
    """`again`: a retransmission of the request before; `merged`: that by another path; `stale`: with an old CSeq."""


class Tick(NamedTuple):
    """What comes at once, and how the database and the clock are then."""

    asks: list[Ask]
    refuse: bool
    restart: bool
    wait_s: float
    rules: bytes | None
    """The rules document before it, where rules decide; empty: there is none; None: as it was."""


@st.composite
def pick(draw: st.DrawFn, *tables: tuple[str, ...]) -> list[str]:
    """Take the first of each table, but for up to two."""
    odd = draw(st.lists(st.integers(0, len(tables) - 1), max_size=2))
    return [draw(st.sampled_from(table)) if at in odd else table[0] for at, table in enumerate(tables)]


ODD = ("",) * 12 + ("again", "merged", "stale")


@st.composite
def publishes(draw: st.DrawFn) -> Ask:
    uri, event, expires, kind, match, extra, odd = draw(
        pick(URIS, PUBLISH_EVENTS, EXPIRES, TYPES, IF_MATCHES, EXTRAS, ODD)
    )
    body = draw(st.sampled_from(BODIES))
    lines = (event, expires, match, kind if body or odd else "", extra)
    of = draw(st.integers(0, DEVICES - 1))
    return Ask("PUBLISH", of, False, lines, body, uri, "<sip:a@example.com>", f"<{uri}>", odd)


@st.composite
def subscribes(draw: st.DrawFn) -> Ask:
    uri, event, expires, contact, sender, to, accept, extra, odd, body = draw(
        pick(URIS, SUBSCRIBE_EVENTS, EXPIRES, CONTACTS, FROMS, TOS, ACCEPTS, EXTRAS, ODD, ("", "x"))
    )
    fresh = draw(st.integers(0, 5)) == 5
    lines = (event, expires, contact, accept, extra)
    return Ask("SUBSCRIBE", draw(st.integers(0, DIALOGS - 1)), fresh, lines, body, uri, sender, to, odd)


EVERYBODY = "<cp:identity><cp:many/></cp:identity>"
RULES = (
    b"",
    ruleset(rule("allow", EVERYBODY)),
    ruleset(rule("allow", EVERYBODY, SHOW_SERVICES)),
    ruleset(rule("allow", EVERYBODY, SHOW_SERVICES), allow("w1", "w2", show=SHOW_NOTES), allow("w3")),
    ruleset(rule("polite-block", one("sip:w0@example.com")), allow("w1", "w2"), rule("confirm", EVERYBODY)),
)


def ticks() -> st.SearchStrategy[list[Tick]]:
    asks = st.lists(st.one_of(publishes(), subscribes()), min_size=1, max_size=8)
    rarely = st.integers(0, 15).map(lambda n: n == 15)
    return st.lists(
        st.builds(
            Tick,
            asks,
            rarely,
            rarely,
            st.sampled_from((0.0, 0.0, 0.0, 0.0, 0.5, 2.0, 40.0, 700.0)),
            st.sampled_from((None, None, None, None, *RULES)),
        ),
        min_size=2,
        max_size=8,
    )


BY_RULES = "server.policy=rules"


CALLS = {
    sip.pidf("one"): info(dialog("1", "early", call_id="c")),
    sip.pidf("two", tuple_id="b"): info(dialog("1", "terminated", call_id="c"), dialog("2")),
    sip.pidf("three", tuple_id="c"): info(dialog("2", "confirmed", more=remote("sip:w1@127.0.0.1:5074"))),
}


def about_calls(ticks: list[Tick]) -> list[Tick]:
    """Ask of dialog what is asked of presence."""
    return [tick._replace(asks=[_about_calls(ask) for ask in tick.asks]) for tick in ticks]


def _about_calls(ask: Ask) -> Ask:
    lines = [line.replace("pidf+xml", "dialog-info+xml") for line in ask.lines]
    lines[0] = lines[0].replace("presence", "dialog")
    return ask._replace(lines=tuple(lines), body=CALLS.get(ask.body, ask.body))


CONFIGURATIONS = (
    (),
    (BY_RULES,),
    (
        *("presence.min_expires_publish=60", "presence.min_expires_subscribe=60", "presence.expires_offset=5"),
        *("presence.composition=newest", "presence.persons=newest", "presence_dialoginfo.force_dummy_dialog=true"),
    ),
    (
        *("presence.max_expires_publish=1000000", "presence.max_expires_subscribe=2147483647"),
        *("server.domain=example.com", "presence.mix_dialog_presence=true"),
        "presence_dialoginfo.force_single_dialog=true",
    ),
    (
        *("presence.contact_user=x", "server.software=x", "presence.max_expires_publish=50"),
        *(
            "presence.expires_offset=60",
            "presence_xml.generate_offline_body=true",
            "presence.notify_offline_body=false",
        ),
    ),
)

# ---- one side ----


class Verbose:
    """Wants to hear of everything, and does nothing with it."""

    verbose = True

    def answered(self, *what: object) -> None:
        pass

    def ended(self, *what: object) -> None:
        pass

    def faulted(self, error: Exception, call_id: str) -> None:
        raise error


class Quiet(Verbose):
    verbose = False


ODD_TOKENS = (
    (re.compile(r"\b[0-9a-f]{44}\b"), "NONCE"),
    (re.compile(r"\b[0-9a-f]{12}\.[0-9a-f]+\.[0-9a-f]+\b"), "ETAG"),
    (re.compile(r"~[0-9a-f]{10}"), "~SLOT"),
    (re.compile(r";gr=[0-9a-f]{8}"), ";gr=KEY"),
    (re.compile(r"\b[0-9a-f]{18}\b"), "TAG"),
    (re.compile(r"tag=[0-9a-f]{16}\b"), "tag=NONE"),
    (re.compile(r"z9hG4bKpr[0-9a-f]+"), "BRANCH"),
)


def common(text: Any) -> Any:
    """Write what differs from server to server in one way."""
    if isinstance(text, str):
        for pattern, name in ODD_TOKENS:
            text = pattern.sub(name, text)
    return text


def told_key(notify: Message) -> tuple[str, ...]:
    return notify.call_id, notify.event, notify.event_id, notify.from_tag


CALL = re.compile(rb"<dialog .*?</dialog>")
ENDED = re.compile(rb"<dialog [^>]*><state>terminated</state></dialog>")
OF_ONE_NOTIFY = ("CSeq", "Subscription-State", "Allow-Events", "Content-Length")
"""What may differ; the last where documents may."""


def is_of_calls(message: Message) -> bool:
    return message.is_request and message.event in ("dialog", "dialog;sla")


def face(message: Message) -> tuple[object, ...]:
    fields = tuple(
        (name, common(value))
        for name, value in message.header_items()
        if not (message.is_request and name in (OF_ONE_NOTIFY if is_of_calls(message) else OF_ONE_NOTIFY[:3]))
    )
    body: object = message.body
    if is_of_calls(message):
        # What changed in one tick may come to one document or to several, which count up, and only one of which has
        # those that ended. Their order is no news. Partial state says what there is together with all before.
        body = () if b'state="partial"' in message.body else sorted(CALL.findall(ENDED.sub(b"", message.body)))
    elif message.event in ("presence.winfo", "dialog.winfo"):
        # In the order of their slots, under names made of their tags.
        body = sorted(
            re.sub(rb' id="\w+"', b"", watcher) for watcher in re.findall(rb"<watcher .*?</watcher>", message.body)
        )
    return message.status, message.reason, common(message.uri), fields, body


@dataclass
class Known:
    """What a client knows of its publication or dialog."""

    call_id: str
    tag: str = ""
    target: str = ""
    etags: list[str] = field(default_factory=lambda: ["none.1.1"])


UNALIKE = ("id", "local_cseq", "received_order", "waiting_id")
"""Columns that count what one side may do once more than the other, or in another order for another resource; and the
name of who waits, which comes of tags that each side chooses by itself."""


class Side:
    def __init__(self, configuration: tuple[str, ...], observer: Verbose) -> None:
        self.observer = observer
        self.net = Network(*configuration)
        self.ruled = BY_RULES in configuration
        if self.ruled:
            write(self.net, RULES[1])
        self.net.node.observe(observer)
        self.agents = [self.net.agent(f"d{n}") for n in range(DEVICES)] + [
            self.net.agent(f"w{n}") for n in range(DIALOGS)
        ]
        self.devices = [Known(f"device{n}") for n in range(DEVICES)]
        self.dialogs = [Known(f"dialog{n}") for n in range(DIALOGS)]
        self.asked: dict[str, Known] = {}
        self.last: dict[tuple[str, int], bytes] = {}
        self.seen = [0] * len(self.agents)
        self.told: dict[tuple[str, ...], tuple[int, tuple[object, ...]]] = {}
        self.count = 0
        self.batched: Counter[str] = Counter()

    def write(self, ask: Ask) -> tuple[Agent, bytes]:
        self.count += 1
        agent = self.agents[ask.of if ask.method == "PUBLISH" else DEVICES + ask.of]
        known = (self.devices if ask.method == "PUBLISH" else self.dialogs)[ask.of]
        before = self.last.get((ask.method, ask.of))
        branch = f"z9hG4bK-{self.count}-"
        self.asked[branch] = known
        if ask.odd == "again" and before:
            return agent, before
        if ask.odd == "merged" and before:
            return agent, re.sub(rb"branch=z9hG4bK-\d+-", f"branch={branch}".encode(), before)
        if ask.fresh:
            known.tag, known.target, known.call_id = "", "", f"fresh{self.count}"
        lines, body = ask.lines, ask.body
        if ask.method == "PUBLISH" and len(known.etags) == 1 and "SIP-If-Match: {etag}" in lines:
            # There is nothing yet that it could go on with.
            first = sip.pidf("first", tuple_id=f"t{ask.of}")
            lines = (lines[0], lines[1], TYPES[0], lines[4])
            if "dialog" in lines[0]:
                first = info(dialog("1", "early", call_id="c"), dialog(f"t{ask.of}"))
                lines = (lines[0], lines[1], TYPES[0].replace("pidf", "dialog-info"), lines[3])
            body = body or first
        etags = {"etag": known.etags[-1], "old": known.etags[0], "other": self.devices[ask.of % DEVICES - 1].etags[-1]}
        names = {**etags, "name": agent.name, "port": agent.address[1]}
        data = sip.request(
            ask.method,
            known.target or ask.uri,
            *(line.format(**names) for line in lines if line),
            # Some are behind a NAT: they and their Via know themselves by another address.
            via=agent.via.replace("127.0.0.1", "10.9.9.9")
            if any("@10.9.9.9" in line for line in ask.lines)
            else agent.via,
            branch=branch,
            sender=ask.sender.format(**names),
            from_tag=f"from{ask.of}",
            to=ask.to,
            to_tag=known.tag,
            call_id=known.call_id,
            cseq=1 if ask.odd == "stale" else self.count,
            body=body,
        )
        self.last[ask.method, ask.of] = data
        return agent, data

    def play(self, tick: Tick) -> tuple[object, ...]:
        """Let a tick happen and return all that can be seen of it."""
        net = self.net
        if tick.restart:
            net.restart()
            net.node.observe(self.observer)
        if self.ruled and tick.rules is not None:
            write(net, tick.rules or None)
        net.refuse_commits(tick.refuse)
        for agent, data in [self.write(ask) for ask in tick.asks]:
            net.post_to_node(agent, data)
        net.settle()
        net.refuse_commits(False)
        heard = self.hear(published=any(ask.method == "PUBLISH" for ask in tick.asks))
        if tick.wait_s:
            net.advance(tick.wait_s, step_s=tick.wait_s / 20)
        later = self.hear()
        return heard, later, self.kept(), self.counted()

    def hear(self, *, published: bool = False) -> tuple[object, ...]:
        answers: dict[object, list[Any]] = defaultdict(list)
        responses: list[Message] = []
        for at, agent in enumerate(self.agents):
            for when, message in agent.arrivals[self.seen[at] :]:
                if message.is_request:
                    self.note(message, published=published)
                    continue
                answers[message.branch].append((when, face(message)))
                responses.append(message)
            self.seen[at] = len(agent.arrivals)
        # As asked: those of one tick come in any order.
        for message in sorted(responses, key=lambda response: int(response.branch.split("-")[1])):
            self.learn(message)
        lost = self.lost()
        for (*key, _), (_, what) in self.told.items():
            answers[tuple(key)].append(what)
        for answer in answers.values():
            answer.sort(key=repr)
        return answers, lost

    def lost(self) -> list[object]:
        """What was sent where nobody is."""
        lost = set()
        for address, data in self.net.unreachable:
            message = parse(data)
            lost.add((address, message.method, message.call_id, message.event))
            if message.is_request:
                # Nobody answers, so what came after it is not sent.
                self.told[told_key(message)] = message.cseq, ("lost",)
        self.net.unreachable.clear()
        return sorted(lost)

    def note(self, notify: Message, *, published: bool) -> None:
        """Keep what a dialog was told last."""
        state = notify.header("Subscription-State") or ""
        what: tuple[object, ...] = (state.partition("expires=")[0], *face(notify))
        if published and state.startswith("terminated"):
            what = what[:4]
        key = told_key(notify)
        if self.told.get(key, (0, ()))[0] <= notify.cseq:
            self.told[key] = notify.cseq, what

    def learn(self, message: Message) -> None:
        known = self.asked.get(message.branch)
        if known is None or message.status != 200:
            return
        if message.method == "PUBLISH":
            known.etags.append(message.header("SIP-ETag") or "")
        elif message.call_id == known.call_id:
            known.tag = message.to_tag
            known.target = (message.header("Contact") or "").strip("<>")

    def kept(self) -> tuple[object, ...]:
        """Everything the database and the memory hold."""
        node = self.net.node
        assert node.pending() == 0
        assert node.compositor.waiting == 0
        tables = {}
        for table in ("presentity", "active_watchers", "shared_watchers", "watchers"):
            columns = [row[1] for row in self.net.rows(f"PRAGMA table_info({table})") if row[1] not in UNALIKE]
            rows = self.net.rows(f"SELECT {', '.join(columns)} FROM {table}")
            tables[table] = sorted((tuple(map(common, row)) for row in rows), key=repr)
        order = "SELECT event, username, domain, body FROM presentity ORDER BY event, username, domain, received_order"
        tables["order"] = self.net.rows(order)
        assert len(node.compositor.tags) == sum(node.compositor.counts().values())
        return (
            tables,
            len(node.table),
            node.compositor.counts(),
            node.notify.counts(),
            node.table.counters()["in_flight"],
        )

    def counted(self) -> tuple[object, ...]:
        tally = self.net.tally
        for refresh in tally.refreshers:
            refresh()
        return +Counter(tally.requests), +Counter(tally.responses), +Counter(tally.drops)


def differences(one: Any, other: Any) -> str:
    """Say where two nested values differ."""
    if type(one) is type(other) and isinstance(one, dict):
        return "".join(f"{key}: {differences(one.get(key), other.get(key))}" for key in {**one, **other})
    if type(one) is type(other) and isinstance(one, list | tuple) and len(one) == len(other):
        return "".join(differences(left, right) for left, right in zip(one, other, strict=True))
    return "" if one == other else f"\n  general: {one!r}\n  ordinary: {other!r}\n"


def compare(configuration: tuple[str, ...], ticks: list[Tick]) -> Counter[str]:
    """Play the ticks to both sides; return how many requests were answered in batches."""
    general, ordinary = Side(configuration, Verbose()), Side(configuration, Quiet())
    batched: Counter[str] = Counter()
    try:
        for tick in ticks:
            one, other = general.play(tick), ordinary.play(tick)
            assert one == other, differences(one, other)
            accepted = {name: done for name, (_, done) in ordinary.net.node.transactions.ordinary().items()}
            if tick.restart:
                ordinary.batched.clear()
            batched += Counter(accepted) - ordinary.batched
            ordinary.batched = Counter(accepted)
        assert set(general.net.node.transactions.ordinary().values()) <= {(came, 0) for came in range(1000)}
        return batched
    finally:
        general.net.close()
        ordinary.net.close()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("package", ["presence", "dialog"])
def test_ordinary_requests_come_to_the_same(package: str) -> None:
    batched: Counter[str] = Counter()
    by_rules: Counter[str] = Counter()

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink),
    )
    @given(st.sampled_from(CONFIGURATIONS), ticks())
    def play(configuration: tuple[str, ...], ticks: list[Tick]) -> None:
        done = compare(configuration, about_calls(ticks) if package == "dialog" else ticks)
        batched.update(done)
        if BY_RULES in configuration:
            by_rules.update(done)

    play()
    # Else this would compare the general path with itself.
    assert min(batched["PUBLISH"], batched["SUBSCRIBE"]) > EXAMPLES / 4, batched
    assert by_rules["SUBSCRIBE"] > EXAMPLES / 20, by_rules
