"""Merging the children of several documents of one vocabulary into one document.

Uses: cutting, transactions (the keyed hash).  Used by: document/compose.
"""

from os import urandom

from cpython.mem cimport PyMem_Free, PyMem_Malloc

cdef uint64_t MERGE_SEED = int.from_bytes(urandom(8), "little")


cdef enum:      # what a `Seen` is about
    SEEN_PREFIX = 0
    SEEN_ID = 1
    SEEN_TEXT = 2


cdef Seen* meet(Merge* m, uint8_t about, const char* text, uint32_t size) noexcept nogil:
    """Return what was seen with this text before, NULL when it is the first time; it is seen now."""
    cdef uint32_t slot = <uint32_t>pr_hash(text, size, MERGE_SEED ^ about) & m.mask
    cdef Seen* seen
    while m.slots[slot] != 0:
        seen = &m.seen[m.slots[slot] - 1]
        if seen.about == about and seen.size == size and memcmp(seen.text, text, size) == 0:
            return seen
        slot = (slot + 1) & m.mask
    m.seen[m.seen_count].text, m.seen[m.seen_count].size, m.seen[m.seen_count].about = text, size, about
    m.seen_count += 1
    m.slots[slot] = m.seen_count
    return NULL


cdef uint64_t hoist(Merge* m, CutDocument document) noexcept:
    """Declare on the root what the pieces inherit; return those prefixes that mean something else there already."""
    cdef const char* buf = PyBytes_AS_STRING(document.text)
    cdef Declaration* declared = document.declarations()
    cdef uint64_t fresh, hoisted = 0, conflicts = 0
    cdef Seen* seen
    cdef uint32_t i, j
    for i in range(document.piece_count):
        fresh = document.pieces[i].inherits & ~hoisted
        hoisted |= fresh
        # In the order of their first mention.
        for j in range(document.declared_count):
            if not fresh >> j & 1:
                continue
            seen = meet(m, SEEN_PREFIX, buf + declared[j].prefix.off, declared[j].prefix.len)
            if seen == NULL:
                seen = &m.seen[m.seen_count - 1]
                seen.uri, seen.uri_size = buf + declared[j].uri.off, declared[j].uri.len
                m.size += seen.size + seen.uri_size + 10
            elif seen.uri_size != declared[j].uri.len or memcmp(
                seen.uri, buf + declared[j].uri.off, seen.uri_size
            ) != 0:
                conflicts |= <uint64_t>1 << j
    return conflicts


cdef bytes requalify(CutDocument document, const Piece* piece, uint64_t conflicts):
    """Repeat on a piece, behind its head, the declarations the root could not take."""
    cdef const char* p = PyBytes_AS_STRING(document.text) + piece.off
    cdef list parts = [p[: piece.head]]
    cdef int j
    for j, (prefix, uri) in enumerate(document.inheritable()):
        if piece.inherits & conflicts & <uint64_t>1 << j:
            parts.append(b' xmlns:%b="%b"' % (prefix, uri))
    parts.append(p[piece.head : piece.len])
    return b"".join(parts)


cdef int take_pieces(Merge* m, CutDocument document, list requalified) except -1:
    """Keep the pieces of a document that no newer one has."""
    cdef const char* buf = PyBytes_AS_STRING(document.text)
    cdef uint64_t conflicts = hoist(m, document)
    cdef Piece* piece
    cdef Kept* kept
    cdef bytes text
    cdef uint32_t i
    cdef bint tells = False
    for i in range(document.piece_count):
        piece = &document.pieces[i]
        kept = &m.kept[m.kept_count]
        kept.text, kept.size, kept.kind = buf + piece.off, piece.len, piece.kind
        if piece.inherits & conflicts:
            text = requalify(document, piece, conflicts)
            requalified.append(text)
            kept.text, kept.size = PyBytes_AS_STRING(text), <uint32_t>PyBytes_GET_SIZE(text)
        if piece.kind == m.single:
            if m.told:
                continue
            tells = True
        if not piece.identified:
            if meet(m, SEEN_TEXT, kept.text, kept.size) != NULL:
                continue
        elif piece.id.len > 0 and meet(m, SEEN_ID, buf + piece.id.off, piece.id.len) != NULL:
            continue
        m.size += kept.size
        m.kept_count += 1
        if kept.kind > m.last_kind:
            m.last_kind = kept.kind
    m.told = m.told or tells
    return 0


cdef inline char* lay(char* out, const char* text, size_t size) noexcept nogil:
    memcpy(out, text, size)
    return out + size


cdef bytes write_merged(Merge* m, bytes before, bytes between, bytes after):
    cdef bytes merged = PyBytes_FromStringAndSize(
        NULL, m.size + PyBytes_GET_SIZE(before) + PyBytes_GET_SIZE(between) + PyBytes_GET_SIZE(after)
    )
    cdef char* out = lay(PyBytes_AS_STRING(merged), PyBytes_AS_STRING(before), PyBytes_GET_SIZE(before))
    cdef uint32_t i
    cdef int kind
    for i in range(m.seen_count):
        if m.seen[i].about == SEEN_PREFIX:
            out = lay(out, b" xmlns:", 7)
            out = lay(out, m.seen[i].text, m.seen[i].size)
            out = lay(out, b'="', 2)
            out = lay(out, m.seen[i].uri, m.seen[i].uri_size)
            out = lay(out, b'"', 1)
    out = lay(out, PyBytes_AS_STRING(between), PyBytes_GET_SIZE(between))
    for kind in range(m.last_kind + 1):
        for i in range(m.kept_count):
            if m.kept[i].kind == kind:
                out = lay(out, m.kept[i].text, m.kept[i].size)
    lay(out, PyBytes_AS_STRING(after), PyBytes_GET_SIZE(after))
    return merged


def merge_xml(documents not None, bytes before not None, bytes between not None, bytes after not None, *, int single=-1):
    """Merge the pieces of documents, oldest first; their declarations stand between `before` and `between`.

    The newest document speaks first, and pieces are ordered by kind. Of those identified, the newest with an id
    stands, whatever kind it is of; without id all stand. Of the others equal ones stand once. Where a prefix
    means something else on the root already, its declaration is repeated on the pieces. Of the kind `single` only those
    of the newest document that has any stand.
    """
    cdef Merge m
    cdef uint64_t room[MERGE_ROOM]
    cdef char* memory = <char*>room
    cdef size_t count = 0, slots = 16, size
    cdef CutDocument document
    cdef list given = list(documents), requalified = []
    for document in given:
        if document is None:
            raise TypeError("None is no document")
        count += document.piece_count + document.declared_count
    while slots < 2 * count:
        slots *= 2
    # Everything is seen at most once, and kept at most once.
    size = count * (sizeof(Seen) + sizeof(Kept)) + slots * sizeof(uint32_t)
    if size > sizeof(room):
        memory = <char*>PyMem_Malloc(size)
        if memory == NULL:
            raise MemoryError
    try:
        memset(&m, 0, sizeof(m))
        m.single = single
        m.seen = <Seen*>memory
        m.kept = <Kept*>(m.seen + count)
        m.slots = <uint32_t*>(m.kept + count)
        m.mask = <uint32_t>(slots - 1)
        memset(m.slots, 0, slots * sizeof(uint32_t))
        for document in reversed(given):
            take_pieces(&m, document, requalified)
        return write_merged(&m, before, between, after)
    finally:
        if memory != <char*>room:
            PyMem_Free(memory)
