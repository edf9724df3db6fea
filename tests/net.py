"""A network in memory and a clock by hand around one presence node.

Everything that passes is bytes and goes through the real parser. Datagrams can be lost, doubled and delayed (so
overtake each other) by a seeded random; connections keep the order, and can be cut with what is under way on them.
`Network.advance` is the only time there is.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import sip

from presence._fastcore import Framer, Message, parse
from presence.assembly import Node
from presence.boot import count_start
from presence.config import load
from presence.store.sqlite import SqliteStore
from presence.tally import Tally

EPOCH = 1_700_000_000.25
UDP_LOCAL, TCP_LOCAL = "udp:127.0.0.1:5060", "tcp:127.0.0.1:5060"
T1_S, T2_S = 0.5, 4.0

Address = tuple[str, int]
Then = Callable[[Message | None], None]


class FakeClock:
    """Stands still until told."""

    def __init__(self) -> None:
        self.at = EPOCH

    def now(self) -> float:
        return self.at


@dataclass(frozen=True)
class Faults:
    """What happens to a datagram: shares of all, and the longest delay in seconds; streams have delay and cuts."""

    drop: float = 0.0
    duplicate: float = 0.0
    delay_s: float = 0.0
    cut: float = 0.0
    """The share of writes to a connection at which it breaks."""


PERFECT = Faults()


class UdpOrigin:
    """The node's UDP listener."""

    transport, flow, local = "UDP", 0, UDP_LOCAL

    def __init__(self, net: Network, link: int) -> None:
        self.net, self.link = net, link

    def respond(self, request: Message, response: bytes) -> None:
        self.net.post_to_agent(request.reply_address, response)


class TcpOrigin:
    """A connection between the node and one agent, whoever opened it."""

    transport, local = "TCP", TCP_LOCAL

    def __init__(self, net: Network, link: int, flow: int, agent: Agent) -> None:
        self.net, self.link, self.flow, self.agent = net, link, flow, agent
        self.framer = Framer()
        self.open = True
        self.carried: set[int] = set()
        """Slots whose NOTIFYs went out on it."""
        self._last_at = 0.0

    def respond(self, request: Message, response: bytes) -> None:
        self.write(response)

    def write(self, data: bytes) -> None:
        self.carry(lambda: self._arrive(data))

    def _arrive(self, data: bytes) -> None:
        # What the agent answers goes back the way the request came.
        self.agent.connection = self
        self.agent.take(data)

    def carry(self, deliver: Callable[[], None]) -> None:
        """Deliver what is written to it in its order, if it stands by then."""
        net = self.net
        if not self.open:
            return
        if net.faults.cut and net.random.random() < net.faults.cut:
            net.cut(self)
            return
        delay_s = net.random.random() * net.faults.delay_s if net.faults.delay_s else 0.0
        self._last_at = max(self._last_at, net.clock.at + delay_s)
        net.post(self._last_at - net.clock.at, lambda: deliver() if self.open else None)


