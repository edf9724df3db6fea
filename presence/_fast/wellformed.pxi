"""Reading XML strictly: what is certainly well-formed is outlined in one pass; every doubt is left to expat.

Uses: find, characters.  Used by: cutting.

Taken is a part of XML 1.0 and of Namespaces in XML 1.0: UTF-8, names in ASCII, comments, references to characters and
to the five predefined entities. Not taken, though it may be right: document types, processing instructions, CDATA
sections, `]]` in text, prefixes that begin with xml, attributes of two prefixes with one local name, and more of
anything than its bound. Numbers in brackets are productions of XML 1.0, fifth edition.
"""

# ---- names and the XML declaration ----

cdef inline const char* skip_qname(const char* p, const char** local) noexcept nogil:
    """Return the end of a qualified name (Namespaces in XML [7]), NULL when it is none; say where its local part is."""
    local[0] = p
    if not XML[<uint8_t>p[0]] & X_START:
        return NULL
    p = skip_xml(p + 1, X_NAME)
    if p[0] != b":":
        return p
    p += 1
    local[0] = p
    return skip_xml(p + 1, X_NAME) if XML[<uint8_t>p[0]] & X_START else NULL


cdef const char* skip_setting(const char* p, const char* name, const char* value) noexcept nogil:
    """Return the place behind one part of the XML declaration [24, 32, 80], NULL when it is not that one."""
    cdef const char* end = skip_xml(p, X_SPACE)
    cdef char quote
    if end == p:
        return NULL
    end = skip_literal(end, name)
    if end == NULL:
        return NULL
    end = skip_xml(end, X_SPACE)
    if end[0] != b"=":
        return NULL
    end = skip_xml(end + 1, X_SPACE)
    quote = end[0]
    if quote != b'"' and quote != b"'":
        return NULL
    end = skip_literal(end + 1, value)
    return end + 1 if end != NULL and end[0] == quote else NULL


cdef const char* skip_declaration(const char* p) noexcept nogil:
    """Return the place behind the XML declaration if there is one, NULL in doubt [23]."""
    cdef const char* more
    if p[0] != b"<" or p[1] != b"?":
        return p
    p = skip_literal(p, b"<?xml")
    if p != NULL:
        p = skip_setting(p, b"version", b"1.0")
    if p == NULL:
        return NULL
    more = skip_setting(p, b"encoding", b"UTF-8")
    if more == NULL:
        more = skip_setting(p, b"encoding", b"utf-8")
    p = p if more == NULL else more
    more = skip_setting(p, b"standalone", b"yes")
    if more == NULL:
        more = skip_setting(p, b"standalone", b"no")
    p = p if more == NULL else more
    return skip_literal(skip_xml(p, X_SPACE), b"?>")


# ---- names in namespaces ----

cdef int find_binding(const XmlScan* x, const char* prefix, uint32_t size) noexcept nogil:
    """Return the index of the declaration that binds a prefix here ('': the default), -1 when none does."""
    cdef int i = <int>x.binding_count - 1
    while i >= 0 and not span_equal(x.buf, x.bindings[i].prefix, prefix, size):
        i -= 1
    return i


cdef bint bind(XmlScan* x, const char* prefix, uint32_t prefix_size, const char* uri, uint32_t size) noexcept nogil:
    """Add a declaration of the element being read; False in doubt (Namespaces in XML 1.0 sections 2 to 5)."""
    cdef XmlBinding* binding = &x.bindings[x.binding_count]
    cdef uint32_t i
    # Only the default can be undeclared, and nobody binds xml, xmlns or anything to what they stand for.
    if x.binding_count == XML_BINDINGS or (prefix_size > 0 and size == 0):
        return False
    if prefix_size >= 3 and memcmp(prefix, b"xml", 3) == 0:
        return False
    binding.space = find_space(x.vocabulary, uri, size)
    if binding.space == 0:
        for i in range(size):
            if not XML[<uint8_t>uri[i]] & X_URI:
                return False
        if size >= 29 and memcmp(uri, b"http://www.w3.org/", 18) == 0 and (
            memcmp(uri + 18, b"XML/1998/na", 11) == 0 or memcmp(uri + 18, b"2000/xmlns/", 11) == 0
        ):
            return False
    binding.prefix = make_span(x.buf, prefix, prefix + prefix_size)
    binding.uri = make_span(x.buf, uri, uri + size)
    x.binding_count += 1
    return True


