import time

import pytest

from presence._fastcore import Framer, parse

HEAD = (
    b"MESSAGE sip:alice@example.com SIP/2.0\r\n"
    b"Via: SIP/2.0/TCP client.example.com;branch=z9hG4bK1\r\n"
    b"From: <sip:bob@example.com>;tag=1\r\n"
    b"To: <sip:alice@example.com>\r\n"
    b"Call-ID: 1@example.com\r\n"
    b"CSeq: 1 MESSAGE\r\n"
)


def message(body: bytes = b"", head: bytes = HEAD) -> bytes:
    return head + b"Content-Length: %d\r\n\r\n%s" % (len(body), body)


def test_pipelined_messages() -> None:
    framer = Framer()
    found = framer.feed(message(b"one") + message() + message(b"three"))
    assert [m.body for m in found] == [b"one", b"", b"three"]
    assert (framer.broken, framer.buffered, framer.pings) == (False, 0, 0)


def test_message_split_at_every_byte() -> None:
    data = message(b"one\r\n\r\n") + b"\r\n" + message(b"two")
    for at in range(len(data)):
        framer = Framer()
        found = framer.feed(data[:at]) + framer.feed(data[at:])
        assert [m.body for m in found] == [b"one\r\n\r\n", b"two"]
    framer = Framer()
    found = [m for at in range(len(data)) for m in framer.feed(data[at : at + 1])]
    assert [m.body for m in found] == [b"one\r\n\r\n", b"two"]


def test_bare_line_feeds_end_a_head() -> None:
    framer = Framer()
    (found,) = framer.feed(message(b"body").replace(b"\r\n", b"\n"))
    assert (found.error, found.body) == ("", b"body")


def test_buffered_is_what_is_incomplete() -> None:
    framer = Framer()
    whole = message(b"body")
    assert len(framer.feed(whole + whole[:-1])) == 1
    assert framer.buffered == len(whole) - 1
    assert len(framer.feed(whole[-1:])) == 1
    assert framer.buffered == 0


@pytest.mark.parametrize(
    ("stream", "pings"),
    [
        (b"\r\n\r\n", 1),
        (b"\r\n", 0),
        (b"\r\n" + message() + b"\r\n", 0),
        (message() + b"\r\n\r\n" + message() + b"\r\n\r\n\r\n\r\n\r\n", 3),
    ],
)
def test_rfc5626_4_4_1_keep_alives(stream: bytes, pings: int) -> None:
    framer = Framer()
    framer.feed(stream)
    assert (framer.pings, framer.pings) == (pings, 0)
    framer = Framer()
    for at in range(len(stream)):
        framer.feed(stream[at : at + 1])
    assert framer.pings == pings
    assert not framer.broken


def test_rfc3261_18_3_missing_content_length_ends_the_stream() -> None:
    framer = Framer()
    (found,) = framer.feed(HEAD + b"\r\n" + message())
    assert (found.error, found.answerable, framer.broken) == ("Missing Content-Length", True, True)
    assert framer.feed(message()) == []


@pytest.mark.parametrize(
    ("lines", "error"),
    [
        (b"Content-Length: -1\r\n", "Bad Content-Length"),
        (b"Content-Length: 4294967297\r\n", "Bad Content-Length"),
        (b"Content-Length: 1\r\nl: 2\r\n", "Repeated Content-Length Header Field"),
        (b"Content-Length: 1000000\r\n", "Message Too Large"),
        (b"X: y\r\n" * 128 + b"Content-Length: 0\r\n", "Too Many Header Fields"),
    ],
)
def test_unframable_body_ends_the_stream(lines: bytes, error: str) -> None:
    framer = Framer()
    (found,) = framer.feed(HEAD + lines + b"\r\n" + message())
    assert (found.error, found.answerable, framer.broken, framer.buffered) == (error, True, True, 0)


def test_malformed_message_with_good_length_does_not_end_the_stream() -> None:
    framer = Framer()
    found = framer.feed(message(b"body", HEAD.replace(b"1 MESSAGE", b"1 NOTIFY")) + message())
    assert [m.error for m in found] == ["CSeq Method Does Not Match", ""]
    assert not framer.broken


def test_max_message_counts_head_and_body() -> None:
    whole = message(b"body")
    assert len(Framer(len(whole)).feed(whole)) == 1
    framer = Framer(len(whole) - 1)
    (found,) = framer.feed(whole)
    assert (found.error, found.answerable, framer.broken) == ("Message Too Large", True, True)


def test_endless_head_ends_the_stream() -> None:
    framer = Framer(1000)
    assert framer.feed(HEAD + b"X: " + b"x" * 1000) == []
    assert (framer.broken, framer.buffered) == (True, 0)


def test_a_head_beyond_the_bound_is_the_same_whole_and_in_pieces() -> None:
    # Found by the fuzzer: its end, when it came with the rest, made a message of what pieces ended without one.
    stream = b"OPTIONS sip:a SIP/2.0\r\nSubject: " + b"x" * 1500 + b"\r\nl: 0\r\n\r\n"
    for cut in (0, 100, 1400, 1510):
        framer = Framer(1500)
        assert framer.feed(stream[:cut]) + framer.feed(stream[cut:]) == []
        assert framer.broken
        assert framer.buffered == 0


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00\n\n", b"\0\n\n", b"x\r\n\r\n"])
def test_garbage_ends_the_stream_without_a_message(data: bytes) -> None:
    framer = Framer()
    assert framer.feed(data) == []
    assert framer.broken


def test_stray_carriage_return_is_skipped() -> None:
    framer = Framer()
    assert len(framer.feed(b"\r\r\r") + framer.feed(message())) == 1


@pytest.mark.timeout(20)
def test_one_byte_feeds_take_linear_time() -> None:
    def cost(size: int) -> float:
        data = message(head=HEAD + b"X: " + b"\n y" * (size // 3) + b"\r\n")
        framer = Framer()
        started = time.process_time()
        found = [m for at in range(len(data)) for m in framer.feed(data[at : at + 1])]
        assert len(found) == 1
        return time.process_time() - started

    small, large = (min(cost(size) for _ in range(3)) for size in (5_000, 50_000))
    assert large < 40 * small + 0.05


def test_framed_message_equals_the_datagram() -> None:
    whole = message(b"body")
    (found,) = Framer().feed(whole)
    assert found.raw == parse(whole).raw == whole


def test_max_message_must_be_positive() -> None:
    with pytest.raises(ValueError, match="max_message"):
        Framer(0)
