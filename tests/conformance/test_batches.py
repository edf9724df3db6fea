"""What batches of ordinary requests must not do to those beside them, nor to themselves when something goes wrong."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import sip
from net import Agent, Network, Publication, Subscription

from presence.config import load
from presence.errors import StoreError
from presence.packages import load_packages
from presence.store.base import Value

ALICE = "sip:alice@example.com"


class Commits:
    """Holds commits back, as a slow disk does."""

    def __init__(self, net: Network) -> None:
        self._store, self._flush = net.store, net.store.flush

    def hold(self) -> None:
        self._store.flush = lambda: None  # type: ignore[method-assign]

    def let_go(self) -> None:
        self._store.flush = self._flush  # type: ignore[method-assign]


@pytest.fixture
def commits(net: Network) -> Commits:
    return Commits(net)


def test_rfc3903_6_a_refresh_committed_as_its_publication_expires_is_kept(
    net: Network, alice: Agent, bob: Agent
) -> None:
    """The general path: its expiry waited for the refresh, which was answered 200."""
    publication = alice.publication(uri="sip:%61lice@example.com")
    publication.publish(body=sip.pidf("here"), expires=10)
    watch = bob.subscribe()
    net.clock.at += 11
    assert publication.publish(expires=600).status == 200
    net.advance(30)
    assert publication.publish(expires=600).status == 200
    assert "here" in watch.body


@pytest.mark.parametrize("uri", [ALICE, "sip:%61lice@example.com"])
def test_rfc3903_6_a_refresh_as_the_publication_expires_is_kept(net: Network, alice: Agent, uri: str) -> None:
    publication = alice.publication(uri=uri)
    publication.publish(body=sip.pidf("here"), expires=10)
    net.clock.at += 11
    assert publication.publish(expires=600).status == 200
    net.advance(30)
    assert publication.publish(expires=600).status == 200


def test_rfc3903_6_what_waits_for_its_turn_comes_before_a_later_refresh(
    net: Network, commits: Commits, alice: Agent
) -> None:
    """A removal that waits behind another's change was received before a refresh of the next tick."""
    first, second = alice.publication(), alice.publication()
    first.publish(body=sip.pidf("first"))
    again = alice.publication()
    again.etag = first.etag
    commits.hold()
    second.send(body=sip.pidf("second"))
    net.turn()
    first.send(expires=0)
    net.turn()
    again.send(expires=600)
    net.turn()
    commits.let_go()
    net.settle()
    assert second.response is not None
    assert first.response is not None
    assert again.response is not None
    assert [second.response.status, first.response.status, again.response.status] == [200, 200, 412]


def newest(net: Network) -> list[bytes]:
    return [row[0] for row in net.rows("SELECT body FROM presentity ORDER BY received_time, received_order")]


def test_rfc3903_6_modifications_of_one_tick_are_in_the_order_received(net: Network, alice: Agent, bob: Agent) -> None:
    """The newest wins, also when the one before it was no ordinary one."""
    one, two, three = alice.publication(), alice.publication(), alice.publication()
    for publication in (one, two):
        publication.publish(body=sip.pidf("old", tuple_id="x"))
    bodies = [sip.pidf(text, tuple_id="x") for text in ("first", "second", "third")]
    one.content_type = "application/PIDF+xml"
    one.send(body=bodies[0], expires=600)
    two.send(body=bodies[1], expires=600)
    three.send(body=bodies[2], expires=600)
    net.settle()
    assert newest(net) == [body.encode() for body in bodies]
    two.send(body=bodies[0], expires=600)
    one.send(body=bodies[1], expires=600)
    net.settle()
    assert newest(net) == [bodies[2].encode(), bodies[0].encode(), bodies[1].encode()]


