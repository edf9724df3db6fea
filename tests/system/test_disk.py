"""A disk that is full or refuses to be written, under load: refused with 503, nothing lost, well again by itself."""

import resource
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from disks import SmallDisk
from process import PATIENCE_S, ServerProcess, until
from wire import Heard, UdpAgent, Watcher, notes, request, unique

pytestmark = pytest.mark.system

USERS = 6
PADDING = 20_000
"""Bytes that make a publication large, so that a segment of the journal is soon full."""
WAITING = "the tables cannot be written now, changes wait in the journal"
UNFOLDED = "presence_unfolded"
ENOUGH = 40
"""Requests refused before the disk is well again."""


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    try:
        small = SmallDisk(tmp_path / "disk")
    except OSError as error:
        pytest.skip(f"a file system cannot be mounted here: {error}")
    yield small
    small.close()


class Customer:
    """One presentity with its publisher and its watcher; it knows what was acknowledged."""

    def __init__(self, port: int, name: str) -> None:
        self.name = name
        self.publisher, self.watcher = UdpAgent(port), UdpAgent(port)
        self.etag, self.version, self.asked = "", 0, 0
        self.told: list[int] = []
        self._call_id = unique("disk")
        self._cseq = 0

    def watch(self) -> None:
        self.watch_ = Watcher(self.watcher, self.name)
        assert self.watch_.subscribe().status == 200
        self.hear()

    def document(self, version: int, padding: int) -> bytes:
        return (
            f'<presence xmlns="urn:ietf:params:xml:ns:pidf" entity="sip:{self.name}@example.com"><tuple id="t">'
            f"<status><basic>open</basic></status><note>{version}</note></tuple><!--{'x' * padding}--></presence>"
        ).encode()

    def ask(self, padding: int) -> None:
        """Send the next version without waiting."""
        self.asked += 1
        self._cseq += 1
        headers = "Event: presence\r\nExpires: 3000\r\nContent-Type: application/pidf+xml\r\n"
        headers += f"SIP-If-Match: {self.etag}\r\n" if self.etag else ""
        uri = f"sip:{self.name}@example.com"
        words = {"via": self.publisher.via, "to": self.name, "call_id": self._call_id, "cseq": self._cseq}
        self.publisher.send(request("PUBLISH", uri, headers=headers, body=self.document(self.asked, padding), **words))  # type: ignore[arg-type]

    def answered(self) -> Heard:
        heard = self.publisher.response()
        if heard.status == 200:
            self.version, self.etag = self.asked, heard["SIP-ETag"]
        return heard

    def hear(self) -> None:
        """Take the NOTIFY that is due."""
        self.told.append(int(notes(self.watcher.notify().body).get("t", "0")))

    def close(self) -> None:
        self.publisher.close()
        self.watcher.close()


class Load:
    """All customers, and what they were answered."""

    def __init__(self, port: int) -> None:
        self.customers = [Customer(port, f"user{number}") for number in range(USERS)]
        self.statuses: Counter[int] = Counter()
        for customer in self.customers:
            customer.watch()

    def round(self, padding: int = PADDING) -> Counter[int]:
        """Let all publish at once; each answer must be a success its watcher hears of, or say when to come again."""
        statuses: Counter[int] = Counter()
        for customer in self.customers:
            customer.ask(padding)
        for customer in self.customers:
            heard = customer.answered()
            statuses[heard.status] += 1
            if heard.status == 200:
                customer.hear()
                assert customer.told[-1] == customer.version
            else:
                assert heard.status == 503, heard.start
                assert int(heard["Retry-After"]) > 0
        self.statuses += statuses
        return statuses

    def until_refused(self) -> None:
        """Publish until the server refuses large publications, then until there is no room for small ones either."""
        for padding in (PADDING, 0):
            refused = 0
            while refused < ENOUGH:
                refused += self.round(padding)[503]
                assert self.statuses.total() < 5000, f"never refused: {self.statuses}"

    def until_served(self) -> None:
        """Publish until everybody is served again."""
        until("served again", lambda: self.round()[200] == USERS)

    def restarted(self) -> None:
        """Every watcher is told once more what stands, which is what was acknowledged."""
        for customer in self.customers:
            customer.hear()
            assert customer.told[-1] == customer.version

    def verify(self) -> None:
        """What was acknowledged last is what everybody is told, and an entity-tag given is one that works."""
        for customer in self.customers:
            assert customer.told == sorted(customer.told), f"{customer.name} was told {customer.told}"
            with UdpAgent(customer.publisher._server[1]) as agent:
                assert Watcher(agent, customer.name).subscribe(0).status == 200
                assert notes(agent.notify().body) == {"t": str(customer.version)}
            answer = customer.publisher.publish(customer.name, etag=customer.etag, expires=3000)
            assert answer.status == 200, answer.start
            customer.etag = answer["SIP-ETag"]

    def close(self) -> None:
        for customer in self.customers:
            customer.close()


