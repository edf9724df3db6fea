"""Messages of RFC 4475, and what the parser has to say about each."""

import pytest

from presence._fastcore import Message, build_response, parse
from presence.sip.headers import parse_name_addr, parse_uri

SDP = "v=0\r\no=mhandley 29739 7272939 IN IP4 192.0.2.3\r\ns=-\r\n"


def torture(text: str, body: str = "") -> Message:
    head = "\r\n".join(line for line in text.strip("\n").split("\n"))
    return parse((head + "\r\n\r\n" + body).encode("utf-8"))


def test_rfc4475_3_1_1_1_short_tortuous_invite() -> None:
    body = SDP.ljust(150)
    message = torture(
        r"""
INVITE sip:vivekg@chair-dnrc.example.com;unknownparam SIP/2.0
TO :
 sip:vivekg@chair-dnrc.example.com ;   tag    = 1918181833n
from   : "J Rosenberg \\\""       <sip:jdrosen@example.com>
  ;
  tag = 98asjd8
MaX-fOrWaRdS: 0068
Call-ID: wsinv.ndaksdj@192.0.2.1
Content-Length   : 150
cseq: 0009
  INVITE
Via  : SIP  /   2.0
 /UDP
    192.0.2.2;branch=390skdjuw
s :
NewFangledHeader:   newfangled value
 continued newfangled value
UnknownHeaderWithUnusualValue: ;;,,;;,;
Content-Type: application/sdp
Route:
 <sip:services.example.com;lr;unknownwith=value;unknown-no-value>
v:  SIP  / 2.0  / TCP     spindle.example.com   ;
  branch  =   z9hG4bK9ikj8  ,
 SIP  /    2.0   / UDP  192.168.255.111   ; branch=
 z9hG4bK30239
m:"Quoted string \"\"" <sip:jdrosen@example.com> ; newparam =
      newvalue ;
  secondparam ; q = 0.33
""",
        body,
    )
    assert message.error == ""
    assert (message.method, message.cseq, message.max_forwards) == ("INVITE", 9, 68)
    assert (message.to_tag, message.from_tag) == ("1918181833n", "98asjd8")
    assert (message.branch, message.via_host, message.via_transport) == ("390skdjuw", "192.0.2.2", "UDP")
    assert message.body == body.encode()
    assert message.header("NEWFANGLEDHEADER") == "newfangled value continued newfangled value"
    assert message.header("subject") == ""
    assert len(message.headers("via")) == 2
    assert len(message.values("via")) == 3
    contact = parse_name_addr(message.values("Contact")[0])
    assert contact.display == 'Quoted string ""'
    assert contact.params == {"newparam": "newvalue", "secondparam": "", "q": "0.33"}


def test_rfc4475_3_1_1_2_wide_range_of_valid_characters() -> None:
    uri = "sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*"
    request_uri = uri + ":&it+has=1,weird!*pas$wo~d_too.(doesn't-it)@example.com"
    message = torture(
        r"""
!interesting-Method0123456789_*+`.%indeed'~ {request_uri} SIP/2.0
Via: SIP/2.0/TCP host1.example.com;branch=z9hG4bK-.!%66*_+`'~
To: "BEL:\{bel} NUL:\{nul} DEL:\{delete}" <{uri}@example.com>
From: token1~` token2'+_ token3*%!.- <sip:mundane@example.com>
 ;fromParam''~+*_!.-%="работающий";tag=_token~1'+`*%!-.
Call-ID: intmeth.word%ZK-!.*_+'@word`~)(><:\/"][?}{
CSeq: 139122385 !interesting-Method0123456789_*+`.%indeed'~
Max-Forwards: 255
extensionHeader-!.%*+_`'~:大停電
Content-Length: 0
""".replace("{bel}", "\x07")
        .replace("{nul}", "\x00")
        .replace("{delete}", "\x7f")
        .replace("{request_uri}", request_uri)
        .replace("{uri}", uri)
    )
    assert message.error == ""
    assert message.uri == request_uri
    assert message.method == "!interesting-Method0123456789_*+`.%indeed'~"
    assert message.branch == "z9hG4bK-.!%66*_+`'~"
    assert message.from_tag == "_token~1'+`*%!-."
    assert message.header("extensionHeader-!.%*+_`'~") == "大停電"
    assert parse_name_addr(message.header("To") or "").display == "BEL: NUL: DEL:"


