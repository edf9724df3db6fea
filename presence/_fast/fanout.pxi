# Fan-out: NOTIFYs rendered from rows and sent in batches; a retransmission is rendered again, never stored.
# Uses: switching, datagrams' batches. Used by: Python.

cdef class Fanout(SwitchingFlights):
    """The watcher table with its way out. Not thread-safe; `pump` releases the GIL while it renders and sends."""

    # ---- sending ----

    cdef bint prepare(self, uint32_t slot, double now) noexcept nogil:
        # Take the next CSeq and the newest state for a queued row; False when it has to wait.
        cdef Row* row = &self.rows[slot]
        cdef Row* owner = &self.rows[row.owner]
        cdef Group* group = &self.groups[row.group]
        cdef Body* body = NULL
        cdef double until
        if row.flags & FLAG_WITHHELD:
            row.flight = FLIGHT_HELD
            return False
        if owner.cseq >= owner.cseq_mark:
            row.flight = FLIGHT_HELD
            if not owner.flags & FLAG_RESERVING:
                owner.flags |= FLAG_RESERVING
                self.report(slot, EVENT_RESERVE, 0, 0)
            return False
        owner.cseq += 1
        if owner.cseq + RESERVED_CSEQS // 4 >= owner.cseq_mark and not owner.flags & FLAG_RESERVING:
            owner.flags |= FLAG_RESERVING
            self.report(slot, EVENT_RESERVE, 0, 0)
        if row.flags & FLAG_OWN_BODY:
            row.flags &= ~FLAG_OWN_BODY
        else:
            drop_body(row.flying)
            row.flying = NULL
            # Who is pending sees a document that says so, at most, never the whole one.
            if (row.state == ROW_ACTIVE or (row.state == ROW_PENDING and row.view != 1)
                    or (row.state == ROW_TERMINATED and row.flags & FLAG_FINAL_BODY)):
                if row.view < group.view_count:
                    body = group.views[row.view].body
                if body != NULL:
                    body.refs += 1
                    row.flying = body
        row.flying_cseq = owner.cseq
        row.flying_state = row.state
        # Rounded up: a second too few each time would make clients refresh ever earlier.
        until = <double>row.expires_at - self.expires_offset_s
        row.flying_left = <uint32_t>(until - now + 0.999) if until > now else 0
        row.flight = FLIGHT_FLYING
        row.flags &= ~FLAG_STREAM
        row.began_ms = self.milliseconds(now)
        row.interval_ms = self.t1_ms
        if row.flags & FLAG_UNPROVEN:
            row.flags |= FLAG_ASKED
        self.in_flight += 1
        self.sent += 1
        return True

    cdef uint32_t head_size(self, Row* row) noexcept nogil:
        # An upper bound of what render writes.
        cdef Link* link = &self.links[self.targets[row.target].link]
        cdef Group* group = &self.groups[row.group]
        return (720 + self.allow_events_size + block_room(&self.texts, row.text) + self.links[self.way_of(row)].via_size + link.contact_size + group.local_size
                + group.event_size + self.user_agent_size + self.contact_user_size)

    cdef uint32_t render(self, uint32_t slot, char* out) noexcept nogil:
        # The head of the row's NOTIFY up to Subscription-State; the same bytes again for a retransmission.
        cdef Row* row = &self.rows[slot]
        cdef Group* group = &self.groups[row.group]
        # Our Contact stays what it is when one NOTIFY takes another way than the others.
        cdef uint16_t home = self.targets[row.target].link
        cdef Link* link = &self.links[self.way_of(row)]
        cdef char* p = out
        cdef Parts parts
        self.read_parts(row, &parts)
        p = emit(p, b"NOTIFY ", 7)
        p = emit(p, parts.at[PART_URI], parts.size[PART_URI])
        p = emit(p, b" SIP/2.0\r\nVia: SIP/2.0/", 23)
        p = emit(p, link.via, link.via_size)
        p = emit(p, b";rport;branch=z9hG4bKpr", 23)
        p += write_hex(p, self.shard, 2)
        p += write_hex(p, slot, 8)
        p += write_hex(p, self.branch_key(slot, row.flying_cseq), 8)
        p = emit(p, b"\r\nMax-Forwards: 70\r\n", 20)
        if parts.size[PART_ROUTE]:
            p = emit(p, b"Route: ", 7)
            p = emit(p, parts.at[PART_ROUTE], parts.size[PART_ROUTE])
            p = emit(p, b"\r\n", 2)
        p = emit(p, b"From: ", 6)
        p = emit(p, parts.at[PART_LOCAL], parts.size[PART_LOCAL])
        p = emit(p, b";tag=", 5)
        if parts.size[PART_LOCAL_TAG]:
            p = emit(p, parts.at[PART_LOCAL_TAG], parts.size[PART_LOCAL_TAG])
        else:
            self.write_tag(row, p)
            p += TAG_SIZE
        p = emit(p, b"\r\nTo: ", 6)
        p = emit(p, parts.at[PART_REMOTE], parts.size[PART_REMOTE])
        if parts.size[PART_REMOTE_TAG]:
            p = emit(p, b";tag=", 5)
            p = emit(p, parts.at[PART_REMOTE_TAG], parts.size[PART_REMOTE_TAG])
        p = emit(p, b"\r\nCall-ID: ", 11)
        p = emit(p, parts.at[PART_CALL_ID], parts.size[PART_CALL_ID])
        p = emit(p, b"\r\nCSeq: ", 8)
        p = emit_number(p, row.flying_cseq)
        p = emit(p, b" NOTIFY\r\nContact: <", 19)
        if parts.size[PART_LOCAL_CONTACT]:
            p = emit(p, parts.at[PART_LOCAL_CONTACT], parts.size[PART_LOCAL_CONTACT])
        else:
            p += self.write_contact(row, home, p)
        p = emit(p, b">\r\nEvent: ", 10)
        p = emit(p, group.event, group.event_size)
        if parts.size[PART_EVENT_ID]:
            p = emit(p, b";id=", 4)
            p = emit(p, parts.at[PART_EVENT_ID], parts.size[PART_EVENT_ID])
        p = emit(p, b"\r\n", 2)
        if row.flying_cseq == 1:
            # The request that makes the dialog for the subscriber says it (RFC 6665 sections 4.4.1 and 4.4.4).
            p = emit(p, self.allow_events_text, self.allow_events_size)
        if self.gruu:
            p = emit(p, b"Supported: gruu\r\n", 17)
        p = emit(p, self.user_agent_text, self.user_agent_size)
        self.pad_at = <uint32_t>(p - out) - 2
        if row.flying_state == ROW_TERMINATED:
            p = emit(p, b"Subscription-State: terminated;reason=", 38)
            p = emit(p, REASONS[row.reason], <uint32_t>strlen(REASONS[row.reason]))
        else:
            if row.flying_state == ROW_PENDING:
                p = emit(p, b"Subscription-State: pending;expires=", 36)
            else:
                p = emit(p, b"Subscription-State: active;expires=", 35)
            p = emit_number(p, row.flying_left)
        p = emit(p, b"\r\n", 2)
        if row.flying == NULL:
            p = emit(p, b"Content-Length: 0\r\n\r\n", 21)
        return <uint32_t>(p - out)

    def pump(self, double now, uint32_t budget=256):
        """Send up to `budget` queued NOTIFYs and retransmissions; return how many more could be sent now.

        No more are sent ahead of their answers than the receive buffer could hold those of; answers make room, and so
        does time, for peers far away and peers that never answer.

        UDP links with a descriptor are written to directly. For the others (link, flow, host, port, data, slots) is
        appended to `outbox`: what goes over one connection is joined, in its order, up to JOINED_BYTES.
        """
        cdef uint32_t slot, count = 0
        cdef uint32_t slots[SLICE]
        cdef Target* target
        cdef Link* link
        if self.ring_count == 0:
            # Most turns send nothing: giving up the interpreter lock would cost more than they do.
            return 0
        if self.window:
            if self.milliseconds(now) - self.window_ms >= WINDOW_MS:
                self.window_ms = self.milliseconds(now)
                self.credit = self.window
            budget = <uint32_t>max(<int64_t>0, min(<int64_t>budget, self.credit))
        self.now_s, self.now_ms = <uint32_t>now, self.milliseconds(now)
        with nogil:
            while budget and self.ring_count:
                slot = self.ring[self.ring_head]
                self.ring_head = (self.ring_head + 1) & (self.ring_capacity - 1)
                self.ring_count -= 1
                self.fetch_ahead()
                if not self.take(slot, now):
                    continue
                budget -= 1
                self.credit -= 1
                target = &self.targets[self.rows[slot].target]
                link = &self.links[self.way_of(&self.rows[slot])]
                if target.port == 0 and target.flow == 0:
                    self.rows[slot].flags &= ~FLAG_ASKED
                    self.fail(slot, 430, 0)
                    continue
                if link.fd < 0:
                    if not link.reliable:
                        self.measure(slot)
                    vector_push(&self.elsewhere, slot)
                    continue
                slots[count] = slot
                count += 1
                if count == SLICE:
                    self.send_slice(slots, count)
                    count = 0
            self.send_slice(slots, count)
            for count in range(self.elsewhere.count):
                if self.rows[self.elsewhere.items[count]].flags & FLAG_STREAM:
                    # No timer E any more.
                    self.arm_transaction(self.elsewhere.items[count], now, False)
            if self.ring_count == 0 and self.ring_capacity > RING_KEPT:
                free(self.ring)
                self.ring = NULL
                self.ring_capacity = 0
        try:
            if self.elsewhere.count:
                self.hand_over(&self.elsewhere)
        finally:
            free(self.elsewhere.items)
            memset(&self.elsewhere, 0, sizeof(U32Vector))
        if self.window and self.credit <= 0:
            return 0
        return self.ring_count

    cdef void fetch_ahead(self) noexcept nogil:
        # Rows and strings of one resource lie all over the table: what is waited for is memory. The rows of the next
        # ones in the queue are asked for first, a little later what the rows point at.
        cdef Row* row
        if self.ring_count > ROWS_AHEAD:
            row = &self.rows[self.ring[(self.ring_head + ROWS_AHEAD) & (self.ring_capacity - 1)]]
            pr_fetch(row)
            pr_fetch(<char*>row + 64)
        if self.ring_count > TEXTS_AHEAD:
            row = &self.rows[self.ring[(self.ring_head + TEXTS_AHEAD) & (self.ring_capacity - 1)]]
            if row.text:
                pr_fetch(block_at(&self.texts.chunks, row.text))
                pr_fetch(block_at(&self.texts.chunks, row.text) + 64)
            pr_fetch(&self.targets[row.target])

    cdef bint take(self, uint32_t slot, double now) noexcept nogil:
        # Make a row that came up in the queue ready to be rendered; False when there is nothing to send any more.
        cdef Row* row = &self.rows[slot]
        cdef bint again = row.flight == FLIGHT_FLYING
        if row.flight == FLIGHT_QUEUED:
            if row.state < ROW_PENDING or row.state > ROW_TERMINATED or not self.prepare(slot, now):
                return False
        elif row.flight == FLIGHT_FLYING and row.flags & FLAG_RESEND and not row.flags & FLAG_WITHHELD:
            row.flags &= ~FLAG_RESEND
            if row.flags & (FLAG_UNPROVEN | FLAG_ASKED) == FLAG_UNPROVEN:
                # It has got another target since, which did not ask for it.
                self.arm_transaction(slot, now, again)
                return False
            self.retransmitted += 1
        else:
            return False
        self.arm_transaction(slot, now, again)
        return True

    cdef void send_slice(self, uint32_t* slots, uint32_t count) noexcept nogil:
        # Rows that share a next hop go out together in the order they came; the others one datagram each.
        cdef Batch batch
        cdef uint64_t keys[SLICE]
        cdef uint32_t i, first = 0, run, most
        begin_batch(&batch, self.scratch, SCRATCH_BYTES)
        if count < SEGMENTS_LEAST or not self.segmenting or self.user_agent_size == 0:
            for i in range(count):
                self.post(&batch, slots[i])
            self.deliver(&batch)
            return
        for i in range(count):
            keys[i] = <uint64_t>self.rows[slots[i]].target << 32 | i
        qsort(keys, count, sizeof(uint64_t), compare_keys)
        while first < count:
            run = 1
            most = self.segments_most(slots[keys[first] & 0xFFFFFFFFULL])
            while first + run < count and run < most and keys[first + run] >> 32 == keys[first] >> 32:
                run += 1
            if run < SEGMENTS_LEAST or not self.send_segments(&batch, slots, &keys[first], run):
                for i in range(first, first + run):
                    self.post(&batch, slots[keys[i] & 0xFFFFFFFFULL])
            first += run
        self.deliver(&batch)

    cdef uint32_t segments_most(self, uint32_t slot) noexcept nogil:
        # How many NOTIFYs like this one fit into the 64 KiB of one call.
        cdef Row* row = &self.rows[slot]
        cdef uint32_t size = self.head_size(row) + (row.flying.size if row.flying != NULL else 0)
        return min(<uint32_t>SEGMENTS_MOST, (MAX_MESSAGE - 28) // size)

    cdef bint send_segments(self, Batch* batch, uint32_t* slots, uint64_t* keys, uint32_t run) noexcept nogil:
        # One system call for up to 64 NOTIFYs to one address (UDP_SEGMENT): the kernel cuts at equal lengths, so the
        # shorter ones get blanks at the end of their User-Agent line. False: nothing was sent, send them singly.
        cdef uint32_t sizes[SEGMENTS_MOST]
        cdef uint32_t pads[SEGMENTS_MOST]
        cdef sockaddr_storage address
        cdef socklen_t size
        cdef iovec parts[SEGMENTS_MOST * 2]
        cdef char* heads[SEGMENTS_MOST]
        cdef uint32_t i, blanks, length = 0, shortest = 0xFFFFFFFF
        cdef Row* row
        cdef Target* target = &self.targets[self.rows[slots[keys[0] & 0xFFFFFFFFULL]].target]
        cdef Link* link = &self.links[target.link]
        if not link.segments:
            return False
        # The scratch is shared with the batch: what is in it leaves first.
        self.deliver(batch)
        cdef char* at = self.scratch
        for i in range(run):
            row = &self.rows[slots[keys[i] & 0xFFFFFFFFULL]]
            if at + self.head_size(row) + SEGMENT_SLACK > self.scratch + SCRATCH_BYTES:
                return False
            heads[i] = at
            sizes[i] = self.render(slots[keys[i] & 0xFFFFFFFFULL], at)
            pads[i] = self.pad_at
            at += sizes[i] + SEGMENT_SLACK
            parts[2 * i].iov_base = heads[i]
            parts[2 * i + 1].iov_base = body_data(row.flying) if row.flying != NULL else NULL
            parts[2 * i + 1].iov_len = row.flying.size if row.flying != NULL else 0
            blanks = sizes[i] + <uint32_t>parts[2 * i + 1].iov_len
            length = max(length, blanks)
            shortest = min(shortest, blanks)
        if length - shortest > SEGMENT_SLACK or length * run > MAX_MESSAGE - 28:
            return False
        if length > self.datagram_most and self.may_switch(target):
            return False
        if length > SEGMENT_BYTES_MAX and not is_loopback(target.address):
            # What a link would have to fragment is no segment.
            return False
        for i in range(run):
            blanks = length - sizes[i] - <uint32_t>parts[2 * i + 1].iov_len
            if blanks:
                memmove(heads[i] + pads[i] + blanks, heads[i] + pads[i], sizes[i] - pads[i])
                memset(heads[i] + pads[i], c" ", blanks)
            parts[2 * i].iov_len = sizes[i] + blanks
        begin_batch(batch, self.scratch, SCRATCH_BYTES)
        size = write_sockaddr(&address, link.family, target.address, target.port)
        if send_segmented(link.fd, &address, size, parts, run * 2, <uint16_t>length) < 0:
            # This path cannot; a device that never can is not asked for ever.
            link.refusals += 1
            link.segments = link.refusals < SEGMENT_REFUSALS
            return False
        link.refusals = 0
        self.segmented += run
        return True

    cdef void post(self, Batch* batch, uint32_t slot) noexcept nogil:
        cdef Row* row = &self.rows[slot]
        cdef Target* target = &self.targets[row.target]
        cdef Link* link = &self.links[target.link]
        cdef uint32_t size = self.head_size(row)
        if batch.count == BATCH_SIZE or batch.room < size or (batch.count and batch.fd != link.fd):
            self.deliver(batch)
        batch.fd = link.fd
        size = self.render(slot, batch.next)
        if size + (row.flying.size if row.flying != NULL else 0) > self.datagram_most and self.may_switch(target):
            row.flags |= FLAG_STREAM
            self.switched_count += 1
            vector_push(&self.elsewhere, slot)
            return
        if row.flying != NULL:
            add_datagram(batch, size, body_data(row.flying), row.flying.size)
        else:
            add_datagram(batch, size, NULL, 0)
        address_datagram(batch, link.family, target.address, target.port)
        batch.slots[batch.count - 1] = slot

    cdef void measure(self, uint32_t slot) noexcept nogil:
        # Choose the way of a NOTIFY over UDP that is not sent from here.
        cdef Row* row = &self.rows[slot]
        cdef uint32_t tail = row.flying.size if row.flying != NULL else 0
        if (self.may_switch(&self.targets[row.target])
                and self.head_size(row) + tail > self.datagram_most
                and self.render(slot, self.scratch) + tail > self.datagram_most):
            row.flags |= FLAG_STREAM
            self.switched_count += 1

    cdef void deliver(self, Batch* batch) noexcept nogil:
        # What the kernel refuses is left to timer E, except a message that can never fit.
        cdef uint32_t i
        send_batch(batch)
        self.unsent += batch.refused
        for i in range(batch.count):
            if batch.too_large[i]:
                self.fail(batch.slots[i], 513, 0)
        begin_batch(batch, self.scratch, SCRATCH_BYTES)

    cdef int hand_over(self, U32Vector* queued) except -1:
        # By next hop, each in the order of the queue. Without a connection each message goes by itself.
        cdef uint32_t i, count = queued.count
        cdef Row* row
        cdef uint64_t* keys = <uint64_t*>malloc(count * sizeof(uint64_t))
        cdef Target* hop
        cdef list slots
        cdef bytes data
        if keys == NULL:
            raise MemoryError
        try:
            for i in range(count):
                row = &self.rows[queued.items[i]]
                keys[i] = <uint64_t>(row.target if self.links[self.way_of(row)].reliable else 0) << 32 | i
            qsort(keys, count, sizeof(uint64_t), compare_keys)
            i = 0
            while i < count:
                row = &self.rows[queued.items[keys[i] & 0xFFFFFFFFULL]]
                hop = &self.targets[row.target]
                slots = []
                data = self.joined(queued, keys, count, &i, slots)
                self.outbox.append((self.way_of(row), hop.flow, format_address(hop.address), hop.port, data, slots))
        finally:
            free(keys)
        return 0

    cdef bytes joined(self, U32Vector* queued, uint64_t* keys, uint32_t count, uint32_t* at, list slots):
        # The next NOTIFYs to one next hop, as many as may go together.
        cdef uint32_t slot, size, tail, target = <uint32_t>(keys[at[0]] >> 32)
        cdef size_t most = JOINED_BYTES if target else 0
        cdef char* out = self.scratch
        cdef Row* row
        while at[0] < count and <uint32_t>(keys[at[0]] >> 32) == target:
            slot = queued.items[keys[at[0]] & 0xFFFFFFFFULL]
            row = &self.rows[slot]
            tail = row.flying.size if row.flying != NULL else 0
            size = self.head_size(row) + tail
            if slots and <size_t>(out - self.scratch) + size > most:
                break
            slots.append(slot)
            at[0] += 1
            if size > SCRATCH_BYTES:
                return self.alone(row, slot, size)
            out += self.render(slot, out)
            if tail:
                memcpy(out, body_data(row.flying), tail)
                out += tail
        return self.scratch[:out - self.scratch]

    cdef bytes alone(self, Row* row, uint32_t slot, uint32_t room):
        # A NOTIFY whose body is larger than the scratch.
        cdef bytearray text = bytearray(room)
        cdef char* out = <char*>text
        cdef uint32_t size = self.render(slot, out)
        memcpy(out + size, body_data(row.flying), row.flying.size)
        return bytes(text[:size + row.flying.size])


cdef int compare_keys(const void* one, const void* other) noexcept nogil:
    cdef uint64_t a = (<const uint64_t*>one)[0]
    cdef uint64_t b = (<const uint64_t*>other)[0]
    return (a > b) - (a < b)


cdef bint is_loopback(const uint8_t* address) noexcept nogil:
    cdef int i
    for i in range(10):
        if address[i]:
            return False
    if address[10] == 255 and address[11] == 255:
        return address[12] == 127
    for i in range(10, 15):
        if address[i]:
            return False
    return address[15] == 1
