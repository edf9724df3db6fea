"""Every struct, class and C signature of the compiled core on one page."""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

# ---- scan, message (RFC 3261 section 7) ----

cdef enum:
    MAX_HEADERS = 128       # header lines of one message; more is answered 400
    SCAN_SLACK = 16         # bytes a SIMD find may read past the end: every buffer has them
    MAX_MESSAGE = 65535     # bytes of one message on any transport

cdef enum HeaderId:
    H_OTHER = 0
    H_VIA, H_FROM, H_TO, H_CALL_ID, H_CSEQ, H_CONTACT, H_MAX_FORWARDS, H_EVENT, H_EXPIRES,
    H_CONTENT_LENGTH, H_CONTENT_TYPE, H_CONTENT_ENCODING, H_ACCEPT, H_SIP_IF_MATCH, H_SIP_ETAG,
    H_ROUTE, H_RECORD_ROUTE, H_REQUIRE, H_PROXY_REQUIRE, H_SUPPORTED, H_SUBSCRIPTION_STATE,
    H_AUTHORIZATION, H_TIMESTAMP, H_RETRY_AFTER, H_MIN_EXPIRES, H_ALLOW_EVENTS, H_USER_AGENT
    H_COUNT

cdef enum MethodId:
    M_OTHER = 0
    M_SUBSCRIBE, M_PUBLISH, M_NOTIFY, M_REGISTER, M_OPTIONS, M_INVITE, M_ACK, M_CANCEL, M_BYE, M_MESSAGE

cdef struct Span:
    uint32_t off
    uint32_t len            # 0 with off 0: absent

cdef struct HeaderLine:
    uint8_t id              # HeaderId
    Span name
    Span value              # trimmed at both ends; folding is left in place

cdef struct SipMsg:         # a transient view: offsets into `buf`, nothing owned
    const char* buf
    uint32_t size           # bytes of the whole message
    uint8_t is_request
    uint8_t method          # MethodId; for a response that of CSeq
    uint16_t status
    uint8_t error           # 0, or why it is malformed: index into ERROR_REASONS
    uint16_t header_count
    uint16_t via_port       # sent-by port, 0 when absent
    uint8_t via_rport       # 1 when the top Via has an rport parameter
    uint32_t cseq
    int64_t expires         # -1 absent
    int64_t max_forwards    # -1 absent
    int64_t content_length  # -1 absent
    Span method_name, uri, reason
    Span via_host, via_branch
    Span call_id, from_tag, to_tag
    Span event, event_id    # the token of Event, its id parameter
    Span body
    uint16_t first[64]      # by HeaderId: 1 + index of the first such line, 0 when there is none
    HeaderLine headers[MAX_HEADERS]

# Returns 0 when `m` is a complete well-formed message, else m.error. Never reads past n + SCAN_SLACK,
# leaves every field defined whatever comes in.
cdef int scan_message(SipMsg* m, const char* buf, uint32_t n) noexcept nogil

cdef class Message:
    cdef SipMsg m
    cdef char* buf          # owned copy with SCAN_SLACK behind it
    cdef public object origin       # the listener or connection it came in on
    cdef uint8_t source_ip[16]      # IPv4 as v4-mapped IPv6
    cdef uint16_t source_port

cdef Message new_message(const SipMsg* m)   # copies the bytes
