"""Cutting the children out of an XML document.

Uses: wellformed.  Used by: merging, document/pidf.

What the names mean is said by a `Vocabulary`. A document that was cut holds places in one text, most often the body as
it came, and nothing twice.
"""

from cpython.mem cimport PyObject_Free, PyObject_Malloc


@cython.final
cdef class Vocabulary:
    """The names that matter: of the root, and of those children that have a kind of their own."""

    def __cinit__(self, tuple root not None, kinds not None, other, identified, usual=()):
        """`kinds` says of namespace and local name which kind that is, `other` of which all others are.

        Of the kinds in `identified` an id stands once in a merged document. The namespaces in `usual` are known to be
        URIs.
        """
        cdef list spaces = list(dict.fromkeys([root[0], *[space for space, _ in kinds], *usual]))
        cdef bytes text
        cdef int i
        if len(spaces) > XML_NAMES or len(kinds) > XML_NAMES:
            raise ValueError(f"more than {XML_NAMES} names")
        self.texts = []
        for i, space in enumerate(spaces):
            text = space.encode()
            self.texts.append(text)
            self.names.space_text[i] = PyBytes_AS_STRING(text)
            self.names.space_size[i] = <uint32_t>len(text)
        self.names.space_count = <uint8_t>len(spaces)
        self.names.root.text = self.keep(root[1])
        self.names.root.size = <uint32_t>len(root[1])
        for i, ((space, local), kind) in enumerate(kinds.items()):
            self.names.kinds[i].space = <uint8_t>(1 + spaces.index(space))
            self.names.kinds[i].text = self.keep(local)
            self.names.kinds[i].size = <uint32_t>len(local)
            self.names.kinds[i].kind = kind
            self.names.kinds[i].identified = kind in identified
        self.names.kind_count = <uint8_t>len(kinds)
        self.names.other = other

    cdef const char* keep(self, bytes text) except NULL:
        self.texts.append(text)
        return PyBytes_AS_STRING(text)

    def cut(self, bytes body not None):
        """Return a document cut into the children of its root; None when another reader must look at it.

        What is cut is well-formed, its root the one of the vocabulary, its namespaces are URIs, and every child stands
        as it came: the default namespace is that of the vocabulary, or no child has a name without prefix.
        """
        cdef XmlScan x
        cdef CutDocument document
        if PyBytes_GET_SIZE(body) > XML_SIZE:
            return None
        if not scan_xml(&x, &self.names, PyBytes_AS_STRING(body), <uint32_t>PyBytes_GET_SIZE(body)):
            return None
        if x.root.space != 1 or not span_equal(x.buf, x.root.local, self.names.root.text, self.names.root.size):
            return None
        if not take_children(&x):
            return None
        document = CutDocument.__new__(CutDocument)
        document.text = body
        fill_document(document, &x)
        return document


cdef uint8_t find_space(const XmlVocabulary* names, const char* uri, uint32_t size) noexcept nogil:
    """Return 1 + the index of a namespace of the vocabulary, the root's being the first; 0 when it is another."""
    cdef uint8_t i
    for i in range(names.space_count):
        if names.space_size[i] == size and memcmp(names.space_text[i], uri, size) == 0:
            return i + 1
    return 0


# ---- a document that was cut ----

cdef Span next_span(uint32_t* end, bytes text):
    """Return the place of a text that follows another, and go behind it."""
    cdef Span place
    place.off, place.len = end[0], <uint32_t>len(text)
    end[0] += place.len
    return place


cdef inline bytes span_bytes(const char* buf, Span span):
    return buf[span.off : span.off + span.len]


