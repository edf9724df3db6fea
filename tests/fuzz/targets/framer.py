"""Cutting a stream: where it was cut on its way does not matter, and nothing is held beyond the bound.

The first byte says how many cuts there are, the next ones how far apart; the rest is the stream.
"""

from collections.abc import Iterable

from fuzz.targets import parser
from presence._fastcore import Framer

BOUND = 1500


def run(data: bytes) -> None:
    if not data:
        return
    count = data[0] % 24
    cuts, stream = data[1 : 1 + count], data[1 + count :]
    whole, pieces = Framer(BOUND), Framer(BOUND)
    expected = [(message.raw, message.error) for message in whole.feed(stream)]
    got, at = [], 0
    for size in [cut * 3 + 1 for cut in cuts] + [len(stream)]:
        got += [(message.raw, message.error) for message in pieces.feed(stream[at : at + size])]
        at += size
        assert pieces.buffered <= BOUND + 255 * 3 + 1
    assert got == expected
    assert (pieces.broken, pieces.pings) == (whole.broken, whole.pings)
    assert pieces.broken or pieces.buffered == whole.buffered
    for raw, _ in got:
        assert raw in stream


def seeds() -> Iterable[bytes]:
    messages = list(parser.seeds())
    for message in messages:
        yield b"\x00" + message + b"\r\n\r\n" + message
    yield b"\x05\x01\x10\x20\x30\x40" + b"".join(messages[:4])
    yield b"\x02\x00\x00" + b"\r\n\r\n\r\n" + messages[0] + b"\r\n"
