# Small things every part of the watcher table needs: hex, refcounted bodies, addresses, the strings of a dialog.
# Uses: message. Used by: slab, watchers, flights, fanout.

cdef inline uint64_t mix(uint64_t x) noexcept nogil:
    x ^= x >> 30
    x *= 0xBF58476D1CE4E5B9ULL
    x ^= x >> 27
    x *= 0x94D049BB133111EBULL
    return x ^ (x >> 31)


cdef inline int64_t read_hex(const char* text, int digits) noexcept nogil:
    # -1 unless all digits are lower-case hex: what we wrote ourselves.
    cdef int64_t value = 0
    cdef int i
    cdef char c
    for i in range(digits):
        c = text[i]
        if c'0' <= c <= c'9':
            value = value * 16 + (c - c'0')
        elif c'a' <= c <= c'f':
            value = value * 16 + (c - c'a' + 10)
        else:
            return -1
    return value


cdef Body* new_body(const char* data, size_t size) noexcept nogil:
    cdef Body* body = <Body*>malloc(sizeof(Body) + size)
    if body != NULL:
        body.refs = 1
        body.size = <uint32_t>size
        memcpy(body_data(body), data, size)
    return body


cdef inline char* body_data(Body* body) noexcept nogil:
    return <char*>body + sizeof(Body)


cdef inline void drop_body(Body* body) noexcept nogil:
    if body != NULL:
        body.refs -= 1
        if body.refs == 0:
            free(body)


cdef int parse_address(str host, uint8_t* out) except -1:
    # An IP literal as 16 bytes, IPv4 mapped into IPv6.
    cdef bytes text = host.encode("ascii", "replace")
    memset(out, 0, 16)
    if inet_pton(AF_INET, text, out + 12) == 1:
        out[10] = 255
        out[11] = 255
        return 0
    if inet_pton(AF_INET6, text, out) == 1:
        return 0
    raise ValueError(f"not an IP address: {host}")


cdef str format_address(const uint8_t* address):
    cdef char text[64]
    cdef bint mapped = address[10] == 255 and address[11] == 255
    cdef int i
    for i in range(10):
        if address[i]:
            mapped = False
    if mapped:
        inet_ntop(AF_INET, address + 12, text, 64)
    else:
        inet_ntop(AF_INET6, address, text, 64)
    return (<bytes>text).decode()


cdef char* copy_bytes(bytes text) except NULL:
    # Room behind it, for the finds read sixteen bytes at a time.
    cdef char* copy = <char*>malloc(len(text) + 16)
    if copy == NULL:
        raise MemoryError
    memcpy(copy, <const char*>text, len(text))
    return copy


cdef int open_parts(tuple dialog, Parts* parts) except -1:
    # Valid as long as the tuple is.
    cdef int i
    cdef bytes part
    if len(dialog) != PART_COUNT:
        raise ValueError("a dialog has nine parts")
    for i in range(PART_COUNT):
        part = dialog[i]
        parts.at[i] = part
        # What is longer is refused in any case; a sum of nine stays within 32 bits.
        parts.size[i] = <uint32_t>min(<size_t>len(part), <size_t>MAX_DIALOG_BYTES + 1)
    return 0


cdef int check_size(const Parts* parts) except -1:
    cdef uint32_t total = 0
    cdef int i
    for i in range(PART_COUNT):
        total += parts.size[i]
    if total > MAX_DIALOG_BYTES:
        raise ValueError("the dialog's header fields are too long")
    return 0


cdef inline bytes part_of(const Parts* parts, int part):
    return parts.at[part][:parts.size[part]]


cdef inline void set_part(Parts* parts, int part, const SipMsg* m, Span text) noexcept nogil:
    # Valid as long as the message is.
    parts.at[part] = m.buf + text.off
    parts.size[part] = text.len


cdef uint32_t retry_after(const SipMsg* m) noexcept nogil:
    # The delta-seconds of Retry-After, at most a day; 0 when there is none.
    cdef uint32_t value = 0, i
    cdef Span span
    cdef char c
    if m.first[<int>H_RETRY_AFTER] == 0:
        return 0
    span = m.headers[m.first[<int>H_RETRY_AFTER] - 1].value
    for i in range(span.len):
        c = (m.buf + span.off + i)[0]
        if c < c'0' or c > c'9':
            break
        value = value * 10 + (c - c'0')
        if value > 86400:
            return 86400
    return value
