"""What a client says it sent and received, found in its own output and shortened to the point.

Each client here prints its SIP messages in clear, whatever the transport, so that one reader does for all of them.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ways import Way

_MESSAGE = re.compile(
    r"(?:^|(?<=>))(?P<start>[A-Z]+ \S+ SIP/2\.0|SIP/2\.0 \d{3}[^\n]*)\n(?P<heads>(?:[A-Za-z][\w-]*[ \t]*:[^\n]*\n)+)",
    re.MULTILINE,
)
_TELLING = (
    *("Event", "Expires", "Min-Expires", "SIP-If-Match", "SIP-ETag", "Subscription-State", "Content-Type"),
    *("WWW-Authenticate", "Authorization", "Unsupported"),
)
_ONCE = ("Via", "Route", "Contact", "Supported", "Require", "Accept", "Allow-Events", "User-Agent")
_LONG = re.compile(r'((?:nonce|cnonce|opaque|response|branch|gr|instance)="?[^",;]{6})[^",;]+')
_STATE = re.compile(r"<basic>\w+</basic>|<rpid:[a-z-]+ ?/>|Messages-Waiting: \w+|Voice-Message: [^\n]+")


@dataclass(frozen=True)
class Traced:
    """One message of a trace."""

    start: str
    heads: tuple[tuple[str, str], ...]
    tail: str
    """The text up to the next message: the body, and whatever else the client says."""

    @property
    def status(self) -> int:
        """The status of a response, 0 for a request."""
        return int(self.start[8:11]) if self.start.startswith("SIP/2.0 ") else 0

    @property
    def method(self) -> str:
        """The method, of a response the one in CSeq."""
        return self.header("CSeq").split()[-1]

    def header(self, name: str) -> str:
        """Return the first value of a header field, empty when there is none."""
        return next((value for found, value in self.heads if found.lower() == name.lower()), "")


def messages(output: str) -> list[Traced]:
    """Return the messages in the output of a client, in the order it printed them."""
    found = list(_MESSAGE.finditer(output))
    ends = [later.start() for later in found[1:]] + [len(output)]
    traced = []
    for message, end in zip(found, ends, strict=True):
        heads = [tuple(line.split(":", 1)) for line in message["heads"].splitlines()]
        pairs = tuple((name.strip(), value.strip()) for name, value in heads)
        traced.append(Traced(message["start"].strip(), pairs, output[message.end() : end]))
    return traced


def _shortened(trace: list[Traced]) -> Iterator[str]:
    told: set[str] = set()
    for message in trace:
        ours = (message.method == "NOTIFY") == (message.status == 0)
        about = f"  ({message.method})" if message.status else ""
        yield f"{'<-' if ours else '->'} {message.start}{about}"
        for name, value in message.heads:
            line = f"     {name}: " + _LONG.sub(r"\1..", value)
            # What a message says like the ones before it is said once.
            if name in _TELLING or (name in _ONCE and not message.status and line not in told):
                yield line
            told.add(line)
        length = message.header("Content-Length")
        if length not in ("", "0"):
            states = _STATE.findall(message.tail[: int(length)])
            yield f"     ({length} octets: {' '.join(states) or 'a document'})"


def keep(client: str, way: Way, trace: list[Traced]) -> None:
    """Write the trace of a run, shortened, where PRESENCE_TRACES says; nowhere when it says nothing."""
    folder = os.environ.get("PRESENCE_TRACES")
    if folder:
        place = Path(folder)
        place.mkdir(parents=True, exist_ok=True)
        about = f"{client}, {way.transport.upper()}, {way.algorithms or 'nobody asks who one is'}"
        text = "\n".join(_shortened(trace))
        (place / f"{client}-{way}.txt").write_text(f"{about}\n-> from the client, <- from the server\n\n{text}\n")
