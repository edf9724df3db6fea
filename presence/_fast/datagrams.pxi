# Datagrams in batches: recvmmsg into a reused slab, sendmmsg out of one.
# Uses: message, transactions, fanout. Used by: transport/udp.

cdef enum:
    BATCHES = 4             # read before other events of the loop have their turn
    SLAB_SLOTS = 128
    SLAB_SLOT_BYTES = 65536 + SCAN_SLACK    # only the pages a datagram fills are ever touched


cdef int socket_family(int fd) except -1:
    cdef sockaddr_storage address
    cdef socklen_t size = sizeof(sockaddr_storage)
    if getsockname(fd, <sockaddr*>&address, &size) != 0:
        raise OSError(errno, "getsockname")
    return address.ss_family


cdef int64_t receive_buffer(int fd) noexcept nogil:
    cdef int size = 0
    cdef socklen_t length = sizeof(int)
    return size if getsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, &length) == 0 else 0


cdef void begin_batch(Batch* batch, char* scratch, uint32_t room) noexcept nogil:
    batch.count = 0
    batch.refused = 0
    batch.next = scratch
    batch.room = room


cdef void add_datagram(Batch* batch, uint32_t head, char* tail, uint32_t tail_size) noexcept nogil:
    # The head was written at batch.next; the tail stays where it is.
    cdef uint32_t i = batch.count
    batch.parts[2 * i].iov_base = batch.next
    batch.parts[2 * i].iov_len = head
    batch.parts[2 * i + 1].iov_base = tail
    batch.parts[2 * i + 1].iov_len = tail_size
    memset(&batch.headers[i], 0, sizeof(mmsghdr))
    batch.headers[i].msg_hdr.msg_iov = &batch.parts[2 * i]
    batch.headers[i].msg_hdr.msg_iovlen = 2 if tail_size else 1
    batch.headers[i].msg_hdr.msg_name = &batch.addresses[i]
    batch.too_large[i] = 0
    batch.next += head
    batch.room -= head
    batch.count += 1


cdef void address_datagram(Batch* batch, int family, const uint8_t* address, uint16_t port) noexcept nogil:
    cdef uint32_t i = batch.count - 1
    batch.headers[i].msg_hdr.msg_namelen = write_sockaddr(&batch.addresses[i], family, address, port)


cdef socklen_t write_sockaddr(sockaddr_storage* out, int family, const uint8_t* address, uint16_t port) noexcept nogil:
    # Of one that is not IPv6 the rest is zero too, so that two can be compared.
    cdef sockaddr_in* four = <sockaddr_in*>out
    cdef sockaddr_in6* six = <sockaddr_in6*>out
    memset(out, 0, sizeof(sockaddr_in6))
    if family == AF_INET:
        four.sin_family = AF_INET
        four.sin_port = htons(port)
        memcpy(&four.sin_addr, address + 12, 4)
        return sizeof(sockaddr_in)
    six.sin6_family = AF_INET6
    six.sin6_port = htons(port)
    memcpy(&six.sin6_addr, address, 16)
    return sizeof(sockaddr_in6)


cdef void send_batch(Batch* batch) noexcept nogil:
    cdef uint32_t done = 0
    cdef int n
    cdef pollfd waiting
    while done < batch.count:
        n = sendmmsg(batch.fd, &batch.headers[done], batch.count - done, 0)
        if n > 0:
            done += n
        elif errno == EINTR:
            continue
        elif errno == EAGAIN or errno == ENOBUFS:
            # The device's queue is full: give it 20 ms, then leave the rest to retransmission.
            waiting.fd = batch.fd
            waiting.events = POLLOUT
            if poll(&waiting, 1, 20) <= 0:
                batch.refused += batch.count - done
                return
        else:
            # The error belongs to the first message not sent; the others may go.
            batch.too_large[done] = errno == EMSGSIZE
            batch.refused += 1
            done += 1


cdef bint knows_segments(int fd) noexcept nogil:
    # An older kernel would take the option for nothing and send one huge datagram.
    cdef int value = 0
    cdef socklen_t size = sizeof(int)
    return getsockopt(fd, SOL_UDP, UDP_SEGMENT, &value, &size) == 0


cdef char BLANKS[SEGMENT_SLACK]
memset(BLANKS, c" ", SEGMENT_SLACK)


