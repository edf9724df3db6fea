"""The servers under test: ours, and Kamailio from its configurations in bench/peers/."""

import contextlib
import json
import shlex
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from presence.errors import PresenceError
from presence.loadtool.process import cpu_s, memory_bytes, version_of
from presence.sip.digest import hash_account

PATIENCE_S = 30.0
"""How long a server may take to start or to stop."""

DOMAIN = "example.com"
"""Of every presentity and watcher."""

RULES = f"""<?xml version="1.0" encoding="UTF-8"?>
<ruleset xmlns="urn:ietf:params:xml:ns:common-policy" xmlns:pr="urn:ietf:params:xml:ns:pres-rules">
  <rule id="colleagues">
    <conditions><identity><many domain="{DOMAIN}"><except id="sip:mallory@{DOMAIN}"/></many></identity></conditions>
    <actions><pr:sub-handling>allow</pr:sub-handling></actions>
    <transformations>
      <pr:provide-services><pr:all-services/></pr:provide-services>
      <pr:provide-persons><pr:all-persons/></pr:provide-persons>
      <pr:provide-activities>true</pr:provide-activities><pr:provide-note>true</pr:provide-note>
    </transformations>
  </rule>
  <rule id="blocked">
    <conditions><identity><one id="sip:mallory@{DOMAIN}"/></identity></conditions>
    <actions><pr:sub-handling>block</pr:sub-handling></actions><transformations/>
  </rule>
</ruleset>
""".encode()
"""What each presentity has under policy `rules`."""

KAMAILIO_SCHEMA = Path("/usr/share/kamailio/db_sqlite")
CONFIGURATIONS = Path(__file__).resolve().parents[2] / "bench" / "peers"


class PeerError(PresenceError):
    """A server under test did not start, or stopped by itself."""


class PeerMissing(PresenceError):
    """A server under test is not installed."""


class Peer(Protocol):
    """A server that can be started in a folder of its own."""

    name: str
    most_in_flight: int
    """Requests it is given at once at most: more would only wait, until they are retransmitted."""

    def start(self, folder: Path) -> "Running":
        """Start it and return when it answers."""

    def version(self) -> str:
        """Return what it calls itself."""


class Running:
    """A server that runs, and what it uses."""

    auth = ""
    """The digest algorithm it challenges with; empty when it does not."""
    rules = False
    """Whether rules documents say who may watch."""

    def __init__(self, process: "subprocess.Popen[bytes]", port: int, log: Path, database: Path | None = None) -> None:
        self._process = process
        self.pid, self.port, self._log, self._database = process.pid, port, log, database

    def cpu_s(self) -> float:
        """Return the processor time of the whole process tree so far."""
        return cpu_s(self.pid)

    def memory_bytes(self) -> int:
        """Return the resident memory of the whole process tree."""
        return memory_bytes(self.pid)

    def check(self) -> None:
        """Complain when it has ended by itself."""
        if self._process.poll() is not None:
            raise PeerError(f"a server under test ended with {self._process.returncode}: {tail(self._log)}")

    def add_users(self, kind: str, first: int, count: int) -> None:
        """Make users with consecutive numbers, such as u00000000, whose password is "bench"."""
        assert self._database is not None
        column = {"MD5": "ha1", "SHA-256": "ha1_sha256", "SHA-512-256": "ha1_sha512t256"}[self.auth]
        names = [f"{kind}{number:08}" for number in range(first, first + count)]
        rows = [(name, DOMAIN, hash_account(self.auth, name, DOMAIN, "bench")) for name in names]
        with contextlib.closing(sqlite3.connect(self._database, timeout=PATIENCE_S)) as connection, connection:
            connection.executemany(f"INSERT INTO subscriber (username, domain, {column}) VALUES (?, ?, ?)", rows)

    def add_rules(self, first: int, count: int) -> None:
        """Give presentities with consecutive numbers the rules that everybody of their domain may see nearly all."""
        assert self._database is not None
        rows = [(f"u{number:08}", DOMAIN, RULES, f"bench-{number}") for number in range(first, first + count)]
        with contextlib.closing(sqlite3.connect(self._database, timeout=PATIENCE_S)) as connection, connection:
            connection.executemany(
                "INSERT INTO xcap (username, domain, doc, doc_type, etag, source, doc_uri, port) "
                "VALUES (?, ?, ?, 2, ?, 0, 'index', 0)",
                rows,
            )

    def stop(self) -> None:
        """End it."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class Presence:
    """Our own server, or that of another working copy when `command` names it."""

    def __init__(
        self,
        durability: str,
        command: str = "",
        arguments: Sequence[str] = (),
        *,
        auth: str = "",
        policy: str = "open",
    ) -> None:
        more = f"{f'-{auth}' if auth else ''}{f'-{policy}' if policy != 'open' else ''}"
        self.name, self.most_in_flight = f"presence-{durability}{more}", 1 << 20
        self._durability, self._auth, self._policy = durability, auth, policy
        self._own = not command
        self._command = shlex.split(command) or [sys.executable, "-m", "presence"]
        self._arguments = arguments

    def start(self, folder: Path) -> Running:
        """Start it on a port of the kernel's choice."""
        ready, log = folder / "ready.json", folder / "server.log"
        command = [
            *self._command,
            "serve",
            "--listen",
            "udp:127.0.0.1:0",
            "--http",
            "127.0.0.1:0",
            "--policy",
            self._policy,
        ]
        command += ["--database", str(folder / "presence.db"), "--ready-file", str(ready)]
        command += ["--set", f"database.durability={self._durability}"]
        if self._own:
            # Watchers have many addresses of 127/8, and one socket subscribes for all of them.
            command += ["--set", "limits.trusted=127.0.0.0/8"]
        command += self._arguments
        if self._auth:
            command += ["--set=auth.required=true", f"--set=auth.algorithms={self._auth}"]
        process = spawn(command, log)
        wait_until(ready.exists, process, log)
        port = int(json.loads(ready.read_text())["sip"][0].rpartition(":")[2])
        running = Running(process, port, log, folder / "presence.db")
        running.auth, running.rules = self._auth, self._policy == "rules"
        return running

    def version(self) -> str:
        """Return its version."""
        return version_of(*self._command, "--version")


