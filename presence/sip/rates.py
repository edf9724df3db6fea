"""How many requests one user has served (`limits.user_rate`)."""

from math import ceil

from presence._fastcore import Buckets, Message
from presence.errors import TooManyRequests
from presence.sip.endpoint import Endpoint
from presence.sip.who import who_of


class UserRates:
    """Turns away the requests of users who send too many."""

    def __init__(self, buckets: Buckets, endpoint: Endpoint, *, proven_only: bool = False) -> None:
        """With `proven_only` who is asked for proof is counted when he has given it: nobody else spends what is his."""
        self._buckets = buckets
        self._endpoint = endpoint
        self._proven_only = proven_only
        self._prove = endpoint.identify
        if proven_only and self._prove is not None:
            endpoint.identify = self._identify

    def sift(self, requests: list[Message], now: float) -> list[Message]:
        """Return the requests of a tick that are served now; the others are answered.

        Not by 503, after which a proxy would send nothing of anybody's for a while (RFC 3261 section 21.5.4), nor by
        480, which ends the subscription that is to be refreshed (RFC 6665 section 4.1.2.2): 500 with Retry-After
        concerns this request alone (RFC 3261 section 21.5.1).
        """
        admitted, refused = self._buckets.sift(requests, who_of, now, self._proven_only)
        for request, wait_s in refused:
            self._endpoint.turn_away(request, _too_many(wait_s))
        return admitted

    def _identify(self, request: Message, now: float) -> None:
        """Count who is proven only now; raises SipError."""
        assert self._prove is not None
        counted = request.identity is not None
        self._prove(request, now)
        if request.identity is not None and not counted:
            for _, wait_s in self._buckets.sift([request], who_of, now)[1]:
                raise _too_many(wait_s)


def _too_many(wait_s: float) -> TooManyRequests:
    return TooManyRequests(headers=(("Retry-After", str(ceil(wait_s))),))
