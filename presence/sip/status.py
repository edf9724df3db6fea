"""Methods and reason phrases (RFC 3261 section 21, RFC 3903, RFC 6665)."""

REASONS = {
    200: "OK",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    406: "Not Acceptable",
    412: "Conditional Request Failed",
    415: "Unsupported Media Type",
    416: "Unsupported URI Scheme",
    420: "Bad Extension",
    423: "Interval Too Brief",
    481: "Call/Transaction Does Not Exist",
    483: "Too Many Hops",
    489: "Bad Event",
    500: "Server Internal Error",
    503: "Service Unavailable",
    505: "Version Not Supported",
}
"""Reason phrases of the responses this server builds."""
