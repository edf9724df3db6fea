"""Writing requests (RFC 3261 section 8.1.1). Responses are built by the compiled core."""

from random import Random
from typing import Final, NamedTuple

from presence.errors import Headers

BRANCH_COOKIE: Final = "z9hG4bK"
MAX_FORWARDS: Final = 70

# What is echoed from a peer must not become a header field of its own.
_ONE_LINE = {0: " ", 10: " ", 13: " "}


class SentBy(NamedTuple):
    """Our own end of a flow: what Via and Contact say of us."""

    transport: str
    """The token of Via, "UDP" or "TCP"."""
    host: str
    """An IP address, without brackets."""
    port: int

    @property
    def reliable(self) -> bool:
        """True when the transport retransmits by itself."""
        return self.transport != "UDP"

    @property
    def contact(self) -> str:
        """The SIP URI by which this end is reached."""
        parameter = f";transport={self.transport.lower()}" if self.reliable else ""
        return f"sip:{self._host}:{self.port}{parameter}"

    @property
    def secure_contact(self) -> str:
        """The same as a SIPS URI, where `transport=tls` has no place (RFC 3261 section 26.2.2)."""
        return f"sips:{self._host}:{self.port}"

    def via(self, branch: str) -> str:
        """Return the value of Via; it asks for rport (RFC 3581 section 3)."""
        return f"SIP/2.0/{self.transport} {self._host}:{self.port};rport;branch={branch}"

    @property
    def _host(self) -> str:
        return f"[{self.host}]" if ":" in self.host else self.host


def make_token(random: Random) -> str:
    """Return a token that nobody else uses: for tags and Call-ID (RFC 3261 section 19.3)."""
    return f"{random.getrandbits(96):024x}"


def make_branch(random: Random) -> str:
    """Return a branch that is unique across space and time (RFC 3261 section 8.1.1.7)."""
    return BRANCH_COOKIE + make_token(random)


def write_request(method: str, uri: str, via: str, headers: Headers, body: bytes = b"") -> bytes:
    """Write a request; Max-Forwards and Content-Length are added to `headers`."""
    fields = (
        ("Via", via),
        ("Max-Forwards", str(MAX_FORWARDS)),
        *headers,
        ("Content-Length", str(len(body))),
    )
    lines = [f"{method} {uri} SIP/2.0"]
    lines += [f"{name}: {value.translate(_ONE_LINE)}" for name, value in fields]
    return "\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape") + body
