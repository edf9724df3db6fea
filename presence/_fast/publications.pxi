# The entity-tags of publications (RFC 3903 section 8), and the PUBLISH that renews one, done here in batches.
# Uses: plain, timers, datagrams. Used by: publication/compositor.

cdef enum:
    PUBLICATION_FREE = 0
    PUBLICATION_NEW = 1         # named, not committed yet
    PUBLICATION_HELD = 2
    PUBLICATION_BUSY = 3        # a change of it is on its way through the commit
    TAG_PREFIX = 12             # hex digits that differ at each start
    TAG_LONGEST = TAG_PREFIX + 18


cdef class Renewals:
    """PUBLISH requests of one tick that refresh or modify publications, on their way through one commit."""

    def __cinit__(self):
        self.requests = []
        self.writes = []

    def __dealloc__(self):
        free(self.numbers.items)
        free(self.granted.items)


cdef class Publications:
    """The publications that are held, by number: whose they are, their entity-tag and when they expire.

    An entity-tag is a prefix of this start, the number of the publication and how many it has had before, so it is
    found by index and is never given twice (RFC 3903 section 6, step 6).
    """

    def __cinit__(self, ServerTransactions transactions, bytes secret, str prefix, double now, *, uint32_t min_expires_s, uint32_t max_expires_s,
                  uint32_t expires_offset_s):
        if len(secret) < 8 or len(prefix) != TAG_PREFIX:
            raise ValueError("a secret of 8 bytes and a prefix of 12 hex digits")
        memcpy(&self.seed, <const char*>secret, 8)
        cdef bytes text = prefix.encode("ascii")
        memcpy(self.prefix, <const char*>text, TAG_PREFIX)
        self.transactions = transactions
        self.min_expires_s = min_expires_s
        self.max_expires_s = max_expires_s
        self.expires_offset_s = expires_offset_s
        self.expiry = Wheel(1.0, now)
        self.kinds = []
        self.capacity = 256
        self.held = <Held*>calloc(self.capacity, sizeof(Held))
        if self.held == NULL:
            raise MemoryError
        self.used = 1           # number 0 means "none"

    def __dealloc__(self):
        free(self.held)

    # ---- one by one ----

    def reserve(self):
        """Return a number for a publication to come."""
        cdef uint32_t number = self.free_head
        cdef Held* grown
        if number:
            self.free_head = self.held[number].next_free
        else:
            if self.used == self.capacity:
                grown = <Held*>realloc(self.held, <size_t>self.capacity * 2 * sizeof(Held))
                if grown == NULL:
                    raise MemoryError
                memset(grown + self.capacity, 0, self.capacity * sizeof(Held))
                self.held = grown
                self.capacity *= 2
            number = self.used
            self.used += 1
        self.live += 1
        self.held[number].state = PUBLICATION_NEW
        self.held[number].foreign = False
        return number

    cdef Held* entry(self, uint32_t number) except NULL:
        if number == 0 or number >= self.used or self.held[number].state == PUBLICATION_FREE:
            raise KeyError(f"no publication {number}")
        return &self.held[number]

    cdef str tag_text(self, uint32_t number, uint32_t count):
        cdef char text[TAG_LONGEST]
        cdef char* p = text
        memcpy(p, self.prefix, TAG_PREFIX)
        p += TAG_PREFIX
        p[0] = c"."
        p = emit_hex(p + 1, number)
        p[0] = c"."
        p = emit_hex(p + 1, count)
        return PyUnicode_DecodeUTF8(text, p - text, NULL)

    def next_tag(self, uint32_t number):
        """Return the entity-tag the publication will have after its next change."""
        return self.tag_text(number, self.entry(number).count + 1)

    def hold(self, uint32_t number, str package, str user, str host, uint64_t row_id, double expires_at, *,
             bint foreign=False):
        """Hold a publication after its commit; one with a `foreign` entity-tag (another start's) is not found by it."""
        cdef Held* held = self.entry(number)
        cdef bytes one = package.encode("utf-8", "surrogateescape")
        cdef bytes two = user.encode("utf-8", "surrogateescape")
        cdef bytes three = host.encode("utf-8", "surrogateescape")
        held.resource = resource_key(
            self.seed, one, <uint32_t>len(one), two, <uint32_t>len(two), three, <uint32_t>len(three)
        )
        held.row_id = row_id
        held.state = PUBLICATION_HELD
        held.foreign = foreign
        held.count += not foreign
        held.expires_at = expires_at
        self.arm(number)

    def find(self, Message request):
        """Return the publication that SIP-If-Match names, when it is one of the Request-URI's; 0 when there is none."""
        return self.find_held(&request.m)

    def take(self, uint32_t number):
        """Begin a change of a publication; False while another is on its way."""
        cdef Held* held = self.entry(number)
        if held.state == PUBLICATION_BUSY:
            return False
        held.state = PUBLICATION_BUSY
        return True

    def give(self, uint32_t number):
        """End a change that came to nothing."""
        self.entry(number).state = PUBLICATION_HELD

    def defer(self, uint32_t number, int waiting):
        """Note that a request that names a publication begins (1) or ends (-1) to wait for its turn.

        Until then nothing is ordinary for that publication: it would come before what came before it.
        """
        if number >= self.used:
            raise KeyError(f"no publication {number}")
        self.held[number].waiting += waiting

    def is_over(self, uint32_t number, double now):
        """Return whether the time of a publication is over."""
        return self.entry(number).expires_at <= now

    def renew(self, uint32_t number, double expires_at):
        """End a change: from now on the publication has its next entity-tag."""
        cdef Held* held = self.entry(number)
        held.state = PUBLICATION_HELD
        self.prolong(number, expires_at)

    def release(self, uint32_t number):
        """Forget a publication."""
        cdef Held* held = self.entry(number)
        # `count` goes on: the next one to have this number must not repeat an entity-tag.
        held.count += 1
        held.state = PUBLICATION_FREE
        held.next_free = self.free_head
        self.free_head = number
        self.live -= 1

    def __len__(self):
        return self.live

    def due(self, double now):
        """Return the numbers of publications whose time is over; they come up again in 5 s if they stay."""
        cdef list numbers = []
        cdef U32Vector* bucket
        cdef Held* held
        cdef uint32_t i, number
        while True:
            bucket = self.expiry.next_bucket(now)
            if bucket == NULL:
                return numbers
            for i in range(bucket.count):
                number = bucket.items[i]
                held = &self.held[number]
                # One entry of the wheel counts; those of earlier holders of the number have other times.
                if held.state < PUBLICATION_HELD or held.armed_at > now:
                    continue
                if held.expires_at > now:
                    self.arm(number)
                else:
                    numbers.append(number)
                    held.armed_at = now + 5.0
                    self.expiry.arm(number, held.armed_at)

    cdef void arm(self, uint32_t number) noexcept nogil:
        cdef Held* held = &self.held[number]
        cdef double horizon = (<double>self.expiry.current + self.expiry.size - 2) * self.expiry.tick_s
        held.armed_at = min(held.expires_at, horizon)
        self.expiry.arm(number, held.armed_at)

    cdef void prolong(self, uint32_t number, double expires_at) noexcept nogil:
        cdef Held* held = &self.held[number]
        held.count += 1
        held.foreign = False
        held.expires_at = expires_at
        # One entry of the wheel for each: what comes up too early is put back.
        if expires_at < held.armed_at:
            self.arm(number)

    cdef uint32_t find_held(self, const SipMsg* m) noexcept nogil:
        cdef Span tag
        cdef const char* p
        cdef const char* e
        cdef const char* package
        cdef uint32_t package_size
        cdef int64_t number, count
        cdef Held* held
        cdef PlainUri uri
        if m.first[<int>H_SIP_IF_MATCH] == 0:
            return 0
        tag = m.headers[m.first[<int>H_SIP_IF_MATCH] - 1].value
        p = m.buf + tag.off
        e = p + tag.len
        if tag.len > TAG_LONGEST or tag.len < TAG_PREFIX + 4 or memcmp(p, self.prefix, TAG_PREFIX) != 0:
            return 0
        p += TAG_PREFIX
        number = read_dotted(&p, e)
        count = read_dotted(&p, e)
        if p != e or number <= 0 or number >= self.used:
            return 0
        held = &self.held[number]
        if held.state < PUBLICATION_HELD or held.foreign or held.count != count:
            return 0
        if not plain_aor(m.buf, m.uri, &uri):
            return <uint32_t>number         # the caller knows whose it is
        package = package_of(m, &package_size)
        if held.resource != resource_key(self.seed, package, package_size, m.buf + uri.user.off,
                                         uri.user.len, m.buf + uri.host.off, uri.host.len):
            return 0
        return <uint32_t>number

    # ---- in batches ----

    def serve(self, str event, str content_type):
        """Take modifications of publications of a package whose body has this type."""
        cdef bytes name = event.encode()
        cdef bytes kind = content_type.encode()
        self.kinds.append((name, kind, content_type))

    def gather(self, list requests, double now):
        """Take the requests that refresh or modify a publication in the ordinary way out of those of a tick.

        Returns (the others, in their order; the `Renewals` with the refreshes, None without any request; the
        modifications as (request, number, seconds granted, content type), each of which is to be given to `modify` or
        back by `give`). All in the `Renewals` are answered by `renewed` after the commit.
        """
        cdef list others = [], modifications = []
        cdef Renewals batch = Renewals.__new__(Renewals)
        cdef Message request
        cdef uint32_t number, granted
        cdef str kind
        cdef set resources = set()      # that one of the others changes, and whether they are all that may be
        cdef bint known = True
        self.batches += 1
        for request in requests:
            number = self.ordinary(request)
            kind = None
            if number and request.m.body.len:
                kind = self.kind_of(&request.m)
                # The last to come is the newest (section 6), so it must not pass one of the same resource either.
                if kind is None or not known or (resources and self.held[number].resource in resources):
                    number = 0
            if number == 0:
                # In the order received (section 6): what this one does to a publication comes first.
                number = self.find_held(&request.m)
                self.held[number].claimed = self.batches
                known = self.note_resource(&request.m, resources) and known
                others.append(request)
                continue
            granted = min(<uint32_t>request.m.expires, self.max_expires_s)
            self.held[number].state = PUBLICATION_BUSY
            if kind is not None:
                modifications.append((request, number, granted, kind))
                continue
            self.append(batch, request, number, granted)
            batch.writes.append(("presentity_refresh", (
                self.held[number].row_id, self.tag_text(number, self.held[number].count + 1), <int64_t>(now + granted)
            )))
        return others, batch if batch.requests or modifications else None, modifications

    cdef bint note_resource(self, const SipMsg* m, set resources) except -1:
        # Whose publications a PUBLISH changes; False when that takes a closer look.
        cdef PlainUri uri
        cdef const char* package
        cdef uint32_t size
        if not m.is_request or m.method != M_PUBLISH:
            return True
        if not plain_aor(m.buf, m.uri, &uri):
            return False
        package = package_of(m, &size)
        resources.add(resource_key(self.seed, package, size, m.buf + uri.user.off, uri.user.len,
                                   m.buf + uri.host.off, uri.host.len))
        return True

    cdef int append(self, Renewals batch, Message request, uint32_t number, uint32_t granted) except -1:
        if vector_push(&batch.numbers, number) < 0 or vector_push(&batch.granted, granted) < 0:
            raise MemoryError
        batch.requests.append(request)
        return 0

    def modify(self, Renewals batch, Message request, uint32_t number, uint32_t granted, double now, uint64_t order,
               str content_type, bytes body):
        """Let a modification go with the refreshes of its tick."""
        cdef Held* held = self.entry(number)
        self.append(batch, request, number, granted)
        batch.writes.append(("presentity_modify", (
            held.row_id, self.tag_text(number, held.count + 1), <int64_t>(now + granted), <int64_t>now, order,
            content_type, body,
        )))

    cdef str kind_of(self, const SipMsg* m):
        # The type of a body that the package takes as it stands; None when the header fields want a closer look.
        cdef Span value
        cdef bytes name, kind
        cdef uint32_t size
        cdef const char* package = package_of(m, &size)
        if m.first[<int>H_CONTENT_TYPE] == 0 or m.first[<int>H_CONTENT_ENCODING]:
            return None
        value = m.headers[m.first[<int>H_CONTENT_TYPE] - 1].value
        for entry in self.kinds:
            name, kind = <bytes>(<tuple>entry)[0], <bytes>(<tuple>entry)[1]
            if (span_equal(m.buf, value, kind, <uint32_t>PyBytes_GET_SIZE(kind))
                    and size == <uint32_t>PyBytes_GET_SIZE(name) and memcmp(package, <const char*>name, size) == 0):
                return <str>(<tuple>entry)[2]
        return None

    cdef uint32_t ordinary(self, Message request) noexcept:
        cdef SipMsg* m = &request.m
        cdef uint32_t number
        cdef PlainUri uri
        if not request.plain or m.method != M_PUBLISH or m.expires < 1:
            return 0
        if m.expires < self.min_expires_s or not plain_aor(m.buf, m.uri, &uri):
            return 0
        number = self.find_held(m)
        if self.held[number].state != PUBLICATION_HELD or self.held[number].claimed == self.batches:
            return 0
        if self.held[number].waiting:
            return 0
        return number

    def renewed(self, Renewals batch, bytes server, double began, double now):
        """Answer what is committed; `server` is our Server header line, `began` when the requests came."""
        cdef uint32_t i, number, granted, shown
        cdef Message request
        cdef char line[128]
        cdef char* p
        # All that is committed first: whoever cannot be answered holds up nobody.
        for i in range(batch.numbers.count):
            number = batch.numbers.items[i]
            self.held[number].state = PUBLICATION_HELD
            self.prolong(number, began + batch.granted.items[i])
        for i in range(batch.numbers.count):
            number, granted = batch.numbers.items[i], batch.granted.items[i]
            request = <Message>batch.requests[i]
            shown = granted - min(granted, self.expires_offset_s)
            p = emit(line, b"Expires: ", 9)
            p = emit_number(p, shown)
            p = emit(p, b"\r\nSIP-ETag: ", 12)
            p = emit(p, self.prefix, TAG_PREFIX)
            p[0] = c"."
            p = emit_hex(p + 1, number)
            p[0] = c"."
            p = emit_hex(p + 1, self.held[number].count)
            p = emit(p, b"\r\n", 2)
            self.transactions.accept(request, b"", server + line[:p - line], now)

    def give_back(self, Renewals batch):
        """Let publications be as they were whose renewal the database refused."""
        cdef uint32_t i
        for i in range(batch.numbers.count):
            self.held[batch.numbers.items[i]].state = PUBLICATION_HELD

    def numbers(self, Renewals batch):
        """Return which publications a batch renews."""
        cdef uint32_t i
        return [batch.numbers.items[i] for i in range(batch.numbers.count)]


cdef inline uint64_t resource_key(uint64_t seed, const char* package, uint32_t package_size, const char* user,
                                  uint32_t user_size, const char* host, uint32_t host_size) noexcept nogil:
    cdef uint64_t key = pr_hash(package, package_size, seed)
    key = pr_hash(user, user_size, key)
    return pr_hash(host, host_size, key)


cdef inline char* emit_hex(char* out, uint32_t value) noexcept nogil:
    cdef int digits = 1
    while digits < 8 and value >> (4 * digits):
        digits += 1
    return out + write_hex(out, value, digits)


cdef inline int64_t read_dotted(const char** at, const char* e) noexcept nogil:
    # "." and hex digits as `emit_hex` writes them; -1 for anything else.
    cdef const char* p = at[0]
    cdef const char* start = p + 1
    cdef int64_t value
    if p >= e or p[0] != c".":
        return -1
    p += 1
    while p < e and p[0] != c".":
        p += 1
    if p == start or p - start > 8 or (start[0] == c"0" and p - start > 1):
        return -1
    value = read_hex(start, <int>(p - start))
    at[0] = p
    return value
