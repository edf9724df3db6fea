# A start: rows of `active_watchers` become rows of the table. What is ordinary is done here, a microsecond each; what
# takes a closer look (another server's To-tag, a strict route, TCP, a host name, a value out of bounds) is left to
# Python, which does with it what it does with every row.
# Uses: fanout. Used by: Python.

from cpython.long cimport PyLong_AsLongLong
from cpython.unicode cimport PyUnicode_AsUTF8AndSize

cdef enum:                      # columns of active_watchers_load
    COLUMN_ID, COLUMN_PRESENTITY, COLUMN_EVENT, COLUMN_EVENT_ID, COLUMN_TO_TAG, COLUMN_FROM_TAG, COLUMN_CALL_ID
    COLUMN_LOCAL_CSEQ, COLUMN_REMOTE_CSEQ, COLUMN_CONTACT, COLUMN_RECORD_ROUTE, COLUMN_EXPIRES, COLUMN_STATUS
    COLUMN_SOCKET, COLUMN_FROM, COLUMN_TO, COLUMN_SUBSCRIBED_AT, COLUMN_TARGET, COLUMN_BOOT
    COLUMN_COUNT

cdef enum:
    STATUS_ACTIVE = 1
    STATUS_PENDING = 2
    NETWORKS_MOST = 64          # targets in others are left to Python


def restore(Fanout table not None, list rows, *, object groups, object links, object routes, tuple networks,
            uint32_t boot):
    """Make subscriptions of rows as `active_watchers_load` gives them; return those that take a closer look.

    `groups[event][presentity_uri]` is (group, whether every watcher is let in) or None for a resource that takes a
    closer look, `links[socket_info]` the number of the way out to an IPv4 address over UDP or None,
    `routes[record_route]` the value of Route or None. `networks` are the (address, mask) that may be sent to.
    """
    cdef list left = []
    cdef Restoring restoring = Restoring(table, groups, links, routes, networks, boot)
    cdef tuple row
    for row in rows:
        if not restoring.take(row):
            left.append(row)
    return left


