"""How a client reaches the server, and who it is."""

from dataclasses import dataclass
from pathlib import Path

USERS = ("alice", "bob", "carol")


@dataclass(frozen=True)
class Way:
    """A transport, and the algorithm of the digest the server asks for; without one it asks for none."""

    transport: str = "udp"
    algorithm: str = ""
    authority: Path = Path()
    """The certificate that the server's is signed with."""

    def __str__(self) -> str:
        return f"{self.transport}-{self.algorithm or 'open'}"

    def password(self, user: str) -> str:
        """Return the password of a user."""
        return f"secret-of-{user}"
