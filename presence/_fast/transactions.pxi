# Server transactions (RFC 3261 section 17.2): the response to each request, kept for retransmissions of the request.
# Uses: pool, chunks, timers, message. Used by: datagrams, and Python to store a response.

cdef extern from *:
    """
    #include <stdint.h>
    #include <string.h>
    static inline uint64_t pr_mum(uint64_t a, uint64_t b) {
        __uint128_t r = (__uint128_t)a * b;
        return (uint64_t)r ^ (uint64_t)(r >> 64);
    }
    /* Keyed hash of a short string; the secret seed keeps peers from choosing collisions. */
    static inline uint64_t pr_hash(const char *p, uint32_t n, uint64_t seed) {
        uint64_t h = seed ^ pr_mum(n ^ 0x9E3779B97F4A7C15ULL, 0xA0761D6478BD642FULL), w;
        while (n >= 8) { memcpy(&w, p, 8); h = pr_mum(h ^ w, 0xE7037ED1A0B428DBULL); p += 8; n -= 8; }
        w = 0; memcpy(&w, p, n);
        return pr_mum(h ^ w, 0x8EBC6AF09C88C6E3ULL) ^ h;
    }
    """
    uint64_t pr_mum(uint64_t a, uint64_t b) noexcept nogil
    uint64_t pr_hash(const char* p, uint32_t n, uint64_t seed) noexcept nogil


cdef enum:
    TX_FREE = 0
    TX_TRYING = 1
    TX_COMPLETED = 2
    TX_LIMIT = 2_000_000    # transactions kept at once; beyond it requests are served without


cdef inline uint64_t hash_span(const SipMsg* m, Span span, uint64_t seed) noexcept nogil:
    return pr_hash(m.buf + span.off, span.len, seed)


