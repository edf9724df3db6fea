# Server transactions (RFC 3261 section 17.2): the response to each request, kept for retransmissions of the request.
# Uses: timers, message. Used by: datagrams, and Python to store a response.

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
        # With a long T1 timer J must not come up at the wheel's horizon.
        while 0.25 * (wheel_size - 2) < lifetime_s and wheel_size < 65536:
            wheel_size *= 2
        self.wheel = Wheel(0.25, now, wheel_size)
        self.bucket_count = 1024
        self.buckets = <uint32_t*>calloc(self.bucket_count, sizeof(uint32_t))
        self.requests = <uint32_t*>calloc(self.bucket_count, sizeof(uint32_t))
        self.capacity = 1024
        self.entries = <Transaction*>calloc(self.capacity, sizeof(Transaction))
        self.used = 1       # entry 0 means "none"
        if self.buckets == NULL or self.requests == NULL or self.entries == NULL:
            raise MemoryError

    def __dealloc__(self):
        cdef uint32_t i
        if self.entries != NULL:
            for i in range(self.used):
                free(self.entries[i].response)
            free(self.entries)
        free(self.buckets)
        free(self.requests)

    def __len__(self):
        return self.live

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
        if m.via_branch.len < 7 or memcmp(m.buf + m.via_branch.off, b"z9hG4bK", 7) != 0:
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
        cdef uint32_t* link
        cdef uint32_t at
        if m.to_tag.len or m.from_tag.len == 0:
            return False
        key = self.request_key_of(m)
        link = &self.requests[<uint32_t>key & (self.bucket_count - 1)]
        at = link[0]
        while at:
            if self.entries[at].request_key == key:
                return True
            at = self.entries[at].next_request
        self.entries[index].request_key = key
        self.entries[index].next_request = link[0]
        link[0] = index
        return False

    cdef uint32_t find_or_begin(self, const SipMsg* m, bint* found, bint* merged) noexcept nogil:
        # The index of the request's transaction; 0 when the table is full and the request goes without.
        cdef uint64_t low, high
        cdef uint32_t index, home
        self.key_of(m, &low, &high)
        home = <uint32_t>low & (self.bucket_count - 1)
        index = self.buckets[home]
        while index:
            if self.entries[index].key_low == low and self.entries[index].key_high == high:
                found[0] = True
                return index
            index = self.entries[index].next
        found[0] = merged[0] = False
        if self.live >= TX_LIMIT:
            return 0
        if self.live >= self.bucket_count and self.rehash() == 0:
            home = <uint32_t>low & (self.bucket_count - 1)
        index = self.allocate()
        if index == 0:
            return 0
        self.entries[index].key_low = low
        self.entries[index].key_high = high
        self.entries[index].state = TX_TRYING
        self.entries[index].next = self.buckets[home]
        self.buckets[home] = index
        self.live += 1
        merged[0] = self.enlist_request(m, index)
        return index

    cdef uint32_t allocate(self) noexcept nogil:
        cdef uint32_t index = self.free_head
        cdef Transaction* grown
        if index:
            self.free_head = self.entries[index].next
            return index
        if self.used == self.capacity:
            grown = <Transaction*>realloc(self.entries, <size_t>self.capacity * 2 * sizeof(Transaction))
            if grown == NULL:
                return 0
            memset(grown + self.capacity, 0, self.capacity * sizeof(Transaction))
            self.entries = grown
            self.capacity *= 2
        index = self.used
        self.used += 1
        return index

    cdef int rehash(self) noexcept nogil:
        cdef uint32_t count = self.bucket_count * 2
        cdef uint32_t* buckets = <uint32_t*>calloc(count, sizeof(uint32_t))
        cdef uint32_t* requests = <uint32_t*>calloc(count, sizeof(uint32_t))
        cdef uint32_t i, home
        if buckets == NULL or requests == NULL:
            free(buckets)
            free(requests)
            return -1
        for i in range(1, self.used):
            if self.entries[i].state != TX_FREE:
                home = <uint32_t>self.entries[i].key_low & (count - 1)
                self.entries[i].next = buckets[home]
                buckets[home] = i
                if self.entries[i].request_key:
                    home = <uint32_t>self.entries[i].request_key & (count - 1)
                    self.entries[i].next_request = requests[home]
                    requests[home] = i
        free(self.buckets)
        free(self.requests)
        self.buckets = buckets
        self.requests = requests
        self.bucket_count = count
        return 0

    cdef void remove(self, uint32_t index) noexcept nogil:
        cdef Transaction* entry = &self.entries[index]
        cdef uint32_t* link = &self.buckets[<uint32_t>entry.key_low & (self.bucket_count - 1)]
        while link[0] and link[0] != index:
            link = &self.entries[link[0]].next
        if link[0] == index:
            link[0] = entry.next
        if entry.request_key:
            link = &self.requests[<uint32_t>entry.request_key & (self.bucket_count - 1)]
            while link[0] and link[0] != index:
                link = &self.entries[link[0]].next_request
            if link[0] == index:
                link[0] = entry.next_request
        free(entry.response)
        memset(entry, 0, sizeof(Transaction))
        entry.next = self.free_head
        self.free_head = index
        self.live -= 1

    def begin(self, Message request):
        """Return (index, retransmission): the transaction of a request, and whether it is known already.

        Sets `merged` when the same request has come in another transaction, that is by another path.
        """
        cdef bint found = False, merged = False
        cdef uint32_t index = self.find_or_begin(&request.m, &found, &merged)
        request.merged = merged
        return index, found

    cdef int keep(self, uint32_t index, const char* response, uint32_t size, double now) noexcept nogil:
        # The final response of a transaction, until timer J fires; -1 when there is no memory for it.
        cdef Transaction* entry
        cdef char* copy
        if index == 0 or index >= self.used or self.entries[index].state != TX_TRYING:
            return 0
        copy = <char*>malloc(size)
        if copy == NULL:
            return -1
        memcpy(copy, response, size)
        entry = &self.entries[index]
        entry.response = copy
        entry.size = size
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

    def ordinary(self):
        """Return for SUBSCRIBE and PUBLISH how many plain requests came over UDP, and how many were accepted."""
        return {"SUBSCRIBE": (self.plain[0], self.accepted[0]), "PUBLISH": (self.plain[1], self.accepted[1])}

    def complete(self, uint32_t index, bytes response, double now):
        """Keep the final response of a transaction until timer J fires."""
        if self.keep(index, <const char*>response, <uint32_t>len(response), now) < 0:
            raise MemoryError

    def response(self, uint32_t index):
        """Return the stored final response, or None while there is none."""
        if index == 0 or index >= self.used or self.entries[index].state != TX_COMPLETED:
            return None
        return self.entries[index].response[:self.entries[index].size]

    def abandon(self, uint32_t index):
        """Forget a transaction that will never be answered, so that a retransmission is served anew."""
        if index and index < self.used and self.entries[index].state == TX_TRYING:
            self.remove(index)

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
