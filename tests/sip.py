"""Requests and responses as literal bytes, one header field a line."""

from itertools import count

from presence._fastcore import Message

_numbers = count(1)


def fresh(prefix: str) -> str:
    """Return a token no test has used yet: a branch, a tag, a Call-ID."""
    return f"{prefix}{next(_numbers)}"


def lines(*heads: str, body: str | bytes = b"") -> bytes:
    """Write a start line and header fields, then Content-Length and the body."""
    content = body.encode() if isinstance(body, str) else body
    head = "".join(f"{line}\r\n" for line in heads)
    return f"{head}Content-Length: {len(content)}\r\n\r\n".encode("utf-8", "surrogateescape") + content


def request(
    method: str,
    uri: str,
    *extra: str,
    via: str = "SIP/2.0/UDP 127.0.0.1:5070;rport",
    branch: str = "",
    sender: str = "<sip:bob@example.com>",
    from_tag: str = "b",
    to: str = "<sip:alice@example.com>",
    to_tag: str = "",
    call_id: str = "",
    cseq: int = 1,
    body: str | bytes = b"",
) -> bytes:
    """Write a request; `extra` are further header lines."""
    return lines(
        f"{method} {uri} SIP/2.0",
        f"Via: {via};branch={branch or fresh('z9hG4bK')}",
        "Max-Forwards: 70",
        f"From: {sender};tag={from_tag}",
        f"To: {to};tag={to_tag}" if to_tag else f"To: {to}",
        f"Call-ID: {call_id or fresh('call')}",
        f"CSeq: {cseq} {method}",
        *extra,
        body=body,
    )


def answer(request: Message, status: int, *extra: str, reason: str = "Whatever") -> bytes:
    """Write a response to a request of the server, as a user agent does (RFC 3261 section 8.2.6)."""
    return lines(
        f"SIP/2.0 {status} {reason}",
        *(f"{name}: {value}" for name in ("Via", "From", "To", "Call-ID", "CSeq") for value in request.headers(name)),
        *extra,
    )


def pidf(*notes: str, basic: str = "open", tuple_id: str = "a", entity: str = "sip:alice@example.com") -> str:
    """Write a presence document with one tuple."""
    texts = "".join(f"<note>{note}</note>" for note in notes)
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<presence xmlns="urn:ietf:params:xml:ns:pidf" entity="{entity}">'
        f'<tuple id="{tuple_id}"><status><basic>{basic}</basic></status>{texts}</tuple></presence>'
    )


def param(value: str | None, name: str) -> str:
    """Return a parameter of a header field value, '' when it has none of that name."""
    for part in (value or "").split(";")[1:]:
        key, _, text = part.partition("=")
        if key.strip().lower() == name:
            return text.strip()
    return ""