cdef inline bint use_prefix(XmlScan* x, const char* prefix, uint32_t size) noexcept nogil:
    """Say whether a prefix is bound, and note those the root binds."""
    cdef int i = find_binding(x, prefix, size)
    if 0 <= i < <int>x.root_bindings:
        x.children[x.child_count].used |= <uint32_t>1 << i
    return i >= 0


# ---- tags ----

cdef inline bint is_double(const XmlAttribute* one, const XmlAttribute* other) noexcept nogil:
    """Say whether two attributes may be of one name, expanded or as written (Namespaces in XML 1.0 section 6.3)."""
    cdef uint32_t size = <uint32_t>(one.end - one.local)
    return (
        size == <uint32_t>(other.end - other.local)
        and (one.local == one.name) == (other.local == other.name)
        and memcmp(one.local, other.local, size) == 0
    )


cdef inline bint is_declaration(const XmlAttribute* attribute) noexcept nogil:
    cdef const char* end = attribute.end if attribute.local == attribute.name else attribute.local - 1
    return end - attribute.name == 5 and memcmp(attribute.name, b"xmlns", 5) == 0


cdef bint take_attribute(XmlScan* x, XmlAttribute* attributes, uint32_t i) noexcept nogil:
    """Weigh one attribute against those before it; False in doubt."""
    cdef XmlAttribute* attribute = &attributes[i]
    cdef XmlElement* child = &x.children[x.child_count]
    cdef const char* p
    cdef uint32_t j
    cdef int bound
    for j in range(i):
        if is_double(attribute, &attributes[j]):
            return False
    attribute.declares = is_declaration(attribute)
    if attribute.declares:
        p = attribute.end if attribute.local == attribute.name else attribute.local
        if x.depth == 1:
            bound = find_binding(x, p, <uint32_t>(attribute.end - p))
            if 0 <= bound < <int>x.root_bindings:
                child.own |= <uint32_t>1 << bound
            child.own_default |= p == attribute.end
        return bind(x, p, <uint32_t>(attribute.end - p), attribute.value, attribute.size)
    if x.depth == 1 and attribute.end - attribute.name == 2 and memcmp(attribute.name, b"id", 2) == 0:
        child.id = make_span(x.buf, attribute.value, attribute.value + attribute.size)
        for j in range(attribute.size):
            if not XML[<uint8_t>attribute.value[j]] & X_LITERAL:
                return False
    return True


cdef bint name_element(XmlScan* x, const char* name, const char* local, const char* end) noexcept nogil:
    """Note what the root or a child of it is called, once all is declared; False when its prefix is not bound."""
    cdef XmlElement* element = &x.root if x.depth == 0 else &x.children[x.child_count]
    cdef int bound
    if local != name and not use_prefix(x, name, <uint32_t>(local - 1 - name)):
        return False
    if local == name and x.depth > 0:
        x.children[x.child_count].bare = True
    if x.depth < 2:
        bound = find_binding(x, name, <uint32_t>(local - 1 - name) if local != name else 0)
        element.start = <uint32_t>(name - 1 - x.buf)
        element.local = make_span(x.buf, local, end)
        element.space = x.bindings[bound].space if bound >= 0 else 0
    return True


cdef const char* read_attributes(XmlScan* x, const char* p, uint32_t* count, XmlAttribute* attributes) noexcept nogil:
    """Return the `>` or `/` behind a start tag's attributes [40, 41], NULL in doubt."""
    cdef const char* behind = p
    cdef XmlAttribute* attribute
    while True:
        p = skip_xml(behind, X_SPACE)
        if p[0] == b">" or p[0] == b"/":
            return p
        if p == behind or count[0] == XML_ATTRIBUTES:
            return NULL
        attribute = &attributes[count[0]]
        attribute.name = p
        attribute.end = skip_qname(p, &attribute.local)
        if attribute.end == NULL:
            return NULL
        p = skip_xml(attribute.end, X_SPACE)
        if p[0] != b"=":
            return NULL
        p = skip_xml(p + 1, X_SPACE)
        if p[0] != b'"' and p[0] != b"'":
            return NULL
        attribute.value = p + 1
        behind = skip_value(p + 1, x.end, p[0])
        if behind == NULL:
            return NULL
        attribute.size = <uint32_t>(behind - attribute.value)
        behind += 1
        if not take_attribute(x, attributes, count[0]):
            return NULL
        count[0] += 1


