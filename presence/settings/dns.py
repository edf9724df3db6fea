"""Settings of how host names in Contact and Route are looked up."""

from dataclasses import dataclass

from presence.settings.setting import key
from presence.shape import PATH_OR_NOTHING, Shape, parse_address, write_address


def _server(text: str) -> str:
    bare = text.startswith("[") and text.endswith("]")
    if bare or text.count(":") == 0:
        text += ":53"
    elif text.count(":") > 1 and not text.startswith("["):
        text = f"[{text}]:53"
    return write_address(*parse_address(text))


NAME_SERVER = Shape("ADDRESS or ADDRESS:PORT with an IP address", _server)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dns:
    """How host names in Contact and Route are looked up (RFC 3263)."""

    enabled: bool = key(
        True,
        "Look up host names by NAPTR, SRV and A or AAAA records. Without it a name stands for the address its "
        "request came from.",
    )
    servers: tuple[str, ...] = key(
        (), "Name servers, asked in this order; with none given those of /etc/resolv.conf.", shape=NAME_SERVER
    )
    timeout_ms: int = key(2000, "Longest wait for the answer to one question.", within=(10, 20_000))
    max_lookups: int = key(
        64,
        "Questions under way at once. One source address may cause as many locations at a time, all together sixteen "
        "times as many; a SUBSCRIBE beyond that is answered 503.",
        within=(1, 10_000),
    )
    cache_size: int = key(
        10_000,
        "Answers kept, for their time to live but at least 5 s and at most an hour; that there is none for 30 s.",
        within=(1, 10_000_000),
    )
    hosts_file: str = key(
        "/etc/hosts", "File of addresses and names that needs no server; empty is none.", shape=PATH_OR_NOTHING
    )

    @property
    def addresses(self) -> tuple[tuple[str, int], ...]:
        """Host and port of `servers`."""
        return tuple(parse_address(entry) for entry in self.servers)
