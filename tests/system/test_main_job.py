"""Publish, watch, be notified: over real sockets, on UDP, on TCP, and from one to the other."""

from collections.abc import Iterator

import pytest
from process import ServerProcess, until
from wire import Agent, TcpAgent, UdpAgent, Watcher, answer, hear, notes, parameter, pidf, request, unique

pytestmark = pytest.mark.system

CROWD = 500
OPTIONS = "sip:example.com"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path_factory.mktemp("main-job")) as running:
        yield running
        running.assert_calm()


@pytest.fixture
def udp(server: ServerProcess) -> Iterator[UdpAgent]:
    with UdpAgent(server.port) as agent:
        yield agent


@pytest.fixture
def tcp(server: ServerProcess) -> Iterator[TcpAgent]:
    with TcpAgent(server.port) as agent:
        yield agent


@pytest.fixture(params=["udp", "tcp", "tcp to udp", "udp to tcp"])
def pair(request: pytest.FixtureRequest) -> tuple[Agent, Agent]:
    """A publisher and a watcher."""
    publisher, _, watcher = request.param.partition(" to ")
    return request.getfixturevalue(publisher), request.getfixturevalue(watcher or publisher)


def test_publish_watch_notified(pair: tuple[Agent, Agent]):
    publisher, agent = pair
    user = unique("user")
    watcher = Watcher(agent, user)
    assert watcher.subscribe().status == 200
    first = agent.notify()
    assert b"<basic>closed</basic>" in first.body
    assert first["Subscription-State"].startswith("active;expires=")

    initial = publisher.publish(user, pidf(user, ("desk", "open", "here")))
    assert (initial.status, initial["Expires"]) == (200, "600")
    told = agent.notify()
    assert (told["Content-Type"], told["Event"]) == ("application/pidf+xml", "presence")
    assert notes(told.body) == {"desk": "here"}
    assert told.cseq == first.cseq + 1

    modified = publisher.publish(user, pidf(user, ("desk", "open", "busy")), etag=initial["SIP-ETag"])
    assert modified.status == 200
    assert notes(agent.notify().body) == {"desk": "busy"}

    removed = publisher.publish(user, etag=modified["SIP-ETag"], expires=0)
    assert removed.status == 200
    assert b"<basic>closed</basic>" in agent.notify().body

    assert watcher.subscribe(expires=0).status == 200
    assert agent.notify()["Subscription-State"] == "terminated;reason=timeout"


def test_two_devices_make_one_document(udp: UdpAgent, tcp: TcpAgent):
    user = unique("user")
    Watcher(udp, user).subscribe()
    udp.notify()
    tcp.publish(user, pidf(user, ("desk", "open", "one")))
    udp.notify()
    udp.publish(user, pidf(user, ("phone", "open", "two")))
    assert notes(udp.notify().body) == {"desk": "one", "phone": "two"}


def test_rfc3581_4_rport_and_received_name_the_source(udp: UdpAgent):
    udp.send(request("OPTIONS", OPTIONS, via="UDP 127.0.0.9:9"))
    via = udp.response()["Via"]
    assert parameter(via, "rport") == str(udp.port)
    assert parameter(via, "received") == "127.0.0.1"


def test_messages_in_one_segment_are_answered_in_order(tcp: TcpAgent):
    tcp.send(b"".join(request("OPTIONS", OPTIONS, via=tcp.via, cseq=cseq) for cseq in range(1, 51)))
    assert [tcp.response().cseq for _ in range(50)] == list(range(1, 51))


def test_a_message_in_many_segments_is_put_together(tcp: TcpAgent):
    user = unique("user")
    body = pidf(user, ("desk", "open", "here"))
    headers = "Event: presence\r\nExpires: 600\r\nContent-Type: application/pidf+xml\r\n"
    whole = request("PUBLISH", f"sip:{user}@example.com", via=tcp.via, headers=headers, body=body)
    for at in range(0, len(whole), 7):
        tcp.send(whole[at : at + 7])
    assert tcp.response().status == 200


def test_rfc5626_4_4_1_keep_alive_is_answered(tcp: TcpAgent):
    tcp.send(b"\r\n\r\n")
    assert tcp.stream.socket.recv(100) == b"\r\n"
    assert tcp.ask("OPTIONS", OPTIONS).status == 200


