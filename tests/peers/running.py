"""The server and the programs of other people, each as a process on loopback that a test can wait for."""

import json
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep

import pytest

ROOT = Path(__file__).resolve().parents[2]

PATIENCE_S = 20.0
"""How long anything may take on a busy machine before a test gives up."""

_TERMINAL = re.compile(rb"\x1b\[[0-9;]*[a-zA-Z]|\r")
"""What a terminal makes of text: colours, and carriage returns before every line end."""


def needs(program: str) -> list[pytest.MarkDecorator]:
    """Mark tests that need a program of somebody else's; without it they are skipped and say why."""
    reason = f"{program} is not installed: make test-peers installs it"
    return [pytest.mark.peer, pytest.mark.skipif(shutil.which(program) is None, reason=reason)]


class Server:
    """The presence server, as `presence serve` starts it, on ports the kernel chose."""

    def __init__(self, folder: Path) -> None:
        ready = folder / "ready.json"
        self._log = folder / "server.txt"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "presence", "serve"),
                    *("--listen=udp:127.0.0.1:0", "--listen=tcp:127.0.0.1:0", "--http=127.0.0.1:0"),
                    *(f"--database={folder / 'presence.db'}", f"--ready-file={ready}"),
                    # No test has a name looked up beyond loopback.
                    "--set=dns.servers=127.0.0.1:9",
                ],
                cwd=folder,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        give_up_at = monotonic() + PATIENCE_S
        while not ready.exists():
            assert self._process.poll() is None, self.log
            assert monotonic() < give_up_at, self.log
            sleep(0.005)
        self.port = int(json.loads(ready.read_text())["sip"][0].rpartition(":")[2])

    @property
    def log(self) -> str:
        """What the server said."""
        return self._log.read_text()

    def stop(self) -> None:
        """Kill the server: what peers still owe it is of no interest."""
        self._process.kill()
        self._process.wait()


@contextmanager
def running_server(folder: Path) -> Iterator[Server]:
    """Run a server for one test, which must not find anything to complain of."""
    server = Server(folder)
    try:
        yield server
        assert server._process.poll() is None, server.log
        assert '"level": "error"' not in server.log, server.log
    finally:
        server.stop()


class Program:
    """A process at a terminal of its own, so that its output comes line by line and it takes keys."""

    def __init__(self, arguments: list[str], folder: Path) -> None:
        self.name = Path(arguments[0]).name
        self.output = ""
        self._received = b""
        self._terminal, theirs = pty.openpty()
        self._process = subprocess.Popen(
            arguments, cwd=folder, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
        )
        os.close(theirs)

    def type(self, keys: str) -> None:
        """Press keys."""
        os.write(self._terminal, keys.encode())

    def wait_for(self, pattern: str, *, after: int = 0) -> re.Match[str]:
        """Return the first match in the output from offset `after` on; fail with the output when none comes."""
        sought = re.compile(pattern)
        self._read_until(lambda: sought.search(self.output, after) is not None)
        found = sought.search(self.output, after)
        assert found, f"{self.name} never said {pattern!r}:\n{self.output[-20000:]}"
        return found

    def wait_exit(self) -> int:
        """Return the exit status of a process that ends by itself."""
        self._read_until(lambda: False)
        try:
            return self._process.wait(1.0)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} does not end:\n{self.output[-20000:]}") from None

    def stop(self) -> None:
        """End the process, whatever it is doing."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        os.close(self._terminal)

    def _read_until(self, satisfied: Callable[[], bool]) -> None:
        """Read output until something holds, the output ends or patience does."""
        give_up_at = monotonic() + PATIENCE_S
        while not satisfied() and (left_s := give_up_at - monotonic()) > 0:
            if not select.select([self._terminal], [], [], left_s)[0]:
                return
            try:
                self._received += os.read(self._terminal, 65536)
            except OSError:
                # So Linux says that the program has closed its side of the terminal.
                return
            self.output = _TERMINAL.sub(b"", self._received).decode("utf-8", "replace")
