"""What Via and Contact name, where the listener's own address would be of no use to a peer."""

import pytest
from process import ServerProcess
from wire import UdpAgent, Watcher

from presence.transport.udp import own_address

pytestmark = pytest.mark.system


def test_own_address_is_the_listeners_unless_it_listens_everywhere():
    assert own_address("127.0.0.7") == "127.0.0.7"
    assert own_address("::1") == "::1"
    assert own_address("0.0.0.0") not in ("", "0.0.0.0")
    assert own_address("::") not in ("", "::")


def test_the_advertised_host_is_in_contact_and_via(tmp_path):
    with (
        ServerProcess(tmp_path, "--set", "server.advertised_host=sip.example.com") as server,
        UdpAgent(server.port) as bob,
    ):
        watcher = Watcher(bob, "alice")
        response = watcher.subscribe()
        assert f"@sip.example.com:{server.port}" in response["Contact"]
        notify = bob.notify()
        assert f"@sip.example.com:{server.port}" in notify["Contact"]
        assert notify["Via"].startswith(f"SIP/2.0/UDP sip.example.com:{server.port};")