class Network:
    """One node, its clock, its agents and what is under way between them.

    `assignments` are settings as `--set` takes them. With `path` the database is a file and a restart opens it anew;
    without, it is in memory and outlives the node.
    """

    def __init__(
        self, *assignments: str, path: str = ":memory:", faults: Faults = PERFECT, seed: int = 0, **node_arguments: Any
    ) -> None:
        self.clock = FakeClock()
        self.faults = faults
        self.random = random.Random(seed)
        self.config = load(assignments=("server.policy=open", *assignments))
        self.path = path
        self.agents: dict[Address, Agent] = {}
        self.unreachable: list[tuple[Address, bytes]] = []
        """What was sent where nobody is."""
        self.cut_off: set[Agent] = set()
        """Agents that a NOTIFY could not reach, its connection being cut twice."""
        self._node_arguments = node_arguments
        self._connections: dict[int, TcpOrigin] = {}
        self._opened: dict[Address, TcpOrigin] = {}
        self._flows = count(1)
        self._ports = count(5070)
        self._order = count()
        self._under_way: list[tuple[float, int, Callable[[], None]]] = []
        self._arrived: list[Message] = []
        self.store = SqliteStore(path, durability="os", on_missing=self._missing)
        self._start()

    def _missing(self, query: str, row_id: int) -> None:
        self.node.missing(query, row_id)

    def _start(self) -> None:
        self.tally = Tally()
        boot = count_start(self.store)
        self.node = Node(self.config, self.store, self.clock, self.tally, boot=boot, **self._node_arguments)
        udp, tcp = self._listen()
        self.node.open_ways()
        self._udp, self._tcp_link = UdpOrigin(self, udp), tcp
        self.loaded = self.node.load()

    def _listen(self) -> tuple[int, int]:
        """Give the node its listeners; return their links."""
        table = self.node.table
        udp = table.add_link(-1, reliable=False, via=b"UDP 127.0.0.1:5060", contact=b"127.0.0.1:5060")
        tcp = table.add_link(-1, reliable=True, via=b"TCP 127.0.0.1:5060", contact=b"127.0.0.1:5060;transport=tcp")
        self.node.ways.add(UDP_LOCAL, udp)
        self.node.ways.add(TCP_LOCAL, tcp)
        return udp, tcp

    def restart(self) -> None:
        """End the node without a word and start another on its database."""
        for connection in self._connections.values():
            connection.open = False
        self._connections.clear()
        self._opened.clear()
        if self.path != ":memory:":
            self.store.close()
            self.store = SqliteStore(self.path, durability="os", on_missing=self._missing)
        self._start()
        self.settle()

    def close(self) -> None:
        self.store.close()

    def refuse_commits(self, refuse: bool = True) -> None:
        """Make the database refuse every change, as on a full disk."""
        self.store._connection.pragma("query_only", refuse)

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Ask the database, as an operator's script would."""
        return list(self.store._connection.execute(sql))

    # ---- agents ----

    def agent(self, name: str, *, host: str = "127.0.0.1", port: int = 0, transport: str = "UDP") -> Agent:
        """Add a user agent at an address of its own."""
        agent = Agent(self, name, host, port or next(self._ports), transport)
        self.agents[agent.address] = agent
        return agent

    def accept(self, agent: Agent) -> Agent:
        """Let a UDP agent be reached by connections as well, and return what takes them."""
        agent.stream = Agent(self, agent.name, *agent.address, "TCP")
        agent.stream.subscriptions = agent.subscriptions
        return agent.stream

    def connect(self, agent: Agent) -> TcpOrigin:
        """Open a connection between an agent and the node."""
        flow = next(self._flows)
        connection = self._connections[flow] = TcpOrigin(self, self._tcp_link, flow, agent)
        return connection

    def disconnect(self, agent: Agent) -> None:
        """Break every connection of an agent."""
        for connection in list(self._connections.values()):
            if connection.agent is agent:
                self.cut(connection)
        agent.connection = None

    def cut(self, connection: TcpOrigin) -> None:
        """Break a connection; the node does what its TCP listener does then."""
        if self._connections.pop(connection.flow, None) is None:
            return
        connection.open = False
        table = self.node.table
        for slot in connection.carried:
            if table.state(slot) == "free":
                continue
            leads_here = table.facts(slot).flow == connection.flow or table.target(slot) == connection.agent.address
            if leads_here and not table.resend(slot):
                self.cut_off.add(connection.agent)
                table.fail_flight(slot, 503, carried=True)

    # ---- what is under way ----

    def post(self, delay_s: float, deliver: Callable[[], None]) -> None:
        heapq.heappush(self._under_way, (self.clock.at + delay_s, next(self._order), deliver))

    def _datagram(self, deliver: Callable[[], None]) -> None:
        faults, chance = self.faults, self.random.random
        for _ in range(2 if chance() < faults.duplicate else 1):
            if chance() >= faults.drop:
                self.post(chance() * faults.delay_s, deliver)

    def post_to_agent(self, address: Address, data: bytes) -> None:
        agent = self.agents.get(address)
        if agent is None or agent.transport != "UDP":
            self.unreachable.append((address, data))
        else:
            self._datagram(lambda: agent.take(data))

    def post_to_node(self, agent: Agent, data: bytes) -> None:
        if agent.transport == "UDP":
            self._datagram(lambda: self._take_datagram(agent, data))
            return
        if agent.connection is None or not agent.connection.open:
            agent.connection = self.connect(agent)
        connection = agent.connection
        connection.carry(lambda: self._take_stream(connection, data))

    def _take_datagram(self, agent: Agent, data: bytes) -> None:
        """Do what the UDP socket does with a datagram before it goes up."""
        message = parse(data)
        message.origin, message.received_at = self._udp, self.clock.at
        message.set_source(*agent.address)
        if message.is_request and not message.error:
            transactions = self.node.transactions
            message.transaction, repeated = transactions.begin(message)
            if repeated:
                response = transactions.response(message.transaction)
                if response is not None:
                    self.post_to_agent(message.reply_address, response)
                return
        self._arrived.append(message)

    def _take_stream(self, connection: TcpOrigin, data: bytes) -> None:
        if not connection.open:
            return
        for message in connection.framer.feed(data, self.node.table, self.clock.at):
            message.origin, message.received_at = connection, self.clock.at
            message.set_source(*connection.agent.address)
            self._arrived.append(message)

    # ---- time ----

    def turn(self) -> bool:
        """Let one turn of the server's loop happen; return whether anything moved."""
        now = self.clock.at
        moved = False
        for agent in list(self.agents.values()):
            agent.tick(now)
        while self._under_way and self._under_way[0][0] <= now:
            heapq.heappop(self._under_way)[2]()
            moved = True
        arrived, self._arrived = self._arrived, []
        if arrived:
            self.node.receive(arrived, now)
        self.node.tick(now)
        left = self.node.pump(now)
        outbox = self.node.table.outbox
        posts, outbox[:] = list(outbox), []
        for post in posts:
            self._send(*post)
        return bool(moved or arrived or posts or left)

    def _send(self, link: int, flow: int, host: str, port: int, data: bytes, slots: list[int]) -> None:
        """Do what the listeners do with a NOTIFY."""
        if link == self._udp.link:
            self.post_to_agent((host, port), data)
            return
        connection = self._connections.get(flow)
        if connection is None and not port:
            for slot in slots:
                self.node.table.fail_flight(slot, 430)
            return
        if connection is None:
            agent = self.agents.get((host, port))
            if agent is not None and agent.transport == "UDP":
                agent = agent.stream
            if agent is None or not agent.listening:
                self.unreachable += (((host, port), message.raw) for message in Framer().feed(data))
                for slot in slots:
                    self.node.table.fail_flight(slot, 503)
                return
            connection = self._opened.get((host, port))
            if connection is None or not connection.open:
                connection = self._opened[host, port] = self.connect(agent)
        connection.carried.update(slots)
        connection.write(data)

    def settle(self) -> None:
        """Let happen what happens now, until nothing moves."""
        idle = 0
        while idle < 3:
            idle = 0 if self.turn() else idle + 1

    def advance(self, seconds: float, step_s: float = 0.0) -> None:
        """Let time pass in small steps."""
        step_s = step_s or max(0.05, seconds / 400)
        until = self.clock.at + seconds
        while self.clock.at < until:
            self.clock.at = min(until, self.clock.at + step_s)
            self.settle()