cdef class ServerTransactions:
    """Non-INVITE server transactions over unreliable transports.

    A transaction lives 64*T1 after its final response (timer J). Matching is by branch, sent-by and method
    (RFC 3261 section 17.2.3), or by the RFC 2543 fields when the branch lacks the magic cookie.
    """

    def __cinit__(self, bytes secret, double now, double lifetime_s=32.0):
        cdef uint32_t wheel_size = 512
        if len(secret) < 16:
            raise ValueError("secret must have 16 bytes")
        memcpy(&self.seed_low, <const char*>secret, 8)
        memcpy(&self.seed_high, <const char*>secret + 8, 8)
        self.lifetime_s = lifetime_s
        self.bound(MAX_MESSAGE, MAX_MESSAGE)
        # With a long T1 timer J must not come up at the wheel's horizon.
        while 0.25 * (wheel_size - 2) < lifetime_s and wheel_size < 65536:
            wheel_size *= 2
        self.wheel = Wheel(0.25, now, wheel_size)
        open_pool(&self.pool, sizeof(Transaction))
        self.entries = <Transaction*>self.pool.items
        cdef Transaction one
        cdef char* start = <char*>&one
        open_index(&self.by_key, &self.pool, <uint32_t>(<char*>&one.key_low - start), <uint32_t>(<char*>&one.next - start))
        open_index(&self.by_request, &self.pool, <uint32_t>(<char*>&one.request_key - start),
                   <uint32_t>(<char*>&one.next_request - start))

    def __dealloc__(self):
        close_index(&self.by_key)
        close_index(&self.by_request)
        close_chunks(&self.responses)
        close_pool(&self.pool)

    def __len__(self):
        return self.pool.live

    cdef void key_of(self, const SipMsg* m, uint64_t* low, uint64_t* high) noexcept nogil:
        cdef uint64_t a = self.seed_low, b = self.seed_high
        cdef uint64_t more = (<uint64_t>m.via_port << 8) | m.method
        a = hash_span(m, m.via_branch, a)
        b = hash_span(m, m.via_branch, b)
        a = hash_span(m, m.via_host, a ^ more)
        b = hash_span(m, m.via_host, b ^ more)
        if m.method == M_OTHER:
            a = hash_span(m, m.method_name, a)
            b = hash_span(m, m.method_name, b)
        # The cookie alone names no transaction (RFC 4475 section 3.2.1).
        if m.via_branch.len < 8 or memcmp(m.buf + m.via_branch.off, b"z9hG4bK", 7) != 0:
            a = hash_span(m, m.call_id, a ^ m.cseq)
            b = hash_span(m, m.call_id, b ^ m.cseq)
            a = hash_span(m, m.from_tag, a)
            b = hash_span(m, m.from_tag, b)
            a = hash_span(m, m.to_tag, a)
            b = hash_span(m, m.to_tag, b)
            a = hash_span(m, m.uri, a)
            b = hash_span(m, m.uri, b)
        low[0] = a
        high[0] = b

    cdef uint64_t request_key_of(self, const SipMsg* m) noexcept nogil:
        cdef uint64_t key = hash_span(m, m.call_id, self.seed_low ^ (<uint64_t>m.cseq << 8 | m.method))
        key = hash_span(m, m.from_tag, key)
        if m.method == M_OTHER:
            key = hash_span(m, m.method_name, key)
        return key if key else 1

    cdef bint enlist_request(self, const SipMsg* m, uint32_t index) noexcept nogil:
        # True when a transaction with the same From tag, Call-ID and CSeq is known already (RFC 3261 section 8.2.2.2).
        cdef uint64_t key
        cdef uint32_t at
        if m.to_tag.len or m.from_tag.len == 0:
            return False
        key = self.request_key_of(m)
        at = index_head(&self.by_request, key)[0]
        while at:
            if self.entries[at].request_key == key:
                return True
            at = self.entries[at].next_request
        self.entries[index].request_key = key
        index_add(&self.by_request, index)
        return False

    cdef uint32_t find_or_begin(self, const SipMsg* m, bint* found, bint* merged) noexcept nogil:
        # The index of the request's transaction; 0 when the table is full and the request goes without.
        cdef uint64_t low, high
        cdef uint32_t index
        self.key_of(m, &low, &high)
        index = index_head(&self.by_key, low)[0]
        while index:
            if self.entries[index].key_low == low and self.entries[index].key_high == high:
                found[0] = True
                return index
            index = self.entries[index].next
        found[0] = merged[0] = False
        if self.pool.live >= TX_LIMIT:
            return 0
        index = take_lowest(&self.pool)
        if index == 0:
            return 0
        self.entries = <Transaction*>self.pool.items
        self.entries[index].key_low = low
        self.entries[index].key_high = high
        self.entries[index].state = TX_TRYING
        index_add(&self.by_key, index)
        merged[0] = self.enlist_request(m, index)
        return index

    cdef void remove(self, uint32_t index) noexcept nogil:
        index_remove(&self.by_key, index)
        if self.entries[index].request_key:
            index_remove(&self.by_request, index)
        drop_in_order(&self.responses, self.entries[index].response)
        drop_number(&self.pool, index)

    def bound(self, uint32_t uri_bytes, uint32_t body_bytes):
        """Say how long a Request-URI and how large a body may be; what is beyond is not plain."""
        self.uri_most, self.body_most = uri_bytes, body_bytes
        self.bounds = (uri_bytes, body_bytes)

    def begin(self, Message request):
        """Return (index, retransmission): the transaction of a request, and whether it is known already.

        Sets `merged` when the same request has come in another transaction, that is by another path.
        """
        cdef bint found = False, merged = False
        cdef uint32_t index = self.find_or_begin(&request.m, &found, &merged)
        request.merged = merged
        self.mark_plain(request)
        return index, found

    cdef int keep(self, uint32_t index, const char* response, uint32_t size, double now) noexcept nogil:
        # The final response of a transaction, until timer J fires; -1 when there is no memory for it.
        cdef Transaction* entry
        if index == 0 or index >= self.pool.used or self.entries[index].state != TX_TRYING:
            return 0
        entry = &self.entries[index]
        # What no datagram can carry is not kept: it was not sent either.
        if 0 < size <= MAX_MESSAGE:
            entry.response = put_in_order(&self.responses, response, size)
            if entry.response == 0:
                return -1
            entry.size = <uint16_t>size
        entry.state = TX_COMPLETED
        return self.wheel.arm(index, now + self.lifetime_s)

    cdef bytes tag_of(self, const SipMsg* m):
        # The same To-tag for every copy of a request, also for those no transaction holds (RFC 3261 section 8.2.7).
        cdef char text[16]
        cdef uint64_t tag = hash_span(m, m.via_branch, self.seed_high)
        tag = hash_span(m, m.call_id, tag)
        tag = hash_span(m, m.from_tag, tag)
        write_hex(text, <uint32_t>(tag >> 32), 8)
        write_hex(text + 8, <uint32_t>tag, 8)
        return text[:16]

    def to_tag(self, Message request):
        """Return the tag that responses outside a dialog give the To of a request."""
        return self.tag_of(&request.m)

    cdef void mark_plain(self, Message request) noexcept:
        cdef SipMsg* m = &request.m
        request.plain = (not request.merged and plain_request(m)
                         and m.body.len <= self.body_most and m.uri.len <= self.uri_most)
        if request.plain:
            self.plain[request.m.method == M_PUBLISH] += 1

    cpdef void look_closer(self, Message request) noexcept:
        """Let a request that looked plain take the general way."""
        if request.plain:
            request.plain = False
            self.plain[request.m.method == M_PUBLISH] -= 1

    cdef int accept(self, Message request, bytes to_tag, bytes headers, double now) except -1:
        # Answer a plain request with 200, and count that.
        self.accepted[request.m.method == M_PUBLISH] += 1
        self.answer(request, 200, b"OK", to_tag, headers, now)
        return 0

    def answer(self, Message request, int status, bytes reason, bytes to_tag, bytes headers, double now):
        """Build the final response of a request (`build_response`), keep it for retransmissions, and send it.

        Without `to_tag` the To gets one that is the same for every copy of the request.
        """
        cdef bytes response
        if not request.m.answerable or not 200 <= status <= 699:
            raise ValueError(f"no final response {status} to this")
        if len(to_tag) == 0:
            to_tag = self.tag_of(&request.m)
        if request.socket is not None:
            (<UdpSocket>request.socket).answer(request, status, reason, to_tag, headers, now)
            return
        response = build_response(request, status, reason, to_tag, headers)
        self.complete(request.transaction, response, now)
        request.origin.respond(request, response)

    def ordinary(self):
        """Return for SUBSCRIBE and PUBLISH how many plain requests came, and how many of them were accepted."""
        return {"SUBSCRIBE": (self.plain[0], self.accepted[0]), "PUBLISH": (self.plain[1], self.accepted[1])}

    def complete(self, uint32_t index, bytes response, double now):
        """Keep the final response of a transaction until timer J fires."""
        if self.keep(index, <const char*>response, <uint32_t>len(response), now) < 0:
            raise MemoryError

    def response(self, uint32_t index):
        """Return the stored final response, or None while there is none."""
        if index == 0 or index >= self.pool.used or self.entries[index].state != TX_COMPLETED:
            return None
        if self.entries[index].size == 0:
            return b""
        return block_at(&self.responses, self.entries[index].response)[:self.entries[index].size]

    def abandon(self, uint32_t index):
        """Forget a transaction that will never be answered, so that a retransmission is served anew."""
        if index and index < self.pool.used and self.entries[index].state == TX_TRYING:
            self.remove(index)

    def memory(self):
        """Return the bytes held now: of entries that were ever used together, and of chunks with responses."""
        return {"entries": held_bytes(&self.pool), "responses": <uint64_t>self.responses.mapped * CHUNK_BYTES}

    def tick(self, double now):
        """Drop transactions whose timer J has fired."""
        cdef U32Vector* bucket
        cdef uint32_t i
        while True:
            bucket = self.wheel.next_bucket(now)
            if bucket == NULL:
                return
            for i in range(bucket.count):
                if self.entries[bucket.items[i]].state == TX_COMPLETED:
                    self.remove(bucket.items[i])
