"""The message as Python holds it: a copy of the bytes, everything else made when asked for.

Uses: find, names, scan.  Used by: framing, serialise, datagrams.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.stdlib cimport free, malloc

cdef extern from "<arpa/inet.h>" nogil:
    enum: AF_INET6
    const char* inet_ntop(int family, const void* address, char* text, uint32_t size) noexcept

cdef const uint8_t* V4_MAPPED = b"\0\0\0\0\0\0\0\0\0\0\xff\xff"
cdef const uint8_t* UNSET = b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"

cdef enum:
    DEFAULT_PORT = 5060
    ADDRESS_TEXT = 46       # INET6_ADDRSTRLEN


cdef uint32_t copy_unfolded(char* out, const char* p, uint32_t n) noexcept nogil:
    """Copy a value, each run of white space that holds a line end as one space; return the bytes written."""
    cdef const char* e = p + n
    cdef const char* stop
    cdef char* start = out
    cdef bint folded
    if memchr(p, 10, n) == NULL:
        memcpy(out, p, n)
        return n
    while p < e:
        stop = p
        folded = False
        while stop < e and is_space(stop[0]):
            folded = folded or stop[0] == b"\n"
            stop += 1
        if folded:
            out[0] = b" "
            out += 1
            p = stop
        else:
            stop += stop < e
            memcpy(out, p, stop - p)
            out += stop - p
            p = stop
    return <uint32_t>(out - start)


cdef bint read_address(const char* text, uint32_t n, uint8_t* ip) noexcept nogil:
    """Store an address text as 16 bytes (IPv4 v4-mapped); False when it is none, a host name for one."""
    cdef char buffer[ADDRESS_TEXT]
    if n == 0 or n >= ADDRESS_TEXT:
        return False
    memcpy(buffer, text, n)
    buffer[n] = 0
    if inet_pton(AF_INET, buffer, ip + 12) == 1:
        memcpy(ip, V4_MAPPED, 12)
        return True
    return inet_pton(AF_INET6, buffer, ip) == 1


cdef uint32_t write_address(const uint8_t* ip, char* out) noexcept nogil:
    """Write an address as text into ADDRESS_TEXT bytes; return its length, 0 for the unset address."""
    cdef uint32_t n = 0
    cdef int i
    cdef char* at = out
    if memcmp(ip, V4_MAPPED, 12) == 0:
        # Each response names an address, and inet_ntop formats with sprintf.
        for i in range(12, 16):
            at = emit_number(at, ip[i])
            at[0] = c"."
            at += 1
        return <uint32_t>(at - out) - 1
    if memcmp(ip, UNSET, 16) == 0:
        return 0
    inet_ntop(AF_INET6, ip, out, ADDRESS_TEXT)
    while out[n]:
        n += 1
    return n


cdef inline str decode(const char* p, uint32_t n):
    return PyUnicode_DecodeUTF8(p, n, b"surrogateescape")


cdef str decode_value(const char* p, uint32_t n):
    cdef char* copy
    if memchr(p, 10, n) == NULL:
        return decode(p, n)
    copy = <char*>malloc(n)
    if copy == NULL:
        raise MemoryError
    try:
        return decode(copy, copy_unfolded(copy, p, n))
    finally:
        free(copy)


cdef list split_values(str text):
    """Split at commas outside quotes and angle brackets; empty values are left out."""
    cdef list values = []
    cdef Py_ssize_t start = 0, at
    cdef Py_UCS4 c
    cdef bint quoted = False, bracketed = False, escaped = False
    if "," not in text:
        return [text] if text else values
    for at, c in enumerate(text):
        if escaped:
            escaped = False
        elif quoted:
            escaped = c == "\\"
            quoted = c != '"'
        elif c == '"':
            quoted = True
        elif c == "<" or c == ">":
            bracketed = c == "<"
        elif c == "," and not bracketed:
            values.append(text[start:at].strip())
            start = at + 1
    values.append(text[start:].strip())
    return [value for value in values if value]


cdef Message new_message(const SipMsg* m):
    cdef Message message = empty_message(m.size)
    memcpy(message.buf, m.buf, m.size)
    memcpy(&message.m, m, sizeof(SipMsg) - sizeof(m.headers) + m.header_count * sizeof(HeaderLine))
    message.m.buf = message.buf
    return message


@cython.final
@cython.auto_pickle(False)
cdef class Message:
    """One SIP message. Header values come unfolded and trimmed, decoded as UTF-8 with surrogateescape."""

    def __dealloc__(self):
        free(self.buf)

    def __repr__(self):
        if self.m.is_request:
            return f"<Message {self.method} {self.uri}>"
        return f"<Message {self.m.status} to {self.method}>"

    cdef str text(self, Span s):
        return decode(self.buf + s.off, s.len) if s.len else ""

    @property
    def is_request(self):
        return self.m.is_request != 0

    @property
    def method(self):
        """The method; for a response that of CSeq."""
        return self.text(self.m.method_name)

    @property
    def uri(self):
        """The Request-URI, '' for a response."""
        return self.text(self.m.uri)

    @property
    def status(self):
        return self.m.status

    @property
    def reason(self):
        return self.text(self.m.reason)

    @property
    def error(self):
        """'' or what is malformed, as a reason phrase for a 400."""
        return ERROR_REASONS[self.m.error]

    @property
    def bad_version(self):
        """True when it is not SIP/2.0, which is answered 505 (RFC 3261 section 21.5.6)."""
        return self.m.error == E_VERSION

    @property
    def answerable(self):
        """True when Via is good enough to send a response, be it a 400 saying that other fields are missing."""
        return self.m.answerable != 0

    @property
    def call_id(self):
        return self.text(self.m.call_id)

    @property
    def from_tag(self):
        return self.text(self.m.from_tag)

    @property
    def to_tag(self):
        return self.text(self.m.to_tag)

    @property
    def cseq(self):
        return self.m.cseq

    @property
    def branch(self):
        return self.text(self.m.via_branch)

    @property
    def via_transport(self):
        """The transport of the top Via, as sent."""
        return self.text(self.m.via_transport)

    @property
    def via_host(self):
        """The host of the top Via's sent-by, an IPv6 address without its brackets."""
        return self.text(self.m.via_host)

    @property
    def via_port(self):
        """The port of the top Via's sent-by, 0 without one."""
        return self.m.via_port

    @property
    def event(self):
        """The event package: the token of Event, and `dialog;sla` for that with the parameter sla."""
        return "dialog;sla" if self.m.shared_line else self.text(self.m.event)

    @property
    def event_id(self):
        return self.text(self.m.event_id)

    @property
    def expires(self):
        return None if self.m.expires < 0 else self.m.expires

    @property
    def max_forwards(self):
        return None if self.m.max_forwards < 0 else self.m.max_forwards

    @property
    def content_length(self):
        return None if self.m.content_length < 0 else self.m.content_length

    @property
    def body(self):
        cdef Span s = self.m.body
        return PyBytes_FromStringAndSize(self.buf + s.off, s.len) if s.len else b""

    @property
    def address(self):
        """User and host of a Request-URI that is its own canonical form; None when it takes a closer look."""
        cdef PlainUri uri
        if not plain_aor(self.buf, self.m.uri, &uri):
            return None
        return decode(self.buf + uri.user.off, uri.user.len), decode(self.buf + uri.host.off, uri.host.len)

    @property
    def if_match(self):
        """The entity-tag of SIP-If-Match; None without the field, '' when it holds anything but one entity-tag."""
        cdef Span value
        if self.m.first[<int>H_SIP_IF_MATCH] == 0:
            return None
        value = self.m.headers[self.m.first[<int>H_SIP_IF_MATCH] - 1].value
        if skip_class(self.buf + value.off, self.buf + value.off + value.len, C_TOKEN) != self.buf + value.off + value.len:
            return ""
        return self.text(value)

    def subscriber(self):
        """Return what of a SUBSCRIBE makes its dialog and its target, None when that takes a closer look.

        (To and From without their tags, From tag, Contact URI, user and host of From, user and host of To, IPv4
        address and port of the Contact); None for a route, a host name, a transport that is not UDP and so on.
        """
        cdef Subscriber who
        if not read_subscriber(&self.m, &who):
            return None
        return (
            self.text(who.local_text), self.text(who.remote_text), self.text(self.m.from_tag),
            self.text(who.contact_text), self.text(who.remote.user), self.text(who.remote.host),
            self.text(who.local.user), self.text(who.local.host), self.text(who.contact.host),
            who.contact.port if who.contact.port else DEFAULT_PORT,
        )

    @property
    def raw(self):
        """The whole message as received."""
        return PyBytes_FromStringAndSize(self.buf, self.m.size) if self.m.size else b""

    @property
    def source(self):
        """Host and port the message came from ('' and 0 before `set_source`)."""
        cdef char host[ADDRESS_TEXT]
        return decode(host, write_address(self.source_ip, host)), self.source_port

    def set_source(self, str host, int port):
        """Say where the message came from; the host is an address, not a name."""
        cdef bytes text = host.partition("%")[0].encode("ascii", "replace")
        cdef uint8_t ip[16]
        if not 0 <= port <= 65535 or not read_address(text, len(text), ip):
            raise ValueError(f"no address: {host!r} port {port}")
        memcpy(self.source_ip, ip, 16)
        self.source_port = port

    @property
    def rport(self):
        """Whether the top Via asks for responses to where the request came from (RFC 3581)."""
        return self.m.via_rport != 0

    @property
    def reply_address(self):
        """Where a response over UDP goes: RFC 3581 section 4, else RFC 3261 section 18.2.2.

        maddr is never honoured: it would let a stranger aim our responses at third parties.
        """
        host, port = self.source
        if self.m.via_rport or not host:
            return host, port
        return host, self.m.via_port or DEFAULT_PORT

    cdef str value_at(self, int i):
        cdef Span s = self.m.headers[i].value
        return decode_value(self.buf + s.off, s.len)

    cdef list lines(self, str name, bint only_first):
        """Indices of the header lines of that name."""
        cdef str lower = name.lower()
        cdef object known = HEADER_IDS.get(lower)
        cdef int header = H_OTHER if known is None else known
        cdef bytes long_form, compact
        cdef HeaderLine* line
        cdef list found = []
        cdef int i = 0
        if header:
            if self.m.first[header] == 0:
                return found
            i = self.m.first[header] - 1
        else:
            lower = OTHER_LONG.get(lower, lower)
            long_form = lower.encode("ascii", "replace")
            compact = OTHER_COMPACT.get(lower, "").encode()
        for i in range(i, self.m.header_count):
            line = &self.m.headers[i]
            if line.id != header:
                continue
            if header == H_OTHER and not (
                span_icase_equal(self.buf, line.name, long_form, PyBytes_GET_SIZE(long_form))
                or (compact and span_icase_equal(self.buf, line.name, compact, 1))
            ):
                continue
            found.append(i)
            if only_first:
                break
        return found

    def header(self, str name):
        """The first header field line of that name (any case, compact or long form)."""
        for i in self.lines(name, True):
            return self.value_at(i)
        return None

    def headers(self, str name):
        """All header field lines of that name, in order."""
        return [self.value_at(i) for i in self.lines(name, False)]

    def values(self, str name):
        """All values of that name, comma-joined lines split (quotes and <> respected)."""
        found = []
        for i in self.lines(name, False):
            found += split_values(self.value_at(i))
        return found

    def header_items(self):
        """All header fields as sent, in order."""
        return [(self.text(self.m.headers[i].name), self.value_at(i)) for i in range(self.m.header_count)]


cdef Message empty_message(uint32_t size):
    cdef Message message = Message.__new__(Message)
    message.buf = <char*>malloc(size + SCAN_SLACK)
    if message.buf == NULL:
        raise MemoryError
    memset(message.buf + size, 0, SCAN_SLACK)
    return message


def parse(bytes data not None):
    """Scan one whole message (a datagram). Never raises: see `error` and `answerable`."""
    cdef uint32_t size = <uint32_t>min(PyBytes_GET_SIZE(data), MAX_MESSAGE + 1)
    cdef Message message = empty_message(size)
    memcpy(message.buf, PyBytes_AS_STRING(data), size)
    scan_message(&message.m, message.buf, size)
    return message


def _scan_many(bytes data not None, int times):
    """Scan the same bytes many times, for the benchmark; return the last error."""
    cdef Message message = parse(data)
    cdef uint32_t size = <uint32_t>PyBytes_GET_SIZE(data)
    cdef int error = 0, i
    with nogil:
        for i in range(times):
            error = scan_message(&message.m, message.buf, size)
    return error
