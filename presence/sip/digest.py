"""Digest authentication without I/O (RFC 7616, RFC 8760, RFC 3261 section 22): SIP and HTTP alike.

Nonces are signed, not kept: one that was given out costs no memory, and what is remembered of those that proofs came
with is bounded (`Nonces` of the compiled core).
"""

import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple, Protocol

from presence._fastcore import Nonces, hash_hex
from presence.errors import BadRequest, Headers, Unauthorized
from presence.values import Aor

ALGORITHMS: Final[Mapping[str, int]] = {"MD5": 0, "SHA-256": 1, "SHA-512-256": 2}
"""What may be offered, and the number of its hash; SHA-512-256 is the hash SHA-512/256 (RFC 7616 section 3.3)."""

NONCES_KEPT: Final = 65_536
CREDENTIALS_MOST: Final = 8
"""Authorization header lines looked at: one for each of several realms is legal (RFC 3261 section 22.3)."""
CREDENTIALS_LONGEST: Final = 2048

_TIME_DIGITS, _SERIAL_DIGITS, _SIGNATURE_DIGITS = 12, 8, 24
_NONCE = re.compile(rf"[0-9a-f]{{{_TIME_DIGITS + _SERIAL_DIGITS + _SIGNATURE_DIGITS}}}")
_TOKEN = r"[A-Za-z0-9\-.!%*_+`'~]++"
_PARAM = re.compile(rf'\s*+({_TOKEN})\s*+=\s*+("(?:[^"\\]|\\.)*+"|[^\s,"]++)\s*+(,|$)', re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_COUNT = re.compile(r"[0-9a-fA-F]{8}")
_HEX = re.compile(r"[0-9a-fA-F]++")


class Credentials(NamedTuple):
    """The parameters of one Authorization header line, without quotes and escapes."""

    username: str
    realm: str
    nonce: str
    uri: str
    response: str
    algorithm: str
    """In capitals; MD5 when it is not said."""
    qop: str
    """In small letters; empty for a client of RFC 2069."""
    cnonce: str
    nc: str


class Account(NamedTuple):
    """A user, and what they prove themselves by: H(A1) in hex by algorithm, never a password."""

    aor: Aor
    ha1: Mapping[str, str]
    ha1b: str = ""
    """The MD5 one for a client that gives user@domain as its username."""


class Accounts(Protocol):
    """Whom the server knows."""

    def find(self, username: str, domain: str) -> Account | None:
        """Return an account, None for nobody."""


def hash_text(algorithm: str, text: str) -> str:
    """Return H(text) in hex (RFC 7616 section 3.3)."""
    return hash_hex(ALGORITHMS[algorithm], text.encode("utf-8", "surrogateescape"))


def hash_account(algorithm: str, username: str, realm: str, password: str) -> str:
    """Return H(A1), which stands for the password in this realm (RFC 7616 section 3.4.2)."""
    return hash_text(algorithm, f"{username}:{realm}:{password}")


def respond(given: Credentials, ha1: str, method: str) -> str:
    """Return the `response` that the other parameters of credentials ask for (RFC 7616 section 3.4.1)."""
    ha2 = hash_text(given.algorithm, f"{method}:{given.uri}")
    counted = f"{given.nc}:{given.cnonce}:{given.qop}:" if given.qop else ""
    return hash_text(given.algorithm, f"{ha1}:{given.nonce}:{counted}{ha2}")


def read_params(value: str) -> dict[str, str] | None:
    """Return the parameters of a Digest challenge or of credentials, names small; None for another scheme.

    Raises BadRequest for one that is malformed or too long, or names a parameter twice.
    """
    scheme, _, rest = value.partition(" ")
    if scheme.lower() != "digest":
        return None
    if len(value) > CREDENTIALS_LONGEST:
        raise BadRequest("Authorization Too Long")
    params: dict[str, str] = {}
    at = 0
    while at < len(rest):
        match = _PARAM.match(rest, at)
        if match is None or match[1].lower() in params:
            raise BadRequest("Bad Authorization Header Field")
        text = match[2]
        if text[0] == '"':
            text = _ESCAPED.sub(r"\1", text[1:-1]) if "\\" in text else text[1:-1]
        params[match[1].lower()] = text
        at = match.end()
    return params


def read_credentials(value: str) -> Credentials | None:
    """Read an Authorization header line; None for another scheme.

    Raises BadRequest for a parameter that is missing or improper (RFC 7616 section 3.5).
    """
    params = read_params(value)
    if params is None:
        return None
    given = Credentials(
        username=params.get("username", ""),
        realm=params.get("realm", ""),
        nonce=params.get("nonce", ""),
        uri=params.get("uri", ""),
        response=params.get("response", ""),
        algorithm=params.get("algorithm", "MD5").upper(),
        qop=params.get("qop", "").lower(),
        cnonce=params.get("cnonce", ""),
        nc=params.get("nc", ""),
    )
    counted = given.cnonce and _COUNT.fullmatch(given.nc)
    if not all(given[:5]) or not _HEX.fullmatch(given.response) or (given.qop and not counted):
        raise BadRequest("Bad Authorization Header Field")
    return given


def quote(text: str) -> str:
    """Write a quoted-string."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


class Proof(NamedTuple):
    """What credentials have proven."""

    account: Account
    given: Credentials
    ha1: str


class DigestAuthority:
    """Challenges, and checks the answers; of SIP or of HTTP, each with secret nonces of its own."""

    def __init__(
        self,
        accounts: Accounts,
        secret: bytes,
        *,
        algorithms: tuple[str, ...] = ("MD5",),
        nonce_expire_s: int = 3600,
        allow_no_qop: bool = False,
        nonces_kept: int = NONCES_KEPT,
    ) -> None:
        self.nonces = Nonces(nonces_kept)
        self.nonce_expire_s = nonce_expire_s
        self._accounts = accounts
        self._secret = secret
        self._algorithms = algorithms
        self._allow_no_qop = allow_no_qop
        self._serial = 0
        nobody = {name: hash_account(name, "", "", secret.hex()) for name in algorithms}
        self._nobody = Account(Aor("", ""), nobody, nobody.get("MD5", ""))

    # ---- challenges ----

    def challenge(self, realm: str, now: float, why: str, *, stale: bool = False) -> Unauthorized:
        """Return the 401 with one challenge for each algorithm, strongest first (RFC 8760 section 2.4).

        `stale` says that only the nonce was wrong (RFC 7616 section 3.3).
        """
        nonce = self.make_nonce(realm, now)
        mark = ", stale=true" if stale else ""
        start = f'Digest realm={quote(realm)}, nonce="{nonce}"{mark}'
        headers: Headers = tuple(
            ("WWW-Authenticate", f'{start}, algorithm={name}, qop="auth"') for name in self._algorithms
        )
        return Unauthorized(why, headers)

    def make_nonce(self, realm: str, now: float) -> str:
        """Return a nonce of this instant and realm that nobody else can make."""
        self._serial = (self._serial + 1) & 0xFFFFFFFF
        head = f"{int(now * 1000):0{_TIME_DIGITS}x}{self._serial:0{_SERIAL_DIGITS}x}"
        return head + self._sign(head, realm)

    def _issued_at(self, nonce: str, realm: str) -> float | None:
        """Return when we made a nonce for this realm; None when we did not."""
        head, signature = nonce[:-_SIGNATURE_DIGITS], nonce[-_SIGNATURE_DIGITS:]
        if not _NONCE.fullmatch(nonce) or not hmac.compare_digest(signature, self._sign(head, realm)):
            return None
        return int(head[:_TIME_DIGITS], 16) / 1000

    def _sign(self, head: str, realm: str) -> str:
        text = f"{head}{realm}".encode("utf-8", "surrogateescape")
        return hashlib.blake2s(text, key=self._secret, digest_size=_SIGNATURE_DIGITS // 2).hexdigest()

    # ---- answers ----

    def choose(self, values: Iterable[str], realm: str) -> Credentials | None:
        """Return the credentials for this realm by an algorithm that is offered; raises BadRequest."""
        for value in list(values)[:CREDENTIALS_MOST]:
            given = read_credentials(value)
            if given is not None and given.realm == realm and given.algorithm in self._algorithms:
                return given
        return None

    def check(self, given: Credentials, method: str, domain: str, now: float) -> Proof:
        """Return who answered a challenge; raises Unauthorized with the next one.

        The caller has compared `uri` with the request's. Whoever is unknown gets the same answer, after the same
        work, as whoever errs in the password.
        """
        realm = given.realm
        if given.qop not in ("auth", "") or (not given.qop and not self._allow_no_qop):
            raise self.challenge(realm, now, "no qop")
        username, at, home = given.username.rpartition("@")
        if not at:
            username, home = given.username, domain
        account = self._accounts.find(username, home.lower())
        known = account or self._nobody
        ha1 = known.ha1.get(given.algorithm, "")
        if at:
            ha1 = known.ha1b if given.algorithm == "MD5" else ""
        expected = respond(given, ha1 or self._nobody.ha1[given.algorithm], method)
        right = hmac.compare_digest(expected.encode(), given.response.lower().encode())
        if not (right and ha1 and account is not None):
            raise self.challenge(realm, now, "wrong response")
        self._use(given, realm, now)
        return Proof(account, given, ha1)

    def _use(self, given: Credentials, realm: str, now: float) -> None:
        """Use up the nonce-count; what is used up, too old or not ours is stale: the password was right."""
        issued_at = self._issued_at(given.nonce, realm)
        if issued_at is None or not now - self.nonce_expire_s < issued_at <= now + 1:
            raise self.challenge(realm, now, "stale nonce", stale=True)
        # Without qop nothing is counted, so such a nonce serves once.
        count = int(given.nc, 16) if given.qop else 1
        until = issued_at + self.nonce_expire_s
        if not self.nonces.use(given.nonce.encode(), count, issued_at, until, now):
            raise self.challenge(realm, now, "replayed", stale=True)

    def remember(self, proof: Proof, identity: object, *, anyone: bool) -> None:
        """Let the compiled core recognise the next request that is proven with the same nonce."""
        given, aor = proof.given, proof.account.aor
        self.nonces.remember(
            given.nonce.encode(),
            ALGORITHMS[given.algorithm],
            given.username.encode("utf-8", "surrogateescape"),
            given.realm.encode("utf-8", "surrogateescape"),
            proof.ha1.encode(),
            aor.username,
            aor.domain,
            identity,
            anyone,
        )