cdef const char* read_start_tag(XmlScan* x, const char* p) noexcept nogil:
    """Return the place behind the start tag or empty element that begins at `p` [40, 44], NULL in doubt."""
    cdef XmlAttribute attributes[XML_ATTRIBUTES]
    cdef const char* name = p + 1
    cdef const char* local
    cdef const char* name_end = skip_qname(name, &local)
    cdef uint32_t count = 0, i, bound = x.binding_count
    if name_end == NULL or x.depth == XML_DEPTH or x.child_count == XML_CHILDREN:
        return NULL
    if x.depth == 1:
        memset(&x.children[x.child_count], 0, sizeof(XmlElement))
    p = read_attributes(x, name_end, &count, attributes)
    if p == NULL or not name_element(x, name, local, name_end):
        return NULL
    for i in range(count):
        local = attributes[i].local
        if local == attributes[i].name or attributes[i].declares:
            continue
        # The prefix xml is bound everywhere.
        if local - attributes[i].name == 4 and memcmp(attributes[i].name, b"xml", 3) == 0:
            continue
        if not use_prefix(x, attributes[i].name, <uint32_t>(local - 1 - attributes[i].name)):
            return NULL
    if x.depth == 0:
        x.root_bindings = x.binding_count
    elif x.depth == 1:
        x.children[x.child_count].name_end = <uint32_t>(name_end - x.buf)
    x.open[x.depth].name = make_span(x.buf, name, name_end)
    x.open[x.depth].bound = bound
    x.depth += 1
    if p[0] == b">":
        return p + 1
    return close_element(x, p + 2) if p[1] == b">" else NULL


cdef inline const char* close_element(XmlScan* x, const char* behind) noexcept nogil:
    x.depth -= 1
    if x.depth == 1:
        x.children[x.child_count].end = <uint32_t>(behind - x.buf)
        x.child_count += 1
    # What the root declares is wanted to the end.
    if x.depth > 0:
        x.binding_count = x.open[x.depth].bound
    return behind


cdef inline const char* read_end_tag(XmlScan* x, const char* p) noexcept nogil:
    """Return the place behind the end tag that begins at `p` [42], NULL when it does not match."""
    cdef Span name
    if x.depth == 0:
        return NULL
    name = x.open[x.depth - 1].name
    p += 2
    if x.end - p < name.len or memcmp(p, x.buf + name.off, name.len) != 0:
        return NULL
    p = skip_xml(p + name.len, X_SPACE)
    return close_element(x, p + 1) if p[0] == b">" else NULL


cdef bint scan_xml(XmlScan* x, const XmlVocabulary* vocabulary, const char* buf, uint32_t n) noexcept nogil:
    cdef const char* p = skip_declaration(buf)
    cdef bint begun = False
    x.buf, x.end = buf, buf + n
    x.vocabulary = vocabulary
    x.depth = x.binding_count = x.root_bindings = x.child_count = 0
    memset(&x.root, 0, sizeof(XmlElement))
    while p != NULL:
        # Nothing but white space and comments stands around the root [1, 27].
        p = skip_text(p, x.end) if x.depth > 0 else skip_xml(p, X_SPACE)
        if p == NULL:
            break
        if p[0] != b"<":
            return p == x.end and begun
        if p[1] == b"/":
            p = read_end_tag(x, p)
        elif p[1] == b"!":
            p = skip_comment(p)
            if 1 < x.depth:
                x.children[x.child_count].bare = True
        elif x.depth > 0 or not begun:
            begun = True
            p = read_start_tag(x, p)
        else:
            break
    return False
