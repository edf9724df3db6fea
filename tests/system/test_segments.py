"""NOTIFYs that share a next hop leave in one system call (UDP GSO); real sockets on loopback."""

import socket

import pytest

from presence._fastcore import CSEQ_STRIDE, Fanout, ServerTransactions, UdpSocket, build_response, parse

pytestmark = pytest.mark.system

NOW = 1_700_000_000.0
SECRET = bytes(range(16))


@pytest.fixture
def ours():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        yield sock


@pytest.fixture
def hops():
    socks = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(3)]
    for sock in socks:
        sock.bind(("127.0.0.1", 0))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        sock.settimeout(5)
    yield socks
    for sock in socks:
        sock.close()


def make_table(ours, **options):
    table = Fanout(SECRET, NOW, user_agent=b"test", **options)
    address = b"127.0.0.1:%d" % ours.getsockname()[1]
    table.add_link(ours.fileno(), reliable=False, via=b"UDP " + address, contact=address)
    return table


def fill(table, gid, number, port, **more):
    slot = table.reserve()
    # Call-IDs of different lengths: the kernel wants equal ones.
    call_id = b"c%d" % number + b"x" * (number % 40)
    local, remote = b"<sip:alice@example.com>", b"<sip:bob@example.com>"
    dialog = (b"sip:bob@127.0.0.1", b"", local, remote, b"f%d" % number, call_id, b"", b"", b"")
    table.fill(slot, gid, dialog, cseq_mark=CSEQ_STRIDE, expires_at=int(NOW) + 600, **more)
    table.set_target(slot, 0, "127.0.0.1", port)
    return slot


def fan_out(table, gid, body):
    table.set_body(gid, 1, b"Content-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
    table.notify_group(gid)
    while table.pump(NOW):
        pass


@pytest.mark.parametrize("size", [0, 500, 1400, 30_000])
@pytest.mark.parametrize("segmenting", [True, False])
def test_every_watcher_gets_its_own_notify_whole(ours, hops, segmenting, size):
    table = make_table(ours, segmenting=segmenting)
    gid = table.add_group(b"presence")
    count = 150 if size < 30_000 else 12
    slots = {fill(table, gid, n, hops[n % 3].getsockname()[1]): n for n in range(count)}
    body = b"x" * size
    fan_out(table, gid, body)
    seen = set()
    for hop in hops:
        for _ in range(count // 3):
            notify = parse(hop.recv(65536))
            assert notify.error == ""
            assert notify.body == body
            assert notify.header("User-Agent") == "test"
            assert notify.header("Subscription-State") == "active;expires=600"
            slot = int(notify.branch[11:19], 16)
            number = slots[slot]
            assert notify.call_id == f"c{number}" + "x" * (number % 40)
            assert notify.header("To") == f"<sip:bob@example.com>;tag=f{number}"
            assert hop is hops[number % 3]
            seen.add(slot)
    assert seen == set(slots)
    counts = table.counters()
    assert (counts["sent"], counts["unsent"]) == (count, 0)
    assert (counts["segmented"] > 0) is (segmenting and size < 30_000)


def test_segmented_notifies_are_answered_and_finished(ours, hops):
    table = make_table(ours)
    core = UdpSocket(ours.fileno(), table, ServerTransactions(SECRET, NOW), None)
    gid = table.add_group(b"presence")
    for number in range(64):
        fill(table, gid, number, hops[0].getsockname()[1])
    fan_out(table, gid, b"hi")
    for _ in range(64):
        lines = hops[0].recv(65536).split(b"\r\n")
        heads = [line for line in lines if line.startswith((b"Via:", b"From:", b"To:", b"Call-ID:", b"CSeq:"))]
        answer = b"\r\n".join([b"SIP/2.0 200 OK", *heads, b"Content-Length: 0", b"", b""])
        hops[0].sendto(answer, ours.getsockname())
        core.receive(NOW)
    assert table.counters()["completed"] == 64
    assert table.counters()["in_flight"] == 0


def test_watchers_in_different_states_and_few_to_a_hop(ours, hops):
    table = make_table(ours)
    gid = table.add_group(b"presence")
    fill(table, gid, 1, hops[0].getsockname()[1])
    fill(table, gid, 2, hops[0].getsockname()[1], pending=True)
    for number in range(3, 9):
        fill(table, gid, number, hops[1].getsockname()[1], pending=number % 2 == 0, view=2 - number % 2)
    fan_out(table, gid, b"secret")
    for hop, count in ((hops[0], 2), (hops[1], 6)):
        for _ in range(count):
            notify = parse(hop.recv(65536))
            pending = notify.header("Subscription-State").startswith("pending")
            assert notify.body == (b"" if pending else b"secret")


def test_no_more_is_sent_ahead_of_its_answers_than_the_receive_buffer_holds(ours, hops):
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 15)
    table = make_table(ours)
    gid = table.add_group(b"presence")
    for number in range(200):
        fill(table, gid, number, hops[0].getsockname()[1])
    fan_out(table, gid, b"state")
    window = table.counters()["in_flight"]
    assert 0 < window < 50
    assert table.counters()["queued"] == 200 - window
    # An answer makes room for one more ...
    assert table.match(parse(build_response(parse(hops[0].recv(65536)), 200, b"OK")), NOW)
    table.pump(NOW)
    assert table.counters()["sent"] == window + 1
    # ... and so does time: watchers that never answer hold nobody back.
    later = NOW
    while table.counters()["queued"]:
        later += 0.03
        table.pump(later)
    assert table.counters()["sent"] == 200
    assert later - NOW < 1