def test_rfc3903_6_an_odd_spelling_of_the_resource_keeps_the_order_too(net: Network, alice: Agent) -> None:
    one, two = alice.publication(uri="sip:%61lice@example.com"), alice.publication()
    bodies = [sip.pidf(text, tuple_id="x") for text in ("first", "second", "third")]
    two.publish(body=bodies[2])
    one.send(body=bodies[0], expires=600)
    two.send(body=bodies[1], expires=600)
    net.settle()
    assert newest(net) == [bodies[0].encode(), bodies[1].encode()]


def test_rfc3903_6_a_modification_comes_after_a_change_that_waits(net: Network, commits: Commits, alice: Agent) -> None:
    """Of the same resource, a tick before."""
    one, two, three = alice.publication(), alice.publication(), alice.publication()
    bodies = [sip.pidf(text, tuple_id="x") for text in ("first", "second", "third")]
    two.publish(body=bodies[0])
    commits.hold()
    one.send(body=bodies[0], expires=600)
    net.turn()
    three.send(body=bodies[1], expires=600)
    net.turn()
    two.send(body=bodies[2], expires=600)
    net.turn()
    commits.let_go()
    net.settle()
    assert newest(net) == [body.encode() for body in bodies]


# ---- what goes wrong in the middle ----


class Broken:
    """An observer whose log is full."""

    def __init__(self, *, verbose: bool) -> None:
        self.verbose = verbose

    def answered(self, *what: object) -> None:
        raise OSError("no space left on device")

    def ended(self, *what: object) -> None:
        pass

    def faulted(self, error: Exception, call_id: str) -> None:
        raise OSError("no space left on device")


def many(net: Network, count: int = 3) -> tuple[list[Publication], list[Agent]]:
    """Publications of one resource, and watchers of it."""
    publications = [net.agent(f"device{n}").publication() for n in range(count)]
    for n, publication in enumerate(publications):
        publication.publish(body=sip.pidf("old", tuple_id=f"t{n}"), expires=600)
    return publications, [net.agent(f"watcher{n}") for n in range(count)]


@pytest.mark.parametrize("verbose", [True, False])
def test_a_refused_commit_leaves_everything_as_it_was(net: Network, verbose: bool) -> None:
    publications, watchers = many(net)
    watches = [watcher.subscribe() for watcher in watchers]
    late = net.agent("late")
    net.node.observe(Broken(verbose=verbose))
    before = (
        len(net.node.table),
        sorted(net.rows("SELECT * FROM presentity")),
        net.rows("SELECT * FROM active_watchers"),
    )
    net.refuse_commits()
    for n, publication in enumerate(publications):
        publication.send(expires=500, body=sip.pidf("new") if n == 1 else "")
    for watch in watches:
        watch.send(expires=500)
    fresh = late.subscribe()
    assert {publication.response.status for publication in publications if publication.response} == {503}
    assert {watch.response.status for watch in [*watches, fresh] if watch.response} == {503}
    assert (
        len(net.node.table),
        sorted(net.rows("SELECT * FROM presentity")),
        net.rows("SELECT * FROM active_watchers"),
    ) == before
    assert net.node.pending() == 0
    assert net.node.compositor.waiting == 0
    net.refuse_commits(False)
    assert {publication.publish(expires=500).status for publication in publications} == {200}
    assert {watch.refresh().status for watch in [*watches, fresh]} == {200}
    assert len(net.node.table) == before[0] + 1
    assert all("old" in watch.body and "new" not in watch.body for watch in watches)


