"""How many requests one user has served (`limits.user_rate`)."""

from math import ceil

from presence._fastcore import Buckets, Message
from presence.errors import TooManyRequests
from presence.sip.endpoint import Endpoint
from presence.sip.who import who_of


class UserRates:
    """Turns away the requests of users who send too many."""

    def __init__(self, buckets: Buckets, endpoint: Endpoint) -> None:
        self._buckets = buckets
        self._endpoint = endpoint

    def sift(self, requests: list[Message], now: float) -> list[Message]:
        """Return the requests of a tick that are served now; the others are answered.

        Not by 503, after which a proxy would send nothing of anybody's for a while (RFC 3261 section 21.5.4), nor by
        480, which ends the subscription that is to be refreshed (RFC 6665 section 4.1.2.2): 500 with Retry-After
        concerns this request alone (RFC 3261 section 21.5.1).
        """
        admitted, refused = self._buckets.sift(requests, who_of, now)
        for request, wait_s in refused:
            self._endpoint.turn_away(request, TooManyRequests(headers=(("Retry-After", str(ceil(wait_s))),)))
        return admitted