@dataclass
class _Attempt:
    """A client transaction of an agent (RFC 3261 section 17.1.2)."""

    data: bytes
    then: Then
    again_at: float
    interval_s: float
    until: float


class Agent:
    """A user agent: publisher, watcher or both. It answers NOTIFYs with `status` (None is silence)."""

    def __init__(self, net: Network, name: str, host: str, port: int, transport: str) -> None:
        self.net, self.name, self.transport = net, name, transport
        self.address = (host, port)
        self.uri = f"sip:{name}@example.com"
        literal = f"[{host}]" if ":" in host else host
        self.contact = f"<sip:{name}@{literal}:{port}{';transport=tcp' if transport == 'TCP' else ''}>"
        self.via = f"SIP/2.0/{transport} {literal}:{port};rport"
        self.connection: TcpOrigin | None = None
        self.listening = True
        self.stream: Agent | None = None
        """What takes connections at the address of a UDP agent."""
        self.status: int | None = 200
        self.extra: tuple[str, ...] = ()
        """Further header lines of the answers to NOTIFYs."""
        self.strict = False
        """Whether a NOTIFY of no subscription is answered 481 (RFC 6665 section 4.1.3)."""
        self.arrivals: list[tuple[float, Message]] = []
        """Every message, retransmissions too, and when it came."""
        self.subscriptions: list[Subscription] = []
        self._attempts: dict[str, _Attempt] = {}
        self._answered: dict[str, bytes] = {}
        self._framer = Framer()

    # ---- requests ----

    def send(self, data: bytes, then: Then = lambda response: None) -> None:
        """Send a request; `then` gets its final response, or None when none comes."""
        now = self.net.clock.at
        # Read from the head alone: `parse` takes no more than a datagram.
        branch = parse(data.partition(b"\r\n\r\n")[0] + b"\r\n\r\n").branch
        self._attempts[branch] = _Attempt(data, then, now + T1_S, T1_S, now + 64 * T1_S)
        self.net.post_to_node(self, data)

    def ask(self, data: bytes) -> Message:
        """Send a request and return its final response, which must come at once."""
        responses: list[Message | None] = []
        self.send(data, responses.append)
        self.net.settle()
        assert responses, "no response"
        assert responses[0] is not None
        return responses[0]

    def request(self, method: str, uri: str, *extra: str, **fields: Any) -> bytes:
        """Write a request that comes from this agent."""
        fields.setdefault("via", self.via)
        fields.setdefault("sender", f"<{self.uri}>")
        return sip.request(method, uri, *extra, **fields)

    def tick(self, now: float) -> None:
        for branch, attempt in list(self._attempts.items()):
            if now >= attempt.until:
                del self._attempts[branch]
                attempt.then(None)
            elif now >= attempt.again_at and self.transport == "UDP":
                attempt.interval_s = min(2 * attempt.interval_s, T2_S)
                attempt.again_at = now + attempt.interval_s
                self.net.post_to_node(self, attempt.data)

    @property
    def idle(self) -> bool:
        """True when no request waits for its answer."""
        return not self._attempts

    # ---- what comes ----

    def take(self, data: bytes) -> None:
        messages = [parse(data)] if self.transport == "UDP" else self._framer.feed(data)
        for message in messages:
            assert not message.error, (message.error, data)
            self.arrivals.append((self.net.clock.at, message))
            if message.is_request:
                self._serve(message)
            elif message.status >= 200:
                attempt = self._attempts.pop(message.branch, None)
                if attempt is not None:
                    attempt.then(message)

    def _serve(self, notify: Message) -> None:
        if notify.branch not in self._answered:
            owners = [subscription for subscription in self.subscriptions if subscription.owns(notify)]
            for subscription in owners:
                subscription.take(notify)
            if self.strict and not owners:
                self._answered[notify.branch] = sip.answer(notify, 481)
            elif self.status is None:
                return
            else:
                self._answered[notify.branch] = sip.answer(notify, self.status, *self.extra)
        self.net.post_to_node(self, self._answered[notify.branch])

    @property
    def notifies(self) -> list[Message]:
        """The NOTIFY requests that came, each transaction once."""
        unique = {message.branch: message for _, message in self.arrivals if message.is_request}
        return list(unique.values())

    def answer(self, notify: Message, status: int, *extra: str) -> None:
        """Answer a NOTIFY by hand."""
        self.net.post_to_node(self, sip.answer(notify, status, *extra))
        self.net.settle()

    # ---- roles ----

    def publication(self, uri: str = "sip:alice@example.com", event: str = "presence", **kinds: str) -> Publication:
        """Prepare a publication of this agent."""
        return Publication(self, uri, event, **kinds)

    def subscribe(self, *extra: str, uri: str = "sip:alice@example.com", **fields: Any) -> Subscription:
        """Subscribe and let the answer come."""
        subscription = Subscription(self, uri, **fields)
        subscription.refresh(*extra)
        return subscription


