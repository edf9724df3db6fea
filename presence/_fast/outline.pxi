"""Where the root of an XML document and its children begin and end.

Uses: find.  Used by: the reader of odd presence documents (document/pidf), beside expat.
"""

cdef const char* skip_past(const char* p, const char* e, char mark, uint32_t times) noexcept nogil:
    """Return the place behind the first `>` from `p` on that follows `mark` so many times, NULL when there is none."""
    while p < e:
        p = <const char*>memchr(p, b">", e - p)
        if p == NULL:
            break
        p += 1
        if (p - 2)[0] == mark and (times == 1 or (p - 3)[0] == mark):
            return p
    return NULL


cdef const char* skip_unparsed(const char* p, const char* e) noexcept nogil:
    """Return the place behind the instruction, comment or CDATA section that begins at `p`, NULL when it does not end.

    The marks that begin one are no part of those that end it.
    """
    if p[1] == b"?":
        return skip_past(p + 3, e, b"?", 1)
    if p[2] == b"-":
        return skip_past(p + 6, e, b"-", 2)
    return skip_past(p + 11, e, b"]", 2)


cdef const char* skip_name(const char* p, const char* e) noexcept nogil:
    while p < e and p[0] != b"=" and p[0] != b"/" and p[0] != b">" and not is_space(p[0]):
        p += 1
    return p


cdef const char* skip_attributes(const char* p, const char* e, const char* buf, Span* identity) noexcept nogil:
    """Return the place behind the start tag from behind its name on, NULL when it does not end; note its `id`."""
    cdef const char* name
    cdef const char* value
    identity.off = identity.len = 0
    while True:
        name = skip_space(p, e)
        if name < e and name[0] == b">":
            return name + 1
        if e - name >= 2 and name[0] == b"/":
            return name + 2
        p = skip_name(name, e)
        value = skip_space(skip_space(p, e) + 1, e)
        if p == name or value >= e:
            return NULL
        value += 1
        if p - name == 2 and memcmp(name, b"id", 2) == 0:
            identity.off = <uint32_t>(value - 1 - buf)
        p = <const char*>memchr(value, (value - 1)[0], e - value)
        if p == NULL:
            return NULL
        p += 1
        if identity.off and identity.len == 0:
            identity.len = <uint32_t>(p - buf) - identity.off


def outline(bytes document not None):
    """Find the root and its children in a document that a reader has found well-formed and without document type.

    Returns the greatest depth and, root first, what there is of each in bytes: its start, the end of its name, its
    attribute `id` with the quotes (start and end, 0 and 0 without one), its end. Of a malformed document it returns
    what it has found until then.
    """
    cdef const char* buf = PyBytes_AS_STRING(document)
    cdef const char* e = buf + PyBytes_GET_SIZE(document)
    cdef const char* p = <const char*>memchr(buf, b"<", e - buf)
    cdef const char* start = buf
    cdef const char* name_end = buf
    cdef const char* name
    cdef bint closes
    cdef uint32_t depth = 0, deepest = 0
    cdef Span identity, ignored
    cdef list elements = []
    while p != NULL:
        closes = False
        if p[1] == b"?" or p[1] == b"!":
            p = skip_unparsed(p, e)
        elif p[1] == b"/":
            p = <const char*>memchr(p, b">", e - p)
            p = NULL if p == NULL else p + 1
            closes = True
        else:
            depth += 1
            deepest = max(deepest, depth)
            name = skip_name(p + 1, e)
            if depth <= 2:
                start, name_end = p, name
            p = skip_attributes(name, e, buf, &identity if depth == 2 else &ignored)
            closes = p != NULL and (p - 2)[0] == b"/"
            if depth == 1:
                elements.append((start - buf, name_end - buf, 0, 0, 0))
        if p == NULL:
            break
        if closes:
            if depth <= 1:
                break
            depth -= 1
            if depth == 1:
                elements.append((start - buf, name_end - buf, identity.off, identity.off + identity.len, p - buf))
        p = <const char*>memchr(p, b"<", e - p)
    return deepest, elements