def test_a_database_that_takes_nothing_any_more_is_503(net: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    publications, watchers = many(net)
    watches = [watcher.subscribe() for watcher in watchers]

    def closed(writes: list[tuple[str, tuple[Value, ...]]], done: Callable[[StoreError | None], None]) -> None:
        raise StoreError("the database is closed")

    with monkeypatch.context() as patched:
        patched.setattr(net.store, "submit", closed)
        for publication in publications:
            publication.send(expires=500)
        for watch in watches:
            watch.send(expires=500)
        net.turn()
        published = net.agent("x").publication()
        published.send(body=sip.pidf("x"), expires=60)
        fresh = Subscription(net.agent("late"), ALICE)
        fresh.send(expires=600)
        patched.setattr(net.node.notify, "flush", lambda now: None)
        patched.setattr(net.node, "_purge_at", net.clock.at + 60)
        net.settle()
    assert {publication.response.status for publication in publications if publication.response} == {503}
    assert {watch.response.status for watch in [*watches, fresh] if watch.response} == {503}
    assert published.response is not None
    assert published.response.status == 503
    assert (len(net.node.table), len(net.node.compositor.tags)) == (len(watches), len(publications))
    assert net.node.pending() == 0
    assert {publication.publish(expires=500).status for publication in publications} == {200}
    assert {watch.refresh().status for watch in [*watches, fresh]} == {200}


@pytest.mark.parametrize("to", ["<tel:12>", "<urn:service:sos>", "<sip:@example.com>"])
@pytest.mark.parametrize("expires", [600, 0])
def test_a_to_that_names_nobody_takes_no_row(net: Network, bob: Agent, to: str, expires: int) -> None:
    heads = ("Event: presence", f"Contact: {bob.contact}", f"Expires: {expires}")
    answer = bob.ask(bob.request("SUBSCRIBE", ALICE, *heads, to=to))
    assert answer.status in (200, 400)
    net.advance(1)
    assert (len(net.node.table), net.node.pending()) == (0, 0)


def test_no_row_number_to_be_had_is_503_and_takes_no_row(net: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = len(net.node.table)

    def none(table: str) -> int:
        raise StoreError("no numbers")

    with monkeypatch.context() as patched:
        patched.setattr(net.store, "new_id", none)
        watch = net.agent("bob").subscribe()
        publication = net.agent("alice").publication()
        assert publication.publish(body=sip.pidf("x"), expires=60).status == 503
    assert len(net.node.compositor.tags) == 0
    assert watch.response is not None
    assert watch.response.status == 503
    assert (len(net.node.table), net.node.pending()) == (rows, 0)
    assert watch.refresh().status == 200


def test_a_document_that_cannot_be_made_keeps_no_other_watcher_waiting(
    net: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An event package may be anybody's."""
    watches = [net.agent(f"w{n}").subscribe(uri=f"sip:user{n}@example.com") for n in range(4)]
    told = [len(watch.notifies) for watch in watches]
    documents = net.node.notify._documents

    def fail(package: object, presentity: object) -> bytes:
        if getattr(presentity, "username", "") in ("user1", "fresh1"):
            raise RuntimeError("no document")
        return documents(package, presentity)  # type: ignore[arg-type]

    monkeypatch.setattr(net.node.notify, "_documents", fail)
    for n in range(4):
        net.node.notify.find(("presence", (f"user{n}", "example.com"))).stale = True  # type: ignore[union-attr]
    for watch in watches:
        watch.send(expires=500)
    fresh = [Subscription(net.agent(f"f{n}"), f"sip:fresh{n}@example.com") for n in range(3)]
    for subscription in fresh:
        subscription.send(expires=500)
    with pytest.raises(RuntimeError, match="no document"):
        net.turn()
    net.settle()
    assert {watch.response.status for watch in [*watches, *fresh] if watch.response} == {200}
    assert [len(watch.notifies) - before for watch, before in zip(watches, told, strict=True)] == [1, 0, 1, 1]
    assert [len(watch.notifies) for watch in fresh] == [1, 0, 1]
    assert net.node.pending() == 0


def test_a_modification_with_a_broken_body_holds_up_none_of_its_tick(net: Network) -> None:
    publications, _ = many(net)
    for publication, body in zip(publications, ("<presence", sip.pidf("new"), ""), strict=True):
        publication.send(body=body, expires=500)
    again = [net.agent("x").publication() for _ in publications]
    for publication, other in zip(publications, again, strict=True):
        other.etag = publication.etag
        other.send(expires=400)
    net.settle()
    assert [publication.response.status for publication in publications if publication.response] == [400, 200, 200]
    assert [publication.response.status for publication in again if publication.response] == [200, 412, 412]


# ---- rows and publications that go while a batch waits for its commit ----


def test_unsubscribe_behind_a_refresh_of_the_same_tick(net: Network, commits: Commits, bob: Agent) -> None:
    watch = bob.subscribe()
    commits.hold()
    watch.send(expires=500)
    watch.send(expires=0)
    watch.send(expires=500)
    net.turn()
    commits.let_go()
    net.settle()
    assert [message.status for _, message in bob.arrivals if not message.is_request] == [200, 200, 200, 481]
    assert watch.state == "terminated;timeout"
    assert (len(net.node.table), net.node.pending()) == (0, 0)


def test_a_subscription_refreshed_as_it_expires_goes_on(net: Network, commits: Commits, bob: Agent) -> None:
    watch = bob.subscribe(expires=60)
    net.clock.at += 62
    commits.hold()
    watch.send(expires=500)
    net.turn()
    net.turn()
    commits.let_go()
    net.advance(5)
    assert watch.response is not None
    assert watch.response.status == 200
    assert watch.alive


def test_rows_an_operator_took_end_what_a_batch_goes_on_with(net: Network, commits: Commits, bob: Agent) -> None:
    publications, _ = many(net)
    watch = bob.subscribe()
    net.store._connection.execute("DELETE FROM presentity")
    net.store._connection.execute("DELETE FROM active_watchers")
    commits.hold()
    for publication in publications:
        publication.send(expires=500)
    watch.send(expires=500)
    net.turn()
    commits.let_go()
    net.advance(1)
    assert (len(net.node.table), net.node.pending()) == (0, 0)
    assert net.node.compositor.counts() == {}
    assert watch.state == "terminated;deactivated"


def test_a_row_missed_while_a_batch_has_its_publication_is_missed_again(net: Network, commits: Commits) -> None:
    publications, _ = many(net, 1)
    net.store._connection.execute("DELETE FROM presentity")
    commits.hold()
    publications[0].send(expires=500)
    net.turn()
    (row_id,) = [held.row_id for held in net.node.compositor.holding._numbered if held is not None]
    net.node.compositor.missing(row_id)
    net.turn()
    commits.let_go()
    net.advance(1)
    assert net.node.compositor.counts() == {}
    assert net.node.pending() == 0


def test_the_group_of_a_subscription_on_its_way_may_go(
    net: Network, commits: Commits, bob: Agent, alice: Agent
) -> None:
    """The last watcher of a resource leaves while the next one's commit is awaited."""
    first = bob.subscribe()
    second = Subscription(alice, first.uri)
    commits.hold()
    first.send(expires=0)
    second.send(expires=600)
    net.turn()
    commits.let_go()
    net.settle()
    assert second.response is not None
    assert second.response.status == 200
    assert second.state == "active"
    assert len(net.node.table) == 1


def test_rules_made_open_by_a_restart_show_in_the_row_of_who_refreshes() -> None:
    """Who was pending is active, for an operator's script too."""
    net = Network("server.policy=rules")
    watch = net.agent("bob").subscribe()
    assert watch.state == "pending"
    assert net.rows("SELECT status FROM active_watchers") == [(2,)]
    net.config = load(assignments=("server.policy=open",))
    net.restart()
    assert watch.state == "active"
    assert watch.refresh().status == 200
    assert net.rows("SELECT status FROM active_watchers") == [(1,)]
    net.close()


# ---- a package whose publications have several types ----


class Weather:
    """Says what it was told, and as what."""

    name, content_type, publishable = "weather", "text/plain", ("text/plain", "text/markdown")
    default_expires_s, authorised, watches = 3600, False, ""

    def read(self, content_type: str, body: bytes) -> bytes:
        return content_type.encode() + b": " + body

    def compose(self, presentity: object, publications: list[object]) -> bytes:
        return b"".join(publication.document for publication in publications)  # type: ignore[attr-defined]


def test_the_same_body_of_another_type_is_read_anew() -> None:
    registry = load_packages()
    registry.register(Weather())  # type: ignore[arg-type]
    net = Network(registry=registry)
    publication = net.agent("alice").publication(event="weather", content_type="text/plain")
    publication.publish(body="fine", expires=600)
    watch = net.agent("bob").subscribe(event="weather")
    assert watch.body == "text/plain: fine"
    publication.content_type = "text/markdown"
    assert publication.publish(body="fine", expires=600).status == 200
    assert watch.body == "text/markdown: fine"
    net.close()


# ---- as long as it may be ----


@pytest.mark.parametrize("more", [0, 1])
@pytest.mark.parametrize("field", ["call_id", "from_tag", "event_id", "sender", "to", "contact"])
def test_the_longest_that_is_plain_and_one_more(net: Network, bob: Agent, field: str, more: int) -> None:
    """What a batch takes is written into buffers of its own; a byte more goes the general way to the same end."""
    texts = {"call_id": "c", "from_tag": "t", "event_id": "i", "sender": "s", "to": "a", "contact": "x"}
    frames = {
        "sender": "<sip:@example.com>;tag=t",
        "to": "<sip:@example.com>",
        "contact": f"<sip:bob@127.0.0.1:{bob.address[1]};>",
    }
    texts[field] *= 512 + more - len(frames.get(field, ""))
    contact = frames["contact"].replace(";", ";" + texts["contact"])
    before = net.node.transactions.ordinary()["SUBSCRIBE"][1]
    answers: list[str] = []
    to_tag, target = "", ALICE
    for cseq in (1, 2):
        heads = (f"Event: presence;id={texts['event_id']}", f"Contact: {contact}", "Expires: 600")
        answer = bob.ask(
            bob.request(
                "SUBSCRIBE",
                target,
                *heads,
                sender=f"<sip:{texts['sender']}@example.com>",
                to=f"<sip:{texts['to']}@example.com>",
                from_tag=texts["from_tag"],
                to_tag=to_tag,
                call_id=texts["call_id"],
                cseq=cseq,
            )
        )
        assert answer.status == 200
        to_tag, target = answer.to_tag, (answer.header("Contact") or "").strip("<>")
        notify = bob.notifies[-1]
        answers.append(notify.header("To") or "")
        assert (notify.call_id, notify.event_id) == (texts["call_id"], texts["event_id"])
        assert notify.uri == contact.strip("<>")
        assert notify.header("From") == f"<sip:{texts['to']}@example.com>;tag={to_tag}"
    assert answers == [f"<sip:{texts['sender']}@example.com>;tag={texts['from_tag']}"] * 2
    taken = net.node.transactions.ordinary()["SUBSCRIBE"][1] - before
    assert taken in (0, 1, 2)
    assert taken or more


def test_rfc6665_4_5_2_a_usage_that_is_left_alone_in_its_dialog_is_extended_in_its_own_row(
    net: Network, alice: Agent, bob: Agent
) -> None:
    """It stands in a table of its own, whose numbers say nothing about the rows of the other."""
    others = alice.subscribe(uri=ALICE, expires=900)
    first = bob.subscribe(expires=600)
    second = first.beside(event_id="2", expires=600)
    assert first.unsubscribe().status == 200
    net.restart()
    before = net.rows("SELECT * FROM active_watchers")
    cseq = second.dialog.cseq
    assert second.refresh(expires=3000).status == 200
    until = int(net.clock.at) + 3000
    assert net.rows("SELECT callid, expires FROM shared_watchers") == [(second.dialog.call_id, until)]
    assert net.rows("SELECT * FROM active_watchers") == before
    assert second.dialog.cseq > cseq
    assert others.alive
