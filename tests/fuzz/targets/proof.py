"""Credentials: the compiled reader proves only what the careful one proves too, and nothing else ever comes of them."""

from collections.abc import Iterable
from contextlib import suppress

import sip

from presence._fastcore import Message, Nonces, parse
from presence.errors import SipError
from presence.sip.digest import ALGORITHMS, Credentials, hash_account, read_credentials, read_params, respond

NOW = 1_700_000_000.0
URI = "sip:alice@example.com"
NONCE = "65531a00000000000123456789abcdef"
WHO = object()
HA1 = {name: hash_account(name, "alice", "example.com", "secret") for name in ALGORITHMS}


def known(algorithm: str) -> Nonces:
    """Return the nonces of a server that alice has answered once."""
    nonces = Nonces(8)
    assert nonces.use(NONCE.encode(), 1, NOW, NOW + 3600, NOW)
    kind, ha1 = ALGORITHMS[algorithm], HA1[algorithm].encode()
    nonces.remember(NONCE.encode(), kind, b"alice", b"example.com", ha1, "alice", "example.com", WHO, False)
    return nonces


def request(data: bytes) -> Message:
    head = sip.request("PUBLISH", URI, "Event: presence", branch="z9hG4bK1", call_id="1", sender=f"<{URI}>")
    return parse(head.replace(b"Event: presence", b"Event: presence\r\nAuthorization: " + data, 1))


def run(data: bytes) -> None:
    for reader in (read_params, read_credentials):
        with suppress(SipError):
            reader(data.decode("utf-8", "surrogateescape"))
    message = request(data)
    if message.error:
        return
    for algorithm in ALGORITHMS:
        nonces = known(algorithm)
        if nonces.recognise(message, NOW) is None:
            continue
        values = [value for value in message.headers("Authorization") if value[:7].lower() == "digest "]
        given = [credentials for credentials in map(read_credentials, values) if credentials is not None]
        assert any(proves(credentials, algorithm) for credentials in given), "the careful reader does not prove it"
        assert nonces.recognise(message, NOW) is None, "a count served twice"


def proves(given: Credentials, algorithm: str) -> bool:
    right = respond(given, HA1[algorithm], "PUBLISH") == given.response.lower()
    return right and (given.algorithm, given.nonce, given.username) == (algorithm, NONCE, "alice")


def seeds() -> Iterable[bytes]:
    """Answers as clients give them, with the counts that come next."""
    for algorithm in ALGORITHMS:
        for count in (2, 3):
            given = Credentials("alice", "example.com", NONCE, URI, "", algorithm, "auth", "abc", f"{count:08x}")
            response = respond(given, HA1[algorithm], "PUBLISH")
            yield (
                f'Digest username="alice", realm="example.com", nonce="{NONCE}", uri="{URI}", response="{response}", '
                f'algorithm={algorithm}, qop=auth, cnonce="abc", nc={count:08x}'
            ).encode()
    yield b'Basic QWxhZGRpbg==\r\nAuthorization: Digest username="\\"a", realm=x, nonce="", response=""'
