"""The server as a process on loopback: started, asked, killed and started again on the same ports and database."""

import http.client
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from time import monotonic, sleep

PATIENCE_S = 30.0
"""How long anything may take on a busy machine before a test gives up."""

ROOT = Path(__file__).resolve().parents[2]


def run_serve(*options: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run `presence serve` where it is expected to refuse, and return what it said."""
    return subprocess.run(
        _command(*options), cwd=folder, env=_environment(), capture_output=True, text=True, timeout=PATIENCE_S
    )


def until(what: str, holds: Callable[[], bool], *, patience_s: float = PATIENCE_S) -> None:
    """Return as soon as `holds` is true; fail with `what` when it never is."""
    give_up_at = monotonic() + patience_s
    while not holds():
        assert monotonic() < give_up_at, f"never happened: {what}"
        sleep(0.002)


class ServerProcess:
    """One `presence serve`, on ports the kernel chose at its first start and keeps over restarts."""

    def __init__(
        self,
        folder: Path,
        *options: str,
        transports: tuple[str, ...] = ("udp", "tcp"),
        database: Path | None = None,
        within: tuple[str, ...] = (),
    ) -> None:
        """`within` is a command that runs another in its place, such as nsenter."""
        self.folder = folder
        self.database = database or folder / "presence.db"
        self._within = within
        self.port = 0
        self.http_port = 0
        self.ready: dict[str, list[str]] = {}
        self._options = options
        self._transports = transports
        self._process: subprocess.Popen[bytes] | None = None
        self._ready_file = folder / "ready.json"
        self._output = folder / "stdout.txt"
        self._log = folder / "stderr.txt"

    def __enter__(self) -> "ServerProcess":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None and self._process.poll() is None:
            self.kill()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start and return when every listener is open."""
        self._ready_file.unlink(missing_ok=True)
        listeners = [f"--listen={transport}:127.0.0.1:{self.port}" for transport in self._transports]
        with self._output.open("ab") as output, self._log.open("ab") as log:
            command = _command(
                *listeners,
                f"--http=127.0.0.1:{self.http_port}",
                f"--database={self.database}",
                f"--ready-file={self._ready_file}",
                # No test has a name looked up beyond loopback.
                "--set=dns.servers=127.0.0.1:9",
                *self._options,
            )
            self._process = subprocess.Popen(
                [*self._within, *command],
                cwd=self.folder,
                env=_environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=log,
            )
        until("the ready file", lambda: not self.alive or self._ready_file.exists())
        assert self._ready_file.exists(), f"the server ended: {self.log()}"
        self.ready = json.loads(self._ready_file.read_text())
        self.port = int(self.ready["sip"][0].rpartition(":")[2])
        self.http_port = int(self.ready["http"][0].rpartition(":")[2])

    def kill(self) -> None:
        """End it as a crash would."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(PATIENCE_S)

    def terminate(self) -> None:
        """Ask it to drain."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)

    def wait(self) -> int:
        """Return the exit status."""
        assert self._process is not None
        return self._process.wait(PATIENCE_S)

    def output(self) -> str:
        return self._output.read_text()

    def log(self) -> str:
        return self._log.read_text()

    def says(self, event: str) -> bool:
        """Whether a log line with this message has been written."""
        return f'"message": "{event}"' in self.log()

    def rss_bytes(self) -> int:
        pages = Path(f"/proc/{self.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def get(self, path: str) -> tuple[int, str]:
        """Ask over HTTP; return status and body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.http_port, timeout=PATIENCE_S)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def metric(self, name: str) -> float:
        """Return the sum of a metric over its labels."""
        lines = self.get("/metrics")[1].splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith((f"{name}{{", f"{name} ")))

    def assert_calm(self) -> None:
        """The log has JSON lines only, and none tells of an error of ours."""
        for line in self.log().splitlines():
            event = json.loads(line)
            assert "exception" not in event, event
            assert event["level"] in ("info", "warning"), event
        assert "Traceback" not in self.log()


def _command(*options: str) -> list[str]:
    return [sys.executable, "-m", "presence", "serve", *options]


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PRESENCE_")}
    return {**kept, "PYTHONPATH": str(ROOT)}