cdef inline bint same_address(const sockaddr_storage* one, const sockaddr_storage* other) noexcept nogil:
    return memcmp(one, other, sizeof(sockaddr_in6)) == 0


cdef uint32_t pad_place(uint32_t size, bytes headers) noexcept:
    """Return where the Server line, with which `headers` begins, ends in a response of that size without a body."""
    cdef const char* text = PyBytes_AS_STRING(headers)
    cdef uint32_t n = <uint32_t>PyBytes_GET_SIZE(headers)
    cdef const char* end
    if n < 8 or memcmp(text, b"Server: ", 8) != 0:
        return 0
    end = <const char*>memchr(text, 13, n)
    return 0 if end == NULL else size - n - EMPTY_BODY + <uint32_t>(end - text)


cdef int send_segmented(int fd, const sockaddr_storage* to, socklen_t to_size, iovec* parts, uint32_t part_count,
                        uint16_t segment_size) noexcept nogil:
    """Send the parts as datagrams of `segment_size` bytes; -1 when the kernel or the path refuses."""
    cdef msghdr message
    cdef ssize_t n
    cdef pollfd waiting
    cdef char control[32]
    cdef cmsghdr* header = <cmsghdr*>control
    memset(&message, 0, sizeof(message))
    memset(control, 0, sizeof(control))
    message.msg_name = <void*>to
    message.msg_namelen = to_size
    message.msg_iov = parts
    message.msg_iovlen = part_count
    header.cmsg_level = SOL_UDP
    header.cmsg_type = UDP_SEGMENT
    header.cmsg_len = CMSG_LEN(sizeof(uint16_t))
    memcpy(CMSG_DATA(header), &segment_size, sizeof(uint16_t))
    message.msg_control = control
    message.msg_controllen = CMSG_SPACE(sizeof(uint16_t))
    while True:
        n = sendmsg(fd, &message, 0)
        if n >= 0:
            return 0
        if errno == EINTR:
            continue
        if errno != EAGAIN and errno != ENOBUFS:
            return -1
        waiting.fd = fd
        waiting.events = POLLOUT
        if poll(&waiting, 1, 20) <= 0:
            # Left to timer E, as single datagrams are.
            return 0


cdef void read_source(const sockaddr_storage* from_, uint8_t* address, uint16_t* port) noexcept nogil:
    memset(address, 0, 16)
    if from_.ss_family == AF_INET:
        address[10] = 255
        address[11] = 255
        memcpy(address + 12, &(<const sockaddr_in*>from_).sin_addr, 4)
        port[0] = ntohs((<const sockaddr_in*>from_).sin_port)
    else:
        memcpy(address, &(<const sockaddr_in6*>from_).sin6_addr, 16)
        port[0] = ntohs((<const sockaddr_in6*>from_).sin6_port)


