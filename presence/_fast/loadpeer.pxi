# The load peer's loop: requests kept in flight or sent at a rate.
# Uses: loadflights. Used by: presence.loadtool.

cdef extern from "<poll.h>" nogil:
    int ppoll(pollfd* fds, unsigned long count, const timespec* timeout, const void* mask)
    int POLLIN

cdef enum:
    LOAD_EVENTS = 64
    LOAD_TRIES = 64                 # places looked at for one that is free
    SWEEP_NS = 10000000
    TURN_NS = 100000000             # between two looks at signals
    REQUEST_SLACK_BYTES = 1536      # of a request besides its body


cdef class LoadPeer(LoadFlights):
    """Requests of publishers and subscribers kept in flight, and watchers that answer and check every NOTIFY."""

    def __cinit__(self, *args, double t1_s=0.5, double t2_s=4.0, double loss=0.0, uint64_t seed=1, **others):
        cdef uint32_t i
        self.t1_ns, self.t2_ns = <uint64_t>(t1_s * 1e9), <uint64_t>(t2_s * 1e9)
        self.drop_threshold = <uint64_t>(min(max(loss, 0.0), 0.99) * <double>(1ULL << 63))
        self.random = mix(seed) | 1
        self.slab = <char*>malloc(<size_t>LOAD_BATCH * (LOAD_SLOT_BYTES + SCAN_SLACK))
        if self.slab == NULL:
            raise MemoryError
        for i in range(LOAD_BATCH):
            self.incoming.parts[i].iov_base = self.slab + <size_t>i * (LOAD_SLOT_BYTES + SCAN_SLACK)
            self.incoming.parts[i].iov_len = LOAD_SLOT_BYTES
        self.slot_bytes = self.body_size + REQUEST_SLACK_BYTES

    def __dealloc__(self):
        free(self.slab)
        free(self.flights)
        free(self.free_slots)
        free(self.texts)

    def run(self, list streams, *, uint32_t window, int64_t operations=-1, double rate_per_s=0.0, double seconds=0.0,
            bint await_watchers=False, double patience_s=15.0):
        """Send requests and wait for what they lead to; return (seconds until the last was done, whether all were).

        A stream is (kind, number of its first place, places, share). `window` requests at most are in flight;
        with `rate_per_s` they leave at that rate. It ends after `operations` requests or `seconds`. With
        `await_watchers` a PUBLISH is done when all watchers have its version.
        """
        cdef uint64_t start, end, now
        self.take_streams(streams)
        if window != self.flight_count or not window:
            self.make_flights(window)
        self.await_watchers = await_watchers
        self.left = operations
        start = self.progress_ns = self.next_ns = load_now_ns()
        self.period_ns = <uint64_t>(1e9 / rate_per_s) if rate_per_s else 0
        end = start + <uint64_t>(seconds * 1e9) if seconds else 0
        while True:
            now = load_now_ns()
            if end and now >= end:
                self.left = 0
            if self.idle():
                return (self.progress_ns - start) / 1e9, True
            if now > self.progress_ns + <uint64_t>(patience_s * 1e9):
                return (self.progress_ns - start) / 1e9, False
            with nogil:
                self.turn(min(end, now + TURN_NS) if end > now else now + TURN_NS)

    def rest(self, double seconds):
        """Answer NOTIFYs for a while without sending requests."""
        cdef uint64_t now, end = load_now_ns() + <uint64_t>(seconds * 1e9)
        cdef int64_t left = self.left
        self.left = -1
        self.stream_count = 0
        while True:
            now = load_now_ns()
            if now >= end:
                break
            with nogil:
                self.turn(min(end, now + TURN_NS))
        self.left = left

    def abandon(self):
        """Give up what is in flight, so that something else can be run; return how much it was."""
        cdef uint32_t i, count = self.flying
        for i in range(self.flight_count):
            if self.flights[i].busy:
                self.lost_requests += 1
                self.land(i)
        return count

    def reset(self):
        """Forget counts and latencies; places keep their state."""
        memset(self.histograms, 0, sizeof(self.histograms))
        memset(self.sent, 0, sizeof(self.sent))
        memset(self.done, 0, sizeof(self.done))
        memset(self.failed, 0, sizeof(self.failed))
        self.retransmitted = self.notifies = self.notify_bytes = self.reply_bytes = self.duplicates = 0
        self.out_of_order = self.went_back = self.coalesced = self.strays = self.lost_requests = 0
        self.dropped = self.skipped = self.unsent = self.late_ns = 0
        self.last_status = 0

    def counts(self, uint32_t kind):
        """Return how many requests of a kind were (sent, done, failed)."""
        if kind >= K_COUNT:
            raise IndexError(kind)
        return self.sent[kind], self.done[kind], self.failed[kind]

    def counters(self):
        """Return everything counted besides requests by kind."""
        return {"retransmitted": self.retransmitted, "lost_requests": self.lost_requests, "notifies": self.notifies,
                "notify_bytes": self.notify_bytes, "reply_bytes": self.reply_bytes, "duplicates": self.duplicates,
                "out_of_order": self.out_of_order, "went_back": self.went_back, "coalesced": self.coalesced,
                "strays": self.strays, "dropped": self.dropped, "skipped": self.skipped, "unsent": self.unsent,
                "late_us": self.late_ns // 1000, "last_status": self.last_status}

    def latency(self, uint32_t kind):
        """Return (count, p50, p90, p99, greatest) in microseconds: of a kind of request, or K_COUNT for publish to notify."""
        cdef Histogram* histogram
        if kind > K_COUNT:
            raise IndexError(kind)
        histogram = &self.histograms[kind]
        return (histogram.count, quantile_us(histogram, 0.5), quantile_us(histogram, 0.9), quantile_us(histogram, 0.99),
                histogram.most / 1000.0)

    # ---- requests ----

    cdef int take_streams(self, list streams) except -1:
        cdef uint32_t i, places
        if not 0 < len(streams) <= LOAD_STREAMS:
            raise ValueError("one to eight streams")
        self.stream_count = 0
        for i, (kind, first, count, share) in enumerate(streams):
            if not 0 <= kind < K_COUNT:
                raise ValueError(f"no kind of request: {kind}")
            places = self.watcher_count if is_subscribe(kind) else self.presentity_count
            if count < 1 or first < 0 or first + count > places:
                raise IndexError(f"no places {first} to {first + count - 1}")
            self.streams[i] = LoadStream(kind, first, count, 0, share, 0.0)
        self.stream_count = <uint32_t>len(streams)
        return 0

    cdef int make_flights(self, uint32_t window) except -1:
        cdef uint32_t i
        if self.flying or not 0 < window <= 1 << 20:
            raise ValueError("a window of 1 to 1048576, set when nothing is in flight")
        free(self.flights)
        free(self.free_slots)
        free(self.texts)
        self.flight_count = self.free_count = 0
        self.flights = <LoadFlight*>calloc(window, sizeof(LoadFlight))
        self.free_slots = <uint32_t*>calloc(window, sizeof(uint32_t))
        self.texts = <char*>malloc(<size_t>window * self.slot_bytes)
        if self.flights == NULL or self.free_slots == NULL or self.texts == NULL:
            raise MemoryError
        for i in range(window):
            self.flights[i].text = self.texts + <size_t>i * self.slot_bytes
            # Branches of one window differ from those of the next.
            self.random = mix(self.random)
            self.flights[i].generation = <uint32_t>self.random
            self.free_slots[i] = window - 1 - i
        self.flight_count = self.free_count = window
        return 0

    cdef bint idle(self) noexcept nogil:
        return self.left == 0 and self.flying == 0

    cdef void turn(self, uint64_t until_ns) noexcept nogil:
        cdef epoll_event events[LOAD_EVENTS]
        cdef int i, n
        cdef uint64_t now = load_now_ns()
        while now < until_ns and not self.idle():
            while self.send_next(now):
                pass
            if now >= self.swept_ns + SWEEP_NS:
                self.sweep(now)
            self.flush_requests()
            self.wait(now, until_ns)
            n = epoll_wait(self.epoll, events, LOAD_EVENTS, 0)
            now = load_now_ns()
            for i in range(n):
                self.receive(events[i].data.u32, now)
            now = load_now_ns()

    cdef int wait(self, uint64_t now, uint64_t until_ns) noexcept nogil:
        cdef pollfd waiting
        cdef timespec timeout
        cdef uint64_t until = min(until_ns, self.swept_ns + SWEEP_NS)
        if self.period_ns and self.left and self.free_count and self.stream_count:
            until = min(until, self.next_ns)
        if until <= now:
            return 0
        timeout.tv_sec = <long>((until - now) // 1000000000ULL)
        timeout.tv_nsec = <long>((until - now) % 1000000000ULL)
        waiting.fd = self.epoll
        waiting.events = POLLIN
        return ppoll(&waiting, 1, &timeout, NULL)

    cdef bint place_free(self, uint32_t kind, uint32_t place) noexcept nogil:
        if is_subscribe(kind):
            return self.watchers[place].flight == 0 and self.watchers[place].active == (kind != K_SUBSCRIBE)
        return (self.presentities[place].flight == 0
                and (self.presentities[place].tag_size == 0) == (kind == K_PUBLISH))

    cdef bint send_next(self, uint64_t now) noexcept nogil:
        cdef LoadStream* stream = &self.streams[0]
        cdef uint32_t i, place
        if self.left == 0 or self.free_count == 0 or self.stream_count == 0 or self.requests.count == LOAD_BATCH:
            return False
        if self.period_ns and now < self.next_ns:
            return False
        for i in range(1, self.stream_count):
            if self.streams[i].credit + self.streams[i].share > stream.credit + stream.share:
                stream = &self.streams[i]
        for i in range(min(stream.count, <uint32_t>LOAD_TRIES)):
            place = stream.first + stream.cursor
            stream.cursor = stream.cursor + 1 if stream.cursor + 1 < stream.count else 0
            if self.place_free(stream.kind, place):
                break
        else:
            if not self.period_ns:
                return False
            self.skipped += 1
            self.next_ns += self.period_ns
            return True
        for i in range(self.stream_count):
            self.streams[i].credit += self.streams[i].share
        stream.credit -= 1
        if self.period_ns:
            self.late_ns = max(self.late_ns, now - self.next_ns)
            self.next_ns += self.period_ns
        if self.left > 0:
            self.left -= 1
        self.begin(stream.kind, place, now)
        return True

    cdef void begin(self, uint32_t kind, uint32_t place, uint64_t now) noexcept nogil:
        cdef uint32_t slot = self.free_slots[self.free_count - 1]
        cdef LoadFlight* flight = &self.flights[slot]
        cdef LoadPresentity* presentity
        cdef LoadWatcher* watcher
        self.free_count -= 1
        self.flying += 1
        self.sent[kind] += 1
        flight.generation += 1
        flight.kind, flight.place = kind, place
        flight.busy = 1
        flight.answered = flight.notified = 0
        flight.sent_ns = now
        flight.interval_ns = self.t1_ns
        flight.due_ns = now + self.t1_ns
        if is_subscribe(kind):
            watcher = &self.watchers[place]
            watcher.flight = slot + 1
            if kind == K_SUBSCRIBE:
                watcher.epoch += 1
                watcher.cseq = watcher.notify_cseq = watcher.version = 0
                watcher.seen = 0
            watcher.cseq += 1
            flight.wanted_cseq = watcher.notify_cseq
            flight.size = self.build_subscribe(flight.text, kind, place, slot, flight.generation)
        else:
            presentity = &self.presentities[place]
            presentity.flight = slot + 1
            presentity.cseq += 1
            presentity.awaiting = 0
            if kind == K_PUBLISH or kind == K_MODIFY:
                presentity.version += 1
                presentity.awaiting = presentity.watchers if self.await_watchers else 0
                self.sent_ns[<size_t>place * LOAD_RING + presentity.version % LOAD_RING] = now
            flight.wanted_cseq = presentity.version
            flight.size = self.build_publish(flight.text, kind, place, slot, flight.generation)
        self.post_request(flight)

    cdef void post_request(self, LoadFlight* flight) noexcept nogil:
        cdef uint32_t i
        if self.drops():
            return
        if self.requests.count == LOAD_BATCH:
            self.flush_requests()
        i = self.requests.count
        self.requests.parts[i].iov_base = flight.text
        self.requests.parts[i].iov_len = flight.size
        self.requests.addresses[i] = self.server
        address_load(&self.requests, i)
        self.requests.count += 1

    cdef void flush_requests(self) noexcept nogil:
        self.unsent += send_load(self.request_fd, &self.requests)

    cdef void sweep(self, uint64_t now) noexcept nogil:
        """Retransmit what is due (timer E) and give up what was not answered within 64 T1 (timer F)."""
        cdef uint32_t i
        cdef LoadFlight* flight
        self.swept_ns = now
        for i in range(self.flight_count):
            flight = &self.flights[i]
            if not flight.busy or now < flight.due_ns:
                continue
            if now >= flight.sent_ns + 64 * self.t1_ns:
                self.lost_requests += 1
                self.failed[flight.kind] += 1
                self.land(i)
                continue
            flight.interval_ns = min(2 * flight.interval_ns, self.t2_ns)
            flight.due_ns = now + flight.interval_ns
            if not flight.answered:
                self.retransmitted += 1
                self.post_request(flight)

    # ---- what comes in ----

    cdef int receive(self, int fd, uint64_t now) noexcept nogil:
        cdef int i, n
        cdef char* text
        for i in range(LOAD_BATCH):
            address_load(&self.incoming, i)
        n = recvmmsg(fd, self.incoming.headers, LOAD_BATCH, MSG_DONTWAIT, NULL)
        for i in range(n):
            if self.drops():
                continue
            text = <char*>self.incoming.parts[i].iov_base
            memset(text + self.incoming.headers[i].msg_len, 0, SCAN_SLACK)
            if scan_message(&self.m, text, self.incoming.headers[i].msg_len) != 0:
                self.strays += 1
            elif not self.m.is_request:
                self.on_response(now)
            elif self.m.method == M_NOTIFY:
                self.on_notify(now)
                if not self.drops():
                    self.reply(i, &self.incoming.addresses[i])
            else:
                self.strays += 1
        self.unsent += send_load(fd, &self.replies)
        return n
