"""A publisher and watcher of our own beside the strangers: literal messages over one UDP socket."""

import hashlib
import re
import socket
from collections import deque
from itertools import count

from running import PATIENCE_S
from ways import password_of

PIDF = (
    '<?xml version="1.0" encoding="UTF-8"?>\n'
    '<presence xmlns="urn:ietf:params:xml:ns:pidf" xmlns:dm="urn:ietf:params:xml:ns:pidf:data-model"\n'
    '    xmlns:rpid="urn:ietf:params:xml:ns:pidf:rpid" entity="sip:{user}@example.com">\n'
    '  <tuple id="desk"><status><basic>{basic}</basic></status></tuple>\n'
    "  {person}\n"
    "</presence>\n"
)
BUSY = '<dm:person id="me"><rpid:activities><rpid:busy/></rpid:activities></dm:person>'

SUMMARY = "Messages-Waiting: yes\r\nMessage-Account: sip:alice@example.com\r\nVoice-Message: 2/8 (0/2)\r\n"


def header(message: str, name: str) -> str:
    """Return the value of a header field; fail with the message when there is none."""
    found = re.search(rf"(?mi)^{name}:[ \t]*(.*?)\r?$", message)
    assert found, message
    return found[1]


def credentials(challenge: str, user: str, method: str, uri: str) -> str:
    """Answer a digest challenge (RFC 7616 section 3.4), for the first time with its nonce."""
    said = {
        name.lower(): quoted or bare for name, quoted, bare in re.findall(r'(\w+)=(?:"([^"]*)"|([^\s,]+))', challenge)
    }
    algorithm = said.get("algorithm", "MD5")
    digest = {"MD5": "md5", "SHA-256": "sha256", "SHA-512-256": "sha512_256"}[algorithm]

    def hashed(*parts: str) -> str:
        return hashlib.new(digest, ":".join(parts).encode()).hexdigest()

    secret = hashed(user, said["realm"], password_of(user))
    response = hashed(secret, said["nonce"], "00000001", "c0ffee", "auth", hashed(method, uri))
    return (
        f'Digest username="{user}", realm="{said["realm"]}", nonce="{said["nonce"]}", uri="{uri}", '
        f'response="{response}", algorithm={algorithm}, qop=auth, nc=00000001, cnonce="c0ffee"'
    )


class RawAgent:
    """One address on loopback, with as many publications and subscriptions as a test wants.

    It watches as carol, and publishes as whoever it publishes for. Asked who it is, it proves it.
    """

    def __init__(self, server_port: int) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.settimeout(PATIENCE_S)
        self._server = ("127.0.0.1", server_port)
        self.port = self._socket.getsockname()[1]
        self._numbers = count(1)
        self._notifies: deque[str] = deque()
        self._etags: dict[tuple[str, str], str] = {}

    def close(self) -> None:
        """Give the address back."""
        self._socket.close()

    def publish(self, user: str, basic: str = "open", person: str = "") -> str:
        """Publish, or change what this agent published before, and return the response."""
        body = PIDF.format(user=user, basic=basic, person=person)
        return self.publish_body(user, "presence", "application/pidf+xml", body)

    def publish_body(self, user: str, event: str, content_type: str, body: str) -> str:
        """Publish any document of any event package."""
        held = self._etags.get((user, event))
        match = f"SIP-If-Match: {held}\r\n" if held else ""
        heads = f"Event: {event}\r\nContent-Type: {content_type}\r\nExpires: 600\r\n{match}"
        response = self._ask("PUBLISH", user, heads, body)
        assert response.startswith("SIP/2.0 200 "), response
        self._etags[user, event] = header(response, "SIP-ETag")
        return response

    def subscribe(self, user: str, event: str = "presence", expires: int = 600) -> str:
        """Subscribe and return the response; NOTIFYs wait in `wait_notify`."""
        contact = f"Contact: <sip:watcher@127.0.0.1:{self.port}>\r\n"
        response = self._ask("SUBSCRIBE", user, f"Event: {event}\r\n{contact}Expires: {expires}\r\n")
        assert response.startswith("SIP/2.0 200 "), response
        return response

    def fetch(self, user: str, event: str = "presence") -> str:
        """Return the NOTIFY of a fetch (RFC 6665 section 4.4.3)."""
        self.subscribe(user, event, expires=0)
        return self.wait_notify("terminated")

    def wait_notify(self, pattern: str) -> str:
        """Return the first NOTIFY in which `pattern` is found; earlier ones are forgotten."""
        while True:
            while self._notifies:
                notify = self._notifies.popleft()
                if re.search(pattern, notify):
                    return notify
            message = self._receive(f"no NOTIFY with {pattern!r}")
            assert message.startswith("NOTIFY "), message

    def watchers(self, notify: str) -> list[str]:
        """Return who watches, by a document of watcher information (RFC 3858)."""
        return re.findall(r"<watcher\b[^>]*>([^<]*)</watcher>", notify)

    def _ask(self, method: str, user: str, heads: str, body: str = "") -> str:
        """Send a request and return its response, after the challenge when there is one."""
        number = next(self._numbers)
        sender = user if method == "PUBLISH" else "carol"
        response = self._exchange(method, user, sender, number, 1, heads, body)
        if response.startswith("SIP/2.0 401 "):
            proof = credentials(header(response, "WWW-Authenticate"), sender, method, f"sip:{user}@example.com")
            response = self._exchange(method, user, sender, number, 2, f"{heads}Authorization: {proof}\r\n", body)
        return response

    def _exchange(self, method: str, user: str, sender: str, number: int, cseq: int, heads: str, body: str) -> str:
        call_id = f"raw{number}-{self.port}"
        request = (
            f"{method} sip:{user}@example.com SIP/2.0\r\n"
            f"Via: SIP/2.0/UDP 127.0.0.1:{self.port};rport;branch=z9hG4bKraw{number}.{cseq}\r\nMax-Forwards: 70\r\n"
            f"From: <sip:{sender}@example.com>;tag=raw{number}\r\nTo: <sip:{user}@example.com>\r\n"
            f"Call-ID: {call_id}\r\nCSeq: {cseq} {method}\r\n{heads}Content-Length: {len(body)}\r\n\r\n{body}"
        )
        self._socket.sendto(request.encode(), self._server)
        while True:
            message = self._receive(f"no response to {request}")
            told = header(message, "Call-ID"), header(message, "CSeq")
            if message.startswith("SIP/2.0 ") and told == (call_id, f"{cseq} {method}"):
                return message

    def _receive(self, complaint: str) -> str:
        """Return the next message; a NOTIFY is answered and kept."""
        try:
            message = self._socket.recv(65535).decode()
        except TimeoutError:
            raise AssertionError(complaint) from None
        if message.startswith("NOTIFY "):
            echoed = "".join(f"{via}\r\n" for via in re.findall(r"(?mi)^Via:[^\r\n]*", message))
            echoed += "".join(f"{name}: {header(message, name)}\r\n" for name in ("From", "To", "Call-ID", "CSeq"))
            self._socket.sendto(f"SIP/2.0 200 OK\r\n{echoed}Content-Length: 0\r\n\r\n".encode(), self._server)
            self._notifies.append(message)
        return message
