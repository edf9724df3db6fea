"""Correct messages, and ways to break them."""

from collections.abc import Callable
from random import Random

from wire import request

Mutation = Callable[[Random, bytes], bytes]

HUGE = (b"4294967295", b"4294967296", b"2147483648", b"18446744073709551616", b"9" * 40, b"-1", b"00000000000000000001")
BROKEN_UTF8 = (b"\xc3", b"\xe2\x82", b"\xed\xa0\x80", b"\xf8\x88\x80\x80\x80", b"\xff\xfe", b"\xc0\xaf")
SPLICES = (
    b"\r\n\r\n",
    b"\r\n ",
    b"\r\nContent-Length: 0\r\n\r\nOPTIONS sip:example.com SIP/2.0\r\n",
    b"\r\nContent-Length: 5",
    b"\r\nExpires: 1",
    b"\r\nEvent: presence.winfo",
    b"\r\nRequire: 100rel",
    b"\r\nRecord-Route: <sip:127.0.0.1:9;lr>",
    b"\r\nSIP-If-Match: a, b",
    b"\r\nl: 3",
    b"\x00",
    b'"',
    b"<",
    b">",
    b";",
    b",",
    b"%",
    b"&lol;",
    b"<!DOCTYPE p [<!ENTITY lol SYSTEM 'file:///etc/hostname'>]>",
)


def _lines(message: bytes) -> list[bytes]:
    return message.split(b"\r\n")


def flip(random: Random, message: bytes) -> bytes:
    data = bytearray(message)
    for _ in range(random.choice((1, 1, 2, 8))):
        data[random.randrange(len(data))] ^= 1 << random.randrange(8)
    return bytes(data)


def truncate(random: Random, message: bytes) -> bytes:
    return message[: random.randrange(len(message)) or 1]


def duplicate_line(random: Random, message: bytes) -> bytes:
    lines = _lines(message)
    at = random.randrange(len(lines))
    return b"\r\n".join(lines[:at] + [lines[at]] * random.choice((2, 2, 3, 70)) + lines[at + 1 :])


def delete_line(random: Random, message: bytes) -> bytes:
    lines = _lines(message)
    del lines[random.randrange(len(lines))]
    return b"\r\n".join(lines)


def swap_lines(random: Random, message: bytes) -> bytes:
    lines = _lines(message)
    a, b = random.randrange(len(lines)), random.randrange(len(lines))
    lines[a], lines[b] = lines[b], lines[a]
    return b"\r\n".join(lines)


def enlarge_number(random: Random, message: bytes) -> bytes:
    starts = [at for at in range(1, len(message)) if message[at : at + 1].isdigit() and message[at - 1] in b" =:.;"]
    if not starts:
        return message
    start = end = random.choice(starts)
    while message[end : end + 1].isdigit():
        end += 1
    return message[:start] + random.choice(HUGE) + message[end:]


def splice(random: Random, message: bytes) -> bytes:
    at = random.randrange(len(message))
    return message[:at] + random.choice(SPLICES) + message[at:]


def insert_noise(random: Random, message: bytes) -> bytes:
    at = random.randrange(len(message))
    return message[:at] + random.randbytes(random.choice((1, 2, 16, 300))) + message[at:]


def break_utf8(random: Random, message: bytes) -> bytes:
    at = random.randrange(len(message))
    return message[:at] + random.choice(BROKEN_UTF8) + message[at:]


def lose_line_end(random: Random, message: bytes) -> bytes:
    lines = _lines(message)
    if len(lines) < 2:
        return message
    at = random.randrange(1, len(lines))
    return b"\r\n".join(lines[:at]) + random.choice((b"", b"\n", b"\r", b"\n\r", b"\r\r\n")) + b"\r\n".join(lines[at:])


def lie_about_length(random: Random, message: bytes) -> bytes:
    length = random.choice((b"0", b"1", b"65536", b"99999", b"5 5", b"", b"0x10", *HUGE))
    head, _, rest = message.partition(b"Content-Length: ")
    return head + b"Content-Length: " + length + rest[rest.find(b"\r\n") :]


def lengthen(random: Random, message: bytes) -> bytes:
    at = random.randrange(len(message))
    return message[:at] + message[at : at + 1] * random.choice((64, 300, 5000, 40000)) + message[at:]


MUTATIONS: tuple[Mutation, ...] = (
    flip,
    flip,
    truncate,
    duplicate_line,
    delete_line,
    swap_lines,
    enlarge_number,
    splice,
    splice,
    insert_noise,
    break_utf8,
    lose_line_end,
    lie_about_length,
    lengthen,
)


def mutate(random: Random, message: bytes) -> bytes:
    """Break a message in one to three ways."""
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        message = random.choice(MUTATIONS)(random, message) or b"\r\n"
    return message[:60000]


def correct_messages(
    random: Random, via: str, ports: tuple[int, ...], body: bytes, live: str, etag: str
) -> list[bytes]:
    """One of each kind of request, to a few presentities; `live` is one whose publication has `etag`."""
    user = random.choice(("alice", "bob", "carol"))
    transport = random.choice(("udp", "tcp"))
    contact = f"Contact: <sip:bob@127.0.0.1:{random.choice(ports)};transport={transport}>\r\n"
    event = f"Event: {random.choice(('presence', 'presence', 'presence.winfo', 'message-summary'))}\r\n"
    uri = f"sip:{user}@example.com"
    xml = "Content-Type: application/pidf+xml\r\n"
    published = f"Event: presence\r\nExpires: 2\r\n{xml}"
    state = "Subscription-State: active;expires=60\r\n"
    asked: tuple[tuple[str, str, str, bytes], ...] = (
        ("PUBLISH", uri, published, body),
        ("PUBLISH", live, f"{published}SIP-If-Match: {etag}\r\n", body),
        ("PUBLISH", live, f"Event: presence\r\nExpires: 2\r\nSIP-If-Match: {etag}\r\n", b""),
        ("SUBSCRIBE", uri, f"{event}{contact}Expires: 2\r\nAccept: application/pidf+xml, */*;q=0.1\r\n", b""),
        ("SUBSCRIBE", uri, f"{event}{contact}Expires: 0\r\nSupported: eventlist\r\n", b""),
        ("SUBSCRIBE", uri, f"{event}{contact}Record-Route: <sip:127.0.0.1:{ports[0]};lr>\r\nExpires: 2\r\n", b""),
        ("REGISTER", "sip:example.com", f"{contact}Expires: 2\r\n", b""),
        ("OPTIONS", "sip:example.com", "Accept: application/sdp\r\n", b""),
        ("NOTIFY", f"sip:presence@{via.partition(' ')[2]}", f"{event}{state}{contact}{xml}", body),
    )
    return [request(method, to, via=via, to=user, headers=headers, body=text) for method, to, headers, text in asked]
