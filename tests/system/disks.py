"""A small disk of its own for the server: a tmpfs in a mount namespace, which nobody else sees."""

import os
import subprocess
from pathlib import Path

SIZE_MB = 40


class SmallDisk:
    """Mounted at `place` for those who enter; gone with the process that holds the namespace."""

    def __init__(self, place: Path, size_mb: int = SIZE_MB) -> None:
        """Mount it; raises OSError where that is not permitted."""
        place.mkdir()
        self.place = place
        user = () if os.geteuid() == 0 else ("--user", "--map-root-user")
        script = f"mount -t tmpfs -o size={size_mb}m,mode=755 tmpfs '{place}' && echo mounted && exec sleep 3600"
        self._holder = subprocess.Popen(
            ["unshare", *user, "--mount", "sh", "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert self._holder.stdout is not None
        if self._holder.stdout.readline() != "mounted\n":
            _, said = self._holder.communicate()
            raise OSError(said.strip() or "no mount namespace")
        kinds = ("--mount",) if os.geteuid() == 0 else ("--user", "--mount", "--preserve-credentials")
        self.within = ("nsenter", f"--target={self._holder.pid}", *kinds)
        """Runs a command where the disk is."""

    def run(self, script: str) -> str:
        """Run a shell script there and return what it said."""
        done = subprocess.run([*self.within, "sh", "-c", script], capture_output=True, text=True, check=True)
        return done.stdout

    def fill(self) -> None:
        """Leave not one block free."""
        self.run(f"cat /dev/zero > '{self.place}/filler' 2> /dev/null || true")

    def empty(self) -> None:
        """Give the space back."""
        self.run(f"rm -f '{self.place}/filler'")

    def free_kb(self) -> int:
        return int(self.run(f"df -k --output=avail '{self.place}'").split()[-1])

    def close(self) -> None:
        self._holder.kill()
        self._holder.communicate()
