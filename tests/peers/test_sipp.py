"""SIPp plays the scenarios beside this file: every response and every NOTIFY must be the one written there."""

import socket
from contextlib import ExitStack
from pathlib import Path

import pytest
from rawagent import RawAgent
from running import Program, Server, needs
from traces import keep, messages
from ways import Way, password_of, ways

pytestmark = needs("sipp")

SCENARIOS = Path(__file__).parent / "scenarios"
UDP, TCP = "u1", "t1"


def free_port() -> int:
    """Return a port nobody has on loopback: SIPp takes 5060 when it is told none."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as tried:
        tried.bind(("127.0.0.1", 0))
        port: int = tried.getsockname()[1]
        return port


class Sipp(Program):
    """One run of a scenario; it ends by itself, well or not."""

    def __init__(
        self, scenario: str, server: Server, folder: Path, *, user: str = "alice", mode: str = UDP, calls: int = 1
    ) -> None:
        self._errors = folder / f"{scenario}-{mode}-errors.txt"
        self._messages = folder / f"{scenario}-{mode}-messages.txt"
        super().__init__(
            [
                *(
                    "sipp",
                    f"127.0.0.1:{server.port_of('udp' if mode == UDP else 'tcp')}",
                    "-sf",
                    str(SCENARIOS / f"{scenario}.xml"),
                    "-s",
                    user,
                ),
                *("-i", "127.0.0.1", "-p", str(free_port()), "-ci", "127.0.0.1", "-t", mode),
                *("-au", user, "-ap", password_of(user)),
                *("-m", str(calls), "-l", str(calls), "-r", "200", "-nostdin"),
                *("-timeout", "30", "-timeout_error", "-recv_timeout", "25000", "-default_behaviors", "abortunexp"),
                *("-trace_err", "-error_file", str(self._errors)),
                *("-trace_msg", "-message_file", str(self._messages)),
            ],
            folder,
        )

    @property
    def errors(self) -> str:
        """What went wrong, in its words."""
        return self._errors.read_text() if self._errors.exists() else ""

    def succeed(self) -> str:
        """Wait for the end and return all that passed on the wire; every call must have gone as written."""
        status = self.wait_exit()
        messages = self._messages.read_text() if self._messages.exists() else ""
        assert status == 0, f"SIPp ended with {status}\n{self.errors}\n{messages[-8000:]}\n{self.output[-4000:]}"
        return messages


def play(scenario: str, server: Server, folder: Path, *, mode: str, calls: int = 1) -> str:
    """Play a scenario to its end."""
    sipp = Sipp(scenario, server, folder, mode=mode, calls=calls)
    try:
        return sipp.succeed()
    finally:
        sipp.stop()


@pytest.mark.parametrize("mode", [UDP, TCP])
def test_sipp_publishes(mode: str, server: Server, carol: RawAgent, tmp_path: Path):
    carol.subscribe("alice")
    carol.wait_notify("<basic>closed</basic>")

    play("publish", server, tmp_path, mode=mode)

    carol.wait_notify("<basic>open</basic>")
    carol.wait_notify("<basic>closed</basic>")


@pytest.mark.parametrize("mode", [UDP, TCP])
def test_sipp_publishes_ten_devices_at_once(mode: str, server: Server, tmp_path: Path):
    play("publish", server, tmp_path, mode=mode, calls=10)


@pytest.mark.parametrize("mode", [UDP, TCP])
def test_sipp_subscribes_ten_times_at_once(mode: str, server: Server, tmp_path: Path):
    play("subscribe", server, tmp_path, mode=mode, calls=10)


@pytest.mark.parametrize("mode", [UDP, TCP])
def test_sipp_fetches(mode: str, server: Server, carol: RawAgent, tmp_path: Path):
    carol.publish("alice", "open")

    play("fetch", server, tmp_path, mode=mode)


@pytest.mark.parametrize("mode", [UDP, TCP])
def test_rfc6665_unknown_event_of_sipp_is_489(mode: str, server: Server, tmp_path: Path):
    play("unknown_event", server, tmp_path, mode=mode)


@pytest.mark.parametrize("mode", [UDP, TCP])
def test_every_watcher_of_sipp_sees_what_sipp_publishes(mode: str, server: Server, carol: RawAgent, tmp_path: Path):
    watchers = 20
    carol.subscribe("alice", "presence.winfo")

    with ExitStack() as stack:
        watching = Sipp("watch", server, tmp_path, mode=mode, calls=watchers)
        stack.callback(watching.stop)
        # The presentity hears of each watcher: none may still be on its way when the state changes.
        present: set[str] = set()
        while len(present) < watchers:
            present |= set(carol.watchers(carol.wait_notify("<watcherinfo")))
        announcing = Sipp("announce", server, tmp_path, mode=mode)
        stack.callback(announcing.stop)

        announcing.succeed()
        messages = watching.succeed()

    # Each was told of the change, and once more in its last NOTIFY.
    assert messages.count("<basic>open</basic>") == 2 * watchers


@pytest.mark.parametrize("way", ways("udp", "tcp", algorithms=("MD5", "MD5,SHA-256")), indirect=True, ids=str)
def test_sipp_proves_who_it_is(way: Way, server: Server, carol: RawAgent, tmp_path: Path):
    carol.subscribe("alice")
    carol.wait_notify("<basic>closed</basic>")

    said = play("proven", server, tmp_path, mode=UDP if way.transport == "udp" else TCP)

    carol.wait_notify("<basic>open</basic>")
    carol.wait_notify("<basic>closed</basic>")
    trace = messages(said.replace("\r", ""))
    assert [message.status for message in trace].count(401) == 6
    keep("sipp", way, trace)


@pytest.mark.parametrize("way", ways("udp", algorithms=("SHA-256",)), indirect=True, ids=str)
def test_sipp_of_debian_knows_md5_only(way: Way, server: Server, tmp_path: Path):
    sipp = Sipp("proven", server, tmp_path)
    try:
        assert sipp.wait_exit() != 0
        assert "authentication must use MD5" in sipp.errors
    finally:
        sipp.stop()
