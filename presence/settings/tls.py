"""Settings of TLS and WebSocket."""

from dataclasses import dataclass
from typing import Literal

# `key` is a key of this section.
from presence.settings.setting import key as setting
from presence.shape import ORIGIN, PATH_OR_NOTHING


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """Certificates of listeners and peers; read anew at SIGHUP and when a file has changed."""

    certificate: str = setting(
        "",
        "PEM file with our certificate and those of its issuers behind it; needed for tls and wss listeners.",
        shape=PATH_OR_NOTHING,
    )
    key: str = setting("", "PEM file with the key of the certificate; empty is the same file.", shape=PATH_OR_NOTHING)
    client_ca: str = setting("", "PEM file with whom we let vouch for clients.", shape=PATH_OR_NOTHING)
    client_certificates: Literal["none", "request", "require"] = setting(
        "none",
        "Whether clients are asked for a certificate; one that tls.client_ca does not vouch for ends the connection, "
        "and so does none at all with require.",
    )
    minimum_version: Literal["1.2", "1.3"] = setting("1.2", "Oldest version of TLS spoken.")
    key_log: str = setting(
        "",
        "File that gets the secrets of every session, for Wireshark in a lab: whoever reads it can read all that was "
        "said. The environment variable SSLKEYLOGFILE does the same.",
        shape=PATH_OR_NOTHING,
    )
    server_ca: str = setting(
        "",
        "PEM file with whom we let vouch for servers that NOTIFYs are sent to; empty is whom the system trusts.",
        shape=PATH_OR_NOTHING,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Ws:
    """SIP over WebSocket."""

    origins: tuple[str, ...] = setting(
        (),
        "Origins whose pages may connect; with none given all may, and what says no origin. "
        "Others are refused with 403.",
        shape=ORIGIN,
    )
