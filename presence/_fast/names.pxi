"""Header names in their long and compact forms, and what a malformed message is told.

Uses: find.  Used by: fields, scan, message.
"""

cdef tuple HEADER_NAMES = (
    (H_VIA, "Via", "v"),
    (H_FROM, "From", "f"),
    (H_TO, "To", "t"),
    (H_CALL_ID, "Call-ID", "i"),
    (H_CSEQ, "CSeq", ""),
    (H_CONTACT, "Contact", "m"),
    (H_MAX_FORWARDS, "Max-Forwards", ""),
    (H_EVENT, "Event", "o"),
    (H_EXPIRES, "Expires", ""),
    (H_CONTENT_LENGTH, "Content-Length", "l"),
    (H_CONTENT_TYPE, "Content-Type", "c"),
    (H_CONTENT_ENCODING, "Content-Encoding", "e"),
    (H_ACCEPT, "Accept", ""),
    (H_SIP_IF_MATCH, "SIP-If-Match", ""),
    (H_SIP_ETAG, "SIP-ETag", ""),
    (H_ROUTE, "Route", ""),
    (H_RECORD_ROUTE, "Record-Route", ""),
    (H_REQUIRE, "Require", ""),
    (H_PROXY_REQUIRE, "Proxy-Require", ""),
    (H_SUPPORTED, "Supported", "k"),
    (H_SUBSCRIPTION_STATE, "Subscription-State", ""),
    (H_AUTHORIZATION, "Authorization", ""),
    (H_TIMESTAMP, "Timestamp", ""),
    (H_RETRY_AFTER, "Retry-After", ""),
    (H_MIN_EXPIRES, "Min-Expires", ""),
    (H_ALLOW_EVENTS, "Allow-Events", "u"),
    (H_USER_AGENT, "User-Agent", ""),
)

# Compact forms of fields without a HeaderId of their own (IANA, SIP header fields).
cdef dict OTHER_COMPACT = {
    "accept-contact": "a", "referred-by": "b", "request-disposition": "d", "reject-contact": "j",
    "identity-info": "n", "refer-to": "r", "subject": "s", "session-expires": "x", "identity": "y",
}

cdef struct HeaderName:
    uint32_t size
    uint8_t id
    uint8_t text[32]
    uint8_t fold[32]        # 0x20 where a letter stands: or-ed in, it makes the letter small

cdef HeaderName NAMES[128]          # by name_slot
cdef uint8_t COMPACT_IDS[256]
cdef dict OTHER_LONG = {compact: name for name, compact in OTHER_COMPACT.items()}
cdef dict HEADER_IDS = {}           # every form, lower case -> HeaderId


cdef inline uint32_t name_slot(const char* p, uint32_t n) noexcept nogil:
    """A hash of length, first and last letter under which no two names of HEADER_NAMES meet."""
    return (2 * (<uint8_t>p[0] | 0x20) + (<uint8_t>p[n - 1] | 0x20) + 11 * n) & 127


cdef void fill_names() except *:
    cdef HeaderName* entry
    cdef bytes name
    cdef int k
    memset(NAMES, 0, sizeof(NAMES))
    memset(COMPACT_IDS, 0, sizeof(COMPACT_IDS))
    for header, text, compact in HEADER_NAMES:
        name = text.lower().encode()
        entry = &NAMES[name_slot(name, len(name))]
        if entry.id:
            raise AssertionError(f"{text} needs another name_slot")
        entry.id = header
        entry.size = len(name)
        for k, letter in enumerate(name):
            entry.text[k] = letter
            entry.fold[k] = 0x20 if chr(letter).isalpha() else 0
        HEADER_IDS[text.lower()] = header
        if compact:
            HEADER_IDS[compact] = header
            COMPACT_IDS[ord(compact)] = COMPACT_IDS[ord(compact.upper())] = header


fill_names()


cdef inline uint8_t header_id(const char* p, uint32_t n) noexcept nogil:
    cdef const HeaderName* entry
    if n == 1:
        return COMPACT_IDS[<uint8_t>p[0]]
    entry = &NAMES[name_slot(p, n)]
    if entry.size == n and name_equal(p, entry.text, entry.fold, n):
        return entry.id
    return H_OTHER


# ---- errors ----

cdef inline void fail(SipMsg* m, uint8_t error) noexcept nogil:
    """Keep the first reason: what comes later often follows from it."""
    if m.error == 0:
        m.error = error


cdef tuple error_reasons():
    reasons = [""] * 256
    reasons[E_EMPTY] = "Empty Message"
    reasons[E_TOO_LARGE] = "Message Too Large"
    reasons[E_START_LINE] = "Bad Start Line"
    reasons[E_VERSION] = "Unsupported SIP Version"
    reasons[E_REQUEST_URI] = "Bad Request-URI"
    reasons[E_HEADER_LINE] = "Bad Header Line"
    reasons[E_TOO_MANY_HEADERS] = "Too Many Header Fields"
    reasons[E_UNTERMINATED] = "Header Does Not End"
    reasons[E_CONTROL] = "Control Character in the Header"
    reasons[E_CSEQ_METHOD] = "CSeq Method Does Not Match"
    reasons[E_TRUNCATED] = "Content-Length Exceeds the Datagram"
    for header, name, _ in HEADER_NAMES:
        reasons[E_MISSING_FIELD + header] = f"Missing {name} Header Field"
        reasons[E_BAD_FIELD + header] = f"Bad {name} Header Field"
        reasons[E_REPEATED_FIELD + header] = f"Repeated {name} Header Field"
    reasons[E_MISSING_FIELD + H_CONTENT_LENGTH] = "Missing Content-Length"
    reasons[E_BAD_FIELD + H_CONTENT_LENGTH] = "Bad Content-Length"
    return tuple(reasons)


cdef tuple ERROR_REASONS = error_reasons()