class Kamailio:
    """Debian's Kamailio: `mode` is memory or durable, `children` the number of UDP receivers."""

    def __init__(self, mode: str, children: int) -> None:
        self.name = f"kamailio-{mode}-{children}"
        # Writing through, it commits one request after the other.
        self.most_in_flight = 32 if mode == "durable" else 1 << 20
        self._mode, self._children = mode, children
        configuration = CONFIGURATIONS / f"kamailio-{mode}.cfg"
        if shutil.which("kamailio") is None:
            raise PeerMissing("kamailio is not installed (apt-get install kamailio kamailio-presence-modules)")
        if not configuration.exists():
            raise PeerMissing(f"no {configuration.name}: peers are started from a clone of the repository")
        if mode == "durable" and not KAMAILIO_SCHEMA.exists():
            raise PeerMissing("kamailio has no SQLite (apt-get install kamailio-sqlite-modules)")
        self._text = configuration.read_text()

    def start(self, folder: Path) -> Running:
        """Start it on a free port and return when it answers OPTIONS."""
        database, log, port = folder / "kamailio.db", folder / "kamailio.log", free_port()
        if self._mode == "durable":
            make_tables(database)
        configuration = folder / "kamailio.cfg"
        text = self._text.replace("=CHILDREN", f"={self._children}").replace("///DATABASE", f"///{database}")
        configuration.write_text(text)
        command = ["kamailio", "-DD", "-E", "-f", str(configuration), "-l", f"udp:127.0.0.1:{port}"]
        command += ["-x", "tlsf", "-m", "2048", "-M", "64", "-b", str(32 << 20)]
        command += ["-Y", str(folder), "-P", str(folder / "kamailio.pid"), "-w", str(folder)]
        process = spawn(command, log)
        wait_until(lambda: answers(port), process, log)
        return Running(process, port, log)

    def version(self) -> str:
        """Return its version."""
        return version_of("kamailio", "-v")


def make_tables(database: Path) -> None:
    """Create Kamailio's tables from the schema Debian ships, with a WAL."""
    with contextlib.closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        for part in ("standard", "presence"):
            connection.executescript((KAMAILIO_SCHEMA / f"{part}-create.sql").read_text())


def spawn(command: Sequence[str], log: Path) -> "subprocess.Popen[bytes]":
    """Start a process that writes into a log."""
    with log.open("wb") as output:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)


def wait_until(condition: Callable[[], bool], process: "subprocess.Popen[bytes]", log: Path) -> None:
    """Wait for a sign of life."""
    until = time.monotonic() + PATIENCE_S
    while not condition():
        if process.poll() is not None or time.monotonic() > until:
            process.kill()
            process.wait()
            raise PeerError(f"a server under test did not start: {tail(log)}")
        time.sleep(0.02)


def tail(log: Path) -> str:
    """Return the end of a log in one line."""
    return " ".join(log.read_text(errors="replace").split())[-400:]


def free_port() -> int:
    """Return a UDP port nobody has at this moment."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def answers(port: int) -> bool:
    """Tell whether somebody answers an OPTIONS at the port, whatever the answer."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        probe.settimeout(0.1)
        own = probe.getsockname()[1]
        lines = [
            f"OPTIONS sip:127.0.0.1:{port} SIP/2.0",
            f"Via: SIP/2.0/UDP 127.0.0.1:{own};rport;branch=z9hG4bKprobe{own}{time.monotonic_ns()}",
            "Max-Forwards: 70",
            f"From: <sip:probe@127.0.0.1>;tag={own}",
            f"To: <sip:127.0.0.1:{port}>",
            f"Call-ID: probe{time.monotonic_ns()}@127.0.0.1",
            "CSeq: 1 OPTIONS",
            "Content-Length: 0",
        ]
        try:
            probe.sendto(("\r\n".join(lines) + "\r\n\r\n").encode(), ("127.0.0.1", port))
            return bool(probe.recv(4096))
        except OSError:
            return False
