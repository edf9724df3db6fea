"""Responses, built from the spans of the request into one buffer.

Uses: find, fields, message.  Used by: the transaction layer.
"""

from libc.stdio cimport snprintf

cdef enum:
    EMPTY_BODY = 21         # Content-Length: 0 and the empty line
    LINE_ROOM = 64          # more than any header name, separator and line end we write around a value
    VIA_ROOM = 96           # ;received= and ;rport= with their values


cdef struct Writer:
    char* at


cdef inline void put(Writer* w, const char* text, uint32_t n) noexcept nogil:
    memcpy(w.at, text, n)
    w.at += n


cdef inline void put_line(
    Writer* w, const char* name, uint32_t n, const char* buf, Span value
) noexcept nogil:
    """Write a header line; a folded value leaves unfolded."""
    put(w, name, n)
    w.at += copy_unfolded(w.at, buf + value.off, value.len)
    put(w, b"\r\n", 2)


cdef void put_status_line(Writer* w, int status, const char* reason, uint32_t n) noexcept nogil:
    cdef uint32_t i
    put(w, b"SIP/2.0 ", 8)
    w.at[0] = <char>(c"0" + status // 100)
    w.at[1] = <char>(c"0" + status // 10 % 10)
    w.at[2] = <char>(c"0" + status % 10)
    w.at[3] = c" "
    w.at += 4
    for i in range(n):
        # A reason phrase may quote the peer: no line end of theirs gets out.
        w.at[0] = reason[i] if <uint8_t>reason[i] >= 0x20 else 0x20
        w.at += 1
    put(w, b"\r\n", 2)


cdef void put_top_via(Writer* w, Message request) noexcept:
    """RFC 3261 section 18.2.1 and RFC 3581 section 4: say where the request really came from.

    What the sender wrote into `received` or `rport` is not believed.
    """
    cdef const SipMsg* m = &request.m
    cdef Span value = m.headers[m.first[H_VIA] - 1].value
    cdef const char* p = request.buf + m.via_params.off
    cdef const char* e = p + m.via_params.len
    cdef const char* before
    cdef char source[ADDRESS_TEXT]
    cdef uint8_t sent_by[16]
    cdef uint32_t n = write_address(request.source_ip, source)
    cdef Param param
    if n == 0 or m.via_params.off == 0:
        put_line(w, b"Via: ", 5, request.buf, value)
        return
    put(w, b"Via: ", 5)
    w.at += copy_unfolded(w.at, request.buf + value.off, m.via_params.off - value.off)
    while (w.at - 1)[0] == b" ":
        w.at -= 1
    while True:
        before = p
        p = next_param(p, e, &param)
        if p == NULL or param.name == NULL:
            break
        if not param_is(&param, b"rport", 5) and not param_is(&param, b"received", 8):
            w.at += copy_unfolded(w.at, before, <uint32_t>(p - before))
    if m.via_rport:
        put(w, b";rport=", 7)
        w.at = emit_number(w.at, request.source_port)
    if m.via_rport or not (
        read_address(request.buf + m.via_host.off, m.via_host.len, sent_by)
        and memcmp(sent_by, request.source_ip, 16) == 0
    ):
        put(w, b";received=", 10)
        put(w, source, n)
    w.at += copy_unfolded(w.at, e, value.off + value.len - m.via_params.off - m.via_params.len)
    put(w, b"\r\n", 2)


cdef void put_dialog_fields(Writer* w, Message request, bytes to_tag) noexcept:
    # What a malformed request lacks cannot be in its 400 either (RFC 4475 section 3.3.1).
    cdef const SipMsg* m = &request.m
    if m.first[H_FROM]:
        put_line(w, b"From: ", 6, request.buf, m.headers[m.first[H_FROM] - 1].value)
    if m.first[H_TO]:
        put_line(w, b"To: ", 4, request.buf, m.headers[m.first[H_TO] - 1].value)
    if m.first[H_TO] and m.to_tag.len == 0 and PyBytes_GET_SIZE(to_tag):
        w.at -= 2
        put(w, b";tag=", 5)
        put(w, PyBytes_AS_STRING(to_tag), <uint32_t>PyBytes_GET_SIZE(to_tag))
        put(w, b"\r\n", 2)
    if m.first[H_CALL_ID]:
        put_line(w, b"Call-ID: ", 9, request.buf, m.headers[m.first[H_CALL_ID] - 1].value)
    if m.first[H_CSEQ]:
        put_line(w, b"CSeq: ", 6, request.buf, m.headers[m.first[H_CSEQ] - 1].value)


cdef void put_copies(
    Writer* w, Message request, uint8_t header, const char* name, uint32_t n, uint16_t after
) noexcept:
    """Copy the lines of a field, in order, from the line `after` on."""
    cdef const SipMsg* m = &request.m
    cdef uint16_t i
    if m.first[header]:
        for i in range(after, m.header_count):
            if m.headers[i].id == header:
                put_line(w, name, n, request.buf, m.headers[i].value)


cdef uint32_t response_room(const SipMsg* m, size_t added) noexcept nogil:
    """How much `write_response` writes at most: every line of the request once, and what we add around it."""
    return <uint32_t>(m.size + m.header_count * LINE_ROOM + VIA_ROOM * 2 + 4 * LINE_ROOM + added)


cdef uint32_t write_response(
    Message request, int status, bytes reason, bytes to_tag, bytes headers, bytes body, char* out
) noexcept:
    """Write the response into `response_room` bytes and return its length."""
    cdef const SipMsg* m = &request.m
    cdef Writer w
    w.at = out
    put_status_line(&w, status, PyBytes_AS_STRING(reason), <uint32_t>PyBytes_GET_SIZE(reason))
    put_top_via(&w, request)
    put_copies(&w, request, H_VIA, b"Via: ", 5, m.first[H_VIA])
    put_dialog_fields(&w, request, to_tag)
    # Where a dialog begins (RFC 3261 section 12.1.1); never to a PUBLISH (RFC 3903 section 6).
    if status < 300 and m.method == M_SUBSCRIBE:
        put_copies(&w, request, H_RECORD_ROUTE, b"Record-Route: ", 14, 0)
    put_copies(&w, request, H_TIMESTAMP, b"Timestamp: ", 11, 0)
    put(&w, PyBytes_AS_STRING(headers), <uint32_t>PyBytes_GET_SIZE(headers))
    if PyBytes_GET_SIZE(body) == 0:
        put(&w, b"Content-Length: 0\r\n\r\n", EMPTY_BODY)
    else:
        w.at += snprintf(w.at, LINE_ROOM, "Content-Length: %zd\r\n\r\n", PyBytes_GET_SIZE(body))
        put(&w, PyBytes_AS_STRING(body), <uint32_t>PyBytes_GET_SIZE(body))
    return <uint32_t>(w.at - out)


def build_response(
    Message request not None,
    int status,
    bytes reason not None,
    bytes to_tag not None = b"",
    bytes headers not None = b"",
    bytes body not None = b"",
):
    """Build a response (RFC 3261 section 8.2.6).

    Copies every Via (received and rport set on the top one, RFC 3581), From, To (with `to_tag` when it has
    none), Call-ID, CSeq, Record-Route for 2xx, Timestamp; then `headers` (whole lines), Content-Length, body.
    """
    cdef char* out
    if not request.m.answerable:
        raise ValueError("the request cannot be answered")
    if not 100 <= status <= 699:
        raise ValueError(f"no status: {status}")
    out = <char*>malloc(
        response_room(
            &request.m,
            PyBytes_GET_SIZE(reason) + PyBytes_GET_SIZE(to_tag) + PyBytes_GET_SIZE(headers) + PyBytes_GET_SIZE(body),
        )
    )
    if out == NULL:
        raise MemoryError
    try:
        return PyBytes_FromStringAndSize(
            out, write_response(request, status, reason, to_tag, headers, body, out)
        )
    finally:
        free(out)
