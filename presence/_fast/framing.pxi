"""Streams: cutting bytes into messages by Content-Length, keep-alives, what can no longer be framed.

Uses: scan, message, flights.  Used by: the stream transports.
"""

from libc.stdlib cimport realloc


def receive_whole(bytes data not None, Fanout table=None, double now=0.0):
    """Scan one whole message of a transport that keeps messages apart; None when it went to the table.

    That does a response to one of its NOTIFYs. Bytes behind the body are dropped (RFC 3261 section 18.3).
    """
    cdef Message message = parse(data)
    if table is None or message.m.is_request or message.m.error or not table.match_response(&message.m, now):
        return message
    return None


@cython.final
@cython.auto_pickle(False)
cdef class Framer:
    """Cuts a byte stream into messages by Content-Length (RFC 3261 section 18.3)."""

    cdef char* buf
    cdef size_t room        # bytes allocated, without SCAN_SLACK
    cdef size_t size        # bytes held
    cdef size_t start       # where the current message begins
    cdef size_t seen        # no end of the head before here: each byte is looked at once however it arrives
    cdef size_t length      # bytes of the current message, 0 while its head is incomplete
    cdef size_t most
    cdef size_t pings_seen, answers_seen
    cdef bint line_end_seen # an empty line came since the last message or ping
    cdef bint is_broken

    def __init__(self, max_message: int = MAX_MESSAGE):
        if max_message < 1:
            raise ValueError("max_message is at least 1")
        self.most = min(max_message, MAX_MESSAGE)

    def __dealloc__(self):
        free(self.buf)

    @property
    def broken(self):
        """True when the stream can no longer be framed and the connection must be closed."""
        return self.is_broken

    @property
    def pings(self):
        """CRLFCRLF keep-alives since last asked; each is answered with a CRLF (RFC 5626 section 4.4.1)."""
        cdef size_t count = self.pings_seen
        self.pings_seen = 0
        return count

    @property
    def buffered(self):
        """Bytes held of an incomplete message, bounded by max_message."""
        return self.size - self.start

    @property
    def answers(self):
        """Responses that went to the table since last asked."""
        cdef size_t count = self.answers_seen
        self.answers_seen = 0
        return count

    def feed(self, bytes data not None, Fanout table=None, double now=0.0):
        """Messages complete with these bytes. A message with `error` set may end the stream (`broken`).

        Responses to NOTIFYs of the table go to it at once and are not among them.
        """
        cdef list messages = []
        cdef Message message
        if self.is_broken:
            return messages
        self.hold(PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))
        while not self.is_broken:
            message = self.next_message(table, now)
            if message is None:
                break
            messages.append(message)
        self.let_go()
        return messages

    cdef int hold(self, const char* data, size_t n) except -1:
        cdef size_t room = self.size + n
        cdef char* grown
        if room > self.room or self.buf == NULL:
            if room < 2 * self.room:
                room = 2 * self.room
            grown = <char*>realloc(self.buf, room + SCAN_SLACK)
            if grown == NULL:
                raise MemoryError
            self.buf = grown
            self.room = room
        memcpy(self.buf + self.size, data, n)
        self.size += n
        memset(self.buf + self.size, 0, SCAN_SLACK)
        return 0

    cdef void let_go(self) noexcept:
        """Forget what was cut off; an idle connection holds no buffer."""
        if self.is_broken or self.start == self.size:
            free(self.buf)
            self.buf = NULL
            self.room = self.size = self.start = self.seen = self.length = 0
        elif self.start:
            memmove(self.buf, self.buf + self.start, self.size - self.start)
            self.size -= self.start
            self.seen -= self.start
            self.start = 0

    cdef bint skip_empty_lines(self) noexcept:
        """Go to the first byte of a message, counting pings; False when it has not come yet."""
        cdef char c
        while self.start < self.size:
            c = self.buf[self.start]
            if c == b"\r":
                if self.start + 1 == self.size:
                    break
                if self.buf[self.start + 1] == b"\n":
                    self.start += 1
                    c = b"\n"
            elif c != b"\n":
                self.line_end_seen = False
                self.seen = self.start
                return True
            self.start += 1
            if c == b"\n":
                self.pings_seen += self.line_end_seen
                self.line_end_seen = not self.line_end_seen
        self.seen = self.start
        return False

    cdef size_t find_head_end(self) noexcept:
        """The offset behind the empty line that ends the head; 0 when it has not come yet."""
        cdef const char* p
        cdef size_t after
        while True:
            p = <const char*>memchr(self.buf + self.seen, 10, self.size - self.seen)
            if p == NULL:
                self.seen = self.size
                return 0
            self.seen = p - self.buf
            after = self.seen + 1
            if after < self.size and self.buf[after] == b"\r":
                after += 1
            if after == self.size:
                return 0
            if self.buf[after] == b"\n":
                return after + 1
            self.seen += 1

    cdef Message next_message(self, Fanout table, double now):
        cdef SipMsg m
        cdef size_t head_end
        cdef uint32_t head
        while True:
            head = 0
            if self.length == 0:
                if self.start == self.seen and not self.skip_empty_lines():
                    return None
                head_end = self.find_head_end()
                # A head beyond the bound is not answered: whether its end came with the first bytes or later, which
                # nobody waits for, is a matter of how the stream was cut on its way.
                if (head_end if head_end else self.size) - self.start > self.most:
                    self.is_broken = True
                    return None
                if head_end == 0:
                    return None
                head = scan_head(&m, self.buf + self.start, <uint32_t>(head_end - self.start))
                if m.content_length < 0 or m.first[H_CONTENT_LENGTH] == 0:
                    return self.end_stream(&m, E_MISSING_FIELD + H_CONTENT_LENGTH)
                if head + m.content_length > <int64_t>self.most:
                    return self.end_stream(&m, E_TOO_LARGE)
                self.length = head + <size_t>m.content_length
            if self.size - self.start < self.length:
                return None
            if head:
                m.size = <uint32_t>self.length
                place_body(&m, head)
            else:
                # Scanned again rather than kept: a waiting connection shall not hold a header table.
                scan_message(&m, self.buf + self.start, <uint32_t>self.length)
            self.start += self.length
            self.seen = self.start
            self.length = 0
            if table is None or m.is_request or m.error or not table.match_response(&m, now):
                return new_message(&m)
            self.answers_seen += 1

    cdef Message end_stream(self, SipMsg* m, uint8_t error):
        """Where the next message begins is unknown: give out this one if it can still be answered."""
        self.is_broken = True
        fail(m, error)
        return new_message(m) if m.answerable else None
