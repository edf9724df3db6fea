"""SIP over IPv6 sockets: UDP and TCP, beside IPv4 in one server."""

import socket
from collections.abc import Iterator

import pytest
from secure import Listeners, StreamAgent
from wire import PATIENCE_S, Stream, UdpAgent, Watcher, notes, pidf

pytestmark = pytest.mark.system

ENTRIES = ("udp:[::1]:0", "tcp:[::1]:0", "udp:127.0.0.1:0", "tcp:127.0.0.1:0")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Listeners]:
    with Listeners(tmp_path_factory.mktemp("server"), *ENTRIES) as server:
        yield server
        server.assert_calm()


class UdpAgentV6(UdpAgent):
    """A peer with a UDP socket on ::1."""

    def __init__(self, server_port: int) -> None:
        super().__init__(server_port)
        self.socket.close()
        self.socket = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        self.socket.bind(("::1", 0))
        self.socket.settimeout(PATIENCE_S)
        self.port = self.socket.getsockname()[1]
        self._server = ("::1", server_port)

    @property
    def via(self) -> str:
        return f"UDP [::1]:{self.port}"

    @property
    def contact(self) -> str:
        return f"<sip:bob@[::1]:{self.port}>"


def test_port_0_is_one_free_port_for_udp_and_tcp_of_each_address(server: Listeners) -> None:
    assert server.at("udp", "::1") == server.at("tcp", "::1")
    assert server.at("udp", "127") == server.at("tcp", "127")
    assert len(server.ready["sip"]) == 4


def test_publish_watch_notified_over_udp(server: Listeners) -> None:
    port = server.at("udp", "::1")[1]
    with UdpAgentV6(port) as agent:
        heard = Watcher(agent, "alice").subscribe()
        assert heard.status == 200
        assert f"@[::1]:{port}" in heard["Contact"]
        assert f";rport={agent.port}" in heard["Via"]
        assert agent.notify()["Via"].startswith(f"SIP/2.0/UDP [::1]:{port};")
        assert agent.publish("alice", pidf("alice", ("t", "open", "here"))).status == 200
        assert notes(agent.notify().body) == {"t": "here"}


def test_publish_watch_notified_over_tcp(server: Listeners) -> None:
    port = server.at("tcp", "::1")[1]
    with StreamAgent("TCP", socket.create_connection(("::1", port), PATIENCE_S)) as agent:
        heard = Watcher(agent, "bob").subscribe()
        assert f"@[::1]:{port};transport=tcp" in heard["Contact"]
        assert agent.notify()["Via"].startswith(f"SIP/2.0/TCP [::1]:{port};")
        assert agent.publish("bob", pidf("bob", ("t", "open", "here"))).status == 200
        assert notes(agent.notify().body) == {"t": "here"}


def test_rfc3261_18_1_1_a_lost_connection_is_opened_anew(server: Listeners) -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as home:
        home.settimeout(PATIENCE_S)
        with StreamAgent("TCP", socket.create_connection(server.at("tcp", "::1"), PATIENCE_S)) as agent:
            Watcher(agent, "carol").subscribe(contact=f"<sip:bob@[::1]:{home.getsockname()[1]};transport=tcp>")
            agent.notify()
        with UdpAgent(server.at("udp", "127")[1]) as publisher:
            publisher.publish("carol", pidf("carol", ("t", "open", "found")))
        connection, _ = home.accept()
        agent.stream = Stream(connection)
        assert notes(agent.notify().body) == {"t": "found"}
        connection.close()


def test_who_watches_over_ipv4_hears_of_who_publishes_over_ipv6(server: Listeners) -> None:
    with UdpAgent(server.at("udp", "127")[1]) as watcher, UdpAgentV6(server.at("udp", "::1")[1]) as publisher:
        Watcher(watcher, "dave").subscribe()
        watcher.notify()
        assert publisher.publish("dave", pidf("dave", ("t", "open", "across"))).status == 200
        assert notes(watcher.notify().body) == {"t": "across"}
