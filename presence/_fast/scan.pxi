"""One pass over a message: start line, header table, body.

Uses: find, names, fields.  Used by: message, framing, serialise, datagrams.
"""

# ---- start line ----

cdef inline uint8_t method_id(const char* p, uint32_t n) noexcept nogil:
    if n == 9 and memcmp(p, b"SUBSCRIBE", 9) == 0:
        return M_SUBSCRIBE
    if n == 7 and memcmp(p, b"PUBLISH", 7) == 0:
        return M_PUBLISH
    if n == 6 and memcmp(p, b"NOTIFY", 6) == 0:
        return M_NOTIFY
    if n == 8 and memcmp(p, b"REGISTER", 8) == 0:
        return M_REGISTER
    if n == 7 and memcmp(p, b"OPTIONS", 7) == 0:
        return M_OPTIONS
    if n == 6 and memcmp(p, b"INVITE", 6) == 0:
        return M_INVITE
    if n == 3 and memcmp(p, b"ACK", 3) == 0:
        return M_ACK
    if n == 6 and memcmp(p, b"CANCEL", 6) == 0:
        return M_CANCEL
    if n == 3 and memcmp(p, b"BYE", 3) == 0:
        return M_BYE
    if n == 7 and memcmp(p, b"MESSAGE", 7) == 0:
        return M_MESSAGE
    return M_OTHER


cdef bint scan_version(const char* p, const char* e, bint* current) noexcept nogil:
    """True for `SIP/` digits `.` digits; `current` when it is 2.0 (any case, RFC 3261 section 7.1)."""
    cdef const char* dot
    current[0] = e - p == 7 and memcmp(p, b"SIP/2.0", 7) == 0
    if current[0]:
        return True
    if e - p < 7 or not icase_equal(p, b"sip/", 4):
        return False
    dot = find_byte(p + 4, e, b".")
    if dot >= e or scan_digits(p + 4, dot) < 0 or scan_digits(dot + 1, e) < 0:
        return False
    current[0] = e - p == 7 and p[4] == b"2" and p[6] == b"0"
    return True


cdef bint scan_request_line(SipMsg* m, const char* p, const char* e) noexcept nogil:
    cdef const char* space = skip_class(p, e, C_TOKEN)
    cdef const char* version = e
    cdef const char* mark
    cdef bint current
    while version > p and (version - 1)[0] != b" ":
        version -= 1
    if space == p or space >= e or space[0] != b" " or version <= space + 1:
        return False
    if not scan_version(version, e, &current):
        return False
    m.is_request = 1
    m.method_name = make_span(m.buf, p, space)
    m.method = method_id(p, m.method_name.len)
    if not current:
        fail(m, E_VERSION)
    mark = find_byte(space + 1, version - 1, b"?")
    if not is_uri(space + 1, version - 1) or (mark < version - 1 and has_headers(space + 1, version - 1, mark)):
        fail(m, E_REQUEST_URI)
    else:
        m.uri = make_span(m.buf, space + 1, version - 1)
    return True


cdef bint scan_status_line(SipMsg* m, const char* p, const char* e) noexcept nogil:
    cdef const char* space = find_byte(p, e, b" ")
    cdef bint current
    cdef int64_t status
    if e - space < 4 or not scan_version(p, space, &current):
        return False
    status = scan_digits(space + 1, space + 4)
    if status < 100 or status > 699:
        return False
    p = space + 4
    if p < e and p[0] != b" ":
        return False
    if not current:
        fail(m, E_VERSION)
    m.status = <uint16_t>status
    if p < e:
        m.reason = make_span(m.buf, p + 1, e)
    return True


# ---- header lines ----

cdef enum:
    # Fields that may stand once only; a second one would let two readers see two messages.
    ONCE = (1 << H_CALL_ID | 1 << H_CSEQ | 1 << H_FROM | 1 << H_TO | 1 << H_MAX_FORWARDS | 1 << H_EVENT
            | 1 << H_EXPIRES | 1 << H_CONTENT_TYPE | 1 << H_SIP_IF_MATCH)


cdef inline bint scan_line(SipMsg* m, const char* p, const char* e) noexcept nogil:
    """Add one unfolded or folded header line to the table; False when the table is full."""
    cdef const char* colon = find_byte(p, e, b":")
    cdef const char* name_end = colon
    cdef HeaderLine* line
    cdef uint8_t header
    while name_end > p and ((name_end - 1)[0] == b" " or (name_end - 1)[0] == b"\t"):
        name_end -= 1
    if colon >= e or name_end == p:
        fail(m, E_HEADER_LINE)
        return True
    header = header_id(p, <uint32_t>(name_end - p))
    if header == H_OTHER and skip_class(p, name_end, C_TOKEN) != name_end:
        fail(m, E_HEADER_LINE)
        return True
    if m.header_count == MAX_HEADERS:
        fail(m, E_TOO_MANY_HEADERS)
        return False
    line = &m.headers[m.header_count]
    m.header_count += 1
    line.id = header
    line.name = make_span(m.buf, p, name_end)
    p = skip_space(colon + 1, e)
    while e > p and is_space((e - 1)[0]):
        e -= 1
    line.value = make_span(m.buf, p, e)
    if header != H_OTHER:
        if m.first[header] == 0:
            m.first[header] = m.header_count
        elif ONCE >> header & 1:
            fail(m, E_REPEATED_FIELD + header)
        elif header == H_CONTENT_LENGTH and scan_digits(p, e) != scan_length(m):
            fail(m, E_REPEATED_FIELD + header)
            m.content_length = UNUSABLE
    return True


