"""The torture messages over real sockets on loopback: the compiled listener answers as the dry server does.

A response without rport goes to the port in Via, which is often 5060; so the sender has a loopback address of its own,
where nobody else listens.
"""

import os
import socket
from pathlib import Path

import pytest
from process import PATIENCE_S, ServerProcess
from torture import messages
from torture.cases import RFC4475, RFC5118, SILENCE, Case
from wire import hear

from presence._fastcore import parse

pytestmark = pytest.mark.system

OWN = f"127.{1 + os.getpid() % 250}.{os.getpid() // 250 % 250}.77"
AGAIN = b"OPTIONS sip:again SIP/2.0\r\nVia: SIP/2.0/%b x:%d;branch=z9hG4bKagain%b\r\nFrom: <sip:x@y>;tag=1\r\n" \
        b"To: <sip:z@y>\r\nCall-ID: again\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"  # fmt: skip


def over_udp(server: ServerProcess, case: Case, data: bytes) -> int:
    message = parse(data)
    message.set_source(OWN, 0)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        # With rport the answer comes back to whatever port this is.
        peer.bind((OWN, message.reply_address[1]))
        port = peer.getsockname()[1]
        peer.settimeout(PATIENCE_S)
        peer.sendto(data, ("127.0.0.1", server.port))
        if case.status == SILENCE:
            # What comes first is the answer to what was sent next.
            peer.sendto(AGAIN % (b"UDP", port, case.tag.encode()), ("127.0.0.1", server.port))
        response = hear(peer.recv(65535))
        assert (response.all("Call-ID") == ["again"]) == (case.status == SILENCE)
        return SILENCE if case.status == SILENCE else response.status


def over_tcp(server: ServerProcess, case: Case, data: bytes) -> int:
    with socket.create_connection(("127.0.0.1", server.port), PATIENCE_S) as peer:
        peer.sendall(data)
        if case.status == SILENCE:
            peer.sendall(AGAIN % (b"TCP", 5060, case.tag.encode()))
        heard = b""
        while b"\r\n\r\n" not in heard:
            piece = peer.recv(65535)
            assert piece, "the connection was closed"
            heard += piece
        response = hear(heard)
        assert (response.all("Call-ID") == ["again"]) == (case.status == SILENCE)
        return SILENCE if case.status == SILENCE else response.status


def unshared(data: bytes, tag: bytes) -> bytes:
    return data.replace(b"branch=z9hG4bK", b"branch=z9hG4bK" + tag).replace(b"Call-ID: ", b"Call-ID: " + tag)


def test_every_torture_message_is_answered_over_the_wire(tmp_path: Path) -> None:
    cases = [(case, messages("rfc4475")[case.tag]) for case in RFC4475]
    # Most of RFC 5118 share branch and Call-ID, and would be retransmissions of one another.
    cases += [(case, unshared(messages("rfc5118")[case.tag], case.tag.encode())) for case in RFC5118]
    with ServerProcess(tmp_path) as server:
        for case, data in cases:
            send = over_udp if b"SIP/2.0/UDP" in data or parse(data).via_transport == "UDP" else over_tcp
            assert send(server, case, data) == case.status, case.tag
        assert server.alive
        assert "Traceback" not in server.log()
