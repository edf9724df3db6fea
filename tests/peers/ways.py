"""How a client reaches the server, and who it is."""

from dataclasses import dataclass
from pathlib import Path

USERS = ("alice", "bob", "carol")
"""Who has an account at a server that asks who one is."""


def password_of(user: str) -> str:
    """Return the password of a user."""
    return f"secret-of-{user}"


@dataclass(frozen=True)
class Way:
    """A transport, and the algorithm of the digest the server asks for; without one it asks for none."""

    transport: str = "udp"
    algorithm: str = ""
    authority: Path = Path()
    """The certificate that the server's own is signed with."""
    certificate: Path = Path()
    """The server's certificate and key."""

    def __str__(self) -> str:
        return f"{self.transport}-{self.algorithm or 'open'}"

    @property
    def challenged(self) -> bool:
        """True when the server asks who one is."""
        return bool(self.algorithm)


OPEN_UDP = Way()


def ways(*transports: str, algorithms: tuple[str, ...] = ("MD5",)) -> list[Way]:
    """Return each transport with each algorithm, as parameters of a test."""
    return [Way(transport, algorithm) for transport in transports for algorithm in algorithms]