def subscribe_is_refused(server: ServerProcess) -> bool:
    """A subscription cannot be stored either."""
    with UdpAgent(server.port) as agent:
        return Watcher(agent, "user0").subscribe().status == 503


def failed_folds(server: ServerProcess) -> float:
    (line,) = (
        line for line in server.get("/metrics")[1].splitlines() if 'presence_folds_total{result="failed"}' in line
    )
    return float(line.rpartition(" ")[2])


def stands(server: ServerProcess) -> bool:
    """The server answers what needs no disk."""
    with UdpAgent(server.port) as agent:
        options = agent.ask("OPTIONS", "sip:example.com")
    return server.alive and options.status == 200 and server.get("/metrics")[0] == 200


def check(disk: SmallDisk, server: ServerProcess) -> None:
    """The database is sound in the eyes of `presence db check`."""
    command = [*disk.within, sys.executable, "-m", "presence", "db", "check", str(server.database)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 0, done.stdout + done.stderr


def start(disk: SmallDisk, folder: Path, *options: str) -> ServerProcess:
    return ServerProcess(folder, *options, database=disk.place / "presence.db", within=disk.within)


def test_a_full_disk_refuses_loses_nothing_and_is_served_again_when_there_is_space(disk: SmallDisk, tmp_path: Path):
    with start(disk, tmp_path) as server:
        load = Load(server.port)
        assert load.round() == {200: USERS}
        disk.fill()
        load.until_refused()
        assert disk.free_kb() < 4
        until("a subscription finds no room", lambda: subscribe_is_refused(server))
        assert server.metric(UNFOLDED) > 0
        assert stands(server)
        until("a fold fails", lambda: failed_folds(server) > 0)
        assert f"{WAITING}: database or disk is full" in server.log()
        disk.empty()
        load.until_served()
        load.verify()
        until("all is in the tables", lambda: server.metric(UNFOLDED) == 0)
        server.assert_calm()
        server.kill()
        server.start()
        load.restarted()
        load.verify()
        server.kill()
        check(disk, server)
        load.close()


def test_what_was_acknowledged_on_a_full_disk_outlives_a_crash_on_it(disk: SmallDisk, tmp_path: Path):
    with start(disk, tmp_path) as server:
        load = Load(server.port)
        load.round()
        disk.fill()
        load.until_refused()
        server.kill()
        disk.empty()
        server.start()
        load.restarted()
        load.verify()
        load.until_served()
        load.close()


def test_a_disk_that_takes_no_write_at_all_not_even_the_log(tmp_path: Path):
    with ServerProcess(tmp_path) as server:
        load = Load(server.port)
        load.round()
        lines = len(server.log())
        most = resource.prlimit(server.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (0, most[1]))
        load.until_refused()
        until("a subscription finds no room", lambda: subscribe_is_refused(server))
        assert server.metric(UNFOLDED) > 0
        assert stands(server)
        until("a fold fails", lambda: failed_folds(server) > 0)
        assert len(server.log()) == lines
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, most)
        load.until_served()
        load.verify()
        until("all is in the tables", lambda: server.metric(UNFOLDED) == 0)
        server.assert_calm()
        server.kill()
        server.start()
        load.restarted()
        load.verify()
        load.close()


def test_a_database_on_a_read_only_disk_is_refused_at_the_start(disk: SmallDisk, tmp_path: Path):
    with start(disk, tmp_path) as server:
        server.terminate()
        assert server.wait() == 0
    disk.run(f"mount -o remount,ro '{disk.place}'")
    with pytest.raises(AssertionError, match="the server ended"):
        server.start()
    said = server.log().splitlines()[-1]
    assert "cannot" in said
    assert "Traceback" not in server.log()
    disk.run(f"mount -o remount,rw '{disk.place}'")
    server.start()
    assert stands(server)
    server.kill()
