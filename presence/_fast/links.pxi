"""The ways out: whether a Via is one we write.

Uses: find, message.  Used by: flights.
"""


cdef bint writes_via(const Link* links, uint32_t count, const char* p, const char* e) noexcept nogil:
    """True when a way out puts just this into Via, up to a semicolon."""
    cdef uint32_t i
    for i in range(count):
        if e - p > links[i].via_size and memcmp(p, links[i].via, links[i].via_size) == 0:
            if p[links[i].via_size] == c";":
                return True
    return False


cdef bint has_sent_by(const Link* link, const SipMsg* m) noexcept nogil:
    """True when the top Via has the sent-by of a way out, in whatever case, with or without the default port."""
    cdef const char* e = link.via + link.via_size
    cdef const char* p = find_byte(link.via, e, c" ") + 1
    cdef uint32_t i
    if p < e and p[0] == c"[":
        p += 1
    if e - p < m.via_host.len:
        return False
    for i in range(m.via_host.len):
        if (p[i] | 0x20) != (m.buf[m.via_host.off + i] | 0x20):
            return False
    p += m.via_host.len
    if p < e and p[0] == c"]":
        p += 1
    if p == e:
        return m.via_port == 0 or m.via_port == DEFAULT_PORT
    return p[0] == c":" and scan_digits(p + 1, e) == (m.via_port if m.via_port else DEFAULT_PORT)


cdef bint was_sent_by(const Link* links, uint32_t count, const SipMsg* m) noexcept nogil:
    """True when a response answers a request of ours, judged by its top Via (RFC 3261 section 18.1.2)."""
    cdef uint32_t i
    for i in range(count):
        if has_sent_by(&links[i], m):
            return True
    return False
