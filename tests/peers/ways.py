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
    """A transport, and the algorithms of digest the server offers; without one it asks nobody who one is."""

    transport: str = "udp"
    algorithms: str = ""
    """As in `auth.algorithms`: the strongest first, separated by commas."""
    authority: Path = Path()
    """The certificate that the server's own is signed with."""
    certificate: Path = Path()
    """The server's certificate and key."""

    def __str__(self) -> str:
        return f"{self.transport}-{self.algorithms.replace(',', '-') or 'open'}"

    @property
    def algorithm(self) -> str:
        """The algorithm that a client which can choose takes."""
        return self.algorithms.partition(",")[0]

    @property
    def secure(self) -> bool:
        """True when the server shows a certificate."""
        return self.transport in ("tls", "wss")

    @property
    def challenged(self) -> bool:
        """True when the server asks who one is."""
        return bool(self.algorithms)


OPEN_UDP = Way()


def ways(*transports: str, algorithms: tuple[str, ...] = ("MD5",)) -> list[Way]:
    """Return each transport with each algorithm, as parameters of a test."""
    return [Way(transport, offered) for transport in transports for offered in algorithms]