@cython.final
@cython.internal
cdef class Restoring:
    cdef Fanout table
    cdef object groups, links, routes
    cdef uint32_t networks[NETWORKS_MOST][2]
    cdef uint32_t network_count, boot
    cdef uint32_t cseq, remote_cseq, expires_at, subscribed_at
    cdef Parts parts
    cdef Target target

    def __cinit__(self, Fanout table, groups, links, routes, tuple networks, uint32_t boot):
        self.table = table
        self.groups = groups
        self.links = links
        self.routes = routes
        self.boot = boot
        for address, mask in networks[:NETWORKS_MOST]:
            self.networks[self.network_count][0] = address
            self.networks[self.network_count][1] = mask
            self.network_count += 1

    cdef bint take(self, tuple row) except -1:
        cdef uint32_t slot
        cdef bint taken = False
        cdef Parts tag
        if len(row) != COLUMN_COUNT or not self.read_numbers(row) or not self.read_texts(row):
            return False
        if not self.read_target(row) or not read_text(row[COLUMN_TO_TAG], &tag, 0):
            return False
        slot = self.table.take_tagged(tag.at[0], tag.size[0])
        if slot == 0:
            return False
        try:
            taken = self.fill(slot, row)
        finally:
            if not taken:
                self.table.release_row(slot)
        return taken

    cdef bint read_numbers(self, tuple row) except -1:
        cdef int64_t starts = self.boot, reached, number
        if row[COLUMN_BOOT] is not None:
            if not read_number(row[COLUMN_BOOT], &number):
                return False
            starts -= number
        # See `StoredSubscription.reached_cseq`.
        if not read_number(row[COLUMN_LOCAL_CSEQ], &reached):
            return False
        reached += RESERVED_CSEQS * max(<int64_t>0, starts - 1)
        if not 0 <= reached < 0xFFFFFFFF - RESERVED_CSEQS:
            return False
        self.cseq = <uint32_t>reached
        self.subscribed_at = 0
        if row[COLUMN_SUBSCRIBED_AT] is not None and not read_u32(row[COLUMN_SUBSCRIBED_AT], &self.subscribed_at):
            return False
        if not read_u32(row[COLUMN_REMOTE_CSEQ], &self.remote_cseq):
            return False
        if not read_number(row[COLUMN_EXPIRES], &number) or number > 0xFFFFFFFF:
            return False
        # The table takes 0 for "has expired already"; the first tick finds what expired while the server was down.
        self.expires_at = <uint32_t>max(<int64_t>1, number)
        return True

    cdef bint read_texts(self, tuple row) except -1:
        cdef Parts* parts = &self.parts
        cdef uint32_t total = 0
        cdef object route = row[COLUMN_RECORD_ROUTE]
        cdef int i
        memset(parts, 0, sizeof(Parts))
        parts.at[PART_ROUTE] = parts.at[PART_LOCAL_TAG] = parts.at[PART_LOCAL_CONTACT] = b""
        if not (
            read_text(row[COLUMN_CONTACT], parts, PART_URI) and read_text(row[COLUMN_TO], parts, PART_LOCAL)
            and read_text(row[COLUMN_FROM], parts, PART_REMOTE)
            and read_text(row[COLUMN_FROM_TAG], parts, PART_REMOTE_TAG)
            and read_text(row[COLUMN_CALL_ID], parts, PART_CALL_ID)
            and read_text(row[COLUMN_EVENT_ID], parts, PART_EVENT_ID)
        ):
            return False
        # Without them they are made from other columns.
        if parts.size[PART_LOCAL] == 0 or parts.size[PART_REMOTE] == 0:
            return False
        if route is not None and route != "":
            if type(route) is not str:
                return False
            route = self.routes[route]
            if route is None:
                return False
            # Alive as long as the mapping is.
            parts.at[PART_ROUTE] = <bytes>route
            parts.size[PART_ROUTE] = <uint32_t>min(<size_t>len(<bytes>route), <size_t>MAX_DIALOG_BYTES + 1)
        for i in range(PART_COUNT):
            total += parts.size[i]
        return total <= MAX_DIALOG_BYTES

    cdef bint read_target(self, tuple row) except -1:
        # "udp:192.0.2.1:5060"
        cdef Parts text
        cdef object link
        cdef uint32_t i, address
        cdef int64_t port
        if not read_text(row[COLUMN_TARGET], &text, 0) or type(row[COLUMN_SOCKET]) is not str:
            return False
        if not read_udp(text.at[0], text.size[0], &address, &port):
            return False
        for i in range(self.network_count):
            if address & self.networks[i][1] == self.networks[i][0]:
                break
        else:
            return False
        link = self.links[row[COLUMN_SOCKET]]
        if link is None or not 0 <= link < self.table.link_count:
            return False
        memset(&self.target, 0, sizeof(Target))
        self.target.link = link
        if self.parts.size[PART_ROUTE]:
            self.target.explicit = asks_for_udp(self.parts.at[PART_ROUTE], self.parts.size[PART_ROUTE])
        else:
            self.target.explicit = asks_for_udp(self.parts.at[PART_URI], self.parts.size[PART_URI])
        self.target.port = <uint16_t>port
        self.target.address[10] = self.target.address[11] = 255
        for i in range(4):
            self.target.address[12 + i] = <uint8_t>(address >> (24 - 8 * i))
        return True

    cdef bint fill(self, uint32_t slot, tuple row) except -1:
        cdef object resource
        cdef uint32_t gid, status
        cdef bint pending
        cdef Row* at
        if not read_u32(row[COLUMN_STATUS], &status) or not STATUS_ACTIVE <= status <= STATUS_PENDING:
            return False
        if type(row[COLUMN_EVENT]) is not str or type(row[COLUMN_PRESENTITY]) is not str:
            return False
        # Last of all: a resource that is made for this row shall have it.
        resource = self.groups[row[COLUMN_EVENT]]
        if resource is not None:
            resource = resource[row[COLUMN_PRESENTITY]]
        if resource is None:
            return False
        gid, let_in = <tuple>resource
        self.table.group(gid)
        pending = status == STATUS_PENDING and not let_in
        at = &self.table.rows[slot]
        if self.table.aim(at, &self.target) < 0 or self.table.join(slot, gid, &self.parts) < 0:
            raise MemoryError
        at.row_id = row[COLUMN_ID]
        at.cseq = self.cseq
        at.cseq_mark = self.cseq + RESERVED_CSEQS
        at.remote_cseq = self.remote_cseq
        at.expires_at = self.expires_at
        at.subscribed_at = self.subscribed_at
        at.view = 1     # not shown while pending
        at.state = ROW_PENDING if pending else ROW_ACTIVE
        self.table.arm_expiry(slot)
        return True


