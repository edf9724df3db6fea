"""Procedure calls of strangers: whatever arrives is a call, or refused as what it is; nothing else happens."""

import json
import os

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from presence.errors import BadRequest
from presence.http import jsonrpc, xmlrpc
from presence.http.procedures import Argument, Fault, list_procedures
from presence.values import Aor

EXAMPLES = int(os.environ.get("PRESENCE_EXAMPLES", "500"))
THOROUGH = settings(max_examples=EXAMPLES, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))

heard: list[tuple[Aor, str, int]] = []


def refresh_watchers(presentity: Aor, event: str, kind: int) -> None:
    heard.append((presentity, event, kind))


PROCEDURES = list_procedures(refresh_watchers, lambda doc_uri, port: bool(doc_uri and port), lambda: None)
words = st.sampled_from(
    ["sip:alice@example.com", "presence", "0", "1", "", " ", "\ud800", "sip:", "a@b", "-1", "9" * 30]
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | words | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=6,
)
names = st.sampled_from([*PROCEDURES, "system.listMethods", ""])
calls = st.fixed_dictionaries(
    {"jsonrpc": st.sampled_from(["2.0", "2.0", "2.0", "1.0"]), "method": names | values},
    optional={"id": values, "params": st.lists(values, max_size=4) | values},
)

CALL = (
    b"<?xml version='1.0'?><methodCall><methodName>refreshWatchers</methodName><params>"
    b"<param><value><string>sip:alice@example.com</string></value></param><param><value>presence</value></param>"
    b"<param><value><i4>0</i4></value></param></params></methodCall>"
)
pieces = st.sampled_from(
    [
        *(b"<", b">", b"</value>", b"<value>", b"<int>", b"<struct/>", b"<!DOCTYPE a []>", b"&a;", b"&#0;", b"\x00"),
        *(b"\xff", b"<nil/>", b"<boolean>1</boolean>", b"<double>nan</double>", b"<![CDATA[", b"<!--", b"9" * 5000),
    ]
)


@THOROUGH
@given(st.lists(calls | values, max_size=3) | calls | values)
def test_json_is_answered_whatever_it_is(request: object) -> None:
    answer = jsonrpc.serve(json.dumps(request).encode(), lambda name, given: PROCEDURES[name].run(given))
    for entry in answers(answer):
        assert entry["jsonrpc"] == "2.0"
        assert ("result" in entry) != ("error" in entry)
    assert all(isinstance(kind, int) and kind >= 0 and event for _, event, kind in heard)


def answers(answer: bytes | None) -> list[dict[str, object]]:
    if answer is None:
        return []
    found = json.loads(answer)
    return found if isinstance(found, list) else [found]


@THOROUGH
@given(st.binary(max_size=30))
def test_bytes_are_answered_as_what_they_are(body: bytes) -> None:
    jsonrpc.serve(body, lambda name, given: PROCEDURES[name].run(given))
    read(body)


@THOROUGH
@given(st.lists(st.tuples(st.integers(0, len(CALL)), st.integers(0, 20), pieces), max_size=4))
def test_a_damaged_call_is_read_or_refused(damage: list[tuple[int, int, bytes]]) -> None:
    body = CALL
    for at, length, piece in damage:
        body = body[:at] + piece + body[at + length :]
    call = read(body)
    if call is not None:
        fault = run(*call)
        assert fault is None or b"<fault>" in fault


def read(body: bytes) -> tuple[str, list[Argument]] | None:
    try:
        return xmlrpc.parse_call(body)
    except BadRequest:
        return None


def run(name: str, arguments: list[Argument]) -> bytes | None:
    try:
        PROCEDURES.get(name, PROCEDURES["cleanup"]).run(arguments)
    except Fault as fault:
        return xmlrpc.write_fault(fault)
    return None
