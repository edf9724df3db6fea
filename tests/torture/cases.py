"""What the RFCs ask of each torture message, and what this server does: the one place both papers and tests read.

`python -m torture.cases` in tests/ writes docs/torture.md.
"""

from typing import NamedTuple

SILENCE = 0
"""No response: the message is a response itself, and it is dropped and counted."""


class Case(NamedTuple):
    """A message and its verdict."""

    tag: str
    section: str
    expected: str
    """What the RFC asks of an element of our kind, in our words."""
    status: int
    reason: str = ""
    """The reason phrase, where it says what is wrong."""
    choice: str = ""
    """What we chose where the RFC leaves a choice."""


# fmt: off
RFC4475 = (
    Case("wsinv", "3.1.1.1", "valid INVITE", 405),
    Case("intmeth", "3.1.1.2", "501 with Allow", 501),
    Case("esc01", "3.1.1.3", "valid INVITE", 405),
    Case("escnull", "3.1.1.4", "valid REGISTER, binds two contacts", 200),
    Case("esc02", "3.1.1.5", "501", 501),
    Case("lwsdisp", "3.1.1.6", "accept as well-formed", 200),
    Case("longreq", "3.1.1.7", "valid INVITE", 405),
    Case("dblreq", "3.1.1.8", "serve the REGISTER, ignore what follows it in the datagram", 200),
    Case("semiuri", "3.1.1.9", "valid OPTIONS for the user `user;par=u@example.net`", 200),
    Case("transports", "3.1.1.10", "valid OPTIONS, whatever transports the other Vias name", 200),
    Case("mpart01", "3.1.1.11", "valid MESSAGE with a binary body", 405),
    Case("unreason", "3.1.1.12", "parse the response", SILENCE, choice="nobody waits for it"),
    Case("noreason", "3.1.1.13", "parse the response", SILENCE, choice="nobody waits for it"),
    Case("badinv01", "3.1.2.1", "400", 400, "Bad Via Header Field"),
    Case("clerr", "3.1.2.2", "400 over UDP", 400, "Content-Length Exceeds the Datagram"),
    Case("ncl", "3.1.2.3", "an error", 400, "Bad Content-Length"),
    Case("scalar02", "3.1.2.4", "400 for the CSeq", 400, "Bad CSeq Header Field"),
    Case("scalarlg", "3.1.2.5", "discard the response", SILENCE),
    Case("quotbal", "3.1.2.6", "400; a closing quote may be inferred", 400, "Bad To Header Field", "strict"),
    Case("ltgtruri", "3.1.2.7", "400; the brackets may be ignored", 400, "Bad Request-URI", "strict"),
    Case("lwsruri", "3.1.2.8", "400; the space may be ignored", 400, "Bad Request-URI", "strict"),
    Case("lwsstart", "3.1.2.9", "400; the spaces may be ignored", 400, "Bad Request-URI", "strict"),
    Case("trws", "3.1.2.10", "400, or the spaces ignored", 200, choice="lenient: they mean nothing"),
    Case("escruri", "3.1.2.11", "400, or the headers ignored", 400, "Bad Request-URI", "strict"),
    Case("baddate", "3.1.2.12", "an unused Date should not be a reason to reject", 405, choice="Date is not read"),
    Case("regbadct", "3.1.2.13", "400; the brackets may be inferred", 400, "Bad Address", "strict"),
    Case("badaspec", "3.1.2.14", "400; the spaces may be ignored", 400, "Bad To Header Field", "strict"),
    Case("baddn", "3.1.2.15", "400; the quotes may be inferred", 400, "Header Does Not End",
         "strict; the archive lacks the empty line, and with it the reason is Bad From Header Field"),
    Case("badvers", "3.1.2.16", "505", 505, "Version Not Supported"),
    Case("mismatch01", "3.1.2.17", "400", 400, "CSeq Method Does Not Match"),
    Case("mismatch02", "3.1.2.18", "501, or 400", 501, choice="501, as recommended"),
    Case("bigcode", "3.1.2.19", "drop the response", SILENCE),
    Case("badbranch", "3.2.1", "400, or matched as RFC 2543 did", 200, choice="matched by the fields of RFC 2543"),
    Case("insuf", "3.3.1", "400", 400, "Missing From Header Field", "the 400 lacks what the request lacks"),
    Case("unkscm", "3.3.2", "416", 416),
    Case("novelsc", "3.3.3", "416, or 404 where the scheme is served", 416, choice="the scheme is not served"),
    Case("unksm2", "3.3.4", "400 from a registrar", 400, "To Is Not a SIP URI"),
    Case("bext01", "3.3.5", "420 with Unsupported: the two of Require", 420),
    Case("invut", "3.3.6", "415 where INVITE is served", 405, choice="the method is inspected first"),
    Case("regaut01", "3.3.7", "serve it, or 401 where registrations are authenticated", 200),
    Case("multi01", "3.3.8", "400", 400, "Repeated CSeq Header Field"),
    Case("mcl01", "3.3.9", "an error", 400, "Repeated Content-Length Header Field"),
    Case("bcast", "3.3.10", "discard the response", SILENCE),
    Case("zeromf", "3.3.11", "an endpoint answers OPTIONS at the last hop", 200),
    Case("cparam01", "3.3.12", "200; unknownparam is no parameter of the URI bound", 200),
    Case("cparam02", "3.3.13", "200; unknownparam stays in the URI bound", 200),
    Case("regescrt", "3.3.14", "200; the escaped Route stays in the URI bound", 200),
    Case("sdp01", "3.3.15", "406 or 400 where INVITE is served", 405, choice="the method is inspected first"),
    Case("inv2543", "3.4.1", "valid INVITE without branch, From tag, Max-Forwards and Content-Length", 405),
)

