# What comes in to a load peer: responses end a request's flight, NOTIFYs are answered and checked.
# Uses: loadplaces, scan. Used by: loadpeer.

cdef extern from "<string.h>" nogil:
    void* memmem(const void* haystack, size_t size, const void* needle, size_t needle_size)

cdef enum:
    LOAD_REPLY_BYTES = 2048         # a 200 to a NOTIFY; a longer one is not sent
    LOAD_T1_NS = 500000000


cdef inline bint is_subscribe(uint32_t kind) noexcept nogil:
    return kind >= K_SUBSCRIBE


cdef inline Span line_value(const SipMsg* m, int header) noexcept nogil:
    if m.first[header] == 0:
        return Span(0, 0)
    return m.headers[m.first[header] - 1].value


cdef inline char* put_field(char* p, const char* name, const SipMsg* m, Span value) noexcept nogil:
    p = put_bytes(put_text(p, name), m.buf + value.off, value.len)
    return put_text(p, b"\r\n")


# ---- batches ----

cdef inline void address_load(LoadBatch* batch, uint32_t i) noexcept nogil:
    memset(&batch.headers[i], 0, sizeof(mmsghdr))
    batch.headers[i].msg_hdr.msg_iov = &batch.parts[i]
    batch.headers[i].msg_hdr.msg_iovlen = 1
    batch.headers[i].msg_hdr.msg_name = &batch.addresses[i]
    batch.headers[i].msg_hdr.msg_namelen = sizeof(sockaddr_in)


cdef uint32_t send_load(int fd, LoadBatch* batch) noexcept nogil:
    """Send all and empty the batch; return how many the kernel refused."""
    cdef uint32_t done = 0, refused = 0
    cdef int n
    cdef pollfd waiting
    while done < batch.count:
        n = sendmmsg(fd, &batch.headers[done], batch.count - done, 0)
        if n > 0:
            done += n
        elif errno == EAGAIN or errno == ENOBUFS:
            waiting.fd = fd
            waiting.events = POLLOUT
            poll(&waiting, 1, 20)
        elif errno != EINTR:
            refused += 1
            done += 1
    batch.count = 0
    return refused


