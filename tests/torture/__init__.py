"""The torture messages of RFC 4475 and RFC 5118: exact octets from the archives in the appendices of both."""

import io
import re
import tarfile
from base64 import b64decode
from functools import cache
from pathlib import Path


@cache
def messages(rfc: str) -> dict[str, bytes]:
    """Return the octets of each message of "rfc4475" or "rfc5118" by its tag."""
    packed = b64decode(Path(__file__).with_name(f"{rfc}.b64").read_text())
    found = {}
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        for member in archive.getmembers():
            content = archive.extractfile(member)
            if content is not None:
                found[Path(member.name).name.removesuffix(".dat")] = content.read()
    return found if rfc == "rfc4475" else {tag: as_sent(data) for tag, data in found.items()}


def as_sent(data: bytes) -> bytes:
    """Give a message of RFC 5118 the line ends of the wire.

    Its archive has LF for CRLF, leaves out the empty line of two messages, and its lengths count LF (one of them fits
    neither way).
    """
    head, _, body = data.rstrip(b"\n").replace(b"\n", b"\r\n").partition(b"\r\n\r\n")
    body += b"\r\n" if body else b""
    return re.sub(rb"Content-Length: [0-9]+", b"Content-Length: %d" % len(body), head) + b"\r\n\r\n" + body
