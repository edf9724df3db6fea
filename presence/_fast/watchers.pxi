# The watcher table: one row per subscription in a slab, one vector of rows per resource (group), no Python object
# per subscription. Knows no event package, no policy, no SQL.
# Uses: timers, message. Used by: fanout (the other half of the same class), Python.

cdef const char* HEX = b"0123456789abcdef"


cdef inline uint64_t mix(uint64_t x) noexcept nogil:
    x ^= x >> 30
    x *= 0xBF58476D1CE4E5B9ULL
    x ^= x >> 27
    x *= 0x94D049BB133111EBULL
    return x ^ (x >> 31)


cdef inline int write_hex(char* out, uint32_t value, int digits) noexcept nogil:
    cdef int i
    for i in range(digits - 1, -1, -1):
        out[i] = HEX[value & 15]
        value >>= 4
    return digits


cdef inline int64_t read_hex(const char* text, int digits) noexcept nogil:
    # -1 unless all digits are lower-case hex: what we wrote ourselves.
    cdef int64_t value = 0
    cdef int i
    cdef char c
    for i in range(digits):
        c = text[i]
        if c'0' <= c <= c'9':
            value = value * 16 + (c - c'0')
        elif c'a' <= c <= c'f':
            value = value * 16 + (c - c'a' + 10)
        else:
            return -1
    return value


cdef Body* new_body(const char* data, size_t size) noexcept nogil:
    cdef Body* body = <Body*>malloc(sizeof(Body) + size)
    if body != NULL:
        body.refs = 1
        body.size = <uint32_t>size
        memcpy(body_data(body), data, size)
    return body


cdef inline char* body_data(Body* body) noexcept nogil:
    return <char*>body + sizeof(Body)


cdef inline void drop_body(Body* body) noexcept nogil:
    if body != NULL:
        body.refs -= 1
        if body.refs == 0:
            free(body)


cdef int parse_address(str host, uint8_t* out) except -1:
    # An IP literal as 16 bytes, IPv4 mapped into IPv6.
    cdef bytes text = host.encode("ascii", "replace")
    memset(out, 0, 16)
    if inet_pton(AF_INET, text, out + 12) == 1:
        out[10] = 255
        out[11] = 255
        return 0
    if inet_pton(AF_INET6, text, out) == 1:
        return 0
    raise ValueError(f"not an IP address: {host}")


cdef str format_address(const uint8_t* address):
    cdef char text[64]
    cdef bint mapped = address[10] == 255 and address[11] == 255
    cdef int i
    for i in range(10):
        if address[i]:
            mapped = False
    if mapped:
        inet_ntop(AF_INET, address + 12, text, 64)
    else:
        inet_ntop(AF_INET6, address, text, 64)
    return (<bytes>text).decode()


