"""Message summaries as they are sent, and as they must not be (RFC 3842 section 5.2)."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from presence.document import message_summary
from presence.document.message_summary import MAX_BODY_BYTES, check, empty
from presence.errors import BadRequest

YES = b"Messages-Waiting: yes\r\n"


@pytest.mark.parametrize(
    "body",
    [
        YES,
        b"MESSAGES-WAITING : No\r\n",
        YES + b"Message-Account: sip:alice@vmail.example.com\r\nVoice-Message: 4/8 (1/2)\r\n",
        YES + b"voice-message: 2/8\r\nFax-Message: 0/0\r\nx-vendor-message: 1 / 2 ( 0 / 4294967295 )\r\n",
    ],
)
def test_summaries_are_kept_as_sent(body: bytes) -> None:
    assert check(body) == body


@pytest.mark.parametrize("body", [b"Messages-Waiting: yes", b"Messages-Waiting: yes\n", YES + b"\r\n\r\n"])
def test_line_ends_become_crlf(body: bytes) -> None:
    assert check(body) == YES
    assert check(body.replace(b"yes", b"yes\nVoice-Message: 1/0")) == YES + b"Voice-Message: 1/0\r\n"


def test_rfc3842_3_5_headers_of_messages_are_checked_and_not_passed_on() -> None:
    body = YES + b"Voice-Message: 1/0\r\n\r\nTo: <alice@example.com>\r\nSubject: hi\r\n there\r\n\r\nTo: x\r\n"
    assert check(body) == YES + b"Voice-Message: 1/0\r\n"


def test_rfc3842_3_5_the_account_loses_forbidden_brackets() -> None:
    assert check(YES + b"message-account:<sip:a@b>") == YES + b"message-account: sip:a@b\r\n"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "Message Summary Does Not Begin with Messages-Waiting: yes or no"),
        (b"Messages-Waiting: maybe", "Message Summary Does Not Begin with Messages-Waiting: yes or no"),
        (b"\r\n" + YES, "Message Summary Does Not Begin with Messages-Waiting: yes or no"),
        (b"<presence/>", "Message Summary Does Not Begin with Messages-Waiting: yes or no"),
        (YES + b"Voice-Message: many", "Message Summary Line 2 Is Not Understood"),
        (YES + b"Voice-Message: 1/2\rX: 1/2", "Message Summary Line 2 Is Not Understood"),
        (YES + b"Message-Account: alice", "Message Summary Line 2 Is Not Understood"),
        (YES + b"Voice-Message: 4294967296/0", "Message Summary Line 2 Has a Count over 4294967295"),
        (YES + b"Voice-Message: 0/0 (" + b"9" * 9999 + b"/0)", "Message Summary Line 2 Has a Count"),
        (YES + b"Message-Account: sip:a@b\n" * 2, "Message Summary Names Two Accounts"),
        (YES + b"\r\nno header", "Message Summary Line 3 Is Not a Header"),
        (YES + b"\r\nTo: \x00", "Message Summary Line 3 Is Not a Header"),
        (YES + b" " * MAX_BODY_BYTES, f"Message Summary Exceeds {MAX_BODY_BYTES} Bytes"),
    ],
)
def test_what_is_wrong_is_said(body: bytes, reason: str) -> None:
    with pytest.raises(BadRequest) as caught:
        check(body)
    assert caught.value.reason.startswith(reason)


def test_nothing_waits_when_nothing_was_published() -> None:
    body = empty("sip:alice@example.com")
    assert body == b"Messages-Waiting: no\r\nMessage-Account: sip:alice@example.com\r\n"
    assert check(body) == body


def test_an_account_cannot_add_lines() -> None:
    body = empty("sip:a\r\nVoice-Message: 1/0\udc80@example.com")
    assert body.count(b"\r\n") == 2
    assert check(body) == body


WAITING = st.sampled_from([b"Messages-Waiting: yes", b"messages-waiting:no", b"Messages-Waiting: maybe"])
LINES = [
    *(b"Message-Account: sip:alice@example.com", b"Message-Account:sip:a@b", b"message-account: <sip:a@b>", b"a: b"),
    *(b"Voice-Message: 1/0", b"Voice-Message: 1/0 (0/0)", b"x-message : 2 / 3", b"Fax-Message: 4294967296/0", b" x"),
    *(b"Message-Account: 1/2", b"Message-Accounts: 1/2", b"", b"\r", b"Voice-Message: 999999999/0", b"x: 1/2 (3/4) "),
]


@given(WAITING, st.lists(st.sampled_from(LINES), max_size=5), st.sampled_from([b"\r\n", b"\n"]), st.booleans())
def test_the_short_way_says_the_same(summary: bytes, lines: list[bytes], line_end: bytes, ended: bool) -> None:
    body = line_end.join([summary, *lines]) + (line_end if ended else b"")
    results = []
    for usual in (message_summary._USUAL, re.compile(b"(?!)")):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(message_summary, "_USUAL", usual)
            try:
                results.append(check(body))
            except BadRequest as error:
                results.append(error.reason.encode())
    assert results[0] == results[1]
