"""A second parser for SIP messages, slow and plain, to check the compiled one against.

Written from RFC 3261 section 25 with regular expressions over whole values; it shares no code and no
approach with the scanner. It knows whether a datagram is malformed, not which reason comes first.
"""

import re
from dataclasses import dataclass, field

LONG_FORMS = {
    "v": "via", "f": "from", "t": "to", "i": "call-id", "m": "contact", "l": "content-length",
    "c": "content-type", "e": "content-encoding", "o": "event", "u": "allow-events", "k": "supported",
    "s": "subject", "x": "session-expires", "r": "refer-to", "b": "referred-by",
}  # fmt: skip
ONCE = ("call-id", "cseq", "from", "to", "max-forwards", "event", "expires", "content-type", "sip-if-match")
TOKEN = r"[A-Za-z0-9\-.!%*_+`'~]+"
TAG = r"[!#-+\--:=?-~]+"
LWS = r"[ \t\r\n]*"
QUOTED = r'"(?:[^"\\]|\\[\s\S])*"'
VALUE = rf'(?:{QUOTED}|[^\x00-\x20;,"]*)'
PARAM = rf"{LWS};{LWS}({TOKEN}){LWS}(?:={LWS}({VALUE}))?"
PARAMS = rf"((?:{LWS};{LWS}{TOKEN}{LWS}(?:={LWS}{VALUE})?)*){LWS}"
URI = rf"{TOKEN}:[!#-;=?-~]+"
HOST = r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9\-._]+))"


class Malformed(Exception):
    """The datagram is no well-formed SIP message."""


@dataclass
class Slow:
    """What the message says."""

    is_request: bool
    method: str = ""
    uri: str = ""
    status: int = 0
    reason: str = ""
    lines: list[tuple[str, str]] = field(default_factory=list)
    from_tag: str = ""
    to_tag: str = ""
    branch: str = ""
    via_transport: str = ""
    via_host: str = ""
    call_id: str = ""
    cseq: int = 0
    event: str = ""
    event_id: str = ""
    expires: int | None = None
    max_forwards: int | None = None
    content_length: int | None = None
    body: bytes = b""

    def value(self, name: str) -> str | None:
        """The first line's value."""
        return next((value for other, value in self.lines if other == name), None)


def parse_slowly(data: bytes) -> Slow:
    """Read a datagram or raise `Malformed`."""
    head, body = cut_head(data.lstrip(b"\r\n"))
    lines = unfold(head)
    slow = read_start_line(lines[0])
    for line in lines[1:]:
        match = re.fullmatch(rf"({TOKEN})[ \t]*:([\s\S]*)", line)
        if not match:
            raise Malformed(line)
        name = match[1].lower()
        slow.lines.append((LONG_FORMS.get(name, name), match[2].strip(" \t\r\n")))
    check_counts(slow)
    read_fields(slow)
    length = slow.content_length
    if length is not None and length > len(body):
        raise Malformed("body")
    slow.body = body if length is None else body[:length]
    return slow


def cut_head(data: bytes) -> tuple[str, bytes]:
    match = re.search(rb"\n\r?\n", data)
    if not match:
        raise Malformed("no end")
    head = data[: match.start() + 1].decode("latin-1")
    without_line_ends = re.sub(r"\r?\n", "", head)
    if re.search(r"(?<!\\)[\x00-\x08\x0b-\x1f]|\r", without_line_ends):
        raise Malformed("control")
    return head, data[match.end() :]


def unfold(head: str) -> list[str]:
    lines: list[str] = []
    for raw in head.split("\n")[:-1]:
        line = raw.removesuffix("\r")
        if line.startswith((" ", "\t")) and len(lines) > 1:
            lines[-1] += "\n" + line
        else:
            lines.append(line)
    return lines


def read_start_line(line: str) -> Slow:
    line = line.rstrip(" \t\r\n")
    if match := re.fullmatch(rf"({TOKEN}) ({URI}) [Ss][Ii][Pp]/2\.0", line):
        if match[2].lower().startswith("sip") and "?" in match[2].rpartition("@")[2]:
            raise Malformed("header part in the Request-URI")
        return Slow(True, method=match[1], uri=match[2])
    if match := re.fullmatch(r"[Ss][Ii][Pp]/2\.0 ([1-6][0-9][0-9])(?: (.*))?", line, re.DOTALL):
        phrase = (match[2] or "").encode("latin-1").decode("utf-8", "surrogateescape")
        return Slow(False, status=int(match[1]), reason=phrase)
    raise Malformed("start line")


def check_counts(slow: Slow) -> None:
    names = [name for name, _ in slow.lines]
    if len(names) > 128 or any(names.count(name) > 1 for name in ONCE):
        raise Malformed("repeated")
    lengths = {int(value) if value.isdigit() else -1 for name, value in slow.lines if name == "content-length"}
    if len(lengths) > 1:
        raise Malformed("lengths")


def must(pattern: str, value: str | None) -> re.Match[str]:
    match = re.fullmatch(pattern, value) if value is not None else None
    if not match:
        raise Malformed(value)
    return match


def one_param(params: str, wanted: str) -> str:
    """The one value of a parameter, '' without one."""
    values = [value for name, value in re.findall(PARAM, params) if name.lower() == wanted]
    if not values:
        return ""
    if len(values) > 1:
        raise Malformed(wanted)
    return must(TAG, values[0])[0]


def tag_of(value: str | None) -> str:
    display = rf'(?:{QUOTED}{LWS}|[^<;",]*)'
    match = must(rf"(?:{display}<{URI}>|{BARE_URI}){PARAMS}", value)
    return one_param(match[1], "tag")


BARE_URI = rf"{TOKEN}:[!#-+\-./0-:=@-~]+"
"""What needs brackets is not in it: semicolon, comma, question mark."""


def number(value: str | None, most: int) -> int | None:
    return None if value is None else min(int(must(r"[0-9]+", value)[0]), most)


def read_fields(slow: Slow) -> None:
    via = must(
        rf"[Ss][Ii][Pp]{LWS}/{LWS}(?:{TOKEN})?{LWS}/{LWS}({TOKEN})[ \t\r\n]+{HOST}{LWS}(?::{LWS}([0-9]+))?"
        rf"{PARAMS}(?:,[\s\S]*)?",
        slow.value("via"),
    )
    slow.via_transport, slow.via_host = via[1], via[2] or via[3]
    if via[4] is not None and not 1 <= int(via[4]) <= 65535:
        raise Malformed("port")
    slow.branch = one_param(via[5], "branch")
    slow.from_tag, slow.to_tag = tag_of(slow.value("from")), tag_of(slow.value("to"))
    slow.call_id = must(r"[!-~]+", slow.value("call-id"))[0]
    cseq = must(rf"([0-9]+)[ \t\r\n]+({TOKEN})", slow.value("cseq"))
    slow.cseq = int(cseq[1])
    if slow.cseq >= 2**31 or (slow.is_request and cseq[2] != slow.method):
        raise Malformed("cseq")
    slow.method = cseq[2]
    if (event := slow.value("event")) is not None:
        match = must(rf"({TOKEN}){PARAMS}", event)
        slow.event, slow.event_id = match[1], one_param(match[2], "id")
    slow.expires = number(slow.value("expires"), 2**32 - 1)
    slow.max_forwards = number(slow.value("max-forwards"), 255)
    slow.content_length = number(slow.value("content-length"), 2**32)
    if slow.content_length == 2**32:
        raise Malformed("content-length")
