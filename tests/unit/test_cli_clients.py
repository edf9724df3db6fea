"""`presence publish` and `presence watch`: what they say when they cannot do what they are told."""

import json
import os
import socket
import threading
from argparse import ArgumentTypeError

import pytest

from presence._fastcore import build_response, parse
from presence.agents.usage import SubscriptionState
from presence.agents.watcher import Ended, Notified, Subscribed
from presence.cli import main
from presence.cli.connection import server, sip_uri, trace, write_server
from presence.cli.watch import JsonView, LiveView, write_lines

ALICE = "sip:alice@example.com"


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["publish", "alice@example.com", "--status", "open"], "is not a SIP URI such as sip:alice@example.com"),
        (["publish", "tel:5", "--status", "open"], "unknown scheme 'tel'"),
        (["watch", "pres:alice@example.com"], "unknown scheme 'pres'"),
        (["watch", ALICE, "--from", "bob"], "argument --from"),
        (["watch", ALICE, "--server", "ws:127.0.0.1:5061"], "is not udp:ADDRESS:PORT, or tcp or tls"),
        (["watch", ALICE, "--server", "udp:127.0.0.1:0"], "is not udp:ADDRESS:PORT, or tcp or tls"),
        (["watch", ALICE, "--event", "dialog"], "invalid choice: 'dialog'"),
        (["watch", ALICE, "--expires", "0"], "is not a whole number from 1 to 4294967295"),
        (["watch", ALICE, "--expires", "x"], "is not a whole number"),
        (["watch", ALICE, "--timeout", "nan"], "is not a number of seconds"),
        (["watch", ALICE, "--count", "0"], "is not a whole number"),
        (["watch", ALICE, "--once", "--count", "2"], "not allowed with argument"),
        (["watch", ALICE, "--json", "--raw"], "not allowed with argument"),
        (["publish", ALICE, "--status", "away"], "invalid choice: 'away'"),
        (["publish", ALICE, "--status", "open", "--activity", "idle"], "invalid choice: 'idle'"),
        (["publish", ALICE, "--remove", "a b"], "is not an entity-tag"),
    ],
)
def test_a_wrong_argument_is_usage_and_exit_status_2(argv, words, capsys):
    with pytest.raises(SystemExit) as caught:
        main(argv)
    assert caught.value.code == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "say what to publish: --status open, --status closed, --body FILE or --remove ETAG"),
        (["--note", "x"], "--note and --activity go with --status"),
        (["--status", "open", "--content-type", "text/plain"], "--content-type goes with --body"),
        (["--remove", "x", "--keep"], "--remove and --keep exclude each other"),
        (["--status", "open", "--event", "message-summary"], "message-summary needs --body FILE"),
        (["--body", "/nonexistent"], "cannot read /nonexistent: No such file or directory"),
        (["--body", os.devnull], "must have from 1 to 60000 bytes"),
    ],
)
def test_options_that_do_not_fit_are_one_line_and_exit_status_2(options, words, capsys):
    assert main(["publish", ALICE, *options]) == 2
    captured = capsys.readouterr()
    assert words in captured.err
    assert captured.err.count("\n") == 1


@pytest.mark.parametrize("transport", ["udp", "tcp"])
@pytest.mark.parametrize("command", [["publish", "--status", "open"], ["watch", "--once"]])
def test_rfc3261_26_2_2_a_sips_uri_goes_over_tls_only(command, transport, capsys):
    assert main([*command, "sips:alice@example.com", "--server", f"{transport}:127.0.0.1:9"]) == 2
    assert "sips:alice@example.com is reached over TLS only" in capsys.readouterr().err


def test_servers_are_written_as_they_are_given():
    for text in ("udp:127.0.0.1:5060", "tcp:[::1]:5062"):
        assert write_server(server(text)) == text


@pytest.mark.parametrize("text", ["", "sip:", "sip:a b@example.com", "<sip:a@example.com>", "sip:a@exa\nmple.com"])
def test_what_is_no_uri_is_not_taken(text):
    with pytest.raises(ArgumentTypeError):
        sip_uri(text)


