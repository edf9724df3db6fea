# The denominator: datagrams of the sizes a NOTIFY and its 200 have, exchanged without a look at their bytes.
# Uses: loadplaces, loadflights. Used by: presence.loadtool.

cdef enum:
    ECHO_DATAGRAM_BYTES = 9216


cdef class RawSender:
    """In the server's place: sends datagrams to next hops in turn and takes what comes back."""

    def __cinit__(self, list ports, uint32_t addresses, uint32_t size):
        cdef uint32_t i
        if not 0 < size <= ECHO_DATAGRAM_BYTES or not ports or not 0 < addresses < 1 << 24:
            raise ValueError("a datagram of 1 to 9216 bytes, at least one port and one address")
        self.fd = -1
        self.port_count, self.addresses = <uint32_t>len(ports), addresses
        self.ports = <uint16_t*>calloc(self.port_count, sizeof(uint16_t))
        self.text = <char*>calloc(LOAD_BATCH, size)
        self.received = <char*>malloc(<size_t>LOAD_BATCH * ECHO_DATAGRAM_BYTES)
        if self.ports == NULL or self.text == NULL or self.received == NULL:
            raise MemoryError
        for i in range(self.port_count):
            self.ports[i] = htons(<uint16_t>ports[i])
        for i in range(LOAD_BATCH):
            self.outgoing.parts[i].iov_base = self.text + <size_t>i * size
            self.outgoing.parts[i].iov_len = size
            self.incoming.parts[i].iov_base = self.received + <size_t>i * ECHO_DATAGRAM_BYTES
            self.incoming.parts[i].iov_len = ECHO_DATAGRAM_BYTES
            memset(&self.outgoing.addresses[i], 0, sizeof(sockaddr_in))
            self.outgoing.addresses[i].sin_family = AF_INET
        self.fd = open_load_socket(LOOPBACK_NETWORK + 1, NULL)

    def __dealloc__(self):
        if self.fd >= 0:
            close_fd(self.fd)
        free(self.ports)
        free(self.text)
        free(self.received)

    def run(self, int64_t count, uint32_t window):
        """Exchange `count` datagrams with at most `window` unanswered; return (seconds, answers that never came)."""
        cdef int64_t left = count
        cdef int64_t flying = 0, lost = 0
        cdef int n
        cdef uint64_t start = load_now_ns()
        cdef pollfd waiting
        waiting.fd = self.fd
        waiting.events = POLLIN
        with nogil:
            while left or flying:
                n = <int>min(min(left, <int64_t>window - flying), <int64_t>LOAD_BATCH)
                if n > 0:
                    self.send(<uint32_t>n)
                    left -= n
                    flying += n
                n = self.take()
                if n > 0:
                    flying -= n
                elif (left == 0 or flying >= window) and poll(&waiting, 1, 1000) == 0:
                    lost += flying
                    flying = 0
        return (load_now_ns() - start) / 1e9, lost

    cdef void send(self, uint32_t count) noexcept nogil:
        cdef uint32_t i
        for i in range(count):
            self.outgoing.addresses[i].sin_port = self.ports[self.hop % self.port_count]
            self.outgoing.addresses[i].sin_addr.s_addr = htonl(LOOPBACK_NETWORK + 1 + self.hop // self.port_count)
            self.hop = self.hop + 1 if self.hop + 1 < self.port_count * self.addresses else 0
            address_load(&self.outgoing, i)
        self.outgoing.count = count
        send_load(self.fd, &self.outgoing)

    cdef int take(self) noexcept nogil:
        cdef int i
        for i in range(LOAD_BATCH):
            address_load(&self.incoming, i)
        return recvmmsg(self.fd, self.incoming.headers, LOAD_BATCH, MSG_DONTWAIT, NULL)


cdef class RawAnswerer:
    """In the watchers' place: answers each datagram with one of a given size."""

    def __cinit__(self, uint32_t sockets, uint32_t addresses, uint32_t size):
        cdef uint32_t i
        cdef epoll_event event
        if not 0 < size <= ECHO_DATAGRAM_BYTES or not sockets or not addresses:
            raise ValueError("a datagram of 1 to 9216 bytes, at least one socket and one address")
        self.epoll = epoll_create1(0)
        self.fds = <int*>calloc(sockets, sizeof(int))
        self.text = <char*>calloc(1, size)
        self.received = <char*>malloc(<size_t>LOAD_BATCH * ECHO_DATAGRAM_BYTES)
        if self.epoll < 0 or self.fds == NULL or self.text == NULL or self.received == NULL:
            raise MemoryError
        memset(&event, 0, sizeof(epoll_event))
        event.events = EPOLLIN
        for i in range(sockets):
            self.fds[i] = open_hop_socket(addresses)
            self.socket_count = i + 1
            event.data.u32 = self.fds[i]
            epoll_ctl(self.epoll, EPOLL_CTL_ADD, self.fds[i], &event)
        for i in range(LOAD_BATCH):
            self.incoming.parts[i].iov_base = self.received + <size_t>i * ECHO_DATAGRAM_BYTES
            self.incoming.parts[i].iov_len = ECHO_DATAGRAM_BYTES
            self.outgoing.parts[i].iov_base = self.text
            self.outgoing.parts[i].iov_len = size

    def __dealloc__(self):
        cdef uint32_t i
        for i in range(self.socket_count):
            close_fd(self.fds[i])
        if self.epoll >= 0:
            close_fd(self.epoll)
        free(self.fds)
        free(self.text)
        free(self.received)

    def ports(self):
        """Return the ports datagrams are taken at."""
        return [port_of(self.fds[i]) for i in range(self.socket_count)]

    def answer(self, double seconds):
        """Answer for a while; return how many datagrams were."""
        cdef uint64_t end = load_now_ns() + <uint64_t>(seconds * 1e9)
        cdef uint64_t answered = 0
        cdef epoll_event events[LOAD_EVENTS]
        cdef int i, n
        with nogil:
            while load_now_ns() < end:
                n = epoll_wait(self.epoll, events, LOAD_EVENTS, 10)
                for i in range(n):
                    answered += self.answer_one(events[i].data.u32)
        return answered

    cdef uint32_t answer_one(self, int fd) noexcept nogil:
        cdef int i, n
        for i in range(LOAD_BATCH):
            address_load(&self.incoming, i)
        n = recvmmsg(fd, self.incoming.headers, LOAD_BATCH, MSG_DONTWAIT, NULL)
        if n <= 0:
            return 0
        for i in range(n):
            self.outgoing.addresses[i] = self.incoming.addresses[i]
            address_load(&self.outgoing, i)
        self.outgoing.count = n
        send_load(fd, &self.outgoing)
        return n
