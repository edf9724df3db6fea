"""The characters of XML: classes, references, and going past text, values and comments.

Uses: find.  Used by: wellformed.

The numbers in brackets are productions of XML 1.0, fifth edition. A bytes object ends in a NUL, which is no character
[2] and in no class below: whatever goes on only past what it knows stops there, so it needs no test for the end. Each
`skip_` returns the place behind what it has read, NULL in doubt.
"""

cdef extern from *:
    """
    /* Go past bytes that are plain in text [14] or in an attribute value [10]; stop at one that may not be, or
       where less than 16 bytes are left, for nothing is read past e. */
    #if defined(__SSE2__) && !defined(PRESENCE_SCALAR)
    #define PRESENCE_SKIM(p, e, hits) \\
        for (; (e) - (p) >= 16; (p) += 16) { \\
            const __m128i v = _mm_loadu_si128((const __m128i *)(p)); \\
            const unsigned mask = (unsigned)_mm_movemask_epi8(hits); \\
            if (mask) return (p) + __builtin_ctz(mask); \\
        } \\
        return (p);

    static inline const char *skim_text(const char *p, const char *e) {
        const __m128i lt = _mm_set1_epi8('<'), amp = _mm_set1_epi8('&'), end = _mm_set1_epi8(']');
        const __m128i space = _mm_set1_epi8(' '), lf = _mm_set1_epi8('\\n'), cr = _mm_set1_epi8('\\r');
        const __m128i tab = _mm_set1_epi8('\\t');
        PRESENCE_SKIM(p, e, _mm_or_si128(
            _mm_or_si128(_mm_cmpeq_epi8(v, lt), _mm_or_si128(_mm_cmpeq_epi8(v, amp), _mm_cmpeq_epi8(v, end))),
            _mm_andnot_si128(
                _mm_or_si128(_mm_cmpeq_epi8(v, lf), _mm_or_si128(_mm_cmpeq_epi8(v, cr), _mm_cmpeq_epi8(v, tab))),
                _mm_cmplt_epi8(v, space))))
    }
    static inline const char *skim_value(const char *p, const char *e, char quote) {
        const __m128i lt = _mm_set1_epi8('<'), amp = _mm_set1_epi8('&'), end = _mm_set1_epi8(quote);
        const __m128i space = _mm_set1_epi8(' ');
        PRESENCE_SKIM(p, e, _mm_or_si128(
            _mm_or_si128(_mm_cmpeq_epi8(v, lt), _mm_cmpeq_epi8(v, amp)),
            _mm_or_si128(_mm_cmpeq_epi8(v, end), _mm_cmplt_epi8(v, space))))
    }
    #else
    static inline const char *skim_text(const char *p, const char *e) { (void)e; return p; }
    static inline const char *skim_value(const char *p, const char *e, char quote) { (void)e; (void)quote; return p; }
    #endif
    """
    const char* skim_text(const char* p, const char* e) noexcept nogil
    const char* skim_value(const char* p, const char* e, char quote) noexcept nogil


cdef enum:
    X_START = 1         # begins a name [4], of those in ASCII and without the colon
    X_NAME = 2          # goes on in a name [4a]
    X_SPACE = 4         # [3]
    X_TEXT = 8          # plain in text [14]
    X_VALUE = 16        # plain in an attribute value [10], but for the quote
    X_COMMENT = 32      # plain in a comment [15]
    X_URI = 64          # in the name of a namespace (RFC 3986), of those that are written as they are
    X_LITERAL = 128     # means itself in an attribute value, and is no white space but the blank

cdef uint8_t XML[256]


cdef void fill_xml_classes() noexcept:
    cdef int c
    for c in range(256):
        XML[c] = 0
    for c in range(0x20, 0x80):
        XML[c] = X_TEXT | X_VALUE | X_COMMENT
        if c < 0x7F:
            XML[c] |= X_LITERAL
        if chr(c).isalnum():
            XML[c] |= X_NAME | X_URI
        if chr(c).isalpha():
            XML[c] |= X_START
    for c in b"\t\n\r":
        XML[c] = X_TEXT | X_COMMENT | X_SPACE
    for c in b"<&":
        XML[c] &= ~(X_TEXT | X_VALUE | X_LITERAL)
    for c in b"_.-":
        XML[c] |= X_NAME
    for c in b"_.~:/?#@!$()*+,;=-":
        XML[c] |= X_URI
    XML[0x20] |= X_SPACE
    XML[0x5D] &= ~X_TEXT
    XML[0x2D] &= ~X_COMMENT
    XML[0x5F] |= X_START