class Wire(Agent):
    """The far end of a wire: what comes is kept as it is, also an answer that echoes something malformed."""

    def __init__(self, net: Network, host: str, port: int, transport: str) -> None:
        super().__init__(net, "wire", host, port, transport)
        self.heard: list[bytes] = []

    def take(self, data: bytes) -> None:
        self.heard.append(data)

    def answers(self, data: bytes) -> list[Message]:
        """Send octets and return what comes back, parsed."""
        self.heard.clear()
        self.net.agents[self.address] = self
        self.net.post_to_node(self, data)
        self.net.settle()
        return [parse(response) for response in self.heard]


@dataclass
class Publication:
    """What one agent publishes under one entity-tag (RFC 3903)."""

    agent: Agent
    uri: str
    event: str = "presence"
    content_type: str = "application/pidf+xml"
    etag: str = ""
    call_id: str = field(default_factory=lambda: sip.fresh("publish"))
    cseq: int = 0
    response: Message | None = None
    answered_at: float = 0.0

    def send(self, *extra: str, body: str | bytes = b"", expires: int | None = None, etag: str | None = None) -> None:
        """Send a PUBLISH with what is known; `etag` '' leaves SIP-If-Match out."""
        self.cseq += 1
        self.response = None
        etag = self.etag if etag is None else etag
        heads = [f"Event: {self.event}"]
        heads += [f"SIP-If-Match: {etag}"] if etag else []
        heads += [f"Expires: {expires}"] if expires is not None else []
        heads += [f"Content-Type: {self.content_type}"] if body else []
        fields = {"call_id": self.call_id, "cseq": self.cseq, "to": f"<{self.uri}>"}
        self.agent.send(
            self.agent.request("PUBLISH", self.uri, *heads, *extra, body=body, **fields), then=self._answered
        )

    def _answered(self, response: Message | None) -> None:
        self.response, self.answered_at = response, self.agent.net.clock.at
        if response is not None and response.status == 200:
            self.etag = response.header("SIP-ETag") or ""

    def publish(
        self, *extra: str, body: str | bytes = b"", expires: int | None = None, etag: str | None = None
    ) -> Message:
        """Send a PUBLISH and return the response."""
        self.send(*extra, body=body, expires=expires, etag=etag)
        self.agent.net.settle()
        assert self.response is not None
        return self.response


