"""Basic authentication in front of an ASGI application (RFC 7617), over TLS only (RFC 4825 section 14)."""

import base64
import binascii
import hmac
from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from presence.errors import StoreError
from presence.http.digest import DomainOf
from presence.identity.subscribers import Subscribers
from presence.sip.digest import ALGORITHMS, hash_account, quote
from presence.sip.identity import Identity

PASSWORD_BYTES = 1024


class BasicGuard:
    """Lets a request through with its proven user as `scope["identity"]`.

    What brings no Basic credentials is left to `other`, such as a Digest guard, when there is one. Without TLS, Basic
    is neither offered nor taken.
    """

    def __init__(
        self,
        app: ASGIApp,
        other: ASGIApp | None,
        subscribers: Subscribers,
        now: Callable[[], float],
        domain_of: DomainOf,
        realm: str = "",
        *,
        offered: bool = True,
        failed: Callable[[str], None] = lambda why: None,
    ) -> None:
        """`failed` hears, in a constant word or two, why somebody was not let through."""
        self._failed = failed
        self._app, self._other = app, other
        self._subscribers, self._now = subscribers, now
        self._domain_of, self._realm, self._offered = domain_of, realm, offered

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        usable = self._offered and scope.get("scheme") == "https"
        given = _read(Headers(scope=scope).get("authorization", "")) if usable else None
        if given is None and self._other is not None:
            await self._other(scope, receive, send)
            return
        if not usable:
            text = "Come over TLS: passwords are not taken in the clear\n"
            await PlainTextResponse(text, 403)(scope, receive, send)
            return
        try:
            identity = None if given is None else self._prove(scope, *given)
        except StoreError:
            await PlainTextResponse("Service Unavailable\n", 503)(scope, receive, send)
            return
        if identity is None:
            self._failed("no credentials" if given is None else "wrong response")
            realm = quote(self._realm or self._domain_of(scope))
            challenge = {"WWW-Authenticate": f'Basic realm={realm}, charset="UTF-8"'}
            await PlainTextResponse("Unauthorized\n", 401, challenge)(scope, receive, send)
        else:
            await self._app({**scope, "identity": identity}, receive, send)

    def _prove(self, scope: Scope, username: str, password: str) -> Identity | None:
        self._subscribers.refresh(self._now())
        domain = self._domain_of(scope)
        realm = self._realm or domain
        name, at, home = username.removeprefix("sip:").rpartition("@")
        if not at:
            name, home = home, domain
        account = self._subscribers.find(name, home.lower())
        proven = False
        # Whoever is unknown costs the same work as whoever errs in the password.
        for algorithm in ALGORITHMS:
            known = account.ha1.get(algorithm, "") if account is not None else ""
            made = hash_account(algorithm, name, realm, password)
            proven |= hmac.compare_digest(made.encode(), known.encode()) and bool(known)
        return Identity(account.aor, "digest") if proven and account is not None else None


def _read(value: str) -> tuple[str, str] | None:
    scheme, _, rest = value.partition(" ")
    if scheme.lower() != "basic" or len(rest) > PASSWORD_BYTES * 2:
        return None
    try:
        username, colon, password = base64.b64decode(rest.strip(), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeError):
        return None
    return (username, password) if colon else None
