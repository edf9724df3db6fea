"""One document fetched from one XCAP server (RFC 4825 section 7.4 and 7.11), within bounds of size and time."""

import asyncio
import ssl
from collections.abc import Generator, Mapping
from enum import Enum
from hashlib import blake2b
from ipaddress import ip_address
from typing import NamedTuple
from urllib.parse import quote, urlsplit
from xml.parsers import expat

import httpx

from presence.document.xml import prepare_xml
from presence.errors import BadRequest, ConfigError
from presence.values import Aor

USER_AGENT = "presence"
ETAG_BYTES = 200
_SEGMENT = "!$&'()*+,;=:@-._~"
"""What may stand in a path segment as it is (RFC 3986 section 3.3)."""


class Outcome(Enum):
    """What became of a question."""

    FOUND = "found"
    UNCHANGED = "unchanged"
    ABSENT = "absent"
    DENIED = "denied"
    """By the server: who we are is not enough."""
    UNREACHABLE = "unreachable"
    """The server does not answer, or only that it cannot."""
    REFUSED = "refused"
    """By us: too large, no XML, a document type, a redirection, another answer nobody asked for."""


class Answer(NamedTuple):
    """What a server said of a document."""

    outcome: Outcome
    body: bytes = b""
    etag: str = ""
    content_type: str = ""
    why: str = ""
    """For the operator, in a few constant words."""


class Bounds(NamedTuple):
    """How long an answer may take, in seconds, how large it may be, and how many are waited for at once."""

    timeout_s: float
    body_bytes: int
    connections: int


class Place(NamedTuple):
    """Where a document is on a server: the root, and what follows it."""

    root: str
    path: str
    """As it stands in `doc_uri`: the path of the whole URL."""
    port: int

    @property
    def url(self) -> str:
        """The document's URL."""
        parts = urlsplit(self.root)
        return f"{parts.scheme}://{parts.netloc}{self.path}"


def place_of(root: str, auid: str, owner: Aor, name: str) -> Place:
    """Return where a server keeps a user's document."""
    parts = urlsplit(root)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    user = quote(owner.uri, safe=_SEGMENT)
    return Place(root, f"{parts.path}/{quote(auid, safe=_SEGMENT)}/users/{user}/{quote(name, safe=_SEGMENT)}", port)


class Credentials:
    """Digest where the server asks for it; Basic where it asks for that and nobody can listen."""

    def __init__(self, user: str, password: str) -> None:
        self._digest = httpx.DigestAuth(user, password)
        self._basic = httpx.BasicAuth(user, password)

    def prove(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Yield the request as it is to be sent, and again with the answer to the challenge of a response."""
        flow = self._digest.auth_flow(request)
        response = yield next(flow)
        schemes = {value.partition(" ")[0].lower() for value in response.headers.get_list("www-authenticate")}
        if response.status_code == 401 and "digest" not in schemes:
            if "basic" in schemes and _is_private(request.url):
                yield next(self._basic.auth_flow(request))
            return
        try:
            while True:
                response = yield flow.send(response)
        except (StopIteration, httpx.ProtocolError, KeyError):  # done, or a challenge nobody can answer
            return


def _is_private(url: httpx.URL) -> bool:
    if url.scheme == "https":
        return True
    try:
        return ip_address(url.host).is_loopback
    except ValueError:
        return url.host == "localhost"


def trust(ca_file: str, *, verify: bool) -> ssl.SSLContext:
    """Return whose certificates are believed; raises ConfigError."""
    try:
        context = ssl.create_default_context(cafile=ca_file or None)
    except OSError as error:
        raise ConfigError(f"xcap_client.ca_file: cannot read {ca_file}: {error.strerror or error}") from None
    if not verify:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


class XcapClient:
    """Asks XCAP servers over a bounded pool of connections; follows no redirection and takes no compression."""

    def __init__(self, bounds: Bounds, credentials: Credentials | None, context: ssl.SSLContext) -> None:
        self._bounds, self._credentials = bounds, credentials
        self._client = httpx.AsyncClient(
            verify=context,
            trust_env=False,
            follow_redirects=False,
            timeout=bounds.timeout_s,
            limits=httpx.Limits(max_connections=bounds.connections, max_keepalive_connections=bounds.connections),
            headers={"User-Agent": USER_AGENT, "Accept-Encoding": "identity"},
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def get(self, place: Place, etag: str = "") -> Answer:
        """Ask for a document; with an entity-tag, whether it is another than that."""
        headers = {"If-None-Match": _quoted(etag)} if etag else {}
        try:
            async with asyncio.timeout(self._bounds.timeout_s):
                response = await self._send(self._client.build_request("GET", place.url, headers=headers))
                try:
                    return await self._read(response)
                finally:
                    await response.aclose()
        except (httpx.TransportError, TimeoutError) as error:
            return Answer(Outcome.UNREACHABLE, why=type(error).__name__)
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, ValueError) as error:
            return Answer(Outcome.REFUSED, why=type(error).__name__)
        finally:
            self._client.cookies.clear()

    async def _send(self, request: httpx.Request) -> httpx.Response:
        """Return the response with its body unread; httpx would read that of a challenge, however long."""
        if self._credentials is None:
            return await self._client.send(request, stream=True)
        requests = self._credentials.prove(request)
        response = await self._client.send(next(requests), stream=True)
        while True:
            try:
                again = requests.send(response)
            except StopIteration:
                return response
            await response.aclose()
            response = await self._client.send(again, stream=True)

    async def _read(self, response: httpx.Response) -> Answer:
        status = response.status_code
        if status == 304:
            return Answer(Outcome.UNCHANGED)
        if status in (404, 410):
            return Answer(Outcome.ABSENT)
        if status in (401, 403):
            return Answer(Outcome.DENIED, why=f"status {status}")
        if status >= 500 or status in (408, 429):
            return Answer(Outcome.UNREACHABLE, why=f"status {status}")
        if status != 200:
            return Answer(Outcome.REFUSED, why=f"status {status}")
        body = bytearray()
        async for chunk in response.aiter_raw():
            body += chunk
            if len(body) > self._bounds.body_bytes:
                return Answer(Outcome.REFUSED, why="too large")
        return _accept(bytes(body), response.headers)


def _accept(body: bytes, headers: Mapping[str, str]) -> Answer:
    """Take a body that is an XML document without a document type."""
    content_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if headers.get("content-encoding", "identity").lower() != "identity":
        return Answer(Outcome.REFUSED, why="compressed")
    if "html" in content_type:
        return Answer(Outcome.REFUSED, why="a page for people")
    try:
        # Not lxml, which keeps the names it meets.
        expat.ParserCreate("UTF-8").Parse(prepare_xml(body), True)
    except (BadRequest, expat.ExpatError):
        return Answer(Outcome.REFUSED, why="not an XML document")
    return Answer(Outcome.FOUND, body, _plain(headers.get("etag", ""), body), content_type[:100])


def _plain(etag: str, body: bytes) -> str:
    """Return an entity-tag as the column has it: without quotes when it is a strong one, made up when there is none."""
    etag = etag.strip()
    if not etag or len(etag) > ETAG_BYTES or not etag.isprintable() or not etag.isascii():
        return blake2b(body, digest_size=16).hexdigest()
    return etag[1:-1] if len(etag) > 2 and etag[0] == etag[-1] == '"' else etag


def _quoted(etag: str) -> str:
    return etag if etag.startswith("W/") else f'"{etag}"'
