"""The fields every message needs: parameters, Via, From, To, CSeq, Event, numbers.

Uses: find, names.  Used by: scan, serialise.
"""

# ---- parameters ----

cdef struct Param:
    const char* name        # NULL: there are no more
    const char* value       # NULL: it has none
    uint32_t name_len
    uint32_t value_len
    bint quoted


cdef inline const char* next_param(const char* p, const char* e, Param* param) noexcept nogil:
    """Read `;name=value` at `p` and return the place behind; NULL when malformed; stops before a comma."""
    param.name = NULL
    p = skip_space(p, e)
    if p >= e or p[0] == b",":
        return p
    if p[0] != b";":
        return NULL
    p = skip_space(p + 1, e)
    param.name = p
    p = skip_class(p, e, C_TOKEN)
    param.name_len = <uint32_t>(p - param.name)
    if param.name_len == 0:
        return NULL
    p = skip_space(p, e)
    param.value = NULL
    param.value_len = 0
    param.quoted = False
    if p < e and p[0] == b"=":
        p = skip_space(p + 1, e)
        param.value = p
        if p < e and p[0] == b'"':
            param.quoted = True
            p = skip_quoted(p, e)
            if p == NULL:
                return NULL
        else:
            p = find_value_end(p, e)
        param.value_len = <uint32_t>(p - param.value)
    return p


cdef inline bint param_is(const Param* param, const char* lower, uint32_t n) noexcept nogil:
    return param.name_len == n and icase_equal(param.name, lower, n)


cdef inline bint param_word(const Param* param, const char* buf, Span* out) noexcept nogil:
    """Store the value of a tag, branch or id; False when it is empty, quoted, odd or already there.

    More than a token is taken: some make tags with careless base64, and to us they are opaque.
    """
    if out.len or param.value_len == 0 or param.quoted:
        return False
    if find_odd(param.value, param.value + param.value_len) < param.value + param.value_len:
        return False
    out[0] = make_span(buf, param.value, param.value + param.value_len)
    return True


# ---- the fields every message needs ----

cdef bint has_headers(const char* p, const char* e, const char* mark) noexcept nogil:
    """True for a SIP URI with a header part, which no Request-URI may have (RFC 3261 section 19.1.1).

    `mark` is its first question mark; few have one.
    """
    cdef const char* at
    while mark < e:
        at = find_byte(mark, e, b"@")
        if at >= e:
            return icase_equal(p, b"sip", 3)
        mark = find_byte(at, e, b"?")       # the one before the @ is of the user part
    return False


cdef inline bint is_uri(const char* p, const char* e) noexcept nogil:
    """A scheme, a colon, and visible ASCII without the brackets and quotes that delimit a URI."""
    cdef const char* colon = skip_class(p, e, C_TOKEN)
    if colon == p or colon + 1 >= e or colon[0] != b":":
        return False
    return find_three(p, e, b"<", b">", b'"') >= e and is_visible(p, e)


cdef bint scan_address(const SipMsg* m, Span value, Span* tag) noexcept nogil:
    """Check a From or To (name-addr or addr-spec with parameters) and find its tag."""
    cdef const char* p = m.buf + value.off
    cdef const char* e = p + value.len
    cdef const char* uri = p
    cdef Param param
    if p < e and p[0] == b'"':
        p = skip_quoted(p, e)
        if p == NULL:
            return False
        p = skip_space(p, e)
        if p >= e or p[0] != b"<":
            return False
    else:
        p = find_three(p, e, b"<", b";", b'"')
        if p < e and p > uri and p[0] == b"<" and find_byte(uri, p, b",") < p:
            return False        # unquoted, a comma begins a second value, and there is one (RFC 4475 section 3.1.2.15)
    if p < e and p[0] == b"<":
        uri = p + 1
        p = find_byte(uri, e, b">")
        if p >= e or not is_uri(uri, p):
            return False
        p += 1
    else:
        # addr-spec: a semicolon begins a header parameter, not one of the URI (RFC 3261 section 20).
        e_uri = p
        while e_uri > uri and is_space((e_uri - 1)[0]):
            e_uri -= 1
        # A URI with a comma or a question mark must stand in brackets (RFC 3261 section 20).
        if not is_uri(uri, e_uri) or find_either(uri, e_uri, b",", b"?") < e_uri:
            return False
    while True:
        p = next_param(p, e, &param)
        if p == NULL:
            return False
        if param.name == NULL:
            return p >= e
        if param_is(&param, b"tag", 3) and not param_word(&param, m.buf, tag):
            return False


