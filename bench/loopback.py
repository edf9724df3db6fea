"""The denominator: datagrams exchanged over loopback by two processes that do nothing but the system calls.

One side sends batches of a request's size, the other (`python bench/loopback.py REQUEST RESPONSE`) sends back a
datagram of a response's size for each. Both use recvmmsg and sendmmsg on arrays prepared once, so that Python
makes two calls a batch and touches no datagram.
"""

import contextlib
import ctypes
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from typing import NamedTuple

BATCH = 128
"""Datagrams in one system call, as the server has it."""

MSG_WAITFORONE = 0x10000


class _Iovec(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("len", ctypes.c_size_t)]


class _Message(ctypes.Structure):
    """struct msghdr of 64-bit Linux."""

    _fields_ = [
        ("name", ctypes.c_void_p),
        ("name_len", ctypes.c_uint32),
        ("iov", ctypes.POINTER(_Iovec)),
        ("iov_len", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_len", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    ]


class _Header(ctypes.Structure):
    """struct mmsghdr."""

    _fields_ = [("message", _Message), ("len", ctypes.c_uint)]


_HOST = socket.inet_aton("127.0.0.1")
_libc = ctypes.CDLL(None, use_errno=True)


class Batch:
    """Datagrams of one size, to and from one port; addressed one by one, as the server has to."""

    def __init__(self, fd: int, port: int, size: int) -> None:
        self._fd = fd
        self._bytes = ctypes.create_string_buffer(b"x" * size * BATCH)
        start = ctypes.addressof(self._bytes)
        self._parts = (_Iovec * BATCH)(*[_Iovec(start + i * size, size) for i in range(BATCH)])
        self._name = ctypes.create_string_buffer(struct.pack("=H", socket.AF_INET) + struct.pack("!H4s8x", port, _HOST))
        named = {"name": ctypes.addressof(self._name), "name_len": 16, "iov_len": 1}
        self._headers = (_Header * BATCH)(
            *[_Header(_Message(iov=ctypes.pointer(part), **named)) for part in self._parts]
        )

    def send(self, count: int) -> None:
        """Send `count` datagrams, at most BATCH."""
        sent = _libc.sendmmsg(self._fd, self._headers, count, 0)
        if sent != count:
            raise OSError(ctypes.get_errno(), f"sendmmsg took {sent} of {count}")

    def receive(self) -> int:
        """Wait for one datagram and take all there are, up to BATCH; return how many."""
        received: int = _libc.recvmmsg(self._fd, self._headers, BATCH, MSG_WAITFORONE, None)
        if received < 0:
            raise OSError(ctypes.get_errno(), "recvmmsg")
        return received


def _open() -> socket.socket:
    opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * 1024 * 1024)
    opened.bind(("127.0.0.1", 0))
    return opened


class Exchange(NamedTuple):
    """One side, with the other in a process of its own."""

    pid: int
    """Of the other side."""
    requests: Batch
    responses: Batch

    def run(self, count: int, window: int) -> None:
        """Exchange `count` requests for responses with at most `window` of them unanswered."""
        left, flying = count, 0
        while left or flying:
            batch = min(left, window - flying, BATCH)
            if batch:
                self.requests.send(batch)
                left -= batch
                flying += batch
            else:
                flying -= self.responses.receive()


@contextlib.contextmanager
def exchanging(request_bytes: int, response_bytes: int) -> Iterator[Exchange]:
    """Start the other side for as long as the context lasts."""
    near = _open()
    port = near.getsockname()[1]
    command = [sys.executable, __file__, str(port), str(request_bytes), str(response_bytes)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        fd, far_port = near.fileno(), int(process.stdout.readline())
        yield Exchange(process.pid, Batch(fd, far_port, request_bytes), Batch(fd, far_port, response_bytes))
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()
        near.close()


def _answer(port: int, request_bytes: int, response_bytes: int) -> None:
    far = _open()
    print(far.getsockname()[1], flush=True)
    requests, responses = Batch(far.fileno(), port, request_bytes), Batch(far.fileno(), port, response_bytes)
    while os.getppid() != 1:
        responses.send(requests.receive())


if __name__ == "__main__":
    _answer(*map(int, sys.argv[1:]))