fill_xml_classes()


# ---- characters ----

cdef inline const char* skip_xml(const char* p, uint8_t wanted) noexcept nogil:
    while XML[<uint8_t>p[0]] & wanted:
        p += 1
    return p


cdef inline const char* skip_literal(const char* p, const char* text) noexcept nogil:
    """Return the place behind `text`, NULL when it does not stand at `p`."""
    while text[0] != 0:
        if p[0] != text[0]:
            return NULL
        p += 1
        text += 1
    return p


cdef inline bint is_char(uint32_t code) noexcept nogil:
    """[2]"""
    if code < 0x20:
        return code == 9 or code == 10 or code == 13
    return code < 0xD800 or (code >= 0xE000 and code < 0xFFFE) or (code >= 0x10000 and code < 0x110000)


cdef const char* skip_utf8(const char* p) noexcept nogil:
    """Return the place behind one character beyond ASCII; NULL when it is none, or written too long (RFC 3629)."""
    cdef uint8_t first = <uint8_t>p[0]
    cdef uint32_t code, least, more
    if first < 0xC2 or first > 0xF4:
        return NULL
    if first < 0xE0:
        code, least, more = first & 0x1F, 0x80, 1
    elif first < 0xF0:
        code, least, more = first & 0x0F, 0x800, 2
    else:
        code, least, more = first & 0x07, 0x10000, 3
    while more > 0:
        p += 1
        if <uint8_t>p[0] & 0xC0 != 0x80:
            return NULL
        code = code << 6 | (<uint8_t>p[0] & 0x3F)
        more -= 1
    return p + 1 if code >= least and is_char(code) else NULL


cdef const char* skip_reference(const char* p) noexcept nogil:
    """Return the place behind the reference that begins at `p` [66, 68]; NULL when we do not know what it means."""
    cdef uint32_t code = 0, base = 10, digit, count = 0
    cdef const char* end
    if p[1] != b"#":
        end = skip_literal(p, b"&lt;")
        if end == NULL:
            end = skip_literal(p, b"&gt;")
        if end == NULL:
            end = skip_literal(p, b"&amp;")
        if end == NULL:
            end = skip_literal(p, b"&quot;")
        return end if end != NULL else skip_literal(p, b"&apos;")
    p += 2
    if p[0] == b"x":
        base = 16
        p += 1
    while count < 8:
        digit = <uint8_t>p[0]
        if 48 <= digit <= 57:
            digit -= 48
        elif base == 16 and (65 <= digit <= 70 or 97 <= digit <= 102):
            digit = (digit | 0x20) - 87
        else:
            break
        code = code * base + digit
        count += 1
        p += 1
    # No digits are zero, and that is no character.
    return p + 1 if p[0] == b";" and is_char(code) else NULL


cdef const char* skip_unplain(const char* p) noexcept nogil:
    """Return the place behind what is not plain and all the same allowed in text and values; NULL in doubt."""
    if p[0] == b"&":
        return skip_reference(p)
    if <uint8_t>p[0] >= 0x80:
        return skip_utf8(p)
    return p + 1 if XML[<uint8_t>p[0]] & X_SPACE else NULL


cdef inline const char* skip_text(const char* p, const char* e) noexcept nogil:
    """Return the next `<`, NULL in doubt [14]."""
    while True:
        p = skip_xml(skim_text(p, e), X_TEXT)
        if p[0] == b"<":
            return p
        # `]]>` must not stand in text; in a value it may.
        p = (p + 1 if p[1] != b"]" else NULL) if p[0] == b"]" else skip_unplain(p)
        if p == NULL:
            return NULL


cdef inline const char* skip_value(const char* p, const char* e, char quote) noexcept nogil:
    """Return the quote that ends an attribute value, NULL in doubt [10]."""
    while True:
        p = skim_value(p, e, quote)
        while XML[<uint8_t>p[0]] & X_VALUE and p[0] != quote:
            p += 1
        if p[0] == quote:
            return p
        p = skip_unplain(p)
        if p == NULL:
            return NULL


cdef const char* skip_comment(const char* p) noexcept nogil:
    """Return the place behind the comment whose `<!` is at `p`, NULL in doubt [15]."""
    p = skip_literal(p, b"<!--")
    while p != NULL:
        p = skip_xml(p, X_COMMENT)
        if p[0] != b"-":
            p = skip_utf8(p)
        elif p[1] == b"-":
            return p + 3 if p[2] == b">" else NULL
        else:
            p += 1
    return NULL