cdef class LoadFlights(LoadPlaces):
    """Requests in flight and what is known of the NOTIFYs that came."""

    def __cinit__(self, *args, **others):
        self.scratch = <char*>malloc(LOAD_BATCH * LOAD_REPLY_BYTES)
        if self.scratch == NULL:
            raise MemoryError

    def __dealloc__(self):
        free(self.scratch)

    cdef bint drops(self) noexcept nogil:
        if not self.drop_threshold:
            return False
        self.random ^= self.random << 13
        self.random ^= self.random >> 7
        self.random ^= self.random << 17
        if self.random >> 1 < self.drop_threshold:
            self.dropped += 1
            return True
        return False

    cdef void on_response(self, uint64_t now) noexcept nogil:
        cdef const char* branch = self.m.buf + self.m.via_branch.off
        cdef int64_t slot, generation
        cdef LoadFlight* flight
        if self.m.via_branch.len != 24 or memcmp(branch, b"z9hG4bKl", 8) != 0:
            self.strays += 1
            return
        slot, generation = read_hex(branch + 8, 8), read_hex(branch + 16, 8)
        if slot < 0 or slot >= self.flight_count or generation != self.flights[slot].generation:
            self.strays += 1
            return
        flight = &self.flights[slot]
        if not flight.busy or flight.answered or self.m.status < 200:
            return      # provisional, or the answer to a retransmission
        if self.m.status == 401 and self.proof >= 0 and self.ask_again(flight, now):
            return
        flight.answered = 1
        record(&self.histograms[flight.kind], now - flight.sent_ns)
        if self.m.status < 300:
            self.accept(flight, now)
            return
        self.failed[flight.kind] += 1
        self.last_status = self.m.status
        if self.m.status == 481 and is_subscribe(flight.kind) and self.watchers[flight.place].active:
            self.watchers[flight.place].active = 0
            self.presentities[self.watchers[flight.place].presentity].watchers -= 1
        elif self.m.status == 412 and not is_subscribe(flight.kind):
            self.presentities[flight.place].tag_size = 0
        self.land(<uint32_t>slot)

    cdef bint ask_again(self, LoadFlight* flight, uint64_t now) noexcept nogil:
        """Answer a challenge with the same request, proven (RFC 3261 section 22.2); False when that was done before."""
        cdef LoadProof* proof
        cdef uint32_t slot = <uint32_t>(flight - self.flights)
        if is_subscribe(flight.kind):
            proof = &self.watchers[flight.place].proof
        else:
            proof = &self.presentities[flight.place].proof
        if proof.count == 1 or not read_nonce(&self.m, proof):
            return False
        flight.generation += 1
        flight.interval_ns = LOAD_T1_NS
        flight.due_ns = now + LOAD_T1_NS
        if is_subscribe(flight.kind):
            self.watchers[flight.place].cseq += 1
            flight.size = self.build_subscribe(flight.text, flight.kind, flight.place, slot, flight.generation)
        else:
            self.presentities[flight.place].cseq += 1
            flight.size = self.build_publish(flight.text, flight.kind, flight.place, slot, flight.generation)
        self.post_request(flight)
        return True

    cdef void post_request(self, LoadFlight* flight) noexcept nogil:
        pass

    cdef void accept(self, LoadFlight* flight, uint64_t now) noexcept nogil:
        cdef LoadPresentity* presentity
        cdef LoadWatcher* watcher
        cdef Span tag
        if is_subscribe(flight.kind):
            watcher = &self.watchers[flight.place]
            presentity = &self.presentities[watcher.presentity]
            if flight.kind == K_SUBSCRIBE:
                self.keep_dialog(watcher)
                watcher.active = 1
                presentity.watchers += 1
            elif flight.kind == K_UNSUBSCRIBE and watcher.active:
                watcher.active = 0
                presentity.watchers -= 1
        else:
            presentity = &self.presentities[flight.place]
            tag = line_value(&self.m, H_SIP_ETAG)
            presentity.tag_size = 0
            if flight.kind != K_REMOVE and tag.len <= sizeof(presentity.tag):
                presentity.tag_size = <uint8_t>tag.len
                memcpy(presentity.tag, self.m.buf + tag.off, tag.len)
            presentity.version_due = max(presentity.version_due, flight.wanted_cseq)
        self.settle(flight)

    cdef void settle(self, LoadFlight* flight) noexcept nogil:
        """Free the place when everything it waited for has come."""
        if not flight.answered:
            return
        if is_subscribe(flight.kind):
            if not flight.notified:
                return
        elif self.presentities[flight.place].awaiting:
            return
        self.done[flight.kind] += 1
        self.land(<uint32_t>(flight - self.flights))

    cdef void land(self, uint32_t slot) noexcept nogil:
        cdef LoadFlight* flight = &self.flights[slot]
        if is_subscribe(flight.kind):
            self.watchers[flight.place].flight = 0
        else:
            self.presentities[flight.place].flight = 0
            self.presentities[flight.place].awaiting = 0
        flight.busy = 0
        self.free_slots[self.free_count] = slot
        self.free_count += 1
        self.flying -= 1
        self.progress_ns = load_now_ns()

    cdef void keep_dialog(self, LoadWatcher* watcher) noexcept nogil:
        """Keep remote target, To-tag and route set of a 2xx (RFC 3261 section 12.1.2)."""
        cdef Span contact = line_value(&self.m, H_CONTACT)
        cdef const char* begin = self.m.buf + contact.off
        cdef const char* end = begin + contact.len
        cdef const char* angle = find_byte(begin, end, c'<')
        cdef uint32_t i, routes = 0
        cdef char* p
        if angle < end:
            begin = angle + 1
            end = find_byte(begin, end, c'>')
        else:
            end = find_byte(begin, end, c';')
        for i in range(self.m.header_count):
            if self.m.headers[i].id == H_RECORD_ROUTE:
                routes += self.m.headers[i].value.len + 9
        free(watcher.dialog)
        watcher.target_size = watcher.tag_size = watcher.route_size = 0
        watcher.dialog = <char*>malloc((end - begin) + self.m.to_tag.len + routes + 1)
        if watcher.dialog == NULL or (end - begin) + self.m.to_tag.len + routes > 1024:
            return
        watcher.target_size, watcher.tag_size = <uint16_t>(end - begin), <uint16_t>self.m.to_tag.len
        p = put_bytes(watcher.dialog, begin, end - begin)
        p = put_bytes(p, self.m.buf + self.m.to_tag.off, self.m.to_tag.len)
        for i in range(self.m.header_count):
            if self.m.headers[self.m.header_count - 1 - i].id == H_RECORD_ROUTE:
                p = put_field(p, b"Route: ", &self.m, self.m.headers[self.m.header_count - 1 - i].value)
        watcher.route_size = <uint16_t>routes

    # ---- NOTIFY ----

    cdef void on_notify(self, uint64_t now) noexcept nogil:
        cdef const char* tag = self.m.buf + self.m.to_tag.off
        cdef int64_t place, epoch
        cdef uint32_t behind
        cdef LoadWatcher* watcher
        cdef const char* found
        cdef LoadFlight* flight
        self.notifies += 1
        self.notify_bytes += self.m.size
        place, epoch = -1, -1
        if self.m.to_tag.len == 13 and tag[0] == c'w':
            place, epoch = read_hex(tag + 1, 8), read_hex(tag + 9, 4)
        if place < 0 or place >= self.watcher_count or epoch != self.watchers[place].epoch & 0xffff:
            self.strays += 1
            return
        watcher = &self.watchers[place]
        if self.m.cseq > watcher.notify_cseq:
            behind = self.m.cseq - watcher.notify_cseq
            watcher.seen = watcher.seen << behind | 1 if behind < 64 else 1
            watcher.notify_cseq = self.m.cseq
        else:
            behind = watcher.notify_cseq - self.m.cseq
            if behind >= 64 or watcher.seen >> behind & 1:
                self.duplicates += 1
            else:
                self.out_of_order += 1
                watcher.seen |= 1ULL << behind
            return
        found = self.find_mark()
        if found != NULL:
            self.see_version(watcher, <uint32_t>read_eight(found), now)
        if watcher.flight:
            flight = &self.flights[watcher.flight - 1]
            flight.notified = 1
            self.settle(flight)

    cdef const char* find_mark(self) noexcept nogil:
        """Return where the version stands in the body, NULL when there is none."""
        cdef const char* begin = self.m.buf + self.m.body.off
        cdef uint32_t size = self.m.body.len
        cdef const char* found
        # Documents of one server have it in one place.
        if self.mark_at + self.mark_size + 8 > size or memcmp(begin + self.mark_at, self.mark_text, self.mark_size) != 0:
            found = <const char*>memmem(begin, size, self.mark_text, self.mark_size)
            if found == NULL or found + self.mark_size + 8 > begin + size:
                return NULL
            self.mark_at = <uint32_t>(found - begin)
        found = begin + self.mark_at + self.mark_size
        return found if read_eight(found) >= 0 else NULL

    cdef void see_version(self, LoadWatcher* watcher, uint32_t version, uint64_t now) noexcept nogil:
        cdef LoadPresentity* presentity = &self.presentities[watcher.presentity]
        if version < watcher.version:
            self.went_back += 1
        if version <= watcher.version or version > presentity.version:
            return
        if watcher.version:
            self.coalesced += version - watcher.version - 1
            if presentity.version - version < LOAD_RING:
                record(&self.histograms[K_NOTIFY],
                       now - self.sent_ns[<size_t>watcher.presentity * LOAD_RING + version % LOAD_RING])
        watcher.version = version
        if version == presentity.version and presentity.awaiting:
            presentity.awaiting -= 1
            if presentity.awaiting == 0 and presentity.flight:
                self.settle(&self.flights[presentity.flight - 1])

    cdef void reply(self, uint32_t i, const sockaddr_in* source) noexcept nogil:
        """Queue a 200 to the NOTIFY just read, to where it came from."""
        cdef uint32_t k, size = 64
        cdef uint32_t n = self.replies.count
        cdef char* out = self.scratch + <size_t>n * LOAD_REPLY_BYTES
        cdef char* p
        for k in range(self.m.header_count):
            if self.m.headers[k].id in (H_VIA, H_FROM, H_TO, H_CALL_ID, H_CSEQ):
                size += self.m.headers[k].value.len + 12
        if size > LOAD_REPLY_BYTES:
            self.unsent += 1
            return
        p = put_text(out, b"SIP/2.0 200 OK\r\n")
        for k in range(self.m.header_count):
            if self.m.headers[k].id == H_VIA:
                p = put_field(p, b"Via: ", &self.m, self.m.headers[k].value)
        p = put_field(p, b"From: ", &self.m, line_value(&self.m, H_FROM))
        p = put_field(p, b"To: ", &self.m, line_value(&self.m, H_TO))
        p = put_field(p, b"Call-ID: ", &self.m, line_value(&self.m, H_CALL_ID))
        p = put_field(p, b"CSeq: ", &self.m, line_value(&self.m, H_CSEQ))
        p = put_text(p, b"Content-Length: 0\r\n\r\n")
        self.replies.parts[n].iov_base = out
        self.replies.parts[n].iov_len = p - out
        self.replies.addresses[n] = source[0]
        address_load(&self.replies, n)
        self.replies.count = n + 1
        self.reply_bytes += p - out
