# The slab of subscriptions: rows named by slot, the strings of their dialogs, and how a dialog's first row is found.
# Uses: pool, chunks, targets, parts, timers, message. Used by: watchers (each class of this family adds one concern).

from collections import namedtuple

SubscriptionFacts = namedtuple(
    "SubscriptionFacts",
    "group link flow owner view pending cseq cseq_mark remote_cseq expires_at subscribed_at row_id explicit",
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
                  bytes user_agent=b"", bytes contact_user=b"", uint32_t expires_offset_s=0, bint segmenting=True, uint32_t datagram_most=0,
                  uint8_t shard=0, bytes allow_events=b"", bint gruu=False):
        if len(secret) < 16:
            raise ValueError("secret must have 16 bytes")
        if len(contact_user) > CONTACT_USER_MOST:
            raise ValueError("the user part of our Contact is too long")
        memcpy(&self.secret, <const char*>secret, 8)
        memcpy(&self.random, <const char*>secret + 8, 8)
        self.epoch = now
        self.t1_ms = t1_ms
        self.t2_ms = t2_ms
        self.shard = shard
        self.segmenting = segmenting
        self.datagram_most = datagram_most if datagram_most else 0xFFFFFFFF
        self.expires_offset_s = expires_offset_s
        self.contact_user = contact_user
        self.contact_user_text = self.contact_user
        self.contact_user_size = len(contact_user)
        self.user_agent = b"User-Agent: " + user_agent + b"\r\n" if user_agent else b""
        self.user_agent_text = self.user_agent
        self.user_agent_size = len(self.user_agent)
        self.gruu = gruu
        self.allow_events = b"Allow-Events: " + allow_events + b"\r\n" if allow_events else b""
        self.allow_events_text = self.allow_events
        self.allow_events_size = len(self.allow_events)
        self.retransmissions = Wheel(0.01, now, 4096)
        self.expiries = Wheel(1.0, now, 4096)
        self.scratch = <char*>malloc(SCRATCH_BYTES)
        if self.scratch == NULL:
            raise MemoryError
        open_pool(&self.row_pool, sizeof(Row))
        open_pool(&self.group_pool, sizeof(Group))
        open_pool(&self.target_pool, sizeof(Target))
        open_pool(&self.doubt_pool, sizeof(Doubt))
        self.rows = <Row*>self.row_pool.items
        self.groups = <Group*>self.group_pool.items
        self.targets = <Target*>self.target_pool.items
        cdef Target one
        cdef char* start = <char*>&one
        open_index(&self.target_index, &self.target_pool, <uint32_t>(<char*>&one.key - start),
                   <uint32_t>(<char*>&one.next - start))
        cdef Doubt doubt
        start = <char*>&doubt
        open_index(&self.doubt_index, &self.doubt_pool, <uint32_t>(<char*>&doubt.key - start),
                   <uint32_t>(<char*>&doubt.next - start))
        self.outbox = []
        self.events_named = {}

    def __dealloc__(self):
        cdef uint32_t i
        for i in range(self.row_pool.used):
            if self.row_pool.stretches[i // STRETCH]:
                drop_body(self.rows[i].flying)
        for i in range(self.group_pool.used):
            if self.groups[i].live:
                clear_group(&self.groups[i])
        for i in range(self.link_count):
            free(self.links[i].via)
            free(self.links[i].contact)
        close_index(&self.target_index)
        close_index(&self.doubt_index)
        close_pool(&self.doubt_pool)
        close_pool(&self.row_pool)
        close_pool(&self.group_pool)
        close_pool(&self.target_pool)
        close_chunks(&self.texts.chunks)
        free(self.ring)
        free(self.events)
        free(self.elsewhere.items)
        free(self.scratch)

    # ---- links: the sockets NOTIFYs leave by ----

    def add_link(self, int fd, *, bint reliable, bytes via, bytes contact):
        """Register a way out and return its number.

        `via` is the sent-protocol and sent-by of our Via ("UDP 192.0.2.1:5060"), `contact` what stands behind the @
        of our Contact. A UDP socket's `fd` is written to directly; with fd -1 messages go to `outbox`.
        """
        if self.link_count == MAX_LINKS:
            raise ValueError("too many listeners")
        if len(contact) > CONTACT_HOST_MOST:
            raise ValueError("the host of our Contact is too long")
        cdef Link* link = &self.links[self.link_count]
        memset(link, 0, sizeof(Link))
        link.fd = fd
        link.family = socket_family(fd) if fd >= 0 else AF_INET
        link.reliable = reliable
        link.stream = NO_LINK
        link.segments = fd >= 0 and not reliable and knows_segments(fd)
        link.via = copy_bytes(via)
        link.via_size = len(via)
        link.contact = copy_bytes(contact)
        link.contact_size = len(contact)
        self.link_count += 1
        if fd >= 0 and not reliable:
            # Half of what the receive buffer holds: answers to all that leaves at once must fit, beside requests.
            self.window += receive_buffer(fd) // (2 * ANSWER_BYTES)
            self.credit = self.window
        return self.link_count - 1

    def pair_links(self, uint16_t link, uint16_t stream):
        """Let NOTIFYs too large for a UDP link leave by a stream's, to the same address (RFC 3261 section 18.1.1)."""
        if link >= self.link_count or stream >= self.link_count or self.links[link].reliable:
            raise ValueError("no such links")
        self.links[link].stream = stream

    cdef uint16_t way_of(self, const Row* row) noexcept nogil:
        # The link that the row's NOTIFY in flight leaves by.
        cdef uint16_t link = self.targets[row.target].link
        if row.flags & FLAG_STREAM and self.links[link].stream != NO_LINK:
            return self.links[link].stream
        return link

    # ---- rows ----

    cdef Row* row(self, uint32_t slot) except NULL:
        if slot == 0 or slot >= self.row_pool.used or self.rows[slot].state == ROW_FREE:
            raise KeyError(f"no subscription {slot}")
        return &self.rows[slot]

    def reserve(self):
        """Take a free row for a subscription to come and return its slot."""
        cdef uint32_t slot = take_lowest(&self.row_pool)
        if slot == 0:
            raise MemoryError
        self.random = mix(self.random + 0x9E3779B97F4A7C15ULL)
        self.embody(slot, <uint32_t>mix(self.random ^ self.secret))
        return slot

    def reserve_tagged(self, bytes to_tag):
        """Take the row that a To-tag of ours names (after a restart); 0 when the tag is foreign or the row taken."""
        return self.take_tagged(to_tag, len(to_tag))

    cdef uint32_t take_tagged(self, const char* tag, size_t size) noexcept nogil:
        cdef int64_t slot, check
        if size != TAG_SIZE:
            return 0
        slot = read_hex(tag + 2, 8)
        check = read_hex(tag + 10, 8)
        if slot <= 0 or check < 0 or slot > MAX_SLOT or read_hex(tag, 2) != self.shard:
            return 0
        if not take_number(&self.row_pool, <uint32_t>slot):
            return 0
        self.embody(<uint32_t>slot, <uint32_t>check)
        return <uint32_t>slot

    cdef void embody(self, uint32_t slot, uint32_t tag_check) noexcept nogil:
        # The number was just taken: the rows may lie elsewhere now.
        self.rows = <Row*>self.row_pool.items
        self.rows[slot].state = ROW_EMBRYO
        self.rows[slot].owner = slot
        self.rows[slot].tag_check = tag_check
        self.live += 1

    def to_tag(self, uint32_t slot):
        """Return our tag of the dialog: shard, slot and a random check."""
        cdef Row* row = self.row(self.row(slot).owner)
        cdef char text[TAG_SIZE]
        cdef Parts parts
        self.read_parts(row, &parts)
        if parts.size[PART_LOCAL_TAG]:
            return part_of(&parts, PART_LOCAL_TAG)
        self.write_tag(row, text)
        return text[:TAG_SIZE]

    cdef void write_tag(self, Row* row, char* out) noexcept nogil:
        write_hex(out, self.shard, 2)
        write_hex(out + 2, row.owner, 8)
        write_hex(out + 10, self.rows[row.owner].tag_check, 8)

    cdef int write_contact(self, Row* row, uint16_t via, char* out) noexcept nogil:
        # "sip:~SSssssssss.user@host:port": shard and slot at a fixed offset so that a router can find them.
        cdef char* start = out
        cdef Link* link = &self.links[via]
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
        if self.gruu:
            # A self-made GRUU (RFC 5627 section 3.2). The slot is used again, the value of gr is not.
            memcpy(out, b";gr=", 4)
            out += 4 + write_hex(out + 4, self.gruu_key(row.owner), 8)
        return <int>(out - start)

    cdef uint32_t gruu_key(self, uint32_t owner) noexcept nogil:
        # The same after a restart; the check in the To-tag cannot be told from it.
        return <uint32_t>(mix(<uint64_t>owner << 32 | self.rows[owner].tag_check) >> 32)

    def contact(self, uint32_t slot, uint16_t link):
        """Return the URI of our Contact for a dialog that came in on `link`."""
        cdef Row* row = self.row(slot)
        cdef char text[1024]
        cdef Parts parts
        if link >= self.link_count:
            raise ValueError("no such link")
        self.read_parts(row, &parts)
        if parts.size[PART_LOCAL_CONTACT]:
            return part_of(&parts, PART_LOCAL_CONTACT)
        return text[:self.write_contact(row, link, text)]

    # ---- the strings of a dialog: nine lengths of one byte (two, where a string is long), then the bytes ----

    cdef void read_parts(self, const Row* row, Parts* parts) noexcept nogil:
        cdef const char* at
        cdef const uint8_t* lengths
        cdef uint16_t wide[PART_COUNT]
        cdef int i
        if row.text == 0:
            memset(parts, 0, sizeof(Parts))
            return
        at = block_at(&self.texts.chunks, row.text)
        lengths = <const uint8_t*>at
        at += PART_COUNT
        if row.flags & FLAG_WIDE:
            memcpy(wide, lengths, 2 * PART_COUNT)
            at += PART_COUNT
            for i in range(PART_COUNT):
                parts.size[i] = wide[i]
                parts.at[i] = at
                at += wide[i]
        else:
            for i in range(PART_COUNT):
                parts.size[i] = lengths[i]
                parts.at[i] = at
                at += lengths[i]
        if row.flags & FLAG_GROUP_LOCAL:
            parts.at[PART_LOCAL] = self.groups[row.group].local
            parts.size[PART_LOCAL] = self.groups[row.group].local_size

    cdef bint part_equal(self, const Row* row, int part, const char* text, size_t size) noexcept nogil:
        cdef Parts parts
        self.read_parts(row, &parts)
        return parts.size[part] == size and (size == 0 or memcmp(parts.at[part], text, size) == 0)

    cdef int keep_parts(self, Row* row, const Parts* parts) noexcept nogil:
        # `parts` may point into what the row has now. -1 when there is no memory, and nothing has changed then.
        cdef Group* group = &self.groups[row.group]
        cdef uint32_t size[PART_COUNT]
        cdef uint32_t block, total = PART_COUNT
        cdef int i
        cdef bint wide = False, shared = False
        cdef char* at
        memcpy(size, parts.size, sizeof(size))
        if group.live and size[PART_LOCAL]:
            if group.local == NULL:
                group.local = <char*>malloc(size[PART_LOCAL])
                if group.local == NULL:
                    return -1
                memcpy(group.local, parts.at[PART_LOCAL], size[PART_LOCAL])
                group.local_size = <uint16_t>size[PART_LOCAL]
            shared = group.local_size == size[PART_LOCAL] and memcmp(group.local, parts.at[PART_LOCAL], size[PART_LOCAL]) == 0
            if shared:
                size[PART_LOCAL] = 0
        for i in range(PART_COUNT):
            wide = wide or size[i] > 255
            total += size[i]
        block = take_block(&self.texts, total + PART_COUNT if wide else total)
        if block == 0:
            return -1
        at = block_at(&self.texts.chunks, block)
        for i in range(PART_COUNT):
            if wide:
                at[0] = <char>(size[i] & 255)
                at[1] = <char>(size[i] >> 8)
                at += 2
            else:
                at[0] = <char>size[i]
                at += 1
        for i in range(PART_COUNT):
            if size[i]:
                memcpy(at, parts.at[i], size[i])
            at += size[i]
        drop_block(&self.texts, row.text)
        row.text = block
        row.flags &= ~(FLAG_WIDE | FLAG_GROUP_LOCAL)
        row.flags |= (FLAG_WIDE if wide else 0) | (FLAG_GROUP_LOCAL if shared else 0)
        return 0

    def retarget(self, uint32_t slot, bytes uri, bytes route):
        """Replace the remote target after a target refresh (RFC 3261 section 12.2.2)."""
        cdef Row* row = self.row(slot)
        cdef Parts parts
        self.read_parts(row, &parts)
        # Nearly every refresh names the target it had.
        if (parts.size[PART_URI] == <size_t>len(uri) and memcmp(parts.at[PART_URI], <const char*>uri, len(uri)) == 0
                and parts.size[PART_ROUTE] == <size_t>len(route)
                and memcmp(parts.at[PART_ROUTE], <const char*>route, len(route)) == 0):
            return
        parts.at[PART_URI] = uri
        parts.size[PART_URI] = <uint32_t>min(<size_t>len(uri), <size_t>MAX_DIALOG_BYTES + 1)
        parts.at[PART_ROUTE] = route
        parts.size[PART_ROUTE] = <uint32_t>min(<size_t>len(route), <size_t>MAX_DIALOG_BYTES + 1)
        check_size(&parts)
        if self.keep_parts(row, &parts) < 0:
            raise MemoryError

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
        cdef Parts parts
        if tag_size != TAG_SIZE:
            return 0
        slot = read_hex(tag + 2, 8)
        check = read_hex(tag + 10, 8)
        if slot <= 0 or slot >= self.row_pool.used or check < 0 or read_hex(tag, 2) != self.shard:
            return 0
        row = &self.rows[slot]
        if row.state == ROW_FREE or row.tag_check != <uint32_t>check or row.owner != <uint32_t>slot:
            return 0
        self.read_parts(row, &parts)
        if row.text == 0 or parts.size[PART_LOCAL_TAG]:
            return 0
        if parts.size[PART_CALL_ID] != call_id_size or memcmp(parts.at[PART_CALL_ID], call_id, call_id_size) != 0:
            return 0
        if parts.size[PART_REMOTE_TAG] != from_tag_size or memcmp(parts.at[PART_REMOTE_TAG], from_tag, from_tag_size) != 0:
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
        if slot == 0 or slot >= self.row_pool.used:
            return "free"
        return ROW_STATES[self.rows[slot].state]

    def dialog(self, uint32_t slot):
        """Return the dialog's parts as given to `fill`, with our tag and Contact made explicit."""
        cdef Row* row = self.row(slot)
        cdef Parts parts
        cdef list texts
        self.read_parts(row, &parts)
        texts = [part_of(&parts, i) for i in range(PART_COUNT)]
        texts[PART_LOCAL_TAG] = self.to_tag(slot)
        texts[PART_LOCAL_CONTACT] = self.contact(slot, self.targets[row.target].link)
        return tuple(texts)

    def facts(self, uint32_t slot):
        """Return the row's numbers; CSeq and remote CSeq are those of its dialog."""
        cdef Row* row = self.row(slot)
        cdef Row* owner = &self.rows[row.owner]
        cdef Target* target = &self.targets[row.target]
        return SubscriptionFacts(
            row.group, target.link, target.flow, row.owner, row.view, row.state == ROW_PENDING, owner.cseq,
            owner.cseq_mark, owner.remote_cseq, row.expires_at, row.subscribed_at, row.row_id,
            target.explicit != 0,
        )

    def slots_of(self, set row_ids):
        """Return the slots of the subscriptions with those row numbers, in either of the two tables."""
        cdef uint32_t slot
        return [
            slot for slot in range(1, self.row_pool.used)
            if self.rows[slot].row_id and self.rows[slot].state != ROW_FREE and self.rows[slot].row_id in row_ids
        ]

    def target(self, uint32_t slot):
        """Return (host, port) NOTIFYs of the row go to."""
        cdef Target* target = &self.targets[self.row(slot).target]
        return format_address(target.address), target.port

    def memory(self):
        """Return the bytes held now by part of the table; what is below is numbers of rows that fell empty."""
        return {
            "rows": held_bytes(&self.row_pool), "groups": held_bytes(&self.group_pool),
            "targets": held_bytes(&self.target_pool), "texts": <uint64_t>self.texts.chunks.mapped * CHUNK_BYTES,
        }

    def __len__(self):
        return self.live
