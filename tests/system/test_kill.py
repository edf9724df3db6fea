"""What was acknowledged outlives kill -9: publications, subscriptions, and what watchers were told."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random
from time import monotonic

import pytest
from actors import Publisher, Watching, World
from paths import Paths
from process import PATIENCE_S, ROOT, ServerProcess
from wire import Heard

pytestmark = pytest.mark.system

KILLS = int(os.environ.get("PRESENCE_KILLS", "40" if os.environ.get("CI") else "10"))
KILLS_PER_DATABASE = 10
SEED = int(os.environ.get("PRESENCE_SEED", "20260101"))
USERS = 30
PUBLISHERS_PER_USER = 2
WATCHERS_PER_USER = 2
LONGEST_LOAD_S = 0.5


class Load:
    """Publishers and watchers of one database, through its crashes."""

    def __init__(self, server: ServerProcess, random: Random) -> None:
        self.server = server
        self.world = World(random)
        self.paths = Paths(server.port, self._heard)
        users = [f"user{number}" for number in range(USERS)]
        ways = len(self.paths)
        self.publishers = [
            Publisher(self.world, self.paths, (number + copy) % ways, user)
            for number, user in enumerate(users)
            for copy in range(PUBLISHERS_PER_USER)
        ]
        self.watchers = [
            Watching(self.world, self.paths, (number + copy) % ways, user)
            for number, user in enumerate(users)
            for copy in range(WATCHERS_PER_USER)
        ]
        self.fetchers = [Watching(self.world, self.paths, number % ways, user) for number, user in enumerate(users)]
        self.orphans: dict[str, dict[str, int]] = {user: {} for user in users}

    def _heard(self, heard: Heard, reply: Callable[[bytes], None]) -> None:
        call_id = heard["Call-ID"].partition("@")[0]
        actor = self.world.calls[call_id]
        if not heard.status:
            assert isinstance(actor, Watching)
            actor.heard_notify(heard, reply)
        elif actor.call_id == call_id:
            actor.heard_response(heard)

    def _actors(self) -> list[Publisher | Watching]:
        return [*self.publishers, *self.watchers, *self.fetchers]

    def _until(self, what: str, holds: Callable[[], bool]) -> None:
        give_up_at = monotonic() + PATIENCE_S

        def resend() -> None:
            assert monotonic() < give_up_at, f"never happened: {what}"
            for actor in self._actors():
                actor.resend()

        self.paths.run(holds, every=resend)

    def _settled(self) -> bool:
        return not any(actor.pending for actor in self._actors())

    def crash(self) -> None:
        """Work for a while, kill the server at some instant, and start it again."""
        self.paths.connect()
        self.world.going_on = True
        kill_at = monotonic() + self.world.random.uniform(0.0, LONGEST_LOAD_S)
        for actor in [*self.publishers, *self.watchers]:
            actor.go_on()
        self.paths.run(lambda: monotonic() >= kill_at)
        self.server.kill()
        self.world.going_on = False
        self.paths.exhaust()
        for actor in self._actors():
            actor.abandon()
        for watcher in [*self.watchers, *self.fetchers]:
            watcher.crashed()
        self.server.start()

    def verify(self) -> None:
        """Compare what the server holds with what it acknowledged."""
        before = {watcher: watcher.highest for watcher in self.watchers if watcher.subscribed}
        certain = [watcher for watcher in before if watcher.pending != "end"]
        self.paths.connect()
        self._until("every subscription is notified", lambda: all(w.told is not None for w in certain))
        for fetcher in self.fetchers:
            fetcher.fetch()
        self._until("every fetch is answered", lambda: all(f.told is not None and not f.pending for f in self.fetchers))
        for watcher, highest in before.items():
            assert watcher.told is None or watcher.highest > highest
        for fetcher in self.fetchers:
            self._compare(fetcher)
        for watcher in self.watchers:
            watcher.settle()
        self._until("everything is settled", self._settled)
        assert not self.world.wrong, self.world.wrong

    def _compare(self, fetcher: Watching) -> None:
        """The document has what was acknowledged, nothing else, and every watcher was told the same."""
        told, orphans = fetcher.told, self.orphans[fetcher.user]
        assert told is not None
        rest = dict(told)
        for name, version in orphans.items():
            assert rest.pop(name, 0) == version, f"{name} was {version}: {told}"
        for watcher in self.watchers:
            assert watcher.user != fetcher.user or watcher.told in (None, told)
        for publisher in self.publishers:
            if publisher.user == fetcher.user:
                found = rest.pop(publisher.name, 0)
                assert found in publisher.allowed(), f"{publisher.name}: {found} of {publisher.allowed()}"
                publisher.settle(found, orphans)
        assert not rest, f"never acknowledged, or removed: {rest}"

    def close(self) -> None:
        self.paths.close()


@pytest.mark.timeout(60 + 6 * KILLS)
def test_nothing_acknowledged_is_lost_by_kill_9(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    random = Random(SEED)
    asked = acknowledged = kills = 0
    while kills < KILLS:
        folder = tmp_path / f"database{kills}"
        folder.mkdir()
        with ServerProcess(folder, "--log-level=warning") as server:
            load = Load(server, random)
            for _ in range(min(KILLS_PER_DATABASE, KILLS - kills)):
                load.crash()
                load.verify()
                kills += 1
            load.close()
            server.assert_calm()
        asked += load.world.asked
        acknowledged += load.world.acknowledged
        _check(folder / "presence.db")
    with capsys.disabled():
        print(f"\n{kills} kills, {asked} requests, {acknowledged} changes acknowledged, 0 lost (seed {SEED})")
    assert acknowledged > 20 * kills


def _check(database: Path) -> None:
    """The database is sound in the eyes of `presence db check`."""
    command = [sys.executable, "-m", "presence", "db", "check", str(database)]
    checked = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S)
    assert checked.returncode == 0, checked.stdout + checked.stderr
