# Who may send and how fast: networks as sorted ranges, and a table of token buckets of fixed size.
# Uses: message, plain, parts. Used by: datagrams, Python.

from ipaddress import collapse_addresses

cdef enum:
    WAYS = 4                # buckets among which a key may be: one line of the cache
    BUCKET_SETS = 16384

cdef double EXACT_S = 1e-7  # what rounding may do to a time


cdef class Networks:
    """Networks of both IP versions, found by bisection among the ranges they come to."""

    def __cinit__(self, tuple networks):
        cdef list ranges = []
        cdef int version
        cdef size_t i
        for version in (4, 6):
            for network in collapse_addresses([n for n in networks if n.version == version]):
                ranges.append((int(network.network_address), int(network.broadcast_address)))
            if version == 4:
                self.four = <uint32_t>len(ranges)
        self.count = <uint32_t>len(ranges)
        self.ranges = <AddressRange*>malloc((self.count + 1) * sizeof(AddressRange))
        if self.ranges == NULL:
            raise MemoryError
        for i, (low, high) in enumerate(ranges):
            self.ranges[i].low_high, self.ranges[i].low_low = low >> 64, low & 0xFFFFFFFFFFFFFFFF
            self.ranges[i].high_high, self.ranges[i].high_low = high >> 64, high & 0xFFFFFFFFFFFFFFFF

    def __dealloc__(self):
        free(self.ranges)

    def __len__(self):
        return self.count

    def __contains__(self, str host):
        """Whether an IP address is in one of them; False for what is no address."""
        cdef uint8_t ip[16]
        try:
            parse_address(host, ip)
        except ValueError:
            return False
        return self.has(ip)

    cdef bint has(self, const uint8_t* ip) noexcept nogil:
        cdef uint64_t high = 0, low = 0
        cdef uint32_t at = 0, end = self.four, middle
        cdef AddressRange* found
        if memcmp(ip, V4_MAPPED, 12) == 0:
            low = read_big(ip + 8) & 0xFFFFFFFFULL
        else:
            high, low = read_big(ip), read_big(ip + 8)
            at, end = self.four, self.count
        # The last range that begins at the address or below.
        while at < end:
            middle = (at + end) // 2
            found = &self.ranges[middle]
            if found.low_high > high or (found.low_high == high and found.low_low > low):
                end = middle
            elif found.high_high < high or (found.high_high == high and found.high_low < low):
                at = middle + 1
            else:
                return True
        return False


cdef inline uint64_t read_big(const uint8_t* at) noexcept nogil:
    cdef uint64_t value = 0
    cdef int i
    for i in range(8):
        value = value << 8 | at[i]
    return value


cdef class Buckets:
    """Token buckets by key, in a table that never grows.

    A bucket is the time at which it will be full again, so nothing has to be filled. Where a key finds no place, the
    bucket that is full soonest gives way to it: full ones forget nothing.
    """

    def __cinit__(self, bytes secret, double now, uint32_t rate, uint32_t burst):
        if len(secret) < 8 or rate == 0 or burst == 0:
            raise ValueError("a secret of 8 bytes, a rate and a burst above 0")
        memcpy(&self.seed, <const char*>secret, 8)
        self.epoch = now
        self.interval_s = 1.0 / rate
        self.burst = burst
        self.items = <Bucket*>calloc(BUCKET_SETS * WAYS, sizeof(Bucket))
        if self.items == NULL:
            raise MemoryError

    def __dealloc__(self):
        free(self.items)

    cdef Bucket* find(self, uint64_t key) noexcept nogil:
        cdef Bucket* ways = &self.items[(key & (BUCKET_SETS - 1)) * WAYS]
        cdef Bucket* found = ways
        cdef int i
        for i in range(WAYS):
            if ways[i].key == key:
                return &ways[i]
            if ways[i].full_at < found.full_at:
                found = &ways[i]
        found.key = key
        found.full_at = 0.0
        return found

    cdef double spend(self, uint64_t key, double now) noexcept nogil:
        # Take a token; the seconds until there is one, and nothing is taken, when there is none.
        cdef Bucket* bucket = self.find(key)
        cdef double wait
        now -= self.epoch
        wait = bucket.full_at - now - (self.burst - 1) * self.interval_s
        if wait > EXACT_S:
            return wait
        bucket.full_at = max(bucket.full_at, now) + self.interval_s
        return 0.0

    cdef double owe(self, uint64_t key, uint32_t count, double now) noexcept nogil:
        # Take tokens that may not be there yet; the seconds until there is one again.
        cdef Bucket* bucket = self.find(key)
        now -= self.epoch
        bucket.full_at = max(bucket.full_at, now) + count * self.interval_s
        return max(0.0, bucket.full_at - now - (self.burst - 1) * self.interval_s - EXACT_S)

    def take(self, bytes key not None, double now):
        """Take a token from the bucket of a key; return 0.0, or the seconds until there is one."""
        return self.spend(pr_hash(key, <uint32_t>len(key), self.seed), now)

    def sift(self, list requests, object who, double now, bint proven_only=False):
        """Return (the requests of users who have a token, [(request, seconds to wait)] of the others).

        A user is `identity` when proven, else what `who(request)` says, which is asked for the odd ones only. With
        `proven_only` requests that ask for proof are not counted without it.
        """
        cdef list admitted = [], refused = []
        cdef Message request
        cdef double wait
        for request in requests:
            # No answer goes to an ACK, and one to what is malformed costs less than to look who sent it.
            if proven_only and request.identity is None and request.m.method in (M_SUBSCRIBE, M_PUBLISH, M_REGISTER):
                admitted.append(request)
                continue
            if request.m.is_request and request.m.method != M_ACK and not request.m.error:
                wait = self.spend(self.user_key(request, who), now)
                if wait > 0.0:
                    refused.append((request, wait))
                    continue
            admitted.append(request)
        return admitted, refused

    cdef uint64_t user_key(self, Message request, object who) except? 0:
        cdef SipMsg* m = &request.m
        cdef PlainUri uri
        cdef Span text
        cdef bytes name
        # Who only says that he is somebody spends nothing of that one's.
        cdef bint proven = request.identity is not None
        cdef uint64_t key = ~self.seed if proven else self.seed
        if (not proven and m.first[<int>H_FROM]
                and plain_address(m, m.headers[m.first[<int>H_FROM] - 1].value, m.from_tag, &uri, &text)):
            key = pr_hash(m.buf + uri.user.off, uri.user.len, key)
            return pr_hash(m.buf + uri.host.off, uri.host.len, key)
        name = (<str>who(request)).encode("utf-8", "surrogateescape")
        user, _, host = name.rpartition(b"@")
        key = pr_hash(<bytes>user, <uint32_t>len(user), key)
        return pr_hash(<bytes>host, <uint32_t>len(host), key)