cdef const char* scan_host(SipMsg* m, const char* p, const char* e) noexcept nogil:
    """Read sent-by's host; NULL when there is none."""
    cdef const char* start = p
    if p < e and p[0] == b"[":
        start = p + 1
        p = skip_class(start, e, C_IPV6)
        if p >= e or p[0] != b"]" or p == start:
            return NULL
        m.via_host = make_span(m.buf, start, p)
        return p + 1
    p = skip_class(p, e, C_HOST)
    if p == start:
        return NULL
    m.via_host = make_span(m.buf, start, p)
    return p


cdef const char* scan_via_protocol(const char* p, const char* e) noexcept nogil:
    """Return the place of the transport, NULL when it is not SIP; a 505 is for the start line to earn."""
    if e - p > 8 and memcmp(p, b"SIP/2.0/", 8) == 0:
        return p + 8
    if e - p < 8 or not icase_equal(p, b"sip", 3):
        return NULL
    p = skip_space(p + 3, e)
    if p >= e or p[0] != b"/":
        return NULL
    p = skip_space(skip_class(skip_space(p + 1, e), e, C_TOKEN), e)
    if p >= e or p[0] != b"/":
        return NULL
    return skip_space(p + 1, e)


cdef const char* scan_sent_by(SipMsg* m, Span value) noexcept nogil:
    """Read the top Via up to its parameters; NULL when malformed."""
    cdef const char* e = m.buf + value.off + value.len
    cdef const char* p = scan_via_protocol(m.buf + value.off, e)
    cdef const char* start = p
    cdef int64_t port
    if p == NULL:
        return NULL
    p = skip_class(p, e, C_TOKEN)
    if p == start or p >= e or not is_space(p[0]):
        return NULL
    m.via_transport = make_span(m.buf, start, p)
    p = scan_host(m, skip_space(p, e), e)
    if p == NULL:
        return NULL
    p = skip_space(p, e)
    if p < e and p[0] == b":":
        start = skip_space(p + 1, e)
        p = start
        while p < e and 48 <= p[0] <= 57:
            p += 1
        port = scan_digits(start, p)
        if port < 1 or port > 65535:
            return NULL
        m.via_port = <uint16_t>port
    return p


cdef bint scan_via(SipMsg* m, Span value) noexcept nogil:
    cdef const char* e = m.buf + value.off + value.len
    cdef const char* start = scan_sent_by(m, value)
    cdef const char* p = start
    cdef Param param
    if start == NULL:
        m.via_host = Span(0, 0)
        return False
    while True:
        p = next_param(p, e, &param)
        if p == NULL:
            break
        if param.name == NULL:
            m.via_params = make_span(m.buf, start, p)
            return True
        if param_is(&param, b"branch", 6):
            if not param_word(&param, m.buf, &m.via_branch):
                break
        elif param_is(&param, b"rport", 5):
            m.via_rport = 1
    m.via_branch = Span(0, 0)
    m.via_rport = 0
    return False


cdef bint scan_cseq(SipMsg* m, Span value) noexcept nogil:
    cdef const char* p = m.buf + value.off
    cdef const char* e = p + value.len
    cdef const char* start = p
    cdef int64_t number
    while p < e and 48 <= p[0] <= 57:
        p += 1
    number = scan_digits(start, p)
    # RFC 3261 section 8.1.1.5: less than 2^31.
    if number < 0 or number > 0x7fffffff or p >= e or not is_space(p[0]):
        return False
    p = skip_space(p, e)
    m.cseq = <uint32_t>number
    if m.is_request and m.method_name.len == e - p and memcmp(p, m.buf + m.method_name.off, e - p) == 0:
        return True
    if skip_class(p, e, C_TOKEN) != e:
        m.cseq = 0
        return False
    if m.is_request:
        fail(m, E_CSEQ_METHOD)
    else:
        m.method_name = make_span(m.buf, p, e)
        m.method = method_id(p, m.method_name.len)
    return True


