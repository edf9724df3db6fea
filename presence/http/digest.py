"""Digest authentication in front of an ASGI application (RFC 7616): the same users and hashes as SIP has."""

from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from presence.errors import BadRequest, SipError, StoreError, Unauthorized
from presence.identity.subscribers import Subscribers
from presence.sip.digest import DigestAuthority, quote
from presence.sip.identity import Identity

DomainOf = Callable[[Scope], str]
"""Whose users a request is for: the SIP domain, which is the realm unless there is one for all."""


class DigestGuard:
    """Lets a request through with its proven user as `scope["identity"]`, and answers all others.

    `authority` is one of HTTP's own: a nonce of SIP is none here.
    """

    def __init__(
        self,
        app: ASGIApp,
        authority: DigestAuthority,
        subscribers: Subscribers,
        now: Callable[[], float],
        domain_of: DomainOf,
        realm: str = "",
        *,
        failed: Callable[[str], None] = lambda why: None,
    ) -> None:
        """`failed` hears, in a constant word or two, why somebody was not let through."""
        self._app, self._failed = app, failed
        self._authority, self._subscribers, self._now = authority, subscribers, now
        self._domain_of, self._realm = domain_of, realm

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            identity = self._prove(scope)
        except StoreError:
            await PlainTextResponse("Service Unavailable\n", 503)(scope, receive, send)
        except SipError as error:
            if isinstance(error, Unauthorized):
                self._failed(error.why)
            await _answer(error)(scope, receive, send)
        else:
            await self._app({**scope, "identity": identity}, receive, send)

    def _prove(self, scope: Scope) -> Identity:
        now, authority = self._now(), self._authority
        self._subscribers.refresh(now)
        domain = self._domain_of(scope)
        realm = self._realm or domain
        target = _target(scope)
        values = [_escape(value, target) for value in Headers(scope=scope).getlist("authorization")]
        given = authority.choose(values, realm)
        if given is None:
            raise authority.challenge(realm, now, "no credentials")
        if not _is_target(given.uri, target):
            raise BadRequest("Authorization Is for Another URI")
        proof = authority.check(given, scope["method"], domain, now)
        return Identity(proof.account.aor, "digest")


def _target(scope: Scope) -> str:
    path: bytes = scope.get("raw_path") or scope["path"].encode()
    query: bytes = scope.get("query_string", b"")
    return (path.partition(b"?")[0] + (b"?" + query if query else b"")).decode("latin-1")


def _escape(value: str, target: str) -> str:
    """Mend credentials of clients that write a target with quotes, such as a node selector, as it is."""
    return value.replace(f'uri="{target}"', f"uri={quote(target)}", 1) if '"' in target else value


def _is_target(uri: str, target: str) -> bool:
    """Compare with the request-target (RFC 7616 section 3.4.6), which some clients give as a whole URI."""
    if uri.lower().startswith(("http://", "https://")):
        _, _, rest = uri.partition("://")
        uri = "/" + rest.partition("/")[2]
    return uri == target


def _answer(error: SipError) -> Response:
    response = PlainTextResponse(f"{error.reason}\n", error.status)
    if isinstance(error, Unauthorized):
        for name, value in error.headers:
            response.headers.append(name, value)
    return response