cdef class WatcherTable:
    """Subscriptions and their NOTIFYs in flight.

    A row is named by its slot, which the To-tag and the Contact we give out carry (with a random check), so that a
    request in the dialog and the response to a NOTIFY find their row by index. Not thread-safe; `pump` releases the
    GIL only around rendering and sending.
    """

    def __cinit__(self, bytes secret, double now, *, uint32_t t1_ms=500, uint32_t t2_ms=4000,
                  bytes user_agent=b"", bytes contact_user=b"", uint32_t expires_offset_s=0, uint8_t shard=0):
        if len(secret) < 16:
            raise ValueError("secret must have 16 bytes")
        memcpy(&self.secret, <const char*>secret, 8)
        memcpy(&self.random, <const char*>secret + 8, 8)
        self.epoch = now
        self.t1_ms = t1_ms
        self.t2_ms = t2_ms
        self.shard = shard
        self.expires_offset_s = expires_offset_s
        self.contact_user = contact_user
        self.contact_user_text = self.contact_user
        self.contact_user_size = len(contact_user)
        self.user_agent = b"User-Agent: " + user_agent + b"\r\n" if user_agent else b""
        self.user_agent_text = self.user_agent
        self.user_agent_size = len(self.user_agent)
        self.retransmissions = Wheel(0.01, now, 4096)
        self.expiries = Wheel(1.0, now, 4096)
        self.capacity = 1024
        self.rows = <Row*>calloc(self.capacity, sizeof(Row))
        self.used = 1           # slot 0 means "none"
        self.group_capacity = 256
        self.groups = <Group*>calloc(self.group_capacity, sizeof(Group))
        self.groups_used = 1
        self.scratch = <char*>malloc(SCRATCH_BYTES)
        if self.rows == NULL or self.groups == NULL or self.scratch == NULL:
            raise MemoryError
        self.outbox = []

    def __dealloc__(self):
        cdef uint32_t i, v
        if self.rows != NULL:
            for i in range(1, self.used):
                drop_body(self.rows[i].flying)
                free(self.rows[i].blob)
            free(self.rows)
        if self.groups != NULL:
            for i in range(1, self.groups_used):
                for v in range(self.groups[i].view_count):
                    drop_body(self.groups[i].views[v])
                free(self.groups[i].views)
                free(self.groups[i].slots.items)
                free(self.groups[i].event)
            free(self.groups)
        for i in range(self.link_count):
            free(self.links[i].via)
            free(self.links[i].contact)
        free(self.ring)
        free(self.events)
        free(self.scratch)

    # ---- links: the sockets NOTIFYs leave by ----

    def add_link(self, int fd, *, bint reliable, bytes via, bytes contact):
        """Register a way out and return its number.

        `via` is the sent-protocol and sent-by of our Via ("UDP 192.0.2.1:5060"), `contact` what stands behind the @
        of our Contact. A UDP socket's `fd` is written to directly; with fd -1 messages go to `outbox`.
        """
        if self.link_count == MAX_LINKS:
            raise ValueError("too many listeners")
        cdef Link* link = &self.links[self.link_count]
        memset(link, 0, sizeof(Link))
        link.fd = fd
        link.family = socket_family(fd) if fd >= 0 else 0
        link.reliable = reliable
        link.via = copy_bytes(via)
        link.via_size = len(via)
        link.contact = copy_bytes(contact)
        link.contact_size = len(contact)
        self.link_count += 1
        return self.link_count - 1

    # ---- groups: the watchers of one resource ----

    def add_group(self, bytes event, *, bint individual=False):
        """Register a resource (presentity and package) and return its number.

        With `individual` each row gets bodies of its own (`notify_row`), asked for by an event "want".
        """
        cdef uint32_t gid = self.free_group
        cdef Group* grown
        if gid:
            self.free_group = self.groups[gid].slots.count
        else:
            if self.groups_used == self.group_capacity:
                grown = <Group*>realloc(self.groups, <size_t>self.group_capacity * 2 * sizeof(Group))
                if grown == NULL:
                    raise MemoryError
                self.groups = grown
                self.group_capacity *= 2
            gid = self.groups_used
            self.groups_used += 1
        memset(&self.groups[gid], 0, sizeof(Group))
        self.groups[gid].event = copy_bytes(event)
        self.groups[gid].event_size = len(event)
        self.groups[gid].individual = individual
        self.groups[gid].live = True
        return gid

    cdef Group* group(self, uint32_t gid) except NULL:
        if gid == 0 or gid >= self.groups_used or not self.groups[gid].live:
            raise KeyError(f"no group {gid}")
        return &self.groups[gid]

    def group_size(self, uint32_t gid):
        """Return how many running subscriptions the resource has."""
        return self.group(gid).slots.count

    def group_slots(self, uint32_t gid):
        """Return the slots of the resource's running subscriptions."""
        cdef Group* group = self.group(gid)
        cdef uint32_t i
        return [group.slots.items[i] for i in range(group.slots.count)]

    def drop_group(self, uint32_t gid):
        """Forget a resource; False while rows (a final NOTIFY in flight) still refer to it."""
        cdef Group* group = self.group(gid)
        cdef uint32_t v
        if group.rows:
            return False
        for v in range(group.view_count):
            drop_body(group.views[v])
        free(group.views)
        free(group.slots.items)
        free(group.event)
        memset(group, 0, sizeof(Group))
        group.slots.count = self.free_group
        self.free_group = gid
        return True

    def set_body(self, uint32_t gid, uint16_t view, bytes tail):
        """Set what watchers of one view get: the header lines after Subscription-State, an empty line, the body."""
        cdef Group* group = self.group(gid)
        cdef Body** grown
        cdef Body* body
        cdef uint16_t count
        if view == 0 or view >= MAX_VIEWS:
            raise ValueError("views are numbered from 1")
        if view >= group.view_count:
            count = view + 1
            grown = <Body**>realloc(group.views, count * sizeof(Body*))
            if grown == NULL:
                raise MemoryError
            memset(grown + group.view_count, 0, (count - group.view_count) * sizeof(Body*))
            group.views = grown
            group.view_count = count
        body = NULL
        if tail is not None:
            body = new_body(tail, len(tail))
            if body == NULL:
                raise MemoryError
        drop_body(group.views[view])
        group.views[view] = body

    # ---- rows ----

    cdef Row* row(self, uint32_t slot) except NULL:
        if slot == 0 or slot >= self.used or self.rows[slot].state == ROW_FREE:
            raise KeyError(f"no subscription {slot}")
        return &self.rows[slot]

    cdef int grow_rows(self, uint32_t wanted) except -1:
        cdef uint32_t capacity = self.capacity
        cdef Row* grown
        while capacity <= wanted:
            capacity *= 2
        grown = <Row*>realloc(self.rows, <size_t>capacity * sizeof(Row))
        if grown == NULL:
            raise MemoryError
        memset(grown + self.capacity, 0, <size_t>(capacity - self.capacity) * sizeof(Row))
        self.rows = grown
        self.capacity = capacity
        return 0

    def reserve(self):
        """Take a free row for a subscription to come and return its slot."""
        cdef uint32_t slot, i
        if self.holes:
            self.holes = False
            self.free_head = 0
            for i in range(self.used - 1, 0, -1):
                if self.rows[i].state == ROW_FREE:
                    self.rows[i].next_free = self.free_head
                    self.free_head = i
        slot = self.free_head
        if slot:
            self.free_head = self.rows[slot].next_free
        else:
            if self.used == self.capacity:
                self.grow_rows(self.used)
            slot = self.used
            self.used += 1
        self.embody(slot)
        self.random = mix(self.random + 0x9E3779B97F4A7C15ULL)
        self.rows[slot].tag_check = <uint32_t>mix(self.random ^ self.secret)
        return slot

    def reserve_tagged(self, bytes to_tag):
        """Take the row that a To-tag of ours names (after a restart); 0 when the tag is foreign or the row taken."""
        cdef int64_t slot, check
        if len(to_tag) != TAG_SIZE:
            return 0
        slot = read_hex(<const char*>to_tag + 2, 8)
        check = read_hex(<const char*>to_tag + 10, 8)
        if slot <= 0 or check < 0 or slot > MAX_SLOT or read_hex(to_tag, 2) != self.shard:
            return 0
        if slot >= self.used:
            if slot >= self.capacity:
                self.grow_rows(<uint32_t>slot)
            self.used = <uint32_t>slot + 1
        elif self.rows[slot].state != ROW_FREE:
            return 0
        self.holes = True       # the free list is made anew before it is used again
        self.embody(<uint32_t>slot)
        self.rows[slot].tag_check = <uint32_t>check
        return slot

    cdef void embody(self, uint32_t slot) noexcept:
        memset(&self.rows[slot], 0, sizeof(Row))
        self.rows[slot].state = ROW_EMBRYO
        self.rows[slot].owner = slot
        self.rows[slot].usages = 1
        self.live += 1

    def to_tag(self, uint32_t slot):
        """Return our tag of the dialog: shard, slot and a random check."""
        cdef Row* row = self.row(self.row(slot).owner)
        cdef char text[TAG_SIZE]
        if row.blob != NULL and row.size[PART_LOCAL_TAG]:
            return part_bytes(row, PART_LOCAL_TAG)
        self.write_tag(row, text)
        return text[:TAG_SIZE]

    cdef void write_tag(self, Row* row, char* out) noexcept nogil:
        write_hex(out, self.shard, 2)
        write_hex(out + 2, row.owner, 8)
        write_hex(out + 10, self.rows[row.owner].tag_check, 8)

    cdef int write_contact(self, Row* row, char* out) noexcept nogil:
        # "sip:~SSssssssss.user@host:port": shard and slot at a fixed offset so that a router can find them.
        cdef char* start = out
        cdef Link* link = &self.links[row.link]
        memcpy(out, b"sip:~", 5)
        out += 5
        out += write_hex(out, self.shard, 2)
        out += write_hex(out, row.owner, 8)
        if self.contact_user_size:
            out[0] = c"."
            memcpy(out + 1, self.contact_user_text, self.contact_user_size)
            out += 1 + self.contact_user_size
        out[0] = c"@"
        memcpy(out + 1, link.contact, link.contact_size)
        out += 1 + link.contact_size
        return <int>(out - start)

    def contact(self, uint32_t slot, uint16_t link):
        """Return the URI of our Contact for a dialog that came in on `link`."""
        cdef Row* row = self.row(slot)
        cdef char text[1024]
        if link >= self.link_count:
            raise ValueError("no such link")
        if row.blob != NULL and row.size[PART_LOCAL_CONTACT]:
            return part_bytes(row, PART_LOCAL_CONTACT)
        row.link = link
        return text[:self.write_contact(row, text)]

    def fill(self, uint32_t slot, uint32_t gid, tuple dialog, *, uint32_t owner=0, uint32_t remote_cseq=0,
             uint32_t cseq=0, uint32_t cseq_mark=0, uint32_t expires_at=0, bint pending=False, uint16_t view=1,
             uint32_t subscribed_at=0):
        """Make a reserved row a running subscription of the resource.

        `dialog` is (uri, route, local, remote, remote_tag, call_id, event_id, local_tag, local_contact) as bytes:
        Request-URI, value of Route or b'', From and To of our NOTIFYs without their tags. A local tag or contact is
        given only when it is not the one this table makes. `owner` is the row of the dialog's first subscription.
        Raises ValueError when the dialog's strings are too long.
        """
        cdef Group* group = self.group(gid)
        cdef Row* row = self.row(slot)
        if row.state != ROW_EMBRYO:
            raise ValueError("the row is in use")
        self.set_parts(row, dialog)
        row.group = gid
        row.expires_at = expires_at
        row.subscribed_at = subscribed_at
        row.view = view
        row.state = ROW_PENDING if pending else ROW_ACTIVE
        if owner and owner != slot:
            row.owner = owner
            row.next_usage = self.row(owner).next_usage
            self.rows[owner].next_usage = slot
            self.rows[owner].usages += 1
        else:
            row.cseq = cseq
            row.cseq_mark = cseq_mark
        self.rows[row.owner].remote_cseq = remote_cseq
        group.rows += 1
        row.position = group.slots.count
        if vector_push(&group.slots, slot) < 0:
            raise MemoryError
        self.arm_expiry(slot)

    cdef int set_parts(self, Row* row, tuple dialog) except -1:
        cdef size_t total = 0
        cdef int i
        cdef bytes part
        cdef char* blob
        if len(dialog) != PART_COUNT:
            raise ValueError("a dialog has nine parts")
        for i in range(PART_COUNT):
            part = dialog[i]
            total += len(part)
        if total > MAX_DIALOG_BYTES:
            raise ValueError("the dialog's header fields are too long")
        blob = <char*>malloc(total + 1)
        if blob == NULL:
            raise MemoryError
        free(row.blob)
        row.blob = blob
        for i in range(PART_COUNT):
            part = dialog[i]
            row.size[i] = <uint16_t>len(part)
            memcpy(blob, <const char*>part, len(part))
            blob += len(part)
        return 0

    def set_target(self, uint32_t slot, uint16_t link, str host, uint16_t port, uint32_t flow=0):
        """Say where NOTIFYs of the row go: an address on a UDP link, or a stream's flow number."""
        cdef Row* row = self.row(slot)
        if link >= self.link_count:
            raise ValueError("no such link")
        if host:
            parse_address(host, row.address)
        row.port = port
        row.link = link
        row.flow = flow

    def set_flow(self, uint32_t slot, uint32_t flow):
        """Send the row's NOTIFYs on another connection of the same listener."""
        self.row(slot).flow = flow

    def retarget(self, uint32_t slot, bytes uri, bytes route):
        """Replace the remote target after a target refresh (RFC 3261 section 12.2.2)."""
        cdef Row* row = self.row(slot)
        cdef list parts = [part_bytes(row, i) for i in range(PART_COUNT)]
        parts[PART_URI] = uri
        parts[PART_ROUTE] = route
        self.set_parts(row, tuple(parts))

    def find(self, Message request):
        """Return the slot of the dialog a request belongs to, by To-tag, Call-ID and From-tag; 0 when it is not ours."""
        cdef SipMsg* m = &request.m
        return self.find_dialog(m.buf + m.to_tag.off, m.to_tag.len, m.buf + m.call_id.off, m.call_id.len,
                                m.buf + m.from_tag.off, m.from_tag.len)

    def find_tag(self, bytes to_tag, bytes call_id, bytes from_tag):
        """Return the slot of the dialog with these identifiers, 0 when it is not ours."""
        return self.find_dialog(to_tag, len(to_tag), call_id, len(call_id), from_tag, len(from_tag))

    cdef uint32_t find_dialog(self, const char* tag, uint32_t tag_size, const char* call_id, uint32_t call_id_size,
                              const char* from_tag, uint32_t from_tag_size) noexcept nogil:
        cdef int64_t slot, check
        cdef Row* row
        if tag_size != TAG_SIZE:
            return 0
        slot = read_hex(tag + 2, 8)
        check = read_hex(tag + 10, 8)
        if slot <= 0 or slot >= self.used or check < 0 or read_hex(tag, 2) != self.shard:
            return 0
        row = &self.rows[slot]
        if row.state == ROW_FREE or row.tag_check != <uint32_t>check or row.owner != <uint32_t>slot:
            return 0
        if row.blob == NULL or row.size[PART_LOCAL_TAG]:
            return 0
        if not part_equal(row, PART_CALL_ID, call_id, call_id_size):
            return 0
        if not part_equal(row, PART_REMOTE_TAG, from_tag, from_tag_size):
            return 0
        return <uint32_t>slot

    def usage(self, uint32_t owner, bytes event, bytes event_id):
        """Return the dialog's running subscription for (event, id), 0 when there is none (RFC 6665 section 4.5.1)."""
        cdef uint32_t slot = self.row(owner).owner
        cdef Row* row
        cdef Group* group
        while slot:
            row = &self.rows[slot]
            if row.state == ROW_ACTIVE or row.state == ROW_PENDING:
                group = &self.groups[row.group]
                if (group.event_size == len(event) and memcmp(group.event, <const char*>event, len(event)) == 0
                        and part_equal(row, PART_EVENT_ID, event_id, len(event_id))):
                    return slot
            slot = row.next_usage
        return 0

    def refresh(self, uint32_t slot, *, uint32_t expires_at, uint32_t remote_cseq, uint32_t cseq_mark):
        """Extend a subscription after its refresh was committed."""
        cdef Row* row = self.row(slot)
        cdef Row* owner = &self.rows[row.owner]
        row.expires_at = expires_at
        owner.remote_cseq = remote_cseq
        self.raise_mark(owner, cseq_mark)
        if expires_at < row.expiry_entry or row.expiry_entry == 0:
            self.arm_expiry(slot)

    cdef void raise_mark(self, Row* owner, uint32_t cseq_mark) noexcept nogil:
        if cseq_mark > owner.cseq_mark:
            owner.cseq_mark = cseq_mark
            owner.flags &= ~FLAG_RESERVING

    def admit(self, uint32_t slot, *, bint pending, uint16_t view):
        """Set what the policy decided about the watcher."""
        cdef Row* row = self.row(slot)
        if row.state == ROW_ACTIVE or row.state == ROW_PENDING:
            row.state = ROW_PENDING if pending else ROW_ACTIVE
            row.view = view

    cdef void leave_group(self, uint32_t slot) noexcept nogil:
        cdef Row* row = &self.rows[slot]
        cdef Group* group = &self.groups[row.group]
        cdef uint32_t last
        if row.state != ROW_ACTIVE and row.state != ROW_PENDING:
            return
        group.slots.count -= 1
        last = group.slots.items[group.slots.count]
        group.slots.items[row.position] = last
        self.rows[last].position = row.position

    def release(self, uint32_t slot):
        """Free a row without a word to the watcher (481, a reservation not used)."""
        self.row(slot)
        self.release_row(slot)

    cdef void release_row(self, uint32_t slot) noexcept nogil:
        cdef Row* row = &self.rows[slot]
        cdef uint32_t owner = row.owner
        cdef uint32_t at
        if row.state == ROW_FREE or row.state == ROW_GONE:
            return
        self.leave_group(slot)
        if row.group:
            self.groups[row.group].rows -= 1
        if row.flight == FLIGHT_FLYING:
            self.in_flight -= 1
        drop_body(row.flying)
        row.flying = NULL
        row.flight = FLIGHT_IDLE
        row.state = ROW_GONE
        self.live -= 1
        if owner != slot:
            at = owner
            while at and self.rows[at].next_usage != slot:
                at = self.rows[at].next_usage
            if at:
                self.rows[at].next_usage = row.next_usage
            self.clear_row(slot)
        self.rows[owner].usages -= 1
        # The dialog's first row keeps the CSeq of the others until the last of them has ended.
        if self.rows[owner].usages == 0:
            self.clear_row(owner)

    cdef void clear_row(self, uint32_t slot) noexcept nogil:
        free(self.rows[slot].blob)
        memset(&self.rows[slot], 0, sizeof(Row))
        self.rows[slot].next_free = self.free_head
        self.free_head = slot

    cdef void arm_expiry(self, uint32_t slot) noexcept nogil:
        # The entry of record: any other entry that comes up for the row is stale.
        cdef Row* row = &self.rows[slot]
        cdef uint32_t horizon = <uint32_t>self.expiries.current + 4000
        row.expiry_entry = min(row.expires_at, horizon)
        self.expiries.arm(slot, row.expiry_entry)

    # ---- reading rows ----

    def usages(self, uint32_t owner):
        """Return the slots of the dialog's running subscriptions (RFC 6665 section 4.5.1)."""
        cdef list slots = []
        cdef uint32_t slot = self.row(owner).owner
        while slot:
            if self.rows[slot].state == ROW_ACTIVE or self.rows[slot].state == ROW_PENDING:
                slots.append(slot)
            slot = self.rows[slot].next_usage
        return slots

    def flight(self, uint32_t slot):
        """Return what the row's NOTIFY is doing: 'idle', 'queued', 'flying', 'held', 'asked', 'backoff', 'failed'."""
        return FLIGHTS[self.row(slot).flight]

    def state(self, uint32_t slot):
        """Return the row's state: 'free', 'embryo', 'active', 'pending', 'terminated' or 'gone'."""
        if slot == 0 or slot >= self.used:
            return "free"
        return ROW_STATES[self.rows[slot].state]

    def dialog(self, uint32_t slot):
        """Return the dialog's parts as given to `fill`, with our tag and Contact made explicit."""
        cdef Row* row = self.row(slot)
        cdef list parts = [part_bytes(row, i) for i in range(PART_COUNT)]
        parts[PART_LOCAL_TAG] = self.to_tag(slot)
        parts[PART_LOCAL_CONTACT] = self.contact(slot, row.link)
        return tuple(parts)

    def facts(self, uint32_t slot):
        """Return (group, link, flow, owner, view, pending, cseq, cseq_mark, remote_cseq, expires_at, subscribed_at)."""
        cdef Row* row = self.row(slot)
        cdef Row* owner = &self.rows[row.owner]
        return (row.group, row.link, row.flow, row.owner, row.view, row.state == ROW_PENDING, owner.cseq,
                owner.cseq_mark, owner.remote_cseq, row.expires_at, row.subscribed_at)

    def target(self, uint32_t slot):
        """Return (host, port) NOTIFYs of the row go to."""
        cdef Row* row = self.row(slot)
        return format_address(row.address), row.port

    def __len__(self):
        return self.live


cdef bytes part_bytes(Row* row, int part):
    cdef uint32_t offset = 0
    cdef int i
    if row.blob == NULL:
        return b""
    for i in range(part):
        offset += row.size[i]
    return row.blob[offset:offset + row.size[part]]


cdef bint part_equal(Row* row, int part, const char* text, size_t size) noexcept nogil:
    cdef uint32_t offset = 0
    cdef int i
    if row.size[part] != size:
        return False
    for i in range(part):
        offset += row.size[i]
    return memcmp(row.blob + offset, text, size) == 0


cdef char* copy_bytes(bytes text) except NULL:
    cdef char* copy = <char*>malloc(len(text) + 1)
    if copy == NULL:
        raise MemoryError
    memcpy(copy, <const char*>text, len(text))
    return copy