cdef bint scan_event(SipMsg* m, Span value) noexcept nogil:
    cdef const char* p = m.buf + value.off
    cdef const char* e = p + value.len
    cdef const char* start = p
    cdef Param param
    p = skip_class(p, e, C_TOKEN)
    if p == start:
        return False
    m.event = make_span(m.buf, start, p)
    while True:
        p = next_param(p, e, &param)
        if p == NULL:
            return False
        if param.name == NULL:
            return p >= e
        if param_is(&param, b"id", 2) and not param_word(&param, m.buf, &m.event_id):
            return False
        # Bridged line appearance (draft-anil-sipping-bla-03 section 5): a package of its own in all but its name.
        if param_is(&param, b"sla", 3) and param.value == NULL and span_equal(m.buf, m.event, b"dialog", 6):
            m.shared_line = True
        elif not param_is(&param, b"id", 2):
            m.event_selects = True


cdef const char* package_of(const SipMsg* m, uint32_t* size) noexcept nogil:
    if m.shared_line:
        size[0] = 10
        return b"dialog;sla"
    size[0] = m.event.len
    return m.buf + m.event.off


cdef inline bint field(SipMsg* m, uint8_t header, Span* value) noexcept nogil:
    """Give the first line's value; False when there is none or it is empty."""
    cdef uint16_t at = m.first[header]
    if at == 0:
        return False
    value[0] = m.headers[at - 1].value
    return value.len > 0


cdef bint has_more_vias(const SipMsg* m) noexcept nogil:
    """True when a message names more than one Via."""
    cdef uint16_t first = m.first[H_VIA]
    cdef uint32_t end
    cdef uint16_t i
    if first == 0:
        return False
    end = m.headers[first - 1].value.off + m.headers[first - 1].value.len
    if m.via_params.off and m.via_params.off + m.via_params.len < end:
        return True
    for i in range(first, m.header_count):
        if m.headers[i].id == H_VIA:
            return True
    return False


cdef inline int64_t scan_number(SipMsg* m, uint8_t header, int64_t most) noexcept nogil:
    """Value of an all-digits field, at most `most`; -1 when it is absent or bad."""
    cdef Span value
    cdef int64_t number
    if m.first[header] == 0:
        return -1
    value = m.headers[m.first[header] - 1].value
    number = scan_digits(m.buf + value.off, m.buf + value.off + value.len)
    if number < 0:
        fail(m, E_BAD_FIELD + header)
    return number if number < most else most


cdef inline void need(SipMsg* m, uint8_t header, bint good) noexcept nogil:
    if not good:
        fail(m, (E_BAD_FIELD if m.first[header] else E_MISSING_FIELD) + header)


cdef enum:
    UNUSABLE = -2   # content_length while the header lines are read: they contradict each other


cdef void scan_fields(SipMsg* m) noexcept nogil:
    cdef Span value
    cdef bint via, sender, target, call, cseq
    cdef int64_t length
    via = field(m, H_VIA, &value)
    need(m, H_VIA, via and scan_via(m, value))
    sender = field(m, H_FROM, &value)
    need(m, H_FROM, sender and scan_address(m, value, &m.from_tag))
    target = field(m, H_TO, &value)
    need(m, H_TO, target and scan_address(m, value, &m.to_tag))
    call = field(m, H_CALL_ID, &value)
    if call and is_visible(m.buf + value.off, m.buf + value.off + value.len):
        m.call_id = value
    need(m, H_CALL_ID, m.call_id.len > 0)
    cseq = field(m, H_CSEQ, &value)
    need(m, H_CSEQ, cseq and scan_cseq(m, value))
    if m.first[H_EVENT]:
        need(m, H_EVENT, field(m, H_EVENT, &value) and scan_event(m, value))
    # Too large numbers are taken as the largest allowed (RFC 4475 section 3.1.2.4).
    m.expires = scan_number(m, H_EXPIRES, DIGITS_MOST - 1)
    m.max_forwards = scan_number(m, H_MAX_FORWARDS, 255)
    length = scan_number(m, H_CONTENT_LENGTH, DIGITS_MOST)
    if length == DIGITS_MOST:
        fail(m, E_BAD_FIELD + H_CONTENT_LENGTH)
        length = -1
    m.content_length = -1 if m.content_length == UNUSABLE else length
    m.answerable = m.is_request and m.via_host.len > 0
