# The watcher table: which rows watch which resource (group), what each view of a resource says, and how
# subscriptions begin, go on and end. Knows no event package, no policy, no SQL.
# Uses: slab. Used by: flights.

cdef class WatcherTable(SubscriptionHops):
    """Subscriptions by resource: one vector of rows per group, no Python object per subscription."""

    # ---- groups: the watchers of one resource ----

    def add_group(self, bytes event, *, bint individual=False):
        """Register a resource (presentity and package) and return its number.

        With `individual` each row gets bodies of its own (`notify_row`), asked for by an event "want".
        """
        # One string for all resources of a package.
        cdef bytes name = self.events_named.setdefault(event, event)
        cdef uint32_t gid = take_lowest(&self.group_pool)
        self.groups = <Group*>self.group_pool.items
        if gid == 0:
            raise MemoryError
        self.groups[gid].event = PyBytes_AS_STRING(name)
        self.groups[gid].event_size = <uint16_t>len(name)
        self.groups[gid].individual = individual
        self.groups[gid].live = True
        return gid

    cdef Group* group(self, uint32_t gid) except NULL:
        if gid == 0 or gid >= self.group_pool.used or not self.groups[gid].live:
            raise KeyError(f"no group {gid}")
        return &self.groups[gid]

    def group_size(self, uint32_t gid):
        """Return how many running subscriptions the resource has."""
        return self.group(gid).slots.count

    def group_pending(self, uint32_t gid):
        """Return how many of the resource's running subscriptions are pending."""
        cdef Group* group = self.group(gid)
        cdef uint32_t i, pending = 0
        for i in range(group.slots.count):
            pending += self.rows[group.slots.items[i]].state == ROW_PENDING
        return pending

    def group_slots(self, uint32_t gid):
        """Return the slots of the resource's running subscriptions."""
        cdef Group* group = self.group(gid)
        cdef uint32_t i
        return [group.slots.items[i] for i in range(group.slots.count)]

    def drop_group(self, uint32_t gid):
        """Forget a resource; False while rows (a final NOTIFY in flight) still refer to it."""
        cdef Group* group = self.group(gid)
        if group.rows:
            return False
        clear_group(group)
        drop_number(&self.group_pool, gid)
        return True

    def set_body(self, uint32_t gid, uint16_t view, bytes tail):
        """Set what watchers of one view get: the header lines after Subscription-State, an empty line, the body.

        Returns whether that is another than before.
        """
        cdef Group* group = self.group(gid)
        cdef Body* body
        if view == 0 or view >= MAX_VIEWS:
            raise ValueError("views are numbered from 1")
        make_view(group, view)
        body = group.views[view].body
        if tail is None:
            if body == NULL:
                return False
        elif (body != NULL and body.size == <size_t>len(tail)
                and memcmp(body_data(body), <const char*>tail, body.size) == 0):
            return False
        body = NULL
        if tail is not None:
            body = new_body(tail, len(tail))
            if body == NULL:
                raise MemoryError
        drop_body(group.views[view].body)
        group.views[view].body = body
        group.views[view].fresh = group.views[view].rows > 0
        return True

    cdef void see(self, Row* row, uint16_t view) noexcept nogil:
        # The row is shown another view. How many rows a filtered one has says when its number is free again.
        cdef Group* group = &self.groups[row.group]
        if FIRST_FILTERED <= row.view < group.view_count:
            group.views[row.view].rows -= 1
        if FIRST_FILTERED <= view < group.view_count:
            group.views[view].rows += 1
        row.view = view

    # ---- subscriptions ----

    def fill(self, uint32_t slot, uint32_t gid, tuple dialog, *, uint32_t owner=0, uint32_t remote_cseq=0,
             uint32_t cseq=0, uint32_t cseq_mark=0, uint32_t expires_at=0, bint pending=False, uint16_t view=1,
             uint32_t subscribed_at=0, uint64_t row_id=0):
        """Make a reserved row a running subscription of the resource.

        `dialog` is (uri, route, local, remote, remote_tag, call_id, event_id, local_tag, local_contact) as bytes:
        Request-URI, value of Route or b'', From and To of our NOTIFYs without their tags. A local tag or contact is
        given only when it is not the one this table makes. `owner` is the row of the dialog's first subscription,
        `row_id` the database's. Raises ValueError when the dialog's strings are too long.
        """
        cdef Row* row = self.row(slot)
        cdef Parts parts
        self.group(gid)
        if row.state != ROW_EMBRYO:
            raise ValueError("the row is in use")
        if view >= FIRST_FILTERED and view >= self.groups[gid].view_count:
            raise ValueError(f"no view {view}")
        open_parts(dialog, &parts)
        check_size(&parts)
        if owner and owner != slot:
            self.row(owner)
        if self.join(slot, gid, &parts) < 0:
            raise MemoryError
        row.expires_at = expires_at
        row.subscribed_at = subscribed_at
        row.row_id = row_id
        row.view = 0
        self.see(row, view)
        row.state = ROW_PENDING if pending else ROW_ACTIVE
        if owner and owner != slot:
            row.owner = owner
            row.next_usage = self.rows[owner].next_usage
            self.rows[owner].next_usage = slot
        else:
            row.cseq = cseq
            row.cseq_mark = cseq_mark
        # Rows of one dialog are loaded in any order: the highest number is the one seen last.
        self.rows[row.owner].remote_cseq = max(self.rows[row.owner].remote_cseq, remote_cseq)
        self.arm_expiry(slot)

    def begin(self, uint32_t slot, uint32_t gid, Message request, uint16_t link, uint32_t expires_at,
              uint32_t subscribed_at, uint64_t row_id):
        """Make a reserved row the active subscription that a plain SUBSCRIBE (`Message.subscriber`) asks for.

        It sees the whole document, and is told at its Contact's address over `link`. Raises ValueError when the
        request is not plain or the row in use.
        """
        cdef SipMsg* m = &request.m
        cdef Row* row = self.row(slot)
        cdef Subscriber who
        cdef Parts parts
        cdef Target target
        self.group(gid)
        if row.state != ROW_EMBRYO or link >= self.link_count or not read_subscriber(m, &who):
            raise ValueError("not a plain subscription, or the row is in use")
        memset(&parts, 0, sizeof(Parts))
        set_part(&parts, PART_URI, m, who.contact_text)
        set_part(&parts, PART_LOCAL, m, who.local_text)
        set_part(&parts, PART_REMOTE, m, who.remote_text)
        set_part(&parts, PART_REMOTE_TAG, m, m.from_tag)
        set_part(&parts, PART_CALL_ID, m, m.call_id)
        set_part(&parts, PART_EVENT_ID, m, m.event_id)
        memset(&target, 0, sizeof(Target))
        read_address(m.buf + who.contact.host.off, who.contact.host.len, target.address)
        target.port = who.contact.port if who.contact.port else DEFAULT_PORT
        target.link = link
        target.explicit = who.contact.explicit
        if self.aim(row, &target) < 0 or self.join(slot, gid, &parts) < 0:
            raise MemoryError
        row.expires_at = expires_at
        row.subscribed_at = subscribed_at
        row.row_id = row_id
        row.cseq_mark = RESERVED_CSEQS
        row.remote_cseq = m.cseq
        row.view = 1
        row.state = ROW_ACTIVE
        self.arm_expiry(slot)

    cdef int join(self, uint32_t slot, uint32_t gid, const Parts* parts) noexcept nogil:
        # The row is one of the group's, with its strings; -1 when there is no memory, and nothing has changed then.
        cdef Row* row = &self.rows[slot]
        cdef Group* group = &self.groups[gid]
        row.group = gid
        row.position = group.slots.count
        if vector_push(&group.slots, slot) < 0:
            row.group = 0
            return -1
        if self.keep_parts(row, parts) < 0:
            group.slots.count -= 1
            row.group = 0
            return -1
        group.rows += 1
        return 0

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
                        and self.part_equal(row, PART_EVENT_ID, event_id, len(event_id))):
                    return slot
            slot = row.next_usage
        return 0

    cdef uint32_t renewable(self, const SipMsg* m, uint16_t link, const uint8_t* ip, uint16_t port, bint nat) noexcept nogil:
        # The slot of the subscription that a SUBSCRIBE does nothing to but extend: the one, active and with a decision
        # that stands, of a dialog whose NOTIFYs go on to the same IPv4 address over UDP; 0 for any other.
        cdef uint32_t slot = self.find_dialog(m.buf + m.to_tag.off, m.to_tag.len, m.buf + m.call_id.off, m.call_id.len,
                                              m.buf + m.from_tag.off, m.from_tag.len)
        cdef Row* row = &self.rows[slot]
        cdef Group* group = &self.groups[row.group]
        cdef Target* target = &self.targets[row.target]
        cdef Parts parts
        cdef Span contact
        cdef PlainUri uri
        cdef uint8_t address[16]
        cdef const char* event
        cdef uint32_t event_size
        if (slot == 0 or row.owner != slot or row.next_usage or row.state != ROW_ACTIVE
                or (row.view != 1 and row.view < FIRST_FILTERED) or group.guarded or row.flags & FLAG_WITHHELD
                or target.flow or target.link != link or m.cseq <= row.remote_cseq):
            return 0
        self.read_parts(row, &parts)
        event = package_of(m, &event_size)
        if parts.size[PART_ROUTE] or parts.size[PART_LOCAL_CONTACT] or event_size != group.event_size:
            return 0
        if memcmp(event, group.event, event_size) != 0:
            return 0
        if not span_equal(m.buf, m.event_id, parts.at[PART_EVENT_ID], parts.size[PART_EVENT_ID]):
            return 0
        if not (plain_contact(m, &contact, &uri)
                and span_equal(m.buf, contact, parts.at[PART_URI], parts.size[PART_URI])
                and leads_to_contact(m, &uri, ip, port, nat)):
            return 0
        if target.port != (uri.port if uri.port else DEFAULT_PORT) or not (
            read_address(m.buf + uri.host.off, uri.host.len, address) and memcmp(address, target.address, 16) == 0
        ):
            return 0
        return slot

    cdef bint watched_by(self, uint32_t slot, const SipMsg* m) noexcept nogil:
        # Whether From is as it was when the dialog began.
        cdef Parts parts
        cdef PlainUri uri
        cdef Span untagged
        self.read_parts(&self.rows[slot], &parts)
        return (plain_address(m, m.headers[m.first[<int>H_FROM] - 1].value, m.from_tag, &uri, &untagged)
                and span_equal(m.buf, untagged, parts.at[PART_REMOTE], parts.size[PART_REMOTE]))

    def find_gruu(self, bytes user, bytes key):
        """Return the first slot of the dialog whose Contact has that user part and that value of gr, else 0."""
        cdef const char* at = user
        cdef int64_t slot
        if len(user) < 11 or len(key) != 8 or at[0] != c"~" or read_hex(at + 1, 2) != self.shard:
            return 0
        slot = read_hex(at + 3, 8)
        if not 0 < slot < self.row_pool.used or self.rows[slot].owner != slot:
            return 0
        if self.rows[slot].state != ROW_ACTIVE and self.rows[slot].state != ROW_PENDING:
            return 0
        return slot if read_hex(<const char*>key, 8) == <int64_t>self.gruu_key(<uint32_t>slot) else 0

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
        vector_shrink(&group.slots)

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
            self.see(row, 0)
            self.groups[row.group].rows -= 1
        if row.flight == FLIGHT_FLYING:
            self.in_flight -= 1
        self.end_doubt(row)
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
        # The dialog's first row keeps the CSeq of the others until the last of them has ended.
        row = &self.rows[owner]
        if row.state != ROW_GONE:
            return
        if row.next_usage == 0:
            self.clear_row(owner)
        elif row.flags & FLAG_GROUP_LOCAL:
            self.keep_local(row)

    cdef void keep_local(self, Row* row) noexcept nogil:
        # The group, and its From with it, may end before the dialog does.
        cdef Parts parts
        cdef uint32_t group = row.group
        self.read_parts(row, &parts)
        row.group = 0
        self.keep_parts(row, &parts)
        row.flags &= ~FLAG_GROUP_LOCAL
        row.group = group

    cdef void clear_row(self, uint32_t slot) noexcept nogil:
        drop_block(&self.texts, self.rows[slot].text)
        drop_target(&self.target_pool, &self.target_index, self.rows[slot].target)
        drop_number(&self.row_pool, slot)

    cdef void arm_expiry(self, uint32_t slot) noexcept nogil:
        # The entry of record: any other entry that comes up for the row is stale.
        cdef Row* row = &self.rows[slot]
        cdef uint32_t horizon = <uint32_t>self.expiries.current + 4000
        row.expiry_entry = min(row.expires_at, horizon)
        self.expiries.arm(slot, row.expiry_entry)


cdef int make_view(Group* group, uint16_t view) except -1:
    cdef View* grown
    cdef uint16_t count = view + 1
    if view >= group.view_count:
        grown = <View*>realloc(group.views, count * sizeof(View))
        if grown == NULL:
            raise MemoryError
        memset(grown + group.view_count, 0, (count - group.view_count) * sizeof(View))
        group.views = grown
        group.view_count = count
    return 0


cdef void clear_group(Group* group) noexcept nogil:
    cdef uint32_t v
    for v in range(group.view_count):
        drop_body(group.views[v].body)
    free(group.views)
    free(group.slots.items)
    free(group.local)