@pytest.mark.parametrize("transport", ["udp", "tcp"])
@pytest.mark.parametrize("command", [["publish", ALICE, "--status", "open"], ["watch", ALICE, "--json"]])
def test_a_port_where_nobody_listens(transport, command, capsys):
    with socket.socket(type=socket.SOCK_DGRAM if transport == "udp" else socket.SOCK_STREAM) as taken:
        taken.bind(("127.0.0.1", 0))
        where = f"{transport}:127.0.0.1:{taken.getsockname()[1]}"
        if transport == "udp":
            taken.close()
        assert main([*command, "--server", where]) == 1
    assert capsys.readouterr().err == (
        f"presence: error: cannot reach {where}: Connection refused: is the server running? start it with `make run`\n"
    )


def test_a_server_that_is_silent(capsys):
    with socket.socket(type=socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        where = f"udp:127.0.0.1:{silent.getsockname()[1]}"
        assert main(["watch", ALICE, "--once", "--timeout", "0.2", "--server", where]) == 1
    assert capsys.readouterr().err == (
        f"presence: error: no answer from {where} within 0.2 s: is the server running? start it with `make run`\n"
    )


@pytest.mark.parametrize(
    ("command", "status", "headers", "words"),
    [
        (["publish", ALICE, "--status", "open"], 403, b"", "answered 403 Because"),
        (["publish", ALICE, "--remove", "x"], 412, b"", "412 Because: nothing is published under this entity-tag"),
        (["watch", ALICE], 489, b"Allow-Events: dialog\r\n", "489 Because: the server knows dialog"),
        (["watch", ALICE], 401, b'WWW-Authenticate: Digest realm="the lab", nonce="n"\r\n', "for the lab: is --user"),
        (["watch", ALICE], 407, b'Proxy-Authenticate: Digest realm="b", nonce="n"\r\n', "407 Because for b: is --user"),
        (["watch", ALICE], 401, b"", "401 Because: is --user right"),
    ],
)
def test_a_refusal_is_told_with_its_reason_and_its_realm(command, status, headers, words, capsys):
    with socket.socket(type=socket.SOCK_DGRAM) as refusing:
        refusing.bind(("127.0.0.1", 0))
        refusing.settimeout(30)

        def refuse() -> None:
            data, address = refusing.recvfrom(65535)
            refusing.sendto(build_response(parse(data), status, b"Because", b"t", headers), address)

        thread = threading.Thread(target=refuse)
        thread.start()
        where = f"udp:127.0.0.1:{refusing.getsockname()[1]}"
        assert main([*command, "--server", where, "--timeout", "20"]) == 1
        thread.join()
    assert words in capsys.readouterr().err


def test_the_trace_shows_messages_and_keeps_the_terminal(capsys):
    trace("received", "NOTIFY x\r\nSubject: \x1b[2J ü\r\n\r\n".encode())
    first, *lines = capsys.readouterr().out.splitlines()
    assert first.startswith("<<< ")
    assert lines == ["NOTIFY x", "Subject: \\x1b[2J ü", ""]


def test_events_in_words():
    answer = None
    notified = Notified(SubscriptionState("terminated", "rejected\x1b"), 3, "application/pidf+xml", b"")
    assert write_lines(Subscribed(60, answer)) == ["subscribed for 60 s"]
    assert write_lines(Ended("probation", None, 30)) == ["ended: probation; again in 30 s"]
    assert write_lines(notified) == ["terminated (rejected): no body"]


def test_the_live_view_takes_no_markup_from_strangers(capsys):
    note = b"[bold]hi[/nonsense]"
    body = b'<presence xmlns="urn:ietf:params:xml:ns:pidf"><note>' + note + b"</note></presence>"
    view = LiveView("presence of alice")
    view.show(Notified(SubscriptionState("active"), 1, "application/pidf+xml", body), 0.0)
    view.close()
    assert note.decode() in capsys.readouterr().out


def test_json_lines_are_json_whatever_the_body(capsys):
    JsonView().show(Notified(SubscriptionState("active"), 1, "x/y", b"\xff\n\0"), 0.0)
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line)["body"] == "\ufffd\n\0"