def test_a_retransmission_gets_the_same_answer_and_changes_nothing(udp: UdpAgent):
    user = unique("user")
    headers = "Event: presence\r\nExpires: 600\r\nContent-Type: application/pidf+xml\r\n"
    body = pidf(user, ("desk", "open", "here"))
    message = request("PUBLISH", f"sip:{user}@example.com", via=udp.via, headers=headers, body=body)
    udp.send(message)
    first = udp.response()
    udp.send(message)
    assert udp.response() == first


def test_hundreds_of_watchers_on_one_socket_hear_every_change(server: ServerProcess, udp: UdpAgent):
    user = unique("user")
    watchers = [Watcher(udp, user) for _ in range(CROWD)]
    for watcher in watchers:
        assert watcher.subscribe().status == 200
        udp.notify()
    with UdpAgent(server.port) as publisher:
        etag = ""
        for round_number in range(3):
            told = publisher.publish(user, pidf(user, ("desk", "open", str(round_number))), etag=etag)
            assert told.status == 200
            etag = told["SIP-ETag"]
            heard = [udp.notify() for _ in range(CROWD)]
            assert {notes(notify.body)["desk"] for notify in heard} == {str(round_number)}
            assert len({notify["Call-ID"] for notify in heard}) == CROWD


def test_rfc3261_18_1_1_a_lost_connection_is_opened_anew_to_the_contact(udp: UdpAgent, tcp: TcpAgent):
    user = unique("user")
    watcher = Watcher(tcp, user)
    watcher.subscribe()
    before = tcp.notify()
    tcp.hang_up()
    udp.publish(user, pidf(user, ("desk", "open", "later")))
    tcp.accept()
    after = tcp.notify()
    assert notes(after.body) == {"desk": "later"}
    assert after.cseq > before.cseq
    assert watcher.subscribe().status == 200
    assert notes(tcp.notify().body) == {"desk": "later"}


def test_an_unanswered_notify_is_repeated_over_udp(udp: UdpAgent):
    Watcher(udp, unique("user")).subscribe()
    first = udp.receive()
    again = udp.receive()
    assert again == first
    udp.send(answer(again))


def test_a_refused_notify_ends_the_subscription(server: ServerProcess, udp: UdpAgent):
    watcher = Watcher(udp, unique("user"))
    watcher.subscribe()
    udp.notify("481 Subscription Does Not Exist")
    until("the refresh is refused", lambda: watcher.subscribe().status == 481)


def test_a_refresh_longer_than_a_dialog_may_be_changes_nothing(udp: UdpAgent):
    watcher = Watcher(udp, unique("user"))
    watcher.subscribe()
    udp.notify()
    assert watcher.subscribe(contact=f"<sip:bob@127.0.0.1:{udp.port};x={'x' * 20000}>").status == 400
    assert watcher.subscribe().status == 200
    udp.notify()


def test_a_subscription_longer_than_a_dialog_may_be_is_not_stored(server: ServerProcess, udp: UdpAgent):
    watcher = Watcher(udp, unique("user"))
    before = server.metric("presence_commit_seconds_count")
    assert watcher.subscribe(contact=f"<sip:bob@127.0.0.1:{udp.port};x={'x' * 20000}>").status == 400
    assert watcher.subscribe(event=f"presence;id={'x' * 2000}").status == 400
    assert server.metric("presence_commit_seconds_count") == before


def test_a_route_that_is_not_utf8_survives_a_refresh(udp: UdpAgent):
    watcher = Watcher(udp, unique("user"))
    route = f'Record-Route: "\udcff" <sip:127.0.0.1:{udp.port};lr>\r\n'
    assert watcher.subscribe(headers=route).status == 200
    assert "\udcff" in udp.notify()["Route"]
    assert watcher.subscribe().status == 200
    assert "\udcff" in udp.notify()["Route"]


def test_garbage_between_requests_harms_nobody(udp: UdpAgent):
    for garbage in (b"\x00", b"\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 2000, b"SIP/2.0 200 OK\r\n\r\n"):
        udp.send(garbage)
    assert udp.ask("OPTIONS", OPTIONS).status == 200


def test_an_unframeable_stream_is_closed(tcp: TcpAgent):
    tcp.send(b"OPTIONS sip:example.com SIP/2.0\r\nContent-Length: many\r\n\r\n")
    data = b""
    while received := tcp.stream.socket.recv(65535):
        data += received
    assert not data or hear(data).status == 400
