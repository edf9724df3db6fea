# What the rules do to rows: nothing leaves of a row while it is decided about again, and what was taken away is not
# sent again either.
# Uses: flights. Used by: switching.

cdef class JudgedFlights(NotifyFlights):
    """NOTIFYs that wait for a decision, and what a decision changes about them."""

    def hold_group(self, uint32_t gid):
        """Let nothing leave for the resource's watchers before each is decided about (`admit`) or let go."""
        cdef Group* group = self.group(gid)
        cdef uint32_t i
        with nogil:
            for i in range(group.slots.count):
                self.fetch_row(&group.slots, i + ROWS_AHEAD)
                self.rows[group.slots.items[i]].flags |= FLAG_WITHHELD

    def hold(self, uint32_t slot):
        """Let nothing leave for one watcher before it is decided about or let go."""
        self.row(slot).flags |= FLAG_WITHHELD

    def withheld(self, uint32_t slot):
        """Whether the row waits for a decision."""
        return bool(self.row(slot).flags & FLAG_WITHHELD)

    def let_go(self, uint32_t slot):
        """Go on with a row about which nothing has changed."""
        self.row(slot)
        self.go_on(slot)

    cdef void go_on(self, uint32_t slot) noexcept nogil:
        cdef Row* row = &self.rows[slot]
        if not row.flags & FLAG_WITHHELD:
            return
        row.flags &= ~FLAG_WITHHELD
        if row.flight == FLIGHT_HELD:
            row.flight = FLIGHT_IDLE
            self.want(slot)
        elif row.flight == FLIGHT_FLYING and row.flags & FLAG_RESEND:
            self.queue(slot)

    def admit(self, uint32_t slot, *, bint pending, uint16_t view):
        """Set what the policy decided about the watcher.

        What it may not see any more is not sent again: a NOTIFY in flight is given up, and the next one leaves at once.
        Raises ValueError for a view that the resource does not have.
        """
        cdef Row* row = self.row(slot)
        cdef bint lost = False
        if row.state != ROW_ACTIVE and row.state != ROW_PENDING:
            return
        if view >= FIRST_FILTERED and view >= self.groups[row.group].view_count:
            raise ValueError(f"no view {view}")
        if row.view != view or (row.state == ROW_ACTIVE and pending):
            if row.state == ROW_ACTIVE:
                lost = self.give_up(slot)
            self.see(row, view)
        row.state = ROW_PENDING if pending else ROW_ACTIVE
        if lost:
            self.want(slot)
        self.go_on(slot)

    cdef bint give_up(self, uint32_t slot) noexcept nogil:
        # What is in flight or handed over does not leave any more; True when something has to be sent in its place.
        cdef Row* row = &self.rows[slot]
        if row.flight == FLIGHT_FLYING:
            if row.flags & FLAG_UNPROVEN:
                return False    # it is not sent again, and nothing follows before it is answered
            self.land(row)
            row.flags &= ~FLAG_DIRTY
            return True
        if row.flags & FLAG_OWN_BODY and (row.flight == FLIGHT_QUEUED or row.flight == FLIGHT_HELD):
            drop_body(row.flying)
            row.flying = NULL
            row.flags &= ~FLAG_OWN_BODY
            row.flight = FLIGHT_IDLE
            return True
        return False

    def withdraw(self, uint32_t slot):
        """Send nothing again of what the watcher was told; its final NOTIFY follows, or is there and loses its document."""
        cdef Row* row = self.row(slot)
        if row.state == ROW_TERMINATED:
            row.flags &= ~FLAG_FINAL_BODY
            if row.flight == FLIGHT_FLYING and row.flying != NULL and self.give_up(slot):
                self.want(slot)
        else:
            self.give_up(slot)

    def finish(self, uint32_t slot, bytes reason, *, bint body=False):
        """End a subscription: the newest state (with `body`) goes out as the final NOTIFY, then the row is freed."""
        cdef Row* row = self.row(slot)
        cdef int i
        if row.state == ROW_TERMINATED or row.state == ROW_GONE:
            return
        for i in range(REASON_COUNT):
            if reason == REASONS[i]:
                break
        else:
            raise ValueError(f"not a reason: {reason!r}")
        if row.flags & FLAG_ASKED and row.flight != FLIGHT_FLYING:
            # It had its one NOTIFY and did not answer.
            self.report(slot, EVENT_ENDED, 408, row.group)
            self.release_row(slot)
            return
        self.leave_group(slot)
        row.reason = i
        row.state = ROW_TERMINATED
        # Who waits for a decision is shown nothing.
        if body and not row.flags & FLAG_WITHHELD:
            row.flags |= FLAG_FINAL_BODY
        if row.flight == FLIGHT_BACKOFF or row.flight == FLIGHT_FAILED:
            row.flight = FLIGHT_IDLE
            row.flags &= ~FLAG_DIRTY
        self.want(slot)
        self.go_on(slot)

    # ---- views ----

    def view_rows(self, uint32_t gid, uint16_t view):
        """Return how many rows are shown a filtered view, those included whose final NOTIFY is not done."""
        cdef Group* group = self.group(gid)
        return group.views[view].rows if view < group.view_count else 0

    def notify_fresh(self, uint32_t gid):
        """Queue a NOTIFY for each watcher whose filtered view is another than it was told; return how many."""
        cdef Group* group = self.group(gid)
        cdef uint32_t i, count = 0
        cdef uint16_t view
        with nogil:
            for i in range(group.slots.count):
                self.fetch_row(&group.slots, i + ROWS_AHEAD)
                view = self.rows[group.slots.items[i]].view
                if FIRST_FILTERED <= view < group.view_count and group.views[view].fresh:
                    self.want(group.slots.items[i])
                    count += 1
        for view in range(FIRST_FILTERED, group.view_count):
            group.views[view].fresh = False
        return count

    def shows_same(self, uint32_t gid, uint16_t one, uint16_t other):
        """Whether two views of the resource say the same."""
        cdef Group* group = self.group(gid)
        cdef Body* a = group.views[one].body if one < group.view_count else NULL
        cdef Body* b = group.views[other].body if other < group.view_count else NULL
        if a == NULL or b == NULL:
            return a == b
        return a.size == b.size and memcmp(body_data(a), body_data(b), a.size) == 0

    def guard_group(self, uint32_t gid, bint guarded):
        """Say whether a refresh of one of the resource's subscriptions takes a decision."""
        self.group(gid).guarded = guarded