RFC5118 = (
    Case("ipv6-good", "4.1", "valid REGISTER", 200),
    Case("ipv6-bad", "4.2", "400", 400, "Bad Host"),
    Case("port-ambiguous", "4.3", "well-formed: 5070 is part of the address", 200),
    Case("port-unambiguous", "4.4", "valid REGISTER", 200),
    Case("via-received-param-with-delim", "4.5", "parse the Via and go on", 405),
    Case("via-received-param-no-delim", "4.5", "valid OPTIONS", 200),
    Case("ipv6-in-sdp", "4.6", "valid INVITE", 405),
    Case("mult-ip-in-header", "4.7", "valid BYE", 405),
    Case("mult-ip-in-sdp", "4.8", "valid INVITE", 405),
    Case("ipv4-mapped-ipv6", "4.9", "valid INVITE", 405),
    Case("ipv6-bug-abnf-3-colons", "4.10", "tolerate the third colon", 200, choice="read as two colons"),
    Case("ipv6-correct-abnf-2-colons", "4.10", "valid OPTIONS", 200),
)

# fmt: on

METHOD_FIRST = {405: "405 with Allow: the method is not served", 501: "501 with Allow", SILENCE: "dropped and counted"}

HEAD = """# Torture messages

What this server answers to the messages of RFC 4475 and RFC 5118, as a presence server and registrar: an INVITE that is
well-formed is 405 with Allow. Each is sent as its exact octets (`tests/torture/`), over the transport its top Via names
(TLS as a stream), through the whole server in memory. The archive of RFC 5118 has LF for CRLF and lengths that go with
that; its messages are sent with CRLF and their true length. Written by `make docs` from `tests/torture/cases.py`, which
the tests read too.
"""


def answer(case: Case) -> str:
    """Say what the server does."""
    text = METHOD_FIRST.get(case.status) or f"{case.status} {case.reason}".strip()
    return f"{text} ({case.choice})" if case.choice else text


def table(name: str, cases: tuple[Case, ...]) -> str:
    """Write the table of one RFC."""
    test = f"tests/conformance/test_torture.py::test_{name}"
    lines = [f"## {name.upper().replace('RFC', 'RFC ')}: {len(cases)} messages", ""]
    lines += ["| message | section | the RFC asks for | the server's answer | test |", "|" + " --- |" * 5]
    lines += [f"| {c.tag} | {c.section} | {c.expected} | {answer(c)} | `{test}[{c.tag}]` |" for c in cases]
    return "\n".join(lines) + "\n"


def paper() -> str:
    """Write docs/torture.md."""
    return "\n".join([HEAD, table("rfc4475", RFC4475), table("rfc5118", RFC5118)])


if __name__ == "__main__":
    print(paper(), end="")
