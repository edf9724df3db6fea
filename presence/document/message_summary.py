"""Message summaries: checking what was published, writing that nothing waits (RFC 3842 section 5.2)."""

import re
from typing import Final

from presence.errors import BadRequest

MAX_BODY_BYTES: Final = 16 * 1024

_MAX_COUNT = 2**32 - 1
_TOKEN = rb"[\w.!%*+`'~-]+"
# Productions are case-insensitive, and HCOLON, SLASH and the parentheses allow white space around them.
_STATUS = re.compile(rb"messages-waiting[ \t]*:[ \t]*(yes|no)[ \t]*", re.I)
_ACCOUNT = re.compile(rb"(message-account)[ \t]*:[ \t]*<?([a-z][a-z0-9+.-]*:[^\s<>\x00-\x1f\x7f]+)>?[ \t]*", re.I)
_SUMMARY = re.compile(
    _TOKEN + rb"[ \t]*:[ \t]*(\d+)[ \t]*/[ \t]*(\d+)"
    rb"(?:[ \t]*\([ \t]*(\d+)[ \t]*/[ \t]*(\d+)[ \t]*\))?[ \t]*"
)
# As most send it: nothing to put right, one account, no headers of messages, no count near the limit.
_USUAL = re.compile(
    rb"messages-waiting[ \t]*+:[ \t]*+(?:yes|no)[ \t]*+\r\n"
    rb"(?:message-account: [a-z][a-z0-9+.-]*+:[^\s<>\x00-\x1f\x7f]++\r\n)?+"
    rb"(?:(?!message-account)" + _TOKEN + rb"[ \t]*+:[ \t]*+\d{1,9}/\d{1,9}(?: \(\d{1,9}/\d{1,9}\))?+\r\n)*+",
    re.I,
)
_HEADER = re.compile(_TOKEN + rb"[ \t]*:[^\x00-\x08\x0a-\x1f\x7f]*|[ \t][^\x00-\x08\x0a-\x1f\x7f]*")
_LINE_END = re.compile(rb"\r?\n")
_NOT_IN_URI = re.compile(r"[\x00-\x20\x7f<>]")


def check(body: bytes) -> bytes:
    """Check a published summary; return what every NOTIFY may carry of it, with CRLF line ends.

    The headers of single messages are checked and left out: they are for those who heard of everything
    before, and an initial NOTIFY must not have them (RFC 3842 section 3.5).
    """
    if len(body) > MAX_BODY_BYTES:
        raise BadRequest(f"Message Summary Exceeds {MAX_BODY_BYTES} Bytes")
    if _USUAL.fullmatch(body) is not None:
        return body
    summary, *headers = _LINE_END.split(body)
    if _STATUS.fullmatch(summary) is None:
        raise BadRequest("Message Summary Does Not Begin with Messages-Waiting: yes or no")
    lines = [summary]
    for number, line in enumerate(headers, 2):
        if not line:
            _check_headers(headers[number - 2 :], number)
            break
        lines.append(_checked_line(line, number))
    if sum(line.lower().startswith(b"message-account") for line in lines) > 1:
        raise BadRequest("Message Summary Names Two Accounts")
    return b"\r\n".join(lines) + b"\r\n"


def empty(account_uri: str) -> bytes:
    """Return the summary of an account about which nothing was published."""
    account = _NOT_IN_URI.sub("", account_uri).encode(errors="replace")
    return b"Messages-Waiting: no\r\nMessage-Account: " + account + b"\r\n"


def _checked_line(line: bytes, number: int) -> bytes:
    account = _ACCOUNT.fullmatch(line)
    if account is not None:
        # Angle brackets are forbidden and sent all the same (RFC 3842 section 3.5).
        return account[1] + b": " + account[2]
    summary = _SUMMARY.fullmatch(line)
    if summary is None:
        raise BadRequest(f"Message Summary Line {number} Is Not Understood")
    # Ten digits hold the limit; longer ones need not be converted to be too large.
    if any(count and (len(count) > 10 or int(count) > _MAX_COUNT) for count in summary.groups()):
        raise BadRequest(f"Message Summary Line {number} Has a Count over 4294967295")
    return line


def _check_headers(lines: list[bytes], first: int) -> None:
    for number, line in enumerate(lines, first):
        if line and _HEADER.fullmatch(line) is None:
            raise BadRequest(f"Message Summary Line {number} Is Not a Header")
