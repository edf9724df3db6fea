"""What most requests are: addresses and URIs without escapes, quoting tricks or rare parameters.

Each reader says "plain" and gives the parts, or says nothing; then the general readers of `sip/headers.py` decide.
Uses: find, fields.  Used by: message.
"""

cdef extern from "<arpa/inet.h>" nogil:
    enum: AF_INET
    int inet_pton(int family, const char* text, void* address) noexcept

cdef enum:
    C_USER = 8          # of a user part: what needs no second look (RFC 3261 section 25.1: unreserved and some)
    C_DOMAIN = 16       # of a host name or IPv4 address in lower case
    PLAIN_VIAS = 980        # bytes: fewer than 70 Via values of the shortest kind ("SIP/2.0/UDP h,") take
    PLAIN_LONGEST = 512     # longer values are read the other way


cdef void fill_plain_classes() noexcept:
    cdef int c
    for c in b"abcdefghijklmnopqrstuvwxyz0123456789-._":
        CLASS[c] |= C_DOMAIN | C_USER
    for c in b"ABCDEFGHIJKLMNOPQRSTUVWXYZ~+":
        CLASS[c] |= C_USER


fill_plain_classes()


cdef struct PlainUri:
    Span user, host
    uint16_t port           # 0: none
    bint explicit, outbound     # (of a Contact) transport=udp, and `ob` of RFC 5626
    const char* params      # at the semicolon, or at the end


cdef bint plain_uri(const char* buf, const char* p, const char* e, PlainUri* uri) noexcept nogil:
    """Read sip:user@host:port;params; False for anything else, also for a scheme in capitals."""
    cdef const char* start
    cdef int64_t port
    if e - p > PLAIN_LONGEST or e - p < 5 or memcmp(p, b"sip", 3) != 0:
        return False
    p += 5 if p[3] == b"s" and p[4] == b":" else 4
    if (p - 1)[0] != b":":
        return False
    start = p
    p = skip_class(p, e, C_USER)
    if p == start or p >= e or p[0] != b"@":
        return False
    uri.user = make_span(buf, start, p)
    start = p + 1
    p = skip_class(start, e, C_DOMAIN)
    if p == start:
        return False
    uri.host = make_span(buf, start, p)
    uri.port = 0
    if p < e and p[0] == b":":
        start = p + 1
        p = start
        while p < e and c"0" <= p[0] <= c"9":
            p += 1
        port = scan_digits(start, p)
        if port < 1 or port > 65535 or p - start > 5:
            return False
        uri.port = <uint16_t>port
    uri.params = p
    return p == e or (p[0] == b";" and find_byte(p, e, b"?") >= e)


cdef inline bint plain_aor(const char* buf, Span text, PlainUri* uri) noexcept nogil:
    return plain_uri(buf, buf + text.off, buf + text.off + text.len, uri) and uri.params == buf + text.off + text.len


cdef bint plain_address(const SipMsg* m, Span value, Span tag, PlainUri* uri, Span* untagged) noexcept nogil:
    """Read <uri> or "display" <uri> with no parameter but the tag; `untagged` is the value up to the bracket.

    A display name that is empty or has an escape or a character beyond ASCII is not plain, nor is more than one
    space behind it, so that `untagged` is what `without_tag` of subscription/dialog.py would write.
    """
    cdef const char* p = m.buf + value.off
    cdef const char* e = p + value.len
    cdef const char* close
    if value.len > PLAIN_LONGEST:
        return False
    if p < e and p[0] == b'"':
        close = p + 1
        while close < e and 0x20 <= <uint8_t>close[0] < 0x7f and close[0] != b'"' and close[0] != b"\\":
            close += 1
        if close >= e or close[0] != b'"' or close == p + 1:
            return False
        p = close + 1
        if p >= e or p[0] != b" ":
            return False
        p += 1
    if p >= e or p[0] != b"<":
        return False
    close = find_byte(p, e, b">")
    if close >= e or not plain_uri(m.buf, p + 1, close, uri) or uri.params != close:
        return False
    untagged[0] = make_span(m.buf, m.buf + value.off, close + 1)
    p = close + 1
    if p == e:
        return True
    # Nothing but ;tag=: the scanner found the tag, and it must be all there is.
    return e - p == 5 + <int64_t>tag.len and icase_equal(p, b";tag=", 5) and p + 5 == m.buf + tag.off