@cython.final
cdef class CutDocument:
    """The children of an XML document, each a piece of `text`, and what they inherit from its root."""

    def __cinit__(self):
        self.text = b""

    def __init__(self, declarations not None, pieces not None):
        """Make it of what `inheritable` and `piece` tell."""
        cdef list declared = list(declarations)
        cdef list cut = list(pieces)
        cdef Declaration* declaration
        cdef Piece* piece
        cdef uint32_t i, end = 0
        if len(declared) > 64 or len(cut) > 65535:
            raise ValueError("more than 64 declarations or 65535 pieces")
        self.make_room(0, 0)
        self.text = b"".join([text for pair in declared for text in pair] + [p[k] for p in cut for k in (1, 3)])
        self.make_room(<uint32_t>len(cut), <uint32_t>len(declared))
        for i, (prefix, uri) in enumerate(declared):
            declaration = &self.declarations()[i]
            declaration.prefix = next_span(&end, prefix)
            declaration.uri = next_span(&end, uri)
        for i, (kind, identity, head, text, inherits, identified) in enumerate(cut):
            if head > len(text):
                raise ValueError("a head longer than its piece")
            piece = &self.pieces[i]
            piece.kind, piece.inherits, piece.identified = kind, inherits, identified
            piece.id = next_span(&end, identity)
            piece.off, piece.len, piece.head = end, next_span(&end, text).len, head

    def __dealloc__(self):
        PyObject_Free(self.pieces)

    def __len__(self):
        return self.piece_count

    def inheritable(self):
        """Return prefix and namespace name, as written between quotes, of each declaration of the root."""
        cdef const char* buf = PyBytes_AS_STRING(self.text)
        cdef Declaration* declared = self.declarations()
        cdef int i
        return [(span_bytes(buf, declared[i].prefix), span_bytes(buf, declared[i].uri)) for i in range(self.declared_count)]

    def piece(self, uint32_t i):
        """Return of a child: kind, id, size of its head, text, a bit for each declaration inherited, if identified."""
        cdef const char* buf = PyBytes_AS_STRING(self.text)
        cdef Piece* piece
        if i >= self.piece_count:
            raise IndexError(i)
        piece = &self.pieces[i]
        text = buf[piece.off : piece.off + piece.len]
        return piece.kind, span_bytes(buf, piece.id), piece.head, text, piece.inherits, piece.identified

    cdef inline Declaration* declarations(self) noexcept:
        return <Declaration*>(self.pieces + self.piece_count)

    cdef int make_room(self, uint32_t pieces, uint32_t declarations) except -1:
        cdef size_t size = pieces * sizeof(Piece) + declarations * sizeof(Declaration)
        PyObject_Free(self.pieces)
        self.piece_count = self.declared_count = 0
        self.pieces = <Piece*>PyObject_Malloc(size)
        if self.pieces == NULL:
            raise MemoryError
        memset(self.pieces, 0, size)
        self.piece_count = <uint16_t>pieces
        self.declared_count = <uint16_t>declarations
        return 0


cdef bint take_children(XmlScan* x) noexcept nogil:
    """Complete what each child inherits; False when one cannot stand as it came, or all inherit too much."""
    cdef int default = find_binding(x, b"", 0)
    cdef uint64_t inherited_bytes = 0
    cdef XmlElement* child
    cdef XmlBinding* binding
    cdef uint32_t i, j, bit
    for i in range(x.child_count):
        child = &x.children[i]
        if default < 0 or x.bindings[default].uri.len == 0:
            if child.bare and not child.own_default:
                return False
        elif x.bindings[default].space != 1 and not child.own_default:
            return False
        for j in range(x.root_bindings):
            binding = &x.bindings[j]
            bit = <uint32_t>1 << j
            if binding.prefix.len == 0 or child.own & bit:
                child.used &= ~bit
            # As text, for a prefix may stand in values and content as well.
            elif child.used & bit or has_text(
                x.buf + child.start, x.buf + child.end, x.buf + binding.prefix.off, binding.prefix.len
            ):
                child.used |= bit
                inherited_bytes += binding.prefix.len + binding.uri.len + 10
    # A small body must not compose to a huge one.
    return inherited_bytes <= XML_SIZE


cdef bint has_text(const char* p, const char* e, const char* text, uint32_t size) noexcept nogil:
    while e - p >= size:
        p = <const char*>memchr(p, text[0], e - p - size + 1)
        if p == NULL:
            return False
        if memcmp(p, text, size) == 0:
            return True
        p += 1
    return False


cdef int fill_document(CutDocument document, const XmlScan* x) except -1:
    """Note the pieces and those declarations of the root that have a prefix, in its order."""
    cdef uint32_t i, j = 0, default = XML_BINDINGS
    cdef uint64_t below
    cdef const XmlElement* child
    for i in range(x.root_bindings):
        if x.bindings[i].prefix.len == 0:
            default = i
    document.make_room(x.child_count, x.root_bindings - (1 if default < XML_BINDINGS else 0))
    for i in range(x.root_bindings):
        if i != default:
            document.declarations()[j].prefix = x.bindings[i].prefix
            document.declarations()[j].uri = x.bindings[i].uri
            j += 1
    below = (<uint64_t>1 << default) - 1
    for i in range(x.child_count):
        child = &x.children[i]
        fill_piece(&document.pieces[i], x, child)
        document.pieces[i].inherits = (child.used & below) | (<uint64_t>child.used & ~below) >> 1
    return 0


cdef void fill_piece(Piece* piece, const XmlScan* x, const XmlElement* child) noexcept nogil:
    cdef const XmlName* name
    cdef uint8_t i
    piece.off, piece.len, piece.head = child.start, child.end - child.start, child.name_end - child.start
    piece.kind = x.vocabulary.other
    for i in range(x.vocabulary.kind_count):
        name = &x.vocabulary.kinds[i]
        if child.space == name.space and span_equal(x.buf, child.local, name.text, name.size):
            piece.kind, piece.identified = name.kind, name.identified
    piece.id = child.id
    # An xs:ID is compared after its white space is collapsed.
    while piece.id.len > 0 and x.buf[piece.id.off] == b" ":
        piece.id.off += 1
        piece.id.len -= 1
    while piece.id.len > 0 and x.buf[piece.id.off + piece.id.len - 1] == b" ":
        piece.id.len -= 1
