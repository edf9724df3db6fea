# The life of each row's one NOTIFY: wanted, queued, in flight, matched to its response, timed out. The client
# transaction of RFC 3261 section 17.1.2 is a few fields of the row.
# Uses: watchers, timers. Used by: judging.

cdef const char* REASONS[REASON_COUNT]
REASONS[0] = b"timeout"
REASONS[1] = b"deactivated"
REASONS[2] = b"rejected"
REASONS[3] = b"noresource"
REASONS[4] = b"probation;retry-after=300"
REASONS[5] = b"giveup;retry-after=86400"
REASONS[6] = b"invariant;retry-after=31536000"

CSEQ_STRIDE = RESERVED_CSEQS
EVENT_KINDS = ("", "failed", "expired", "ended", "want", "reserve")


cdef class NotifyFlights(WatcherTable):
    """What shall be sent, and what became of what was sent."""

    # ---- what shall be sent ----

    def notify_group(self, uint32_t gid, uint16_t view=0):
        """Queue a NOTIFY with the newest state for each watcher of one view of the resource, or of any (0).

        Who has no view at all is told nothing. Returns how many were queued.
        """
        cdef Group* group = self.group(gid)
        cdef uint32_t i, count = 0
        cdef uint16_t seen
        with nogil:
            for i in range(group.slots.count):
                self.fetch_row(&group.slots, i + ROWS_AHEAD)
                seen = self.rows[group.slots.items[i]].view
                if seen and (view == 0 or seen == view):
                    self.want(group.slots.items[i])
                    count += 1
                    if view == 0 and seen < group.view_count:
                        group.views[seen].fresh = False
        return count

    def notify(self, uint32_t slot):
        """Queue a NOTIFY with the newest state for one watcher."""
        self.row(slot)
        self.want(slot)

    def notify_row(self, uint32_t slot, bytes tail):
        """Queue a NOTIFY with a body of its own; only after `ready` said True or an event "want" came."""
        cdef Row* row = self.row(slot)
        if row.flight != FLIGHT_IDLE and row.flight != FLIGHT_ASKED:
            raise ValueError("a NOTIFY is in flight")
        drop_body(row.flying)
        row.flying = new_body(tail, len(tail))
        if row.flying == NULL:
            raise MemoryError
        row.flags |= FLAG_OWN_BODY
        row.flags &= ~FLAG_DIRTY
        row.flight = FLIGHT_IDLE
        self.enqueue(slot)

    def ready(self, uint32_t slot):
        """Return True when a row's own body may be handed over; else an event "want" will ask for it."""
        cdef Row* row = self.row(slot)
        if row.flight == FLIGHT_IDLE or row.flight == FLIGHT_ASKED:
            return True
        row.flags |= FLAG_DIRTY
        return False

    def settle(self, uint32_t slot):
        """Leave a row alone whose NOTIFY failed, or that has no news after all; its next change is sent.

        A change that came while the NOTIFY was in flight is sent at once.
        """
        cdef Row* row = self.row(slot)
        if row.flags & FLAG_ASKED:
            return      # over, whoever refreshes it
        if row.flight == FLIGHT_FAILED or row.flight == FLIGHT_ASKED:
            row.flight = FLIGHT_IDLE
            if row.flags & FLAG_DIRTY:
                row.flags &= ~FLAG_DIRTY
                self.want(slot)

    def retry(self, uint32_t slot, double at):
        """Send the newest state again at `at`, after a failure with Retry-After (RFC 6665 section 4.2.2)."""
        cdef Row* row = self.row(slot)
        if row.flight == FLIGHT_FAILED:
            row.flight = FLIGHT_BACKOFF
            row.due_ms = self.milliseconds(at)
            self.retransmissions.arm(slot, at)

    def resend(self, uint32_t slot):
        """Send the NOTIFY in flight again, its connection being lost, where there is no timer E; False the second time."""
        cdef Row* row = self.row(slot)
        if row.flight != FLIGHT_FLYING or not self.links[self.way_of(row)].reliable:
            return True
        if row.flags & (FLAG_RESENT | FLAG_UNPROVEN):
            return False
        row.flags |= FLAG_RESEND | FLAG_RESENT
        self.queue(slot)
        return True

    def reserved(self, uint32_t slot, uint32_t cseq_mark):
        """Continue after CSeq numbers up to `cseq_mark` were reserved in the database."""
        cdef uint32_t owner = self.row(slot).owner
        cdef uint32_t at = owner
        self.raise_mark(&self.rows[owner], cseq_mark)
        while at:
            if self.rows[at].flight == FLIGHT_HELD:
                self.rows[at].flight = FLIGHT_IDLE
                self.enqueue(at)
            at = self.rows[at].next_usage

    cdef void want(self, uint32_t slot) noexcept nogil:
        cdef Row* row = &self.rows[slot]
        if row.flags & FLAG_ASKED and row.flight != FLIGHT_FLYING:
            row.flags |= FLAG_DIRTY
        elif row.flight == FLIGHT_IDLE:
            if self.groups[row.group].individual and not row.flags & FLAG_OWN_BODY:
                row.flight = FLIGHT_ASKED
                self.report(slot, EVENT_WANT, 0, 0)
            else:
                self.enqueue(slot)
        elif row.flight == FLIGHT_QUEUED or row.flight == FLIGHT_HELD or row.flight == FLIGHT_ASKED:
            # Not rendered yet: it will leave with the newest state anyway.
            self.coalesced += 1
            if row.flags & FLAG_OWN_BODY:
                row.flags |= FLAG_DIRTY
        else:
            self.coalesced += 1 if row.flags & FLAG_DIRTY else 0
            row.flags |= FLAG_DIRTY

    cdef void enqueue(self, uint32_t slot) noexcept nogil:
        if self.queue(slot) == 0:
            self.rows[slot].flight = FLIGHT_QUEUED

    cdef int queue(self, uint32_t slot) noexcept nogil:
        # A ring that doubles: the order of changes is the order of sending.
        cdef uint32_t capacity, i
        cdef uint32_t* grown
        if self.ring_count == self.ring_capacity:
            capacity = self.ring_capacity * 2 if self.ring_capacity else 1024
            grown = <uint32_t*>malloc(<size_t>capacity * sizeof(uint32_t))
            if grown == NULL:
                return -1
            for i in range(self.ring_count):
                grown[i] = self.ring[(self.ring_head + i) & (self.ring_capacity - 1)]
            free(self.ring)
            self.ring = grown
            self.ring_capacity = capacity
            self.ring_head = 0
        self.ring[(self.ring_head + self.ring_count) & (self.ring_capacity - 1)] = slot
        self.ring_count += 1
        return 0

    cdef void report(self, uint32_t slot, uint8_t kind, uint16_t status, uint32_t retry_after) noexcept nogil:
        cdef Event* grown
        cdef uint32_t capacity
        if self.event_count == self.event_capacity:
            capacity = self.event_capacity * 2 if self.event_capacity else 256
            grown = <Event*>realloc(self.events, <size_t>capacity * sizeof(Event))
            if grown == NULL:
                return
            self.events = grown
            self.event_capacity = capacity
        self.events[self.event_count].slot = slot
        self.events[self.event_count].kind = kind
        self.events[self.event_count].status = status
        self.events[self.event_count].retry_after = retry_after
        self.event_count += 1

    def has_work(self):
        """Return True when NOTIFYs are queued or events wait to be taken."""
        return self.ring_count > 0 or self.event_count > 0

    def take_events(self):
        """Return and forget what happened: (slot, kind, status, Retry-After in seconds or group).

        "failed": the NOTIFY got a final failure (408 when it timed out), the row waits for a decision; "expired":
        the subscription's time is over; "ended": the final NOTIFY is done and the row, of that group, is free; "want": the row
        wants a body of its own; "reserve": CSeq numbers run out, `reserved` continues.
        """
        cdef uint32_t i
        cdef list events = [
            (self.events[i].slot, EVENT_KINDS[self.events[i].kind], self.events[i].status, self.events[i].retry_after)
            for i in range(self.event_count)
        ]
        self.event_count = 0
        if self.event_capacity > EVENTS_KEPT:
            free(self.events)
            self.events = NULL
            self.event_capacity = 0
        return events

    # ---- responses and time ----

    cdef bint match_response(self, const SipMsg* m, double now) noexcept nogil:
        """True when the response belongs to a NOTIFY of this table (in flight or not)."""
        cdef const char* branch = m.buf + m.via_branch.off
        cdef uint32_t slot
        cdef Row* row
        if m.via_branch.len != BRANCH_SIZE or m.method != M_NOTIFY:
            return False
        slot = self.slot_of(branch)
        if slot == 0:
            return False
        if has_more_vias(m) or not was_sent_by(self.links, self.link_count, m):
            # RFC 3261 sections 8.1.3.3 and 18.1.2: it was meant for somebody else.
            self.stray += 1
            return True
        row = &self.rows[slot]
        if not self.is_flying(slot, branch, m.cseq):
            self.stray += 1
            return True
        if m.status < 200:
            row.interval_ms = self.t2_ms
        elif m.status < 300:
            self.complete(slot)
        else:
            self.answered(row)
            self.fail(slot, m.status, retry_after(m))
        return True

    cdef bint match_usual(self, const char* p, uint32_t n) noexcept nogil:
        # The 200 that nearly every response is, recognised by its first Via and CSeq without reading the rest; whatever
        # is not just so (also one that is not in flight any more) is left to the scanner and `match_response`.
        cdef const char* e = p + n
        cdef const char* end
        cdef const char* branch = NULL
        cdef int64_t cseq = 0
        cdef uint32_t slot
        if n < 64 or memcmp(p, b"SIP/2.0 200 ", 12) != 0:
            return False
        p = <const char*>memchr(p, 10, n)
        if p == NULL or e - p < 64 or memcmp(p + 1, b"Via: ", 5) != 0:
            return False
        p += 6
        end = <const char*>memchr(p, 10, e - p)
        if end == NULL or memcmp(p, b"SIP/2.0/", 8) != 0 or not writes_via(self.links, self.link_count, p + 8, end):
            return False
        while p < end:
            p = find_byte(p, end, c";")
            if end - p > BRANCH_SIZE + 8 and memcmp(p, b";branch=", 8) == 0:
                branch = p + 8
                break
            p += 1
        if branch == NULL or (branch[BRANCH_SIZE] != c";" and branch[BRANCH_SIZE] != c"\r"):
            return False
        slot = self.slot_of(branch)
        if slot == 0:
            return False
        while end != NULL and e - end > 16:
            p = end + 1
            if p[0] == c"\r":
                return False
            end = <const char*>memchr(p, 10, e - p)
            if p[0] | 0x20 == c"v":
                return False        # perhaps a second Via
            if memcmp(p, b"CSeq: ", 6) == 0:
                p += 6
                while c"0" <= p[0] <= c"9" and cseq >> 32 == 0:
                    cseq = cseq * 10 + (p[0] - c"0")
                    p += 1
                if e - p < 8 or memcmp(p, b" NOTIFY\r", 8) != 0 or not self.is_flying(slot, branch, cseq):
                    return False
                self.complete(slot)
                return True
        return False

    cdef uint32_t slot_of(self, const char* branch) noexcept nogil:
        # The row a branch of BRANCH_SIZE bytes names, 0 when it is none of ours.
        cdef int64_t slot
        if memcmp(branch, b"z9hG4bKpr", 9) != 0 or read_hex(branch + 9, 2) != self.shard:
            return 0
        slot = read_hex(branch + 11, 8)
        return <uint32_t>slot if 0 < slot < self.row_pool.used else 0

    cdef bint is_flying(self, uint32_t slot, const char* branch, int64_t cseq) noexcept nogil:
        # Everything here comes from the peer: bound (by `slot_of`), then key, then CSeq, before state is touched.
        cdef Row* row = &self.rows[slot]
        return (row.flight == FLIGHT_FLYING and row.flying_cseq == cseq
                and <int64_t>self.branch_key(slot, row.flying_cseq) == read_hex(branch + 19, 8))

    cdef uint32_t branch_key(self, uint32_t slot, uint32_t cseq) noexcept nogil:
        # The row's own random is in it: the next subscription in this row begins with CSeq 1 again, and a branch
        # is unique across time (RFC 3261 section 8.1.1.7).
        return <uint32_t>mix(mix(self.secret ^ (<uint64_t>slot << 32 | cseq)) ^ self.rows[slot].tag_check)

    def match(self, Message response, double now):
        """Give the table a response; True when it belongs to one of its NOTIFYs."""
        return self.match_response(&response.m, now)

    cdef void land(self, Row* row) noexcept nogil:
        self.in_flight -= 1
        self.credit += self.credit < self.window
        row.flight = FLIGHT_IDLE
        row.flags &= ~(FLAG_RESEND | FLAG_RESENT)
        drop_body(row.flying)
        row.flying = NULL

    cdef inline void answered(self, Row* row) noexcept nogil:
        # The branch is known to nobody but who got the NOTIFY.
        if row.flags & FLAG_ASKED:
            self.end_doubt(row)

    cdef void complete(self, uint32_t slot) noexcept nogil:
        cdef Row* row = &self.rows[slot]
        cdef bint final = row.flying_state == ROW_TERMINATED
        self.answered(row)
        self.land(row)
        self.completed += 1
        if final:
            self.report(slot, EVENT_ENDED, 200, row.group)
            self.release_row(slot)
        elif row.flags & FLAG_DIRTY:
            row.flags &= ~FLAG_DIRTY
            self.want(slot)

    cdef void fail(self, uint32_t slot, uint16_t status, uint32_t retry_after) noexcept nogil:
        cdef Row* row = &self.rows[slot]
        cdef bint final = row.flying_state == ROW_TERMINATED
        if row.flight != FLIGHT_FLYING:
            return
        self.land(row)
        self.failed += 1
        if final or (row.state == ROW_TERMINATED and (status == 481 or status == 408 or row.flags & FLAG_ASKED)):
            self.report(slot, EVENT_ENDED, status, row.group)
            self.release_row(slot)
        elif row.state == ROW_TERMINATED:
            # The subscription ended meanwhile: say so even though the last NOTIFY failed.
            row.flags &= ~FLAG_DIRTY
            self.want(slot)
        else:
            row.flight = FLIGHT_FAILED
            self.report(slot, EVENT_FAILED, status, retry_after)

    def tick(self, double now):
        """Let timers fire: retransmissions and timeouts of NOTIFYs, expiries of subscriptions."""
        cdef U32Vector* bucket
        cdef uint32_t i, now_ms = self.milliseconds(now)
        self.now_s, self.now_ms = <uint32_t>now, now_ms
        while True:
            bucket = self.retransmissions.next_bucket(now)
            if bucket == NULL:
                break
            for i in range(bucket.count):
                self.fetch_row(bucket, i + ROWS_AHEAD)
                self.timer_fired(bucket.items[i], now, now_ms)
        while True:
            bucket = self.expiries.next_bucket(now)
            if bucket == NULL:
                break
            for i in range(bucket.count):
                self.fetch_row(bucket, i + ROWS_AHEAD)
                self.expiry_fired(bucket.items[i], now)

    cdef inline void fetch_row(self, const U32Vector* slots, uint32_t i) noexcept nogil:
        # Into the cache before its turn: what a walk over a million rows waits for is memory.
        if i < slots.count:
            pr_fetch(&self.rows[slots.items[i]])
            pr_fetch(<char*>&self.rows[slots.items[i]] + 64)

    cdef void timer_fired(self, uint32_t slot, double now, uint32_t now_ms) noexcept nogil:
        # Wheel entries are never taken out: the row says whether this one still counts.
        cdef Row* row = &self.rows[slot]
        if row.flight != FLIGHT_FLYING and row.flight != FLIGHT_BACKOFF:
            return
        if <int32_t>(row.due_ms - now_ms) > 0:
            # Retry-After may lie beyond the wheel's horizon, and with a long T1 the transaction's timers. Otherwise
            # an entry that comes up early is an earlier NOTIFY's.
            if row.flight == FLIGHT_BACKOFF or 64 * self.t1_ms > LONG_WAIT_MS or self.t2_ms > LONG_WAIT_MS:
                self.retransmissions.arm(slot, now + <int32_t>(row.due_ms - now_ms) / 1000.0)
            return
        if row.flight == FLIGHT_BACKOFF:
            row.flight = FLIGHT_IDLE
            row.flags &= ~FLAG_DIRTY
            self.want(slot)
        elif <int32_t>(now_ms - row.began_ms) >= <int32_t>(64 * self.t1_ms):
            self.timed_out += 1
            self.fail(slot, 408, 0)
        elif row.flags & FLAG_UNPROVEN:
            # No retransmissions to who has not asked: timer F alone.
            row.due_ms = row.began_ms + 64 * self.t1_ms
            self.retransmissions.arm(slot, now + <int32_t>(row.due_ms - now_ms) / 1000.0)
        elif not row.flags & FLAG_RESEND:
            row.interval_ms = min(row.interval_ms * 2, self.t2_ms)
            row.flags |= FLAG_RESEND
            self.queue(slot)

    cdef void expiry_fired(self, uint32_t slot, double now) noexcept nogil:
        cdef Row* row = &self.rows[slot]
        if row.state != ROW_ACTIVE and row.state != ROW_PENDING:
            return
        if row.expiry_entry > now:
            return
        if row.expires_at > now:
            self.arm_expiry(slot)
        elif row.expiry_entry:
            row.expiry_entry = 0
            self.report(slot, EVENT_EXPIRED, 0, 0)

    cdef uint32_t milliseconds(self, double now) noexcept nogil:
        return <uint32_t><int64_t>((now - self.epoch) * 1000.0)

    cdef void arm_transaction(self, uint32_t slot, double now, bint again) noexcept nogil:
        # Timer E doubles up to T2 on UDP; timer F (64*T1) is the only one on a reliable transport.
        # Counted from when the last one was due, so that the wheel's ticks do not add up.
        cdef Row* row = &self.rows[slot]
        cdef uint32_t now_ms = self.milliseconds(now)
        cdef uint32_t last = row.began_ms + 64 * self.t1_ms
        cdef uint32_t due = (row.due_ms if again else now_ms) + row.interval_ms
        cdef int32_t wait
        if self.links[self.way_of(row)].reliable or row.flags & FLAG_UNPROVEN or <int32_t>(last - due) < 0:
            due = last
        row.due_ms = due
        wait = <int32_t>(due - now_ms)
        self.retransmissions.arm(slot, now + (wait if wait > 0 else 0) / 1000.0)

    def counters(self):
        """Return the counts since start, and the NOTIFYs in flight and queued now."""
        return {
            "sent": self.sent, "retransmitted": self.retransmitted, "completed": self.completed,
            "failed": self.failed, "timed_out": self.timed_out, "coalesced": self.coalesced, "stray": self.stray,
            "unsent": self.unsent, "segmented": self.segmented, "switched": self.switched_count,
            "fallen_back": self.fallen_back, "in_flight": self.in_flight, "queued": self.ring_count,
        }
