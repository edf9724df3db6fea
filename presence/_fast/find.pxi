"""Finding things in bytes: SIMD finds with a scalar twin, character classes, numbers, spans.

Uses: nothing.  Used by: scan, message, framing, serialise, and whoever compares a span.
"""

from libc.string cimport memchr, memcmp, memcpy, memmove, memset

cdef extern from *:
    """
    #include <stdint.h>

    /* Each find returns the first hit in [p, e) or e. The SSE2 ones may read up to 15 bytes behind e
       (SCAN_SLACK) but never report a hit there. */
    #if defined(__SSE2__) && !defined(PRESENCE_SCALAR)
    #include <emmintrin.h>

    #define PRESENCE_FIND(p, e, hits) \\
        for (; (p) < (e); (p) += 16) { \\
            const __m128i v = _mm_loadu_si128((const __m128i *)(p)); \\
            const unsigned mask = (unsigned)_mm_movemask_epi8(hits); \\
            if (mask) { (p) += __builtin_ctz(mask); return (p) < (e) ? (p) : (e); } \\
        } \\
        return (e);

    static inline const char *find_byte(const char *p, const char *e, char c) {
        const __m128i k = _mm_set1_epi8(c);
        PRESENCE_FIND(p, e, _mm_cmpeq_epi8(v, k))
    }
    static inline const char *find_either(const char *p, const char *e, char a, char b) {
        const __m128i ka = _mm_set1_epi8(a), kb = _mm_set1_epi8(b);
        PRESENCE_FIND(p, e, _mm_or_si128(_mm_cmpeq_epi8(v, ka), _mm_cmpeq_epi8(v, kb)))
    }
    static inline const char *find_three(const char *p, const char *e, char a, char b, char c) {
        const __m128i ka = _mm_set1_epi8(a), kb = _mm_set1_epi8(b), kc = _mm_set1_epi8(c);
        PRESENCE_FIND(p, e, _mm_or_si128(_mm_cmpeq_epi8(v, kc),
                                         _mm_or_si128(_mm_cmpeq_epi8(v, ka), _mm_cmpeq_epi8(v, kb))))
    }
    /* The end of an unquoted parameter value: white space or control, semicolon, comma, quote. */
    static inline const char *find_value_end(const char *p, const char *e) {
        const __m128i ks = _mm_set1_epi8(';'), kc = _mm_set1_epi8(','), kq = _mm_set1_epi8('"');
        const __m128i space = _mm_set1_epi8(0x20);
        PRESENCE_FIND(p, e, _mm_or_si128(
            _mm_or_si128(_mm_cmpeq_epi8(v, ks), _mm_cmpeq_epi8(v, kc)),
            _mm_or_si128(_mm_cmpeq_epi8(v, kq), _mm_cmpeq_epi8(_mm_min_epu8(v, space), v))))
    }
    /* The first byte that is not a visible ASCII character (a signed compare takes 0x80 and up along). */
    static inline const char *find_invisible(const char *p, const char *e) {
        const __m128i low = _mm_set1_epi8(0x21), del = _mm_set1_epi8(0x7f);
        PRESENCE_FIND(p, e, _mm_or_si128(_mm_cmplt_epi8(v, low), _mm_cmpeq_epi8(v, del)))
    }
    /* The first byte that cannot stand in an unquoted tag: as above, and the angle brackets. */
    static inline const char *find_odd(const char *p, const char *e) {
        const __m128i low = _mm_set1_epi8(0x21), del = _mm_set1_epi8(0x7f);
        const __m128i lt = _mm_set1_epi8('<'), gt = _mm_set1_epi8('>');
        PRESENCE_FIND(p, e, _mm_or_si128(
            _mm_or_si128(_mm_cmplt_epi8(v, low), _mm_cmpeq_epi8(v, del)),
            _mm_or_si128(_mm_cmpeq_epi8(v, lt), _mm_cmpeq_epi8(v, gt))))
    }
    static inline uint32_t count_controls(const char *p, const char *e) {
        const __m128i top = _mm_set1_epi8(0x1f), zero = _mm_setzero_si128();
        uint32_t count = 0;
        while (e - p >= 16) {
            __m128i sum = zero;
            const char *stop = p + 255 * 16;  /* a lane holds 255 hits */
            for (; p < stop && e - p >= 16; p += 16) {
                const __m128i v = _mm_loadu_si128((const __m128i *)p);
                sum = _mm_sub_epi8(sum, _mm_cmpeq_epi8(_mm_min_epu8(v, top), v));
            }
            sum = _mm_sad_epu8(sum, zero);
            count += (uint32_t)_mm_cvtsi128_si32(sum) + (uint32_t)_mm_extract_epi16(sum, 4);
        }
        for (; p < e; p++) count += (unsigned char)*p <= 0x1f;
        return count;
    }
    /* Names have at most 32 letters. */
    static inline uint32_t name_differs(const char *p, const unsigned char *text, const unsigned char *fold) {
        __m128i v = _mm_loadu_si128((const __m128i *)p);
        v = _mm_or_si128(v, _mm_loadu_si128((const __m128i *)fold));
        return ~(uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(v, _mm_loadu_si128((const __m128i *)text)));
    }
    static inline int name_equal(const char *p, const unsigned char *text, const unsigned char *fold,
                                 uint32_t n) {
        if (n <= 16) return (name_differs(p, text, fold) & ((1u << n) - 1)) == 0;
        return (name_differs(p, text, fold) & 0xffffu) == 0
            && (name_differs(p + 16, text + 16, fold + 16) & ((1u << (n - 16)) - 1)) == 0;
    }
    #else
    static inline const char *find_byte(const char *p, const char *e, char c) {
        while (p < e && *p != c) p++;
        return p;
    }
    static inline const char *find_either(const char *p, const char *e, char a, char b) {
        while (p < e && *p != a && *p != b) p++;
        return p;
    }
    static inline const char *find_three(const char *p, const char *e, char a, char b, char c) {
        while (p < e && *p != a && *p != b && *p != c) p++;
        return p;
    }
    static inline const char *find_value_end(const char *p, const char *e) {
        while (p < e && *p != ';' && *p != ',' && *p != '"' && (unsigned char)*p > 0x20) p++;
        return p;
    }
    static inline const char *find_invisible(const char *p, const char *e) {
        while (p < e && (unsigned char)*p > 0x20 && (unsigned char)*p < 0x7f) p++;
        return p;
    }
    static inline const char *find_odd(const char *p, const char *e) {
        while (p < e && (unsigned char)*p > 0x20 && (unsigned char)*p < 0x7f && *p != '<' && *p != '>') p++;
        return p;
    }
    static inline uint32_t count_controls(const char *p, const char *e) {
        uint32_t count = 0;
        for (; p < e; p++) count += (unsigned char)*p <= 0x1f;
        return count;
    }
    static inline int name_equal(const char *p, const unsigned char *text, const unsigned char *fold,
                                 uint32_t n) {
        for (uint32_t i = 0; i < n; i++)
            if (((unsigned char)p[i] | fold[i]) != text[i]) return 0;
        return 1;
    }
    #endif
    """
    const char* find_byte(const char* p, const char* e, char c) noexcept nogil
    const char* find_either(const char* p, const char* e, char a, char b) noexcept nogil
    const char* find_three(const char* p, const char* e, char a, char b, char c) noexcept nogil
    const char* find_value_end(const char* p, const char* e) noexcept nogil
    const char* find_invisible(const char* p, const char* e) noexcept nogil
    const char* find_odd(const char* p, const char* e) noexcept nogil
    uint32_t count_controls(const char* p, const char* e) noexcept nogil
    bint name_equal(const char* p, const uint8_t* text, const uint8_t* fold, uint32_t n) noexcept nogil