cdef class UdpSocket:
    """A bound UDP socket: requests come up in batches, responses to NOTIFYs and retransmissions end here."""

    def __cinit__(self, int fd, Fanout table, ServerTransactions transactions, object origin):
        cdef uint32_t i
        self.fd = fd
        self.family = socket_family(fd)
        self.table = table
        self.transactions = transactions
        self.origin = origin
        self.slab = <char*>malloc(<size_t>SLAB_SLOTS * SLAB_SLOT_BYTES)
        self.scratch = <char*>malloc(SCRATCH_BYTES)
        if self.slab == NULL or self.scratch == NULL:
            raise MemoryError
        for i in range(SLAB_SLOTS):
            self.parts[i].iov_base = self.slab + <size_t>i * SLAB_SLOT_BYTES
            self.parts[i].iov_len = SLAB_SLOT_BYTES - SCAN_SLACK
            self.headers[i].msg_hdr.msg_iov = &self.parts[i]
            self.headers[i].msg_hdr.msg_iovlen = 1
            self.headers[i].msg_hdr.msg_name = &self.addresses[i]
        self.received = SLAB_SLOTS
        self.segments = knows_segments(fd)
        begin_batch(&self.replies, self.scratch, SCRATCH_BYTES)
        self.replies.fd = fd

    def __dealloc__(self):
        free(self.slab)
        free(self.scratch)

    def receive(self, double now):
        """Read what has arrived, up to 128 datagrams; return (requests, whether more may be waiting).

        Malformed requests come up too when they can be answered; what cannot is dropped and counted.
        """
        cdef list requests = []
        return requests, self.read_batch(requests, now) == SLAB_SLOTS

    def guard(self, Gate gate not None):
        """Take only what passes the gate; one that lets everything pass costs nothing."""
        self.gate = gate if gate.filtering or gate.limiting else None

    def serve(self, object clock, object handle, object wake):
        """Say what `readable` does: `handle(requests, now)` with new requests, `wake()` when something follows."""
        self.clock, self.handle, self.wake = clock, handle, wake

    def readable(self):
        """Read what has arrived, some batches at the most: the callback of the event loop."""
        cdef list requests = []
        cdef double now = self.clock()
        cdef int i
        for i in range(BATCHES):
            if self.read_batch(requests, now) < SLAB_SLOTS:
                break
        # Most of what comes in are answers to NOTIFYs, done by now: they are no reason for a turn of the loop.
        if requests:
            self.handle(requests, now)
            self.wake()
        elif self.table.ring_count or self.table.event_count:
            self.wake()

    cdef int read_batch(self, list requests, double now) except -2:
        cdef int n, i
        cdef Message message
        cdef char* datagram
        cdef uint32_t size, transaction
        cdef bint found, merged
        cdef uint8_t source[16]
        cdef uint16_t port
        # What the kernel wrote into the headers last time; the others are as they were.
        for i in range(self.received):
            self.headers[i].msg_hdr.msg_namelen = sizeof(sockaddr_storage)
        self.received = 0
        with nogil:
            n = recvmmsg(self.fd, self.headers, SLAB_SLOTS, MSG_DONTWAIT, NULL)
        if n < 0:
            return 0
        self.received = n
        for i in range(n):
            datagram, size = self.slab + <size_t>i * SLAB_SLOT_BYTES, self.headers[i].msg_len
            if size <= 4:
                self.keepalives += 1
                continue
            memset(datagram + size, 0, SCAN_SLACK)
            if self.gate is not None:
                read_source(&self.addresses[i], source, &port)
                if not self.gate.passes(source, datagram, now):
                    continue
            if self.table.match_usual(datagram, size):
                continue
            scan_message(&self.m, datagram, size)
            if not self.m.is_request:
                if self.m.error or not self.table.match_response(&self.m, now):
                    self.strays += 1
                continue
            transaction = 0
            merged = False
            if not self.m.error:
                transaction = self.transactions.find_or_begin(&self.m, &found, &merged)
                if found:
                    self.repeat(transaction, i)
                    continue
            message = new_message(&self.m)
            read_source(&self.addresses[i], message.source_ip, &message.source_port)
            message.origin = self.origin
            message.socket = self
            message.transaction = transaction
            message.merged = merged
            self.transactions.mark_plain(message)
            message.received_at = now
            requests.append(message)
        return n

    cdef void repeat(self, uint32_t transaction, int i) noexcept nogil:
        # A retransmission gets the stored response, or silence while there is none (RFC 3261 section 17.2.2).
        cdef Transaction* entry = &self.transactions.entries[transaction]
        cdef uint8_t address[16]
        cdef uint16_t port
        self.retransmissions += 1
        if entry.state != TX_COMPLETED or entry.size == 0:
            return
        self.room_for(entry.size)
        if entry.size > self.replies.room:
            return
        memcpy(self.replies.next, block_at(&self.transactions.responses, entry.response), entry.size)
        read_source(&self.addresses[i], address, &port)
        self.queue_reply(entry.size, &self.m, address, port)

    cdef void room_for(self, uint32_t size) noexcept nogil:
        if self.replies.count == BATCH_SIZE or self.replies.room < size:
            self.send_replies()

    cdef void send_replies(self) noexcept nogil:
        if self.replies.count >= SEGMENTS_LEAST and self.segments and self.table.segmenting:
            self.segment_replies()
        send_batch(&self.replies)
        self.unsent += self.replies.refused
        begin_batch(&self.replies, self.scratch, SCRATCH_BYTES)

    cdef int answer(self, Message request, int status, bytes reason, bytes to_tag, bytes headers, double now) except -1:
        # Into the batch of replies, without an object for it.
        cdef uint32_t size = response_room(&request.m, len(reason) + len(to_tag) + len(headers))
        self.room_for(size)
        if size > self.replies.room:
            self.unsent += 1
            return 0
        size = write_response(request, status, reason, to_tag, headers, b"", self.replies.next)
        self.transactions.keep(request.transaction, self.replies.next, size, now)
        self.queue_reply(size, &request.m, request.source_ip, request.source_port)
        self.replies.pads[self.replies.count - 1] = pad_place(size, headers)
        return 0

    cdef uint32_t segment_replies(self) noexcept nogil:
        # Responses that go to one address leave in one system call, as NOTIFYs to one next hop do (`send_segments`);
        # what cannot stays in the batch, in its order. Returns how many have left.
        cdef Batch* batch = &self.replies
        cdef uint8_t members[BATCH_SIZE]
        cdef uint8_t gone[BATCH_SIZE]
        cdef uint32_t i, j, count, longest, shortest, size, left = 0
        memset(gone, 0, sizeof(gone))
        for i in range(batch.count):
            if gone[i] or batch.pads[i] == 0 or batch.parts[2 * i].iov_len > SEGMENT_BYTES_MAX:
                continue
            count = 0
            longest, shortest = 0, SEGMENT_BYTES_MAX
            for j in range(i, batch.count):
                size = <uint32_t>batch.parts[2 * j].iov_len
                if gone[j] or batch.pads[j] == 0 or size > SEGMENT_BYTES_MAX or not same_address(&batch.addresses[i], &batch.addresses[j]):
                    continue
                if max(longest, size) - min(shortest, size) > SEGMENT_SLACK or max(longest, size) * (count + 1) > 65000:
                    continue
                longest, shortest = max(longest, size), min(shortest, size)
                members[count] = <uint8_t>j
                count += 1
            if count >= SEGMENTS_LEAST and self.segment_run(members, count, longest):
                for j in range(count):
                    gone[members[j]] = True
        for i in range(batch.count):
            if gone[i]:
                continue
            if left != i:
                batch.parts[2 * left] = batch.parts[2 * i]
                batch.addresses[left] = batch.addresses[i]
                batch.headers[left].msg_hdr.msg_namelen = batch.headers[i].msg_hdr.msg_namelen
            left += 1
        i = batch.count - left
        batch.count = left
        return i

    cdef bint segment_run(self, const uint8_t* members, uint32_t count, uint32_t length) noexcept nogil:
        # One system call for responses to one address, each with blanks at the end of its Server line to be as long
        # as the longest. False: nothing was sent.
        cdef Batch* batch = &self.replies
        cdef iovec parts[3 * BATCH_SIZE]
        cdef uint32_t i, at, size, pad, used = 0
        for i in range(count):
            at = members[i]
            size, pad = <uint32_t>batch.parts[2 * at].iov_len, batch.pads[at]
            parts[used].iov_base = batch.parts[2 * at].iov_base
            if size == length:
                parts[used].iov_len = size
                used += 1
                continue
            parts[used].iov_len = pad
            parts[used + 1].iov_base = <void*>BLANKS
            parts[used + 1].iov_len = length - size
            parts[used + 2].iov_base = <char*>batch.parts[2 * at].iov_base + pad
            parts[used + 2].iov_len = size - pad
            used += 3
        if send_segmented(self.fd, &batch.addresses[members[0]], batch.headers[members[0]].msg_hdr.msg_namelen, parts,
                          used, <uint16_t>length) < 0:
            self.refusals += 1
            self.segments = self.refusals < SEGMENT_REFUSALS
            return False
        self.refusals = 0
        return True

    cdef void queue_reply(self, uint32_t size, const SipMsg* m, const uint8_t* ip, uint16_t port) noexcept nogil:
        # To where RFC 3581 section 4 or RFC 3261 section 18.2.2 sends it.
        add_datagram(&self.replies, size, NULL, 0)
        self.replies.pads[self.replies.count - 1] = 0
        if not m.via_rport:
            port = m.via_port if m.via_port else 5060
        address_datagram(&self.replies, self.family, ip, port)

    def respond(self, Message request, bytes response):
        """Queue a response that is built already."""
        cdef uint32_t size = len(response)
        self.room_for(size)
        if size > self.replies.room:
            self.unsent += 1
            return
        memcpy(self.replies.next, <const char*>response, size)
        self.queue_reply(size, &request.m, request.source_ip, request.source_port)

    def flush(self):
        """Send the queued responses."""
        if self.replies.count:
            with nogil:
                self.send_replies()

    def counters(self):
        """Return the counts since start."""
        return {"keepalives": self.keepalives, "strays": self.strays, "retransmissions": self.retransmissions,
                "unsent": self.unsent}
