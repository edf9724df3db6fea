"""Every struct, class and C signature of the compiled core on one page."""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

# ---- scan, message (RFC 3261 section 7) ----

cdef enum:
    MAX_HEADERS = 128       # header lines of one message; more is answered 400
    SCAN_SLACK = 16         # bytes a SIMD find may read past the end: every buffer has them
    MAX_MESSAGE = 65535     # bytes of one message on any transport

cdef enum:      # HeaderId (anonymous, so that it may index)
    H_OTHER = 0
    H_VIA, H_FROM, H_TO, H_CALL_ID, H_CSEQ, H_CONTACT, H_MAX_FORWARDS, H_EVENT, H_EXPIRES,
    H_CONTENT_LENGTH, H_CONTENT_TYPE, H_CONTENT_ENCODING, H_ACCEPT, H_SIP_IF_MATCH, H_SIP_ETAG,
    H_ROUTE, H_RECORD_ROUTE, H_REQUIRE, H_PROXY_REQUIRE, H_SUPPORTED, H_SUBSCRIPTION_STATE,
    H_AUTHORIZATION, H_TIMESTAMP, H_RETRY_AFTER, H_MIN_EXPIRES, H_ALLOW_EVENTS, H_USER_AGENT
    H_COUNT

# A field by name adds its HeaderId: E_BAD_FIELD + H_CSEQ is "Bad CSeq Header Field".
cdef enum:      # ParseError
    E_NONE = 0
    E_EMPTY, E_TOO_LARGE, E_START_LINE, E_VERSION, E_REQUEST_URI, E_HEADER_LINE, E_TOO_MANY_HEADERS,
    E_UNTERMINATED, E_CONTROL, E_CSEQ_METHOD, E_TRUNCATED
    E_MISSING_FIELD = 64
    E_BAD_FIELD = 128
    E_REPEATED_FIELD = 192

cdef enum:      # MethodId
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
    uint8_t error           # ParseError: 0, or the first thing that is malformed; index into ERROR_REASONS
    uint8_t answerable      # a request with enough of Via, From, To, Call-ID and CSeq to build a response
    uint16_t header_count
    uint16_t via_port       # sent-by port, 0 when absent
    uint8_t via_rport       # 1 when the top Via has an rport parameter
    uint32_t cseq
    int64_t expires         # -1 absent; at most 2^32-1
    int64_t max_forwards    # -1 absent; at most 255
    int64_t content_length  # -1 absent or unusable
    Span method_name, uri, reason
    Span via_transport, via_host, via_branch    # of the top Via; an IPv6 host is without its brackets
    Span via_params         # of the top Via: from behind sent-by to the comma or the end
    Span call_id, from_tag, to_tag
    Span event, event_id    # the token of Event, its id parameter
    Span body
    uint16_t first[64]      # by HeaderId: 1 + index of the first such line, 0 when there is none
    HeaderLine headers[MAX_HEADERS]

# Returns 0 when `m` is a complete well-formed message, else m.error. Never reads past n + SCAN_SLACK,
# leaves every field defined whatever comes in.
cdef int scan_message(SipMsg* m, const char* buf, uint32_t n) noexcept nogil

# The start line and the header fields alone, for streams: returns the offset of the body, 0 when the head has
# no end. `body` stays empty, content_length is -1 when the message cannot be framed.
cdef uint32_t scan_head(SipMsg* m, const char* buf, uint32_t n) noexcept nogil

cdef class Message:
    cdef SipMsg m
    cdef char* buf          # owned copy with SCAN_SLACK behind it
    cdef public object origin       # the listener or connection it came in on
    cdef uint8_t source_ip[16]      # IPv4 as v4-mapped IPv6
    cdef uint16_t source_port
    cdef str text(self, Span s)
    cdef str value_at(self, int i)
    cdef list lines(self, str name, bint only_first)

cdef Message new_message(const SipMsg* m)   # copies the bytes
