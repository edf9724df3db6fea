"""Nonces in use (RFC 7616 section 3.4), and what is proven with the next nonce-count of one of them.

Uses: hashes, plain, transactions.  Used by: sip/digest, identity/step.
"""

from collections import deque

cdef enum:
    # The parameters of Authorization that count (RFC 7616 section 3.4).
    D_USERNAME = 0
    D_REALM = 1
    D_NONCE = 2
    D_URI = 3
    D_RESPONSE = 4
    D_CNONCE = 5
    D_NC = 6
    D_QOP = 7
    D_ALGORITHM = 8
    D_COUNT = 9
    NONCE_WINDOW = 64           # how far datagrams may overtake each other
    PROOF_LONGEST = 2048        # of a text to be hashed

cdef (const char*)* PARAMETERS = [
    b"username", b"realm", b"nonce", b"uri", b"response", b"cnonce", b"nc", b"qop", b"algorithm"
]
cdef (const char*)* HASH_NAMES = [b"md5", b"sha-256", b"sha-512-256"]

cdef struct Credentials:
    Param params[9]             # by number; without quotes; `name` is NULL for one that is not there


cdef bint read_credentials(const char* p, const char* e, Credentials* found) noexcept nogil:
    """Read usual Digest credentials; False for any other, which takes a closer look."""
    cdef Param param
    cdef int i
    memset(found, 0, sizeof(Credentials))
    if e - p < 8 or not icase_equal(p, b"digest ", 7):
        return False
    p += 7
    while True:
        p = skip_space(p, e)
        param.name = p
        p = skip_class(p, e, C_TOKEN)
        param.name_len = <uint32_t>(p - param.name)
        if param.name_len == 0 or p >= e or p[0] != b"=":
            return False
        p += 1
        param.value = p
        param.quoted = p < e and p[0] == b'"'
        if param.quoted:
            param.value += 1
            p = find_byte(p + 1, e, b'"')
            if p >= e or find_byte(param.value, p, b"\\") < p:
                return False
            param.value_len = <uint32_t>(p - param.value)
            p += 1
        else:
            p = skip_class(p, e, C_TOKEN)
            param.value_len = <uint32_t>(p - param.value)
        for i in range(D_COUNT):
            if param_is(&param, PARAMETERS[i], <uint32_t>strlen(PARAMETERS[i])):
                if found.params[i].name != NULL:
                    return False
                found.params[i] = param
        p = skip_space(p, e)
        if p >= e:
            return True
        if p[0] != b",":
            return False
        p += 1


cdef inline bint value_is(const Param* param, bytes text) noexcept:
    return (param.value_len == <uint32_t>PyBytes_GET_SIZE(text)
            and memcmp(param.value, PyBytes_AS_STRING(text), param.value_len) == 0)


cdef inline char* add_text(char* out, const char* text, size_t size) noexcept nogil:
    memcpy(out, text, size)
    return out + size


cdef inline char* add_part(char* out, const Param* param) noexcept nogil:
    out[0] = c":"
    return add_text(out + 1, param.value, param.value_len)


@cython.final
cdef class NonceUse:
    """One nonce: which counts came, and who last proved with it to be whom."""

    cdef bint take(self, uint32_t count) noexcept:
        # Each count once; one that was overtaken is still taken within the window.
        cdef uint32_t step
        if count == 0:
            return False
        if count > self.highest:
            step = count - self.highest
            self.seen = 1 if step >= NONCE_WINDOW else self.seen << step | 1
            self.highest = count
            return True
        step = self.highest - count
        if step >= NONCE_WINDOW or self.seen >> step & 1:
            return False
        self.seen |= <uint64_t>1 << step
        return True

    cdef bint fits(self, const SipMsg* m) noexcept:
        # Whether who proved it is who may do this, for certain: the watcher in From, the presentity of a PUBLISH.
        cdef PlainUri uri
        cdef Span untagged
        if m.method == M_PUBLISH:
            if self.anyone:
                return True
            if not plain_aor(m.buf, m.uri, &uri):
                return False
        elif not plain_address(m, m.headers[m.first[<int>H_FROM] - 1].value, m.from_tag, &uri, &untagged):
            return False
        return (span_equal(m.buf, uri.user, self.user, <uint32_t>PyBytes_GET_SIZE(self.user))
                and span_equal(m.buf, uri.host, self.host, <uint32_t>PyBytes_GET_SIZE(self.host)))


