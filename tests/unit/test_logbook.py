import io
import json
import logging

import pytest
import structlog

from presence import logbook


@pytest.fixture
def stream():
    """Give logging back as it was, so that a test leaves no trace in another."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield io.StringIO()
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


def test_a_line_is_one_json_object_with_its_fields(stream):
    logbook.configure("info", "auto", stream)
    logbook.open_log(aor="sip:alice@example.com").info("subscribed", package="presence", call_id="a\nb")
    line = json.loads(stream.getvalue())
    assert line.pop("at").endswith("Z")
    assert line == {
        "level": "info",
        "message": "subscribed",
        "aor": "sip:alice@example.com",
        "package": "presence",
        "call_id": "a\nb",
    }
    assert stream.getvalue().count("\n") == 1


@pytest.mark.parametrize(("level", "lines"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)])
def test_only_lines_from_the_level_up_are_written(stream, level, lines):
    logbook.configure(level, "json", stream)
    log = logbook.open_log()
    for write in (log.debug, log.info, log.warning, log.error):
        write("x")
    assert stream.getvalue().count("\n") == lines


def test_libraries_write_in_the_same_form_and_only_their_trouble(stream):
    logbook.configure("debug", "json", stream)
    logging.getLogger("asyncio").info("a connection")
    logging.getLogger("asyncio").error("task %s failed", "x")
    line = json.loads(stream.getvalue())
    assert (line["level"], line["message"]) == ("error", "task x failed")


def test_an_exception_is_part_of_its_line(stream):
    logbook.configure("info", "json", stream)
    try:
        raise ValueError("nothing")
    except ValueError:
        logbook.open_log().exception("failed")
    assert "ValueError: nothing" in json.loads(stream.getvalue())["exception"]
    assert stream.getvalue().count("\n") == 1


def test_peers_cannot_write_lines_or_move_the_cursor_on_a_terminal(stream):
    logbook.configure("info", "human", stream)
    logbook.open_log().info("dropped", call_id="a\nerror forged\x1b[2J\x9b", aor="\udcff")
    assert stream.getvalue().count("\n") == 1
    assert "x0aerror forged" in stream.getvalue()
    assert "\x1b" not in stream.getvalue()
    assert "\x9b" not in stream.getvalue()


def test_a_log_that_cannot_be_written_does_not_stop_who_writes_it(stream):
    class Full(io.StringIO):
        def write(self, text):
            raise OSError("no space left on device")

    logbook.configure("info", "json", Full())
    logbook.open_log().warning("the disk is full")
