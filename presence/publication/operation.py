"""Which of the four operations a PUBLISH is (RFC 3903 section 4.1, Table 1)."""

from enum import Enum


class Operation(Enum):
    """What a PUBLISH does to a publication."""

    INITIAL = "initial"
    REFRESH = "refresh"
    MODIFY = "modify"
    REMOVE = "remove"


# (body, SIP-If-Match, Expires is 0) -> operation. No entry: the request has no meaning (section 6, step 5).
# A remove with a body, which section 4.5 forbids clients to send, removes all the same.
TABLE = {
    (True, False, False): Operation.INITIAL,
    (True, False, True): Operation.INITIAL,
    (False, True, False): Operation.REFRESH,
    (True, True, False): Operation.MODIFY,
    (False, True, True): Operation.REMOVE,
    (True, True, True): Operation.REMOVE,
}
