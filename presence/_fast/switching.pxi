# UDP or TCP by size (RFC 3261 section 18.1.1): a NOTIFY that is too large for a datagram goes over TCP to the same
# address, and over UDP after all when there is no TCP; the next hop remembers that for a while.
# Uses: judging. Used by: fanout.

cdef class SwitchingFlights(JudgedFlights):
    """NOTIFYs that leave by another link than their target's, for their size alone."""

    cdef bint may_switch(self, const Target* target) noexcept nogil:
        return not target.explicit and self.links[target.link].stream != NO_LINK and target.udp_until <= self.now_s

    cdef bint has_switched(self, const Row* row) noexcept nogil:
        return row.flight == FLIGHT_FLYING and self.way_of(row) != self.targets[row.target].link

    def switched(self, uint32_t slot):
        """Return True for a NOTIFY in flight that goes over TCP for its size alone."""
        return self.has_switched(self.row(slot))

    def fail_flight(self, uint32_t slot, uint16_t status, *, bint carried=False):
        """Treat the NOTIFY in flight as failed (a connection that cannot be opened: RFC 3261 section 8.1.3.1).

        One that went over TCP for its size alone is sent over UDP after all; but not when a connection has `carried`
        it to a target that gets one alone (`unproven`).
        """
        cdef Row* row = self.row(slot)
        if self.has_switched(row) and not (carried and row.flags & FLAG_UNPROVEN):
            self.fall_back(row, slot)
        else:
            if not carried:
                row.flags &= ~FLAG_ASKED
            self.fail(slot, status, 0)

    cdef void fall_back(self, Row* row, uint32_t slot) noexcept nogil:
        self.targets[row.target].udp_until = self.now_s + UDP_KEPT_S
        self.fallen_back += 1
        row.flags = (row.flags & ~(FLAG_RESENT | FLAG_STREAM)) | FLAG_RESEND
        # Timers E and F begin with the first datagram.
        row.began_ms = row.due_ms = self.now_ms
        row.interval_ms = self.t1_ms
        self.queue(slot)
