"""Digest answers as a client writes them, with the hashes of the standard library: nothing of ours is in here."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from net import Agent

from presence._fastcore import Message, parse

HASHES = {"MD5": "md5", "SHA-256": "sha256", "SHA-512-256": "sha512_256"}

Edit = dict[str, str | None]


def h(algorithm: str, text: str) -> str:
    return hashlib.new(HASHES[algorithm.upper()], text.encode()).hexdigest()


def challenges(response: Message) -> list[dict[str, str]]:
    """Return the parameters of every challenge, in their order."""
    found = []
    for value in response.headers("WWW-Authenticate"):
        assert value.startswith("Digest ")
        pairs = re.findall(r'([a-z]+)=(?:"([^"]*)"|([^,\s]+))', value)
        found.append({name: quoted or bare for name, quoted, bare in pairs})
    return found


@dataclass
class Prover:
    """A user who answers challenges; `edit` replaces parameters after all is computed (None takes one out)."""

    username: str
    password: str
    challenge: dict[str, str] = field(default_factory=dict)
    numbers: Any = field(default_factory=lambda: count(1))

    def learn(self, response: Message, algorithm: str = "") -> Prover:
        assert response.status == 401, response.raw
        offered = challenges(response)
        self.challenge = next(c for c in offered if not algorithm or c["algorithm"] == algorithm)
        self.numbers = count(1)
        return self

    def params(
        self, method: str, uri: str, *, nc: int = 0, qop: str = "auth", capitals: bool = False, **given: str
    ) -> dict[str, str]:
        algorithm, realm, nonce = (self.challenge[name] for name in ("algorithm", "realm", "nonce"))
        realm, nonce = given.get("realm", realm), given.get("nonce", nonce)
        username = given.get("username", self.username)
        counted = f"{nc or next(self.numbers):08{'X' if capitals else 'x'}}"
        ha1 = h(algorithm, f"{username}:{realm}:{self.password}")
        ha2 = h(algorithm, f"{method}:{uri}")
        middle = f"{counted}:c0ffee:{qop}:" if qop else ""
        params = {"username": username, "realm": realm, "nonce": nonce, "uri": uri}
        params |= {"response": h(algorithm, f"{ha1}:{nonce}:{middle}{ha2}"), "algorithm": algorithm}
        return params | ({"qop": qop, "nc": counted, "cnonce": "c0ffee"} if qop else {})

    def line(self, method: str, uri: str, *, edit: Edit | None = None, **fields: Any) -> str:
        """Return the header line of a request."""
        params: dict[str, str | None] = {**self.params(method, uri, **fields), **(edit or {})}
        bare = ("algorithm", "qop", "nc")
        parts = [f"{n}={v}" if n in bare else f'{n}="{v}"' for n, v in params.items() if v is not None]
        return f"Authorization: Digest {', '.join(parts)}"


def subscribe(agent: Agent, *extra: str, uri: str = "sip:alice@example.com", **fields: Any) -> Message:
    """Send an initial SUBSCRIBE and return its answer."""
    heads = ("Event: presence", f"Contact: {agent.contact}", "Expires: 600", *extra)
    return agent.ask(agent.request("SUBSCRIBE", uri, *heads, to=f"<{uri}>", **fields))


def method_of(data: bytes) -> tuple[str, str]:
    message = parse(data)
    return message.method, message.uri
