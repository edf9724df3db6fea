"""The server and the programs of other people, each as a process on loopback that a test can wait for."""

import codecs
import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from threading import Condition, Thread
from time import monotonic, sleep

import pytest
from ways import USERS, password_of

ROOT = Path(__file__).resolve().parents[2]

PATIENCE_S = 20.0
"""How long anything may take on a busy machine before a test gives up."""

_TERMINAL = re.compile(rb"\x1b\[[0-9;]*[a-zA-Z]|\r")
"""What a terminal makes of text: colours, and carriage returns before every line end."""


def needs(program: str = "", *, module: str = "") -> list[pytest.MarkDecorator]:
    """Mark tests that need a program or Python module of others; without it they are skipped and say why."""
    missing = shutil.which(program) is None if program else find_spec(module) is None
    reason = f"{program or module} is not installed: make test-peers installs it"
    return [pytest.mark.peer, pytest.mark.skipif(missing, reason=reason)]


class Server:
    """The presence server, as `presence serve` starts it, on ports the kernel chose."""

    def __init__(self, folder: Path, *options: str) -> None:
        ready = folder / "ready.json"
        self._log = folder / "server.txt"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "presence", "serve"),
                    *("--listen=udp:127.0.0.1:0", "--listen=tcp:127.0.0.1:0", "--http=127.0.0.1:0"),
                    *(f"--database={folder / 'presence.db'}", f"--ready-file={ready}", *options),
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
        listening = json.loads(ready.read_text())
        self._listening = listening["sip"]
        self.http = f"http://{listening['http'][0]}"
        self.port = self.port_of("udp")

    def port_of(self, transport: str) -> int:
        """Return the port of a listener."""
        return next(int(entry.rpartition(":")[2]) for entry in self._listening if entry.startswith(f"{transport}:"))

    @property
    def log(self) -> str:
        """What the server said."""
        return self._log.read_text()

    def stop(self) -> None:
        """Kill the server: what peers still owe it is of no interest."""
        self._process.kill()
        self._process.wait()


def provide_users(folder: Path) -> None:
    """Give everybody an account in the database a server in `folder` will open."""
    for user in USERS:
        subprocess.run(
            [
                *(sys.executable, "-m", "presence", "user", "add", f"{user}@example.com"),
                *("--database", str(folder / "presence.db"), "--password-stdin"),
            ],
            input=password_of(user),
            text=True,
            check=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )


@contextmanager
def running_server(folder: Path, *options: str) -> Iterator[Server]:
    """Run a server for one test, which must not find anything to complain of."""
    server = Server(folder, *options)
    try:
        yield server
        assert server._process.poll() is None, server.log
        assert '"level": "error"' not in server.log, server.log
    finally:
        server.stop()


class Program:
    """A process at a terminal of its own, so that its output comes line by line and it takes keys."""

    def __init__(self, arguments: list[str], folder: Path, **environment: str) -> None:
        self.name = Path(arguments[0]).name
        self._said = ""
        self._ended = False
        self._more = Condition()
        self._terminal, theirs = pty.openpty()
        self._process = subprocess.Popen(
            arguments,
            cwd=folder,
            env={**os.environ, **environment},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        # A terminal holds 4 KiB: were nobody reading while a test looks elsewhere, the program would stand still.
        self._reader = Thread(target=self._read)
        self._reader.start()

    @property
    def output(self) -> str:
        """What the program printed so far."""
        with self._more:
            return self._said

    def type(self, keys: str) -> None:
        """Press keys."""
        os.write(self._terminal, keys.encode())

    def wait_for(self, pattern: str, *, after: int = 0) -> re.Match[str]:
        """Return the first match in the output from offset `after` on; fail with the output when none comes."""
        sought = re.compile(pattern)
        with self._more:
            self._more.wait_for(lambda: self._ended or sought.search(self._said, after), PATIENCE_S)
            found = sought.search(self._said, after)
            assert found, f"{self.name} never said {pattern!r}:\n{self._said[-20000:]}"
            return found

    def wait_exit(self) -> int:
        """Return the exit status of a process that ends by itself."""
        try:
            status = self._process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} does not end:\n{self.output[-20000:]}") from None
        self._reader.join()
        return status

    def stop(self) -> None:
        """End the process and those it started, whatever they are doing."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._reader.join()
        os.close(self._terminal)

    def _read(self) -> None:
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        kept = b""
        while True:
            try:
                kept += os.read(self._terminal, 65536)
            except OSError:
                # So Linux says that the program has closed its side of the terminal.
                break
            # What could be the beginning of something the terminal makes of text waits for the rest of it.
            whole = kept.rfind(b"\n") + 1 or (0 if b"\x1b" in kept[-8:] else len(kept))
            with self._more:
                self._said += decoder.decode(_TERMINAL.sub(b"", kept[:whole]))
                self._more.notify_all()
            kept = kept[whole:]
        with self._more:
            self._said += decoder.decode(_TERMINAL.sub(b"", kept), final=True)
            self._ended = True
            self._more.notify_all()