# ---- character classes (RFC 3261 section 25.1) ----

cdef enum:
    C_TOKEN = 1     # token
    C_HOST = 2      # hostname or IPv4address, and the underscore of internal names
    C_IPV6 = 4

cdef uint8_t CLASS[256]


cdef void fill_classes() noexcept:
    cdef int c
    for c in range(256):
        CLASS[c] = 0
        if chr(c).isascii() and chr(c).isalnum():
            CLASS[c] = C_TOKEN | C_HOST
    for c in b"-.!%*_+`'~":
        CLASS[c] |= C_TOKEN
    for c in b"-._":
        CLASS[c] |= C_HOST
    for c in b"0123456789abcdefABCDEF:.":
        CLASS[c] |= C_IPV6


fill_classes()


cdef inline const char* skip_class(const char* p, const char* e, uint8_t wanted) noexcept nogil:
    while p < e and CLASS[<uint8_t>p[0]] & wanted:
        p += 1
    return p


cdef inline bint is_space(char c) noexcept nogil:
    """White space inside a value, where a folded line is white space too (LWS)."""
    return c == b" " or c == b"\t" or c == b"\r" or c == b"\n"


cdef inline const char* skip_space(const char* p, const char* e) noexcept nogil:
    while p < e and is_space(p[0]):
        p += 1
    return p