@cython.final
cdef class Nonces:
    """The nonces that proofs came with, each with the counts that are used up.

    Nothing is kept of a nonce that was only given out. What no longer fits goes, oldest first, and a nonce that is
    not known counts as used up when it is no younger than one that went.
    """

    def __cinit__(self, uint32_t capacity):
        if capacity == 0:
            raise ValueError("no room for any nonce")
        self.capacity = capacity
        self.known = {}
        self.order = deque()

    def __len__(self):
        return len(self.known)

    def use(self, bytes nonce not None, uint32_t count, double issued_at, double expires_at, double now):
        """Use up one count of a nonce of ours; False when it is used up or was forgotten."""
        cdef NonceUse use = self.known.get(nonce)
        if use is None:
            if issued_at <= self.lost_at:
                return False
            self.make_room(now)
            use = NonceUse.__new__(NonceUse)
            use.issued_at, use.expires_at = issued_at, expires_at
            self.known[nonce] = use
            self.order.append(nonce)
        return use.take(count)

    cdef int make_room(self, double now) except -1:
        cdef NonceUse oldest
        while self.order:
            oldest = self.known[self.order[0]]
            if oldest.expires_at > now:
                if <uint32_t>len(self.order) < self.capacity:
                    return 0
                self.lost_at = max(self.lost_at, oldest.issued_at)
            del self.known[self.order.popleft()]
        return 0

    def remember(self, bytes nonce not None, int kind, bytes username not None, bytes realm not None, bytes ha1 not None,
                 str user not None, str host not None, object identity, bint anyone):
        """Know who proved something with a nonce, so that `screen` recognises the next proof.

        `kind` is that of `hash_hex`; `ha1` its H(A1) in hex; `user` and `host` are the address of record; `anyone`
        says that they may publish for others.
        """
        cdef NonceUse use = self.known.get(nonce)
        if use is None or not 0 <= kind < HASH_KINDS:
            return
        use.kind, use.username, use.realm, use.ha1 = kind, username, realm, ha1
        use.user = user.encode("utf-8", "surrogateescape")
        use.host = host.encode("utf-8", "surrogateescape")
        use.identity, use.anyone, use.generation = identity, anyone, self.generation

    def forget_users(self):
        """Let every next proof be checked against what the table of users says now."""
        self.generation += 1

    def screen(self, list messages not None, double now):
        """Set `identity` of the plain requests that are proven with the next count of a nonce that served before.

        Returns the plain ones of which more must be known: who sent them, or whether they may send that.
        """
        cdef Message message
        cdef NonceUse use
        cdef list doubtful = []
        for message in messages:
            if not message.plain or message.identity is not None:
                continue
            use = self.prove(message, now)
            if use is not None:
                message.identity = use.identity
            if use is None or not use.fits(&message.m):
                doubtful.append(message)
        return doubtful

    cdef NonceUse prove(self, Message message, double now):
        cdef SipMsg* m = &message.m
        cdef Credentials given
        cdef Param* params = given.params
        cdef uint16_t first = m.first[<int>H_AUTHORIZATION]
        cdef Span value
        cdef NonceUse use
        cdef int64_t count
        cdef int i
        if first == 0:
            return None
        for i in range(first, m.header_count):
            if m.headers[i].id == H_AUTHORIZATION:
                return None
        value = m.headers[first - 1].value
        if not read_credentials(m.buf + value.off, m.buf + value.off + value.len, &given):
            return None
        for i in range(D_ALGORITHM):
            if params[i].name == NULL:
                return None
        if not span_equal(m.buf, m.uri, params[<int>D_URI].value, params[<int>D_URI].value_len):
            return None
        use = self.known.get(PyBytes_FromStringAndSize(params[<int>D_NONCE].value, params[<int>D_NONCE].value_len))
        if use is None or use.identity is None or use.generation != self.generation or use.expires_at <= now:
            return None
        if not value_is(&params[<int>D_USERNAME], use.username) or not value_is(&params[<int>D_REALM], use.realm):
            return None
        if params[<int>D_NC].value_len != 8:
            return None
        count = read_hex(params[<int>D_NC].value, 8)
        if count <= 0 or not answers(use, m, params) or not use.take(<uint32_t>count):
            return None
        return use


cdef bint answers(NonceUse use, const SipMsg* m, const Param* params) noexcept:
    # RFC 7616 section 3.4.1 with qop=auth: H(H(A1):nonce:nc:cnonce:qop:H(method:uri)).
    cdef char text[PROOF_LONGEST]
    cdef char hashed[HASH_HEX]
    cdef const char* name = HASH_NAMES[use.kind]
    cdef uint32_t digits = 64 if use.kind else 32
    cdef uint8_t differs = 0
    cdef uint32_t i
    cdef char* p
    if params[<int>D_ALGORITHM].name == NULL:
        if use.kind:
            return False
    elif not (params[<int>D_ALGORITHM].value_len == strlen(name)
              and icase_equal(params[<int>D_ALGORITHM].value, name, <uint32_t>strlen(name))):
        return False
    if params[<int>D_QOP].value_len != 4 or memcmp(params[<int>D_QOP].value, b"auth", 4) != 0:
        return False
    if params[<int>D_RESPONSE].value_len != digits:
        return False
    if (m.uri.len + m.method_name.len + params[<int>D_CNONCE].value_len + params[<int>D_NONCE].value_len
            > PROOF_LONGEST - 256):
        return False
    p = add_text(text, m.buf + m.method_name.off, m.method_name.len)
    p = add_part(p, &params[<int>D_URI])
    pr_hash_hex(use.kind, text, p - text, hashed)
    p = add_text(text, PyBytes_AS_STRING(use.ha1), PyBytes_GET_SIZE(use.ha1))
    p = add_part(p, &params[<int>D_NONCE])
    p = add_part(p, &params[<int>D_NC])
    p = add_part(p, &params[<int>D_CNONCE])
    p = add_part(p, &params[<int>D_QOP])
    p[0] = c":"
    p = add_text(p + 1, hashed, digits)
    pr_hash_hex(use.kind, text, p - text, hashed)
    # In the same time wherever they differ.
    for i in range(digits):
        differs |= <uint8_t>(hashed[i] ^ params[<int>D_RESPONSE].value[i])
    return differs == 0
