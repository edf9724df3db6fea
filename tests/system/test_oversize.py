"""A document that no datagram can carry (RFC 3261 section 18.1.1): the watcher hears again of the next that fits."""

from pathlib import Path

import pytest
from process import ServerProcess, until
from wire import TcpAgent, UdpAgent, Watcher, notes, pidf

pytestmark = pytest.mark.system


def test_notify_too_large_for_udp_is_given_up_at_once_and_ends_nothing(tmp_path: Path):
    with ServerProcess(tmp_path) as server, UdpAgent(server.port) as bob, TcpAgent(server.port) as alice:
        watch = Watcher(bob)
        watch.subscribe()
        bob.notify()
        etags = []
        for name in ("one", "two"):
            published = alice.publish("alice", pidf("alice", (name, "open", "x" * 40_000)))
            assert published.status == 200
            etags.append(published["SIP-ETag"])
        assert set(notes(bob.notify().body)) == {"one"}
        until("given up", lambda: server.metric('presence_notifies_total{result="failed"}') == 1)
        sent = server.metric('presence_notifies_total{result="sent"}')
        # A refresh is answered by the state as it is, which does not fit; nothing is tried again by itself.
        assert watch.subscribe().status == 200
        until("given up again", lambda: server.metric('presence_notifies_total{result="failed"}') == 2)
        assert server.metric('presence_notifies_total{result="sent"}') == sent + 1
        assert server.metric('presence_notifies_total{result="retransmitted"}') == 0
        assert server.metric("presence_subscriptions") == 1
        assert alice.publish("alice", etag=etags[0], expires=0).status == 200
        assert set(notes(bob.notify().body)) == {"two"}
        server.assert_calm()
