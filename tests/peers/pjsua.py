"""pjsua, worked by orders and read on its terminal. `pjsua_agent` is what runs."""

import sys
from pathlib import Path

from running import Program
from ways import Way, password_of

AGENT = Path(__file__).with_name("pjsua_agent.py")


class Pjsua(Program):
    """One pjsua with an account that registers, publishes and watches through the server."""

    def __init__(
        self,
        user: str,
        folder: Path,
        way: Way,
        port: int,
        *,
        buddies: tuple[str, ...] = (),
        mailbox: bool = False,
        password: str = "",
    ) -> None:
        options = [f"--port={port}", f"--transport={way.transport}", *(f"--buddy={name}" for name in buddies)]
        if way.algorithm:
            options += [f"--password={password or password_of(user)}", f"--algorithm={way.algorithm}"]
        if way.transport == "tls":
            options.append(f"--ca={way.authority}")
        if mailbox:
            options.append("--mailbox")
        super().__init__([sys.executable, str(AGENT), user, *options], folder)
        self.name = "pjsua"

    def order(self, words: str) -> None:
        """Have it do something."""
        self.type(f"{words}\n")

    def wait_status(self, name: str, status: str, *, after: int = 0) -> int:
        """Return where in the output the status of a buddy was shown."""
        return self.wait_for(rf"\+ buddy sip:{name}@example\.com {status} ", after=after).end()
