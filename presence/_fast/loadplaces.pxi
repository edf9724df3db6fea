# What a load peer keeps of each presentity and each watcher, and the requests it makes of that.
# Uses: parts, scan. Used by: loadpeer.

cdef extern from *:
    """
    #include <string.h>
    static inline char *put_bytes(char *p, const char *text, size_t size) { memcpy(p, text, size); return p + size; }
    /* The length of a literal is known to the compiler. */
    static inline char *put_text(char *p, const char *text) { return put_bytes(p, text, strlen(text)); }
    static inline int high_bit(uint64_t value) { return 63 - __builtin_clzll(value | 1); }
    """
    char* put_bytes(char* p, const char* text, size_t size) noexcept nogil
    char* put_text(char* p, const char* text) noexcept nogil
    int high_bit(uint64_t value) noexcept nogil

cdef extern from "<sys/socket.h>" nogil:
    int SOL_SOCKET, SOCK_DGRAM, SOCK_CLOEXEC, SOCK_NONBLOCK
    int SO_RCVBUF, SO_SNDBUF, SO_RCVBUFFORCE, SO_SNDBUFFORCE, SO_BINDTODEVICE
    int open_socket "socket"(int domain, int kind, int protocol)
    int bind_socket "bind"(int fd, const sockaddr* address, socklen_t size)
    int setsockopt(int fd, int level, int name, const void* value, socklen_t size)

cdef extern from "<unistd.h>" nogil:
    int close_fd "close"(int fd)

cdef extern from "<arpa/inet.h>" nogil:
    uint32_t htonl(uint32_t value)

cdef enum:
    LOAD_BUFFER_BYTES = 64 << 20    # asked for as root; others get what net.core.rmem_max allows
    LOAD_BUFFER_LEAST = 4 << 20
    SO_MEMINFO = 55
    MEMINFO_DROPS = 8
    HOP_BYTES = 32
    LOOPBACK_NETWORK = 127 << 24


cdef uint64_t load_now_ns() noexcept nogil:
    cdef timespec at
    clock_gettime(CLOCK_MONOTONIC, &at)
    return <uint64_t>at.tv_sec * 1000000000ULL + <uint64_t>at.tv_nsec


# ---- text ----

cdef inline char* put_number(char* p, uint32_t value) noexcept nogil:
    cdef char digits[10]
    cdef int n = 0
    while True:
        digits[n] = <char>(c'0' + value % 10)
        value //= 10
        n += 1
        if value == 0:
            break
    while n:
        n -= 1
        p[0] = digits[n]
        p += 1
    return p


cdef inline char* put_eight(char* p, uint32_t value) noexcept nogil:
    cdef int i
    for i in range(7, -1, -1):
        p[i] = <char>(c'0' + value % 10)
        value //= 10
    return p + 8


cdef inline char* put_hex(char* p, uint32_t value, int digits) noexcept nogil:
    return p + write_hex(p, value, digits)


cdef inline int64_t read_eight(const char* p) noexcept nogil:
    cdef int64_t value = 0
    cdef int i
    for i in range(8):
        if p[i] < c'0' or p[i] > c'9':
            return -1
        value = value * 10 + (p[i] - c'0')
    return value


# ---- latencies ----

cdef inline void record(Histogram* histogram, uint64_t ns) noexcept nogil:
    cdef int shift = high_bit(ns) - 5
    if shift < 0:
        shift = 0
    histogram.buckets[(shift << 5) + (ns >> shift)] += 1
    histogram.count += 1
    if ns > histogram.most:
        histogram.most = ns


cdef double quantile_us(const Histogram* histogram, double share) noexcept nogil:
    """The middle of the bucket that holds the quantile."""
    cdef uint64_t wanted = <uint64_t>(share * histogram.count)
    cdef uint64_t seen = 0
    cdef uint32_t i, shift
    for i in range(HISTOGRAM_BUCKETS):
        seen += histogram.buckets[i]
        if seen > wanted:
            shift = 0 if i < 64 else (i >> 5) - 1
            return min(<double>(<uint64_t>(i - (shift << 5)) << shift) + <double>(1ULL << shift) / 2,
                       <double>histogram.most) / 1000.0
    return histogram.most / 1000.0


# ---- sockets ----