@dataclass
class Dialog:
    """The watcher's side of a dialog."""

    call_id: str = field(default_factory=lambda: sip.fresh("subscribe"))
    local_tag: str = field(default_factory=lambda: sip.fresh("w"))
    remote_tag: str = ""
    target: str = ""
    cseq: int = 0


class Subscription:
    """The watcher's side of a subscription (RFC 6665)."""

    def __init__(
        self,
        agent: Agent,
        uri: str,
        *,
        event: str = "presence",
        event_id: str = "",
        dialog: Dialog | None = None,
        expires: int | None = 600,
        contact: str = "",
        sender: str = "",
    ) -> None:
        self.agent, self.uri, self.event, self.event_id = agent, uri, event, event_id
        self.dialog = dialog or Dialog()
        self.expires = expires
        self.contact = contact or agent.contact
        self.sender = sender or f"<{agent.uri}>"
        self.response: Message | None = None
        self.notifies: list[Message] = []
        agent.subscriptions.append(self)

    def request(self, *extra: str, expires: int | None = None, contact: str | None = None) -> bytes:
        """Write the next SUBSCRIBE."""
        dialog = self.dialog
        dialog.cseq += 1
        contact = self.contact if contact is None else contact
        heads = [f"Event: {self.event};id={self.event_id}" if self.event_id else f"Event: {self.event}"]
        heads += [f"Contact: {contact}"] if contact else []
        heads += [f"Expires: {expires}"] if expires is not None else []
        return self.agent.request(
            "SUBSCRIBE",
            dialog.target or self.uri,
            *heads,
            *extra,
            sender=self.sender,
            from_tag=dialog.local_tag,
            to=f"<{self.uri}>",
            to_tag=dialog.remote_tag,
            call_id=dialog.call_id,
            cseq=dialog.cseq,
        )

    def send(self, *extra: str, expires: int | None = None, contact: str | None = None) -> None:
        """Send a SUBSCRIBE without waiting."""
        self.response = None
        self.agent.send(self.request(*extra, expires=expires, contact=contact), then=self._answered)

    def _answered(self, response: Message | None) -> None:
        self.response = response
        if response is not None and response.status == 200:
            self._learn(response.to_tag, response.header("Contact"))

    def _learn(self, tag: str, contact: str | None) -> None:
        self.dialog.remote_tag = self.dialog.remote_tag or tag
        self.dialog.target = (contact or "").strip("<>") or self.dialog.target

    def refresh(self, *extra: str, expires: int | None = None, contact: str | None = None) -> Message:
        """Send a SUBSCRIBE and return the response."""
        self.send(*extra, expires=self.expires if expires is None else expires, contact=contact)
        self.agent.net.settle()
        assert self.response is not None
        return self.response

    def unsubscribe(self) -> Message:
        return self.refresh(expires=0)

    def beside(self, **fields: Any) -> Subscription:
        """Subscribe once more in the same dialog."""
        other = Subscription(self.agent, self.uri, dialog=self.dialog, **fields)
        other.refresh()
        return other

    @property
    def package(self) -> str:
        """The event package: Event without the parameters that do not count."""
        name, *params = (part.strip().lower() for part in self.event.split(";"))
        return f"{name};sla" if name == "dialog" and "sla" in params else name

    def owns(self, notify: Message) -> bool:
        dialog = self.dialog
        return (
            (notify.call_id, notify.to_tag) == (dialog.call_id, dialog.local_tag)
            and dialog.remote_tag in ("", notify.from_tag)
            and (notify.event, notify.event_id) == (self.package, self.event_id)
        )

    def take(self, notify: Message) -> None:
        self.notifies.append(notify)
        # A NOTIFY may overtake the 200 and makes the dialog all the same (RFC 6665 section 4.4.1).
        self._learn(notify.from_tag, notify.header("Contact"))

    @property
    def newest(self) -> Message:
        """The NOTIFY with the highest CSeq."""
        return max(self.notifies, key=lambda notify: notify.cseq)

    @property
    def alive(self) -> bool:
        """False once the notifier said that it is over, or does not know it."""
        refused = self.response is not None and self.response.status == 481
        return not refused and not any("terminated" in (n.header("Subscription-State") or "") for n in self.notifies)

    @property
    def body(self) -> str:
        return self.newest.body.decode()

    @property
    def state(self) -> str:
        """The substate, with its reason when it is over."""
        value = self.newest.header("Subscription-State") or ""
        reason = sip.param(value, "reason")
        return value.partition(";")[0] + (f";{reason}" if reason else "")
