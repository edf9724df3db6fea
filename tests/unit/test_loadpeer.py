"""The load peer against a scripted server in a thread: what it sends, what it makes of what it gets."""

import contextlib
import re
import socket
import threading
from array import array
from collections.abc import Callable, Iterator

import pytest
import sip

from presence._fastcore import LoadPeer, Message, RawAnswerer, parse
from presence.loadtool.echo import exchange_us
from presence.loadtool.traffic import (
    MARK,
    MODIFY,
    PUBLISH,
    PUBLISH_TO_NOTIFY,
    REFRESH,
    REMOVE,
    RESUBSCRIBE,
    SUBSCRIBE,
    UNSUBSCRIBE,
    Hops,
    cut,
)
from presence.sip.digest import hash_account, read_credentials, respond

Datagrams = list[tuple[bytes, tuple[str, int]]]
Handle = Callable[[Message], Datagrams]

BODY, USERS, VERSIONS = cut("<presence entity='sip:u{user}@example.com'><note>bench-v{version}</note></presence>")


class Scripted(threading.Thread):
    """A UDP server whose answers a test writes; what came in is kept."""

    def __init__(self, handle: Handle) -> None:
        super().__init__(daemon=True)
        self._handle = handle
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self.requests: list[Message] = []
        self.responses: list[Message] = []

    def run(self) -> None:
        while True:
            data, source = self._socket.recvfrom(65535)
            if not data:
                self._socket.close()
                return
            message = parse(data)
            assert not message.error
            if not message.is_request:
                self.responses.append(message)
                continue
            self.requests.append(message)
            for answer, target in self._handle(message):
                self._socket.sendto(answer, target if target[1] else source)

    def stop(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as end:
            end.sendto(b"", ("127.0.0.1", self.port))
        self.join()


@contextlib.contextmanager
def against(handle: Handle, **options: float) -> Iterator[tuple[LoadPeer, Scripted]]:
    server = Scripted(handle)
    server.start()
    try:
        yield LoadPeer(server.port, b"testtest", b"example.com", BODY, USERS, VERSIONS, MARK, **options), server  # type: ignore[arg-type]
    finally:
        server.stop()


def back(*datagrams: bytes) -> Datagrams:
    """Address datagrams to where the request came from."""
    return [(datagram, ("", 0)) for datagram in datagrams]


def publish_ok(request: Message) -> Datagrams:
    return back(sip.answer(request, 200, f"SIP-ETag: tag{request.cseq}", "Expires: 60"))


def target(request: Message) -> tuple[str, int]:
    found = re.search(r"@([\d.]+):(\d+)>", request.header("Contact") or "")
    assert found is not None
    return found[1], int(found[2])


def notify(request: Message, cseq: int, version: int = 0, state: str = "active") -> tuple[bytes, tuple[str, int]]:
    """Write a NOTIFY for a SUBSCRIBE, addressed."""
    body = f"<note>bench-v{version:08}</note>" if version else ""
    message = sip.request(
        *("NOTIFY", f"sip:w@{target(request)[0]}", "Event: presence", f"Subscription-State: {state}"),
        sender=(request.header("To") or "").partition(";")[0],
        from_tag="server",
        to=(request.header("From") or "").partition(";")[0],
        to_tag=request.from_tag,
        call_id=request.call_id,
        cseq=cseq,
        body=body,
    )
    return message, target(request)


def subscribe_ok(request: Message, *extra: str) -> bytes:
    answer = sip.answer(request, 200, "Contact: <sip:server@127.0.0.1>", "Expires: 60", *extra)
    return answer if request.to_tag else re.sub(rb"(\r\nTo: [^\r]*)", rb"\1;tag=server", answer)


def test_rfc3261_22_2_a_challenge_is_answered_once_and_its_nonce_used_on():
    def handle(request: Message) -> Datagrams:
        given = request.header("Authorization")
        if given is None or "stale" in given:
            return back(sip.answer(request, 401, 'WWW-Authenticate: Digest realm="example.com", nonce="fresh"'))
        return publish_ok(request)

    with against(handle, proof=0) as (peer, server):
        users = peer.add_presentities(1)
        for kind in (PUBLISH, REFRESH):
            assert peer.run([(kind, users, 1, 1.0)], window=1, operations=1)[1]
        assert [peer.counts(kind) for kind in (PUBLISH, REFRESH)] == [(1, 1, 0), (1, 1, 0)]
        first, second, third = server.requests
        assert first.header("Authorization") is None
        assert len({request.branch for request in server.requests}) == 3
        assert [request.cseq for request in server.requests] == [1, 2, 3]
        for count, request in enumerate((second, third), 1):
            given = read_credentials(request.header("Authorization") or "")
            assert given is not None
            assert (given.username, given.nonce, given.uri, given.nc) == (
                "u00000000",
                "fresh",
                request.uri,
                f"{count:08x}",
            )
            ha1 = hash_account("MD5", "u00000000", "example.com", "bench")
            assert given.response == respond(given, ha1, "PUBLISH")


def test_a_challenge_to_the_answer_is_a_failure():
    def handle(request: Message) -> Datagrams:
        return back(sip.answer(request, 401, 'WWW-Authenticate: Digest realm="example.com", nonce="fresh"'))

    with against(handle, proof=1) as (peer, server):
        users = peer.add_presentities(1)
        assert peer.run([(PUBLISH, users, 1, 1.0)], window=1, operations=1)[1]
        assert peer.counts(PUBLISH) == (1, 0, 1)
        assert len(server.requests) == 2


def test_rfc3903_each_publish_names_the_entity_tag_of_the_one_before():
    with against(publish_ok) as (peer, server):
        users = peer.add_presentities(3)
        for kind in (PUBLISH, MODIFY, REFRESH, REMOVE, PUBLISH):
            assert peer.run([(kind, users, 3, 1.0)], window=2, operations=3)[1]
            assert peer.counts(kind) == (
                3 * (1 + (kind == PUBLISH and len(server.requests) > 3)),
                peer.counts(kind)[1],
                0,
            )
    first = [request for request in server.requests if request.uri == "sip:u00000000@example.com"]
    assert [request.header("SIP-If-Match") for request in first] == [None, "tag1", "tag2", "tag3", None]
    assert [request.expires for request in first] == [3600, 3600, 3600, 0, 3600]
    assert [re.findall(rb"v(\d+)", request.body) for request in first] == [
        [b"00000001"],
        [b"00000002"],
        [],
        [],
        [b"00000003"],
    ]
    assert b"u00000002@" in server.requests[2].body


def test_a_dialog_is_kept_with_its_target_tag_and_route_set():
    def handle(request: Message) -> Datagrams:
        answer = subscribe_ok(request, "Record-Route: <sip:one;lr>", "Record-Route: <sip:two;lr>")
        if not request.to_tag:
            # As Kamailio may: 202, compact and lower-case names, the NOTIFY first.
            answer = answer.replace(b" 200 ", b" 202 ").replace(b"Contact:", b"m:").replace(b"Via:", b"v:")
            answer = answer.replace(b"Call-ID:", b"i:").replace(b"To:", b"t:").replace(b"CSeq:", b"cseq:")
        state = "terminated" if request.expires == 0 else "active"
        return [notify(request, request.cseq, state=state), *back(answer)]

    with against(handle) as (peer, server):
        peer.add_presentities(1)
        watchers = peer.add_watchers(array("I", [0, 0]))
        for kind, active in ((SUBSCRIBE, 2), (RESUBSCRIBE, 2), (UNSUBSCRIBE, 0), (SUBSCRIBE, 2)):
            assert peer.run([(kind, watchers, 2, 1.0)], window=1, operations=2)[1], (
                kind,
                peer.counters(),
            )
            assert peer.active() == active
        assert peer.counters()["notifies"] == 8
        assert peer.counters()["strays"] == 0
    initial, _, refresh, _, end, _, again, _ = server.requests
    assert (initial.uri, refresh.uri, end.uri) == ("sip:u00000000@example.com", *["sip:server@127.0.0.1"] * 2)
    assert refresh.headers("Route") == ["<sip:two;lr>", "<sip:one;lr>"]
    assert [r.to_tag for r in (initial, refresh, end, again)] == ["", "server", "server", ""]
    assert [r.cseq for r in (initial, refresh, end, again)] == [1, 2, 3, 1]
    assert initial.call_id == refresh.call_id != again.call_id
    answers = [response for response in server.responses if response.call_id == initial.call_id]
    assert [(response.status, response.cseq) for response in answers] == [(200, 1), (200, 2), (200, 3)]


def test_what_is_wrong_with_notifies_is_counted():
    def handle(request: Message) -> Datagrams:
        if request.method == "PUBLISH":
            return publish_ok(request)
        sent = [notify(request, cseq, version) for cseq, version in ((1, 1), (1, 1), (4, 3), (3, 2), (3, 2), (5, 2))]
        return [*sent, *back(subscribe_ok(request))]

    with against(handle) as (peer, _):
        peer.add_presentities(1)
        watchers = peer.add_watchers(array("I", [0]))
        for kind in (PUBLISH, MODIFY, MODIFY, MODIFY):
            peer.run([(kind, 0, 1, 1.0)], window=1, operations=1)
        peer.reset()
        assert peer.run([(SUBSCRIBE, watchers, 1, 1.0)], window=1, operations=1)[1]
        counters = peer.counters()
        assert peer.behind() == 1
    assert counters["notifies"] == 6
    assert counters["duplicates"] == 2
    assert counters["out_of_order"] == 1
    assert counters["went_back"] == 1
    assert counters["coalesced"] == 1


def test_a_publish_that_awaits_its_watchers_ends_with_the_last_of_them():
    dialogs: list[Message] = []

    def handle(request: Message) -> Datagrams:
        if request.method == "SUBSCRIBE":
            dialogs.append(request)
            return [notify(request, 1, 1), *back(subscribe_ok(request))]
        version = int(re.findall(rb"v(\d+)", request.body)[0])
        # The newest version only for the last of three watchers: the others were told the one before.
        told = [notify(dialog, version, version) for dialog in dialogs]
        return [*publish_ok(request), *told]

    with against(handle) as (peer, _):
        peer.add_presentities(1)
        peer.run([(PUBLISH, 0, 1, 1.0)], window=1, operations=1)
        watchers = peer.add_watchers(array("I", [0, 0, 0]))
        peer.run([(SUBSCRIBE, watchers, 3, 1.0)], window=3, operations=3)
        peer.reset()
        assert peer.run([(MODIFY, 0, 1, 1.0)], window=1, operations=5, await_watchers=True)[1]
        assert peer.counters()["notifies"] == 15
        assert peer.counters()["coalesced"] == 0
        assert peer.behind() == 0
        number, p50, p90, p99, most = peer.latency(PUBLISH_TO_NOTIFY)
    assert number == 15
    assert 0 < p50 <= p90 <= p99 <= most


def test_rfc3261_17_1_2_an_unanswered_request_is_sent_again():
    def handle(request: Message) -> Datagrams:
        return publish_ok(request) if len(server.requests) == 3 else []

    with against(handle, t1_s=0.02) as (peer, server):
        peer.add_presentities(1)
        assert peer.run([(PUBLISH, 0, 1, 1.0)], window=1, operations=1)[1]
        assert peer.counters()["retransmitted"] == 2
    assert len({request.raw for request in server.requests}) == 1


def test_a_request_nobody_answers_ends_after_64_t1():
    with against(lambda request: [], t1_s=0.002, t2_s=0.004) as (peer, _):
        peer.add_presentities(1)
        assert peer.run([(PUBLISH, 0, 1, 1.0)], window=1, operations=1)[1]
        assert peer.counts(PUBLISH) == (1, 0, 1)
        assert peer.counters()["lost_requests"] == 1


def test_a_server_that_stopped_is_given_up():
    with against(lambda request: []) as (peer, _):
        peer.add_presentities(4)
        assert not peer.run([(PUBLISH, 0, 4, 1.0)], window=4, operations=4, patience_s=0.05)[1]
        assert peer.abandon() == 4
        assert peer.counters()["lost_requests"] == 4


def test_a_failure_is_counted_and_412_forgets_the_entity_tag():
    def handle(request: Message) -> Datagrams:
        return back(sip.answer(request, 412)) if request.header("SIP-If-Match") else publish_ok(request)

    with against(handle) as (peer, _):
        peer.add_presentities(1)
        peer.run([(PUBLISH, 0, 1, 1.0)], window=1, operations=1)
        peer.run([(REFRESH, 0, 1, 1.0)], window=1, operations=1)
        assert peer.counts(REFRESH) == (1, 0, 1)
        assert peer.counters()["last_status"] == 412
        assert peer.run([(PUBLISH, 0, 1, 1.0)], window=1, operations=1)[1]
        assert peer.counts(PUBLISH) == (2, 2, 0)


def test_an_open_loop_sends_at_its_rate_and_shares():
    with against(publish_ok) as (peer, _):
        peer.add_presentities(200)
        peer.run([(PUBLISH, 0, 100, 1.0)], window=10, operations=100)
        peer.reset()
        streams = [(REFRESH, 0, 50, 0.75), (MODIFY, 50, 50, 0.25)]
        wall_s, complete = peer.run(streams, window=64, operations=80, rate_per_s=1_000)
        assert complete
        assert wall_s >= 0.079
        assert peer.counts(REFRESH)[1] + peer.counts(MODIFY)[1] == 80
        assert abs(peer.counts(MODIFY)[1] - 20) <= 1


def test_lost_datagrams_change_nothing_in_the_end():
    with against(publish_ok, t1_s=0.02, t2_s=0.02, loss=0.3, seed=7) as (peer, _):
        peer.add_presentities(50)
        assert peer.run([(PUBLISH, 0, 50, 1.0)], window=10, operations=50)[1]
        assert peer.counts(PUBLISH)[1] == 50
        assert peer.counters()["dropped"] > 0
        assert peer.counters()["retransmitted"] > 0


def test_next_hops_are_sockets_times_addresses():
    def handle(request: Message) -> Datagrams:
        return [notify(request, 1), *back(subscribe_ok(request))]

    with against(handle, sockets=2, addresses=300) as (peer, server):
        peer.add_presentities(1)
        watchers = peer.add_watchers(array("I", [0] * 600))
        hops = [peer.hop(watcher) for watcher in range(601)]
        assert len(set(hops)) == 600
        assert hops[600] == hops[0]
        assert hops[599].startswith("127.0.1.44:")
        assert peer.run([(SUBSCRIBE, watchers, 600, 1.0)], window=16, operations=600)[1]
        assert peer.kernel_drops() == 0
    assert {"{}:{}".format(*target(request)) for request in server.requests} == set(hops)


def test_places_that_are_none_are_refused():
    with against(publish_ok) as (peer, _):
        peer.add_presentities(1)
        with pytest.raises(IndexError):
            peer.run([(PUBLISH, 0, 2, 1.0)], window=1, operations=1)
        with pytest.raises(ValueError, match="no kind"):
            peer.run([(9, 0, 1, 1.0)], window=1, operations=1)
        with pytest.raises(IndexError):
            peer.add_watchers(array("I", [1]))
        with pytest.raises(ValueError, match="window"):
            peer.run([(PUBLISH, 0, 1, 1.0)], window=0, operations=1)
        with pytest.raises(IndexError):
            peer.counts(7)
        with pytest.raises(IndexError):
            peer.latency(8)


@pytest.mark.parametrize("hops", [Hops(2, 1), Hops(1, 50)])
def test_the_raw_exchange_says_what_a_pair_costs(hops: Hops):
    assert 0.1 < exchange_us(hops, 1300, 300, 2_000) < 1_000


def test_the_raw_answerer_answers_with_a_datagram_of_its_size():
    answerer = RawAnswerer(1, 1, 77)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.bind(("127.0.0.1", 0))
        asking.sendto(b"x" * 500, ("127.0.0.1", answerer.ports()[0]))
        assert answerer.answer(0.02) == 1
        assert len(asking.recv(4096)) == 77