cdef inline bint read_number(object value, int64_t* out) except -1:
    if type(value) is not int:
        return False
    out[0] = PyLong_AsLongLong(value)
    return True


cdef inline bint read_u32(object value, uint32_t* out) except -1:
    cdef int64_t number
    if not read_number(value, &number) or not 0 <= number <= 0xFFFFFFFF:
        return False
    out[0] = <uint32_t>number
    return True


cdef inline const char* find_char(const char* p, const char* e, char c) noexcept nogil:
    # As `find_byte`, which would read beyond the end of a string that nothing stands behind.
    cdef const char* found = <const char*>memchr(p, c, e - p)
    return found if found != NULL else e


cdef inline bint read_text(object value, Parts* parts, int part) except -1:
    # Valid as long as the value is.
    cdef Py_ssize_t size
    if type(value) is not str:
        return False
    try:
        parts.at[part] = PyUnicode_AsUTF8AndSize(value, &size)
    except UnicodeEncodeError:
        return False
    if find_char(parts.at[part], parts.at[part] + size, <char>0xF4) < parts.at[part] + size:
        return False    # of the last planes: it may stand for bytes that are no UTF-8
    parts.size[part] = <uint32_t>min(<size_t>size, <size_t>MAX_DIALOG_BYTES + 1)
    return True


cdef bint read_udp(const char* text, uint32_t size, uint32_t* address, int64_t* port) noexcept nogil:
    cdef const char* end = text + size
    cdef int64_t number
    cdef int i
    if size < 4 or memcmp(text, b"udp:", 4) != 0:
        return False
    text += 4
    address[0] = 0
    for i in range(4):
        number = read_decimal(&text, end, 255)
        if number < 0 or text == end or text[0] != (c"." if i < 3 else c":"):
            return False
        text += 1
        address[0] = address[0] << 8 | <uint32_t>number
    port[0] = read_decimal(&text, end, 65535)
    return port[0] >= 0 and text == end


cdef bint asks_for_udp(const char* text, uint32_t size) noexcept nogil:
    # Whether the URI, or the first in brackets, names UDP as its transport, or asks for the flow its SUBSCRIBE came on.
    cdef const char* end = find_char(text, text + size, c">")
    cdef const char* p = find_char(text, end, c"@")
    cdef const char* equals
    cdef bint named = False, first = True
    p = p if p < end else text
    end = find_char(p, end, c"?")
    p = find_char(p, end, c";")
    while p < end:
        equals = p + 1
        p = find_char(equals, end, c";")
        if p - equals >= 2 and icase_equal(equals, b"ob", 2) and (p - equals == 2 or equals[2] == c"="):
            return True
        if first and p - equals > 10 and icase_equal(equals, b"transport=", 10):
            first, named = False, p - equals == 13 and icase_equal(equals + 10, b"udp", 3)
    return named


cdef int64_t read_decimal(const char** text, const char* end, int64_t most) noexcept nogil:
    # As it is written everywhere, without leading zeroes; -1 for anything else.
    cdef const char* start = text[0]
    cdef int64_t number = 0
    while text[0] < end and c"0" <= text[0][0] <= c"9" and number <= most:
        number = number * 10 + (text[0][0] - c"0")
        text[0] += 1
    if text[0] == start or number > most or (start[0] == c"0" and text[0] - start > 1):
        return -1
    return number