MINIMAL = """
{start}
To: sip:user@example.com
From: sip:caller@example.net;tag=938
Max-Forwards: 87
Call-ID: torture.1
CSeq: {cseq}
Via: SIP/2.0/UDP host5.example.net;branch=z9hG4bKkdjuw
{more}"""


def minimal(
    start: str = "OPTIONS sip:user@example.com SIP/2.0", cseq: str = "8 OPTIONS", more: str = "l: 0"
) -> Message:
    return torture(MINIMAL.format(start=start, cseq=cseq, more=more))


def test_rfc4475_3_1_1_3_percent_escapes() -> None:
    message = minimal("OPTIONS sip:sips%3Auser%40example.com@example.net SIP/2.0")
    assert message.error == ""
    assert parse_uri(message.uri).aor() == ("sips%3Auser%40example.com", "example.net")


def test_rfc4475_3_1_1_4_escaped_nulls() -> None:
    message = minimal(more="Contact: <sip:%00@host5.example.com>\nContact: <sip:%00%00@host5.example.com>\nL:0")
    assert message.error == ""
    assert [parse_uri(parse_name_addr(v).uri).user for v in message.values("contact")] == ["%00", "%00%00"]


def test_rfc4475_3_1_1_5_percent_is_no_escape_in_a_method() -> None:
    message = minimal("RE%47IST%45R sip:example.com SIP/2.0", "29344 RE%47IST%45R", "C%6Fntact: x\nl: 0")
    assert (message.error, message.method) == ("", "RE%47IST%45R")
    assert message.header("contact") is None


def test_rfc4475_3_1_1_8_extra_octets_of_a_datagram_are_discarded() -> None:
    message = torture(
        MINIMAL.format(start="OPTIONS sip:user@example.com SIP/2.0", cseq="8 OPTIONS", more="l: 4"),
        "bodyINVITE",
    )
    assert (message.error, message.body) == ("", b"body")
    assert message.raw.endswith(b"\r\n\r\nbody")


@pytest.mark.parametrize(("line", "reason"), [
    ("SIP/2.0 200 = 2**3 * 5**2 но сто девяносто", "= 2**3 * 5**2 но сто девяносто"),
    ("SIP/2.0 100 ", ""),
])  # fmt: skip
def test_rfc4475_3_1_1_12_reason_phrase(line: str, reason: str) -> None:
    message = minimal(line, "35 INVITE")
    assert (message.error, message.reason, message.is_request, message.method) == (
        "",
        reason,
        False,
        "INVITE",
    )


OPTIONS = "OPTIONS sip:user@example.com SIP/2.0"


@pytest.mark.parametrize(("name", "start", "cseq", "more", "error"), [
    ("clerr", OPTIONS, "8 OPTIONS", "Content-Length: 9999", "Content-Length Exceeds the Datagram"),
    ("ncl", OPTIONS, "8 OPTIONS", "Content-Length: -999", "Bad Content-Length"),
    ("ncl", OPTIONS, "8 OPTIONS", "Content-Length: five", "Bad Content-Length"),
    ("scalar02", OPTIONS, "36893488147419103232 OPTIONS", "l: 0", "Bad CSeq Header Field"),
    ("ltgtruri", "OPTIONS <sip:user@example.com> SIP/2.0", "8 OPTIONS", "l: 0", "Bad Request-URI"),
    ("lwsruri", "OPTIONS sip:user@example.com; lr SIP/2.0", "8 OPTIONS", "l: 0", "Bad Request-URI"),
    ("lwsstart", "OPTIONS  sip:user@example.com  SIP/2.0", "8 OPTIONS", "l: 0", "Bad Request-URI"),
    ("trws", OPTIONS + "  ", "8 OPTIONS", "l: 0", ""),
    ("badvers", "OPTIONS sip:user@example.com SIP/7.0", "8 OPTIONS", "l: 0", "Unsupported SIP Version"),
    ("mismatch01", OPTIONS, "8 INVITE", "l: 0", "CSeq Method Does Not Match"),
    ("unkscm", "OPTIONS nobodyKnowsThisScheme:totallyopaquecontent SIP/2.0", "8 OPTIONS", "l: 0", ""),
    ("novelsc", "OPTIONS soap.beep://192.0.2.103:3002 SIP/2.0", "8 OPTIONS", "l: 0", ""),
    ("baddate", OPTIONS, "8 OPTIONS", "Date: Fri, 01 Jan 2010 16:00:00 EST\nl: 0", ""),
    ("multi01", OPTIONS, "8 OPTIONS", "CSeq: 59 OPTIONS\nl: 0", "Repeated CSeq Header Field"),
    ("multi01", OPTIONS, "8 OPTIONS", "i: multi01.2\nl: 0", "Repeated Call-ID Header Field"),
    ("multi01", OPTIONS, "8 OPTIONS", "Max-Forwards: 5\nl: 0", "Repeated Max-Forwards Header Field"),
    ("mcl01", OPTIONS, "8 OPTIONS", "l: 13\nl: 5", "Repeated Content-Length Header Field"),
    ("same length twice", OPTIONS, "8 OPTIONS", "Content-Length: 0\nl: 00", ""),
    ("inv2543", "INVITE sip:UserB@example.com SIP/2.0", "1 INVITE", "l: 0", ""),
])  # fmt: skip
def test_rfc4475_start_line_and_scalars(name: str, start: str, cseq: str, more: str, error: str) -> None:
    message = minimal(start, cseq, more)
    assert (message.error, message.answerable) == (error, True)
    assert message.bad_version == (name == "badvers")


