# Fan-out: NOTIFYs rendered from rows and sent in batches; a retransmission is rendered again, never stored.
# Uses: flights, datagrams' batches. Used by: Python.

cdef class Fanout(NotifyFlights):
    """The watcher table with its way out. Not thread-safe; `pump` releases the GIL while it renders and sends."""

    # ---- sending ----

    cdef uint32_t next_key(self, uint32_t slot, uint32_t cseq) noexcept nogil:
        # The row's own random is in it: the next subscription in this row begins with CSeq 1 again, and a branch
        # is unique across time (RFC 3261 section 8.1.1.7).
        return <uint32_t>mix(mix(self.secret ^ (<uint64_t>slot << 32 | cseq)) ^ self.rows[slot].tag_check)

    cdef bint prepare(self, uint32_t slot, double now) noexcept nogil:
        # Take the next CSeq and the newest state for a queued row; False when it has to wait.
        cdef Row* row = &self.rows[slot]
        cdef Row* owner = &self.rows[row.owner]
        cdef Group* group = &self.groups[row.group]
        cdef Body* body = NULL
        cdef double until
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
            if row.state == ROW_ACTIVE or (row.state == ROW_TERMINATED and row.flags & FLAG_FINAL_BODY):
                if row.view < group.view_count:
                    body = group.views[row.view]
                if body != NULL:
                    body.refs += 1
                    row.flying = body
        row.flying_cseq = owner.cseq
        row.key = self.next_key(slot, owner.cseq)
        row.flying_state = row.state
        # Rounded up: a second too few each time would make clients refresh ever earlier.
        until = <double>row.expires_at - self.expires_offset_s
        row.flying_left = <uint32_t>(until - now + 0.999) if until > now else 0
        row.flight = FLIGHT_FLYING
        row.began_ms = self.milliseconds(now)
        row.interval_ms = self.t1_ms
        self.in_flight += 1
        self.sent += 1
        return True

    cdef uint32_t head_size(self, Row* row) noexcept nogil:
        # An upper bound of what render writes.
        cdef uint32_t size = 700 + self.links[row.link].via_size + self.links[row.link].contact_size
        cdef int i
        for i in range(PART_COUNT):
            size += row.size[i]
        return size + self.groups[row.group].event_size + self.user_agent_size + self.contact_user_size

    cdef uint32_t render(self, uint32_t slot, char* out) noexcept nogil:
        # The head of the row's NOTIFY up to Subscription-State; the same bytes again for a retransmission.
        cdef Row* row = &self.rows[slot]
        cdef Group* group = &self.groups[row.group]
        cdef Link* link = &self.links[row.link]
        cdef char* p = out
        cdef char* part = row.blob
        p = emit(p, b"NOTIFY ", 7)
        p = emit(p, part, row.size[PART_URI])
        part += row.size[PART_URI]
        p = emit(p, b" SIP/2.0\r\nVia: SIP/2.0/", 23)
        p = emit(p, link.via, link.via_size)
        p = emit(p, b";rport;branch=z9hG4bKpr", 23)
        p += write_hex(p, self.shard, 2)
        p += write_hex(p, slot, 8)
        p += write_hex(p, row.key, 8)
        p = emit(p, b"\r\nMax-Forwards: 70\r\n", 20)
        if row.size[PART_ROUTE]:
            p = emit(p, b"Route: ", 7)
            p = emit(p, part, row.size[PART_ROUTE])
            part += row.size[PART_ROUTE]
            p = emit(p, b"\r\n", 2)
        p = emit(p, b"From: ", 6)
        p = emit(p, part, row.size[PART_LOCAL])
        part += row.size[PART_LOCAL]
        p = emit(p, b";tag=", 5)
        if row.size[PART_LOCAL_TAG]:
            p = emit(p, row.blob + part_offset(row, PART_LOCAL_TAG), row.size[PART_LOCAL_TAG])
        else:
            self.write_tag(row, p)
            p += TAG_SIZE
        p = emit(p, b"\r\nTo: ", 6)
        p = emit(p, part, row.size[PART_REMOTE])
        part += row.size[PART_REMOTE]
        if row.size[PART_REMOTE_TAG]:
            p = emit(p, b";tag=", 5)
            p = emit(p, part, row.size[PART_REMOTE_TAG])
            part += row.size[PART_REMOTE_TAG]
        p = emit(p, b"\r\nCall-ID: ", 11)
        p = emit(p, part, row.size[PART_CALL_ID])
        part += row.size[PART_CALL_ID]
        p = emit(p, b"\r\nCSeq: ", 8)
        p = emit_number(p, row.flying_cseq)
        p = emit(p, b" NOTIFY\r\nContact: <", 19)
        if row.size[PART_LOCAL_CONTACT]:
            p = emit(p, row.blob + part_offset(row, PART_LOCAL_CONTACT), row.size[PART_LOCAL_CONTACT])
        else:
            p += self.write_contact(row, p)
        p = emit(p, b">\r\nEvent: ", 10)
        p = emit(p, group.event, group.event_size)
        if row.size[PART_EVENT_ID]:
            p = emit(p, b";id=", 4)
            p = emit(p, part, row.size[PART_EVENT_ID])
        p = emit(p, b"\r\n", 2)
        p = emit(p, self.user_agent_text, self.user_agent_size)
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
        """Send up to `budget` queued NOTIFYs and retransmissions; return how many are still queued.

        UDP links with a descriptor are written to directly; for the others (link, flow, host, port, message, slot)
        is appended to `outbox`.
        """
        cdef uint32_t slot, i
        cdef Batch batch
        cdef U32Vector elsewhere
        if self.ring_count == 0:
            # Most turns send nothing: giving up the interpreter lock would cost more than they do.
            return 0
        memset(&elsewhere, 0, sizeof(U32Vector))
        with nogil:
            begin_batch(&batch, self.scratch, SCRATCH_BYTES)
            while budget and self.ring_count:
                slot = self.ring[self.ring_head]
                self.ring_head = (self.ring_head + 1) & (self.ring_capacity - 1)
                self.ring_count -= 1
                if not self.take(slot, now):
                    continue
                budget -= 1
                if self.links[self.rows[slot].link].fd < 0:
                    vector_push(&elsewhere, slot)
                else:
                    self.post(&batch, slot)
            self.deliver(&batch)
        try:
            for i in range(elsewhere.count):
                self.outbox.append(self.message(elsewhere.items[i]))
        finally:
            free(elsewhere.items)
        return self.ring_count

    cdef bint take(self, uint32_t slot, double now) noexcept nogil:
        # Make a row that came up in the queue ready to be rendered; False when there is nothing to send any more.
        cdef Row* row = &self.rows[slot]
        cdef bint again = row.flight == FLIGHT_FLYING
        if row.flight == FLIGHT_QUEUED:
            if row.state < ROW_PENDING or row.state > ROW_TERMINATED or not self.prepare(slot, now):
                return False
        elif row.flight == FLIGHT_FLYING and row.flags & FLAG_RESEND:
            row.flags &= ~FLAG_RESEND
            self.retransmitted += 1
        else:
            return False
        self.arm_transaction(slot, now, again)
        return True

    cdef void post(self, Batch* batch, uint32_t slot) noexcept nogil:
        cdef Row* row = &self.rows[slot]
        cdef Link* link = &self.links[row.link]
        cdef uint32_t size = self.head_size(row)
        if batch.count == BATCH_SIZE or batch.room < size or (batch.count and batch.fd != link.fd):
            self.deliver(batch)
        batch.fd = link.fd
        size = self.render(slot, batch.next)
        if row.flying != NULL:
            add_datagram(batch, size, body_data(row.flying), row.flying.size)
        else:
            add_datagram(batch, size, NULL, 0)
        address_datagram(batch, link.family, row.address, row.port)
        batch.slots[batch.count - 1] = slot

    cdef void deliver(self, Batch* batch) noexcept nogil:
        # What the kernel refuses is left to timer E, except a message that can never fit.
        cdef uint32_t i
        send_batch(batch)
        self.unsent += batch.refused
        for i in range(batch.count):
            if batch.too_large[i]:
                self.fail(batch.slots[i], 513, 0)
        begin_batch(batch, self.scratch, SCRATCH_BYTES)

    cdef object message(self, uint32_t slot):
        cdef Row* row = self.row(slot)
        cdef uint32_t size = self.head_size(row)
        cdef uint32_t tail = row.flying.size if row.flying != NULL else 0
        cdef bytearray text = bytearray(size + tail)
        cdef char* out = <char*>text
        size = self.render(slot, out)
        if tail:
            memcpy(out + size, body_data(row.flying), tail)
        return (row.link, row.flow, format_address(row.address), row.port, bytes(text[:size + tail]), slot)


cdef inline char* emit(char* out, const char* text, size_t size) noexcept nogil:
    memcpy(out, text, size)
    return out + size


cdef inline char* emit_number(char* out, uint32_t value) noexcept nogil:
    cdef char digits[10]
    cdef int n = 0
    while True:
        digits[n] = <char>(c'0' + value % 10)
        n += 1
        value //= 10
        if value == 0:
            break
    while n:
        n -= 1
        out[0] = digits[n]
        out += 1
    return out
