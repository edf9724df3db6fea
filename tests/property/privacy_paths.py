"""One server, its publishers and watchers through random histories: whatever leaves is what the rules allow.

The rules are evaluated by `reference`, written from the RFC texts. Every NOTIFY is looked at when it is sent, and each
retransmission of it: under the rules as they are at that moment it must say what some composed document says to that
watcher. When all is quiet, what each watcher was told last must be what it may see now.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime

import reference
import ruling
from lxml import etree
from net import EPOCH, PERFECT, Agent, Faults, Network, Publication, Subscription
from reference import generators

from presence._fastcore import Message, parse

ALICE_URI = "sip:alice@example.com"
ANONYMOUS = "sip:anonymous@anonymous.invalid"
RESOURCE = ("presence", ruling.ALICE)
SETTINGS = ("server.policy=rules", "presence.enable_sphere_check=true", f"xcap.uris={ruling.ROOT}")
DM, RPID = "{urn:ietf:params:xml:ns:pidf:data-model}", "{urn:ietf:params:xml:ns:pidf:rpid}"

Said = list[object]
Expected = tuple[str, Said]
"""State and content."""


def first_words(policy: str) -> Said:
    """What a watcher of a presentity is told that has never published."""
    net = Network("server.policy=rules", f"presence_xml.default_policy={policy}")
    try:
        return reference.content(net.agent("bob").subscribe().newest.body)
    finally:
        net.close()


class History:
    """One random history."""

    def __init__(self, seed: int, faults: Faults = PERFECT) -> None:
        self.random = random.Random(seed)
        self.net = Network(*SETTINGS, seed=seed)
        self.disturbed = faults
        self.paths: Counter[str] = Counter()
        self.sent = 0
        self.branches: set[str] = set()
        self.wrong: list[str] = []
        self.rules: dict[str, bytes] = {}
        self.members: dict[str, list[str]] = {}
        self.documents: list[bytes] = []
        self.known: dict[object, Expected] = {}
        self.absent, self.undecided = first_words("polite-block"), first_words("confirm")
        self.devices = [self.net.agent(f"device{n}").publication(ALICE_URI) for n in range(2)]
        self.bodies: dict[int, bytes] = {}
        self.watchers: dict[str, Agent] = {}
        for number, uri in enumerate([*generators.WATCHERS[:6], ALICE_URI, ANONYMOUS]):
            self.watchers[uri] = self.net.agent(f"w{number}")
        self.running: dict[Subscription, str] = {}
        self.before: dict[Subscription, str] = {}
        self._attach()
        post = self.net.post_to_agent

        def post_to_agent(address: tuple[str, int], data: bytes) -> None:
            self.look(data)
            post(address, data)

        self.net.post_to_agent = post_to_agent  # type: ignore[method-assign]

    def _attach(self) -> None:
        """Know what the node composes, and which rules it has seen."""
        node = self.net.node
        notify, documents = node.notify, node.documents
        compose = notify._documents

        def composed(package: object, presentity: object) -> bytes:
            document = compose(package, presentity)  # type: ignore[arg-type]
            if presentity == ruling.ALICE and document not in self.documents:
                self.documents.append(document)
            return document

        notify._documents = composed
        documents.listeners.append(lambda change: self.learn())
        self.learn()

    def learn(self) -> None:
        """Know the documents as the node has them."""
        self.known.clear()
        documents = self.net.node.documents
        self.rules = {
            auid: stored.body
            for auid in (ruling.PRES_RULES, ruling.OMA_RULES)
            for stored in documents.of(ruling.ALICE, auid)
        }
        self.members = {}
        named = []
        for stored in documents.of(ruling.ALICE, ruling.LISTS):
            named = re.findall(r'<list name="(\w+)">(.*?)</list>', stored.body.decode())
            self.members |= {ruling.anchor(name): re.findall(r'uri="([^"]+)"', inner) for name, inner in named}
        if len(named) == 1:
            # A step without a position names the one element there is.
            self.members[generators.HOME] = self.members[ruling.anchor(named[0][0])]

    # ---- what is allowed ----

    def sphere(self) -> str | None:
        said = {}
        for publication in self.net.node.compositor.holding.publications(RESOURCE):
            for element in etree.fromstring(publication.body).findall(f"{DM}person/{RPID}sphere"):
                named = " ".join(etree.QName(child).localname for child in element if isinstance(child.tag, str))
                text = named or "".join(element.itertext()).strip()
                if text:
                    said[text.casefold()] = text
        return next(iter(said.values())) if len(said) == 1 else None

    def handling(self, watcher: str) -> str:
        if watcher == ALICE_URI:
            return "all"
        if not self.rules:
            return "confirm"
        return reference.evaluate(*self._asked(watcher))

    def _asked(self, watcher: str) -> tuple[object, ...]:
        now = self.net.clock.at
        return list(self.rules.values()), watcher, watcher == ANONYMOUS, now, self.sphere(), self.members

    def expected(self, watcher: str, document: bytes) -> Expected:
        key = (watcher, document, self.net.clock.at, self.sphere())
        if key not in self.known:
            self.known[key] = self._expected(watcher, document)
        return self.known[key]

    def _expected(self, watcher: str, document: bytes) -> Expected:
        handling = self.handling(watcher)
        if handling == "all":
            return "active", reference.content(document)
        if handling == "allow":
            return "active", reference.visible(document, *self._asked(watcher))
        if handling == "confirm":
            return "pending", self.undecided
        return ("active", self.absent) if handling == "polite-block" else ("terminated;rejected", [])

    # ---- what is told ----

    def look(self, data: bytes) -> None:
        """Look at a datagram at the moment it is sent."""
        message = parse(data)
        if not message.is_request:
            return
        self.sent += 1
        owner = next(s for agent in self.watchers.values() for s in agent.subscriptions if owns(s, message))
        state = (message.header("Subscription-State") or "").partition(";expires")[0]
        said = reference.content(message.body) if message.body else []
        watcher = owner.sender.strip("<>")
        again = message.branch in self.branches
        self.branches.add(message.branch)
        if state.startswith("terminated") and not said:
            if "rejected" in state and not again and self.handling(watcher) != "block":
                self.wrong.append(f"{watcher} rejected, although {self.handling(watcher)}")
            return
        if again and (state, said) == ("pending", self.undecided):
            # Sent again until it is answered, for it says nothing of the presentity.
            return
        for document in reversed(self.documents):
            allowed, content = self.expected(watcher, document)
            if said == content and (state == allowed or state == "terminated;reason=timeout"):
                return
        self.wrong.append(f"{watcher} was sent {state} {said}; may have {self.expected(watcher, self.documents[-1])}")

    def settled(self) -> None:
        """Compare what everybody was told last with what they may see now."""
        document = self.net.node.compositor.document(self.net.node._registry.get("presence"), ruling.ALICE)
        for subscription, watcher in list(self.running.items()):
            state, content = self.expected(watcher, document)
            if not subscription.notifies and getattr(subscription.response, "status", 0) != 200:
                del self.running[subscription]
                continue
            if not subscription.alive:
                del self.running[subscription]
                self.paths[f"ends {subscription.state}"] += 1
                continue
            told = reference.content(subscription.newest.body) if subscription.newest.body else []
            if (subscription.state, told) != (state, content):
                self.wrong.append(f"{watcher} was told {subscription.state} {told}, may have {state} {content}")
            handling = self.handling(watcher)
            before = self.before.get(subscription, handling)
            if before != handling:
                self.paths[f"{before} -> {handling}"] += 1
            self.before[subscription] = handling

    # ---- what happens ----

    def step(self) -> None:
        """Let one thing happen."""
        names = [name for name, weight in STEPS.items() for _ in range(weight)]
        name = self.random.choice(names)
        self.net.faults = self.disturbed
        done = getattr(self, name)()
        self.net.settle()
        if self.disturbed is not PERFECT:
            self.net.advance(self.random.choice((0.1, 1.0, 5.0)), step_s=0.1)
        if done is not False:
            self.paths[name] += 1
        if self.disturbed is PERFECT:
            self.settled()

    def end(self) -> None:
        """Let everything come through."""
        self.net.faults = PERFECT
        self.net.advance(70, step_s=0.5)
        self.settled()
        # Nothing stays when nobody watches any more.
        self.net.advance(4000, step_s=20)
        privacy, notify = self.net.node.privacy, self.net.node.notify
        left = (len(self.net.node.table), list(notify.all()), notify.finals, len(self.net.node.book.lanes))
        assert left == (0, [], {}, 0), left
        reassessing = privacy._reassessing
        assert reassessing is not None
        assert (reassessing._work, reassessing._again, len(reassessing._triggers)) == ({}, [], 0)
        assert privacy._rulebook is not None
        assert privacy._rulebook._spheres == {}

    def publish(self) -> None:
        number = self.random.randrange(2)
        self._publish(number, generators.random_document(self.random), self.random.choice((60, 600, 600)))

    def _publish(self, number: int, body: bytes, expires: int) -> None:
        publication: Publication = self.devices[number]
        publication.send(body=body, expires=expires)
        self.net.settle()
        if publication.response is not None and publication.response.status == 412:
            publication.etag = ""

    def change_sphere(self) -> None:
        sphere = self.random.choice(("work", "home", "meeting"))
        body = generators.random_document(self.random).decode()
        said = f'<s:sphere xmlns:s="{RPID[1:-1]}">{sphere}</s:sphere>'
        person = f'<d:person xmlns:d="{DM[1:-1]}" id="me">{said}</d:person>'
        self._publish(0, re.sub("</((p:)?presence)>$", rf"{person}</\1>", body).encode(), 600)

    def unpublish(self) -> bool | None:
        publication = self.random.choice(self.devices)
        if not publication.etag:
            return False
        publication.send(expires=0)
        self.net.settle()
        publication.etag = ""
        return None

    def subscribe(self) -> None:
        uri = self.random.choice(list(self.watchers))
        subscription = Subscription(self.watchers[uri], ALICE_URI, sender=f"<{uri}>")
        subscription.send(expires=self.random.choice((60, 600, 3600)))
        self.net.settle()
        if subscription.response is None or subscription.response.status == 200:
            self.running[subscription] = uri
        elif self.disturbed is PERFECT and (subscription.response.status, self.handling(uri)) != (403, "block"):
            self.wrong.append(f"{uri} got {subscription.response.status}, is {self.handling(uri)}")

    def fetch(self) -> None:
        uri = self.random.choice(list(self.watchers))
        subscription = Subscription(self.watchers[uri], ALICE_URI, sender=f"<{uri}>")
        subscription.send(expires=0)

    def refresh(self) -> bool | None:
        return self._in_dialog(lambda subscription: subscription.send(expires=600))

    def unsubscribe(self) -> bool | None:
        return self._in_dialog(lambda subscription: subscription.send(expires=0))

    def subscribe_beside(self) -> bool | None:
        def beside(subscription: Subscription) -> None:
            other = Subscription(
                subscription.agent,
                ALICE_URI,
                dialog=subscription.dialog,
                event_id=str(self.random.randrange(3)),
                sender=subscription.sender,
            )
            other.send(expires=600)
            self.net.settle()
            if other.response is not None and other.response.status == 200:
                same = [s for s in self.running if s.dialog is other.dialog and s.event_id == other.event_id]
                if same:
                    # The same usage once more: a refresh.
                    other.agent.subscriptions.remove(other)
                else:
                    self.running[other] = self.running[subscription]

        return self._in_dialog(beside)

    def _in_dialog(self, act: Callable[[Subscription], None]) -> bool | None:
        alive = [one for one in self.running if one.alive and one.dialog.remote_tag]
        if not alive:
            return False
        act(self.random.choice(alive))
        return None

    def write_rules(self) -> None:
        auid = self.random.choice((*(ruling.PRES_RULES,) * 5, ruling.OMA_RULES))
        ruling.write(self.net, self._random_rules(), auid=auid, settle=self.random.random() < 0.7)

    def _random_rules(self) -> bytes:
        rng = self.random
        text = generators.random_rules(rng, oma=rng.random() < 0.3).decode()
        # Times that come while this plays.
        for at in range(3):
            text = text.replace(generators.TIMES[at], self._soon(), 1)
        for number in range(rng.choice((0, 1, 1, 2, 3))):
            handling = rng.choice(("allow", "allow", "polite-block", "confirm"))
            who = "" if number == 0 and rng.random() < 0.5 else self._random_condition()
            rule = (
                f'<cr:rule id="z{number}"><cr:conditions>{who}</cr:conditions><cr:actions><pr:sub-handling>{handling}'
                f"</pr:sub-handling></cr:actions><cr:transformations>{generators._transformations(rng)}"
                "</cr:transformations></cr:rule></cr:ruleset>"
            )
            text = text.replace("</cr:ruleset>", rule)
        return text.encode()

    def _random_condition(self) -> str:
        rng = self.random
        some = "".join(f'<cr:one id="{uri}"/>' for uri in rng.sample(generators.WATCHERS, 3))
        begins, ends = (self._soon() for _ in range(2))
        return rng.choice(
            (
                f"<cr:identity>{some}</cr:identity>",
                '<cr:sphere value="work"/>',
                f"<cr:validity><cr:from>{begins}</cr:from><cr:until>{ends}</cr:until></cr:validity>",
                f"<cr:validity><cr:from>2020-01-01T00:00:00Z</cr:from><cr:until>{ends}</cr:until></cr:validity>",
                f'<ocp:external-list><ocp:entry anc="{rng.choice(generators.ANCHORS)}"/></ocp:external-list>',
                f'<ocp:external-list><ocp:entry anc="{rng.choice(generators.ANCHORS)}"/></ocp:external-list>',
            )
        )

    def _soon(self) -> str:
        at = datetime.fromtimestamp(self.net.clock.at + self.random.choice((1, 2, 3, 20, 50)), UTC)
        return at.strftime("%Y-%m-%dT%H:%M:%SZ")

    def delete_rules(self) -> bool | None:
        if not self.rules:
            return False
        ruling.write(self.net, None, auid=self.random.choice(list(self.rules)))
        return None

    def write_lists(self) -> None:
        names = self.random.sample(("granted", "blocked", "family"), self.random.randrange(4))
        members = {name: tuple(self.random.sample(generators.WATCHERS, 3)) for name in names}
        ruling.write(self.net, ruling.lists(**members), auid=ruling.LISTS)

    def edit_beside(self) -> None:
        """Let another process write the rules into the table."""
        body = self._random_rules().decode().replace("'", "''")
        self.net.rows("DELETE FROM xcap WHERE doc_type = 2")
        self.net.rows(
            "INSERT INTO xcap (username, domain, doc, doc_type, etag, source, doc_uri, port) VALUES "
            f"('alice', 'example.com', '{body}', 2, 'x{self.random.random()}', 0, 'index', 0)"
        )
        self.net.advance(1)

    def restart(self) -> None:
        self.net.restart()
        self._attach()
        if self.disturbed is not PERFECT:
            # A last NOTIFY that was under way is not sent again after a start, so its watcher knows nothing of the end.
            for subscription in [subscription for subscription in self.running if not self._is_kept(subscription)]:
                del self.running[subscription]

    def _is_kept(self, subscription: Subscription) -> bool:
        node, dialog = self.net.node, subscription.dialog
        owner = node.book.find_dialog(dialog.call_id, dialog.remote_tag, dialog.local_tag)
        return bool(owner and node.table.usage(owner, b"presence", subscription.event_id.encode()))

    def wait(self) -> None:
        self.net.advance(self.random.choice((0.3, 1.0, 3.0, 20.0, 70.0)), step_s=0.25)


STEPS = {
    "publish": 5,
    "change_sphere": 2,
    "unpublish": 1,
    "subscribe": 8,
    "fetch": 2,
    "refresh": 3,
    "unsubscribe": 1,
    "subscribe_beside": 2,
    "write_rules": 9,
    "delete_rules": 3,
    "write_lists": 2,
    "edit_beside": 1,
    "restart": 1,
    "wait": 3,
}


def owns(subscription: Subscription, notify: Message) -> bool:
    dialog = subscription.dialog
    named = (notify.call_id, notify.to_tag, notify.event_id)
    return named == (dialog.call_id, dialog.local_tag, subscription.event_id)


def play(seed: int, steps: int, faults: Faults = PERFECT) -> History:
    """Play one history to its end; what went wrong in it is in `wrong`."""
    assert EPOCH > generators.NOW
    history = History(seed, faults)
    try:
        for number in range(steps):
            history.step()
            if history.wrong:
                history.wrong[0] = f"seed {seed}, step {number}: {history.wrong[0]}"
                break
        else:
            history.end()
    finally:
        history.net.close()
    return history
