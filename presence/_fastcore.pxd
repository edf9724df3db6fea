"""Every struct, class and C signature of the compiled core on one page."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

# ---- scan, message (RFC 3261 section 7) ----

cdef enum:
    MAX_HEADERS = 128       # header lines of one message; more is answered 400
    SCAN_SLACK = 16         # bytes a SIMD find may read past the end: every buffer has them
    MAX_MESSAGE = 65535     # bytes of one message on any transport

cdef enum:      # HeaderId (anonymous, so that it may index)
    H_OTHER = 0
    H_VIA, H_FROM, H_TO, H_CALL_ID, H_CSEQ, H_CONTACT, H_MAX_FORWARDS, H_EVENT, H_EXPIRES,
    H_CONTENT_LENGTH, H_CONTENT_TYPE, H_CONTENT_ENCODING, H_ACCEPT, H_SIP_IF_MATCH, H_SIP_ETAG,
    H_ROUTE, H_RECORD_ROUTE, H_REQUIRE, H_PROXY_REQUIRE, H_SUPPORTED, H_SUBSCRIPTION_STATE,
    H_AUTHORIZATION, H_TIMESTAMP, H_RETRY_AFTER, H_MIN_EXPIRES, H_ALLOW_EVENTS, H_USER_AGENT
    H_COUNT

# A field by name adds its HeaderId: E_BAD_FIELD + H_CSEQ is "Bad CSeq Header Field".
cdef enum:      # ParseError
    E_NONE = 0
    E_EMPTY, E_TOO_LARGE, E_START_LINE, E_VERSION, E_REQUEST_URI, E_HEADER_LINE, E_TOO_MANY_HEADERS,
    E_UNTERMINATED, E_CONTROL, E_CSEQ_METHOD, E_TRUNCATED
    E_MISSING_FIELD = 64
    E_BAD_FIELD = 128
    E_REPEATED_FIELD = 192

cdef enum:      # MethodId
    M_OTHER = 0
    M_SUBSCRIBE, M_PUBLISH, M_NOTIFY, M_REGISTER, M_OPTIONS, M_INVITE, M_ACK, M_CANCEL, M_BYE, M_MESSAGE

cdef struct Span:
    uint32_t off
    uint32_t len            # 0 with off 0: absent

cdef struct HeaderLine:
    uint8_t id              # HeaderId
    Span name
    Span value              # trimmed at both ends; folding is left in place

cdef struct SipMsg:         # a transient view: offsets into `buf`, nothing owned
    const char* buf
    uint32_t size           # bytes of the whole message
    uint8_t is_request
    uint8_t method          # MethodId; for a response that of CSeq
    uint16_t status
    uint8_t error           # ParseError: 0, or the first thing that is malformed; index into ERROR_REASONS
    uint8_t answerable      # a request with a Via by which a response can be sent
    uint16_t header_count
    uint16_t via_port       # sent-by port, 0 when absent
    uint8_t via_rport       # 1 when the top Via has an rport parameter
    uint8_t event_selects   # 1 when Event has parameters other than id and sla
    uint8_t shared_line     # 1 when the package is the dialog package's with the parameter sla, "dialog;sla"
    uint32_t cseq
    int64_t expires         # -1 absent; at most 2^32-1
    int64_t max_forwards    # -1 absent; at most 255
    int64_t content_length  # -1 absent or unusable
    Span method_name, uri, reason
    Span via_transport, via_host, via_branch    # of the top Via; an IPv6 host is without its brackets
    Span via_params         # of the top Via: from behind sent-by to the comma or the end
    Span call_id, from_tag, to_tag
    Span event, event_id    # the token of Event, its id parameter
    Span body
    uint16_t first[64]      # by HeaderId: 1 + index of the first such line, 0 when there is none
    HeaderLine headers[MAX_HEADERS]

# The name of the event package that a message is about.
cdef const char* package_of(const SipMsg* m, uint32_t* size) noexcept nogil

# Returns 0 when `m` is a complete well-formed message, else m.error. Never reads past n + SCAN_SLACK,
# leaves every field defined whatever comes in.
cdef int scan_message(SipMsg* m, const char* buf, uint32_t n) noexcept nogil

# The start line and the header fields alone, for streams: returns the offset of the body, 0 when the head has
# no end. `body` stays empty, content_length is -1 when the message cannot be framed.
cdef uint32_t scan_head(SipMsg* m, const char* buf, uint32_t n) noexcept nogil

cdef class Message:
    cdef SipMsg m
    cdef char* buf          # owned copy with SCAN_SLACK behind it
    cdef public object origin       # the listener or connection it came in on
    cdef readonly object socket     # the UdpSocket it came in on, None on a stream
    cdef uint8_t source_ip[16]      # IPv4 as v4-mapped IPv6
    cdef uint16_t source_port
    cdef public uint32_t transaction    # index of its server transaction, 0 without one
    cdef readonly bint plain            # nothing of what the general checks look at is there
    cdef public bint merged             # the same request came before in another transaction
    cdef public double received_at
    cdef public object identity         # who sent it, as far as that is proven; None when it is not
    cdef str text(self, Span s)
    cdef str value_at(self, int i)
    cdef list lines(self, str name, bint only_first)

cdef Message new_message(const SipMsg* m)   # copies the bytes

# ---- the system ----

cdef extern from "<sys/socket.h>" nogil:
    ctypedef unsigned int socklen_t
    cdef struct sockaddr:
        pass
    cdef struct sockaddr_storage:
        unsigned short ss_family
    cdef struct iovec:
        void* iov_base
        size_t iov_len
    cdef struct msghdr:
        void* msg_name
        socklen_t msg_namelen
        iovec* msg_iov
        size_t msg_iovlen
        void* msg_control
        size_t msg_controllen
        int msg_flags
    cdef struct cmsghdr:
        size_t cmsg_len
        int cmsg_level
        int cmsg_type
    ssize_t sendmsg(int fd, const msghdr* message, int flags)
    unsigned char* CMSG_DATA(cmsghdr* header)
    size_t CMSG_LEN(size_t size)
    size_t CMSG_SPACE(size_t size)
    cdef struct mmsghdr:
        msghdr msg_hdr
        unsigned int msg_len
    int sendmmsg(int fd, mmsghdr* messages, unsigned int count, int flags)
    int recvmmsg(int fd, mmsghdr* messages, unsigned int count, int flags, void* timeout)
    int getsockopt(int fd, int level, int name, void* value, socklen_t* size)
    int getsockname(int fd, sockaddr* address, socklen_t* size)
    int MSG_DONTWAIT
    int SOL_SOCKET
    int SO_RCVBUF

cdef extern from "<netinet/in.h>" nogil:
    cdef struct in_addr:
        uint32_t s_addr
    cdef struct in6_addr:
        uint8_t s6_addr[16]
    cdef struct sockaddr_in:
        unsigned short sin_family
        uint16_t sin_port
        in_addr sin_addr
    cdef struct sockaddr_in6:
        unsigned short sin6_family
        uint16_t sin6_port
        in6_addr sin6_addr
    uint16_t htons(uint16_t value)
    uint16_t ntohs(uint16_t value)


cdef extern from "<poll.h>" nogil:
    cdef struct pollfd:
        int fd
        short events
        short revents
    int poll(pollfd* fds, unsigned long count, int timeout_ms)
    int POLLOUT

cdef extern from "<errno.h>" nogil:
    int errno, EINTR, EAGAIN, ENOBUFS, EMSGSIZE

cdef enum:
    SOL_UDP = 17
    UDP_SEGMENT = 103           # linux/udp.h; older C libraries lack the name
    SLICE = 256                 # NOTIFYs sent between two looks at the other work
    ROWS_AHEAD = 16             # queued rows fetched into the cache before their turn
    TEXTS_AHEAD = 8
    SEGMENTS_LEAST = 4          # fewer to one next hop go singly
    SEGMENTS_MOST = 64          # what the kernel takes in one call
    SEGMENT_SLACK = 64          # blanks one NOTIFY may get to be as long as its neighbours
    SEGMENT_BYTES_MAX = 1452    # Ethernet's 1500 less IPv6 and UDP headers
    SEGMENT_REFUSALS = 16
    ANSWER_BYTES = 1280         # what the kernel counts for the 200 to a NOTIFY in a receive buffer, at the most
    WINDOW_MS = 25              # after which answers that did not come no longer hold others back

# ---- memory ----

cdef enum:
    PAGE_BYTES = 4096
    POOL_LEAST = 65536          # numbers a pool has address space for; memory is taken as they are used
    POOL_MOST = 1 << 30
    STRETCH = 1024              # items given back to the system together
    INDEX_LEAST = 1024          # buckets
    INDEX_STRETCH = 16384       # buckets given back to the system together
    UNIT_BYTES = 16
    BLOCK_BITS = 14             # of a block's name for its place in the chunk
    CHUNK_UNITS = 1 << 14
    CHUNK_BYTES = 1 << 18
    CHUNKS_MOST = 1 << 18       # 64 GiB
    SPARE_CHUNKS = 8            # kept when they fall empty
    SIZE_CLASSES = 56           # up to 16 KiB

cdef struct Pool:               # numbered items; 0 is none
    char* items
    uint64_t* taken             # a bit for each number
    uint64_t* full              # a bit for each word of `taken` that has no room
    uint16_t* stretches         # how many of each stretch are taken
    uint32_t item_size, capacity
    uint32_t used               # above every number that was ever taken
    uint32_t live
    uint32_t room_from          # words of `full` below this one have no room

cdef struct Index:              # items of a pool by a 64-bit key they hold, chained by a number they hold
    Pool* pool
    uint32_t* heads
    uint32_t key_at, next_at    # where in an item
    uint32_t level              # a power of two, at most `count`
    uint32_t count              # buckets, below twice `level`
    uint32_t capacity, listed

cdef struct Chunk:
    uint32_t live               # blocks in use
    uint32_t used               # units given out so far, in order
    uint32_t freed              # 1 + place of the first freed block
    uint32_t next, previous     # of the size with room, or the next vacant number
    uint16_t size_class
    uint8_t listed

cdef struct Chunks:
    Chunk* items
    char** bases
    uint32_t count, capacity, mapped
    uint32_t vacant             # a number without a chunk
    uint32_t filling            # the chunk that is filled in order
    uint32_t spare_count
    char* spares[SPARE_CHUNKS]

cdef struct Arena:
    Chunks chunks
    uint32_t roomy[SIZE_CLASSES]        # first and last chunk with room for a block of the size
    uint32_t last_roomy[SIZE_CLASSES]

# ---- timers ----

cdef struct U32Vector:
    uint32_t* items
    uint32_t count
    uint32_t capacity

cdef class Wheel:
    cdef U32Vector* buckets
    cdef U32Vector spare        # the bucket taken out last
    cdef uint32_t size          # a power of two
    cdef double tick_s
    cdef uint64_t current       # the last tick that was handed out
    cdef int64_t armed
    cdef int arm(self, uint32_t item, double at) noexcept nogil
    cdef U32Vector* next_bucket(self, double now) noexcept nogil

# ---- transactions (RFC 3261 section 17.2) ----

cdef struct Transaction:
    uint64_t key_low, key_high  # keyed 128-bit hash of what RFC 3261 section 17.2.3 matches by
    uint64_t request_key        # of what section 8.2.2.2 knows a merged request by; 0 when it is not listed by that
    uint32_t next_request       # in the hash bucket of `request_key`
    uint32_t next               # in its hash bucket
    uint32_t response           # a block
    uint16_t size
    uint8_t state

cdef class ServerTransactions:
    cdef uint64_t seed_low, seed_high
    cdef double lifetime_s
    cdef Wheel wheel
    cdef Pool pool
    cdef Index by_key, by_request
    cdef Chunks responses
    cdef Transaction* entries   # the pool's items
    cdef readonly tuple bounds  # most bytes of a Request-URI and of a body
    cdef uint32_t uri_most, body_most
    cdef uint64_t plain[2]      # plain requests that came, SUBSCRIBE and PUBLISH
    cdef uint64_t accepted[2]   # and how many of them were answered 200
    cdef void key_of(self, const SipMsg* m, uint8_t method, uint64_t* low, uint64_t* high) noexcept nogil
    cdef uint32_t find(self, uint64_t low, uint64_t high) noexcept nogil
    cdef uint64_t request_key_of(self, const SipMsg* m) noexcept nogil
    cdef bint enlist_request(self, const SipMsg* m, uint32_t index) noexcept nogil
    cdef uint32_t find_or_begin(self, const SipMsg* m, bint* found, bint* merged) noexcept nogil
    cdef void remove(self, uint32_t index) noexcept nogil
    cdef int keep(self, uint32_t index, const char* response, uint32_t size, double now) noexcept nogil
    cdef bytes tag_of(self, const SipMsg* m)
    cdef void mark_plain(self, Message request) noexcept
    cpdef void look_closer(self, Message request) noexcept
    cdef int accept(self, Message request, bytes to_tag, bytes headers, double now) except -1

# ---- digest authentication ----

cdef class NonceUse:
    cdef uint32_t highest       # count that came, and the 64 up to it as bits
    cdef uint64_t seen
    cdef double issued_at, expires_at
    cdef uint64_t generation    # of the users it was checked against
    cdef int kind
    cdef bint anyone            # may publish for others
    cdef bytes username, realm, ha1, user, host
    cdef object identity        # None while nobody is known
    cdef bint take(self, uint32_t count) noexcept
    cdef bint fits(self, const SipMsg* m) noexcept

cdef class Nonces:
    cdef uint32_t capacity
    cdef uint64_t generation
    cdef double lost_at         # the youngest nonce that was forgotten before its time is of then
    cdef dict known             # nonce -> NonceUse
    cdef object order           # nonces, oldest first
    cdef int make_room(self, double now) except -1
    cdef NonceUse prove(self, Message message, double now)

# ---- watchers: the table ----

cdef enum:
    TAG_SIZE = 18               # shard 2, slot 8, check 8 hex digits
    BRANCH_SIZE = 27            # z9hG4bKpr, shard 2, slot 8, key 8
    MAX_SLOT = 0x3FFFFFFF
    MAX_LINKS = 64
    NO_LINK = 0xFFFF
    UDP_KEPT_S = 600            # how long an address that refused TCP is sent large messages over UDP
    CONTACT_USER_MOST = 255     # bytes of what our Contact has before and behind its @: both fit where one is written
    CONTACT_HOST_MOST = 600
    MAX_VIEWS = 4096
    FIRST_FILTERED = 16         # views from here on are given out and taken back by number
    MAX_DIALOG_BYTES = 12000    # all strings of one dialog
    RESERVED_CSEQS = 256           # CSeq numbers reserved in the database at once
    LONG_WAIT_MS = 40000           # beyond the horizon of the wheel of retransmissions
    BATCH_SIZE = 64
    SCRATCH_BYTES = 1 << 18
    JOINED_BYTES = 1 << 16      # of NOTIFYs that are handed over for one connection together
    EVENTS_KEPT = 4096          # room that a burst of events leaves
    RING_KEPT = 65536           # and one of NOTIFYs

cdef enum RowState:
    ROW_FREE, ROW_EMBRYO, ROW_PENDING, ROW_ACTIVE, ROW_TERMINATED, ROW_GONE

cdef enum Flight:               # of the row's one NOTIFY
    FLIGHT_IDLE                 # nothing to say
    FLIGHT_QUEUED               # waits for its turn in the ring
    FLIGHT_FLYING               # sent, no final response yet
    FLIGHT_HELD                 # waits for CSeq numbers to be reserved
    FLIGHT_ASKED                # waits for a body of its own
    FLIGHT_BACKOFF              # waits for Retry-After
    FLIGHT_FAILED               # waits for the notifier's decision

cdef enum RowFlag:
    FLAG_DIRTY = 1              # a newer state waits for the flight to end
    FLAG_RESEND = 2             # timer E fired, the retransmission is queued
    FLAG_OWN_BODY = 4           # `flying` was handed over for this row alone
    FLAG_FINAL_BODY = 8         # the final NOTIFY carries the state
    FLAG_RESERVING = 16         # (first row of a dialog) CSeq numbers were asked for
    FLAG_RESENT = 32            # sent once more because its connection was lost
    FLAG_GROUP_LOCAL = 64       # From of its NOTIFYs is the group's
    FLAG_WIDE = 128             # a string is longer than 255: lengths have two bytes
    FLAG_STREAM = 256           # its NOTIFY in flight is too large for its target's link, and leaves by a stream
    FLAG_UNPROVEN = 512         # somebody else named its target, which has answered no NOTIFY yet
    FLAG_ASKED = 1024           # and that got its one NOTIFY: nothing more leaves until that is answered
    FLAG_WITHHELD = 2048        # the rules are others: nothing leaves before it is decided about again

cdef enum EventKind:
    EVENT_NONE, EVENT_FAILED, EVENT_EXPIRED, EVENT_ENDED, EVENT_WANT, EVENT_RESERVE

cdef enum:                      # the strings of a dialog, in the order of the blob
    PART_URI, PART_ROUTE, PART_LOCAL, PART_REMOTE, PART_REMOTE_TAG, PART_CALL_ID, PART_EVENT_ID,
    PART_LOCAL_TAG, PART_LOCAL_CONTACT
    PART_COUNT

cdef enum:
    REASON_COUNT = 7

cdef struct Body:               # refcounted; the bytes follow
    uint32_t refs
    uint32_t size

cdef struct Link:
    int fd
    int family
    bint reliable
    bint segments               # the kernel knows UDP_SEGMENT, and has not refused it again and again
    uint32_t refusals           # in a row
    uint16_t stream             # where what is too large for this one leaves; NO_LINK for none
    char* via
    char* contact
    uint32_t via_size, contact_size

cdef struct View:               # what some watchers of a resource are shown
    Body* body
    uint32_t rows               # that are shown it, of a filtered one
    bint fresh                  # it is another than they were told

cdef struct Group:              # the watchers of one resource
    U32Vector slots             # running subscriptions
    uint32_t rows               # those and the ones whose final NOTIFY is not done
    uint16_t view_count
    uint16_t event_size
    View* views                 # by view number; 0 is "no body"
    const char* event
    char* local                 # From of the NOTIFYs, once for all rows that have the same; NULL when there is none
    uint16_t local_size
    bint individual, live
    bint guarded                # a refresh takes a decision

cdef struct Target:             # a next hop
    uint64_t key                # its hash
    uint8_t address[16]
    uint32_t flow
    uint32_t refs, next
    uint32_t udp_until          # epoch seconds up to which TCP is not tried there, having been refused
    uint16_t link, port         # port 0: nobody knows the address yet, or only the flow leads there
    uint8_t explicit            # UDP was asked for by name: no size makes it TCP

cdef struct Doubt:              # an address that rows without proof go to
    uint64_t key                # its keyed hash
    uint32_t next, count

cdef struct Parts:              # the strings of a dialog, wherever they are
    const char* at[PART_COUNT]
    uint32_t size[PART_COUNT]

cdef struct Row:                # 96 bytes; a million of them should cost two cache lines each to visit
    uint64_t row_id             # of the subscription in the database
    Body* flying                # body of the NOTIFY in flight
    uint32_t text               # block with the lengths and the bytes of the dialog's strings
    uint32_t group, position
    uint32_t target
    uint32_t owner              # first row of the dialog: keeps tag, CSeq and remote CSeq for all its usages
    uint32_t next_usage
    uint32_t tag_check
    uint32_t cseq, cseq_mark, remote_cseq
    uint32_t expires_at, expiry_entry, subscribed_at
    uint32_t flying_cseq, flying_left
    uint32_t began_ms, due_ms, interval_ms      # milliseconds since the table's epoch, wrapping
    uint16_t view
    uint16_t flags
    uint8_t state, flight, reason, flying_state

cdef struct Event:
    uint32_t slot
    uint32_t retry_after
    uint16_t status
    uint8_t kind

cdef struct Batch:
    int fd
    uint32_t count, room, refused
    char* next
    mmsghdr headers[64]
    iovec parts[128]
    sockaddr_storage addresses[64]
    uint32_t slots[64]
    uint32_t pads[64]           # where a response may get blanks: the end of its Server line; 0 without one
    uint8_t too_large[64]

cdef char* body_data(Body* body) noexcept nogil
cdef char* copy_bytes(bytes text) except NULL
cdef int socket_family(int fd) except -1
cdef int64_t receive_buffer(int fd) noexcept nogil

cdef class SubscriptionSlab:
    cdef uint64_t secret, random
    cdef double epoch
    cdef uint32_t t1_ms, t2_ms, expires_offset_s
    cdef uint8_t shard
    cdef bytes contact_user, user_agent, allow_events
    cdef const char* contact_user_text
    cdef const char* user_agent_text
    cdef const char* allow_events_text
    cdef uint32_t pad_at        # where the NOTIFY rendered last may get blanks: the end of its User-Agent line
    cdef public bint segmenting
    cdef uint32_t datagram_most     # bytes of a NOTIFY over UDP; larger ones go over TCP
    cdef uint32_t now_s, now_ms     # as of the last turn
    cdef uint64_t switched_count, fallen_back
    cdef U32Vector elsewhere        # rows whose NOTIFYs are handed over in this turn
    cdef uint64_t segmented
    cdef uint32_t contact_user_size, user_agent_size, allow_events_size
    cdef bint gruu
    cdef Wheel retransmissions, expiries
    cdef Pool row_pool, group_pool, target_pool, doubt_pool
    cdef Index target_index, doubt_index
    cdef Arena texts
    cdef uint32_t live          # rows but those that only keep the numbers of their dialog
    cdef Row* rows              # items of `row_pool`, and so on
    cdef Group* groups
    cdef Target* targets
    cdef Link links[64]
    cdef uint32_t link_count
    cdef uint32_t* ring
    cdef uint32_t ring_head, ring_count, ring_capacity
    cdef int64_t window, credit     # NOTIFYs that may be sent ahead of their answers; 0: no bound
    cdef uint32_t window_ms         # when the credit was filled last
    cdef Event* events
    cdef uint32_t event_count, event_capacity
    cdef char* scratch
    cdef readonly list outbox
    cdef dict events_named     # owns what `event` of the groups points to
    cdef uint64_t sent, retransmitted, completed, failed, timed_out, coalesced, stray, unsent, in_flight
    cdef Row* row(self, uint32_t slot) except NULL
    cdef void embody(self, uint32_t slot, uint32_t tag_check) noexcept nogil
    cdef uint32_t take_tagged(self, const char* tag, size_t size) noexcept nogil
    cdef uint16_t way_of(self, const Row* row) noexcept nogil
    cdef void write_tag(self, Row* row, char* out) noexcept nogil
    cdef int write_contact(self, Row* row, uint16_t link, char* out) noexcept nogil
    cdef uint32_t gruu_key(self, uint32_t owner) noexcept nogil
    cdef void read_parts(self, const Row* row, Parts* parts) noexcept nogil
    cdef bint part_equal(self, const Row* row, int part, const char* text, size_t size) noexcept nogil
    cdef int keep_parts(self, Row* row, const Parts* parts) noexcept nogil
    cdef uint32_t find_dialog(self, const char* tag, uint32_t tag_size, const char* call_id, uint32_t call_id_size,
                              const char* from_tag, uint32_t from_tag_size) noexcept nogil

cdef class SubscriptionHops(SubscriptionSlab):
    cdef int aim(self, Row* row, Target* target) noexcept nogil
    cdef uint64_t doubt_key(self, const uint8_t* address) noexcept nogil
    cdef int begin_doubt(self, Row* row) noexcept nogil
    cdef void end_doubt(self, Row* row) noexcept nogil
    cdef uint32_t count_doubts(self, const uint8_t* address) noexcept nogil

cdef class WatcherTable(SubscriptionHops):
    cdef Group* group(self, uint32_t gid) except NULL
    cdef void see(self, Row* row, uint16_t view) noexcept nogil
    cdef uint32_t renewable(self, const SipMsg* m, uint16_t link, const uint8_t* ip, uint16_t port, bint nat) noexcept nogil
    cdef bint watched_by(self, uint32_t slot, const SipMsg* m) noexcept nogil
    cdef int join(self, uint32_t slot, uint32_t gid, const Parts* parts) noexcept nogil
    cdef void raise_mark(self, Row* owner, uint32_t cseq_mark) noexcept nogil
    cdef void leave_group(self, uint32_t slot) noexcept nogil
    cdef void release_row(self, uint32_t slot) noexcept nogil
    cdef void keep_local(self, Row* row) noexcept nogil
    cdef void clear_row(self, uint32_t slot) noexcept nogil
    cdef void arm_expiry(self, uint32_t slot) noexcept nogil

cdef class NotifyFlights(WatcherTable):
    cdef void want(self, uint32_t slot) noexcept nogil
    cdef void enqueue(self, uint32_t slot) noexcept nogil
    cdef int queue(self, uint32_t slot) noexcept nogil
    cdef void report(self, uint32_t slot, uint8_t kind, uint16_t status, uint32_t retry_after) noexcept nogil
    cdef uint32_t milliseconds(self, double now) noexcept nogil
    cdef void arm_transaction(self, uint32_t slot, double now, bint again) noexcept nogil
    cdef uint32_t branch_key(self, uint32_t slot, uint32_t cseq) noexcept nogil
    cdef bint match_response(self, const SipMsg* m, double now) noexcept nogil
    cdef bint match_usual(self, const char* p, uint32_t n) noexcept nogil
    cdef uint32_t slot_of(self, const char* branch) noexcept nogil
    cdef bint is_flying(self, uint32_t slot, const char* branch, int64_t cseq) noexcept nogil
    cdef void land(self, Row* row) noexcept nogil
    cdef void answered(self, Row* row) noexcept nogil
    cdef void complete(self, uint32_t slot) noexcept nogil
    cdef void fail(self, uint32_t slot, uint16_t status, uint32_t retry_after) noexcept nogil
    cdef void fetch_row(self, const U32Vector* slots, uint32_t i) noexcept nogil
    cdef void timer_fired(self, uint32_t slot, double now, uint32_t now_ms) noexcept nogil
    cdef void expiry_fired(self, uint32_t slot, double now) noexcept nogil

cdef class JudgedFlights(NotifyFlights):
    cdef void go_on(self, uint32_t slot) noexcept nogil
    cdef bint give_up(self, uint32_t slot) noexcept nogil

cdef class SwitchingFlights(JudgedFlights):
    cdef bint may_switch(self, const Target* target) noexcept nogil
    cdef bint has_switched(self, const Row* row) noexcept nogil
    cdef void fall_back(self, Row* row, uint32_t slot) noexcept nogil

# ---- fan-out ----

cdef class Fanout(SwitchingFlights):
    cdef bint prepare(self, uint32_t slot, double now) noexcept nogil
    cdef uint32_t head_size(self, Row* row) noexcept nogil
    cdef uint32_t render(self, uint32_t slot, char* out) noexcept nogil
    cdef void fetch_ahead(self) noexcept nogil
    cdef bint take(self, uint32_t slot, double now) noexcept nogil
    cdef void send_slice(self, uint32_t* slots, uint32_t count) noexcept nogil
    cdef uint32_t segments_most(self, uint32_t slot) noexcept nogil
    cdef bint send_segments(self, Batch* batch, uint32_t* slots, uint64_t* keys, uint32_t run) noexcept nogil
    cdef void post(self, Batch* batch, uint32_t slot) noexcept nogil
    cdef void measure(self, uint32_t slot) noexcept nogil
    cdef void deliver(self, Batch* batch) noexcept nogil
    cdef int hand_over(self, U32Vector* queued) except -1
    cdef bytes joined(self, U32Vector* queued, uint64_t* keys, uint32_t count, uint32_t* at, list slots)
    cdef bytes alone(self, Row* row, uint32_t slot, uint32_t room)

# ---- who may send, and how fast ----

cdef struct AddressRange:       # of 128-bit addresses, both ends in it
    uint64_t low_high, low_low, high_high, high_low

cdef class Networks:
    cdef AddressRange* ranges   # those of IPv4 first, each part sorted
    cdef uint32_t four, count
    cdef bint has(self, const uint8_t* ip) noexcept nogil

cdef struct Bucket:
    uint64_t key
    double full_at              # seconds since the epoch of the table

cdef class Buckets:
    cdef uint64_t seed
    cdef double epoch, interval_s
    cdef uint32_t burst
    cdef Bucket* items
    cdef Bucket* find(self, uint64_t key) noexcept nogil
    cdef double spend(self, uint64_t key, double now) noexcept nogil
    cdef double owe(self, uint64_t key, uint32_t count, double now) noexcept nogil
    cdef uint64_t user_key(self, Message request, object who) except? 0

cdef class Gate:
    cdef Networks allow, deny, trusted
    cdef Buckets buckets
    cdef bint filtering, limiting
    cdef uint8_t mask[16]       # of an IPv6 source
    cdef uint64_t denied, over_rate, held_back
    cdef bint keeps_out(self, const uint8_t* ip) noexcept nogil
    cdef uint64_t source_key(self, const uint8_t* ip) noexcept nogil
    cdef bint passes(self, const uint8_t* ip, const char* datagram, double now) noexcept nogil

# ---- datagrams ----

cdef bint knows_segments(int fd) noexcept nogil
cdef int send_segmented(int fd, const sockaddr_storage* to, socklen_t to_size, iovec* parts, uint32_t part_count,
                        uint16_t segment_size) noexcept nogil
cdef socklen_t write_sockaddr(sockaddr_storage* out, int family, const uint8_t* address, uint16_t port) noexcept nogil

cdef class UdpSocket:
    cdef int fd, family
    cdef Fanout table
    cdef ServerTransactions transactions
    cdef Gate gate                  # None: everybody's datagrams are taken
    cdef object origin
    cdef SipMsg m
    cdef char* slab
    cdef char* scratch
    cdef mmsghdr headers[128]
    cdef iovec parts[128]
    cdef sockaddr_storage addresses[128]
    cdef Batch replies
    cdef int received               # datagrams of the last batch
    cdef object clock, handle, wake
    cdef int read_batch(self, list requests, double now) except -2
    cdef bint segments              # the kernel knows UDP_SEGMENT, and has not refused it again and again
    cdef uint32_t refusals          # in a row
    cdef uint32_t segment_replies(self) noexcept nogil
    cdef bint segment_run(self, const uint8_t* members, uint32_t count, uint32_t length) noexcept nogil
    cdef uint64_t keepalives, strays, retransmissions, unsent
    cdef void repeat(self, uint32_t transaction, int i) noexcept nogil
    cdef void room_for(self, uint32_t size) noexcept nogil
    cdef void send_replies(self) noexcept nogil
    cdef int answer(self, Message request, int status, bytes reason, bytes to_tag, bytes headers, double now) except -1
    cdef void queue_reply(self, uint32_t size, const SipMsg* m, const uint8_t* ip, uint16_t port) noexcept nogil

# ---- publications (RFC 3903) ----

cdef struct Held:
    double expires_at, armed_at     # epoch seconds; when the wheel looks at it
    uint64_t resource               # keyed hash of package, user and host
    uint64_t row_id                 # names its row in the database
    uint32_t count                  # of entity-tags given under this number
    uint32_t next_free
    uint8_t state
    uint8_t foreign                 # its entity-tag is of another start
    uint16_t waiting                # requests that name it and wait for their turn
    uint32_t claimed                # the batch in which another request names it first

cdef class Renewals:
    cdef readonly list requests, writes
    cdef U32Vector numbers, granted

cdef class Publications:
    cdef ServerTransactions transactions
    cdef uint64_t seed
    cdef char prefix[12]
    cdef uint32_t min_expires_s, max_expires_s, expires_offset_s
    cdef Wheel expiry
    cdef list kinds                 # (package, body type, that as text) of ordinary modifications
    cdef Held* held
    cdef uint32_t capacity, used, free_head, batches, live
    cdef Held* entry(self, uint32_t number) except NULL
    cdef str tag_text(self, uint32_t number, uint32_t count)
    cdef void arm(self, uint32_t number) noexcept nogil
    cdef void prolong(self, uint32_t number, double expires_at) noexcept nogil
    cdef uint32_t find_held(self, const SipMsg* m) noexcept nogil
    cdef bint note_resource(self, const SipMsg* m, set resources) except -1
    cdef int append(self, Renewals batch, Message request, uint32_t number, uint32_t granted) except -1
    cdef str kind_of(self, const SipMsg* m)
    cdef uint32_t ordinary(self, Message request) noexcept

# ---- subscribing (RFC 6665) ----

cdef enum:
    MAX_ORDINARY_PACKAGES = 32

cdef struct OrdinaryPackage:
    const char* name
    const char* type
    uint32_t name_size, type_size
    uint32_t default_expires_s
    bint selecting          # parameters of Event say what is to be told
    bint guarded                # new subscriptions take a decision

cdef struct BeginStep:
    uint64_t row_id
    uint32_t slot, granted, until, since

cdef struct ExtendStep:
    uint32_t slot, granted, until, mark

cdef class Arrivals:
    cdef readonly list begun, extended, writes, resources
    cdef BeginStep* begin_steps
    cdef ExtendStep* extend_steps
    cdef uint32_t begin_room, extend_room

cdef class Subscribing:
    cdef Fanout table
    cdef ServerTransactions transactions
    cdef object allowed
    cdef dict lanes
    cdef frozenset domains
    cdef bint nat
    cdef dict asserted          # slots whose watcher is not who From names
    cdef set shared             # slots whose rows are in the table for second usages
    cdef list names, types, events
    cdef OrdinaryPackage packages[32]
    cdef int package_count
    cdef uint32_t min_expires_s, max_expires_s, expires_offset_s, boot, unproven_most
    cdef Networks trusted
    cdef object quota
    cdef int ordinary(self, Message request) except -2
    cdef uint32_t granted(self, const SipMsg* m, const OrdinaryPackage* package) noexcept nogil
    cdef uint32_t until(self, double now, uint32_t granted) noexcept nogil
    cdef bint begin(self, Arrivals batch, Message request, int index, double now, object new_id) except -1
    cdef bint believes(self, Message request) except -1
    cdef bint extend(self, Arrivals batch, Message request, int index, double now, set claimed) except -1
    cdef int answer(self, Message request, uint32_t slot, uint32_t granted, bytes tag, bytes server, double now) except -1

cdef void* grown(void** items, uint32_t* room, uint32_t count, size_t size) except NULL

# ---- presence documents (XML 1.0, Namespaces in XML 1.0) ----

cdef enum:      # more than that is left to another reader
    XML_SIZE = 131072       # bytes
    XML_DEPTH = 64          # elements in one another
    XML_ATTRIBUTES = 16     # in one tag
    XML_BINDINGS = 32       # namespaces declared at one place: a bit each
    XML_CHILDREN = 64       # of the root
    XML_NAMES = 8           # namespaces, and names of children, of a vocabulary

cdef struct XmlName:
    const char* text
    uint32_t size
    uint8_t space           # 1 + index of its namespace
    uint8_t kind, identified

cdef struct XmlVocabulary:
    const char* space_text[XML_NAMES]
    uint32_t space_size[XML_NAMES]
    uint8_t space_count, kind_count
    uint8_t other           # the kind of what has no kind of its own
    XmlName root
    XmlName kinds[XML_NAMES]

cdef struct XmlAttribute:
    const char* name
    const char* local       # its local part, `name` when it has no prefix
    const char* end
    const char* value       # between the quotes
    uint32_t size
    bint declares           # a namespace

cdef struct XmlBinding:
    Span prefix, uri        # as between the quotes; the default has no prefix
    uint8_t space           # 1 + index of the namespace in the vocabulary, 0 for another

cdef struct XmlOpen:
    Span name
    uint32_t bound          # bindings in force outside it

cdef struct XmlElement:     # the root or a child of it
    uint32_t start, name_end, end
    uint32_t own, used      # bindings of the root it declares anew, and those it or what is in it uses
    Span local, id
    uint8_t space           # that of its name, as in XmlBinding
    bint own_default
    bint bare               # something in it has no prefix, or may have none

cdef struct XmlScan:
    const char* buf
    const char* end
    const XmlVocabulary* vocabulary
    uint32_t depth, binding_count, root_bindings, child_count
    XmlElement root
    XmlElement children[XML_CHILDREN]
    XmlBinding bindings[XML_BINDINGS]
    XmlOpen open[XML_DEPTH]

# True when the document is certainly well-formed, also in its namespaces. Reads buf[n], which must be NUL, and
# nothing behind it.
cdef bint scan_xml(XmlScan* x, const XmlVocabulary* vocabulary, const char* buf, uint32_t n) noexcept nogil
cdef uint8_t find_space(const XmlVocabulary* names, const char* uri, uint32_t size) noexcept nogil
cdef const char* close_element(XmlScan* x, const char* behind) noexcept nogil

cdef class Vocabulary:
    cdef XmlVocabulary names
    cdef list texts         # owns what `names` points to
    cdef const char* keep(self, bytes text) except NULL

cdef struct Declaration:
    Span prefix, uri

cdef struct Piece:          # a child of the root
    uint64_t inherits       # a bit for each declaration
    uint32_t off, len, head
    Span id
    uint8_t kind, identified

cdef class CutDocument:
    cdef readonly bytes text    # what all spans are places in
    cdef Piece* pieces      # and behind them the declarations
    cdef uint16_t piece_count, declared_count
    cdef Declaration* declarations(self) noexcept
    cdef int make_room(self, uint32_t pieces, uint32_t declarations) except -1

cdef enum:
    MERGE_ROOM = 512        # words on the stack; a larger merger asks for memory

cdef struct Seen:
    const char* text
    const char* uri         # of a prefix: what it is bound to on the root
    uint32_t size, uri_size
    uint8_t about           # prefix, id or text

cdef struct Kept:
    const char* text
    uint32_t size
    uint8_t kind

cdef struct Merge:
    Seen* seen
    Kept* kept
    uint32_t* slots         # 1 + index in `seen`, by hash; 0 is free
    uint32_t mask, seen_count, kept_count
    int last_kind, single   # `single`: the kind of which one document speaks, -1 for none
    bint told               # and a newer document has
    size_t size             # bytes of declarations and pieces

# ---- the load peer of `presence bench`: no part of the server ----

cdef extern from "<time.h>" nogil:
    cdef struct timespec:
        long tv_sec
        long tv_nsec
    int clock_gettime(int clock, timespec* at)
    int CLOCK_MONOTONIC

cdef extern from "<sys/epoll.h>" nogil:
    cdef union epoll_data_t:
        uint32_t u32
    cdef struct epoll_event:
        uint32_t events
        epoll_data_t data
    int epoll_create1(int flags)
    int epoll_ctl(int epfd, int op, int fd, epoll_event* event)
    int epoll_wait(int epfd, epoll_event* events, int most, int timeout_ms)
    int EPOLL_CTL_ADD, EPOLLIN

cdef enum:      # kinds of requests, and the histogram behind them
    K_PUBLISH = 0
    K_REFRESH, K_MODIFY, K_REMOVE, K_SUBSCRIBE, K_RESUBSCRIBE, K_UNSUBSCRIBE, K_COUNT
    K_NOTIFY = K_COUNT
    LOAD_MARKS = 8              # places of a number in a body
    LOAD_STREAMS = 8
    LOAD_BATCH = 64
    LOAD_SLOT_BYTES = 16384     # a datagram received
    LOAD_RING = 16              # versions of a presentity whose sending time is remembered
    HISTOGRAM_BUCKETS = 2048

cdef struct Histogram:          # log-linear: 32 buckets an octave of nanoseconds
    uint64_t count, most
    uint64_t buckets[2048]

cdef struct LoadProof:
    uint32_t count              # the nonce-count sent last
    uint8_t nonce_size          # 0: nobody has asked yet
    char nonce[63]

cdef struct LoadPresentity:
    uint32_t cseq, version, version_due     # sent last; 200 received for
    uint32_t watchers, awaiting
    uint32_t flight             # 1 + the request it waits for, 0 when it is free
    uint8_t tag_size            # of the entity-tag; 0: nothing published
    char tag[95]
    LoadProof proof

cdef struct LoadWatcher:
    uint32_t presentity, cseq, version, flight
    uint32_t notify_cseq, epoch
    uint64_t seen               # bit i: the NOTIFY with CSeq notify_cseq - i came
    char* dialog                # remote target, To-tag, route set
    uint16_t target_size, tag_size, route_size
    uint8_t active
    LoadProof proof

cdef struct LoadFlight:
    char* text
    uint32_t size, place, generation, wanted_cseq
    uint64_t sent_ns, due_ns, interval_ns
    uint8_t kind, busy, answered, notified

cdef struct LoadStream:
    uint32_t kind, first, count, cursor
    double share, credit

cdef struct LoadBatch:
    uint32_t count
    mmsghdr headers[64]
    iovec parts[64]
    sockaddr_in addresses[64]

cdef uint64_t load_now_ns() noexcept nogil

cdef class LoadPlaces:
    cdef sockaddr_in server
    cdef int epoll, request_fd
    cdef int* fds
    cdef uint32_t socket_count, hop_count
    cdef char* hops             # 32 bytes each: "address:port"
    cdef uint8_t* hop_sizes
    cdef char run[9]            # sets the dialogs of this peer apart from those of another
    cdef char local[32]
    cdef bytes domain, body, mark
    cdef const char* domain_text
    cdef const char* body_text
    cdef const char* mark_text
    cdef uint32_t domain_size, body_size, mark_size, mark_at
    cdef uint32_t user_at[8]
    cdef uint32_t version_at[8]
    cdef uint32_t user_marks, version_marks
    cdef uint32_t expires_s
    cdef int proof              # the hash challenges are answered with, -1: they are not
    cdef LoadPresentity* presentities
    cdef uint64_t* sent_ns
    cdef uint32_t presentity_count
    cdef LoadWatcher* watchers
    cdef uint32_t watcher_count
    cdef uint32_t build_publish(self, char* out, uint8_t kind, uint32_t place, uint32_t slot, uint32_t gen) noexcept nogil
    cdef uint32_t build_subscribe(self, char* out, uint8_t kind, uint32_t place, uint32_t slot, uint32_t gen) noexcept nogil
    cdef int open(self, uint32_t sockets, uint32_t addresses) except -1
    cdef char* put_head(self, char* p, uint32_t slot, uint32_t gen) noexcept nogil
    cdef char* put_body(self, char* p, uint32_t place, uint32_t version) noexcept nogil
    cdef char* put_uri(self, char* p, char kind, uint32_t place) noexcept nogil

cdef class LoadFlights(LoadPlaces):
    cdef LoadFlight* flights
    cdef uint32_t flight_count, flying, free_count
    cdef uint32_t* free_slots
    cdef uint64_t progress_ns, drop_threshold, random
    cdef bint await_watchers
    cdef SipMsg m
    cdef char* scratch
    cdef LoadBatch replies
    cdef Histogram histograms[8]
    cdef uint64_t sent[8]
    cdef uint64_t done[8]
    cdef uint64_t failed[8]
    cdef uint64_t retransmitted, notifies, notify_bytes, reply_bytes, duplicates, out_of_order, went_back, coalesced
    cdef uint64_t strays, lost_requests, dropped, skipped, unsent
    cdef uint16_t last_status
    cdef bint drops(self) noexcept nogil
    cdef void on_response(self, uint64_t now) noexcept nogil
    cdef void accept(self, LoadFlight* flight, uint64_t now) noexcept nogil
    cdef void settle(self, LoadFlight* flight) noexcept nogil
    cdef void land(self, uint32_t slot) noexcept nogil
    cdef bint ask_again(self, LoadFlight* flight, uint64_t now) noexcept nogil
    cdef void post_request(self, LoadFlight* flight) noexcept nogil
    cdef void keep_dialog(self, LoadWatcher* watcher) noexcept nogil
    cdef void on_notify(self, uint64_t now) noexcept nogil
    cdef const char* find_mark(self) noexcept nogil
    cdef void see_version(self, LoadWatcher* watcher, uint32_t version, uint64_t now) noexcept nogil
    cdef void reply(self, uint32_t i, const sockaddr_in* source) noexcept nogil

cdef class LoadPeer(LoadFlights):
    cdef uint32_t slot_bytes
    cdef char* texts
    cdef LoadStream streams[8]
    cdef uint32_t stream_count
    cdef uint64_t next_ns, period_ns, swept_ns, late_ns
    cdef int64_t left
    cdef uint64_t t1_ns, t2_ns
    cdef char* slab
    cdef LoadBatch incoming, requests
    cdef int take_streams(self, list streams) except -1
    cdef int make_flights(self, uint32_t window) except -1
    cdef bint idle(self) noexcept nogil
    cdef void turn(self, uint64_t until_ns) noexcept nogil
    cdef int wait(self, uint64_t now, uint64_t until_ns) noexcept nogil
    cdef bint place_free(self, uint32_t kind, uint32_t place) noexcept nogil
    cdef bint send_next(self, uint64_t now) noexcept nogil
    cdef void begin(self, uint32_t kind, uint32_t place, uint64_t now) noexcept nogil
    cdef void post_request(self, LoadFlight* flight) noexcept nogil
    cdef void flush_requests(self) noexcept nogil
    cdef void sweep(self, uint64_t now) noexcept nogil
    cdef int receive(self, int fd, uint64_t now) noexcept nogil

cdef class RawSender:
    cdef int fd
    cdef uint16_t* ports
    cdef uint32_t port_count, addresses, hop
    cdef char* text
    cdef char* received
    cdef LoadBatch outgoing, incoming
    cdef void send(self, uint32_t count) noexcept nogil
    cdef int take(self) noexcept nogil

cdef class RawAnswerer:
    cdef int epoll
    cdef int* fds
    cdef uint32_t socket_count
    cdef char* text
    cdef char* received
    cdef LoadBatch outgoing, incoming
    cdef uint32_t answer_one(self, int fd) noexcept nogil