cdef bint plain_contact(const SipMsg* m, Span* text, PlainUri* uri) noexcept nogil:
    """Read the one Contact of a request: <uri> reached over UDP at an IPv4 address."""
    cdef uint16_t first = m.first[<int>H_CONTACT]
    cdef const char* p
    cdef const char* e
    cdef const char* close
    cdef Param param
    cdef uint8_t address[4]
    cdef char host[16]
    cdef int i
    if first == 0:
        return False
    for i in range(first, m.header_count):
        if m.headers[i].id == H_CONTACT:
            return False
    p = m.buf + m.headers[first - 1].value.off
    e = p + m.headers[first - 1].value.len
    if e - p > PLAIN_LONGEST or p >= e or p[0] != b"<":
        return False
    close = find_byte(p, e, b">")
    if close >= e or not plain_uri(m.buf, p + 1, close, uri) or memcmp(p + 1, b"sip:", 4) != 0:
        return False
    # It becomes the Request-URI of our NOTIFYs: no folded line, no bracket may hide in a parameter.
    if not is_visible(uri.params, close) or find_either(uri.params, close, b"<", b'"') < close:
        return False
    text[0] = make_span(m.buf, p + 1, close)
    uri.explicit = uri.outbound = False     # `ob` means both: the flow of a datagram is no connection
    p = uri.params
    while p < close:
        p = next_param(p, close, &param)
        if p == NULL or param.name == NULL or param.quoted:
            return False
        if param_is(&param, b"maddr", 5) or param_is(&param, b"method", 6):
            return False
        if param_is(&param, b"ob", 2):
            uri.outbound = uri.explicit = True
        if param_is(&param, b"transport", 9):
            if param.value_len != 3 or not icase_equal(param.value, b"udp", 3):
                return False
            uri.explicit = True
    p = close + 1
    while p < e:
        p = next_param(p, e, &param)
        if p == NULL or param.name == NULL:
            return False
        if param.value_len and skip_class(param.value, p, C_TOKEN) != p:
            return False
    if uri.host.len >= 16:
        return False
    memcpy(host, m.buf + uri.host.off, uri.host.len)
    host[uri.host.len] = 0
    return inet_pton(AF_INET, host, address) == 1


cdef bint leads_to_contact(const SipMsg* m, const PlainUri* contact, const uint8_t* ip, uint16_t port, bint nat) noexcept nogil:
    """False when NOTIFYs may have to go back to `ip` and `port`, where the request came from: `aiming` decides then."""
    cdef uint8_t address[16]
    read_address(m.buf + contact.host.off, contact.host.len, address)
    if memcmp(address, ip, 16) == 0 and port == (contact.port if contact.port else DEFAULT_PORT):
        return True
    if contact.outbound:
        return False
    return not (nat and m.via_rport and memcmp(address, ip, 16) != 0
                and span_equal(m.buf, m.via_host, m.buf + contact.host.off, contact.host.len))


cdef struct Subscriber:     # what of a SUBSCRIBE makes its dialog and its target
    PlainUri local, remote, contact
    Span local_text, remote_text, contact_text


cdef bint read_subscriber(const SipMsg* m, Subscriber* who) noexcept nogil:
    """Read a SUBSCRIBE without a route whose To, From and Contact are plain."""
    if m.first[<int>H_RECORD_ROUTE] or m.from_tag.len == 0 or m.call_id.len > PLAIN_LONGEST:
        return False
    if m.from_tag.len > PLAIN_LONGEST or m.event_id.len > PLAIN_LONGEST or m.first[<int>H_FROM] == 0:
        return False
    return (
        m.first[<int>H_TO] != 0
        and plain_address(m, m.headers[m.first[<int>H_TO] - 1].value, m.to_tag, &who.local, &who.local_text)
        and plain_address(m, m.headers[m.first[<int>H_FROM] - 1].value, m.from_tag, &who.remote, &who.remote_text)
        and plain_contact(m, &who.contact_text, &who.contact)
    )


cdef bint few_vias(const SipMsg* m) noexcept nogil:
    """True when the Via values are certainly no more than may be (`endpoint.MAX_VIAS`)."""
    cdef uint32_t total = 0
    cdef int i
    for i in range(m.header_count):
        if m.headers[i].id == H_VIA:
            total += m.headers[i].value.len
    return total < PLAIN_VIAS


cdef inline bint plain_request(const SipMsg* m) noexcept nogil:
    """True when none of the general checks of RFC 3261 section 8.2 could refuse the request."""
    return (
        m.error == E_NONE
        and (m.method == M_SUBSCRIBE or m.method == M_PUBLISH)
        and m.max_forwards != 0
        and (m.size - m.body.len < PLAIN_VIAS or few_vias(m))
        and m.first[<int>H_REQUIRE] == 0
        and m.uri.len > 4
        and memcmp(m.buf + m.uri.off, b"sip", 3) == 0
        and ((m.buf + m.uri.off)[3] == b":" or memcmp(m.buf + m.uri.off, b"sips:", 5) == 0)
    )
