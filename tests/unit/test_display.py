"""What people read of NOTIFY bodies."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from presence.agents.display import CONTENT_TYPES, clean, describe, summarise
from presence.agents.publisher import write_presence
from presence.document import compose, message_summary, watcherinfo
from presence.document.pidf import parse_pidf
from presence.values import SubscriptionStatus, WatcherEvent, WatcherRecord

PIDF = CONTENT_TYPES["presence"]
WINFO = CONTENT_TYPES["presence.winfo"]
SUMMARY = CONTENT_TYPES["message-summary"]

STRANGE_PREFIXES = b"""<?xml version="1.0"?>
<p:presence xmlns:p="urn:ietf:params:xml:ns:pidf" xmlns:who="urn:ietf:params:xml:ns:pidf:data-model"
    xmlns:r="urn:ietf:params:xml:ns:pidf:rpid" entity="sip:alice@example.com">
  <who:person id="p1"><r:activities><r:note>until five</r:note><r:meeting/><r:other>juggling</r:other></r:activities>
    <who:note>in town</who:note></who:person>
  <p:tuple id="desk"><p:status><p:basic> OPEN </p:basic></p:status>
    <p:contact priority="0.8">sip:alice@192.0.2.1</p:contact><p:note>at the desk</p:note></p:tuple>
  <p:tuple id="phone"><p:status><p:basic>closed</p:basic></p:status></p:tuple>
  <p:note>general</p:note>
</p:presence>"""


def test_presence_with_any_prefixes():
    summary = summarise("application/pidf+xml;charset=utf-8", STRANGE_PREFIXES)
    assert summary["status"] == "open"
    assert summary["activities"] == ["meeting", "juggling"]
    assert summary["note"] == ["until five", "in town", "at the desk", "general"]
    assert summary["tuples"] == [
        {"id": "desk", "status": "open", "contact": "sip:alice@192.0.2.1", "priority": "0.8", "note": "at the desk"},
        {"id": "phone", "status": "closed"},
    ]
    assert describe(summary) == [
        "open (meeting, juggling) - until five / in town / at the desk / general",
        "desk: open, sip:alice@192.0.2.1, priority 0.8, at the desk",
        "phone: closed",
    ]


def test_what_the_publisher_writes_and_the_server_composes_is_shown():
    document = parse_pidf(write_presence("sip:alice@example.com", "t1", "open", note="hello", activity="busy"))
    composed = compose.compose("sip:alice@example.com", [document])
    assert describe(summarise(PIDF, composed)) == ["open (busy) - hello", "t1: open, hello"]


def test_a_presentity_that_says_nothing_is_closed():
    assert describe(summarise(PIDF, compose.closed("sip:alice@example.com", "t")))[0] == "closed"


def test_baresip_publishes_an_unknown_basic():
    status = b'<tuple id="t"><status><basic>unknown</basic></status></tuple>'
    body = b'<presence xmlns="urn:ietf:params:xml:ns:pidf">' + status + b"</presence>"
    assert summarise(PIDF, body)["status"] == "unknown"


def test_message_summary():
    body = b"Messages-Waiting: yes\r\nMessage-Account: sip:alice@example.com\r\nVoice-Message: 2/8 (0/2)\r\n"
    summary = summarise(SUMMARY, body)
    assert summary == {
        "messages_waiting": True,
        "account": "sip:alice@example.com",
        "counts": {"voice-message": "2/8 (0/2)"},
    }
    assert describe(summary) == [
        "messages waiting for sip:alice@example.com",
        "voice-message: 2/8 (0/2) (new/old)",
    ]
    empty = summarise(SUMMARY, message_summary.empty("sip:alice@example.com"))
    assert describe(empty) == ["no messages waiting for sip:alice@example.com"]


def test_watcher_information():
    record = WatcherRecord(
        "w1", "sip:bob@example.com", "Bob", SubscriptionStatus.PENDING, WatcherEvent.SUBSCRIBE, 0.0, 60.0
    )
    body = watcherinfo.write("sip:alice@example.com", "presence", 3, "full", [record], 10.0)
    summary = summarise(WINFO, body)
    assert summary["lists"][0]["watchers"][0]["display_name"] == "Bob"
    assert describe(summary) == [
        "1 watcher (full state, version 3)",
        "Bob <sip:bob@example.com>: pending (subscribe) of sip:alice@example.com",
    ]


@pytest.mark.parametrize(
    ("content_type", "body", "words"),
    [
        (PIDF, b"", "no body"),
        ("", b"x", "a body without a type is not understood"),
        ("text/html", b"<p>", "text/html is not understood"),
        (PIDF, b"<presence", "Malformed XML"),
        (PIDF, b"<presence/>", "Not a PIDF"),
        (WINFO, b"<watcherinfo/>", "Not a Watcher Information"),
        (SUMMARY, b"nonsense", "Message Summary"),
        (PIDF, b'<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><x>&a;</x>', "Document Type"),
    ],
)
def test_what_cannot_be_read_is_said(content_type, body, words):
    (line,) = describe(summarise(content_type, body))
    assert words in line


def test_a_note_cannot_steer_the_terminal():
    assert clean("a\x1b[2Jb\r\nc\x9bd\u202ee") == "a [2Jb c d e"
    assert len(clean("x" * 10_000)) == 500


@given(st.sampled_from([PIDF, WINFO, SUMMARY, "x/y"]), st.binary() | st.text().map(str.encode))
def test_whatever_comes_can_be_described(content_type, body):
    lines = describe(summarise(content_type, body))
    assert lines
    assert all("\x1b" not in line and "\n" not in line for line in lines)
