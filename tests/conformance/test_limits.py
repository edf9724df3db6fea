"""What one user may ask for, hold and send: rates, quotas and sizes, on the batches and on the general path."""

from collections.abc import Iterator

import pytest
import sip
from net import Agent, Network, Subscription

from presence._fastcore import Message

ALICE = "sip:alice@example.com"


class Verbose:
    """Has every request take the general path (`Endpoint.hurried`)."""

    verbose = True

    def answered(self, *_: object) -> None: ...

    def ended(self, *_: object) -> None: ...

    def faulted(self, error: Exception, call_id: str) -> None:
        raise error


@pytest.fixture(params=["batches", "general"])
def path(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class Networks:
    """Makes networks whose requests take one of the two paths, and closes them."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.made: list[Network] = []

    def __call__(self, *assignments: str) -> Network:
        net = Network(*assignments)
        self.made.append(net)
        self.choose(net)
        return net

    def choose(self, net: Network) -> None:
        if self.path == "general":
            net.node.observe(Verbose())


@pytest.fixture
def network(path: str) -> Iterator[Networks]:
    networks = Networks(path)
    yield networks
    for net in networks.made:
        net.close()


def statuses(made: list[Subscription]) -> list[int]:
    return [one.response.status if one.response else 0 for one in made]


def subscribe(agent: Agent, count: int, *, uri: str = ALICE, expires: int = 600) -> list[Subscription]:
    """Subscribe in as many dialogs, all in one tick."""
    made = [Subscription(agent, uri) for _ in range(count)]
    for one in made:
        one.send(expires=expires)
    agent.net.settle()
    return made


# ---- rates ----


def test_rfc3261_21_5_1_a_user_above_his_rate_gets_500_with_retry_after(network: Networks) -> None:
    net = network("limits.user_rate=1", "limits.user_burst=5")
    bob, carol = net.agent("bob"), net.agent("carol")
    made = subscribe(bob, 8)
    assert statuses(made) == [200] * 5 + [500] * 3
    refused = [one.response for one in made[5:] if one.response]
    assert [(r.reason, r.header("Retry-After")) for r in refused] == [("Too Many Requests", "1")] * 3
    # Nobody else is held up, and after that time there is room again.
    assert statuses(subscribe(carol, 5)) == [200] * 5
    net.advance(1.01)
    assert statuses(subscribe(bob, 2)) == [200, 500]
    assert net.tally.responses["SUBSCRIBE", 500] == 4


def test_a_refresh_above_the_rate_ends_nothing(network: Networks) -> None:
    net = network("limits.user_rate=1", "limits.user_burst=1")
    bob = net.agent("bob")
    (watch,) = subscribe(bob, 1)
    assert watch.refresh(expires=600).status == 500
    net.advance(1.1)
    assert watch.refresh(expires=600).status == 200


def test_publish_and_options_are_counted_too_and_retransmissions_are_not(network: Networks) -> None:
    net = network("limits.user_rate=1", "limits.user_burst=3")
    alice = net.agent("alice")
    publication = alice.publication()
    assert publication.publish(body=sip.pidf("one")).status == 200
    refresh = alice.request("PUBLISH", ALICE, "Event: presence", f"SIP-If-Match: {publication.etag}", "Expires: 600")
    answers: list[Message | None] = []
    for _ in range(5):
        alice.send(refresh, then=answers.append)
        net.settle()
    assert {answer.status for answer in answers if answer} == {200}
    assert alice.ask(alice.request("OPTIONS", ALICE)).status == 200
    assert alice.ask(alice.request("OPTIONS", ALICE)).status == 500


# ---- quotas ----


def test_rfc3261_21_4_4_a_watcher_above_his_quota_gets_403(network: Networks) -> None:
    net = network("limits.subscriptions_per_watcher=3")
    bob, carol = net.agent("bob"), net.agent("carol")
    made = subscribe(bob, 5)
    assert statuses(made) == [200] * 3 + [403] * 2
    assert statuses(subscribe(carol, 4)) == [200] * 3 + [403]
    # A refresh is no new one; what ends makes room, however it ends.
    assert made[0].refresh(expires=600).status == 200
    assert made[0].unsubscribe().status == 200
    assert statuses(subscribe(bob, 2)) == [200, 403]
    bob.status = 481
    net.agent("alice").publication().publish(body=sip.pidf("news"))
    net.settle()
    bob.status = 200
    assert statuses(subscribe(bob, 4)) == [200] * 3 + [403]
    net.advance(700.0)
    assert statuses(subscribe(bob, 4)) == [200] * 3 + [403]


def test_rfc3857_4_7_1_a_watcher_has_no_more_than_so_many_that_are_pending(network: Networks) -> None:
    net = network("limits.subscriptions_per_watcher=2", "server.policy=rules")
    made = subscribe(net.agent("bob"), 3)
    assert statuses(made) == [200, 200, 403]
    assert [watch.state for watch in made[:2]] == ["pending", "pending"]


def test_rfc3857_4_7_1_a_watcher_has_no_more_than_so_many_that_wait(network: Networks) -> None:
    net = network("limits.subscriptions_per_watcher=2", "server.policy=rules")
    bob = net.agent("bob")
    uris = [f"sip:p{number}@example.com" for number in range(3)]
    assert [statuses(subscribe(bob, 1, uri=uri, expires=0)) for uri in uris] == [[200], [200], [403]]
    net.restart()
    assert [statuses(subscribe(bob, 1, uri=uri, expires=0)) for uri in uris] == [[200], [200], [403]]
    net.rows("UPDATE watchers SET status = 1 WHERE presentity_uri = 'sip:p0@example.com'")
    assert statuses(subscribe(bob, 1, uri=uris[2], expires=0)) == [200]


def test_a_refused_commit_counts_for_nobody(network: Networks) -> None:
    net = network("limits.subscriptions_per_watcher=2", "limits.subscriptions=10")
    bob = net.agent("bob")
    net.refuse_commits()
    assert statuses(subscribe(bob, 2)) == [503, 503]
    net.refuse_commits(False)
    assert statuses(subscribe(bob, 3)) == [200, 200, 403]


def test_a_fetch_counts_while_it_lasts(network: Networks) -> None:
    net = network("limits.subscriptions_per_watcher=1")
    bob = net.agent("bob")
    for _ in range(3):
        assert statuses(subscribe(bob, 1, expires=0)) == [200]
    assert statuses(subscribe(bob, 2)) == [200, 403]
    assert statuses(subscribe(bob, 1, expires=0)) == [403]


def test_subscriptions_per_presentity_source_and_in_all(network: Networks) -> None:
    net = network("limits.subscriptions_per_presentity=2")
    assert [statuses(subscribe(net.agent(name), 1))[0] for name in ("a", "b", "c")] == [200, 200, 403]
    assert statuses(subscribe(net.agent("d"), 1, uri="sip:bob@example.com")) == [200]

    net = network("limits.subscriptions_per_source=2")
    near, far = net.agent("near"), net.agent("far", host="127.0.0.9")
    assert statuses(subscribe(near, 3)) == [200, 200, 403]
    assert statuses(subscribe(far, 3)) == [200, 200, 403]

    net = network("limits.subscriptions_per_source=2", "limits.trusted=127.0.0.9/32")
    assert statuses(subscribe(net.agent("proxy", host="127.0.0.9"), 5)) == [200] * 5

    net = network("limits.subscriptions=3")
    made = subscribe(net.agent("bob"), 5)
    assert statuses(made) == [200] * 3 + [503] * 2
    assert made[4].response is not None
    assert 5 <= int(made[4].response.header("Retry-After") or 0) <= 10


@pytest.mark.parametrize("limit", ["watcher", "source", "presentity"])
def test_a_restart_counts_what_is_there(network: Networks, limit: str) -> None:
    net = network(f"limits.subscriptions_per_{limit}=3")
    bob = net.agent("bob")
    made = subscribe(bob, 2)
    net.restart()
    network.choose(net)
    assert statuses(subscribe(bob, 2)) == [200, 403]
    assert made[0].unsubscribe().status == 200
    assert statuses(subscribe(bob, 2)) == [200, 403]


def test_publications_per_source_and_in_all(network: Networks) -> None:
    net = network("limits.publications_per_source=2")
    near, far = net.agent("near"), net.agent("far", host="127.0.0.9")

    def publish(agent: Agent, count: int) -> list[int]:
        made = [agent.publication(uri=f"sip:p{number}@example.com") for number in range(count)]
        for one in made:
            one.send(body=sip.pidf("x"))
        net.settle()
        kept.extend(made)
        return [one.response.status if one.response else 0 for one in made]

    kept = []
    assert publish(near, 3) == [200, 200, 403]
    assert publish(far, 3) == [200, 200, 403]
    assert {row[0] for row in net.rows("SELECT sender FROM presentity")} == {"sip:127.0.0.1", "sip:127.0.0.9"}
    net.restart()
    network.choose(net)
    assert publish(near, 1) == [403]
    assert kept[0].publish(expires=0).status == 200
    assert publish(near, 2) == [200, 403]
    net.advance(4000.0, step_s=50.0)
    assert publish(near, 3) == [200, 200, 403]

    net = network("limits.publications=2")
    assert publish(net.agent("near"), 3) == [200, 200, 503]
    assert net.rows("SELECT DISTINCT sender FROM presentity") == [(None,)]


def test_publications_per_user_can_be_lifted(network: Networks) -> None:
    net = network("limits.publications_per_user=0")
    alice = net.agent("alice")
    assert {alice.publication().publish(body=sip.pidf(f"n{n}", tuple_id=f"t{n}")).status for n in range(70)} == {200}
    net = network("limits.publications_per_user=2")
    alice = net.agent("alice")
    assert [alice.publication().publish(body=sip.pidf(f"n{n}")).status for n in range(3)] == [200, 200, 403]


# ---- sizes ----


def test_rfc3261_21_4_11_a_body_above_the_limit_is_413(network: Networks) -> None:
    net = network("limits.body_bytes=1000")
    alice = net.agent("alice")
    publication = alice.publication()
    small, large = sip.pidf("x"), sip.pidf("x" * 1000)
    assert publication.publish(body=large).status == 413
    assert publication.publish(body=small).status == 200
    assert publication.publish(body=large).status == 413
    assert publication.publish(body=small).status == 200
    assert alice.ask(alice.request("OPTIONS", ALICE, body=large)).status == 413


def test_rfc3261_21_4_12_a_request_uri_above_the_limit_is_414(network: Networks) -> None:
    net = network("limits.uri_bytes=100")
    alice = net.agent("alice")

    def answer(method: str, size: int) -> int:
        uri = f"sip:{'a' * (size - len('sip:@example.com'))}@example.com"
        extra = ("Event: presence", f"Contact: {alice.contact}", "Expires: 0")
        return alice.ask(alice.request(method, uri, *extra)).status

    assert {answer(method, 101) for method in ("SUBSCRIBE", "PUBLISH", "OPTIONS")} == {414}
    assert answer("SUBSCRIBE", 100) == 200
    assert answer("OPTIONS", 100) == 200


@pytest.mark.parametrize("joined", [False, True])
@pytest.mark.parametrize("method", ["SUBSCRIBE", "OPTIONS"])
def test_rfc3261_21_4_21_a_request_over_more_than_70_hops_is_483(network: Networks, method: str, joined: bool) -> None:
    net = network()
    bob = net.agent("bob")

    def answer(hops: int) -> int:
        others = [f"SIP/2.0/UDP h{number}.example.com;branch=z9hG4bK{sip.fresh('v')}" for number in range(hops - 1)]
        vias = (f"Via: {', '.join(others)}",) if joined else tuple(f"Via: {other}" for other in others)
        extra = ("Event: presence", f"Contact: {bob.contact}", "Expires: 600")
        return bob.ask(bob.request(method, ALICE, *vias, *extra)).status

    assert answer(70) == 200
    assert answer(71) == 483


def test_rfc3261_21_5_7_a_message_above_the_limit_of_a_stream_is_513(network: Networks) -> None:
    net = network()
    bob = net.agent("bob", transport="TCP")
    request = bob.request("OPTIONS", ALICE)
    assert bob.ask(request.replace(b"Content-Length: 0", b"Content-Length: 70000")).status == 513


BLOAT = "x" * 300


@pytest.mark.parametrize(
    ("method", "extra"),
    [
        ("NONSENSE", ()),
        ("OPTIONS", ("Require: a, b, c",)),
        ("SUBSCRIBE", ("Event: nonsense",)),
        ("SUBSCRIBE", ()),
        ("PUBLISH", ("Event: presence", "SIP-If-Match: nothing")),
        ("PUBLISH", ("Event: presence", "Content-Type: text/plain")),
        ("SUBSCRIBE", ("Event: presence", "Accept: text/html", "Contact: <sip:bob@127.0.0.1>")),
        ("CANCEL", ()),
        ("BYE", ()),
        ("REGISTER", ("Contact: *",)),
    ],
)
def test_a_failure_response_is_not_much_larger_than_its_request(
    network: Networks, method: str, extra: tuple[str, ...]
) -> None:
    net = network()
    bob = net.agent("bob")
    for bloat in ((), (f"Subject: {BLOAT}", f"User-Agent: {BLOAT}")):
        request = bob.request(method, ALICE, *extra, *bloat, body="x" if method == "PUBLISH" else "")
        response = bob.ask(request)
        assert response.status >= 400
        # Via, From, To, Call-ID and CSeq come back; what is ours is bounded, Allow-Events the longest of it.
        assert len(response.raw) <= len(request) + 400 - len("".join(bloat))
