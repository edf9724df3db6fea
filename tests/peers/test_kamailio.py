"""The configurations in bench/peers/ really serve presence: what is published reaches its watchers."""

import re
import socket
import time
from pathlib import Path

import pytest
import sip

from presence._fastcore import Message, parse
from presence.loadtool.peers import Kamailio, PeerMissing
from presence.loadtool.traffic import MODIFY, RESUBSCRIBE, Hops, Traffic

pytestmark = pytest.mark.peer

BODY = sip.pidf("in a meeting")


def peer(mode: str) -> Kamailio:
    try:
        return Kamailio(mode, 1)
    except PeerMissing as missing:
        pytest.skip(str(missing))


def receive(own: socket.socket, port: int, method: str) -> Message:
    """Return the next request of a method, answered 200, or response to one."""
    until = time.monotonic() + 5
    while time.monotonic() < until:
        message = parse(own.recv(65535))
        if message.is_request:
            own.sendto(sip.answer(message, 200), ("127.0.0.1", port))
        if message.method == method:
            return message
    raise AssertionError(f"no {method}")


@pytest.mark.parametrize("mode", ["memory", "durable"])
def test_a_publication_reaches_its_watcher_on_the_wire(tmp_path: Path, mode: str):
    server = peer(mode).start(tmp_path)
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
            own.bind(("127.0.0.1", 0))
            own.settimeout(5)
            at = "{}:{}".format(*own.getsockname())
            for method, extra, body in (
                ("PUBLISH", ["Content-Type: application/pidf+xml"], BODY),
                ("SUBSCRIBE", [f"Contact: <sip:bob@{at}>", "Accept: application/pidf+xml"], ""),
            ):
                heads = ["Event: presence", "Expires: 600", *extra]
                sent = sip.request(method, "sip:alice@example.com", *heads, via=f"SIP/2.0/UDP {at};rport", body=body)
                own.sendto(sent, ("127.0.0.1", server.port))
                if method == "PUBLISH":
                    assert receive(own, server.port, "PUBLISH").header("SIP-ETag")
            notify = receive(own, server.port, "NOTIFY")
            while not notify.body:
                notify = receive(own, server.port, "NOTIFY")
        assert re.search(rb"<note[^>]*>in a meeting</note>", notify.body)
        assert b"open</basic>" in notify.body
    finally:
        server.stop()


@pytest.mark.parametrize("mode", ["memory", "durable"])
def test_the_load_peer_sees_every_version_of_it(tmp_path: Path, mode: str):
    server = peer(mode).start(tmp_path)
    try:
        traffic = Traffic(server, Hops(2, 10), most_in_flight=8)
        users = traffic.published(5)
        watchers = traffic.watched(users, 3)
        measure = traffic.measure([(MODIFY, users, 1.0)], operations=20, await_watchers=True)
        assert (measure.lost, measure.failed, measure.counters["coalesced"]) == (0, 0, 0)
        assert measure.latencies["publish_to_notify"].number == 60
        measure = traffic.measure([(RESUBSCRIBE, watchers, 1.0)], operations=30)
        assert (measure.operations, measure.lost, measure.failed) == (30, 0, 0)
        assert measure.cpu_s > 0
    finally:
        server.stop()
