"""The readers of header field values: they give a value or raise `BadRequest`, quickly, and nothing else."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from presence._fastcore import parse
from presence.errors import SipError
from presence.sip import headers

READERS: tuple[Callable[[str], Any], ...] = (
    headers.parse_uri,
    headers.parse_name_addr,
    headers.read_aor,
    headers.parse_params,
    headers.parse_token_params,
    headers.parse_via,
    headers.unquote_string,
    headers.canonical_user,
)


def run(data: bytes) -> None:
    message = parse(data)
    values = [value for _, value in message.header_items()] if not message.error else [data.decode("utf-8", "replace")]
    for value in values[:20]:
        for read in READERS:
            with suppress(SipError):
                read(value)
        with suppress(SipError):
            headers.parse_accept(headers.split_values(value))
        with suppress(SipError):
            # One spelling only: what was read reads the same again.
            aor = headers.read_aor(value)
            assert headers.parse_uri(str(aor)).aor() == aor if str(aor).startswith("sip:") else True
    if message.is_request and not message.error:
        with suppress(SipError):
            address = headers.parse_uri(message.uri).aor()
            assert message.address is None or tuple(address) == message.address