cdef inline int64_t scan_length(const SipMsg* m) noexcept nogil:
    cdef Span value = m.headers[m.first[H_CONTENT_LENGTH] - 1].value
    return scan_digits(m.buf + value.off, m.buf + value.off + value.len)


cdef bint controls_allowed(const char* p, const char* e) noexcept nogil:
    """Control characters other than TAB and line ends stand behind a backslash only (quoted-pair)."""
    cdef const char* begin = p
    cdef uint8_t c
    while p < e:
        c = <uint8_t>p[0]
        if c <= 0x1f and c != 9 and c != 10 and not (c == 13 and p + 1 < e and p[1] == b"\n"):
            if c == 13 or p == begin or (p - 1)[0] != b"\\":
                return False
        p += 1
    return True


# ---- the whole message ----

cdef size_t FIXED_PART = sizeof(SipMsg) - MAX_HEADERS * sizeof(HeaderLine)


cdef inline const char* find_line_end(
    const char* p, const char* end, const char** stop, uint32_t* controls
) noexcept nogil:
    """Return the LF that ends the line at `p`, NULL without one; the line's text ends at `stop`."""
    cdef const char* line_feed = <const char*>memchr(p, 10, end - p)
    if line_feed != NULL:
        controls[0] += 1
        stop[0] = line_feed
        if line_feed > p and (line_feed - 1)[0] == b"\r":
            controls[0] += 1
            stop[0] -= 1
    return line_feed


cdef const char* scan_lines(SipMsg* m, const char* p, const char* end, uint32_t* controls) noexcept nogil:
    """Read header lines up to the empty one and return what follows it, NULL when it is not there."""
    cdef const char* line_feed
    cdef const char* stop
    cdef bint room = True
    while True:
        line_feed = find_line_end(p, end, &stop, controls)
        if line_feed == NULL:
            return NULL
        if stop == p:
            if not room:
                # An unseen second Content-Length would move the frame.
                m.content_length = UNUSABLE
            return line_feed + 1
        while line_feed + 1 < end and (line_feed[1] == b" " or line_feed[1] == b"\t"):
            line_feed = find_line_end(line_feed + 1, end, &stop, controls)
            if line_feed == NULL:
                return NULL
        if not scan_line(m, p, stop):
            room = False
        p = line_feed + 1


cdef uint32_t scan_head(SipMsg* m, const char* buf, uint32_t n) noexcept nogil:
    cdef const char* p = buf
    cdef const char* end = buf + n
    cdef const char* start
    cdef const char* stop
    cdef uint32_t controls = 0
    # All of it but the unused header lines: a stale offset would give away memory of another message.
    memset(m, 0, FIXED_PART)
    m.buf = buf
    m.size = n
    m.expires = m.max_forwards = m.content_length = -1
    if n > MAX_MESSAGE:
        fail(m, E_TOO_LARGE)
        return 0
    while p < end and (p[0] == b"\r" or p[0] == b"\n"):     # RFC 3261 section 7.5
        p += 1
    start = p
    p = find_line_end(start, end, &stop, &controls)
    if p == NULL:
        fail(m, E_EMPTY if start == end else E_START_LINE)
        return 0
    while stop > start and is_space((stop - 1)[0]):         # RFC 4475 section 3.1.2.10
        stop -= 1
    if not scan_request_line(m, start, stop) and not scan_status_line(m, start, stop):
        fail(m, E_START_LINE)
        return 0
    p = scan_lines(m, p + 1, end, &controls)
    if p == NULL:
        fail(m, E_UNTERMINATED)
        m.content_length = UNUSABLE
    elif count_controls(start, p) != controls and not controls_allowed(start, p):
        fail(m, E_CONTROL)
    scan_fields(m)
    return 0 if p == NULL else <uint32_t>(p - buf)


cdef int scan_message(SipMsg* m, const char* buf, uint32_t n) noexcept nogil:
    cdef uint32_t head = scan_head(m, buf, n)
    if head:
        place_body(m, head)
    return m.error


cdef inline void place_body(SipMsg* m, uint32_t head) noexcept nogil:
    """RFC 3261 section 18.3: a datagram's body ends with Content-Length or else with the datagram."""
    cdef uint32_t left = m.size - head
    if m.first[H_CONTENT_LENGTH] == 0:
        m.body = Span(head, left)
    elif m.content_length > left:
        fail(m, E_TRUNCATED)
    elif m.content_length >= 0:
        m.body = Span(head, <uint32_t>m.content_length)
        m.size = head + m.body.len