@pytest.mark.parametrize(("line", "error"), [
    ('To: "Mr. J. User <sip:j.user@example.com>', "Bad To Header Field"),
    ('To: "Watson, Thomas" < sip:t.watson@example.org >', "Bad To Header Field"),
    ("To: Watson, Thomas <sip:t.watson@example.org>", ""),
    ("To: isbn:2983792873", ""),
])  # fmt: skip
def test_rfc4475_3_1_2_addresses(line: str, error: str) -> None:
    text = MINIMAL.format(start=OPTIONS, cseq="8 OPTIONS", more="l: 0")
    message = torture(text.replace("To: sip:user@example.com", line))
    assert (message.error, message.answerable) == (error, True)
    assert parse(build_response(message, 400, b"Bad Request")).status == 400


@pytest.mark.parametrize(("via", "error"), [
    ("SIP/2.0/UDP 192.0.2.15;;,;,,", "Bad Via Header Field"),
    ("SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK", ""),
    ("SIP/2.0/UNKNOWN t5.example.com;branch=z9hG4bKkdjuw", ""),
    ("SIP/7.0/UDP c.example.com;branch=z9hG4bKkdjuw", ""),
    ("SIP/2.0/UDP iftgw.example.com", ""),
])  # fmt: skip
def test_rfc4475_vias(via: str, error: str) -> None:
    text = MINIMAL.format(start=OPTIONS, cseq="8 OPTIONS", more="l: 0")
    message = torture(text.replace("SIP/2.0/UDP host5.example.net;branch=z9hG4bKkdjuw", via))
    assert (message.error, message.answerable) == (error, True)


def test_rfc4475_3_1_2_4_overlarge_scalars_are_taken_as_the_largest() -> None:
    message = minimal(more=f"Expires: 1{'0' * 100}\nl: 0")
    assert (message.error, message.expires) == ("", 2**32 - 1)
    text = MINIMAL.format(start=OPTIONS, cseq="8 OPTIONS", more="l: 0").replace("87", "300")
    assert torture(text).max_forwards == 255


def test_rfc4475_3_1_2_19_overlarge_status_is_no_message() -> None:
    message = minimal("SIP/2.0 4294967301 better not break the receiver", "353494 INVITE")
    assert (message.error, message.answerable) == ("Bad Start Line", False)


def test_rfc4475_3_3_1_missing_fields_cannot_be_answered() -> None:
    message = torture("""
INVITE sip:user@example.com SIP/2.0
CSeq: 193942 INVITE
Via: SIP/2.0/UDP 192.0.2.95;branch=z9hG4bKkdj.insuf
l: 0""")
    assert (message.error, message.answerable) == ("Missing From Header Field", False)


def test_rfc4475_3_3_10_response_to_broadcast() -> None:
    message = torture("""
SIP/2.0 200 OK
Via: SIP/2.0/UDP 192.0.2.198;branch=z9hG4bK1324923
Via: SIP/2.0/UDP 255.255.255.255;branch=z9hG4bK1saber23
Call-ID: bcast.0384840201234ksdfak3j2erwedfsASdf
CSeq: 35 INVITE
From: sip:user@example.com;tag=11141343
To: sip:user@example.edu;tag=2229
Content-Length: 0""")
    assert (message.error, message.via_host, message.status) == ("", "192.0.2.198", 200)
    assert not message.answerable
