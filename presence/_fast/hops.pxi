# Where the NOTIFYs of each row go, and whether somebody else had them sent there.
# Uses: slab, targets, doubts. Used by: watchers.

cdef class SubscriptionHops(SubscriptionSlab):
    """Rows with their next hops."""

    def set_target(self, uint32_t slot, uint16_t link, str host, uint16_t port, uint32_t flow=0, *, bint explicit=False):
        """Say where NOTIFYs of the row go: an address on a UDP link, or a stream's flow number.

        With port 0 there is no address: without its flow a NOTIFY fails with 430. An `explicit` UDP target gets the
        largest NOTIFYs too.
        """
        cdef Row* row = self.row(slot)
        cdef Target wanted = self.targets[row.target]
        if link >= self.link_count:
            raise ValueError("no such link")
        if host:
            parse_address(host, wanted.address)
        wanted.port = port
        wanted.link = link
        wanted.flow = flow
        wanted.explicit = explicit
        if self.aim(row, &wanted) < 0:
            raise MemoryError

    cdef int aim(self, Row* row, Target* target) noexcept nogil:
        cdef uint32_t before = row.target
        cdef uint32_t number = take_target(&self.target_pool, &self.target_index, target, self.secret)
        self.targets = <Target*>self.target_pool.items
        if number == 0:
            return -1
        if row.flags & FLAG_UNPROVEN and before and memcmp(self.targets[before].address, self.targets[number].address, 16) != 0:
            if add_doubt(&self.doubt_pool, &self.doubt_index, self.doubt_key(self.targets[number].address)) < 0:
                drop_target(&self.target_pool, &self.target_index, number)
                return -1
            drop_doubt(&self.doubt_pool, &self.doubt_index, self.doubt_key(self.targets[before].address))
            # What the one before answers says nothing about this one.
            row.flags &= ~FLAG_ASKED
        drop_target(&self.target_pool, &self.target_index, before)
        row.target = number
        return 0

    cdef uint64_t doubt_key(self, const uint8_t* address) noexcept nogil:
        return pr_hash(<const char*>address, 16, ~self.secret)

    # ---- targets that did not ask themselves ----

    cdef int begin_doubt(self, Row* row) noexcept nogil:
        # What is in flight went to another target, whose answer says nothing about this one.
        if not row.flags & FLAG_UNPROVEN:
            if add_doubt(&self.doubt_pool, &self.doubt_index, self.doubt_key(self.targets[row.target].address)) < 0:
                return -1
            row.flags |= FLAG_UNPROVEN
        return 0

    cdef void end_doubt(self, Row* row) noexcept nogil:
        if row.flags & FLAG_UNPROVEN:
            drop_doubt(&self.doubt_pool, &self.doubt_index, self.doubt_key(self.targets[row.target].address))
            row.flags &= ~(FLAG_UNPROVEN | FLAG_ASKED)

    cdef uint32_t count_doubts(self, const uint8_t* address) noexcept nogil:
        cdef uint32_t number = find_doubt(&self.doubt_pool, &self.doubt_index, self.doubt_key(address))
        return (<Doubt*>self.doubt_pool.items + number).count if number else 0

    def doubt(self, uint32_t slot):
        """Send a row's target (`set_target` first) one NOTIFY and nothing more until it answers that."""
        if self.begin_doubt(self.row(slot)) < 0:
            raise MemoryError

    def believe(self, uint32_t slot):
        """Know that a row's target asked for its NOTIFYs itself."""
        self.end_doubt(self.row(slot))

    def unproven(self, uint32_t slot):
        """Return True while a row's target has neither asked for its NOTIFYs itself nor answered one."""
        return self.row(slot).flags & FLAG_UNPROVEN != 0

    def asked(self, uint32_t slot):
        """Return True when such a target has got its one NOTIFY."""
        return self.row(slot).flags & FLAG_ASKED != 0

    def doubts(self, str host):
        """Return how many rows without proof have NOTIFYs sent to an address."""
        cdef uint8_t address[16]
        parse_address(host, address)
        return self.count_doubts(address)
