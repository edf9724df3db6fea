"""Host names in Contact over real sockets, with a name server of our own (RFC 3263)."""

import socket
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

import pytest
from nameserver import NameServer
from process import PATIENCE_S, ServerProcess, until
from wire import TcpAgent, UdpAgent, Watcher, answer, hear, notes, pidf, request, unique

pytestmark = pytest.mark.system

TIMEOUT_MS = 400


@pytest.fixture(scope="module")
def names() -> Iterator[NameServer]:
    with NameServer() as running:
        yield running


@pytest.fixture(scope="module")
def server(names: NameServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("names")
    hosts = folder / "hosts"
    hosts.write_text("# ours\n127.0.0.1 fixed.example.com fixed\n")
    options = (names.option, f"--set=dns.timeout_ms={TIMEOUT_MS}", f"--set=dns.hosts_file={hosts}")
    with ServerProcess(folder, *options) as running:
        yield running
        running.assert_calm()


@pytest.fixture
def bob(server: ServerProcess) -> Iterator[UdpAgent]:
    with UdpAgent(server.port) as agent:
        yield agent


def host() -> str:
    return f"{unique('h')}.example.com"


def watch(agent: UdpAgent, contact: str) -> Watcher:
    watcher = Watcher(agent, unique("user"))
    assert watcher.subscribe(contact=contact).status == 200
    return watcher


def test_rfc3263_naptr_leads_to_srv_and_that_to_an_address(names: NameServer, bob: UdpAgent):
    domain = host()
    names.put(domain, "NAPTR", f'10 10 "s" "SIPS+D2T" "" _sips._tcp.{domain}.', f'20 10 "s" "SIP+D2U" "" _u.{domain}.')
    names.put(f"_u.{domain}", "SRV", f"1 0 {bob.port} a.{domain}.")
    names.put(f"a.{domain}", "A", "127.0.0.1")
    watch(bob, f"<sip:bob@{domain}>")
    assert bob.notify().start == f"NOTIFY sip:bob@{domain} SIP/2.0"
    assert names.asked[domain, "NAPTR"] == names.asked[f"_u.{domain}", "SRV"] == names.asked[f"a.{domain}", "A"] == 1
    assert names.asked[domain, "A"] == names.asked[f"a.{domain}", "AAAA"] == 0


def test_rfc3263_4_3_a_server_that_refuses_is_followed_by_the_next(
    names: NameServer, server: ServerProcess, bob: UdpAgent
):
    domain = host()
    with socket.socket() as nobody, TcpAgent(server.port) as there:
        nobody.bind(("127.0.0.1", 0))
        first, second = nobody.getsockname()[1], there.port
        names.put(f"_sip._tcp.{domain}", "SRV", f"1 0 {first} a.{domain}.", f"2 0 {second} a.{domain}.")
        names.put(f"a.{domain}", "A", "127.0.0.1")
        watch(bob, f"<sip:bob@{domain};transport=tcp>")
        there.stream.socket.close()
        there.accept()
        assert there.notify().start == f"NOTIFY sip:bob@{domain};transport=tcp SIP/2.0"


def test_an_alias_is_followed(names: NameServer, bob: UdpAgent):
    alias, domain = host(), host()
    names.put(alias, "CNAME", f"{domain}.")
    names.put(domain, "A", "127.0.0.1")
    watch(bob, f"<sip:bob@{alias}:{bob.port}>")
    bob.notify()


def test_an_answer_too_long_for_a_datagram_comes_over_tcp(names: NameServer, bob: UdpAgent):
    domain = host()
    names.put(domain, "A", "127.0.0.1")
    names.truncated.add(domain)
    watch(bob, f"<sip:bob@{domain}:{bob.port}>")
    bob.notify()
    assert names.asked_over_tcp[domain, "A"] == 1


def test_answers_are_remembered(names: NameServer, bob: UdpAgent):
    domain = host()
    names.put(domain, "A", "127.0.0.1")
    for _ in range(5):
        watch(bob, f"<sip:bob@{domain}:{bob.port}>")
        bob.notify()
    assert names.asked[domain, "A"] == 1


def test_the_file_of_hosts_comes_before_the_servers(names: NameServer, bob: UdpAgent):
    watch(bob, f"<sip:bob@fixed.example.com:{bob.port}>")
    bob.notify()
    assert names.asked["fixed.example.com", "A"] == 0


@pytest.mark.parametrize(
    ("trouble", "status"), [("missing", 400), ("failing", 500), ("silent", 500), ("garbage", 500), ("loop", 500)]
)
def test_who_cannot_be_found_is_refused_in_time(names: NameServer, bob: UdpAgent, trouble: str, status: int):
    domain = host()
    if trouble == "failing":
        names.failing.add(domain)
    elif trouble == "silent":
        names.silent.add(domain)
    elif trouble == "garbage":
        names.raw[domain] = b"\x81\x80\xff\xff\xff\xff\xff\xff\xff\xff" + b"\xc0\x0c" * 400
    elif trouble == "loop":
        names.put(domain, "CNAME", f"{domain}x.")
        names.put(f"{domain}x", "CNAME", f"{domain}.")
    began = monotonic()
    refused = Watcher(bob, unique("user")).subscribe(contact=f"<sip:bob@{domain}:{bob.port}>")
    assert refused.status == status
    assert monotonic() - began < 10 * TIMEOUT_MS / 1000
    assert bool(refused.all("Retry-After")) == (status == 500)


def test_a_huge_answer_is_not_read(names: NameServer, bob: UdpAgent):
    """Reading 64 KiB of records would keep everybody waiting."""
    domain = host()
    names.put(domain, "A", *[f"127.0.{n // 250}.{n % 250 + 1}" for n in range(3500)])
    names.truncated.add(domain)
    refused = Watcher(bob, unique("user")).subscribe(contact=f"<sip:bob@{domain}:{bob.port}>")
    assert refused.status == 500


def test_of_many_addresses_a_few_are_tried(names: NameServer, bob: UdpAgent):
    domain = host()
    names.put(domain, "A", *[f"127.0.0.{n}" for n in range(1, 101)])
    names.truncated.add(domain)
    answered = Watcher(bob, unique("user")).subscribe(contact=f"<sip:bob@{domain}:{bob.port};transport=tcp>")
    assert answered.status == 200


def test_a_slow_name_keeps_nobody_else_waiting(names: NameServer, tmp_path: Path):
    domain = host()
    names.silent.add(domain)
    options = (names.option, "--set=dns.timeout_ms=20000", "--set=server.drain_timeout_s=0")
    with ServerProcess(tmp_path, *options) as running, UdpAgent(running.port) as slow, UdpAgent(running.port) as carol:
        headers = f"Event: presence\r\nContact: <sip:bob@{domain}:{slow.port}>\r\n"
        slow.send(request("SUBSCRIBE", "sip:alice@example.com", via=slow.via, headers=headers))
        for _ in range(20):
            assert Watcher(carol, unique("user")).subscribe().status == 200
            carol.notify()
        slow.socket.setblocking(False)
        with pytest.raises(BlockingIOError):
            slow.receive()
        running.terminate()
        assert running.wait() == 0
        running.assert_calm()


def test_names_are_looked_up_anew_after_a_restart(names: NameServer, tmp_path: Path):
    domain = host()
    names.put(domain, "A", "127.0.0.1")
    with (
        ServerProcess(tmp_path, names.option) as running,
        UdpAgent(running.port) as agent,
        TcpAgent(running.port) as tcp,
    ):
        watch(agent, f"<sip:bob@{domain}:{agent.port}>")
        agent.notify()
        watcher = Watcher(tcp, "alice")
        watcher.subscribe(contact=f"<sip:bob@{domain}:{tcp.port};transport=tcp>")
        before = tcp.notify()
        running.kill()
        running.start()
        tcp.stream.socket.close()
        tcp.accept()
        assert tcp.notify()["Call-ID"] == before["Call-ID"]
        agent.notify()
        agent.publish("alice", pidf("alice", ("desk", "open", "back")))
        assert notes(tcp.notify().body) == {"desk": "back"}
        running.assert_calm()


def test_without_name_servers_a_name_stands_for_the_source(tmp_path: Path):
    with ServerProcess(tmp_path, "--set=dns.enabled=false") as running, UdpAgent(running.port) as agent:
        watch(agent, f"<sip:bob@anything.example.com:{agent.port}>")
        agent.notify()


def test_rfc5626_5_3_1_a_lost_flow_with_ob_is_not_replaced(tmp_path: Path):
    user = unique("user")
    # A server of its own: what others leave behind fails too.
    with ServerProcess(tmp_path) as server, UdpAgent(server.port) as bob, TcpAgent(server.port) as tcp:
        Watcher(tcp, user).subscribe(contact=tcp.contact.replace(">", ";ob>"))
        tcp.notify()
        tcp.hang_up()
        bob.publish(user, pidf(user, ("desk", "open", "unheard")))
        until("given up", lambda: server.metric('presence_notifies_total{result="failed"}') == 1)
        tcp.listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            tcp.listener.accept()


# ---- UDP to TCP by size (RFC 3261 section 18.1.1) ----

LARGE = "x" * 2000


def beside(tcp: TcpAgent) -> UdpAgent:
    """A UDP agent on the port that the other listens on."""
    while True:
        agent = UdpAgent(tcp.stream.socket.getpeername()[1])
        agent.socket.close()
        agent.socket, agent.port = socket.socket(socket.AF_INET, socket.SOCK_DGRAM), tcp.port
        try:
            agent.socket.bind(("127.0.0.1", tcp.port))
        except OSError:
            # Somebody else's; take another.
            agent.close()
            tcp.listener.close()
            tcp.listener = socket.create_server(("127.0.0.1", 0))
            tcp.port = tcp.listener.getsockname()[1]
            continue
        for known in (agent.socket, tcp.listener):
            known.settimeout(PATIENCE_S)
        return agent


def test_rfc3261_18_1_1_a_large_notify_goes_over_tcp_to_the_same_port(server: ServerProcess):
    user = unique("user")
    with TcpAgent(server.port) as tcp, UdpAgent(server.port) as publisher, beside(tcp) as bob:
        assert Watcher(bob, user).subscribe(contact=f"<sip:bob@127.0.0.1:{bob.port}>").status == 200
        first = bob.notify()
        assert first["Via"].startswith("SIP/2.0/UDP ")
        etag = publisher.publish(user, pidf(user, ("desk", "open", LARGE)))["SIP-ETag"]
        tcp.stream.socket.close()
        tcp.accept()
        large = tcp.notify()
        assert large["Via"].startswith("SIP/2.0/TCP ")
        assert large["Contact"] == first["Contact"]
        assert notes(large.body) == {"desk": LARGE}
        etag = publisher.publish(user, pidf(user, ("desk", "open", "small")), etag=etag)["SIP-ETag"]
        assert notes(bob.notify().body) == {"desk": "small"}
        publisher.publish(user, pidf(user, ("desk", "open", LARGE)), etag=etag)
        assert notes(tcp.notify().body) == {"desk": LARGE}


def test_rfc3261_18_1_1_where_tcp_is_refused_udp_takes_it(tmp_path: Path):
    user = unique("user")
    # A server of its own: what others leave behind is refused too.
    with ServerProcess(tmp_path) as server, UdpAgent(server.port) as bob:
        Watcher(bob, user).subscribe(contact=f"<sip:bob@127.0.0.1:{bob.port}>")
        bob.notify()
        etag = bob.publish(user, pidf(user, ("desk", "open", LARGE)))["SIP-ETag"]
        large = bob.notify()
        assert large["Via"].startswith("SIP/2.0/UDP ")
        assert notes(large.body) == {"desk": LARGE}
        bob.publish(user, pidf(user, ("desk", "open", LARGE + "y")), etag=etag)
        assert notes(bob.notify().body) == {"desk": LARGE + "y"}
        until("one attempt", lambda: server.metric('presence_drops_total{reason="connection refused"}') == 1)


def test_a_crowd_behind_one_socket_hears_a_large_document(server: ServerProcess, bob: UdpAgent):
    user = unique("user")
    for _ in range(200):
        Watcher(bob, user).subscribe(contact=f"<sip:bob@127.0.0.1:{bob.port}>")
        bob.notify()
    etag = ""
    for number in range(3):
        etag = bob.publish(user, pidf(user, ("desk", "open", f"{number}{LARGE}")), etag=etag)["SIP-ETag"]
        heard = [bob.notify() for _ in range(200)]
        assert {notes(notify.body)["desk"][0] for notify in heard} == {str(number)}
        assert len({notify["Call-ID"] for notify in heard}) == 200


# ---- IPv6 ----


def test_notifies_go_out_over_ipv6(names: NameServer, tmp_path: Path):
    domain = host()
    names.put(domain, "AAAA", "::1")
    with ServerProcess(tmp_path, "--listen=udp:[::1]:0", names.option) as running:
        port = next(int(name.rpartition(":")[2]) for name in running.ready["sip"] if "[" in name)
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as six:
            six.bind(("::1", 0))
            six.settimeout(30)
            own = six.getsockname()[1]
            for contact in (f"<sip:bob@[::1]:{own}>", f"<sip:bob@{domain}:{own}>"):
                headers = f"Event: presence\r\nContact: {contact}\r\n"
                six.sendto(
                    request("SUBSCRIBE", "sip:alice@example.com", via=f"UDP [::1]:{own}", headers=headers),
                    ("::1", port),
                )
                heard = [hear(six.recv(65535)) for _ in range(2)]
                assert heard[0].status == 200
                assert heard[1]["Via"].startswith(f"SIP/2.0/UDP [::1]:{port};")
                six.sendto(answer(heard[1]), ("::1", port))
        with UdpAgent(running.port) as agent:
            watch(agent, f"<sip:bob@[::ffff:127.0.0.1]:{agent.port}>")
            agent.notify()
        running.assert_calm()