cdef class Gate:
    """Whose datagrams and connections are taken, and how many requests of one source address."""

    def __cinit__(self, bytes secret, double now, *, tuple allow=(), tuple deny=(), tuple trusted=(),
                  uint32_t source_rate=0, uint32_t source_burst=1, uint32_t source_prefix=64):
        cdef uint32_t i
        if not 1 <= source_prefix <= 128:
            raise ValueError("a prefix of 1 to 128 bits")
        self.allow, self.deny, self.trusted = Networks(allow), Networks(deny), Networks(trusted)
        self.filtering = self.allow.count > 0 or self.deny.count > 0
        self.limiting = source_rate > 0
        if self.limiting:
            self.buckets = Buckets(secret, now, source_rate, source_burst)
        for i in range(source_prefix):
            self.mask[i // 8] |= <uint8_t>(128 >> (i % 8))

    cdef bint keeps_out(self, const uint8_t* ip) noexcept nogil:
        return self.deny.has(ip) or (self.allow.count > 0 and not self.allow.has(ip))

    cdef uint64_t source_key(self, const uint8_t* ip) noexcept nogil:
        cdef uint8_t source[16]
        cdef int i
        if memcmp(ip, V4_MAPPED, 12) == 0:
            return pr_hash(<const char*>ip, 16, self.buckets.seed)
        for i in range(16):
            source[i] = ip[i] & self.mask[i]
        return pr_hash(<const char*>source, 16, self.buckets.seed)

    cdef bint passes(self, const uint8_t* ip, const char* datagram, double now) noexcept nogil:
        if self.filtering and self.keeps_out(ip):
            self.denied += 1
            return False
        # Responses to our NOTIFYs are as many as those, and are matched for less than a bucket costs.
        if not self.limiting or memcmp(datagram, b"SIP/", 4) == 0 or self.trusted.has(ip):
            return True
        if self.buckets.spend(self.source_key(ip), now) > 0.0:
            self.over_rate += 1
            return False
        return True

    @property
    def active(self):
        """Whether anything at all is kept out or held back."""
        return self.filtering or self.limiting

    def admits(self, str host):
        """Whether connections of an address are taken; counted when not. What is no IP address is not denied."""
        cdef uint8_t ip[16]
        if not self.filtering:
            return True
        try:
            parse_address(host, ip)
        except ValueError:
            return True
        if self.keeps_out(ip):
            self.denied += 1
            return False
        return True

    def trusts(self, str host):
        """Whether an address is a trusted peer's."""
        return host in self.trusted

    def hold(self, str host, uint32_t requests, double now):
        """Count requests that came on a stream; return how long nothing more shall be read from it, in seconds."""
        cdef uint8_t ip[16]
        cdef double wait
        if not self.limiting or requests == 0:
            return 0.0
        try:
            parse_address(host, ip)
        except ValueError:
            return 0.0
        if self.trusted.has(ip):
            return 0.0
        wait = self.buckets.owe(self.source_key(ip), requests, now)
        self.held_back += wait > 0.0
        return wait

    def counters(self):
        """Return how many datagrams and connections were denied, datagrams over the rate, streams held back."""
        return {"denied": self.denied, "over_rate": self.over_rate, "held_back": self.held_back}
