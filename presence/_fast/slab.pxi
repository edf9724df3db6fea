# The slab of subscriptions: rows named by slot, the strings of their dialogs, and how a dialog's first row is found.
# Uses: parts, timers, message. Used by: watchers (each class of this family adds one concern).

from collections import namedtuple

SubscriptionFacts = namedtuple(
    "SubscriptionFacts",
    "group link flow owner view pending cseq cseq_mark remote_cseq expires_at subscribed_at row_id",
    module="presence._fastcore",
)
ROW_STATES = ("free", "embryo", "pending", "active", "terminated", "gone")
FLIGHTS = ("idle", "queued", "flying", "held", "asked", "backoff", "failed")


cdef class SubscriptionSlab:
    """Rows of subscriptions and the links they are reached by.

    A row is named by its slot, which the To-tag and the Contact we give out carry (with a random check), so that a
    request in the dialog and the response to a NOTIFY find their row by index.
    """

    def __cinit__(self, bytes secret, double now, *, uint32_t t1_ms=500, uint32_t t2_ms=4000,
                  bytes user_agent=b"", bytes contact_user=b"", uint32_t expires_offset_s=0, bint segmenting=True, uint8_t shard=0):
        if len(secret) < 16:
            raise ValueError("secret must have 16 bytes")
        memcpy(&self.secret, <const char*>secret, 8)
        memcpy(&self.random, <const char*>secret + 8, 8)
        self.epoch = now
        self.t1_ms = t1_ms
        self.t2_ms = t2_ms
        self.shard = shard
        self.segmenting = segmenting
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
        link.segments = fd >= 0 and not reliable and knows_segments(fd)
        link.via = copy_bytes(via)
        link.via_size = len(via)
        link.contact = copy_bytes(contact)
        link.contact_size = len(contact)
        self.link_count += 1
        return self.link_count - 1

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

    cdef int copy_parts(self, Row* row, const char* buf, const Span* spans) except -1:
        # The strings of a new row straight out of a request; short, as a plain request's are.
        cdef size_t total = 0
        cdef int i
        for i in range(PART_COUNT):
            total += spans[i].len
        row.blob = <char*>malloc(total + 1)
        if row.blob == NULL:
            raise MemoryError
        total = 0
        for i in range(PART_COUNT):
            row.size[i] = <uint16_t>spans[i].len
            memcpy(row.blob + total, buf + spans[i].off, spans[i].len)
            total += spans[i].len
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
        """Return the row's numbers; CSeq and remote CSeq are those of its dialog."""
        cdef Row* row = self.row(slot)
        cdef Row* owner = &self.rows[row.owner]
        return SubscriptionFacts(row.group, row.link, row.flow, row.owner, row.view, row.state == ROW_PENDING,
                                 owner.cseq, owner.cseq_mark, owner.remote_cseq, row.expires_at, row.subscribed_at,
                                 row.row_id)

    def slots_of(self, set row_ids):
        """Return the slots of the subscriptions with those row numbers, in either of the two tables."""
        cdef uint32_t slot
        return [
            slot for slot in range(1, self.used)
            if self.rows[slot].row_id and self.rows[slot].state != ROW_FREE and self.rows[slot].row_id in row_ids
        ]

    def target(self, uint32_t slot):
        """Return (host, port) NOTIFYs of the row go to."""
        cdef Row* row = self.row(slot)
        return format_address(row.address), row.port

    def __len__(self):
        return self.live