cdef int open_load_socket(uint32_t address, const char* device) except -1:
    """Open a UDP socket on loopback with large buffers; on any address of it when `device` is given."""
    cdef int size = LOAD_BUFFER_BYTES
    cdef sockaddr_in name
    cdef int fd = open_socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)
    if fd < 0:
        raise OSError(errno, "socket")
    if setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(int)) != 0:
        size = LOAD_BUFFER_LEAST
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(int))
        setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(int))
    else:
        setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(int))
    memset(&name, 0, sizeof(sockaddr_in))
    name.sin_family = AF_INET
    name.sin_addr.s_addr = htonl(address)
    if device != NULL and setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, device, <socklen_t>strlen(device)) != 0:
        close_fd(fd)
        raise OSError(errno, "no socket for all of 127.0.0.0/8")
    if bind_socket(fd, <const sockaddr*>&name, sizeof(sockaddr_in)) != 0:
        close_fd(fd)
        raise OSError(errno, "bind")
    return fd


cdef int open_hop_socket(uint32_t addresses) except -1:
    if addresses == 1:
        return open_load_socket(LOOPBACK_NETWORK + 1, NULL)
    return open_load_socket(0, b"lo")


cdef uint16_t port_of(int fd) except 0:
    cdef sockaddr_in name
    cdef socklen_t size = sizeof(sockaddr_in)
    if getsockname(fd, <sockaddr*>&name, &size) != 0:
        raise OSError(errno, "getsockname")
    return ntohs(name.sin_port)


cdef uint32_t drops_of(int fd) noexcept nogil:
    """Datagrams the kernel threw away because the socket's buffer was full."""
    cdef uint32_t memory[16]
    cdef socklen_t size = sizeof(memory)
    memset(memory, 0, sizeof(memory))
    getsockopt(fd, SOL_SOCKET, SO_MEMINFO, memory, &size)
    return memory[MEMINFO_DROPS]


