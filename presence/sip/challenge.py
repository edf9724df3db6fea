"""The client's side of digest authentication: answers to challenges (RFC 3261 section 22.2, RFC 7616 section 3.4)."""

from random import Random

from presence._fastcore import Message
from presence.errors import BadRequest, Headers
from presence.sip.digest import ALGORITHMS, Credentials, hash_account, quote, read_params, respond

NAMES = {401: ("WWW-Authenticate", "Authorization"), 407: ("Proxy-Authenticate", "Proxy-Authorization")}


def realm_of(response: Message) -> str:
    """Return the realm of the first digest challenge in a 401 or 407, '' without one."""
    for value in response.headers(NAMES[response.status][0]):
        try:
            params = read_params(value)
        except BadRequest:
            continue
        if params is not None:
            return params.get("realm", "")
    return ""


class Answerer:
    """A user's name and password, and the challenge that the next request answers; without a name none is."""

    def __init__(self, username: str, password: str, random: Random) -> None:
        self._username, self._password, self._random = username, password, random
        self._challenge: dict[str, str] = {}
        self._algorithm = self._field = ""
        self._count = 0
        self._doubted = False

    def accepted(self) -> None:
        """Know that the password was right: a challenge to come is worth answering again."""
        self._doubted = False

    def learn(self, response: Message | None) -> bool:
        """Take the challenge of a 401 or 407; True when it is worth answering.

        One for the same realm that came before means that the password is wrong, unless only the nonce was stale.
        """
        if response is None or response.status not in NAMES or not self._username:
            return False
        asked, answered = NAMES[response.status]
        for value in response.headers(asked):
            try:
                params = read_params(value)
            except BadRequest:
                continue
            # RFC 8760 section 2.4: the first one that is understood.
            if params is None or params.get("algorithm", "MD5").upper() not in ALGORITHMS:
                continue
            if "auth" not in [token.strip() for token in params.get("qop", "auth").lower().split(",")]:
                continue
            again = self._challenge.get("realm") == params.get("realm") and self._field == answered
            if again and self._doubted and params.get("stale", "").lower() != "true":
                return False
            self._challenge, self._field, self._count, self._doubted = params, answered, 0, True
            self._algorithm = params.get("algorithm", "MD5").upper()
            return True
        return False

    def headers(self, method: str, uri: str) -> Headers:
        """Return the header line that proves who sends a request; none before there was a challenge."""
        challenge = self._challenge
        if not challenge:
            return ()
        self._count += 1
        counted = "qop" in challenge
        given = Credentials(
            self._username,
            challenge.get("realm", ""),
            challenge.get("nonce", ""),
            uri,
            "",
            self._algorithm,
            "auth" if counted else "",
            f"{self._random.getrandbits(64):016x}" if counted else "",
            f"{self._count:08x}" if counted else "",
        )
        ha1 = hash_account(self._algorithm, self._username, given.realm, self._password)
        parts = [f"username={quote(given.username)}", f"realm={quote(given.realm)}", f"nonce={quote(given.nonce)}"]
        parts += [f"uri={quote(uri)}", f'response="{respond(given, ha1, method)}"']
        parts += [f"algorithm={challenge['algorithm']}"] if "algorithm" in challenge else []
        parts += [f"qop=auth, nc={given.nc}", f'cnonce="{given.cnonce}"'] if counted else []
        parts += [f"opaque={quote(challenge['opaque'])}"] if "opaque" in challenge else []
        return ((self._field, f"Digest {', '.join(parts)}"),)
