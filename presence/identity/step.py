"""The step before the handlers: a request goes on with a proven sender who may send it, or is refused.

Sources of proof, in their order: P-Asserted-Identity from a trusted peer (RFC 3325), the peer's certificate
(RFC 5922), digest (RFC 3261 section 22).
"""

from typing import NamedTuple

from presence._fastcore import Message
from presence.errors import BadRequest, Forbidden, SipError, Unauthorized
from presence.identity.subscribers import Subscribers
from presence.sip.digest import DigestAuthority
from presence.sip.endpoint import Endpoint, ServerTransaction
from presence.sip.headers import parse_name_addr, parse_uri, read_address, read_aor
from presence.sip.identity import Identity, TrustedPeers, read_asserted, read_certified
from presence.tally import Tally
from presence.values import Aor

GUARDED = frozenset({"SUBSCRIBE", "PUBLISH", "REGISTER"})
"""Methods whose sender must be proven. ACK and CANCEL cannot be sent again with an answer (RFC 3261 section 22.1)."""


class Demands(NamedTuple):
    """What is asked of senders."""

    required: bool
    realm: str
    trusted: TrustedPeers
    trust_domain_certificates: bool
    publishers: frozenset[Aor]
    domains: frozenset[str]


class IdentityStep:
    """Proves senders: most SUBSCRIBE and PUBLISH requests by the tick, compiled; all others one by one."""

    def __init__(
        self,
        demands: Demands,
        authority: DigestAuthority,
        subscribers: Subscribers,
        endpoint: Endpoint,
        tally: Tally,
    ) -> None:
        self._demands = demands
        self._authority = authority
        self._subscribers = subscribers
        subscribers.changed.append(authority.nonces.forget_users)
        self._endpoint = endpoint
        self._tally = tally
        endpoint.identify = self.identify

    def screen(self, messages: list[Message], now: float) -> list[Message]:
        """Prove what the ordinary ways may serve of a tick, and refuse it where that fails; return the others."""
        self._subscribers.refresh(now)
        if self._demands.trusted:
            for message in messages:
                if message.plain:
                    self._assert(message)
        if not self._demands.required:
            return messages
        refused = set()
        for message in self._authority.nonces.screen(messages, now):
            # Of what comes before authentication only its Request-URI may be wrong with a plain request.
            try:
                parse_uri(message.uri)
                self.identify(message, now)
            except Exception as error:
                refused.add(message)
                ServerTransaction(self._endpoint, message).refuse(error)
        return [message for message in messages if message not in refused] if refused else messages

    def _assert(self, message: Message) -> None:
        """Take the identity a trusted peer asserts; where From differs from it the general way is needed."""
        if message.source[0] not in self._demands.trusted:
            return
        identity = read_asserted(message)
        if identity is None:
            return
        message.identity = identity
        try:
            named = _read_from(message) if message.method == "SUBSCRIBE" else read_address(message)
        except BadRequest:
            named = None
        if named != identity.aor:
            self._endpoint.transactions.look_closer(message)

    # ---- one by one ----

    def identify(self, request: Message, now: float) -> None:
        """Set the identity of a request and judge what it asks for; raises SipError (the endpoint's `identify`)."""
        if request.method not in GUARDED:
            return
        try:
            if request.identity is None:
                request.identity = self._prove(request, now)
            if request.identity is not None:
                self._judge(request, request.identity)
        except Unauthorized as challenge:
            self._tally.auth_failures[challenge.why] += 1
            raise
        except Forbidden:
            self._tally.auth_failures["forbidden"] += 1
            raise

    def _prove(self, request: Message, now: float) -> Identity | None:
        demands = self._demands
        if demands.trusted and request.source[0] in demands.trusted:
            asserted = read_asserted(request)
            if asserted is not None:
                return asserted
        claimed = _read_to(request) if request.method == "REGISTER" else _read_from(request)
        certified = getattr(request.origin, "certified", ())
        if certified:
            identity = read_certified(certified, claimed, domains=demands.trust_domain_certificates)
            if identity is not None:
                return identity
        if not demands.required:
            return None
        # Plain ones were looked at when they were screened.
        known = None if request.plain else self._recognise(request, now)
        return known or self._prove_digest(request, now)

    def _recognise(self, request: Message, now: float) -> Identity | None:
        known: Identity | None = self._authority.nonces.recognise(request, now)
        return known

    def _prove_digest(self, request: Message, now: float) -> Identity:
        demands, authority = self._demands, self._authority
        domain = _read_from(request).domain
        if demands.domains and domain not in demands.domains:
            # Nobody of another domain is known here, and their hashes are none of our business.
            raise Forbidden("Domain Not Served")
        realm = demands.realm or domain
        given = authority.choose(request.headers("Authorization"), realm)
        if given is None:
            raise authority.challenge(realm, now, "no credentials")
        # RFC 7616 section 3.4.6.
        if given.uri != request.uri and not _same_resource(given.uri, request.uri):
            raise BadRequest("Authorization Is for Another URI")
        proof = authority.check(given, request.method, domain, now)
        identity = Identity(proof.account.aor, "digest")
        authority.remember(proof, identity, anyone=identity.aor in demands.publishers)
        return identity

    def _judge(self, request: Message, identity: Identity) -> None:
        """Raise Forbidden for a request that this sender may not send."""
        method, aor = request.method, identity.aor
        if method == "SUBSCRIBE":
            # What a trusted peer asserts stands in the place of From (RFC 3325 section 4).
            if identity.source != "asserted" and _read_from(request) != aor:
                raise Forbidden("From Is Not the Authenticated User")
        elif method == "PUBLISH":
            # RFC 3903 section 6, step 2, and section 14.1.
            if aor not in self._demands.publishers and read_address(request) != aor:
                raise Forbidden("Not the Presentity")
        elif _read_to(request) != aor:
            # RFC 3261 section 10.3, step 4.
            raise Forbidden("Third-Party Registration")


def _read_from(request: Message) -> Aor:
    return _read(request.header("From"))


def _read_to(request: Message) -> Aor:
    return _read(request.header("To"))


def _read(value: str | None) -> Aor:
    # Without the parameters, for the tag is of one dialog only and what is read is remembered.
    return read_aor(f"<{parse_name_addr(value or '').uri}>")


def _same_resource(one: str, other: str) -> bool:
    """Compare where the URI of credentials and a request's point to; parameters get lost and added on the way.

    One that names a server and no user is for whatever the server serves (RFC 3261 section 22.4, item 6): SIPp always
    names the address it sends to.
    """
    try:
        a, b = parse_uri(one), parse_uri(other)
        return not a.user or (a.scheme, a.port, a.aor()) == (b.scheme, b.port, b.aor())
    except SipError:
        return False