cdef class LoadPlaces:
    """Presentities and watchers by number, and the sockets they are reached by."""

    def __cinit__(self, int port, bytes run, bytes domain, bytes body, tuple user_at, tuple version_at, bytes mark, *,
                  uint32_t sockets=1, uint32_t addresses=1, uint32_t expires_s=3600, int proof=-1, **others):
        cdef uint32_t i
        if len(run) != 8:
            raise ValueError("the name of a run has 8 characters")
        if max(len(user_at), len(version_at)) > LOAD_MARKS or not 0 < len(mark) <= 32:
            raise ValueError("too many numbers in the body, or no mark before its version")
        if not sockets or not 0 < addresses < 1 << 24:
            raise ValueError("at least one socket and one address, less than 2^24 addresses")
        memset(&self.server, 0, sizeof(sockaddr_in))
        self.server.sin_family = AF_INET
        self.server.sin_port = htons(<uint16_t>port)
        self.server.sin_addr.s_addr = htonl(LOOPBACK_NETWORK + 1)
        memcpy(self.run, <const char*>run, 8)
        self.domain, self.body, self.mark = domain, body, mark
        self.domain_text, self.domain_size = domain, <uint32_t>len(domain)
        self.body_text, self.body_size = body, <uint32_t>len(body)
        self.mark_text, self.mark_size = mark, <uint32_t>len(mark)
        self.expires_s = expires_s
        if not -1 <= proof < HASH_KINDS:
            raise ValueError(f"no hash {proof}")
        self.proof = proof
        self.user_marks, self.version_marks = <uint32_t>len(user_at), <uint32_t>len(version_at)
        for i in range(self.user_marks):
            self.user_at[i] = user_at[i]
        for i in range(self.version_marks):
            self.version_at[i] = version_at[i]
        if max((0,) + user_at + version_at) + 8 > len(body):
            raise ValueError("a number stands behind the end of the body")
        self.request_fd = self.epoll = -1
        self.open(sockets, addresses)

    cdef int open(self, uint32_t sockets, uint32_t addresses) except -1:
        cdef uint32_t i, j
        cdef char* p
        cdef uint32_t address
        cdef epoll_event event
        self.hop_count = sockets * addresses
        self.fds = <int*>calloc(sockets, sizeof(int))
        self.hops = <char*>calloc(self.hop_count, HOP_BYTES)
        self.hop_sizes = <uint8_t*>calloc(self.hop_count, 1)
        self.epoll = epoll_create1(0)
        if self.fds == NULL or self.hops == NULL or self.hop_sizes == NULL or self.epoll < 0:
            raise MemoryError
        memset(&event, 0, sizeof(epoll_event))
        event.events = EPOLLIN
        self.request_fd = event.data.u32 = open_load_socket(LOOPBACK_NETWORK + 1, NULL)
        epoll_ctl(self.epoll, EPOLL_CTL_ADD, self.request_fd, &event)
        p = put_text(self.local, b"127.0.0.1:")
        put_number(p, port_of(self.request_fd))[0] = 0
        for i in range(sockets):
            self.fds[i] = open_hop_socket(addresses)
            self.socket_count = i + 1
            event.data.u32 = self.fds[i]
            epoll_ctl(self.epoll, EPOLL_CTL_ADD, self.fds[i], &event)
            for j in range(addresses):
                # Neighbours in the table differ in address and in socket.
                address = LOOPBACK_NETWORK + 1 + j
                p = self.hops + <size_t>(j * sockets + i) * HOP_BYTES
                p = put_number(p, address >> 24)
                p = put_number(put_text(p, b"."), address >> 16 & 255)
                p = put_number(put_text(p, b"."), address >> 8 & 255)
                p = put_number(put_text(p, b"."), address & 255)
                p = put_number(put_text(p, b":"), port_of(self.fds[i]))
                self.hop_sizes[j * sockets + i] = <uint8_t>(p - self.hops - <size_t>(j * sockets + i) * HOP_BYTES)
        return 0

    def __dealloc__(self):
        cdef uint32_t i
        for i in range(self.socket_count):
            close_fd(self.fds[i])
        if self.request_fd >= 0:
            close_fd(self.request_fd)
        if self.epoll >= 0:
            close_fd(self.epoll)
        for i in range(self.watcher_count):
            free(self.watchers[i].dialog)
        free(self.watchers)
        free(self.presentities)
        free(self.sent_ns)
        free(self.fds)
        free(self.hops)
        free(self.hop_sizes)

    def add_presentities(self, uint32_t count):
        """Add presentities nobody has published for; return the number of the first."""
        cdef uint32_t first = self.presentity_count
        cdef size_t wanted = <size_t>first + count
        cdef void* grown = realloc(self.presentities, wanted * sizeof(LoadPresentity))
        if grown == NULL:
            raise MemoryError
        self.presentities = <LoadPresentity*>grown
        grown = realloc(self.sent_ns, wanted * LOAD_RING * sizeof(uint64_t))
        if grown == NULL:
            raise MemoryError
        self.sent_ns = <uint64_t*>grown
        memset(&self.presentities[first], 0, count * sizeof(LoadPresentity))
        memset(&self.sent_ns[<size_t>first * LOAD_RING], 0, count * LOAD_RING * sizeof(uint64_t))
        self.presentity_count += count
        return first

    def add_watchers(self, const uint32_t[::1] presentities):
        """Add a watcher for each entry, of the presentity it names; return the number of the first."""
        cdef uint32_t first = self.watcher_count
        cdef uint32_t i, count = <uint32_t>presentities.shape[0]
        cdef void* grown
        for i in range(count):
            if presentities[i] >= self.presentity_count:
                raise IndexError(presentities[i])
        grown = realloc(self.watchers, (<size_t>first + count) * sizeof(LoadWatcher))
        if grown == NULL and count:
            raise MemoryError
        self.watchers = <LoadWatcher*>grown
        memset(&self.watchers[first], 0, count * sizeof(LoadWatcher))
        for i in range(count):
            self.watchers[first + i].presentity = presentities[i]
        self.watcher_count += count
        return first

    def behind(self):
        """Return how many watchers have not seen the version that was published last."""
        cdef uint32_t i, count = 0
        with nogil:
            for i in range(self.watcher_count):
                if (self.watchers[i].active
                        and self.watchers[i].version < self.presentities[self.watchers[i].presentity].version_due):
                    count += 1
        return count

    def active(self):
        """Return how many watchers are subscribed."""
        cdef uint32_t i, count = 0
        with nogil:
            for i in range(self.watcher_count):
                count += self.watchers[i].active
        return count

    def kernel_drops(self):
        """Return how many datagrams the kernel dropped because a buffer of this side was full."""
        cdef uint32_t i
        return drops_of(self.request_fd) + sum([drops_of(self.fds[i]) for i in range(self.socket_count)])

    def hop(self, uint32_t watcher):
        """Return the address and port a watcher's NOTIFYs come to."""
        cdef uint32_t i = watcher % self.hop_count
        return self.hops[<size_t>i * HOP_BYTES:<size_t>i * HOP_BYTES + self.hop_sizes[i]].decode()

    # ---- requests ----

    cdef char* put_uri(self, char* p, char kind, uint32_t place) noexcept nogil:
        p = put_text(p, b"sip:")
        p[0] = kind
        p = put_eight(p + 1, place)
        p[0] = c'@'
        return put_bytes(p + 1, self.domain_text, self.domain_size)

    cdef char* put_body(self, char* p, uint32_t place, uint32_t version) noexcept nogil:
        cdef uint32_t i
        memcpy(p, self.body_text, self.body_size)
        for i in range(self.user_marks):
            put_eight(p + self.user_at[i], place)
        for i in range(self.version_marks):
            put_eight(p + self.version_at[i], version)
        return p + self.body_size

    cdef char* put_head(self, char* p, uint32_t slot, uint32_t gen) noexcept nogil:
        p = put_text(put_text(p, b" SIP/2.0\r\nVia: SIP/2.0/UDP "), self.local)
        p = put_hex(put_hex(put_text(p, b";rport;branch=z9hG4bKl"), slot, 8), gen, 8)
        return put_text(p, b"\r\nMax-Forwards: 70\r\n")

    cdef uint32_t build_publish(self, char* out, uint8_t kind, uint32_t place, uint32_t slot, uint32_t gen) noexcept nogil:
        cdef LoadPresentity* one = &self.presentities[place]
        cdef char* p = self.put_uri(put_text(out, b"PUBLISH "), c'u', place)
        cdef uint32_t uri_size = <uint32_t>(p - out) - 8
        p = self.put_head(p, slot, gen)
        p = put_hex(put_text(self.put_uri(put_text(p, b"From: <"), c'u', place), b">;tag=p"), place, 8)
        p = self.put_uri(put_text(p, b"\r\nTo: <"), c'u', place)
        p = put_hex(put_bytes(put_text(p, b">\r\nCall-ID: p"), self.run, 8), place, 8)
        p = put_number(put_text(p, b"@127.0.0.1\r\nCSeq: "), one.cseq)
        p = put_number(put_text(p, b" PUBLISH\r\nEvent: presence\r\nExpires: "), 0 if kind == K_REMOVE else self.expires_s)
        p = put_proof(p, self.proof, &one.proof, out + 12, self.domain_text, self.domain_size, b"PUBLISH", out + 8, uri_size)
        if kind != K_PUBLISH:
            p = put_bytes(put_text(p, b"\r\nSIP-If-Match: "), one.tag, one.tag_size)
        if kind == K_PUBLISH or kind == K_MODIFY:
            p = put_number(put_text(p, b"\r\nContent-Type: application/pidf+xml\r\nContent-Length: "), self.body_size)
            return <uint32_t>(self.put_body(put_text(p, b"\r\n\r\n"), place, one.version) - out)
        return <uint32_t>(put_text(p, b"\r\nContent-Length: 0\r\n\r\n") - out)

    cdef uint32_t build_subscribe(self, char* out, uint8_t kind, uint32_t place, uint32_t slot, uint32_t gen) noexcept nogil:
        cdef LoadWatcher* one = &self.watchers[place]
        cdef uint32_t hop = place % self.hop_count
        cdef char user[16]
        cdef uint32_t uri_size
        cdef char* p = put_text(out, b"SUBSCRIBE ")
        if kind == K_SUBSCRIBE:
            p = self.put_uri(p, c'u', one.presentity)
        else:
            p = put_bytes(p, one.dialog, one.target_size)
        uri_size = <uint32_t>(p - out) - 10
        p = self.put_head(p, slot, gen)
        if kind != K_SUBSCRIBE:
            p = put_bytes(p, one.dialog + one.target_size + one.tag_size, one.route_size)
        p = put_text(self.put_uri(put_text(p, b"From: <"), c'w', place), b">;tag=w")
        p = put_hex(put_hex(p, place, 8), one.epoch, 4)
        p = put_text(self.put_uri(put_text(p, b"\r\nTo: <"), c'u', one.presentity), b">")
        if kind != K_SUBSCRIBE:
            p = put_bytes(put_text(p, b";tag="), one.dialog + one.target_size, one.tag_size)
        p = put_bytes(put_text(p, b"\r\nCall-ID: s"), self.run, 8)
        p = put_hex(put_hex(p, place, 8), one.epoch, 4)
        p = put_number(put_text(p, b"@127.0.0.1\r\nCSeq: "), one.cseq)
        p = put_eight(put_text(p, b" SUBSCRIBE\r\nContact: <sip:w"), place)
        p = put_bytes(put_text(p, b"@"), self.hops + <size_t>hop * HOP_BYTES, self.hop_sizes[hop])
        p = put_text(p, b">\r\nEvent: presence\r\nAccept: application/pidf+xml\r\nExpires: ")
        p = put_number(p, 0 if kind == K_UNSUBSCRIBE else self.expires_s)
        user[0] = c"w"
        put_eight(user + 1, place)
        p = put_proof(p, self.proof, &one.proof, user, self.domain_text, self.domain_size, b"SUBSCRIBE", out + 10, uri_size)
        return <uint32_t>(put_text(p, b"\r\nContent-Length: 0\r\n\r\n") - out)