cdef inline bint is_visible(const char* p, const char* e) noexcept nogil:
    return find_invisible(p, e) >= e


cdef const char* skip_quoted(const char* p, const char* e) noexcept nogil:
    """Return the place behind the quoted-string that begins at `p`, NULL when it does not end."""
    p += 1
    while True:
        p = find_either(p, e, b'"', b"\\")
        if p >= e:
            return NULL
        if p[0] == b'"':
            return p + 1
        p += 2


cdef int64_t DIGITS_MOST = <int64_t>1 << 32


cdef inline int64_t scan_digits(const char* p, const char* e) noexcept nogil:
    """Return the number that is all of [p, e), at most 2^32; -1 when it is no number."""
    cdef int64_t number = 0
    cdef uint8_t digit
    if p >= e:
        return -1
    while p < e:
        digit = <uint8_t>(p[0] - 48)
        if digit > 9:
            return -1
        number = number * 10 + digit
        if number > DIGITS_MOST:
            number = DIGITS_MOST
        p += 1
    return number


# ---- spans ----

cdef inline Span make_span(const char* buf, const char* p, const char* e) noexcept nogil:
    cdef Span s
    s.off = <uint32_t>(p - buf)
    s.len = <uint32_t>(e - p)
    return s


cdef inline bint span_equal(const char* buf, Span s, const char* text, uint32_t n) noexcept nogil:
    return s.len == n and memcmp(buf + s.off, text, n) == 0


cdef inline bint icase_equal(const char* p, const char* lower, uint32_t n) noexcept nogil:
    """Compare `n` bytes with a text in lower case, ASCII letters regardless of case."""
    cdef uint32_t i
    cdef uint8_t c
    for i in range(n):
        c = <uint8_t>p[i]
        if c - 65 < 26 and c >= 65:
            c |= 0x20
        if c != <uint8_t>lower[i]:
            return False
    return True


cdef inline bint span_icase_equal(const char* buf, Span s, const char* lower, uint32_t n) noexcept nogil:
    return s.len == n and icase_equal(buf + s.off, lower, n)


cdef inline char* emit(char* out, const char* text, size_t size) noexcept nogil:
    memcpy(out, text, size)
    return out + size


cdef inline char* emit_number(char* out, uint32_t value) noexcept nogil:
    cdef char digits[10]
    cdef int n = 0
    while True:
        digits[n] = <char>(c'0' + value % 10)
        n += 1
        value //= 10
        if value == 0:
            break
    while n:
        n -= 1
        out[0] = digits[n]
        out += 1
    return out


cdef const char* HEX = b"0123456789abcdef"


cdef inline int write_hex(char* out, uint32_t value, int digits) noexcept nogil:
    cdef int i
    for i in range(digits - 1, -1, -1):
        out[i] = HEX[value & 15]
        value >>= 4
    return digits
